"""Connections for the hot path: raw asyncpg, one tenant at a time, index walks only.

A connection remembers which tenant row-level security sees on it and is told anew only when that changes, so a busy tenant pays
nothing for the isolation and no statement can run without it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self, TypeAlias

import asyncpg

APP_ROLE: Final = "truckroll_app"
"""Owns nothing and is no superuser, so row-level security binds it."""

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Connection = asyncpg.pool.PoolConnectionProxy

_SETTINGS: Final = {
    "role": APP_ROLE,
    "application_name": "truckroll",
    "jit": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
}


async def _keep(_: object) -> None:
    """Instead of the pool's reset: our sessions carry no state but the tenant, which `connection` checks."""


class Pool:
    """A pool of connections on which a tenant is set."""

    def __init__(self) -> None:
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._tenants: dict[int, int] = {}

    async def open(self, url: str, size: int) -> Self:
        self._pool = await asyncpg.create_pool(
            url, min_size=1, max_size=size, init=self._forget, reset=_keep, server_settings=_SETTINGS
        )
        return self

    async def close(self) -> None:
        await self._pool.close()

    async def _forget(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """A new session may carry the process number of an old one, but not its tenant."""
        self._tenants.pop(connection.get_server_pid(), None)

    @asynccontextmanager
    async def connection(self, tenant_id: int) -> AsyncIterator[Connection]:
        async with self._pool.acquire() as connection:
            session = connection.get_server_pid()  # the proxy is another one at every acquire, the session below it stays
            if self._tenants.get(session) != tenant_id:
                await connection.execute("select set_config('app.tenant', $1, false)", str(tenant_id))
                self._tenants[session] = tenant_id
            yield connection
