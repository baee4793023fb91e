"""Offers, orders, incentives, campaigns and targets: what drives and rewards sales."""

import enum
from typing import Annotated

import msgspec

from sync.entities.flows import OFFER, ORDER, RECOMMENDATION, OfferStatus, OrderStatus, RecommendationStatus
from sync.entities.sales import QuoteLine
from sync.policies import (
    MANAGERS,
    NOBODY,
    PEOPLE,
    SALES,
    add_wins,
    append_only,
    field_wins,
    fixed,
    keyed,
    last_writer,
    lifecycle,
    server_only,
)
from sync.schema import Code, Count, Entity, Id, Instant, Json, Name, Text, everywhere, part_of, refers

OFFICE_ONLY = "office"
"""The scope that no device holds; the office reads it through the server."""


class Offer(Entity, scope=part_of("work_order"), create=NOBODY):
    """Something that this customer may well want, computed ahead of a visit, with the reason in words and what it may be worth."""

    work_order: Annotated[Id, refers("work_order"), fixed()]
    product: Annotated[Id, refers("product"), fixed()]
    asset: Annotated[Id | None, refers("asset"), fixed()] = None
    kind: Annotated[Code, fixed()] = ""
    reason: Annotated[Text, server_only()] = ""
    chance: Annotated[Annotated[float, msgspec.Meta(ge=0, le=1)], server_only()] = 0.0
    value_cents: Annotated[Count, server_only()] = 0
    expected_cents: Annotated[Count, server_only()] = 0
    position: Annotated[int, server_only()] = 0
    rule_version: Annotated[int, server_only()] = 0
    status: Annotated[OfferStatus, lifecycle(OFFER)] = OfferStatus.OPEN
    answered_by: Annotated[Id | None, field_wins()] = None
    answered_at: Annotated[Instant | None, field_wins()] = None
    answer: Annotated[Name, field_wins()] = ""
    shown_at: Annotated[Instant | None, field_wins()] = None
    lead: Annotated[Id | None, refers("lead"), field_wins()] = None


class Recommendation(Entity, scope=part_of("site")):
    """What a technician advised at a site and nobody has taken up yet."""

    site: Annotated[Id, refers("site"), fixed()]
    words: Annotated[Text, field_wins()]
    asset: Annotated[Id | None, refers("asset"), fixed()] = None
    product: Annotated[Id | None, refers("product"), fixed()] = None
    by: Annotated[Id | None, fixed()] = None
    at: Annotated[Instant | None, fixed()] = None
    status: Annotated[RecommendationStatus, lifecycle(RECOMMENDATION)] = RecommendationStatus.OPEN


class SalesOrder(Entity, scope=part_of("opportunity"), create=NOBODY):
    """What a signed quote became. Lines and total are the quote's."""

    opportunity: Annotated[Id, refers("opportunity"), fixed()]
    quote: Annotated[Id, refers("quote"), fixed()]
    number: Annotated[Code, fixed()] = ""
    lines: Annotated[dict[Code, QuoteLine], server_only()] = {}
    total_cents: Annotated[Count, server_only()] = 0
    currency: Annotated[Code, server_only()] = "USD"
    placed_at: Annotated[Instant | None, server_only()] = None
    status: Annotated[OrderStatus, lifecycle(ORDER)] = OrderStatus.PLACED


class IncentiveKind(enum.StrEnum):
    ACCRUE = "accrue"
    CONFIRM = "confirm"
    CLAW_BACK = "claw_back"


class Incentive(Entity, scope=part_of("user"), create=NOBODY):
    """One line of the ledger of a person's credit; a line never changes, what it was wrong about is reversed by another.

    `amount_cents` is signed: what is accrued is expected, what is confirmed is owed, what is clawed back is negative.
    """

    user: Annotated[Id, refers("profile"), fixed()]
    kind: Annotated[IncentiveKind, fixed()]
    amount_cents: Annotated[Count, fixed()]
    at: Annotated[Instant, fixed()]
    lead: Annotated[Id | None, refers("lead"), fixed()] = None
    opportunity: Annotated[Id | None, refers("opportunity"), fixed()] = None
    rule: Annotated[Id | None, refers("business_rule"), fixed()] = None
    rule_version: Annotated[int, fixed()] = 0
    basis: Annotated[Name, fixed()] = ""
    reverses: Annotated[Id | None, refers("incentive"), fixed()] = None


class BusinessRule(Entity, scope=everywhere(OFFICE_ONLY), create=MANAGERS):
    """One version of a rule of the house, as data. A version never changes but for being switched off; a newer one takes over.

    `kind` names what reads it, such as "lead_routing"; `body` is checked by that reader.
    """

    kind: Annotated[Code, fixed()]
    version: Annotated[int, msgspec.Meta(ge=1), fixed()]
    valid_from: Annotated[Instant, fixed()] = 0
    body: Annotated[Json, fixed()] = None
    active: Annotated[bool, last_writer(MANAGERS)] = True


class Quota(Entity, scope=part_of("user"), create=MANAGERS):
    """What somebody is to sell in a period."""

    user: Annotated[Id, refers("profile"), fixed()]
    start: Annotated[Instant, fixed()]
    end: Annotated[Instant, fixed()]
    amount_cents: Annotated[Count, last_writer(MANAGERS)] = 0


class Segment(Entity, scope=everywhere(OFFICE_ONLY), create=SALES):
    """A part of the accounts, by a rule."""

    name: Annotated[Name, last_writer(SALES)]
    rule: Annotated[dict[Code, Json], keyed(SALES)] = {}


class Campaign(Entity, scope=everywhere(OFFICE_ONLY), create=SALES):
    name: Annotated[Name, last_writer(SALES)]
    channel: Annotated[Code, last_writer(SALES)] = ""
    purpose: Annotated[Code, last_writer(SALES)] = "marketing"
    segment: Annotated[Id | None, refers("segment"), last_writer(SALES)] = None
    start: Annotated[Instant | None, last_writer(SALES)] = None
    end: Annotated[Instant | None, last_writer(SALES)] = None
    cost_cents: Annotated[Count, last_writer(SALES)] = 0
    subject: Annotated[Name, last_writer(SALES)] = ""
    words: Annotated[Text, last_writer(SALES)] = ""


class CampaignResponse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    at: Instant
    kind: Code
    words: Name = ""


class CampaignMember(Entity, scope=everywhere(OFFICE_ONLY), create=SALES, delete=SALES):
    """One contact whom a campaign addresses, and what came back."""

    campaign: Annotated[Id, refers("campaign"), fixed()]
    contact: Annotated[Id, refers("contact"), fixed()]
    account: Annotated[Id | None, refers("account"), fixed()] = None
    sent_at: Annotated[Instant | None, server_only()] = None
    skipped: Annotated[Name, server_only()] = ""
    responses: Annotated[tuple[CampaignResponse, ...], append_only(PEOPLE)] = ()
    tags: Annotated[tuple[Code, ...], add_wins(SALES)] = ()
