"""The one route that devices ask all day, as plain ASGI: what a framework does for a route that takes and gives any type costs more
than most exchanges do.
"""

import asyncio
import time
from contextlib import suppress

import asyncpg
import msgspec
from litestar import asgi
from litestar.enums import ScopeType
from litestar.exceptions import MethodNotAllowedException
from litestar.types import Receive, Scope, Send

from server.context import Context
from server.devices import claim_of
from server.exchange import exchange
from server.problems import ProblemError
from server.storage import statements
from server.web import JSON, packed, unpacked


class Seen(msgspec.Struct, frozen=True):
    """One exchange, as `truckroll device show` tells it."""

    device_no: int
    at_ms: int
    took_us: int
    sent: int
    taken: int
    request_bytes: int
    reply_bytes: int
    checkpoint: int
    healed: int


class Board:
    """Who has seen what: noted at each exchange, written at leisure, so that an idle pull stays one read."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen: dict[int, list[Seen]] = {}

    def note(self, tenant_id: int, seen: Seen) -> None:
        self._seen.setdefault(tenant_id, []).append(seen)

    async def write(self) -> None:
        noted, self._seen = self._seen, {}
        for tenant_id, exchanges in noted.items():
            furthest = {s.device_no: s.checkpoint for s in sorted(exchanges, key=lambda s: s.checkpoint)}
            latest = {s.device_no: s.at_ms for s in exchanges}
            columns = zip(*(msgspec.structs.astuple(seen) for seen in exchanges), strict=True)
            async with self._context.pool.connection(tenant_id) as connection:
                await connection.execute(
                    statements.NOTE_SEEN, tenant_id, list(latest), list(latest.values()), [furthest[n] for n in latest]
                )
                await connection.execute(statements.NOTE_EXCHANGES, tenant_id, *(list(column) for column in columns))

    async def write_for_ever(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # the next round tells the same
                await self.write()


@asgi("/v1/sync", copy_scope=False)
async def sync_route(scope: Scope, receive: Receive, send: Send) -> None:
    """One exchange: new transactions up, a page of the feed down."""
    began_ns = time.perf_counter_ns()
    if scope["type"] != ScopeType.HTTP or scope["method"] != "POST":
        raise MethodNotAllowedException
    state = scope["litestar_app"].state
    context: Context = state.context
    headers = dict(scope["headers"])
    claim = claim_of(_text(headers.get(b"authorization")))
    body = await _body(receive, state.max_body_bytes)
    if body is None:
        return
    body = unpacked(body, _text(headers.get(b"content-encoding")) or "identity", state.max_body_bytes)
    done = await exchange(context.pool, context.gate, context.door, context.pulls, claim, body, now_ms := context.now_ms())
    took_us = (time.perf_counter_ns() - began_ns) // 1000
    board: Board = state.board
    board.note(
        done.device.tenant_id,
        Seen(
            done.device.author.device, now_ms, took_us, done.sent, done.taken, len(body), len(done.reply), done.applied, done.healed
        ),
    )
    reply, said = packed(done.reply, _text(headers.get(b"accept-encoding")))
    said |= {"content-type": JSON, "content-length": str(len(reply))}
    lines = [(name.encode(), value.encode()) for name, value in said.items()]
    await send({"type": "http.response.start", "status": 200, "headers": lines})
    await send({"type": "http.response.body", "body": reply, "more_body": False})


def _text(value: bytes | None) -> str:
    return value.decode("latin-1") if value else ""


async def _body(receive: Receive, limit_bytes: int) -> bytes | None:
    """The request's body as it travelled; None if the client has gone. Raises a 413 as soon as it is too long."""
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return None
        parts.append(event["body"])
        size += len(event["body"])
        if size > limit_bytes:
            raise ProblemError(413, "The request is too large", f"at most {limit_bytes} bytes", rule="bounds")
        if not event.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
