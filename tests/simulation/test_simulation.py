"""Worlds from seeds: nothing is lost, doubled, leaked or left apart, and a seed says it all."""

import json
from collections import Counter
from pathlib import Path

import pytest


from simulation.main import main, seeds_of
from simulation.plan import Fault

SEEDS = (1, 2, 3)


def test_worlds_come_to_rest_with_nothing_wrong(live: Live) -> None:
    reports = live(*SEEDS, rate=2.0)
    assert [(report.seed, report.trouble, report.what) for report in reports] == [(seed, "", "") for seed in SEEDS]
    struck = sum((Counter(report.faults) for report in reports), Counter())
    assert [fault for fault in Fault if not struck[fault]] == []
