"""From a lead in the field to a won opportunity."""

import enum
from collections.abc import Iterable
from typing import Annotated

import msgspec

from sync.entities.flows import FROZEN_QUOTE, LEAD, OPPORTUNITY, QUOTE, LeadStatus, QuoteStatus, Stage
from sync.links import Link, LinkKind, scope_name, user
from sync.policies import (
    MANAGERS,
    OFFICE,
    PEOPLE,
    SALES,
    add_wins,
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

    @staticmethod
    def links(record_id: str, body: Body) -> Iterable[Link]:
        lead = scope_name("lead", record_id)
        holders = {*body.get("captured_by", ()), body.get("owner")} - {None}
        yield from (Link(LinkKind.HOLDS, user(holder), lead) for holder in holders)
        for field in ("account", "site"):
            if body.get(field):
                yield Link(LinkKind.NEEDS, lead, scope_name(field, body[field]))


class Opportunity(Entity, scope=root("opportunity"), create=OFFICE | SALES):
    account: Annotated[Id, refers("account"), last_writer(SALES)]
    name: Annotated[Name, last_writer(SALES)]
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

    @staticmethod
    def links(record_id: str, body: Body) -> Iterable[Link]:
        opportunity = scope_name("opportunity", record_id)
        holders = {*body.get("team", ()), body.get("owner")} - {None}
        yield from (Link(LinkKind.HOLDS, user(holder), opportunity) for holder in holders)
        yield Link(LinkKind.NEEDS, opportunity, scope_name("account", body["account"]))


class QuoteLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line carries the price that it was quoted at."""

    product: Id
    quantity: Count
    price_cents: Count
    discount_pct: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0


class Quote(Entity, scope=part_of("opportunity"), create=SALES | OFFICE, frozen_when=frozen_while("status", *FROZEN_QUOTE)):
    """An offer at the prices of one version of the price list. Once sent it does not change; a new offer is a new quote."""

    opportunity: Annotated[Id, refers("opportunity"), fixed()]
    price_book: Annotated[Id, refers("price_book"), fixed()]
    valid_to: Annotated[Instant | None, last_writer(SALES)] = None
    lines: Annotated[dict[Code, QuoteLine | None], keyed(SALES)] = {}
    discount_pct: Annotated[Annotated[float, msgspec.Meta(ge=0, le=100)], last_writer(SALES)] = 0
    total_cents: Annotated[Count, server_only()] = 0
    status: Annotated[QuoteStatus, lifecycle(QUOTE)] = QuoteStatus.DRAFT
    signed_by: Annotated[Name, field_wins()] = ""
