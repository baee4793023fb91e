"""The office's REST API: upsert by external id, preconditions, bulk, answers kept, refusals that name field and rule, OpenAPI."""

import asyncio
from typing import Any

import httpx
import jsonschema
import pytest
from conftest import Company
from openapi_spec_validator import OpenAPIV31SpecValidator
from wire import BareDevice

from server import answers
from server.desired import Standing, wanted
from server.storage import records
from sync.merge import Refused
from sync.schema import REGISTRY


class Desk:
    """Somebody of the company at the REST API."""

    def __init__(self, company: Company, token: str) -> None:
        self.company, self.token = company, token

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.company.http.request(method, path, json=body, headers={"authorization": f"Bearer {self.token}"} | named)


@pytest.fixture
async def desk(company: Company) -> Desk:
    return Desk(company, (await company.enrol(await company.user("Dana", "dispatcher"))).token)


async def test_a_record_is_made_read_changed_on_its_version_and_read_again(desk: Desk) -> None:
    made = await desk("POST", "/v1/records/account", {"name": "Acme", "tags": ["gold"]})
    assert made.status_code == 201, made.text
    path, seq = made.headers["location"], made.json()["seq"]
    read = await desk("GET", path)
    assert (read.headers["etag"], read.json()["fields"]) == (f'"{seq}"', {"name": "Acme", "tags": ["gold"]})
    assert (await desk("GET", path, if_none_match=f'"{seq}"')).status_code == 304
    changed = await desk("PATCH", path, {"tier": "A", "tags": ["silver"]}, if_match=f'"{seq}"')
    assert changed.status_code == 200, changed.text
    assert changed.json()["fields"] == {"name": "Acme", "tier": "A", "tags": ["silver"]}
    late = await desk("PATCH", path, {"tier": "B"}, if_match=f'"{seq}"')
    assert (late.status_code, late.json()["rule"], late.json()["field"]) == (412, "moved", "base")
    assert (await desk("PATCH", path, {"tier": "B"})).json()["fields"]["tier"] == "B"


async def test_a_device_holds_what_another_system_wrote(desk: Desk, company: Company) -> None:
    rep = BareDevice(company.http, await company.enrol(await company.user("Rita", "rep")))
    await desk("PUT", "/v1/records/account/by-external-id/C-17", {"name": "Acme", "owner": rep.me.user})
    await rep.pull()
    assert [body["name"] for (entity, _), body in rep.records.items() if entity == "account"] == ["Acme"]


async def test_an_upsert_by_external_id_makes_one_record_however_many_ask_at_once(desk: Desk) -> None:
    path = "/v1/records/account/by-external-id/C-17"
    replies = await asyncio.gather(*(desk("PUT", path, {"name": f"Acme {n}"}) for n in range(6)))
    assert {reply.status_code for reply in replies} <= {200, 201}, [reply.text for reply in replies]
    listed = (await desk("GET", "/v1/records/account?external_id=C-17")).json()
    assert len(listed) == 1
    assert listed[0]["fields"]["external_id"] == "C-17"
    again = await desk("PUT", path, {"tier": "A"})
    assert (again.status_code, again.json()["fields"]["tier"]) == (200, "A")
    unchanged = await desk("PUT", path, {"tier": "A"})
    assert unchanged.json()["seq"] == again.json()["seq"], "what is so already is not written again"
    twice = await desk("POST", "/v1/records/account", {"name": "Copy", "external_id": "C-17"})
    assert (twice.status_code, twice.json()["rule"], twice.json()["field"]) == (409, "exists", "external_id")


async def test_references_may_name_the_other_systems_id(desk: Desk) -> None:
    await desk("PUT", "/v1/records/account/by-external-id/C-1", {"name": "Acme"})
    site = await desk("PUT", "/v1/records/site/by-external-id/S-1", {"name": "Plant", "account": {"external_id": "C-1"}})
    assert site.status_code == 201, site.text
    (account,) = (await desk("GET", "/v1/records/account?external_id=C-1")).json()
    assert site.json()["fields"]["account"] == account["id"]
    lost = await desk("POST", "/v1/records/site", {"name": "Plant", "account": {"external_id": "C-2"}})
    assert (lost.status_code, lost.json()["field"], lost.json()["rule"]) == (422, "account", "reference")


@pytest.mark.parametrize(
    ("method", "path", "body", "answer"),
    [
        ("POST", "spaceship", {}, (404, "entity", "unknown_entity")),
        ("POST", "account", {"name": 5}, (422, "name", "type")),
        ("POST", "account", {}, (422, "name", "required")),
        ("POST", "account", {"name": "n" * 201}, (422, "name", "bounds")),
        ("POST", "account", {"name": "Acme", "shoe": 1}, (422, "shoe", "unknown_field")),
        ("POST", "account", [], (400, "", "type")),
        ("POST", "site", {"name": "Plant", "account": "nobody"}, (422, "account", "reference")),
        ("POST", "product", {"sku": "X", "name": "Pump"}, (403, "", "writer")),
        ("POST", "lead", {"need": "a pump", "score": 90}, (403, "score", "writer")),
        ("POST", "conflict", {"scope": "office", "subject_entity": "a", "subject": "b", "field": "c"}, (403, "", "writer")),
        ("PATCH", "account/nobody", {"name": "x"}, (404, "", "not_found")),
        ("DELETE", "account/nobody", None, (404, "", "not_found")),
        ("PUT", "product/by-external-id/P-1", {"sku": "X", "name": "Pump"}, (403, "", "writer")),
        ("PUT", "depot/by-external-id/D-1", {"name": "D"}, (422, "external_id", "external_id")),
        ("GET", "account?shoe=1", None, (400, "shoe", "filter")),
        ("GET", "account?credit_hold=perhaps", None, (400, "credit_hold", "type")),
        ("POST", "account/bulk", {"items": []}, (422, "items", "bounds")),
        ("POST", "account/bulk", {"items": [{"fields": {}, "colour": 1}]}, (400, "items[0].colour", "unknown_field")),
    ],
)
async def test_what_is_refused_names_field_and_rule(
    desk: Desk, method: str, path: str, body: Any, answer: tuple[int, str, str]
) -> None:
    reply = await desk(method, f"/v1/records/{path}", body)
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert (reply.status_code, problem.get("field", ""), problem["rule"]) == answer, reply.text


async def test_a_technician_and_a_stranger_are_not_let_in(desk: Desk, company: Company) -> None:
    tech = Desk(company, (await company.enrol(await company.user("Theo", "technician"))).token)
    assert (await tech("POST", "/v1/records/account", {"name": "x"})).status_code == 403
    assert (await Desk(company, "tr1.1.x.y")("POST", "/v1/records/account", {"name": "x"})).status_code == 401


async def test_states_and_facts_keep_their_rules(desk: Desk) -> None:
    account = (await desk("POST", "/v1/records/account", {"name": "Acme"})).json()["id"]
    site = (await desk("POST", "/v1/records/site", {"name": "Plant", "account": account, "access_notes": "gate"})).json()["id"]
    order = (await desk("POST", "/v1/records/work_order", {"account": account, "site": site})).json()["id"]
    skipped = await desk("PATCH", f"/v1/records/work_order/{order}", {"status": "posted"})
    assert (skipped.status_code, skipped.json()["field"], skipped.json()["rule"]) == (409, "status", "lifecycle")
    person = (await desk("POST", "/v1/records/contact", {"account": account, "name": "Ann", "emails": ["a@x.de", "b@x.de"]})).json()
    grant = {"id": "c1", "at": 1, "channel": "email", "purpose": "marketing", "given": True}
    path = f"/v1/records/contact/{person['id']}"
    held = (await desk("PATCH", path, {"emails": ["b@x.de"], "consent": [grant]})).json()["fields"]
    assert (held["emails"], held["consent"]) == (["b@x.de"], [grant])
    more = (await desk("PATCH", path, {"consent": [grant | {"id": "c2", "given": False}]})).json()["fields"]
    assert [one["id"] for one in more["consent"]] == ["c1", "c2"], "facts are added to"
    other = await desk("PATCH", path, {"consent": [grant | {"given": False}]})
    assert (other.status_code, other.json()["rule"], other.json()["field"]) == (409, "append_only", "consent")
    text = await desk("PATCH", f"/v1/records/site/{site}", {"access_notes": "gate code 12"})
    assert text.json()["fields"]["access_notes"] == "gate code 12"


async def test_lists_are_filtered_paged_and_tell_the_news_with_what_is_gone(desk: Desk) -> None:
    manager = Desk(desk.company, (await desk.company.enrol(await desk.company.user("Mia", "manager"))).token)
    made = [
        (await desk("POST", "/v1/records/account", {"name": f"A{n}", "tier": "AB"[n % 2], "tags": [f"t{n}"]})).json()
        for n in range(5)
    ]
    tier_a = (await desk("GET", "/v1/records/account?tier=A")).json()
    assert {row["fields"]["name"] for row in tier_a} == {"A0", "A2", "A4"}
    assert [row["fields"]["name"] for row in (await desk("GET", "/v1/records/account?tags=t3")).json()] == ["A3"]
    seen, path = [], "/v1/records/account?tier=A&limit=2"
    for _ in range(5):
        reply = await desk("GET", path)
        seen += [row["id"] for row in reply.json()]
        if "link" not in reply.headers:
            break
        path = reply.headers["link"].split(">")[0].removeprefix("<")
    assert seen == sorted(row["id"] for row in tier_a)
    order_of = await desk("POST", "/v1/records/site", {"name": "S", "account": made[0]["id"]})
    order = (await desk("POST", "/v1/records/work_order", {"account": made[0]["id"], "site": order_of.json()["id"]})).json()
    assert (await manager("DELETE", f"/v1/records/work_order/{order['id']}", if_match='"1"')).status_code == 412
    assert (await manager("DELETE", f"/v1/records/work_order/{order['id']}")).status_code == 204
    assert (await manager("DELETE", f"/v1/records/work_order/{order['id']}")).status_code == 204, "it is gone, as was wanted"
    news = (await desk("GET", f"/v1/records/work_order?updated_since={order['seq']}")).json()
    assert [(row["id"], row["deleted"], row["fields"]) for row in news] == [(order["id"], True, {})]
    assert [row["id"] for row in (await desk("GET", f"/v1/records/account?updated_since={made[2]['seq']}")).json()] == [
        made[3]["id"],
        made[4]["id"],
    ]


async def test_bulk_items_stand_alone_and_share_a_commit(desk: Desk) -> None:
    items = [
        *({"external_id": f"C-{n}", "fields": {"name": f"Acme {n}"}} for n in range(497)),
        {"fields": {"name": 7}},
        {"external_id": "C-0", "fields": {"tier": "A"}},
        {"id": "mine", "fields": {"name": "Mine"}},
    ]
    reply = await desk("POST", "/v1/records/account/bulk", {"items": items})
    assert reply.status_code == 200, reply.text
    results = reply.json()["results"]
    assert [one["status"] for one in results] == [201] * 497 + [422, 200, 201]
    assert results[497]["problem"]["field"] == "name"
    assert len({one["seq"] for one in results[:497]}) == 1, "one commit"
    assert results[498]["id"] == results[0]["id"], "the same record, written after the first"
    again = (await desk("POST", "/v1/records/account/bulk", {"items": items[:497]})).json()["results"]
    assert {one["status"] for one in again} == {200}
    first = (await desk("GET", f"/v1/records/account/{results[0]['id']}")).json()["fields"]
    assert first == {"name": "Acme 0", "external_id": "C-0", "tier": "A"}
    assert (await desk("POST", "/v1/records/account/bulk", {"items": items + items})).json()["rule"] == "bounds"


async def test_a_repeated_request_gets_the_answer_that_it_had(desk: Desk) -> None:
    first = await desk("POST", "/v1/records/account", {"name": "Acme"}, idempotency_key="k1")
    again = await desk("POST", "/v1/records/account", {"name": "Acme"}, idempotency_key="k1")
    assert (again.status_code, again.json(), again.headers["location"]) == (201, first.json(), first.headers["location"])
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = await desk("POST", "/v1/records/account", {"name": "Other"}, idempotency_key="k1")
    assert (other.status_code, other.json()["field"], other.json()["rule"]) == (422, "Idempotency-Key", "idempotency_key")
    refused = [await desk("POST", "/v1/records/account", {}, idempotency_key="k2") for _ in range(2)]
    assert [reply.status_code for reply in refused] == [422, 422]
    assert refused[0].json() == refused[1].json()
    assert len((await desk("GET", "/v1/records/account")).json()) == 1
    bulk = {"items": [{"fields": {"name": "B1"}}, {"fields": {"name": "B2"}}]}
    both = [(await desk("POST", "/v1/records/account/bulk", bulk, idempotency_key="k3")).json() for _ in range(2)]
    assert both[0] == both[1]
    assert len((await desk("GET", "/v1/records/account")).json()) == 3


async def test_a_request_that_was_written_but_never_answered_is_not_written_twice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: object) -> None:
        raise OSError("the server was killed here")

    with monkeypatch.context() as killed:
        killed.setattr(records, "keep_answer", dies)
        assert (await desk("POST", "/v1/records/account", {"name": "Acme"}, idempotency_key="k1")).status_code == 503
    (made,) = (await desk("GET", "/v1/records/account")).json()
    waiting = await desk("POST", "/v1/records/account", {"name": "Acme"}, idempotency_key="k1")
    assert (waiting.status_code, waiting.json()["rule"]) == (409, "in_progress")
    monkeypatch.setattr(records, "IN_HAND_MS", -1)
    again = await desk("POST", "/v1/records/account", {"name": "Acme"}, idempotency_key="k1")
    assert again.json()["id"] == made["id"]
    assert len((await desk("GET", "/v1/records/account")).json()) == 1
    assert answers.HEADER == "idempotency-key"


async def test_the_document_is_valid_and_an_outsider_can_write_by_it(desk: Desk) -> None:
    document = (await desk("GET", "/v1/docs/openapi.json")).json()
    OpenAPIV31SpecValidator(document).validate()
    for entity in REGISTRY:
        assert {"get", "post"} <= document["paths"][f"/v1/records/{entity}"].keys()
    path, item = "/v1/records/account", document["paths"]["/v1/records/account"]["post"]
    schema = item["requestBody"]["content"]["application/json"]["schema"]
    fields = {"name": "Acme", "tags": ["gold"]}
    jsonschema.Draft202012Validator(schema | {"components": document["components"]}).validate(fields)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema | {"components": document["components"]}).validate({"name": 5})
    made = await desk("POST", path, fields)
    answer = item["responses"][str(made.status_code)]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(answer | {"components": document["components"]}).validate(made.json())
    lead = document["components"]["schemas"]["LeadNew"]["properties"]
    assert "score" not in lead, "what only rules write is not offered"
    assert "need" in lead
    assert "/v1/docs/openapi.json" not in document["paths"]


def test_what_is_wanted_becomes_the_operations_that_the_policies_take() -> None:
    spec = REGISTRY["entitlement"]
    stands = Standing("E1", 7, deleted=False, fields={"account": "A", "contract": "C", "used": 3})
    change = wanted(spec, "E1", stands, {"used": 5})
    assert change is not None
    assert (change.base, change.inc) == (7, {"used": 2})
    assert wanted(spec, "E1", stands, {"used": 3, "account": "A"}) is None
    entry = REGISTRY["activity"]
    told = Standing("V", 2, deleted=False, fields={"account": "A", "kind": "call", "at": 1, "outcome": "said no"})
    with pytest.raises(Refused, match="said once"):
        wanted(entry, "V", told, {"outcome": "said yes"})
