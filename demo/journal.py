"""What a user really did, noted beside the replica and before it: the witness against which the server is checked.

A journal is a file of JSON lines that are only ever appended, each forced to disk. A `Deed` is written before the SDK is called, a
`Done` with the transaction's number after the call has returned. So a deed that is done must be found on the server, and one that
is not (its device was killed in between) may be found there, whole, or not at all.
"""

import os
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

Verb: TypeAlias = Literal["create", "set", "append", "text", "delete"]


class Op(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a deed does to one record: the fields it gives, and the values that the user saw in them before."""

    verb: Verb
    entity: str
    id: str
    fields: dict[str, Any] = {}
    before: dict[str, Any] = {}


class Deed(msgspec.Struct, frozen=True, tag="deed"):
    """One thing that a user did, as one transaction. `at_ms` is the true time, whatever the device's clock shows."""

    k: int
    at_ms: int
    label: str
    ops: tuple[Op, ...]


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The replica has stored deed `k` as its transaction `n`."""

    k: int
    n: int


class Noted(msgspec.Struct, frozen=True):
    """A journal as it is read: every deed, and the number of each that was done."""

    deeds: tuple[Deed, ...]
    numbers: dict[int, int]


_lines = msgspec.json.Decoder(Deed | Done)


class Journal:
    """Appends to one file. A line is on the disk when its method returns."""

    def __init__(self, path: Path) -> None:
        self._k = max((deed.k for deed in read(path).deeds), default=0) if path.exists() else 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def close(self) -> None:
        os.close(self._file)

    def deed(self, at_ms: int, label: str, ops: tuple[Op, ...]) -> int:
        """Note a deed that is about to be done; returns its number in the journal."""
        self._k += 1
        self._write(Deed(self._k, at_ms, label, ops))
        return self._k

    def done(self, k: int, n: int) -> None:
        self._write(Done(k, n))

    def _write(self, line: Deed | Done) -> None:
        os.write(self._file, msgspec.json.encode(line) + b"\n")
        os.fsync(self._file)


def read(path: Path) -> Noted:
    """Everything noted in a file. A last line that was cut off by a kill is no deed: the SDK had not been called yet."""
    deeds: list[Deed] = []
    numbers: dict[int, int] = {}
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        match _lines.decode(line):
            case Deed() as deed:
                deeds.append(deed)
            case Done(k, n):
                numbers[k] = n
    return Noted(tuple(deeds), numbers)
