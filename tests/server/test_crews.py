"""Work that takes several, and work that nobody is owed: planned, published, held by the devices of whoever goes."""

from typing import Any

from conftest import Company
from test_planning import DAY, HOUR, applied, appointments, office_with_work, planned
from wire import BareDevice, create, update

from server.author import create as made
from server.author import write


async def phone(company: Company, office: BareDevice, technician: str) -> BareDevice:
    """The device of a technician."""
    device = BareDevice(company.http, await company.enrol(await company.user(technician, "technician")))
    await applied(office, update("technician", technician, 2**50, user=device.me.user))
    return device


async def board(company: Company, office: BareDevice) -> set[tuple[str, str]]:
    reply = await company.http.get("/v1/board", headers={"authorization": f"Bearer {office.me.token}"})
    return {(row["id"], row["technician"]) for row in reply.json()["unseen"]}


def left(best: Any) -> dict[str, str]:
    return {entry["appointment"]: entry["rule"] for entry in best["unserved"]}


async def test_a_crew_is_planned_sent_and_held_by_each_of_it(company: Company) -> None:
    office = await office_with_work(company)
    gus, eli = await phone(company, office, "T1"), await phone(company, office, "T2")
    await applied(
        office,
        office.update("work_order", "W2", crew=2),
        create("work_order_task", "K1", work_order="W2", title="lift the boiler"),
    )
    best = await planned(company)
    assert {(change["job"], change["worker_after"]) for change in best["difference"]} == {("P1", "T1"), ("P2", "T1"), ("P2", "T2")}
    visit = (await appointments(company))["P2"]
    assert {visit.technician, *visit.mates} == {"T1", "T2"}
    assert len(visit.mates) == 1
    assert await board(company, office) == {("P1", "T1"), ("P2", "T1"), ("P2", "T2")}, "each is to hear of it"
    for one in (gus, eli):
        await one.pull()
        assert one.records["appointment", "P2"]["technician"] == visit.technician
        assert ("work_order_task", "K1") in one.records, "all that hangs on the visit"
        assert ("site", "S2") in one.records
        await one.pull()
    assert await board(company, office) == set()
    assert (await planned(company))["difference"] == [], "planning again changes nothing"

    (mate,) = visit.mates
    stays, goes = (gus, eli) if mate == "T2" else (eli, gus)
    await applied(office, update("appointment", "P2", 2**50, mates=[]))
    for one in (gus, eli):
        await one.pull()
    assert ("appointment", "P2") in stays.records
    assert not {key for key in goes.records if key[1] in ("P2", "W2", "K1")}, "whoever is taken off holds it no longer"


async def test_a_crew_under_way_stays_where_it_is(company: Company) -> None:
    office = await office_with_work(company)
    await applied(office, office.update("work_order", "W2", crew=2))
    await planned(company)
    visit = (await appointments(company))["P2"]
    theo = await phone(company, office, visit.mates[0])
    await theo.pull()
    await applied(theo, theo.update("appointment", "P2", status="in_progress"))
    await applied(office, create("work_order", "W5", account="A", site="S1"), create("appointment", "P5", work_order="W5"))
    best = await planned(company)
    assert best["planned"] == best["figures"]["served"] == 3, "the crew's visit counts once"
    assert {change["job"] for change in best["difference"] if change["kind"] == "added"} == {"P5"}
    rows = await appointments(company)
    assert (rows["P2"].technician, list(rows["P2"].mates)) == (visit.technician, list(visit.mates))
    busy_until = visit.planned_start + HOUR
    assert rows["P5"].planned_start >= busy_until or rows["P5"].planned_start + HOUR <= visit.planned_start


async def test_too_few_for_a_crew_are_told(company: Company) -> None:
    office = await office_with_work(company)
    await applied(office, office.update("work_order", "W1", crew=2))
    best = await planned(company)
    (reason,) = (entry["reason"] for entry in best["unserved"] if entry["appointment"] == "P1")
    assert (left(best)["P1"], reason) == ("crew", "it takes a crew of 2 and 1 may serve it")


async def test_optional_visits_are_made_where_they_are_worth_it(company: Company) -> None:
    """An hour of work and the way there: worth it at 300, not at 10; a lead counts by its estimate and its chance."""
    office = await office_with_work(company)
    await write(
        company.context,
        company.tenant_id,
        "leads",
        [
            [made("lead", "L1", need="a new boiler", estimate_cents=100_000, score=30, status="qualified")],
            [made("lead", "L2", need="a washer", estimate_cents=100_000, score=1, status="qualified")],
        ],
    )
    work = {"account": "A", "site": "S1", "optional": True}
    await applied(
        office,
        create("work_order", "W5", **work, value_cents=30_000),
        create("work_order", "W6", **work, value_cents=1_000),
        create("work_order", "W7", **work, lead="L1"),
        create("work_order", "W8", **work, lead="L2"),
        *(create("appointment", f"P{n}", work_order=f"W{n}") for n in (5, 6, 7, 8)),
    )
    best = await planned(company)
    assert {job: rule for job, rule in left(best).items() if job in ("P5", "P6", "P7", "P8")} == {"P6": "value", "P8": "value"}
    (why,) = (entry for entry in best["unserved"] if entry["appointment"] == "P6")
    assert why["reason"] == "it is worth less than it costs, wherever the search tried it"
    assert "of its value would do" in why["nearest"]
    rows = await appointments(company)
    assert rows["P5"].status == rows["P7"].status == "scheduled"
    assert rows["P6"].status == rows["P8"].status == "unscheduled"
    assert rows["P1"].technician is not None, "what is owed comes first"

    await applied(office, office.update("work_order", "W5", value_cents=100))
    assert left(await planned(company))["P5"] == "value"
    assert (await appointments(company))["P5"].technician is None, "what is not worth it any more is let go"
    await applied(office, update("appointment", "P5", 2**50, promised_from=DAY + 12 * HOUR, promised_to=DAY + 14 * HOUR))
    assert "P5" not in left(await planned(company)), "what was promised is owed, whatever it is worth"
