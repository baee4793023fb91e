"""Crews and precedence among jobs to come: placed by the search, judged by the checker and by OR-Tools."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from dispatch import BadProblem, Fact, Published, solve, verify
from dispatch.authority import refusals
from dispatch.constraints import RULES


def solved(problem, iterations=4000, **more):
    plan = solve(problem, iterations=iterations, seed=1, **more)
    assert verify(problem, plan) == ()
    assert refusals(problem, plan) == ()
    return plan


def stops(plan, job):
    return [(route.worker, stop) for route in plan.routes for stop in route.stops if stop.job == job]


def test_a_crew_starts_together(tiny):
    """Two of three workers, from different homes and with work of their own, meet at one moment."""
    workers = [tiny.worker(name, tiny.shift(0, 240, home=home)) for name, home in (("ann", 0), ("bob", 20), ("cid", 60))]
    jobs = [tiny.job("lift", 10, 30, crew=2), *(tiny.job(f"j{n}", 7 * n, 20) for n in range(8))]
    plan = solved(tiny.problem(workers, jobs))
    assert plan.unserved == ()
    crew = stops(plan, "lift")
    assert len({worker for worker, _ in crew}) == 2
    assert len({stop.start_s for _, stop in crew}) == 1


def test_the_nearest_make_the_crew(tiny):
    """Of three who could, the two whose way is least go, and nobody waits for the third."""
    workers = [tiny.worker(name, tiny.shift(0, 240, home=home)) for name, home in (("ann", 8), ("bob", 12), ("cid", 60))]
    plan = solved(tiny.problem(workers, [tiny.job("lift", 10, 30, crew=2)]))
    assert {worker for worker, _ in stops(plan, "lift")} == {"ann", "bob"}
    assert plan.score.cost == 8 * 60


def test_a_pinned_worker_leads_the_crew(tiny):
    workers = [tiny.worker(name, tiny.shift(0, 240, home=home)) for name, home in (("ann", 8), ("bob", 12), ("cid", 60))]
    problem = tiny.problem(workers, [tiny.job("lift", 10, 30, crew=2, pinned_worker="cid", pinned_start_s=6000)])
    plan = solved(problem)
    assert "cid" in {worker for worker, _ in stops(plan, "lift")}
    assert {stop.start_s for _, stop in stops(plan, "lift")} == {6000}
    others = {"ann": "ann", "cid": "bob"}
    swapped = structs.replace(plan, routes=tuple(structs.replace(r, worker=others.get(r.worker, r.worker)) for r in plan.routes))
    assert "crew_together" in {breach.rule for breach in verify(problem, swapped)}


def test_what_comes_after_starts_after(tiny):
    """A chain over two workers: each link starts once the one before has ended, wherever that is."""
    gas, power = [("gas", 1)], [("power", 1)]
    ann = tiny.worker("ann", tiny.shift(0, 400, home=0), skills=gas)
    bob = tiny.worker("bob", tiny.shift(0, 400, home=60), skills=power)
    jobs = [
        tiny.job("fit", 30, 60, skills=gas),
        tiny.job("wire", 30, 30, skills=power, after=frozenset({"fit"})),
        tiny.job("test", 30, 20, skills=gas, after=frozenset({"wire", "fit"})),
        *(tiny.job(f"j{n}", 6 * n, 15) for n in range(9)),
    ]
    plan = solved(tiny.problem([ann, bob], jobs))
    assert plan.unserved == ()
    times = [stops(plan, job)[0][1] for job in ("fit", "wire", "test")]
    assert times[0].end_s <= times[1].start_s <= times[1].end_s <= times[2].start_s


def test_a_crew_comes_after_another(tiny):
    """Both ties at once, over two days: the crew of the second day waits for the first day's job."""
    day = 1440
    shifts = (tiny.shift(480, 960), tiny.shift(day + 480, day + 960))
    workers = [tiny.worker(name, *shifts) for name in ("ann", "bob")]
    jobs = [
        tiny.job("dig", 30, 240, (day + 480, day + 700)),
        tiny.job("lay", 30, 120, crew=2, after=frozenset({"dig"})),
        tiny.job("other", 10, 60, (480, 960)),
    ]
    plan = solved(tiny.problem(workers, jobs))
    assert plan.unserved == ()
    assert stops(plan, "dig")[0][1].end_s <= stops(plan, "lay")[0][1].start_s


def test_what_ties_leave_out_is_named_by_its_rule(tiny):
    """Nobody for the first job leaves its follower out by precedence; too few leave a crew out; no common time, too."""
    ann = tiny.worker("ann", tiny.shift(0, 100), skills=[("gas", 1)])
    bob = tiny.worker("bob", tiny.shift(200, 300))
    jobs = [
        tiny.job("first", 5, 10, skills=[("lifts", 1)]),
        tiny.job("second", 6, 10, after=frozenset({"first"})),
        tiny.job("third", 6, 10, after=frozenset({"second"})),
        tiny.job("pair", 7, 10, crew=2, skills=[("gas", 1)]),
        tiny.job("never", 8, 10, crew=2),
        tiny.job("alone", 9, 10),
    ]
    plan = solved(tiny.problem([ann, bob], jobs))
    assert {left.job: left.rule for left in plan.unserved} == {
        "first": "skills", "second": "precedence", "third": "precedence", "pair": "crew", "never": "crew",
    }  # fmt: skip
    assert all(left.words and left.nearest for left in plan.unserved)
    assert {left.rule for left in plan.unserved} <= RULES.keys()


def test_a_tied_plan_given_back_is_the_floor(tiny):
    """Stopped at once, a plan with a crew and a chain is given back as it was."""
    workers = [tiny.worker(name, tiny.shift(0, 300, home=home)) for name, home in (("ann", 0), ("bob", 60))]
    jobs = [
        tiny.job("lift", 30, 30, crew=2),
        tiny.job("then", 40, 10, after=frozenset({"lift"})),
        *(tiny.job(f"j{n}", 9 * n, 15) for n in range(6)),
    ]
    problem = tiny.problem(workers, jobs)
    first = solved(problem)
    again = solve(problem, start=first, iterations=4000, should_stop=lambda: True)
    assert again.score == first.score
    told = [
        Published(job=job, worker=w, start_s=s.start_s, move_worker=5, move_time=5)
        for job in ("lift",)
        for w, s in stops(first, job)
    ]
    known = tiny.problem(workers, jobs, published=tuple(told))
    assert solved(known, start=first).score.moves == 0


def test_facts_hold_ties(tiny):
    """A job done is no crew any more, and frees what comes after it."""
    done = tiny.job("lift", 20, 20, crew=2, fact=Fact(worker="ann", shift=0, start_s=1200, end_s=2400))
    jobs = [done, tiny.job("then", 30, 10, after=frozenset({"lift"})), tiny.job("next", 30, 10, after=frozenset({"then"}))]
    plan = solved(tiny.problem([tiny.worker("ann"), tiny.worker("bob")], jobs, now_s=2400))
    assert plan.unserved == ()
    assert stops(plan, "then")[0][1].end_s <= stops(plan, "next")[0][1].start_s


def test_a_ring_is_no_problem_to_plan(tiny):
    with pytest.raises(BadProblem, match="comes after itself"):
        tiny.problem([tiny.worker()], [tiny.job("A", 1, after=frozenset({"B"})), tiny.job("B", 1, after=frozenset({"A"}))])


def test_seed_and_iterations_repeat_a_tied_run(tiny):
    workers = [tiny.worker(name, tiny.shift(0, 300, home=home)) for name, home in (("ann", 0), ("bob", 60))]
    jobs = [
        tiny.job("lift", 30, 30, crew=2),
        *(tiny.job(f"j{n}", 9 * n % 61, 15, after=frozenset({"lift"} if n > 3 else ())) for n in range(8)),
    ]
    problem = tiny.problem(workers, jobs)
    assert solved(problem) == solved(problem)


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_any_mixture_of_ties_is_kept(tiny, data):
    """Whatever crews, chains, windows and paces: the plan passes the checker and OR-Tools, and what is left out has its reason."""
    count = data.draw(st.integers(3, 9))
    jobs = []
    for n in range(count):
        opens = data.draw(st.integers(0, 300))
        windows = [(opens, opens + data.draw(st.integers(0, 120)))] if data.draw(st.booleans()) else []
        after = frozenset(data.draw(st.sets(st.sampled_from([f"j{k}" for k in range(n)]), max_size=2))) if n else frozenset()
        crew = data.draw(st.sampled_from([1, 1, 2, 3]))
        place, minutes = data.draw(st.integers(0, 60)), data.draw(st.integers(5, 60))
        jobs.append(tiny.job(f"j{n}", place, minutes, *windows, crew=crew, after=after, priority=data.draw(st.integers(1, 2))))
    workers = [
        tiny.worker(f"w{n}", tiny.shift(0, 360, home=20 * n), pace_pct=data.draw(st.sampled_from([80, 100, 150]))) for n in range(3)
    ]
    plan = solved(tiny.problem(workers, jobs), iterations=1200)
    assert plan.served + len(plan.unserved) == count
