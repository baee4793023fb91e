"""A slot for a rep's visit to a lead: from the same problem, checks and insertion that plan the technicians' days."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from dispatch import Plan
from dispatch.booking import Slot, slots
from server.author import create, update, write
from server.context import Context
from server.domain.look import look
from server.plan_request import PlanRequest
from server.planning import load_day
from server.problems import ProblemError
from server.storage.office import Held
from server.storage.tables import projections
from server.translate import Day, crew_of, question
from server.translate_back import standing_by_shift
from sync.entities import Lead
from sync.entities.flows import AppointmentStatus
from sync.protocol import OutcomeKind

MAX_DAYS_MS: Final = 31 * 86_400_000
_ASKED: Final = "asked"


class SlotRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Windows of `window_s` within [start_ms, end_ms), for a visit of `duration_s`."""

    start_ms: int
    end_ms: int
    window_s: int = 2 * 3600
    duration_s: int = 3600

    def __post_init__(self) -> None:
        if not 0 < self.end_ms - self.start_ms <= MAX_DAYS_MS:
            raise ValueError("end_ms must be after start_ms, by at most 31 days")
        if not 900 <= self.window_s <= 86_400 or not 0 < self.duration_s <= 86_400:
            raise ValueError("window_s is from 900 to 86400 and duration_s at most 86400")


class Offered(msgspec.Struct, frozen=True):
    """A window that can be promised for the start of the visit: 100 adds least to the rep's days."""

    start_ms: int
    end_ms: int
    grade: int
    planned_start: int
    planned_end: int
    travel_s: int


class _Visit(msgspec.Struct, frozen=True):
    """The visit that is asked for, as a row of appointments would tell it."""

    duration_s: int
    id: str = _ASKED
    work_order: str = _ASKED
    status: str = AppointmentStatus.UNSCHEDULED
    technician: str | None = None
    mates: tuple[()] = ()
    planned_start: int | None = None
    earliest: int | None = None
    due: int | None = None
    promised_from: int | None = None
    promised_to: int | None = None
    pinned: bool = False
    actual: Sequence[Any] = ()
    follows: None = None


class _Order(msgspec.Struct, frozen=True):
    site: str
    id: str = _ASKED
    priority: int = 3
    skill: str = ""
    skill_level: int = 1
    due: int | None = None
    parts: None = None
    tools: tuple[()] = ()
    crew: int = 1
    optional: bool = False


class _Asked(msgspec.Struct, frozen=True):
    rep: str
    """The rep's record as one who is planned."""
    account: str
    day: Day


_CAME_TO_NOTHING: Final = (AppointmentStatus.CANCELED, AppointmentStatus.CANNOT_COMPLETE)


async def offered(context: Context, tenant_id: int, lead: Lead, asked: SlotRequest) -> list[Offered]:
    """The windows of the owner's shifts in which the visit can be made, in order of time; the end of one begins the next."""
    question_ = await _asked(context, tenant_id, lead, asked)
    windows = [
        (start, min(start + asked.window_s, (shift.end - asked.start_ms) // 1000) - 1)
        for shift in sorted(question_.day.shifts, key=lambda shift: shift.start)
        for start in range((shift.start - asked.start_ms) // 1000, (shift.end - asked.start_ms) // 1000, asked.window_s)
    ]
    return await asyncio.to_thread(_graded, question_.day, windows)


async def book(context: Context, tenant_id: int, held: Held, lead: Lead, asked: SlotRequest) -> dict[str, Any]:
    """Make the visit in the window [start_ms, end_ms), promised to the customer: a work order with one pinned appointment.

    Raises a problem if the window has gone meanwhile, or the lead has a visit already.
    """
    async with context.office.of(tenant_id) as tenant:
        standing = await look(tenant, "appointment", lead.visit)
        made = await tenant.count("work_order", [projections["work_order"].c.lead == held.id])
    if standing is not None and standing.get("status") not in _CAME_TO_NOTHING:
        raise ProblemError(409, "The lead has a visit", standing.id, field="visit", rule="booked")
    found = await _asked(context, tenant_id, lead, asked)
    graded = await asyncio.to_thread(_graded, found.day, [(0, (asked.end_ms - asked.start_ms) // 1000 - 1)])
    if not graded:
        raise ProblemError(409, "The window is taken", "nothing fits there any more; ask for others", rule="slot_gone")
    order = f"{held.id}.visit{made or ''}"
    visit = f"{order}.1"
    fields = {"account": found.account, "site": lead.site, "lead": held.id, "type": "sales_visit", "subject": lead.need[:190]}
    planned = {
        "technician": found.rep,
        "promised_from": asked.start_ms,
        "promised_to": asked.end_ms,
        "planned_start": graded[0].planned_start,
        "planned_end": graded[0].planned_end,
        "travel_s": graded[0].travel_s,
        "duration_s": asked.duration_s,
        "pinned": True,
        "status": AppointmentStatus.SCHEDULED,
    }
    changes = (
        create("work_order", order, **fields, opened_at=context.now_ms()),
        create("appointment", visit, work_order=order, **planned),
        update("lead", held.id, held.seq, visit=visit),
    )
    done = await write(context, tenant_id, "a visit is booked", [changes])
    if done.outcomes[0].kind is OutcomeKind.PARKED:
        raise ProblemError(409, "The lead has moved", "it has a visit, or was changed meanwhile; look again", rule="moved")
    return {"work_order": order, "appointment": visit} | planned


async def _asked(context: Context, tenant_id: int, lead: Lead, asked: SlotRequest) -> _Asked:
    """The owner's days with the visit among what is to be placed. Raises a problem that names what is missing."""
    if lead.site is None:
        raise ProblemError(422, "The lead has no site", "a visit goes to a place", field="site", rule="site")
    async with context.office.of(tenant_id) as tenant:
        people = await tenant.rows("technician", [projections["technician"].c.user == lead.owner]) if lead.owner else ()
        places = await tenant.rows("site", [projections["site"].c.id == lead.site])
    if not people:
        detail = "its owner has no technician's record, and so no place in the plan"
        raise ProblemError(422, "Nobody can be planned for this lead", detail, field="owner", rule="planned")
    if not places or places[0].position is None:
        raise ProblemError(422, "The site is not on the map", lead.site, field="site", rule="position")
    days_end_ms = max(asked.end_ms, asked.start_ms + 86_400_000)
    request = PlanRequest(asked.start_ms - 86_400_000, days_end_ms)
    day = await load_day(context.office, tenant_id, request, context.now_ms())
    rep = people[0]
    mine = [row if row.technician == rep.id else _as_mine(row, rep.id) for row in day.appointments if rep.id in crew_of(row)]
    shifts = [s for s in day.shifts if s.technician == rep.id and s.end > asked.start_ms and s.start < asked.end_ms]
    alone = msgspec.structs.replace(
        day,
        start_ms=asked.start_ms,
        appointments=[*mine, _Visit(asked.duration_s)],
        orders={row.id: _Order(row.site, row.id, due=row.due) for row in day.orders.values()} | {_ASKED: _Order(lead.site)},
        sites={**day.sites, lead.site: places[0]},
        technicians=[rep],
        skills=[],
        shifts=sorted(shifts, key=lambda shift: shift.start),
    )
    return _Asked(rep.id, lead.account or places[0].account, alone)


def _as_mine(row: Any, rep: str) -> _Visit:
    """A crew's visit as one of its mates sees it: theirs, and not to be moved."""
    return _Visit(
        row.duration_s,
        id=row.id,
        work_order=row.work_order,
        status=row.status,
        technician=rep,
        planned_start=row.planned_start,
        pinned=True,
        actual=row.actual,
    )


def _graded(day: Day, windows: Sequence[tuple[int, int]]) -> list[Offered]:
    problem = question(day).problem
    plan: Plan = standing_by_shift(day)
    found = slots(problem, plan, problem.job(_ASKED), windows)
    return [_told(day, slot) for slot in found if slot.grade > 0]


def _told(day: Day, slot: Slot) -> Offered:
    assert slot.insertion is not None, "a slot with a grade has a place"
    stop = next(stop for stop in slot.insertion.route.stops if stop.job == _ASKED)

    def at_ms(seconds: int) -> int:
        return day.start_ms + seconds * 1000

    return Offered(at_ms(slot.start_s), at_ms(slot.end_s + 1), slot.grade, at_ms(stop.start_s), at_ms(stop.end_s), stop.travel_s)
