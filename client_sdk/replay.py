"""What the device shows of a record: its base body with the device's own pending edits on top, in their order. Pure."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from client_sdk.errors import Unreadable
from client_sdk.items import E, Key
from sync.codec import decode_body, decode_edit, decode_transaction
from sync.merge import Edit, Refused
from sync.overlay import overlay
from sync.protocol import Transaction
from sync.schema import Body, EntitySpec


def replay(spec: EntitySpec, body: Body | None, edits: Iterable[Edit]) -> Body | None:
    """None if there is nothing to show. An edit of a record that is not there shows nothing: half a record would be a lie."""
    for edit in edits:
        if body is not None or edit.create:
            body = overlay(spec, body, edit)
    return body


def keys_of(transaction: Transaction) -> tuple[Key, ...]:
    """The records that a transaction touches, each once, in order."""
    return tuple(dict.fromkeys((change.entity, change.id) for change in transaction.changes))


def edits_of(raw: bytes, registry: Mapping[str, EntitySpec]) -> dict[Key, list[Edit]]:
    """The edits of an outbox entry by record.

    What another version of the app wrote and this one cannot read is left out of the view; it is sent all the same, and the
    server has the last word.
    """
    edits: dict[Key, list[Edit]] = {}
    for key, edit in _readable(raw, registry):
        edits.setdefault(key, []).append(edit)
    return edits


def _readable(raw: bytes, registry: Mapping[str, EntitySpec]) -> Iterator[tuple[Key, Edit]]:
    for change in decode_transaction(raw).changes:
        spec = registry.get(change.entity)
        if spec is None:
            continue
        try:
            edit = decode_edit(spec, change)
        except Refused:
            continue
        if spec.fields.keys() >= edit.inc.keys():
            yield (change.entity, change.id), edit


def read(cls: type[E], raw: bytes) -> tuple[E, tuple[str, ...]]:
    """The fields of a body as the declaration types them, and the names of those whose value it does not know.

    A newer server may send fields or values that this version never heard of; the first are left out, of the second the default
    is shown. Raises `Unreadable` if such a field has no default.
    """
    try:
        return cls.spec.decoder.decode(raw), ()
    except msgspec.ValidationError:
        body = decode_body(raw)
    unread = tuple(name for name, field in cls.spec.fields.items() if name in body and not _fits(body[name], field.type))
    known = {name: value for name, value in body.items() if name in cls.spec.fields and name not in unread}
    try:
        return msgspec.convert(known, cls), unread
    except msgspec.ValidationError as error:
        raise Unreadable(f"{cls.spec.name}: this version of the app cannot read {', '.join(unread) or error}") from error


def _fits(value: object, declared: object) -> bool:
    try:
        msgspec.convert(value, declared)
    except msgspec.ValidationError:
        return False
    return True
