"""Bad input: a problem document that names field and rule; nothing stored by half; the queue goes on."""

import gzip
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import zstandard
from conftest import Company
from wire import BareDevice, create, update

from sync.protocol import OutcomeKind


@pytest.fixture
async def device(company: Company) -> BareDevice:
    return BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))


def body(**over: Any) -> bytes:
    return msgspec.json.encode({"epoch": 1, "sent_ms": 1_795_000_000_000, "limit": 10} | over)


@pytest.mark.parametrize(
    ("request_body", "status", "field", "rule"),
    [
        (b"", 400, "", "json"),
        (b'{"epoch": 1', 400, "", "json"),
        (b"[]", 400, "", "type"),
        (b'{"epoch": 1, "sent_ms": 1, "cursor": "\xff"}', 400, "", "json"),
        (b'{"epoch": 1, "sent_ms": 1, "x": ' + b"[" * 5000, 400, "", "json"),
        (b'{"sent_ms": 1}', 400, "epoch", "required"),
        (body(epoch="one"), 400, "epoch", "type"),
        (body(cursor="nonsense"), 400, "cursor", "cursor"),
        (body(cursor=""), 400, "cursor", "cursor"),
        (body(transactions={}), 400, "transactions", "type"),
        (body(epoch=2), 409, "epoch", "epoch"),
        (body(first=0, transactions=[{}]), 400, "first", "bounds"),
        (body(first=5, transactions=[{}]), 409, "first", "gap"),
    ],
)
async def test_an_exchange_that_does_not_fit_is_refused_whole(
    device: BareDevice, request_body: bytes, status: int, field: str, rule: str
) -> None:
    response = await device.post(request_body)
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (response.status_code, problem["status"], problem.get("field", ""), problem["rule"]) == (status, status, field, rule)
    assert (await device.exchange()).taken == 0


GOOD = create("account", "A1", name="Acme")


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        (create("spaceship", "X", name="Enterprise"), "entity", "unknown_entity"),
        (create("account", "X", name=5), "name", "type"),
        (create("account", "X", name="n" * 201), "name", "bounds"),
        (create("account", "X"), "name", "required"),
        (create("account", "X", name="a", colour="red"), "colour", "unknown_field"),
        (create("account", "X" * 81, name="a"), "changes[1].id", "bounds"),
        (create("account", "../../etc", name="a"), "changes[1].id", "bounds"),
        (create("account", "X", name="nul\u0000"), "", "bounds"),
        (create("site", "X", account="nobody", name="Plant"), "account", "reference"),
        (create("conflict", "X", scope="account:A1", subject_entity="account", subject="A1", field="name"), "", "writer"),
        (update("account", "nobody", 1, name="a"), "", "not_found"),
        ({"entity": "account", "id": "A1", "base": 1, "inc": {"name": 1}}, "name", "operation"),
        ({"entity": "account", "id": "A1", "base": 1, "add": {"tags": [1]}}, "tags[0]", "type"),
        ({"entity": "account", "id": "A1", "base": 1, "delete": True}, "", "writer"),
        ({"entity": "account", "id": "A1", "base": 1, "verb": "destroy"}, "changes[1].verb", "unknown_field"),
        ({"entity": "account"}, "changes[1].id", "required"),
    ],
)
async def test_a_poison_transaction_is_parked_alone(device: BareDevice, change: dict[str, Any], field: str, rule: str) -> None:
    reply = await device.exchange(
        device.transaction(GOOD),
        device.transaction(create("account", "A2", name="half"), change),
        device.transaction(create("account", "A3", name="After")),
    )
    assert [o.kind for o in reply.outcomes] == [OutcomeKind.APPLIED, OutcomeKind.PARKED, OutcomeKind.APPLIED]
    reason = reply.outcomes[1].reasons[0]
    assert (reason.field, reason.rule) == (field, rule), reason
    assert reason.detail
    listed = (await device.http.get("/v1/records/account", headers={"authorization": f"Bearer {device.me.token}"})).json()
    assert [record["id"] for record in listed] == ["A1", "A3"], "nothing stored by half"
    parked = (await device.http.get("/v1/parked", headers={"authorization": f"Bearer {device.me.token}"})).json()
    assert parked[0]["n"] == 2
    assert parked[0]["transaction"]["changes"][0]["id"] == "A2", "kept whole"


@pytest.mark.parametrize("transaction", ["text", 7, None, {}, {"n": 1}, {"n": 9, "stamp": 1, "wrote_ms": 1, "changes": []}])
async def test_a_transaction_that_is_none_is_parked_too(device: BareDevice, transaction: object) -> None:
    reply = await device.exchange(transaction, device.transaction(GOOD, n=2), first=1)  # type: ignore[arg-type]  # on purpose
    assert [o.kind for o in reply.outcomes] == [OutcomeKind.PARKED, OutcomeKind.APPLIED]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer x",
        "Basic abc",
        "Bearer tr1.1.D.secret",
        "Bearer tr1.999999999.D.s",
        "Bearer tr1.99999999999999999999.D.s",
        "Bearer tr1.-1.D.s",
    ],
)
async def test_a_stale_or_invented_token_is_not_admitted(company: Company, header: str) -> None:
    response = await company.http.post("/v1/sync", content=body(), headers={"authorization": header} if header else {})
    assert (response.status_code, response.json()["rule"]) == (401, "token")


async def test_a_revoked_device_is_told_so(company: Company, device: BareDevice) -> None:
    async with company.context.office.of(company.tenant_id) as tenant:
        assert await tenant.set_device_status(device.me.device, "revoked")
    response = await device.post(body())
    assert (response.status_code, response.json()["rule"]) == (401, "revoked")


async def test_a_code_is_good_for_one_device(company: Company) -> None:
    code = await company.code(await company.user("Dana", "dispatcher"))
    first = await company.http.post("/v1/enrol", json={"code": code})
    second = await company.http.post("/v1/enrol", json={"code": code})
    assert (first.status_code, second.status_code, second.json()["rule"]) == (200, 403, "enrolment")
    for bad in ("", "1-", "x-ABC", "999999999-ABCDEF", "1-" + "A" * 500):
        assert (await company.http.post("/v1/enrol", json={"code": bad})).status_code == 403, bad


async def test_another_tenants_ids_look_like_nothing(company: Company, device: BareDevice) -> None:
    stranger = Company(company.context, company.http, await _other_tenant(company))
    other = BareDevice(company.http, await stranger.enrol(await stranger.user("Eve", "dispatcher")))
    await device.push(create("account", "A1", name="Acme"), create("site", "S1", account="A1", name="Plant"))
    tries = [
        update("account", "A1", 1, name="mine"),
        create("site", "S9", account="A1", name="theft"),
        create("stock_move", "M1", location="depot:A1", product="A1", quantity=1, reason="count", at=1),
        {"entity": "site", "id": "S1", "base": 1, "edit": {"access_notes": ["", "hello"]}},
    ]
    unknown = [
        msgspec.json.decode(msgspec.json.encode(one).replace(b'"A1"', b'"B7"').replace(b"S1", b"B7").replace(b":A1", b":B7"))
        for one in tries
    ]
    for foreign, absent in zip(tries, unknown, strict=True):
        seen, blind = await other.push(foreign), await other.push(absent)
        assert (seen.kind, blind.kind) == (OutcomeKind.PARKED, OutcomeKind.PARKED)
        rules = [[(r.rule, r.field) for r in o.reasons] for o in (seen, blind)]
        assert rules[0] == rules[1]
    await other.pull()
    assert {entity for entity, _ in other.records} == {"profile"}
    headers = {"authorization": f"Bearer {other.me.token}"}
    assert (await other.http.get("/v1/records/account/A1", headers=headers)).status_code == 404
    assert (await other.http.get(f"/v1/users/{device.me.user}/holdings", headers=headers)).json() == []


async def _other_tenant(company: Company) -> int:
    from server.tenants import create_tenant

    return await create_tenant(company.context, f"other-{company.context.new_id()}")


async def test_a_technician_cannot_see_or_touch_what_is_not_theirs(company: Company, device: BareDevice) -> None:
    await device.push(
        create("account", "A1", name="Acme"),
        create("site", "S1", account="A1", name="Plant"),
        create("work_order", "W1", account="A1", site="S1"),
    )
    technician = BareDevice(company.http, await company.enrol(await company.user("Theo", "technician")))
    there = await technician.push(update("work_order", "W1", 1, symptom="drips"))
    absent = await technician.push(update("work_order", "W2", 1, symptom="drips"))
    assert [(r.rule, r.field) for r in there.reasons] == [(r.rule, r.field) for r in absent.reasons] == [("not_found", "")]
    join = await technician.push(create("work_order_task", "K1", work_order="W1", title="mine"))
    assert join.kind is OutcomeKind.PARKED
    refused = await technician.http.get("/v1/records/account", headers={"authorization": f"Bearer {technician.me.token}"})
    assert (refused.status_code, refused.json()["rule"]) == (403, "role")


async def test_a_body_without_end_is_cut_short_and_a_request_that_is_none_refused(device: BareDevice) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 1_000_000

    headers = {"authorization": f"Bearer {device.me.token}"}
    response = await device.http.post("/v1/sync", content=endless(), headers=headers)
    assert (response.status_code, response.json()["rule"]) == (413, "bounds")
    response = await device.http.get("/v1/sync", headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (405, "application/problem+json")


async def test_compressed_bodies_are_read_and_bombs_are_not(device: BareDevice) -> None:
    headers = {"authorization": f"Bearer {device.me.token}"}
    for encoding, packed in (("gzip", gzip.compress(body())), ("zstd", zstandard.compress(body()))):
        response = await device.http.post("/v1/sync", content=packed, headers=headers | {"content-encoding": encoding})
        assert response.status_code == 200, response.text
        spaces = b" " * 50_000_000
        bomb = gzip.compress(spaces, 1) if encoding == "gzip" else zstandard.compress(spaces)
        response = await device.http.post("/v1/sync", content=bomb, headers=headers | {"content-encoding": encoding})
        assert (response.status_code, response.json()["rule"]) == (413, "bounds")
        response = await device.http.post("/v1/sync", content=b"no", headers=headers | {"content-encoding": encoding})
        assert (response.status_code, response.json()["rule"]) == (400, "encoding")
    response = await device.http.post("/v1/sync", content=b"x", headers=headers | {"content-encoding": "br"})
    assert (response.status_code, response.json()["rule"]) == (415, "encoding")


async def test_unknown_places_are_problems_too(company: Company) -> None:
    for method, path, status in (("GET", "/nowhere", 404), ("GET", "/v1/sync", 405), ("GET", "/v1/records/spaceship", 404)):
        response = await company.http.request(method, path)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
