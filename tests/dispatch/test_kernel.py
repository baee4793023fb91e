"""The compiled search by itself: what it keeps up to date by small steps is what it would work out anew."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch import Break, Fact, Rates, solve
from dispatch.assemble import assemble
from dispatch.compile import compile_problem
from dispatch.kernel.engine import Engine
from dispatch.kernel.shape import LENGTH
from dispatch.kernel.tables import tables
from dispatch.schedule import windows_in_order


@st.composite
def days(draw, tiny):
    """Workers with breaks, tools, parts and a day begun; jobs with windows, tools, parts, classes and values."""
    pause = Break(150 * 60, 220 * 60, 20 * 60)
    rates = Rates(travel_per_s=2, duty_per_s=1, overtime_per_s=3, balance_per_s=draw(st.integers(0, 1)))
    workers = [
        tiny.worker("ann", tiny.shift(0, 480, breaks=(pause,)), rates=rates, parts=tiny.parts(valve=draw(st.integers(0, 3)))),
        tiny.worker("bob", tiny.shift(0, 400, home=50), rates=rates, tools=frozenset({"drill"})),
        tiny.worker("cat", tiny.shift(60, 480, home=30, breaks=(pause,)), skills=[("gas", 1)]),
    ]
    jobs = [tiny.job("begun", 20, 15, fact=Fact(worker="cat", shift=0, start_s=60 * 60, end_s=75 * 60))]
    for n in range(draw(st.integers(4, 18))):
        opens = draw(st.integers(0, 300))
        window = [(opens, opens + draw(st.integers(20, 200)))] if draw(st.booleans()) else []
        more = draw(
            st.sampled_from(
                (
                    {"priority": 1},
                    {"priority": 2},
                    {"priority": None, "value": 4000},
                    {"skills": [("gas", 1)]},
                    {"tools": frozenset({"drill"})},
                    {"parts": tiny.parts(valve=1)},
                )
            )
        )
        jobs.append(tiny.job(f"j{n}", draw(st.integers(0, 60)), draw(st.integers(5, 60)), *window, **more))
    return tiny.problem(workers, jobs, depots=(20,), now_s=80 * 60)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(1, 1000))
def test_sums_and_times_kept_by_steps_are_those_worked_out_anew(tiny, data, seed):
    """After some iterations, taken and taken back, every way's sums and labels are what loading the same plan gives."""
    engine = Engine(tables(compile_problem(data.draw(days(tiny)))), seed)
    engine.fill()
    engine.anneal(300, 3000.0, 0.99)
    state, cost = engine.state, engine.state.cost[0]
    sums, labels = state.sums[0].copy(), state.label[0].copy()
    engine.load(engine.present())
    assert np.array_equal(sums, engine.state.sums[0])
    assert cost == engine.state.cost[0]
    for r, length in enumerate(sums[:, LENGTH]):
        assert np.array_equal(labels[r, : length + 1], engine.state.label[0, r, : length + 1])


def test_a_day_is_handed_over_whole(tiny):
    """Bob costs less than Ann by the day, but none of her jobs alone is worth his coming."""
    ann = tiny.worker("ann", tiny.shift(0, 900), rates=Rates(travel_per_s=1, duty_per_s=0, per_route=9000))
    bob = tiny.worker("bob", tiny.shift(0, 900), rates=Rates(travel_per_s=1, duty_per_s=0, per_route=6000))
    jobs = [tiny.job(f"j{n}", 20 + n, 10) for n in range(40)]
    start = solve(tiny.problem([ann], jobs), iterations=100, seed=1)
    plan = solve(tiny.problem([ann, bob], jobs), iterations=2000, seed=1, start=start)
    assert [route.worker for route in plan.routes if route.jobs] == ["bob"]


def test_two_days_swap_their_afternoons(tiny):
    """Ann's afternoon lies where Bob's morning does, and the other way round; with no time to change over but at noon, more visits
    than any string has would have to move at once."""
    at = [60 + 10 * n for n in range(14)] + [250 + 10 * n for n in range(14)]
    jobs = [tiny.job(f"{place} {minute}", place, 10, (minute, minute)) for place in (10, 50) for minute in at]
    problem = tiny.problem([tiny.worker("ann", tiny.shift(home=30)), tiny.worker("bob", tiny.shift(home=30))], jobs)
    compiled = compile_problem(problem)
    crossed = {0: [*range(14), *range(42, 56)], 1: [*range(28, 42), *range(14, 28)]}
    start = assemble(compiled, {r: (windows_in_order(compiled, compiled.ways[r], order), None) for r, order in crossed.items()})
    plan = solve(problem, iterations=2000, seed=1, start=start)
    assert [{stop.place for stop in route.stops} for route in plan.routes] == [{10}, {50}]


def test_ways_that_can_hold_every_job_are_never_too_short(tiny):
    """Two days with a call at a depot each may swap ends for ever without asking for more room than all jobs take."""
    jobs = [tiny.job(f"j{n}", 5 * n, 10, tools=frozenset({"drill"})) for n in range(5)]
    engine = Engine(tables(compile_problem(tiny.problem([tiny.worker("ann"), tiny.worker("bob")], jobs, depots=(20,)))), 1)
    engine.fill()
    roomy = engine.state
    engine.anneal(500, 5000.0, 1.0)
    assert engine.state is roomy
