"""Credit for leads: accrued, confirmed, clawed back, shared, explained, and seen on the phone of whoever earned it."""

from typing import Any

import pytest

from client_sdk import credit
from sync.entities import Incentive, Lead, Opportunity
from sync.entities.credit import Balance, balance, shares, standing
from sync.entities.flows import LeadStatus, Stage
from sync.entities.market import IncentiveKind
from tests.domain.selling import offer, rule, settled, shop, signed
from tests.scenarios.field import DAY_MS, Field, Phone, make

RULE = {"accrue_cents": 1_001, "confirm_cents": 500, "confirm_pct": 2.5, "claw_back_days": 30}
_A, _C, _B = IncentiveKind.ACCRUE, IncentiveKind.CONFIRM, IncentiveKind.CLAW_BACK


async def captured(field: Field, *captors: Phone, status: str = "qualified") -> None:
    """A lead that these captured and that came to a status, under the rule above."""
    await rule(field, "incentive", 1, RULE)
    lead = Lead(need="a heat pump", account="A1", captured_by=tuple(one.user for one in captors), captured_at=1)
    await field.manager.does(make(lead, "L1"))
    await field.manager.sets(Lead, "L1", status=status)
    await settled(field, *captors)


async def sold(field: Field, amount_cents: int = 40_000, **fields: Any) -> None:
    """The lead becomes an opportunity, which a manager says is won."""
    await field.manager.does(
        make(Opportunity(account="A1", name="Heat pump", lead="L1", amount_cents=amount_cents, **fields), "O1"),
        await field.manager.setting(Lead, "L1", status="converted", opportunity="O1"),
    )
    await field.manager.sets(Opportunity, "O1", stage=Stage.WON)
    await field.rules_are_done()


async def lines(field: Field) -> list[tuple[IncentiveKind, int]]:
    found = sorted((await field.manager.all(Incentive)).items(), key=lambda item: (item[1].at, item[0]))
    return [(line.kind, line.amount_cents) for _, line in found]


async def test_a_lead_earns_when_qualified_and_when_won_and_the_phone_shows_it(field: Field) -> None:
    theo = await field.technician("T1")
    await captured(field, theo)
    await theo.sync()
    (shown,) = credit.leads(theo.replica)
    assert (shown.status, shown.balance) == (LeadStatus.QUALIFIED, Balance(expected_cents=1_001))
    await sold(field)
    await settled(field, theo)
    (shown,) = credit.leads(theo.replica)
    assert (shown.status, shown.balance, shown.last) == (LeadStatus.WON, Balance(0, 1_500, 1), "won at 400.00")
    assert credit.total(theo.replica) == Balance(0, 1_500, 1)
    assert await lines(field) == [(_A, 1_001), (_C, 1_500)]


async def test_a_win_that_is_reversed_is_clawed_back_and_earned_again_under_the_same_version(field: Field) -> None:
    theo = await field.technician("T1")
    await captured(field, theo)
    await sold(field)
    await rule(field, "incentive", 2, RULE | {"confirm_pct": 50})
    await field.manager.sets(Opportunity, "O1", stage=Stage.NEGOTIATION)
    await settled(field, theo)
    assert credit.total(theo.replica) == Balance(expected_cents=1_001)
    await field.manager.sets(Opportunity, "O1", stage=Stage.WON)
    await settled(field, theo)
    assert await lines(field) == [(_A, 1_001), (_C, 1_500), (_B, -1_500), (_C, 1_500)]
    await field.manager.sets(Opportunity, "O1", stage=Stage.NEGOTIATION)
    await field.manager.sets(Opportunity, "O1", stage=Stage.LOST, lost_reason="no budget")
    await settled(field, theo)
    assert credit.total(theo.replica) == Balance()
    assert sum(amount for _, amount in await lines(field)) == 0


async def test_credit_is_shared_to_the_cent_and_anew_when_a_captor_joins_or_leaves(field: Field) -> None:
    theo, uma = await field.technician("T1"), await field.technician("T2")
    await captured(field, theo, uma)
    assert sorted(amount for _, amount in await lines(field)) == [500, 501]
    await field.manager.does(
        {"entity": "lead", "id": "L1", "base": await field.manager.version(Lead, "L1"), "remove": {"captured_by": [uma.user]}}
    )
    await settled(field, theo, uma)
    assert credit.total(theo.replica) == Balance(expected_cents=1_001)
    assert credit.total(uma.replica) == Balance()


async def test_a_disqualified_lead_earns_nothing_any_more(field: Field) -> None:
    theo = await field.technician("T1")
    await captured(field, theo)
    await field.manager.sets(Lead, "L1", status="disqualified", reason="no such site")
    await settled(field, theo)
    assert await lines(field) == [(_A, 1_001), (_B, -1_001)]


async def test_only_a_proven_win_is_owed(field: Field) -> None:
    """The rep's own word is no ground for credit: the office's resolving the doubt is, or a signed quote."""
    await shop(field)
    theo, rita = await field.technician("T1"), await field.rep("Rita")
    await captured(field, theo)
    await field.manager.does(
        make(Opportunity(account="A1", name="Heat pump", lead="L1", owner=rita.user, amount_cents=40_000), "O1"),
        await field.manager.setting(Lead, "L1", status="converted", opportunity="O1"),
    )
    await settled(field, rita)
    with rita.edit("won, believe me") as tx:
        tx.set(Opportunity, "O1", stage=Stage.WON)
    await settled(field, rita, theo)
    assert credit.total(theo.replica) == Balance(expected_cents=1_001)
    signed(field, rita, offer(field, rita, "O1"))
    await settled(field, rita, theo)
    assert credit.total(theo.replica) == Balance(0, 500 + 950, 1)


async def test_a_manager_clears_a_doubted_win_and_a_rep_does_not(field: Field) -> None:
    from sync.entities import Conflict
    from sync.entities.flows import ConflictStatus

    theo, rita = await field.technician("T1"), await field.rep("Rita")
    await captured(field, theo)
    await field.manager.does(
        make(Opportunity(account="A1", name="Heat pump", lead="L1", owner=rita.user, amount_cents=40_000), "O1"),
        await field.manager.setting(Lead, "L1", status="converted", opportunity="O1"),
    )
    await settled(field, rita)
    with rita.edit("won, believe me") as tx:
        tx.set(Opportunity, "O1", stage=Stage.WON)
    await settled(field, rita)
    with rita.edit("never mind the doubt") as tx:
        tx.set(Conflict, "O1.unfounded_stage", status=ConflictStatus.RESOLVED)
    await settled(field, rita, theo)
    assert credit.total(theo.replica).owed_cents == 0
    await field.manager.sets(Conflict, "O1.unfounded_stage", status=ConflictStatus.OPEN)
    await field.manager.sets(Conflict, "O1.unfounded_stage", status=ConflictStatus.RESOLVED)
    await settled(field, theo)
    assert credit.total(theo.replica).owed_cents == 1_500


async def test_what_was_confirmed_long_ago_stands(field: Field) -> None:
    theo = await field.technician("T1")
    await captured(field, theo)
    await sold(field)
    field.clock.passed_ms += 31 * DAY_MS
    await field.manager.sets(Opportunity, "O1", stage=Stage.NEGOTIATION)
    await settled(field, theo)
    assert await lines(field) == [(_A, 1_001), (_C, 1_500)]


async def test_the_ledger_is_explained_and_the_leaderboard_is_made_of_it_alone(field: Field) -> None:
    theo, uma = await field.technician("T1"), await field.technician("T2")
    await captured(field, theo, uma)
    await sold(field)
    found = await field.manager.get(f"/v1/incentives?user={theo.user}")
    assert [(line["kind"], line["stands"], line["rule_version"], line["rule_body"]["confirm_pct"]) for line in found["lines"]] == [
        ("accrue", True, 1, 2.5),
        ("confirm", True, 1, 2.5),
    ]
    assert found["lines"][1]["basis"] == "won at 400.00, shared by 2"
    assert found["lines"][1]["rule"] == "incentive.1"
    assert found["balance"] == {"expected_cents": 0, "owed_cents": 750, "leads_owed": 1}
    board = await field.manager.get("/v1/leaderboard")
    assert [(place["user"], place["balance"]["owed_cents"]) for place in board] == [
        (user, 750) for user in sorted((theo.user, uma.user))
    ]
    assert await field.manager.get("/v1/leaderboard?to_ms=1") == []


async def test_nobody_reads_the_ledger_of_somebody_else_but_a_manager(field: Field) -> None:
    refused = await field.dispatcher.device.http.get(f"/v1/incentives?user={field.manager.user}", headers=field.dispatcher._headers)
    assert (refused.status_code, refused.json()["rule"]) == (403, "role")


async def test_without_a_rule_nobody_is_credited(field: Field) -> None:
    theo = await field.technician("T1")
    await field.manager.does(make(Lead(need="a pump", captured_by=(theo.user,), status=LeadStatus.CAPTURED), "L1"))
    await field.manager.sets(Lead, "L1", status="qualified")
    await field.rules_are_done()
    assert await lines(field) == []


def test_shares_add_up_and_differ_by_a_cent_at_most() -> None:
    assert shares(100, ["c", "a", "b", "a"]) == {"a": 34, "b": 33, "c": 33}
    assert shares(100, []) == {}


@pytest.mark.parametrize("reversed_first", [True, False])
def test_a_reversal_may_come_before_what_it_reverses(*, reversed_first: bool) -> None:
    made = Incentive(user="u", kind=_C, amount_cents=5, at=1, lead="L1")
    back = Incentive(user="u", kind=_B, amount_cents=-5, at=1, lead="L1", reverses="1")
    ledger = {"2": back, "1": made} if reversed_first else {"1": made, "2": back}
    assert standing(ledger) == {}
    assert balance(ledger) == Balance()
