"""How the cost of an exchange grows: with devices, with the tenant's records, with scopes held, with history.

Protocol: the real exchange function on one connection to a private PostgreSQL, no HTTP. One tenant for each size of each axis; what
makes it large is put in by SQL, since it is not what is measured. Each operation is repeated; CPU is that of this process and of
PostgreSQL's by the scheduler's own clock, the median of the repetitions; rows are those that PostgreSQL read and wrote. The
exponent is the slope of the fit of log cost over log size: 0 is flat, 1 linear. `promised` says where docs and design promise flat.
"""

import asyncio
import math
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import sqlalchemy as sa

from benchmarks.sync.postgres import Postgres
from benchmarks.sync_costs import CountingPool, Phone, create, enrolled, update
from server.author import create as made
from server.author import write
from server.context import Context, opened
from server.storage.tables import device
from server.tenants import create_tenant, create_user

REPEATS: Final = 60
WARM_UP: Final = 12
ORDERS: Final = 10
OPERATIONS: Final = ("idle", "push", "pull")
AXES: Final = {
    "devices": (10, 100, 1_000, 10_000),
    "records": (10_000, 100_000, 1_000_000, 10_000_000),
    "scopes": (10, 100, 1_000),
    "history": (1_000, 10_000, 100_000),
    "past_links": (10, 100, 1_000),
}
FLAT: Final = dict.fromkeys(("devices", "records", "history"), OPERATIONS) | {"scopes": ("idle", "push"), "past_links": ("idle",)}
"""A pull probes each scope held, and each link of its user that the tombstone window still remembers."""

FILL_RECORDS: Final = """
insert into record (tenant_id, entity, id, scope, seq, prev, deleted, body, delta, ver)
select $1, 'asset', 'F' || i, 'site:F' || i / 100, 1, 0, false, convert_to(repeat('x', 370), 'UTF8'), null, '\\x00'
from generate_series($2::bigint, $3::bigint) as i
"""
FILL_LOG: Final = """
insert into device_log (tenant_id, device_no, epoch, last_n, first_n, seq, received_ms, payload, outcomes)
select $1, $2, 0, i, i, i, 0, convert_to(repeat('x', 200), 'UTF8'), '[]' from generate_series(1, $3::bigint) as i
"""
FILL_LINKS: Final = """
insert into link (tenant_id, source, kind, target, reason, granted, revoked)
select $1, 'technician:T1', 2, 'work_order:P' || i, 'appointment:P' || i, 1, 2 from generate_series(1, $2::bigint) as i
"""


class Cost(msgspec.Struct, frozen=True):
    """Of one operation at one size."""

    axis: str
    size: int
    operation: str
    cpu_us: float
    rows: float


class Growth(msgspec.Struct, frozen=True):
    axis: str
    operation: str
    cpu_exponent: float
    rows_exponent: float
    promised: str


def run(*, largest: int, json: Path | None = None) -> int:
    """Measure up to `largest` records. Returns how many rows grew where flat is promised."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="truckroll-growth-", ignore_cleanup_errors=True) as home:
        postgres = Postgres(Path(home))
        costs = asyncio.run(_measure(postgres, postgres.database("growth"), largest))
    growth = [_fitted(axis, operation, costs) for axis in AXES for operation in OPERATIONS]
    report = {"suite": "growth", "wall_s": round(time.monotonic() - began, 1), "rows": costs, "exponents": growth}
    text = msgspec.json.format(msgspec.json.encode(report)).decode()
    if json:
        json.write_text(text + "\n")
    for one in growth:
        print(f"{one.axis:11} {one.operation:5} CPU ^{one.cpu_exponent:5.2f}  rows ^{one.rows_exponent:5.2f}  {one.promised}")
    return sum(one.promised == "flat" and one.rows_exponent > 0.1 for one in growth)


def _fitted(axis: str, operation: str, costs: Sequence[Cost]) -> Growth:
    points = [cost for cost in costs if (cost.axis, cost.operation) == (axis, operation)]
    sizes = [math.log(cost.size) for cost in points]

    def slope(of: Callable[[Cost], float]) -> float:
        return round(statistics.linear_regression(sizes, [math.log(max(of(cost), 1e-9)) for cost in points]).slope, 3)

    promised = "flat" if operation in FLAT[axis] else ""
    return Growth(axis, operation, slope(lambda cost: cost.cpu_us), slope(lambda cost: cost.rows + 1), promised)


async def _measure(postgres: Postgres, url: str, largest: int) -> list[Cost]:
    costs: list[Cost] = []
    async with opened(url, connections=4) as context:
        pool = await CountingPool().open(url, 1)
        context.pool = context.door._pool = pool  # noqa: SLF001  # everything on the one connection that is watched
        try:
            for axis, sizes in AXES.items():
                for size in sizes:
                    if axis != "records" or size <= largest:
                        costs += await _at(context, pool, postgres, axis, size)
        finally:
            await pool.close()
    return costs


async def _at(context: Context, pool: CountingPool, postgres: Postgres, axis: str, size: int) -> list[Cost]:
    """One tenant of one size, and what its exchanges cost."""
    tenant_id = await create_tenant(context, f"{axis}-{size}-{context.new_id()}")
    users = [await create_user(context, tenant_id, role, role) for role in ("dispatcher", "technician")]
    office, phone, other = [await enrolled(context, pool, tenant_id, user) for user in (users[0], users[1], users[1])]
    orders = size // 2 if axis == "scopes" else ORDERS
    await _orders(context, tenant_id, users[1], orders)
    async with pool.connection(tenant_id) as connection:
        match axis:
            case "devices":
                await _devices(context, tenant_id, users[1], size)
            case "records":
                for at in range(0, size, 100_000):
                    await connection.execute(FILL_RECORDS, tenant_id, at, min(size, at + 100_000) - 1, timeout=600)
            case "history":
                for no in (1, 2):
                    await connection.execute(FILL_LOG, tenant_id, no, size)
            case "past_links":
                await connection.execute(FILL_LINKS, tenant_id, size)
            case _:
                pass
    await phone.pull()
    await phone.exchange(create("asset", "A1", site="S0", name="boiler"))
    for one in (phone, other, office):
        await one.pull()
    return await _costs(pool, postgres, tenant_id, (axis, size), phone, other)


async def _costs(
    pool: CountingPool, postgres: Postgres, tenant_id: int, at: tuple[str, int], phone: Phone, other: Phone
) -> list[Cost]:
    """The operations over and over: a pull with nothing new, a change, and the other phone's pull of it."""
    found: dict[str, list[tuple[float, float]]] = {operation: [] for operation in OPERATIONS}
    for number in range(WARM_UP + REPEATS):
        steps: dict[str, Callable[[], Awaitable[Any]]] = {
            "idle": partial(phone.exchange, limit=2_000),
            "push": partial(phone.exchange, update("asset", "A1", condition=f"seen {number}")),
            "pull": partial(_page, other),
        }
        for operation, step in steps.items():
            rows_before = await _rows(pool, tenant_id) if number >= WARM_UP + REPEATS - 5 else 0
            database_us, own_ns = _sessions_us(postgres), time.process_time_ns()
            await step()
            own_ns = time.process_time_ns() - own_ns  # before anything is asked again: asking takes more than an exchange
            used = own_ns / 1000 + _sessions_us(postgres) - database_us
            rows = await _rows(pool, tenant_id) - rows_before if number >= WARM_UP + REPEATS - 5 else math.nan
            if number >= WARM_UP:
                found[operation].append((used, rows))
        await phone.pull()
    return [
        Cost(
            *at,
            operation,
            round(statistics.median(cpu for cpu, _ in of), 1),
            statistics.median(rows for _, rows in of if not math.isnan(rows)),
        )
        for operation, of in found.items()
    ]


async def _page(phone: Phone) -> None:
    page = (await phone.exchange(limit=2_000)).page
    assert page is not None
    assert page.delta or page.whole
    phone.cursor = page.cursor


async def _orders(context: Context, tenant_id: int, user: str, count: int) -> None:
    head = [made("technician", "T1", name="T", user=user), made("account", "C1", name="Acme")]
    await write(context, tenant_id, "set up", [head])
    for number in range(count):
        await write(
            context,
            tenant_id,
            "set up",
            [
                [
                    made("site", f"S{number}", account="C1", name="Plant"),
                    made("work_order", f"W{number}", account="C1", site=f"S{number}"),
                    made("appointment", f"V{number}", work_order=f"W{number}", technician="T1", status="scheduled"),
                ]
            ],
        )


async def _devices(context: Context, tenant_id: int, user: str, count: int) -> None:
    rows = [
        {
            "tenant_id": tenant_id,
            "id": f"D{n}",
            "no": 100 + n,
            "user_id": user,
            "name": "",
            "token_hash": b"",
            "enrolled_ms": 0,
        }
        for n in range(count)
    ]
    async with context.office.of(tenant_id) as tenant:
        for at in range(0, count, 1_000):
            await tenant.connection.execute(sa.insert(device), rows[at : at + 1_000])


def _sessions_us(postgres: Postgres) -> float:
    """CPU time of PostgreSQL's sessions, in microseconds; where the scheduler does not tell, by clock ticks."""
    sessions = [process.pid for process in psutil.Process(postgres.pid).children()]
    try:
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in sessions) / 1000
    except OSError:
        return sum(float(sum(psutil.Process(pid).cpu_times()[:2])) for pid in sessions) * 1e6


async def _rows(pool: CountingPool, tenant_id: int) -> int:
    """Rows read by an index or a scan, and rows written, by all statements so far."""
    async with pool.connection(tenant_id) as connection:
        await connection.execute("select pg_stat_force_next_flush()")
        await connection.execute("select pg_stat_clear_snapshot()")
        total: int = await connection.fetchval(
            "select sum(coalesce(idx_tup_fetch, 0) + seq_tup_read + n_tup_ins + n_tup_upd + n_tup_del)::bigint "
            "from pg_stat_user_tables where relname <> 'exchange_log'"
        )
        return total
