"""A reading outside its limits opens a case, wherever it comes from."""

import asyncio
from typing import Any

import pytest
from conftest import Company
from wire import create, update

from tests.domain.service_world import HOUR, NOW, World, rule

PRESSURE = {"name": "pressure", "unit": "bar", "subject": "Pressure too high", "above": 8, "priority": 1, "symptom": "overpressure"}


@pytest.fixture
async def world(company: Company) -> World:
    world = await World.of(company)
    await world.does(world.boss, rule("reading", 3, {"rules": [PRESSURE]}))
    return world


def reading(reading_id: str, value: float, at: int = NOW - HOUR, unit: str = "bar") -> dict[str, Any]:
    return {"id": reading_id, "at": at, "value": value, "unit": unit}


async def send(world: World, *readings: dict[str, Any]) -> Any:
    reply = await world.post(world.office, "/v1/assets/M1/readings", {"readings": readings})
    await world.quiet()
    return reply


async def cases(world: World) -> list[Any]:
    return [row for row in (await world.rows("case")).values() if row.origin == "reading"]


async def test_a_sensor_breaks_a_limit_and_one_case_is_open_until_it_is_done(world: World) -> None:
    taken = await send(world, reading("r1", 7.9), reading("r2", 9.5), reading("r3", 7.0, NOW - HOUR // 2))
    assert taken.json() == {"taken": 3, "known": 0}
    (case,) = await cases(world)
    assert (case.asset, case.site, case.account, case.priority, case.subject) == ("M1", "S1", "A1", 1, "Pressure too high")
    assert (case.symptom, case.opened_at) == ("overpressure", NOW - HOUR)
    assert case.custom == {"limit": "pressure", "rule_version": 3, "reading": "r2"}
    assert "9.5 bar" in case.description
    assert "above 8 bar" in case.description
    assert "version 3" in case.description
    again = await send(world, reading("r2", 9.5), reading("r4", 11.0, NOW - 1000), reading("r5", 12.0, NOW - 2000, unit="psi"))
    assert again.json() == {"taken": 2, "known": 1}
    assert len(await cases(world)) == 1
    await world.does(world.office, update("case", case.id, 2**50, status="resolved"))
    await send(world, reading("r6", 9.9, NOW - 3000))
    assert len(await cases(world)) == 1, "it was read while the case was open"
    later = (await world.row("case", case.id)).resolved_at + 1
    await send(world, reading("r7", 9.9, later))
    assert len(await cases(world)) == 2


async def test_a_technician_reads_the_gauge_offline_and_the_case_is_there_when_that_arrives(world: World) -> None:
    await world.field.pull()
    change = {"entity": "asset", "id": "M1", "append": {"readings": [reading("r1", 8.5)]}}
    await world.did(world.field, NOW - HOUR, change)
    await world.quiet()
    (case,) = await cases(world)
    await world.field.pull()
    assert world.field.records["case", case.id]["opened_at"] == NOW - HOUR


async def test_a_limit_is_for_its_product_and_a_new_version_takes_over(world: World) -> None:
    from server.author import create as made

    await world.write(made("product", "X1", sku="X1", name="Pump"))
    await world.does(world.boss, rule("reading", 4, {"rules": [PRESSURE | {"product": "X1"}]}))
    await send(world, reading("r1", 9.0))
    assert await cases(world) == []
    cold = {"name": "cold", "unit": "bar", "subject": "No pressure", "below": 1.0}
    await world.does(world.boss, rule("reading", 5, {"rules": [PRESSURE, cold]}))
    await send(world, reading("r2", 0.5), reading("old", 99.0, NOW - 400 * 24 * HOUR))
    found = {case.custom["limit"]: case.custom for case in await cases(world)}
    assert {name: about["reading"] for name, about in found.items()} == {"pressure": "r1", "cold": "r2"}
    assert {about["rule_version"] for about in found.values()} == {5}


async def test_readings_that_cannot_be_taken_are_told_by_field_and_rule(world: World) -> None:
    await send(world, reading("r1", 1.0))
    differs = await send(world, reading("r0", 1.0), reading("r1", 2.0))
    assert (differs.status_code, differs.json()["field"], differs.json()["rule"]) == (409, "readings[1].id", "exists")
    assert len((await world.row("asset", "M1")).readings) == 1, "nothing of it was stored"
    wrong = await send(world, {"id": "r2", "at": "noon", "value": 1.0})
    assert (wrong.status_code, wrong.json()["field"]) == (400, "readings[0].at")
    nowhere = await world.post(world.office, "/v1/assets/M9/readings", {"readings": []})
    assert nowhere.status_code == 404
    assert (await world.post(world.field, "/v1/assets/M1/readings", {"readings": []})).status_code == 403
    assert (await world.company.http.post("/v1/assets/M1/readings", json={})).status_code == 401


async def test_gateways_that_send_at_once_lose_nothing(world: World) -> None:
    paths = [[reading(f"r{n}", 1.0), reading("same", 1.0)] for n in range(8)]
    replies = await asyncio.gather(*(world.post(world.office, "/v1/assets/M1/readings", {"readings": sent}) for sent in paths))
    assert {reply.status_code for reply in replies} == {200}, [reply.text for reply in replies]
    assert len((await world.row("asset", "M1")).readings) == 9
    assert sum(reply.json()["taken"] for reply in replies) == 9


async def test_two_who_ask_for_the_order_of_a_case_at_once_get_the_same(world: World) -> None:
    await world.does(world.office, create("case", "C1", account="A1", subject="Leaks", site="S1"))
    replies = await asyncio.gather(*(world.post(world.office, "/v1/cases/C1/work_order") for _ in range(4)))
    assert sorted(reply.status_code for reply in replies) == [200, 200, 200, 201], [reply.text for reply in replies]
    assert {reply.json()["work_order"] for reply in replies} == {"C1.order"}
