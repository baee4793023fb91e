"""The forecast, on deals worked out by hand, on public data, and over HTTP."""

import csv
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from server.domain.forecast import DAY_MS, Deal, Learned, added, backtest, forecast, funnel, learn, month_of, rewound
from sync.entities import Opportunity, Profile, Quota
from sync.entities.flows import Stage
from tests.domain.selling import deal, settled
from tests.scenarios.field import Field, make

CRM = Path(__file__).parents[2] / "../shared/data/crm/sales_pipeline.csv"
DAY = DAY_MS
P, Q, N, W, L = Stage.PROSPECT, Stage.QUALIFIED, Stage.NEGOTIATION, Stage.WON, Stage.LOST


def made(name: str, stage: Stage, opened: int, closed: int | None = None, amount: int = 100, **fields: Any) -> Deal:
    """A deal of times in days."""
    times = {"opened_ms": opened * DAY, "closed_ms": None if closed is None else closed * DAY}
    return Deal(id=name, owner=fields.pop("owner", "rita"), product="X1", stage=stage, amount_cents=amount, **times, **fields)


def test_the_chance_of_winning_is_the_share_won_of_those_that_came_so_far_drawn_towards_the_whole() -> None:
    far = ((0, P, 100), (DAY, N, 100))
    deals = [made("a", W, 0, 5, history=far), made("b", W, 0, 5, history=far), made("c", L, 0, 5), made("d", L, 0, 5)]
    learned = learn(deals, 9 * DAY)
    overall = (2 + 1) / (4 + 2)
    assert learned.rates[P] == pytest.approx((2 + 10 * overall) / 14)
    assert learned.rates[N] == learned.rates[Q] == pytest.approx((2 + 10 * overall) / 12)
    assert learn([], 0).rates == dict.fromkeys((P, Q, Stage.QUOTED, N), 0.5)


def test_the_chance_of_closing_follows_the_product_limit_estimator() -> None:
    """Closed after 10, 10 and 30 days, one still open after 20."""
    deals = [made("a", W, 0, 10), made("b", L, 5, 15), made("c", W, 0, 30), made("d", P, 10)]
    learned = learn(deals, 30 * DAY)
    assert (learned.days, learned.left) == ([10, 30], [0.5, 0.0])
    assert learned.closes_within(0, 0, 10) == pytest.approx(0.5)
    assert learned.closes_within(12, 0, 10) == 0
    assert learned.closes_within(12, 0, 20) == 1
    assert learned.closes_within(31, 0, 100) == 0


def test_a_period_is_what_is_won_the_open_deals_weighted_and_what_was_committed() -> None:
    learned = Learned(rates={P: 0.2, Q: 0.4, Stage.QUOTED: 0.5, N: 0.8}, days=[], left=[], amounts={"X1": 70.0})
    deals = [
        made("won", W, 0, 35, amount=1_000),
        made("soon", N, 0, close_on=40 * DAY, amount=500),
        made("late", N, 0, close_on=99 * DAY, amount=9_999),
        made("said", P, 0, close_on=41 * DAY, amount=300, forecast_cents=250),
        made("worth", Q, 0, close_on=20 * DAY, amount=0),  # overdue, and nobody says for how much
        made("theirs", N, 0, close_on=40 * DAY, amount=10, owner="ron"),
    ]
    found = forecast(deals, learned, 36 * DAY, 30 * DAY, 60 * DAY)
    mine = found["rita"]
    assert (mine.won_cents, mine.commit_cents, mine.open_deals, mine.undated) == (1_000, 500 + 250, 4, 0)
    assert mine.weighted_cents == pytest.approx(500 * 0.8 + 300 * 0.2 + 70 * 0.4)
    both = added(found.values())
    assert both.expected_cents == pytest.approx(mine.expected_cents + 8)
    assert added([]).expected_cents == 0


def test_new_business_is_what_such_stretches_brought_lately() -> None:
    learned = learn([], 0)
    deals = [made("a", W, 61, 70, amount=300), made("b", W, 31, 80, amount=9_999), made("c", W, 31, 40, amount=600)]
    usual = forecast([*deals, made("first", L, 0, 1)], learned, 90 * DAY, 90 * DAY, 120 * DAY)["rita"].new_cents
    assert usual == pytest.approx((300 + 600 + 0) / 3)
    half = forecast([*deals, made("first", L, 0, 1)], learned, 105 * DAY, 90 * DAY, 120 * DAY)["rita"].new_cents
    assert half == pytest.approx(usual / 2)


def test_the_past_is_rewound_without_what_nobody_knew_then() -> None:
    history = ((0, P, 50), (10 * DAY, N, 80), (20 * DAY, W, 90))
    sold = made("a", W, 0, 20, amount=90, history=history, close_on=20 * DAY, forecast_cents=90)
    (then,) = rewound([sold], 15 * DAY)
    assert (then.stage, then.amount_cents, then.closed_ms, then.close_on, then.forecast_cents) == (N, 80, None, None, None)
    assert rewound([sold], 20 * DAY) == [sold]
    assert rewound([made("later", P, 30)], 15 * DAY) == []


def test_the_funnel_says_where_deals_are_lost() -> None:
    far = ((0, P, 0), (1, N, 0))
    deals = [made("a", W, 0, 5, history=far), made("b", L, 0, 5, history=far, amount=7), made("c", L, 0, 5), made("d", P, 0)]
    found = funnel(deals)
    assert [(s.stage, s.reached, s.went_on, s.lost, s.open) for s in found.steps] == [
        (P, 4, 2, 1, 1),
        (Q, 2, 2, 0, 0),
        (Stage.QUOTED, 2, 2, 0, 0),
        (N, 2, 1, 1, 0),
    ]
    assert [s.conversion for s in found.steps] == [pytest.approx(2 / 3), 1, 1, 0.5]
    assert (found.won, found.lost, found.lost_most_in) == (1, 2, P)
    assert funnel([]).lost_most_in is None


def crm() -> list[Deal]:
    """The public pipeline of 8800 opportunities; those that nobody has begun to work on have no date and are left out."""
    if not CRM.exists():
        pytest.skip(f"no {CRM.name}: the public data sets are not here")
    stages = {"Won": W, "Lost": L, "Engaging": Q, "Prospecting": P}
    with CRM.open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["engage_date"]]
    return [
        Deal(
            row["opportunity_id"],
            owner=row["sales_agent"],
            product=row["product"],
            stage=stages[row["deal_stage"]],
            amount_cents=round(float(row["close_value"] or 0) * 100),
            opened_ms=ms(row["engage_date"]),
            closed_ms=ms(row["close_date"]) if row["close_date"] else None,
        )
        for row in rows
    ]


def ms(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


def test_the_forecast_beats_repeating_the_month_before_on_public_data() -> None:
    deals = crm()
    found = backtest(deals, ms("2018-01-01"))
    assert [month.month for month in found.months] == [f"2017-{n:02}" for n in range(4, 13)]
    assert found.wape is not None
    assert found.naive_wape is not None
    assert found.wape < found.naive_wape
    assert sum(month.won_cents for month in found.months) == sum(
        d.amount_cents for d in deals if d.won and d.closed_ms is not None and d.closed_ms >= ms("2017-04-01")
    )


def test_the_back_test_does_not_peek() -> None:
    """What happens from a month on changes nothing of what its first moment would have said."""
    deals = crm()
    cut = ms("2017-08-01")
    known = [d for d in deals if d.opened_ms <= cut and (d.closed_ms is None or d.closed_ms <= cut)]
    unknown = [Deal(d.id, d.owner, d.product, P, 0, d.opened_ms) for d in deals if d.opened_ms <= cut < (d.closed_ms or 0)]
    then = [Deal(d.id, d.owner, d.product, P, 0, d.opened_ms) if d.closed_ms is None else d for d in known] + unknown
    said = added(forecast(then, learn(then, cut), cut, *month_of(cut)).values())
    (august,) = [month for month in backtest(deals, ms("2018-01-01")).months if month.month == "2017-08"]
    assert august.weighted_cents == pytest.approx(said.weighted_cents)
    assert august.new_cents == pytest.approx(said.new_cents)


def test_months_follow_one_another() -> None:
    edges = [month_of(ms(day)) for day in ("2016-12-31", "2017-01-01", "2017-02-28", "2017-03-31")]
    assert all(one[1] == other[0] for one, other in pairwise(edges))


async def test_the_office_asks_for_forecast_funnel_and_quotas_and_a_rep_for_their_own(field: Field) -> None:
    rita, ron = await field.rep("Rita"), await field.rep("Ron")
    start, end = month_of(field.clock())
    await field.manager.sets(Profile, rita.user, manager=field.manager.user)
    await field.manager.does(
        make(Quota(user=rita.user, start=start, end=end, amount_cents=400_000), "Q1"),
        make(Opportunity(account="A1", name="Done", owner=rita.user, amount_cents=100_000), "D1"),
    )
    await field.manager.sets(Opportunity, "D1", stage=W)
    await deal(field, rita, "O1", amount_cents=50_000, close_on=end - 1, stage=N)
    await deal(field, ron, "O2", amount_cents=7_000, close_on=end - 1)
    await settled(field, rita, ron)
    told = await field.manager.get("/v1/forecast?by=team")
    assert [(g["key"], g["forecast"]["won_cents"], g["forecast"]["commit_cents"]) for g in told["groups"]] == [
        ("", 0, 0),
        (field.manager.user, 100_000, 50_000),
    ]
    assert told["total"]["expected_cents"] > 100_000
    (reached,) = await field.manager.get("/v1/quotas")
    assert (reached["won_cents"], reached["attainment"], reached["team"]) == (100_000, 0.25, field.manager.user)
    assert (await field.manager.get("/v1/funnel"))["won"] == 1
    assert (await field.manager.get("/v1/forecast/backtest?months=3"))["wape"] is None
    token = (await field.company.enrol(ron.user)).token
    his = (await field.company.http.get("/v1/forecast", headers={"authorization": f"Bearer {token}"})).json()
    assert [g["key"] for g in his["groups"]] == [ron.user]
    wrong = await field.company.http.get("/v1/forecast?by=moon", headers=field.manager._headers)
    assert (wrong.status_code, wrong.json()["field"]) == (400, "by")
    wrong = await field.company.http.get("/v1/forecast?from_ms=5&to_ms=5", headers=field.manager._headers)
    assert (wrong.status_code, wrong.json()["field"]) == (400, "to_ms")
