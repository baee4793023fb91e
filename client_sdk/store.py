"""The replica's file: one SQLite database in WAL mode. All SQL is here and, for the derived tables, in `client_sdk.tables`.

`base` holds records as the server sent them, `outbox` the transactions of this device byte by byte, `touched` which records the
transactions in the overlay touch. A transaction is in the overlay from its commit until the server parks it or a checkpoint
contains it. `stage` holds pages of a round whose checkpoint has not come. The derived tables show base and overlay together.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from client_sdk import words
from client_sdk.driver import OWNER_ONLY, Connection, Cursor, opened, told
from client_sdk.errors import Closed, SdkError, StorageError, WrongKey
from client_sdk.items import Key, OutboxState
from client_sdk.tables import PREFIX, ROWS, Value, layout, table_of
from sync.codec import decode_body, encode_body
from sync.schema import REGISTRY, EntitySpec

_SCHEMA: Final = (
    """CREATE TABLE device (
         one INTEGER PRIMARY KEY CHECK (one = 1),
         layout TEXT NOT NULL DEFAULT '',
         url TEXT NOT NULL DEFAULT '',
         enrolled BLOB,
         n INTEGER NOT NULL DEFAULT 0,
         stamp INTEGER NOT NULL DEFAULT 0,
         cursor TEXT,
         staged_cursor TEXT,
         staged INTEGER NOT NULL DEFAULT 0,
         synced_ms INTEGER,
         compared_ms INTEGER,
         revoked INTEGER NOT NULL DEFAULT 0)""",
    "INSERT INTO device (one) VALUES (1)",
    """CREATE TABLE base (
         entity TEXT NOT NULL, id TEXT NOT NULL, scope TEXT NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL,
         leaving INTEGER NOT NULL DEFAULT 0,
         PRIMARY KEY (entity, id)) WITHOUT ROWID""",
    "CREATE INDEX base_scope ON base (scope)",
    "CREATE INDEX base_leaving ON base (leaving) WHERE leaving",
    "CREATE TABLE scope (name TEXT PRIMARY KEY, stale INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    """CREATE TABLE outbox (
         n INTEGER PRIMARY KEY, raw BLOB NOT NULL, state TEXT NOT NULL, outcome BLOB, closed INTEGER NOT NULL DEFAULT 0)""",
    "CREATE INDEX outbox_state ON outbox (state) WHERE state <> 'done'",
    "CREATE TABLE touched (entity TEXT NOT NULL, id TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (entity, id, n)) WITHOUT ROWID",
    "CREATE INDEX touched_n ON touched (n)",
    "CREATE TABLE stage (k INTEGER PRIMARY KEY, page BLOB NOT NULL)",
)
_VERSIONS: Final = (_SCHEMA, ("ALTER TABLE device ADD COLUMN before INTEGER NOT NULL DEFAULT 0",))
"""What brings a file from each version to the next one."""
VERSION: Final = len(_VERSIONS)
CACHE_KB: Final = 16_000
"""So that a large page of the feed is written once, at its commit; only such a one ever takes so much."""
OPENERS: Final = 50
"""How many times the switch to write-ahead logging is tried."""
WAL_PAGES: Final = 4_000
"""How long the write-ahead log grows, in pages of 4 KB, before a commit moves it into the file: longer than what a first sync of
ten thousand records writes, which then writes nothing twice while somebody waits for it."""


class Device(NamedTuple):
    """The one row of `device`. `n` is the last transaction's number in this file, `before` how many of them belong to earlier
    identities: the server knows transaction `n` of this identity as `n - before`."""

    layout: str
    url: str
    enrolled: bytes | None
    n: int
    stamp: int
    cursor: str | None
    staged_cursor: str | None
    staged: int
    synced_ms: int | None
    compared_ms: int | None
    revoked: bool
    before: int


class BaseRow(NamedTuple):
    seq: int
    body: bytes


class ViewRow(NamedTuple):
    id: str
    seq: int
    pending: bool
    body: bytes


class OutboxRow(NamedTuple):
    n: int
    raw: bytes
    state: OutboxState
    outcome: bytes | None


class Store:
    """One connection, used by any thread, by one at a time. Methods that write are called inside `with store.write():`.

    `registry` has the entities that this app was built on.
    """

    def __init__(self, path: Path, *, key: str | None = None, registry: Mapping[str, EntitySpec] = REGISTRY) -> None:
        self.registry = registry
        self._lock = threading.RLock()
        self._connection: Connection | None
        try:
            self._begin(path, key)
        except WrongKey:
            # Another process may have made the file in this very moment: then its salt is there now, and the key fits.
            self._begin(path, key)

    def _begin(self, path: Path, key: str | None) -> None:
        self._connection, self._errors = opened(path, key)
        try:
            self._keep_log()
            # FULL: a commit survives an empty battery, not only a killed process. A technician's edit is worth one fsync.
            self._run("PRAGMA synchronous = FULL")
            self._all(f"PRAGMA wal_autocheckpoint = {WAL_PAGES:d}")
            self._run(f"PRAGMA cache_size = {-CACHE_KB:d}")
            self.searchable = words.ENTITY in self.registry and self._one(words.AVAILABLE) is not None
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _keep_log(self) -> None:
        """Write-ahead logging, which stays with the file. This one statement waits for nobody: where others open a new file in the
        same moment it fails, and is tried again once they have let go."""
        for left in reversed(range(OPENERS)):
            try:
                self._all("PRAGMA journal_mode = WAL")
            except StorageError:
                if not left:
                    raise
                self._run("BEGIN IMMEDIATE")
                self._run("ROLLBACK")
            else:
                return

    def _prepare(self) -> None:
        if self._version() < VERSION:
            with self.write():
                for statements in _VERSIONS[self._version() :]:  # asked again: another process may have done it meanwhile
                    for statement in statements:
                        self._run(statement)
                self._run(f"PRAGMA user_version = {VERSION:d}")
        if self._version() != VERSION:
            raise SdkError(f"this file is of version {self._version()}; this app reads version {VERSION}")

    def _version(self) -> int:
        version: int = self._one("PRAGMA user_version")[0]
        return version

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction: all of it or, if anything is raised or the process dies, nothing."""
        with self._lock:
            self._run("BEGIN IMMEDIATE")
            try:
                yield
                self._run("COMMIT")
            except BaseException:
                if self._open.in_transaction:
                    self._run("ROLLBACK")
                raise

    @contextmanager
    def read(self) -> Iterator[None]:
        """Several reads that see one state."""
        with self._lock:
            if self._open.in_transaction:
                yield
                return
            self._run("BEGIN")
            try:
                yield
            finally:
                self._run("COMMIT")

    @property
    def _open(self) -> Connection:
        if self._connection is None:
            raise Closed("this replica was closed")
        return self._connection

    def _run(self, sql: str, values: Sequence[Value] = ()) -> Cursor:
        with self._lock:
            try:
                return self._open.execute(sql, values)
            except self._errors as error:
                raise told(error) from error

    def _many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        with self._lock:
            try:
                self._open.executemany(sql, rows)
            except self._errors as error:
                raise told(error) from error

    def _all(self, sql: str, values: Sequence[Value] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._open.execute(sql, values).fetchall()
            except self._errors as error:
                raise told(error) from error

    def _one(self, sql: str, values: Sequence[Value] = ()) -> Any:
        with self._lock:
            try:
                return self._open.execute(sql, values).fetchone()
            except self._errors as error:
                raise told(error) from error

    def sql(self, statement: str, values: Sequence[Value] = ()) -> list[Any]:
        """For modules that keep a table of their own in this file."""
        return self._all(statement, values)

    # The device ------------------------------------------------------------------------------------------------------------

    def device(self) -> Device:
        row = Device(
            *self._one(
                """SELECT layout, url, enrolled, n, stamp, cursor, staged_cursor, staged, synced_ms, compared_ms, revoked, before
                   FROM device"""
            )
        )
        return row._replace(revoked=bool(row.revoked))

    def enrol(self, url: str, enrolled: bytes) -> bool:
        """Whether this file was free; then it is this device's."""
        return bool(self._all("UPDATE device SET url = ?, enrolled = ? WHERE enrolled IS NULL RETURNING 1", (url, enrolled)))

    def renew(self, enrolled: bytes, before: int) -> None:
        """Take up another identity, whose log begins after transaction `before`."""
        self._run("UPDATE device SET enrolled = ?, before = ?", (enrolled, before))

    def count_up(self, n: int, stamp: int) -> None:
        self._run("UPDATE device SET n = ?, stamp = ?", (n, stamp))

    def set_revoked(self, *, revoked: bool) -> None:
        self._run("UPDATE device SET revoked = ?", (revoked,))

    def restart(self) -> None:
        """Forget how far the download has come; what is held stays, as stale, until it is replaced or found to be gone."""
        self._run("DELETE FROM stage")
        self._run("UPDATE scope SET stale = 1")
        self._run("UPDATE device SET cursor = NULL, staged_cursor = NULL, staged = 0")

    # Outbox and overlay ----------------------------------------------------------------------------------------------------

    def enqueue(self, n: int, raw: bytes, keys: Iterable[Key]) -> None:
        self._run("INSERT INTO outbox (n, raw, state) VALUES (?, ?, ?)", (n, raw, OutboxState.WAITING))
        self.touch(n, keys)

    def touch(self, n: int, keys: Iterable[Key]) -> None:
        self._many("INSERT OR IGNORE INTO touched VALUES (?, ?, ?)", [(*key, n) for key in keys])

    def untouch(self, ns: Iterable[int]) -> set[Key]:
        """Take transactions out of the overlay; returns the records that this may change."""
        keys: set[Key] = set()
        for n in ns:
            keys.update(self._all("DELETE FROM touched WHERE n = ? RETURNING entity, id", (n,)))
        return keys

    def overlaid(self) -> dict[Key, list[int]]:
        """The transactions in the overlay by record, oldest first."""
        numbers: dict[Key, list[int]] = {}
        for entity, record_id, n in self._all("SELECT entity, id, n FROM touched ORDER BY n"):
            numbers.setdefault((entity, record_id), []).append(n)
        return numbers

    def raw(self, n: int) -> bytes:
        found: bytes = self._one("SELECT raw FROM outbox WHERE n = ?", (n,))[0]
        return found

    def set_raw(self, n: int, raw: bytes) -> None:
        self._run("UPDATE outbox SET raw = ? WHERE n = ?", (raw, n))

    def waiting(self, limit: int = -1) -> list[tuple[int, bytes]]:
        """The oldest transactions without an outcome; all of them without a limit."""
        return self._all("SELECT n, raw FROM outbox WHERE state = 'waiting' ORDER BY n LIMIT ?", (limit,))

    def outbox(self, states: Sequence[OutboxState], *, closed: bool = True) -> list[OutboxRow]:
        """Transactions in any of `states`; `closed=False` leaves out the parked ones that the app has dealt with."""
        marks = ", ".join("?" * len(states))
        sql = " ".join(("SELECT n, raw, state, outcome FROM outbox WHERE state IN", f"({marks})", "AND closed <= ? ORDER BY n"))
        return [OutboxRow(n, raw, OutboxState(state), outcome) for n, raw, state, outcome in self._all(sql, (*states, closed))]

    def counts(self) -> dict[OutboxState, int]:
        sql = "SELECT state, count(*) FROM outbox WHERE state <> 'done' AND NOT closed GROUP BY state"
        return {OutboxState(state): count for state, count in self._all(sql)}

    def state_of(self, n: int) -> OutboxState | None:
        row = self._one("SELECT state FROM outbox WHERE n = ?", (n,))
        return OutboxState(row[0]) if row else None

    def set_state(self, n: int, state: OutboxState, outcome: bytes | None) -> None:
        self._run("UPDATE outbox SET state = ?, outcome = ? WHERE n = ?", (state, outcome, n))

    def close_parked(self, n: int) -> bool:
        return bool(self._all("UPDATE outbox SET closed = 1 WHERE n = ? AND state = 'parked' AND NOT closed RETURNING 1", (n,)))

    def untouch_arrived(self) -> set[Key]:
        """Take confirmed transactions out of the overlay of those records that the device has of the server's present."""
        rows = self._all(
            """DELETE FROM touched WHERE n IN (SELECT n FROM outbox WHERE state = 'confirmed') AND EXISTS (
                 SELECT 1 FROM base b JOIN scope s ON s.name = b.scope
                 WHERE b.entity = touched.entity AND b.id = touched.id AND NOT s.stale)
               RETURNING entity, id"""
        )
        return set(rows)

    def settle_confirmed(self) -> list[int]:
        """Confirmed transactions become done; returns their numbers."""
        numbers = [row[0] for row in self._all("SELECT n FROM outbox WHERE state = 'confirmed' ORDER BY n")]
        self._run("UPDATE outbox SET state = 'done' WHERE state = 'confirmed'")
        return numbers

    def prune(self, keep: int) -> None:
        """Forget done transactions beyond the last `keep` numbers."""
        self._run("DELETE FROM outbox WHERE state = 'done' AND n <= (SELECT n FROM device) - ?", (keep,))

    def keeps_from(self, n: int) -> bool:
        """Whether every transaction from `n` on is still here."""
        before, last, kept = self._one("SELECT before, device.n, (SELECT count(*) FROM outbox WHERE n >= ?) FROM device", (n,))
        return bool(before < n <= last and kept == last - n + 1)

    def answered_from(self, n: int) -> list[OutboxRow]:
        rows = self._all("SELECT n, raw, state, outcome FROM outbox WHERE n >= ? AND state <> 'waiting' ORDER BY n", (n,))
        return [OutboxRow(n, raw, OutboxState(state), outcome) for n, raw, state, outcome in rows]

    # Stage and checkpoint --------------------------------------------------------------------------------------------------

    def stage(self, page: bytes, cursor: str, records: int) -> None:
        self._run("INSERT INTO stage (page) VALUES (?)", (page,))
        self._run("UPDATE device SET staged_cursor = ?, staged = staged + ?", (cursor, records))

    def staged(self) -> Iterator[bytes]:
        """Page after page, so that a large first sync needs the memory of one."""
        last = 0
        while row := self._one("SELECT k, page FROM stage WHERE k > ? ORDER BY k LIMIT 1", (last,)):
            last = row[0]
            yield row[1]

    def unstage(self) -> None:
        """Forget the round that is under way."""
        self._run("DELETE FROM stage")
        self._run("UPDATE device SET staged_cursor = NULL, staged = 0")

    def checkpoint(self, cursor: str) -> None:
        self._run("DELETE FROM stage")
        self._run("UPDATE device SET cursor = ?, staged_cursor = NULL, staged = 0", (cursor,))

    def synced(self, now_ms: int) -> None:
        self._run("UPDATE device SET synced_ms = ?, compared_ms = coalesce(compared_ms, ?), revoked = 0", (now_ms, now_ms))

    def compared(self, now_ms: int) -> None:
        self._run("UPDATE device SET compared_ms = ?", (now_ms,))

    def wipe(self) -> None:
        """Forget everything, the enrolment too."""
        for table in ("outbox", "touched", "stage", "base", "scope", "device"):
            self._run(f"DELETE FROM {table}")  # noqa: S608  # the names stand here
        self._run("INSERT INTO device (one) VALUES (1)")
        self.make_tables()

    def scrub(self) -> None:
        """Leave nothing of what was deleted in the file."""
        self._run("VACUUM")
        self._run("PRAGMA wal_checkpoint(TRUNCATE)")

    # Base records ----------------------------------------------------------------------------------------------------------

    def base(self, key: Key) -> BaseRow | None:
        row = self._one("SELECT seq, body FROM base WHERE entity = ? AND id = ?", key)
        return BaseRow(*row) if row else None

    def put_base(self, rows: Iterable[tuple[str, str, str, int, bytes]]) -> None:
        self._many("INSERT OR REPLACE INTO base (entity, id, scope, seq, body) VALUES (?, ?, ?, ?, ?)", rows)

    def update_base(self, key: Key, seq: int, fields: Mapping[str, object]) -> bool:
        """Lay the fields of a delta over a record; False if it is not held."""
        row = self.base(key)
        if row is None:
            return False
        body = encode_body({**decode_body(row.body), **fields})
        self._run("UPDATE base SET seq = ?, body = ? WHERE entity = ? AND id = ?", (seq, body, *key))
        return True

    def drop_base(self, key: Key) -> None:
        """Remove a record, or mark it as leaving while pending work rests on it."""
        marked = self._all(
            """UPDATE base SET leaving = 1 WHERE entity = ? AND id = ?
               AND EXISTS (SELECT 1 FROM touched t WHERE t.entity = base.entity AND t.id = base.id) RETURNING 1""",
            key,
        )
        if not marked:
            self._run("DELETE FROM base WHERE entity = ? AND id = ?", key)

    def drop_scope(self, scope: str) -> set[Key]:
        """Remove a scope's records, or mark those as leaving on which pending work rests."""
        self._run(
            """UPDATE base SET leaving = 1 WHERE scope = ?
               AND EXISTS (SELECT 1 FROM touched t WHERE t.entity = base.entity AND t.id = base.id)""",
            (scope,),
        )
        self._run("DELETE FROM scope WHERE name = ?", (scope,))
        return set(self._all("DELETE FROM base WHERE scope = ? AND NOT leaving RETURNING entity, id", (scope,)))

    def enter_scope(self, scope: str) -> None:
        self._run("INSERT OR REPLACE INTO scope (name) VALUES (?)", (scope,))

    def scopes(self) -> list[str]:
        return [row[0] for row in self._all("SELECT name FROM scope ORDER BY name")]

    def fresh_scopes(self) -> list[str]:
        return [row[0] for row in self._all("SELECT name FROM scope WHERE NOT stale ORDER BY name")]

    def stale_scopes(self) -> list[str]:
        return [row[0] for row in self._all("SELECT name FROM scope WHERE stale ORDER BY name")]

    def held(self) -> Iterator[tuple[str, str, str, int]]:
        """Scope, entity, id and seq of every record that the server says this device holds."""
        yield from self._all("SELECT scope, entity, id, seq FROM base WHERE NOT leaving")

    def let_go(self) -> set[Key]:
        """Remove the leaving records on which no pending work rests any more."""
        return set(
            self._all(
                """DELETE FROM base WHERE leaving
                   AND NOT EXISTS (SELECT 1 FROM touched t WHERE t.entity = base.entity AND t.id = base.id)
                   RETURNING entity, id"""
            )
        )

    def keys(self) -> set[Key]:
        """Every record that may have something to show."""
        return set(self._all("SELECT entity, id FROM base UNION SELECT entity, id FROM touched"))

    def unscoped(self, entity: str) -> list[tuple[str, BaseRow]]:
        rows = self._all("SELECT id, seq, body FROM base WHERE entity = ? AND scope = ''", (entity,))
        return [(record_id, BaseRow(seq, body)) for record_id, seq, body in rows]

    def holds_unknown(self) -> bool:
        """Whether there are records of entities that this version of the app does not know."""
        return self._one("SELECT 1 FROM base WHERE scope = '' LIMIT 1") is not None

    def lacks(self, entity: str, field: str) -> bool:
        """Whether any record of the entity is without a field."""
        sql = "SELECT 1 FROM base WHERE entity = ? AND json_type(CAST(body AS TEXT), ?) IS NULL LIMIT 1"
        return self._one(sql, (entity, f'$."{field}"')) is not None

    # Derived tables --------------------------------------------------------------------------------------------------------

    def has_layout(self) -> bool:
        return self.device().layout == layout(self.registry)

    def make_tables(self) -> None:
        """Drop the derived tables and create those of the present declarations, empty."""
        for kind, name in self._all("SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY type DESC"):
            if name.startswith((PREFIX, ROWS)):
                self._run(f'DROP {kind} "{name}"')
        for spec in self.registry.values():
            for statement in table_of(spec).create:
                self._run(statement)
        self._run(words.DROP)
        if self.searchable:
            self._run(words.CREATE)
        self._run("UPDATE device SET layout = ?", (layout(self.registry),))

    def show(self, entity: str, rows: Sequence[Sequence[Value]], bodies: Sequence[bytes]) -> None:
        """Put rows of an entity's table; `bodies` are what each shows."""
        self._many(table_of(self.registry[entity]).upsert, rows)
        if entity == words.ENTITY and self.searchable:
            self._many(words.PUT, (words.row_of(str(row[0]), body) for row, body in zip(rows, bodies, strict=True)))

    def hide(self, entity: str, ids: Iterable[str]) -> None:
        hidden = list(ids)
        self._many(table_of(self.registry[entity]).delete, ((record_id,) for record_id in hidden))
        if entity == words.ENTITY and self.searchable:
            self._many(words.FORGET, ((words.key_of(record_id),) for record_id in hidden))

    def view(self, statement: tuple[str, Sequence[Value]]) -> list[ViewRow]:
        rows = self._all(*statement)
        return [ViewRow(record_id, seq, bool(pending), body) for record_id, seq, pending, body in rows]

    def search(self, statement: tuple[str, Sequence[Value]]) -> list[tuple[ViewRow, float]]:
        """Rows of a search with their rank, the best first."""
        rows = self._all(*statement)
        return [(ViewRow(record_id, seq, bool(pending), body), rank) for record_id, seq, pending, body, rank in rows]


class SyncLock:
    """Held by the one replica of a file that talks to the server, among all threads and processes.

    It is SQLite's own lock on an empty file beside the replica's: it works wherever SQLite does, and ends with its process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + "-sync")
        self._connection: sqlite3.Connection | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free; never waits."""
        self._path.touch(OWNER_ONLY)
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                return False
            raise told(error) from error
        self._connection = connection
        return True

    def release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
