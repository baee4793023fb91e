"""The server on a real socket, and an ear on its event stream."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import httpx
import uvicorn
from litestar.types import ASGIApp

from server.app import create_app
from server.context import Context
from server.serve import HttpServer

T = TypeVar("T")
PATIENCE_S = 30
"""After so long a test that waits for something to happen fails instead of hanging."""


class Served:
    """A listening server; `stop` is what SIGTERM does to it."""

    def __init__(self, url: str, server: HttpServer, task: asyncio.Task[None]) -> None:
        self.url, self.server, self.task = url, server, task

    async def stop(self) -> None:
        self.server.should_exit = True
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.shield(self.task)


@asynccontextmanager
async def serving(context: Context, app: ASGIApp | None = None) -> AsyncIterator[Served]:
    listening = socket.create_server(("127.0.0.1", 0))
    app = app or create_app(context, max_body_bytes=1_000_000)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=5)
    server = HttpServer(config, context.wakeups)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    served = Served(f"http://127.0.0.1:{listening.getsockname()[1]}", server, task)
    try:
        yield served
    finally:
        await served.stop()
        context.wakeups._ended = False  # the context outlives this server


@asynccontextmanager
async def kept(manager: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """`manager`, entered and left by one task, which a fixture does not promise."""
    entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold() -> None:
        async with manager as held:
            entered.set_result(held)
            await done.wait()

    holding = asyncio.create_task(hold())
    await asyncio.wait([holding, entered], return_when=asyncio.FIRST_COMPLETED)
    if not entered.done():
        await holding
    yield entered.result()
    done.set()
    await holding


class Ear:
    """One open event stream."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def wake(self) -> int | None:
        """The number that the next hint carries; None if the stream ends."""
        async with asyncio.timeout(PATIENCE_S):
            async for line in self._lines:
                if line.startswith("data: "):
                    return int(line.removeprefix("data: "))
        return None

    async def wake_from(self, seq: int) -> int:
        """Wait for a hint of this commit or a later one, or of one whose number is not known."""
        while (found := await self.wake()) is not None:
            if found >= seq or found == 0:
                return found
        raise AssertionError(f"the stream ended before commit {seq} was told")


@asynccontextmanager
async def listening(url: str, token: str) -> AsyncIterator[Ear]:
    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(base_url=url, timeout=None) as client,
        client.stream("GET", "/v1/events", headers=headers) as reply,
    ):
        assert reply.status_code == 200, await reply.aread()
        assert reply.headers["content-type"].startswith("text/event-stream")
        yield Ear(reply.aiter_lines())
