"""What has been asked of a road service before, in one SQLite file beside the worker: by service, time band and pair of points."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

Leg = tuple[int, int]
"""Seconds and metres of a directed pair."""
KEEP_MS: Final = 30 * 86_400_000
_SCHEMA: Final = """
    create table if not exists leg (
        service text not null, band text not null, a text not null, b text not null,
        seconds integer not null, metres integer not null, at_ms integer not null,
        primary key (service, band, a, b)
    ) without rowid
"""


class Legs:
    """Opened anew for each question, so any thread may ask; several processes may share the file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def known(self, service: str, band: str, points: Iterable[str], since_ms: int) -> Mapping[tuple[str, str], Leg]:
        """Every pair of these points that was asked since a time."""
        with closing(self._open()) as database, database:
            database.execute("create temp table wanted (point text primary key)")
            database.executemany("insert or ignore into wanted values (?)", ((point,) for point in points))
            rows = database.execute(
                "select a, b, seconds, metres from leg join wanted on a = point where service = ? and band = ? and at_ms >= ? "
                "and b in (select point from wanted)",
                (service, band, since_ms),
            )
            return {(a, b): (seconds, metres) for a, b, seconds, metres in rows}

    def add(self, service: str, band: str, legs: Sequence[tuple[str, str, int, int]], now_ms: int) -> None:
        with closing(self._open()) as database, database:
            rows = ((service, band, *leg, now_ms) for leg in legs)
            database.executemany("insert or replace into leg values (?, ?, ?, ?, ?, ?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._file, timeout=30)
        database.execute("pragma journal_mode = wal")
        database.execute(_SCHEMA)
        return database
