"""Between bytes and the merge: changes in, records out, versions packed.

A record is stored as the bytes that travel (`body`), and its field versions as groups of `(seq, stamp, device, side, mask)` in
msgpack, newest first. The newest group says seq 0, meaning the row's own seq, so nothing is rewritten once the commit has its
number.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from sync.merge import EXISTENCE, PENDING, Edit, Mark, Record, Refused, Version
from sync.policies import Op, Side
from sync.protocol import Change, Transaction
from sync.schema import REGISTRY, EntitySpec

_encoder: Final = msgspec.json.Encoder()
_objects: Final = msgspec.json.Decoder(dict[str, Any])
_transactions: Final = msgspec.json.Decoder(Transaction)
encode_body: Final[Callable[[Any], bytes]] = _encoder.encode
decode_body: Final[Callable[[bytes], dict[str, Any]]] = _objects.decode

_BITS: Final = tuple(1 << index for index in range(64))

_UNKNOWN: Final = re.compile(r"^Object contains unknown field `(?P<field>.*?)`(?: - at `\$(?P<at>.*)`)?$", re.DOTALL)
_MISSING: Final = re.compile(r"^Object missing required field `(?P<field>.*?)`(?: - at `\$(?P<at>.*)`)?$", re.DOTALL)
_PLACED: Final = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$(?P<at>.*)`)?$", re.DOTALL)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading bytes from elsewhere may raise."""
MAX_DEPTH: Final = 32
"""How deep the values of a map of free JSON may be nested."""
_BOUNDS: Final = ("of length", "matching regex", ">=", "<=", "multiple of", "enum value")


def refusal(error: Exception, prefix: str = "") -> Refused:
    """What a decoding error says, as the field at which it says it, the rule that is broken, and words."""
    message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    if not isinstance(error, msgspec.ValidationError):
        return Refused("json", message, prefix)
    for pattern, rule in ((_UNKNOWN, "unknown_field"), (_MISSING, "required")):
        if found := pattern.match(message):
            return Refused(rule, message.split(" - at", maxsplit=1)[0], _join(prefix, found["at"] or "", found["field"]))
    found = _PLACED.match(message)
    what, at = (found["what"], found["at"] or "") if found else (message, "")
    rule = "bounds" if any(word in what for word in _BOUNDS) else "type"
    return Refused(rule, what, _join(prefix, at))


def _join(*parts: str) -> str:
    return ".".join(part.lstrip(".") for part in parts if part.lstrip("."))


def decode_transaction(raw: bytes) -> Transaction:
    """Raises `Refused` naming the member that does not fit."""
    try:
        return _transactions.decode(raw)
    except _UNREADABLE as error:
        raise refusal(error) from error


def spec_of(change: Change) -> EntitySpec:
    spec = REGISTRY.get(change.entity)
    if spec is None:
        raise Refused("unknown_entity", f"there is no entity {change.entity!r}", "entity")
    return spec


def decode_edit(spec: EntitySpec, change: Change) -> Edit:
    """The change with its values checked against the declaration. Raises `Refused`."""
    if change.delete and (change.create or any(getattr(change, op) is not msgspec.UNSET for op in Op)):
        raise Refused("operation", "a change that deletes a record does nothing else to it", "delete")
    values = _whole(spec, change.set) if change.create else _values(spec, change.set)
    if change.inc is change.add is change.remove is change.append is change.edit is msgspec.UNSET:
        return Edit(change.id, change.base, change.create, values, delete=change.delete)
    edit = Edit(
        id=change.id,
        base=change.base,
        create=change.create,
        set=values,
        inc=_amounts(spec, change.inc),
        add=_lists(spec, change.add, str),
        remove=_lists(spec, change.remove, str),
        append=_lists(spec, change.append, dict),
        edit={} if isinstance(change.edit, msgspec.UnsetType) else {k: (e.base, e.text) for k, e in change.edit.items()},
        delete=change.delete,
    )
    for name, (_, text) in edit.edit.items():
        _values(spec, msgspec.Raw(encode_body({name: text})))
    return edit


def _whole(spec: EntitySpec, raw: msgspec.Raw | msgspec.UnsetType) -> dict[str, Any]:
    return _checked(spec.decoder, msgspec.Raw(b"{}") if isinstance(raw, msgspec.UnsetType) else raw)


def _values(spec: EntitySpec, raw: msgspec.Raw | msgspec.UnsetType) -> dict[str, Any]:
    return {} if isinstance(raw, msgspec.UnsetType) else _checked(spec.patch, raw)


def _checked(decoder: msgspec.json.Decoder[Any], raw: msgspec.Raw) -> dict[str, Any]:
    """Decoded twice, both times in C: once against the types, once as plain JSON values, which is what the merge works on."""
    try:
        decoder.decode(raw)
        values = _objects.decode(raw)
    except _UNREADABLE as error:
        raise refusal(error) from error
    said = bytes(raw)
    if said.count(b"[") + said.count(b"{") > MAX_DEPTH:  # else it cannot be so deep
        for name, value in values.items():
            if _deeper(value, MAX_DEPTH):
                raise Refused("bounds", f"nested more than {MAX_DEPTH} deep", name)
    return values


def _deeper(value: Any, depth: int) -> bool:
    """Whether lists and maps in a value are nested more than `depth` deep."""
    if not isinstance(value, (dict, list)):
        return False
    return depth == 0 or any(_deeper(item, depth - 1) for item in (value.values() if isinstance(value, dict) else value))


def _lists(spec: EntitySpec, raw: msgspec.Raw | msgspec.UnsetType, of: type) -> dict[str, list[Any]]:
    """Elements or entries by field."""
    values = _values(spec, raw)
    for name, items in values.items():
        if not isinstance(items, list) or not all(isinstance(item, of) for item in items):
            raise Refused("type", f"{name} is no list of {'strings' if of is str else 'entries'}", name)
    return values


def _amounts(spec: EntitySpec, inc: Mapping[str, int | float] | msgspec.UnsetType) -> Mapping[str, int | float]:
    if isinstance(inc, msgspec.UnsetType):
        return {}
    for name, amount in inc.items():
        field = spec.fields.get(name)
        if field is None:
            raise Refused("unknown_field", f"Object contains unknown field `{name}`", name)
        if field.column == "bigint" and not isinstance(amount, int):
            raise Refused("type", f"Expected `int`, got `{type(amount).__name__}`", name)
    return inc


def encode_versions(record: Record) -> bytes:
    """The record's versions, packed; those of the commit under way are the row's own."""
    versions = record.versions
    if not record.adds and len(set(map(id, versions.values()))) == 1:
        return _as_made(next(iter(versions.values())), tuple(versions))
    masks = _masks(versions)
    groups = [
        (0 if v.seq == PENDING else v.seq, v.stamp, v.device, int(v.side), mask)
        for v, mask in sorted(masks.items(), key=lambda item: -item[0].seq)
    ]
    if not record.adds:
        return msgspec.msgpack.encode((groups,))
    adds = {
        index: {name: (0 if seq == PENDING else seq, who) for name, (seq, who) in marks.items()}
        for index, marks in record.adds.items()
    }
    return msgspec.msgpack.encode((groups, adds))


@lru_cache(maxsize=256)
def _as_made(version: Version, indexes: tuple[int, ...]) -> bytes:
    """The versions of a record as it was made, with these fields: the same for all of one transaction."""
    mask = sum(map(_BITS.__getitem__, indexes))
    seq = 0 if version.seq == PENDING else version.seq
    return msgspec.msgpack.encode((((seq, version.stamp, version.device, int(version.side), mask),),))


def _masks(versions: Mapping[int, Version]) -> dict[Version, int]:
    """The fields of each version, as bits."""
    masks: dict[Version, int] = {}
    for index, version in versions.items():
        masks[version] = masks.get(version, 0) | 1 << index
    return masks


class _Packed(msgspec.Struct, array_like=True):
    groups: list[tuple[int, int, int, int, int]]
    adds: dict[int, dict[str, Mark]] = {}


_packed: Final = msgspec.msgpack.Decoder(_Packed)


def decode_versions(packed: bytes, row_seq: int) -> tuple[dict[int, Version], dict[int, dict[str, Mark]]]:
    """The field versions by field index, and the marks of set elements and map keys (see `Record`)."""
    read = _packed.decode(packed)
    versions: dict[int, Version] = {}
    for seq, stamp, device, side, mask in read.groups:
        version = Version(seq or row_seq, stamp, device, Side(side))
        index = 0
        while mask >> index:
            if mask >> index & 1:
                versions[index] = version
            index += 1
    adds = {index: {name: (seq or row_seq, who) for name, (seq, who) in marks.items()} for index, marks in read.adds.items()}
    return versions, adds


def newer_than(packed: bytes, row_seq: int, seq: int) -> int:
    """The mask of the fields that changed after `seq`."""
    mask = 0
    for group_seq, _, _, _, fields in _packed.decode(packed).groups:
        if (group_seq or row_seq) > seq:
            mask |= fields
    return mask


def pick(spec: EntitySpec, body: Mapping[str, Any], mask: int) -> dict[str, Any]:
    """The fields of `mask` as a delta says them: a field at its default is said, not left out."""
    return {name: body.get(name, field.default) for name, field in spec.fields.items() if mask & field.mask}


def whole_needed(mask: int) -> bool:
    """Whether a device cannot use a delta because the record came into being, or came back, since it last looked."""
    return bool(mask & 1 << EXISTENCE)
