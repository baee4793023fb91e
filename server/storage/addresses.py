"""What a geocoder has said before, in one SQLite file beside the worker."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

_SCHEMA: Final = "create table if not exists address (service text, words text, answer text not null, primary key (service, words))"


class Answer(msgspec.Struct, frozen=True):
    """Where an address is, and whether the match is good; without a position the geocoder knows no such address."""

    lat: float | None = None
    lon: float | None = None
    good: bool = False


class Addresses:
    """Opened anew for each question, so any thread may ask."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def known(self, service: str, words: str) -> Answer | None:
        with closing(self._open()) as database:
            row = database.execute("select answer from address where service = ? and words = ?", (service, words)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Answer)

    def add(self, service: str, words: str, answer: Answer) -> None:
        with closing(self._open()) as database, database:
            database.execute("insert or replace into address values (?, ?, ?)", (service, words, msgspec.json.encode(answer)))

    def _open(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._file, timeout=30)
        database.execute(_SCHEMA)
        return database
