"""Admission in groups: devices that knock together share a look-up, and each gets its own answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from conftest import Company

from server.devices import Claim, Gate, claim_of
from server.problems import ProblemError
from server.storage.pool import Connection, Pool


class Watched(Pool):
    """The connections of another pool, counted; while `away` there is none."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._under, self.looks, self.away = pool, 0, False

    @asynccontextmanager
    async def connection(self, tenant_id: int) -> AsyncIterator[Connection]:
        self.looks += 1
        await asyncio.sleep(0)  # the others knock meanwhile
        if self.away:
            raise ConnectionRefusedError("the database is away")
        async with self._under.connection(tenant_id) as connection:
            yield connection


@pytest.fixture
async def claims(company: Company) -> list[Claim]:
    user = await company.user("Theo", "technician")
    return [claim_of(f"Bearer {(await company.enrol(user)).token}") for _ in range(6)]


async def test_devices_that_knock_together_share_a_look_up(company: Company, claims: list[Claim]) -> None:
    pool = Watched(company.context.pool)
    admitted = await asyncio.gather(*map(Gate(pool).admit, claims))
    assert [one.device_id for one in admitted] == [claim.device_id for claim in claims]
    assert pool.looks == 2  # the first one's, and one for all who came meanwhile


async def test_a_wrong_secret_among_them_fails_alone(company: Company, claims: list[Claim]) -> None:
    wrong = Claim(claims[3].tenant_id, claims[3].device_id, "guessed")
    unknown = Claim(claims[3].tenant_id, "nobody", "guessed")
    asked = [*claims[:3], wrong, unknown, *claims[4:], claims[3]]
    answers = await asyncio.gather(*map(Gate(company.context.pool).admit, asked), return_exceptions=True)
    assert [claim for claim, answer in zip(asked, answers, strict=True) if isinstance(answer, ProblemError)] == [wrong, unknown]


async def test_a_fault_reaches_everybody_and_the_gate_goes_on(company: Company, claims: list[Claim]) -> None:
    pool = Watched(company.context.pool)
    gate, pool.away = Gate(pool), True
    answers = await asyncio.gather(*map(gate.admit, claims), return_exceptions=True)
    assert all(isinstance(answer, ConnectionRefusedError) for answer in answers)
    pool.away = False
    assert (await gate.admit(claims[0])).device_id == claims[0].device_id


async def test_who_waits_is_admitted_though_the_first_one_left(company: Company, claims: list[Claim]) -> None:
    gate = Gate(Watched(company.context.pool))
    first, second = (asyncio.create_task(gate.admit(claim)) for claim in claims[:2])
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).device_id == claims[1].device_id
