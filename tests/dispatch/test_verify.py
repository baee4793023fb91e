"""The checker refuses every broken plan that mutation makes, and accepts the sound one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dispatch import Break, Fact, Plan, Problem, Published, Unserved, verify
from dispatch.assemble import assemble
from dispatch.compile import compile_problem
from dispatch.schedule import windows_in_order

MINUTE = 60


@pytest.fixture(scope="module")
def sound(tiny) -> tuple[Problem, Plan]:
    """Two workers, a fact, a break, a pin, parts, a due time, a published start, and one job left out."""
    jobs = [
        tiny.job("done", 4, 10, fact=Fact(worker="ann", shift=0, start_s=10 * MINUTE, end_s=25 * MINUTE)),
        tiny.job("A", 10, 30, (60, 120), (200, 300), skills=[("gas", 1)], parts=tiny.parts(valve=2)),
        tiny.job("B", 20, 20, due_s=100 * MINUTE, preferred=frozenset({"bob"}), not_preferred_price=7),
        tiny.job("C", 30, 40, pinned_worker="bob", pinned_start_s=100 * MINUTE),
        tiny.job("D", 35, 10, after=frozenset({"C"}), release_s=150 * MINUTE),
        tiny.job("E", 50, 10, skills=[("gas", 9)]),
    ]
    pause = Break(130 * MINUTE, 180 * MINUTE, 30 * MINUTE)
    ann = tiny.worker("ann", tiny.shift(0, 480, breaks=(pause,)), skills=[("gas", 2)], parts=tiny.parts(valve=2))
    bob = tiny.worker("bob", tiny.shift(0, 480, home=40, breaks=(pause,)), pace_pct=110)
    published = (Published(job="B", worker="bob", start_s=60 * MINUTE, move_worker=5, move_time=3),)
    problem = tiny.problem([ann, bob], jobs, now_s=30 * MINUTE, published=published)
    compiled = compile_problem(problem)
    visits = {r: (windows_in_order(compiled, compiled.ways[r], order), None) for r, order in ((0, [1, 2]), (1, [3, 4]))}
    return problem, assemble(compiled, visits, explain=True)


def test_a_sound_plan_has_no_breach(sound):
    assert verify(*sound) == ()
    assert [left.rule for left in sound[1].unserved] == ["skills"]


STOP_TIMES = ("arrival_s", "start_s", "end_s", "travel_s", "distance_m")
ROUTE_SUMS = ("start_s", "end_s", "travel_s", "distance_m", "duty_s", "overtime_s")


@settings(max_examples=200, deadline=None)
@given(data=st.data(), by=st.integers(-600, 600).filter(bool))
def test_no_shifted_number_passes_unless_it_is_a_plan_too(sound, data, by):
    """Any one number of a stop or route moved by up to ten minutes is a breach (arrivals may move inside a wait)."""
    problem, plan = sound
    r = data.draw(st.integers(0, len(plan.routes) - 1))
    route = plan.routes[r]
    if data.draw(st.booleans()):
        s = data.draw(st.integers(0, len(route.stops) - 1))
        field = data.draw(st.sampled_from(STOP_TIMES))
        stop = route.stops[s]
        broken = replace(stop, **{field: getattr(stop, field) + by})
        harmless = field == "arrival_s" and broken.arrival_s <= stop.start_s and (by > 0 or stop.kind == "break" or bool(s == 0))
        mutant = replace(route, stops=(*route.stops[:s], broken, *route.stops[s + 1 :]))
    else:
        field = data.draw(st.sampled_from(ROUTE_SUMS))
        harmless = False
        mutant = replace(route, **{field: getattr(route, field) + by})
    routes = (*plan.routes[:r], mutant, *plan.routes[r + 1 :])
    assert harmless or verify(problem, replace(plan, routes=routes))


def _without(plan, job):
    return tuple(replace(route, stops=tuple(stop for stop in route.stops if stop.job != job)) for route in plan.routes)


@pytest.mark.parametrize("job", ["done", "A", "B", "C", "D"])
def test_a_lost_job_is_noticed(sound, job):
    problem, plan = sound
    assert any(b.rule == "each_job_once" for b in verify(problem, replace(plan, routes=_without(plan, job))))


@pytest.mark.parametrize("job", ["A", "B", "C", "D"])
def test_a_job_listed_twice_is_noticed(sound, job):
    problem, plan = sound
    extra = (*plan.unserved, Unserved(job=job, rule="x", words="x"))
    assert any(b.rule == "each_job_once" and b.job == job for b in verify(problem, replace(plan, unserved=extra)))


def test_a_silent_omission_is_noticed(sound):
    problem, plan = sound
    silent = tuple(replace(left, words="") for left in plan.unserved)
    assert [b.rule for b in verify(problem, replace(plan, unserved=silent))] == ["each_job_once"]


def test_swapped_routes_are_noticed(sound):
    """Handing each one's stops to the other breaks pins, skills and places."""
    problem, plan = sound
    first, second = plan.routes
    swapped = (replace(first, stops=second.stops), replace(second, stops=first.stops))
    rules = {b.rule for b in verify(problem, replace(plan, routes=swapped))}
    assert {"facts_stand", "may_serve", "travel_is_real"} <= rules


def test_reversed_stops_are_noticed(sound):
    problem, plan = sound
    routes = tuple(replace(route, stops=route.stops[::-1]) for route in plan.routes)
    assert {"times_in_order", "facts_stand"} <= {b.rule for b in verify(problem, replace(plan, routes=routes))}


def test_a_dropped_break_is_noticed(sound):
    problem, plan = sound
    routes = tuple(replace(route, stops=tuple(s for s in route.stops if s.kind != "break")) for route in plan.routes)
    assert "breaks_taken" in {b.rule for b in verify(problem, replace(plan, routes=routes))}


@pytest.mark.parametrize("level", ["promises", "late", "moves", "cost"])
def test_a_flattering_score_is_noticed(sound, level):
    problem, plan = sound
    flattered = replace(plan, score=replace(plan.score, **{level: getattr(plan.score, level) - 1}))
    assert [b.rule for b in verify(problem, flattered)] == ["score_is_true"]


def test_unknown_names_are_breaches_not_errors(sound):
    problem, plan = sound
    stranger = replace(plan.routes[0], worker="zoe")
    lost = replace(plan.routes[0], shift=7)
    assert verify(problem, replace(plan, routes=(stranger,)))[0].rule == "known"
    assert verify(problem, replace(plan, routes=(lost,)))[0].rule == "known"
    ghost = Unserved(job="ghost", rule="x", words="x")
    assert verify(problem, replace(plan, unserved=(ghost,)))[0].rule == "known"


def test_two_routes_on_one_shift_are_noticed(sound):
    problem, plan = sound
    assert "one_route_a_shift" in {b.rule for b in verify(problem, replace(plan, routes=(*plan.routes, plan.routes[0])))}


def test_parts_run_out(tiny):
    """Two jobs of one valve each cannot be served from a van that holds one; a call at the depot mends it."""
    jobs = [tiny.job(id_, 5, parts=tiny.parts(valve=1)) for id_ in "AB"]
    lavish = tiny.problem([tiny.worker(parts=tiny.parts(valve=2))], jobs)
    compiled = compile_problem(lavish)
    plan = assemble(compiled, {0: (windows_in_order(compiled, compiled.ways[0], [0, 1]), None)})
    scarce = tiny.problem([tiny.worker(parts=tiny.parts(valve=1))], jobs)
    assert verify(lavish, plan) == ()
    assert [b.rule for b in verify(scarce, plan)] == ["tools_and_parts"]


def test_the_past_is_closed(tiny):
    early = tiny.problem([tiny.worker()], [tiny.job("A", 5)])
    compiled = compile_problem(early)
    plan = assemble(compiled, {0: (windows_in_order(compiled, compiled.ways[0], [0]), None)})
    late = tiny.problem([tiny.worker()], [tiny.job("A", 5)], now_s=60)
    assert verify(early, plan) == ()
    assert "not_in_the_past" in {b.rule for b in verify(late, plan)}


def test_precedence_is_kept(tiny):
    jobs = [tiny.job("A", 5, after=frozenset({"B"})), tiny.job("B", 6)]
    problem = tiny.problem([tiny.worker()], jobs)
    compiled = compile_problem(problem)
    for order, rules in (([1, 0], []), ([0, 1], ["precedence"]), ([0], ["precedence"])):
        plan = assemble(compiled, {0: (windows_in_order(compiled, compiled.ways[0], order), None)}, explain=True)
        assert [b.rule for b in verify(problem, plan)] == rules


def test_most_jobs_a_shift(tiny):
    problem = tiny.problem([tiny.worker("ann", tiny.shift(max_jobs=1))], [tiny.job("A", 5), tiny.job("B", 6)])
    compiled = compile_problem(problem)
    plan = assemble(compiled, {0: (windows_in_order(compiled, compiled.ways[0], [0, 1]), None)})
    assert [b.rule for b in verify(problem, plan)] == ["shift_hours"]
