"""A bare endpoint on the same framework and server: decodes the same body and does one durable insert. No admission, no checks."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
import psycopg
import uvicorn
from litestar import Litestar, Request, Response, post

from benchmarks.sync.drive import drive
from benchmarks.sync.postgres import Postgres
from benchmarks.sync.system import Figures, Load, Server, free_port
from benchmarks.sync.truckroll import Truckroll
from sync.protocol import Exchange

CONNECTIONS: Final = 8
INSERT: Final = "insert into inbox (tenant, sent_ms, first, payload) values ($1, $2, $3, $4)"
_decoder: Final = msgspec.json.Decoder(Exchange)


class Endpoint:
    """Takes what our own devices send in the small exchanges, byte for byte."""

    name = "endpoint"
    durable = "yes: fsync at each commit"
    workloads: tuple[str, ...] = ("small",)

    def __init__(self, postgres: Postgres, home: Path, ours: Truckroll) -> None:
        self._postgres, self._ours = postgres, ours
        self._url = postgres.database("endpoint")
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.sync.endpoint", self._url, str(port)]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self._server = Server(self.name, command, home, env, port)

    def start(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                "create table inbox ("
                "id bigint generated always as identity primary key, tenant int, sent_ms bigint, first bigint, payload bytea)"
            )
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def roots(self) -> list[int]:
        return [self._server.pid, self._postgres.pid]

    def measure(self, workload: str, number: int) -> Figures:
        ours = self._ours.load_for_endpoint(workload, number)
        job = msgspec.structs.replace(ours.job, port=self._server.port, expect=b'"taken"', expected=sum(map(len, ours.job.devices)))
        return drive(self.name, Load(job, ours.records), self.roots())


@post("/v1/sync")
async def take(request: Request[Any, Any, Any]) -> Response[bytes]:
    body = await request.body()
    asked = _decoder.decode(body)
    pool: asyncpg.Pool[asyncpg.Record] = request.app.state.pool
    async with pool.acquire() as connection:
        await connection.execute(INSERT, 1, asked.sent_ms, asked.first, body)
    return Response(b'{"taken":%d}' % asked.first, media_type="application/json")


async def serve(url: str, port: int) -> None:
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with asyncpg.create_pool(url, min_size=1, max_size=CONNECTIONS) as pool:
            app.state.pool = pool
            yield

    app = Litestar([take], lifespan=[lifespan], logging_config=None, openapi_config=None)
    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", access_log=False, lifespan="on")).serve()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
