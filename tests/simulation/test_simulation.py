"""Worlds from seeds: nothing is lost, doubled, leaked or left apart, and the seed decides everything."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from client_sdk import ledger
from simulation.main import replay, run, seeds_of, shrink
from simulation.plan import Fault, Plan, plan_of
from simulation.world import Report

SEEDS = (1, 2, 3, 4)
SHAPE = {"rate": 3.0, "transactions": 240, "restores": True}
Live = Callable[..., list[Report]]


def test_worlds_come_to_rest_with_nothing_wrong(live: Live) -> None:
    reports = live(*SEEDS, **SHAPE)
    assert [report.what for report in reports if report.trouble] == []
    struck = sum((Counter(report.faults) for report in reports), Counter())
    assert [fault for fault in Fault if not struck[fault]] == []


def test_the_same_seed_is_the_same_world(live: Live) -> None:
    shape = {"transactions": 90, "rate": 2.0, "page_records": 5}
    first, other = live(7, 8, **shape)
    assert [report.trace for report in live(8, 7, **shape)] == [other.trace, first.trace]
    assert first.trace != other.trace


def test_a_plan_survives_being_printed() -> None:
    plan = plan_of(5)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_a_failing_seed_shrinks(sim_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ledger._apply
    monkeypatch.setattr(ledger, "_apply", lambda store, page, *more: real(store, msgspec.structs.replace(page, evict=()), *more))
    plan = msgspec.structs.replace(plan_of(101), transactions=96, faults=frozenset({Fault.REQUEST_LOST, Fault.REPLY_LOST}))
    smaller, report = shrink(sim_url, plan)
    assert report.trouble in {"leaked", "diverged"}, "what is not evicted is seen out of scope, or stands still"
    assert smaller.transactions < plan.transactions
    assert smaller.faults < plan.faults


def test_the_report_says_what_was_lived_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sim.json"
    assert run([9], path, jobs=1) == 0
    report = json.loads(path.read_bytes())
    assert (report["seeds"], report["diverged"], report["lost"], report["doubled"], report["leaked"]) == (1, 0, 0, 0, 0)
    assert report["transactions"] > 300
    assert report["failures"] == []
    assert set(report["faults"]) == {fault.value for fault in Fault}
    assert report["steps_max_to_quiesce"] > 0


def test_seeds_are_said_as_one_or_a_range() -> None:
    assert seeds_of("3") == [3]
    assert seeds_of("2..4") == [2, 3, 4]
    assert "--seeds 3" in replay(3)
