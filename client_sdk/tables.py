"""The device table of each entity, derived from its declaration: one column per field, so that the app filters and sorts by SQL.

A row also keeps the whole body as it stands, with fields that this version does not know. The tables hold nothing of their own:
when the declarations change, they are dropped and filled again from base records and outbox.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

import msgspec

from client_sdk.query import Comparison, Condition, Either, Order, Test
from sync.schema import Body, Column, Entity, EntitySpec

LAYOUT: Final = 2
PREFIX: Final = "view_"
_TYPES: Final[dict[Column, str]] = {
    "text": "TEXT",
    "bigint": "INTEGER",
    "double precision": "REAL",
    "boolean": "INTEGER",
    "text[]": "TEXT",
    "jsonb": "TEXT",
}
_SIMPLE: Final = frozenset({str, int, float, bool, type(None)})
_JSON: Final = frozenset({"text[]", "jsonb"})

Value: TypeAlias = str | int | float | bytes | None
Statement: TypeAlias = tuple[str, Sequence[Value]]


class EntityTable(msgspec.Struct, frozen=True):
    """The SQL of one entity's table. `fields` are name, whether it is kept as JSON, and the default as a JSON value; `absent` has
    name and value of each column for a body that leaves the field out, `json` where columns are kept as JSON."""

    create: tuple[str, ...]
    upsert: str
    delete: str
    fields: tuple[tuple[str, bool, Any], ...]
    absent: tuple[tuple[str, Value], ...]
    json: tuple[tuple[int, str], ...]

    def row(self, record_id: str, seq: int, raw: bytes, body: Body, *, pending: bool) -> tuple[Value, ...]:
        values = [body.get(name, value) for name, value in self.absent]
        for at, name in self.json:
            if name in body:
                values[at] = _plain(body[name], as_json=True)
        if not _SIMPLE.issuperset(map(type, values)):  # a newer server may send what this version's column does not take
            values = [value if type(value) in _SIMPLE else _plain(value, as_json=False) for value in values]
        return (record_id, seq, pending, raw, *values)


def table_of(spec: EntitySpec) -> EntityTable:
    return _table(spec.cls)


@cache
def _table(cls: type[Entity]) -> EntityTable:
    spec = cls.spec
    name = f'"{PREFIX}{spec.name}"'
    columns = [f'"{field.name}"' for field in spec.fields.values()]
    declared = [f'"{field.name}" {_TYPES[field.column]}' for field in spec.fields.values()]
    fixed = ["_id TEXT PRIMARY KEY", "_seq INTEGER NOT NULL", "_pending INTEGER NOT NULL", "_body BLOB NOT NULL"]
    marks = ", ".join("?" * (len(columns) + len(fixed)))
    indices = (
        f'CREATE INDEX "{PREFIX}{spec.name}_{field.name}" ON {name} ("{field.name}")'
        for field in spec.fields.values()
        if field.refers
    )
    return EntityTable(
        create=(f"CREATE TABLE {name} ({', '.join(fixed + declared)}) WITHOUT ROWID", *indices),
        upsert=" ".join(("INSERT OR REPLACE INTO", name, f"(_id, _seq, _pending, _body, {', '.join(columns)}) VALUES ({marks})")),
        delete=f"DELETE FROM {name} WHERE _id = ?",  # noqa: S608  # the name of a declared entity
        fields=tuple((f.name, f.column in _JSON, msgspec.to_builtins(f.default)) for f in spec.fields.values()),
        absent=tuple((f.name, _plain(msgspec.to_builtins(f.default), as_json=f.column in _JSON)) for f in spec.fields.values()),
        json=tuple((at, f.name) for at, f in enumerate(spec.fields.values()) if f.column in _JSON),
    )


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
