"""What one server process holds while it runs: connections, the door, its clock and its source of randomness."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import procrastinate

from server.devices import Gate
from server.door import Door
from server.holdings import Holdings
from server.pulls import Pulls
from server.roads import Roads, service_of
from server.settings import Settings
from server.shelf import Shelf
from server.storage import embedded
from server.storage.migrate import migrate
from server.storage.office import Office
from server.storage.pool import Pool
from server.wakeups import Wakeups
from sync.ids import RANDOM_BYTES, ulid

_USUAL: Final = Settings()


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Context:
    """The outer edge: time and randomness enter here and are passed on as values."""

    def __init__(
        self,
        pool: Pool,
        office: Office,
        jobs: procrastinate.App,
        settings: Settings = _USUAL,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.pool, self.office, self.jobs, self.now_ms, self.random = pool, office, jobs, now_ms, random
        holdings = Holdings(pool)
        self.gate, self.door, self.pulls = Gate(pool), Door(pool, holdings), Pulls(pool, holdings, Shelf())
        self.plan_limits, self.outgoing = settings.plan_limits, settings.outgoing
        self.roads = Roads(service_of(settings.roads), settings.home / "travel.sqlite", now_ms)
        self.server_turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By tenant, whose turn it is to write as the server (`server.author`)."""
        self.wakeups = Wakeups(pool)
        self.door.on_commit = self.wakeups.note

    def new_id(self) -> str:
        return ulid(self.now_ms(), self.random(RANDOM_BYTES))


def database_url(settings: Settings) -> str:
    """The database to work on: the one named, or the embedded one, started."""
    return settings.database_url or embedded.start(settings.home)


@asynccontextmanager
async def opened(url: str, settings: Settings = _USUAL, *, connections: int = 8, migrated: bool = False) -> AsyncIterator[Context]:
    """Connections to a database that is brought to today's schema first. Raises ValueError naming a setting that makes no sense."""
    if not migrated:
        migrate(url)
    pool = await Pool().open(url, connections)
    office = Office(url, connections)
    jobs = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=0, max_size=2))
    try:
        async with jobs.open_async():
            context = Context(pool, office, jobs, settings)
            async with context.wakeups.across(url):
                yield context
    finally:
        await pool.close()
        await office.close()
