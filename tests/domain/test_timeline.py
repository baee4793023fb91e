"""Everything that happened with a customer in one call, newest first, by one statement that walks indices."""

from typing import Any

import msgspec
import psycopg

from server.timeline import KINDS, statement
from tests.domain.shop import DAY_MS, HOUR_MS, NOW_MS, Shop


async def full_life(shop: Shop) -> None:
    """One of everything for account A1, and a neighbour's life that must not show."""
    await shop.visit()
    await shop.device.pull()
    await shop.device.push(
        {"entity": "part_used", "id": "U1", "create": True, "set": {"work_order": "W1", "product": "X1", "quantity": 2}}
    )
    desk = shop.desk
    await desk.put("case", "K1", account="A1", subject="no heat", opened_at=NOW_MS - 5 * DAY_MS)
    await desk.put("lead", "L1", account="A1", need="a new pump", captured_at=NOW_MS - 4 * DAY_MS)
    await desk.put("opportunity", "O1", account="A1", name="Pump deal", amount_cents=123_456, opened_on=NOW_MS - 3 * DAY_MS)
    await desk.put("contract", "G1", account="A1", name="Care", start=NOW_MS - 9 * DAY_MS, end=NOW_MS + 9 * DAY_MS)
    await desk.put("activity", "V1", account="A1", kind="call", at=NOW_MS - 2 * DAY_MS, outcome="likes the pump")
    await desk.put("account", "A2", name="Neighbour")
    await desk.put("activity", "V2", account="A2", kind="call", at=NOW_MS, outcome="not yours")
    await shop.settle()


async def test_one_call_tells_the_whole_life_of_a_customer(shop: Shop) -> None:
    await full_life(shop)
    items = (await shop.desk.get("/v1/accounts/A1/timeline"))["items"]
    titles = {one["kind"]: one["title"] for one in items}
    assert titles["visit"] == "Visit of Theo Berg: boiler check (dispatched)"
    assert titles["part"] == "2 × Pump used"
    assert titles["case"].startswith("Case: no heat")
    assert "1,234.56" in titles["opportunity"]
    assert titles["activity"] == "Call: likes the pump"
    assert titles["message"].startswith("Message to ann@acme.example: Your appointment on")
    assert {"order", "lead", "contract"} <= titles.keys()
    assert [one["at"] for one in items] == sorted((one["at"] for one in items), reverse=True)
    assert all(one["at"] > NOW_MS - 30 * DAY_MS for one in items), "everything has a time"
    assert "not yours" not in str(items)
    held = {one["id"] for one in items if one["kind"] == "case"}
    assert held == {"K1"}, "each names its record"


async def test_pages_meet_without_gap_or_overlap_and_kinds_choose(shop: Shop) -> None:
    await full_life(shop)
    for n in range(6):
        await shop.desk.put("activity", f"S{n}", account="A1", kind="note", at=NOW_MS - HOUR_MS, outcome=f"at one moment {n}")
    whole = [(one["kind"], one["id"]) for one in (await shop.desk.get("/v1/accounts/A1/timeline"))["items"]]
    seen: list[tuple[str, str]] = []
    onward = ""
    for _ in range(len(whole)):
        page = await shop.desk.get(f"/v1/accounts/A1/timeline?limit=4&before={onward}")
        seen += [(one["kind"], one["id"]) for one in page["items"]]
        if (onward := page["next"]) is None:
            break
    assert seen == whole
    chosen = (await shop.desk.get("/v1/accounts/A1/timeline?kinds=case,activity"))["items"]
    assert {one["kind"] for one in chosen} == {"case", "activity"}


async def test_what_is_asked_wrongly_is_named(shop: Shop) -> None:
    assert (await shop.desk("GET", "/v1/accounts/none/timeline")).status_code == 404
    assert (await shop.desk("GET", "/v1/accounts/A1/timeline?kinds=moon")).json()["field"] == "kinds"
    assert (await shop.desk("GET", "/v1/accounts/A1/timeline?before=x")).json()["field"] == "before"


async def test_rows_touched_are_the_accounts_own(shop: Shop, database_url: str) -> None:
    """On analysed tables, as they are a minute after they were filled: which index is taken must not hang on when that was."""
    await full_life(shop)
    items = [{"fields": {"account": "A2", "kind": "note", "at": n, "outcome": "noise"}} for n in range(400)]
    assert (await shop.desk("POST", "/v1/records/activity/bulk", {"items": items})).status_code == 200
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("analyze")
    explain = f"explain (analyze, format json) {statement(KINDS)}"
    async with shop.company.context.pool.connection(shop.company.tenant_id) as connection:
        told = await connection.fetchval(explain, shop.company.tenant_id, "A1", 2**53, "~", "~", 100)
    nodes = list(walked(msgspec.json.decode(told)[0]["Plan"]))
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]
    touched = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes
        if "Relation Name" in node
    )
    assert touched < 60, "a dozen things happened; four hundred with the neighbour"


def walked(plan: dict[str, Any]) -> Any:
    yield plan
    for part in plan.get("Plans", ()):
        yield from walked(part)
