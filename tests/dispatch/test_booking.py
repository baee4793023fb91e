"""One job more: its best place against trial, its price against the score, slots, and why a job is where it is."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.dispatch import app
from dispatch import Break, Published, Unserved, solve, verify
from dispatch.assemble import assemble
from dispatch.authority import approve
from dispatch.booking import Inserted, insert, slots, why_here
from dispatch.compile import compile_problem
from dispatch.files import encode_problem
from dispatch.schedule import windows_in_order
from dispatch.score import score

MINUTE = 60


def day(tiny, *jobs, **more):
    """Two workers at either end of the line and a plan of two jobs each."""
    pause = Break(180 * MINUTE, 240 * MINUTE, 30 * MINUTE)
    staff = [tiny.worker("ann", tiny.shift(breaks=(pause,)), skills=[("gas", 1)]), tiny.worker("bob", tiny.shift(home=60))]
    standing = [tiny.job("A", 5, 30), tiny.job("B", 20, 30), tiny.job("C", 40, 30), tiny.job("D", 55, 30, (100, 130))]
    problem = tiny.problem(staff, [*standing, *jobs], **more)
    compiled = compile_problem(problem)
    orders = {0: [0, 1], 1: [3, 2]}
    laid = {r: (windows_in_order(compiled, compiled.ways[r], order), None) for r, order in orders.items()}
    return problem, assemble(compiled, laid, explain=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.integers(5, 60), st.integers(0, 300), st.booleans())
def test_the_price_is_what_the_score_gains(tiny, place, minutes, opens, gas):
    """The new plan is sound, its score is the old one's plus the price, and the others keep their order."""
    job = tiny.job("new", place, minutes, (opens, opens + 120), skills=[("gas", 1)] if gas else [])
    problem, plan = day(tiny, job)
    found = insert(problem, plan, job)
    assert isinstance(found, Inserted)
    assert verify(problem, found.plan) == ()
    assert found.plan.score.cost == plan.score.cost + found.best.price.cost
    assert all(found.best.price <= other.price for other in found.others)
    for route in plan.routes:
        after = next(r for r in found.plan.routes if r.worker == route.worker)
        assert tuple(job for job in after.jobs if job != "new") == route.jobs


def test_no_order_with_the_job_is_cheaper(tiny):
    """Against the search on the whole problem, an insertion loses only where others would have to move."""
    job = tiny.job("new", 12, 10)
    problem, plan = day(tiny, job)
    found = insert(problem, plan, job)
    assert found.best.worker == "ann"
    assert found.best.price.cost == 0  # on the way
    assert solve(problem, iterations=500).score <= found.plan.score
    assert approve(problem, found.plan) == found.plan


def test_a_job_new_to_the_problem(tiny):
    problem, plan = day(tiny)
    found = insert(problem, plan, tiny.job("new", 58, 10))
    assert (found.best.worker, found.plan.served) == ("bob", 5)


def test_what_nobody_may_do_gets_its_rule(tiny):
    problem, plan = day(tiny)
    left = insert(problem, plan, tiny.job("new", 58, 10, skills=[("gas", 9)]))
    assert isinstance(left, Unserved)
    assert left.rule == "skills"
    with pytest.raises(ValueError, match="already"):
        insert(problem, plan, problem.job("A"))


def test_slots_are_graded_by_what_they_add(tiny):
    """Cheapest 100; before the shift and after it 0; nothing in between costs less than a better grade."""
    problem, plan = day(tiny)
    job = tiny.job("new", 30, 20)
    offered = slots(problem, plan, job, [(-60 * MINUTE, -1), *((h * 3600, (h + 1) * 3600) for h in range(8)), (36000, 39600)])
    assert (offered[0].grade, offered[-1].grade, max(slot.grade for slot in offered)) == (0, 0, 100)
    real = sorted((slot for slot in offered if slot.insertion), key=lambda slot: -slot.grade)
    assert [slot.insertion.price.cost for slot in real] == sorted(slot.insertion.price.cost for slot in real)
    for slot in real:
        assert slot.start_s <= slot.insertion.start_s <= slot.end_s


def test_lateness_caps_a_grade(tiny):
    problem, plan = day(tiny)
    job = tiny.job("new", 30, 20, due_s=60 * MINUTE)
    early, late = slots(problem, plan, job, [(0, 3600), (4 * 3600, 5 * 3600)])
    assert early.grade == 100
    assert late.grade <= 20


def test_moves_are_told(tiny):
    """A job published with one worker costs its peace elsewhere."""
    told = (Published(job="new", worker="bob", start_s=0, move_worker=7, move_time=0),)
    job = tiny.job("new", 12, 10, excluded=frozenset({"bob"}))
    problem, plan = day(tiny, job, published=told)
    assert insert(problem, plan, job).best.price.moves == 7


def test_why_this_worker(tiny):
    """What a job adds where it is, and what others would ask for it, next to a score made from scratch."""
    problem, plan = day(tiny)
    here, elsewhere = why_here(problem, plan, "A")
    assert (here.worker, here.price.cost) == ("ann", 0)
    assert [place.worker for place in elsewhere] == ["bob"]
    assert elsewhere[0].price.cost > 0
    assert score(problem, plan.routes) == plan.score
    with pytest.raises(KeyError):
        why_here(problem, plan, "Z")


def test_the_commands(tiny, tmp_path):
    """`dispatch insert` writes a sound plan; `dispatch slots` prints a grade a window; an unknown job is told."""
    job = tiny.job("new", 12, 10)
    problem, plan = day(tiny, job)
    files = [tmp_path / "problem.json", tmp_path / "plan.json"]
    for file, data in zip(files, (encode_problem(problem), msgspec.json.encode(plan)), strict=True):
        file.write_bytes(data)
    run, out = CliRunner(), tmp_path / "out.json"
    names = [str(file) for file in files]
    assert "ann" in run.invoke(app, ["insert", *names, "new", "--json", str(out)]).stdout
    assert verify(problem, msgspec.json.decode(out.read_bytes(), type=type(plan))) == ()
    assert "100" in run.invoke(app, ["slots", *names, "new", "--hours", "4"]).stdout
    for command in ("insert", "slots"):
        for other, told in (("none", "no job none"), ("A", "serves A already: ann")):
            done = run.invoke(app, [command, *names, other])
            assert (done.exit_code, told in done.output) == (2, True)
    files[1].write_bytes(files[1].read_bytes().replace(b'"ann"', b'"eve"'))
    assert "no plan of this problem" in run.invoke(app, ["insert", *names, "new"]).output


def test_a_crew_keeps_its_moment(tiny):
    """A job put into a plan with a crew and a job that comes after another moves neither."""
    staff = [tiny.worker("ann"), tiny.worker("bob", tiny.shift(home=60))]
    jobs = [tiny.job("A", 30, 30, crew=2), tiny.job("B", 20, 20), tiny.job("C", 40, 20, after=frozenset({"B"}))]
    problem = tiny.problem(staff, jobs)
    plan = solve(problem, iterations=300)
    assert plan.served == 3
    found = insert(problem, plan, tiny.job("new", 35, 10))
    assert found.plan.served == 4
    assert verify(replace(problem, jobs=(*jobs, tiny.job("new", 35, 10))), found.plan) == ()
    starts = [[(s.job, s.start_s) for r in p.routes for s in r.stops if s.job in ("A", "B", "C")] for p in (plan, found.plan)]
    assert sorted(starts[0]) == sorted(starts[1])
    assert insert(problem, plan, tiny.job("pair", 35, 10, crew=2)).rule == "crew"
