"""`solve`: a problem in, the best plan found out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from dispatch import ortools_search
from dispatch.compile import Compiled, compile_problem
from dispatch.plan import Plan, Route, Score, Unserved
from dispatch.problem import Problem
from dispatch.reasons import why_unserved
from dispatch.schedule import Visit, lay_out, windows_in_order
from dispatch.score import score


class Progress(Struct, frozen=True, kw_only=True):
    """News of a running search: seconds since it began, jobs served, and the best plan so far; its score is the cost by level."""

    seconds: float
    jobs_served: int
    score: Score
    plan: Plan


def solve(
    problem: Problem,
    *,
    seconds: float = 10.0,
    seed: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    start: Plan | None = None,
) -> Plan:
    """The best plan found in `seconds`, never worse than `start` when that still holds.

    `on_progress` is called in this thread whenever the plan improves; `should_stop` is asked every few hundredths of a second, and
    when it says True the best plan so far is returned. The plan always passes `verify`.
    """
    compiled = compile_problem(problem)
    began_s = time.monotonic()
    best = {} if start is None else visits_of(compiled, start)
    plan = assemble(compiled, best, seed=seed)
    orders = tuple(tuple(visit.job for visit in best.get(r, ())) for r in range(len(compiled.ways))) if best else None
    for news in ortools_search.search(problem, orders, seconds=seconds, seed=seed):
        if should_stop is not None and should_stop():
            break
        if news is None:
            continue
        visits = _laid_out(compiled, news)
        found = assemble(compiled, visits, seed=seed)
        if found.score < plan.score:
            plan, best = found, visits
            if on_progress is not None:
                elapsed_s = time.monotonic() - began_s
                on_progress(Progress(seconds=elapsed_s, jobs_served=plan.served, score=plan.score, plan=plan))
    return assemble(compiled, best, seed=seed, explain=True)


def _laid_out(compiled: Compiled, orders: Sequence[Sequence[int]]) -> dict[int, list[Visit]]:
    visits = {}
    for r, order in enumerate(orders):
        chosen = windows_in_order(compiled, compiled.ways[r], order) if order else None
        if chosen is not None and lay_out(compiled.problem, compiled.ways[r], chosen) is not None:
            visits[r] = chosen
    return visits


def visits_of(compiled: Compiled, plan: Plan) -> dict[int, list[Visit]]:
    """A plan's open jobs by way, as far as they still fit: what the problem no longer allows is left out, last job first."""
    ways = {(compiled.problem.workers[way.worker].id, way.shift): r for r, way in enumerate(compiled.ways)}
    rank = {compiled.problem.jobs[i].id: k for k, i in enumerate(compiled.open_jobs)}
    visits: dict[int, list[Visit]] = {}
    taken: set[str] = set()
    for route in plan.routes:
        r = ways.get((route.worker, route.shift))
        if r is None:
            continue
        fitting = [id_ for id_ in route.jobs if id_ in rank and id_ not in taken and compiled.ok[r, rank[id_]]]
        order = [compiled.open_jobs[rank[id_]] for id_ in fitting]
        while order:
            found = _laid_out(compiled, [()] * r + [order])
            if found:
                visits[r] = found[r]
                taken.update(compiled.problem.jobs[i].id for i in order)
                break
            order.pop()
    return visits


def assemble(compiled: Compiled, visits: Mapping[int, Sequence[Visit]], *, seed: int = 0, explain: bool = False) -> Plan:
    """The plan of these visits by way. With `explain` every unserved job gets its reason; without, a short word."""
    problem = compiled.problem
    routes: list[Route] = []
    served: set[str] = set()
    for r, way in enumerate(compiled.ways):
        if not visits.get(r) and not way.facts:
            continue
        route = lay_out(problem, way, visits.get(r, ()))
        if route is None:
            raise ValueError(f"shift {way.shift} of {problem.workers[way.worker].id} cannot be laid out")
        routes.append(route)
        served.update(route.jobs)
    unserved = []
    for k, i in enumerate(compiled.open_jobs):
        id_ = problem.jobs[i].id
        if id_ not in served:
            brief = Unserved(job=id_, rule="no_room", words="not placed yet")
            unserved.append(why_unserved(compiled, visits, k) if explain else brief)
    return Plan(routes=tuple(routes), unserved=tuple(unserved), score=score(problem, routes), seed=seed)
