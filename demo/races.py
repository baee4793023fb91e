"""Two ends writing at once: what a technician does without signal, and what the office does to the same records meanwhile."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from demo.journal import Op
from demo.office import Desk
from demo.orders import Do
from sync.entities import Appointment, Asset, Site, WorkOrder, WorkOrderTask
from sync.entities.flows import AppointmentStatus


class Visit(msgspec.Struct, frozen=True):
    """A planned visit with what belongs to it, as the day began."""

    id: str
    order: str
    site: str
    asset: str
    number: str
    technician: str
    start_ms: int


Office = Callable[[Desk, Visit, str], Awaitable[object]]


class Race(msgspec.Struct, frozen=True):
    """`told` says what the office does, with {number} and {name} of the order and the technician; None in `office`: nothing.

    `field` is what the technician does on top of finishing the visit; `office` gets the desk, the visit and the key of another
    technician.
    """

    told: str
    office: Office | None = None
    field: Callable[[Visit], Do] | None = None


async def _call_off(desk: Desk, visit: Visit, _: str) -> None:
    await desk.set(Appointment, visit.id, "call off", status=AppointmentStatus.CANCELED)


async def _reassign(desk: Desk, visit: Visit, other: str) -> None:
    await desk.set(Appointment, visit.id, "reassign", technician=other)


async def _symptom(desk: Desk, visit: Visit, _: str) -> None:
    await desk.set(WorkOrder, visit.order, "note a symptom", symptom=f"caller says it smells ({visit.number})")


async def _rename(desk: Desk, visit: Visit, _: str) -> None:
    await desk.set(WorkOrder, visit.order, "rename and put first", subject=f"Urgent: {visit.number} came back", priority=1)


async def _access(desk: Desk, visit: Visit, _: str) -> None:
    await desk.text(Site, visit.site, "access", access_notes="Ring at the porter. Park behind the hall.")


async def _serial(desk: Desk, visit: Visit, _: str) -> None:
    await desk.set(Asset, visit.asset, "correct the serial", serial=f"OFFICE-{visit.number}")


async def _drop_step(desk: Desk, visit: Visit, _: str) -> None:
    await desk.delete(WorkOrderTask, f"{visit.order}.task-2", "drop a step")


def _write(label: str, entity: str, record: Callable[[Visit], str], field: str, value: str) -> Callable[[Visit], Do]:
    def deed(visit: Visit) -> Do:
        return Do(label, (Op("set", entity, record(visit), {field: f"{value} ({visit.number})"}),))

    return deed


def _reword(visit: Visit) -> Do:
    return Do("access", (Op("text", "site", visit.site, {"access_notes": f"Ring at bell-{visit.number}. Park behind the hall."}),))


def _unknown_part(visit: Visit) -> Do:
    fields = {"work_order": visit.order, "product": "part-from-another-catalogue", "quantity": 1}
    return Do("scan a part", (Op("create", "part_used", f"scan-{visit.number}", fields),))


RACES: Final[tuple[Race, ...]] = (
    Race("calls off {number}, which {name} is finishing", _call_off),
    Race("gives {number} to somebody else while {name} is at it", _reassign),
    Race(
        "and {name} both note a symptom on {number}",
        _symptom,
        _write("symptom", "work_order", lambda visit: visit.order, "symptom", "leaks at the seal"),
    ),
    Race(
        "and {name} both rename {number}",
        _rename,
        _write("subject", "work_order", lambda visit: visit.order, "subject", "Not the pump, the valve"),
    ),
    Race(
        "renames a step of {number} away, {name} rewords it",
        _drop_step,
        _write("reword a step", "work_order_task", lambda visit: f"{visit.order}.task-2", "title", "measure twice"),
    ),
    Race("and {name} both rewrite how to get in at {number}", _access, _reword),
    Race(
        "and {name} both correct a serial number at {number}",
        _serial,
        _write("serial", "asset", lambda visit: visit.asset, "serial", "PLATE"),
    ),
    Race("does nothing, but {name} scans a part that no catalogue has, on {number}", None, _unknown_part),
)
