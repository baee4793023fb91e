"""Crews and precedence made plain: what ties routes together becomes hard start windows, which the kernel honours as any other.

A crew's job turns into as many jobs as it takes workers, all pinned to one moment; a job that others come after gets a moment by
which it must have ended, and they may not start before it. Any plan of the plain problem then keeps every tie, once crews that are
not whole and jobs whose predecessors are missing have been taken out. Which moments are good is for `rounds` to find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from msgspec import Struct, structs

from dispatch import constraints
from dispatch.compile import work_s
from dispatch.plan import Plan, Stop
from dispatch.problem import Job, Problem, Published, Window

PART = "\x1f"  # between a crew's job and the number of its member


class Slot(Struct, frozen=True):
    """A job starts within [low_s, high_s] and, by a worker who needs no more than `span_s`, has ended by `high_s + span_s`."""

    low_s: int
    high_s: int
    span_s: int


Slots = Mapping[str, Slot | None]
"""By tied job its slot; None where it is left out this time."""

Pick = Callable[[Job, int, int], int]
"""Chooses a moment for a job within two bounds."""


@dataclass(frozen=True)
class Ties:
    """The open jobs of a problem that a tie holds, and what is known of each whatever the plan."""

    problem: Problem

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """Tied jobs, each behind those it comes after."""
        tied = {job.id for job in self.problem.jobs if job.fact is None and (job.crew > 1 or self.before(job))}
        tied |= {other for job in self.problem.jobs if job.fact is None for other in self.before(job)}
        found: dict[str, Job] = {}

        def visit(job: Job) -> None:
            if job.id not in found:
                for other in self.before(job):
                    visit(self.problem.job(other))
                found[job.id] = job

        for job in self.problem.jobs:
            if job.id in tied:
                visit(job)
        return tuple(found.values())

    @cached_property
    def followers(self) -> Mapping[str, tuple[Job, ...]]:
        """By tied job the tied jobs that come after it."""
        return {job.id: tuple(other for other in self.jobs if job.id in other.after) for job in self.jobs}

    @cached_property
    def spans(self) -> Mapping[str, int]:
        """By tied job the time it takes the slowest of those who may serve it."""
        return {
            job.id: max((work_s(job, w) for w in self.problem.workers if self._able(job, w.id)), default=0) for job in self.jobs
        }

    @cached_property
    def earliest_s(self) -> Mapping[str, int]:
        """No tied job starts before its own times, those of the shifts, and the quickest ends of what it comes after."""
        problem = self.problem
        floor = min((shift.start_s for worker in problem.workers for shift in worker.shifts), default=0)
        found: dict[str, int] = {}
        for job in self.jobs:
            bounds = [floor, *(t for t in (job.release_s, problem.now_s, job.pinned_start_s) if t is not None)]
            bounds += [min(window.start_s for window in job.windows)] if job.windows else []
            bounds += [fact.end_s for fact in (problem.job(other).fact for other in job.after) if fact is not None]
            quickest = min((worker.pace_pct for worker in problem.workers), default=100)
            bounds += [found[other] + problem.job(other).duration_s * quickest // 100 for other in self.before(job)]
            found[job.id] = max(bounds)
        return found

    @cached_property
    def latest_s(self) -> Mapping[str, int]:
        """No tied job starts after its own times, those of the shifts, and what its followers leave it."""
        problem = self.problem
        end = max((shift.end_s + shift.overtime_s for worker in problem.workers for shift in worker.shifts), default=0)
        found: dict[str, int] = {}
        for job in reversed(self.jobs):
            bounds = [end] + ([job.pinned_start_s] if job.pinned_start_s is not None else [])
            bounds += [max(window.end_s for window in job.windows)] if job.windows else []
            bounds += [found[other.id] - self.spans[job.id] for other in self.followers[job.id]]
            found[job.id] = min(bounds)
        return found

    def before(self, job: Job) -> list[str]:
        """The jobs still to come that this one comes after."""
        return sorted(other for other in job.after if self.problem.job(other).fact is None)

    def able(self, job: Job) -> list[str]:
        """The workers who, as one of its crew, may serve the job on some shift."""
        return [worker.id for worker in self.problem.workers if self._able(job, worker.id)]

    def _able(self, job: Job, worker_id: str) -> bool:
        worker, alone = self.problem.worker(worker_id), structs.replace(job, crew=1, after=frozenset(), pinned_worker=None)
        if job.crew == 1 and job.pinned_worker not in (None, worker_id):
            return False
        return any(not constraints.refusals(self.problem, worker, shift, alone) for shift in worker.shifts)


def arrange(ties: Ties, plan: Plan | None, cut: Pick, seat: Pick) -> dict[str, Slot | None]:
    """A slot for every tied job, around where `plan` (of the plain problem) has it.

    `cut` picks the moment that parts a job from its followers, `seat` the moment of a crew that the plan does not hold together.
    """
    spans = _spans({} if plan is None else _stops(plan))
    slots: dict[str, Slot | None] = {}
    by_s: dict[str, int] = {}
    for job in ties.jobs:
        slots[job.id] = None
        if any(slots[other] is None for other in ties.before(job)):
            continue
        low_s = max([ties.earliest_s[job.id], *(by_s[other] for other in ties.before(job))])
        high_s = ties.latest_s[job.id]
        here = spans.get(job.id)
        span_s = ties.spans[job.id]
        followers = ties.followers[job.id]
        if followers:
            starts = [spans[other.id][0] for other in followers if other.id in spans]
            if here is not None and starts and here[1] <= min(starts):
                span_s = min(span_s, min(starts) - here[0])
                by_s[job.id] = cut(job, max(here[1], here[0] + span_s, low_s + span_s), max(min(starts), low_s + span_s))
            else:
                latest = min(ties.latest_s[other.id] for other in followers)
                by_s[job.id] = cut(job, low_s + span_s, max(latest, low_s + span_s))
            high_s = min(high_s, by_s[job.id] - span_s)
        if job.crew > 1 and low_s <= high_s:
            together = here is not None and here[2] and low_s <= here[0] <= high_s
            moment = _nearest(job, here[0] if here is not None and together else seat(job, low_s, high_s), low_s, high_s)
            low_s, high_s = (0, -1) if moment is None else (moment, moment)
        if low_s <= high_s and _clipped(job, low_s, high_s):
            slots[job.id] = Slot(low_s, high_s, span_s)
    return slots


def _stops(plan: Plan) -> dict[str, list[Stop]]:
    found: dict[str, list[Stop]] = {}
    for route in plan.routes:
        for stop in route.stops:
            if stop.kind == "job":
                found.setdefault(stop.job.partition(PART)[0], []).append(stop)
    return found


def _spans(stops: Mapping[str, list[Stop]]) -> dict[str, tuple[int, int, bool]]:
    """By job: first start, last end, and whether all start together."""
    return {
        job: (min(s.start_s for s in row), max(s.end_s for s in row), len({s.start_s for s in row}) == 1)
        for job, row in stops.items()
    }


def _clipped(job: Job, low_s: int, high_s: int) -> tuple[Window, ...]:
    """The job's windows within a slot."""
    if job.pinned_start_s is not None:
        low_s, high_s = max(low_s, job.pinned_start_s), min(high_s, job.pinned_start_s)
    windows = job.windows or (Window(low_s, high_s),)
    cut = (Window(max(w.start_s, low_s), min(w.end_s, high_s)) for w in windows)
    return tuple(w for w in cut if w.start_s <= w.end_s)


def _nearest(job: Job, moment_s: int, low_s: int, high_s: int) -> int | None:
    """The moment within the slot and the job's windows that is nearest."""
    near = [min(max(moment_s, w.start_s), w.end_s) for w in _clipped(job, low_s, high_s)]
    return min(near, key=lambda t: abs(t - moment_s), default=None)


def plain(ties: Ties, slots: Slots, single: frozenset[str] = frozenset()) -> Problem:
    """The problem without ties: slots as windows, a crew as jobs of one (but for those in `single`), what has no slot left out."""
    problem = ties.problem
    published: dict[str, list[Published]] = {}
    for entry in problem.published:
        published.setdefault(entry.job, []).append(entry)
    jobs: list[Job] = []
    told: list[Published] = []
    for job in problem.jobs:
        slot = slots.get(job.id)
        if job.id not in slots:
            jobs.append(structs.replace(job, crew=1) if job.fact is not None else job)
            told += published.get(job.id, ())
        elif slot is not None:
            members = _members(problem, job, slot, 1 if job.id in single else job.crew)
            jobs += members
            known = sorted(published.get(job.id, ()), key=lambda entry: entry.worker != job.pinned_worker)
            told += [structs.replace(entry, job=member.id) for entry, member in zip(known, members, strict=False)]
    return _with_jobs(problem, jobs, told)


def _members(problem: Problem, job: Job, slot: Slot, crew: int) -> list[Job]:
    slow = {worker.id for worker in problem.workers if work_s(job, worker) > slot.span_s}
    alone = structs.replace(
        job, crew=1, after=frozenset(), windows=_clipped(job, slot.low_s, slot.high_s), release_s=None,
        excluded=job.excluded | slow, value=job.value // crew,
    )  # fmt: skip
    if crew == 1:
        return [alone]
    first = structs.replace(alone, id=f"{job.id}{PART}0", value=job.value - job.value // crew * (crew - 1))
    leader = frozenset() if job.pinned_worker is None else frozenset({job.pinned_worker})
    others = structs.replace(alone, pinned_worker=None, excluded=alone.excluded | leader)
    return [first, *(structs.replace(others, id=f"{job.id}{PART}{n}") for n in range(1, crew))]


def _with_jobs(problem: Problem, jobs: Iterable[Job], published: Iterable[Published]) -> Problem:
    kept = tuple(jobs)
    names = {job.id for job in kept}
    return Problem(
        workers=problem.workers,
        jobs=tuple(structs.replace(job, after=job.after & names) if job.after - names else job for job in kept),
        travel=problem.travel,
        places=problem.places,
        depots=problem.depots,
        depot_s=problem.depot_s,
        now_s=problem.now_s,
        published=tuple(published),
    )


def named(problem: Problem, plan: Plan) -> Plan:
    """A plan of the problem in the terms of the plain one: each worker of a crew under a job of their own."""
    told = {(entry.job, entry.worker) for entry in problem.published}
    crews: dict[str, list[str]] = {}
    for route in plan.routes:
        for id_ in route.jobs:
            if problem.job(id_).crew > 1 and problem.job(id_).fact is None:
                crews.setdefault(id_, []).append(route.worker)
    number = {
        (id_, worker): n
        for id_, crew in crews.items()
        for n, worker in enumerate(
            sorted(crew, key=lambda w, id_=id_: (w != problem.job(id_).pinned_worker, (id_, w) not in told))  # type: ignore[misc]  # the default binds the loop's job
        )
    }
    routes = tuple(
        structs.replace(
            route,
            stops=tuple(
                structs.replace(stop, job=f"{stop.job}{PART}{number[stop.job, route.worker]}") if stop.job in crews else stop
                for stop in route.stops
            ),
        )
        for route in plan.routes
    )
    return structs.replace(plan, routes=routes)


def broken(ties: Ties, plan: Plan) -> frozenset[str]:
    """The tied jobs that a plan of the plain problem holds in part, or without what they come after."""
    crews: dict[str, set[str]] = {}
    for route in plan.routes:
        for id_ in route.jobs:
            crews.setdefault(id_.partition(PART)[0], set()).add(route.worker)
    bad: set[str] = set()
    for job in ties.jobs:
        whole = len(crews.get(job.id, ())) == job.crew
        if not whole or any(other in bad for other in ties.before(job)):
            bad.add(job.id)
    return frozenset(bad)


def held(problem: Problem, plan: Plan) -> tuple[Problem, Plan]:
    """The plain problem and plan in which every tie stays as the plan has it: what is true of one job there is true of it here."""
    ties, known = Ties(problem), named(problem, plan)

    def last(_job: Job, _low_s: int, high_s: int) -> int:
        return high_s

    slots = arrange(ties, known, last, last)
    served = {id_.partition(PART)[0] for route in known.routes for id_ in route.jobs}
    return plain(ties, {id_: slot if id_ in served else None for id_, slot in slots.items()}), known
