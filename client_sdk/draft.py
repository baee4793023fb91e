"""A transaction while the app writes it: changes are checked at once and stored only when the `with` block ends."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from client_sdk.errors import Invalid, NotFound, SdkError
from client_sdk.items import E, Key
from client_sdk.replay import read
from sync.codec import decode_edit, refusal
from sync.merge import Refused
from sync.overlay import overlay
from sync.policies import Op
from sync.protocol import Change, TextEdit
from sync.schema import Body, Entity, EntitySpec

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Change).decode
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
Look = Callable[[Key], tuple[int, Body | None]]
"""The seq of a record's base and the body that the device shows of it."""


class Draft:
    """What `replica.edit(...)` gives. Operations on one record join in one change as long as they touch different fields; a second
    operation on a field starts a further change, so that what is replayed is what was done, step by step.
    """

    def __init__(self, label: str, look: Look, new_id: Callable[[], str], seen: Mapping[Key, int]) -> None:
        self.label = label
        self.n: int | None = None
        """The transaction's number, once it is stored."""
        self._look = look
        self._new_id = new_id
        self._seen = seen
        self._changes: list[Change] = []
        self._open: dict[Key, int] = {}
        self._fields: dict[Key, set[str]] = {}
        self._bodies: dict[Key, Body | None] = {}
        self._bases: dict[Key, int] = {}

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(self._changes)

    def new_id(self) -> str:
        """An id for a record or for an entry of an append-only list."""
        return self._new_id()

    def shown(self, entity: type[E], record_id: str) -> E | None:
        """The record with what this draft has done to it so far; None if there is none."""
        body = self._body((entity.spec.name, record_id))
        return None if body is None else read(entity, _encode(body))[0]

    def create(self, fields: Entity, *, record_id: str | None = None) -> str:
        """A new record; returns its id."""
        spec = fields.spec
        key = (spec.name, record_id or self._new_id())
        if self._body(key) is not None:
            raise Invalid(*key, "", "exists", f"there is already a {spec.name} with this id")
        self._take(spec, Change(*key, base=0, create=True, set=msgspec.Raw(_encode(fields))), spec.fields)
        return key[1]

    def set(self, entity: type[Entity], record_id: str, /, **values: object) -> None:
        """Give fields a value. Of a keyed map, the keys given are set and those given as None removed."""
        self._operate(entity, record_id, Op.SET, values)

    def inc(self, entity: type[Entity], record_id: str, /, **amounts: float) -> None:
        """Add to counters."""
        self._operate(entity, record_id, Op.INC, amounts)

    def add(self, entity: type[Entity], record_id: str, /, **elements: str | Iterable[str]) -> None:
        """Add elements to sets."""
        self._operate(entity, record_id, Op.ADD, {name: _elements(given) for name, given in elements.items()})

    def remove(self, entity: type[Entity], record_id: str, /, **elements: str | Iterable[str]) -> None:
        """Remove elements from sets."""
        self._operate(entity, record_id, Op.REMOVE, {name: _elements(given) for name, given in elements.items()})

    def append(self, entity: type[Entity], record_id: str, /, **entries: msgspec.Struct | Iterable[msgspec.Struct]) -> None:
        """Append entries, each with an `id`, to append-only lists."""
        given = {name: [one] if isinstance(one, msgspec.Struct) else list(one) for name, one in entries.items()}
        self._operate(entity, record_id, Op.APPEND, given)

    def edit_text(self, entity: type[Entity], record_id: str, /, **texts: str) -> None:
        """Replace texts; the server merges them word by word with what others wrote meanwhile."""
        self._operate(entity, record_id, Op.EDIT, texts)

    def delete(self, entity: type[Entity], record_id: str, /) -> None:
        key = self._key(entity, record_id)
        self._take(entity.spec, Change(*key, base=self._base(key), delete=True), entity.spec.fields)

    def _operate(self, entity: type[Entity], record_id: str, op: Op, values: Mapping[str, Any]) -> None:
        spec, key = entity.spec, self._key(entity, record_id)
        if not values:
            return
        body = self._body(key) or {}
        for name in values:
            field = spec.fields.get(name)
            if field is None:
                raise Invalid(*key, name, "unknown_field", f"a {spec.name} has no field {name!r}")
            if op not in field.policy.ops:
                raise Invalid(*key, name, "operation", f"the field is {field.policy.kind}: it does not take {op}")
        self._take(spec, _change(key, self._base(key), op, values, body, spec), values)

    def _take(self, spec: EntitySpec, change: Change, fields: Iterable[str]) -> None:
        """Check a change and let it join the record's last one, or stand after it."""
        if self.n is not None:
            raise SdkError(f"transaction {self.n} is stored: nothing can be added to it")
        key = (change.entity, change.id)
        try:
            edit = decode_edit(spec, change)
            _check_sent(change)
        except Refused as refused:
            raise Invalid(*key, refused.field, refused.rule, refused.detail) from refused
        self._bodies[key] = overlay(spec, self._body(key), edit)
        touched = self._fields.setdefault(key, set())
        if key in self._open and touched.isdisjoint(fields):
            at = self._open[key]
            self._changes[at] = _joined(self._changes[at], change)
            touched |= set(fields)
        else:
            self._open[key] = len(self._changes)
            self._changes.append(change)
            self._fields[key] = set(fields)

    def _key(self, entity: type[Entity], record_id: str) -> Key:
        key = (entity.spec.name, record_id)
        if self._body(key) is None:
            raise NotFound(f"this replica holds no {entity.spec.name} {record_id}")
        return key

    def _body(self, key: Key) -> Body | None:
        if key not in self._bodies:
            self._bases[key], self._bodies[key] = self._look(key)
        return self._bodies[key]

    def _base(self, key: Key) -> int:
        """The version that the author saw: the one the app says it showed, or else the one at the first touch."""
        return self._seen.get(key, self._bases[key])


def _change(key: Key, base: int, op: Op, values: Mapping[str, Any], body: Body, spec: EntitySpec) -> Change:
    match op:
        case Op.INC:
            return Change(*key, base=base, inc=dict(values))
        case Op.EDIT:
            edits = {name: TextEdit(body.get(name, spec.fields[name].default), text) for name, text in values.items()}
            return Change(*key, base=base, edit=edits)
        case Op.SET:
            return Change(*key, base=base, set=msgspec.Raw(_encode(values)))
        case Op.ADD:
            return Change(*key, base=base, add=msgspec.Raw(_encode(values)))
        case Op.REMOVE:
            return Change(*key, base=base, remove=msgspec.Raw(_encode(values)))
        case Op.APPEND:
            return Change(*key, base=base, append=msgspec.Raw(_encode(values)))


def _check_sent(change: Change) -> None:
    """Read the change as its receiver will, so that nothing is stored that does not decode. Raises `Refused`."""
    try:
        _decode(_encode(change))
    except msgspec.DecodeError as error:
        raise refusal(error) from error


def _joined(one: Change, other: Change) -> Change:
    """Both changes of one record, which touch different fields, as one."""
    return msgspec.structs.replace(
        one,
        set=_both(one.set, other.set),
        add=_both(one.add, other.add),
        remove=_both(one.remove, other.remove),
        append=_both(one.append, other.append),
        inc=_either(one.inc, other.inc),
        edit=_either(one.edit, other.edit),
    )


def _both(one: msgspec.Raw | msgspec.UnsetType, other: msgspec.Raw | msgspec.UnsetType) -> msgspec.Raw | msgspec.UnsetType:
    if isinstance(one, msgspec.UnsetType) or isinstance(other, msgspec.UnsetType):
        return other if isinstance(one, msgspec.UnsetType) else one
    return msgspec.Raw(_encode(_members(one) | _members(other)))


def _either(
    one: dict[str, Any] | msgspec.UnsetType, other: dict[str, Any] | msgspec.UnsetType
) -> dict[str, Any] | msgspec.UnsetType:
    if isinstance(one, msgspec.UnsetType) or isinstance(other, msgspec.UnsetType):
        return other if isinstance(one, msgspec.UnsetType) else one
    return one | other


def _elements(given: str | Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)
