"""Between the text of a CSV cell and the value of a field."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from sync.schema import EntitySpec, FieldSpec

SEPARATOR: Final = ";"
"""Between the elements of a set in one cell."""
_TRUE: Final = frozenset({"true", "yes", "1", "y", "x"})
_FALSE: Final = frozenset({"false", "no", "0", "n"})


class BadCell(ValueError):
    """A cell that says nothing its field could hold; its words say why."""


def parse(field: FieldSpec, text: str) -> Any:
    """The value that a cell stands for; an empty cell says nothing and must not get here. Raises BadCell."""
    match field.column:
        case "text":
            value: Any = text
        case "text[]":
            value = sorted({part.strip() for part in text.split(SEPARATOR)} - {""})
        case "boolean":
            value = _boolean(text)
        case "bigint":
            value = _cents(text) if field.name.endswith("_cents") else _integer(text)
        case "double precision":
            value = _number(text)
        case _:
            value = _json(text)
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        raise BadCell(str(error)) from error
    return value


def render(field: FieldSpec, value: Any) -> str:
    """The cell for a value, which `parse` reads back; nothing for null."""
    if value is None:
        return ""
    match field.column:
        case "text[]":
            return SEPARATOR.join(value)
        case "boolean":
            return "true" if value else "false"
        case "bigint" if field.name.endswith("_cents"):
            return f"{Decimal(value).scaleb(-2):f}"
        case "jsonb":
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)


def day_ms(text: str) -> int:
    """A day or a moment in ISO 8601 as milliseconds since 1970; without a zone it is UTC. Raises BadCell."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadCell(f"{text!r} is no date such as 2026-11-30") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _boolean(text: str) -> bool:
    if text.casefold() in _TRUE | _FALSE:
        return text.casefold() in _TRUE
    raise BadCell(f"{text!r} is neither yes nor no")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return day_ms(text)


def _cents(text: str) -> int:
    cents = _decimal(text).scaleb(2)
    if cents != cents.to_integral_value():
        raise BadCell(f"{text!r} has more than two places")
    return int(cents)


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text.replace(",", "")) if "." in text else Decimal(text)
    except InvalidOperation as error:
        raise BadCell(f"{text!r} is no number") from error
    if not value.is_finite():
        raise BadCell(f"{text!r} is no number")
    return value


def _number(text: str) -> float:
    return float(_decimal(text))


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise BadCell(f"not JSON: {error}") from error


def columns_of(spec: EntitySpec, headers: list[str], mapping: Mapping[str, str]) -> dict[str, FieldSpec | None]:
    """By header, the field that the column fills; None for the column of ids.

    `mapping` names a field for a header; "" leaves a column out. Any other header is a field's name, however it is written.
    Raises BadCell naming the first header that fits nothing.
    """
    found: dict[str, FieldSpec | None] = {}
    for header in headers:
        name = mapping.get(header, header.strip().casefold().replace(" ", "_"))
        if name == "id":
            found[header] = None
        elif name in spec.fields:
            found[header] = spec.fields[name]
        elif name:
            raise BadCell(f"the column {header!r} fits no field of {spec.name}; map it, or leave it out with --map '{header}='")
    return found
