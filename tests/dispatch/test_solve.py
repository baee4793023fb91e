"""solve on instances small enough to know the answer."""

from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch import Break, Fact, Rates, solve, verify
from dispatch.assemble import assemble
from dispatch.compile import compile_problem
from dispatch.schedule import lay_out, windows_in_order

ITERATIONS = 2000


def solved(problem, **more):
    plan = solve(problem, iterations=ITERATIONS, seed=1, **more)
    assert verify(problem, plan) == ()
    return plan


def where(plan):
    return {route.worker: route.jobs for route in plan.routes}


def test_a_day_with_every_kind_of_rule(tiny):
    """Skills, windows, pins, priorities, a break, facts: each decides where its job goes."""
    pause = Break(180 * 60, 240 * 60, 30 * 60)
    ann = tiny.worker("ann", tiny.shift(0, 480, breaks=(pause,)), skills=[("gas", 2)])
    bob = tiny.worker("bob", tiny.shift(0, 480, home=50, breaks=(pause,)))
    jobs = [
        tiny.job("gas", 45, 30, skills=[("gas", 2)]),
        tiny.job("pinned", 5, 30, pinned_worker="bob", pinned_start_s=120 * 60),
        tiny.job("morning", 40, 30, (0, 60)),
        tiny.job("either", 10, 30, (0, 5), (300, 330)),
        tiny.job("done", 48, 20, fact=Fact(worker="bob", shift=0, start_s=5 * 60, end_s=25 * 60)),
        tiny.job("impossible", 48, 20, skills=[("gas", 3)]),
    ]
    problem = tiny.problem([ann, bob], jobs, now_s=26 * 60)
    seen = []
    plan = solved(problem, on_progress=seen.append)
    assert "gas" in where(plan)["ann"]
    assert "pinned" in where(plan)["bob"]
    assert where(plan)["bob"][0] == "done"
    assert [(left.job, left.rule) for left in plan.unserved] == [("impossible", "skills")]
    assert seen
    assert seen[-1].jobs_served == 5


def test_priority_beats_any_number(tiny):
    """One job of class 1 that fills the day is served before four of class 2."""
    jobs = [tiny.job("big", 30, 400, priority=1)] + [tiny.job(f"small{n}", 5, 100, priority=2) for n in range(4)]
    plan = solved(tiny.problem([tiny.worker()], jobs))
    assert where(plan) == {"ann": ("big",)}
    assert {left.rule for left in plan.unserved} == {"no_room"}


@pytest.mark.parametrize("seed", range(3))
def test_an_emergency_takes_the_room_that_many_have_taken(tiny, seed):
    """Far away and long, it costs a day full of short jobs; whether they are planned already or not."""
    short = [tiny.job(f"short{n}", 10, 20, priority=5) for n in range(20)]
    problem = tiny.problem([tiny.worker()], [tiny.job("long", 50, 360, priority=1), *short])
    planned = solve(tiny.problem([tiny.worker()], short), iterations=ITERATIONS, seed=seed)
    for start in (None, planned):
        plan = solve(problem, iterations=ITERATIONS, seed=seed, start=start)
        assert "long" in where(plan)["ann"]


def test_a_given_plan_is_the_floor(tiny):
    """Stopped at once, the answer is the plan that was given."""
    jobs = [tiny.job(id_, place) for id_, place in (("A", 5), ("B", 20), ("C", 50))]
    problem = tiny.problem([tiny.worker()], jobs)
    first = solved(problem)
    again = solve(problem, seconds=5, start=first, should_stop=lambda: True)
    assert again.routes == first.routes


def test_nothing_to_do(tiny):
    assert solved(tiny.problem([], [])).routes == ()
    left = solved(tiny.problem([], [tiny.job("A", 1)])).unserved
    assert [(u.job, u.rule) for u in left] == [("A", "shift_hours")]


def test_seed_and_iterations_repeat_a_run(tiny):
    """The same seed and iterations give the same plan, whatever the clock does; stops make no difference to the walk."""
    jobs = [tiny.job(str(n), (n * 17) % 61, 10, ((n * 31) % 200, (n * 31) % 200 + 120)) for n in range(24)]
    problem = tiny.problem([tiny.worker("ann"), tiny.worker("bob", tiny.shift(0, 480, home=60))], jobs)
    assert solved(problem).routes == solved(problem, on_progress=lambda news: None).routes


def test_depots_are_called_at_once_and_early_enough(tiny):
    """Own tools serve the first job; the drill and the third valve are fetched at the depot, once."""
    jobs = [
        tiny.job("plain", 5, 10, (0, 30)),
        tiny.job("drilled", 30, 10, (60, 400), tools=frozenset({"drill"})),
        tiny.job("valves", 40, 10, (60, 400), parts=tiny.parts(valve=3)),
    ]
    problem = tiny.problem([tiny.worker(parts=tiny.parts(valve=2))], jobs, depots=(20,))
    plan = solved(problem)
    assert plan.unserved == ()
    assert [stop.kind for stop in plan.routes[0].stops].count("depot") == 1


def brute_force(problem, tiny):
    """The best score over every assignment and order of a few jobs to the workers, laid out exactly."""
    compiled = compile_problem(problem)
    best = None
    for owners in product(range(-1, len(compiled.ways)), repeat=len(problem.jobs)):
        groups = [[i for i, owner in enumerate(owners) if owner == r] for r in range(len(compiled.ways))]
        for orders in product(*(permutations(group) for group in groups)):
            laid = {}
            for r, order in enumerate(orders):
                visits = windows_in_order(compiled, compiled.ways[r], order) if order else None
                allowed = all(compiled.ok[r, i] for i in order)
                if visits and allowed and lay_out(problem, compiled.ways[r], visits) is not None:
                    laid[r] = (visits, None)
                elif order:
                    break
            else:
                found = assemble(compiled, laid).score
                best = found if best is None or found < best else best
    return best


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_small_problems_are_solved_to_the_optimum(tiny, data):
    """Four jobs, two workers, skills, windows, a break, priorities: the search finds what trial of everything finds."""
    jobs = []
    for n in range(4):
        opens = data.draw(st.integers(0, 200))
        window = [(opens, opens + data.draw(st.integers(0, 150)))] if data.draw(st.booleans()) else []
        skills = [("gas", 1)] if data.draw(st.integers(0, 3)) == 0 else []
        place, minutes = data.draw(st.integers(0, 60)), data.draw(st.integers(5, 90))
        jobs.append(tiny.job(f"j{n}", place, minutes, *window, skills=skills, priority=data.draw(st.integers(1, 2))))
    pause = Break(100 * 60, 160 * 60, 20 * 60)
    ann = tiny.worker("ann", tiny.shift(0, 240, breaks=(pause,)), skills=[("gas", 1)])
    bob = tiny.worker("bob", tiny.shift(0, 200, home=50), rates=Rates(travel_per_s=1, duty_per_s=1))
    problem = tiny.problem([ann, bob], jobs)
    assert solved(problem).score <= brute_force(problem, tiny)


def test_a_break_may_have_to_come_first(tiny):
    """Two jobs fit only with the break before both; the walk, which seats breaks beside the job it places, does not see it."""
    pause = Break(100 * 60, 160 * 60, 20 * 60)
    ann = tiny.worker("ann", tiny.shift(0, 240, breaks=(pause,)))
    jobs = [tiny.job("A", 17, 5, (101, 120)), tiny.job("B", 17, 79, (65, 125))]
    plan = solved(tiny.problem([ann], jobs))
    assert (plan.served, plan.proved) == (2, True)


def test_a_plan_with_a_depot_call_can_be_improved(tiny):
    """Given back as a start, a plan keeps its call; and where the depot is gone, only what the van allows is kept."""
    jobs = [tiny.job("A", 30, tools=frozenset({"drill"})), tiny.job("B", 40), tiny.job("C", 10)]
    problem = tiny.problem([tiny.worker()], jobs, depots=(20,))
    first = solved(problem)
    assert solve(problem, start=first, should_stop=lambda: True).routes == first.routes
    bare = tiny.problem([tiny.worker()], jobs)
    again = solve(bare, start=first, should_stop=lambda: True)
    assert verify(bare, again) == ()
    assert [left.rule for left in again.unserved] == ["tools"]
