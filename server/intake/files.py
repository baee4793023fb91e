"""One CSV file of one entity: read as incoming records, written from held ones."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Final, TextIO

import msgspec

from server.context import Context
from server.intake.cells import BadCell, columns_of, parse, render
from server.intake.incoming import Incoming, Rejected
from server.intake.run import REFERS
from sync.schema import REGISTRY

PAGE: Final = 500


class BadFile(ValueError):
    """A file that is no CSV of the entity; its words say why."""


def read(entity: str, source: str, file: TextIO, mapping: Mapping[str, str]) -> Iterator[Incoming | Rejected]:
    """The rows of a file. An empty cell says nothing of its field. Raises BadFile when the header does not fit."""
    if entity not in REGISTRY:
        raise BadFile(f"there is no entity {entity!r}")
    reader = csv.DictReader(file, strict=True)
    try:
        columns = columns_of(REGISTRY[entity], list(reader.fieldnames or ()), mapping)
        if not columns:
            raise BadFile(f"{source} has no header")
        for row in reader:
            if None in row:
                yield Rejected(source, reader.line_num, entity, "more cells than the header has columns", _named(row))
            else:
                yield _row(entity, source, reader.line_num, row, columns)
    except BadCell as error:
        raise BadFile(f"{source}: {error}") from error
    except csv.Error as error:
        raise BadFile(f"{source}, line {reader.line_num}: {error}") from error


def _row(entity: str, source: str, line: int, row: dict[str, str], columns: Mapping[str, Any]) -> Incoming | Rejected:
    fields: dict[str, Any] = {}
    references: dict[str, str] = {}
    record_id = ""
    for header, field in columns.items():
        cell = (row[header] or "").strip()
        if field is None:
            record_id = cell
        elif not cell:
            continue
        elif field.refers or (entity, field.name) in REFERS:
            references[field.name] = cell
        else:
            try:
                fields[field.name] = parse(field, cell)
            except BadCell as error:
                return Rejected(source, line, entity, f"{field.name}: {error}", _named(row))
    return Incoming(entity, source, line, fields, references, record_id)


def _named(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {"" if key is None else str(key): value for key, value in row.items()}


def rejected_csv(rejected: Iterable[Rejected]) -> str:
    """Rows that were not taken, as they came, with file, line and reason in front: mended, they can be imported again."""
    found = list(rejected)
    headers = dict.fromkeys(header for one in found for header in one.row)
    out = io.StringIO()
    writer = csv.DictWriter(out, ["source", "line", "entity", "reason", *headers], lineterminator="\n")
    writer.writeheader()
    for one in found:
        writer.writerow({**one.row, "source": one.source, "line": one.line, "entity": one.entity, "reason": one.reason})
    return out.getvalue()


async def written(context: Context, tenant_id: int, entity: str) -> AsyncIterator[str]:
    """Every record of an entity as lines of a CSV file, header first, that `read` takes back as it is."""
    fields = REGISTRY[entity].fields
    yield _line(["id", *fields])
    after = ""
    while True:
        async with context.office.of(tenant_id) as tenant:
            page = await tenant.records(entity, after=after, limit=PAGE)
        if not page:
            return
        for held in page:
            body = msgspec.json.decode(held.fields)
            yield _line([held.id, *(render(field, body[name]) if name in body else "" for name, field in fields.items())])
        after = page[-1].id


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
