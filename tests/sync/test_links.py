"""Links: what single records say about who may hold what; and the examples that modules give."""

import doctest
from importlib import import_module
from typing import Any

import pytest

from sync.ids import RANDOM_BYTES, ulid
from sync.links import Link, LinkKind
from sync.schema import REGISTRY

ACTS_AS, HOLDS, NEEDS = LinkKind


def links(entity: str, **body: Any) -> set[tuple[LinkKind, str, str]]:
    return {(link.kind, link.source, link.target) for link in REGISTRY[entity].links("X1", body)}


def test_a_visit_lets_its_technician_hold_the_order_as_long_as_it_is_theirs() -> None:
    """Scenario 17: a reassignment moves one link, whatever the order contains."""
    visit = {"work_order": "W1", "technician": "T1"}
    holds = {(HOLDS, "technician:T1", "work_order:W1")}
    for status in ("scheduled", "dispatched", "accepted", "in_progress", "completed", "canceled"):
        assert links("appointment", **visit, status=status) == holds
    for status in ("unscheduled", "rejected"):
        assert links("appointment", **visit, status=status) == set()
    assert links("appointment", **visit) == set()
    assert links("appointment", **visit, status="scheduled", held=False) == set()
    assert links("appointment", work_order="W1", status="scheduled") == set()


def test_an_order_needs_its_site_and_account() -> None:
    """Scenario 6."""
    needs = {(NEEDS, "work_order:X1", "site:S1"), (NEEDS, "work_order:X1", "account:A1")}
    assert links("work_order", site="S1", account="A1") == needs


def test_whoever_captured_a_lead_keeps_holding_it() -> None:
    found = links("lead", need="a boiler", captured_by=["tess", "theo"], owner="rita")
    assert found == {(HOLDS, f"user:{name}", "lead:X1") for name in ("tess", "theo", "rita")}
    assert links("lead", need="a boiler", captured_by=["tess"], owner="tess") == {(HOLDS, "user:tess", "lead:X1")}


def test_people_act_as_principals_and_hold_what_is_their_own() -> None:
    assert links("technician", name="T", user="tess", depot="D1") == {
        (ACTS_AS, "user:tess", "technician:X1"),
        (HOLDS, "technician:X1", "technician:X1"),
        (NEEDS, "technician:X1", "depot:D1"),
    }
    assert (ACTS_AS, "user:X1", "territory:north") in links("profile", name="R", territories=["north"])
    assert (HOLDS, "territory:north", "account:X1") in links("account", name="A", territory="north")


def test_links_sort_and_compare_by_what_they_say() -> None:
    assert min(Link(NEEDS, "a", "b"), Link(HOLDS, "b", "a"), Link(HOLDS, "a", "a")) == Link(HOLDS, "a", "a")


@pytest.mark.parametrize("module", ["clock", "digest", "ids", "text"])
def test_the_examples_in_the_words_are_true(module: str) -> None:
    found = doctest.testmod(import_module(f"sync.{module}"))
    assert found.attempted
    assert not found.failed


def test_ids_sort_by_time_and_take_their_randomness_from_outside() -> None:
    early, late = ulid(1_000, b"\xff" * RANDOM_BYTES), ulid(1_001, bytes(RANDOM_BYTES))
    assert early < late
    assert {len(early), len(late)} == {26}
    with pytest.raises(ValueError, match="random takes 10 bytes, not 9"):
        ulid(1_000, bytes(9))
