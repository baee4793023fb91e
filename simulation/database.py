"""The real PostgreSQL under the simulated server: connections that pass a gate at every statement.

At the gate the scheduler decides who goes first, and a fault may end the connection before the statement or after it. Within a
statement nothing can be cut: PostgreSQL does all of it or nothing.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any, Final, TypeVar, cast

import asyncpg
import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection

from server.storage.office import Office, Tenant
from server.storage.pool import APP_ROLE, Connection, Pool
from server.storage.tables import TENANT_TABLES
from simulation.faults import Faults
from simulation.plan import Fault
from simulation.schedule import Scheduler

T = TypeVar("T")
CUT: Final = 0.01
_SETTINGS: Final = {
    "role": APP_ROLE,
    "jit": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
}
_FAST: Final = ("fsync", "synchronous_commit", "full_page_writes", "autovacuum")


def relax(url: str) -> None:
    """Durability costs time and shows nothing here: the simulated crash is of the server before its database."""
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in _FAST:
            connection.execute(f"alter system set {setting} = off".encode())
        connection.execute("select pg_reload_conf()")


class Database:
    """Connections that outlive worlds, so that statements stay prepared."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.office = Office(url, 8)
        self._idle: list[asyncpg.Connection[asyncpg.Record]] = []
        self._tenants: dict[int, int] = {}

    async def take(self, tenant_id: int) -> "asyncpg.Connection[asyncpg.Record]":
        connection = self._idle.pop() if self._idle else await asyncpg.connect(self.url, server_settings=_SETTINGS)
        if self._tenants.get(connection.get_server_pid()) != tenant_id:
            await connection.execute("select set_config('app.tenant', $1, false)", str(tenant_id))
            self._tenants[connection.get_server_pid()] = tenant_id
        return connection

    def give(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._idle.append(connection)

    async def close(self) -> None:
        for connection in self._idle:
            await connection.close()
        await self.office.close()


class Backup:
    """A copy of everything that the database has of one tenant, and the way back to it."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", tenant_id: int) -> None:
        self._connection, self._tenant_id = connection, tenant_id

    @classmethod
    async def take(cls, url: str, tenant_id: int) -> "Backup":
        connection = await asyncpg.connect(url)
        for table in TENANT_TABLES:
            await connection.execute(
                f'create temp table "old_{table}" as select * from "{table}" where tenant_id = {tenant_id:d}'  # noqa: S608  # declared
            )
        return cls(connection, tenant_id)

    async def restore(self) -> None:
        async with self._connection.transaction():
            for table in TENANT_TABLES:
                await self._connection.execute(f'delete from "{table}" where tenant_id = {self._tenant_id:d}')  # noqa: S608  # declared
                await self._connection.execute(f'insert into "{table}" select * from "old_{table}"')  # noqa: S608  # declared

    async def close(self) -> None:
        await self._connection.close()


class Gate:
    """What every statement of the simulated server passes."""

    def __init__(self, scheduler: Scheduler, faults: Faults, random: Random) -> None:
        self._scheduler, self._faults, self._random = scheduler, faults, random
        self._statement_ms = faults.plan.statement_ms

    async def passes(self, statement: Callable[[], Awaitable[T]]) -> T:
        await self._scheduler.sleep(self._random.randint(0, self._statement_ms))
        if self._faults.strikes(Fault.DATABASE_CUT_BEFORE, CUT):
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        result = await self.unseen(statement)
        if self._faults.strikes(Fault.DATABASE_CUT_AFTER, CUT):
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return result

    async def unseen(self, statement: Callable[[], Awaitable[T]]) -> T:
        """Without a fault and without a chance for others."""
        with self._scheduler.io():
            return await statement()


class _Gated:
    """An asyncpg connection behind the gate."""

    def __init__(self, raw: "asyncpg.Connection[asyncpg.Record]", gate: Gate) -> None:
        self._raw, self._gate = raw, gate

    async def fetch(self, query: str, *values: Any) -> Any:
        return await self._gate.passes(lambda: self._raw.fetch(query, *values))

    async def fetchrow(self, query: str, *values: Any) -> Any:
        return await self._gate.passes(lambda: self._raw.fetchrow(query, *values))

    async def fetchval(self, query: str, *values: Any) -> Any:
        return await self._gate.passes(lambda: self._raw.fetchval(query, *values))

    async def execute(self, query: str, *values: Any) -> Any:
        return await self._gate.passes(lambda: self._raw.execute(query, *values))


class GatedPool(Pool):
    """The hot path's connections."""

    def __init__(self, database: Database, gate: Gate) -> None:
        super().__init__()
        self._database, self._gate = database, gate

    @asynccontextmanager
    async def connection(self, tenant_id: int) -> AsyncIterator[Connection]:
        raw = await self._gate.unseen(lambda: self._database.take(tenant_id))
        try:
            yield cast("Connection", _Gated(raw, self._gate))
        finally:
            self._database.give(raw)


class _GatedOffice:
    """A SQLAlchemy connection behind the gate."""

    def __init__(self, raw: AsyncConnection, gate: Gate) -> None:
        self._raw, self._gate = raw, gate

    async def execute(self, *values: Any) -> Any:
        return await self._gate.passes(lambda: self._raw.execute(*values))

    async def exec_driver_sql(self, *values: Any) -> Any:
        return await self._gate.passes(lambda: self._raw.exec_driver_sql(*values))


class GatedOffice(Office):
    """Transactions off the hot path: what rules read and take."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self.engine = database.office.engine
        self._of, self._gate = database.office.of, gate

    @asynccontextmanager
    async def of(self, tenant_id: int, *, snapshot: bool = False) -> AsyncIterator[Tenant]:
        opened = self._of(tenant_id, snapshot=snapshot)
        tenant = await self._gate.unseen(opened.__aenter__)
        try:
            yield Tenant(cast("AsyncConnection", _GatedOffice(tenant.connection, self._gate)), tenant_id)
            await self._gate.passes(_nothing)
        except BaseException as raised:
            ending = partial(opened.__aexit__, type(raised), raised, raised.__traceback__)
            await self._gate.unseen(ending)
            raise
        await self._gate.unseen(lambda: opened.__aexit__(None, None, None))


async def _nothing() -> None:
    """The moment before a transaction is committed."""
