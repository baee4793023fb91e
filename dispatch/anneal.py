"""How the kernel's iterations are spent: short anneals from scratch, then reheats of the best plan.

The walk is cooled by iterations, never by the clock, so that a run of so many iterations from a seed can be repeated exactly. A
run of so many seconds first measures the machine's speed, then fixes each anneal's iterations before it starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dispatch.compile import Compiled
from dispatch.kernel.engine import Engine, Trips
from dispatch.kernel.shape import Data

SLICE_S = 0.04  # between two looks at the caller's wish to stop
FIRST_SLICE = 200
HOT, COLD = 0.6, 0.004  # temperatures as shares of the travel and waiting that a job costs on average
WARM = 0.12  # where a reheat begins
SHORTEST = 30_000  # iterations below which an anneal is not split into several
SHARES = (0.14, 0.14, 0.14, 0.14, 0.22, 0.22)  # of the iterations: anneals from scratch, then reheats
FRESH = 4  # how many of them start from scratch
LARGE = 400  # jobs from which one anneal takes all the time


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
    data, seed, seconds, iterations = run.data, run.seed, run.seconds, run.iterations
    engine = Engine(data, seed, start)
    engine.fill()
    engine.anneal(1, 0.0, 1.0)  # the first use on a machine compiles; the clock runs from then on
    began_s = time.monotonic()
    best, best_cost = engine.best(), engine.best_cost
    yield News(best, best_cost, 0)
    scale = _scale(data, engine)
    speed = 0.0
    phases = _phases(len(data.jobs), iterations, has_start=start is not None)
    for n, (share, fresh) in enumerate(phases):
        if fresh and n > 0:
            done = engine.iterations
            engine = Engine(data, seed * 1009 + n, None)
            engine.fill()
            engine.count(done)
        elif not fresh and n > 0:
            engine.load(best)
        if iterations is not None:
            budget = int(iterations * share)
        else:
            assert seconds is not None
            if speed == 0.0:
                speed = _speed(engine, scale)
                best, best_cost = (engine.best(), engine.best_cost) if engine.best_cost < best_cost else (best, best_cost)
            left_s = seconds - (time.monotonic() - began_s)
            budget = max(1, int(speed * left_s * share / sum(s for s, _ in phases[n:])))
        hot = (HOT if fresh else WARM) * scale
        temperature, cooling = hot, (COLD * scale / hot) ** (1.0 / max(budget, 1))
        slice_ = FIRST_SLICE
        while budget > 0 and not stop():
            slice_s = time.monotonic()
            step = min(slice_, budget)
            temperature = engine.anneal(step, temperature, cooling)
            budget -= step
            took_s = max(time.monotonic() - slice_s, 1e-6)
            speed = 0.7 * speed + 0.3 * step / took_s if speed else step / took_s
            slice_ = max(1, int(step * min(4.0, SLICE_S / took_s)))
            better = engine.best_cost < best_cost - 0.5
            if better:
                best, best_cost = engine.best(), engine.best_cost
            yield News(best if better else None, best_cost, engine.iterations)
            if seconds is not None and time.monotonic() - began_s > seconds:
                return
        if stop():
            return


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
