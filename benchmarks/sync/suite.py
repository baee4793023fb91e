"""The comparison: every system in turn, workload by workload, round after round, in one run; medians, ratios, JSON and a table."""

import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.sync.endpoint import Endpoint
from benchmarks.sync.floor import Floor
from benchmarks.sync.peers.kinto import Kinto
from benchmarks.sync.peers.pouchdb import PouchDB
from benchmarks.sync.peers.rxdb import RxDB
from benchmarks.sync.postgres import Postgres
from benchmarks.sync.replica import SDK, Plain
from benchmarks.sync.system import Failed, Figures, System
from benchmarks.sync.truckroll import Truckroll
from benchmarks.sync.workload import FULL, SHORT, Size

WORKLOADS: Final = (
    "push",
    "push_singly",
    "small",
    "small_and_page",
    "conflict",
    "first_pull",
    "first_pull_zstd",
    "delta_pull",
    "sdk_apply",
    "sdk_open",
    "sdk_query",
)
PEERS: Final = ("kinto", "pouchdb-server", "rxdb-server")
console: Final = Console(stderr=True, soft_wrap=True)


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """Medians of the rounds of one system at one workload; or why there are none. CPU is the server's and its database's."""

    system: str
    workload: str
    records_per_s: float = 0.0
    requests_per_s: float = 0.0
    cpu_us_per_record: float = 0.0
    cpu_ms_per_request: float = 0.0
    up_bytes_per_record: float = 0.0
    down_bytes_per_record: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    rounds: int = 0
    records: int = 0
    durable: str = ""
    note: str = ""
    failed: str = ""


def run(*, short: bool, rounds: int, only: Sequence[str] = (), systems: Sequence[str] = (), json: Path | None = None) -> int:
    """Measure, print, and write the figures. Returns how many of our own or the floor's measurements failed."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="truckroll-bench-", ignore_cleanup_errors=True) as home:
        postgres = Postgres(Path(home))
        rows = measured(_systems(postgres, Path(home), SHORT if short else FULL, systems), rounds, only or WORKLOADS)
        report = {
            "suite": "peers",
            "size": "short" if short else "full",
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "postgres": postgres.settings(),
            "rounds": rounds,
            "wall_s": round(time.monotonic() - began, 1),
            "rows": rows,
            "ratios": ratios(rows),
        }
    text = msgspec.json.format(msgspec.json.encode(report)).decode()
    if json:
        json.write_text(text + "\n")
    show(report)
    return sum(bool(row.failed) for row in rows if row.system not in PEERS)


def _systems(postgres: Postgres, home: Path, size: Size, only: Sequence[str]) -> list[System]:
    ours = Truckroll(postgres, home, size)
    every: list[System] = [
        Floor(postgres, size),
        ours,
        Endpoint(postgres, home, ours),
        Kinto(postgres, home, size),
        PouchDB(home, size),
        RxDB(home, size),
        SDK(size),
        Plain(size),
    ]
    return [system for system in every if not only or system.name in {*only, ours.name}]


def measured(systems: Iterable[System], rounds: int, workloads: Sequence[str]) -> list[Row]:
    """Start the systems that start, and run the rounds."""
    started: list[System] = []
    rows: list[Row] = []
    try:
        for system in systems:
            console.print(f"starting {system.name}")
            try:
                system.start()
                started.append(system)
            except (Failed, OSError, LookupError) as failed:
                console.print(f"{system.name} is left out: {failed}")
                rows.append(Row(system.name, "", durable=system.durable, failed=str(failed)))
        found: dict[tuple[str, str], list[Figures]] = {}
        broken: dict[tuple[str, str], str] = {}
        for number in range(rounds):
            for workload in workloads:
                for system in started:
                    key = (system.name, workload)
                    if workload not in system.workloads or key in broken:
                        continue
                    try:
                        figures = system.measure(workload, number)
                    except (Failed, OSError, LookupError) as failed:  # whatever a system answers, the others go on
                        broken[key] = str(failed)
                        console.print(f"round {number + 1}  {workload:16} {system.name:15} failed: {failed}")
                        continue
                    found.setdefault(key, []).append(figures)
                    console.print(f"round {number + 1}  {workload:16} {system.name:15} {_line(figures)}")
        durable = {system.name: system.durable for system in reversed(started)}
        rows += [_row(system, workload, durable[system], of_rounds) for (system, workload), of_rounds in found.items()]
        rows += [Row(system, workload, failed=why, durable=durable[system]) for (system, workload), why in broken.items()]
    finally:
        for system in started:
            system.stop()
    return rows


def _line(figures: Figures) -> str:
    return (
        f"{figures.records / figures.wall_s:9.0f} records/s {figures.requests / figures.wall_s:8.0f} requests/s "
        f"{figures.cpu_s / figures.records * 1e6:8.1f} µs CPU a record"
    )


def _row(system: str, workload: str, durable: str, rounds: Sequence[Figures]) -> Row:
    def median(of: Callable[[Figures], float], digits: int = 1) -> float:
        return round(statistics.median(map(of, rounds)), digits)

    return Row(
        system,
        workload,
        median(lambda f: f.records / f.wall_s, 0),
        median(lambda f: f.requests / f.wall_s, 1),
        median(lambda f: f.cpu_s / f.records * 1e6, 2),
        median(lambda f: f.cpu_s / f.requests * 1e3, 3),
        median(lambda f: f.up_bytes / f.records),
        median(lambda f: f.down_bytes / f.records),
        median(lambda f: f.latency_ms[0], 2),
        median(lambda f: f.latency_ms[1], 2),
        median(lambda f: f.latency_ms[2], 2),
        rounds=len(rounds),
        records=rounds[0].records,
        durable=durable,
        note=rounds[0].note,
    )


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """How we stand: figures of one run by one another, at least 1 meaning better for those of speed. Absent where a side is."""
    known = {(row.system, row.workload): row for row in rows if not row.failed}
    found: dict[str, float] = {}

    def put(name: str, of: Callable[[], float]) -> None:
        with suppress(KeyError, ZeroDivisionError, ValueError):
            found[name] = round(of(), 2)

    def ours(workload: str) -> Row:
        return known["truckroll", workload]

    def speed(other: str, workload: str) -> float:
        return ours(workload).records_per_s / known[other, workload].records_per_s

    def best_peer(workload: str, of: Callable[[Row], float]) -> float:
        return max(of(known[peer, workload]) for peer in PEERS if (peer, workload) in known)

    put("push_vs_pouchdb", lambda: speed("pouchdb-server", "push"))
    put("push_vs_kinto", lambda: speed("kinto", "push"))
    put("push_vs_rxdb", lambda: speed("rxdb-server", "push"))
    put("push_cpu_vs_floor", lambda: ours("push").cpu_us_per_record / known["floor", "push"].cpu_us_per_record)
    put("push_singly_cpu_vs_floor", lambda: ours("push_singly").cpu_us_per_record / known["floor", "push"].cpu_us_per_record)
    put("small_cpu_vs_floor", lambda: ours("small").cpu_us_per_record / known["floor", "small"].cpu_us_per_record)
    put("first_pull_vs_floor", lambda: speed("floor", "first_pull"))
    put(
        "first_pull_vs_best_peer",
        lambda: ours("first_pull").records_per_s / best_peer("first_pull", lambda row: row.records_per_s),
    )
    put(
        "delta_pull_vs_best_peer",
        lambda: ours("delta_pull").requests_per_s / best_peer("delta_pull", lambda row: row.requests_per_s),
    )
    put("delta_pull_vs_floor", lambda: ours("delta_pull").requests_per_s / known["floor", "delta_pull"].requests_per_s)
    put("bytes_per_change", lambda: ours("delta_pull").down_bytes_per_record)
    put("small_vs_endpoint", lambda: ours("small").requests_per_s / known["endpoint", "small"].requests_per_s)
    put("small_and_page_vs_endpoint", lambda: ours("small_and_page").requests_per_s / known["endpoint", "small"].requests_per_s)
    put("sdk_apply_vs_executemany", lambda: ours("sdk_apply").records_per_s / known["executemany", "sdk_apply"].records_per_s)
    return found


def machine() -> str:
    """The machine in a few words."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        return f"{psutil.cpu_count()} cores ({model}), {psutil.virtual_memory().total / 2**30:.0f} GB, {platform.system()}"
    return f"{psutil.cpu_count()} cores, {platform.platform()}"


def show(report: Mapping[str, Any]) -> None:
    """The figures as a table, and the ratios below."""
    table = Table(title=f"{report['at'][:10]}, {report['machine']}, PostgreSQL {report['postgres']['server_version']}")
    for name in ("workload", "system", "records/s", "requests/s", "CPU µs/record", "bytes down", "p50 ms", "p99 ms"):
        table.add_column(name, justify="left" if name in ("workload", "system") else "right")
    order = {name: at for at, name in enumerate(WORKLOADS)}
    for row in sorted(report["rows"], key=lambda row: order.get(row.workload, len(order))):
        if row.failed:
            table.add_row(row.workload, row.system, row.failed[:60])
            continue
        table.add_row(
            row.workload,
            row.system,
            f"{row.records_per_s:,.0f}",
            f"{row.requests_per_s:,.0f}",
            f"{row.cpu_us_per_record:,.1f}",
            f"{row.down_bytes_per_record:,.0f}",
            f"{row.p50_ms:,.1f}",
            f"{row.p99_ms:,.1f}",
        )
    out = Console(width=None if sys.stdout.isatty() else 120)
    out.print(table)
    for name, value in report["ratios"].items():
        out.print(f"{name} {value}")
