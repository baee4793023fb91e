"""A day under way, repaired: the past stands, what need not move stays, and the difference says the rest."""

from dataclasses import replace

from msgspec import structs

from dispatch import Fact, Published, solve, verify
from dispatch.replan import difference, repair

MINUTE = 60


def morning(tiny):
    staff = [tiny.worker("ann"), tiny.worker("bob", tiny.shift(home=60))]
    jobs = [tiny.job(id_, place, 30) for id_, place in (("A", 5), ("B", 15), ("C", 45), ("D", 55))]
    problem = tiny.problem(staff, jobs)
    return problem, solve(problem, iterations=500)


def at_ten(problem, plan, gone=()):
    """What started within the first forty minutes is a fact, the rest has been published; the workers named have left."""
    where = {stop.job: (route, stop) for route in plan.routes for stop in route.stops if stop.kind == "job"}
    jobs, told = [], []
    for job in problem.jobs:
        route, stop = where[job.id]
        if stop.start_s < 40 * MINUTE and route.worker not in gone:
            fact = Fact(worker=route.worker, shift=0, start_s=stop.start_s, end_s=stop.end_s)
            jobs.append(structs.replace(job, fact=fact))
        else:
            jobs.append(job)
            told.append(Published(job=job.id, worker=route.worker, start_s=stop.start_s))
    workers = tuple(w for w in problem.workers if w.id not in gone)
    return replace(problem, workers=workers, jobs=tuple(jobs), now_s=40 * MINUTE, published=tuple(told))


def test_a_day_that_runs_to_plan_is_left_alone(tiny):
    problem, plan = morning(tiny)
    now = at_ten(problem, plan)
    again = repair(now, plan, iterations=300)
    assert verify(now, again) == ()
    assert difference(plan, again, tolerance_s=900) == ()


def test_the_work_of_one_who_is_ill_goes_to_others(tiny):
    problem, plan = morning(tiny)
    now = at_ten(problem, plan, gone=("bob",))
    again = repair(now, plan, iterations=500)
    assert verify(now, again) == ()
    assert again.served == 4
    moved = {change.job: (change.kind, change.worker_before, change.worker_after) for change in difference(plan, again)}
    assert moved["C"] == moved["D"] == ("worker", "bob", "ann")


def test_the_difference_names_what_came_and_went(tiny):
    plan = morning(tiny)[1]
    fewer = structs.replace(plan, routes=plan.routes[:1])
    assert {change.kind for change in difference(plan, fewer)} == {"dropped"}
    assert {change.kind for change in difference(fewer, plan)} == {"added"}
    stops = tuple(structs.replace(stop, start_s=stop.start_s + 600) for stop in plan.routes[0].stops)
    later = structs.replace(plan, routes=(structs.replace(plan.routes[0], stops=stops), *plan.routes[1:]))
    assert {change.kind for change in difference(plan, later, tolerance_s=599)} == {"time"}
    assert difference(plan, later, tolerance_s=600) == ()


def test_the_difference_names_each_of_a_crew_who_came_or_went(tiny):
    staff = [tiny.worker(name, tiny.shift(home=home)) for name, home in (("ann", 8), ("bob", 12), ("cid", 60))]
    problem = tiny.problem(staff, [tiny.job("lift", 10, 30, crew=2)])
    plan = solve(problem, iterations=500)
    empty = structs.replace(plan, routes=())
    assert {(c.kind, c.worker_after) for c in difference(empty, plan)} == {("added", "ann"), ("added", "bob")}
    assert {(c.kind, c.worker_before) for c in difference(plan, empty)} == {("dropped", "ann"), ("dropped", "bob")}
    swapped = structs.replace(
        plan, routes=tuple(structs.replace(r, worker="cid") if r.worker == "ann" else r for r in reversed(plan.routes))
    )
    assert [(c.kind, c.worker_before, c.worker_after) for c in difference(plan, swapped)] == [("worker", "ann", "cid")]
    assert difference(plan, structs.replace(plan, routes=plan.routes[::-1])) == ()
