"""One job more in a plan that stands: where it goes best, what else there is, and which times to offer a customer.

Every gap of every route of those who may serve the job is judged exactly, with the breaks moved as suits, depot calls where the
plan has them; the rest of the plan keeps its order. Nothing is searched, so an answer takes milliseconds and is the same every
time. A `Board` holds what does not depend on the job: who asks several times about one plan makes it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from msgspec import Struct, structs

from dispatch.board import Board, Candidate
from dispatch.compile import FAR_S, compile_problem
from dispatch.openings import Openings
from dispatch.plan import Plan, Route, Unserved
from dispatch.problem import Job, Problem
from dispatch.reasons import why_unserved
from dispatch.schedule import Visit, lay_out
from dispatch.score import route_levels, score

OFFERED = 5  # alternatives told
ANY_TIME = (-FAR_S, FAR_S)


class Price(Struct, frozen=True, kw_only=True, order=True):
    """What a change adds to a plan, level before level: lateness in weighted seconds, moves in peace, cost."""

    late: int
    moves: int
    cost: int


class Insertion(Struct, frozen=True, kw_only=True):
    """A job's place in a plan: who, when, what it adds, and the route that comes of it."""

    job: str
    worker: str
    shift: int
    start_s: int
    end_s: int
    price: Price
    route: Route


class Inserted(Struct, frozen=True, kw_only=True):
    """The plan with the job at its best place, that place, and the next best of other shifts, dearer ones later."""

    plan: Plan
    best: Insertion
    others: tuple[Insertion, ...]


class Slot(Struct, frozen=True, kw_only=True):
    """A time to offer: the customer is told [start_s, end_s] for the start of work. `grade` is 100 for what adds least and falls
    with the marginal cost to 0 for what cannot be done; `insertion` is None then."""

    start_s: int
    end_s: int
    grade: int
    insertion: Insertion | None


def insert(problem: Problem, plan: Plan, job: Job) -> Inserted | Unserved:
    """The job's best place in the plan, the others' order untouched; or the rule that keeps it out.

    `problem` may hold the job already (unserved in `plan`) or not. Raises ValueError when the plan serves it.
    """
    return insert_on(Board(problem, plan), job)


def insert_on(board: Board, job: Job) -> Inserted | Unserved:
    """`insert`, on a board."""
    ranked = sorted(board.look(job, (ANY_TIME,)), key=lambda candidate: _promise(board, candidate))
    problem = _with(board.problem, job)
    if not ranked:
        compiled = compile_problem(problem)
        k = compiled.open_jobs.index(problem.job_index[job.id])
        return why_unserved(Openings(compiled, {r: row for r, (row, _) in board.visits.items()}), k)
    best, *others = [_laid(board, problem, job, candidate) for candidate in ranked[: 1 + OFFERED]]
    routes = board.routes | {(best.worker, best.shift): best.route}
    laid = tuple(
        routes[key]
        for key in ((worker.id, shift) for worker in problem.workers for shift in range(len(worker.shifts)))
        if key in routes
    )
    unserved = tuple(left for left in board.plan.unserved if left.job != job.id)
    whole = structs.replace(board.plan, routes=laid, unserved=unserved, score=score(problem, laid), proved=False, iterations=0)
    return Inserted(plan=whole, best=best, others=tuple(others))


def slots(problem: Problem, plan: Plan, job: Job, windows: Sequence[tuple[int, int]]) -> tuple[Slot, ...]:
    """Each window of start times with its best insertion, graded.

    The best window has 100; one that adds as much again as the best, and 3600 (an hour's driving at a price of 1 a second), has 50;
    lateness or moves cap a grade at 20; what cannot be done has 0. The job's own windows still hold.
    """
    return slots_on(Board(problem, plan), job, windows)


def slots_on(board: Board, job: Job, windows: Sequence[tuple[int, int]]) -> tuple[Slot, ...]:
    """`slots`, on a board."""
    best: dict[int, Candidate] = {}
    for candidate in sorted(board.look(job, windows), key=lambda candidate: _promise(board, candidate)):
        best.setdefault(candidate.window, candidate)
    problem = _with(board.problem, job) if best else board.problem
    found = [_laid(board, problem, job, best[w]) if w in best else None for w in range(len(windows))]
    price = min((place.price for place in found if place is not None), default=Price(late=0, moves=0, cost=0))
    unit = max(1, abs(price.cost)) + 3600
    return tuple(
        Slot(start_s=a, end_s=b, grade=_grade(place, price.cost, unit), insertion=place)
        for (a, b), place in zip(windows, found, strict=True)
    )


def why_here(problem: Problem, plan: Plan, job: str) -> tuple[Insertion, tuple[Insertion, ...]]:
    """Why this worker, why then: what the job adds where it is, and the best place on every other shift with what that would add.

    Raises KeyError when the plan does not serve the job.
    """
    board = Board(problem, without(plan, job))
    here = standing(board, plan, job)
    places = places_on(board, problem.job(job), (ANY_TIME,))
    return here, tuple(place for place in places if (place.worker, place.shift) != (here.worker, here.shift))[:OFFERED]


def without(plan: Plan, job: str) -> Plan:
    """The plan with a job taken out of its route, whose sums are not mended."""
    routes = tuple(structs.replace(r, stops=tuple(s for s in r.stops if s.job != job)) if job in r.jobs else r for r in plan.routes)
    left = Unserved(job=job, rule="no_room", words="not placed yet")
    return structs.replace(plan, routes=routes, unserved=(*plan.unserved, left))


def standing(board: Board, plan: Plan, job: str) -> Insertion:
    """A served job's place in the plan; the board is the plan without it. Raises KeyError when the plan does not serve the job."""
    route = {id_: route for route in plan.routes for id_ in route.jobs}[job]
    problem, asked = board.problem, board.problem.job(job)
    stop = next(stop for stop in route.stops if stop.job == job)
    return Insertion(
        job=job,
        worker=route.worker,
        shift=route.shift,
        start_s=stop.start_s,
        end_s=stop.end_s,
        price=_added(problem, asked, route, board.routes.get((route.worker, route.shift))),
        route=route,
    )


def places_on(board: Board, job: Job, windows: Sequence[tuple[int, int]]) -> list[Insertion]:
    """The best place on every shift and in every window of starts where there is one, cheapest first."""
    problem = _with(board.problem, job)
    ranked = sorted(board.look(job, windows), key=lambda candidate: _promise(board, candidate))
    return [_laid(board, problem, job, candidate) for candidate in ranked]


def _promise(board: Board, candidate: Candidate) -> tuple[int, int, int, int, str]:
    worker = board.problem.workers[board.compiled.ways[candidate.way].worker].id
    return candidate.late, candidate.moves, candidate.cost, candidate.start_s, worker


def _laid(board: Board, problem: Problem, job: Job, candidate: Candidate) -> Insertion:
    """A candidate with its route, and the price made anew from the score's own rules."""
    way, row = board.compiled.ways[candidate.way], board.row(candidate.way)
    visit = Visit(problem.job_index[job.id], job.place, *candidate.interval)
    route = lay_out(problem, way, [*row[: candidate.gap], visit, *row[candidate.gap :]], candidate.breaks)
    assert route is not None, "labels and times differ"
    stop = next(stop for stop in route.stops if stop.job == job.id)
    return Insertion(
        job=job.id,
        worker=route.worker,
        shift=way.shift,
        start_s=stop.start_s,
        end_s=stop.end_s,
        price=_added(problem, job, route, board.route(candidate.way)),
        route=route,
    )


def _added(problem: Problem, job: Job, route: Route, before: Route | None) -> Price:
    """What the route with the job costs more than the one without; an optional visit's value is gained."""
    late, moves, cost = route_levels(problem, route)
    was = (0, 0, 0) if before is None else route_levels(problem, before)
    gained = job.value if job.priority is None else 0
    return Price(late=late - was[0], moves=moves - was[1], cost=cost - was[2] - gained)


def _with(problem: Problem, job: Job) -> Problem:
    known = problem.job_index.get(job.id)
    if known is None:
        return replace(problem, jobs=(*problem.jobs, job))
    return (
        problem if problem.jobs[known] is job else replace(problem, jobs=(*problem.jobs[:known], job, *problem.jobs[known + 1 :]))
    )


def _grade(place: Insertion | None, least: int, unit: int) -> int:
    if place is None:
        return 0
    grade = max(1, round(100 * unit / (unit + max(0, place.price.cost - least))))
    return min(grade, 20) if place.price.late > 0 or place.price.moves > 0 else grade
