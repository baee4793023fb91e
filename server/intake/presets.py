"""Folders whose files belong together, read as incoming records."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from server.intake.cells import BadCell, day_ms
from server.intake.incoming import Incoming
from sync.entities.flows import Stage

Preset: TypeAlias = Callable[[Path], Iterator[Incoming]]
Row: TypeAlias = dict[str, str]

STAGES: Final[Mapping[str, Stage]] = {
    "Prospecting": Stage.PROSPECT,
    "Engaging": Stage.QUALIFIED,
    "Won": Stage.WON,
    "Lost": Stage.LOST,
}


class MissingFile(ValueError):
    """A file that the preset needs is not in the folder."""


def rows_of(path: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a CSV file with their line numbers. Raises MissingFile."""
    if not path.is_file():
        raise MissingFile(f"{path} is missing")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            yield reader.line_num, {key: (value or "").strip() for key, value in row.items() if key is not None}


def opportunities(folder: Path) -> Iterator[Incoming]:
    """A sales pipeline: `products.csv`, `accounts.csv`, `sales_teams.csv`, `sales_pipeline.csv`. Money is in whole units."""
    for line, row in rows_of(folder / "products.csv"):
        fields = {"sku": row["product"], "name": row["product"], "family": row["series"], "external_id": row["product"]}
        yield Incoming("product", "products.csv", line, {**fields, "price_cents": int(row["sales_price"]) * 100})
    yield from _people(list(rows_of(folder / "sales_teams.csv")))
    yield from _accounts(list(rows_of(folder / "accounts.csv")))
    for line, row in rows_of(folder / "sales_pipeline.csv"):
        yield _opportunity(line, row)


def _people(rows: Sequence[tuple[int, Row]]) -> Iterator[Incoming]:
    bosses = dict.fromkeys(row["manager"] for _, row in rows)
    for boss in bosses:
        line, home = next((line, row["regional_office"]) for line, row in rows if row["manager"] == boss)
        fields = {"name": boss, "role": "manager", "territories": [home], "external_id": boss}
        yield Incoming("profile", "sales_teams.csv", line, fields)
    for line, row in rows:
        fields = {"name": row["sales_agent"], "role": "rep", "territories": [row["regional_office"]]}
        fields["external_id"] = row["sales_agent"]
        yield Incoming("profile", "sales_teams.csv", line, fields, {"manager": row["manager"]})


def _accounts(rows: Sequence[tuple[int, Row]]) -> Iterator[Incoming]:
    for line, row in sorted(rows, key=lambda item: bool(item[1]["subsidiary_of"])):  # parents first
        known = {name: row[name] for name in ("year_established", "revenue", "employees", "office_location") if row[name]}
        fields = {"name": row["account"], "segment": row["sector"], "custom": known, "external_id": row["account"]}
        parent = {"parent": row["subsidiary_of"]} if row["subsidiary_of"] else {}
        yield Incoming("account", "accounts.csv", line, fields, parent)


def _opportunity(line: int, row: Row) -> Incoming:
    stage = STAGES.get(row["deal_stage"])
    if stage is None:
        raise BadCell(f"line {line}: {row['deal_stage']!r} is no stage; there are {', '.join(STAGES)}")
    name = f"{row['product']} for {row['account']}" if row["account"] else row["product"]
    fields: dict[str, object] = {"name": name, "stage": stage.value, "external_id": row["opportunity_id"]}
    if row["engage_date"]:
        fields["opened_on"] = day_ms(row["engage_date"])
    if row["close_value"]:
        fields["amount_cents"] = int(row["close_value"]) * 100
    if row["close_date"]:
        closed = day_ms(row["close_date"])
        fields |= {"close_on": closed, "closed_at": closed}
    references = {"owner": row["sales_agent"], "product": row["product"], "account": row["account"]}
    said = {name: words for name, words in references.items() if words}
    left_open = tuple(name for name, words in references.items() if not words)
    return Incoming("opportunity", "sales_pipeline.csv", line, fields, said, left_open=left_open)


PRESETS: Final[Mapping[str, Preset]] = {"opportunities": opportunities}
