"""Exchanges with the server, one after another, until both sides have what they should."""

import enum
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Final, TypeVar

import msgspec

from client_sdk import ledger
from client_sdk.errors import AlreadyEnrolled, BadReply, NotEnrolled, Offline, Rejected, Revoked, Wiped
from client_sdk.store import Store, SyncLock
from client_sdk.transport import Transport, http
from client_sdk.watch import Hub
from sync.protocol import Enrolled, Enrolment, Exchange, Problem

T = TypeVar("T")
Batch = list[tuple[int, bytes]]
"""Transactions by number, in order."""

MAX_TRANSACTIONS: Final = 200
MAX_BYTES: Final = 1_000_000
COMPARE_EVERY_MS: Final = 86_400_000
LOCK_RETRY_S: Final = 0.05
_BUSY: Final = frozenset({408, 425, 429})
_JSON: Final = {"Content-Type": "application/json"}

_encode: Final = msgspec.json.Encoder().encode
_problem: Final = msgspec.json.Decoder(Problem)
_enrolled: Final = msgspec.json.Decoder(Enrolled)


class Next(enum.Enum):
    """What follows an exchange."""

    MORE = "another one"
    COMPARE = "another one, with the digests of what is held"
    TELL = "an empty one, so that the server learns that the checkpoint has arrived; only once, for there may be more each time"
    DONE = "nothing: both sides are even"


class Flaw(enum.StrEnum):
    """What may be wrong between a device's log and the server's that a device mends by itself; the rule of a 409."""

    RESTORED = "incarnation"
    """The server was restored from a backup: the cursor is of a time that it does not know."""
    GAP = "gap"
    """It misses transactions from a number on."""
    CLONED = "cloned"
    """It had the transaction of a number before, with other content. Two installations share one identity, each a copy of one
    file, or the file was restored from a backup that is older than the last exchange."""
    EPOCH = "epoch"
    """The log that this device writes to is closed."""


class Flawed(Rejected):
    """A refusal for a flaw that can be mended; `n` is the transaction that it begins with, as the server counts."""

    def __init__(self, problem: Problem, flaw: Flaw, n: int = 0) -> None:
        super().__init__(problem)
        self.flaw, self.n = flaw, n


class Mending:
    """What a round of exchanges has mended so far. Each flaw is mended once a round: a server that insists is not believed."""

    def __init__(self) -> None:
        self.done: set[tuple[Flaw, int]] = set()
        self.renew_at: int | None = None
        """The transaction from which on everything goes under a new identity, once all before it have their outcome."""
        self.renewed = False


class Session:
    """Talks to the server for one replica. `sleep` is used only while another process or thread holds the sync lock."""

    def __init__(
        self,
        store: Store,
        lock: SyncLock,
        hub: Hub,
        clock: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]],
        transport: Transport | None,
    ) -> None:
        self._store, self._lock, self._hub, self._clock, self._sleep, self._transport = store, lock, hub, clock, sleep, transport

    async def enrol(self, url: str, code: str, device_name: str) -> Enrolled:
        if self._store.device().enrolled is not None:
            raise AlreadyEnrolled("this file belongs to a device already: enrol with a file of its own")
        answer, enrolled = await asked_to_enrol(self._transport, url, code, device_name)
        self.adopt(url, answer)
        return enrolled

    def adopt(self, url: str, answer: bytes) -> None:
        with self._store.write():
            if not self._store.enrol(url, answer):
                raise AlreadyEnrolled("this file belongs to a device already")

    async def sync(self) -> None:
        """Exchange until every transaction has an outcome and a checkpoint has come."""
        if self._store.device().enrolled is None:
            raise NotEnrolled("enrol this replica first")
        async with self._exclusive(), _connected(self._transport, self._store.device().url) as transport:
            try:
                await self._until_even(transport)
            except Revoked:
                with self._store.write():
                    self._store.set_revoked(revoked=True)
                raise

    async def _until_even(self, transport: Transport) -> None:
        mending = Mending()
        then = Next.COMPARE if self._compares() else Next.MORE
        told = False
        while then is not Next.DONE and not (told and then is Next.TELL):
            told = told or then is Next.TELL
            batch = _until(self._batch(), mending.renew_at)
            if mending.renew_at is not None and not batch:
                await self._renew(transport)
                mending.renew_at, mending.renewed = None, True
                continue
            try:
                then = await self._exchange(transport, batch, compare=then is Next.COMPARE)
            except Flawed as found:
                then = Next.MORE
                self._mend(found, mending)

    def _mend(self, found: Flawed, mending: Mending) -> None:
        """Make up for a flaw, or raise it again if that has not helped."""
        n = self._store.device().before + found.n
        if (found.flaw, n) in mending.done or (mending.renewed and found.flaw in (Flaw.CLONED, Flaw.EPOCH)):
            raise found
        mending.done.add((found.flaw, n))
        match found.flaw:
            case Flaw.RESTORED:
                ledger.restart(self._store)
            case Flaw.GAP:
                self._hub.changed(ledger.reopen(self._store, n))
            case Flaw.CLONED:
                mending.renew_at = n if mending.renew_at is None else min(n, mending.renew_at)
            case Flaw.EPOCH:
                mending.renew_at = 0

    async def _renew(self, transport: Transport) -> None:
        """Become a device of its own. Killed before the reply is stored, it does so again; a device that nobody uses is left."""
        me = self._me()
        answer = await _post(transport, "/v1/renew", b"", _bearer(me))
        if _decoded(_enrolled, answer).user != me.user:
            raise BadReply("the renewed identity is another user's")
        ledger.renew(self._store, answer)

    def _me(self) -> Enrolled:
        """Asked while the sync lock is held: another process may have renewed the identity while this one waited for it."""
        enrolled = self._store.device().enrolled
        if enrolled is None:
            raise NotEnrolled("enrol this replica first")
        return _enrolled.decode(enrolled)

    @asynccontextmanager
    async def _exclusive(self) -> AsyncIterator[None]:
        while not self._lock.acquire():
            await self._sleep(LOCK_RETRY_S)
        try:
            yield
        finally:
            self._lock.release()

    async def _exchange(self, transport: Transport, batch: Batch, *, compare: bool) -> Next:
        """One request and its reply."""
        device, me = self._store.device(), self._me()
        request = Exchange(
            epoch=me.epoch,
            sent_ms=self._clock(),
            cursor=device.staged_cursor or device.cursor,
            first=batch[0][0] - device.before if batch else 1,
            transactions=tuple(msgspec.Raw(raw) for _, raw in batch),
            digests=ledger.digests(self._store) if compare else None,
        )
        answer = await _post(transport, "/v1/sync", _encode(request), _bearer(me))
        reply = _decoded(ledger.reply, answer)
        changed = ledger.receive(self._store, reply, self._clock(), compared=compare)
        if changed:
            self._hub.changed(changed)
        waiting = self._store.waiting(1)
        if batch and waiting[:1] == batch[:1]:
            raise BadReply(f"the reply carries no outcome for transaction {batch[0][0]}")
        if reply.wipe and (erased := ledger.wipe(self._store)) is not None:
            self._hub.changed(erased)
            raise Wiped("the server ordered this device to erase itself")
        if reply.want_digests and not compare:
            return Next.COMPARE
        page = reply.page
        if not batch and page is None and not reply.wipe:
            raise BadReply("the reply carries neither outcomes nor a page")
        if page is None or page.more or page.groups_left or waiting:
            return Next.MORE
        brought = page.enter or page.evict or page.whole or page.delta or page.gone
        return Next.TELL if brought else Next.DONE

    def _compares(self) -> bool:
        """Whether it is time to have the server compare what this device holds, scope by scope.

        Not while it holds records of entities that only a newer version of the app knows: which scopes these are in it cannot
        say, so those scopes would seem damaged and come anew every time.
        """
        device = self._store.device()
        settled = device.cursor is not None and device.staged_cursor is None and not self._store.holds_unknown()
        return settled and device.compared_ms is not None and self._clock() - device.compared_ms >= COMPARE_EVERY_MS

    def _batch(self) -> Batch:
        """The oldest transactions without an outcome, up to a size that a poor line carries; at least one if there is any."""
        batch: Batch = []
        size = 0
        for n, raw in self._store.waiting(MAX_TRANSACTIONS):
            size += len(raw)
            if batch and (size > MAX_BYTES or n != batch[-1][0] + 1):
                break
            batch.append((n, raw))
        return batch


async def asked_to_enrol(transport: Transport | None, url: str, code: str, device_name: str) -> tuple[bytes, Enrolled]:
    """Spend a one-time code; the server's answer as it came, for a file to keep, and what it says."""
    async with _connected(transport, url) as connected:
        answer = await _post(connected, "/v1/enrol", _encode(Enrolment(code, device_name)), {})
    return answer, _decoded(_enrolled, answer)


def _connected(transport: Transport | None, url: str) -> AbstractAsyncContextManager[Transport]:
    return http(url) if transport is None else nullcontext(transport)


async def _post(transport: Transport, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    try:
        status, answer = await transport.post(path, body, _JSON | headers)
    except Offline:
        raise
    except OSError as error:
        raise Offline(f"{type(error).__name__}: {error}") from error
    if 200 <= status < 300:
        return answer
    if status >= 500 or status in _BUSY:
        raise Offline(f"the server answered {status}")
    problem = _decoded(_problem, answer)
    if status == 401:
        raise Revoked(problem)
    if status == 409 and (flawed := _flawed(problem)):
        raise flawed
    raise Rejected(problem)


def _flawed(problem: Problem) -> Flawed | None:
    first = {"gap": "expected", "cloned": "n"}.get(problem.rule)
    n = problem.extra.get(first) if first else 0
    return Flawed(problem, Flaw(problem.rule), n) if problem.rule in list(Flaw) and isinstance(n, int) else None


def _until(batch: Batch, end: int | None) -> Batch:
    return batch if end is None else [(n, raw) for n, raw in batch if n < end]


def _bearer(me: Enrolled) -> dict[str, str]:
    return {"Authorization": f"Bearer {me.token}"}


def _decoded(decoder: msgspec.json.Decoder[T], answer: bytes) -> T:
    try:
        answer.decode()  # what stays undecoded is text all the same
        return decoder.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadReply(f"not an answer of this protocol: {error}") from error
