"""Where a job that is left out would come nearest to fitting, if shifts were longer or breaks did not bind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dispatch.compile import FAR_S, Alternative, Compiled, work_s
from dispatch.kernel import insertion as kernel
from dispatch.kernel.shape import BIG
from dispatch.plan import Route
from dispatch.schedule import Visit, lay_out
from dispatch.score import route_levels

BEHIND_ALL_S = 1 << 41  # before any moment: what lies behind it is the whole time since


class Openings:
    """The routes of a plan as labels, made once for all jobs that it leaves out. Breaks, loads and prices are left aside."""

    def __init__(self, compiled: Compiled, visits: Mapping[int, Sequence[Visit]]) -> None:
        self.compiled, self.visits = compiled, visits
        self.origin_s = min((way.earliest_s for way in compiled.ways), default=0)
        self._rows: dict[int, kernel.Rows] = {}

    def nearest(self, k: int, options: Sequence[Alternative], stretch_s: int) -> tuple[int, Route] | None:
        """(seconds beyond the shift with its overtime, route) of the insertion of search job k that ends soonest against its shift,
        no more than `stretch_s` beyond it; None when there is none."""
        compiled, problem = self.compiled, self.compiled.problem
        job = problem.jobs[compiled.open_jobs[k]]
        rows = self._stretched(stretch_s)
        longest = int(np.diff(rows.at).max(initial=0))
        ways = np.zeros((len(compiled.ways), 5), dtype=np.int64)
        paces = np.array([problem.workers[way.worker].pace_pct for way in compiled.ways], dtype=np.int64)
        ways[:, kernel.TAKES] = -(-job.duration_s * paces // 100)
        ways[:, kernel.OPEN] = np.where(compiled.ok[:, k] > 0, kernel.ANYWHERE, kernel.CLOSED)
        spans = [(max(o.start_s, -FAR_S) - self.origin_s, o.end_s - self.origin_s, 0, 0, 0) for o in options]
        found = kernel.Found(
            best=np.full((len(compiled.ways), 1, 6), BIG, dtype=np.int64),
            gaps=np.zeros((len(compiled.ways), 1, 0), dtype=np.int64),
            label=np.zeros((longest + 2, 6), dtype=np.int64),
            gap=np.zeros(1, dtype=np.int64),
            trial=np.zeros(1, dtype=np.int64),
        )
        ask = kernel.Ask(job=np.array([job.place, BIG, 0]), ways=ways, options=np.array(spans, dtype=np.int64).reshape(-1, 5))
        kernel.look(rows, ask, found)
        r = int(found.best[:, 0, kernel.BEST_COST].argmin())
        if found.best[r, 0, kernel.BEST_LATE] == BIG:
            return None
        way, row = compiled.ways[r], list(self.visits.get(r, ()))
        gap, option = int(found.best[r, 0, kernel.GAP]), options[int(found.best[r, 0, kernel.OPTION])]
        row.insert(gap, Visit(compiled.open_jobs[k], job.place, option.start_s, option.end_s))
        route = lay_out(problem, replace(way, end_s=way.end_s + stretch_s, breaks=()), row, ())
        return None if route is None else (route.end_s - way.end_s, route)

    def added(self, route: Route) -> tuple[int, int, int]:
        """Lateness, moves and cost of a route that `nearest` told, beyond those of the same route without the job."""
        problem = self.compiled.problem
        r, way = next(
            (r, way)
            for r, way in enumerate(self.compiled.ways)
            if (problem.workers[way.worker].id, way.shift) == (route.worker, route.shift)
        )
        before = lay_out(problem, replace(way, breaks=()), self.visits.get(r, ()), ()) if self.visits.get(r) or way.facts else None
        was = (0, 0, 0) if before is None else route_levels(problem, before)
        late, moves, cost = (now - then for now, then in zip(route_levels(problem, route), was, strict=True))
        return late, moves, cost

    def _stretched(self, stretch_s: int) -> kernel.Rows:
        if stretch_s not in self._rows:
            self._rows[stretch_s] = self._labels(stretch_s)
        return self._rows[stretch_s]

    def _labels(self, stretch_s: int) -> kernel.Rows:
        """Every way with its end moved; what lies beyond its end, or short of it, is all that costs."""
        compiled, problem = self.compiled, self.compiled.problem
        ways = np.zeros((len(compiled.ways), kernel.WAY_COLUMNS), dtype=np.int64)
        visits: list[tuple[int, ...]] = []
        at = [0]
        for r, way in enumerate(compiled.ways):
            worker = problem.workers[way.worker]
            ways[r, kernel.FROM_PLACE], ways[r, kernel.TO_PLACE] = way.start_place, way.end_place
            ways[r, kernel.EARLIEST] = way.earliest_s - self.origin_s
            ways[r, kernel.LATEST_START] = way.latest_start_s - self.origin_s
            ways[r, kernel.LATEST_END] = way.end_s + stretch_s - self.origin_s
            ways[r, kernel.PAID_END] = way.end_s - self.origin_s - BEHIND_ALL_S
            ways[r, kernel.OVERTIME] = ways[r, kernel.HOURS] = 1
            ways[r, kernel.BEGUN] = bool(way.facts)
            for visit in self.visits.get(r, ()):
                takes_s = problem.depot_s if visit.job < 0 else work_s(problem.jobs[visit.job], worker)
                visits.append((visit.place, visit.start_s - self.origin_s, visit.end_s - self.origin_s, takes_s, BIG, 0))
            at.append(len(visits))
        return kernel.Rows(
            travel=problem.travel.seconds,
            metres=problem.travel.metres,
            ways=ways,
            pauses=np.zeros((len(compiled.ways), 0, 3), dtype=np.int64),
            at=np.array(at, dtype=np.int64),
            visits=np.array(visits, dtype=np.int64).reshape(-1, 6),
        )
