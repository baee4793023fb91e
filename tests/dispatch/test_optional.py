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
