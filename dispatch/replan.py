"""The day under way: a plan repaired with the past frozen, and what became different.

The past is facts: `Job.fact` for what has started or is done, `Problem.now_s` before which nothing else sets out, and
`Problem.published` for what people have been told. A repair starts from the published plan, so that what need not move does not.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from dispatch.plan import Plan, Route, Stop
from dispatch.problem import Problem
from dispatch.solver import Progress, solve


class Change(Struct, frozen=True, kw_only=True):
    """What became of one job: `added`, `dropped`, `worker` (someone else goes) or `time`; None where it is in no route."""

    job: str
    kind: str
    worker_before: str | None
    worker_after: str | None
    start_before_s: int | None
    start_after_s: int | None


def repair(
    problem: Problem,
    plan: Plan,
    *,
    seconds: float | None = 5.0,
    iterations: int | None = None,
    seed: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Plan:
    """A better plan for the rest of the day, from `plan` as far as it still holds. Raises PlanRefused as `solve` does.

    `problem` is the day as it is now: facts, `now_s`, who is there, what is published. What `plan` has and the problem no longer
    allows (someone ill, a job cancelled, a day running late) is placed anew.
    """
    return solve(
        problem,
        seconds=seconds,
        iterations=iterations,
        seed=seed,
        on_progress=on_progress,
        should_stop=should_stop,
        start=plan,
    )


def difference(before: Plan, after: Plan, tolerance_s: int = 0) -> tuple[Change, ...]:
    """What is different for each job, in the order of `after` and then of `before`; starts within the tolerance are the same."""
    old, new = _where(before), _where(after)
    found = []
    for job in [*new, *(job for job in old if job not in new)]:
        was, now = old.get(job), new.get(job)
        if was is None or now is None:
            kind = "added" if was is None else "dropped"
        elif was[0].worker != now[0].worker:
            kind = "worker"
        elif abs(was[1].start_s - now[1].start_s) > tolerance_s:
            kind = "time"
        else:
            continue
        found.append(
            Change(
                job=job,
                kind=kind,
                worker_before=None if was is None else was[0].worker,
                worker_after=None if now is None else now[0].worker,
                start_before_s=None if was is None else was[1].start_s,
                start_after_s=None if now is None else now[1].start_s,
            )
        )
    return tuple(found)


def _where(plan: Plan) -> dict[str, tuple[Route, Stop]]:
    return {stop.job: (route, stop) for route in plan.routes for stop in route.stops if stop.kind == "job"}
