"""The forecast of a company: its deals read, and the figures put together by rep and by team."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec
import sqlalchemy as sa

from server.domain.forecast import Backtest, Deal, Forecast, Funnel, added, backtest, forecast, funnel, learn, month_of, rewound
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.entities.flows import Stage

Grouping: TypeAlias = Literal["rep", "team"]
NOBODY: Final = ""
"""The group of deals without an owner, or of reps without a manager."""


class Group(msgspec.Struct, frozen=True):
    key: str
    name: str
    forecast: Forecast
    expected_cents: int


class Outlook(msgspec.Struct, frozen=True):
    """The forecast of a period, in all and by group, with the chances of winning that it rests on."""

    from_ms: int
    to_ms: int
    total: Group
    groups: tuple[Group, ...]
    win_rates: Mapping[Stage, float]


class Attainment(msgspec.Struct, frozen=True):
    """How far somebody has come with a quota, by what was won in its time; `team` is their manager."""

    user: str
    name: str
    team: str
    from_ms: int
    to_ms: int
    quota_cents: int
    won_cents: int
    attainment: float | None


async def deals_of(tenant: Tenant, owner: str | None = None) -> list[Deal]:
    """The opportunities, of one owner or all. One of which nobody knows when it was opened is left out."""
    rows = await tenant.rows("opportunity", [] if owner is None else [projections["opportunity"].c.owner == owner])
    return [deal for row in rows if (deal := _deal(row)) is not None]


def _deal(row: sa.Row[Any]) -> Deal | None:
    history = tuple((entry["at"], Stage(entry["stage"]), entry.get("amount_cents", 0)) for entry in row.stages or ())
    stage = Stage(row.stage or Stage.PROSPECT)
    opened_ms = row.opened_on if row.opened_on is not None else history[0][0] if history else row.closed_at
    closed_ms = row.closed_at if stage in (Stage.WON, Stage.LOST) else None
    if opened_ms is None or (stage in (Stage.WON, Stage.LOST) and closed_ms is None):
        return None
    return Deal(
        row.id,
        owner=row.owner or NOBODY,
        product=row.product or "",
        stage=stage,
        amount_cents=row.amount_cents or 0,
        opened_ms=opened_ms,
        closed_ms=closed_ms,
        close_on=row.close_on,
        forecast_cents=row.forecast_cents,
        history=history,
    )


async def outlook(
    tenant: Tenant,
    now_ms: int,
    period: tuple[int, int] | None = None,
    by: Grouping = "rep",
    owner: str | None = None,
    *,
    looking_back: bool = False,
) -> Outlook:
    """The forecast of a period, by default this month. Chances are learned from all deals, also when only one owner's are shown.
    `looking_back`: by what was known at `now_ms`, a moment of the past."""
    start_ms, end_ms = period or month_of(now_ms)
    deals = await deals_of(tenant)
    deals = rewound(deals, now_ms) if looking_back else deals
    learned = learn(deals, now_ms)
    people = await _people(tenant)
    mine = [deal for deal in deals if owner in (None, deal.owner)]
    by_key: dict[str, list[Forecast]] = {}
    for who, part in forecast(mine, learned, now_ms, start_ms, end_ms).items():
        by_key.setdefault(who if by == "rep" else people.get(who, ("", NOBODY))[1], []).append(part)
    groups = tuple(_group(key, people, added(parts)) for key, parts in sorted(by_key.items()))
    total = _group("total", people, added(group.forecast for group in groups))
    return Outlook(start_ms, end_ms, total, groups, learned.rates)


def _group(key: str, people: Mapping[str, tuple[str, str]], part: Forecast) -> Group:
    rounded = msgspec.structs.replace(part, weighted_cents=round(part.weighted_cents), new_cents=round(part.new_cents))
    return Group(key, people.get(key, (key, ""))[0], rounded, round(part.expected_cents))


async def past_forecasts(tenant: Tenant, now_ms: int, months: int = 12) -> Backtest:
    """How the forecast would have done in the past months."""
    return backtest(await deals_of(tenant), now_ms, months)


async def funnel_of(tenant: Tenant, from_ms: int, to_ms: int, owner: str | None = None) -> Funnel:
    """How far the deals opened in a period came."""
    return funnel(deal for deal in await deals_of(tenant, owner) if from_ms <= deal.opened_ms < to_ms)


async def attainments(tenant: Tenant, at_ms: int, user: str | None = None) -> list[Attainment]:
    """The quotas that are running at a moment, of one person or all, with what was won in their time."""
    table = projections["quota"].c
    running = [table.start <= at_ms, table.end > at_ms, *([table.user == user] if user else [])]
    quotas = await tenant.rows("quota", running)
    people = await _people(tenant)
    won = [deal for deal in await deals_of(tenant, user) if deal.won and deal.closed_ms is not None]
    found = []
    for row in quotas:
        name, team = people.get(row.user, (row.user, NOBODY))
        sold = sum(d.amount_cents for d in won if d.owner == row.user and row.start <= (d.closed_ms or 0) < row.end)
        quota_cents = row.amount_cents or 0
        share = sold / quota_cents if quota_cents else None
        found.append(Attainment(row.user, name, team, row.start, row.end, quota_cents, sold, share))
    return found


async def _people(tenant: Tenant) -> dict[str, tuple[str, str]]:
    """Name and manager by user."""
    return {row.id: (row.name, row.manager or NOBODY) for row in await tenant.rows("profile")}
