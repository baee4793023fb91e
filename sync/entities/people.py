"""Technicians and what the planner must know of them."""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from sync.entities.flows import ABSENCE, AbsenceStatus
from sync.links import Link, LinkKind, scope_name, territory, user
from sync.policies import MANAGERS, NOBODY, OFFICE, add_wins, fixed, last_writer, lifecycle, office_wins, server_only
from sync.schema import Body, Code, Count, Entity, Id, Instant, Name, named_by, part_of, refers, root


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place on earth, in degrees (WGS 84)."""

    lat: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    lon: Annotated[float, msgspec.Meta(ge=-180, le=180)]


class Profile(Entity, scope=root("user"), create=MANAGERS):
    """What is known of a user, and which territories they act for; the id is the user's."""

    name: Annotated[Name, last_writer(MANAGERS)]
    role: Annotated[Code, last_writer(MANAGERS)] = ""
    territories: Annotated[tuple[Code, ...], add_wins(MANAGERS)] = ()
    email: Annotated[Annotated[str, msgspec.Meta(max_length=254)], last_writer(MANAGERS)] = ""
    manager: Annotated[Id | None, last_writer(MANAGERS)] = None
    skills: Annotated[tuple[Code, ...], add_wins(MANAGERS)] = ()
    max_open_leads: Annotated[Annotated[int, msgspec.Meta(ge=0)] | None, last_writer(MANAGERS)] = None
    external_id: Annotated[Code, last_writer(MANAGERS)] = ""
    discount_limit_pct: Annotated[Annotated[float, msgspec.Meta(ge=0, le=100)] | None, server_only()] = None

    @staticmethod
    def links(record_id: str, body: Body) -> Iterable[Link]:
        me = user(record_id)
        yield Link(LinkKind.HOLDS, me, me)
        yield from (Link(LinkKind.ACTS_AS, me, territory(code)) for code in body.get("territories", ()))


class Depot(Entity, scope=root("depot"), create=OFFICE):
    """A place that keeps stock."""

    name: Annotated[Name, last_writer(OFFICE)]
    position: Annotated[Position | None, office_wins(OFFICE)] = None


class Technician(Entity, scope=root("technician"), create=OFFICE):
    """A person who does the work, and the van that goes along."""

    name: Annotated[Name, last_writer(OFFICE)]
    user: Annotated[Id | None, office_wins(OFFICE)] = None
    home: Annotated[Position | None, office_wins(OFFICE)] = None
    territories: Annotated[tuple[Code, ...], add_wins(OFFICE)] = ()
    speed_factor: Annotated[float, msgspec.Meta(ge=0.2, le=5), office_wins(OFFICE)] = 1.0
    cost_hour_cents: Annotated[Count, office_wins(OFFICE)] = 0
    depot: Annotated[Id | None, refers("depot"), office_wins(OFFICE)] = None
    active: Annotated[bool, office_wins(OFFICE)] = True
    tools: Annotated[tuple[Code, ...], add_wins(OFFICE)] = ()

    @staticmethod
    def links(record_id: str, body: Body) -> Iterable[Link]:
        me = scope_name("technician", record_id)
        yield Link(LinkKind.HOLDS, me, me)
        if body.get("user"):
            yield Link(LinkKind.ACTS_AS, user(body["user"]), me)
        if body.get("depot"):
            yield Link(LinkKind.NEEDS, me, scope_name("depot", body["depot"]))


class SkillHeld(Entity, scope=part_of("technician"), create=NOBODY, delete=OFFICE):
    """A skill that a technician has, with its level and how long it is valid."""

    technician: Annotated[Id, refers("technician"), fixed()]
    skill: Annotated[Code, fixed()]
    level: Annotated[int, msgspec.Meta(ge=1, le=10), server_only()] = 1
    valid_from: Annotated[Instant | None, server_only()] = None
    valid_to: Annotated[Instant | None, server_only()] = None
    certificate: Annotated[Name, server_only()] = ""


class Shift(Entity, scope=part_of("technician"), create=OFFICE, delete=OFFICE):
    """One stretch of working time, with at most one break inside a window."""

    technician: Annotated[Id, refers("technician"), fixed()]
    start: Annotated[Instant, office_wins(OFFICE)]
    end: Annotated[Instant, office_wins(OFFICE)]
    break_s: Annotated[int, msgspec.Meta(ge=0, le=4 * 3600), office_wins(OFFICE)] = 0
    break_earliest: Annotated[Instant | None, office_wins(OFFICE)] = None
    break_latest: Annotated[Instant | None, office_wins(OFFICE)] = None


class Absence(Entity, scope=named_by("holder")):
    """Somebody will not be there. `holder` is `technician:ID` or `user:ID`; it counts once it is approved."""

    holder: Annotated[Id, fixed()]
    start: Annotated[Instant, fixed()]
    end: Annotated[Instant, fixed()]
    reason: Annotated[Name, last_writer()] = ""
    status: Annotated[AbsenceStatus, lifecycle(ABSENCE)] = AbsenceStatus.REQUESTED
