"""A company with customers, machines and people, for the tests of service; and patience for rules that work beside them."""

import time
from typing import Any

import sqlalchemy as sa
from conftest import Company
from wire import BareDevice, create

from server import rules
from server.domain.event import Clock
from server.storage.tables import device, rule_event
from sync.protocol import OutcomeKind

HOUR = 3_600_000
DAY = 24 * HOUR
LOOKS = 2_000
NOW = time.time_ns() // 1_000_000
"""When the tests began; what they tell of the past or the future is told from here."""

WHOLE_WEEK = {day: [["00:00", "24:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}


class Near:
    """About this moment: how long a request took is not told from how wrong the device's clock is."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and abs(other - self.at_ms) < 60_000

    __hash__ = None  # type: ignore[assignment]  # what is about equal has no hash

    def __repr__(self) -> str:
        return f"about {self.at_ms}"


class World:
    """`boss` is a manager, `office` a dispatcher, `field` a technician who holds the account by a visit for the order W0."""

    def __init__(self, company: Company, boss: BareDevice, office: BareDevice, field: BareDevice) -> None:
        self.company, self.boss, self.office, self.field = company, boss, office, field
        self.context, self.tenant_id = company.context, company.tenant_id

    @classmethod
    async def of(cls, company: Company) -> "World":
        boss, office, field = [
            BareDevice(company.http, await company.enrol(await company.user(name, role)))
            for name, role in (("Mia", "manager"), ("Dana", "dispatcher"), ("Theo", "technician"))
        ]
        world = cls(company, boss, office, field)
        async with company.context.office.of(company.tenant_id) as tenant:  # they have been there for long, so their past counts
            await tenant.connection.execute(sa.update(device).values(enrolled_ms=NOW - 60 * DAY))
        await world.does(
            boss,
            create("technician", "T1", name="Theo", user=field.me.user),
            create("account", "A1", name="Acme", owner=boss.me.user),
            create("site", "S1", account="A1", name="Plant"),
            create("asset", "M1", site="S1", name="Boiler"),
            create("work_order", "W0", account="A1", site="S1"),
            create("appointment", "P0", work_order="W0", technician="T1", status="dispatched", planned_start=NOW),
        )
        return world

    async def did(self, device: BareDevice, at_ms: int, *changes: dict[str, Any]) -> None:
        """Something done in the past that the server hears of only now."""
        reply = await device.exchange(device.transaction(*changes, wrote_ms=at_ms), limit=0)
        assert reply.outcomes[0].kind in (OutcomeKind.APPLIED, OutcomeKind.MERGED), reply.outcomes

    async def does(self, device: BareDevice, *changes: dict[str, Any]) -> None:
        outcome = await device.push(*changes)
        assert outcome.kind in (OutcomeKind.APPLIED, OutcomeKind.MERGED), outcome

    async def rows(self, entity: str) -> dict[str, Any]:
        async with self.context.office.of(self.tenant_id) as tenant:
            return {row.id: row for row in await tenant.rows(entity)}

    async def row(self, entity: str, record_id: str, **fields: Any) -> Any:
        """The row once it has these fields; rules get as many looks as none of them ever needs."""
        for _ in range(LOOKS):
            row = (await self.rows(entity)).get(record_id)
            if row is not None and all(value == getattr(row, name) for name, value in fields.items()):
                return row
        raise AssertionError(f"{entity} {record_id} is not {fields} but {row}")

    async def tick(self, clock: Clock, now_ms: int) -> int:
        """Let a clock look once; returns how many transactions it made."""
        return await rules.tick(self.context, [clock], self.tenant_id, now_ms)

    async def quiet(self) -> None:
        """Once no rule has anything left to look at."""
        for _ in range(LOOKS):
            async with self.context.office.of(self.tenant_id) as tenant:
                query = rule_event.select().where(rule_event.c.tenant_id == self.tenant_id)
                if not (await tenant.connection.execute(query)).all():
                    return
        raise AssertionError("the rules do not come to rest")

    async def write(self, *changes: Any) -> None:
        """As the server."""
        from server.author import write

        await write(self.context, self.tenant_id, "test", [changes])

    async def post(self, device: BareDevice, path: str, body: Any = None) -> Any:
        return await self.company.http.post(path, json=body, headers={"authorization": f"Bearer {device.me.token}"})

    async def get(self, device: BareDevice, path: str, **query: Any) -> Any:
        return await self.company.http.get(path, params=query, headers={"authorization": f"Bearer {device.me.token}"})


def rule(kind: str, version: int, body: Any, **fields: Any) -> dict[str, Any]:
    return create("business_rule", f"{kind}.{version}", kind=kind, version=version, body=body, **fields)
