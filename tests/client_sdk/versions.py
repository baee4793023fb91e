"""What an app of last year and one of next year are built on, beside today's entities, in one process."""

import enum
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from sync.entities.flows import APPOINTMENT
from sync.policies import add_wins, append_only, field_wins, fixed, keyed, last_writer, lifecycle, office_wins, text
from sync.schema import REGISTRY, Code, Entity, EntitySpec, Id, Instant, Json, Name, Text, part_of, refers, root

_today = dict(REGISTRY)


def _declared(declare: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Entities of other years, without those of today being touched."""
    try:
        return declare()
    finally:
        REGISTRY.clear()
        REGISTRY.update(_today)


class OldStatus(enum.StrEnum):
    """There was no pausing, no asking to cancel."""

    UNSCHEDULED = "unscheduled"
    DISPATCHED = "dispatched"
    TRAVELING = "traveling"
    ON_SITE = "on_site"
    COMPLETED = "completed"


class OldKind(enum.StrEnum):
    TRAVEL = "travel"
    WORK = "work"


def _last_year() -> dict[str, Any]:
    class WorkOrder(Entity, scope=root("work_order")):
        account: Annotated[Id, office_wins()]
        site: Annotated[Id, refers("site"), office_wins()]
        subject: Annotated[Name, office_wins()] = ""
        cause: Annotated[Name, field_wins()] = ""
        summary: Annotated[Text, text()] = ""
        custom: Annotated[dict[Code, Json], keyed()] = msgspec.field(default_factory=dict)

    class Appointment(Entity, scope=part_of("work_order")):
        work_order: Annotated[Id, refers("work_order"), fixed()]
        reason: Annotated[Name, field_wins()] = ""
        status: Annotated[OldStatus, lifecycle(APPOINTMENT)] = OldStatus.UNSCHEDULED

    class WorkOrderTask(Entity, scope=part_of("work_order")):
        """It had no title, which every task needs today."""

        work_order: Annotated[Id, refers("work_order"), fixed()]
        note: Annotated[Text, field_wins()] = ""

    class TimeEntry(Entity, scope=part_of("work_order")):
        work_order: Annotated[Id, refers("work_order"), fixed()]
        technician: Annotated[Id, append_only()]
        kind: Annotated[OldKind, append_only()]
        start: Annotated[Instant, append_only()]

    class Lead(Entity, scope=root("lead")):
        need: Annotated[Name, field_wins()]
        captured_by: Annotated[tuple[Id, ...], add_wins()] = ()

    return {name: cls for name, cls in locals().items() if isinstance(cls, type)}


def _next_year() -> dict[str, Any]:
    class Site(Entity, scope=root("site")):
        account: Annotated[Id, refers("account"), fixed()]
        name: Annotated[Name, office_wins()]
        hours: Annotated[Name, office_wins()] = ""
        access_notes: Annotated[Text, text()] = ""
        parking: Annotated[Name, last_writer()] = ""

    class Drone(Entity, scope=part_of("site")):
        site: Annotated[Id, refers("site"), fixed()]
        name: Annotated[Name, last_writer()]

    return {name: cls for name, cls in locals().items() if isinstance(cls, type)}


def _registry(classes: Mapping[str, type[Entity]]) -> dict[str, EntitySpec]:
    return {cls.spec.name: cls.spec for cls in classes.values()}


_old, _new = _declared(_last_year), _declared(_next_year)
OldWorkOrder, OldAppointment, OldWorkOrderTask = _old["WorkOrder"], _old["Appointment"], _old["WorkOrderTask"]
OldTimeEntry, OldLead = _old["TimeEntry"], _old["Lead"]
NewSite, Drone = _new["Site"], _new["Drone"]
LAST_YEAR = _registry(_old)
"""Fewer entities, fewer fields, fewer values."""
NEXT_YEAR = _today | _registry(_new)
"""One more field of a site, one more entity."""
