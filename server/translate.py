"""Records to a planning problem and a plan back to ordinary changes. The only place where the two vocabularies meet. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from dispatch import (
    Break,
    Fact,
    Job,
    Parts,
    Place,
    Plan,
    Problem,
    Published,
    Shift,
    SkillHeld,
    SkillNeed,
    TravelMatrix,
    Window,
    Worker,
    estimate,
)
from dispatch.plan import Route, Score, Stop
from server.author import update
from server.plan_request import WhatIf
from sync.entities.customers import Located
from sync.entities.flows import AppointmentStatus as A
from sync.links import scope_name
from sync.protocol import Change

STARTED: Final = frozenset({A.TRAVELING, A.ON_SITE, A.IN_PROGRESS, A.PAUSED, A.COMPLETED, A.CANNOT_COMPLETE})
PLANNABLE: Final = frozenset({A.UNSCHEDULED, A.SCHEDULED, A.DISPATCHED, A.ACCEPTED, A.REJECTED})
DEPOT_S: Final = 600
"""A call at a depot: park, load, sign."""
_PEACE: Final = {A.SCHEDULED: 1, A.DISPATCHED: 5, A.ACCEPTED: 20}
"""What it costs in peace to move an appointment that nobody, the device, or the technician knows of."""


class Day(msgspec.Struct, frozen=True):
    """The rows that a plan is made of, and the stretch of time it covers, in milliseconds since 1970."""

    start_ms: int
    end_ms: int
    now_ms: int
    appointments: Sequence[Any]
    orders: Mapping[str, Any]
    sites: Mapping[str, Any]
    technicians: Sequence[Any]
    skills: Sequence[Any]
    shifts: Sequence[Any]
    bases: Mapping[str, int]
    """The seq at which each appointment was read."""
    overtime_s: int = 0
    depots: Sequence[Any] = ()
    on_hand: Mapping[str, Mapping[str, int]] = {}
    """By place (`technician:…`, `depot:…`), how many of each product lie there."""
    used: Mapping[str, Mapping[str, int]] = {}
    """By work order, how many of each product went into it already."""


class Question(msgspec.Struct, frozen=True):
    """The problem; what cannot even be asked: appointment id → why; and which depot each of the problem's depots is, in order."""

    problem: Problem
    left_out: Mapping[str, str]
    depots: Sequence[str] = ()


def question(day: Day, travel: Callable[[Sequence[tuple[float, float]]], TravelMatrix] = estimate) -> Question:
    """The planning problem of a day; times in it are seconds since `start_ms`. `travel` is asked once, for all points."""
    points: list[tuple[float, float]] = []
    left_out: dict[str, str] = {}
    workers = tuple(_worker(day, technician, points) for technician in day.technicians if technician.active is not False)
    shifts = {worker.id: len(worker.shifts) for worker in workers}
    jobs: list[Job] = []
    published: list[Published] = []
    places: dict[str, int] = {}
    circles = _circles(day.appointments)
    for appointment in day.appointments:
        if appointment.id in circles:
            left_out[appointment.id] = "it would come after itself"
            continue
        order = day.orders.get(appointment.work_order)
        site = day.sites.get(order.site) if order else None
        if order is None or site is None or site.position is None:
            left_out[appointment.id] = "the site has no position on the map"
            continue
        if site.located == Located.NEEDS_REVIEW:
            left_out[appointment.id] = "somebody has to look whether the site's position is right"
            continue
        if order.site not in places:
            places[order.site] = _point(points, site.position)
        job = _job(day, appointment, order, places[order.site], shifts)
        if job is None:
            continue
        jobs.append(job)
        peace = _PEACE.get(A(appointment.status))
        if peace and appointment.technician in shifts and appointment.planned_start is not None:
            start_s = _seconds(day, appointment.planned_start)
            published.append(
                Published(job=job.id, worker=appointment.technician, start_s=start_s, move_worker=peace, move_time=peace)
            )
    known = {job.id for job in jobs}
    jobs = [msgspec.structs.replace(job, after=job.after & known) if job.after - known else job for job in jobs]
    depots = [row for row in day.depots if row.position] if any(job.parts or job.tools for job in jobs) else []
    problem = Problem(
        workers=workers,
        jobs=tuple(jobs),
        depots=tuple(_point(points, row.position) for row in depots),
        depot_s=DEPOT_S if depots else 0,
        travel=travel(points),
        places=tuple(Place(lat=lat, lon=lon) for lat, lon in points),
        now_s=_seconds(day, day.now_ms) if day.now_ms > day.start_ms else None,
        published=tuple(published),
    )
    return Question(problem, left_out, tuple(row.id for row in depots))


def _circles(appointments: Iterable[Any]) -> set[str]:
    """Visits that come, by way of others, after themselves."""
    after = {row.id: row.follows for row in appointments if row.follows}
    found = set()
    for first in after:
        seen, at = set[str](), first
        while at in after and at not in seen:
            seen.add(at)
            at = after[at]
        if at == first:
            found.add(first)
    return found


def imagined(day: Day, what_if: WhatIf) -> Day:
    """The day as it might be."""
    gone, off = set(what_if.without_technicians), set(what_if.without_appointments)
    return msgspec.structs.replace(
        day,
        technicians=[row for row in day.technicians if row.id not in gone],
        appointments=[row for row in day.appointments if row.id not in off],
        overtime_s=what_if.overtime_s,
    )


def standing(day: Day) -> Plan:
    """What the appointments say now, as a plan to compare with: who and when, nothing else."""
    routes: dict[str, list[Stop]] = {}
    for row in day.appointments:
        if row.technician is not None and row.planned_start is not None:
            start_s = _seconds(day, row.planned_start)
            end_s = start_s + row.duration_s
            routes.setdefault(row.technician, []).append(Stop(job=row.id, arrival_s=start_s, start_s=start_s, end_s=end_s))
    laid = tuple(
        Route(worker=who, shift=0, start_s=0, end_s=0, stops=tuple(sorted(stops, key=lambda stop: stop.start_s)), travel_s=0,
              distance_m=0, duty_s=0)
        for who, stops in routes.items()
    )  # fmt: skip
    return Plan(routes=laid, unserved=(), score=Score(promises=0, unserved=(), late=0, moves=0, cost=0))


def standing_by_shift(day: Day) -> Plan:
    """The same with each visit in the shift that it falls into, as a plan into which something more can be put."""
    routes: dict[tuple[str, int], list[Stop]] = {}
    for route in standing(day).routes:
        for stop in route.stops:
            routes.setdefault((route.worker, _shift_at(day, route.worker, day.start_ms + stop.start_s * 1000)), []).append(stop)
    laid = tuple(
        Route(worker=who, shift=shift, start_s=0, end_s=0, stops=tuple(stops), travel_s=0, distance_m=0, duty_s=0)
        for (who, shift), stops in sorted(routes.items())
    )
    return msgspec.structs.replace(standing(day), routes=laid)


def changes(day: Day, asked: Question, plan: Plan) -> Iterable[Change]:
    """One change for each appointment that the plan places elsewhere than it stands."""
    depots = dict(zip(asked.problem.depots, asked.depots, strict=True))
    rows = {appointment.id: appointment for appointment in day.appointments}
    for route in plan.routes:
        fetch_at = None
        for stop in route.stops:
            row = rows.get(stop.job)
            if stop.kind == "depot":
                fetch_at = depots[stop.place]
            if stop.kind != "job" or row is None or A(row.status) in STARTED:
                continue
            fields: dict[str, Any] = {
                "technician": route.worker,
                "planned_start": day.start_ms + stop.start_s * 1000,
                "planned_end": day.start_ms + stop.end_s * 1000,
                "travel_s": stop.travel_s,
                "fetch_at": fetch_at,
            }
            fetch_at = None
            if A(row.status) in (A.UNSCHEDULED, A.REJECTED):
                fields["status"] = A.SCHEDULED
            fields = {name: value for name, value in fields.items() if getattr(row, name) != value}
            if fields:
                yield update("appointment", row.id, day.bases[row.id], **fields)
    for left in plan.unserved:
        row = rows.get(left.job)
        if row is not None and A(row.status) is A.SCHEDULED and not row.pinned:
            yield update("appointment", row.id, day.bases[row.id], technician=None, planned_start=None, status=A.UNSCHEDULED)


def _seconds(day: Day, at_ms: int) -> int:
    return (at_ms - day.start_ms) // 1000


def _point(points: list[tuple[float, float]], position: Mapping[str, float]) -> int:
    points.append((position["lat"], position["lon"]))
    return len(points) - 1


def _worker(day: Day, technician: Any, points: list[tuple[float, float]]) -> Worker:
    home = _point(points, technician.home) if technician.home else None
    return Worker(
        id=technician.id,
        shifts=tuple(_shift(day, shift, home) for shift in day.shifts if shift.technician == technician.id),
        skills=tuple(
            SkillHeld(
                held.skill,
                held.level,
                None if held.valid_from is None else _seconds(day, held.valid_from),
                None if held.valid_to is None else _seconds(day, held.valid_to),
            )
            for held in day.skills
            if held.technician == technician.id
        ),
        tools=frozenset(technician.tools or ()),
        parts=tuple(
            Parts(product, count)
            for product, count in sorted(day.on_hand.get(scope_name("technician", technician.id), {}).items())
            if count > 0
        ),
        territories=frozenset(technician.territories or ()),
        pace_pct=round(100 * (technician.speed_factor or 1)),
    )


def _shift(day: Day, shift: Any, home: int | None) -> Shift:
    breaks: tuple[Break, ...] = ()
    if shift.break_s and shift.break_earliest is not None and shift.break_latest is not None:
        breaks = (Break(_seconds(day, shift.break_earliest), _seconds(day, shift.break_latest), shift.break_s),)
    return Shift(
        start_s=_seconds(day, shift.start),
        end_s=_seconds(day, shift.end),
        start_place=home,
        end_place=home,
        breaks=breaks,
        overtime_s=day.overtime_s,
    )


def _job(day: Day, appointment: Any, order: Any, place: int, shifts: Mapping[str, int]) -> Job | None:
    status = A(appointment.status)
    fact = None
    if status in STARTED:
        if not shifts.get(appointment.technician) or appointment.planned_start is None:
            return None
        fact = _fact(day, appointment)
    due = appointment.due or order.due
    return Job(
        id=appointment.id,
        place=place,
        duration_s=appointment.duration_s,
        windows=_windows(day, appointment),
        release_s=None if appointment.earliest is None else _seconds(day, appointment.earliest),
        due_s=None if due is None else _seconds(day, due),
        priority=order.priority,
        skills=(SkillNeed(order.skill, order.skill_level),) if order.skill else (),
        tools=frozenset(order.tools or ()),
        parts=_parts(day, order),
        territory=None,
        after=frozenset() if appointment.follows is None else frozenset({appointment.follows}),
        pinned_worker=appointment.technician if appointment.pinned else None,
        pinned_start_s=_seconds(day, appointment.planned_start) if appointment.pinned and appointment.planned_start else None,
        fact=fact,
    )


def _parts(day: Day, order: Any) -> tuple[Parts, ...]:
    """What the order still takes of each product."""
    used = day.used.get(order.id, {})
    left = {product: (count or 0) - used.get(product, 0) for product, count in sorted((order.parts or {}).items())}
    return tuple(Parts(product, count) for product, count in left.items() if count > 0)


def _windows(day: Day, appointment: Any) -> tuple[Window, ...]:
    if appointment.promised_from is None and appointment.promised_to is None:
        return ()
    start = appointment.promised_from if appointment.promised_from is not None else day.start_ms
    end = appointment.promised_to if appointment.promised_to is not None else day.end_ms
    return (Window(_seconds(day, start), _seconds(day, end)),)


def _fact(day: Day, appointment: Any) -> Fact:
    """What has begun stands as it happened: by its actual times where they are known, else as planned."""
    times = {entry["status"]: entry["at"] for entry in appointment.actual or ()}
    start_ms = times.get(A.IN_PROGRESS) or times.get(A.ON_SITE) or appointment.planned_start
    end_ms = times.get(A.COMPLETED) or times.get(A.CANNOT_COMPLETE) or start_ms + appointment.duration_s * 1000
    shift = _shift_at(day, appointment.technician, start_ms)
    return Fact(worker=appointment.technician, shift=shift, start_s=_seconds(day, start_ms), end_s=_seconds(day, end_ms))


def _shift_at(day: Day, technician: str, at_ms: int) -> int:
    """Which of a technician's shifts a moment falls into; the first if none."""
    mine = (shift for shift in day.shifts if shift.technician == technician)
    return next((at for at, shift in enumerate(mine) if shift.start <= at_ms <= shift.end), 0)
