"""A customer who agreed is asked after a visit, answers once, and is looked after."""

import asyncio
from typing import Any

import pytest
from conftest import Company
from wire import create, update

from server.storage.tables import notification
from tests.domain.service_world import HOUR, NOW, World, rule

PAGE = "https://acme.example/survey/{token}"


def contact(contact_id: str = "B1", *, given: bool = True, **fields: Any) -> dict[str, Any]:
    consent = {"id": "k1", "at": NOW - HOUR, "channel": "email", "purpose": "survey", "given": given}
    plain = {"account": "A1", "name": "Ana Lake", "emails": [f"{contact_id}@acme.example"], "consent": [consent]}
    return create("contact", contact_id, **plain | fields)


@pytest.fixture
async def world(company: Company) -> World:
    world = await World.of(company)
    await world.does(world.boss, rule("survey", 2, {"kind": "nps", "page": PAGE}))
    return world


async def visited(world: World, appointment: str = "P0") -> None:
    await world.field.pull()
    await world.does(world.field, world.field.update("appointment", appointment, status="completed"))
    await world.quiet()


async def letters(world: World) -> list[Any]:
    async with world.context.office.of(world.tenant_id) as tenant:
        rows = await tenant.connection.execute(
            notification.select().where(notification.c.tenant_id == world.tenant_id, notification.c.kind == "survey.asked")
        )
        return list(rows.all())


async def token_of(world: World, survey: str = "P0.survey") -> str:
    reply = await world.get(world.office, f"/v1/surveys/{survey}/link")
    assert reply.status_code == 200, reply.text
    return str(reply.json()["token"])


async def answer(world: World, token: str, body: Any) -> Any:
    """As a customer, with nothing but the link."""
    return await world.company.http.post(f"/v1/surveys/{token}", json=body)


async def test_a_low_score_by_the_link_in_the_letter_opens_one_case(world: World) -> None:
    await world.does(world.office, contact())
    await world.does(world.office, update("work_order", "W0", 2**50, asset="M1"))
    await visited(world)
    survey = await world.row("survey", "P0.survey", contact="B1", kind="nps", work_order="W0")
    assert survey.asked_at is not None
    (letter,) = await letters(world)
    token = await token_of(world)
    assert PAGE.replace("{token}", token) in letter.body
    assert (letter.address, letter.rule_version) == ("B1@acme.example", 2)
    page = await world.company.http.get(f"/v1/surveys/{token}")
    assert page.json() == {"kind": "nps", "lowest": 0, "highest": 10, "answered": False}
    given = await answer(world, token, {"score": 3, "words": "Came late"})
    assert given.status_code == 201, given.text
    await world.row("survey", "P0.survey", score=3, words="Came late", case="P0.survey.case")
    case = await world.row("case", "P0.survey.case", account="A1", site="S1", asset="M1", contact="B1", priority=2)
    assert (case.subject, case.description, case.origin) == ("Low score after a visit: NPS 3", "Came late", "survey")
    again = await answer(world, token, {"score": 10})
    assert (again.status_code, again.json()["rule"]) == (409, "answered")
    await world.does(world.boss, update("appointment", "P0", 2**50, reason="looked at"))
    await world.quiet()
    assert (len(await world.rows("survey")), len(await world.rows("case")), len(await letters(world))) == (1, 1, 1)


@pytest.mark.parametrize(("kind", "score", "low"), [("nps", 6, True), ("nps", 7, False), ("csat", 2, True), ("csat", 3, False)])
async def test_what_is_low_depends_on_the_question(world: World, kind: str, score: int, *, low: bool) -> None:
    await world.does(world.boss, rule("survey", 3, {"kind": kind, "page": PAGE}))
    await world.does(world.office, contact())
    await visited(world)
    assert (await answer(world, await token_of(world), {"score": score})).status_code == 201
    await world.quiet()
    assert ("P0.survey.case" in await world.rows("case")) is low


async def test_nobody_is_asked_without_consent_or_of_other_work_or_without_a_rule(world: World) -> None:
    withdrawn = {"id": "k2", "at": NOW - HOUR // 2, "channel": "email", "purpose": "survey", "given": False}
    await world.does(world.office, contact("B1", given=False), contact("B2", consent=[]))
    await world.does(world.office, contact("B3"))
    await world.does(world.office, {"entity": "contact", "id": "B3", "append": {"consent": [withdrawn]}})
    await visited(world)
    assert await world.rows("survey") == {}
    await world.does(world.office, contact("B4"))
    await world.does(world.boss, rule("survey", 3, {"kind": "csat", "types": ["repair"], "page": PAGE}))
    await world.does(world.boss, update("appointment", "P0", 2**50, reason="x"))
    await world.quiet()
    assert await world.rows("survey") == {}
    await world.does(world.office, update("work_order", "W0", 2**50, type="repair"))
    await world.does(world.boss, update("appointment", "P0", 2**50, reason="y"))
    await world.row("survey", "P0.survey", contact="B4", kind="csat")


async def test_bad_links_and_answers_are_told_apart(world: World) -> None:
    await world.does(world.office, contact())
    await visited(world)
    token = await token_of(world)
    tenant, mac, record = token.split(".", 2)
    forged = [
        f"{tenant}.{'0' * 32}.{record}",
        f"{tenant}.{mac}.P1.survey",
        f"999999.{mac}.{record}",
        f"{tenant}.é.{record}",
        "x",
        "1.2",
    ]
    for bad in forged:
        reply = await answer(world, bad, {"score": 1})
        assert (reply.status_code, reply.json()["field"], reply.json()["rule"]) == (404, "token", "not_found"), bad
    for body, rule_name, field in (
        ({"score": 11}, "bounds", "score"),
        ({"score": -1}, "bounds", "score"),
        ({"score": "high"}, "type", "score"),
        ({"score": 1, "who": "me"}, "unknown_field", "who"),
        ({}, "required", "score"),
    ):
        reply = await answer(world, token, body)
        assert (reply.status_code, reply.json()["rule"], reply.json()["field"]) == (400, rule_name, field), reply.text
    assert (await world.row("survey", "P0.survey")).answered_at is None
    assert (await world.get(world.field, "/v1/surveys/P0.survey/link")).status_code == 403


async def test_of_two_answers_at_once_one_counts(world: World) -> None:
    await world.does(world.office, contact())
    await visited(world)
    token = await token_of(world)
    replies = await asyncio.gather(*(answer(world, token, {"score": score}) for score in (8, 9, 10)))
    assert sorted(reply.status_code for reply in replies) == [201, 409, 409]
    await world.quiet()
    assert await world.rows("conflict") == {}
