"""The score of a plan, level by level, from its routes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dispatch.plan import Route, Score
from dispatch.problem import Job, Problem, Published, Shift, Worker


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
    """What one route costs by its worker's rates, the jobs' preferences and their soft windows."""
    return sum(route_costs(problem, route).values())


def route_costs(problem: Problem, route: Route) -> dict[str, int]:
    """What one route costs, by the name of the rule that prices it."""
    worker = problem.worker(route.worker)
    rates = worker.rates
    return {
        "route": rates.per_route,
        "travel": rates.travel_per_s * route.travel_s,
        "duty": rates.duty_per_s * route.duty_s,
        "distance": rates.distance_per_m * route.distance_m,
        "overtime": rates.overtime_per_s * route.overtime_s,
        "balance": balance_price(worker, worker.shifts[route.shift], route.duty_s),
        "preference": sum(preference_price(problem.job(job), worker) for job in route.jobs),
        "soft_windows": sum(outside_price(problem.job(stop.job), stop.start_s) for stop in route.stops if stop.kind == "job"),
    }


def balance_price(worker: Worker, shift: Shift, duty_s: int) -> int:
    """What it costs that a shift is as full as it is."""
    return worker.rates.balance_per_s * duty_s * duty_s // max(1, shift.end_s - shift.start_s)


def outside_price(job: Job, start_s: int) -> int:
    """What it costs that a job starts outside its soft windows; a fact's start is nobody's choice."""
    if not job.soft_windows or job.fact is not None:
        return 0
    return 0 if any(w.start_s <= start_s <= w.end_s for w in job.soft_windows) else job.outside_price


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
    published: dict[str, list[Published]] = {}
    for entry in problem.published:
        published.setdefault(entry.job, []).append(entry)
    total = 0
    for route in routes:
        for stop in route.stops:
            known = published.get(stop.job) if stop.kind == "job" else None
            if known is None or problem.job(stop.job).fact is not None:
                continue
            entry = next((entry for entry in known if entry.worker == route.worker), known[0])
            total += entry.move_worker if route.worker != entry.worker else 0
            total += entry.move_time if abs(stop.start_s - entry.start_s) > entry.tolerance_s else 0
    return total
