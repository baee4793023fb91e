"""Optional visits: worth it in company, not alone."""

from dispatch import solve, verify


def test_a_far_cluster_is_visited_though_no_visit_pays_alone(tiny):
    """An hour out and an hour back for ten visits worth half an hour each, among thirty that hardly pay even on the way."""
    far = [tiny.job(f"far{n}", 55 + n % 5, 2, priority=None, value=30 * 60) for n in range(10)]
    near = [tiny.job(f"near{n}", 20, 2, priority=None, value=60) for n in range(30)]
    problem = tiny.problem([tiny.worker()], [*far, *near])
    plan = solve(problem, iterations=3000, seed=1)
    assert verify(problem, plan) == ()
    assert {job for route in plan.routes for job in route.jobs} >= {job.id for job in far}


def test_what_is_not_worth_it_says_by_how_much(tiny):
    """Twenty minutes there and back are worth twenty minutes, not ten; a value as high as the reason says brings the visit in."""

    def solved(value):
        plan = solve(tiny.problem([tiny.worker()], [tiny.job("near", 10, priority=None, value=value)]), iterations=300)
        return {left.job: (left.rule, left.nearest) for left in plan.unserved}

    assert solved(600) == {"near": ("value", "201 % of its value would do")}
    assert solved(600 * 201 // 100) == {}
    assert solved(0) == {"near": ("value", "it has no value; one above 1200 would do")}


def test_no_room_is_not_said_to_be_a_matter_of_value(tiny):
    jobs = [tiny.job("must", 10, 470), tiny.job("may", 10, priority=None, value=10_000)]
    plan = solve(tiny.problem([tiny.worker("ann", tiny.shift(0, 495))], jobs), iterations=300)
    assert [(left.job, left.rule) for left in plan.unserved] == [("may", "no_room")]


def test_a_crew_that_is_not_worth_it_says_so(tiny):
    workers = [tiny.worker(name, tiny.shift(home=home)) for name, home in (("ann", 8), ("bob", 12))]
    jobs = [tiny.job("lift", 40, 30, crew=2, priority=None, value=600), tiny.job("must", 10)]
    (left,) = solve(tiny.problem(workers, jobs), iterations=1000).unserved
    assert (left.job, left.rule) == ("lift", "value")


def test_no_value_outweighs_what_is_owed(tiny):
    """Four shifts, each with room for a job that is owed and one visit that is worth a fortune, or for three such visits."""
    staff = [tiny.worker(name) for name in ("ann", "bob", "cid", "dee")]
    owed = [tiny.job(f"owed{n}", 10, 200, priority=5) for n in range(4)]
    dear = [tiny.job(f"dear{n}", 10, 145, priority=None, value=10_000_000) for n in range(16)]
    plan = solve(tiny.problem(staff, [*owed, *dear]), iterations=1000)
    assert {job for route in plan.routes for job in route.jobs} >= {job.id for job in owed}
