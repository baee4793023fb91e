"""Our server in its production setting: `truckroll serve`, durable, row-level security on, every check on."""

import asyncio
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from benchmarks.sync.company import Company, Phone, founded
from benchmarks.sync.drive import drive
from benchmarks.sync.postgres import Postgres
from benchmarks.sync.system import Figures, Load, Server, free_port
from benchmarks.sync.wire import Job, Request, request
from benchmarks.sync.workload import BATCH, CONNECTIONS, Ids, Record, Size, asset, condition, small_sizes
from server.author import create, update, write_for
from server.context import Context, opened, wall_clock_ms
from server.feed import Cursor
from server.storage.migrate import migrate
from server.storage.tables import clock
from sync.policies import Role

PAGE: Final = 10_000
SEED: Final = 1

Change = dict[str, Any]


class Truckroll:
    name = "truckroll"
    durable = "yes: fsync before the reply, one commit for the pushes that arrive together"
    workloads: tuple[str, ...] = (
        "push",
        "push_singly",
        "small",
        "small_and_page",
        "first_pull",
        "first_pull_zstd",
        "delta_pull",
        "conflict",
    )

    def __init__(self, postgres: Postgres, home: Path, size: Size) -> None:
        self._postgres, self._size = postgres, size
        self.url = postgres.database("truckroll")
        port = free_port()
        command = [sys.executable, "-c", "from cli.main import main; main()", "serve", "--no-worker", "--port", str(port)]
        self._server = Server(self.name, command, home, {**os.environ, "DATABASE_URL": self.url}, port)
        self._chance, self._ids = random.Random(SEED), Ids(SEED)
        self._company: Company

    def start(self) -> None:
        migrate(self.url)
        self._company = asyncio.run(self._founded())
        self._server.start("/v1/health")

    async def _founded(self) -> Company:
        async with opened(self.url, connections=4, migrated=True) as context:
            return await founded(context, self._ids, self._size, self._chance)

    def stop(self) -> None:
        self._server.stop()

    def roots(self) -> list[int]:
        return [self._server.pid, self._postgres.pid]

    def measure(self, workload: str, number: int) -> Figures:
        return drive(self.name, asyncio.run(self._load(workload, number)), self.roots())

    @property
    def pid(self) -> int:
        return self._server.pid

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def technicians(self) -> list[Phone]:
        return self._company.technicians

    @property
    def products(self) -> tuple[str, ...]:
        return self._company.products

    def load_for_endpoint(self, workload: str, number: int) -> Load:
        """The same bytes for somebody else to take; the devices' logs stay where they are."""
        ends = [phone.n for phone in self._company.technicians]
        load = asyncio.run(self._load(workload, number))
        for phone, n in zip(self._company.technicians, ends, strict=True):
            phone.n = n
        return load

    async def _load(self, workload: str, number: int) -> Load:
        size, company = self._size, self._company
        match workload:
            case "push" | "push_singly":
                singly = workload == "push_singly"
                devices = [self._pushes(phone, singly=singly) for phone in company.technicians[: size.push_devices]]
                count = size.push_devices * size.push_batches
                return Load(self._job(devices, b'"kind":"applied"', count * (BATCH if singly else 1)), count * BATCH)
            case "small" | "small_and_page":
                return await self._small(limit=2_000 if workload == "small_and_page" else 0)
            case "first_pull" | "first_pull_zstd":
                return self._first_pulls(number, zstd=workload.endswith("zstd"))
            case "delta_pull":
                return await self._delta_pulls()
            case _:
                return await self._conflicts()

    def _job(self, devices: list[list[Request]], expect: bytes, expected: int, connections: int = CONNECTIONS) -> Job:
        return Job(self._server.port, devices, connections, expect, expected)

    def _asset(self, site: str) -> Record:
        return asset(self._chance, site, self._chance.choice(self._company.products))

    def _pushes(self, phone: Phone, *, singly: bool) -> list[Request]:
        """Batches of new records of a device: each batch one transaction, or each record one."""
        batches = [self._creations(phone, BATCH) for _ in range(self._size.push_batches)]
        return [exchange(phone, [[change] for change in batch] if singly else [batch]) for batch in batches]

    def _creations(self, phone: Phone, count: int) -> list[Change]:
        """New records on the sites of the phone's orders."""
        return [
            {"entity": "asset", "id": self._ids(), "create": True, "set": self._asset(phone.sites[number % len(phone.sites)])}
            for number in range(count)
        ]

    async def _small(self, limit: int) -> Load:
        phones = self._company.technicians[: self._size.small_devices]
        sizes = list(small_sizes(self._chance, len(phones) * self._size.small_each))
        left = iter(sizes)
        cursor = await self.settled() if limit else None
        devices = [
            [
                exchange(phone, [self._creations(phone, next(left))], cursor=cursor, limit=limit, follow="cursor" if limit else "")
                for _ in range(self._size.small_each)
            ]
            for phone in phones
        ]
        return Load(self._job(devices, b'"kind":"applied"', len(sizes)), sum(sizes))

    async def settled(self) -> str:
        """The cursor of a device that has everything up to now."""
        async with opened(self.url, connections=1, migrated=True) as context:
            return Cursor(self._company.incarnation, await _clock(context, self._company.tenant_id)).encode()

    def _first_pulls(self, number: int, *, zstd: bool) -> Load:
        pulls = self._size.pulls
        phones = self._company.pullers[number * pulls % 50 :][:pulls]
        headers = {"accept-encoding": "zstd"} if zstd else {}
        devices = [[exchange(phone, [], limit=PAGE, follow="pages", headers=headers)] for phone in phones]
        expected = 0 if zstd else pulls * self._size.pull_records
        return Load(self._job(devices, b'["asset"', expected, connections=4), pulls * self._size.pull_records)

    async def _delta_pulls(self) -> Load:
        size, company = self._size, self._company
        async with opened(self.url, connections=2, migrated=True) as context:
            base = await _clock(context, company.tenant_id)
            some = self._chance.sample(company.delta, size.delta_changes)
            # Now and then the same three words are drawn again, which is no change; the clock makes them another value.
            changes = tuple(update("asset", record, base, condition=f"{condition(self._chance)} {base}") for record in some)
            await write_for(context, company.tenant_id, company.dispatcher, Role.DISPATCHER, [("changed", changes)])
        cursor = Cursor(company.incarnation, base).encode()
        devices = [[exchange(phone, [], cursor=cursor, limit=2_000)] for phone in company.representatives]
        return Load(self._job(devices, b'["asset"', len(devices) * len(some)), len(devices) * len(some))

    async def _conflicts(self) -> Load:
        """Each device edits four fields of a hundred records of its own, two of which the office has changed meanwhile."""
        size, company = self._size, self._company
        phones = company.technicians[: size.conflict_devices]
        made = {phone.no: [self._ids() for _ in range(BATCH)] for phone in phones}
        devices = []
        async with opened(self.url, connections=2, migrated=True) as context:

            async def office(*changes: Any) -> None:
                await write_for(context, company.tenant_id, company.dispatcher, Role.DISPATCHER, [("office", changes)])

            for phone in phones:
                await office(*(create("asset", record, **self._asset(phone.sites[0])) for record in made[phone.no]))
            base = await _clock(context, company.tenant_id)
            for phone in phones:
                await office(
                    *(
                        update("asset", record, base, name="seen by the office", condition="as the office heard")
                        for record in made[phone.no]
                    )
                )
        for phone in phones:
            changes = [
                {
                    "entity": "asset",
                    "id": record,
                    "base": base,
                    "set": {
                        "name": f"seen on site {number}",
                        "condition": condition(self._chance),
                        "serial": f"SN-{number:012X}",
                        "status": "installed",
                    },
                }
                for number, record in enumerate(made[phone.no])
            ]
            devices.append([exchange(phone, [changes])])
        return Load(self._job(devices, b'"kind":"conflict"', len(devices)), len(devices) * BATCH)


async def _clock(context: Context, tenant_id: int) -> int:
    async with context.office.of(tenant_id) as tenant:
        seq: int = (await tenant.connection.execute(sa.select(clock.c.seq))).scalar_one()
        return seq


def exchange(
    phone: Phone,
    transactions: Sequence[Sequence[Change]],
    *,
    cursor: str | None = None,
    limit: int = 0,
    follow: str = "",
    headers: dict[str, str] | None = None,
) -> Request:
    """One exchange; it takes the next numbers of the phone's log."""
    now_ms = wall_clock_ms()
    first = phone.n + 1
    phone.n += len(transactions)
    sent = [
        {"n": n, "stamp": now_ms * 1000 + n % 1000, "wrote_ms": now_ms, "changes": changes}
        for n, changes in enumerate(transactions, first)
    ]
    body = {"epoch": 1, "sent_ms": now_ms, "cursor": cursor, "first": first, "transactions": sent, "limit": limit}
    return request(
        "POST", "/v1/sync", msgspec.json.encode(body), {"authorization": f"Bearer {phone.token}", **(headers or {})}, follow
    )
