"""A plan made ready for questions about one job more, so that each answer takes milliseconds.

What does not depend on the job (who goes where, the bounds of each stretch, what each route costs) is laid out once for a plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import structs

from dispatch.assemble import Laid, assemble, visits_of
from dispatch.compile import FAR_S, Alternative, Compiled, Way, compile_problem, shift_of, work_s
from dispatch.kernel import insertion as kernel
from dispatch.kernel.shape import BIG, Ints
from dispatch.links import Ties
from dispatch.plan import Plan, Route, Stop, Unserved
from dispatch.problem import Job, Problem
from dispatch.schedule import Visit, best_gaps, lay_out
from dispatch.score import preference_price, route_costs, route_levels


@dataclass(frozen=True, slots=True)
class Candidate:
    """The best place of a job on one way in one window: what it adds, in which gap, in which interval, with the breaks where."""

    way: int
    window: int
    late: int
    moves: int
    cost: int
    start_s: int
    gap: int
    interval: tuple[int, int]
    breaks: tuple[int, ...]


class Board:
    """A plan that stands: visits keep their order and the windows they are in, and jobs tied to others (crews, precedence) their
    moment."""

    def __init__(self, problem: Problem, plan: Plan) -> None:
        self.problem = problem
        self.compiled: Compiled = compile_problem(problem)
        self.visits: Laid = _visits(self.compiled, plan)
        laid = assemble(self.compiled, self.visits)
        known: Mapping[str, Unserved] = {left.job: left for left in plan.unserved}
        unserved = tuple(known.get(left.job, left) for left in laid.unserved)
        self.plan = structs.replace(laid, unserved=unserved, seed=plan.seed)
        self.routes = {(route.worker, route.shift): route for route in self.plan.routes}
        self.served = {job for route in self.plan.routes for job in route.jobs}
        self.origin_s = min((way.earliest_s for way in self.compiled.ways), default=0)
        self.rows = self._rows()

    def row(self, r: int) -> tuple[Visit, ...]:
        """The visits of way r."""
        return tuple(self.visits.get(r, ((), None))[0])

    def route(self, r: int) -> Route | None:
        """The route of way r, if it has one."""
        way = self.compiled.ways[r]
        return self.routes.get((self.problem.workers[way.worker].id, way.shift))

    def look(self, job: Job, windows: Sequence[tuple[int, int]]) -> list[Candidate]:
        """The best place of a job that the plan does not serve, on every way and in every window of starts where there is one."""
        if job.id in self.served:
            raise ValueError(f"the plan serves {job.id} already")
        alone = self._alone(job)
        options = [(cut, w) for w, (a, b) in enumerate(windows) for cut in _within(alone.alternatives[0], a, b)]
        if not options or not self.compiled.ways:
            return []
        ways, pauses = len(self.compiled.ways), self.rows.pauses.shape[1]
        longest = int(np.diff(self.rows.at).max(initial=0))
        found = kernel.Found(
            best=np.full((ways, len(windows), 6), BIG, dtype=np.int64),
            gaps=np.zeros((ways, len(windows), pauses), dtype=np.int64),
            label=np.zeros((longest + 2, 6), dtype=np.int64),
            gap=np.zeros(pauses + 1, dtype=np.int64),
            trial=np.zeros(pauses + 1, dtype=np.int64),
        )
        kernel.look(self.rows, self._ask(job, alone, options), found)
        candidates = []
        for r, w in np.argwhere(found.best[:, :, kernel.BEST_LATE] < BIG).tolist():
            late, moves, cost, start_s, gap, o = found.best[r, w].tolist()
            interval = (options[o][0].start_s, options[o][0].end_s)
            breaks = tuple(found.gaps[r, w, : len(self.compiled.ways[r].breaks)].tolist())
            candidates.append(Candidate(r, w, late, moves, cost, start_s + self.origin_s, gap, interval, breaks))
        return candidates

    def _alone(self, job: Job) -> Compiled:
        """The job compiled with those it comes after, and nothing else."""
        others = [self.problem.job(id_) for id_ in sorted(job.after)]
        published = tuple(entry for entry in self.problem.published if entry.job == job.id)
        asked = (structs.replace(job, fact=None), *others)
        workers, travel, depots = self.problem.workers, self.problem.travel, self.problem.depots
        return compile_problem(
            Problem(workers=workers, jobs=asked, travel=travel, depots=depots, now_s=self.problem.now_s, published=published)
        )

    def _ask(self, job: Job, alone: Compiled, options: Sequence[tuple[Alternative, int]]) -> kernel.Ask:
        told = alone.problem.published
        holders = {entry.worker for entry in told}
        rows = []
        for r, way in enumerate(self.compiled.ways):
            worker = self.problem.workers[way.worker]
            moved = told[0].move_worker if told and worker.id not in holders else 0
            opened, depot_at = self._open(r, way, job) if alone.ok[r, 0] else (kernel.CLOSED, -1)
            gained = job.value if job.priority is None else 0
            rows.append((work_s(job, worker), moved, preference_price(job, worker) - gained, opened, depot_at))
        due = (BIG, 0) if job.due_s is None else (job.due_s - self.origin_s, job.late_per_s)
        spans = [(max(o.start_s, -FAR_S) - self.origin_s, o.end_s - self.origin_s, o.moves, o.cost, w) for o, w in options]
        return kernel.Ask(job=_ints((job.place, *due)), ways=_ints(rows), options=_ints(spans))

    def _open(self, r: int, way: Way, job: Job) -> tuple[int, int]:
        """Where on way r there is room on the shift, and the tools and parts are at hand; and the depot's position."""
        worker = self.problem.workers[way.worker]
        most = shift_of(self.problem, way).max_jobs
        row = self.row(r)
        if most is not None and len(way.facts) + sum(visit.job >= 0 for visit in row) >= most:
            return kernel.CLOSED, -1
        depot_at = next((p for p, visit in enumerate(row) if visit.job < 0), -1)
        needs = {need.part: need.count for need in job.parts}
        taken = [*way.facts, *(visit.job for visit in (row if depot_at < 0 else row[:depot_at]))]
        stock = {item.part: item.count for item in worker.parts} if needs else {}
        for need in (need for i in taken for need in self.problem.jobs[i].parts) if needs else ():
            stock[need.part] = stock.get(need.part, 0) - need.count
        if job.tools <= worker.tools and all(stock.get(part, 0) >= count for part, count in needs.items()):
            return kernel.ANYWHERE, depot_at
        return (kernel.BEHIND_DEPOT, depot_at) if depot_at >= 0 else (kernel.CLOSED, -1)

    def _rows(self) -> kernel.Rows:
        ways = self.compiled.ways
        visits = [row for r, way in enumerate(ways) for row in self._visit_rows(way, self.row(r))]
        most = max((len(way.breaks) for way in ways), default=0)
        pauses = np.zeros((len(ways), most, 3), dtype=np.int64)
        for r, way in enumerate(ways):
            for k, b in enumerate(way.breaks):
                pause = shift_of(self.problem, way).breaks[b]
                pauses[r, k] = (pause.earliest_s - self.origin_s, pause.latest_s - self.origin_s, pause.duration_s)
        return kernel.Rows(
            travel=self.problem.travel.seconds,
            metres=self.problem.travel.metres,
            ways=_ints([self._way_row(r, way) for r, way in enumerate(ways)]).reshape(-1, kernel.WAY_COLUMNS),
            pauses=pauses,
            at=np.cumsum([0, *(len(self.row(r)) for r in range(len(ways)))], dtype=np.int64),
            visits=_ints(visits).reshape(-1, 6),
        )

    def _way_row(self, r: int, way: Way) -> tuple[int, ...]:
        route, shift = self.route(r), shift_of(self.problem, way)
        rates = self.problem.workers[way.worker].rates
        begun = [fact.start_s for fact in (self.problem.jobs[i].fact for i in way.facts) if fact is not None]
        base = (0, 0, 0, 0) if route is None else self._base(route)
        due_here = any(visit.job >= 0 and self.problem.jobs[visit.job].due_s is not None for visit in self.row(r))
        hours = (way.earliest_s, way.latest_start_s, way.end_s, shift.end_s)
        return (
            way.start_place,
            way.end_place,
            *(moment - self.origin_s for moment in hours),
            bool(begun),
            len(way.breaks),
            rates.travel_per_s,
            rates.distance_per_m,
            rates.duty_per_s,
            rates.overtime_per_s,
            rates.per_route,
            rates.balance_per_s,
            max(1, shift.end_s - shift.start_s),
            way.earliest_s - min(begun) if begun else 0,
            *base,
            due_here,
        )

    def _base(self, route: Route) -> tuple[int, int, int, int]:
        """Travel, metres, lateness, and the part of the cost that its jobs do not ask for themselves."""
        costs = route_costs(self.problem, route)
        own = costs["preference"] + costs["soft_windows"]
        return route.travel_s, route.distance_m, route_levels(self.problem, route)[0], sum(costs.values()) - own

    def _visit_rows(self, way: Way, row: Sequence[Visit]) -> list[tuple[int, ...]]:
        rows: list[tuple[int, ...]] = []
        for visit in row:
            bounds = (visit.place, visit.start_s - self.origin_s, visit.end_s - self.origin_s)
            if visit.job < 0:
                rows.append((*bounds, self.problem.depot_s, BIG, 0))
                continue
            job = self.problem.jobs[visit.job]
            due = (BIG, 0) if job.due_s is None else (job.due_s - self.origin_s, job.late_per_s)
            rows.append((*bounds, work_s(job, self.problem.workers[way.worker]), *due))
        return rows


def _ints(rows: Sequence[object]) -> Ints:
    return np.array(rows, dtype=np.int64)


def _within(options: Sequence[Alternative], a: int, b: int) -> list[Alternative]:
    """The parts of the options that lie within [a, b]."""
    cut = [Alternative(max(o.start_s, a), min(o.end_s, b), o.late, o.moves, o.cost) for o in options]
    return [o for o in cut if o.start_s <= o.end_s]


def _visits(compiled: Compiled, plan: Plan) -> Laid:
    """The plan's visits with the breaks where it has them; what the problem no longer allows is left out of its route."""
    ways = {(compiled.problem.workers[way.worker].id, way.shift): r for r, way in enumerate(compiled.ways)}
    rank = {compiled.problem.jobs[i].id: k for k, i in enumerate(compiled.open_jobs)}
    tied = {job.id for job in Ties(compiled.problem).jobs}
    visits: dict[int, tuple[Sequence[Visit], Sequence[int] | None]] = {}
    stale = []
    for route in plan.routes:
        r = ways.get((route.worker, route.shift))
        happened = set() if r is None else {compiled.problem.jobs[i].id for i in compiled.ways[r].facts}
        stops = [stop for stop in route.stops if stop.job not in happened]
        row = [] if r is None else [_visit(compiled, rank, tied, r, stop) for stop in stops if stop.kind != "break"]
        chosen = tuple(visit for visit in row if visit is not None)
        gaps = None if r is None or len(chosen) < len(row) else _breaks_of(compiled, compiled.ways[r], route, stops, chosen)
        if r is None or gaps is None:
            stale.append(route)
        elif chosen:
            visits[r] = (chosen, gaps)
    return visits if not stale else {**visits_of(compiled, structs.replace(plan, routes=tuple(stale))), **visits}


def _breaks_of(
    compiled: Compiled, way: Way, route: Route, stops: Sequence[Stop], chosen: Sequence[Visit]
) -> tuple[int, ...] | None:
    """The gaps of the breaks as the route has them, or the best ones; None when the visits keep no times."""
    gaps = _gaps(compiled, way, route, stops)
    if gaps is not None and lay_out(compiled.problem, way, chosen, gaps) is not None:
        return gaps
    return best_gaps(compiled.problem, way, chosen)


def _visit(compiled: Compiled, rank: Mapping[str, int], tied: set[str], r: int, stop: Stop) -> Visit | None:
    """The stop as a visit in the interval that holds its start, a tied job's at its moment; None when it may not be there."""
    if stop.kind == "depot":
        return Visit(-1, stop.place, -FAR_S, FAR_S) if stop.place in compiled.problem.depots else None
    k = rank.get(stop.job)
    if k is None:
        return None
    interval = next((o for o in compiled.alternatives[k] if o.start_s <= stop.start_s <= o.end_s), None)
    if interval is None or not (compiled.ok[r, k] or stop.job in tied):
        return None
    held = (stop.start_s, stop.start_s) if stop.job in tied else (interval.start_s, interval.end_s)
    return Visit(compiled.open_jobs[k], stop.place, *held)


def _gaps(compiled: Compiled, way: Way, route: Route, stops: Sequence[Stop]) -> tuple[int, ...] | None:
    """In which gap each pending break of the way lies on the route; None when the route has others."""
    pauses = [shift_of(compiled.problem, way).breaks[b] for b in way.breaks]
    length = sum(stop.kind != "break" for stop in stops)
    gaps: list[int] = []
    at = 0
    taken = []
    for stop in stops:
        if stop.kind == "break":
            taken.append((at + 1, stop))
        else:
            at += 1
    for pause in pauses:
        fits = bool(taken) and pause.earliest_s <= taken[0][1].start_s <= pause.latest_s
        if fits and taken[0][1].end_s - taken[0][1].start_s == pause.duration_s:
            gaps.append(taken.pop(0)[0])
        elif route.end_s <= pause.latest_s:
            gaps.append(length + 2)
        else:
            gaps.append(0)
    return None if taken or gaps != sorted(gaps) else tuple(gaps)
