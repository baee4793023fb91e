"""Servers that die: for each number that comes in, a fresh process serves on the one socket and kills itself at that boundary.

A boundary is the moment before a statement of an exchange, or before its reply. Arguments: the socket's number, the database's URL.
Says "ready" when the process serves.
"""

import asyncio
import os
import signal
import socket
import sys
from typing import Any

import asyncpg
import uvicorn

from server.app import create_app
from server.context import opened
from server.routes import sync as route
from server.serve import HttpServer


def die_at(boundary: int) -> None:
    """Count the statements from the first exchange on, and die."""
    passed, exchanging, serve = 0, False, route.exchange

    def at_boundary() -> None:
        nonlocal passed
        passed += exchanging
        if exchanging and passed == boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(name: str) -> None:
        run = getattr(asyncpg.Connection, name)

        async def statement(*asked: Any, **how: Any) -> Any:
            at_boundary()
            return await run(*asked, **how)

        setattr(asyncpg.Connection, name, statement)

    async def exchange(*asked: Any, **how: Any) -> Any:
        nonlocal exchanging
        exchanging = True
        done = await serve(*asked, **how)
        at_boundary()
        return done

    route.exchange = exchange
    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        around(name)


async def serve(listening: socket.socket, url: str) -> None:
    async with opened(url, connections=2, migrated=True) as context:
        config = uvicorn.Config(create_app(context, max_body_bytes=1_000_000), log_level="critical", lifespan="on")
        server = HttpServer(config, context.wakeups)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0)
        print("ready", flush=True)  # noqa: T201  # the parent reads it
        await task


def main() -> None:
    listening, url, child = socket.socket(fileno=int(sys.argv[1])), sys.argv[2], 0
    for line in sys.stdin:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        if child := os.fork():
            continue
        try:
            die_at(int(line))
            asyncio.run(serve(listening, url))
        except BaseException as error:  # noqa: BLE001  # whoever waits for "ready" would wait for ever
            print(f"{error!r}", flush=True)  # noqa: T201  # as above
        os._exit(0)
    if child:
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
