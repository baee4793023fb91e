"""The device's side: a first sync of 10 000 records into the replica's file, beside plain `executemany` into a file like it.

The SDK is handed the server's reply as bytes and does all it does with it: decodes it, keeps every record with its scope and its
version, fills the typed table with its indices, moves the cursor, all in one durable transaction. The plain side gets rows made
beforehand and inserts them into one table with a column for each field, in one transaction with the same pragmas.
"""

import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.sync.system import Figures
from benchmarks.sync.workload import FIRST_MS, Ids, Record, Size, asset
from client_sdk import Replica
from client_sdk.query import col
from sync.entities import Asset
from sync.entities.customers import AssetStatus
from sync.protocol import Enrolled, Exchange

WORKLOAD: Final = "sdk_apply"
OPEN, QUERY = "sdk_open", "sdk_query"


class _Line:
    """A server that has one reply."""

    def __init__(self, page: bytes) -> None:
        self._page = page

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:  # noqa: ARG002  # a transport
        if path == "/v1/enrol":
            made = Enrolled("D1", "token", 1, "U1", "Theo", "technician", "Acme", None, FIRST_MS)
            return 200, msgspec.json.encode(made)
        first = msgspec.json.decode(body, type=Exchange).cursor is None
        return 200, b'{"server_ms":%d,"taken":0,"page":%s}' % (FIRST_MS, self._page if first else b'{"cursor":"c"}')


class SDK:
    name = "truckroll"
    durable = "yes: synchronous=FULL"
    workloads: tuple[str, ...] = (WORKLOAD, OPEN, QUERY)

    def __init__(self, size: Size) -> None:
        self._records = made(size.pull_records)

    def start(self) -> None:
        """Runs in this process."""

    def stop(self) -> None:
        """Runs in this process."""

    def roots(self) -> list[int]:
        return []

    def measure(self, workload: str, number: int) -> Figures:  # noqa: ARG002  # each round is the same
        with tempfile.TemporaryDirectory(prefix="truckroll-bench-") as home:
            path = Path(home) / "replica.db"
            applied = asyncio.run(self._synced(path))
            if workload == WORKLOAD:
                return applied
            if workload == OPEN:
                return _timed(lambda: Replica.open(path).close(), 1)
            with Replica.open(path) as replica:
                conditions = (col(Asset.status).is_(AssetStatus.FAULTY), col(Asset.site).is_(self._records[0][1]["site"]))
                return _timed(lambda: replica.query(Asset, *conditions), len(replica.query(Asset, *conditions)))

    async def _synced(self, path: Path) -> Figures:
        whole = [("asset", one, number, body) for number, (one, body) in enumerate(self._records, 1)]
        page = msgspec.json.encode(
            {"cursor": "c", "enter": sorted({f"site:{body['site']}" for _, body in self._records}), "whole": whole}
        )
        with Replica.open(path, transport=_Line(page)) as replica:
            await replica.enrol("http://server", "code", "bench")
            wall, cpu = time.perf_counter(), time.process_time()
            await replica.sync()
            return Figures(time.perf_counter() - wall, time.process_time() - cpu, len(self._records), 1)


class Plain:
    name = "executemany"
    durable = "yes: synchronous=FULL"
    workloads: tuple[str, ...] = (WORKLOAD,)

    def __init__(self, size: Size) -> None:
        self._rows = [_row(one, body) for one, body in made(size.pull_records)]

    def start(self) -> None:
        """Runs in this process."""

    def stop(self) -> None:
        """Runs in this process."""

    def roots(self) -> list[int]:
        return []

    def measure(self, workload: str, number: int) -> Figures:  # noqa: ARG002  # each round is the same
        with tempfile.TemporaryDirectory(prefix="truckroll-bench-") as home:
            connection = sqlite3.connect(Path(home) / "plain.db", isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(
                "CREATE TABLE asset (id TEXT PRIMARY KEY, site TEXT, product TEXT, name TEXT, serial TEXT, installed_on INTEGER, "
                "status TEXT, condition TEXT, custom TEXT) WITHOUT ROWID"
            )

            def insert() -> None:
                connection.execute("BEGIN")
                connection.executemany("INSERT INTO asset VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self._rows)
                connection.execute("COMMIT")

            figures = _timed(insert, len(self._rows))
            connection.close()
            return figures


def made(count: int) -> list[tuple[str, Record]]:
    chance, ids = random.Random(11), Ids(11)
    sites, products = [ids() for _ in range(50)], [ids() for _ in range(5)]
    return [(ids(), asset(chance, sites[number % 50], products[number % 5])) for number in range(count)]


def _row(one: str, body: Record) -> tuple[Any, ...]:
    return (one, *(msgspec.json.encode(value).decode() if isinstance(value, dict) else value for value in body.values()))


def _timed(work: Any, records: int) -> Figures:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Figures(time.perf_counter() - wall, time.process_time() - cpu, records, 1)
