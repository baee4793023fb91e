"""Customers are told of what happens with their visits, by mail, once, and not when they said no."""

import asyncio
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from wire import BareDevice

from server import courier
from server.courier import LEASE_MS, MAX_ATTEMPTS, deliver, retry_ms, running_courier
from server.domain.consent import decide
from server.domain.contracts import scan_renewals
from server.domain.notifications import eta_ms
from server.rules import tick
from server.storage import outbox
from tests.domain.outside import Mailbox
from tests.domain.shop import DAY_MS, HOUR_MS, NOW_MS, PATIENCE_S, Shop


def letters(mailbox: Mailbox) -> list[EmailMessage]:
    return [message_from_bytes(one.original_content or b"", policy=policy.default) for one in mailbox.letters]  # type: ignore[arg-type,misc]  # the default policy makes EmailMessage


async def sent(shop: Shop, later_ms: int = 0) -> int:
    """What is due by then is sent."""
    await shop.settle()
    return await deliver(shop.company.context, shop.company.tenant_id, shop.company.context.now_ms() + later_ms)


async def test_a_visit_is_told_as_it_is_booked_on_its_way_and_done(shop: Shop, mailbox: Mailbox) -> None:
    await shop.desk("POST", "/v1/records/business_rule", HOUSE)
    visit = await shop.visit(promised_from=NOW_MS + 2 * HOUR_MS, promised_to=NOW_MS + 4 * HOUR_MS, travel_s=1800)
    await sent(shop)
    (booked,) = letters(mailbox)
    assert (booked["to"], booked["from"]) == ("ann@acme.example", "Acme Heating <care@heating.example>")
    assert "Your appointment on" in booked["subject"]
    assert "Plant 4" in booked.get_content()
    assert "boiler check" in booked.get_content()
    await shop.device.pull()
    left = shop.company.context.now_ms()
    await shop.device.push(
        {
            "entity": "appointment",
            "id": "P1",
            "base": visit["seq"],
            "set": {"status": "traveling"},
            "append": {"actual": [{"id": "a1", "at": left, "status": "traveling"}]},
        }
    )
    await sent(shop)
    on_the_way = letters(mailbox)[1]
    assert "Theo Berg is on the way" in on_the_way.get_content()
    arrives = eta_ms({"actual": [{"at": left, "status": "traveling"}], "travel_s": 1800})
    assert arrives == left + 1_800_000
    shown = shop_clock(arrives)
    assert shown in on_the_way["subject"]
    await shop.device.pull()
    await shop.device.push(shop.device.update("appointment", "P1", status="completed"))
    await sent(shop)
    assert [letter["subject"] for letter in letters(mailbox)][2:] == ["Done at Plant 4"], "in the house's own words"
    assert await sent(shop) == 0
    assert {one["state"] for one in await shop.messages(account="A1")} == {"sent"}


async def test_a_contract_that_ends_is_told_to_the_customer_and_is_a_deal_on_the_reps_device(shop: Shop, mailbox: Mailbox) -> None:
    company = shop.company
    rita = await company.user("Rita", "rep")
    await shop.desk.put("account", "A1", owner=rita)
    ends = {"start": NOW_MS - 300 * DAY_MS, "end": NOW_MS + 45 * DAY_MS}
    await shop.desk.put("contract", "K1", account="A1", name="Care", status="active", **ends)
    assert await tick(company.context, [scan_renewals], company.tenant_id, NOW_MS) == 1
    await sent(shop)
    (letter,) = letters(mailbox)
    assert letter["to"] == "ann@acme.example"
    assert letter["subject"].startswith("Your contract Care ends on ")
    phone = BareDevice(company.http, await company.enrol(rita))
    await phone.pull()
    deal = phone.records["opportunity", "K1.renewal"]
    assert (deal["owner"], deal["contract"], deal["kind"]) == (rita, "K1", "renewal")
    assert await sent(shop) == 0, "once for each stage"
    assert await tick(company.context, [scan_renewals], company.tenant_id, NOW_MS + 20 * DAY_MS) == 1
    await sent(shop)
    assert len(letters(mailbox)) == 2


HOUSE = {
    "kind": "notification",
    "version": 1,
    "body": {
        "sender": "care@heating.example",
        "sender_name": "Acme Heating",
        "zone": "Europe/Berlin",
        "wordings": {"appointment.completed": {"subject": "Done at $site", "text": "Thank you, $contact."}},
    },
}


def shop_clock(ms: int) -> str:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    return f"{datetime.fromtimestamp(ms / 1000, ZoneInfo('Europe/Berlin')):%H:%M}"


async def test_a_visit_that_moves_within_its_day_or_its_promise_is_told_once(shop: Shop, mailbox: Mailbox) -> None:
    noon = (NOW_MS // DAY_MS + 3) * DAY_MS + DAY_MS // 2
    await shop.visit(planned_start=noon)
    for minutes in (5, 10, 15):
        await shop.visit(planned_start=noon + minutes * 60_000)
    await sent(shop)
    assert len(mailbox.letters) == 1
    await shop.visit(planned_start=noon + DAY_MS)
    await sent(shop)
    assert len(mailbox.letters) == 2, "another day is news"
    await shop.visit(status="canceled")
    await sent(shop)
    assert "is cancelled" in letters(mailbox)[2]["subject"]


async def test_history_that_is_brought_in_is_not_told(shop: Shop, mailbox: Mailbox) -> None:
    await shop.visit(planned_start=NOW_MS - 400 * DAY_MS, planned_end=None)
    await shop.device.pull()
    await shop.device.push(shop.device.update("appointment", "P1", status="completed"))
    await shop.visit("P2", status="scheduled")
    await shop.visit("P3", status="scheduled")
    await shop.visit("P3", status="canceled")
    await sent(shop)
    assert await shop.messages() == [], "long ago; not promised yet; cancelled before anybody knew"


async def test_visits_without_a_time_or_beyond_all_calendars_hold_nothing_up(shop: Shop, mailbox: Mailbox) -> None:
    await shop.visit("P1", planned_start=None, planned_end=None)
    await shop.visit("P2", planned_start=None, planned_end=None, status="canceled")
    await shop.visit("P3", planned_start=2**52, planned_end=None)
    await shop.visit("P4")
    await sent(shop)
    assert {one["subject"] for one in await shop.messages()} == {"P3", "P4"}
    assert len(mailbox.letters) == 2


async def test_who_withdrew_is_not_written_to_and_the_office_sees_why(shop: Shop, mailbox: Mailbox) -> None:
    no = {"id": "no", "at": 2, "channel": "email", "purpose": "service", "given": False}
    await shop.desk.put("contact", "C1", consent=[no])
    await shop.desk.put("contact", "C2", account="A1", name="Bob", emails=["bob@acme.example"])
    await shop.desk.put("contact", "C3", account="A1", name="Cy")
    await shop.visit()
    await sent(shop)
    assert [letter["to"] for letter in letters(mailbox)] == ["bob@acme.example"], "marketing needs a grant, this does not"
    skipped = {one["recipient"]: one for one in await shop.messages(state="skipped")}
    assert "withdrawn (statement no)" in skipped["C1"]["reason"]
    assert "no e-mail address" in skipped["C3"]["reason"]
    refused = await shop.desk("POST", f"/v1/notifications/{skipped['C1']['id']}/resend")
    assert (refused.status_code, refused.json()["rule"]) == (409, "skipped")


async def test_a_mail_server_that_is_away_is_tried_again_later_and_in_the_end_given_up(shop: Shop, mailbox: Mailbox) -> None:
    mailbox.answer = "451 try again later"
    await shop.visit()
    await sent(shop)
    (waiting,) = await shop.messages()
    assert (waiting["state"], waiting["attempts"]) == ("due", 1)
    assert "451" in waiting["reason"]
    now = shop.company.context.now_ms()
    assert await deliver(shop.company.context, shop.company.tenant_id, now) == 0, "not at once"
    for _ in range(MAX_ATTEMPTS):
        now += 7 * HOUR_MS
        await deliver(shop.company.context, shop.company.tenant_id, now)
    (dead,) = await shop.messages(state="dead")
    assert f"given up after {MAX_ATTEMPTS} attempts" in dead["reason"]
    mailbox.answer = "250 OK"
    assert (await shop.desk("POST", f"/v1/notifications/{dead['id']}/resend")).status_code == 202
    await sent(shop)
    assert [one["state"] for one in await shop.messages()] == ["sent"]
    assert len(mailbox.letters) == 1


async def test_an_address_that_the_mail_server_refuses_for_good_is_not_tried_again(shop: Shop, mailbox: Mailbox) -> None:
    mailbox.refuses.add("ann@acme.example")
    await shop.visit()
    await sent(shop)
    (dead,) = await shop.messages()
    assert (dead["state"], dead["attempts"]) == ("dead", 1)
    assert "550" in dead["reason"]


async def test_a_courier_that_dies_between_sending_and_noting_repeats_under_the_same_id(
    shop: Shop, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.visit()
    await shop.settle()

    class Killed(BaseException):
        pass

    async def dies(*_: Any, **__: Any) -> None:
        raise Killed

    now = shop.company.context.now_ms()
    with monkeypatch.context() as killed:
        killed.setattr(courier, "_settle", dies)
        with pytest.raises(Killed):
            await deliver(shop.company.context, shop.company.tenant_id, now)
    assert len(mailbox.letters) == 1
    assert await deliver(shop.company.context, shop.company.tenant_id, now) == 0, "another one may still have it"
    assert await deliver(shop.company.context, shop.company.tenant_id, now + LEASE_MS) == 1
    first, second = letters(mailbox)
    assert first["message-id"] == second["message-id"], "so the receiver tells the repeat"
    assert mailbox.letters[0].original_content == mailbox.letters[1].original_content


async def test_two_couriers_share_what_is_due(shop: Shop, mailbox: Mailbox) -> None:
    start = NOW_MS + DAY_MS
    plan = {"work_order": "W1", "technician": "T1", "planned_start": start, "status": "dispatched"}
    made = await shop.desk("POST", "/v1/records/appointment/bulk", {"items": [{"fields": plan}] * 30})
    assert {one["status"] for one in made.json()["results"]} == {201}
    await shop.settle()
    now = shop.company.context.now_ms()
    tried = await asyncio.gather(*(deliver(shop.company.context, shop.company.tenant_id, now) for _ in range(3)))
    assert sum(tried) == 30
    assert len({letter["message-id"] for letter in letters(mailbox)}) == len(mailbox.letters) == 30


async def test_without_a_mail_server_nothing_piles_up_and_all_can_be_sent_later(shop: Shop) -> None:
    await shop.visit()
    await sent(shop)
    (skipped,) = await shop.messages()
    assert (skipped["state"], "TRUCKROLL_SMTP_URL" in skipped["reason"]) == ("skipped", True)
    assert (await shop.desk("POST", f"/v1/notifications/{skipped['id']}/resend")).status_code == 202


async def test_a_running_courier_needs_no_push(shop: Shop, mailbox: Mailbox) -> None:
    async with running_courier(shop.company.context) as at_work:
        await shop.visit()
        await shop.settle()
        at_work.note()
        async with asyncio.timeout(PATIENCE_S):
            while [one["state"] for one in await shop.messages()] != ["sent"]:
                await asyncio.sleep(0)
    (message,) = await shop.messages()
    name = f"<{message['id']}.{shop.company.tenant_id}@house.example>"
    assert [letter["message-id"] for letter in letters(mailbox)].count(name) == 1, "what other tests left may be due too"


async def test_the_list_is_paged_and_refuses_what_it_does_not_know(shop: Shop) -> None:
    for n in range(5):
        await shop.visit(f"P{n}")
    await shop.settle()
    seen: list[str] = []
    onward = ""
    for _ in range(3):
        page = await shop.desk.get(f"/v1/notifications?limit=2&before={onward}")
        seen += [one["id"] for one in page["items"]]
        onward = page["next"]
    assert len(set(seen)) == 5
    assert onward is None
    assert (await shop.desk("GET", "/v1/notifications?before=x")).json()["field"] == "before"
    assert (await shop.desk("POST", "/v1/notifications/none/resend")).status_code == 404


def test_waiting_doubles_and_is_spread() -> None:
    assert [retry_ms(n, 0.5) for n in (1, 2, 3)] == [30_000, 60_000, 120_000]
    assert retry_ms(40, 1.0) <= 6 * HOUR_MS * 1.25
    assert retry_ms(3, 0.0) < retry_ms(3, 1.0)


@pytest.mark.parametrize(
    ("statements", "channel", "purpose", "allowed"),
    [
        ([], "email", "service", True),
        ([], "email", "marketing", False),
        ([("a", 1, "email", "marketing", True)], "email", "marketing", True),
        ([("a", 1, "email", "marketing", True)], "sms", "marketing", False),
        ([("a", 1, "email", "marketing", True), ("b", 2, "email", "marketing", False)], "email", "marketing", False),
        ([("a", 2, "email", "marketing", False), ("b", 3, "email", "marketing", True)], "email", "marketing", True),
        ([("z", 5, "email", "marketing", True), ("a", 5, "email", "marketing", False)], "email", "marketing", False),
        ([("a", 1, "email", "marketing", False)], "email", "service", True),
        ([("a", 1, "email", "", False)], "email", "service", False),
        ([("a", 1, "*", "*", False)], "email", "service", False),
        ([("a", 1, "email", "service", False), ("b", 2, "email", "marketing", True)], "email", "service", False),
    ],
)
def test_the_latest_statement_holds_and_a_withdrawal_before_a_grant(
    statements: list[tuple[str, int, str, str, bool]], channel: str, purpose: str, allowed: bool
) -> None:
    said = [dict(zip(("id", "at", "channel", "purpose", "given"), one, strict=True)) for one in statements]
    assert decide(said, channel, purpose).allowed is allowed
    assert decide(reversed(said), channel, purpose).allowed is allowed


def test_a_message_is_named_by_event_channel_and_recipient() -> None:
    base = {"event": "e", "kind": "k", "channel": "email", "recipient": "c", "entity": "x", "subject": "s", "title": "", "body": ""}
    one = outbox.Message(**base)
    assert one.id == outbox.Message(**base | {"title": "other words"}).id
    assert len({outbox.Message(**base | {name: "other"}).id for name in ("event", "channel", "recipient")} | {one.id}) == 4
