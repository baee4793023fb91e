"""OR-Tools' model accepts what is sound and refuses every rule broken alone, naming its family."""

import os
import signal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dispatch import Break, Fact, verify
from dispatch import child as children
from dispatch.assemble import assemble
from dispatch.authority import PlanRefused, approve, refusals
from dispatch.compile import compile_problem
from dispatch.routing_model import satisfied
from dispatch.schedule import windows_in_order

MINUTE = 60


def planned(problem, orders):
    compiled = compile_problem(problem)
    laid = {r: (windows_in_order(compiled, compiled.ways[r], order), None) for r, order in orders.items()}
    return assemble(compiled, laid, explain=True)


def families(problem, plan):
    return [breach.words.rpartition(": ")[2] for breach in refusals(problem, plan)]


LAX = {
    "who": ({"skills": [("gas", 1)]}, {}, {}),
    "pin": ({"pinned_worker": "bob"}, {}, {}),
    "loads": ({}, {"shift": {"max_jobs": 1}}, {}),
    "windows": ({"pinned_start_s": 7}, {}, {}),
    "breaks": ({}, {"shift": {"breaks": (Break(15 * MINUTE, 16 * MINUTE, 30 * MINUTE),)}}, {}),
    "hours": ({}, {"shift": {"end": 20}}, {}),
    "past": ({}, {}, {"now_s": 3600}),
}


@pytest.mark.parametrize(("job", "worker", "more"), LAX.values(), ids=LAX.keys())
def test_each_rule_broken_alone_is_refused(tiny, job, worker, more):
    """A plan made without the rule satisfies the model without it, and not with it."""
    free = tiny.problem([tiny.worker()], [tiny.job("A", 5), tiny.job("B", 9)])
    plan = planned(free, {0: [0, 1]})
    assert refusals(free, plan) == ()
    bound = tiny.problem(
        [tiny.worker("ann", tiny.shift(**worker.get("shift", {})))], [tiny.job("A", 5, **job), tiny.job("B", 9)], **more
    )
    assert len(refusals(bound, plan)) == 1


@pytest.mark.parametrize("family", ["who", "windows", "hours"])
def test_the_refusal_names_the_rules(tiny, family):
    job, worker, _ = LAX[family]
    plan = planned(tiny.problem([tiny.worker()], [tiny.job("A", 5), tiny.job("B", 9)]), {0: [0, 1]})
    bound = tiny.problem([tiny.worker("ann", tiny.shift(**worker.get("shift", {})))], [tiny.job("A", 5, **job), tiny.job("B", 9)])
    assert families(bound, plan) == [family]


def test_parts_tools_and_depots(tiny):
    """What the van lacks is refused without a call at a depot, and accepted with one."""
    jobs = [tiny.job("A", 30, parts=tiny.parts(valve=2)), tiny.job("B", 40, tools=frozenset({"drill"}))]
    with_depot = tiny.problem([tiny.worker()], jobs, depots=(20,))
    called = planned(with_depot, {0: [-21, 0, 1]})
    assert approve(with_depot, called) == called
    assert len(refusals(with_depot, planned(with_depot, {0: [0, 1]}))) == 1


def test_crews_and_precedence_across_routes(tiny):
    """Two who start together are accepted, one who comes early is refused; so is a job before the one it follows."""
    staff = [tiny.worker("ann"), tiny.worker("bob", tiny.shift(home=20))]
    crew = tiny.problem(staff, [tiny.job("A", 10, 10, (60, 60), crew=2)])
    assert approve(crew, planned(crew, {0: [0], 1: [0]})).served == 1
    loose = tiny.problem(staff, [tiny.job("A", 10, 10, crew=2)])
    both = planned(crew, {0: [0], 1: [0]})
    early = planned(loose, {0: [0]})
    assert refusals(loose, replace(both, routes=(both.routes[0], replace(early.routes[0], worker="bob")))) != ()
    pair = [tiny.job("A", 5, 10, (0, 200), after=frozenset({"B"})), tiny.job("B", 25, 10, (100, 200))]
    assert refusals(tiny.problem(staff, pair), planned(tiny.problem(staff, pair), {0: [0], 1: [1]})) != ()


def test_facts_and_breaks_of_a_day_under_way(tiny):
    pause = Break(180 * MINUTE, 240 * MINUTE, 30 * MINUTE)
    ann = tiny.worker("ann", tiny.shift(breaks=(pause, Break(430 * MINUTE, 470 * MINUTE, 10 * MINUTE))))
    jobs = [
        tiny.job("done", 48, 20, fact=Fact(worker="ann", shift=0, start_s=5 * MINUTE, end_s=25 * MINUTE)),
        tiny.job("A", 10, 60),
        tiny.job("B", 60, 30, (150, 400)),
    ]
    problem = tiny.problem([ann], jobs, now_s=26 * MINUTE)
    plan = planned(problem, {0: [1, 2]})
    assert approve(problem, plan) == plan


visit = st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(0, 300), st.integers(0, 120))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(visit, min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 60), st.integers(5, 45)), max_size=2),
    st.integers(-900, 900),
)
@example([(0, 0, 0, 1), (23, 0, 34, 0)], [(1, 0, 5), (1, 27, 5)], 1)
def test_it_agrees_with_the_checker(tiny, rows, pauses, by):
    """Any day that can be laid out is accepted; with one start moved, OR-Tools accepts no more than `verify` does.

    It knows starts and no arrivals: everybody arrives when the work starts, or `verify` would refuse an arrival too early for
    the drive where waiting makes up for it.
    """
    breaks = tuple(Break(a * MINUTE, (a + w) * MINUTE, d * MINUTE) for a, w, d in sorted(pauses))
    jobs = [tiny.job(str(n), place, minutes, (a, a + width)) for n, (place, minutes, a, width) in enumerate(rows)]
    problem = tiny.problem([tiny.worker("ann", tiny.shift(0, 480, breaks=breaks))], jobs)
    compiled = compile_problem(problem)
    visits = windows_in_order(compiled, compiled.ways[0], range(len(jobs)))
    if visits is None:
        return
    try:
        plan = assemble(compiled, {0: (visits, None)})
    except ValueError:
        return
    assert verify(problem, plan) == ()
    assert satisfied(problem, plan.routes)
    route = plan.routes[0]
    at = next(n for n, stop in enumerate(route.stops) if stop.kind == "job")
    stop = route.stops[at]
    moved = replace(stop, start_s=stop.start_s + by, end_s=stop.end_s + by)
    stops = [replace(stop, arrival_s=stop.start_s) for stop in (*route.stops[:at], moved, *route.stops[at + 1 :])]
    bent = replace(route, stops=tuple(stops))
    ignored = {"score_is_true", "times_in_order"}
    breaches = {breach.rule for breach in verify(problem, replace(plan, routes=(bent,)))} - ignored
    if breaches:
        assert not satisfied(problem, [bent])


def test_a_broken_plan_is_never_an_answer(tiny):
    problem = tiny.problem([tiny.worker()], [tiny.job("A", 5)])
    plan = planned(problem, {0: [0]})
    route = plan.routes[0]
    with pytest.raises(PlanRefused, match="duty"):
        approve(problem, replace(plan, routes=(replace(route, duty_s=route.duty_s - 1),)))


def test_a_killed_child_is_replaced(tiny):
    """The line to OR-Tools mends itself once; the plan is judged all the same."""
    problem = tiny.problem([tiny.worker()], [tiny.job("A", 5)])
    plan = planned(problem, {0: [0]})
    assert refusals(problem, plan) == ()
    for idle in list(children._idle):
        os.kill(idle.process.pid, signal.SIGKILL)
        idle.process.wait()
    assert refusals(problem, plan) == ()


def test_a_function_that_kills_its_child_is_told():
    with pytest.raises(children.ChildLost, match="_exit"):
        children.ask(os._exit, 3)
