"""A phone: the real replica on a real file, which may be killed between any two statements and is opened again."""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from client_sdk import Item, Replica, SyncError, ledger
from client_sdk.draft import Draft
from client_sdk.items import OutboxState
from client_sdk.store import Store
from client_sdk.watch import hub_of
from server.feed import Cursor
from simulation.party import E, Key, Party
from simulation.plan import Fault
from sync.codec import decode_body
from sync.protocol import Change
from sync.schema import REGISTRY

KILLED_IN_EDIT: Final = 0.04
KILLED_IN_SYNC: Final = 0.12


class Killed(BaseException):
    """The process of the app is gone."""


class Switch:
    """Stands for the replica's SQLite connection and ends the process at a statement, before it or just after it."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.raw = raw
        self.left: int | None = None
        self.after = False
        self.dead = False

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._step(lambda: self.raw.execute(sql, values))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> sqlite3.Cursor:
        return self._step(lambda: self.raw.executemany(sql, rows))

    @property
    def in_transaction(self) -> bool:
        return not self.dead and self.raw.in_transaction

    def close(self) -> None:
        self.raw.close()

    def _step(self, statement: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        if self.dead:
            raise Killed
        if self.left is not None:
            if self.left == 0:
                self.dead = True
                if self.after:
                    statement()
                raise Killed
            self.left -= 1
        return statement()


class Shot(msgspec.Struct, frozen=True):
    """All that a replica holds, read behind its back.

    `view` has the body and whether it is marked as pending; `stale` are the scopes kept of a server before its restoration.
    """

    cursor: str | None
    base: dict[Key, tuple[int, str, bool, dict[str, Any]]]
    view: dict[Key, tuple[bool, dict[str, Any]]]
    outbox: dict[int, tuple[OutboxState, bytes]]
    n: int
    stale: frozenset[str]


class Device(Party):
    """`observe` is called with a `Shot` after everything that may have changed the file."""

    def __init__(self, folder: Path, template: Path, observe: Callable[[Any, Shot], Awaitable[None]], **named: Any) -> None:
        super().__init__(**named)
        self._path = folder / f"{self.name}.db"
        self._observe = observe
        shutil.copy(template, self._path)
        self._open()

    def _open(self) -> None:
        self._replica = Replica.open(self._path, clock=self.now, random=self.random, sleep=self._wait, transport=cast("Any", self))
        self._store: Store = vars(self._replica)["_store"]
        inside = vars(self._store)
        self._switch = Switch(inside["_connection"])
        self._switch.raw.execute("PRAGMA synchronous = OFF")
        inside["_connection"] = self._switch

    async def _wait(self, seconds: float) -> None:
        await self.scheduler.sleep(seconds * 1000)

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """The transport: first see what came of the reply before."""
        await self.look()
        return await self.link.post(path, body, headers)

    async def enrol(self, code: str) -> None:
        identity = await self._replica.enrol("sim:", code, self.name)
        self.device_id, self.technician = identity.device, identity.technician or ""

    # Work ------------------------------------------------------------------------------------------------------------------

    def items(self, entity: type[E]) -> Sequence[Item[E]]:
        return self._replica.query(entity)

    @contextmanager
    def edit(self, label: str) -> Iterator[Draft]:
        """One transaction of the user; it may be the app's last."""
        drafts: list[Draft] = []
        before = self.done[-1].n if self.done else 0
        armed = self.faults.may(Fault.KILLED_EDITING) and self.random.random() < KILLED_IN_EDIT * self.faults.plan.rate
        try:
            with self._replica.edit(label) as draft:
                drafts.append(draft)
                yield draft
                if armed and draft.changes:
                    self._arm(14)
            self._switch.left = None
        except Killed:
            self._come_back(Fault.KILLED_EDITING)
        if drafts and drafts[0].changes and self._store.device().n > before:
            self.note(before + 1, label, drafts[0].changes)

    def write_foreign(self, label: str, changes: tuple[Change, ...]) -> None:
        hub_of(self._path).edited(ledger.commit(self._store, cast("Draft", _Foreign(label, changes)), self.now()))
        self.note(self._store.device().n, label, changes)

    def mend(self) -> None:
        """Deal with what was refused: send it again or give it up."""
        for parked in self._replica.parked()[:3]:
            if parked.label.startswith("again") or self.random.random() < 0.6:
                self._replica.discard(parked.n)
            else:
                self._replica.retry(parked.n)
                changes = msgspec.json.decode(self._store.raw(self._store.device().n), type=_Changes).changes
                self.note(self._store.device().n, parked.label, changes)

    # The network -----------------------------------------------------------------------------------------------------------

    async def sync(self) -> bool:
        """One attempt; True if it went through."""
        if self.faults.may(Fault.KILLED_APPLYING) and self.random.random() < KILLED_IN_SYNC * self.faults.plan.rate:
            self._arm(self.random.choice((12, 40, 200)))
        work = self.scheduler.spawn(self._sync(), f"{self.name} sync")
        if self.faults.strikes(Fault.KILLED_SENDING, 0.08):
            await self.scheduler.sleep(self.random.randint(1, 2_000))
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
                self._come_back(None)
        else:
            await asyncio.wait({work})
        self._switch.left = None
        if not work.cancelled() and work.result() is None:
            self._come_back(Fault.KILLED_APPLYING)
        await self.look()
        return not work.cancelled() and work.result() is True

    async def _sync(self) -> bool | None:
        """None if the app was killed over it."""
        try:
            await self._replica.sync()
        except SyncError as error:
            self.trace.say(self.scheduler.now_ms, self.name, "sync failed", type(error).__name__)
            return False
        except Killed:
            return None
        return True

    async def look(self) -> None:
        if not self._switch.dead:
            await self._observe(self, self.shot())

    def _arm(self, most: int) -> None:
        self._switch.left = self.random.randint(0, most)
        self._switch.after = self.random.random() < 0.5

    def _come_back(self, fault: Fault | None) -> None:
        if fault:
            self.faults.struck(fault)
        self.trace.say(self.scheduler.now_ms, self.name, "killed", fault or Fault.KILLED_SENDING)
        self._switch.dead = True
        self._switch.raw.close()
        self._open()

    def close(self) -> None:
        self._switch.raw.close()

    @property
    def checkpoint(self) -> int:
        """The commit at which the device is."""
        cursor = self._store.device().cursor
        return Cursor.decode(cursor).base if cursor else 0

    # What is in the file ---------------------------------------------------------------------------------------------------

    def shot(self) -> Shot:
        sql = self._switch.raw.execute
        base = {
            (entity, record_id): (seq, scope, bool(leaving), decode_body(body))
            for entity, record_id, seq, scope, leaving, body in sql("SELECT entity, id, seq, scope, leaving, body FROM base")
        }
        view = {
            (entity, record_id): (bool(pending), decode_body(body))
            for entity in REGISTRY
            for record_id, pending, body in sql(f'SELECT _id, _pending, _body FROM "view_{entity}"')  # noqa: S608  # declared
        }
        outbox = {n: (OutboxState(state), raw) for n, state, raw in sql("SELECT n, state, raw FROM outbox ORDER BY n")}
        cursor, n = sql("SELECT cursor, n FROM device").fetchone()
        stale = frozenset(name for (name,) in sql("SELECT name FROM scope WHERE stale"))
        return Shot(cursor, base, view, outbox, n, stale)


class _Foreign(msgspec.Struct):
    """As much of a draft as `ledger.commit` looks at."""

    label: str
    changes: tuple[Change, ...]
    n: int | None = None


class _Changes(msgspec.Struct):
    changes: tuple[Change, ...]
