"""What a caller of the REST API wants a record to look like, as the operations that its fields' policies take. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sync.merge import Refused
from sync.policies import Kind, Op
from sync.protocol import Change, TextEdit
from sync.schema import EntitySpec, FieldSpec, canonical

_OPERATIONS: Final = (Op.ADD, Op.REMOVE, Op.APPEND, Op.INC, Op.EDIT)


class Standing(msgspec.Struct, frozen=True):
    """A record as it stands: its fields as they travel, and its seq. A deleted one still has both."""

    id: str
    seq: int
    deleted: bool
    fields: Mapping[str, Any]


def wanted(spec: EntitySpec, record_id: str, standing: Standing | None, fields: Mapping[str, Any]) -> Change | None:
    """The change that makes a record have these fields; None if it has them already. Fields not named stay.

    A list is what a set shall be, or entries that a list of facts shall have; a number is what a counter shall show; a text is
    merged on the one that stands. Values are not checked here: the door does that. Raises `Refused` for a fact that would change.
    """
    if standing is None or standing.deleted:
        return Change(spec.name, record_id, base=standing.seq if standing else 0, create=True, set=_raw(fields))
    found: dict[Op, dict[str, Any]] = {op: {} for op in (Op.SET, *_OPERATIONS)}
    for name, value in fields.items():
        field = spec.fields.get(name)
        current = standing.fields.get(name, field.default) if field else None
        if field is None or not _fits(field, value):
            found[Op.SET][name] = value  # the door says what is wrong with it
        elif not _shows(field, current, value):
            for op, part in _operations(field, current, value).items():
                found[op][name] = part
    if not any(found.values()):
        return None
    return Change(
        spec.name,
        record_id,
        base=standing.seq,
        set=_given(found[Op.SET]),
        inc=found[Op.INC] or msgspec.UNSET,
        add=_given(found[Op.ADD]),
        remove=_given(found[Op.REMOVE]),
        append=_given(found[Op.APPEND]),
        edit=found[Op.EDIT] or msgspec.UNSET,
    )


def _given(values: Mapping[str, Any]) -> msgspec.Raw | msgspec.UnsetType:
    return _raw(values) if values else msgspec.UNSET


def _raw(values: Mapping[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(values))


def _fits(field: FieldSpec, value: Any) -> bool:
    """Whether the value is of the field's type, so that it can be compared with the one that stands."""
    if field.policy.kind is Kind.KEYED:
        return isinstance(value, dict)
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError:
        return False
    return True


def _shows(field: FieldSpec, current: Any, value: Any) -> bool:
    """Whether the field already has the value: the same bytes on the wire."""
    if field.policy.kind is Kind.KEYED:
        return all(_same(current.get(key), part) for key, part in value.items())
    return _same(canonical(field, current), canonical(field, value))


def _same(one: Any, other: Any) -> bool:
    return msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")


def _operations(field: FieldSpec, current: Any, value: Any) -> Mapping[Op, Any]:
    ops, kind = field.policy.ops, field.policy.kind
    if kind is Kind.APPEND_ONLY and Op.APPEND in ops:
        return _entries(field, current, value)
    if kind is Kind.APPEND_ONLY and not _same(current, field.default):
        raise Refused("append_only", f"{field.name} is a fact: it was said once and stands", field.name)
    if Op.SET in ops or not ops:
        return {Op.SET: value}
    if Op.ADD in ops:
        before, after = set(current), set(value)
        return {op: sorted(part) for op, part in ((Op.ADD, after - before), (Op.REMOVE, before - after)) if part}
    if Op.INC in ops:
        return {Op.INC: value - (current or 0)}
    return {Op.EDIT: TextEdit(current or "", value)}


def _entries(field: FieldSpec, current: Any, value: Any) -> Mapping[Op, Any]:
    """The entries that are not there yet. One that is there is a fact, and leaving it out does not take it away."""
    known = {entry["id"]: entry for entry in current}
    for entry in value:
        if entry["id"] in known and not _same(known[entry["id"]], entry):
            raise Refused("append_only", f"the entry {entry['id']} of {field.name} is a fact: it does not change", field.name)
    fresh = [entry for entry in value if entry["id"] not in known]
    return {Op.APPEND: fresh} if fresh else {}
