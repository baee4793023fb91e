"""A second look at the published plan, from the records alone, by somebody who knows nothing of the solver."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Final

import msgspec

from demo.orders import Row
from sync.entities import Appointment, Shift, SkillHeld, WorkOrder
from sync.entities.flows import AppointmentStatus

SECOND_MS: Final = 1_000


class Published(msgspec.Struct, frozen=True):
    """What the check needs of the records: by id, as the server has them."""

    visits: Mapping[str, Appointment]
    orders: Mapping[str, WorkOrder]
    shifts: tuple[Shift, ...]
    skills: tuple[SkillHeld, ...]


def published(visits: list[Row], orders: list[Row], shifts: list[Row], skills: list[Row]) -> Published:
    return Published(
        {row.id: msgspec.convert(row.fields, Appointment) for row in visits},
        {row.id: msgspec.convert(row.fields, WorkOrder) for row in orders},
        tuple(msgspec.convert(row.fields, Shift) for row in shifts),
        tuple(msgspec.convert(row.fields, SkillHeld) for row in skills),
    )


def breaches(found: Published, asked: Mapping[str, Appointment]) -> list[str]:
    """Every rule that the published visits break, in words. `asked` are the visits as they were before the plan."""
    return list(_all(found, asked))


def _all(found: Published, asked: Mapping[str, Appointment]) -> Iterator[str]:
    routes: dict[str, list[tuple[str, Appointment]]] = {}
    for visit_id, visit in found.visits.items():
        if visit.technician is None or visit.status is AppointmentStatus.UNSCHEDULED:
            continue
        routes.setdefault(visit.technician, []).append((visit_id, visit))
        yield from _single(visit_id, visit, found)
        before = asked[visit_id]
        if before.pinned and (before.technician, before.planned_start) != (visit.technician, visit.planned_start):
            yield f"{visit_id} was pinned to {before.technician} and is planned for {visit.technician}"
    for technician, visits in routes.items():
        visits.sort(key=lambda item: item[1].planned_start or 0)
        for (first_id, first), (second_id, second) in pairwise(visits):
            if (second.planned_start or 0) < (first.planned_end or 0) + second.travel_s * SECOND_MS:
                yield f"{technician} cannot get from {first_id} to {second_id} in time"


def _single(visit_id: str, visit: Appointment, found: Published) -> Iterator[str]:
    order = found.orders[visit.work_order]
    start, end = visit.planned_start or 0, visit.planned_end or 0
    held = {skill.skill: skill.level for skill in found.skills if skill.technician == visit.technician}
    if order.skill and held.get(order.skill, 0) < order.skill_level:
        yield f"{visit_id} asks for {order.skill} {order.skill_level}, {visit.technician} has {held.get(order.skill, 0)}"
    if not any(shift.technician == visit.technician and shift.start <= start and end <= shift.end for shift in found.shifts):
        yield f"{visit_id} lies outside every shift of {visit.technician}"
    if visit.promised_from is not None and start < visit.promised_from:
        yield f"{visit_id} starts before the promised time"
    if visit.promised_to is not None and start > visit.promised_to:
        yield f"{visit_id} starts after the promised time"
