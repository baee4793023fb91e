"""What a plan says of itself: figures, cost by name, why this worker and why then, GeoJSON."""

import json

import pytest
from msgspec import structs

from dispatch import Place, Rates, Unserved, Window, solve, verify
from dispatch.figures import figures
from dispatch.geojson import geojson
from dispatch.score import score
from dispatch.why import Why, why


def solved(problem, iterations=1500):
    plan = solve(problem, iterations=iterations, seed=1)
    assert verify(problem, plan) == ()
    return plan


def town(tiny, **more):
    rates = Rates(travel_per_s=1, duty_per_s=1, per_route=100, overtime_per_s=3)
    ann = tiny.worker("ann", tiny.shift(0, 240, home=0), rates=rates, skills=[("gas", 1)])
    bob = tiny.worker("bob", tiny.shift(0, 240, home=60), rates=rates)
    jobs = [
        tiny.job("gas", 10, 30, (60, 120), skills=[("gas", 1)]),
        tiny.job("near", 12, 30, due_s=3 * 3600),
        tiny.job("far", 55, 30),
        tiny.job("lift", 50, 20, skills=[("lifts", 1)]),
        tiny.job("lead", 58, 15, priority=None, value=50_000),
    ]
    return tiny.problem([ann, bob], jobs, **more)


def test_figures_add_up(tiny):
    """Parts add up to the cost, levels to the score, and shares are what the routes say."""
    problem = town(tiny)
    plan = solved(problem)
    found = figures(problem, plan)
    assert sum(found.cost.values()) == plan.score.cost == found.levels["cost"]
    assert found.levels["unserved of class 3"] == found.unserved == 1
    assert found.duty_s == found.travel_s + found.work_s + found.wait_s
    assert found.travel_share == pytest.approx(found.travel_s / found.duty_s)
    assert found.utilisation == pytest.approx(found.duty_s / (2 * 240 * 60))
    assert found.on_time_share == 1.0
    assert (found.served, found.jobs, found.visits_per_route) == (4, 5, 2.0)


def test_why_prices_every_alternative(tiny):
    """Moving the job where an alternative says costs exactly what it says: the whole plan is scored anew to tell."""
    problem = town(tiny)
    plan = solved(problem)
    told = why(problem, plan, "near")
    assert isinstance(told, Why)
    assert (told.worker, sum(told.parts.values())) == ("ann", told.price.cost)
    others = {entry.worker: entry for entry in told.instead if entry.price is not None and entry.worker != "ann"}
    moved = tiny.problem(
        problem.workers, [structs.replace(j, excluded=frozenset({"ann"})) if j.id == "near" else j for j in problem.jobs]
    )
    assert others["bob"].price.cost == solved(moved).score.cost - plan.score.cost > 0


def test_why_names_the_rule_that_keeps_others_out(tiny):
    problem = town(tiny)
    told = why(problem, solved(problem), "gas")
    assert isinstance(told, Why)
    assert [(entry.worker, entry.rule) for entry in told.instead if entry.price is None] == [("bob", "skills")]


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"windows": (Window(6000, 7000),)}, "windows"),
        ({"pinned_start_s": 6000}, "pinned_start"),
        ({"release_s": 6000}, "release"),
        ({"soft_windows": (Window(6000, 7000),), "outside_price": 10_000}, "soft_windows"),
    ],
)
def test_why_then(tiny, more, rule):
    """The start of a job is explained by what fixes it."""
    jobs = [tiny.job("first", 5, 10, (0, 10)), structs.replace(tiny.job("A", 10, 10), **more)]
    problem = tiny.problem([tiny.worker(rates=Rates(travel_per_s=1, duty_per_s=1))], jobs)
    told = why(problem, solved(problem), "A")
    assert isinstance(told, Why)
    assert (told.time_rule, told.start_s) == (rule, 6000)


def test_why_then_by_travel(tiny):
    jobs = [tiny.job("first", 5, 10, (10, 10)), tiny.job("A", 10, 10, (0, 25))]
    problem = tiny.problem([tiny.worker()], jobs)
    told = why(problem, solved(problem), "A")
    assert isinstance(told, Why)
    assert (told.time_rule, told.time_words) == ("travel", "ann cannot be there earlier after first")


def test_another_time_of_the_same_worker_has_its_price(tiny):
    """A job that could also be done in the evening says what that would add."""
    jobs = [tiny.job("A", 10, 10, (0, 30), (200, 230)), tiny.job("B", 12, 10, (30, 60))]
    problem = tiny.problem([tiny.worker(rates=Rates(travel_per_s=1, duty_per_s=1))], jobs)
    told = why(problem, solved(problem), "A")
    assert isinstance(told, Why)
    evening = [entry for entry in told.instead if entry.worker == "ann"]
    assert [entry.start_s for entry in evening] == [200 * 60]
    assert evening[0].price.cost > 0


def test_why_a_job_is_left_out(tiny):
    problem = town(tiny)
    told = why(problem, solved(problem), "lift")
    assert isinstance(told, Unserved)
    assert (told.rule, bool(told.nearest)) == ("skills", True)


def test_why_with_ties(tiny):
    """A crew's member and a follower are explained with everything else held as it is."""
    workers = [tiny.worker(name, tiny.shift(0, 300, home=home)) for name, home in (("ann", 0), ("bob", 20), ("cid", 60))]
    lift = tiny.job("lift", 10, 30, (100, 150), crew=2)
    jobs = [lift, tiny.job("then", 12, 10, after=frozenset({"lift"})), tiny.job("B", 50, 10)]
    problem = tiny.problem(workers, jobs)
    plan = solved(problem, 4000)
    for worker in ("ann", "bob"):
        told = why(problem, plan, "lift", worker)
        assert isinstance(told, Why)
        assert (told.worker, told.job) == (worker, "lift")
        assert {entry.worker for entry in told.instead if entry.price is not None} >= {"cid"}
    then = why(problem, plan, "then")
    assert isinstance(then, Why)
    assert then.price.cost >= 0


def test_geojson_has_a_line_for_each_route_and_a_point_for_each_stop(tiny):
    places = tuple(Place(lat=0.0, lon=p / 60) for p in range(tiny.places))
    problem = town(tiny, places=places)
    plan = solved(problem)
    found = json.loads(geojson(problem, plan))["features"]
    lines = [f for f in found if f["geometry"]["type"] == "LineString"]
    points = [f for f in found if f["geometry"]["type"] == "Point" and f["properties"]["kind"] == "job"]
    assert [f["properties"]["worker"] for f in lines] == [route.worker for route in plan.routes]
    assert {f["properties"]["job"] for f in points} == {job for route in plan.routes for job in route.jobs}
    near = next(f for f in points if f["properties"]["job"] == "near")
    assert near["geometry"]["coordinates"] == [12 / 60, 0.0]
    assert [f["properties"]["job"] for f in found if f["properties"]["kind"] == "unserved"] == ["lift"]
    with pytest.raises(ValueError, match="no coordinates"):
        geojson(town(tiny), plan)


def test_the_score_is_the_sum_of_its_names(tiny):
    problem = town(tiny)
    plan = solved(problem)
    assert score(problem, plan.routes) == plan.score
