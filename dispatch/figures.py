"""Figures of a plan: what it costs by level and by name, and how the days look."""

from __future__ import annotations

from statistics import pstdev

from msgspec import Struct

from dispatch.plan import Plan, Route
from dispatch.problem import Problem
from dispatch.score import classes, route_costs


class Figures(Struct, frozen=True, kw_only=True):
    """A plan in figures. Shares lie between 0 and 1 (None where there is nothing to take a share of); times are seconds.

    `levels` names the score's levels in their order, `cost` the parts of its last level; the parts add up to it.
    `travel_share` is travel over duty, `utilisation` duty over the hours of all shifts, `worked_share` work over those hours.
    `on_time_share` is the share of visits that end by their due time and start in a soft window, among those that have either.
    `balance` is the standard deviation of the utilisation of the shifts: 0 where all are equally full.
    """

    jobs: int
    served: int
    unserved: int
    routes: int
    shifts: int
    visits_per_route: float
    travel_s: int
    distance_m: int
    work_s: int
    wait_s: int
    break_s: int
    duty_s: int
    overtime_s: int
    travel_share: float | None
    utilisation: float | None
    worked_share: float | None
    on_time_share: float | None
    balance: float
    levels: dict[str, int]
    cost: dict[str, int]


def figures(problem: Problem, plan: Plan) -> Figures:
    """The figures of a plan that the checker accepts."""
    routes = plan.routes
    duty_s, travel_s = sum(r.duty_s for r in routes), sum(r.travel_s for r in routes)
    work_s = sum(stop.end_s - stop.start_s for r in routes for stop in r.stops if stop.kind != "break")
    hours_s = sum(shift.end_s - shift.start_s for worker in problem.workers for shift in worker.shifts)
    visits = sum(len(r.jobs) for r in routes)
    return Figures(
        jobs=len(problem.jobs),
        served=plan.served,
        unserved=len(plan.unserved),
        routes=len(routes),
        shifts=sum(len(worker.shifts) for worker in problem.workers),
        visits_per_route=visits / len(routes) if routes else 0.0,
        travel_s=travel_s,
        distance_m=sum(r.distance_m for r in routes),
        work_s=work_s,
        wait_s=max(0, duty_s - travel_s - work_s),
        break_s=sum(stop.end_s - stop.start_s for r in routes for stop in r.stops if stop.kind == "break"),
        duty_s=duty_s,
        overtime_s=sum(r.overtime_s for r in routes),
        travel_share=_share(travel_s, duty_s),
        utilisation=_share(duty_s, hours_s),
        worked_share=_share(work_s, hours_s),
        on_time_share=_on_time(problem, routes),
        balance=_balance(problem, routes),
        levels=_levels(problem, plan),
        cost=cost_by_name(problem, plan),
    )


def cost_by_name(problem: Problem, plan: Plan) -> dict[str, int]:
    """The parts of the score's last level, by the name of the rule that prices each."""
    found: dict[str, int] = {}
    for route in plan.routes:
        for name, price in route_costs(problem, route).items():
            found[name] = found.get(name, 0) + price
    served = {job for route in plan.routes for job in route.jobs}
    found["value_missed"] = sum(job.value for job in problem.jobs if job.priority is None and job.id not in served)
    return found


def _levels(problem: Problem, plan: Plan) -> dict[str, int]:
    left = {f"unserved of class {kind}": count for kind, count in zip(classes(problem), plan.score.unserved, strict=True)}
    score = plan.score
    return {"promises": score.promises, **left, "late": score.late, "moves": score.moves, "cost": score.cost}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _on_time(problem: Problem, routes: tuple[Route, ...]) -> float | None:
    kept, asked = 0, 0
    for route in routes:
        for stop in route.stops:
            job = problem.job(stop.job) if stop.kind == "job" else None
            if job is not None and (job.due_s is not None or job.soft_windows):
                wished = not job.soft_windows or any(w.start_s <= stop.start_s <= w.end_s for w in job.soft_windows)
                asked += 1
                kept += wished and (job.due_s is None or stop.end_s <= job.due_s)
    return _share(kept, asked)


def _balance(problem: Problem, routes: tuple[Route, ...]) -> float:
    duty = {(route.worker, route.shift): route.duty_s for route in routes}
    full = [
        duty.get((worker.id, s), 0) / max(1, shift.end_s - shift.start_s)
        for worker in problem.workers
        for s, shift in enumerate(worker.shifts)
    ]
    return pstdev(full) if full else 0.0
