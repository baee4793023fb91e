"""Records to a plan and back: through OR-Tools, the independent checker and the one door."""

from typing import Any

from conftest import Company
from wire import BareDevice, create

from server.plan_request import PlanRequest
from server.planning import load_day, run_plan, start_plan
from server.publishing import publish
from server.storage import plans
from server.translate import changes, question
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

    plan = solve(question(day).problem, seconds=0.3)
    moved = await office.push(office.update("appointment", "P2", technician="T2", planned_start=DAY + 8 * HOUR, pinned=True))
    assert moved.kind is OutcomeKind.APPLIED
    assert await publish(company.context, company.tenant_id, "run", REQUEST, day, plan) == (["P2"], [])
    rows = await appointments(company)
    assert (rows["P2"].technician, rows["P2"].planned_start, rows["P2"].planned_end) == ("T2", DAY + 8 * HOUR, None)
    assert rows["P1"].technician == "T1"


async def test_planning_again_changes_nothing(company: Company) -> None:
    await office_with_work(company)
    run_id = await start_plan(company.context, company.tenant_id, REQUEST)
    await run_plan(company.context, company.tenant_id, run_id, lambda: False)
    day = await load_day(company.context.office, company.tenant_id, REQUEST, DAY)
    from dispatch import solve

    assert list(changes(day, solve(question(day).problem, seconds=0.3))) == []


async def test_bad_plan_requests_name_the_rule(company: Company) -> None:
    office = BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))
    headers = {"authorization": f"Bearer {office.me.token}"}
    for asked in ({}, {"start_ms": 5, "end_ms": 5}, {"start_ms": 1, "end_ms": 2, "seconds": -1}, {"start_ms": "x", "end_ms": 2}):
        response = await company.http.post("/v1/plans", json=asked, headers=headers)
        assert response.status_code == 400, response.text
        assert response.json()["detail"]
