"""The load generator, a process of its own: sends requests that were made beforehand, counts and times the replies.

    python -m benchmarks.sync.load JOB

It does next to nothing but wait: on two cores what it takes the servers cannot have.
"""

import asyncio
import collections
import re
import sys
import time
from pathlib import Path
from typing import Final, cast

import httptools
import msgspec
import uvloop
import zstandard

from benchmarks.sync import peers_follow
from benchmarks.sync.wire import Answered, Job, Request, decode_job

_CURSOR: Final = re.compile(rb'"cursor":"([^"]+)"')
_SENT: Final = re.compile(rb'"cursor":(?:null|"[^"]*")')
_HEAD_BYTES: Final = 4_000
"""A cursor stands near the beginning of a reply."""
_unzstd: Final = zstandard.ZstdDecompressor()
_MORE: Final = re.compile(rb'"(?:more":true|groups_left":\d)')


class Line(asyncio.Protocol):
    """One connection with one request under way."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._reply: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionError(f"the server hung up: {exc}"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        body = b"".join(self._parts)
        self._parts.clear()
        status: int = self._parser.get_status_code()
        if status >= 200 and self._reply is not None:
            reply, self._reply = self._reply, None
            self._parser = httptools.HttpResponseParser(self)
            reply.set_result((status, body))

    def send(self, raw: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        return self._reply


def following(request: Request, body: bytes) -> Request | None:
    """What is to be sent after a reply, if anything: the next page, or a conflicting write again."""
    if not request.follow:
        return None
    if request.follow == "pages":
        zipped = body.startswith(zstandard.FRAME_HEADER)  # short replies travel as they are
        start = _unzstd.stream_reader(body).read(_HEAD_BYTES) if zipped else body[:_HEAD_BYTES]
        return at_cursor(request, start) if _MORE.search(start) else None
    if request.follow == "cursor":
        return None
    return peers_follow.NEXT[request.follow](request, body)


def at_cursor(request: Request, reply: bytes) -> Request:
    """The request, from where the reply ends."""
    found = _CURSOR.search(reply)
    assert found
    return Request(request.head, _SENT.sub(b'"cursor":"%s"' % found[1], request.body, 1), request.follow)


async def run(job: Job) -> Answered:
    loop = asyncio.get_running_loop()
    lines = [(await loop.create_connection(Line, job.host, job.port))[1] for _ in range(min(job.connections, len(job.devices)))]
    waiting = collections.deque([(request, request.raw) for request in device] for device in job.devices)
    took: list[float] = []
    statuses: collections.Counter[int] = collections.Counter()
    totals: collections.Counter[str] = collections.Counter()

    async def serve(line: Line) -> None:
        while waiting:
            reply = b""
            for first, first_raw in waiting.popleft():
                request: Request | None = first
                raw = first_raw
                if first.follow == "cursor" and reply:
                    raw = at_cursor(first, reply).raw
                while request is not None:
                    began = time.perf_counter()
                    status, body = await line.send(raw)
                    took.append(time.perf_counter() - began)
                    statuses[status] += 1
                    totals["up"] += len(request.body)
                    totals["down"] += len(body)
                    totals["found"] += body.count(job.expect)
                    reply = body[:_HEAD_BYTES] if request.follow == "cursor" else b""
                    request = following(request, body)
                    raw = request.raw if request else b""

    began = time.perf_counter()
    await asyncio.gather(*map(serve, lines))
    wall_s = time.perf_counter() - began
    took.sort()
    latency_ms = (_percentile(took, 0.5), _percentile(took, 0.95), _percentile(took, 0.99))
    return Answered(wall_s, len(took), dict(statuses), totals["up"], totals["down"], latency_ms, totals["found"])


def _percentile(ordered: list[float], part: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000, 2)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(decode_job.decode(Path(sys.argv[1]).read_bytes())))))
