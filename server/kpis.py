"""Figures of a company, asked by name (`server.storage.kpis`); and what its accounts will be worth, by a model of buying.

The model is BG/NBD for how often and for how long (Fader, Hardie and Lee 2005) and Gamma-Gamma for how much (Fader and Hardie
2013), fitted by the `lifetimes` package.
"""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from server.problems import ProblemError
from server.storage.kpis import DAY_MS, KPIS, PURCHASES
from server.storage.office import Tenant

EVER_MS: Final = 2**52
CLV_DAYS: Final = 365
DISCOUNT_A_DAY: Final = 1.1 ** (1 / 365) - 1
"""Ten per cent a year."""
LEAST_ACCOUNTS: Final = 20
"""Below so many accounts that bought more than once the model has nothing to go by."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of a period, in `unit`; null where nothing happened that it could rest on. `n` is on how many things it rests."""

    kpi: str
    unit: str
    value: float | None
    n: int
    label: str = ""
    by: tuple["Figure", ...] = ()


class Period(msgspec.Struct, frozen=True):
    """From `since_ms` to before `until_ms`."""

    since_ms: int = 0
    until_ms: int = EVER_MS


class Worth(msgspec.Struct, frozen=True):
    """What an account is expected to buy in the coming year, discounted, and how likely it still buys at all."""

    account: str
    value_cents: int
    alive: float


async def figure(tenant: Tenant, name: str, period: Period, by: str | None = None) -> Figure:
    """One figure, split by one of its groups when asked. Raises ProblemError for a name or a group that there is not."""
    kpi = KPIS.get(name)
    if kpi is None:
        raise ProblemError(404, "There is no such figure", f"there are {', '.join(KPIS)}", field="name", rule="unknown_kpi")
    if by is not None and by not in kpi.groups:
        known = ", ".join(kpi.groups) or "no groups"
        raise ProblemError(400, "The figure is not split so", f"{name} has {known}", field="by", rule="unknown_group")
    total = await _rows(tenant, kpi.statement(None), period)
    parts = () if by is None else await _rows(tenant, kpi.statement(by), period)
    made = [
        Figure(kpi=name, unit=kpi.unit, label=row.label, value=None if row.value is None else float(row.value), n=row.n or 0)
        for row in (*total, *parts)
    ]
    return msgspec.structs.replace(made[0], by=tuple(made[1:]))


async def _rows(tenant: Tenant, statement: str, period: Period) -> Sequence[sa.Row[tuple[object, ...]]]:
    values = {"tenant": tenant.tenant_id, "since": period.since_ms, "until": period.until_ms}
    return (await tenant.connection.execute(sa.text(statement), values)).all()


async def worth(tenant: Tenant, period: Period) -> list[Worth]:
    """The accounts by what the model expects of them in the year after the period's last sale, the best first.

    Empty where fewer than `LEAST_ACCOUNTS` accounts bought again: a guess would not be a figure. Raises ProblemError when the
    `lifetimes` package is not installed.
    """
    rows = await _rows(tenant, PURCHASES, period)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `lifetimes` is older than its pandas, and its optimiser takes vain steps
        return _expected([(row.account, row.at_ms, row.amounts_cents) for row in rows])


def _expected(bought: Sequence[tuple[str, Sequence[int], Sequence[int]]]) -> list[Worth]:
    """By account, with when it bought and for how much, in order."""
    try:
        import pandas as pd  # noqa: PLC0415  # heavy, and an extra: `truckroll[clv]`
        from lifetimes import BetaGeoFitter, GammaGammaFitter  # noqa: PLC0415
        from lifetimes.utils import ConvergenceError  # noqa: PLC0415
    except ImportError as error:
        raise ProblemError(501, "The model is not installed", "install truckroll[clv]", rule="not_installed") from error
    if not bought:
        return []
    end_ms = max(at_ms[-1] for _, at_ms, _ in bought)
    table = pd.DataFrame([_summary(*one, end_ms) for one in bought])
    again = table[(table.frequency > 0) & (table.monetary_value > 0)]
    if len(again) < LEAST_ACCOUNTS:
        return []
    scale = float(again.monetary_value.mean())  # the optimiser wants numbers near one
    buying = _fitted(BetaGeoFitter, ConvergenceError, table.frequency, table.recency, table["T"])
    spending = _fitted(GammaGammaFitter, ConvergenceError, again.frequency, again.monetary_value / scale)
    alive = buying.conditional_probability_alive(table.frequency, table.recency, table["T"])
    a_visit = spending.conditional_expected_average_profit(table.frequency, table.monetary_value / scale) * scale
    visits = buying.conditional_expected_number_of_purchases_up_to_time(CLV_DAYS, table.frequency, table.recency, table["T"])
    discount = (1 - (1 + DISCOUNT_A_DAY) ** -CLV_DAYS) / (DISCOUNT_A_DAY * CLV_DAYS)  # bought evenly over the year
    values = a_visit * visits * discount
    found = [
        Worth(account, round(float(value)), round(float(chance), 4))
        for account, value, chance in zip(table.account, values, alive, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.value_cents, one.account))


def _fitted(fitter: Any, unsettled: type[Exception], *columns: Any) -> Any:
    """The model fitted, held back as little as it takes to settle. Raises ProblemError when it never does."""
    for penalty in (0.001, 0.01, 0.1, 1.0):
        model = fitter(penalizer_coef=penalty)
        with suppress(unsettled):
            return model.fit(*columns)
    raise ProblemError(422, "The model does not fit these sales", "try another period", rule="no_fit")


def _summary(account: str, at_ms: Sequence[int], amounts_cents: Sequence[int], end_ms: int) -> dict[str, object]:
    """An account's buying as the model reads it: days with a repeat purchase, when the last was, and what such a day brought."""
    days: dict[int, int] = {}
    for at, cents in zip(at_ms, amounts_cents, strict=True):
        days[at // DAY_MS] = days.get(at // DAY_MS, 0) + cents
    first, *later = sorted(days)
    return {
        "account": account,
        "frequency": float(len(later)),
        "recency": float(later[-1] - first) if later else 0.0,
        "T": float(end_ms // DAY_MS - first),
        "monetary_value": sum(days[day] for day in later) / len(later) if later else 0.0,
    }


def page() -> str:
    """docs/kpis.md."""
    rows = (f"| `{k.name}` | {k.title} | {k.unit} | {k.formula} | {', '.join(k.groups) or '–'} |" for k in KPIS.values())
    return _PAGE.format(rows="\n".join(rows))


_PAGE: Final = """# Figures

Each is computed in SQL on the typed tables (`server/storage/kpis.py`), by `truckroll kpi NAME` or `GET /v1/kpis/NAME`, for a period
and split by a group. A figure that rests on nothing is null. This page is made by `make docs`.

| name | figure | unit | formula | groups |
| --- | --- | --- | --- | --- |
{rows}

`truckroll kpi worth` and `GET /v1/kpis/worth` tell what each account is expected to buy in the coming year: BG/NBD for how often
and for how long (Fader, Hardie and Lee 2005), Gamma-Gamma for how much (Fader and Hardie 2013), discounted by ten per cent a year,
fitted by the `lifetimes` package (`truckroll[clv]`); nothing where fewer than twenty accounts bought more than once.
"""
