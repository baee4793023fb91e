"""A company with customers, machines and a catalogue; devices of the real SDK, and a desk on the bare protocol."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import Company

from client_sdk import HttpTransport, Replica
from server.author import create as server_create
from server.author import write
from server.rules import tick
from server.storage.tables import rule_event
from sync.protocol import OutcomeKind
from tests.client_sdk.oracle import check
from tests.server.wire import BareDevice

NOW_MS = 1_900_000_000_000
"""The true time of these stories: 2030-03-17."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS
LOOKS = 2000


class Clock:
    """The time that server and devices have; a story lets it pass."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


class House:
    """A company as these stories see it."""

    def __init__(self, company: Company, clock: Clock, folder: Path) -> None:
        self.company, self.clock, self.folder = company, clock, folder
        self.context, self.tenant_id = company.context, company.tenant_id
        self.replicas: list[Replica] = []

    async def desk(self, name: str, role: str, territories: tuple[str, ...] = ()) -> BareDevice:
        return BareDevice(self.company.http, await self.company.enrol(await self.company.user(name, role, territories), name))

    async def phone(self, user: str, name: str) -> Replica:
        replica = Replica.open(
            self.folder / name, clock=self.clock, random=Random(name), transport=HttpTransport(self.company.http)
        )
        self.replicas.append(replica)
        await replica.enrol("http://server", await self.company.code(user), name)
        await replica.sync()
        return replica

    async def brings(self, *records: tuple[str, str, dict[str, Any]]) -> None:
        """What an importer brings: (entity, id, fields)."""
        made = [[server_create(entity, record_id, **fields)] for entity, record_id, fields in records]
        done = await write(self.context, self.tenant_id, "import", made)
        assert all(outcome.kind is OutcomeKind.APPLIED for outcome in done.outcomes), done

    async def does(self, desk: BareDevice, *changes: dict[str, Any]) -> None:
        """A transaction of the desk, which must stand, and what the rules make of it."""
        outcome = await desk.push(*changes)
        assert outcome.kind in (OutcomeKind.APPLIED, OutcomeKind.MERGED), outcome
        await self.rules_are_done()

    async def rules_are_done(self) -> None:
        """Until the rules have looked at everything, within as many looks as they never need."""
        count = sa.select(sa.func.count()).select_from(rule_event).where(rule_event.c.tenant_id == self.tenant_id)
        for _ in range(LOOKS):
            async with self.context.office.of(self.tenant_id) as tenant:
                if not (await tenant.connection.execute(count)).scalar_one():
                    return
        raise AssertionError("the rules do not come to an end")

    async def rows(self, entity: str) -> dict[str, Any]:
        async with self.context.office.of(self.tenant_id) as tenant:
            return {row.id: row for row in await tenant.rows(entity)}

    async def tick(self, clock: Callable[..., Any]) -> int:
        """Let a clock of the rules look at this company alone, until it finds nothing more."""
        found = 0
        for _ in range(LOOKS):
            changed = await tick(self.context, [clock], self.tenant_id, self.clock())
            await self.rules_are_done()
            if not changed:
                return found
            found += changed
        raise AssertionError(f"{clock.__name__} does not come to an end")


@pytest.fixture
def still(company: Company, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time, which stands still until a story lets it pass."""
    still = Clock()
    monkeypatch.setattr(company.context, "now_ms", still)
    return still


@pytest.fixture
async def house(company: Company, still: Clock, tmp_path: Path) -> AsyncIterator[House]:
    house = House(company, still, tmp_path)
    yield house
    for replica in house.replicas:
        check(replica)
        replica.close()
