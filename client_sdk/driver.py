"""The connection to a replica's file: Python's own `sqlite3` or, for an encrypted file, `apsw` with SQLite3 Multiple Ciphers.

Both are used the same way and only for what both do the same: `execute`, `executemany`, `fetchone`, `fetchall`. What differs, how
they are opened and how they fail, is here and nowhere else.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from client_sdk.errors import DiskFull, SdkError, StorageError, WrongKey
from client_sdk.tables import Value

BUSY_S: Final = 30.0
OWNER_ONLY: Final = 0o600
_PRIMARY: Final = 0xFF
_FAILURES: Final = frozenset({
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
})  # fmt: skip


class Cursor(Protocol):
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class Connection(Protocol):
    """What `sqlite3.Connection` and `apsw.Connection` have in common."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, sql: str, values: Sequence[Value] = ..., /) -> Cursor: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[Value]], /) -> Cursor: ...
    def close(self) -> None: ...


class Opened(NamedTuple):
    """A connection, and what it raises."""

    connection: Connection
    errors: tuple[type[Exception], ...]


def opened(path: Path, key: str | None) -> Opened:
    """A connection to the file, which is created for nobody but its owner; SQLite gives its companions the same permissions.

    Nothing of the file has been read yet: whether the key fits shows at the first statement.
    """
    try:
        path.touch(OWNER_ONLY)
    except OSError as error:
        raise StorageError(f"{path.name}: {error.strerror}") from error
    return _plain(path) if key is None else _encrypted(path, key)


def _plain(path: Path) -> Opened:
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    except sqlite3.DatabaseError as error:
        raise told(error) from error
    return Opened(connection, (sqlite3.DatabaseError,))


def _encrypted(path: Path, key: str) -> Opened:
    try:
        import apsw  # noqa: PLC0415  # an extra: only who encrypts needs it
    except ImportError as error:
        raise SdkError("an encrypted replica needs the extra truckroll[encryption]") from error
    if not hasattr(apsw, "mc_version"):
        raise SdkError("this apsw does not encrypt: install apsw-sqlite3mc in its place")
    if not key:
        raise SdkError("an empty key would not encrypt anything")
    try:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(round(BUSY_S * 1000))
        connection.pragma("key", key)
        # Sorting and VACUUM would otherwise put what they move into temporary files as it is.
        connection.execute("PRAGMA temp_store = MEMORY")
    except apsw.Error as error:
        raise told(error) from error
    return Opened(connection, (apsw.Error,))


def told(error: Exception) -> Exception:
    """What to raise for an error of either driver: one of ours if the storage failed, the same if the mistake is in the code."""
    code: int = getattr(error, "sqlite_errorcode", getattr(error, "result", 0))
    match code & _PRIMARY:
        case sqlite3.SQLITE_FULL:
            return DiskFull("the device's storage is full: nothing was stored")
        case sqlite3.SQLITE_NOTADB:
            return WrongKey("the file is no replica, or the key is not the one it is encrypted with")
        case primary if primary in _FAILURES:
            return StorageError(f"the device's storage failed: {error}")
        case _:
            return error
