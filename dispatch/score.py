"""The score of a plan, level by level, from its routes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dispatch.plan import Route, Score
from dispatch.problem import Job, Problem, Worker


def classes(problem: Problem) -> tuple[int, ...]:
    """The priority classes in use, most urgent first; positions of `Score.unserved`."""
    return tuple(sorted({job.priority for job in problem.jobs if job.priority is not None}))


def score(problem: Problem, routes: Sequence[Route]) -> Score:
    """Levels of a plan with these routes; jobs on no route are unserved."""
    served = {job for route in routes for job in route.jobs}
    left = [job for job in problem.jobs if job.id not in served]
    kinds = classes(problem)
    counts = dict.fromkeys(kinds, 0)
    for job in left:
        if job.priority is not None:
            counts[job.priority] += 1
    return Score(
        promises=sum(job.pinned for job in left),
        unserved=tuple(counts[kind] for kind in kinds),
        late=_late(problem, routes),
        moves=_moves(problem, routes),
        cost=sum(route_cost(problem, route) for route in routes) + sum(job.value for job in left if job.priority is None),
    )


def route_levels(problem: Problem, route: Route) -> tuple[int, int, int]:
    """Lateness, moves and cost of one route by itself."""
    return _late(problem, (route,)), _moves(problem, (route,)), route_cost(problem, route)


def route_cost(problem: Problem, route: Route) -> int:
    """What one route costs by its worker's rates and the jobs' preferences."""
    worker = problem.worker(route.worker)
    rates = worker.rates
    return (
        rates.per_route
        + rates.travel_per_s * route.travel_s
        + rates.duty_per_s * route.duty_s
        + rates.distance_per_m * route.distance_m
        + rates.overtime_per_s * route.overtime_s
        + sum(preference_price(problem.job(job), worker) for job in route.jobs)
    )


def preference_price(job: Job, worker: Worker) -> int:
    """What it costs that this worker is not one the job prefers."""
    return job.not_preferred_price if job.preferred and worker.id not in job.preferred else 0


def _late(problem: Problem, routes: Iterable[Route]) -> int:
    total = 0
    for route in routes:
        for stop in route.stops:
            if stop.kind == "job":
                job = problem.job(stop.job)
                if job.due_s is not None and job.fact is None:
                    total += max(0, stop.end_s - job.due_s) * job.late_per_s
    return total


def _moves(problem: Problem, routes: Iterable[Route]) -> int:
    published = {entry.job: entry for entry in problem.published}
    total = 0
    for route in routes:
        for stop in route.stops:
            entry = published.get(stop.job) if stop.kind == "job" else None
            if entry is None or problem.job(stop.job).fact is not None:
                continue
            total += entry.move_worker if route.worker != entry.worker else 0
            total += entry.move_time if abs(stop.start_s - entry.start_s) > entry.tolerance_s else 0
    return total
