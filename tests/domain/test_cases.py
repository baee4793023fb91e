"""Cases keep what was promised, or say that they did not."""

from typing import Any

import pytest
from conftest import Company
from wire import create, update

from server.domain.business_hours import add_business_time, hours_of
from server.domain.cases import note_breaches
from sync.protocol import OutcomeKind
from tests.domain.service_world import DAY, HOUR, NOW, WHOLE_WEEK, Near, World, rule

OFFICE_HOURS = {"zone": "Europe/Berlin", "weekly": {day: [["08:00", "16:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}}
PROMISES = {"1": {"respond_s": 3600, "resolve_s": 4 * 3600}, "3": {"respond_s": 4 * 3600, "resolve_s": 16 * 3600}}


@pytest.fixture
async def world(company: Company) -> World:
    """What is promised to everybody: for priority 1 an answer in an hour and a solution in four, at any time of day."""
    world = await World.of(company)
    await world.does(
        world.boss,
        create("business_hours", "always", name="Always", weekly=WHOLE_WEEK),
        create("service_level", "gold", name="Gold", business_hours="always", promises=PROMISES),
        rule("service_level", 1, {"service_level": "gold"}),
    )
    return world


def case(case_id: str = "C1", **fields: Any) -> dict[str, Any]:
    return create("case", case_id, **{"account": "A1", "subject": "It leaks", "opened_at": NOW} | fields)


async def test_a_case_is_promised_an_answer_and_a_solution_in_business_hours_of_its_contract(world: World) -> None:
    await world.does(
        world.boss,
        create("business_hours", "office", name="Office", **OFFICE_HOURS),
        create("service_level", "plain", name="Plain", business_hours="office", promises=PROMISES),
        create("contract", "K1", account="A1", name="Care", start=0, end=NOW + 400 * DAY, service_level="plain", status="active"),
    )
    await world.does(world.office, case(priority=1))
    hours = hours_of(OFFICE_HOURS)
    promised = {"respond_by": add_business_time(hours, NOW, HOUR), "resolve_by": add_business_time(hours, NOW, 4 * HOUR)}
    await world.row("case", "C1", contract="K1", **promised)
    await world.does(world.office, world.office.update("case", "C1", priority=3))
    await world.row("case", "C1", respond_by=add_business_time(hours, NOW, 4 * HOUR))


async def test_a_case_opened_out_of_reach_counts_from_when_it_was_opened_and_has_kept_what_it_has_kept(world: World) -> None:
    opened = NOW - 3 * HOUR
    await world.did(world.field, opened, case(opened_at=opened, priority=1))
    await world.row("case", "C1", respond_by=opened + HOUR, resolve_by=opened + 4 * HOUR, breached=["respond"])
    await world.did(world.field, opened + HOUR // 2, update("case", "C1", 0, status="in_progress"))
    await world.row("case", "C1", responded_at=Near(opened + HOUR // 2), breached=[])


async def test_nobody_gains_time_by_a_clock_that_is_ahead(world: World) -> None:
    await world.does(world.field, case(opened_at=NOW + 365 * DAY, priority=1))
    await world.quiet()
    row = await world.row("case", "C1")
    assert NOW < row.respond_by < NOW + DAY


async def test_the_clock_stands_still_while_the_customer_is_waited_for(world: World) -> None:
    opened = NOW - 20 * HOUR
    await world.did(world.office, opened, case(priority=1, opened_at=opened))
    await world.row("case", "C1", resolve_by=opened + 4 * HOUR, breached=["respond", "resolve"])
    since = opened + HOUR // 2
    await world.did(world.office, since, update("case", "C1", 0, status="waiting"))
    await world.row("case", "C1", waiting_since=Near(since), responded_at=Near(since), breached=[])
    assert await world.tick(note_breaches, NOW + 10 * HOUR) == 0, "waiting is not being late"
    await world.did(world.office, since + 17 * HOUR, update("case", "C1", 0, status="in_progress"))
    await world.row("case", "C1", waiting_since=None, waited_ms=Near(17 * HOUR), resolve_by=Near(opened + 21 * HOUR), breached=[])


async def test_a_breach_is_noted_once_and_goes_to_whom_the_rule_names(world: World) -> None:
    escalation = {"name": "late-answer", "on": "respond", "owner": world.boss.me.user}
    hurry = {"name": "late-solution", "on": "resolve", "priority": 1}
    await world.does(world.boss, rule("escalation", 1, {"rules": [escalation, hurry]}))
    await world.does(world.office, case())
    await world.row("case", "C1", respond_by=NOW + 4 * HOUR)
    await world.quiet()
    assert await world.tick(note_breaches, NOW + HOUR) == 0
    assert await world.tick(note_breaches, NOW + 5 * HOUR) == 1
    assert await world.tick(note_breaches, NOW + 5 * HOUR) == 0
    row = await world.row("case", "C1", owner=world.boss.me.user, priority=3)
    await world.quiet()
    row = await world.row("case", "C1")
    assert [comment["id"] for comment in row.comments] == ["escalated.late-answer"]
    assert "version 1" in row.comments[0]["words"]
    await world.does(world.boss, rule("escalation", 2, {"rules": [escalation, hurry]}))
    await world.does(world.office, update("case", "C1", 2**50, subject="It still leaks"))
    await world.quiet()
    assert len((await world.row("case", "C1")).comments) == 1
    await world.field.pull()
    assert world.field.records["case", "C1"]["breached"] == ["respond"], "whoever holds the account sees it"
    await world.does(world.office, case("C2", opened_at=NOW - 20 * HOUR))
    late = await world.row("case", "C2", owner=world.boss.me.user, priority=1, breached=["respond", "resolve"])
    assert len(late.comments) == 2


async def test_a_case_becomes_one_order_and_is_resolved_when_that_was_done(world: World) -> None:
    await world.does(world.office, case(asset="M1", priority=1, symptom="drips"))
    await world.quiet()
    first = await world.post(world.office, "/v1/cases/C1/work_order", {"type": "repair", "skill": "plumbing"})
    again = await world.post(world.office, "/v1/cases/C1/work_order")
    assert (first.status_code, again.status_code) == (201, 200), first.text
    assert first.json() == again.json() == {"work_order": "C1.order"}
    order = await world.row("work_order", "C1.order")
    assert (order.site, order.asset, order.case, order.symptom, order.type) == ("S1", "M1", "C1", "drips", "repair")
    assert order.due == NOW + 4 * HOUR
    visit = await world.row("appointment", "C1.order.visit", status="unscheduled")
    await world.row("case", "C1", status="in_progress", work_order="C1.order")
    await world.does(world.office, update("appointment", visit.id, 2**50, technician="T1", status="dispatched", planned_start=NOW))
    await world.field.pull()
    done = NOW - 60_000
    await world.did(world.field, done, world.field.update("appointment", visit.id, status="completed"))
    await world.row("case", "C1", status="resolved", resolved_at=Near(done), breached=[])
    await world.does(world.office, update("case", "C1", 2**50, status="in_progress"))
    await world.does(world.boss, update("work_order", "C1.order", 2**50, status="approved"))
    await world.quiet()
    assert (await world.row("case", "C1")).status == "in_progress", "who takes it up again knows that the work was done"


async def test_a_case_without_a_place_gets_no_order_and_a_technician_may_not_ask(world: World) -> None:
    await world.does(world.office, case())
    refused = await world.post(world.office, "/v1/cases/C1/work_order")
    assert (refused.status_code, refused.json()["field"], refused.json()["rule"]) == (422, "site", "required")
    assert (await world.post(world.field, "/v1/cases/C1/work_order")).status_code == 403
    assert (await world.post(world.office, "/v1/cases/C9/work_order")).status_code == 404
    odd = await world.post(world.office, "/v1/cases/C1/work_order", {"colour": "red"})
    assert (odd.status_code, odd.json()["field"]) == (400, "colour")


@pytest.mark.parametrize(
    ("made", "rule_name", "field"),
    [
        (create("business_hours", "H", name="H", weekly={"mon": [["22:00", "06:00"]]}), "business_hours", "weekly.mon"),
        (create("business_hours", "H", name="H", zone="Mars/Base"), "business_hours", "zone"),
        (rule("escalation", 7, {"rules": [{"name": "x", "on": "never"}]}), "rule_body", "body.rules[0].on"),
        (rule("reading", 7, {"rules": [{"name": "x", "unit": "bar", "subject": "s"}]}), "rule_body", "body.rules[0]"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_field_and_rule(
    world: World, made: dict[str, Any], rule_name: str, field: str
) -> None:
    outcome = await world.boss.push(made)
    assert outcome.kind is OutcomeKind.PARKED
    assert (outcome.reasons[0].rule, outcome.reasons[0].field) == (rule_name, field), outcome
