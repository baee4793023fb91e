"""Plain HTTP requests of a device: what attachments need beyond an exchange."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import httpx
import msgspec

from client_sdk.errors import Offline
from client_sdk.transport import TIMEOUT_S, trust


class Answer(msgspec.Struct, frozen=True):
    """`headers` are named in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Line(Protocol):
    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Raises `Offline` if there is no answer."""
        ...


class HttpLine:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            reply = await self._client.request(method, path, headers=dict(headers), content=body)
        except (httpx.TransportError, httpx.DecodingError, OSError) as error:
            raise Offline(f"{type(error).__name__}: {error}") from error
        return Answer(reply.status_code, {name.lower(): value for name, value in reply.headers.items()}, reply.content)


@asynccontextmanager
async def http_line(url: str, token: str) -> AsyncIterator[HttpLine]:
    # Contents are what they are: photos do not shrink, and a range of a compressed reply would be another range.
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, verify=trust(), headers=headers) as client:
        yield HttpLine(client)
