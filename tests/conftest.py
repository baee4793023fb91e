"""One real PostgreSQL for the whole run, one database per test worker, one tenant per test."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, settings

from server.app import create_app
from server.context import Context, opened
from server.serve import running_rules
from server.storage import embedded
from server.storage.migrate import migrate
from server.tenants import create_code, create_tenant, create_user
from sync.protocol import Enrolled

A_DAY_S = 86_400.0
"""Clocks look when a test lets them."""

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


@pytest.fixture(scope="session")
def database_url(worker_id: str) -> Iterator[str]:
    """A migrated, empty database of this test worker's own, on TEST_DATABASE_URL's server or on the embedded one."""
    with tempfile.TemporaryDirectory(prefix="truckroll-test-", ignore_cleanup_errors=True) as home:
        server_url = os.environ.get("TEST_DATABASE_URL") or embedded.start(Path(home))
        name = f"truckroll_test_{worker_id}_{os.getpid()}"
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"drop database if exists {name} with (force)")
            connection.execute(f"create database {name}")
        url = embedded.with_database(server_url, name)
        migrate(url)
        yield url
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"drop database if exists {name} with (force)")


@pytest.fixture(scope="session")
async def context(database_url: str) -> AsyncIterator[Context]:
    """An opened server, without its web face, with its rules at work."""
    async with opened(database_url, connections=4, migrated=True) as context, running_rules(context, sweep_s=A_DAY_S):
        yield context


@pytest.fixture(scope="session")
async def http(context: Context) -> AsyncIterator[httpx.AsyncClient]:
    """The web face of `context`, called in process."""
    app = create_app(context, max_body_bytes=4 * 1024 * 1024)
    ready, done = asyncio.Event(), asyncio.Event()

    async def live() -> None:  # a lifespan must be left by the task that entered it, and fixtures promise no such thing
        async with app.lifespan():
            ready.set()
            await done.wait()

    living = asyncio.create_task(live())
    await ready.wait()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
        yield client
    done.set()
    await living


class Company:
    """A tenant of one test, and a way to enrol people of it."""

    def __init__(self, context: Context, http: httpx.AsyncClient, tenant_id: int) -> None:
        self.context, self.http, self.tenant_id = context, http, tenant_id

    async def user(self, name: str, role: str, territories: tuple[str, ...] = ()) -> str:
        return await create_user(self.context, self.tenant_id, name, role, territories)

    async def code(self, user_id: str) -> str:
        return await create_code(self.context, self.tenant_id, user_id)

    async def rest(self) -> None:
        """Until the rules have looked at everything that changed."""
        for _ in range(2_000):
            async with self.context.office.of(self.tenant_id) as tenant:
                if not await tenant.rules_due():
                    return
            await asyncio.sleep(0.01)
        raise AssertionError("the rules do not come to rest")

    async def enrol(self, user_id: str, device_name: str = "test") -> Enrolled:
        reply = await self.http.post("/v1/enrol", json={"code": await self.code(user_id), "device_name": device_name})
        assert reply.status_code == 200, reply.text
        return msgspec.json.decode(reply.content, type=Enrolled)


@pytest.fixture
async def company(context: Context, http: httpx.AsyncClient, request: pytest.FixtureRequest) -> Company:
    name = f"{request.node.nodeid}-{context.new_id()}"
    return Company(context, http, await create_tenant(context, name))
