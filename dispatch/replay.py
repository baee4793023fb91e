"""A day that moves: requests become known while it runs, and at each of these moments the plan is repaired with the past frozen.

Technicians wait where they are until the next start asks them to go. One who has nothing more to do drives home at once, and can be
called out again from there: another outing on a shift of its own, with the parts that are left. What is known when is kept by
construction, and checked at the end: `broken` judges the whole day against the problem with every request known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from msgspec import Struct, structs

from dispatch.plan import Plan, Route, Stop, Unserved
from dispatch.problem import Fact, Parts, Problem, Shift, Worker
from dispatch.replan import freeze, repair, under_way
from dispatch.score import score
from dispatch.solver import solve
from dispatch.verify import Breach, verify

FIRST = 10  # the plan before the day begins gets so many events' time
NIGHT_S = 1 << 40

Key = tuple[str, int]  # worker and shift


class Event(Struct, frozen=True, kw_only=True):
    """A moment at which requests became known; how many were known, had begun, and were in the plan or left out afterwards."""

    at_s: int
    released: tuple[str, ...]
    known: int
    begun: int
    planned: int
    left_out: int


class Replayed(Struct, frozen=True, kw_only=True):
    """The day as it went: `plan` holds for `problem`, in which later outings are shifts of their own."""

    problem: Problem
    plan: Plan
    events: tuple[Event, ...]
    breaches: tuple[Breach, ...]

    outings: int  # routes of people who were called out again from home

    @property
    def duty_s(self) -> int:
        """Time on duty over all routes."""
        return sum(route.duty_s for route in self.plan.routes)


@dataclass(slots=True)
class _Day:
    """What is known now, what has been decided, and what has happened."""

    problem: Problem
    plan: Plan
    staff: Mapping[str, Worker]  # as they came to work
    log: dict[Key, list[Stop]] = field(default_factory=dict)
    begun_s: dict[Key, int] = field(default_factory=dict)
    outings: dict[str, list[Shift]] = field(default_factory=dict)  # further shifts by worker, as they were opened
    left: dict[str, Unserved] = field(default_factory=dict)


def replay(
    problem: Problem,
    released_s: Mapping[str, int],
    *,
    seconds: float | None = 1.0,
    iterations: int | None = None,
    seed: int = 0,
    on_event: Callable[[Event], None] | None = None,
) -> Replayed:
    """Plays the day of `problem`, whose jobs become known at `released_s` (those without a moment there are known from the start).

    Each event gets `seconds`, or `iterations` where they are given; the plan before the day begins gets ten times that. A job that
    nobody can serve any more stays out with the reason of the moment at which it fell out.
    """
    first = replace(problem, jobs=tuple(job for job in problem.jobs if job.id not in released_s))
    began = solve(
        first,
        seconds=None if seconds is None else FIRST * seconds,
        iterations=None if iterations is None else FIRST * iterations,
        seed=seed,
    )
    day = _Day(first, began, {worker.id: worker for worker in problem.workers})
    _note(day)
    events = []
    moments = sorted((moment, id_) for id_, moment in released_s.items())
    for n, (at_s, group) in enumerate(groupby(moments, key=lambda row: row[0])):
        fresh = tuple(id_ for _, id_ in group)
        _advance(day, at_s)
        day.problem = replace(day.problem, jobs=(*day.problem.jobs, *(problem.job(id_) for id_ in fresh)))
        day.plan = repair(day.problem, day.plan, seconds=seconds, iterations=iterations, seed=seed + n + 1)
        _note(day)
        events.append(_event(day, at_s, fresh))
        if on_event is not None:
            on_event(events[-1])
    _record(day, NIGHT_S)
    whole, plan = _whole_day(problem, day)
    return Replayed(
        problem=whole,
        plan=plan,
        events=tuple(events),
        breaches=(*verify(whole, plan), *broken(whole, plan, released_s)),
        outings=sum(route.shift >= len(problem.worker(route.worker).shifts) for route in plan.routes),
    )


def _record(day: _Day, now_s: int) -> Plan:
    """Writes down what has begun since; what is left of the plan."""
    routes = []
    begun = under_way(day.problem, day.plan, now_s)
    for route in day.plan.routes:
        key = (route.worker, route.shift)
        stops = begun.get(key, ())
        if stops:
            day.begun_s.setdefault(key, route.start_s)
            day.log.setdefault(key, []).extend(stops)
        routes.append(structs.replace(route, stops=tuple(stop for stop in route.stops if stop not in stops)))
    return structs.replace(day.plan, routes=tuple(routes))


def _advance(day: _Day, now_s: int) -> None:
    """Lets time pass: what has begun becomes facts, and whoever had nothing left to do has gone home."""
    rest = _record(day, now_s)
    before = {(route.worker, route.shift): len(route.stops) for route in day.plan.routes}
    day.problem = freeze(day.problem, day.plan, now_s)
    facts: dict[Key, list[Fact]] = {}
    for fact in (job.fact for job in day.problem.jobs if job.fact is not None):
        facts.setdefault((fact.worker, fact.shift), []).append(fact)
    open_jobs = {job.id for job in day.problem.jobs if job.fact is None}
    busy = {(r.worker, r.shift) for r in day.plan.routes if any(s.kind == "job" and s.job in open_jobs for s in r.stops)}
    workers = list(day.problem.workers)
    for key in sorted(day.log.keys() & before.keys() - busy):
        at = day.problem.worker_index[key[0]]
        outing = _gone_home(day, workers[at], key, facts.get(key, []), now_s)
        if outing is not None:
            workers[at] = outing
    day.problem, day.plan = replace(day.problem, workers=tuple(workers)), rest


def _gone_home(day: _Day, worker: Worker, key: Key, facts: list[Fact], now_s: int) -> Worker | None:
    """The worker with the shift closed and another one open from home on; None for one who has not left for home, or has none."""
    shift = worker.shifts[key[1]]
    last = day.log[key][-1]
    closed = shift.max_jobs is not None and shift.max_jobs <= len(facts)
    if closed or last.end_s >= now_s or shift.end_place is None:
        return None
    home_s = _home_s(day.problem, shift, day.log[key])
    done = sum(stop.kind == "job" for stop in day.log[key])
    most = None if shift.max_jobs is None else shift.max_jobs - done
    again = structs.replace(
        shift, start_s=min(home_s, shift.end_s), start_place=shift.end_place, end_place=shift.end_place, max_jobs=most
    )
    day.outings.setdefault(worker.id, []).append(again)
    ended = structs.replace(shift, max_jobs=len(facts), breaks=())
    shifts = (*worker.shifts[: key[1]], ended, *worker.shifts[key[1] + 1 :], again)
    own = day.staff[worker.id]
    stock = {item.part: item.count for item in own.parts}
    for (id_, _), stops in day.log.items():
        for part, count in _taken(day.problem, stops if id_ == worker.id else ()):
            stock[part] = stock.get(part, 0) - count
    parts = tuple(Parts(item.part, max(0, stock[item.part])) for item in own.parts)
    return structs.replace(worker, shifts=shifts, tools=own.tools, parts=parts)


def _taken(problem: Problem, stops: Sequence[Stop]) -> Iterator[tuple[str, int]]:
    """(part, count) taken from the van by these stops of one outing: all that comes before a call at the depot."""
    for stop in stops:
        if stop.kind == "depot":
            return
        if stop.kind == "job":
            yield from ((need.part, need.count) for need in problem.job(stop.job).parts)


def _home_s(problem: Problem, shift: Shift, stops: list[Stop]) -> int:
    """When one who has driven home after these stops is there; breaks behind the last of them are taken on the way."""
    at = max(n for n, stop in enumerate(stops) if stop.kind != "break")
    left_s = 0 if shift.end_place is None else int(problem.travel.seconds[stops[at].place, shift.end_place])
    t = stops[at].end_s
    for pause in stops[at + 1 :]:
        t, left_s = max(t + left_s, pause.start_s) + pause.end_s - pause.start_s, 0
    return t + left_s


def _note(day: _Day) -> None:
    """Remembers why a job is out, from the moment it fell out on."""
    out = {left.job: left for left in day.plan.unserved}
    day.left = {id_: day.left.get(id_, left) for id_, left in out.items()}


def _event(day: _Day, at_s: int, fresh: tuple[str, ...]) -> Event:
    begun = {stop.job for stops in day.log.values() for stop in stops if stop.kind == "job"}
    planned = {id_ for route in day.plan.routes for id_ in route.jobs} & {job.id for job in day.problem.jobs if job.fact is None}
    return Event(
        at_s=at_s,
        released=fresh,
        known=len(begun) + sum(job.fact is None for job in day.problem.jobs),
        begun=len(begun),
        planned=len(planned),
        left_out=len(day.plan.unserved),
    )


def _whole_day(problem: Problem, day: _Day) -> tuple[Problem, Plan]:
    """The problem with every request and each further outing as a shift, and the day as a plan for it."""
    workers = tuple(structs.replace(w, shifts=(*w.shifts, *day.outings.get(w.id, ()))) for w in problem.workers)
    whole = replace(problem, workers=workers, published=())
    routes = [_route(whole, key, day.begun_s[key], stops) for key, stops in sorted(day.log.items())]
    order = {(worker.id, shift): (n, shift) for n, worker in enumerate(workers) for shift in range(len(worker.shifts))}
    routes.sort(key=lambda route: order[route.worker, route.shift])
    served = {id_ for route in routes for id_ in route.jobs}
    nobody = Unserved(job="", rule="no_room", words="the search found no room for it")
    left = tuple(structs.replace(day.left.get(job.id, nobody), job=job.id) for job in problem.jobs if job.id not in served)
    return whole, Plan(routes=tuple(routes), unserved=left, score=score(whole, routes))


def _route(problem: Problem, key: Key, begun_s: int, stops: list[Stop]) -> Route:
    shift = problem.worker(key[0]).shifts[key[1]]
    end_s = _home_s(problem, shift, stops)
    last = next(stop.place for stop in reversed(stops) if stop.kind != "break")
    home = (0, 0)
    if shift.end_place is not None:
        home = (int(problem.travel.seconds[last, shift.end_place]), int(problem.travel.metres[last, shift.end_place]))
    paused_s = sum(stop.end_s - stop.start_s for stop in stops if stop.kind == "break")
    return Route(
        worker=key[0],
        shift=key[1],
        start_s=begun_s,
        end_s=end_s,
        stops=tuple(stops),
        travel_s=sum(stop.travel_s for stop in stops) + home[0],
        distance_m=sum(stop.distance_m for stop in stops) + home[1],
        duty_s=end_s - begun_s - paused_s,
        overtime_s=max(0, end_s - shift.end_s),
    )


def broken(problem: Problem, plan: Plan, released_s: Mapping[str, int]) -> Iterator[Breach]:
    """What `verify` cannot know of a day that moved: nobody sets out for a job before it is known, a worker's outings follow each
    other, and share what is on the van."""
    for route in plan.routes:
        for stop in route.stops:
            if stop.kind == "job" and stop.arrival_s - stop.travel_s < released_s.get(stop.job, stop.arrival_s - stop.travel_s):
                yield Breach(rule="released", worker=route.worker, job=stop.job, words="someone set out before it was known")
    for worker in problem.workers:
        until_s: int | None = None
        stock = {item.part: item.count for item in worker.parts}
        for route in sorted((r for r in plan.routes if r.worker == worker.id), key=lambda r: r.start_s):
            if until_s is not None and route.start_s < until_s:
                yield Breach(rule="outings", worker=worker.id, words=f"sets out at {route.start_s} but is home at {until_s}")
            until_s = route.end_s
            for part, count in _taken(problem, route.stops):
                stock[part] = stock.get(part, 0) - count
        for part, count in stock.items():
            if count < 0:
                yield Breach(rule="outings", worker=worker.id, words=f"takes {-count} × {part} more than there were on the van")
