"""Other solvers on our problems: VROOM, PyVRP, and OR-Tools alone. Each answers the order of jobs on every way.

What a solver cannot express is said as the reason it is absent, never left out silently.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from importlib import import_module
from types import ModuleType

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from dispatch import Problem
from dispatch.compile import Compiled, Way, compile_problem, shift_of, work_s
from dispatch.ortools_search import search
from dispatch.weights import job_prices

VROOM_CLASSES = (100, 10, 1)  # VROOM adds priorities up, from 0 to 100: one of a class weighs ten of the next
FORBIDDEN = 1 << 28


class Absent(Exception):
    """Why a solver has no answer."""


class Answer(Struct, frozen=True, kw_only=True):
    """Problem jobs by way in order, seconds it took, and seconds to its first answer where that is known."""

    orders: tuple[tuple[int, ...], ...]
    seconds: float
    first_s: float | None = None


def _loaded(name: str, package: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise Absent(f"{package} is not installed: {error}") from error


def _plain(compiled: Compiled, who: str) -> None:
    """Refuses what neither VROOM nor PyVRP gets from us here."""
    problem = compiled.problem
    if problem.depots:
        raise Absent(f"{who}: calls at a depot on the way are not in its model")
    if any(way.facts for way in compiled.ways):
        raise Absent(f"{who}: a day under way is not translated")
    if any(way.start_place < 0 or way.end_place < 0 for way in compiled.ways):
        raise Absent(f"{who}: open ends are not translated")


def vroom(problem: Problem, seconds: float) -> Answer:
    """VROOM's routes, on one thread. It heeds its limit on small problems only: exploration 5 below 1000 jobs, 2 from there."""
    module = _loaded("vroom", "pyvroom")
    compiled = compile_problem(problem)
    _plain(compiled, "VROOM")
    asked = module.Input()
    asked.set_durations_matrix(profile="car", matrix_input=problem.travel.seconds.astype(np.uint32))
    skills = _skill_sets(compiled)
    kinds = sorted({job.priority for job in problem.jobs if job.priority is not None})
    for r, way in enumerate(compiled.ways):
        worker, shift = problem.workers[way.worker], shift_of(problem, way)
        pauses = [
            module.Break(b, time_windows=[module.TimeWindow(p.earliest_s, p.latest_s)], service=p.duration_s)
            for b, p in enumerate(shift.breaks, start=1)
        ]
        asked.add_vehicle(
            module.Vehicle(
                r + 1,
                start=way.start_place,
                end=way.end_place,
                skills=skills[0][r],
                time_window=module.TimeWindow(way.earliest_s, way.end_s),
                breaks=pauses,
                type=str(worker.pace_pct),
            )
        )
    paces = {problem.workers[way.worker].pace_pct: problem.workers[way.worker] for way in compiled.ways}
    for k, i in enumerate(compiled.open_jobs):
        job = problem.jobs[i]
        windows = [module.TimeWindow(max(0, w.start_s), w.end_s) for w in job.windows]
        asked.add_job(
            module.Job(
                k + 1,
                location=job.place,
                default_service=job.duration_s,
                service_per_type={str(pace): work_s(job, worker) for pace, worker in paces.items()},
                skills=skills[1][k],
                priority=0 if job.priority is None else VROOM_CLASSES[min(kinds.index(job.priority), 2)],
                time_windows=windows,
            )
        )
    began_s = time.monotonic()
    level = 5 if len(compiled.open_jobs) < 1000 else 2
    found = asked.solve(exploration_level=level, nb_threads=1, timeout=timedelta(seconds=seconds))
    took_s = time.monotonic() - began_s
    orders: list[list[int]] = [[] for _ in compiled.ways]
    for route in found.to_dict()["routes"]:
        orders[route["vehicle"] - 1] = [compiled.open_jobs[s["id"] - 1] for s in route["steps"] if s["type"] == "job"]
    return Answer(orders=tuple(map(tuple, orders)), seconds=took_s)


def _skill_sets(compiled: Compiled) -> tuple[list[set[int]], list[set[int]]]:
    """Numbers for whom a job may go to: jobs that the same ways may serve share one, and those ways have it."""
    columns, group = np.unique(compiled.ok, axis=1, return_inverse=True)
    ways = [set((np.flatnonzero(columns[r]) + 1).tolist()) for r in range(len(compiled.ways))]
    return ways, [{int(g) + 1} for g in group.reshape(-1)]


def ortools(problem: Problem, seconds: float) -> Answer:
    """OR-Tools' own search (guided local search after a parallel insertion) in a child process."""
    compiled = compile_problem(problem)
    if problem.depots:
        raise Absent("OR-Tools alone: calls at a depot on the way are not in its model here")
    began_s = time.monotonic()
    first_s, best = None, None
    for orders in search(problem, None, seconds=seconds, seed=1):
        if orders is not None:
            first_s = first_s or time.monotonic() - began_s
            best = orders
    if best is None:
        raise Absent(f"OR-Tools alone found no plan in {seconds:g} s")
    assert len(best) == len(compiled.ways)
    return Answer(orders=best, seconds=time.monotonic() - began_s, first_s=first_s)


def pyvrp(problem: Problem, seconds: float, seed: int) -> Answer:
    """PyVRP's routes, on one thread: a vehicle type for ways that are alike, a pair of matrices for whom and how fast."""
    module, stop = _loaded("pyvrp", "pyvrp"), _loaded("pyvrp.stop", "pyvrp")
    compiled = compile_problem(problem)
    _plain(compiled, "PyVRP")
    if any(way.breaks for way in compiled.ways):
        raise Absent("PyVRP: breaks are not in its model")
    if any(len(job.windows) > 1 or job.due_s is not None for job in problem.jobs):
        raise Absent("PyVRP: several windows and due times are not in its model")
    profiles = {_profile(compiled, r, way): r for r, way in enumerate(compiled.ways)}
    homes = sorted({place for way in compiled.ways for place in (way.start_place, way.end_place)})
    nodes = len(homes) + len(compiled.open_jobs)
    gigabytes = len(profiles) * nodes**2 * 16 / 1e9
    if gigabytes > 4:
        raise Absent(f"PyVRP: {len(profiles)} pairs of matrices of {nodes} nodes would take {gigabytes:.0f} GB")
    data = _pyvrp_data(module, compiled, list(profiles.values()), homes)
    began_s = time.monotonic()
    found = module.solve(data, stop.MaxRuntime(seconds), seed=seed, display=False, collect_stats=False)
    took_s = time.monotonic() - began_s
    members = _alike(compiled)
    orders: list[tuple[int, ...]] = [() for _ in compiled.ways]
    for route in found.best.routes():
        r = members[route.vehicle_type()].pop()
        orders[r] = tuple(compiled.open_jobs[stop.idx] for stop in route if stop.is_client())
    return Answer(orders=tuple(orders), seconds=took_s)


def _profile(compiled: Compiled, r: int, way: Way) -> tuple[bytes, int, int]:
    worker = compiled.problem.workers[way.worker]
    return compiled.ok[r].tobytes(), worker.pace_pct, worker.rates.travel_per_s


def _alike(compiled: Compiled) -> list[list[int]]:
    """Ways that are alike, as lists in order of their first."""
    groups: dict[object, list[int]] = {}
    for r, way in enumerate(compiled.ways):
        worker = compiled.problem.workers[way.worker]
        key = (_profile(compiled, r, way), way.start_place, way.end_place, way.earliest_s, way.end_s, worker.parts, worker.rates)
        groups.setdefault(key, []).append(r)
    return list(groups.values())


def _pyvrp_data(module: ModuleType, compiled: Compiled, profiles: Sequence[int], homes: Sequence[int]) -> object:
    problem = compiled.problem
    jobs = [problem.jobs[i] for i in compiled.open_jobs]
    parts = sorted({need.part for job in jobs for need in job.parts})
    prices = job_prices(compiled)
    classes = {job.priority for job in jobs if job.priority is not None}
    must = len(classes) == 1 and all(job.priority is not None for job in jobs)  # one class only: every job has to be served
    quickest = [min(work_s(job, problem.workers[way.worker]) for way in compiled.ways) for job in jobs]
    clients = [
        module.Client(
            location=len(homes) + k,
            delivery=[sum(need.count for need in job.parts if need.part == part) for part in parts],
            service_duration=quickest[k],
            tw_early=max(0, job.windows[0].start_s) if job.windows else 0,
            tw_late=job.windows[0].end_s if job.windows else 1 << 40,
            prize=0 if must else int(prices[k]),
            required=must,
        )
        for k, job in enumerate(jobs)
    ]
    kinds = [_profile(compiled, r, compiled.ways[r]) for r in profiles]
    types = []
    for members in _alike(compiled):
        way = compiled.ways[members[0]]
        worker = problem.workers[way.worker]
        types.append(
            module.VehicleType(
                num_available=len(members),
                capacity=[sum(item.count for item in worker.parts if item.part == part) for part in parts],
                start_depot=homes.index(way.start_place),
                end_depot=homes.index(way.end_place),
                fixed_cost=worker.rates.per_route,
                tw_early=way.earliest_s,
                tw_late=way.end_s,
                unit_distance_cost=1,
                unit_duration_cost=worker.rates.duty_per_s,
                profile=kinds.index(_profile(compiled, members[0], way)),
            )
        )
    pairs = [_matrices(compiled, r, homes, quickest) for r in profiles]
    return module.ProblemData(
        [module.Location(0, 0)] * (len(homes) + len(jobs)),
        clients,
        [module.Depot(n) for n in range(len(homes))],
        types,
        [price for price, _ in pairs],
        [duration for _, duration in pairs],
    )


def _matrices(
    compiled: Compiled, r: int, homes: Sequence[int], quickest: Sequence[int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """What driving costs and how long it takes for one way: jobs it may not serve are too far, a slow worker leaves later."""
    problem, worker = compiled.problem, compiled.problem.workers[compiled.ways[r].worker]
    places = np.array([*homes, *(problem.jobs[i].place for i in compiled.open_jobs)], dtype=np.int64)
    seconds = problem.travel.seconds[np.ix_(places, places)].astype(np.int64)
    price, duration = seconds * worker.rates.travel_per_s, seconds.copy()
    if worker.rates.distance_per_m:
        price += problem.travel.metres[np.ix_(places, places)].astype(np.int64) * worker.rates.distance_per_m
    slower = [work_s(problem.jobs[i], worker) - quick for i, quick in zip(compiled.open_jobs, quickest, strict=True)]
    duration[len(homes) :] += np.array(slower, dtype=np.int64)[:, None]
    barred = len(homes) + np.flatnonzero(compiled.ok[r] == 0)
    for matrix in (price, duration):
        matrix[:, barred] = FORBIDDEN
        matrix[barred, :] = FORBIDDEN
        np.fill_diagonal(matrix, 0)
    return price, duration
