"""One job more in a plan that stands: where it goes best, what else there is, and which times to offer a customer.

Every gap of every route of those who may serve the job is laid out exactly, breaks and depot calls where the plan has them; the
rest of the plan keeps its order. Nothing is searched, so an answer takes milliseconds and is the same every time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, structs

from dispatch.compile import Alternative, Compiled, compile_problem
from dispatch.plan import Plan, Route, Unserved
from dispatch.problem import Job, Problem
from dispatch.reasons import why_unserved
from dispatch.schedule import Visit, lay_out
from dispatch.score import route_levels, score
from dispatch.solver import Laid, assemble, visits_of

OFFERED = 5  # alternatives told


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
    asked = _Asked(problem, plan, job)
    places = sorted(asked.places(asked.options), key=_rank)
    if not places:
        return why_unserved(asked.compiled, {r: row for r, (row, _) in asked.visits.items()}, asked.k)
    best = places[0]
    others = {(place.worker, place.shift): place for place in reversed(places[1:])}
    others.pop((best.worker, best.shift), None)
    routes = {(route.worker, route.shift): route for route in asked.plan.routes} | {(best.worker, best.shift): best.route}
    order = {(w.id, s): n for n, (w, s) in enumerate((w, s) for w in problem.workers for s in range(len(w.shifts)))}
    laid = tuple(sorted(routes.values(), key=lambda route: order[route.worker, route.shift]))
    unserved = tuple(left for left in asked.plan.unserved if left.job != job.id)
    whole = structs.replace(
        asked.plan, routes=laid, unserved=unserved, score=score(asked.problem, laid), proved=False, iterations=0
    )
    return Inserted(plan=whole, best=best, others=tuple(sorted(others.values(), key=_rank)[:OFFERED]))


def slots(problem: Problem, plan: Plan, job: Job, windows: Sequence[tuple[int, int]]) -> tuple[Slot, ...]:
    """Each window of start times with its best insertion, graded.

    The best window has 100; one that adds as much again as the best, and 3600 (an hour's driving at a price of 1 a second), has 50;
    lateness or moves cap a grade at 20; what cannot be done has 0. The job's own windows still hold.
    """
    asked = _Asked(problem, plan, job)
    found = [min(asked.places(_within(asked.options, a, b)), key=_rank, default=None) for a, b in windows]
    best = min((place.price for place in found if place is not None), default=Price(late=0, moves=0, cost=0))
    least = best.cost
    unit = max(1, abs(least)) + 3600
    return tuple(
        Slot(start_s=a, end_s=b, grade=_grade(place, least, unit), insertion=place)
        for (a, b), place in zip(windows, found, strict=True)
    )


def why_here(problem: Problem, plan: Plan, job: str) -> tuple[Insertion, tuple[Insertion, ...]]:
    """Why this worker, why then: what the job adds where it is, and the best place on every other shift with what that would add.

    Raises KeyError when the plan does not serve the job.
    """
    routes = {id_: route for route in plan.routes for id_ in route.jobs}
    route = routes[job]
    without = structs.replace(
        plan,
        routes=tuple(structs.replace(r, stops=tuple(s for s in r.stops if s.job != job)) if r is route else r for r in plan.routes),
        unserved=(*plan.unserved, Unserved(job=job, rule="no_room", words="not placed yet")),
    )
    asked = _Asked(problem, without, problem.job(job))
    places = sorted(asked.places(asked.options), key=_rank)
    mine = [place for place in places if (place.worker, place.shift) == (route.worker, route.shift)]
    here = next((place for place in mine if place.route.jobs == route.jobs), None)
    if here is None:
        raise KeyError(job)
    elsewhere: dict[tuple[str, int], Insertion] = {}
    for place in places:
        if (place.worker, place.shift) != (route.worker, route.shift):
            elsewhere.setdefault((place.worker, place.shift), place)
    return here, tuple(elsewhere.values())[:OFFERED]


class _Asked:
    """A plan without the job, and the job as something to place."""

    def __init__(self, problem: Problem, plan: Plan, job: Job) -> None:
        if any(job.id in route.jobs for route in plan.routes):
            raise ValueError(f"the plan serves {job.id} already")
        self.problem = _with(problem, job)
        self.job = job
        self.compiled: Compiled = compile_problem(self.problem)
        self.index = self.problem.job_index[job.id]
        self.k = self.compiled.open_jobs.index(self.index)
        self.options = self.compiled.alternatives[self.k]
        self.visits: Laid = visits_of(self.compiled, plan)
        self.plan = assemble(self.compiled, self.visits)
        known: Mapping[str, Unserved] = {left.job: left for left in plan.unserved}
        unserved = tuple(known.get(left.job, left) for left in self.plan.unserved)
        self.plan = structs.replace(self.plan, unserved=unserved, seed=plan.seed)
        self.routes = {(route.worker, route.shift): route for route in self.plan.routes}

    def places(self, options: Sequence[Alternative]) -> Iterator[Insertion]:
        """Every way and gap where the job fits, at each option's earliest good start."""
        for r, way in enumerate(self.compiled.ways):
            if not self.compiled.ok[r, self.k]:
                continue
            worker = self.problem.workers[way.worker]
            known = self.routes.get((worker.id, way.shift))
            row = list(self.visits.get(r, ((), None))[0])
            for gap in range(len(row) + 1):
                for option in options:
                    visit = Visit(self.index, self.job.place, option.start_s, option.end_s)
                    route = lay_out(self.problem, way, [*row[:gap], visit, *row[gap:]])
                    if route is None or not self._stocked(route):
                        continue
                    stop = next(stop for stop in route.stops if stop.job == self.job.id)
                    yield Insertion(
                        job=self.job.id,
                        worker=worker.id,
                        shift=way.shift,
                        start_s=stop.start_s,
                        end_s=stop.end_s,
                        price=self._added(route, known),
                        route=route,
                    )

    def _added(self, route: Route, before: Route | None) -> Price:
        """What the route with the job costs more than the one without; an optional visit's value is gained."""
        late, moves, cost = route_levels(self.problem, route)
        was = (0, 0, 0) if before is None else route_levels(self.problem, before)
        gained = self.job.value if self.job.priority is None else 0
        return Price(late=late - was[0], moves=moves - was[1], cost=cost - was[2] - gained)

    def _stocked(self, route: Route) -> bool:
        """Tools, parts and room on the shift."""
        worker = self.problem.worker(route.worker)
        most = worker.shifts[route.shift].max_jobs
        if most is not None and len(route.jobs) > most:
            return False
        stock = {item.part: item.count for item in worker.parts}
        for stop in route.stops:
            if stop.kind == "depot":
                return True
            if stop.kind != "job":
                continue
            job = self.problem.job(stop.job)
            for need in job.parts:
                stock[need.part] = stock.get(need.part, 0) - need.count
            if job.fact is None and (job.tools - worker.tools or any(stock[need.part] < 0 for need in job.parts)):
                return False
        return True


def _with(problem: Problem, job: Job) -> Problem:
    known = problem.job_index.get(job.id)
    jobs = (*problem.jobs, job) if known is None else (*problem.jobs[:known], job, *problem.jobs[known + 1 :])
    return Problem(
        workers=problem.workers,
        jobs=jobs,
        travel=problem.travel,
        places=problem.places,
        depots=problem.depots,
        depot_s=problem.depot_s,
        now_s=problem.now_s,
        published=problem.published,
    )


def _within(options: Sequence[Alternative], a: int, b: int) -> list[Alternative]:
    cut = [_cut(option, a, b) for option in options]
    return [option for option in cut if option.start_s <= option.end_s]


def _cut(option: Alternative, a: int, b: int) -> Alternative:
    """The part of an option that lies within [a, b]."""
    return Alternative(max(option.start_s, a), min(option.end_s, b), option.late, option.moves)


def _rank(place: Insertion) -> tuple[Price, int, str]:
    return place.price, place.start_s, place.worker


def _grade(place: Insertion | None, least: int, unit: int) -> int:
    if place is None:
        return 0
    grade = max(1, round(100 * unit / (unit + max(0, place.price.cost - least))))
    return min(grade, 20) if place.price.late > 0 or place.price.moves > 0 else grade
