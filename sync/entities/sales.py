"""From a lead in the field to a won opportunity."""

import enum
from collections.abc import Iterable
from typing import Annotated

import msgspec

from sync.entities.customers import Consent
from sync.entities.flows import APPROVAL, FROZEN_QUOTE, LEAD, OPPORTUNITY, QUOTE, ApprovalStatus, LeadStatus, QuoteStatus, Stage
from sync.links import Link, LinkKind, scope_name, user
from sync.policies import (
    MANAGERS,
    OFFICE,
    PEOPLE,
    SALES,
    add_wins,
    append_only,
    field_wins,
    fixed,
    keyed,
    last_writer,
    lifecycle,
    office_wins,
    server_only,
)
from sync.schema import Body, Code, Count, Entity, Id, Instant, Json, Name, Text, frozen_while, part_of, refers, root


class Urgency(enum.StrEnum):
    NOW = "now"
    SOON = "soon"
    SOMEDAY = "someday"


class ScoreReason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that moved a lead's score, and by how many points."""

    feature: Name
    points: float


class Lead(Entity, scope=root("lead"), delete=MANAGERS):
    """Somebody needs something. Whoever captured it keeps holding it, and so sees what becomes of it."""

    need: Annotated[Text, field_wins()]
    account: Annotated[Id | None, refers("account"), last_writer()] = None
    site: Annotated[Id | None, refers("site"), last_writer()] = None
    asset: Annotated[Id | None, refers("asset"), last_writer()] = None
    appointment: Annotated[Id | None, refers("appointment"), last_writer()] = None
    product: Annotated[Id | None, refers("product"), last_writer()] = None
    urgency: Annotated[Urgency, field_wins()] = Urgency.SOON
    estimate_cents: Annotated[Count, field_wins()] = 0
    photo: Annotated[Id | None, field_wins()] = None
    captured_by: Annotated[tuple[Id, ...], add_wins(PEOPLE)] = ()
    captured_at: Annotated[Instant | None, fixed()] = None
    status: Annotated[LeadStatus, lifecycle(LEAD)] = LeadStatus.CAPTURED
    reason: Annotated[Name, last_writer(SALES)] = ""
    territory: Annotated[Code, server_only()] = ""
    owner: Annotated[Id | None, last_writer(OFFICE)] = None
    score: Annotated[Annotated[int, msgspec.Meta(ge=0, le=100)] | None, server_only()] = None
    opportunity: Annotated[Id | None, last_writer(SALES)] = None
    duplicate_of: Annotated[Id | None, refers("lead"), server_only()] = None
    credited: Annotated[tuple[Id, ...], server_only()] = ()
    custom: Annotated[dict[Code, Json], keyed()] = {}
    offer: Annotated[Id | None, field_wins()] = None
    contact: Annotated[Id | None, refers("contact"), last_writer()] = None
    contact_name: Annotated[Name, field_wins()] = ""
    contact_phone: Annotated[Code, field_wins()] = ""
    contact_email: Annotated[Annotated[str, msgspec.Meta(max_length=254)], field_wins()] = ""
    company: Annotated[Name, field_wins()] = ""
    consent: Annotated[Consent | None, append_only()] = None
    source: Annotated[Code, fixed()] = ""
    campaign: Annotated[Id | None, refers("campaign"), fixed()] = None
    score_reasons: Annotated[tuple[ScoreReason, ...], server_only()] = ()
    score_version: Annotated[int, server_only()] = 0
    match_reason: Annotated[Name, server_only()] = ""
    routed_at: Annotated[Instant | None, server_only()] = None
    respond_by: Annotated[Instant | None, server_only()] = None
    passed_by: Annotated[tuple[Id, ...], server_only()] = ()
    first_contact_at: Annotated[Instant | None, field_wins(SALES)] = None
    visit: Annotated[Id | None, server_only()] = None
    external_id: Annotated[Code, last_writer(OFFICE)] = ""
    routing_reason: Annotated[Text, server_only()] = ""

    @staticmethod
    def links(record_id: str, body: Body) -> Iterable[Link]:
        lead = scope_name("lead", record_id)
        holders = {*body.get("captured_by", ()), body.get("owner")} - {None}
        yield from (Link(LinkKind.HOLDS, user(holder), lead) for holder in holders)
        for field in ("account", "site"):
            if body.get(field):
                yield Link(LinkKind.NEEDS, lead, scope_name(field, body[field]))


class StageChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When an opportunity came to a stage, and what it was thought to be worth then."""

    id: Id
    at: Instant
    stage: Stage
    amount_cents: Count = 0


class Opportunity(Entity, scope=root("opportunity"), create=OFFICE | SALES):
    """A sale that may come about. The account may become known later; what is won has one."""

    name: Annotated[Name, last_writer(SALES)]
    account: Annotated[Id | None, refers("account"), last_writer(SALES)] = None
    lead: Annotated[Id | None, refers("lead"), last_writer(SALES)] = None
    owner: Annotated[Id | None, last_writer(SALES)] = None
    product: Annotated[Id | None, refers("product"), last_writer(SALES)] = None
    amount_cents: Annotated[Count, last_writer(SALES)] = 0
    close_on: Annotated[Instant | None, last_writer(SALES)] = None
    stage: Annotated[Stage, lifecycle(OPPORTUNITY)] = Stage.PROSPECT
    lost_reason: Annotated[Name, last_writer(SALES)] = ""
    team: Annotated[tuple[Id, ...], add_wins(SALES)] = ()
    forecast_cents: Annotated[Count | None, office_wins(SALES)] = None
    external_id: Annotated[Code, last_writer(OFFICE)] = ""
    custom: Annotated[dict[Code, Json], keyed()] = {}
    kind: Annotated[Code, last_writer(SALES)] = ""
    opened_on: Annotated[Instant | None, last_writer(SALES)] = None
    contact_roles: Annotated[dict[Code, Code | None], keyed(SALES)] = {}
    contract: Annotated[Id | None, server_only()] = None
    campaign: Annotated[Id | None, refers("campaign"), last_writer(SALES)] = None
    stages: Annotated[tuple[StageChange, ...], server_only()] = ()
    closed_at: Annotated[Instant | None, server_only()] = None

    @staticmethod
    def links(record_id: str, body: Body) -> Iterable[Link]:
        opportunity = scope_name("opportunity", record_id)
        holders = {*body.get("team", ()), body.get("owner")} - {None}
        yield from (Link(LinkKind.HOLDS, user(holder), opportunity) for holder in holders)
        if body.get("account"):
            yield Link(LinkKind.NEEDS, opportunity, scope_name("account", body["account"]))


Sha256 = Annotated[str, msgspec.Meta(max_length=64)]


class QuoteLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line carries the price that it was quoted at."""

    product: Id
    quantity: Count
    price_cents: Count
    discount_pct: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0


_ABOUT_A_QUOTE = ("net_cents", "total_cents", "assessed", "approval", "approval_reason", "approved_by", "approved_for")
_SIGNING = ("signed_by", "signed_at", "signature")
_FROZEN = frozen_while("status", *FROZEN_QUOTE, but=(*_ABOUT_A_QUOTE, *_SIGNING))


class Quote(Entity, scope=part_of("opportunity"), create=SALES | OFFICE, frozen_when=_FROZEN):
    """An offer at the prices of one version of the price list. Once sent it does not change; a new offer is a new quote.

    `assessed` is the hash of the content (see `sync.entities.pricing`) that totals and approval were worked out of; `approved_for`
    the hash of the content that whoever approved it saw.
    """

    opportunity: Annotated[Id, refers("opportunity"), fixed()]
    price_book: Annotated[Id, refers("price_book"), fixed()]
    valid_to: Annotated[Instant | None, last_writer(SALES)] = None
    lines: Annotated[dict[Code, QuoteLine | None], keyed(SALES)] = {}
    discount_pct: Annotated[Annotated[float, msgspec.Meta(ge=0, le=100)], last_writer(SALES)] = 0
    total_cents: Annotated[Count, server_only()] = 0
    status: Annotated[QuoteStatus, lifecycle(QUOTE)] = QuoteStatus.DRAFT
    signed_by: Annotated[Name, append_only()] = ""
    number: Annotated[Code, last_writer(SALES)] = ""
    tax_pct: Annotated[Annotated[float, msgspec.Meta(ge=0, le=100)], last_writer(SALES)] = 0
    approval: Annotated[ApprovalStatus, lifecycle(APPROVAL)] = ApprovalStatus.NOT_NEEDED
    approval_reason: Annotated[Name, server_only()] = ""
    approved_by: Annotated[Id | None, last_writer(MANAGERS)] = None
    net_cents: Annotated[Count, server_only()] = 0
    signature: Annotated[Id | None, append_only()] = None
    signed_at: Annotated[Instant | None, append_only()] = None
    notes: Annotated[Text, last_writer(SALES)] = ""
    assessed: Annotated[Sha256, server_only()] = ""
    approved_for: Annotated[Sha256, last_writer(MANAGERS)] = ""
