"""What the open deals will bring, by what became of the deals before them; and how good such a forecast was. Pure.

The forecast of a period is the sum over open deals of amount × chance of winning × chance of closing within the period, and of what
deals that are not open yet usually bring.

- Winning: of the closed deals that ever reached the deal's stage, the share that was won, drawn towards the share of all deals by
  `PRIOR` pseudo-deals, and that towards one half by two (a beta prior; Laplace's rule of succession for the whole).
- Closing: by `close_on` where it is known; otherwise by how old deals get before they close: the product-limit estimator of Kaplan
  and Meier (1958), in whole days, deals still open being censored.
- New business: what deals opened and won within one such stretch brought, on average over the last three stretches.

A deal without an amount counts at what won deals of its product brought on average, or all deals.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from sync.entities.flows import Stage

DAY_MS: Final = 86_400_000
PRIOR: Final = 10
STRETCHES: Final = 3
OPEN: Final = (Stage.PROSPECT, Stage.QUALIFIED, Stage.QUOTED, Stage.NEGOTIATION)
_RANK: Final = {stage: rank for rank, stage in enumerate(OPEN)}


class Deal(msgspec.Struct, frozen=True):
    """An opportunity as the forecast sees it. `history` has (when, stage, amount) in order; times in ms, amounts in cents."""

    id: str
    owner: str
    product: str
    stage: Stage
    amount_cents: int
    opened_ms: int
    closed_ms: int | None = None
    close_on: int | None = None
    forecast_cents: int | None = None
    history: tuple[tuple[int, Stage, int], ...] = ()

    @property
    def won(self) -> bool:
        return self.stage is Stage.WON

    @property
    def top(self) -> int:
        """The rank of the furthest open stage that it is known to have reached."""
        reached = [_RANK[stage] for _, stage, _ in self.history if stage in _RANK]
        return max([*reached, _RANK.get(self.stage, 0)])


class Forecast(msgspec.Struct, frozen=True):
    """In cents: what is won already, what the open deals should bring (`weighted`), what new ones usually do, what reps commit to;
    and how many open deals it rests on, and how many of these say not when they should close."""

    won_cents: int = 0
    weighted_cents: float = 0
    new_cents: float = 0
    commit_cents: int = 0
    open_deals: int = 0
    undated: int = 0

    @property
    def expected_cents(self) -> float:
        return self.won_cents + self.weighted_cents + self.new_cents


class Learned(msgspec.Struct, frozen=True):
    """What the deals closed by a moment teach: chances of winning by stage, days to closing with the share still open after each,
    and what a won deal brought, by product and (under "") in all."""

    rates: Mapping[Stage, float]
    days: Sequence[int]
    left: Sequence[float]
    amounts: Mapping[str, float]

    def open_after(self, days: float) -> float:
        at = bisect_right(self.days, days)
        return self.left[at - 1] if at else 1.0

    def closes_within(self, age_days: float, from_days: float, to_days: float) -> float:
        """The chance that a deal open at this age closes from `from_days` to `to_days` from now; 0 if no deal ever got so old."""
        now = self.open_after(age_days)
        return (self.open_after(age_days + from_days) - self.open_after(age_days + to_days)) / now if now > 0 else 0.0

    def worth(self, deal: Deal) -> float:
        return deal.amount_cents or self.amounts.get(deal.product) or self.amounts.get("", 0.0)


def learn(deals: Iterable[Deal], now_ms: int) -> Learned:
    """From the deals as they stood at `now_ms` (see `rewound`)."""
    known = list(deals)
    closed = [deal for deal in known if deal.closed_ms is not None]
    overall = (sum(deal.won for deal in closed) + 1) / (len(closed) + 2)
    rates = {}
    for stage, rank in _RANK.items():
        reached = [deal.won for deal in closed if deal.top >= rank]
        rates[stage] = (sum(reached) + PRIOR * overall) / (len(reached) + PRIOR)
    amounts: dict[str, list[int]] = defaultdict(list)
    for deal in closed:
        if deal.won and deal.amount_cents:
            for key in {deal.product, ""}:
                amounts[key].append(deal.amount_cents)
    days, left = _open_shares(known, now_ms)
    return Learned(rates, days, left, {key: sum(found) / len(found) for key, found in amounts.items()})


def _open_shares(deals: Iterable[Deal], now_ms: int) -> tuple[list[int], list[float]]:
    """After how many days which share of deals was still open (product-limit estimator)."""
    closed: Counter[int] = Counter()
    gone: Counter[int] = Counter()
    for deal in deals:
        age = max(0, (deal.closed_ms or now_ms) - deal.opened_ms) // DAY_MS
        gone[age] += 1
        closed[age] += deal.closed_ms is not None
    at_risk, share = gone.total(), 1.0
    days, left = [], []
    for age in sorted(gone):
        if closed[age]:
            share *= 1 - closed[age] / at_risk
            days.append(age)
            left.append(share)
        at_risk -= gone[age]
    return days, left


def rewound(deals: Iterable[Deal], at_ms: int) -> list[Deal]:
    """The deals as they stood at a moment. What was planned then is not on record: no closing date, no word of the rep."""
    found = []
    for deal in deals:
        if deal.opened_ms > at_ms:
            continue
        past = tuple(entry for entry in deal.history if entry[0] <= at_ms)
        if deal.closed_ms is not None and deal.closed_ms <= at_ms:
            found.append(deal)
            continue
        _, stage, amount = past[-1] if past else (0, Stage.PROSPECT, 0)
        closed_ms = None if stage in _RANK else past[-1][0]
        then = {"stage": stage, "amount_cents": amount, "closed_ms": closed_ms, "history": past}
        found.append(msgspec.structs.replace(deal, **then, close_on=None, forecast_cents=None))
    return found


def forecast(deals: Sequence[Deal], learned: Learned, now_ms: int, start_ms: int, end_ms: int) -> dict[str, Forecast]:
    """By owner, what a period brings as seen at `now_ms`, which lies before its end."""
    by_owner: dict[str, list[Deal]] = defaultdict(list)
    for deal in deals:
        by_owner[deal.owner].append(deal)
    return {owner: _of(mine, learned, now_ms, start_ms, end_ms) for owner, mine in sorted(by_owner.items())}


def _of(deals: Sequence[Deal], learned: Learned, now_ms: int, start_ms: int, end_ms: int) -> Forecast:
    from_days, to_days = (max(0, edge - now_ms) / DAY_MS for edge in (start_ms, end_ms))
    open_deals = [deal for deal in deals if deal.closed_ms is None and deal.stage in _RANK]
    weighted, commit = 0.0, 0
    for deal in open_deals:
        if deal.close_on is None:
            closes = learned.closes_within((now_ms - deal.opened_ms) / DAY_MS, from_days, to_days)
        else:
            closes = float((start_ms <= deal.close_on or start_ms <= now_ms) and deal.close_on < end_ms)
        weighted += learned.worth(deal) * learned.rates[deal.stage] * closes
        if closes == 1.0 and deal.forecast_cents is not None:
            commit += deal.forecast_cents
        elif closes == 1.0 and deal.stage is Stage.NEGOTIATION:
            commit += deal.amount_cents
    ahead = (end_ms - max(start_ms, min(now_ms, end_ms))) / (end_ms - start_ms)
    return Forecast(
        won_cents=_won(deals, start_ms, end_ms),
        weighted_cents=weighted,
        new_cents=_usual(deals, start_ms, end_ms - start_ms) * ahead,
        commit_cents=commit,
        open_deals=len(open_deals),
        undated=sum(deal.close_on is None for deal in open_deals),
    )


def _won(deals: Iterable[Deal], start_ms: int, end_ms: int, opened_ms: int = 0) -> int:
    """What was won in a stretch of time, of deals opened since."""
    return sum(
        deal.amount_cents
        for deal in deals
        if deal.won and deal.closed_ms is not None and start_ms <= deal.closed_ms < end_ms and deal.opened_ms >= opened_ms
    )


def _usual(deals: Sequence[Deal], start_ms: int, length_ms: int) -> float:
    """What deals opened and won within one stretch brought, on average over the last whole ones before `start_ms`."""
    first = min((deal.opened_ms for deal in deals), default=start_ms)
    begins = [start_ms - at * length_ms for at in range(1, STRETCHES + 1) if start_ms - at * length_ms >= first]
    return sum(_won(deals, begin, begin + length_ms, begin) for begin in begins) / len(begins) if begins else 0.0


def added(parts: Iterable[Forecast]) -> Forecast:
    sums = [sum(column) for column in zip(*(msgspec.structs.astuple(part) for part in parts), strict=True)]
    return Forecast(*sums) if sums else Forecast()


class Tested(msgspec.Struct, frozen=True):
    """A past month: what its first moment would have forecast, what was won in it, and what repeating the month before says."""

    month: str
    weighted_cents: float
    new_cents: float
    won_cents: int
    naive_cents: int

    @property
    def error_cents(self) -> float:
        return self.weighted_cents + self.new_cents - self.won_cents


class Backtest(msgspec.Struct, frozen=True):
    """`wape` is Σ|forecast − won| / Σ won over the months; `naive_wape` that of repeating the month before. None without sales."""

    months: tuple[Tested, ...]
    wape: float | None
    naive_wape: float | None


def backtest(deals: Sequence[Deal], until_ms: int, months: int = 12) -> Backtest:
    """The whole months before `until_ms`, the last `months` of them, from the first by whose start anything had been closed."""
    closed = [deal.closed_ms for deal in deals if deal.closed_ms is not None]
    edges = _months(min(closed, default=until_ms), until_ms)
    tested = [_test(deals, *edges[at - 1 : at + 2]) for at in range(1, len(edges) - 1)][-months:]
    won = sum(month.won_cents for month in tested)
    error = sum(abs(month.error_cents) for month in tested)
    naive = sum(abs(month.naive_cents - month.won_cents) for month in tested)
    return Backtest(tuple(tested), error / won if won else None, naive / won if won else None)


def _test(deals: Sequence[Deal], before_ms: int, start_ms: int, end_ms: int) -> Tested:
    then = rewound(deals, start_ms)
    seen = added(forecast(then, learn(then, start_ms), start_ms, start_ms, end_ms).values())
    return Tested(
        month=f"{datetime.fromtimestamp(start_ms / 1000, UTC):%Y-%m}",
        weighted_cents=seen.weighted_cents,
        new_cents=seen.new_cents,
        won_cents=_won(deals, start_ms, end_ms),
        naive_cents=_won(deals, before_ms, start_ms),
    )


def _months(from_ms: int, to_ms: int) -> list[int]:
    """The beginnings of the months, in UTC, from the one that holds `from_ms` to the last not after `to_ms`."""
    edges = [month_of(from_ms)[0]]
    while (following := month_of(edges[-1])[1]) <= to_ms:
        edges.append(following)
    return edges


def month_of(at_ms: int) -> tuple[int, int]:
    """The calendar month in UTC that holds a moment: its first ms and that of the next."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    following = (at.year + at.month // 12, at.month % 12 + 1)
    return _ms(at.year, at.month), _ms(*following)


def _ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)


class Step(msgspec.Struct, frozen=True):
    """A stage of the funnel: how many deals reached it, went on from it, were lost in it or stand in it; what was lost, in cents.
    `conversion` is went on / (went on + lost), None where nothing has left it yet."""

    stage: Stage
    reached: int
    went_on: int
    lost: int
    open: int
    lost_cents: int
    conversion: float | None


class Funnel(msgspec.Struct, frozen=True):
    """`lost_most_in` is the stage in which most deals were lost."""

    steps: tuple[Step, ...]
    won: int
    lost: int
    lost_most_in: Stage | None


def funnel(deals: Iterable[Deal]) -> Funnel:
    """Of these deals, how far they came; a stage that was skipped counts as reached."""
    known = [(deal, deal.top) for deal in deals]
    steps = tuple(_step(stage, [(deal, top) for deal, top in known if top >= rank], rank) for stage, rank in _RANK.items())
    worst = max(steps, key=lambda step: step.lost)
    won, lost = (sum(deal.stage is end for deal, _ in known) for end in (Stage.WON, Stage.LOST))
    return Funnel(steps, won, lost, worst.stage if worst.lost else None)


def _step(stage: Stage, reached: Sequence[tuple[Deal, int]], rank: int) -> Step:
    here = [deal for deal, top in reached if top == rank]
    lost = [deal for deal in here if deal.stage is Stage.LOST]
    still = sum(deal.stage in _RANK for deal in here)
    went_on = len(reached) - len(lost) - still
    left = went_on + len(lost)
    cents = sum(deal.amount_cents for deal in lost)
    return Step(stage, len(reached), went_on, len(lost), still, cents, went_on / left if left else None)
