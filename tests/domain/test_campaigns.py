"""Campaigns reach whom a rule finds and who agreed, once, and tell what they cost and brought."""

from typing import Any

import pytest

from server.courier import deliver
from tests.domain.outside import Mailbox
from tests.domain.shop import DAY_MS, NOW_MS, Shop

YES = {"id": "y", "at": 1, "channel": "email", "purpose": "marketing", "given": True}
NO = {"id": "n", "at": 1, "channel": "email", "purpose": "marketing", "given": False}


async def customers(shop: Shop) -> None:
    """A1 (gold, old pump, visited), A2 (gold, no machine), A3 (silver, under contract)."""
    desk = shop.desk
    await desk.put("account", "A1", tier="gold", tags=["food"])
    await desk.put("account", "A2", name="Bolt", tier="gold", territory="north")
    await desk.put("account", "A3", name="Cogs", tier="silver", tags=["food", "steel"])
    await desk.put("asset", "M1", site="S1", product="X1", installed_on=NOW_MS - 4000 * DAY_MS)
    await desk.put("contract", "G1", account="A3", name="Care", start=NOW_MS - DAY_MS, end=NOW_MS + DAY_MS)
    await shop.visit(planned_start=NOW_MS - 10 * DAY_MS)
    await shop.device.pull()
    await shop.device.push(shop.device.update("appointment", "P1", status="completed"))


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({}, ["A1", "A2", "A3"]),
        ({"tier": ["gold"]}, ["A1", "A2"]),
        ({"tags": ["food"]}, ["A1", "A3"]),
        ({"tier": ["gold"], "tags": ["food", "steel"]}, ["A1"]),
        ({"territory": ["north", "south"]}, ["A2"]),
        ({"products": ["X1"]}, ["A1"]),
        ({"products": ["X1"], "installed_days_ago": 3650}, ["A1"]),
        ({"installed_days_ago": 5000}, []),
        ({"not_visited_days": 30}, ["A2", "A3"]),
        ({"not_visited_days": 5}, ["A1", "A2", "A3"]),
        ({"contract": True}, ["A3"]),
        ({"contract": False}, ["A1", "A2"]),
    ],
)
async def test_a_segments_rule_finds_accounts(shop: Shop, rule: dict[str, Any], found: list[str]) -> None:
    await customers(shop)
    await shop.desk.put("segment", "S", name="some", rule=rule)
    assert [row["id"] for row in await shop.desk.get("/v1/segments/S/accounts")] == found


async def test_a_campaign_reaches_those_who_agreed_once_and_counts_what_it_brought(shop: Shop, mailbox: Mailbox) -> None:
    await customers(shop)
    desk = shop.desk
    await desk.put("contact", "C1", consent=[YES])
    await desk.put("contact", "C2", account="A2", name="Bob", emails=["bob@bolt.example"], consent=[YES, NO | {"id": "z"}])
    await desk.put("contact", "C3", account="A2", name="Cy", emails=["cy@bolt.example"])
    await desk.put("contact", "C4", account="A3", name="Di", emails=["di@cogs.example"], consent=[YES])
    await desk.put("segment", "gold", name="Gold", rule={"tier": ["gold"]})
    await desk.put(
        "campaign",
        "spring",
        name="Spring",
        channel="email",
        segment="gold",
        cost_cents=9_000,
        subject="New pumps",
        words="Dear $contact",
    )
    assert (await desk("POST", "/v1/campaigns/spring/members")).json() == {"made": 3}
    assert (await desk("POST", "/v1/campaigns/spring/members")).json() == {"made": 0}
    assert (await desk("POST", "/v1/campaigns/spring/letters")).json() == {"sent": 1, "skipped": 2}
    assert (await desk("POST", "/v1/campaigns/spring/letters")).json() == {"sent": 0, "skipped": 0}
    members = {row["fields"]["contact"]: row["fields"] for row in await desk.get("/v1/records/campaign_member?campaign=spring")}
    assert "withdrawn" in members["C2"]["skipped"]
    assert "no consent" in members["C3"]["skipped"]
    await deliver(shop.company.context, shop.company.tenant_id, shop.company.context.now_ms())
    assert [letter.rcpt_tos for letter in mailbox.letters] == [["ann@acme.example"]]
    answer = {"responses": [{"id": "r1", "at": NOW_MS, "kind": "interested"}]}
    assert (await desk("PATCH", "/v1/records/campaign_member/spring.C1", answer)).status_code == 200
    for n in range(2):
        await desk.put("lead", f"L{n}", need=f"a pump {n}", account="A1", campaign="spring")
    await desk.put("opportunity", "O1", account="A1", name="Pump", campaign="spring", amount_cents=50_000)
    await desk.put("opportunity", "O1", stage="won")
    counted = await desk.get("/v1/campaigns/spring/figures")
    assert counted == {
        "members": 3,
        "sent": 1,
        "skipped": 2,
        "responses": {"interested": 1},
        "leads": 2,
        "won": 1,
        "won_cents": 50_000,
        "cost_cents": 9_000,
        "cost_per_lead_cents": 4_500,
    }


async def test_what_a_campaign_lacks_is_named(shop: Shop) -> None:
    desk = shop.desk
    await desk.put("campaign", "bare", name="Bare", channel="letter")
    refused = await desk("POST", "/v1/campaigns/bare/members")
    assert (refused.status_code, refused.json()["field"]) == (422, "segment")
    assert (await desk("POST", "/v1/campaigns/bare/letters")).json()["field"] == "channel"
    await desk.put("campaign", "bare", channel="email")
    assert (await desk("POST", "/v1/campaigns/bare/letters")).json()["field"] == "subject"
    await desk.put("segment", "odd", name="Odd", rule={"moon": 1})
    odd = await desk("GET", "/v1/segments/odd/accounts")
    assert (odd.status_code, odd.json()["field"], odd.json()["rule"]) == (422, "rule.moon", "unknown_field")
    assert (await desk("GET", "/v1/campaigns/none/figures")).status_code == 404
