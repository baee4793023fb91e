"""The demo itself, small: the real server, real devices, real faults; its own count of what came of it."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from demo.report import Report

PROMISED = [
    "devices",
    "offline_transactions",
    "resent_batches",
    "killed",
    "conflicts",
    "parked",
    "lost_writes",
    "doubled_writes",
    "converged",
    "jobs_planned",
    "jobs_unserved",
    "plan_checked",
    "leads_captured",
    "leads_won",
    "wall_s",
    "offers_shown",
    "offers_taken",
    "leads_merged",
    "leads_routed",
    "quotes_made",
    "quotes_signed_offline",
    "opportunities_won",
    "credits",
    "clawed_back",
]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The JSON file, the folder that was given for temporary files, and what was told."""
    folder = tmp_path_factory.mktemp("demo")
    scratch = folder / "scratch"
    scratch.mkdir()
    scratch.parent.chmod(0o755)
    command = [sys.executable, "-m", "demo", "--once", "--json", str(folder / "demo.json"), "--technicians", "4", "--jobs", "16"]
    done = subprocess.run(
        [*command, "--plan-seconds", "2"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"TMPDIR": str(scratch)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "demo.json", scratch, done.stdout


def test_nothing_is_lost_or_doubled_and_all_devices_converge(played: tuple[Path, Path, str]) -> None:
    report = msgspec.json.decode(played[0].read_bytes(), type=Report)
    assert (report.lost_writes, report.doubled_writes, report.stock_differences, report.problems) == (0, 0, 0, ())
    assert report.converged
    assert report.records_compared > 100


def test_what_it_promises_to_survive_did_happen(played: tuple[Path, Path, str]) -> None:
    report = msgspec.json.decode(played[0].read_bytes(), type=Report)
    assert report.devices == 6
    assert min(report.offline_transactions, report.resent_batches, report.killed, report.conflicts, report.leads_won) > 0
    assert report.leads_captured >= report.leads_won
    assert report.outcomes_seen_by_technicians == report.leads_won


def test_the_loop_from_the_offer_to_the_credit_is_closed(played: tuple[Path, Path, str]) -> None:
    report = msgspec.json.decode(played[0].read_bytes(), type=Report)
    assert min(report.offers_shown, report.offers_taken, report.leads_merged, report.leads_routed, report.clawed_back) > 0
    assert report.quotes_made >= report.quotes_signed_offline > 0
    assert report.opportunities_won >= report.leads_won > 0
    assert report.credits > report.clawed_back


def test_the_plan_is_checked_and_whatever_it_leaves_out_has_a_reason(played: tuple[Path, Path, str]) -> None:
    report = msgspec.json.decode(played[0].read_bytes(), type=Report)
    assert report.plan_checked
    assert report.jobs_planned + len(report.jobs_unserved) == 21
    assert all(left.reason for left in report.jobs_unserved)
    assert len({left.reason for left in report.jobs_unserved}) >= 4


def test_the_json_has_every_promised_number(played: tuple[Path, Path, str]) -> None:
    found = msgspec.json.decode(played[0].read_bytes(), type=dict[str, object])
    assert list(found)[: len(PROMISED)] == PROMISED


def test_it_tells_what_happens_and_leaves_nothing_behind(played: tuple[Path, Path, str]) -> None:
    _, scratch, told = played
    assert told.count("SIGKILL") == 3
    assert "What came of it" in told
    assert not list(scratch.glob("truckroll-demo-*"))
