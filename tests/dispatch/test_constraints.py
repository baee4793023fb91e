"""Each rule about worker and job alone: who it stops, who it lets through."""

import pytest

from dispatch import Fact, SkillHeld, solve, verify
from dispatch.constraints import RULES, refusals


def judged(tiny, worker, job, **more):
    problem = tiny.problem([worker], [job], **more)
    return [name for name, _ in refusals(problem, worker, worker.shifts[0], job)]


CASES = {
    "a pin to another worker": ({}, {"pinned_worker": "bob"}, ["pinned_worker"]),
    "a pin to this worker": ({}, {"pinned_worker": "ann"}, []),
    "an exclusion of this worker": ({}, {"excluded": frozenset({"ann"})}, ["excluded"]),
    "an exclusion of another": ({}, {"excluded": frozenset({"bob"})}, []),
    "a skill not held": ({}, {"skills": [("gas", 1)]}, ["skills"]),
    "a skill held too low": ({"skills": [("gas", 1)]}, {"skills": [("gas", 2)]}, ["skills"]),
    "a skill held higher": ({"skills": [("gas", 3)]}, {"skills": [("gas", 2)]}, []),
    "another territory": ({"territories": frozenset({"north"})}, {"territory": "south"}, ["territory"]),
    "a worker of no territory": ({}, {"territory": "south"}, []),
    "a job of no territory": ({"territories": frozenset({"north"})}, {}, []),
    "a tool not owned": ({}, {"tools": frozenset({"drill"})}, ["tools"]),
    "a tool owned": ({"tools": frozenset({"drill"})}, {"tools": frozenset({"drill"})}, []),
}


@pytest.mark.parametrize(("who", "what", "expected"), CASES.values(), ids=CASES.keys())
def test_rule_alone(tiny, who, what, expected):
    """Every rule refuses what it names and nothing else."""
    assert judged(tiny, tiny.worker(**who), tiny.job("A", 1, **what)) == expected


def test_parts_must_lie_on_the_van(tiny):
    worker = tiny.worker(parts=tiny.parts(valve=1))
    assert judged(tiny, worker, tiny.job("A", 1, parts=tiny.parts(valve=1))) == []
    assert judged(tiny, worker, tiny.job("A", 1, parts=tiny.parts(valve=2))) == ["parts"]


def test_a_depot_provides_tools_and_parts(tiny):
    job = tiny.job("A", 1, parts=tiny.parts(valve=2), tools=frozenset({"drill"}))
    assert judged(tiny, tiny.worker(), job, depots=(5,)) == []


@pytest.mark.parametrize(
    ("valid", "expected"), [((0, 480), []), ((0, 479), ["skills"]), ((1, 480), ["skills"]), ((None, None), [])]
)
def test_a_skill_counts_when_valid_for_the_whole_shift(tiny, valid, expected):
    start, end = (None if v is None else v * 60 for v in valid)
    worker = tiny.worker()
    held = type(worker)(id="ann", shifts=worker.shifts, skills=(SkillHeld("gas", 1, start, end),))
    assert judged(tiny, held, tiny.job("A", 1, skills=[("gas", 1)])) == expected


def test_a_crew_is_not_placed_by_the_search(tiny):
    assert judged(tiny, tiny.worker(), tiny.job("A", 1, crew=2)) == ["crew"]


def test_what_comes_after_waits_for_the_fact(tiny):
    """Refused while the other job is to come; once that is a fact, it starts no earlier than its end."""
    after, first = tiny.job("A", 1, after=frozenset({"B"})), tiny.job("B", 2)
    worker = tiny.worker()
    waiting = tiny.problem([worker], [after, first])
    assert [name for name, _ in refusals(waiting, worker, worker.shifts[0], after)] == ["precedence"]
    done = tiny.job("B", 2, fact=Fact(worker="ann", shift=0, start_s=600, end_s=4000))
    going = tiny.problem([worker], [after, done])
    assert refusals(going, worker, worker.shifts[0], after) == ()
    plan = solve(going, iterations=50)
    assert verify(going, plan) == ()
    assert plan.served == 2


def test_every_rule_has_a_case():
    covered = {name for _, _, names in CASES.values() for name in names} | {"parts", "crew", "precedence"}
    assert covered == set(RULES)
