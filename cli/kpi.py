"""`truckroll kpi`."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from cli.common import Json, Tenant, chosen_tenant, console, inside
from server.context import Context
from server.intake.cells import BadCell, day_ms
from server.kpis import EVER_MS, Figure, Period, Worth, figure, page, worth
from server.problems import ProblemError
from server.storage.kpis import KPIS


def kpi_command(
    name: Annotated[str, typer.Argument(help="A figure, such as win-rate; all of them without; worth for the accounts.")] = "",
    since: Annotated[str, typer.Option(help="From this day on, such as 2026-01-01 (UTC).")] = "",
    until: Annotated[str, typer.Option(help="Up to before this day.")] = "",
    by: Annotated[str | None, typer.Option(help="Split by this group, such as month.")] = None,
    tenant: Tenant = "",
    write: Annotated[Path | None, typer.Option(help="Write the page of formulae here instead.", hidden=True)] = None,
    *,
    as_json: Json = False,
) -> None:
    """Tell the company's figures; docs/kpis.md has the formulae."""
    if write is not None:
        write.write_text(page())
        return
    try:
        period = Period(day_ms(since) if since else 0, day_ms(until) if until else EVER_MS)
    except BadCell as error:
        raise typer.BadParameter(str(error)) from error

    async def work(context: Context) -> list[Figure] | list[Worth]:
        async with context.office.of(await chosen_tenant(context, tenant)) as rows:
            if name == "worth":
                return await worth(rows, period)
            return [await figure(rows, one, period, by) for one in ([name] if name else KPIS)]

    try:
        found = inside(work)
    except ProblemError as error:
        raise typer.BadParameter(f"{error.problem.title}: {error.problem.detail}") from error
    if as_json:
        typer.echo(msgspec.json.encode(found[0] if name and name != "worth" else found).decode())
        return
    table = Table("account", "worth", "still buys") if name == "worth" else Table("figure", "value", "unit", "of")
    for one in found:
        if isinstance(one, Worth):
            table.add_row(one.account, f"{one.value_cents / 100:.2f}", f"{one.alive:.0%}")
            continue
        for part in (one, *one.by):
            label = f"  {part.label or '–'}" if part is not one else KPIS[one.kpi].title
            table.add_row(label, "–" if part.value is None else f"{part.value:.4g}", one.unit, str(part.n))
    console.print(table)
