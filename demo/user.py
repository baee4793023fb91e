"""A user at a device: whatever they do is noted in the journal first, then done through the SDK, then noted as done."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import msgspec

from client_sdk import Draft, Replica
from client_sdk.items import E
from demo.journal import Journal, Op, Verb
from sync.schema import REGISTRY, Entity

Tell = Callable[[str], None]


class Doing:
    """One transaction in the making. Nothing reaches the SDK before the journal has it."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self.ops: list[Op] = []

    def create(self, fields: Entity, *, record_id: str | None = None) -> str:
        made = record_id or self._replica.new_id()
        self.ops.append(Op("create", fields.spec.name, made, msgspec.to_builtins(fields)))
        return made

    def shown(self, entity: type[E], record_id: str) -> E | None:
        """A record as the user sees it before this transaction."""
        item = self._replica.get(entity, record_id)
        return None if item is None else item.fields

    def set(self, entity: type[Entity], record_id: str, /, **values: Any) -> None:
        self._op("set", entity, record_id, values)

    def append(self, entity: type[Entity], record_id: str, **entries: msgspec.Struct) -> None:
        self._op("append", entity, record_id, entries)

    def text(self, entity: type[Entity], record_id: str, **texts: str) -> None:
        self._op("text", entity, record_id, texts)

    def seen(self, entity: type[Entity], record_id: str, field: str) -> Any:
        """What the user sees in a field."""
        item = self._replica.get(entity, record_id)
        return None if item is None else msgspec.to_builtins(getattr(item.fields, field))

    def _op(self, verb: Verb, entity: type[Entity], record_id: str, values: dict[str, Any]) -> None:
        before = {name: self.seen(entity, record_id, name) for name in values} if verb != "append" else {}
        self.ops.append(Op(verb, entity.spec.name, record_id, msgspec.to_builtins(values), before))


class User:
    """What technicians and reps have in common: a replica, a journal, a character (`random`) and somebody to tell."""

    def __init__(self, replica: Replica, journal: Journal, random: Random, tell: Tell) -> None:
        self.replica, self.journal, self.random, self.tell = replica, journal, random, tell

    @property
    def me(self) -> str:
        identity = self.replica.identity()
        assert identity is not None, "a device is enrolled before its user does anything"
        return identity.user

    @contextmanager
    def doing(self, label: str) -> Iterator[Doing]:
        """A transaction: journal, SDK, journal."""
        doing = Doing(self.replica)
        yield doing
        self.do(label, tuple(doing.ops))

    def do(self, label: str, ops: tuple[Op, ...]) -> None:
        """Do as the ops say. What the user saw is read from the replica where an op does not tell."""
        whole = tuple(self._seen(op) for op in ops)
        k = self.journal.deed(time.time_ns() // 1_000_000, label, whole)
        with self.replica.edit(label) as tx:
            for op in whole:
                perform(tx, op)
        assert tx.n is not None, "an edit with operations is stored under a number"
        self.journal.done(k, tx.n)

    def _seen(self, op: Op) -> Op:
        if op.verb not in ("set", "text") or op.before:
            return op
        doing = Doing(self.replica)
        before = {name: doing.seen(REGISTRY[op.entity].cls, op.id, name) for name in op.fields}
        return msgspec.structs.replace(op, before=before)


def perform(tx: Draft, op: Op) -> None:
    """Hand one noted operation to the SDK."""
    spec = REGISTRY[op.entity]
    match op.verb:
        case "create":
            tx.create(msgspec.convert(op.fields, spec.cls), record_id=op.id)
        case "set":
            tx.set(spec.cls, op.id, **op.fields)
        case "append":
            for name, entry in op.fields.items():
                tx.append(spec.cls, op.id, **{name: entry_of(spec.fields[name].type, entry)})
        case "text":
            tx.edit_text(spec.cls, op.id, **op.fields)
        case "delete":
            tx.delete(spec.cls, op.id)


def entry_of(kind: Any, entry: dict[str, Any]) -> msgspec.Struct:
    """An entry of an append-only list in its declared type."""
    converted: tuple[msgspec.Struct, ...] = msgspec.convert([entry], kind)
    return converted[0]
