"""The service around the visits: cases, contracts and what they promise, maintenance, knowledge, surveys."""

import enum
from typing import Annotated

import msgspec

from sync.entities.flows import CASE, CONTRACT, PUBLICATION, CaseStatus, ContractStatus, PublicationStatus
from sync.links import CATALOGUE
from sync.policies import (
    FIELD,
    MANAGERS,
    NOBODY,
    OFFICE,
    SALES,
    add_wins,
    append_only,
    counter,
    field_wins,
    fixed,
    keyed,
    last_writer,
    lifecycle,
    office_wins,
    server_only,
    text,
)
from sync.schema import Code, Count, Entity, Id, Instant, Json, Name, Text, everywhere, part_of, refers

Seconds = Annotated[int, msgspec.Meta(ge=0, le=366 * 86_400)]


class Comment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    at: Instant
    by: Name
    words: Text


class BusinessHours(Entity, scope=everywhere(CATALOGUE), create=MANAGERS):
    """When an office works: the clocks of promises stand still outside.

    `weekly` maps "mon"…"sun" to spans such as ["08:00", "17:00"], in local time of `zone` (an IANA name); `holidays` are days as
    "2026-12-25".
    """

    name: Annotated[Name, last_writer(MANAGERS)]
    zone: Annotated[Name, last_writer(MANAGERS)] = "UTC"
    weekly: Annotated[dict[Code, tuple[tuple[Code, Code], ...] | None], keyed(MANAGERS)] = {}
    holidays: Annotated[tuple[Code, ...], add_wins(MANAGERS)] = ()


class Promise(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How soon somebody answers, and how soon it is solved, in seconds of business hours."""

    respond_s: Seconds
    resolve_s: Seconds


class ServiceLevel(Entity, scope=everywhere(CATALOGUE), create=MANAGERS):
    """What is promised for each priority, "1" (most urgent) to "5"; without `business_hours` the clock never stands still."""

    name: Annotated[Name, last_writer(MANAGERS)]
    business_hours: Annotated[Id | None, refers("business_hours"), last_writer(MANAGERS)] = None
    promises: Annotated[dict[Code, Promise | None], keyed(MANAGERS)] = {}


class Contract(Entity, scope=part_of("account"), create=OFFICE | SALES):
    account: Annotated[Id, refers("account"), fixed()]
    name: Annotated[Name, office_wins()]
    start: Annotated[Instant, office_wins()]
    end: Annotated[Instant, office_wins()]
    renewal_on: Annotated[Instant | None, office_wins()] = None
    service_level: Annotated[Id | None, refers("service_level"), office_wins(OFFICE)] = None
    covered_assets: Annotated[tuple[Id, ...], add_wins(OFFICE)] = ()
    covered_types: Annotated[tuple[Code, ...], add_wins(OFFICE)] = ()
    price_cents: Annotated[Count, office_wins()] = 0
    status: Annotated[ContractStatus, lifecycle(CONTRACT)] = ContractStatus.DRAFT
    renewal_stage_days: Annotated[int | None, server_only()] = None
    renewal_opportunity: Annotated[Id | None, refers("opportunity"), server_only()] = None
    renews: Annotated[Id | None, refers("contract"), fixed()] = None
    external_id: Annotated[Code, last_writer(OFFICE)] = ""
    custom: Annotated[dict[Code, Json], keyed()] = {}


class Entitlement(Entity, scope=part_of("account"), create=OFFICE):
    """What a contract allows, such as four visits a year; `allowance` null means without limit."""

    account: Annotated[Id, refers("account"), fixed()]
    contract: Annotated[Id, refers("contract"), fixed()]
    type: Annotated[Code, fixed()] = ""
    allowance: Annotated[Annotated[int, msgspec.Meta(ge=0)] | None, office_wins(OFFICE)] = None
    used: Annotated[Count, counter()] = 0


class Case(Entity, scope=part_of("account"), delete=MANAGERS):
    """Something is wrong at a customer's. It is answered, worked on and solved within what was promised."""

    account: Annotated[Id, refers("account"), fixed()]
    subject: Annotated[Name, last_writer()]
    site: Annotated[Id | None, refers("site"), office_wins()] = None
    asset: Annotated[Id | None, refers("asset"), office_wins()] = None
    contact: Annotated[Id | None, refers("contact"), last_writer()] = None
    contract: Annotated[Id | None, refers("contract"), office_wins(OFFICE)] = None
    description: Annotated[Text, text()] = ""
    symptom: Annotated[Name, last_writer()] = ""
    priority: Annotated[int, msgspec.Meta(ge=1, le=5), office_wins()] = 3
    origin: Annotated[Code, fixed()] = ""
    owner: Annotated[Id | None, office_wins(OFFICE)] = None
    comments: Annotated[tuple[Comment, ...], append_only()] = ()
    status: Annotated[CaseStatus, lifecycle(CASE)] = CaseStatus.NEW
    opened_at: Annotated[Instant | None, fixed()] = None
    responded_at: Annotated[Instant | None, field_wins()] = None
    resolved_at: Annotated[Instant | None, field_wins()] = None
    respond_by: Annotated[Instant | None, server_only()] = None
    resolve_by: Annotated[Instant | None, server_only()] = None
    waiting_since: Annotated[Instant | None, server_only()] = None
    waited_ms: Annotated[Count, server_only()] = 0
    breached: Annotated[tuple[Code, ...], server_only()] = ()
    work_order: Annotated[Id | None, last_writer(OFFICE)] = None
    cause_of: Annotated[Id | None, server_only()] = None
    external_id: Annotated[Code, last_writer(OFFICE)] = ""
    custom: Annotated[dict[Code, Json], keyed()] = {}


class MaintenancePlan(Entity, scope=part_of("account"), create=OFFICE):
    """Work that comes back: by the calendar (`recurrence`, RFC 5545, from `start`) or each `meter_every` units of a meter."""

    account: Annotated[Id, refers("account"), fixed()]
    site: Annotated[Id, refers("site"), fixed()]
    asset: Annotated[Id | None, refers("asset"), fixed()] = None
    contract: Annotated[Id | None, refers("contract"), office_wins(OFFICE)] = None
    subject: Annotated[Name, office_wins(OFFICE)] = ""
    type: Annotated[Code, office_wins(OFFICE)] = "maintenance"
    skill: Annotated[Code, office_wins(OFFICE)] = ""
    duration_s: Annotated[int, msgspec.Meta(ge=0, le=7 * 86_400), office_wins(OFFICE)] = 3600
    start: Annotated[Instant | None, office_wins(OFFICE)] = None
    recurrence: Annotated[Annotated[str, msgspec.Meta(max_length=500)], office_wins(OFFICE)] = ""
    horizon_days: Annotated[int, msgspec.Meta(ge=1, le=366), office_wins(OFFICE)] = 30
    meter_unit: Annotated[Code, office_wins(OFFICE)] = ""
    meter_every: Annotated[Annotated[float, msgspec.Meta(gt=0)] | None, office_wins(OFFICE)] = None
    tasks: Annotated[tuple[Name, ...], office_wins(OFFICE)] = ()
    active: Annotated[bool, office_wins(OFFICE)] = True
    opened_to: Annotated[Instant | None, server_only()] = None
    opened_meter: Annotated[float | None, server_only()] = None


class ArticleFeedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    at: Instant
    by: Id
    helpful: bool
    words: Name = ""


class KnowledgeArticle(Entity, scope=everywhere(CATALOGUE), create=OFFICE | FIELD, delete=MANAGERS):
    """How something is repaired. `products` and `symptoms` are what it is offered by."""

    title: Annotated[Name, last_writer()]
    body: Annotated[Text, text()] = ""
    products: Annotated[tuple[Id, ...], add_wins()] = ()
    symptoms: Annotated[tuple[Name, ...], add_wins()] = ()
    status: Annotated[PublicationStatus, lifecycle(PUBLICATION)] = PublicationStatus.DRAFT
    feedback: Annotated[tuple[ArticleFeedback, ...], append_only()] = ()

    def worth(self, rank: float, product: str | None = None) -> float:
        """How likely it helps: how well the words fit, times two if it is written for the product, none if it is for others only,
        and up to a half more or less by what readers said."""
        if product and self.products and product not in self.products:
            return 0.0
        balance = sum(1 if one.helpful else -1 for one in self.feedback) / (len(self.feedback) + 2)
        return rank * (2 if product and product in self.products else 1) * (1 + balance / 2)


class SurveyKind(enum.StrEnum):
    NPS = "nps"
    CSAT = "csat"


class Survey(Entity, scope=part_of("account"), create=NOBODY):
    """A question to a customer after a visit: NPS from 0 to 10, CSAT from 1 to 5. The answer is a fact."""

    account: Annotated[Id, refers("account"), fixed()]
    kind: Annotated[SurveyKind, fixed()]
    work_order: Annotated[Id | None, refers("work_order"), fixed()] = None
    appointment: Annotated[Id | None, refers("appointment"), fixed()] = None
    contact: Annotated[Id | None, refers("contact"), fixed()] = None
    asked_at: Annotated[Instant | None, server_only()] = None
    score: Annotated[Annotated[int, msgspec.Meta(ge=0, le=10)] | None, append_only()] = None
    words: Annotated[Text, append_only()] = ""
    answered_at: Annotated[Instant | None, append_only()] = None
    case: Annotated[Id | None, server_only()] = None
