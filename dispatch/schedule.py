"""From an order of visits to times: the shortest day that keeps the order.

A stretch of route maps the moment it begins, t, to the moment it is over: `max(t, ready) + length` for t up to `latest`,
and never after that. Stretches compose in O(1) (Vidal, Crainic, Gendreau and Prins, 2013), so the whole route is one such triple;
beginning at `ready` is both the shortest day and the earliest possible end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

from dispatch.compile import FAR_S, Compiled, Way, shift_of, work_s
from dispatch.plan import Route, Stop
from dispatch.problem import Problem


@dataclass(frozen=True, slots=True)
class Stretch:
    """`max(t, ready_s) + length_s` for t ≤ latest_s."""

    length_s: int
    ready_s: int
    latest_s: int

    def then(self, after: Stretch) -> Stretch | None:
        """This stretch followed by another; None when the other can no longer be begun in time."""
        if self.ready_s + self.length_s > after.latest_s:
            return None
        wait_s = max(0, after.ready_s - self.length_s - self.latest_s)
        latest_s = min(self.latest_s, after.latest_s - self.length_s)
        ready_s = min(latest_s, max(self.ready_s, after.ready_s - self.length_s))
        return Stretch(self.length_s + after.length_s + wait_s, ready_s, latest_s)


@dataclass(frozen=True, slots=True)
class Visit:
    """A job (index in the problem) to be started within [start_s, end_s], or a call at a depot (job -1)."""

    job: int
    place: int
    start_s: int
    end_s: int


def windows_in_order(
    compiled: Compiled, way: Way, jobs: Sequence[int], wanted: Mapping[int, int] | None = None
) -> list[Visit] | None:
    """Visits for problem jobs in this order, each in the first alternative that can be reached; None when one cannot.

    A job in `wanted` gets the alternative that holds that start, if it can still be reached. A negative number -1 - p stands for
    a call at the depot in place p.
    """
    problem = compiled.problem
    worker = problem.workers[way.worker]
    rank = {i: k for k, i in enumerate(compiled.open_jobs)}
    t, place, visits = way.earliest_s, way.start_place, []
    for i in jobs:
        if i < 0:
            t += travel_s(problem, place, -1 - i) + problem.depot_s
            place = -1 - i
            visits.append(Visit(-1, place, -FAR_S, FAR_S))
            continue
        job = problem.jobs[i]
        t += travel_s(problem, place, job.place)
        reached = [option for option in compiled.alternatives[rank[i]] if t <= option.end_s]
        if not reached:
            return None
        at_s = None if wanted is None else wanted.get(i)
        option = next((o for o in reached if at_s is not None and o.start_s <= at_s <= o.end_s), reached[0])
        visits.append(Visit(i, job.place, option.start_s, option.end_s))
        t = max(t, option.start_s) + work_s(job, worker)
        place = job.place
    return visits


def travel_s(problem: Problem, a: int, b: int) -> int:
    """Seconds from place a to place b; 0 where either end is open (-1)."""
    return 0 if a < 0 or b < 0 else int(problem.travel.seconds[a, b])


def travel_m(problem: Problem, a: int, b: int) -> int:
    """Metres from place a to place b; 0 where either end is open (-1)."""
    return 0 if a < 0 or b < 0 else int(problem.travel.metres[a, b])


def lay_out(problem: Problem, way: Way, visits: Sequence[Visit], gaps: Sequence[int] | None = None) -> Route | None:
    """The timed route for these visits, or None when no times keep every bound.

    `gaps` says for each pending break where it falls: 0 before the day starts, g from 1 to len(visits) on the drive to visit g - 1,
    len(visits) + 1 on the drive home, len(visits) + 2 after the day has ended. With None the best gaps are found by trial.
    """
    chosen = best_gaps(problem, way, visits) if gaps is None else gaps
    whole = None if chosen is None else _whole(problem, way, visits, chosen)
    return None if whole is None or chosen is None else _timed(problem, way, visits, chosen, whole.ready_s)


def best_gaps(problem: Problem, way: Way, visits: Sequence[Visit]) -> tuple[int, ...] | None:
    """Where the pending breaks fall so that the day is least, by trial of all; None when no times keep every bound."""
    best: Route | None = None
    found: tuple[int, ...] | None = None
    for trial in combinations_with_replacement(range(len(visits) + 3), len(way.breaks)):
        whole = _whole(problem, way, visits, trial)
        if whole is None:
            continue
        route = _timed(problem, way, visits, trial, whole.ready_s)
        if best is None or (route.overtime_s, route.duty_s, route.end_s) < (best.overtime_s, best.duty_s, best.end_s):
            best, found = route, trial
    return found


def _visit_work_s(problem: Problem, way: Way, visit: Visit) -> int:
    return problem.depot_s if visit.job < 0 else work_s(problem.jobs[visit.job], problem.workers[way.worker])


def _legs(
    problem: Problem, way: Way, visits: Sequence[Visit], gaps: Sequence[int]
) -> Iterator[tuple[Visit | None, int, int, list[int]]]:
    """(visit or None for the end, travel seconds, metres, breaks on the way) in order. Gap g + 1 is the drive to visit g."""
    place = way.start_place
    for at, visit in enumerate((*visits, None)):
        to = way.end_place if visit is None else visit.place
        pauses = [b for b, gap in zip(way.breaks, gaps, strict=True) if gap == at + 1]
        yield visit, travel_s(problem, place, to), travel_m(problem, place, to), pauses
        place = to


def _whole(problem: Problem, way: Way, visits: Sequence[Visit], gaps: Sequence[int]) -> Stretch | None:
    """The route as one stretch."""
    breaks = shift_of(problem, way).breaks
    chosen = list(zip(way.breaks, gaps, strict=True))
    earliest_s = max([way.earliest_s, *(breaks[b].earliest_s + breaks[b].duration_s for b, gap in chosen if gap == 0)])
    end_s = min([way.end_s, *(breaks[b].latest_s for b, gap in chosen if gap == len(visits) + 2)])
    if earliest_s > way.latest_start_s or (way.facts and 0 in gaps):
        return None  # a day that has begun has no time before it
    whole: Stretch | None = Stretch(0, earliest_s, way.latest_start_s)
    for visit, drive_s, _, pauses in _legs(problem, way, visits, gaps):
        left_s = drive_s
        for b in pauses:
            if whole is not None:
                whole = whole.then(Stretch(left_s + breaks[b].duration_s, breaks[b].earliest_s - left_s, breaks[b].latest_s))
            left_s = 0
        if whole is not None and left_s:
            whole = whole.then(Stretch(left_s, -FAR_S, FAR_S))
        if whole is None:
            return None
        if visit is None:
            return whole.then(Stretch(0, -FAR_S, end_s))
        whole = whole.then(Stretch(_visit_work_s(problem, way, visit), visit.start_s, visit.end_s))
    return whole


def _timed(problem: Problem, way: Way, visits: Sequence[Visit], gaps: Sequence[int], start_s: int) -> Route:
    worker = problem.workers[way.worker]
    shift = shift_of(problem, way)
    t, paused_s, total_s, total_m = start_s, 0, 0, 0
    stops = _fact_stops(problem, way)
    begun_s = stops[0].start_s if stops else start_s
    for visit, drive_s, drive_m, pauses in _legs(problem, way, visits, gaps):
        left_s = drive_s
        for b in pauses:
            pause = shift.breaks[b]
            from_s = max(t, pause.earliest_s)
            stops.append(Stop(kind="break", arrival_s=from_s, start_s=from_s, end_s=from_s + pause.duration_s))
            t = max(t + left_s, pause.earliest_s) + pause.duration_s
            left_s = 0
            paused_s += pause.duration_s
        t += left_s
        total_s, total_m = total_s + drive_s, total_m + drive_m
        if visit is None:
            break
        from_s = max(t, visit.start_s)
        until_s = from_s + _visit_work_s(problem, way, visit)
        stops.append(
            Stop(
                kind="depot" if visit.job < 0 else "job",
                job="" if visit.job < 0 else problem.jobs[visit.job].id,
                place=visit.place,
                arrival_s=t,
                start_s=from_s,
                end_s=until_s,
                travel_s=drive_s,
                distance_m=drive_m,
            )
        )
        t = until_s
    return Route(
        worker=worker.id,
        shift=way.shift,
        start_s=begun_s,
        end_s=t,
        stops=tuple(stops),
        travel_s=total_s,
        distance_m=total_m,
        duty_s=t - begun_s - paused_s,
        overtime_s=max(0, t - shift.end_s),
    )


def _fact_stops(problem: Problem, way: Way) -> list[Stop]:
    """What already happened on this shift: times as they were, without travel of ours."""
    stops = []
    for i in way.facts:
        job = problem.jobs[i]
        assert job.fact is not None
        stops.append(Stop(job=job.id, place=job.place, arrival_s=job.fact.start_s, start_s=job.fact.start_s, end_s=job.fact.end_s))
    return stops
