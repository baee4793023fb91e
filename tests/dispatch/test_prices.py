"""Prices of the model beyond travel: each alone, in the score, in the checker, and in what the search makes of it."""

from msgspec import structs

from dispatch import Published, Rates, SkillHeld, Window, solve, verify
from dispatch.score import route_costs, score


def solved(problem, iterations=2000, **more):
    plan = solve(problem, iterations=iterations, seed=1, **more)
    assert verify(problem, plan) == ()
    return plan


def start_of(plan, job):
    return next(stop.start_s for route in plan.routes for stop in route.stops if stop.job == job)


def wished(job, *windows, price):
    return structs.replace(job, soft_windows=tuple(Window(a * 60, b * 60) for a, b in windows), outside_price=price)


def test_a_soft_window_is_kept_where_it_is_worth_the_way(tiny):
    """Of several soft windows one is met when missing all costs more than the detour, and missed when it costs less."""
    jobs = [tiny.job("A", 10, 10, (0, 100)), tiny.job("B", 30, 10, (0, 300)), tiny.job("C", 12, 10, (0, 100))]
    for price, met in ((100_000, True), (10, False)):
        problem = tiny.problem([tiny.worker()], [jobs[0], wished(jobs[1], (0, 5), (200, 210), price=price), jobs[2]])
        problem = tiny.problem([structs.replace(tiny.worker(), rates=Rates(travel_per_s=1, duty_per_s=1))], problem.jobs)
        plan = solved(problem)
        assert (200 * 60 <= start_of(plan, "B") <= 210 * 60) is met
        assert route_costs(problem, plan.routes[0])["soft_windows"] == (0 if met else price)


def test_the_checker_counts_soft_windows_itself(tiny):
    """A score that forgets a missed soft window is refused."""
    problem = tiny.problem([tiny.worker()], [wished(tiny.job("A", 10, 10, (0, 5)), (100, 110), price=700)])
    free = tiny.problem([tiny.worker()], [tiny.job("A", 10, 10, (10, 15))])
    plan = solve(free, iterations=50)
    asked = tiny.problem([tiny.worker()], [wished(tiny.job("A", 10, 10, (10, 15)), (100, 110), price=700)])
    assert [breach.rule for breach in verify(asked, plan)] == ["score_is_true"]
    told = structs.replace(plan, score=structs.replace(plan.score, cost=plan.score.cost + 700))
    assert verify(asked, told) == ()
    assert solve(problem, iterations=50).served == 0


def spread(plan, workers):
    duty = dict.fromkeys(workers, 0)
    for route in plan.routes:
        duty[route.worker] += route.duty_s
    return max(duty.values()) - min(duty.values())


def test_balance_evens_the_days(tiny):
    """Eight jobs beside one home: without a price on balance one worker does all, with it two share the work."""
    jobs = [tiny.job(f"j{n}", 5 + n % 2, 30) for n in range(8)]

    def staffed(balance):
        rates = Rates(travel_per_s=1, duty_per_s=1, balance_per_s=balance)
        return tiny.problem([tiny.worker(name, rates=rates) for name in ("ann", "bob")], jobs)

    uneven, even = solved(staffed(0)), solved(staffed(5))
    assert spread(uneven, ("ann", "bob")) >= 4 * 3600
    assert spread(even, ("ann", "bob")) <= 600
    assert score(staffed(5), uneven.routes) > even.score


def test_overtime_is_bought_only_where_it_is_worth_it(tiny):
    """An optional visit beyond the shift's end is made when its value exceeds drive and overtime."""
    for value, served in ((100_000, 1), (1_000, 0)):
        worker = tiny.worker("ann", tiny.shift(0, 60, overtime_s=3600), rates=Rates(travel_per_s=1, duty_per_s=1, overtime_per_s=5))
        problem = tiny.problem([worker], [tiny.job("lead", 30, 20, priority=None, value=value)])
        plan = solved(problem)
        assert plan.served == served
        if served:
            assert route_costs(problem, plan.routes[0])["overtime"] == 5 * plan.routes[0].overtime_s == 5 * 20 * 60


def test_a_published_start_is_where_a_given_plan_keeps_it(tiny):
    """A plan given back is not pulled ahead of the times that people know, though it could start earlier."""
    job = tiny.job("A", 10, 10)
    told = Published(job="A", worker="ann", start_s=200 * 60, move_time=20)
    problem = tiny.problem([tiny.worker()], [job], published=(told,))
    first = solved(problem)
    assert first.score.moves == 0
    again = solve(problem, start=first, should_stop=lambda: True)
    assert (again.score, start_of(again, "A")) == (first.score, start_of(first, "A"))


def test_what_people_know_weighs_more_than_the_way(tiny):
    """The job the customer knows stays with its worker, however near another one lives."""
    near, far = tiny.worker("near", tiny.shift(home=40)), tiny.worker("far", tiny.shift(home=0))
    jobs = [tiny.job("told", 40, 10)]
    told = Published(job="told", worker="far", start_s=100 * 60, move_worker=20, move_time=20)
    plan = solved(tiny.problem([near, far], jobs, published=(told,)))
    assert {route.worker: route.jobs for route in plan.routes} == {"far": ("told",)}
    assert plan.score.moves == 0


def test_preference_has_its_price(tiny):
    """The preferred worker is sent while the detour costs less than the preference, else the nearer one."""
    near, liked = tiny.worker("near", tiny.shift(home=40)), tiny.worker("liked", tiny.shift(home=0))
    for price, who in ((100_000, "liked"), (60, "near")):
        job = tiny.job("A", 40, 10, preferred=frozenset({"liked"}), not_preferred_price=price)
        problem = tiny.problem([near, liked], [job])
        plan = solved(problem)
        assert [route.worker for route in plan.routes] == [who]
        assert route_costs(problem, plan.routes[0])["preference"] == (0 if who == "liked" else price)


DAY = 24 * 60


def test_days_of_a_horizon(tiny):
    """Windows on different days, a skill valid on one of them, a release on the last: every job falls on its day."""
    shifts = tuple(tiny.shift(day * DAY + 480, day * DAY + 960) for day in range(3))
    ann = structs.replace(
        tiny.worker("ann", *shifts), skills=(SkillHeld("gas", 1, valid_from_s=DAY * 60, valid_to_s=2 * DAY * 60 - 1),)
    )
    jobs = [
        tiny.job("either", 10, 10, (DAY - 60, DAY - 30), (2 * DAY + 500, 2 * DAY + 510)),
        tiny.job("gas", 12, 10, skills=[("gas", 1)]),
        tiny.job("first", 14, 10, (480, 900)),
        tiny.job("late", 16, 10, release_s=(2 * DAY + 600) * 60),
    ]
    plan = solved(tiny.problem([ann], jobs))
    days = {stop.job: stop.start_s // (DAY * 60) for route in plan.routes for stop in route.stops}
    assert days == {"either": 2, "gas": 1, "first": 0, "late": 2}
    assert [route.shift for route in plan.routes] == [0, 1, 2]
