"""The one door: everything that writes a synced record goes through here; devices, the console, the planner and rules alike.

Pushes of one tenant that arrive while a commit is under way share the next one (group commit); each still gets its own outcomes.
A commit is a read and a write. The write checks that nothing it read has moved; if something has, the whole group is done again.
While one commit is written the next is read and merged, of pushes that have no record in common with it; the database keeps them
in their order by the row of the tenant's clock.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, cast

import asyncpg
import msgspec
import zstandard

from server.commit import (
    Commit,
    Key,
    Logged,
    Parsed,
    Push,
    Result,
    Stored,
    content_hash,
    keys_of,
    numbered,
    parse,
    prepare,
    scopes_wanted,
)
from server.holdings import Holdings
from server.storage import statements
from server.storage.pool import Connection, Pool
from server.storage.tables import FOREVER
from server.wakeups import Touched
from sync.links import user
from sync.protocol import Outcome, Reason

STALE_CODE: Final = "TR001"
"""The SQLSTATE that `refuse_if_stale` and `refuse_if_linked` raise."""

MAX_GROUP: Final = 64
HALF_FROM: Final = 24
"""When more pushes wait than this, a group leaves half of them to the next, so that one is merged while the other is written."""
MAX_RECORDS: Final = 1_500
"""A group that has come to so many records takes no further push."""
LANES: Final = 2
"""Commits of a tenant under way: one is written, one merged."""
_log: Final = logging.getLogger(__name__)
_compress: Final = zstandard.ZstdCompressor(level=1).compress
_logged: Final = msgspec.json.Decoder(list[Logged])


class Moved(Exception):
    """The device's log is not where this push thought; the caller reads it again."""


class Committed(msgspec.Struct, frozen=True):
    """What a push came to: its outcomes and the number of the commit."""

    seq: int
    outcomes: tuple[Outcome, ...]


class _Waiting:
    def __init__(self, push: Push) -> None:
        self.push = push
        self.parsed = tuple(parse(raw, n) for n, raw in enumerate(push.raws, push.first_n))
        self.keys = keys_of(self.parsed)
        self.written = frozenset((spec.name, edit.id) for one in self.parsed for spec, edit in one.edits)
        self.done: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()

    def park_all(self, why: str) -> None:
        """Keep the push whole and let the device's queue go on."""
        self.parsed = tuple(Parsed(None, reason=Reason("storage", why)) for _ in self.parsed)


class _Lanes:
    """Of one tenant: the pushes that wait, the tasks that commit, and the groups that these have under way."""

    def __init__(self) -> None:
        self.queue: list[_Waiting] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.under_way: list[list[_Waiting]] = []
        self.merging = asyncio.Lock()
        """Who holds it reads and merges; it is given on as soon as the write is sent."""

    def take(self) -> list[_Waiting]:
        """The next group: at most one push of each device, in turn, and none that another group might change or be changed by."""
        busy = [waiting for group in self.under_way for waiting in group]
        devices = {waiting.push.author.device for waiting in busy}
        written = frozenset[Key]().union(*(waiting.written for waiting in busy))
        known = frozenset[Key]().union(*(waiting.keys for waiting in busy))
        group: list[_Waiting] = []
        rest: list[_Waiting] = []
        records, most = 0, max(HALF_FROM, min(MAX_GROUP, len(self.queue) // 2))
        for waiting in self.queue:
            in_turn = waiting.push.author.device not in devices and len(group) < most and records < MAX_RECORDS
            apart = written.isdisjoint(waiting.keys) and known.isdisjoint(waiting.written)
            (group if in_turn and apart else rest).append(waiting)
            records += len(waiting.keys) if in_turn and apart else 0
            devices.add(waiting.push.author.device)
        self.queue = rest
        return group


class Door:
    """One per process. `submit` returns when the push is durable."""

    def __init__(self, pool: Pool, holdings: Holdings) -> None:
        self._pool, self._holdings = pool, holdings
        self.on_ruled: Callable[[int], None] = _nobody
        """Told the tenant of each commit that touched an entity which rules look at."""
        self.on_commit: Callable[[int, int, Touched], None] = _unheard
        """Told the tenant, the number and the reach of each commit."""
        self._tenants: dict[int, _Lanes] = {}

    async def submit(self, tenant_id: int, push: Push) -> Committed:
        """Commit consecutive new transactions of a device. Raises `Moved` if the device's log does not end at `first_n` - 1."""
        waiting = _Waiting(push)
        lanes = self._tenants.setdefault(tenant_id, _Lanes())
        lanes.queue.append(waiting)
        if len(lanes.tasks) < LANES:
            lanes.tasks.add(asyncio.create_task(self._write_all(tenant_id, lanes), name=f"door-{tenant_id}"))
        return await waiting.done

    async def _write_all(self, tenant_id: int, lanes: _Lanes) -> None:
        """Commit group after group until no push waits that may be taken; those that may not are taken by who holds them up."""
        group: list[_Waiting] = []
        try:
            while True:
                await lanes.merging.acquire()
                with ExitStack() as turn:
                    turn.callback(lanes.merging.release)
                    group = lanes.take()
                    if not group:
                        return
                    lanes.under_way.append(group)
                    try:
                        await self._commit(tenant_id, group, turn)
                    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                        for waiting in group:
                            if not waiting.done.done():
                                waiting.done.set_exception(error)
                    finally:
                        lanes.under_way.remove(group)
        finally:
            lanes.tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))
            left: list[_Waiting] = []
            if not lanes.tasks:
                del self._tenants[tenant_id]
                left = lanes.queue
            for waiting in (*group, *left):  # only when this task was cancelled, or has a fault
                waiting.done.cancel()

    async def _commit(self, tenant_id: int, group: list[_Waiting], turn: ExitStack) -> None:
        async with self._pool.connection(tenant_id) as connection:
            await self._commit_on(connection, tenant_id, group, turn)

    async def _commit_on(self, connection: Connection, tenant_id: int, group: list[_Waiting], turn: ExitStack) -> None:
        """`turn` is given on once the group is merged."""
        while group:
            keys = frozenset[Key]().union(*(waiting.keys for waiting in group))
            read = await _read(connection, tenant_id, keys)
            reached = await self._reach(connection, tenant_id, group, read)
            try:
                commit = prepare([(waiting.push, waiting.parsed) for waiting in group], read.stored, reached)
            except Exception as error:  # noqa: BLE001  # a fault of ours in one merge must not hold up anybody's queue for ever
                _log.exception("a push cannot be merged")
                group = await self._isolate(connection, tenant_id, group, turn, error)
                continue
            if not commit.links:
                turn.close()  # else whoever merges next would judge rights by links that are about to change
            try:
                seq = await _write(connection, tenant_id, commit, read.linked if reached else FOREVER)
            except asyncpg.DataError as error:
                group = await self._isolate(connection, tenant_id, group, turn, error)
            except asyncpg.PostgresError as error:
                if error.sqlstate != STALE_CODE:
                    raise
                group = await _still_fitting(connection, tenant_id, group)
            else:
                self._settle(tenant_id, group, commit, seq)
                return

    async def _isolate(
        self, connection: Connection, tenant_id: int, group: list[_Waiting], turn: ExitStack, error: Exception
    ) -> list[_Waiting]:
        """Something that passed every check cannot be committed: commit each push alone, and park the one that it is in."""
        if len(group) == 1:
            group[0].park_all(str(error))
            return group
        for waiting in group:
            await self._commit_on(connection, tenant_id, [waiting], turn)
        return []

    def _settle(self, tenant_id: int, group: Sequence[_Waiting], commit: Commit, seq: int) -> None:
        if any(row.ruled for row in commit.records):
            self.on_ruled(tenant_id)
        touched = Touched(
            frozenset(row.scope for row in commit.records),
            frozenset(row.link.source for row in commit.links),
            frozenset(waiting.push.author.device for waiting in group),
        )
        self.on_commit(tenant_id, seq, touched)
        for waiting, result in zip(group, commit.results, strict=True):
            if not waiting.done.done():
                waiting.done.set_result(Committed(seq, numbered(result.outcomes, seq)))

    async def _reach(
        self, connection: Connection, tenant_id: int, group: Iterable[_Waiting], read: "_Read"
    ) -> dict[tuple[str, str], bool]:
        """The scopes that the group's field authors may write, by (user, scope), and whether each still holds it."""
        wanted = {(w.push.author.user, scope) for w in group for scope in scopes_wanted(w.push, w.parsed, read.stored)}
        users = sorted({holder for holder, _ in wanted})
        held = await self._holdings.of_all(connection, tenant_id, read.incarnation, users, read.linked) if users else {}
        reached = {(holder, scope): True for holder, scope in wanted if scope in held[holder]}
        if once := sorted(wanted - reached.keys()):
            names, scopes = [user(holder) for holder, _ in once], [scope for _, scope in once]
            rows = await connection.fetch(statements.REACHED, tenant_id, sorted(set(names)), names, scopes)
            reached |= {(row["holder"].removeprefix("user:"), row["scope"]): row["now"] for row in rows}
        return reached


def _nobody(tenant_id: int) -> None:
    """Nobody listens yet; the events are in the database all the same."""


def _unheard(tenant_id: int, seq: int, touched: Touched) -> None:
    """No device listens yet; each asks by itself."""


class _Read(msgspec.Struct, frozen=True):
    """The records there are, the database's incarnation, and the commit that last wrote a link of the tenant."""

    stored: dict[Key, Stored]
    incarnation: str
    linked: int


async def _read(connection: Connection, tenant_id: int, keys: frozenset[Key]) -> _Read:
    ordered = sorted(keys)
    clock, *rows = await connection.fetch(
        statements.READ, tenant_id, [entity for entity, _ in ordered], [record_id for _, record_id in ordered]
    )
    stored = {(row[0], row[1]): Stored(row[2], row[3], row[4], row[5], row[6]) for row in rows}
    return _Read(stored, incarnation=clock["id"], linked=clock["seq"])


_RECORD_COLUMNS: Final = ("entity", "id", "scope", "prev", "deleted", "body", "delta", "ver")


async def _write(connection: Connection, tenant_id: int, commit: Commit, linked: int) -> int:
    """Write what was merged, if nothing has moved and no link was written after commit `linked`. Returns the commit's number."""
    by_entity = {entity: list(rows) for entity, rows in groupby(commit.records, attrgetter("entity"))}
    parked = [(result.push, row) for result in commit.results for row in result.parked]
    arguments: list[Any] = [
        *(list(map(attrgetter(name), commit.records)) for name in _RECORD_COLUMNS),
        *_columns(commit.results, 7, _log_row),
        *_columns(commit.links, 5, lambda k: (k.link.source, int(k.link.kind), k.link.target, k.reason, k.live)),
        list(map(attrgetter("ruled"), commit.records)),
        linked,
    ]
    if parked:
        arguments += _columns(parked, 7, lambda item: _parked_row(*item))
    for rows in by_entity.values():
        live = [b'{"id":"%s"%s' % (row.id.encode(), _tail(row.body)) for row in rows if not row.deleted]
        arguments += [b"[" + b",".join(live) + b"]", [row.id for row in rows if row.deleted]]
    seq: int = await connection.fetchval(statements.write(tuple(by_entity), parking=bool(parked)), tenant_id, *arguments)
    return seq


def _columns(rows: Sequence[Any], width: int, values: Any) -> list[list[Any]]:
    """Rows as the parallel arrays that `unnest` takes."""
    return [list(column) for column in zip(*map(values, rows), strict=True)] if rows else [[] for _ in range(width)]


def _log_row(result: Result) -> tuple[Any, ...]:
    push = result.push
    payload = _compress(b"[" + b",".join(push.raws) + b"]")
    return (
        push.author.device,
        push.epoch,
        push.first_n,
        push.last_n,
        push.received_ms,
        payload,
        msgspec.json.encode(result.outcomes),
    )


def _parked_row(push: Push, row: Any) -> tuple[Any, ...]:
    reasons = msgspec.json.encode(row.reasons).decode()
    return (push.author.device, push.epoch, row.n, push.author.user, push.received_ms, row.payload, reasons)


def _tail(body: bytes) -> bytes:
    """A JSON object without its opening brace, to be spliced behind another member."""
    return b"," + body[1:] if len(body) > 2 else b"}"


async def _still_fitting(connection: Connection, tenant_id: int, group: list[_Waiting]) -> list[_Waiting]:
    """After a refused write: the pushes whose device is where they thought; the others are told to look again."""
    rows = await connection.fetch(statements.DEVICES, tenant_id, [waiting.push.author.device for waiting in group])
    ends = {row["no"]: (row["epoch"], row["last_n"]) for row in rows}
    fitting = []
    for waiting in group:
        push = waiting.push
        if ends.get(push.author.device) == (push.epoch, push.first_n - 1):
            fitting.append(waiting)
        else:
            waiting.done.set_exception(Moved())
    return fitting


async def past_outcomes(
    connection: Connection, tenant_id: int, device_no: int, epoch: int, raws: Sequence[tuple[int, bytes]]
) -> tuple[Outcome, ...]:
    """The outcomes of transactions that the server has had before. Raises `Cloned` if one of them had other content then."""
    first, last = raws[0][0], raws[-1][0]
    rows = await connection.fetch(statements.OUTCOMES, tenant_id, device_no, epoch, first, last)
    known: dict[int, tuple[Logged, int]] = {}
    for row in rows:
        for logged in _logged.decode(row["outcomes"]):
            known[logged.outcome.n] = (logged, row["seq"])
    outcomes = []
    for n, raw in raws:
        if n not in known:
            continue
        logged, seq = known[n]
        if logged.hash != content_hash(raw):
            raise Cloned(n)
        outcomes.append(msgspec.structs.replace(logged.outcome, seq=seq))
    return tuple(outcomes)


class Cloned(Exception):
    """Transaction `n` came a second time with other content: two installations share one identity."""

    def __init__(self, n: int) -> None:
        super().__init__(f"transaction {n} came before with other content")
        self.n = n
