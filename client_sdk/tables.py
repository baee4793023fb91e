"""The device table of each entity, derived from its declaration: one column per field, so that the app filters and sorts by SQL.

An app reads the SQL view `view_…` of an entity. Beneath it stands the table `rows_…`: a column for each field of a simple type, and
the whole body, with fields that this version does not know, where pending edits make it another than the base record's. Of all
other records the view takes the body, and what is kept as JSON, from the base record, so that it is in the file once. The tables
hold nothing of their own: when the declarations change, they are dropped and filled again from base records and outbox.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

import msgspec

from client_sdk.query import Comparison, Condition, Either, Order, Test
from sync.codec import decode_body
from sync.schema import Column, Entity, EntitySpec, FieldSpec

LAYOUT: Final = 3
PREFIX: Final = "view_"
ROWS: Final = "rows_"
_TYPES: Final[dict[Column, str]] = {
    "text": "TEXT",
    "bigint": "INTEGER",
    "double precision": "REAL",
    "boolean": "INTEGER",
    "text[]": "TEXT",
    "jsonb": "TEXT",
}
_JSON: Final = frozenset({"text[]", "jsonb"})
_Simple: TypeAlias = str | int | float | bool | None

Value: TypeAlias = str | int | float | bytes | None
Statement: TypeAlias = tuple[str, Sequence[Value]]


class EntityTable(msgspec.Struct, frozen=True):
    """The SQL of one entity's table and view. `fields` are name, whether it is kept as JSON, and the default as a JSON value.
    `columns` has name and default of each column, `scope_at` says which of them tells the scope; `reader` gets their values out of
    a body's bytes."""

    create: tuple[str, ...]
    upsert: str
    delete: str
    fields: tuple[tuple[str, bool, Any], ...]
    columns: tuple[tuple[str, _Simple], ...]
    reader: msgspec.json.Decoder[Any]
    spec: EntitySpec
    scope_at: int | None

    def row(self, record_id: str, seq: int, raw: bytes, *, pending: bool) -> tuple[Value, ...]:
        """The row of a record whose body is `raw`."""
        return (record_id, seq, pending, raw if pending else None, *self.values(raw))

    def values(self, raw: bytes | msgspec.Raw) -> tuple[Value, ...]:
        """What a body says for each column; its default where it says nothing. Raises `DecodeError` unless it is an object."""
        try:
            return msgspec.structs.astuple(self.reader.decode(raw))
        except msgspec.ValidationError:  # a newer server may send what this version's column does not take
            body = decode_body(bytes(raw))
            return tuple(_plain(body.get(name, default), as_json=False) for name, default in self.columns)

    def scope(self, record_id: str, values: Sequence[Value]) -> str:
        """The scope of a record of which `values` are the columns. Raises `KeyError` if it leaves out what says that."""
        if self.scope_at is None:
            return self.spec.scope_of(record_id, {})
        name, value = self.columns[self.scope_at][0], values[self.scope_at]
        return self.spec.scope_of(record_id, {name: value} if value is not None else {})


def table_of(spec: EntitySpec) -> EntityTable:
    return _table(spec.cls)


@cache
def _table(cls: type[Entity]) -> EntityTable:
    spec = cls.spec
    rows, view = f'"{ROWS}{spec.name}"', f'"{PREFIX}{spec.name}"'
    simple = [field for field in spec.fields.values() if field.column not in _JSON]
    columns = [f'"{field.name}"' for field in simple]
    declared = [f'"{field.name}" {_TYPES[field.column]}' for field in simple]
    fixed = ["_id TEXT PRIMARY KEY NOT NULL", "_seq INTEGER NOT NULL", "_pending INTEGER NOT NULL", "_body BLOB"]
    names = ", ".join(["_id", "_seq", "_pending", "_body", *columns])
    marks = ", ".join("?" * (len(columns) + len(fixed)))
    indices = (
        f'CREATE INDEX "{ROWS}{spec.name}_{field.name}" ON {rows} ("{field.name}")'
        for field in spec.fields.values()
        if field.refers
    )
    shown = [_shown(field) for field in spec.fields.values()]
    return EntityTable(
        create=(
            f"CREATE TABLE {rows} ({', '.join(fixed + declared)})",
            *indices,
            " ".join(
                (
                    f"CREATE VIEW {view} AS SELECT r._id, r._seq, r._pending, {_BODY} AS _body, {', '.join(shown)}",
                    f"FROM {rows} AS r LEFT JOIN base AS b ON b.entity = '{spec.name}' AND b.id = r._id",
                )
            ),
        ),
        upsert=" ".join(("INSERT OR REPLACE INTO", rows, f"({names}) VALUES ({marks})")),
        delete=f"DELETE FROM {rows} WHERE _id = ?",  # noqa: S608  # the name of a declared entity
        fields=tuple((f.name, f.column in _JSON, msgspec.to_builtins(f.default)) for f in spec.fields.values()),
        columns=tuple((field.name, _default(field)) for field in simple),
        reader=msgspec.json.Decoder(
            msgspec.defstruct(f"{cls.__name__}Row", [(field.name, _Simple, _default(field)) for field in simple], gc=False)
        ),
        spec=spec,
        scope_at=next((at for at, field in enumerate(simple) if field.name == spec.scope.field), None),
    )


_BODY: Final = "coalesce(r._body, b.body)"


def _shown(field: FieldSpec) -> str:
    """A field's column in the view."""
    if field.column not in _JSON:
        return f'r."{field.name}"'
    default = msgspec.json.encode(field.default).decode().replace("'", "''")
    value = f"""json_quote(json_extract(CAST({_BODY} AS TEXT), '$."{field.name}"'))"""
    return f"""coalesce(nullif({value}, 'null'), nullif('{default}', 'null')) AS "{field.name}\""""


def _default(field: FieldSpec) -> _Simple:
    default = _plain(msgspec.to_builtins(field.default), as_json=False)
    return None if isinstance(default, bytes) else default


def layout(registry: Mapping[str, EntitySpec]) -> str:
    """What the tables are made from; when it differs from the file's, they are filled again."""
    declared = [(spec.name, table_of(spec).create, table_of(spec).fields) for spec in registry.values()]
    return hashlib.sha256(msgspec.json.encode((LAYOUT, declared))).hexdigest()


def select(spec: EntitySpec, where: Iterable[Condition], order_by: Iterable[Order], limit: int | None) -> Statement:
    """Rows of `(_id, _seq, _pending, _body)`; ties are broken by id, so that the order is always the same."""
    values: list[Value] = []
    conditions = [_condition(spec, condition, values) for condition in where]
    orders = [f'"{_known(spec, o.entity, o.field)}" {"DESC" if o.descending else "ASC"}' for o in order_by]
    parts = ["SELECT _id, _seq, _pending, _body FROM", f'"{PREFIX}{spec.name}"']
    if conditions:
        parts += ["WHERE", " AND ".join(conditions)]
    parts += ["ORDER BY", ", ".join([*orders, "_id"])]
    if limit is not None:
        parts.append("LIMIT ?")
        values.append(limit)
    return " ".join(parts), values


def one(spec: EntitySpec, record_id: str) -> Statement:
    """The row of one record, as `select` gives it."""
    return " ".join(("SELECT _id, _seq, _pending, _body FROM", f'"{PREFIX}{spec.name}"', "WHERE _id = ?")), (record_id,)


def _condition(spec: EntitySpec, condition: Condition, values: list[Value]) -> str:
    tests = condition.tests if isinstance(condition, Either) else (condition,)
    return "(" + " OR ".join(_test(spec, test, values) for test in tests) + ")"


def _test(spec: EntitySpec, test: Test, values: list[Value]) -> str:
    name = f'"{_known(spec, test.entity, test.field)}"'
    as_json = spec.fields[test.field].column in _JSON
    value = msgspec.to_builtins(test.value)
    match test.comparison:
        case Comparison.ONE_OF:
            values += [_plain(one, as_json=as_json) for one in value]
            return f"{name} IN ({', '.join('?' * len(value))})"
        case Comparison.HAS:
            values.append(value)
            return " ".join(("EXISTS (SELECT 1 FROM", f"json_each({name})", "AS e WHERE e.value = ?)"))
        case comparison:
            values.append(_plain(value, as_json=as_json))
            return f"{name} {comparison.value}"


def _known(spec: EntitySpec, entity: type, field: str) -> str:
    if entity is not spec.cls:
        raise TypeError(f"a query of {spec.cls.__name__} cannot look at {entity.__name__}.{field}")
    return field


def _plain(value: Any, *, as_json: bool) -> Value:
    if value is None or (not as_json and isinstance(value, (str, int, float))):
        return value
    return msgspec.json.encode(value).decode()
