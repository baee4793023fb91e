"""Records to a plan and back: through OR-Tools, the independent checker and the one door."""

from typing import Any

from conftest import Company
from wire import BareDevice, create, update

from server.plan_request import PlanRequest
from server.planning import load_day, run_plan, start_plan
from server.publishing import publish
from server.storage import plans
from server.translate import question
from server.translate_back import changes
from sync.protocol import OutcomeKind

DAY = 1_900_000_000_000
HOUR = 3_600_000
REQUEST = PlanRequest(DAY, DAY + 24 * HOUR, seconds=1)


async def office_with_work(company: Company) -> BareDevice:
    """Two technicians in Nashville, three jobs: one needs gas, one is promised early, one nobody can do."""
    office = BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))
    people = [
        change
        for n, (name, skill) in enumerate((("Gus", "gas"), ("Eli", "electric")), 1)
        for change in (
            create("technician", f"T{n}", name=name, home={"lat": 36.16, "lon": -86.78 + n / 100}),
            create("skill_held", f"H{n}", technician=f"T{n}", skill=skill),
            create("shift", f"F{n}", technician=f"T{n}", start=DAY + 8 * HOUR, end=DAY + 17 * HOUR),
        )
    ]
    server_made = await _as_server(company, [change for change in people if change["entity"] == "skill_held"])
    made = await office.push(
        *(change for change in people if change["entity"] != "skill_held"),
        create("account", "A", name="Acme"),
        create("site", "S1", account="A", name="One", position={"lat": 36.1, "lon": -86.7}),
        create("site", "S2", account="A", name="Two", position={"lat": 36.2, "lon": -86.8}),
        create("site", "S3", account="A", name="Nowhere"),
        create("work_order", "W1", account="A", site="S1", skill="gas", priority=1),
        create("work_order", "W2", account="A", site="S2"),
        create("work_order", "W3", account="A", site="S2", skill="lifts"),
        create("work_order", "W4", account="A", site="S3"),
        create("appointment", "P1", work_order="W1"),
        create("appointment", "P2", work_order="W2", promised_from=DAY + 8 * HOUR, promised_to=DAY + 9 * HOUR),
        create("appointment", "P3", work_order="W3"),
        create("appointment", "P4", work_order="W4"),
    )
    assert made.kind is OutcomeKind.APPLIED, made
    await _as_server(company, server_made)
    return office


async def _as_server(company: Company, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Skills are the server's to write; they wait for their technicians."""
    from server.author import create as made
    from server.author import write

    async with company.context.office.of(company.tenant_id) as tenant:
        if not await tenant.rows("technician"):
            return items
    await write(company.context, company.tenant_id, "skills", [[made(i["entity"], i["id"], **i["set"])] for i in items])
    return []


async def appointments(company: Company) -> dict[str, Any]:
    async with company.context.office.of(company.tenant_id) as tenant:
        return {row.id: row for row in await tenant.rows("appointment")}


async def test_a_plan_is_solved_checked_and_written(company: Company) -> None:
    await office_with_work(company)
    run_id = await start_plan(company.context, company.tenant_id, REQUEST)
    await run_plan(company.context, company.tenant_id, run_id, lambda: False)
    async with company.context.office.of(company.tenant_id) as tenant:
        run = await plans.get(tenant, run_id)
    assert run is not None
    assert (run.state, run.best["checked"], run.best["planned"]) == ("done", True, 2)
    assert {left["appointment"]: left["rule"] for left in run.best["unserved"]}.keys() == {"P3", "P4"}
    assert all(left["reason"] for left in run.best["unserved"])
    rows = await appointments(company)
    assert (rows["P1"].technician, rows["P1"].status) == ("T1", "scheduled")
    assert DAY + 8 * HOUR <= rows["P2"].planned_start <= DAY + 9 * HOUR
    assert rows["P3"].technician is None
    progress = run.progress
    assert progress
    assert progress[-1]["served"] == 2


async def test_what_a_dispatcher_moved_during_the_run_stays(company: Company) -> None:
    office = await office_with_work(company)
    day = await load_day(company.context.office, company.tenant_id, REQUEST, DAY)
    from dispatch import solve

    asked = question(day)
    plan = solve(asked.problem, seconds=0.3)
    moved = await office.push(office.update("appointment", "P2", technician="T2", planned_start=DAY + 8 * HOUR, pinned=True))
    assert moved.kind is OutcomeKind.APPLIED
    assert await publish(company.context, company.tenant_id, "run", REQUEST, day, asked, plan) == (["P2"], [])
    rows = await appointments(company)
    assert (rows["P2"].technician, rows["P2"].planned_start, rows["P2"].planned_end) == ("T2", DAY + 8 * HOUR, None)
    assert rows["P1"].technician == "T1"


async def test_planning_again_changes_nothing(company: Company) -> None:
    await office_with_work(company)
    run_id = await start_plan(company.context, company.tenant_id, REQUEST)
    await run_plan(company.context, company.tenant_id, run_id, lambda: False)
    day = await load_day(company.context.office, company.tenant_id, REQUEST, DAY)
    from dispatch import solve

    asked = question(day)
    assert list(changes(day, asked, solve(asked.problem, seconds=0.3))) == []


async def planned(company: Company) -> Any:
    """The run's last word."""
    run_id = await start_plan(company.context, company.tenant_id, REQUEST)
    await run_plan(company.context, company.tenant_id, run_id, lambda: False)
    async with company.context.office.of(company.tenant_id) as tenant:
        run = await plans.get(tenant, run_id)
    assert run is not None
    assert (run.state, run.error) == ("done", None)
    return run.best


async def applied(device: BareDevice, *changes: dict[str, Any]) -> None:
    outcome = await device.push(*changes)
    assert outcome.kind is OutcomeKind.APPLIED, outcome


async def test_parts_and_tools_are_on_the_van_or_fetched_on_the_way(company: Company) -> None:
    office = await office_with_work(company)
    theo = BareDevice(company.http, await company.enrol(await company.user("Gus", "technician")))
    await _as_server(company, [create("product", "X1", sku="X1", name="Valve")])
    await applied(
        office,
        create("stock_move", "M1", location="technician:T1", product="X1", quantity=1, reason="received", at=1),
        office.update("technician", "T1", user=theo.me.user),
        office.update("work_order", "W1", parts={"X1": 2}),
        office.update("work_order", "W2", skill="electric"),
        {"entity": "work_order", "id": "W2", "add": {"tools": ["ladder"]}},
    )
    missing = {left["appointment"]: left["rule"] for left in (await planned(company))["unserved"]}
    assert (missing["P1"], missing["P2"]) == ("parts", "tools"), "one valve of two, nobody has a ladder, and no depot is near"

    await applied(
        office,
        create("depot", "D1", name="Store", position={"lat": 36.15, "lon": -86.75}),
        {"entity": "technician", "id": "T2", "add": {"tools": ["ladder"]}},
    )
    await planned(company)
    rows = await appointments(company)
    assert (rows["P1"].technician, rows["P1"].fetch_at) == ("T1", "D1")
    assert (rows["P2"].technician, rows["P2"].fetch_at) == ("T2", None)
    await applied(office, update("appointment", "P1", 2**50, status="dispatched"))
    await theo.pull()
    assert theo.records["depot", "D1"]["name"] == "Store", "who is to call at a depot knows where it is"

    await applied(office, create("stock_move", "M2", location="technician:T1", product="X1", quantity=1, reason="received", at=2))
    await planned(company)
    assert (await appointments(company))["P1"].fetch_at is None, "what lies on the van need not be fetched"


async def test_a_visit_comes_after_another_and_never_after_itself(company: Company) -> None:
    office = await office_with_work(company)
    await applied(
        office,
        office.update("work_order", "W4", site="S1"),
        office.update("appointment", "P2", follows="P1", promised_from=None, promised_to=None),
        office.update("appointment", "P3", follows="P4"),
        office.update("appointment", "P4", follows="P3"),
    )
    best = await planned(company)
    assert {left["appointment"] for left in best["unserved"]} == {"P3", "P4"}
    assert all("after itself" in left["reason"] for left in best["unserved"])
    rows = await appointments(company)
    assert rows["P2"].planned_start >= rows["P1"].planned_end


async def test_bad_plan_requests_name_the_rule(company: Company) -> None:
    office = BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))
    headers = {"authorization": f"Bearer {office.me.token}"}
    for asked in ({}, {"start_ms": 5, "end_ms": 5}, {"start_ms": 1, "end_ms": 2, "seconds": -1}, {"start_ms": "x", "end_ms": 2}):
        response = await company.http.post("/v1/plans", json=asked, headers=headers)
        assert response.status_code == 400, response.text
        assert response.json()["detail"]
