"""What the server does of its own accord, and what the office does with what waits for it."""

import asyncio

import pytest
from conftest import Company
from wire import BareDevice, create, update

from server import rules
from server.author import create as product
from server.author import write
from server.commit import RULED
from server.context import Context
from server.domain.visits import slide_window
from server.rules import RULES, Rules, tick
from server.storage.office import Tenant
from sync.protocol import Change, OutcomeKind

DAY_MS = 86_400_000
LOOKS = 500


async def crew(company: Company) -> tuple[BareDevice, BareDevice, BareDevice]:
    """A dispatcher and two technicians, one job for the first."""
    office = BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))
    await write(company.context, company.tenant_id, "catalogue", [[product("product", "X1", sku="X1", name="Pump")]])
    users = [await company.user(name, "technician") for name in ("Theo", "Uma")]
    made = await office.push(
        *(create("technician", f"T{n}", name=f"Tech {n}", user=user) for n, user in enumerate(users, 1)),
        create("account", "A1", name="Acme"),
        create("site", "S1", account="A1", name="Plant"),
        create("work_order", "W1", account="A1", site="S1"),
        create("appointment", "P1", work_order="W1", technician="T1", status="dispatched", planned_start=1),
    )
    assert made.kind is OutcomeKind.APPLIED, made
    return office, *[BareDevice(company.http, await company.enrol(user)) for user in users]


async def rows(company: Company, entity: str) -> dict[str, object]:
    async with company.context.office.of(company.tenant_id) as tenant:
        return {row.id: row for row in await tenant.rows(entity)}


async def until(company: Company, entity: str, record_id: str) -> object:
    """Wait for a rule, within as many looks as no rule ever needs."""
    for _ in range(LOOKS):
        if record_id in (found := await rows(company, entity)):
            return found[record_id]
    raise AssertionError(f"no {entity} {record_id} came; there are {sorted(found)}")


async def test_late_work_is_taken_shown_to_the_office_and_kept_as_a_visit_of_its_own(company: Company) -> None:
    office, first, second = await crew(company)
    await first.pull()
    await office.push(office.update("appointment", "P1", technician="T2"))
    await second.pull()
    done = await second.push(
        second.update("appointment", "P1", status="completed"),
        create("time_entry", "E2", work_order="W1", technician="T2", kind="work", start=5, end=9),
    )
    assert done.kind is OutcomeKind.APPLIED, done
    late = await first.push(
        first.update("appointment", "P1", status="completed"),
        create("time_entry", "E1", work_order="W1", technician="T1", kind="work", start=1, end=4),
        {"entity": "appointment", "id": "P1", "base": 1, "append": {"actual": [{"id": "x", "at": 4, "status": "completed"}]}},
    )
    assert late.kind is OutcomeKind.CONFLICT
    conflicts = await rows(company, "conflict")
    assert [conflicts[one].policy for one in late.conflicts] == ["second_report", "former_holder"]  # type: ignore[attr-defined]  # a row
    extra = await until(company, "appointment", "P1.extra.T1")
    assert (extra.technician, extra.status) == ("T1", "completed")  # type: ignore[attr-defined]  # a row
    assert set(await rows(company, "time_entry")) == {"E1", "E2"}
    await second.pull()
    assert any(entity == "conflict" for entity, _ in second.records), "the one who has the job now is told"


async def test_two_captures_of_one_lead_have_one_master_and_both_are_credited(company: Company) -> None:
    office, first, second = await crew(company)
    await office.push(create("appointment", "P2", work_order="W1", technician="T2", status="dispatched"))
    await first.push(create("lead", "L1", need="heat pump", site="S1", captured_by=[first.me.user]))
    await second.push(create("lead", "L2", need="Heat pump", site="S1", captured_by=[second.me.user]))
    for _ in range(LOOKS):
        if (await rows(company, "lead"))["L2"].status == "duplicate":  # type: ignore[attr-defined]  # a row
            break
    leads = await rows(company, "lead")
    assert set(leads["L1"].captured_by) == {first.me.user, second.me.user}  # type: ignore[attr-defined]  # a row
    manager = BareDevice(company.http, await company.enrol(await company.user("Mia", "manager")))
    undone = await manager.push(update("lead", "L2", 2**50, status="captured"))
    assert undone.kind is OutcomeKind.APPLIED, undone
    leads = await rows(company, "lead")
    assert (leads["L2"].status, leads["L2"].duplicate_of) == ("captured", "L1")  # type: ignore[attr-defined]  # a row


async def test_a_balance_below_zero_calls_for_a_count_once(company: Company) -> None:
    _, first, _ = await crew(company)
    for n in (1, 2):
        await first.push(create("stock_move", f"M{n}", location="technician:T1", product="X1", quantity=-1, reason="used", at=n))
    count = await until(company, "stock_count", "M1.count")
    assert (count.location, count.expected) == ("technician:T1", count.expected)  # type: ignore[attr-defined]  # a row
    assert count.expected < 0  # type: ignore[attr-defined]  # a row
    assert len(await rows(company, "stock_count")) == 1


async def test_a_sweep_lets_the_clocks_look_and_a_clock_with_a_fault_holds_up_no_other(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeper of the tests' own server sleeps a day; this is another process. What publishes drop by drop is broken too."""

    async def broken(_tenant: Tenant, _now_ms: int) -> list[list[Change]]:
        raise LookupError("a fault")

    async def only_these() -> dict[str, int]:
        return {"nobody": 2**31 - 1, "company": company.tenant_id}

    async def broken_publishing(_context: Context, _tenant_id: int, _now_ms: int) -> int:
        raise ValueError("a fault")

    _, first, _ = await crew(company)
    monkeypatch.setattr(rules, "CLOCKS", (broken, *rules.CLOCKS))
    monkeypatch.setattr(rules, "publish_due", broken_publishing)
    monkeypatch.setattr(company.context.office, "tenants", only_these)
    monkeypatch.setattr(company.context, "now_ms", lambda: 400 * DAY_MS)
    sweeping = asyncio.create_task(Rules(company.context).run())
    try:
        for _ in range(LOOKS):
            await first.pull()
            if ("work_order", "W1") not in first.records:
                break
        else:
            raise AssertionError("the clock of the window of days did not look")
    finally:
        sweeping.cancel()


async def test_the_window_of_days_slides_over_what_devices_hold(company: Company) -> None:
    office, first, _ = await crew(company)
    await first.pull()
    assert ("work_order", "W1") in first.records
    await tick(company.context, [slide_window], company.tenant_id, 400 * DAY_MS)
    await first.pull()
    assert ("work_order", "W1") not in first.records
    now = 400 * DAY_MS
    await office.pull()
    moved = await office.push(update("appointment", "P1", 2**50, planned_start=now + DAY_MS))
    assert moved.kind is OutcomeKind.APPLIED
    await tick(company.context, [slide_window], company.tenant_id, now)
    await first.pull()
    assert ("work_order", "W1") in first.records


async def test_parked_work_is_mended_and_applied_with_what_depends_on_it(company: Company) -> None:
    office, first, _ = await crew(company)
    parked = await first.push(create("work_order_task", "K1", work_order="W1", title="x" * 300))
    dependant = await first.push(update("work_order_task", "K1", 0, note="done it"))
    assert (parked.kind, dependant.kind) == (OutcomeKind.PARKED, OutcomeKind.PARKED)
    headers = {"authorization": f"Bearer {office.me.token}"}
    listed = (await office.http.get("/v1/parked", headers=headers)).json()
    assert [one["n"] for one in listed] == [1, 2]
    where = f"/v1/parked/{listed[0]['device_no']}/{listed[0]['epoch']}/1"
    again = (await office.http.post(where, json={"apply": True}, headers=headers)).json()
    assert [outcome["kind"] for outcome in again["outcomes"]] == ["parked", "parked"]
    mended = {"apply": True, "changes": [create("work_order_task", "K1", work_order="W1", title="short")]}
    answer = (await office.http.post(where, json=mended, headers=headers)).json()
    assert answer["handled"] == [1, 2]
    assert [outcome["kind"] for outcome in answer["outcomes"]] == ["applied", "applied"]
    task = (await rows(company, "work_order_task"))["K1"]
    assert (task.title, task.note) == ("short", "done it")  # type: ignore[attr-defined]  # a row
    assert (await office.http.get("/v1/parked", headers=headers)).json() == []
    assert (await office.http.post(where, json={"apply": False}, headers=headers)).status_code == 404


async def test_the_board_names_visits_that_a_device_has_not_seen(company: Company) -> None:
    office, first, _ = await crew(company)
    headers = {"authorization": f"Bearer {office.me.token}"}
    assert [one["id"] for one in (await office.http.get("/v1/board", headers=headers)).json()["unseen"]] == ["P1"]
    await first.pull()
    assert (await office.http.get("/v1/board", headers=headers)).json()["unseen"], "a reply may have been lost"
    await first.exchange()
    for _ in range(LOOKS):
        board = (await office.http.get("/v1/board", headers=headers)).json()
        if not board["rules_due"]:
            break
    assert (board["unseen"], board["rules_due"]) == ([], 0)


def test_the_door_notes_changes_of_exactly_what_rules_look_at() -> None:
    assert RULES.keys() == RULED.keys()


async def test_a_machine_that_says_no_reading_leaves_rules_alone(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules look at machines for the sake of their readings alone."""
    noted: list[int] = []
    made = (product("account", "A1", name="Acme"), product("site", "S1", account="A1", name="Plant"))
    await write(company.context, company.tenant_id, "made", [made])
    await company.rest()
    monkeypatch.setattr(company.context.door, "on_ruled", noted.append)
    await write(company.context, company.tenant_id, "made", [[product("asset", "M1", site="S1", name="boiler")]])
    assert noted == []
    read = product("asset", "M2", site="S1", name="boiler", readings=[{"id": "R1", "at": 1, "value": 2.0, "unit": "bar"}])
    await write(company.context, company.tenant_id, "made", [[read]])
    assert noted == [company.tenant_id]
