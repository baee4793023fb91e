"""The score of a plan counted again from the definition, for `verify`. Nothing here is shared with any search."""

from __future__ import annotations

from collections.abc import Iterator

from dispatch.plan import Plan, Route, Score, Stop
from dispatch.problem import Job, Problem, Published, Worker

Visit = tuple[Worker, Stop, Job]


def recount(problem: Problem, plan: Plan) -> Score:
    """The score, level by level."""
    visits = list(_visits(problem, plan))
    to_come = [visit for visit in visits if visit[2].fact is None]
    served = {job.id for _, _, job in visits}
    left = [job for job in problem.jobs if job.id not in served]
    kinds = sorted({job.priority for job in problem.jobs if job.priority is not None})
    return Score(
        promises=sum(1 for job in left if job.pinned),
        unserved=tuple(sum(1 for job in left if job.priority == kind) for kind in kinds),
        late=sum(_late(stop, job) for _, stop, job in to_come),
        moves=_moves(problem, to_come),
        cost=sum(_way(problem, route) for route in plan.routes)
        + sum(_dislike(worker, job) for worker, _, job in visits)
        + sum(_outside(stop, job) for _, stop, job in to_come)
        + sum(job.value for job in left if job.priority is None),
    )


def _visits(problem: Problem, plan: Plan) -> Iterator[Visit]:
    for route in plan.routes:
        for stop in route.stops:
            if stop.kind == "job":
                yield problem.worker(route.worker), stop, problem.job(stop.job)


def _way(problem: Problem, route: Route) -> int:
    """The rates of the worker; the square of the duty over the shift's length is what balance costs."""
    worker = problem.worker(route.worker)
    rates, shift = worker.rates, worker.shifts[route.shift]
    cost = rates.per_route + rates.travel_per_s * route.travel_s + rates.duty_per_s * route.duty_s
    cost += rates.distance_per_m * route.distance_m + rates.overtime_per_s * route.overtime_s
    return cost + rates.balance_per_s * route.duty_s**2 // max(1, shift.end_s - shift.start_s)


def _dislike(worker: Worker, job: Job) -> int:
    return job.not_preferred_price if job.preferred and worker.id not in job.preferred else 0


def _outside(stop: Stop, job: Job) -> int:
    missed = job.soft_windows and all(not window.start_s <= stop.start_s <= window.end_s for window in job.soft_windows)
    return job.outside_price if missed else 0


def _late(stop: Stop, job: Job) -> int:
    return 0 if job.due_s is None else max(0, stop.end_s - job.due_s) * job.late_per_s


def _moves(problem: Problem, visits: list[Visit]) -> int:
    """Each visit against the published one of its worker, or of another where the worker has none."""
    published: dict[str, list[Published]] = {}
    for entry in problem.published:
        published.setdefault(entry.job, []).append(entry)
    total = 0
    for worker, stop, job in visits:
        told = published.get(job.id)
        if told is None:
            continue
        entry = next((entry for entry in told if entry.worker == worker.id), told[0])
        total += entry.move_worker if entry.worker != worker.id else 0
        total += entry.move_time if abs(stop.start_s - entry.start_s) > entry.tolerance_s else 0
    return total
