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
from client_sdk.transport import TIMEOUT_S, trust

SILENCE_S: Final = 60.0
"""The server says something every twenty seconds; a line that is silent for so long is dead."""


class Wakeups:
    """A running listener; `async with` stops it at the end. It ends by itself when the device is no longer admitted."""

    def __init__(
        self,
        url: str,
        token: str,
        poke: Callable[[], None],
        random: Random,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._url, self._token, self._poke, self._random, self._sleep = url, token, poke, random, sleep
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
        while await self._listen():
            self.failures += 1
            await self._sleep(backoff_s(self.failures, self._random))

    async def _listen(self) -> bool:
        """Listen until the stream ends; False if the device is not admitted."""
        timeout = httpx.Timeout(TIMEOUT_S, read=SILENCE_S)
        try:
            async with (
                httpx.AsyncClient(base_url=self._url, timeout=timeout, verify=trust()) as client,
                client.stream("GET", "/v1/events", headers={"Authorization": f"Bearer {self._token}"}) as reply,
            ):
                if reply.status_code == 200:
                    async for line in reply.aiter_lines():
                        if line.startswith("data:"):
                            self.failures = 0
                            self._poke()
                return reply.status_code != 401
        except (httpx.TransportError, httpx.DecodingError, OSError):
            return True
