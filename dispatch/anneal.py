"""How the kernel's iterations are spent: short anneals from scratch, then reheats of the best plan.

The walk is cooled by iterations, never by the clock, so that a run of so many iterations from a seed can be repeated exactly. A
run of so many seconds first measures the machine's speed, then fixes each anneal's iterations before it starts. Each anneal
leaves its routes in a pool, from which CP-SAT recombines a plan before the reheats and after them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dispatch.compile import Compiled
from dispatch.kernel.engine import Engine, Trips
from dispatch.kernel.shape import Data
from dispatch.recombine import Pool

SLICE_S = 0.04  # between two looks at the caller's wish to stop
FIRST_SLICE = 200
HOT, COLD = 0.6, 0.004  # temperatures as shares of the travel and waiting that a job costs on average
WARM = 0.12  # where a reheat begins
SHORTEST = 30_000  # iterations below which an anneal is not split into several
SHARES = (0.14, 0.14, 0.14, 0.14, 0.22, 0.22)  # of the iterations: anneals from scratch, then reheats
FRESH = 4  # how many of them start from scratch
LARGE = 400  # jobs from which one anneal takes all the time
LOOKS = 400  # at the routes of an anneal, for the pool
HEATED = 0.2  # share of an anneal, its hottest, whose routes are too poor to remember
EFFORT = 1.0  # deterministic time of a recombination, about a second
EFFORT_SHARE = 0.04  # of a run's seconds, at most
UNHURRIED_S = 4.0  # a shorter run is not recombined


@dataclass(frozen=True, slots=True)
class News:
    """The engine found something better, or a slice is over."""

    trips: Trips | None
    cost: float
    iterations: int


@dataclass(frozen=True, slots=True)
class Run:
    """What is searched, and the budget: seconds, or iterations where those are given."""

    compiled: Compiled
    data: Data
    seed: int
    seconds: float | None
    iterations: int | None


def spend(run: Run, start: Trips | None, stop: Callable[[], bool]) -> Iterator[News]:
    """Searches and yields after each slice; `trips` are there when the plan improved. The last news holds the best of all."""
    engine = Engine(run.data, run.seed, start)
    engine.fill()
    engine.anneal(1, 0.0, 1.0)  # the first use on a machine compiles; the clock runs from then on
    yield News(engine.best(), engine.best_cost, 0)
    phases = _phases(len(run.data.jobs), run.iterations, has_start=start is not None)
    yield from _Spending(run, engine, phases, stop).spend()


class _Spending:
    """A run under way: the present engine, the best plan of all so far, and what is left of the budget."""

    def __init__(self, run: Run, engine: Engine, phases: list[tuple[float, bool]], stop: Callable[[], bool]) -> None:
        self.run, self.engine, self.phases, self.stop = run, engine, phases, stop
        self.began_s = time.monotonic()
        self.best, self.best_cost = engine.best(), engine.best_cost
        self.scale = _scale(run.data, engine)
        self.speed = 0.0
        self.effort = 0.0
        if len(phases) > 1 and (run.seconds is None or run.seconds >= UNHURRIED_S):
            self.effort = EFFORT if run.seconds is None else min(EFFORT, EFFORT_SHARE * run.seconds)
        self.pool = Pool(run.data) if self.effort else None
        self.walk_s = None if run.seconds is None else run.seconds - self.effort

    def spend(self) -> Iterator[News]:
        """Phase after phase; recombined before the first reheat and at the end."""
        for n, (_, fresh) in enumerate(self.phases):
            if fresh and n > 0:
                done = self.engine.iterations
                self.engine = Engine(self.run.data, self.run.seed * 1009 + n, None)
                self.engine.fill()
                self.engine.count(done)
            elif not fresh and n > 0:
                self.engine.load(self.best)
                if self.phases[n - 1][1]:
                    yield from self._recombine()
            yield from self._walk(self._budget(n), fresh=fresh)
            if self.stop() or (self.walk_s is not None and time.monotonic() - self.began_s > self.walk_s):
                break
        if not self.stop():
            self.engine.load(self.best)
            yield from self._recombine()

    def _budget(self, n: int) -> int:
        """The iterations of phase n."""
        share = self.phases[n][0]
        if self.run.iterations is not None:
            return int(self.run.iterations * share)
        assert self.walk_s is not None
        if self.speed == 0.0:
            self.speed = _speed(self.engine, self.scale)
            self._better()
        left_s = self.walk_s - (time.monotonic() - self.began_s)
        return max(1, int(self.speed * left_s * share / sum(s for s, _ in self.phases[n:])))

    def _walk(self, budget: int, *, fresh: bool) -> Iterator[News]:
        """One anneal, in slices between which the caller is heard and the pool filled."""
        hot = (HOT if fresh else WARM) * self.scale
        temperature, cooling = hot, (COLD * self.scale / hot) ** (1.0 / max(budget, 1))
        cool = (1.0 - HEATED) * budget
        slice_, look = FIRST_SLICE, max(1, budget // LOOKS)
        while budget > 0 and not self.stop():
            slice_s = time.monotonic()
            step = min(slice_, budget) if self.pool is None else min(slice_, budget, (budget - 1) % look + 1)
            temperature = self.engine.anneal(step, temperature, cooling)
            budget -= step
            took_s = max(time.monotonic() - slice_s, 1e-6)
            self.speed = 0.7 * self.speed + 0.3 * step / took_s if self.speed else step / took_s
            slice_ = max(1, int(slice_ * min(4.0, SLICE_S / (took_s * slice_ / step))))
            if self.pool is not None and budget % look == 0 and budget < cool:
                self.pool.add(self.engine)
            yield News(self.best if self._better() else None, self.best_cost, self.engine.iterations)
            if self.walk_s is not None and time.monotonic() - self.began_s > self.walk_s:
                return

    def _better(self) -> bool:
        """Takes the engine's best plan as the best of all, if it is."""
        if self.engine.best_cost >= self.best_cost - 0.5:
            return False
        self.best, self.best_cost = self.engine.best(), self.engine.best_cost
        return True

    def _recombine(self) -> Iterator[News]:
        """Goes on from a better plan put together from the pool, if there is one, else from the best of all."""
        found = None if self.pool is None else self.pool.recombine(self.engine, self.effort, self.stop)
        if found is None:
            return
        self.engine.load(found)
        if self._better():
            yield News(self.best, self.best_cost, self.engine.iterations)
        else:
            self.engine.load(self.best)


def _phases(jobs: int, iterations: int | None, *, has_start: bool) -> list[tuple[float, bool]]:
    """(share of the iterations, whether from scratch) of each anneal."""
    if has_start:
        return [(1.0, False)]
    if jobs > LARGE or (iterations is not None and iterations < SHORTEST):
        return [(1.0, True)]
    return [(share, n < FRESH) for n, share in enumerate(SHARES)]


def _speed(engine: Engine, scale: float) -> float:
    """Iterations a second at a middling temperature, from a short trial."""
    engine.anneal(20, scale * WARM, 1.0)
    began_s = time.monotonic()
    trial = 0
    while time.monotonic() - began_s < 0.1:
        engine.anneal(50, scale * WARM, 1.0)
        trial += 50
    return trial / (time.monotonic() - began_s)


def _scale(data: Data, engine: Engine) -> float:
    """What a job costs on average in the first plan beyond the work itself: the unit of temperature."""
    return max(1.0, engine.travel_price() / max(1, len(data.jobs) - engine.absent))
