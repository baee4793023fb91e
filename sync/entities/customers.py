"""Accounts and the people, places and machines that belong to them."""

import enum
from collections.abc import Iterable
from typing import Annotated

import msgspec

from sync.entities.people import Position
from sync.links import Link, LinkKind, scope_name, territory, user
from sync.policies import (
    OFFICE,
    PEOPLE,
    SALES,
    add_wins,
    append_only,
    field_wins,
    fixed,
    keyed,
    last_writer,
    manual,
    office_wins,
    text,
)
from sync.schema import Body, Code, Entity, Id, Instant, Json, Name, Text, part_of, refers, root


class Account(Entity, scope=root("account"), create=OFFICE | SALES):
    name: Annotated[Name, last_writer()]
    external_id: Annotated[Code, last_writer(OFFICE)] = ""
    parent: Annotated[Id | None, refers("account"), last_writer()] = None
    segment: Annotated[Code, last_writer()] = ""
    tier: Annotated[Code, last_writer()] = ""
    territory: Annotated[Code, last_writer(OFFICE)] = ""
    owner: Annotated[Id | None, last_writer(OFFICE | SALES)] = None
    credit_hold: Annotated[bool, office_wins(OFFICE)] = False
    tax_id: Annotated[Code, manual()] = ""
    tags: Annotated[tuple[Code, ...], add_wins()] = ()
    custom: Annotated[dict[Code, Json], keyed()] = {}

    @staticmethod
    def links(record_id: str, body: Body) -> Iterable[Link]:
        account = scope_name("account", record_id)
        if body.get("owner"):
            yield Link(LinkKind.HOLDS, user(body["owner"]), account)
        if body.get("territory"):
            yield Link(LinkKind.HOLDS, territory(body["territory"]), account)


class Consent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One statement of consent or of its withdrawal; the latest per channel and purpose holds, a withdrawal before a grant."""

    id: Id
    at: Instant
    channel: Code
    purpose: Code
    given: bool
    proof: Name = ""


class Contact(Entity, scope=part_of("account"), delete=OFFICE):
    account: Annotated[Id, refers("account"), fixed()]
    name: Annotated[Name, last_writer()]
    role: Annotated[Code, last_writer()] = ""
    phones: Annotated[tuple[Code, ...], add_wins()] = ()
    emails: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=254)], ...], add_wins()] = ()
    consent: Annotated[tuple[Consent, ...], append_only()] = ()
    external_id: Annotated[Code, last_writer(OFFICE)] = ""


class Located(enum.StrEnum):
    """How a site came by its position: nobody asked, a geocoder is sure, it is not and somebody should look, or knows nothing."""

    OPEN = "open"
    FOUND = "found"
    NEEDS_REVIEW = "needs_review"
    NOT_FOUND = "not_found"
    REVIEWED = "reviewed"


class Site(Entity, scope=root("site"), create=OFFICE | SALES):
    """A place where assets stand and work is done."""

    account: Annotated[Id, refers("account"), fixed()]
    name: Annotated[Name, office_wins()]
    address: Annotated[Name, office_wins()] = ""
    city: Annotated[Name, office_wins()] = ""
    postal_code: Annotated[Code, office_wins()] = ""
    position: Annotated[Position | None, office_wins()] = None
    hours: Annotated[Name, office_wins()] = ""
    territory: Annotated[Code, office_wins(OFFICE)] = ""
    access_notes: Annotated[Text, text()] = ""
    custom: Annotated[dict[Code, Json], keyed()] = {}
    external_id: Annotated[Code, last_writer(OFFICE)] = ""
    located: Annotated[Located, office_wins(OFFICE)] = Located.OPEN

    @staticmethod
    def links(record_id: str, body: Body) -> Iterable[Link]:
        yield Link(LinkKind.NEEDS, scope_name("account", body["account"]), scope_name("site", record_id))


class AssetStatus(enum.StrEnum):
    INSTALLED = "installed"
    FAULTY = "faulty"
    REMOVED = "removed"


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    at: Instant
    value: float
    unit: Code = ""


class Asset(Entity, scope=part_of("site"), delete=OFFICE):
    site: Annotated[Id, refers("site"), fixed()]
    product: Annotated[Id | None, refers("product"), manual()] = None
    parent: Annotated[Id | None, refers("asset"), manual()] = None
    name: Annotated[Name, last_writer()] = ""
    serial: Annotated[Code, manual()] = ""
    installed_on: Annotated[Instant | None, office_wins()] = None
    warranty_end: Annotated[Instant | None, office_wins(OFFICE)] = None
    status: Annotated[AssetStatus, field_wins()] = AssetStatus.INSTALLED
    condition: Annotated[Name, field_wins(PEOPLE)] = ""
    readings: Annotated[tuple[Reading, ...], append_only()] = ()
    custom: Annotated[dict[Code, Json], keyed()] = {}
    external_id: Annotated[Code, last_writer(OFFICE)] = ""


class ActivityKind(enum.StrEnum):
    CALL = "call"
    VISIT = "visit"
    MAIL = "mail"
    NOTE = "note"


class Activity(Entity, scope=part_of("account")):
    """Something that happened with a customer. What happened is a fact; only the next step may still change."""

    account: Annotated[Id, refers("account"), fixed()]
    kind: Annotated[ActivityKind, append_only()]
    at: Annotated[Instant, append_only()]
    outcome: Annotated[Text, append_only()] = ""
    by: Annotated[Id | None, append_only()] = None
    lead: Annotated[Id | None, refers("lead"), append_only()] = None
    opportunity: Annotated[Id | None, refers("opportunity"), append_only()] = None
    next_step: Annotated[Name, last_writer()] = ""
