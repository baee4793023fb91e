"""Large problems: searched in parts and on threads, with the same answer every time."""

import random

import numpy as np
import pytest

from dispatch import solve, verify
from dispatch.clusters import clusters
from dispatch.compile import compile_problem
from dispatch.kernel.engine import Engine
from dispatch.kernel.part import Part
from dispatch.kernel.shape import ABSENCE
from dispatch.kernel.tables import tables

JOBS, WORKERS = 430, 30


@pytest.fixture(scope="module")
def many(tiny):
    """More jobs than are searched in one piece: windows, skills, homes of their own, a stock of parts and one depot."""
    draw = random.Random(5)
    workers = [
        tiny.worker(
            f"w{n}",
            tiny.shift(0, 480, home=draw.randrange(61)),
            skills=[("gas", 1)] if n % 3 == 0 else [],
            parts=tiny.parts(valve=1),
        )
        for n in range(WORKERS)
    ]
    jobs = []
    for n in range(JOBS):
        opens = draw.randrange(400)
        windows = [(opens, opens + 120)] if n % 2 else [(0, 60), (300, 420)]
        jobs.append(
            tiny.job(
                f"j{n}",
                draw.randrange(61),
                draw.choice((5, 10, 20)),
                *windows,
                skills=[("gas", 1)] if n % 7 == 0 else [],
                parts=tiny.parts(valve=1) if n % 11 == 0 else (),
            )
        )
    return tiny.problem(workers, jobs, depots=(30,))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_run_in_parts_is_repeatable(many, threads):
    """Iterations, seed and threads fix the plan, and no rule is broken where parts meet."""
    plans = [solve(many, iterations=3000, seed=2, threads=threads) for _ in range(2)]
    assert plans[0] == plans[1]
    assert verify(many, plans[0]) == ()


def test_parts_hold_everything_once(many):
    data = tables(compile_problem(many))
    engine = Engine(data, 1)
    engine.fill()
    parts = clusters(data, engine.best(), 100, np.random.default_rng(1))
    assert len(parts) > 3
    assert max(len(jobs) for _, jobs in parts) <= 100
    assert sorted(j for _, jobs in parts for j in jobs) == list(range(JOBS))
    assert sorted(r for ways, _ in parts for r in ways) == list(range(WORKERS))


def test_a_part_costs_what_it_costs_in_the_whole(many):
    """Trips go into a part and come back unchanged; the parts' costs add up to the whole's, before and after a walk in each."""
    data = tables(compile_problem(many))
    whole = Engine(data, 1)
    whole.fill()
    trips, total, found = whole.best(), 0.0, {}
    for ways, jobs in clusters(data, trips, 100, np.random.default_rng(1)):
        part = Part(data, ways, jobs, data.jobs[:, ABSENCE])
        assert part.outward(part.inward(trips)) == {r: trip for r, trip in trips.items() if r in ways}
        engine = Engine(part.data, 1, part.inward(trips))
        total += engine.best_cost
        engine.anneal(300, 100.0, 0.99)
        found |= part.outward(engine.best())
        total -= engine.best_cost
    before = whole.best_cost
    whole.load(found)
    assert whole.best_cost == pytest.approx(before - total)
    assert total > 0


def test_threads_walk_a_small_problem_too(tiny):
    """More walks than on one thread, and still the same plan every time."""
    jobs = [tiny.job(str(n), (n * 17) % 61, 10, ((n * 31) % 200, (n * 31) % 200 + 120)) for n in range(24)]
    problem = tiny.problem([tiny.worker("ann"), tiny.worker("bob", tiny.shift(0, 480, home=60))], jobs)
    plans = [solve(problem, iterations=3000, seed=1, threads=2) for _ in range(2)]
    assert plans[0] == plans[1]
    assert verify(problem, plans[0]) == ()


def test_what_is_remembered_is_true(many):
    """After a walk the present plan, labelled anew, costs what the walk has added up."""
    engine = Engine(tables(compile_problem(many)), 3)
    engine.fill()
    engine.anneal(2000, 200.0, 0.998)
    cost, best = engine.best_cost, engine.best()
    engine.load(best)
    assert engine.best_cost == pytest.approx(cost)
