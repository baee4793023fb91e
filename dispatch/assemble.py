"""Plans from visits and visits from plans: what the search thinks in, and what a plan says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from dispatch.compile import Compiled, Way
from dispatch.openings import Openings
from dispatch.plan import Plan, Route, Unserved
from dispatch.reasons import why_unserved
from dispatch.schedule import Visit, best_gaps, lay_out, windows_in_order
from dispatch.score import score

Laid: TypeAlias = Mapping[int, tuple[Sequence[Visit], Sequence[int] | None]]  # by way: visits in order, gaps of the breaks


def laid_out(compiled: Compiled, orders: Sequence[Sequence[int]]) -> Laid:
    """Orders of problem jobs by way as visits, each in its first reachable window; a way that keeps no times is left out."""
    visits: dict[int, tuple[Sequence[Visit], Sequence[int] | None]] = {}
    for r, order in enumerate(orders):
        found = _laid(compiled, compiled.ways[r], order) if order else None
        if found is not None:
            visits[r] = found
    return visits


def _laid(
    compiled: Compiled, way: Way, order: Sequence[int], wanted: Mapping[int, int] | None = None
) -> tuple[Sequence[Visit], Sequence[int] | None] | None:
    """One way's order with windows (those of the wanted starts, by job, where they hold) and gaps for the breaks."""
    chosen = windows_in_order(compiled, way, order, wanted)
    gaps = None if chosen is None else best_gaps(compiled.problem, way, chosen)
    return None if chosen is None or gaps is None else (chosen, gaps)


def visits_of(compiled: Compiled, plan: Plan) -> Laid:
    """A plan's open jobs by way, as far as they still fit: what the problem no longer allows is left out, last job first."""
    ways = {(compiled.problem.workers[way.worker].id, way.shift): r for r, way in enumerate(compiled.ways)}
    rank = {compiled.problem.jobs[i].id: k for k, i in enumerate(compiled.open_jobs)}
    problem_index = compiled.problem.job_index
    visits: dict[int, tuple[Sequence[Visit], Sequence[int] | None]] = {}
    taken: set[str] = set()
    for route in plan.routes:
        r = ways.get((route.worker, route.shift))
        if r is None:
            continue
        order = [
            -1 - stop.place if stop.kind == "depot" else compiled.open_jobs[rank[stop.job]]
            for stop in route.stops
            if (stop.kind == "depot" and stop.place in compiled.problem.depots)
            or (stop.kind == "job" and stop.job in rank and stop.job not in taken and compiled.ok[r, rank[stop.job]])
        ]
        starts = {problem_index[stop.job]: stop.start_s for stop in route.stops if stop.job in problem_index}
        order = _stocked(compiled, compiled.ways[r], order)
        while any(i >= 0 for i in order):
            found = _laid(compiled, compiled.ways[r], order, starts) or _laid(compiled, compiled.ways[r], order)
            if found is not None:
                visits[r] = found
                taken.update(compiled.problem.jobs[i].id for i in order if i >= 0)
                break
            order.pop()
    return visits


def _stocked(compiled: Compiled, way: Way, order: Sequence[int]) -> list[int]:
    """The order without the jobs for which tools, parts or room on the shift are wanting, and with one depot call at most."""
    problem = compiled.problem
    worker = problem.workers[way.worker]
    most = worker.shifts[way.shift].max_jobs
    room = len(problem.jobs) if most is None else most - len(way.facts)
    stock = Counter({item.part: item.count for item in worker.parts})
    for i in way.facts:
        stock.subtract({need.part: need.count for need in problem.jobs[i].parts})
    kept: list[int] = []
    called = False
    for i in order:
        if i < 0:
            kept += [] if called else [i]
            called = True
            continue
        job = problem.jobs[i]
        fits = called or (job.tools <= worker.tools and all(stock[need.part] >= need.count for need in job.parts))
        if fits and room > 0:
            kept.append(i)
            room -= 1
            stock.subtract({need.part: need.count for need in job.parts})
    return kept


def assemble(compiled: Compiled, visits: Laid, *, seed: int = 0, iterations: int = 0, explain: bool = False) -> Plan:
    """The plan of these visits by way. With `explain` every unserved job gets its reason; without, a short word."""
    problem = compiled.problem
    routes: list[Route] = []
    served: set[str] = set()
    for r, way in enumerate(compiled.ways):
        if not visits.get(r) and not way.facts:
            continue
        row, gaps = visits.get(r, ((), None))
        route = lay_out(problem, way, row, gaps)
        if route is None:
            raise ValueError(f"shift {way.shift} of {problem.workers[way.worker].id} cannot be laid out")
        routes.append(route)
        served.update(route.jobs)
    unserved = []
    openings = Openings(compiled, {r: row for r, (row, _) in visits.items()})
    for k, i in enumerate(compiled.open_jobs):
        id_ = problem.jobs[i].id
        if id_ not in served:
            brief = Unserved(job=id_, rule="no_room", words="not placed yet")
            unserved.append(why_unserved(openings, k) if explain else brief)
    return Plan(routes=tuple(routes), unserved=tuple(unserved), score=score(problem, routes), seed=seed, iterations=iterations)
