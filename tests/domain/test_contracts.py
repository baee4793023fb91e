"""What a contract covers, how often, and how it is renewed in time."""

from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import Company
from wire import create, update

from server.domain.contracts import expire_contracts, scan_renewals
from tests.domain.service_world import DAY, NOW, World


def ms(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]  # year, month, day


@pytest.fixture
async def world(company: Company) -> World:
    return await World.of(company)


def contract(contract_id: str = "K1", **fields: Any) -> dict[str, Any]:
    plain = {"account": "A1", "name": contract_id, "start": NOW - 100 * DAY, "end": NOW + 300 * DAY, "status": "active"}
    return create("contract", contract_id, **plain | fields)


def order(order_id: str, **fields: Any) -> dict[str, Any]:
    return create("work_order", order_id, **{"account": "A1", "site": "S1", "opened_at": NOW} | fields)


async def test_an_order_uses_one_visit_of_the_allowance_once_and_gives_it_back(world: World) -> None:
    await world.does(
        world.boss,
        contract(covered_types=["maintenance"]),
        create("entitlement", "E1", account="A1", contract="K1", type="maintenance", allowance=2),
    )
    for name in ("W1", "W2"):
        await world.does(world.office, order(name, type="maintenance"))
        covered = await world.row("work_order", name, coverage="covered", entitlement="E1", contract="K1")
        assert covered.coverage_reason == "Contract K1 covers it."
    await world.row("entitlement", "E1", used=2)
    await world.does(world.office, order("W3", type="maintenance"))
    spent = await world.row("work_order", "W3", coverage="exhausted", entitlement=None)
    assert spent.coverage_reason == "All 2 visits of contract K1 are used."
    for subject in ("once", "twice"):
        await world.does(world.office, update("work_order", "W1", 2**50, subject=subject))
    await world.does(world.boss, update("work_order", "W2", 2**50, status="open"))
    await world.does(world.boss, update("work_order", "W2", 2**50, status="canceled"))
    await world.row("work_order", "W2", coverage="", entitlement=None)
    await world.quiet()
    assert (await world.row("entitlement", "E1")).used == 1
    await world.does(world.office, order("W4", type="maintenance"))
    await world.row("work_order", "W4", coverage="covered")
    assert (await world.row("entitlement", "E1", used=2)).used == 2


async def test_what_the_order_is_about_decides_and_a_corrected_order_is_looked_at_anew(world: World) -> None:
    await world.does(
        world.boss,
        create("asset", "M2", site="S1"),
        contract("K1", covered_assets=["M1"], covered_types=["repair"]),
        contract("K2", covered_types=["maintenance"]),
        create("entitlement", "E1", account="A1", contract="K1", allowance=1),
    )
    await world.does(world.office, order("W1", type="repair", asset="M1"))
    await world.row("work_order", "W1", coverage="covered", contract="K1", entitlement="E1")
    await world.row("entitlement", "E1", used=1)
    await world.does(world.office, order("W2", type="repair", asset="M2"))
    bill = await world.row("work_order", "W2", coverage="billable")
    assert bill.coverage_reason == "No contract of this account covers it."
    await world.does(world.office, update("work_order", "W1", 2**50, asset="M2", contract=None))
    await world.row("work_order", "W1", coverage="billable", entitlement=None, contract=None)
    await world.row("entitlement", "E1", used=0)
    await world.does(world.office, order("W3", type="maintenance", asset="M2"))
    await world.row("work_order", "W3", coverage="covered", contract="K2")


async def test_the_order_counts_at_its_own_date_and_warranty_covers_what_no_contract_does(world: World) -> None:
    await world.does(
        world.boss,
        contract(start=ms(2026, 1, 1), end=ms(2026, 3, 1)),
        create("asset", "M2", site="S1", warranty_end=ms(2027, 5, 1)),
        order("W1", opened_at=ms(2026, 2, 1)),
        order("W2", opened_at=ms(2026, 3, 1), asset="M1"),
        order("W3", opened_at=ms(2026, 3, 1), asset="M2"),
        contract("K2", status="draft"),
    )
    await world.row("work_order", "W1", coverage="covered")
    late = await world.row("work_order", "W2", coverage="expired")
    assert late.coverage_reason == "Contract K1 ended on 2026-03-01."
    kept = await world.row("work_order", "W3", coverage="covered", contract=None)
    assert kept.coverage_reason == "The machine is under warranty until 2027-05-01."


async def test_a_device_sees_how_its_order_is_covered_and_may_not_say_so_itself(world: World) -> None:
    await world.does(world.boss, contract())
    await world.does(world.office, update("work_order", "W0", 2**50, type="repair"))
    await world.row("work_order", "W0", coverage="covered")
    await world.field.pull()
    assert world.field.records["work_order", "W0"]["coverage"] == "covered"
    outcome = await world.field.push(world.field.update("work_order", "W0", coverage="billable"))
    assert outcome.reasons[0].rule == "writer"


async def test_nothing_is_said_of_an_order_where_nobody_was_ever_promised_anything(world: World) -> None:
    await world.quiet()
    assert (await world.row("work_order", "W0")).coverage == ""
    await world.does(world.boss, contract(covered_types=["repair"]))
    await world.does(world.office, update("work_order", "W0", 2**50, subject="noise"))
    await world.row("work_order", "W0", coverage="covered")


async def test_a_renewal_is_brought_up_at_ninety_sixty_and_thirty_days_with_one_opportunity(world: World) -> None:
    end = NOW + 200 * DAY
    await world.does(world.boss, contract(end=end, price_cents=120_000), contract("K2", end=end, status="draft"))
    stages = []
    for left in (91, 90, 89, 61, 60, 31, 30, 1):
        noted = await world.tick(scan_renewals, end - left * DAY)
        stages.append((noted, (await world.row("contract", "K1")).renewal_stage_days))
        assert await world.tick(scan_renewals, end - left * DAY) == 0
    assert stages == [(0, None), (1, 90), (0, 90), (0, 90), (1, 60), (0, 60), (1, 30), (0, 30)]
    deals = await world.rows("opportunity")
    deal = deals["K1.renewal"]
    assert list(deals) == ["K1.renewal"]
    assert (deal.kind, deal.amount_cents, deal.owner, deal.close_on) == ("renewal", 120_000, world.boss.me.user, end)
    assert (await world.row("contract", "K1")).renewal_opportunity == "K1.renewal"


async def test_a_contract_signed_late_begins_at_the_stage_that_it_is_in(world: World) -> None:
    await world.does(world.boss, contract(end=NOW + 200 * DAY))
    assert await world.tick(scan_renewals, NOW + 155 * DAY) == 1
    assert (await world.row("contract", "K1")).renewal_stage_days == 60


async def test_a_won_renewal_is_the_next_contract_and_a_contract_nobody_renews_expires(world: World) -> None:
    end = NOW + 20 * DAY
    await world.does(
        world.boss,
        contract(start=ms(2025, 3, 1), end=end, covered_assets=["M1"], price_cents=100),
        create("entitlement", "E1", account="A1", contract="K1", type="repair", allowance=3),
        contract("K2", end=end),
    )
    await world.tick(scan_renewals, NOW)
    await world.does(world.boss, update("entitlement", "E1", 2**50), {"entity": "entitlement", "id": "E1", "inc": {"used": 2}})
    await world.does(world.boss, update("opportunity", "K1.renewal", 2**50, stage="won", amount_cents=110))
    following = await world.row("contract", "K1.next", status="active", start=end, renews="K1", price_cents=110)
    assert following.covered_assets == ["M1"]
    assert following.end > end + 600 * DAY
    again = await world.row("entitlement", "E1.next", contract="K1.next", allowance=3, used=0)
    assert again.type == "repair"
    await world.row("contract", "K1", status="renewed")
    await world.does(world.boss, update("opportunity", "K1.renewal", 2**50, name="Signed"))
    await world.quiet()
    assert len(await world.rows("contract")) == 3
    assert await world.tick(expire_contracts, end) == 1
    assert (await world.row("contract", "K2")).status == "expired"
    assert (await world.row("contract", "K1")).status == "renewed"
    await world.does(world.office, order("W1", asset="M1"), order("W2", asset="M1", opened_at=end + DAY))
    await world.row("work_order", "W1", contract="K1", coverage="covered")
    await world.row("work_order", "W2", contract="K1.next", coverage="covered")


async def test_the_next_term_is_as_long_by_the_calendar() -> None:
    from server.domain.contracts import _as_long_again

    assert _as_long_again(ms(2027, 1, 1), ms(2028, 1, 1)) == ms(2029, 1, 1), "a leap year in it"
    assert _as_long_again(ms(2026, 1, 31), ms(2026, 2, 28)) == ms(2026, 3, 28)
