"""The peer behind a real socket, for devices that are processes of their own. It may kill the device in the middle."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.client_sdk.peer import Peer

Hook = Callable[[str], Awaitable[None]]
"""Called with "asked" when a request has come, "served" when the peer has stored it, "answered" when the reply has left."""


async def _nothing(moment: str) -> None:
    """The hook of a peer that only serves."""


@asynccontextmanager
async def served(peer: Peer, hook: Hook = _nothing, port: int = 0) -> AsyncIterator[str]:
    """The URL under which the peer answers."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.title(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["Content-Length"]))
            await hook("asked")
            status, reply = peer.serve(head[0].split()[1], body, headers)
            await hook("served")
            writer.write(b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(reply)) + reply)
            await writer.drain()
            await hook("answered")
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, limit=2**24)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
