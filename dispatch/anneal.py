"""How the kernel's iterations are spent.

A problem of some hundred jobs is annealed several times from scratch, then the best plan is reheated once; routes of all walks are
recombined by CP-SAT in between. A larger one is annealed once, in rounds: each round cuts the plan into parts that lie together,
elsewhere each time, and walks in every part by itself (Taillard, 1993), which keeps its tables in the processor's caches.

Walks are cooled by iterations, never by the clock, so that a run of so many iterations from a seed on so many threads can be
repeated exactly. A run of so many seconds measures the machine's speed and fixes the iterations of each walk before it starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dispatch.clusters import clusters
from dispatch.compile import Compiled
from dispatch.kernel.engine import Engine, Trips
from dispatch.kernel.part import Part
from dispatch.kernel.shape import ABSENCE, Data, Ints
from dispatch.recombine import Pool
from dispatch.walks import Lanes, Walk, leader

HOT, COLD = 0.6, 0.01  # temperatures as shares of the travel and waiting that a job costs on average
WARM = 0.12  # where a reheat begins
SHORTEST = 30_000  # iterations below which an anneal is not split into several
FRESH, FRESH_SHARE = 6, 0.88  # anneals from scratch, and their share of the iterations; the reheat has the rest
LARGE = 400  # jobs from which one anneal takes all the time
EFFORT = 1.0  # deterministic time of a recombination, about a second
EFFORT_SHARE = 0.04  # of a run's seconds, at most
UNHURRIED_S = 4.0  # a shorter run is not recombined
TRIAL_S = 0.1  # to measure the speed

PART_JOBS, PART_ROUTES = 150, 15  # a part has so many jobs, or so many routes if those are more jobs
ROUNDS, HOTTEST, COOLEST = 20, 1.0, 0.05  # how many rounds, and from where to where they cool
VALUED, VALUED_UNTIL = 2.0, 0.6  # at first optional visits are worth so many times as much, until this share of the rounds
SETTLED = 0.7  # share of the rounds after which each goes on from the best plan


@dataclass(frozen=True, slots=True)
class News:
    """The engine found something better, or a slice is over."""

    trips: Trips | None
    cost: float
    iterations: int


@dataclass(frozen=True, slots=True)
class Run:
    """What is searched on how many threads, and the budget: seconds, or iterations where those are given."""

    compiled: Compiled
    data: Data
    seed: int
    seconds: float | None
    iterations: int | None
    threads: int = 1


def spend(run: Run, start: Trips | None, stop: Callable[[], bool]) -> Iterator[News]:
    """Searches and yields every few hundredths of a second; `trips` are there when the plan improved. The last holds the best."""
    engine = Engine(run.data, run.seed, start)
    engine.fill()
    engine.anneal(1, 0.0, 1.0)  # the first use on a machine compiles; the clock runs from then on
    yield News(engine.best(), engine.best_cost, 0)
    with Lanes(run.threads) as lanes:
        spending = _Spending(run, engine, lanes, stop)
        large = len(run.data.jobs) > LARGE
        yield from spending.rounds(has_start=start is not None) if large else spending.stages(has_start=start is not None)


class _Spending:
    """A run under way: the best plan of all so far, and what is left of the budget."""

    def __init__(self, run: Run, engine: Engine, lanes: Lanes, stop: Callable[[], bool]) -> None:
        self.run, self.engine, self.lanes, self.stop = run, engine, lanes, stop
        self.began_s = time.monotonic()
        self.best: Trips = engine.best()
        self.best_cost = engine.best_cost
        self.scale = _scale(run.data, engine)
        self.speed = 0.0  # iterations a second on one thread
        self.done = 0
        self.effort = 0.0
        self.walk_s = run.seconds

    def stages(self, *, has_start: bool) -> Iterator[News]:
        """Anneals from scratch, then a reheat; recombined before it and at the end."""
        stages = _stages(self.run.iterations, has_start=has_start)
        if len(stages) > 1 and (self.run.seconds is None or self.run.seconds >= UNHURRIED_S):
            self.effort = EFFORT if self.run.seconds is None else min(EFFORT, EFFORT_SHARE * self.run.seconds)
            self.walk_s = None if self.run.seconds is None else self.run.seconds - self.effort
        pool = Pool(self.run.data) if self.effort else None
        for n, (share, scratch) in enumerate(stages):
            lanes = self.lanes.count
            count = max(FRESH, lanes) if scratch and len(stages) > 1 else lanes
            budget = self._budget(share / sum(s for s, _ in stages[n:]), share, count)
            walks = [self._walk(n, k, budget, scratch=scratch, pool=pool) for k in range(count)]
            yield from self._together(walks)
            if pool is not None:
                for walk in walks:
                    pool.take(walk.pool)
            if n in {0, len(stages) - 1} and not self.stop():
                yield from self._recombine(pool)
            if self._over():
                return

    def _walk(self, stage: int, k: int, budget: int, *, scratch: bool, pool: Pool | None) -> Walk:
        """The k-th walk of a stage; the first one keeps the run's engine, whose first anneal has its first plan already."""
        engine = self.engine if k == 0 else Engine(self.run.data, self.run.seed * 1009 + stage * 101 + k)
        if scratch and k > 0:
            engine.fill()
        elif not scratch:
            engine.load(self.best)
        hot = (HOT if scratch else WARM) * self.scale
        return Walk(engine, hot, COLD * self.scale, budget, None if pool is None else Pool(self.run.data))

    def _budget(self, part: float, share: float, count: int) -> int:
        """Iterations of each of `count` walks: `share` of all the run's, or as many as go into `part` of the seconds left."""
        if self.run.iterations is not None:
            return int(self.run.iterations * share / count)
        if self.speed == 0.0:
            self.speed = _speed(self.engine, self.scale)
        turns = -(-count // self.lanes.count)
        return int(self.speed * self._left_s() * part / turns)

    def rounds(self, *, has_start: bool) -> Iterator[News]:
        """One anneal in rounds, each in parts of the plan cut anew."""
        chance = np.random.default_rng(self.run.seed)
        present: Trips = self.best
        hottest, coolest = (WARM, COLD) if has_start else (HOTTEST, COOLEST)
        drop = (coolest / hottest) ** (1.0 / ROUNDS)
        optional = np.array([self.run.compiled.problem.jobs[i].priority is None for i in self.run.compiled.open_jobs])
        total = len(self.run.data.jobs)
        for n in range(ROUNDS):
            parts: list[Part] = []
            engines: list[Engine] = []
            prices = self._prices(optional, 0.0 if has_start else 1.0 - n / (VALUED_UNTIL * ROUNDS))
            for k, (ways, jobs) in enumerate(clusters(self.run.data, present, self._part_jobs(present), chance)):
                if self._over():
                    return
                parts.append(Part(self.run.data, ways, jobs, prices))
                engines.append(Engine(parts[k].data, (self.run.seed * 1009 + n) * 10007 + k, parts[k].inward(present)))
            whole = self._budget_of_round(n, engines[0])
            hot = hottest * drop**n * self.scale
            walks = [
                Walk(engine, hot, hot * drop, int(whole * len(part.jobs) / total))
                for part, engine in zip(parts, engines, strict=True)
            ]
            for _ in self.lanes.run(walks, self._over):
                yield News(None, self.best_cost, self.done)
            self._count(walks)
            bests = {r: trip for part, walk in zip(parts, walks, strict=True) for r, trip in part.outward(walk.best).items()}
            self.engine.load(bests)
            if optional.any():  # the first plan has too few visits to tell what one costs
                self.scale = max(self.scale, _scale(self.run.data, self.engine))
            if self._better():
                yield News(self.best, self.best_cost, self.done)
            if self._over():
                return
            present = self.best
            if n + 1 < SETTLED * ROUNDS:
                present = {r: t for p, e in zip(parts, engines, strict=True) for r, t in p.outward(e.present()).items()}

    def _prices(self, optional: npt.NDArray[np.bool_], left: float) -> Ints:
        """What absences cost while this share of the dearer rounds is left. A route of optional visits pays only when many go
        along: while they count for more it grows, and then loses those that do not pay."""
        prices = self.run.data.jobs[:, ABSENCE]
        return np.where(optional, prices * VALUED ** max(0.0, left), prices).astype(np.int64)

    def _budget_of_round(self, n: int, engine: Engine) -> int:
        """Iterations of all parts of round n together."""
        if self.run.iterations is not None:
            return self.run.iterations // ROUNDS
        if self.speed == 0.0:
            self.speed = _speed(engine, self.scale)
        return int(self.speed * self.lanes.count * self._left_s() / (ROUNDS - n))

    def _part_jobs(self, trips: Trips) -> int:
        """How many jobs a part has at most."""
        jobs, routes = len(self.run.data.jobs), max(1, len(trips))
        return max(PART_JOBS, PART_ROUTES * jobs // routes)

    def _together(self, walks: list[Walk]) -> Iterator[News]:
        """Walks of the whole problem side by side, their best plans told as they come."""
        before, cost = self.best, self.best_cost
        for _ in self.lanes.run(walks, self._over):
            best, found = leader(walks, self.best, self.best_cost)
            better = found < self.best_cost
            self.best, self.best_cost = best, found
            yield News(best if better else None, found, self.done)
        self._count(walks)
        self.best, self.best_cost = leader(walks, before, cost)  # anew and in order: of equals the clock must not choose
        yield News(self.best, self.best_cost, self.done)

    def _recombine(self, pool: Pool | None) -> Iterator[News]:
        """The best plan put together from the pool, if it is better."""
        if pool is None:
            return
        self.engine.load(self.best)
        found = pool.recombine(self.engine, self.effort, self.stop)
        if found is not None:
            self.engine.load(found)
            if self._better():
                yield News(self.best, self.best_cost, self.done)

    def _better(self) -> bool:
        """Takes the engine's best plan as the best of all, if it is."""
        if self.engine.best_cost >= self.best_cost - 0.5:
            return False
        self.best, self.best_cost = self.engine.best(), self.engine.best_cost
        return True

    def _count(self, walks: list[Walk]) -> None:
        """Adds up what walks have done, and takes the speed from them."""
        done, took_s = sum(walk.done for walk in walks), sum(walk.took_s for walk in walks)
        self.done += done
        if took_s > 0.0:
            self.speed = done / took_s

    def _left_s(self) -> float:
        assert self.walk_s is not None
        return max(0.0, self.walk_s - (time.monotonic() - self.began_s))

    def _over(self) -> bool:
        return self.stop() or (self.walk_s is not None and self._left_s() <= 0.0)


def _stages(iterations: int | None, *, has_start: bool) -> list[tuple[float, bool]]:
    """(share of the iterations, whether from scratch) of each stage."""
    if has_start:
        return [(1.0, False)]
    if iterations is not None and iterations < SHORTEST:
        return [(1.0, True)]
    return [(FRESH_SHARE, True), (1.0 - FRESH_SHARE, False)]


def _speed(engine: Engine, scale: float) -> float:
    """Iterations a second at a middling temperature, from a short trial; the engine goes on from where it was."""
    present = engine.present()
    engine.anneal(20, scale * WARM, 1.0)
    began_s = time.monotonic()
    trial = 0
    while time.monotonic() - began_s < TRIAL_S:
        engine.anneal(50, scale * WARM, 1.0)
        trial += 50
    engine.load(present)
    return trial / (time.monotonic() - began_s)


def _scale(data: Data, engine: Engine) -> float:
    """What a job costs on average in the first plan beyond the work itself: the unit of temperature."""
    return max(1.0, engine.travel_price() / max(1, len(data.jobs) - engine.absent))
