"""Live wake-ups: telling connected devices that a pull is worth their while. A hint says nothing of what changed; the pull does.

A commit touches scopes, and the sources of the links that it began or ended. An index of which connected user reaches which names
tells whom that may concern. It may wake too many, never too few: a user whose reach is not known at this moment, because the
stream has just begun or a link has just changed, is woken by every commit of the tenant, and so is the office.

Between processes hints travel by NOTIFY, sent by one task from one connection and outside the write's transaction, since NOTIFY
takes a lock that all commits of the database share. Names travel and are indexed as short hashes; a collision wakes one too many.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from typing import Final

import asyncpg
import msgspec

from server.storage import reach
from server.storage.pool import APP_ROLE, Pool
from sync.links import CATALOGUE, user

CHANNEL: Final = "truckroll_wake"
MARKS_PER_HINT: Final = 400
"""A notification holds 8000 bytes; a mark is at most 15 digits."""
MARKS_MAX: Final = 4_000
"""A commit that touches more is told as one that touches everything."""
INDEX_BATCH: Final = 50
STREAMS_PER_DEVICE: Final = 4

NOTIFY_SPACING_S: Final = 0.02
HINT_SPACING_S: Final = 0.1
HEARTBEAT_S: Final = 20.0
PROBE_S: Final = 15.0
"""How often the connection to the other processes is probed, and connected devices are checked for having been shut out."""
RETRY_S: Final = 1.0
FLUSH_S: Final = 5.0

_log: Final = logging.getLogger(__name__)
_FAULTS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)  # OSError includes TimeoutError


def mark(name: str) -> int:
    """The short hash of a scope or a link's source; 48 bits, so that it travels as a JSON integer."""
    return int.from_bytes(blake2b(name.encode(), digest_size=6).digest())


_EVERYWHERE: Final = mark(CATALOGUE)


class Touched(msgspec.Struct, frozen=True):
    """What a commit touched: the scopes of its records, the sources of its links, and the devices that wrote it."""

    scopes: frozenset[str]
    sources: frozenset[str] = frozenset()
    authors: frozenset[int] = frozenset()


class Hint(msgspec.Struct, frozen=True, array_like=True):
    """As it travels between processes. `sources` are those marks that may have changed somebody's reach; `all` says that too much
    was touched to name it."""

    tenant_id: int
    seq: int
    scopes: tuple[int, ...] = ()
    sources: tuple[int, ...] = ()
    all: bool = False

    def parts(self) -> Iterator["Hint"]:
        """The same in pieces that each fit a notification."""
        if self.all or len(self.scopes) + len(self.sources) > MARKS_MAX:
            yield Hint(self.tenant_id, self.seq, all=True)
            return
        tagged = [(m, False) for m in self.scopes] + [(m, True) for m in self.sources]
        for at in range(0, len(tagged), MARKS_PER_HINT):
            some = tagged[at : at + MARKS_PER_HINT]
            yield Hint(
                self.tenant_id, self.seq, tuple(m for m, linked in some if not linked), tuple(m for m, linked in some if linked)
            )


def joined(one: Hint | None, other: Hint) -> Hint:
    """One hint for two of the same tenant."""
    if one is None:
        return other
    return Hint(
        one.tenant_id,
        max(one.seq, other.seq),
        tuple({*one.scopes, *other.scopes}),
        tuple({*one.sources, *other.sources}),
        one.all or other.all,
    )


_hints: Final = msgspec.json.Decoder(Hint)


class Subscription:
    """One open stream: an async iterator of its bytes. However much happens, at most one hint waits in it."""

    def __init__(self, device_no: int, user_id: str, *, sees_all: bool, spacing_s: float, heartbeat_s: float) -> None:
        self.device_no, self.user_id, self.sees_all = device_no, user_id, sees_all
        self._spacing_s, self._heartbeat_s = spacing_s, heartbeat_s
        self._ready = asyncio.Event()
        self._pending: int | None = None
        self._ended = False
        self._rest = False

    def offer(self, seq: int) -> None:
        self._pending = max(seq, self._pending or 0)
        self._ready.set()

    def end(self) -> None:
        """Let the stream end at its next step."""
        self._ended = True
        self._ready.set()

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> bytes:
        if self._rest and not self._ended:
            await asyncio.sleep(self._spacing_s)  # what happens meanwhile joins into one hint
            self._rest = False
        try:
            async with asyncio.timeout(self._heartbeat_s):
                await self._ready.wait()
        except TimeoutError:
            return b": alive\n\n"
        if self._ended:
            raise StopAsyncIteration
        self._ready.clear()
        seq, self._pending, self._rest = self._pending or 0, None, True
        return b"event: wake\ndata: %d\n\n" % seq


class _Listener:
    """A connected user. `marks` are the names it reaches, None while they are not known; `age` counts hints that told of links."""

    def __init__(self) -> None:
        self.streams: list[Subscription] = []
        self.marks: frozenset[int] | None = None
        self.age = 0


class Audience:
    """The connected users of one tenant and what each of them reaches."""

    def __init__(self) -> None:
        self._listeners: dict[str, _Listener] = {}
        self._by_mark: dict[int, tuple[str, ...]] = {}

    def add(self, stream: Subscription) -> None:
        self._listeners.setdefault(stream.user_id, _Listener()).streams.append(stream)
        mine = [other for other in self._listeners[stream.user_id].streams if other.device_no == stream.device_no]
        for other in mine[:-STREAMS_PER_DEVICE]:
            other.end()

    def remove(self, stream: Subscription) -> bool:
        """Whether nobody is left."""
        listener = self._listeners.get(stream.user_id)
        if listener is not None and stream in listener.streams:
            listener.streams.remove(stream)
            if not listener.streams:
                self._unindex(stream.user_id, listener)
                del self._listeners[stream.user_id]
        return not self._listeners

    def streams(self) -> list[Subscription]:
        return [stream for listener in self._listeners.values() for stream in listener.streams]

    def concerned(self, hint: Hint) -> list[Subscription]:
        """The streams of everybody whom a hint may concern. Those whose reach it may have changed become unknown."""
        if hint.all:
            for user_id, listener in self._listeners.items():
                self._unindex(user_id, listener)
        changed = {user_id for m in hint.sources for user_id in self._by_mark.get(m, ())}
        for user_id in changed:
            self._unindex(user_id, self._listeners[user_id])
        if hint.all or hint.sources:  # else nobody's reach has changed, and a lookup under way is as good as before
            for listener in self._listeners.values():
                listener.age += 1
        if hint.all or _EVERYWHERE in hint.scopes:
            return self.streams()
        reached = {user_id for m in hint.scopes for user_id in self._by_mark.get(m, ())} | changed
        return [
            stream
            for user_id, listener in self._listeners.items()
            for stream in listener.streams
            if listener.marks is None or stream.sees_all or user_id in reached
        ]

    def unknown(self) -> dict[str, int]:
        """Users whose reach is to be looked up, each with an age to hand back to `index`. The office needs none."""
        return {
            user_id: listener.age
            for user_id, listener in self._listeners.items()
            if listener.marks is None and not all(stream.sees_all for stream in listener.streams)
        }

    def index(self, reached: Mapping[str, Iterable[str]], ages: Mapping[str, int]) -> None:
        """Take in what was looked up, but not for those whom a hint has passed since: it may be older than that hint."""
        for user_id, age in ages.items():
            listener = self._listeners.get(user_id)
            if listener is None or listener.marks is not None or listener.age != age:
                continue
            listener.marks = frozenset(mark(name) for name in (user(user_id), *reached.get(user_id, ())))
            for m in listener.marks:
                self._by_mark[m] = (*self._by_mark.get(m, ()), user_id)

    def _unindex(self, user_id: str, listener: _Listener) -> None:
        for m in listener.marks or ():
            left = tuple(other for other in self._by_mark[m] if other != user_id)
            if left:
                self._by_mark[m] = left
            else:
                del self._by_mark[m]
        listener.marks = None


class Wakeups:
    """One per process. The door tells it of commits, streams subscribe to it; `across` ties it to the other processes."""

    def __init__(self, pool: Pool, *, hint_spacing_s: float = HINT_SPACING_S, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._pool, self._hint_spacing_s, self._heartbeat_s = pool, hint_spacing_s, heartbeat_s
        self._audiences: dict[int, Audience] = {}
        self._outgoing: dict[int, Hint] = {}
        self._due = asyncio.Event()
        """Something is to be told to other processes."""
        self._wanted = asyncio.Event()
        """Set for good by the first commit or stream: a process that has neither makes no connection."""
        self._looking = asyncio.Event()
        self._ended = False
        self.linked = asyncio.Event()
        """Set while hints of other processes arrive."""

    # Commits of this process ------------------------------------------------------------------------------------------------

    def note(self, tenant_id: int, seq: int, touched: Touched) -> None:
        """A commit is durable. Its authors are not woken: the reply to what they sent brings them what it changed."""
        if not (touched.scopes or touched.sources):
            return
        hint = Hint(tenant_id, seq, tuple(map(mark, touched.scopes)), tuple(map(mark, touched.sources)))
        self._deliver(hint, touched.authors)
        self._outgoing[tenant_id] = joined(self._outgoing.get(tenant_id), hint)
        self._due.set()
        self._wanted.set()

    def _deliver(self, hint: Hint, authors: frozenset[int] = frozenset()) -> None:
        audience = self._audiences.get(hint.tenant_id)
        if audience is None:
            return
        for stream in audience.concerned(hint):
            if stream.device_no not in authors:
                stream.offer(hint.seq)
        self._looking.set()

    # Streams ----------------------------------------------------------------------------------------------------------------

    def subscribe(self, tenant_id: int, device_no: int, user_id: str, *, sees_all: bool, seq: int) -> Subscription:
        """A stream that begins with a hint, since nobody knows what the device missed before. Hand it back to `unsubscribe`."""
        stream = Subscription(device_no, user_id, sees_all=sees_all, spacing_s=self._hint_spacing_s, heartbeat_s=self._heartbeat_s)
        self._audiences.setdefault(tenant_id, Audience()).add(stream)
        stream.offer(seq)
        if self._ended:
            stream.end()
        self._looking.set()
        self._wanted.set()
        return stream

    def unsubscribe(self, tenant_id: int, stream: Subscription) -> None:
        audience = self._audiences.get(tenant_id)
        if audience is not None and audience.remove(stream):
            del self._audiences[tenant_id]

    def connected(self, tenant_id: int) -> frozenset[int]:
        """Numbers of the devices that have a stream open in this process."""
        audience = self._audiences.get(tenant_id)
        return frozenset(stream.device_no for stream in audience.streams()) if audience else frozenset()

    def end_streams(self) -> None:
        """End every stream, and each that begins from now on; a server that shuts down would otherwise wait for them."""
        self._ended = True
        for audience in self._audiences.values():
            for stream in audience.streams():
                stream.end()

    # Other processes --------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def across(self, url: str) -> AsyncIterator[None]:
        """While inside, hints go to and come from every process on this database; a connection is made on first need."""
        carrying = asyncio.create_task(_repeating(lambda: self._carry(url)), name="wakeups")
        helping = [
            asyncio.create_task(_repeating(self._look), name="wakeups-index"),
            asyncio.create_task(_repeating(self._audit), name="wakeups-audit"),
        ]
        try:
            yield
        finally:
            if self._outgoing:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FLUSH_S):
                        await self._flushed()
            for task in (carrying, *helping):
                task.cancel()
            await asyncio.gather(carrying, *helping, return_exceptions=True)

    async def _flushed(self) -> None:
        while self._outgoing:  # noqa: ASYNC110  # at the end of a process only; nothing else waits for this
            await asyncio.sleep(NOTIFY_SPACING_S)

    async def _carry(self, url: str) -> None:
        await self._wanted.wait()
        connection = await asyncpg.connect(
            url, server_settings={"role": APP_ROLE, "application_name": "truckroll-wakeups"}, timeout=PROBE_S
        )
        try:
            connection.add_termination_listener(lambda _: self._due.set())
            await connection.add_listener(CHANNEL, self._hear)
            self.linked.set()
            for tenant_id in tuple(self._audiences):  # whatever was said while nobody listened is lost
                self._deliver(Hint(tenant_id, 0, all=True))
            while True:
                await self._tell(connection)
        finally:
            self.linked.clear()
            connection.terminate()

    async def _tell(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        try:
            async with asyncio.timeout(PROBE_S):
                await self._due.wait()
        except TimeoutError:
            await connection.execute("select 1", timeout=PROBE_S)
            return
        self._due.clear()
        told, self._outgoing = self._outgoing, {}
        payloads = [msgspec.json.encode(part).decode() for hint in told.values() for part in hint.parts()]
        try:
            await connection.execute("select pg_notify($1, p) from unnest($2::text[]) p", CHANNEL, payloads, timeout=PROBE_S)
        except _FAULTS:
            for tenant_id, hint in told.items():
                self._outgoing[tenant_id] = joined(self._outgoing.get(tenant_id), hint)
            raise
        finally:
            if self._outgoing:
                self._due.set()
        await asyncio.sleep(NOTIFY_SPACING_S)

    def _hear(self, connection: object, pid: int, _channel: str, payload: object) -> None:
        assert isinstance(connection, asyncpg.Connection | asyncpg.pool.PoolConnectionProxy)
        if pid != connection.get_server_pid():  # what this process said, its streams know
            self._deliver(_hints.decode(str(payload)))

    # Who reaches what -------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Look up the reach of those users of whom it is not known."""
        await self._looking.wait()
        self._looking.clear()
        for tenant_id, audience in tuple(self._audiences.items()):
            ages = list(audience.unknown().items())
            for at in range(0, len(ages), INDEX_BATCH):
                some = dict(ages[at : at + INDEX_BATCH])
                try:
                    async with self._pool.connection(tenant_id) as connection:
                        reached = await reach.names_of(connection, tenant_id, list(some))
                except _FAULTS:
                    self._looking.set()
                    raise
                audience.index(reached, some)
        if any(audience.unknown() for audience in self._audiences.values()):
            self._looking.set()
            await asyncio.sleep(NOTIFY_SPACING_S)  # a burst of link changes is looked up once, not once each

    async def _audit(self) -> None:
        await asyncio.sleep(PROBE_S)
        await self.audit()

    async def audit(self) -> None:
        """End the streams of devices that were suspended or revoked."""
        for tenant_id, audience in tuple(self._audiences.items()):
            numbers = sorted(self.connected(tenant_id))
            async with self._pool.connection(tenant_id) as connection:
                out = await reach.shut_out(connection, tenant_id, numbers)
            for stream in audience.streams():
                if stream.device_no in out:
                    stream.end()


async def _repeating(step: Callable[[], Awaitable[None]]) -> None:
    """For ever; while the database is away, now and then."""
    while True:
        try:
            await step()
        except _FAULTS as error:
            _log.warning("wake-ups between processes pause: %s", error)
            await asyncio.sleep(RETRY_S)
