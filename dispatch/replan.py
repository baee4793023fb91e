"""The day under way: a plan repaired with the past frozen, and what became different.

The past is facts: `Job.fact` for what has started or is done, `Problem.now_s` before which nothing else sets out, and
`Problem.published` for what people have been told. A repair starts from the published plan, so that what need not move does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import zip_longest

from msgspec import Struct, structs

from dispatch.plan import Plan, Stop
from dispatch.problem import Break, Fact, Job, Parts, Problem, Shift, Worker
from dispatch.solver import Progress, solve

PLENTY = 1_000_000  # parts on the van of one who has been at a depot


class Change(Struct, frozen=True, kw_only=True):
    """What became of one job: `added`, `dropped`, `worker` (someone else goes) or `time`; None where it is in no route.

    A crew's job has a change for each of the crew who came or went.
    """

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


def under_way(problem: Problem, plan: Plan, now_s: int) -> dict[tuple[str, int], tuple[Stop, ...]]:
    """By worker and shift the stops, beyond the problem's facts, that have begun by `now_s` when all goes by the plan.

    People wait where they are and set out as late as the next start allows; whoever has set out goes where the plan sent them.
    """
    found = {}
    for route in plan.routes:
        begun: list[Stop] = []
        pauses: list[Stop] = []
        for stop in route.stops:
            if stop.kind == "break":
                pauses.append(stop)
            elif stop.kind == "job" and problem.job(stop.job).fact is not None:
                pauses = []
            elif stop.start_s - stop.travel_s - sum(pause.end_s - pause.start_s for pause in pauses) < now_s:
                begun += [*pauses, stop]
                pauses = []
            else:
                break
        begun += [pause for pause in pauses if pause.start_s < now_s]
        if begun:
            found[route.worker, route.shift] = tuple(begun)
    return found


def freeze(problem: Problem, plan: Plan, now_s: int) -> Problem:
    """The problem as it is at `now_s`, all having gone by the plan: what is under way or done is a fact, nothing else sets out
    before.

    Breaks taken leave their shift. A call at a depot, a break after which nothing has begun, and a crew's job for all but one of it
    become jobs of their own that have happened. Who has called at a depot has every tool and any part from then on, on other shifts
    as well.
    """
    begun = under_way(problem, plan, now_s)
    stops: dict[str, tuple[tuple[str, int], Stop]] = {}
    for key, row in begun.items():
        for stop in row:
            if stop.kind == "job":
                stops.setdefault(stop.job, (key, stop))
    jobs = [job if job.id not in stops else structs.replace(job, fact=_fact(*stops[job.id])) for job in problem.jobs]
    workers = {worker.id: worker for worker in problem.workers}
    for (id_, shift), row in begun.items():
        elsewhere = {stop.job for stop in row if stop.kind == "job" and stops[stop.job][0] != (id_, shift)}
        marks = _marks(problem, workers[id_], shift, row, elsewhere)
        jobs += marks
        workers[id_] = _after(problem, workers[id_], shift, row, len(marks))
    return replace(problem, workers=tuple(workers.values()), jobs=tuple(jobs), now_s=now_s)


def _fact(key: tuple[str, int], stop: Stop) -> Fact:
    return Fact(worker=key[0], shift=key[1], start_s=stop.start_s, end_s=stop.end_s)


def _marks(problem: Problem, worker: Worker, shift: int, row: Sequence[Stop], elsewhere: AbstractSet[str]) -> list[Job]:
    """Depot calls, a last break, and crews' jobs that are facts of another, as jobs that happened: they say where the worker is."""
    marks = []
    place = worker.shifts[shift].start_place
    known = [job for job in problem.jobs if job.fact is not None and (job.fact.worker, job.fact.shift) == (worker.id, shift)]
    if known:
        place = max(known, key=lambda job: (job.fact.start_s, job.fact.end_s) if job.fact else (0, 0)).place
    for n, stop in enumerate(row):
        place = place if stop.kind == "break" else stop.place
        telling = stop.kind == "depot" or stop.job in elsewhere or (stop.kind == "break" and n == len(row) - 1)
        if place is not None and telling:
            id_ = f"{stop.job or stop.kind} of {worker.id} at {stop.start_s}"
            fact = _fact((worker.id, shift), stop)
            marks.append(Job(id=id_, place=place, duration_s=stop.end_s - stop.start_s, priority=None, fact=fact))
    return marks


def _after(problem: Problem, worker: Worker, shift: int, row: Sequence[Stop], marks: int) -> Worker:
    """The worker once this has happened on the shift."""
    day = worker.shifts[shift]
    left: list[Break] = list(day.breaks)
    for stop in row:
        if stop.kind == "break":
            left.remove(
                next(b for b in left if b.earliest_s <= stop.start_s <= b.latest_s and b.duration_s == stop.end_s - stop.start_s)
            )
    most = None if day.max_jobs is None else day.max_jobs + marks
    shifts: list[Shift] = list(worker.shifts)
    shifts[shift] = structs.replace(day, breaks=tuple(left), max_jobs=most)
    if any(stop.kind == "depot" for stop in row):
        needs: Mapping[str, int] = {need.part: PLENTY for job in problem.jobs for need in job.parts}
        tools = worker.tools.union(*(job.tools for job in problem.jobs))
        worker = structs.replace(worker, tools=tools, parts=tuple(Parts(part, count) for part, count in sorted(needs.items())))
    return structs.replace(worker, shifts=tuple(shifts))


def difference(before: Plan, after: Plan, tolerance_s: int = 0) -> tuple[Change, ...]:
    """What is different for each job, in the order of `after` and then of `before`; starts within the tolerance are the same."""
    old, new = _where(before), _where(after)
    found = []
    for job in [*new, *(job for job in old if job not in new)]:
        was, now = old.get(job, {}), new.get(job, {})
        before_s, after_s = next(iter(was.values()), None), next(iter(now.values()), None)
        who: list[tuple[str | None, str | None]] = list(zip_longest(_but(was, now), _but(now, was)))
        kind = "worker" if before_s is not None and after_s is not None else "added" if before_s is None else "dropped"
        if not who and before_s is not None and after_s is not None and abs(before_s - after_s) > tolerance_s:
            kind, who = "time", [(worker, worker) for worker in list(now)[:1]]
        found += [
            Change(job=job, kind=kind, worker_before=gone, worker_after=came, start_before_s=before_s, start_after_s=after_s)
            for gone, came in who
        ]
    return tuple(found)


def _but(these: Mapping[str, int], those: Mapping[str, int]) -> list[str]:
    return [worker for worker in these if worker not in those]


def _where(plan: Plan) -> dict[str, dict[str, int]]:
    """By job, who goes, and when it starts for them."""
    found: dict[str, dict[str, int]] = {}
    for route in plan.routes:
        for stop in route.stops:
            if stop.kind == "job":
                found.setdefault(stop.job, {})[route.worker] = stop.start_s
    return found
