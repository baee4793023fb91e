"""Other systems are told by signed calls after the Standard Webhooks specification, again until they arrive, and only outside."""

import ipaddress
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from server import webhooks
from server.courier import GIVE_UP_MS, deliver
from server.webhooks import Failed, Forbidden, call, check_url
from tests.domain.receiver import Receiver
from tests.domain.shop import HOUR_MS, Shop


async def subscribe(shop: Shop, receiver: Receiver, *kinds: str) -> dict[str, Any]:
    reply = await shop.desk("POST", "/v1/webhooks", {"url": receiver.url, "kinds": kinds})
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def sent(shop: Shop, now_ms: int | None = None) -> int:
    await shop.settle()
    return await deliver(shop.company.context, shop.company.tenant_id, now_ms or shop.company.context.now_ms())


async def test_a_call_is_verified_by_the_library_of_the_specification(shop: Shop, receiver: Receiver) -> None:
    hook = await subscribe(shop, receiver, "appointment.*")
    await shop.visit()
    await shop.desk.put("lead", "L1", need="a pump", account="A1")
    await sent(shop)
    ((headers, body),) = receiver.calls
    told = Webhook(hook["secret"]).verify(body, headers)
    assert told["type"] == "appointment.booked"
    assert (told["data"]["id"], told["data"]["fields"]["technician"]) == ("P1", "T1")
    assert headers["webhook-id"] == (await shop.messages(channel="webhook"))[0]["id"]
    with pytest.raises(WebhookVerificationError):
        Webhook(hook["secret"]).verify(body.replace(b"P1", b"P2"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(webhooks.secret(b"x" * 24)).verify(body, headers)


async def test_leads_and_deals_are_told_to_who_subscribed_before(shop: Shop, receiver: Receiver) -> None:
    await shop.desk.put("opportunity", "O0", account="A1", name="Old deal", stage="prospect")
    await shop.desk.put("opportunity", "O0", stage="won")
    await shop.settle()
    hook = await subscribe(shop, receiver)
    await shop.desk.put("opportunity", "O0", amount_cents=5)
    await shop.desk.put("opportunity", "O1", account="A1", name="New deal")
    await shop.desk.put("opportunity", "O1", stage="won")
    await sent(shop)
    kinds = [Webhook(hook["secret"]).verify(body, headers) for headers, body in receiver.calls]
    assert [(one["type"], one["data"]["id"]) for one in kinds] == [("opportunity.won", "O1")]


async def test_a_receiver_that_fails_is_tried_again_with_the_same_id_and_body(shop: Shop, receiver: Receiver) -> None:
    hook = await subscribe(shop, receiver, "appointment.booked")
    receiver.status = 500
    await shop.visit()
    await shop.settle()
    now = shop.company.context.now_ms()
    await sent(shop, now)
    (waiting,) = await shop.messages(channel="webhook")
    assert (waiting["state"], waiting["attempts"], "500" in waiting["reason"]) == ("due", 1, True)
    receiver.status = 200
    assert await sent(shop, now + HOUR_MS) >= 1
    first, second = receiver.calls
    assert (first[0]["webhook-id"], first[1]) == (second[0]["webhook-id"], second[1])
    assert (await shop.messages(channel="webhook"))[0]["state"] == "sent"
    assert (await shop.desk.get("/v1/webhooks"))["items"][0]["failing_since_ms"] is None
    assert "secret" not in (await shop.desk.get("/v1/webhooks"))["items"][0], "it is told once"
    assert hook["secret"].startswith("whsec_")


async def test_a_subscription_that_fails_for_days_or_says_gone_is_switched_off(shop: Shop, receiver: Receiver) -> None:
    hook = await subscribe(shop, receiver, "webhook.test")
    receiver.status = 500
    assert (await shop.desk("POST", f"/v1/webhooks/{hook['id']}/test")).status_code == 202
    now = shop.company.context.now_ms()
    await sent(shop, now)
    assert (await shop.desk.get("/v1/webhooks"))["items"][0]["active"] is True
    await sent(shop, now + GIVE_UP_MS + 1)
    (given_up,) = (await shop.desk.get("/v1/webhooks"))["items"]
    assert (given_up["active"], given_up["disabled_ms"]) == (False, now + GIVE_UP_MS + 1)
    assert [one["state"] for one in await shop.messages(channel="webhook")] == ["dead"]
    on = (await shop.desk("PATCH", f"/v1/webhooks/{hook['id']}", {"active": True})).json()
    assert (on["active"], on["failing_since_ms"]) == (True, None)
    receiver.status = 410
    await shop.desk("POST", f"/v1/webhooks/{hook['id']}/test")
    await sent(shop)
    assert (await shop.desk.get("/v1/webhooks"))["items"][0]["active"] is False
    assert (await shop.desk("DELETE", f"/v1/webhooks/{hook['id']}")).status_code == 204
    assert (await shop.desk("DELETE", f"/v1/webhooks/{hook['id']}")).status_code == 404


async def test_a_redirect_is_not_followed(shop: Shop, receiver: Receiver) -> None:
    await subscribe(shop, receiver, "appointment.booked")
    receiver.status = 302
    await shop.visit()
    await sent(shop)
    assert len(receiver.calls) == 1
    assert "302" in (await shop.messages(channel="webhook"))[0]["reason"]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x",
        "https://127.0.0.1/x",
        "https://10.1.2.3/x",
        "https://192.168.0.9",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fd00::1]/",
        "https://[2002:a00:1::]/",
        "https://0.0.0.0/",
        "https://100.64.0.1/",
        "https://224.0.0.1/",
        "https://me:secret@example.org/",
        "ftp://example.org/",
        "https://",
        "nonsense",
    ],
)
async def test_addresses_inside_are_not_called(shop: Shop, url: str) -> None:
    refused = await shop.desk("POST", "/v1/webhooks", {"url": url})
    assert (refused.status_code, refused.json()["field"], refused.json()["rule"]) == (422, "url", "address")
    with pytest.raises(Forbidden):
        check_url(url, private=False)


async def test_a_name_that_leads_inside_is_found_out_when_calling(receiver: Receiver) -> None:
    inside = receiver.url.replace("127.0.0.1", "localhost").replace("http:", "https:")
    with pytest.raises(Forbidden, match="localhost is"):
        await call(inside, webhooks.secret(b"x" * 24), "m", b"{}", 0, private=False)
    with pytest.raises(Failed):
        await call("https://no-such-name.invalid/", webhooks.secret(b"x" * 24), "m", b"{}", 0, private=False)
    assert receiver.calls == []
    assert webhooks._outside(ipaddress.ip_address("93.184.216.34"))


async def test_only_managers_subscribe_and_only_to_what_is_told(shop: Shop, receiver: Receiver) -> None:
    unknown = await shop.desk("POST", "/v1/webhooks", {"url": receiver.url, "kinds": ["moon.landed"]})
    assert (unknown.status_code, unknown.json()["field"], unknown.json()["rule"]) == (422, "kinds", "kind")
    dana = await shop.company.enrol(await shop.company.user("Dana", "dispatcher"))
    reply = await shop.company.http.get("/v1/webhooks", headers={"authorization": f"Bearer {dana.token}"})
    assert reply.status_code == 403
    assert (await shop.desk("PATCH", "/v1/webhooks/none", {})).status_code == 404
