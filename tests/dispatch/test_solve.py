"""solve on instances small enough to know the answer."""

from dispatch import Break, Fact, solve, verify

SECONDS = 0.4


def solved(problem, **more):
    plan = solve(problem, seconds=SECONDS, seed=1, **more)
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
    assert seen[-1].plan.routes == plan.routes
    assert seen[-1].jobs_served == 5


def test_priority_beats_any_number(tiny):
    """One job of class 1 that fills the day is served before four of class 2."""
    jobs = [tiny.job("big", 30, 400, priority=1)] + [tiny.job(f"small{n}", 5, 100, priority=2) for n in range(4)]
    plan = solved(tiny.problem([tiny.worker()], jobs))
    assert where(plan) == {"ann": ("big",)}
    assert {left.rule for left in plan.unserved} == {"no_room"}


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
