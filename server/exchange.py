"""`POST /v1/sync`: new transactions up, a page of the feed down, in one round trip."""

from collections.abc import Sequence
from typing import Final

import msgspec

from server.commit import Push
from server.devices import Admitted, Claim, Gate
from server.door import Cloned, Door, Moved, past_outcomes
from server.feed import Cursor
from server.problems import ProblemError, malformed
from server.pulls import Pulls
from server.storage.pool import Pool
from sync.codec import refusal
from sync.merge import Refused
from sync.protocol import Exchange, Outcome

_requests: Final = msgspec.json.Decoder(Exchange)
MAX_TRANSACTIONS: Final = 2_000
ATTEMPTS: Final = 8


class Exchanged(msgspec.Struct, frozen=True):
    """The reply as JSON bytes; who it is for, the checkpoint that this device says it has applied, and the scopes it heals."""

    reply: bytes
    device: Admitted
    applied: int
    healed: int
    sent: int
    taken: int


async def exchange(pool: Pool, gate: Gate, door: Door, pulls: Pulls, claim: Claim, body: bytes, now_ms: int) -> Exchanged:
    """Serve one exchange. Raises `ProblemError`; then nothing of the request has been stored."""
    request = decode(body)
    device = await gate.admit(claim)
    _check(request, device)
    outcomes: tuple[Outcome, ...] = ()
    taken = device.last_n
    if request.transactions:
        outcomes, taken = await _push(pool, gate, door, claim, device, request, now_ms)
    parts = [b'{"server_ms":%d,"taken":%d' % (now_ms, taken)]
    if outcomes:
        parts.append(b',"outcomes":' + msgspec.json.encode(outcomes))
    pulled, applied = None, 0
    if device.wiping:
        parts.append(b',"wipe":true')
    elif request.limit:
        cursor = _cursor(request.cursor, device)
        applied = cursor.base if cursor.have is None else 0
        if cursor.base < device.horizon and cursor.have != () and request.digests is None:
            parts.append(b',"want_digests":true')
        else:
            told = max((outcome.seq for outcome in outcomes), default=0)
            pulled = await pulls.page(device, request, cursor, now_ms, told=told)
            parts += (b',"page":', *pulled.parts)
    parts.append(b"}")
    return Exchanged(
        b"".join(parts),
        device,
        applied,
        pulled.healed if pulled else 0,
        len(request.transactions),
        taken,
    )


def decode(body: bytes) -> Exchange:
    try:
        return _requests.decode(body)
    except msgspec.DecodeError as error:
        raise malformed(refusal(error)) from error
    except (UnicodeDecodeError, RecursionError) as error:  # what msgspec does not catch itself
        raise malformed(Refused("json", f"{type(error).__name__}: {error}")) from error


def _check(request: Exchange, device: Admitted) -> None:
    if request.epoch != device.epoch:
        raise ProblemError(409, "The device's log has begun anew", field="epoch", rule="epoch", expected=device.epoch)
    if len(request.transactions) > MAX_TRANSACTIONS:
        raise ProblemError(
            413, "Too many transactions at once", f"send at most {MAX_TRANSACTIONS}", field="transactions", rule="bounds"
        )
    if request.first < 1:
        raise ProblemError(400, "The request does not fit", "transactions are numbered from 1", field="first", rule="bounds")


async def _push(
    pool: Pool, gate: Gate, door: Door, claim: Claim, device: Admitted, request: Exchange, now_ms: int
) -> tuple[tuple[Outcome, ...], int]:
    """Outcomes of every transaction sent, in order, and the number that the server has got to."""
    raws = [(n, bytes(raw)) for n, raw in enumerate(request.transactions, request.first)]
    last_n = device.last_n
    for _ in range(ATTEMPTS):
        seen = [item for item in raws if item[0] <= last_n]
        fresh = [item for item in raws if item[0] > last_n]
        if fresh and fresh[0][0] != last_n + 1:
            raise ProblemError(409, "Transactions are missing", field="first", rule="gap", expected=last_n + 1)
        past = await _past(pool, device, seen) if seen else ()
        if not fresh:
            return past, last_n
        push = Push(
            device.author,
            device.epoch,
            fresh[0][0],
            tuple(raw for _, raw in fresh),
            now_ms,
            offset_ms=request.sent_ms - now_ms,
            not_before_ms=device.enrolled_ms,
        )
        try:
            committed = await door.submit(device.tenant_id, push)
        except Moved:
            last_n = (await gate.admit(claim)).last_n
            continue
        return past + committed.outcomes, push.last_n
    raise ProblemError(503, "The device's log keeps moving", "another process of this app is sending", rule="busy")


async def _past(pool: Pool, device: Admitted, seen: Sequence[tuple[int, bytes]]) -> tuple[Outcome, ...]:
    async with pool.connection(device.tenant_id) as connection:
        try:
            return await past_outcomes(connection, device.tenant_id, device.author.device, device.epoch, seen)
        except Cloned as cloned:
            raise ProblemError(
                409, "Two installations share this device's identity", str(cloned), field="transactions", rule="cloned", n=cloned.n
            ) from cloned


def _cursor(text: str | None, device: Admitted) -> Cursor:
    """Raises a 409 for a cursor that this database has not made: the server was restored from a backup since."""
    if text is None:
        return Cursor.first(device.incarnation)
    try:
        cursor = Cursor.decode(text)
    except ValueError as error:
        raise ProblemError(400, "The request does not fit", str(error), field="cursor", rule="cursor") from error
    if cursor.incarnation != device.incarnation or max(cursor.base, cursor.head) > device.clock_seq:
        detail = "begin with a null cursor, and send again what was acknowledged since the gap"
        raise ProblemError(409, "The server was restored", detail, field="cursor", rule="incarnation", expected=device.last_n + 1)
    if not cursor.settled and max(cursor.base, cursor.head) < device.horizon:
        detail = "the download under way is older than the tombstone horizon: begin with a null cursor"
        raise ProblemError(409, "The download is too old to go on", detail, field="cursor", rule="incarnation")
    return cursor
