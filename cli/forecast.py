"""`truckroll forecast`."""

from typing import Annotated

import msgspec
import typer
from rich.table import Table

from cli.common import Json, console, inside, tenant_id_of
from server.context import Context
from server.domain.forecast import Backtest
from server.forecasting import Grouping, Outlook, outlook, past_forecasts
from server.intake.cells import BadCell, day_ms


class Told(msgspec.Struct, frozen=True):
    """The forecast of the month, and how such a forecast did in the months before."""

    forecast: Outlook
    backtest: Backtest


def forecast_command(
    tenant: Annotated[str, typer.Argument(help="The company's name.")],
    by: Annotated[str, typer.Option(help="rep or team.")] = "rep",
    months: Annotated[int, typer.Option(help="Past months to test the forecast on.", min=1, max=120)] = 12,
    on: Annotated[str, typer.Option(help="As it would have been told on this day, such as 2026-01-01 (UTC); today without.")] = "",
    *,
    as_json: Json = False,
) -> None:
    """Tell what the month brings, and how well past months would have been forecast; docs/sales.md has the formulae."""
    if by not in ("rep", "team"):
        raise typer.BadParameter("rep or team", param_hint="by")

    try:
        past_ms = day_ms(on) if on else None
    except BadCell as error:
        raise typer.BadParameter(str(error), param_hint="on") from error

    async def work(context: Context) -> Told:
        async with context.office.of(await tenant_id_of(context, tenant)) as rows:
            now_ms = context.now_ms() if past_ms is None else past_ms
            grouping: Grouping = "team" if by == "team" else "rep"
            told = await outlook(rows, now_ms, by=grouping, looking_back=past_ms is not None)
            return Told(told, await past_forecasts(rows, now_ms, months))

    told = inside(work)
    if as_json:
        typer.echo(msgspec.json.encode(told).decode())
        return
    table = Table(by, "won", "open, weighted", "new, usually", "expected", "committed")
    for group in (*told.forecast.groups, told.forecast.total):
        f = group.forecast
        cents = (f.won_cents, f.weighted_cents, f.new_cents, group.expected_cents, f.commit_cents)
        table.add_row(group.name or "–", *(f"{one / 100:,.2f}" for one in cents))
    console.print(table)
    past = Table("month", "forecast", "won", "off by")
    for month in told.backtest.months:
        said = month.weighted_cents + month.new_cents
        past.add_row(month.month, f"{said / 100:,.2f}", f"{month.won_cents / 100:,.2f}", f"{month.error_cents / 100:+,.2f}")
    console.print(past)
    if told.backtest.wape is not None:
        console.print(f"off by {told.backtest.wape:.0%} in all; the month before repeated, by {told.backtest.naive_wape or 0:.0%}")
