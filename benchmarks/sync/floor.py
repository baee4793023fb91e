"""The bare floor: what PostgreSQL and its driver take for the same records, with nothing in between. No HTTP, no checks, no merge.

A batch is one statement in one transaction: the records upserted as jsonb, a log row with the batch's bytes, the device's receipt.
A first pull reads the records and joins them into one JSON text. Eight connections, like our server.

    python -m benchmarks.sync.floor URL WORKLOAD SIZE

Workloads are those of the report; the figures come as JSON on standard output. Batches are made before the clock starts.
"""

import asyncio
import random
import resource
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
import uvloop

from benchmarks.sync.meter import cpu_s
from benchmarks.sync.postgres import Postgres
from benchmarks.sync.system import Failed, Figures
from benchmarks.sync.workload import BATCH, Ids, Size, asset, small_sizes

CONNECTIONS: Final = 8
TABLES: Final = """
create sequence if not exists commit_no;
create table if not exists rec (
    tenant int, entity text, id text, seq bigint not null, deleted bool not null, body jsonb not null,
    primary key (tenant, entity, id)
);
create index if not exists rec_seq on rec (tenant, seq);
create table if not exists log (tenant int, device int, n bigint, seq bigint, payload bytea, primary key (tenant, device, n));
create table if not exists receipt (tenant int, device int, n bigint, seq bigint, primary key (tenant, device));
"""
PUSH: Final = """
with c as (
    select nextval('commit_no') as seq
), r as (
    insert into rec select $1, 'asset', u.id, c.seq, false, u.body from c, unnest($2::text[], $3::jsonb[]) as u(id, body)
    on conflict (tenant, entity, id) do update set seq = excluded.seq, body = excluded.body
), l as (
    insert into log select $1, $4, $5, c.seq, $6 from c
)
insert into receipt select $1, $4, $5, c.seq from c on conflict (tenant, device) do update set n = excluded.n, seq = excluded.seq
"""
PULL: Final = "select id, seq, body::text from rec where tenant = $1 and seq > $2 order by seq limit $3"


class Result(msgspec.Struct):
    wall_s: float
    cpu_s: float
    records: int
    requests: int
    down_bytes: int = 0


class Floor:
    name = "floor"
    durable = "yes: fsync at each commit"
    workloads: tuple[str, ...] = ("push", "small", "first_pull", "delta_pull")

    def __init__(self, postgres: Postgres, size: Size) -> None:
        self._postgres, self._size = postgres, size
        self._url = postgres.database("floor")

    def start(self) -> None:
        """Nothing runs in between."""

    def stop(self) -> None:
        """Nothing runs in between."""

    def roots(self) -> list[int]:
        return [self._postgres.pid]

    def measure(self, workload: str, number: int) -> Figures:
        size = msgspec.json.encode(self._size).decode()
        command = [sys.executable, "-m", "benchmarks.sync.floor", self._url, workload, size, str(number), str(self._postgres.pid)]
        done = subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parents[2])
        if done.returncode:
            raise Failed(f"floor: {done.stderr.decode(errors='replace')[-800:]}")
        result = msgspec.json.decode(done.stdout, type=Result)
        return Figures(result.wall_s, result.cpu_s, result.records, result.requests, down_bytes=result.down_bytes)


def _own_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def run(url: str, workload: str, size: Size, number: int, postmaster: int) -> Result:
    chance, ids = random.Random(number), Ids(1_000 + number)
    tenant = 1_000 * number + {"push": 1, "small": 2, "first_pull": 3, "delta_pull": 4}[workload]
    pool = await asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS, server_settings={"jit": "off"})
    async with pool.acquire() as connection:
        await connection.execute(TABLES)
    work: deque[tuple[Any, ...]] = deque()
    if workload in ("push", "small"):
        sizes = [BATCH] * size.push_batches * size.push_devices
        if workload == "small":
            sizes = list(small_sizes(chance, size.small_devices * size.small_each))
        devices = size.push_devices if workload == "push" else size.small_devices
        for at, count in enumerate(sizes):
            work.append(_batch(tenant, ids, chance, count, at % devices, at // devices + 1))
        records = sum(sizes)
        statement = PUSH
    else:
        held = size.pull_records if workload == "first_pull" else 1_000
        changed = min(held, size.delta_changes)
        async with pool.acquire() as connection:
            rows = [_batch(tenant, ids, chance, 500, 0, n) for n in range(held // 500)]
            await connection.executemany(PUSH, rows)
            base = await connection.fetchval("select last_value from commit_no") if workload == "delta_pull" else 0
            if workload == "delta_pull":
                changed_rows = _again(rows[0], changed)
                await connection.execute(PUSH, *changed_rows)
        pulls, limit = (size.pulls, held) if workload == "first_pull" else (size.delta_devices, 2_000)
        work.extend([(tenant, base, limit)] * pulls)
        records = pulls * (held if workload == "first_pull" else changed)
        statement = PULL
    requests, got, down = len(work), 0, 0

    async def serve(connection: Any) -> None:
        nonlocal got, down
        prepared = await connection.prepare(statement)
        while work:
            arguments = work.popleft()
            if statement is PUSH:
                await prepared.fetch(*arguments)
            else:
                rows = await prepared.fetch(*arguments)
                page = ("[" + ",".join([f'["{name}",{seq},{body}]' for name, seq, body in rows]) + "]").encode()
                got += len(rows)
                down += len(page)

    connections = [await pool.acquire() for _ in range(4 if workload == "first_pull" else CONNECTIONS)]
    before, own, began = cpu_s([postmaster]), _own_s(), time.perf_counter()
    await asyncio.gather(*map(serve, connections))
    wall_s, own = time.perf_counter() - began, _own_s() - own
    used = cpu_s([postmaster]) - before + own
    assert statement is PUSH or got == records, (got, records)
    pool.terminate()
    return Result(wall_s, used, records, requests, down)


def _again(batch: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """Some records of a batch, written again by another device."""
    tenant, names, bodies, device, n, payload = batch
    return (tenant, names[:count], bodies[:count], device + 1, n, payload)


def _batch(tenant: int, ids: Ids, chance: random.Random, count: int, device: int, n: int) -> tuple[Any, ...]:
    site, product = ids(), ids()
    names = [ids() for _ in range(count)]
    bodies = [msgspec.json.encode(asset(chance, site, product)).decode() for _ in names]
    return (tenant, names, bodies, device, n, "".join(bodies).encode())


if __name__ == "__main__":
    url, workload, size, number, postmaster = sys.argv[1:]
    result = uvloop.run(run(url, workload, msgspec.json.decode(size, type=Size), int(number), int(postmaster)))
    sys.stdout.buffer.write(msgspec.json.encode(result))
