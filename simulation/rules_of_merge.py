"""The merge once more, written from its documents and not from its code, on plain values: what one change must do to one record.

Only the declarations (`sync.entities`) are shared with the product, and the word-by-word merge of texts, which has its own tests.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from sync.policies import Kind, Role, Side, side_of
from sync.schema import EntitySpec, FieldSpec
from sync.text import merge_text

EXISTENCE: Final = ""
"""The mark that tells who made, deleted or restored a record."""
SEVERAL: Final = -1
"""In place of the device: several added the same element without having seen each other."""

_BY_SIDE: Final = {
    Kind.LAST_WRITER: (Side.SERVER,),
    Kind.OFFICE_WINS: (Side.SERVER, Side.FIELD),
    Kind.FIELD_WINS: (Side.SERVER, Side.OFFICE),
}
"""Sides that give way, the weakest first; those not named stand equal above them."""


class Mark(NamedTuple):
    """Who wrote a field last, in which commit, and when by the corrected clock."""

    seq: int
    stamp: int
    device: int
    side: Side


class Row(msgspec.Struct, frozen=True):
    """A record as it stood after a commit.

    `names` tells of each element of a set that was added, and of each key of a map that was set, in which commit and by whom last.
    """

    entity: str
    id: str
    scope: str
    seq: int
    deleted: bool
    body: dict[str, Any]
    marks: dict[str, Mark]
    names: dict[str, dict[str, Mark]] = {}


class Writer(NamedTuple):
    device: int
    user: str
    role: Role
    stamp: int
    seq: int
    """The commit under way."""


class Held(NamedTuple):
    """A value that did not come to stand, and what did."""

    field: str
    kept: Any
    held: Any
    held_by: int
    open: bool
    policy: str = ""


class No(Exception):
    """The change must be refused."""


class Edited(NamedTuple):
    row: Row
    wrote: bool
    held: list[Held]


def edit(spec: EntitySpec, row: Row | None, change: Mapping[str, Any], writer: Writer, scope: str) -> Edited:
    """Raises `No`."""
    if row is None:
        return _made(spec, change, writer, scope)
    if change.get("delete"):
        return _deleted(spec, row, change, writer)
    return _Edit(spec, row, change, writer).run()


def _made(spec: EntitySpec, change: Mapping[str, Any], writer: Writer, scope: str) -> Edited:
    if not change.get("create"):
        raise No("there is no such record")
    if writer.role not in spec.create:
        raise No("may not create")
    given = change.get("set", {})
    for name, value in given.items():
        field = spec.fields[name]
        if value != field.default and writer.role not in field.policy.writers:
            raise No(f"may not write {name}")
        if (
            field.policy.flow
            and value != field.policy.flow.initial
            and not _may_move(field, field.policy.flow.initial, value, writer)
        ):
            raise No(f"{name} cannot begin as {value}")
    mark = _mark(writer)
    marks = {EXISTENCE: mark} | dict.fromkeys(given, mark)
    body = {name: tidy(spec.fields[name], value) for name, value in given.items()}
    row = Row(spec.name, change["id"], scope, writer.seq, deleted=False, body=body, marks=marks)
    return Edited(row, wrote=True, held=[])


def _deleted(spec: EntitySpec, row: Row, change: Mapping[str, Any], writer: Writer) -> Edited:
    if writer.role not in spec.delete:
        raise No("may not delete")
    if row.deleted:
        return Edited(row, wrote=False, held=[])
    unseen = [name for name in spec.fields if name in row.marks and _unseen(row.marks[name], change.get("base", 0), writer)]
    if any(spec.fields[name].policy.facts for name in unseen):
        return Edited(row, wrote=False, held=[Held("", row.body, None, writer.device, open=True)])
    lost: dict[int, dict[str, Any]] = {}
    for name in unseen:
        if row.marks[name].side is not Side.SERVER:
            lost.setdefault(row.marks[name].device, {})[name] = row.body[name]
    held = [Held("", "deleted", values, device, open=True) for device, values in lost.items()]
    marks = row.marks | {EXISTENCE: _mark(writer)}
    return Edited(msgspec.structs.replace(row, deleted=True, seq=writer.seq, marks=marks), wrote=True, held=held)


def tidy(field: FieldSpec, value: Any) -> Any:
    """A set without repetitions and in order, a list of facts in theirs, a map without removed keys."""
    match field.policy.kind:
        case Kind.APPEND_ONLY if isinstance(value, list):
            return sorted(value, key=lambda one: (one.get("at", 0), one["id"]))
        case Kind.ADD_WINS:
            return sorted(set(value))
        case Kind.KEYED:
            return {key: value[key] for key in sorted(value) if value[key] is not None}
        case _:
            return value


def _mark(writer: Writer) -> Mark:
    return Mark(writer.seq, writer.stamp, writer.device, side_of(writer.role))


def _unseen(mark: Mark, base: int, writer: Writer) -> bool:
    """Somebody else wrote this after what the author saw; a write of the same commit was seen by nobody."""
    return mark.device != writer.device and (mark.seq > base or mark.seq == writer.seq)


def _may_move(field: FieldSpec, before: str, after: str, writer: Writer) -> bool:
    flow = field.policy.flow
    assert flow is not None
    roles = flow.moves.get(before, {}).get(after)
    return roles is not None and (writer.role in roles or writer.role is Role.SERVER)


class _Edit:
    def __init__(self, spec: EntitySpec, row: Row, change: Mapping[str, Any], writer: Writer) -> None:
        self.spec, self.row, self.change, self.writer = spec, row, change, writer
        self.base = change.get("base", 0)
        self.body, self.marks = dict(row.body), dict(row.marks)
        self.names = {name: dict(marks) for name, marks in row.names.items()}
        self.deleted = row.deleted
        self.wrote = False
        self.held: list[Held] = []

    def run(self) -> Edited:
        self._frozen()
        if self.deleted:
            self._restore()
        works: dict[str, Callable[[FieldSpec, Any], None]] = {
            "set": self._set,
            "inc": self._inc,
            "add": self._add,
            "remove": self._remove,
            "append": self._append,
            "edit": self._text,
        }
        for op, work in works.items():
            for name, value in self.change.get(op, {}).items():
                field = self.spec.fields[name]
                if op == "set" and self._stands(field, value):
                    self._said_before(field, value)
                    continue  # to say what stands already takes no right
                if self.writer.role not in field.policy.writers:
                    raise No(f"may not write {name}")
                if op not in field.policy.ops:
                    raise No(f"{name} does not take {op}")
                work(field, value)
        seq = self.writer.seq if self.wrote else self.row.seq
        row = Row(self.row.entity, self.row.id, self.row.scope, seq, self.deleted, self.body, self.marks, self.names)
        return Edited(row, self.wrote, self.held)

    def _said_before(self, field: FieldSpec, value: Any) -> None:
        """Two who did not know of each other both report what can be done once: the second report is held."""
        if field.policy.flow and value in field.policy.flow.once and self._moved(field):
            held = {"user": self.writer.user, field.name: value}
            self.held.append(Held(field.name, value, held, self.writer.device, open=False, policy="second_report"))

    def _frozen(self) -> None:
        frozen = self.spec.frozen
        if frozen is None or self.body.get(frozen.field) not in frozen.states:
            return
        for op in ("set", "inc", "add", "remove", "append", "edit"):
            for name, value in self.change.get(op, {}).items():
                if name != frozen.field and not (op == "set" and self._stands(self.spec.fields[name], value)):
                    raise No("frozen")

    def _stands(self, field: FieldSpec, value: Any) -> bool:
        current = self.body.get(field.name, field.default)
        return type(current) is type(value) and bool(current == value)

    def _restore(self) -> None:
        """It comes back for a fact that whoever deleted it did not know, or by being made again knowingly."""
        gone = self.marks[EXISTENCE]
        again = self.change.get("create") and self.writer.role in self.spec.create
        if _unseen(gone, self.base, self.writer) and self._tells():
            self.held.append(Held("", "restored", "deleted", gone.device, open=False))
        elif not again or not (gone.seq <= self.base and gone.seq != self.writer.seq):
            raise No("deleted")
        self.deleted, self.wrote = False, True
        self.marks[EXISTENCE] = _mark(self.writer)

    def _tells(self) -> bool:
        facts = {name: field for name, field in self.spec.fields.items() if field.policy.facts}
        told = [
            name for name, value in self.change.get("set", {}).items() if name in facts and not self._stands(facts[name], value)
        ]
        told += [name for name, amount in self.change.get("inc", {}).items() if name in facts and amount]
        for name, entries in self.change.get("append", {}).items():
            known = {one["id"] for one in self.body.get(name, ())}
            told += [name for one in entries if name in facts and one["id"] not in known]
        return bool(told)

    def _write(self, field: FieldSpec, value: Any) -> None:
        self.body[field.name], self.marks[field.name], self.wrote = value, _mark(self.writer), True

    def _moved(self, field: FieldSpec) -> Mark | None:
        mark = self.marks.get(field.name)
        return mark if mark and _unseen(mark, self.base, self.writer) else None

    def _set(self, field: FieldSpec, value: Any) -> None:
        current, kind = self.body.get(field.name, field.default), field.policy.kind
        if kind is Kind.KEYED:
            return self._set_keys(field, current, value)
        if value == current:
            return None
        if kind in (Kind.HIGHEST, Kind.LOWEST):
            beaten = current is None or (value is not None and (value > current) is (kind is Kind.HIGHEST))
            return self._write(field, value) if beaten else None
        if kind is Kind.APPEND_ONLY and current != field.default:
            return self._lose(field, current, value)
        moved = self._moved(field)
        flow = field.policy.flow
        if flow and not any(_may_move(field, state, value, self.writer) for state in (flow.moves if moved else (current,))):
            raise No(f"{field.name} cannot go from {current} to {value}")
        if moved is None:
            return self._write(field, value)
        return self._race(field, moved, current, value)

    def _lose(self, field: FieldSpec, current: Any, value: Any, *, waits: bool = False) -> None:
        self.held.append(Held(field.name, current, value, self.writer.device, waits))

    def _win(self, field: FieldSpec, moved: Mark, current: Any, value: Any) -> None:
        self.held.append(Held(field.name, value, current, moved.device, open=False))
        self._write(field, value)

    def _race(self, field: FieldSpec, moved: Mark, current: Any, value: Any) -> None:
        kind, flow = field.policy.kind, field.policy.flow
        if kind is Kind.MANUAL:
            return self._lose(field, current, value, waits=True)
        if flow:
            onward, back = value in flow.moves.get(current, {}), current in flow.moves.get(value, {})
            if onward != back:
                return self._write(field, value) if onward else None
            if flow.rank[value] == flow.rank[current]:
                return self._lose(field, current, value, waits=True)
            wins = flow.rank[value] > flow.rank[current]
        else:
            weak = _BY_SIDE.get(kind, ())
            ranks = [weak.index(side) if side in weak else len(weak) for side in (moved.side, side_of(self.writer.role))]
            later = (self.writer.stamp, self.writer.device) > (moved.stamp, moved.device)
            wins = ranks[1] > ranks[0] or (ranks[0] == ranks[1] and later)
        return self._win(field, moved, current, value) if wins else self._lose(field, current, value)

    def _set_keys(self, field: FieldSpec, current: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        after, names = dict(current), self.names.setdefault(field.name, {})
        for key, value in values.items():
            before, mark = current.get(key), names.get(key)
            if before == value and type(before) is type(value):
                continue
            if mark and _unseen(mark, self.base, self.writer):
                later = (self.writer.stamp, self.writer.device) >= (mark.stamp, mark.device)
                kept, lost, by = (value, before, mark.device) if later else (before, value, self.writer.device)
                self.held.append(Held(f"{field.name}.{key}", kept, lost, by, open=False))
                if not later:
                    continue
            after[key], names[key] = value, _mark(self.writer)
            self._write(field, tidy(field, after))

    def _inc(self, field: FieldSpec, amount: float) -> None:
        if amount:
            self._write(field, (self.body.get(field.name, field.default) or 0) + amount)

    def _add(self, field: FieldSpec, elements: list[str]) -> None:
        before, names = self.body.get(field.name, ()), self.names.setdefault(field.name, {})
        for element in elements:
            mark = names.get(element)
            shared = element in before and mark is not None and _unseen(mark, self.base, self.writer)
            names[element] = _mark(self.writer._replace(device=SEVERAL) if shared else self.writer)
        self._write(field, sorted({*before, *elements}))

    def _remove(self, field: FieldSpec, elements: list[str]) -> None:
        before, names = self.body.get(field.name, ()), self.names.get(field.name, {})
        gone = {one for one in elements if one not in names or not _unseen(names[one], self.base, self.writer)}
        if gone & set(before):
            self._write(field, [one for one in before if one not in gone])

    def _append(self, field: FieldSpec, entries: list[dict[str, Any]]) -> None:
        after = {one["id"]: one for one in self.body.get(field.name, ())}
        for one in entries:
            if one["id"] not in after:
                after[one["id"]] = one
                self._write(field, sorted(after.values(), key=lambda one: (one.get("at", 0), one["id"])))
            elif after[one["id"]] != one:
                self._lose(field, after[one["id"]], one)

    def _text(self, field: FieldSpec, value: list[str]) -> None:
        current = self.body.get(field.name, field.default) or ""
        merged = merge_text(value[0], current, value[1])
        if merged.overlaps:
            self.held.append(Held(field.name, merged.text, value[1], self.writer.device, open=True))
        if merged.text != current:
            self._write(field, merged.text)
