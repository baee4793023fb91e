"""The canonical OR-Tools routing model of given routes, every choice fixed: runs in a child process only.

Nodes are the routes' stops to come (jobs, depot calls), then the start and end of each shift. Rules are posted as the problem
states them; the plan's order comes in as an assignment and its times as equations, so all that is left to OR-Tools is yes or no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.constraint_solver import pywrapcp

from dispatch.compile import FAR_S, Ints, Way, compile_ways, shift_of, work_s
from dispatch.constraints import refusals
from dispatch.plan import Route, Stop
from dispatch.problem import Job, Parts, Problem

FAMILIES = ("who", "loads", "windows", "breaks", "hours", "together")
"""Groups of rules that can be left out one at a time, to find which of them refuses."""

ACTIVE_ONLY = True
FROM_ZERO = True
LATE_START = False  # a route need not start with the shift
PERFORMED = False  # the binding's name for it is "optional"
WITHOUT_ME = frozenset({"crew", "precedence"})  # what only the search refuses: here they are constraints of their own


@dataclass(frozen=True, slots=True)
class _Node:
    vehicle: int
    stop: Stop
    job: Job | None  # None: a call at a depot


@dataclass(frozen=True, slots=True)
class _Model:
    problem: Problem
    routes: Sequence[Route]
    ways: tuple[Way, ...]
    nodes: tuple[_Node, ...]
    manager: pywrapcp.RoutingIndexManager
    routing: pywrapcp.RoutingModel
    origin_s: int
    horizon_s: int

    def calls(self, vehicle: int) -> bool:
        """Whether the route calls at a depot: what it carries is then beyond this model."""
        return any(stop.kind == "depot" for stop in self.routes[vehicle].stops)


def satisfied(problem: Problem, routes: Sequence[Route], without: str = "") -> bool:
    """Whether these routes, at their times, satisfy the model (with one family of rules left out, if named)."""
    model = _model(problem, routes)
    if not model.nodes:
        return True
    _add_times(model, hours=without != "hours")
    clock = model.routing.GetDimensionOrDie("time")
    if without != "who":
        _add_who(model)
    if without != "loads":
        _add_loads(model)
    if without != "windows":
        _add_windows(model, clock)
    if without != "breaks":
        _add_breaks(model, clock)
    if without != "together":
        _add_together(model, clock)
    _fix_times(model, clock)
    model.routing.CloseModelWithParameters(pywrapcp.DefaultRoutingSearchParameters())
    orders: list[list[int]] = [[] for _ in routes]
    for k, node in enumerate(model.nodes):
        orders[node.vehicle].append(k)
    return model.routing.ReadAssignmentFromRoutes(orders, ACTIVE_ONLY) is not None


def _model(problem: Problem, routes: Sequence[Route]) -> _Model:
    by_shift = {(problem.workers[way.worker].id, way.shift): way for way in compile_ways(problem)}
    ways = tuple(by_shift[route.worker, route.shift] for route in routes)
    nodes = tuple(
        _Node(v, stop, problem.job(stop.job) if stop.kind == "job" else None)
        for v, route in enumerate(routes)
        for stop in route.stops
        if stop.kind == "depot" or (stop.kind == "job" and problem.job(stop.job).fact is None)
    )
    starts = [len(nodes) + 2 * v for v in range(len(ways))]
    manager = pywrapcp.RoutingIndexManager(len(nodes) + 2 * len(ways), max(1, len(ways)), starts, [s + 1 for s in starts])
    pauses = [shift_of(problem, way).breaks[b] for way in ways for b in way.breaks]
    origin_s = min([way.earliest_s for way in ways] + [pause.earliest_s for pause in pauses])
    until_s = max([route.end_s for route in routes] + [pause.latest_s + pause.duration_s for pause in pauses])
    until_s = max(until_s, *(way.end_s for way in ways))
    return _Model(problem, routes, ways, nodes, manager, pywrapcp.RoutingModel(manager), origin_s, until_s - origin_s)


def _works(model: _Model, vehicle: int) -> list[int]:
    """Seconds on site at each node by this vehicle's pace; nothing at starts and ends."""
    worker = model.problem.workers[model.ways[vehicle].worker]
    work = [model.problem.depot_s if node.job is None else work_s(node.job, worker) for node in model.nodes]
    return work + [0] * (2 * len(model.ways))


def _between(model: _Model) -> Ints:
    """Travel seconds between nodes, 0 where an end is open."""
    places = [node.stop.place if node.job is None else node.job.place for node in model.nodes]
    for way in model.ways:
        places += [way.start_place, way.end_place]
    at = np.asarray(places, dtype=np.int64)
    table = model.problem.travel.seconds[np.ix_(at, at)].astype(np.int64)
    table[at < 0, :] = 0
    table[:, at < 0] = 0
    return table


def _add_times(model: _Model, *, hours: bool) -> None:
    """Travel and work as transits; routes within shift and overtime, after the facts and not before now."""
    between = _between(model)
    by_pace: dict[int, int] = {}
    evaluators = []
    for v, way in enumerate(model.ways):
        pace = model.problem.workers[way.worker].pace_pct
        if pace not in by_pace:
            spent = between + np.asarray(_works(model, v), dtype=np.int64)[:, None]
            by_pace[pace] = model.routing.RegisterTransitMatrix(spent.tolist())
        evaluators.append(by_pace[pace])
    model.routing.AddDimensionWithVehicleTransits(evaluators, model.horizon_s, model.horizon_s, LATE_START, "time")
    clock, solver = model.routing.GetDimensionOrDie("time"), model.routing.solver()
    for v, way in enumerate(model.ways) if hours else ():
        begin, end = clock.CumulVar(model.routing.Start(v)), clock.CumulVar(model.routing.End(v))
        solver.Add(begin >= way.earliest_s - model.origin_s)
        solver.Add(begin <= way.latest_start_s - model.origin_s)
        solver.Add(end <= way.end_s - model.origin_s)


def _add_who(model: _Model) -> None:
    """Skills, territory, exclusion, pin to a worker, own tools: the vehicles that may serve a node."""
    problem, solver = model.problem, model.routing.solver()
    for k, node in enumerate(model.nodes):
        allowed = []
        for v, way in enumerate(model.ways) if node.job is not None else ():
            assert node.job is not None
            worker = problem.workers[way.worker]
            rules = {rule for rule, _ in refusals(problem, worker, shift_of(problem, way), node.job)} - WITHOUT_ME
            owned = model.calls(v) or node.job.tools <= worker.tools
            if not rules and owned:
                allowed.append(v)
        if node.job is not None:
            solver.Add(solver.MemberCt(model.routing.VehicleVar(model.manager.NodeToIndex(k)), allowed or [-1]))


def _add_loads(model: _Model) -> None:
    """Parts on the van after what the facts used, and the most jobs a shift takes."""
    problem, routing = model.problem, model.routing
    blank = [0] * (2 * len(model.ways))
    most = [shift_of(problem, way).max_jobs for way in model.ways]
    if any(limit is not None for limit in most):
        ones = routing.RegisterUnaryTransitVector([int(node.job is not None) for node in model.nodes] + blank)
        limits = [FAR_S if m is None else max(0, m - len(way.facts)) for m, way in zip(most, model.ways, strict=True)]
        routing.AddDimensionWithVehicleCapacity(ones, 0, limits, FROM_ZERO, "jobs")
    for part in sorted({need.part for node in model.nodes if node.job is not None for need in node.job.parts}):
        loads = [0 if node.job is None else _count(node.job.parts, part) for node in model.nodes]
        stock = []
        for v, way in enumerate(model.ways):
            used = sum(_count(problem.jobs[i].parts, part) for i in way.facts)
            carried = _count(problem.workers[way.worker].parts, part)
            stock.append(FAR_S if model.calls(v) else max(0, carried - used))
        routing.AddDimensionWithVehicleCapacity(
            routing.RegisterUnaryTransitVector(loads + blank), 0, stock, FROM_ZERO, f"part {part}"
        )


def _count(parts: Sequence[Parts], name: str) -> int:
    return sum(item.count for item in parts if item.part == name)


def _add_windows(model: _Model, clock: pywrapcp.RoutingDimension) -> None:
    """Starts within one of the windows, not before release or now, at the pinned moment."""
    solver = model.routing.solver()
    for k, node in enumerate(model.nodes):
        if node.job is None:
            continue
        start = clock.CumulVar(model.manager.NodeToIndex(k))
        inside = [
            solver.Min(start >= w.start_s - model.origin_s, start <= w.end_s - model.origin_s).Var() for w in node.job.windows
        ]
        if inside:
            solver.Add(solver.Sum(inside) >= 1)
        for floor_s in (node.job.release_s, model.problem.now_s):
            if floor_s is not None:
                solver.Add(start >= floor_s - model.origin_s)
        if node.job.pinned_start_s is not None:
            solver.Add(start == node.job.pinned_start_s - model.origin_s)


def _add_breaks(model: _Model, clock: pywrapcp.RoutingDimension) -> None:
    """Breaks between stops, where the plan has them; those it holds void lie before its start or after its end."""
    solver = model.routing.solver()
    for v, way in enumerate(model.ways):
        route = model.routes[v]
        taken = sorted((stop.start_s, stop.end_s) for stop in route.stops if stop.kind == "break")
        intervals = []
        for b in sorted(way.breaks, key=lambda b: shift_of(model.problem, way).breaks[b].latest_s):
            pause = shift_of(model.problem, way).breaks[b]
            low_s, high_s = pause.earliest_s - model.origin_s, pause.latest_s - model.origin_s
            interval = solver.FixedDurationIntervalVar(low_s, high_s, pause.duration_s, PERFORMED, f"break {v} {b}")
            intervals.append(interval)
            fit = [s for s, e in taken if pause.earliest_s <= s <= pause.latest_s and e - s == pause.duration_s]
            if fit:
                taken.remove((fit[0], fit[0] + pause.duration_s))
                solver.Add(interval.StartExpr() == fit[0] - model.origin_s)
            elif route.start_s >= pause.earliest_s + pause.duration_s:
                solver.Add(interval.StartExpr() == low_s)
            else:
                solver.Add(interval.StartExpr() == high_s)
        if intervals:
            clock.SetBreakIntervalsOfVehicle(intervals, v, _works(model, v))


def _add_together(model: _Model, clock: pywrapcp.RoutingDimension) -> None:
    """A crew starts at one moment; what comes after starts once the other has ended, on whichever route that is."""
    solver = model.routing.solver()
    at: dict[str, list[int]] = {}
    for k, node in enumerate(model.nodes):
        if node.job is not None:
            at.setdefault(node.job.id, []).append(k)
    for k, node in enumerate(model.nodes):
        if node.job is None:
            continue
        start = clock.CumulVar(model.manager.NodeToIndex(k))
        for other in at[node.job.id]:
            if other > k:
                solver.Add(clock.CumulVar(model.manager.NodeToIndex(other)) == start)
        for name in node.job.after:
            fact = model.problem.job(name).fact
            if fact is not None:
                solver.Add(start >= fact.end_s - model.origin_s)
            for other in at.get(name, ()):
                takes_s = _works(model, model.nodes[other].vehicle)[other]
                solver.Add(start >= clock.CumulVar(model.manager.NodeToIndex(other)) + takes_s)


def _fix_times(model: _Model, clock: pywrapcp.RoutingDimension) -> None:
    """The plan's own times."""
    solver = model.routing.solver()
    for k, node in enumerate(model.nodes):
        solver.Add(clock.CumulVar(model.manager.NodeToIndex(k)) == node.stop.start_s - model.origin_s)
    for v, (way, route) in enumerate(zip(model.ways, model.routes, strict=True)):
        begin_s = way.earliest_s if way.facts else route.start_s
        solver.Add(clock.CumulVar(model.routing.Start(v)) == begin_s - model.origin_s)
        solver.Add(clock.CumulVar(model.routing.End(v)) == route.end_s - model.origin_s)
