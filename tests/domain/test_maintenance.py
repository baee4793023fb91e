"""Plans open their work ahead: by the calendar, on the clock of the wall, and by the meter."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import Company
from wire import create, update

from server.domain.maintenance import NEVER, open_orders
from server.domain.recurrence import Unsound, occurrences, recurrence_of
from sync.protocol import OutcomeKind
from tests.domain.service_world import DAY, HOUR, NOW, WHOLE_WEEK, World

BERLIN = ZoneInfo("Europe/Berlin")


def ms(*when: int, zone: Any = UTC) -> int:
    return int(datetime(*when, tzinfo=zone).timestamp() * 1000)  # type: ignore[arg-type,misc]  # year, month, day, …


@pytest.fixture
async def world(company: Company) -> World:
    return await World.of(company)


def plan(plan_id: str = "N1", **fields: Any) -> dict[str, Any]:
    return create("maintenance_plan", plan_id, **{"account": "A1", "site": "S1", "asset": "M1", "subject": "Service"} | fields)


async def orders_of(world: World, plan_id: str = "N1") -> list[str]:
    return sorted(row.id for row in (await world.rows("work_order")).values() if row.plan == plan_id)


async def test_orders_with_their_steps_are_opened_ahead_once_and_the_horizon_moves_on(world: World) -> None:
    start = ms(2030, 1, 1, 8)
    monthly = {"start": start, "recurrence": "FREQ=MONTHLY;BYMONTHDAY=1", "horizon_days": 40, "tasks": ["Look", "Clean"]}
    await world.does(world.office, plan(**monthly, skill="heating", duration_s=5400))
    assert await world.tick(open_orders, start - 45 * DAY) == 1
    assert await orders_of(world) == []
    assert (await world.row("maintenance_plan", "N1")).opened_to == start
    assert await world.tick(open_orders, start - 41 * DAY) == 0
    assert await world.tick(open_orders, start - 40 * DAY) == 1
    assert await world.tick(open_orders, start - 40 * DAY) == 0
    assert await orders_of(world) == ["N1.20300101"]
    order = await world.row("work_order", "N1.20300101")
    assert (order.type, order.skill, order.asset, order.due) == ("maintenance", "heating", "M1", start + 7 * DAY)
    visit = await world.row("appointment", "N1.20300101.visit", status="unscheduled")
    assert (visit.earliest, visit.due, visit.duration_s) == (start, start + 7 * DAY, 5400)
    steps = [row for row in (await world.rows("work_order_task")).values() if row.work_order == order.id]
    assert [(step.title, step.position, step.required) for step in steps] == [("Look", 1, True), ("Clean", 2, True)]
    await world.tick(open_orders, start + 25 * DAY)
    assert await orders_of(world) == ["N1.20300101", "N1.20300201", "N1.20300301"]


async def test_weeks_that_nobody_looked_are_made_up_for(world: World) -> None:
    start = ms(2030, 1, 7, 8)
    await world.does(world.office, plan(start=start, recurrence="FREQ=WEEKLY", horizon_days=7))
    await world.tick(open_orders, start - 10 * DAY)
    await world.tick(open_orders, start + 15 * DAY)
    assert await orders_of(world) == ["N1.20300107", "N1.20300114", "N1.20300121", "N1.20300128"]


async def test_a_plan_keeps_local_time_when_the_clocks_change(world: World) -> None:
    await world.does(
        world.boss,
        create("business_hours", "H", name="H", zone="Europe/Berlin", weekly=WHOLE_WEEK),
        create("service_level", "L", name="L", business_hours="H"),
        create("contract", "K1", account="A1", name="Care", start=0, end=ms(2040, 1, 1), service_level="L", status="active"),
        plan(contract="K1", start=ms(2030, 3, 25, 8, zone=BERLIN), recurrence="FREQ=WEEKLY;COUNT=2", horizon_days=30),
    )
    await world.tick(open_orders, ms(2030, 3, 20))
    visits = await world.rows("appointment")
    starts = [visits[f"N1.{day}.visit"].earliest for day in ("20300325", "20300401")]
    assert starts == [ms(2030, 3, 25, 7), ms(2030, 4, 1, 6)], "08:00 in winter and 08:00 in summer"
    assert (await world.row("maintenance_plan", "N1")).opened_to == NEVER


async def test_a_plan_that_is_off_stops_and_one_taken_up_again_counts_from_now(world: World) -> None:
    start = ms(2030, 1, 1, 8)
    await world.does(world.office, plan(start=start, recurrence="FREQ=DAILY", horizon_days=1))
    await world.tick(open_orders, start - HOUR)
    await world.does(world.office, update("maintenance_plan", "N1", 2**50, active=False))
    await world.row("maintenance_plan", "N1", opened_to=None)
    assert await world.tick(open_orders, start + 5 * DAY) == 0
    await world.does(world.office, update("maintenance_plan", "N1", 2**50, active=True))
    await world.quiet()
    await world.tick(open_orders, start + 10 * DAY + HOUR)
    assert await orders_of(world) == ["N1.20300101", "N1.20300112"]
    await world.does(world.office, update("maintenance_plan", "N1", 2**50, recurrence="FREQ=WEEKLY;BYDAY=MO"))
    await world.row("maintenance_plan", "N1", opened_to=None)
    await world.does(world.office, update("maintenance_plan", "N1", 2**50, horizon_days=5))
    await world.quiet()
    await world.tick(open_orders, start + 10 * DAY + HOUR)
    assert await orders_of(world) == ["N1.20300101", "N1.20300112", "N1.20300114"]


@pytest.mark.parametrize(
    "recurrence",
    [
        "every month",
        "FREQ=HOURLY",
        "INTERVAL=2",
        "FREQ=WEEKLY;BYDAY=XX",
        "FREQ=WEEKLY;INTERVAL=0",
        "FREQ=DAILY;BYHOUR=8,20",
        "FREQ=WEEKLY;UNTIL=20301399",
        "FREQ=WEEKLY;WKST=QQ",
        "DTSTART:20300101\nRRULE:FREQ=DAILY",
    ],
)
async def test_a_recurrence_that_cannot_be_is_refused_at_the_door(world: World, recurrence: str) -> None:
    outcome = await world.office.push(plan(recurrence=recurrence))
    assert outcome.kind is OutcomeKind.PARKED
    assert (outcome.reasons[0].rule, outcome.reasons[0].field) == ("recurrence", "recurrence")


async def test_a_recurrence_that_never_comes_true_ends_at_once(world: World) -> None:
    await world.does(world.office, plan(start=NOW, recurrence="FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"))
    assert await world.tick(open_orders, NOW) == 1
    assert (await world.row("maintenance_plan", "N1")).opened_to == NEVER
    assert await world.tick(open_orders, NOW) == 0


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ("FREQ=MONTHLY;BYDAY=1MO", ["2030-01-07", "2030-02-04", "2030-03-04"]),
        ("RRULE:FREQ=MONTHLY;BYMONTHDAY=-1", ["2030-01-31", "2030-02-28", "2030-03-31"]),
        ("FREQ=WEEKLY;INTERVAL=4;BYDAY=TU;UNTIL=20300301", ["2030-01-01", "2030-01-29", "2030-02-26"]),
        ("FREQ=YEARLY;BYMONTH=1,3;BYDAY=-1FR;COUNT=3", ["2030-01-25", "2030-03-29", "2031-01-31"]),
        ("FREQ=DAILY;INTERVAL=31;COUNT=3", ["2030-01-01", "2030-02-01", "2030-03-04"]),
    ],
)
def test_rules_mean_what_the_standard_says(rule: str, days: list[str]) -> None:
    start = ms(2030, 1, 1, 8, zone=BERLIN)
    found, _ = occurrences(recurrence_of(rule, start, BERLIN), start, ms(2031, 2, 1))
    assert [str(at.date()) for at in found][:3] == days
    assert {at.hour for at in found} == {8}


def test_an_end_may_be_a_day_a_local_time_or_an_instant() -> None:
    start = ms(2030, 1, 1, 8, zone=BERLIN)
    for until, count in (("20300103", 3), ("20300103T080000", 3), ("20300103T075959", 2), ("20300103T070000Z", 3)):
        found, following = occurrences(recurrence_of(f"FREQ=DAILY;UNTIL={until}", start, BERLIN), start, start + 90 * DAY)
        assert (len(found), following) == (count, None), until
    with pytest.raises(Unsound):
        recurrence_of("FREQ=DAILY;UNTIL=tomorrow", start)


async def test_a_meter_opens_one_order_for_each_stretch(world: World) -> None:
    async def read(reading_id: str, value: float, unit: str = "h") -> None:
        entry = {"id": reading_id, "at": NOW + int(value), "value": value, "unit": unit}
        await world.does(world.field, {"entity": "asset", "id": "M1", "append": {"readings": [entry]}})
        await world.quiet()

    await world.field.pull()
    await read("r0", 4_990)
    await world.does(world.office, plan(meter_unit="h", meter_every=250.0, tasks=["Oil"]))
    await world.row("maintenance_plan", "N1", opened_meter=4_990.0)
    await read("r1", 5_200)
    await read("r2", 90_000, unit="km")
    assert await orders_of(world) == []
    await read("r3", 5_241)
    await world.row("maintenance_plan", "N1", opened_meter=5_240.0)
    assert await orders_of(world) == ["N1.at-5240.000"]
    await read("r4", 5_300)
    await read("r5", 6_100)
    assert await orders_of(world) == ["N1.at-5240.000", "N1.at-5990.000"], "one order, however far it has leapt"
    tasks = [row.title for row in (await world.rows("work_order_task")).values()]
    assert tasks == ["Oil", "Oil"]
