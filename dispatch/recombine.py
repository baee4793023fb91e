"""Routes remembered along several walks, and the best plan that can be put together from them.

Each walk finds good routes that end up in no plan, because its other routes did not go with them (Rochat and Taillard, 1995; with
exact recombination Subramanian, Uchoa and Ochi, 2013). One walk's routes fit together too well to give anything new.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dispatch.child import Stopped, ask_until
from dispatch.kernel.engine import Engine, Trip, Trips
from dispatch.kernel.shape import ABSENCE, COST, JOBS, Data
from dispatch.partition import Column, Pick, bounded_prices, pick

MOST = 6000  # columns: the newest are kept


class Pool:
    """Routes by kind of way and set of jobs, the cheapest order of each."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self._kind = np.zeros(len(data.ways), dtype=np.int64)
        for kind in range(len(data.kind_at) - 1):
            self._kind[data.kind_ways[data.kind_at[kind] : data.kind_at[kind + 1]]] = kind
        self._empty = Engine(data, 0).state.sums[0, :, COST].copy()
        self.found: dict[tuple[int, frozenset[int]], tuple[int, Trip]] = {}

    def add(self, engine: Engine) -> None:
        """Remembers the routes of the engine's present plan."""
        costs = engine.state.sums[0, :, COST] - self._empty
        for r, trip in engine.present().items():
            if engine.state.sums[0, r, JOBS] > 0:
                self._remember((int(self._kind[r]), self._jobs(trip)), (int(costs[r]), trip))
        self._trim()

    def _remember(self, key: tuple[int, frozenset[int]], mine: tuple[int, Trip]) -> None:
        known = self.found.pop(key, None)
        self.found[key] = mine if known is None or mine[0] < known[0] else known

    def _trim(self) -> None:
        while len(self.found) > MOST:
            del self.found[next(iter(self.found))]

    def take(self, other: Pool | None) -> None:
        """Remembers what another pool of the same problem has found."""
        for key, mine in ({} if other is None else other.found).items():
            self._remember(key, mine)
        self._trim()

    def recombine(self, engine: Engine, effort: float, stop: Callable[[], bool]) -> Trips | None:
        """A plan put together from the pool that costs less than the engine's present one; None when there is none."""
        self.add(engine)
        present = engine.present()
        keys = list(self.found)
        columns = tuple(Column(kind, tuple(sorted(jobs)), self.found[kind, jobs][0]) for kind, jobs in keys)
        rank = {key: at for at, key in enumerate(keys)}
        chosen = tuple(rank[int(self._kind[r]), self._jobs(trip)] for r, trip in present.items() if self._jobs(trip))
        served = {job for at in chosen for job in columns[at].jobs}
        left = [job for job in range(len(self.data.jobs)) if job not in served]
        worst = 1 + 2 * max(1, sum(columns[at].cost for at in chosen))
        absence = bounded_prices(self.data.jobs[:, ABSENCE].tolist(), left, worst)
        ways = tuple(np.diff(self.data.kind_at).tolist())
        try:
            found = ask_until(stop, pick, Pick(columns=columns, ways=ways, absence=absence, chosen=chosen, effort=effort))
        except Stopped:
            return None
        return None if set(found) == set(chosen) else self._trips([keys[at] for at in found])

    def _jobs(self, trip: Trip) -> frozenset[int]:
        count = len(self.data.jobs)
        return frozenset(item for item, _ in trip.items if item < count)

    def _trips(self, keys: list[tuple[int, frozenset[int]]]) -> dict[int, Trip]:
        """The columns on ways of their kinds."""
        free = {
            kind: self.data.kind_ways[self.data.kind_at[kind] : self.data.kind_at[kind + 1]].tolist()
            for kind in {kind for kind, _ in keys}
        }
        return {free[kind].pop(0): self.found[kind, jobs][1] for kind, jobs in keys}
