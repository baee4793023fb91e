"""Visits that met, failed, ended, or left the days that devices keep."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from server.author import create, update
from server.commit import FORMER_HOLDER, device_name
from server.domain.event import Clock, Event, Rules
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.codec import decode_versions
from sync.entities import Appointment
from sync.entities.flows import AppointmentStatus, WorkOrderStatus
from sync.merge import SECOND_REPORT
from sync.protocol import Change

_FINISHED: Final = frozenset({AppointmentStatus.COMPLETED, AppointmentStatus.CANNOT_COMPLETE})
_DONE: Final = frozenset({AppointmentStatus.COMPLETED, AppointmentStatus.CANCELED})
_UNDERWAY: Final = frozenset({AppointmentStatus.TRAVELING, AppointmentStatus.ON_SITE, AppointmentStatus.IN_PROGRESS})
_FACTS_OVERTAKE: Final = (WorkOrderStatus.IN_PROGRESS, WorkOrderStatus.CANCELED)
WINDOW_BATCH: Final = 200
DAY_MS: Final = 86_400_000
KEEP_PAST_MS: Final = 14 * DAY_MS
KEEP_AHEAD_MS: Final = 21 * DAY_MS


async def keep_extra_visit(event: Event) -> Iterable[Change]:
    """Two technicians completed one visit: the first report is the visit, the second a visit of its own beside it; unless they made
    it together."""
    tenant, conflict = event.tenant, event.fields
    if conflict.get("policy") != SECOND_REPORT or conflict["subject_entity"] != "appointment":
        return ()
    held = await tenant.record("appointment", conflict["subject"])
    technician = await _technician_of(tenant, conflict["held"]["user"])
    if held is None or technician is None:
        return ()
    visit = msgspec.json.decode(held.fields)
    extra_id = f"{held.id}.extra.{technician}"
    if technician in _crew(visit) or await tenant.raw_record("appointment", extra_id) is not None:
        return ()
    if await tenant.record("work_order", visit["work_order"]) is None:
        return ()
    fields = _like(visit) | {"technician": technician, "reason": "additional visit"}
    return (
        create("appointment", extra_id, **fields, status=AppointmentStatus.SCHEDULED),
        update("appointment", extra_id, 0, status=AppointmentStatus.COMPLETED),
    )


async def give_back_visit(event: Event) -> Iterable[Change]:
    """Reassigned, but the first technician had finished already: the visit is theirs, and the second one's is cancelled. Where work
    takes a crew, whoever had finished was one of it."""
    tenant, conflict = event.tenant, event.fields
    if conflict.get("policy") != FORMER_HOLDER:
        return ()
    done = [
        c["id"] for c in conflict["held"]["changes"] if c.get("set", {}).get("status") in _FINISHED and c["entity"] == "appointment"
    ]
    row = await tenant.raw_record("appointment", done[0]) if done else None
    technician = await _technician_of(tenant, conflict["held"]["user"])
    if row is None or row.deleted or technician is None:
        return ()
    visit = msgspec.json.decode(row.body)
    order = await tenant.record("work_order", visit["work_order"])
    if order is None:
        return ()
    status = decode_versions(row.ver, row.seq)[0].get(Appointment.spec.fields["status"].index)
    theirs = status is not None and conflict["held_by"] == device_name(status.device)
    if not theirs or visit.get("status") not in _FINISHED or visit.get("technician") is None or technician in _crew(visit):
        return ()
    if msgspec.json.decode(order.fields).get("crew", 1) > 1:
        return (update("appointment", row.id, row.seq, mates=sorted({*visit.get("mates", ()), technician})),)
    second = f"{row.id}.second.{visit['technician']}"
    fields = _like(visit) | {"technician": visit["technician"], "reason": f"done by {technician}"}
    return (
        update("appointment", row.id, row.seq, technician=technician),
        create("appointment", second, **fields, status=AppointmentStatus.SCHEDULED),
        update("appointment", second, 0, status=AppointmentStatus.CANCELED),
    )


async def _technician_of(tenant: Tenant, user_id: str) -> str | None:
    people = await tenant.rows("technician", [projections["technician"].c.user == user_id], limit=1)
    return people[0].id if people else None


def _crew(visit: Mapping[str, Any]) -> set[str | None]:
    return {visit.get("technician"), *visit.get("mates", ())}


def _like(visit: Mapping[str, Any]) -> dict[str, Any]:
    """What a visit beside this one has in common with it."""
    return {name: visit[name] for name in ("work_order", "planned_start", "planned_end", "duration_s") if name in visit}


async def follow_visits(event: Event) -> Iterable[Change]:
    """A work order's status follows from its appointments; a visit that could not be completed calls for another one."""
    tenant, appointment = event.tenant, event.fields
    held = await tenant.record("work_order", appointment["work_order"])
    if held is None:
        return ()
    order = msgspec.json.decode(held.fields)
    table = projections["appointment"].c
    visits = await tenant.rows("appointment", [table.work_order == held.id])
    statuses = {AppointmentStatus(visit.status) for visit in visits}
    now = WorkOrderStatus(order.get("status", WorkOrderStatus.NEW))
    found: list[Change] = []
    target = _order_status(now, statuses)
    if target is not None:
        found.append(update("work_order", held.id, held.seq, status=target))
    failed = [v for v in visits if v.status == AppointmentStatus.CANNOT_COMPLETE]
    for visit in failed:
        # The id follows from the failed visit, so that looking again does not call for a third one.
        next_id = f"{visit.id}.next"
        if await tenant.raw_record("appointment", next_id) is None:
            found.append(create("appointment", next_id, work_order=held.id, duration_s=visit.duration_s))
    return found


def _order_status(now: WorkOrderStatus, visits: set[AppointmentStatus]) -> WorkOrderStatus | None:
    planned = (WorkOrderStatus.NEW, WorkOrderStatus.OPEN)
    active = (*planned, WorkOrderStatus.SCHEDULED)
    if AppointmentStatus.COMPLETED in visits and visits <= _DONE and now in (*active, *_FACTS_OVERTAKE):
        return WorkOrderStatus.WORK_DONE
    if visits & _UNDERWAY and now in active:
        return WorkOrderStatus.IN_PROGRESS
    if visits & {AppointmentStatus.SCHEDULED, AppointmentStatus.DISPATCHED, AppointmentStatus.ACCEPTED} and now in planned:
        return WorkOrderStatus.SCHEDULED
    return None


async def slide_window(tenant: Tenant, now_ms: int) -> list[list[Change]]:
    """Let devices drop visits long past or far ahead, and hold those that come into the window."""
    table = projections["appointment"].c
    outside = sa.or_(table.planned_start < now_ms - KEEP_PAST_MS, table.planned_start > now_ms + KEEP_AHEAD_MS)
    wrong = sa.or_(sa.and_(table.held, outside), sa.and_(sa.not_(table.held), sa.not_(outside)))
    rows = await tenant.rows("appointment", [table.planned_start.is_not(None), wrong], limit=WINDOW_BATCH)
    versions = await tenant.versions("appointment", [row.id for row in rows])
    return [[update("appointment", row.id, versions[row.id], held=not row.held)] for row in rows]


RULES: Final[Rules] = {"appointment": (follow_visits,), "conflict": (keep_extra_visit, give_back_visit)}
CLOCKS: Final[tuple[Clock, ...]] = (slide_window,)
