"""Why this worker, why then: what a served job adds where it is, what it would add elsewhere, and what keeps the others from it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from dispatch import constraints
from dispatch.board import Board
from dispatch.booking import ANY_TIME, Insertion, Price, places_on, standing, without
from dispatch.compile import FAR_S
from dispatch.links import PART, Ties, held
from dispatch.plan import Plan, Route, Unserved
from dispatch.problem import Job, Problem, Window
from dispatch.score import route_costs

OTHER_TIME_S = 900  # by so much another time differs at least


class Instead(Struct, frozen=True, kw_only=True):
    """Another worker or another time. With `price`: its best place there, and what that adds more than the plan's (less than 0 in a
    plan that can be improved). Without: the rule that keeps the worker from the job, in words."""

    worker: str
    shift: int
    start_s: int | None = None
    price: Price | None = None
    rule: str = ""
    words: str = ""


class Why(Struct, frozen=True, kw_only=True):
    """A visit explained: `price` is what the job adds to the plan where it is, `parts` its cost by name, `time_rule` what fixes the
    start; `instead` has the same worker at other times and every other worker, cheapest first, those who may not go last."""

    job: str
    worker: str
    shift: int
    start_s: int
    end_s: int
    price: Price
    parts: dict[str, int]
    time_rule: str
    time_words: str
    instead: tuple[Instead, ...]


def why(problem: Problem, plan: Plan, job: str, worker: str | None = None) -> Why | Unserved:
    """The visit of `worker` (of a crew; else whoever serves it), or why the plan leaves the job out.

    Raises KeyError when there is no such job, or the plan neither serves nor names it.
    """
    asked = problem.job(job)
    left = next((entry for entry in plan.unserved if entry.job == job), None)
    if left is not None:
        return left
    if Ties(problem).jobs:
        problem, plan = held(problem, plan)
        members = [id_ for route in plan.routes for id_ in route.jobs if id_.partition(PART)[0] == job]
        mine = [id_ for route in plan.routes if route.worker == worker for id_ in route.jobs if id_ in members]
        if not members:
            raise KeyError(job)
        asked = problem.job((mine or members)[0])
    board = Board(problem, without(plan, asked.id))
    here = standing(board, plan, asked.id)
    bare = board.routes.get((here.worker, here.shift))
    times = ((-FAR_S, here.start_s - OTHER_TIME_S), (here.start_s + OTHER_TIME_S, FAR_S))
    same = [place for place in places_on(board, asked, times) if (place.worker, place.shift) == (here.worker, here.shift)]
    best = {(p.worker, p.shift): p for p in reversed(places_on(board, asked, (ANY_TIME,)))}
    best.pop((here.worker, here.shift), None)
    rule, words = _time(problem, here.route, asked)
    instead = [_instead(place, here.price) for place in (*same, *best.values())]
    instead.sort(key=lambda entry: (entry.price, entry.worker, entry.shift))
    return Why(
        job=job,
        worker=here.worker,
        shift=here.shift,
        start_s=here.start_s,
        end_s=here.end_s,
        price=here.price,
        parts=_parts(problem, here.route, bare),
        time_rule=rule,
        time_words=words,
        instead=(*instead, *_kept_out(problem, asked, {(here.worker, here.shift), *best})),
    )


def _instead(place: Insertion, here: Price) -> Instead:
    more = Price(late=place.price.late - here.late, moves=place.price.moves - here.moves, cost=place.price.cost - here.cost)
    return Instead(worker=place.worker, shift=place.shift, start_s=place.start_s, price=more)


def _parts(problem: Problem, route: Route, bare: Route | None) -> dict[str, int]:
    """What the job adds to its route's cost, by name, without what adds nothing."""
    was = {} if bare is None else route_costs(problem, bare)
    added = {name: price - was.get(name, 0) for name, price in route_costs(problem, route).items()}
    return {name: price for name, price in added.items() if price}


def _time(problem: Problem, route: Route, job: Job) -> tuple[str, str]:
    """What fixes the start: the rule's name, and words."""
    at = [stop.job for stop in route.stops].index(job.id)
    stop = route.stops[at]
    before = route.stops[at - 1] if at > 0 else None
    at_once = stop.start_s == stop.arrival_s
    day = problem.worker(route.worker).shifts[route.shift]
    told = [entry.start_s - entry.tolerance_s for entry in problem.published if entry.job == job.id]
    rules = (
        (job.fact is not None, "fact", "it happened then"),
        (stop.start_s == job.pinned_start_s, "pinned_start", "its start is pinned"),
        (_opens(job.windows, stop.start_s), "windows", "its window opens then"),
        (stop.start_s == job.release_s, "release", "it may not begin earlier"),
        (stop.start_s in told, "published", "an earlier start would break what people were told"),
        (_opens(job.soft_windows, stop.start_s), "soft_windows", "a soft window opens then"),
        (
            at_once and before is not None,
            "travel",
            f"{route.worker} cannot be there earlier after {'' if before is None else before.job or before.kind}",
        ),
        (at_once and route.start_s <= day.start_s, "shift_hours", f"{route.worker}'s day begins no earlier"),
    )
    found = (rule[1:] for rule in rules if rule[0])
    return next(found, ("waiting", "the day begins late enough that nobody waits before what follows"))


def _opens(windows: tuple[Window, ...], start_s: int) -> bool:
    return any(start_s == window.start_s for window in windows)


def _kept_out(problem: Problem, job: Job, placed: set[tuple[str, int]]) -> Iterator[Instead]:
    """Every other shift: the rule that refuses it, or that it has no room at the job's times."""
    for worker in problem.workers:
        for s, shift in enumerate(worker.shifts):
            if (worker.id, s) not in placed:
                found = constraints.refusals(problem, worker, shift, job)
                rule, words = found[0] if found else ("no_room", "no room at the job's times")
                yield Instead(worker=worker.id, shift=s, rule=rule, words=words)
