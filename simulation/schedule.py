"""Virtual time, and one task at a time.

Every wait in a simulated world is a `sleep` on this scheduler: of a person who thinks, of a request that travels, of a statement on
its way to the database. The scheduler wakes the earliest sleeper and lets all that follows from it come to rest before it wakes the
next, so the order of events follows from the seed alone, never from how fast the machine is.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, Final

START_MS: Final = 1_760_000_000_000
"""When every world begins: some day in 2025."""


class Crash(Exception):
    """A task raised `error`."""

    def __init__(self, task: str, error: BaseException) -> None:
        super().__init__(f"{task}: {error!r}")
        self.task, self.error = task, error


class Scheduler:
    """The clock and the queue of sleepers of one world."""

    def __init__(self, random: Random) -> None:
        self.now_ms = START_MS
        self._random = random
        self._sleepers: list[tuple[int, float, int, asyncio.Future[None]]] = []
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._ready: Any = vars(self._loop)["_ready"]
        self._io = 0
        self._io_done: asyncio.Future[None] | None = None
        self._crash: Crash | None = None

    def now(self) -> int:
        return self.now_ms

    async def sleep(self, ms: float) -> None:
        """Rest for so long; of those that wake at the same time, chance decides who is first."""
        woken: asyncio.Future[None] = self._loop.create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now_ms + int(ms), self._random.random(), self._count, woken))
        await woken

    @contextmanager
    def io(self) -> Iterator[None]:
        """Around a call that really waits for the database: the world stands still meanwhile."""
        self._io += 1
        try:
            yield
        finally:
            self._io -= 1
            if self._io_done is not None and not self._io_done.done():
                self._io_done.set_result(None)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = self._loop.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and self._crash is None:
            self._crash = Crash(task.get_name(), error)

    async def run(self, until: Callable[[], bool]) -> None:
        """Wake one sleeper after another. Raises `Crash` if a task raises what nobody awaits."""
        await self._rest()
        while self._sleepers and not until():
            at_ms, _, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            # Every moment is another one, so that a time names an event.
            self.now_ms = max(self.now_ms + 1, at_ms)
            woken.set_result(None)
            await self._rest()

    async def _rest(self) -> None:
        """Until nothing can go on but the sleepers. Raises `Crash`, but not before the database is done with what it was asked."""
        await self._calm()
        if self._crash is not None:
            raise self._crash from self._crash.error

    async def _calm(self) -> None:
        while True:
            await asyncio.sleep(0)
            if self._ready:
                continue
            if not self._io:
                return
            self._io_done = self._loop.create_future()
            await self._io_done

    async def end(self) -> None:
        """Cancel whatever is left."""
        await self._calm()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
