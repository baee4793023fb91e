"""`truckroll leads`: how well leads are scored, measured on files of the past."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from server.domain.business_hours import utc_day
from server.domain.scoring import DAY_MS, Backtest, Example, backtest
from server.intake.cells import day_ms

app = typer.Typer(help="Leads: how well are they scored?", no_args_is_help=True)
console = Console()

QUALIFIED: Final = "olist_marketing_qualified_leads.csv"
CLOSED: Final = "olist_closed_deals.csv"
CAVEAT: Final = (
    "Features are what the leads' own file says at first contact (origin, landing page, weekday); of the deals' file only the date "
    "is read. Censoring: won means within the days asked for; learned is only from leads whose time was up by the split, judged "
    "only on leads watched as long. Wins were rare before January 2018, when selling began; that moves the base, not the order."
)


@app.callback()
def leads() -> None:
    """Leads: how well are they scored?"""


@app.command("backtest")
def backtest_files(
    folder: Annotated[Path, typer.Argument(help="Olist's marketing funnel: both CSV files.", exists=True, file_okay=False)],
    within_days: Annotated[int, typer.Option(min=1, help="A lead is won if it is won within so many days.")] = 30,
    split: Annotated[float, typer.Option(min=0.1, max=0.9, help="The share of leads before the split.")] = 0.7,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """Learn the product's own scorecard from the older leads of FOLDER, and say how well it tells the newer ones apart."""
    try:
        found = backtest(examples(folder), within_days * DAY_MS, split=split)
    except (OSError, KeyError, ValueError) as error:
        raise typer.BadParameter(f"{folder}: {error}", param_hint="folder") from error
    _show(found)
    if json is not None:
        shown = {"protocol": CAVEAT, "split": utc_day(found.split_ms)} | msgspec.to_builtins(found)
        json.write_bytes(msgspec.json.format(msgspec.json.encode(shown), indent=1))


def examples(folder: Path) -> list[Example]:
    """The leads of Olist's funnel. Days are counted in UTC; a deal dated before its lead's first contact counts as on that day."""
    with (folder / CLOSED).open(encoding="utf-8", newline="") as file:
        won_ms = {row["mql_id"]: day_ms(row["won_date"]) for row in csv.DictReader(file)}
    found = []
    with (folder / QUALIFIED).open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            at_ms = day_ms(row["first_contact_date"])
            features = {
                "origin": row["origin"] or "not said",
                "landing page": row["landing_page_id"],
                "weekday": datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%A"),
            }
            after_ms = max(0, won_ms[row["mql_id"]] - at_ms) if row["mql_id"] in won_ms else None
            found.append(Example(at_ms, features, after_ms))
    return found


def _show(found: Backtest) -> None:
    table = Table(box=None, show_header=False)
    single = f"{found.best_feature_auc:.3f} ({found.best_feature}), lift {found.best_feature_lift:.2f}"
    rows = {
        "split": f"{utc_day(found.split_ms)}; won means within {found.within_days:.0f} days",
        "learned from": f"{found.learned_from} leads, {found.learned_won} won",
        "judged on": f"{found.tested} newer leads, {found.tested_won} won: base rate {found.base_rate:.1%}",
        "AUC": f"{found.auc:.3f} (95 %: {found.auc_low:.3f} to {found.auc_high:.3f}); won ever {found.auc_ever:.3f}",
        "lift of the best tenth": f"{found.lift:.2f} over the base rate; of the best fifth {found.lift_fifth:.2f}",
        "best single feature": f"{single}; the score is better in {found.better_than_best_feature:.0%} of samples",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table, highlight=False)
    console.print(f"[dim]{CAVEAT}[/dim]", highlight=False)
