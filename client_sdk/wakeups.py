"""Hearing from the server that a sync is worth while, instead of asking now and then.

The stream carries hints only: each one pokes the background sync, which then finds out. Nothing depends on a hint arriving; without
the stream the background sync still asks in its own rhythm.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from types import TracebackType
from typing import Final, Self

import httpx

from client_sdk.background import backoff_s
from client_sdk.errors import Closed, NotEnrolled
from client_sdk.transport import TIMEOUT_S, trust

SILENCE_S: Final = 60.0
"""The server says something every twenty seconds; a line that is silent for so long is dead."""


class Wakeups:
    """A running listener; `async with` stops it at the end. It ends by itself when the device is no longer admitted."""

    def __init__(
        self,
        who: Callable[[], tuple[str, str]],
        poke: Callable[[], None],
        random: Random,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        """`who` says the server's URL and the device's token. It is asked again and again: a copied file becomes another device."""
        self._who, self._poke, self._random, self._sleep = who, poke, random, sleep
        self.failures = 0
        """Times that there was no stream since the last hint."""
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def _run(self) -> None:
        try:
            while await self._listen(*self._who()):
                self.failures += 1
                await self._sleep(backoff_s(self.failures, self._random))
        except (NotEnrolled, Closed):
            return  # the device was wiped, or the app closed its replica

    async def _listen(self, url: str, token: str) -> bool:
        """Listen until the stream ends or is no longer this device's; False if the device is not admitted."""
        timeout = httpx.Timeout(TIMEOUT_S, read=SILENCE_S)
        try:
            async with (
                httpx.AsyncClient(base_url=url, timeout=timeout, verify=trust()) as client,
                client.stream("GET", "/v1/events", headers={"Authorization": f"Bearer {token}"}) as reply,
            ):
                if reply.status_code == 200:
                    async for line in reply.aiter_lines():
                        if line.startswith("data:"):
                            self.failures = 0
                            self._poke()
                        if self._who() != (url, token):
                            break
                return reply.status_code != 401
        except (httpx.TransportError, httpx.DecodingError, OSError):
            return True
