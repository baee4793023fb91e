"""The network between one device and the server: a small HTTP proxy that can be told to fail, in all the ways that lines do.

It sits in the demo's process, so a device knows nothing of it but that calls fail. What it sees of the traffic is evidence: when
the line was down, and which batches the server had already answered when the device sent them again.
"""

import asyncio
import contextlib
import enum
import gzip
import time
from random import Random
from types import TracebackType
from typing import Final, Self, TypeAlias

import msgspec
import zstandard

LIMIT: Final = 32 * 1024 * 1024


class Fault(enum.Enum):
    NONE = "the exchange passes"
    REFUSED = "the connection is closed before anything is read"
    REQUEST_LOST = "the request never reaches the server"
    REPLY_LOST = "the server has committed, its reply is lost"
    REPLY_CUT = "the server has committed, half of its reply arrives"


RANDOM_FAULTS: Final = (Fault.REFUSED, Fault.REQUEST_LOST, Fault.REPLY_LOST, Fault.REPLY_CUT)


class Message(msgspec.Struct, frozen=True):
    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body

    def header(self, name: str) -> str:
        """A header's value, '' if it is absent."""
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.strip().lower() == name:
                return value.strip()
        return ""


class _Batch(msgspec.Struct, frozen=True):
    first: int = 1
    transactions: tuple[msgspec.Raw, ...] = ()


_Ends: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_batches: Final = msgspec.json.Decoder(_Batch)


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """One HTTP/1.1 request or reply with a known length; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    length = Message(head, b"").header("content-length")
    return Message(head, await reader.readexactly(int(length or "0")))


def numbers_in(request: Message) -> range:
    """The numbers of the transactions that a request carries; empty if it is no exchange."""
    if not request.head.startswith(b"POST /v1/sync "):
        return range(0)
    body = request.body
    match request.header("content-encoding"):
        case "gzip":
            body = gzip.decompress(body)
        case "zstd":
            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
    batch = _batches.decode(body)
    return range(batch.first, batch.first + len(batch.transactions))


class Line:
    """One device's line. `async with` listens at `url`; the line is up until `down()`."""

    def __init__(self, server_port: int, random: Random) -> None:
        self.url = ""
        self.resent_batches = 0
        self.faults = 0
        self.failing = 0.0
        """The share of exchanges that fail by chance."""
        self.downs: list[tuple[int, int]] = []
        """When the line was down, in milliseconds since 1970."""
        self.next: list[Fault] = []
        """What happens to the next exchanges with transactions in them, before chance decides."""
        self.hold = asyncio.Event()
        """Set to keep the next reply to an exchange with transactions back; `held` tells that the server has sent it."""
        self.held = asyncio.Event()
        self.passed = asyncio.Event()
        """Set when a reply to an exchange with transactions has gone to the device."""
        self._port, self._random = server_port, random
        self._down_since: int | None = None
        self._answered = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LIMIT)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        self._drop()
        await self._server.wait_closed()

    def down(self) -> None:
        """No network from now on; what is under way breaks off."""
        if self._down_since is None:
            self._down_since = _now_ms()
        self._drop()

    def up(self, *, failing: float = 0.0) -> None:
        self.failing = failing
        if self._down_since is not None:
            self.downs.append((self._down_since, _now_ms()))
            self._down_since = None

    def was_down(self, at_ms: int) -> bool:
        """Whether there was no network at that moment."""
        return any(start <= at_ms < end for start, end in self.downs)

    def _drop(self) -> None:
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            if self._down_since is None:
                server, upstream = await asyncio.open_connection("127.0.0.1", self._port, limit=LIMIT)
                while (request := await read_message(reader)) is not None:
                    if not await self._carry(request, (reader, writer), (server, upstream)):
                        break
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # one of the two ends is gone, which is what a line is expected to survive
        finally:
            self._open.discard(writer)
            writer.transport.abort()
            if upstream is not None:
                upstream.close()
                with contextlib.suppress(ConnectionError):
                    await upstream.wait_closed()

    async def _carry(self, request: Message, device: _Ends, server: _Ends) -> bool:
        """One request and its reply, with whatever befalls them; False if the connection is to end."""
        numbers = numbers_in(request)
        fault = self._fault(numbers)
        self.faults += fault is not Fault.NONE
        if fault in (Fault.REFUSED, Fault.REQUEST_LOST):
            return False
        self.resent_batches += len(numbers) > 0 and numbers[0] <= self._answered
        server[1].write(request.raw)
        await server[1].drain()
        reply = await read_message(server[0])
        if reply is None:
            return False
        if len(numbers) and reply.head.startswith(b"HTTP/1.1 200"):
            self._answered = max(self._answered, numbers[-1])
        if len(numbers) and self.hold.is_set():
            self.held.set()
            await device[0].read()  # until the device gives up or is gone
            return False
        if fault is Fault.REPLY_LOST:
            return False
        device[1].write(reply.raw[: len(reply.raw) // 2] if fault is Fault.REPLY_CUT else reply.raw)
        await device[1].drain()
        if len(numbers):
            self.passed.set()
        return fault is Fault.NONE

    def _fault(self, numbers: range) -> Fault:
        if len(numbers) and self.next:
            return self.next.pop(0)
        return self._random.choice(RANDOM_FAULTS) if self._random.random() < self.failing else Fault.NONE


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
