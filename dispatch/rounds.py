"""Crews and precedence: the search in rounds, each with the ties held by start windows that the plan before suggests (see `links`).

The first round knows no ties but what they imply for each job's own times. Every later one starts from the best plan so far: where
that keeps a tie, the moment between the two is drawn anew; a crew that found no place, and now and then one that did, is seated
where the cheapest insertions of its members add least. Plans are compared by their true score, so a round can only help.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np
from msgspec import structs

from dispatch.assemble import assemble, visits_of
from dispatch.compile import Way, compile_problem
from dispatch.links import PART, Slot, Ties, arrange, broken, named, plain
from dispatch.openings import Openings
from dispatch.plan import Plan, Unserved
from dispatch.problem import Job, Problem
from dispatch.reasons import why_unserved
from dispatch.schedule import Visit, lay_out, travel_s
from dispatch.score import route_cost, score

SHORTEST_S = 0.6  # a round
ROUNDS = 8  # after the first
FIRST = 0.3  # share of the first
MOMENTS = 24  # looked at to seat a crew
SEATED = 4  # crews seated anew in a round
STIR = 0.3  # how often a crew that has a seat is given another
BESIDE = 12  # shifts looked at for the members
ANYHOW_S = 1 << 40


class Search(Protocol):
    """The kernel's search of a plain problem; its answer is neither judged nor explained."""

    def __call__(
        self, problem: Problem, *, seconds: float | None, iterations: int | None, seed: int, start: Plan | None
    ) -> Plan: ...


def solve_tied(
    ties: Ties, search: Search, *, seconds: float | None, iterations: int | None, seed: int, start: Plan | None,
    tell: Callable[[Plan], bool],
) -> Plan:  # fmt: skip
    """The best plan of all rounds within the budget, still to be judged. `tell` hears of the best after each; False ends them."""
    chance = np.random.default_rng(seed)
    count = ROUNDS if seconds is None else max(2, min(ROUNDS, int(seconds * (1 - FIRST) / SHORTEST_S)))
    best: Plan | None = None
    began_s = time.monotonic()
    if start is None:
        loose = {job.id: Slot(ties.earliest_s[job.id], ties.latest_s[job.id], ANYHOW_S) for job in ties.jobs}
        held = search(
            plain(ties, loose), seconds=_part(FIRST, seconds), iterations=_whole(FIRST, iterations), seed=seed, start=None
        )
        left = 1 - (FIRST if seconds is None else max(FIRST, (time.monotonic() - began_s) / seconds))
    else:
        known = named(ties.problem, start)
        best, held = _settled(ties, plain(ties, _slots(ties, known, (), chance)), known)
        left = 1.0
    done = held.iterations
    for n in range(1, count + 1):
        began_s = time.monotonic()
        anew = _unseated(ties, held, chance)
        asked = plain(ties, _slots(ties, held, anew, chance))
        found = search(
            asked,
            seconds=_part(max(left, 0.05) / (count + 1 - n), seconds),
            iterations=_whole(left / (count + 1 - n), iterations),
            seed=seed * 1009 + n,
            start=_bare(held, anew),
        )
        done += found.iterations
        plan, kept = _settled(ties, asked, found)
        if best is None or plan.score < best.score:
            best, held = plan, kept
        spent_s = time.monotonic() - began_s
        left -= left / (count + 1 - n) if seconds is None else spent_s / seconds
        if not tell(best) or left <= 0:
            break
    assert best is not None
    return structs.replace(best, seed=seed, iterations=done, unserved=_reasons(ties, best, held))


def _part(share: float, seconds: float | None) -> float | None:
    return None if seconds is None else seconds * share


def _whole(share: float, iterations: int | None) -> int | None:
    return None if iterations is None else max(1, int(iterations * share))


def _unseated(ties: Ties, held: Plan, chance: np.random.Generator) -> list[str]:
    """Crews to be given a moment: those the plan does not hold whole, now and then another."""
    out = broken(ties, held)
    crews = [job.id for job in ties.jobs if job.crew > 1]
    anew = [id_ for id_ in crews if id_ in out]
    if crews and (not anew or chance.random() < STIR):
        anew.append(crews[int(chance.integers(len(crews)))])
    return list(dict.fromkeys(anew[k] for k in chance.permutation(len(anew))[:SEATED]))


def _slots(ties: Ties, held: Plan, anew: Iterable[str], chance: np.random.Generator) -> dict[str, Slot | None]:
    """Slots around a plan, with some crews seated anew in it."""
    bare = _bare(held, anew)
    chosen = set(anew)

    def cut(_job: Job, low_s: int, high_s: int) -> int:
        return int(chance.integers(low_s, high_s + 1))

    def seat(job: Job, low_s: int, high_s: int) -> int:
        return _Seating(ties, bare, job, chance).best(low_s, high_s) if job.id in chosen else cut(job, low_s, high_s)

    return arrange(ties, bare, cut, seat)


def _bare(plan: Plan, crews: Iterable[str]) -> Plan:
    """The plan's order without some tied jobs; the routes' sums are not mended."""
    out = set(crews)
    return structs.replace(
        plan,
        routes=tuple(
            structs.replace(r, stops=tuple(s for s in r.stops if s.job.partition(PART)[0] not in out)) for r in plan.routes
        ),
    )


def _settled(ties: Ties, asked: Problem, found: Plan) -> tuple[Plan, Plan]:
    """A plan of the plain problem without what breaks a tie: in the problem's own terms, and in the plain problem's."""
    compiled = compile_problem(asked)
    kept = assemble(compiled, visits_of(compiled, _bare(found, broken(ties, found))))
    routes = tuple(
        structs.replace(r, stops=tuple(structs.replace(s, job=s.job.partition(PART)[0]) for s in r.stops)) for r in kept.routes
    )
    served = {job for route in routes for job in route.jobs}
    left = tuple(Unserved(job=j.id, rule="no_room", words="not placed yet") for j in ties.problem.jobs if j.id not in served)
    return Plan(routes=routes, unserved=left, score=score(ties.problem, routes)), kept


class _Seating:
    """Where a crew's members could be inserted into a plan, breaks left aside: an estimate that the kernel then makes good."""

    def __init__(self, ties: Ties, plan: Plan, job: Job, chance: np.random.Generator) -> None:
        self.job, self.chance = job, chance
        whole = Slot(ties.earliest_s[job.id], ties.latest_s[job.id], ANYHOW_S)
        kept = {stop for route in plan.routes for stop in route.jobs}
        others = {
            other.id: Slot(ties.earliest_s[other.id], ties.latest_s[other.id], ANYHOW_S)
            for other in ties.jobs
            if any(name.partition(PART)[0] == other.id for name in kept)
        }
        slots: dict[str, Slot | None] = {other.id: None for other in ties.jobs} | others | {job.id: whole}
        problem = plain(ties, slots, single=frozenset({job.id}))
        problem = _with_job(problem, structs.replace(problem.job(job.id), pinned_worker=None))
        self.compiled = compile_problem(problem)
        self.problem = problem
        self.index = problem.job_index[job.id]
        rows = visits_of(self.compiled, plan)
        k = self.compiled.open_jobs.index(self.index)
        ways = [r for r in range(len(self.compiled.ways)) if self.compiled.ok[r, k]]
        self.ways = [(self._open(r), list(rows.get(r, ((), None))[0])) for r in ways]

    def _open(self, r: int) -> Way:
        return replace(self.compiled.ways[r], breaks=())

    def best(self, low_s: int, high_s: int) -> int:
        """The moment within the bounds at which the crew's cheapest members add least."""
        return min((self._price(moment), moment) for moment in self._moments(low_s, high_s))[1]

    def _moments(self, low_s: int, high_s: int) -> list[int]:
        """Moments at which somebody comes free beside the job, and some by chance."""
        free = {max(low_s, window.start_s) for window in self.job.windows if window.start_s <= high_s}
        for way, row in self.ways:
            at_s = way.earliest_s + travel_s(self.problem, way.start_place, self.job.place)
            free.add(at_s)
            route = lay_out(self.problem, way, row, ()) if row else None
            free |= {s.end_s + travel_s(self.problem, s.place, self.job.place) for s in (() if route is None else route.stops)}
        near = np.array(sorted(t for t in free if low_s <= t <= high_s), dtype=np.int64)
        picked = self.chance.permutation(near)[: MOMENTS // 2].tolist()
        return [*picked, *self.chance.integers(low_s, high_s + 1, size=MOMENTS - len(picked)).tolist()]

    def _price(self, moment_s: int) -> tuple[int, int]:
        """(members that find no place, what the others add)."""
        found: dict[str, int] = {}
        near = [row for row in self.ways if row[0].earliest_s <= moment_s <= row[0].end_s]
        near.sort(key=lambda row: min(self._away(place) for place in (row[0].start_place, *(v.place for v in row[1]))))
        for way, row in near[:BESIDE]:
            added = self._added(way, row, moment_s)
            worker = self.problem.workers[way.worker].id
            if added is not None:
                found[worker] = min(added, found.get(worker, added))
        leader = self.job.pinned_worker
        prices = sorted(price for worker, price in found.items() if worker != leader)
        if leader is not None:
            prices = ([found[leader]] if leader in found else []) + prices[: self.job.crew - 1]
        taken = prices[: self.job.crew]
        return self.job.crew - len(taken), sum(taken)

    def _away(self, place: int) -> int:
        return travel_s(self.problem, place, self.job.place)

    def _added(self, way: Way, row: list[Visit], moment_s: int) -> int | None:
        """What the job at this moment adds to a route; None where it does not fit."""
        visit = Visit(self.index, self.job.place, moment_s, moment_s)
        before = lay_out(self.problem, way, row, ()) if row else None
        behind = 0 if before is None else sum(s.start_s < moment_s for s in before.stops[len(way.facts) :])
        costs = []
        for gap in range(max(0, behind - 1), min(len(row), behind + 1) + 1):
            route = lay_out(self.problem, way, [*row[:gap], visit, *row[gap:]], ())
            if route is not None:
                costs.append(route_cost(self.problem, route))
        return None if not costs else min(costs) - (0 if before is None else route_cost(self.problem, before))


def _with_job(problem: Problem, job: Job) -> Problem:
    return replace(problem, jobs=tuple(job if other.id == job.id else other for other in problem.jobs))


def _reasons(ties: Ties, plan: Plan, held: Plan) -> tuple[Unserved, ...]:
    """Why each job is left out: a tie where that is what stops it, otherwise as in a problem without ties."""
    problem = ties.problem
    served = {job for route in plan.routes for job in route.jobs}
    slots: dict[str, Slot | None] = {}
    for job in ties.jobs:
        slots[job.id] = Slot(ties.earliest_s[job.id], ties.latest_s[job.id], ANYHOW_S)
    out = [job.id for job in problem.jobs if job.id not in served]
    compiled = compile_problem(plain(ties, slots, single=frozenset(out)))
    openings = Openings(compiled, {r: row for r, (row, _) in visits_of(compiled, held).items()})
    rank = {compiled.problem.jobs[i].id: k for k, i in enumerate(compiled.open_jobs)}
    found = []
    for id_ in out:
        job = problem.job(id_)
        waiting = [other for other in ties.before(job) if other not in served]
        able = len(ties.able(job)) if job.crew > 1 else 0
        if waiting:
            words = f"it comes after {', '.join(waiting)}, which is left out"
            found.append(Unserved(job=id_, rule="precedence", words=words, nearest=f"{waiting[0]} must be placed first"))
        elif job.crew > 1 and 0 < able < job.crew:
            words = f"it takes a crew of {job.crew} and {able} may serve it"
            found.append(Unserved(job=id_, rule="crew", words=words, nearest=f"{job.crew - able} more with what it needs"))
        elif id_ not in rank:
            words = "its windows leave no moment before what comes after it, or behind what it comes after"
            found.append(Unserved(job=id_, rule="precedence", words=words, nearest="widen its window"))
        else:
            found.append(_of_crew(job, why_unserved(openings, rank[id_])))
    return tuple(found)


def _of_crew(job: Job, alone: Unserved) -> Unserved:
    """For a crew the lack of room is the lack of a common moment; what one of it would cost is not what all do."""
    if job.crew > 1 and alone.rule == "value":
        return structs.replace(alone, nearest="a higher value, or a smaller crew")
    if job.crew == 1 or alone.rule != "no_room":
        return alone
    words = f"no moment was found at which {job.crew} who may serve it are free together"
    return Unserved(job=job.id, rule="crew", words=words, nearest=alone.nearest)
