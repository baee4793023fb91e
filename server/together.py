"""Questions to the database that come while one of their tenant is under way share the next: a crowd costs a few statements."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import asyncpg

Key = TypeVar("Key")
Found = TypeVar("Found")


class Together(Generic[Key, Found]):
    """Asks by `look`, which takes a tenant and keys and finds what there is for each. One per process and kind of question.

    Every answer is of a look that began after its question came.
    """

    def __init__(self, look: Callable[[int, list[Key]], Awaitable[Mapping[Key, Found]]]) -> None:
        self._look = look
        self._waiting: dict[int, list[tuple[Key, asyncio.Future[Found | None]]]] = {}
        """Who waits for a look of their tenant to end; a tenant is absent while there is none."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, tenant_id: int, key: Key) -> Found | None:
        """What there is for the key, as of now; None if there is nothing. Raises what `look` raises."""
        waiting = self._waiting.get(tenant_id)
        if waiting is not None:
            found: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
            waiting.append((key, found))
            return await found
        self._waiting[tenant_id] = []
        try:
            return (await self._look(tenant_id, [key])).get(key)
        finally:
            self._next(tenant_id)

    def _next(self, tenant_id: int) -> None:
        group = [waiting for waiting in self._waiting.pop(tenant_id) if not waiting[1].done()]
        if group:
            self._waiting[tenant_id] = []
            task = asyncio.create_task(self._look_for(tenant_id, group), name=f"together-{tenant_id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _look_for(self, tenant_id: int, group: list[tuple[Key, "asyncio.Future[Found | None]"]]) -> None:
        try:
            there = await self._look(tenant_id, list({key for key, _ in group}))
            for key, found in group:
                if not found.done():
                    found.set_result(there.get(key))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            for _, found in group:
                if not found.done():
                    found.set_exception(error)
        finally:
            self._next(tenant_id)
            for _, found in group:
                found.cancel()  # only those still open, when this task was cancelled
