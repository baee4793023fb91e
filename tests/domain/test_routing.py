"""A lead finds the rep who can take it, is not forgotten, and tells why."""

from typing import Any

import pytest

from server.domain.business_hours import ALWAYS, DAYS, hours_of
from server.domain.leads import chase_leads
from server.domain.routing import RoutingRule, Seller, choose, respond_by_ms
from tests.domain.house import DAY_MS, HOUR_MS, NOW_MS, Clock, House
from tests.server.wire import BareDevice, create


def seller(
    name: str, *, territory: str = "north", skills: str = "", room: int | None = None, load: int = 0, away: int | None = None
) -> Seller:
    return Seller(name, name, frozenset({territory}), frozenset(skills.split()), room, load, away)


@pytest.mark.parametrize(
    ("sellers", "expected", "word"),
    [
        ([seller("a", load=3), seller("b", load=1)], "b", "1 in hand, the fewest of 2"),
        ([seller("a", away=NOW_MS), seller("b", load=9)], "b", "a is away until 2030-03-17"),
        ([seller("a", territory="south"), seller("b", load=9)], "b", "territory north"),
        ([seller("a", territory="south")], "a", "nobody of territory north"),
        ([seller("a"), seller("b", skills="heat", load=5)], "b", "knows heat"),
        ([seller("a", room=2, load=2), seller("b", room=9, load=5)], "b", "5 in hand of 9"),
        ([seller("a", room=2, load=2)], "a", "nobody has room"),
        ([seller("p"), seller("q", load=7)], "q", "p has let it pass"),
        ([seller("a", away=NOW_MS)], None, "nobody is there to take it"),
    ],
)
def test_presence_territory_skill_room_and_load_decide_in_this_order(
    sellers: list[Seller], expected: str | None, word: str
) -> None:
    chosen = choose(sellers, "north", "heat", passed_by=["p"])
    assert chosen.owner == expected
    assert word in chosen.words


def test_how_soon_goes_by_urgency() -> None:
    rule = RoutingRule(respond_s={"now": 60})
    assert respond_by_ms(rule, ALWAYS, {"urgency": "now"}, 0) == 60_000
    mornings = hours_of({"weekly": {day: [["08:00", "12:00"]] for day in DAYS}})
    assert respond_by_ms(rule, mornings, {"urgency": "now"}, 0) == 8 * HOUR_MS + 60_000, "nobody calls at midnight"
    assert respond_by_ms(rule, hours_of({}), {"urgency": "now"}, 0) is None, "a business that never opens promises nothing"


async def team(house: House) -> tuple[BareDevice, BareDevice, dict[str, BareDevice]]:
    """A dispatcher, a manager, and three reps: two of the north, one of the south."""
    desk, manager = await house.desk("Dana", "dispatcher"), await house.desk("Mia", "manager")
    reps = {
        name: await house.desk(name, "rep", (territory,))
        for name, territory in (("Rita", "north"), ("Sam", "north"), ("Tess", "south"))
    }
    await house.brings(("product", "P", {"sku": "P", "name": "Heat pump", "family": "heat"}))
    await house.does(
        desk,
        create("account", "A1", name="Acme", territory="north"),
        create("site", "S1", account="A1", name="Plant", territory="north"),
    )
    return desk, manager, reps


async def lead(house: House, name: str) -> Any:
    return (await house.rows("lead"))[name]


async def explained(house: House, who: BareDevice, lead_id: str) -> dict[str, Any]:
    reply = await who.http.get(f"/v1/leads/{lead_id}/explain", headers={"authorization": f"Bearer {who.me.token}"})
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    return told


async def test_a_lead_goes_by_territory_skill_absence_and_load_and_tells_why(house: House) -> None:
    _, manager, reps = await team(house)
    rita, sam = reps["Rita"].me.user, reps["Sam"].me.user
    await house.does(manager, {"entity": "profile", "id": sam, "base": 2**50, "add": {"skills": ["heat"]}})
    await house.does(
        reps["Tess"], create("lead", "L1", need="heat pump", site="S1", product="P", captured_by=[reps["Tess"].me.user])
    )
    first = await lead(house, "L1")
    assert (first.owner, first.territory, first.respond_by) == (sam, "north", NOW_MS + DAY_MS)
    away = {"holder": f"user:{sam}", "start": NOW_MS - 1, "end": NOW_MS + 3 * DAY_MS, "reason": "ill"}
    await house.does(manager, create("absence", "B1", **away))
    await house.does(manager, {"entity": "absence", "id": "B1", "base": 2**50, "set": {"status": "approved"}})
    await house.does(reps["Tess"], create("lead", "L2", need="service plan", site="S1", product="P", urgency="now"))
    second = await lead(house, "L2")
    assert (second.owner, second.respond_by) == (rita, NOW_MS + 2 * HOUR_MS)
    told = await explained(house, manager, "L2")
    assert told["routing"]["owner"] == rita
    assert "Rita: territory north, nobody who knows heat" in told["routing"]["reason"]
    assert "Sam is away until 2030-03-20" in told["routing"]["reason"]
    assert told["score"]["reasons"][0]["feature"] == "base"
    assert told["match"]["duplicate_of"] is None


async def test_a_lead_that_nobody_calls_goes_on_and_in_the_end_to_the_manager(house: House, still: Clock) -> None:
    _, manager, reps = await team(house)
    rita, sam = sorted((reps["Rita"].me.user, reps["Sam"].me.user))
    await house.does(
        manager, create("business_rule", "R1", kind="lead_routing", version=1, body={"respond_s": {"soon": 3600}, "passes": 2})
    )
    await house.does(reps["Tess"], create("lead", "L1", need="pump", site="S1", captured_by=[reps["Tess"].me.user]))
    assert (await lead(house, "L1")).owner == rita
    still.ms += HOUR_MS - 1
    assert await house.tick(chase_leads) == 0
    still.ms += 1
    assert await house.tick(chase_leads) == 1
    passed = await lead(house, "L1")
    assert (passed.owner, passed.passed_by, passed.respond_by) == (sam, [rita], still.ms + HOUR_MS)
    still.ms += HOUR_MS
    assert await house.tick(chase_leads) == 1
    ended = await lead(house, "L1")
    assert (ended.owner, ended.passed_by, ended.respond_by) == (manager.me.user, [rita, sam], None)
    assert "2 have let it pass: it is the manager’s (rule 1)" in ended.routing_reason
    still.ms += 30 * DAY_MS
    assert await house.tick(chase_leads) == 0, "the manager is the last"


async def test_a_call_of_the_rep_stops_the_clock_and_a_technicians_note_does_not(house: House, still: Clock) -> None:
    _, _, reps = await team(house)
    await house.does(reps["Tess"], create("lead", "L1", need="pump", site="S1", account="A1"))
    owner_id = (await lead(house, "L1")).owner
    owner = next(rep for rep in reps.values() if rep.me.user == owner_id)
    note = {"account": "A1", "at": NOW_MS, "by": owner_id, "lead": "L1"}
    await house.does(owner, create("activity", "N1", kind="note", **note))
    assert (await lead(house, "L1")).first_contact_at is None
    await house.does(owner, create("activity", "C1", kind="call", **note))
    assert (await lead(house, "L1")).first_contact_at == NOW_MS
    still.ms += 30 * DAY_MS
    assert await house.tick(chase_leads) == 0


async def test_duplicates_join_a_master_and_the_contact_is_found(house: House) -> None:
    desk, manager, reps = await team(house)
    await house.does(
        desk, create("contact", "C1", account="A1", name="Ines Moe", phones=["+1 555 0100 99"], emails=["ines@acme.example"])
    )
    rita, tess = reps["Rita"], reps["Tess"]
    await house.does(
        rita, create("lead", "L1", need="heat pump for the annex", site="S1", account="A1", captured_by=[rita.me.user])
    )
    await house.does(tess, create("lead", "L2", need="Heat pump for annex", site="S1", account="A1", captured_by=[tess.me.user]))
    master, second = await lead(house, "L1"), await lead(house, "L2")
    assert (second.status, second.duplicate_of) == ("duplicate", "L1")
    assert set(master.captured_by) == {rita.me.user, tess.me.user}
    told = await explained(house, manager, "L1")
    assert [joined["id"] for joined in told["match"]["joined"]] == ["L2"]
    assert "same site +4.2" in (await explained(house, manager, "L2"))["match"]["reason"]
    await house.does(manager, {"entity": "lead", "id": "L2", "base": 2**50, "set": {"status": "captured"}})
    assert set((await lead(house, "L1")).captured_by) == {rita.me.user}
    assert (await lead(house, "L2")).status == "captured", "what a person undid is not merged again"
    await house.does(tess, create("lead", "L3", need="a chiller", contact_name="Inez Moe", contact_phone="555 010099"))
    found = await lead(house, "L3")
    assert (found.contact, found.account, found.territory) == ("C1", "A1", "north")


async def test_a_lead_of_another_company_is_not_found(house: House) -> None:
    _, manager, reps = await team(house)
    headers = {"authorization": f"Bearer {manager.me.token}"}
    reply = await manager.http.get("/v1/leads/elsewhere/explain", headers=headers)
    assert (reply.status_code, reply.json()["rule"]) == (404, "not_found")
    assert reps
