"""Anneals run side by side on threads: the kernel lets go of the interpreter's lock.

What a walk finds depends on its engine and its iterations alone, never on the clock or on its neighbours.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Self

from dispatch.kernel.engine import Engine, Trips
from dispatch.recombine import Pool

SLICE_S = 0.02  # between two looks at the wish to stop
FIRST_SLICE = 100
TOLD_S = 0.2  # between two plans told
LOOKS = 400  # at the routes of a walk, for its pool
HEATED = 0.2  # share of a walk, its hottest, whose routes are too poor to remember


class Walk:
    """One anneal of so many iterations between two temperatures; `best` is of this walk, and whole at any moment."""

    def __init__(self, engine: Engine, hot: float, cold: float, budget: int, pool: Pool | None = None) -> None:
        self.engine, self.hot, self.cold, self.budget, self.pool = engine, hot, cold, max(1, budget), pool
        self.done, self.took_s = 0, 0.0
        self.best, self.best_cost = engine.best(), engine.best_cost

    def run(self, ended: Callable[[], bool]) -> None:
        """The anneal, in slices of some hundredths of a second."""
        began_s = told_s = time.monotonic()
        temperature, cooling = self.hot, (self.cold / self.hot) ** (1.0 / self.budget)
        slice_, look = FIRST_SLICE, max(1, self.budget // LOOKS)
        while self.done < self.budget and not ended():
            slice_s = time.monotonic()
            left = self.budget - self.done
            step = min(slice_, left) if self.pool is None else min(slice_, left, (left - 1) % look + 1)
            temperature = self.engine.anneal(step, temperature, cooling)
            self.done += step
            now_s = time.monotonic()
            slice_ = max(1, int(slice_ * min(4.0, SLICE_S / max(1e-6, (now_s - slice_s) * slice_ / step))))
            if self.pool is not None and (left - step) % look == 0 and left - step < (1.0 - HEATED) * self.budget:
                self.pool.add(self.engine)
            if now_s - told_s > TOLD_S:
                told_s = now_s
                self._publish()
        self._publish()
        self.took_s = time.monotonic() - began_s

    def _publish(self) -> None:
        if self.engine.best_cost < self.best_cost - 0.5:
            self.best, self.best_cost = self.engine.best(), self.engine.best_cost


class Lanes:
    """So many threads for walks, as long as the `with` lasts."""

    def __init__(self, threads: int) -> None:
        self.count = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="walk")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()

    def run(self, walks: Sequence[Walk], ended: Callable[[], bool]) -> Iterator[None]:
        """Runs the walks and yields every few hundredths of a second until all are over; `ended` is asked in this thread."""
        over = threading.Event()
        running = {self._threads.submit(walk.run, over.is_set) for walk in walks}
        try:
            while running:
                finished, running = wait(running, SLICE_S, FIRST_COMPLETED)
                for future in finished:
                    future.result()
                if ended():
                    over.set()
                yield
        finally:
            over.set()
            wait(running)


def leader(walks: Sequence[Walk], best: Trips, cost: float) -> tuple[Trips, float]:
    """The best plan of these walks and the one at hand; the first of equals."""
    for walk in walks:
        if walk.best_cost < cost - 0.5:
            best, cost = walk.best, walk.best_cost
    return best, cost
