"""A server process that a test may kill: serves on a socket it inherits. Arguments: the socket's number, database URL, home."""

import asyncio
import socket
import sys
from pathlib import Path

import uvicorn

from server.app import create_app
from server.attachments import Attachments
from server.context import opened
from server.serve import HttpServer
from server.storage.blobs import Blobs


async def main(handle: int, url: str, home: Path) -> None:
    async with opened(url, connections=2, migrated=True) as context:
        attachments = Attachments(context, Blobs.open("", home), home / "uploads", max_bytes=2**26)
        app = create_app(context, max_body_bytes=2**22, attachments=attachments)
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on")
        await HttpServer(config, context.wakeups).serve(sockets=[socket.socket(fileno=handle)])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
