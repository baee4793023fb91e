"""Checks a plan against a problem from the definition alone. Nothing here is shared with any search.

Every rule is one function that yields breaches; `verify` runs them all. A plan with no breach may be published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

from msgspec import Struct

from dispatch.plan import Plan, Route, Stop
from dispatch.problem import Job, Problem, Shift, Worker
from dispatch.recount import recount


class Breach(Struct, frozen=True, kw_only=True):
    """A rule that a plan breaks, by name; the worker and job it concerns (empty when none); what is wrong in words."""

    rule: str
    words: str
    worker: str = ""
    job: str = ""


def verify(problem: Problem, plan: Plan) -> tuple[Breach, ...]:
    """All breaches of a plan, empty when it is sound. Never raises on a plan that decodes."""
    found = list(_known(problem, plan))
    if found:
        return tuple(found)  # names that lead nowhere: nothing else can be judged
    for name, plan_rule in PLAN_RULES.items():
        found += [Breach(rule=name, worker=worker, job=job, words=words) for worker, job, words in plan_rule(problem, plan)]
    for route in plan.routes:
        worker = problem.worker(route.worker)
        shift = worker.shifts[route.shift]
        for name, route_rule in ROUTE_RULES.items():
            found += [
                Breach(rule=name, worker=worker.id, job=job, words=words)
                for job, words in route_rule(problem, worker, shift, route)
            ]
    return tuple(found)


def _known(problem: Problem, plan: Plan) -> Iterator[Breach]:
    jobs = {job.id for job in problem.jobs}
    shifts = {worker.id: len(worker.shifts) for worker in problem.workers}
    for route in plan.routes:
        if not 0 <= route.shift < shifts.get(route.worker, 0):
            yield Breach(rule="known", worker=route.worker, words=f"there is no shift {route.shift} of {route.worker}")
        for stop in route.stops:
            if stop.kind == "job" and stop.job not in jobs:
                yield Breach(rule="known", worker=route.worker, job=stop.job, words=f"there is no job {stop.job}")
    for entry in plan.unserved:
        if entry.job not in jobs:
            yield Breach(rule="known", job=entry.job, words=f"there is no job {entry.job}")


def _job_stops(problem: Problem, route: Route) -> Iterator[tuple[Stop, Job]]:
    for stop in route.stops:
        if stop.kind == "job":
            yield stop, problem.job(stop.job)


# Rules of the whole plan: (worker, job, words).


def one_route_a_shift(_problem: Problem, plan: Plan) -> Iterator[tuple[str, str, str]]:
    """A shift has one route at most."""
    for (worker, shift), count in Counter((route.worker, route.shift) for route in plan.routes).items():
        if count > 1:
            yield worker, "", f"shift {shift} has {count} routes"


def each_job_once(problem: Problem, plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Each job is served by its whole crew of different workers, or listed as unserved with a reason."""
    served: dict[str, list[str]] = {}
    for route in plan.routes:
        for stop, _ in _job_stops(problem, route):
            served.setdefault(stop.job, []).append(route.worker)
    left = Counter(entry.job for entry in plan.unserved)
    for job in problem.jobs:
        who = served.get(job.id, [])
        if left[job.id] + bool(who) != 1:
            yield "", job.id, f"it is served by {len(who)} and listed as unserved {left[job.id]} times"
        elif job.fact is not None:
            continue  # it happened, whoever was there
        elif who and (len(who) != job.crew or len(set(who)) != job.crew):
            yield "", job.id, f"it takes {job.crew} different workers, not {', '.join(who)}"
    for entry in plan.unserved:
        if not entry.rule or not entry.words:
            yield "", entry.job, "it is unserved without a reason"


def crew_together(problem: Problem, plan: Plan) -> Iterator[tuple[str, str, str]]:
    """A crew starts at one moment, and the worker to whom its job is pinned is one of it."""
    starts: dict[str, set[int]] = {}
    there = {(route.worker, job) for route in plan.routes for job in route.jobs}
    for route in plan.routes:
        for stop, _ in _job_stops(problem, route):
            starts.setdefault(stop.job, set()).add(stop.start_s)
    for id_, moments in starts.items():
        if len(moments) > 1:
            yield "", id_, f"its crew starts at {sorted(moments)}"
        job = problem.job(id_)
        if job.crew > 1 and job.pinned_worker is not None and job.fact is None and (job.pinned_worker, id_) not in there:
            yield "", id_, f"{job.pinned_worker} is not in its crew"


def precedence(problem: Problem, plan: Plan) -> Iterator[tuple[str, str, str]]:
    """A job starts after the jobs it comes after have ended, and not at all without them."""
    spans: dict[str, tuple[int, int]] = {}
    for route in plan.routes:
        for stop, job in _job_stops(problem, route):
            low, high = spans.get(job.id, (stop.start_s, stop.end_s))
            spans[job.id] = (min(low, stop.start_s), max(high, stop.end_s))
    for job in problem.jobs:
        for other in sorted(job.after) if job.id in spans and job.fact is None else ():
            if other not in spans or spans[other][1] > spans[job.id][0]:
                yield "", job.id, f"{other} has not ended when it starts"


def facts_stand(problem: Problem, plan: Plan) -> Iterator[tuple[str, str, str]]:
    """What has happened is in the plan as it happened, ahead of what is still to come."""
    found = {}
    for route in plan.routes:
        behind = True
        for stop, job in _job_stops(problem, route):
            if job.fact is not None:
                found[job.id] = (route.worker, route.shift, stop.start_s, stop.end_s)
                if not behind:
                    yield route.worker, job.id, "it has happened already but follows a job still to come"
            behind = behind and job.fact is not None
    for job in problem.jobs:
        if job.fact is not None:
            fact = (job.fact.worker, job.fact.shift, job.fact.start_s, job.fact.end_s)
            if found.get(job.id) != fact:
                yield job.fact.worker, job.id, f"it happened as {fact} but the plan says {found.get(job.id)}"


def score_is_true(problem: Problem, plan: Plan) -> Iterator[tuple[str, str, str]]:
    """The score is what the plan's own stops and routes add up to."""
    expected = recount(problem, plan)
    if plan.score != expected:
        yield "", "", f"the score should be {expected}, not {plan.score}"


# Rules of one route: (job, words).


def travel_is_real(problem: Problem, worker: Worker, shift: Shift, route: Route) -> Iterator[tuple[str, str]]:
    """Stops lie at their jobs' places, travel is the matrix's, and nobody arrives before they can have driven there."""
    place = shift.start_place
    left_s, breaks_s, metres, seconds = route.start_s, 0, 0, 0
    for stop in route.stops:
        if stop.kind == "break":
            breaks_s += stop.end_s - stop.start_s
            if (stop.place, stop.travel_s, stop.distance_m) != (-1, 0, 0):
                yield "", "a break has no place and no travel of its own"
            continue
        if not _at_its_place(problem, stop):
            yield stop.job, f"it is not at place {stop.place}"
            return
        fact = stop.kind == "job" and problem.job(stop.job).fact is not None
        expected_s, expected_m = (0, 0) if fact else _leg(problem, place, stop.place)
        if not fact and stop.arrival_s < left_s + expected_s + breaks_s:
            yield stop.job, f"arrival at {stop.arrival_s} is too early after leaving at {left_s}"
        if (stop.travel_s, stop.distance_m) != (expected_s, expected_m):
            yield stop.job, f"travel is {expected_s} s and {expected_m} m, not {stop.travel_s} s and {stop.distance_m} m"
        seconds, metres = seconds + expected_s, metres + expected_m
        place, left_s, breaks_s = stop.place, stop.end_s, 0
    home_s, home_m = _leg(problem, place, shift.end_place)
    if route.end_s < left_s + home_s + breaks_s:
        yield "", f"{worker.id} cannot be home by {route.end_s}"
    if (route.travel_s, route.distance_m) != (seconds + home_s, metres + home_m):
        yield "", f"the route travels {seconds + home_s} s and {metres + home_m} m"


def _at_its_place(problem: Problem, stop: Stop) -> bool:
    return stop.place == problem.job(stop.job).place if stop.kind == "job" else stop.place in problem.depots


def _leg(problem: Problem, a: int | None, b: int | None) -> tuple[int, int]:
    """Seconds and metres from a to b; nothing where an end is open."""
    if a is None or b is None:
        return 0, 0
    return int(problem.travel.seconds[a, b]), int(problem.travel.metres[a, b])


def times_in_order(problem: Problem, _worker: Worker, _shift: Shift, route: Route) -> Iterator[tuple[str, str]]:
    """Work starts at or after arrival, stops follow each other, and the route spans them."""
    for stop in route.stops:
        if not stop.arrival_s <= stop.start_s <= stop.end_s:
            yield stop.job, "arrival, start and end are out of order"
    for before, after in pairwise(route.stops):
        facts = all(s.kind == "job" and problem.job(s.job).fact is not None for s in (before, after))
        if after.start_s < before.end_s and not facts:
            yield after.job, "it starts before the stop ahead of it has ended"
    if not route.stops:
        yield "", "a route without stops"
    elif route.stops[0].start_s < route.start_s or route.stops[-1].end_s > route.end_s:
        yield "", "the route does not span its stops"


def work_takes_its_time(problem: Problem, worker: Worker, _shift: Shift, route: Route) -> Iterator[tuple[str, str]]:
    """Work lasts the job's duration at the worker's pace, a depot call its own time."""
    for stop in route.stops:
        if stop.kind == "depot" and stop.end_s - stop.start_s != problem.depot_s:
            yield "", f"a depot call takes {problem.depot_s} s"
    for stop, job in _job_stops(problem, route):
        exact = job.duration_s * worker.pace_pct
        takes_s = exact // 100 + (1 if exact % 100 else 0)
        if job.fact is None and stop.end_s - stop.start_s != takes_s:
            yield job.id, f"it takes {worker.id} {takes_s} s"


def windows(problem: Problem, _worker: Worker, _shift: Shift, route: Route) -> Iterator[tuple[str, str]]:
    """Work starts inside one of the job's windows, at its pinned moment, and not before its release."""
    for stop, job in _job_stops(problem, route):
        if job.fact is not None:
            continue
        if job.windows and not any(w.start_s <= stop.start_s <= w.end_s for w in job.windows):
            yield job.id, f"a start at {stop.start_s} lies in none of its windows"
        if job.release_s is not None and stop.start_s < job.release_s:
            yield job.id, f"a start at {stop.start_s} is before its release"
        if job.pinned_start_s is not None and stop.start_s != job.pinned_start_s:
            yield job.id, f"it is pinned to start at {job.pinned_start_s}"


def shift_hours(problem: Problem, worker: Worker, shift: Shift, route: Route) -> Iterator[tuple[str, str]]:
    """The route lies within the shift and its overtime, and adds up."""
    happened = [job.fact for _, job in _job_stops(problem, route) if job.fact is not None]
    if not happened and route.start_s < shift.start_s:
        yield "", f"{worker.id} starts before the shift"
    if route.end_s > shift.end_s + shift.overtime_s and len(happened) < len(route.jobs):
        yield "", f"{worker.id} is home after the shift and its overtime"
    paused_s = sum(stop.end_s - stop.start_s for stop in route.stops if stop.kind == "break")
    if route.duty_s != route.end_s - route.start_s - paused_s:
        yield "", f"duty is {route.end_s - route.start_s - paused_s} s"
    if route.overtime_s != max(0, route.end_s - shift.end_s):
        yield "", f"overtime is {max(0, route.end_s - shift.end_s)} s"
    if shift.max_jobs is not None and len(route.jobs) > shift.max_jobs:
        yield "", f"{len(route.jobs)} jobs where {shift.max_jobs} are the most"


def breaks_taken(problem: Problem, _worker: Worker, shift: Shift, route: Route) -> Iterator[tuple[str, str]]:
    """Each break that falls into the working day is taken once, for its time, starting within its bounds."""
    taken = [(stop.start_s, stop.end_s) for stop in route.stops if stop.kind == "break"]
    happened = [job.fact.end_s for _, job in _job_stops(problem, route) if job.fact is not None]
    behind_s = max([*happened, problem.now_s or 0]) if happened else None
    for pause in sorted(shift.breaks, key=lambda pause: pause.latest_s):
        fitting = [
            (start_s, end_s)
            for start_s, end_s in sorted(taken)
            if pause.earliest_s <= start_s <= pause.latest_s and end_s - start_s == pause.duration_s
        ]
        if fitting:
            taken.remove(fitting[0])
            continue
        void = route.start_s >= pause.earliest_s + pause.duration_s or route.end_s <= pause.latest_s
        if not void and (behind_s is None or pause.latest_s >= behind_s):
            yield "", f"the break between {pause.earliest_s} and {pause.latest_s} is not taken"
    for start_s, end_s in taken:
        yield "", f"the break {start_s}–{end_s} is none of the shift's"


def not_in_the_past(problem: Problem, _worker: Worker, _shift: Shift, route: Route) -> Iterator[tuple[str, str]]:
    """What has not happened yet does not set out before now."""
    if problem.now_s is None:
        return
    for stop in route.stops:
        fact = stop.kind == "job" and problem.job(stop.job).fact is not None
        if not fact and stop.arrival_s < problem.now_s + stop.travel_s:
            yield stop.job, f"it would have to be on the way before {problem.now_s}"


def may_serve(problem: Problem, worker: Worker, shift: Shift, route: Route) -> Iterator[tuple[str, str]]:
    """Pin, exclusion, territory, and skills at their level, valid for the whole shift."""
    for _, job in _job_stops(problem, route):
        if job.fact is not None:
            continue
        if job.pinned_worker not in (None, worker.id) and job.crew == 1:
            yield job.id, f"it is pinned to {job.pinned_worker}"
        if worker.id in job.excluded:
            yield job.id, f"{worker.id} is excluded"
        if job.territory is not None and worker.territories and job.territory not in worker.territories:
            yield job.id, f"{worker.id} does not cover {job.territory}"
        for need in job.skills:
            good = (
                held.skill == need.skill
                and held.level >= need.level
                and (held.valid_from_s is None or held.valid_from_s <= shift.start_s)
                and (held.valid_to_s is None or held.valid_to_s >= shift.end_s)
                for held in worker.skills
            )
            if not any(good):
                yield job.id, f"{worker.id} lacks {need.skill} at level {need.level}"


def tools_and_parts(problem: Problem, worker: Worker, _shift: Shift, route: Route) -> Iterator[tuple[str, str]]:
    """Before the first call at a depot only own tools and what is on the van; after it there is everything."""
    stock = Counter({item.part: item.count for item in worker.parts})
    for stop in route.stops:
        if stop.kind == "depot":
            return
        if stop.kind != "job":
            continue
        job = problem.job(stop.job)
        missing = sorted(job.tools - worker.tools)
        if missing and job.fact is None:
            yield job.id, f"{worker.id} has no {', '.join(missing)} there"
        for need in job.parts:
            stock[need.part] -= need.count
            if stock[need.part] < 0 and job.fact is None:
                yield job.id, f"{worker.id} is {-stock[need.part]} short of {need.part} there"


PlanRule = Callable[[Problem, Plan], Iterator[tuple[str, str, str]]]
RouteRule = Callable[[Problem, Worker, Shift, Route], Iterator[tuple[str, str]]]

PLAN_RULES: dict[str, PlanRule] = {
    rule.__name__: rule for rule in (one_route_a_shift, each_job_once, crew_together, precedence, facts_stand, score_is_true)
}
ROUTE_RULES: dict[str, RouteRule] = {
    rule.__name__: rule
    for rule in (
        travel_is_real,
        times_in_order,
        work_takes_its_time,
        windows,
        shift_hours,
        breaks_taken,
        not_in_the_past,
        may_serve,
        tools_and_parts,
    )
}
