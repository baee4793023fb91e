"""A score that a person can follow, frozen when somebody talks to the customer, learned from the company's own history."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from cli.leads import examples
from server.author import create as server_create
from server.author import update, write
from server.domain import learning
from server.domain.learning import WITHIN_MS
from server.domain.scoring import Example, Scorecard, backtest, features_of, learn, lift
from tests.domain.house import DAY_MS, NOW_MS, Clock, House
from tests.server.wire import create

OLIST = Path(__file__).parents[3] / "shared" / "data" / "leads"


def history(count: int, within_ms: int = 30 * DAY_MS) -> list[Example]:
    """Leads whose colour decides, a little: three in ten of the red ones are won and one in ten of the others."""
    random = Random(4)
    made = []
    for n in range(count):
        colour = random.choice(("red", "green", "blue"))
        won = random.random() < (0.3 if colour == "red" else 0.1)
        made.append(Example(n * DAY_MS, {"colour": colour, "noise": str(n % 7)}, within_ms // 2 if won else None))
    return made


def test_a_scorecard_finds_what_decides_and_says_so() -> None:
    card = learn(history(1500), 30 * DAY_MS)
    assert card.points["colour"]["red"] > max(card.points["colour"]["green"], card.points["colour"]["blue"]) + 0.5
    assert card.learned_from == 1500
    reasons = dict(card.reasons({"colour": "red", "noise": "3"}))
    assert reasons["colour: red"] == round(10 * card.points["colour"]["red"], 1)
    odds = sum(reasons.values()) / 10
    assert card.odds({"colour": "red", "noise": "3"}) == pytest.approx(odds, abs=0.02), "the reasons are the whole score"


def test_a_backtest_knows_nothing_of_the_future() -> None:
    """A feature that turns about at the split helps nobody: learned before it, it is wrong after it."""
    other = {"red": "blue", "blue": "red", "green": "green"}
    turned = [
        Example(e.at_ms, {"colour": other[e.features["colour"]] if n < 700 else e.features["colour"]}, e.won_after_ms)
        for n, e in enumerate(history(1000))
    ]
    assert backtest(turned, 30 * DAY_MS, samples=20).auc < 0.5
    straight = backtest(history(1000), 30 * DAY_MS, samples=20)
    assert straight.auc > 0.55
    assert straight.best_feature == "colour"
    assert straight.learned_from == 671, "leads whose time was not up at the split are not learned from"


def test_a_lead_that_is_merely_young_is_judged_by_nobody() -> None:
    young = [Example(e.at_ms, e.features, None if n >= 970 else e.won_after_ms) for n, e in enumerate(history(1000))]
    until_ms = young[-1].at_ms
    assert (
        backtest(young, 30 * DAY_MS, samples=20, until_ms=until_ms).tested
        == backtest(history(1000), 30 * DAY_MS, samples=20, until_ms=until_ms).tested
    )


def test_lift_counts_ties_in_part() -> None:
    assert lift([3, 2, 2, 1], [True, True, False, False], 0.5) == pytest.approx((1 + 0.5) / 2 / 0.5)


def test_a_base_rate_is_all_that_too_few_examples_teach() -> None:
    few = [Example(n, {"only": str(n)}, 1 if n < 5 else None) for n in range(20)]
    card = learn(few, 10)
    assert card.points == {}
    assert card.chance({"only": "3"}) == pytest.approx(0.25)


@pytest.mark.skipif(not OLIST.exists(), reason="the public leads are not here")
def test_on_public_leads_the_score_is_better_than_chance_and_than_any_single_feature(
    record_property: Callable[[str, object], None],
) -> None:
    found = backtest(examples(OLIST), 30 * DAY_MS, samples=50)
    for name in ("auc", "lift", "base_rate", "best_feature", "best_feature_auc"):
        record_property(name, getattr(found, name))
    assert found.auc_low > 0.6
    assert found.auc > found.best_feature_auc
    assert found.lift > 1.8


async def test_a_lead_is_scored_on_arrival_and_keeps_its_score_once_somebody_called(house: House) -> None:
    desk = await house.desk("Dana", "dispatcher")
    rita = await house.desk("Rita", "rep")
    await house.brings(("product", "P", {"sku": "P", "name": "Pump"}))
    await house.does(desk, create("account", "A1", name="Acme"), create("site", "S1", account="A1", name="Plant"))
    await house.does(rita, create("lead", "L1", need="pump", site="S1", account="A1", urgency="now", captured_by=[rita.me.user]))
    row = (await house.rows("lead"))["L1"]
    card = Scorecard()
    assert row.score == round(100 * card.chance(features_of({"urgency": "now", "account": "A1"})))
    assert {"feature": "urgency: now", "points": 7.0} in row.score_reasons
    await house.does(rita, {"entity": "lead", "id": "L1", "base": 2**50, "set": {"product": "P"}})
    better = (await house.rows("lead"))["L1"].score
    assert better > row.score, "what is learned before anybody called still counts"
    call = {"account": "A1", "kind": "call", "at": NOW_MS, "by": rita.me.user, "lead": "L1"}
    await house.does(rita, create("activity", "C1", **call))
    await house.does(rita, {"entity": "lead", "id": "L1", "base": 2**50, "set": {"urgency": "someday"}})
    row = (await house.rows("lead"))["L1"]
    assert (row.score, row.first_contact_at) == (better, NOW_MS)


async def test_history_enough_teaches_a_new_version_that_explains_itself(
    house: House, still: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "LEAST_LEADS", 100)
    monkeypatch.setattr(learning, "LEAST_OF_EACH", 20)
    random = Random(2)
    for n in range(120):
        urgency = random.choice(("now", "soon"))
        won = random.random() < (0.1 if urgency == "now" else 0.7)  # against all judgement
        at_ms = NOW_MS - WITHIN_MS - (120 - n) * 5 * DAY_MS
        reasons = [{"feature": "base", "points": 0.0}, {"feature": f"urgency: {urgency}", "points": 0.0}]
        made = server_create("lead", f"L{n:03}", need=f"need {n}", captured_at=at_ms, score=10, score_reasons=reasons)
        ended = ("converted", "won" if won else "lost")
        await write(house.context, house.tenant_id, "old", [[made, *(update("lead", made.id, 0, status=one) for one in ended)]])
    await house.rules_are_done()
    assert await house.tick(learning.learn_score) == 1
    rule = (await house.rows("business_rule"))["lead_score.1"]
    assert rule.body["points"]["urgency"]["soon"] > rule.body["points"]["urgency"]["now"]
    assert rule.body["learned_from"] == 120
    assert rule.body["auc"] > 0.6
    rita = await house.desk("Rita", "rep")
    await house.does(rita, create("lead", "L", need="pump", urgency="soon", captured_by=[rita.me.user]))
    assert (await house.rows("lead"))["L"].score_version == 1
    still.ms += 8 * DAY_MS
    assert await house.tick(learning.learn_score) == 0, "nothing new is no better"
