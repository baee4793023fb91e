"""A problem turned into the arrays that searches work on.

Jobs that are facts are gone: they become the state in which their route starts. Each remaining job has *alternatives*: intervals
for its start with a price, made from its windows, release and due time, pin and published start. A search that picks an
alternative at each insertion treats several windows, lateness and stability exactly like one hard window.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dispatch import constraints
from dispatch.problem import Job, Problem, Published, Shift, Worker

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

FAR_S = 1 << 40
# Lateness is priced in steps: a start this many seconds past the due time falls into the next tier.
LATE_TIERS_S = (0, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400, 3 * 86400, 14 * 86400)


@dataclass(frozen=True, slots=True)
class Way:
    """One shift as a route to be filled: where and when it can start, after the facts that already happened on it."""

    worker: int
    shift: int
    start_place: int  # -1: open
    end_place: int  # -1: open
    earliest_s: int
    latest_start_s: int
    end_s: int  # with overtime
    facts: tuple[int, ...]
    breaks: tuple[int, ...]  # indices into the shift's breaks that are still to come


@dataclass(frozen=True, slots=True)
class Alternative:
    """A start within [start_s, end_s] costs `late` (weighted seconds), `moves`, and `cost` for lying outside the soft windows."""

    start_s: int
    end_s: int
    late: int = 0
    moves: int = 0
    cost: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """What every search shares. `open_jobs[k]` is the problem's index of search job k; `ok[w, k]` whether way w may serve it."""

    problem: Problem
    ways: tuple[Way, ...]
    open_jobs: tuple[int, ...]
    alternatives: tuple[tuple[Alternative, ...], ...]
    ok: Bytes


def compile_problem(problem: Problem) -> Compiled:
    """The arrays of a problem. Pure and deterministic."""
    open_jobs = tuple(i for i, job in enumerate(problem.jobs) if job.fact is None)
    ways = compile_ways(problem)
    published = {entry.job: entry for entry in problem.published}
    alternatives = tuple(
        job_alternatives(problem.jobs[i], published.get(problem.jobs[i].id), _floor_s(problem, problem.jobs[i])) for i in open_jobs
    )
    return Compiled(problem, ways, open_jobs, alternatives, _allowed(problem, ways, open_jobs))


def compile_ways(problem: Problem) -> tuple[Way, ...]:
    """Every shift as a route to be filled, in order of workers and their shifts."""
    facts = _facts(problem)
    return tuple(
        _way(problem, w, s, facts.get((worker.id, s), []))
        for w, worker in enumerate(problem.workers)
        for s in range(len(worker.shifts))
    )


def work_s(job: Job, worker: Worker) -> int:
    """How long this worker takes for this job, rounded up to whole seconds."""
    return -(-job.duration_s * worker.pace_pct // 100)


def _facts(problem: Problem) -> dict[tuple[str, int], list[tuple[int, int, int, int]]]:
    """What has happened by (worker id, shift): (start, end, place, job index) in order of time."""
    found: dict[tuple[str, int], list[tuple[int, int, int, int]]] = {}
    for i, job in enumerate(problem.jobs):
        if job.fact is not None:
            found.setdefault((job.fact.worker, job.fact.shift), []).append((job.fact.start_s, job.fact.end_s, job.place, i))
    for rows in found.values():
        rows.sort()
    return found


def _way(problem: Problem, w: int, s: int, facts: list[tuple[int, int, int, int]]) -> Way:
    shift = problem.workers[w].shifts[s]
    end_s = shift.end_s + shift.overtime_s
    earliest_s = shift.start_s if problem.now_s is None else max(shift.start_s, problem.now_s)
    start_place = -1 if shift.start_place is None else shift.start_place
    latest_start_s = end_s
    if facts:
        earliest_s = max(earliest_s, *(end for _, end, _, _ in facts))
        start_place = facts[-1][2]
        latest_start_s = earliest_s  # the day has begun: waiting is paid
    return Way(
        worker=w,
        shift=s,
        start_place=start_place,
        end_place=-1 if shift.end_place is None else shift.end_place,
        earliest_s=earliest_s,
        latest_start_s=latest_start_s,
        end_s=end_s,
        facts=tuple(i for _, _, _, i in facts),
        breaks=tuple(b for b, pause in enumerate(shift.breaks) if not facts or pause.latest_s >= earliest_s),
    )


def _floor_s(problem: Problem, job: Job) -> int | None:
    """Nothing of this job happens before now, nor before the ends of those it comes after."""
    ends = [fact.end_s for fact in (problem.job(other).fact for other in job.after) if fact is not None]
    if problem.now_s is not None:
        ends.append(problem.now_s)
    return max(ends, default=None)


def job_alternatives(job: Job, published: Published | None, now_s: int | None) -> tuple[Alternative, ...]:
    """Disjoint intervals for the start of a job, in order of time, each with its price in lateness, moves and cost."""
    floor_s = max(-FAR_S, job.release_s if job.release_s is not None else -FAR_S, now_s if now_s is not None else -FAR_S)
    windows = [(w.start_s, w.end_s) for w in job.windows] or [(-FAR_S, FAR_S)]
    if job.pinned_start_s is not None:
        windows = [(job.pinned_start_s, job.pinned_start_s) for start_s, end_s in windows if start_s <= job.pinned_start_s <= end_s]
    cuts: list[int] = []
    if job.due_s is not None:
        cuts += [job.due_s - job.duration_s + tier + 1 for tier in LATE_TIERS_S]
    if published is not None:
        cuts += [published.start_s - published.tolerance_s, published.start_s + published.tolerance_s + 1]
    for window in job.soft_windows:
        cuts += [window.start_s, window.end_s + 1]
    found = []
    for start_s, end_s in sorted(windows):
        low = max(start_s, floor_s)
        edges = sorted({low, *(cut for cut in cuts if low < cut <= end_s), end_s + 1})
        for a, after in pairwise(edges):
            found.append(Alternative(a, after - 1, _late(job, after - 1), _moves(published, a), _outside(job, a)))
    return tuple(found)


def _outside(job: Job, start_s: int) -> int:
    wished = not job.soft_windows or any(w.start_s <= start_s <= w.end_s for w in job.soft_windows)
    return 0 if wished else job.outside_price


def _late(job: Job, start_s: int) -> int:
    if job.due_s is None:
        return 0
    return max(0, min(start_s + job.duration_s - job.due_s, 30 * 86400)) * job.late_per_s


def _moves(published: Published | None, start_s: int) -> int:
    if published is None or abs(start_s - published.start_s) <= published.tolerance_s:
        return 0
    return published.move_time


def _allowed(problem: Problem, ways: tuple[Way, ...], open_jobs: tuple[int, ...]) -> Bytes:
    """Which way may serve which job, shape (ways, open jobs). Alike workers and alike jobs are judged once."""
    ok = np.ones((len(ways), len(open_jobs)), dtype=np.uint8)
    groups: dict[object, list[int]] = {}
    special: list[int] = []
    for k, i in enumerate(open_jobs):
        job = problem.jobs[i]
        if job.pinned_worker is not None or job.excluded or job.after or job.crew > 1:
            special.append(k)
        else:
            groups.setdefault((job.skills, job.tools, job.territory, job.parts), []).append(k)
    rows: dict[object, Bytes] = {}
    for r, way in enumerate(ways):
        worker = problem.workers[way.worker]
        shift = worker.shifts[way.shift]
        held = tuple(
            s
            for s in worker.skills
            if (s.valid_from_s is None or s.valid_from_s <= shift.start_s) and (s.valid_to_s is None or s.valid_to_s >= shift.end_s)
        )
        key = (held, worker.tools, worker.parts, worker.territories)
        if key not in rows:
            row = np.ones(len(open_jobs), dtype=np.uint8)
            for members in groups.values():
                if constraints.refusals(problem, worker, shift, problem.jobs[open_jobs[members[0]]]):
                    row[members] = 0
            rows[key] = row
        ok[r] = rows[key]
        for k in special:
            ok[r, k] = not constraints.refusals(problem, worker, shift, problem.jobs[open_jobs[k]])
    return ok


def shift_of(problem: Problem, way: Way) -> Shift:
    """The shift a way stands for."""
    return problem.workers[way.worker].shifts[way.shift]
