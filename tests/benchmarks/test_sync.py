"""The sync benchmark: what cannot be measured is named, and its ratios are those of its rows."""

import pytest

from benchmarks.sync.replica import SDK, Plain
from benchmarks.sync.suite import Row, measured, ratios
from benchmarks.sync.system import Failed, Figures
from benchmarks.sync.workload import Size

TINY = Size(pull_records=500)


class Absent:
    name, durable, workloads = "kinto", "yes", ("push",)

    def start(self) -> None:
        raise Failed("no network")

    def stop(self) -> None: ...

    def roots(self) -> list[int]:
        return []

    def measure(self, workload: str, number: int) -> Figures:
        raise AssertionError("it never started")


def test_a_system_that_does_not_start_is_named_with_the_reason_and_the_others_go_on() -> None:
    rows = measured([Absent(), SDK(TINY), Plain(TINY)], 1, ("push", "sdk_apply", "sdk_open", "sdk_query"))
    assert {(row.system, row.failed) for row in rows if row.failed} == {("kinto", "no network")}
    done = {(row.system, row.workload): row.records for row in rows}
    assert done["truckroll", "sdk_apply"] == done["executemany", "sdk_apply"] == TINY.pull_records
    assert done["truckroll", "sdk_query"] == TINY.pull_records // 50
    assert ratios(rows).keys() == {"sdk_apply_vs_executemany"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("push_vs_kinto", 5.0), ("push_vs_pouchdb", 2.0), ("push_cpu_vs_floor", 3.0)],
)
def test_ratios_divide_figures_of_one_run(name: str, expected: float) -> None:
    rows = [
        Row("truckroll", "push", records_per_s=1_000, cpu_us_per_record=60),
        Row("floor", "push", records_per_s=5_000, cpu_us_per_record=20),
        Row("kinto", "push", records_per_s=200),
        Row("pouchdb-server", "push", records_per_s=500),
    ]
    assert ratios(rows)[name] == expected
    assert "first_pull_vs_floor" not in ratios(rows)
