"""What an exchange costs in SQL statements, rows and bytes: figures that no noise moves.

Protocol: a private embedded PostgreSQL, the real exchange function, one connection, statements counted by the driver's own query
log after a warm-up (preparing and setting the tenant are paid once per connection), rows by PostgreSQL's statistics. Run:

    uv run python benchmarks/sync_costs.py --json costs.json

Keys: `idle_pull_statements`; `push_statements` by number of changes to one entity; `write_rows` by number of devices that hold the
scope; `reassign_rows` by number of records inside the work order; `delta_bytes` of one changed field of a 20-field record.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it would take its neighbours for packages of their names

from server.author import create as made
from server.author import write
from server.context import Context, opened
from server.devices import Gate, claim_of, enrol
from server.exchange import exchange
from server.holdings import Holdings
from server.pulls import Pulls
from server.shelf import Shelf
from server.storage import embedded
from server.storage.pool import Connection, Pool
from server.storage.tables import device as device_table
from server.tenants import create_code, create_tenant, create_user
from sync.protocol import Enrolled, Enrolment, Reply

Change = dict[str, Any]


class CountingPool(Pool):
    """The pool, with every statement counted, and the rows that its one connection has written."""

    statements = 0

    def _count(self, _: object) -> None:
        self.statements += 1

    @asynccontextmanager
    async def connection(self, tenant_id: int) -> AsyncIterator[Connection]:
        async with super().connection(tenant_id) as connection:
            with connection.query_logger(self._count):
                yield connection

    async def rows_written(self, tenant_id: int) -> int:
        async with super().connection(tenant_id) as connection:
            await connection.execute("select pg_stat_force_next_flush()")
            await connection.execute("select pg_stat_clear_snapshot()")
            total: int = await connection.fetchval(
                "select sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint from pg_stat_user_tables where relname <> 'exchange_log'"
            )
            return total


class Phone:
    """A device that speaks to the exchange function itself."""

    def __init__(self, context: Context, pool: CountingPool, me: Enrolled) -> None:
        self.context, self.pool, self.me = context, pool, me
        self.gate, self.pulls = Gate(pool), Pulls(pool, Holdings(pool), Shelf())
        self.claim = claim_of(f"Bearer {me.token}")
        self.n = 0
        self.cursor: str | None = None

    async def exchange(self, *changes: Change, limit: int = 0) -> Reply:
        now_ms = self.context.now_ms()
        transactions = []
        if changes:
            self.n += 1
            transactions = [{"n": self.n, "stamp": now_ms * 1000, "wrote_ms": now_ms, "changes": list(changes)}]
        body = {"epoch": 1, "sent_ms": now_ms, "cursor": self.cursor, "first": max(self.n, 1), "transactions": transactions}
        done = await exchange(
            self.pool, self.gate, self.context.door, self.pulls, self.claim, msgspec.json.encode(body | {"limit": limit}), now_ms
        )
        self.raw = done.reply
        return msgspec.json.decode(done.reply, type=Reply)

    async def pull(self) -> None:
        while True:
            page = (await self.exchange(limit=10_000)).page
            assert page is not None
            self.cursor = page.cursor
            if not page.more and not page.groups_left:
                return


def create(entity: str, record_id: str, **fields: object) -> Change:
    return {"entity": entity, "id": record_id, "create": True, "set": fields}


def update(entity: str, record_id: str, **fields: object) -> Change:
    return {"entity": entity, "id": record_id, "base": 2**50, "set": fields}


async def enrolled(context: Context, pool: CountingPool, tenant_id: int, user_id: str) -> Phone:
    code = Enrolment(await create_code(context, tenant_id, user_id))
    return Phone(context, pool, await enrol(pool, code, now_ms=context.now_ms(), random=context.random(42)))


async def company(context: Context, pool: CountingPool) -> tuple[int, Phone, Phone]:
    """A tenant with a dispatcher, two technicians, and one order of the first; the dispatcher's and the first one's phones."""
    tenant_id = await create_tenant(context, f"costs-{context.new_id()}")
    users = [
        await create_user(context, tenant_id, name, role)
        for name, role in (("D", "dispatcher"), ("T", "technician"), ("U", "technician"))
    ]
    office = await enrolled(context, pool, tenant_id, users[0])
    await office.exchange(
        create("technician", "T1", name="T", user=users[1]),
        create("technician", "T2", name="U", user=users[2]),
        create("account", "A1", name="Acme"),
        create("site", "S1", account="A1", name="Plant"),
        create("work_order", "W1", account="A1", site="S1"),
        create("appointment", "P1", work_order="W1", technician="T1", status="scheduled"),
    )
    phone = await enrolled(context, pool, tenant_id, users[1])
    await phone.pull()
    return tenant_id, office, phone


async def idle_pull_statements(context: Context, pool: CountingPool) -> int:
    _, _, phone = await company(context, pool)
    await phone.pull()
    before = pool.statements
    await phone.exchange(limit=1000)
    return pool.statements - before


async def push_statements(context: Context, pool: CountingPool) -> dict[str, int]:
    _, _, phone = await company(context, pool)
    found = {}
    for size in (1, 10, 100, 1000):
        changes = [create("work_order_task", f"K{size}-{n}", work_order="W1", title="step") for n in range(size)]
        before = pool.statements
        await phone.exchange(*changes)
        found[str(size)] = pool.statements - before
    return found


async def write_rows(context: Context, pool: CountingPool) -> dict[str, int]:
    found = {}
    for devices in (10, 10_000):
        tenant_id, office, phone = await company(context, pool)
        rows = [
            {
                "tenant_id": tenant_id,
                "id": f"D{n}",
                "no": 100 + n,
                "user_id": phone.me.user,
                "name": "",
                "token_hash": b"",
                "enrolled_ms": 0,
            }
            for n in range(devices)
        ]
        async with context.office.of(tenant_id) as tenant:
            await tenant.connection.execute(sa.insert(device_table), rows)
        found[str(devices)] = await _rows_of(pool, tenant_id, office, update("work_order", "W1", subject="changed"))
    return found


async def reassign_rows(context: Context, pool: CountingPool) -> dict[str, int]:
    found = {}
    for inside in (10, 10_000):
        tenant_id, office, _ = await company(context, pool)
        tasks = [made("work_order_task", f"K{n}", work_order="W1", title="step") for n in range(inside)]
        for at in range(0, inside, 1000):
            await write(context, tenant_id, "tasks", [tasks[at : at + 1000]])
        found[str(inside)] = await _rows_of(pool, tenant_id, office, update("appointment", "P1", technician="T2"))
    return found


async def _rows_of(pool: CountingPool, tenant_id: int, phone: Phone, change: Change) -> int:
    before = await pool.rows_written(tenant_id)
    await phone.exchange(change)
    return await pool.rows_written(tenant_id) - before


async def delta_bytes(context: Context, pool: CountingPool) -> int:
    """The bytes of the changed record in the page, for a lead with every field filled and ids as devices make them."""
    _, _, phone = await company(context, pool)
    lead = context.new_id()
    await phone.exchange(
        create(
            "lead",
            lead,
            need="heat pump",
            account="A1",
            site="S1",
            appointment="P1",
            urgency="soon",
            estimate_cents=900_000,
            photo="X" * 26,
            captured_by=[phone.me.user],
            captured_at=1,
            custom={"colour": "red"},
        )
    )
    await phone.pull()
    other = await enrolled(context, pool, phone.claim.tenant_id, phone.me.user)
    await other.exchange(update("lead", lead, urgency="now"))
    await phone.exchange(limit=1000)
    page = msgspec.json.decode(phone.raw, type=dict[str, Any])["page"]
    (changed,) = [record for record in page["delta"] if record[1] == lead]
    return len(msgspec.json.encode(changed))


async def measure(url: str) -> dict[str, Any]:
    async with opened(url, connections=4) as context:
        pool = await CountingPool().open(url, 1)
        context.pool = pool
        context.door._pool = pool  # noqa: SLF001  # the door of this context, on the pool that counts
        await push_statements(context, pool)  # warm-up: statements are prepared, the tenant's caches are filled
        try:
            return {
                "idle_pull_statements": await idle_pull_statements(context, pool),
                "push_statements": await push_statements(context, pool),
                "write_rows": await write_rows(context, pool),
                "reassign_rows": await reassign_rows(context, pool),
                "delta_bytes": await delta_bytes(context, pool),
            }
        finally:
            await pool.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="truckroll-costs-", ignore_cleanup_errors=True) as home:
        figures = asyncio.run(measure(embedded.start(Path(home))))
    figures["wall_s"] = round(time.monotonic() - began, 1)
    text = msgspec.json.format(msgspec.json.encode(figures)).decode()
    print(text)
    if options.json:
        options.json.write_text(text + "\n")
    promised = (
        figures["idle_pull_statements"] == 1
        and len(set(figures["push_statements"].values())) == 1
        and len(set(figures["write_rows"].values())) == 1
        and len(set(figures["reassign_rows"].values())) == 1
        and figures["delta_bytes"] <= 120
    )
    return 0 if promised else 1


if __name__ == "__main__":
    sys.exit(main())
