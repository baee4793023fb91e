"""What a device shows: its base records with its own pending changes replayed on top. No merge, so a port is half a page.

The same few lines run in every client: `set` replaces (and merges the keys of a map), `inc` adds, `add` and `remove` work on a set,
`append` adds entries by id, `edit` replaces a text.
"""

from collections.abc import Mapping
from typing import Any

from sync.merge import Edit
from sync.policies import Kind
from sync.schema import EntitySpec


def overlay(spec: EntitySpec, body: Mapping[str, Any] | None, edit: Edit) -> dict[str, Any] | None:
    """The record's fields after a pending edit; None if the edit deletes it. `body` is None when the edit creates the record."""
    if edit.delete:
        return None
    after = dict(body or {})
    for name, value in edit.set.items():
        if spec.fields[name].policy.kind is Kind.KEYED:
            merged = {**after.get(name, {}), **value}
            after[name] = {key: item for key, item in merged.items() if item is not None}
        else:
            after[name] = value
    for name, amount in edit.inc.items():
        after[name] = (after.get(name, spec.fields[name].default) or 0) + amount
    for name, elements in edit.add.items():
        after[name] = sorted({*after.get(name, ()), *elements})
    for name, elements in edit.remove.items():
        after[name] = sorted(set(after.get(name, ())) - set(elements))
    for name, entries in edit.append.items():
        known = {entry["id"] for entry in after.get(name, ())}
        after[name] = [*after.get(name, ()), *(entry for entry in entries if entry["id"] not in known)]
    for name, (_, text) in edit.edit.items():
        after[name] = text
    return after
