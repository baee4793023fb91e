"""How bytes reach the server. The default speaks HTTP; a simulation or a test passes its own."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Final, Protocol

import httpx

from client_sdk.errors import Offline

TIMEOUT_S: Final = 60.0


class Transport(Protocol):
    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send `body` to `path` and return the status and the decompressed reply. Raises `Offline` (or any `OSError`)."""
        ...


class HttpTransport:
    """On httpx, which offers gzip and zstd to the server and undoes them."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            reply = await self._client.post(path, content=body, headers=dict(headers))
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise Offline(f"{type(error).__name__}: {error}") from error
        return reply.status_code, reply.content


@asynccontextmanager
async def http(url: str) -> AsyncIterator[HttpTransport]:
    """A transport for one round of exchanges. Connections end with the round, so a replica leaves no socket behind."""
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, verify=trust()) as client:
        yield HttpTransport(client)


@cache
def trust() -> ssl.SSLContext:
    """Reading the certificates takes longer than an exchange on a good line: once per process."""
    return httpx.create_ssl_context()
