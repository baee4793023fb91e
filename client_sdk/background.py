"""Syncing without being asked: at once after an edit, now and then otherwise, more and more rarely while it fails."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from types import TracebackType
from typing import Final, Self

from client_sdk.errors import Closed, NotEnrolled, Revoked, SdkError, Wiped
from client_sdk.watch import Hub

INTERVAL_S: Final = 60.0
FIRST_BACKOFF_S: Final = 1.0
MAX_BACKOFF_S: Final = 300.0


def backoff_s(failures: int, random: Random) -> float:
    """How long to wait after so many failures in a row: doubling up to a bound, with jitter so that a fleet keeps out of step.

    >>> 0.5 <= backoff_s(1, Random(7)) <= 1.0
    True
    >>> 150 <= backoff_s(99, Random(7)) <= 300
    True
    """
    return min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 30)) * random.uniform(0.5, 1.0)


class BackgroundSync:
    """The handle of a background sync; `async with` stops it at the end. It never raises what the network does.

    It ends by itself when the device is revoked, wiped or not enrolled, or the replica is closed.
    """

    def __init__(
        self,
        sync: Callable[[], Awaitable[None]],
        hub: Hub,
        random: Random,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._sync, self._hub, self._random, self._sleep = sync, hub, random, sleep
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self.failures = 0
        """Exchanges that failed since the last one that did not."""
        hub.on_edit(self, self.poke)
        self.task = self._loop.create_task(self._run())

    def poke(self) -> None:
        """Sync now; from any thread. Call it when the network comes back or a push arrives."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def stop(self) -> None:
        """Cancel, and wait until it has ended. What was under way is sent again next time."""
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
            while True:
                self._wake.clear()
                try:
                    await self._sync()
                    self.failures = 0
                except (Revoked, Wiped, NotEnrolled, Closed):
                    return
                except SdkError:
                    # `status()` tells of it. No network, a full disk, a file that is locked for long: all may pass.
                    self.failures += 1
                await self._pause(backoff_s(self.failures, self._random) if self.failures else INTERVAL_S)
        finally:
            self._hub.forget(self)

    async def _pause(self, seconds: float) -> None:
        """Until woken, or for so long."""
        tasks = [asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(self._sleep(seconds))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
