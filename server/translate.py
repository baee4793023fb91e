"""Records to a planning problem. Here and in `translate_back`, and nowhere else, the two vocabularies meet. Pure."""

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
from server.plan_request import WhatIf
from sync.entities.customers import Located
from sync.entities.flows import AppointmentStatus as A
from sync.entities.flows import LeadStatus
from sync.links import scope_name

STARTED: Final = frozenset({A.TRAVELING, A.ON_SITE, A.IN_PROGRESS, A.PAUSED, A.COMPLETED, A.CANNOT_COMPLETE})
PLANNABLE: Final = frozenset({A.UNSCHEDULED, A.SCHEDULED, A.DISPATCHED, A.ACCEPTED, A.REJECTED})
HOUR_CENTS: Final = 6_000
"""What an hour of a technician costs where no technician's record says."""
DEPOT_S: Final = 600
"""A call at a depot: park, load, sign."""
_NOTHING_EXPECTED: Final = frozenset({LeadStatus.DISQUALIFIED, LeadStatus.LOST})
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
    leads: Mapping[str, Any] = {}
    """The leads that optional orders are worth something by."""


class Question(msgspec.Struct, frozen=True):
    """The problem; what cannot even be asked: appointment id → why; which depot each of the problem's depots is, in order; and
    the jobs that say where the mates of a crew under way are: job id → appointment id."""

    problem: Problem
    left_out: Mapping[str, str]
    depots: Sequence[str] = ()
    mates: Mapping[str, str] = {}

    def told(self, plan: Plan) -> Plan:
        """The plan in terms of appointments: of a crew under way each one is at the same."""
        if not self.mates:
            return plan
        routes = (
            msgspec.structs.replace(
                route,
                stops=tuple(
                    msgspec.structs.replace(stop, job=self.mates[stop.job]) if stop.job in self.mates else stop
                    for stop in route.stops
                ),
            )
            for route in plan.routes
        )
        return msgspec.structs.replace(plan, routes=tuple(routes))


def question(day: Day, travel: Callable[[Sequence[tuple[float, float]]], TravelMatrix] = estimate) -> Question:
    """The planning problem of a day; times in it are seconds since `start_ms`. `travel` is asked once, for all points."""
    points: list[tuple[float, float]] = []
    left_out: dict[str, str] = {}
    workers = tuple(_worker(day, technician, points) for technician in day.technicians if technician.active is not False)
    shifts = {worker.id: len(worker.shifts) for worker in workers}
    jobs: list[Job] = []
    published: list[Published] = []
    places: dict[str, int] = {}
    mates: dict[str, str] = {}
    hour_cents = _hour_cents(day)
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
        if A(appointment.status) in STARTED:
            happened = _happened(day, appointment, order, places[order.site], shifts)
            jobs += happened
            mates |= {job.id: appointment.id for job in happened[1:]}
            continue
        jobs.append(_job(day, appointment, order, places[order.site], workers, hour_cents))
        peace = _PEACE.get(A(appointment.status))
        if peace and appointment.planned_start is not None:
            start_s = seconds(day, appointment.planned_start)
            published += [
                Published(job=appointment.id, worker=member, start_s=start_s, move_worker=peace, move_time=peace)
                for member in crew_of(appointment)
                if member in shifts
            ]
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
        now_s=seconds(day, day.now_ms) if day.now_ms > day.start_ms else None,
        published=tuple(published),
    )
    return Question(problem, left_out, tuple(row.id for row in depots), mates)


def crew_of(appointment: Any) -> tuple[str, ...]:
    """Who makes a visit as it stands: the technician who leads, then the mates."""
    leads = () if appointment.technician is None else (appointment.technician,)
    return (*leads, *sorted(set(appointment.mates or ()).difference(leads)))


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


def seconds(day: Day, at_ms: int) -> int:
    """A moment in the problem's time."""
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
                None if held.valid_from is None else seconds(day, held.valid_from),
                None if held.valid_to is None else seconds(day, held.valid_to),
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
        breaks = (Break(seconds(day, shift.break_earliest), seconds(day, shift.break_latest), shift.break_s),)
    return Shift(
        start_s=seconds(day, shift.start),
        end_s=seconds(day, shift.end),
        start_place=home,
        end_place=home,
        breaks=breaks,
        overtime_s=day.overtime_s,
    )


def _happened(day: Day, appointment: Any, order: Any, place: int, shifts: Mapping[str, int]) -> list[Job]:
    """A visit that has begun, as what happened; of a crew one more for each mate, which says where they are."""
    there = [member for member in crew_of(appointment) if shifts.get(member)]
    if not there or appointment.planned_start is None:
        return []
    visit = Job(
        id=appointment.id,
        place=place,
        duration_s=appointment.duration_s,
        due_s=_due_s(day, appointment, order),
        priority=order.priority,
        parts=_parts(day, order),
        fact=_fact(day, appointment, there[0]),
    )
    return [visit] + [
        Job(
            id=f"{appointment.id} of {mate}",
            place=place,
            duration_s=appointment.duration_s,
            priority=None,
            fact=_fact(day, appointment, mate),
        )
        for mate in there[1:]
    ]


def _due_s(day: Day, appointment: Any, order: Any) -> int | None:
    due = appointment.due or order.due
    return None if due is None else seconds(day, due)


def _job(day: Day, appointment: Any, order: Any, place: int, workers: Sequence[Worker], hour_cents: int) -> Job:
    crew, kept = order.crew or 1, frozenset[str]()
    if appointment.pinned and appointment.mates:
        kept = frozenset(crew_of(appointment))
        crew = max(crew, len(kept))
    windows = _windows(day, appointment)
    owed = bool(windows) or A(appointment.status) in (A.DISPATCHED, A.ACCEPTED)  # what was promised or sent out is
    optional = bool(order.optional) and not owed
    return Job(
        id=appointment.id,
        place=place,
        duration_s=appointment.duration_s,
        windows=windows,
        release_s=None if appointment.earliest is None else seconds(day, appointment.earliest),
        due_s=_due_s(day, appointment, order),
        priority=None if optional else order.priority,
        value=_value_cents(day, order) * 3600 // hour_cents if optional else 0,
        skills=(SkillNeed(order.skill, order.skill_level),) if order.skill else (),
        tools=frozenset(order.tools or ()),
        parts=_parts(day, order),
        territory=None,
        excluded=frozenset(worker.id for worker in workers).difference(kept) if crew == len(kept) else frozenset(),
        crew=crew,
        after=frozenset() if appointment.follows is None else frozenset({appointment.follows}),
        pinned_worker=appointment.technician if appointment.pinned else None,
        pinned_start_s=seconds(day, appointment.planned_start) if appointment.pinned and appointment.planned_start else None,
    )


def _hour_cents(day: Day) -> int:
    """What an hour costs on average. The planner's prices are seconds of work, so this turns money into them."""
    known = [row.cost_hour_cents for row in day.technicians if row.cost_hour_cents and row.cost_hour_cents > 0]
    return round(sum(known) / len(known)) if known else HOUR_CENTS


def _value_cents(day: Day, order: Any) -> int:
    """What an optional order brings: as it says itself, or its lead's estimate times the chance that its score is."""
    if order.value_cents is not None:
        return int(order.value_cents)
    lead = day.leads.get(order.lead)
    if lead is None or LeadStatus(lead.status) in _NOTHING_EXPECTED:
        return 0
    return max(0, lead.estimate_cents or 0) * (lead.score or 0) // 100


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
    return (Window(seconds(day, start), seconds(day, end)),)


def _fact(day: Day, appointment: Any, member: str) -> Fact:
    """What has begun stands as it happened: by its actual times where they are known, else as planned."""
    times = {entry["status"]: entry["at"] for entry in appointment.actual or ()}
    start_ms = times.get(A.IN_PROGRESS) or times.get(A.ON_SITE) or appointment.planned_start
    end_ms = times.get(A.COMPLETED) or times.get(A.CANNOT_COMPLETE) or start_ms + appointment.duration_s * 1000
    shift = shift_at(day, member, start_ms)
    return Fact(worker=member, shift=shift, start_s=seconds(day, start_ms), end_s=seconds(day, end_ms))


def shift_at(day: Day, technician: str, at_ms: int) -> int:
    """Which of a technician's shifts a moment falls into; the first if none."""
    mine = (shift for shift in day.shifts if shift.technician == technician)
    return next((at for at, shift in enumerate(mine) if shift.start <= at_ms <= shift.end), 0)
