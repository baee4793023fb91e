"""What a device shows: its base records with its own pending changes replayed on top. No merge, so a port is half a page.

The same few lines run in every client: `set` replaces (it merges the keys of a map, only raises a highest and lowers a lowest),
`inc` adds, `add` and `remove` work on a set, `append` adds entries by id in the order of their time, `edit` replaces a text. As
long as nobody else writes, the server makes the same of it.
"""

from collections.abc import Mapping
from typing import Any

from sync.merge import Edit
from sync.policies import Kind, surpasses
from sync.schema import EntitySpec, FieldSpec, canonical, entry_order


def overlay(spec: EntitySpec, body: Mapping[str, Any] | None, edit: Edit) -> dict[str, Any] | None:
    """The record's fields after a pending edit; None if the edit deletes it. `body` is None when the edit creates the record."""
    if edit.delete:
        return None
    after = dict(body or {})

    def now(name: str) -> Any:
        return after.get(name, spec.fields[name].default)

    for name, value in edit.set.items():
        field = spec.fields[name]
        after[name] = canonical(field, value) if body is None else _set(field, now(name), value)
    for name, amount in edit.inc.items():
        after[name] = (now(name) or 0) + amount
    for name, elements in edit.add.items():
        after[name] = sorted({*now(name), *elements})
    for name, elements in edit.remove.items():
        after[name] = [element for element in now(name) if element not in elements]
    for name, entries in edit.append.items():
        known = {entry["id"]: entry for entry in (*reversed(entries), *now(name))}
        after[name] = sorted(known.values(), key=entry_order)
    for name, (_, text) in edit.edit.items():
        after[name] = text
    return after


def _set(field: FieldSpec, current: Any, value: Any) -> Any:
    match field.policy.kind:
        case Kind.KEYED:
            return canonical(field, {**current, **value})
        case Kind.HIGHEST | Kind.LOWEST:
            return value if surpasses(field.policy.kind, current, value) else current
        case _:
            return canonical(field, value)
