"""A problem that contradicts itself is refused with the record and the rule."""

import pytest

from dispatch import BadProblem, Break, Fact


def refused(tiny, workers, jobs, **more):
    with pytest.raises(BadProblem) as caught:
        tiny.problem(workers, jobs, **more)
    return caught.value.where, caught.value.rule


def test_ids_are_unique(tiny):
    assert refused(tiny, [], [tiny.job("A", 1), tiny.job("A", 2)]) == ("job A", "the id is used twice")
    assert refused(tiny, [tiny.worker(), tiny.worker()], []) == ("worker ann", "the id is used twice")


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"place": 99}, "place 99"),
        ({"minutes": -1}, "negative"),
        ({"crew": 0}, "crew"),
        ({"priority": 0}, "priority"),
        ({"after": frozenset({"Z"})}, "job Z"),
        ({"fact": Fact(worker="zoe", shift=0, start_s=0, end_s=1)}, "zoe"),
    ],
)
def test_a_job_is_checked(tiny, fields, rule):
    where, words = refused(tiny, [], [tiny.job(**{"id_": "A", "place": 1, **fields})])
    assert where == "job A"
    assert rule in words


def test_crossed_windows_are_refused(tiny):
    assert "ends before" in refused(tiny, [], [tiny.job("A", 1, 10, (20, 10))])[1]


@pytest.mark.parametrize(
    "shift", [{"end": -1}, {"home": 99}, {"breaks": (Break(60, 30, 10),)}], ids=["crossed", "nowhere", "crossed break"]
)
def test_a_shift_is_checked(tiny, shift):
    assert refused(tiny, [tiny.worker("ann", tiny.shift(**shift))], [])[0] == "worker ann"


def test_depots_are_places(tiny):
    assert refused(tiny, [], [], depots=(99,))[0] == "depot 99"
