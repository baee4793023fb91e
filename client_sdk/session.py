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
from sync.protocol import Enrolled, Enrolment, Exchange, Problem, Reply

T = TypeVar("T")

MAX_TRANSACTIONS: Final = 200
MAX_BYTES: Final = 1_000_000
COMPARE_EVERY_MS: Final = 86_400_000
RESTORED: Final = "incarnation"
LOCK_RETRY_S: Final = 0.05
_BUSY: Final = frozenset({408, 425, 429})
_JSON: Final = {"Content-Type": "application/json"}

_encode: Final = msgspec.json.Encoder().encode
_reply: Final = msgspec.json.Decoder(Reply)
_problem: Final = msgspec.json.Decoder(Problem)
_enrolled: Final = msgspec.json.Decoder(Enrolled)


class Next(enum.Enum):
    """What follows an exchange."""

    MORE = "another one"
    COMPARE = "another one, with the digests of what is held"
    DONE = "nothing: both sides are even"


class Repairable(Rejected):
    """The server lost something that the device makes up for: `RESTORED`, or the number from which it misses transactions."""

    def __init__(self, problem: Problem, repair: str | int) -> None:
        super().__init__(problem)
        self.repair = repair


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

    def _connected(self, url: str) -> AbstractAsyncContextManager[Transport]:
        return http(url) if self._transport is None else nullcontext(self._transport)

    async def enrol(self, url: str, code: str, device_name: str) -> Enrolled:
        if self._store.device().enrolled is not None:
            raise AlreadyEnrolled("this file belongs to a device already: enrol with a file of its own")
        async with self._connected(url) as transport:
            answer = await _post(transport, "/v1/enrol", _encode(Enrolment(code, device_name)), {})
        enrolled = _decoded(_enrolled, answer)
        with self._store.write():
            if not self._store.enrol(url, answer):
                raise AlreadyEnrolled("this file was enrolled by another process at the same time")
        return enrolled

    async def sync(self) -> None:
        """Exchange until every transaction has an outcome and a checkpoint has come."""
        device = self._store.device()
        if device.enrolled is None:
            raise NotEnrolled("enrol this replica first")
        me = _enrolled.decode(device.enrolled)
        async with self._exclusive(), self._connected(device.url) as transport:
            try:
                await self._until_even(transport, me)
            except Revoked:
                with self._store.write():
                    self._store.set_revoked(revoked=True)
                raise

    async def _until_even(self, transport: Transport, me: Enrolled) -> None:
        repaired: set[str | int] = set()
        then = Next.COMPARE if self._compares() else Next.MORE
        while then is not Next.DONE:
            try:
                then = await self._exchange(transport, me, compare=then is Next.COMPARE)
            except Repairable as found:
                if found.repair in repaired:
                    raise
                repaired.add(found.repair)
                then = Next.MORE
                if found.repair == RESTORED:
                    ledger.restart(self._store)
                else:
                    self._hub.changed(ledger.reopen(self._store, int(found.repair)))

    @asynccontextmanager
    async def _exclusive(self) -> AsyncIterator[None]:
        while not self._lock.acquire():
            await self._sleep(LOCK_RETRY_S)
        try:
            yield
        finally:
            self._lock.release()

    async def _exchange(self, transport: Transport, me: Enrolled, *, compare: bool) -> Next:
        """One request and its reply."""
        device, batch = self._store.device(), self._batch()
        request = Exchange(
            epoch=me.epoch,
            sent_ms=self._clock(),
            cursor=device.staged_cursor or device.cursor,
            first=batch[0][0] if batch else 1,
            transactions=tuple(msgspec.Raw(raw) for _, raw in batch),
            digests=ledger.digests(self._store) if compare else None,
        )
        answer = await _post(transport, "/v1/sync", _encode(request), {"Authorization": f"Bearer {me.token}"})
        reply = _decoded(_reply, answer)
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
        return Next.MORE if page is None or page.more or page.groups_left or waiting else Next.DONE

    def _compares(self) -> bool:
        """Whether it is time to have the server compare what this device holds, scope by scope."""
        device = self._store.device()
        settled = device.cursor is not None and device.staged_cursor is None
        return settled and device.compared_ms is not None and self._clock() - device.compared_ms >= COMPARE_EVERY_MS

    def _batch(self) -> list[tuple[int, bytes]]:
        """The oldest transactions without an outcome, up to a size that a poor line carries; at least one if there is any."""
        batch: list[tuple[int, bytes]] = []
        size = 0
        for n, raw in self._store.waiting(MAX_TRANSACTIONS):
            size += len(raw)
            if batch and (size > MAX_BYTES or n != batch[-1][0] + 1):
                break
            batch.append((n, raw))
        return batch


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
    if status == 409 and problem.rule == RESTORED:
        raise Repairable(problem, RESTORED)
    expected = problem.extra.get("expected")
    if status == 409 and problem.rule == "gap" and isinstance(expected, int):
        raise Repairable(problem, expected)
    raise Rejected(problem)


def _decoded(decoder: msgspec.json.Decoder[T], answer: bytes) -> T:
    try:
        return decoder.decode(answer)
    except msgspec.DecodeError as error:
        raise BadReply(f"not an answer of this protocol: {error}") from error
