"""A technician's visits in any calendar application, behind an address that can be revoked."""

from datetime import UTC, datetime
from typing import Any

from icalendar import Calendar

from tests.domain.shop import HOUR_MS, NOW_MS, Desk, Shop


def visits(body: bytes) -> dict[str, Any]:
    return {str(event["uid"]): event for event in Calendar.from_ical(body).walk("VEVENT")}


async def test_the_feed_is_a_calendar_of_the_technicians_visits(shop: Shop) -> None:
    await shop.visit()
    await shop.desk.put("work_order", "W2", account="A1", site="S1", subject="pump; with, commas\nand lines")
    await shop.visit("P2", work_order="W2", planned_start=NOW_MS + 6 * HOUR_MS, planned_end=None, duration_s=5400)
    made = (await shop.desk("POST", "/v1/calendars", {"technician": "T1"})).json()
    reply = await shop.company.http.get(made["path"])
    assert reply.headers["content-type"].startswith("text/calendar")
    found = visits(reply.content)
    first = found[f"P1.{shop.company.tenant_id}@truckroll"]
    assert first["dtstart"].dt == datetime.fromtimestamp((NOW_MS + 3 * HOUR_MS) // 1000, UTC)
    assert first["dtend"].dt == datetime.fromtimestamp((NOW_MS + 4 * HOUR_MS) // 1000, UTC)
    assert (str(first["summary"]), str(first["location"])) == ("17 boiler check", "Plant 4, Mill Lane 4, York")
    assert str(first["status"]) == "CONFIRMED"
    second = found[f"P2.{shop.company.tenant_id}@truckroll"]
    assert str(second["summary"]) == "pump; with, commas\nand lines"
    assert (second["dtend"].dt - second["dtstart"].dt).total_seconds() == 5400
    same = await shop.company.http.get(made["path"], headers={"if-none-match": reply.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    await shop.visit(planned_start=NOW_MS + 5 * HOUR_MS)
    moved = await shop.company.http.get(made["path"], headers={"if-none-match": reply.headers["etag"]})
    assert moved.status_code == 200
    assert int(visits(moved.content)[f"P1.{shop.company.tenant_id}@truckroll"]["sequence"]) > int(first["sequence"])
    await shop.visit(status="canceled")
    gone = visits((await shop.company.http.get(made["path"])).content)[f"P1.{shop.company.tenant_id}@truckroll"]
    assert str(gone["status"]) == "CANCELLED"


async def test_the_address_is_the_right_to_see_it_and_can_be_taken_away(shop: Shop) -> None:
    made = (await shop.desk("POST", "/v1/calendars", {"technician": "T1"})).json()
    http = shop.company.http
    for wrong in ("", "x.ics", made["path"][-70:], "0.a.b.ics"):
        assert (await http.get(f"/v1/calendars/{wrong}".rstrip("/"))).status_code in (401, 404)
    assert (await http.get(made["path"].replace(made["path"][-8:], "0000.ics"))).status_code == 404
    (listed,) = await shop.desk.get("/v1/calendars")
    assert (listed["id"], "path" in listed) == (made["id"], False)
    assert (await shop.desk("DELETE", f"/v1/calendars/{made['id']}")).status_code == 204
    assert (await http.get(made["path"])).status_code == 404
    assert (await shop.desk("DELETE", f"/v1/calendars/{made['id']}")).status_code == 404


async def test_technicians_ask_for_their_own(shop: Shop) -> None:
    theo = Desk(shop.company.http, shop.device.me.token)
    assert (await theo("POST", "/v1/calendars", {"technician": "T1"})).status_code == 201
    await shop.desk.put("technician", "T2", name="Uma")
    other = await theo("POST", "/v1/calendars", {"technician": "T2"})
    assert (other.status_code, other.json()["field"]) == (403, "technician")
    assert (await shop.desk("POST", "/v1/calendars", {"technician": "T9"})).status_code == 404


async def test_a_crews_visit_is_in_the_calendar_of_each_of_it(shop: Shop) -> None:
    await shop.desk.put("technician", "T2", name="Uma")
    await shop.visit("P1", technician="T2", mates=["T1"])
    await shop.visit("P2", technician="T2")
    found = {}
    for one in ("T1", "T2"):
        made = (await shop.desk("POST", "/v1/calendars", {"technician": one})).json()
        found[one] = {uid.split(".")[0] for uid in visits((await shop.company.http.get(made["path"])).content)}
    assert found == {"T1": {"P1"}, "T2": {"P1", "P2"}}
