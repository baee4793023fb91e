"""A rep's visit to a lead is booked in a window that the solver of the technicians' days offers."""

from typing import Any

from tests.domain.house import DAY_MS, HOUR_MS, NOW_MS, House
from tests.server.wire import BareDevice, create

DAWN_MS = NOW_MS // DAY_MS * DAY_MS + DAY_MS


async def asked(who: BareDevice, method: str, path: str, **content: Any) -> tuple[int, Any]:
    reply = await who.http.request(method, path, headers={"authorization": f"Bearer {who.me.token}"}, **content)
    return reply.status_code, reply.json()


async def planned(house: House) -> tuple[BareDevice, BareDevice]:
    """A rep who is planned two days from eight to twelve, the first morning with a job of two hours; a lead at a site close by."""
    desk, rita = await house.desk("Dana", "dispatcher"), await house.desk("Rita", "rep", ("north",))
    home = {"lat": 36.16, "lon": -86.78}
    await house.does(
        desk,
        create("technician", "R1", name="Rita", user=rita.me.user, home=home),
        create("shift", "F1", technician="R1", start=DAWN_MS + 8 * HOUR_MS, end=DAWN_MS + 12 * HOUR_MS),
        create("shift", "F2", technician="R1", start=DAWN_MS + DAY_MS + 8 * HOUR_MS, end=DAWN_MS + DAY_MS + 12 * HOUR_MS),
        create("account", "A1", name="Acme", territory="north"),
        create("site", "S1", account="A1", name="Plant", position=home),
        create("site", "S2", account="A1", name="Annex"),
        create("work_order", "W1", account="A1", site="S1"),
        create(
            "appointment",
            "P1",
            work_order="W1",
            technician="R1",
            status="scheduled",
            planned_start=DAWN_MS + 8 * HOUR_MS,
            duration_s=7200,
            pinned=True,
        ),
    )
    await house.does(rita, create("lead", "L1", need="heat pump", site="S1", account="A1", captured_by=[rita.me.user]))
    await house.does(rita, create("lead", "L2", need="chiller", site="S2", account="A1", captured_by=[rita.me.user]))
    return desk, rita


async def test_windows_are_offered_around_what_stands_and_one_is_booked(house: House) -> None:
    desk, rita = await planned(house)
    days = {"start_ms": DAWN_MS, "end_ms": DAWN_MS + 2 * DAY_MS, "duration_s": 5400}
    status, told = await asked(rita, "GET", "/v1/leads/L1/slots", params=days)
    assert status == 200, told
    hours = [(slot["start_ms"] - DAWN_MS) / HOUR_MS for slot in told["slots"]]
    assert hours == [10, 32, 34], "the first morning is taken until ten; a visit of an hour and a half fits the other windows"
    assert max(slot["grade"] for slot in told["slots"]) == 100
    first = told["slots"][0]
    assert first["planned_start"] >= DAWN_MS + 10 * HOUR_MS
    window = {"start_ms": first["start_ms"], "end_ms": first["end_ms"], "duration_s": 5400}
    status, booked = await asked(rita, "POST", "/v1/leads/L1/visit", json=window)
    assert status == 201, booked
    await house.rules_are_done()
    order = (await house.rows("work_order"))[booked["work_order"]]
    visit = (await house.rows("appointment"))[booked["appointment"]]
    assert (order.type, order.lead, order.account, order.site) == ("sales_visit", "L1", "A1", "S1")
    assert (visit.technician, visit.pinned, visit.status) == ("R1", True, "scheduled")
    assert (visit.promised_from, visit.promised_to) == (first["start_ms"], first["end_ms"])
    assert (await house.rows("lead"))["L1"].visit == visit.id
    assert (await asked(rita, "POST", "/v1/leads/L1/visit", json=window))[1]["rule"] == "booked"
    status, told = await asked(rita, "GET", "/v1/leads/L1/slots", params=days)
    assert [(slot["start_ms"] - DAWN_MS) / HOUR_MS for slot in told["slots"]] == [32, 34], "what was booked is taken"
    await house.does(desk, {"entity": "appointment", "id": visit.id, "base": 2**50, "set": {"status": "canceled"}})
    status, again = await asked(rita, "POST", "/v1/leads/L1/visit", json=window)
    assert status == 201, again
    assert again["work_order"] != booked["work_order"]
    assert (await house.rows("lead"))["L1"].visit == again["appointment"], "a visit that was called off can be made anew"


async def test_what_is_missing_is_named(house: House) -> None:
    desk, rita = await planned(house)
    day = {"start_ms": DAWN_MS, "end_ms": DAWN_MS + DAY_MS}
    status, told = await asked(rita, "GET", "/v1/leads/L2/slots", params=day)
    assert (status, told["field"], told["rule"]) == (422, "site", "position")
    gone = {"start_ms": DAWN_MS + 8 * HOUR_MS, "end_ms": DAWN_MS + 9 * HOUR_MS, "duration_s": 5400}
    assert (await asked(rita, "POST", "/v1/leads/L1/visit", json=gone))[1]["rule"] == "slot_gone"
    assert (await asked(rita, "GET", "/v1/leads/L1/slots", params={"start_ms": 5, "end_ms": 5}))[0] == 400
    sam = await house.desk("Sam", "rep")
    await house.does(desk, {"entity": "lead", "id": "L1", "base": 2**50, "set": {"owner": sam.me.user}})
    status, told = await asked(rita, "GET", "/v1/leads/L1/slots", params=day)
    assert (status, told["field"]) == (422, "owner")


async def test_a_visit_that_the_rep_makes_with_others_takes_their_time(house: House) -> None:
    desk, rita = await planned(house)
    await house.does(
        desk,
        create("technician", "T1", name="Theo"),
        create("work_order", "W2", account="A1", site="S1", crew=2, skill="gas"),
        create(
            "appointment",
            "P2",
            work_order="W2",
            technician="T1",
            mates=["R1"],
            status="scheduled",
            planned_start=DAWN_MS + 10 * HOUR_MS,
            duration_s=7200,
        ),
    )
    days = {"start_ms": DAWN_MS, "end_ms": DAWN_MS + 2 * DAY_MS, "duration_s": 5400}
    _, told = await asked(rita, "GET", "/v1/leads/L1/slots", params=days)
    assert [(slot["start_ms"] - DAWN_MS) / HOUR_MS for slot in told["slots"]] == [32, 34], "the first morning is taken"
