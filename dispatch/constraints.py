"""The rules that decide whether a worker may serve a job on a shift at all, before any route is thought of.

Each rule is one function that answers None, or in words what stands against it. `RULES` names them; the names appear in every
explanation. `crew` and `precedence` tie routes together: the searches of `links.plain` problems never meet them. Rules about time,
load and order belong to routes: the search keeps them by its labels and `verify` from the definition.
"""

from __future__ import annotations

from collections.abc import Callable

from dispatch.problem import Job, Problem, Shift, Worker

Rule = Callable[[Problem, Worker, Shift, Job], str | None]


def pinned_worker(_problem: Problem, worker: Worker, _shift: Shift, job: Job) -> str | None:
    """A job pinned to a worker goes to no one else; of a crew it names one."""
    if job.pinned_worker in (None, worker.id) or job.crew > 1:
        return None
    return f"it is pinned to {job.pinned_worker}"


def excluded(_problem: Problem, worker: Worker, _shift: Shift, job: Job) -> str | None:
    """A worker whom the job excludes never serves it."""
    return f"{worker.id} is excluded" if worker.id in job.excluded else None


def skills(_problem: Problem, worker: Worker, shift: Shift, job: Job) -> str | None:
    """Every skill needed is held at its level, valid for the whole shift."""
    for need in job.skills:
        levels = [
            held.level
            for held in worker.skills
            if held.skill == need.skill
            and (held.valid_from_s is None or held.valid_from_s <= shift.start_s)
            and (held.valid_to_s is None or held.valid_to_s >= shift.end_s)
        ]
        if not levels or max(levels) < need.level:
            has = f"holds level {max(levels)}" if levels else "does not hold it"
            return f"it needs {need.skill} level {need.level} and {worker.id} {has}"
    return None


def territory(_problem: Problem, worker: Worker, _shift: Shift, job: Job) -> str | None:
    """A worker with territories serves only jobs of theirs, and jobs of none."""
    if job.territory is None or not worker.territories or job.territory in worker.territories:
        return None
    return f"{worker.id} does not cover {job.territory}"


def tools(problem: Problem, worker: Worker, _shift: Shift, job: Job) -> str | None:
    """Without a depot to call at, the tools must be the worker's own."""
    missing = job.tools - worker.tools
    if not missing or problem.depots:
        return None
    return f"{worker.id} has no {', '.join(sorted(missing))}"


def parts(problem: Problem, worker: Worker, _shift: Shift, job: Job) -> str | None:
    """Without a depot to call at, the van must carry the parts."""
    if problem.depots:
        return None
    stock = {item.part: item.count for item in worker.parts}
    for need in job.parts:
        if stock.get(need.part, 0) < need.count:
            return f"{worker.id} carries {stock.get(need.part, 0)} of {need.count} × {need.part}"
    return None


def crew(_problem: Problem, _worker: Worker, _shift: Shift, job: Job) -> str | None:
    """One worker alone is no crew."""
    return f"it takes a crew of {job.crew}" if job.crew > 1 else None


def precedence(problem: Problem, _worker: Worker, _shift: Shift, job: Job) -> str | None:
    """A job may be placed by itself once all it comes after have started or are done; it then starts no earlier than their end."""
    waiting = sorted(other for other in job.after if problem.job(other).fact is None)
    return f"it comes after {', '.join(waiting)}, still to come" if waiting else None


RULES: dict[str, Rule] = {
    "crew": crew,
    "precedence": precedence,
    "pinned_worker": pinned_worker,
    "excluded": excluded,
    "skills": skills,
    "territory": territory,
    "tools": tools,
    "parts": parts,
}


def refusals(problem: Problem, worker: Worker, shift: Shift, job: Job) -> tuple[tuple[str, str], ...]:
    """Every (rule name, words) that keeps this worker from this job on this shift; empty when nothing does."""
    found = ((name, rule(problem, worker, shift, job)) for name, rule in RULES.items())
    return tuple((name, words) for name, words in found if words is not None)
