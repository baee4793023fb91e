"""`truckroll import` and `truckroll export`."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import Progress
from rich.table import Table

from cli.common import Tenant, chosen_tenant, console, inside
from server.context import Context
from server.intake.cells import BadCell
from server.intake.files import BadFile, read, rejected_csv, written
from server.intake.incoming import Incoming, Rejected, Report
from server.intake.presets import PRESETS, MissingFile
from server.intake.run import Importer
from sync.schema import REGISTRY

PLURALS = {"account": "accounts", "opportunity": "opportunities", "product": "products"}
"""Under which name the JSON tells how many records of an entity the files name; people are told by their role."""


def import_command(
    path: Annotated[Path, typer.Argument(help="A CSV file, or the folder of a preset.", exists=True)],
    entity: Annotated[str, typer.Option(help="What the file's rows are, such as account or site.")] = "",
    preset: Annotated[str, typer.Option(help=f"A folder of files that belong together: {', '.join(PRESETS)}.")] = "",
    column: Annotated[list[str] | None, typer.Option("--map", help="A header and the field it fills, 'Phone No=phones'.")] = None,
    errors: Annotated[Path | None, typer.Option(help="Write the rows that were not taken here, with reasons.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    tenant: Tenant = "",
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would come of it.")] = False,
) -> None:
    """Take records from CSV files. What already stands as it is said is left alone, so it may be run again at any time."""
    if bool(entity) == bool(preset):
        raise typer.BadParameter("name either an --entity or a --preset")
    if preset and preset not in PRESETS:
        raise typer.BadParameter(f"there is no preset {preset!r}; there are: {', '.join(PRESETS)}", param_hint="preset")
    mapping = dict(_pair(one) for one in column or ())
    unread: list[Rejected] = []

    async def work(context: Context) -> Report:
        tenant_id = await chosen_tenant(context, tenant, fresh=path.resolve().name if preset else "")
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("rows", total=None)
            importer = Importer(context, tenant_id, dry_run=dry_run, on_progress=lambda done, _: bar.update(task, completed=done))
            return await importer.take(PRESETS[preset](path) if preset else _sorted(entity, path, mapping, unread))

    began = time.monotonic()
    try:
        report = inside(work)
    except (BadCell, BadFile, MissingFile) as error:
        raise typer.BadParameter(str(error), param_hint="path") from error
    report.rejected.extend(unread)
    _tell(report)
    if errors is not None:
        errors.write_text(rejected_csv(report.rejected))
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(figures(report, time.monotonic() - began))))


def _pair(text: str) -> tuple[str, str]:
    header, equals, field = text.rpartition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} is not of the form 'header=field'", param_hint="--map")
    return header, field


def _sorted(entity: str, path: Path, mapping: dict[str, str], unread: list[Rejected]) -> Iterator[Incoming]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in read(entity, path.name, file, mapping):
            if isinstance(row, Rejected):
                unread.append(row)
            else:
                yield row


def figures(report: Report, seconds: float) -> dict[str, Any]:
    """What an import came to, for programs: counts over all entities, and how many records of each the files name."""
    tallies = report.tallies.values()
    people = Counter(report.people)
    named = {PLURALS[entity]: tally.held for entity, tally in report.tallies.items() if entity in PLURALS}
    return named | {
        "users": people["rep"],
        "managers": people["manager"],
        "created": sum(tally.created for tally in tallies),
        "changed": sum(tally.changed for tally in tallies),
        "unchanged": sum(tally.unchanged for tally in tallies),
        "rejected": report.rejected,
        "corrected": report.corrected,
        "left_open": dict(report.left_open),
        "entities": report.tallies,
        "dry_run": report.dry_run,
        "seconds": round(seconds, 3),
    }


def _tell(report: Report) -> None:
    table = Table("entity", "rows", "new", "changed", "as it was", "not taken", title="dry run" if report.dry_run else None)
    for entity, tally in report.tallies.items():
        table.add_row(entity, *map(str, (tally.read, tally.created, tally.changed, tally.unchanged, tally.rejected)))
    console.print(table)
    for one in report.corrected:
        console.print(f"{one.field}: {one.value!r} was taken as {one.taken_as!r} in {one.rows} rows")
    for name, rows in report.left_open.items():
        console.print(f"{name}: not said in {rows} rows")
    for rejected in report.rejected[:20]:
        console.print(f"[red]{rejected.source}:{rejected.line}[/red] {rejected.reason}")
    if len(report.rejected) > 20:
        console.print(f"… and {len(report.rejected) - 20} more; --errors writes them all")


def export_command(
    entity: Annotated[str, typer.Argument(help="An entity, such as account.")],
    out: Annotated[Path | None, typer.Option(help="Write here instead of to standard output.")] = None,
    tenant: Tenant = "",
) -> None:
    """Write every record of an entity as CSV, which `truckroll import` takes back."""
    if entity not in REGISTRY:
        raise typer.BadParameter(f"there is no entity {entity!r}; there are: {', '.join(REGISTRY)}", param_hint="entity")

    async def work(context: Context) -> None:
        tenant_id = await chosen_tenant(context, tenant)
        file = sys.stdout if out is None else out.open("w", encoding="utf-8", newline="")
        try:
            async for line in written(context, tenant_id, entity):
                file.write(line)
        finally:
            if out is not None:
                file.close()

    inside(work)
