"""The problem as an OR-Tools routing model, searched in a child process.

OR-Tools holds the interpreter's lock while it searches, so it never runs in the caller's process. The child sends the order of
jobs on each shift whenever it finds a better one; times, score and checks are the parent's.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TypeAlias

import numpy as np
from ortools.constraint_solver import pywrapcp, routing_enums_pb2

from dispatch.compile import FAR_S, Compiled, Ints, compile_problem, shift_of, work_s
from dispatch.problem import Problem
from dispatch.weights import job_prices

Orders: TypeAlias = tuple[tuple[int, ...], ...]  # by way: problem job indices

POLL_S = 0.02
# The binding takes these flags by position only.
FROM_ZERO = True
WAIT_FIRST = False  # no: a route may start later than its shift
OPTIONAL = False
IGNORE_INACTIVE = True
START_GRACE_S = 20.0  # a child that imports slowly is not mistaken for a search that overruns


@dataclass(frozen=True, slots=True)
class _Model:
    compiled: Compiled
    manager: pywrapcp.RoutingIndexManager
    routing: pywrapcp.RoutingModel


def search(problem: Problem, start: Orders | None, *, seconds: float, seed: int) -> Iterator[Orders | None]:
    """Better and better orders from a child process; None while there is no news (about every 20 ms). Closing it ends the child."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(problem, start, seconds, seed, sender), daemon=True)
    child.start()
    sender.close()
    try:
        began_s, deadline_s = time.monotonic(), None
        while True:
            if receiver.poll(POLL_S):
                try:
                    news = receiver.recv()
                except EOFError:
                    return
                if deadline_s is None:
                    deadline_s = time.monotonic() + seconds + 2.0
                if news is not None:
                    yield news
            else:
                yield None
            if time.monotonic() > (deadline_s or began_s + START_GRACE_S + seconds):
                return
    finally:
        receiver.close()
        child.kill()
        child.join()
        child.close()


def _child(problem: Problem, start: Orders | None, seconds: float, seed: int, sender: Connection) -> None:
    sender.send(None)  # alive: the clock runs from here
    compiled = compile_problem(problem)
    if not compiled.open_jobs or not compiled.ways:
        return
    model = _build(compiled)
    routing = model.routing
    parameters = pywrapcp.DefaultRoutingSearchParameters()
    parameters.first_solution_strategy = routing_enums_pb2.FirstSolutionStrategy.PARALLEL_CHEAPEST_INSERTION
    parameters.local_search_metaheuristic = routing_enums_pb2.LocalSearchMetaheuristic.GUIDED_LOCAL_SEARCH
    parameters.time_limit.FromMilliseconds(int(seconds * 1000))
    routing.solver().ReSeed(seed)
    best: list[int] = []

    def report() -> None:
        cost = routing.CostVar().Min()
        if not best or cost < best[0]:
            best[:] = [cost]
            sender.send(_orders(model, None))

    routing.AddAtSolutionCallback(report)
    routing.CloseModelWithParameters(parameters)
    initial = None
    if start is not None:
        rank = {i: k for k, i in enumerate(compiled.open_jobs)}
        initial = routing.ReadAssignmentFromRoutes([[rank[i] for i in order if i in rank] for order in start], IGNORE_INACTIVE)
    solution = (
        routing.SolveFromAssignmentWithParameters(initial, parameters) if initial else routing.SolveWithParameters(parameters)
    )
    if solution is not None:
        sender.send(_orders(model, solution))
    sender.close()


def _orders(model: _Model, solution: pywrapcp.Assignment | None) -> Orders:
    """The job order of each way, from a finished assignment or from the search's present state."""
    orders = []
    count = len(model.compiled.open_jobs)
    for v in range(len(model.compiled.ways)):
        order, index = [], model.routing.Start(v)
        while not model.routing.IsEnd(index):
            node = model.manager.IndexToNode(index)
            if node < count:
                order.append(model.compiled.open_jobs[node])
            follow = model.routing.NextVar(index)
            index = follow.Value() if solution is None else solution.Value(follow)
        orders.append(tuple(order))
    return tuple(orders)


def _build(compiled: Compiled) -> _Model:
    count, fleet = len(compiled.open_jobs), len(compiled.ways)
    starts = [count + 2 * v for v in range(fleet)]
    manager = pywrapcp.RoutingIndexManager(count + 2 * fleet, fleet, starts, [node + 1 for node in starts])
    model = _Model(compiled, manager, pywrapcp.RoutingModel(manager))
    _add_costs(model)
    _add_times(model)
    _add_loads(model)
    prices = job_prices(compiled)
    for k in range(count):
        index = manager.NodeToIndex(k)
        model.routing.AddDisjunction([index], int(prices[k]))
        allowed = [v for v in range(fleet) if compiled.ok[v, k] and _starts(compiled, k)]
        model.routing.VehicleVar(index).SetValues([-1, *allowed])
    return model


def _places(compiled: Compiled) -> Ints:
    """The place of each node: jobs, then start and end of each way; -1 is open."""
    places = [compiled.problem.jobs[i].place for i in compiled.open_jobs]
    for way in compiled.ways:
        places += [way.start_place, way.end_place]
    return np.asarray(places, dtype=np.int64)


def _between(places: Ints, matrix: np.ndarray[tuple[int, int], np.dtype[np.int32]]) -> Ints:
    """Travel between nodes, 0 where an end is open."""
    table = matrix[np.ix_(places, places)].astype(np.int64)
    table[places < 0, :] = 0
    table[:, places < 0] = 0
    return table


def _add_costs(model: _Model) -> None:
    travel = model.compiled.problem.travel
    places = _places(model.compiled)
    seconds, metres = _between(places, travel.seconds), _between(places, travel.metres)
    known: dict[tuple[int, int], int] = {}
    for v, way in enumerate(model.compiled.ways):
        rates = model.compiled.problem.workers[way.worker].rates
        key = (rates.travel_per_s, rates.distance_per_m)
        if key not in known:
            known[key] = model.routing.RegisterTransitMatrix((seconds * key[0] + metres * key[1]).tolist())
        model.routing.SetArcCostEvaluatorOfVehicle(known[key], v)
        model.routing.SetFixedCostOfVehicle(rates.per_route, v)


def _starts(compiled: Compiled, k: int) -> list[tuple[int, int]]:
    return [(a.start_s, a.end_s) for a in compiled.alternatives[k]]


def _add_times(model: _Model) -> None:
    compiled, routing, manager = model.compiled, model.routing, model.manager
    problem = compiled.problem
    places = _places(compiled)
    seconds = _between(places, problem.travel.seconds)
    by_pace: dict[int, tuple[int, list[int]]] = {}
    evaluators, visit_times = [], []
    for way in compiled.ways:
        worker = problem.workers[way.worker]
        if worker.pace_pct not in by_pace:
            work = np.zeros(len(places), dtype=np.int64)
            work[: len(compiled.open_jobs)] = [work_s(problem.jobs[i], worker) for i in compiled.open_jobs]
            by_pace[worker.pace_pct] = (routing.RegisterTransitMatrix((seconds + work[:, None]).tolist()), work.tolist())
        evaluators.append(by_pace[worker.pace_pct][0])
        visit_times.append(by_pace[worker.pace_pct][1])
    # The dimension's clock starts at the earliest shift, so that cumuls stay small and above 0.
    origin_s = min(way.earliest_s for way in compiled.ways)
    horizon_s = max(1, max(way.end_s for way in compiled.ways) - origin_s)
    routing.AddDimensionWithVehicleTransits(evaluators, horizon_s, horizon_s, WAIT_FIRST, "time")
    clock = routing.GetDimensionOrDie("time")
    for k, i in enumerate(compiled.open_jobs):
        _bound_job(model, k, clock, origin_s, horizon_s)
        job = problem.jobs[i]
        if job.due_s is not None:
            late_price = 20 * job.late_per_s
            clock.SetCumulVarSoftUpperBound(
                manager.NodeToIndex(k), min(horizon_s, max(0, job.due_s - job.duration_s - origin_s)), late_price
            )
    for v, way in enumerate(compiled.ways):
        rates = problem.workers[way.worker].rates
        shift = shift_of(problem, way)
        begin, end = clock.CumulVar(routing.Start(v)), clock.CumulVar(routing.End(v))
        if way.earliest_s > way.end_s or way.latest_start_s < way.earliest_s:
            for k in range(len(compiled.open_jobs)):
                routing.VehicleVar(manager.NodeToIndex(k)).RemoveValue(v)
            continue
        begin.SetRange(way.earliest_s - origin_s, min(way.latest_start_s, way.end_s) - origin_s)
        end.SetMax(way.end_s - origin_s)
        clock.SetSpanCostCoefficientForVehicle(rates.duty_per_s, v)
        if shift.overtime_s:
            clock.SetCumulVarSoftUpperBound(routing.End(v), max(0, shift.end_s - origin_s), rates.overtime_per_s)
        routing.AddVariableMinimizedByFinalizer(end)
        if way.breaks:
            _add_breaks(model, v, clock, origin_s, visit_times[v])


def _bound_job(model: _Model, k: int, clock: pywrapcp.RoutingDimension, origin_s: int, horizon_s: int) -> None:
    """Limits a job's start to its windows; a job with none left can only stay out."""
    index = model.manager.NodeToIndex(k)
    spans = [(max(0, a - origin_s), min(horizon_s, b - origin_s)) for a, b in _starts(model.compiled, k)]
    spans = [(a, b) for a, b in spans if a <= b]
    if not spans:
        model.routing.solver().Add(model.routing.ActiveVar(index) == 0)
        return
    cumul = clock.CumulVar(index)
    cumul.SetRange(spans[0][0], spans[-1][1])
    reach = spans[0][1]
    for a, b in spans[1:]:
        if a > reach + 1:
            cumul.RemoveInterval(reach + 1, a - 1)
        reach = max(reach, b)


def _add_breaks(model: _Model, v: int, clock: pywrapcp.RoutingDimension, origin_s: int, visit_times: list[int]) -> None:
    way = model.compiled.ways[v]
    solver = model.routing.solver()
    intervals = []
    for b in way.breaks:
        pause = shift_of(model.compiled.problem, way).breaks[b]
        low_s, high_s = max(0, pause.earliest_s - origin_s), max(0, pause.latest_s - origin_s)
        intervals.append(solver.FixedDurationIntervalVar(low_s, high_s, pause.duration_s, OPTIONAL, f"break {v} {b}"))
    clock.SetBreakIntervalsOfVehicle(intervals, v, visit_times)


def _add_loads(model: _Model) -> None:
    """Parts on the van, own tools (calls at a depot are beyond this model), and the most jobs a shift takes."""
    compiled, routing = model.compiled, model.routing
    problem = compiled.problem
    nodes = len(compiled.open_jobs) + 2 * len(compiled.ways)
    shifts = [shift_of(problem, way) for way in compiled.ways]
    if any(shift.max_jobs is not None for shift in shifts):
        ones = [1] * len(compiled.open_jobs) + [0] * (nodes - len(compiled.open_jobs))
        evaluator = routing.RegisterUnaryTransitVector(ones)
        most = [
            len(problem.jobs) if s.max_jobs is None else max(0, s.max_jobs - len(w.facts))
            for s, w in zip(shifts, compiled.ways, strict=True)
        ]
        routing.AddDimensionWithVehicleCapacity(evaluator, 0, most, FROM_ZERO, "jobs")
    needed = sorted({need.part for i in compiled.open_jobs for need in problem.jobs[i].parts})
    for part in needed:
        loads = [sum(n.count for n in problem.jobs[i].parts if n.part == part) for i in compiled.open_jobs]
        evaluator = routing.RegisterUnaryTransitVector(loads + [0] * (nodes - len(loads)))
        stock = []
        for way in compiled.ways:
            carried = sum(p.count for p in problem.workers[way.worker].parts if p.part == part)
            used = sum(n.count for i in way.facts for n in problem.jobs[i].parts if n.part == part)
            stock.append(min(max(0, carried - used), FAR_S))
        routing.AddDimensionWithVehicleCapacity(evaluator, 0, stock, FROM_ZERO, f"part {part}")
    for k, i in enumerate(compiled.open_jobs):
        for v, way in enumerate(compiled.ways):
            if problem.jobs[i].tools - problem.workers[way.worker].tools:
                routing.VehicleVar(model.manager.NodeToIndex(k)).RemoveValue(v)
