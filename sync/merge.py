"""The merge: a record and an edit in, the record after it and the conflicts out. Pure; laws in tests/sync/test_merge_laws.py.

The server keeps, per field, who last wrote it and at which seq. An edit conflicts on a field only if that field moved past the
edit's base, by another device, to a different value. So a device's own earlier edits never conflict with its later ones, and edits
of different fields never conflict at all. What happens then is the field's policy (`sync.policies`).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from sync.clock import Stamp
from sync.policies import Kind, Op, Role, Side, Verdict, Write, settle, side_of, surpasses
from sync.protocol import Reason
from sync.schema import REORDERED, Entity, EntitySpec, FieldSpec, canonical, entry_order
from sync.text import merge_text

PENDING: Final = 2**53
"""The seq of a write whose commit has no number yet: later than every base."""

SECOND_REPORT: Final = "second_report"
"""The policy named by a conflict of two authors who both say that they did what can be done once."""

EXISTENCE: Final = 0
"""The index of the version that tells who created, deleted or restored the record."""

SEVERAL: Final = -1
"""Stands for the device in the mark of a set element that several devices added without having seen each other."""


Mark: TypeAlias = tuple[int, tuple[Stamp, int]]
"""Who wrote one element of a set or one key of a map last: `(seq, (stamp, device))`."""


class Version(NamedTuple):
    seq: int
    stamp: Stamp
    device: int
    side: Side


class Record(msgspec.Struct, frozen=True):
    """A record as the merge sees it.

    `adds` has, by field and name, the marks of each set element that was added, and of each key of a map that was set or removed,
    since the record was created.
    """

    id: str
    seq: int
    deleted: bool
    body: dict[str, Any]
    versions: dict[int, Version]
    adds: dict[int, dict[str, Mark]] = {}


class Author(msgspec.Struct, frozen=True):
    """Who writes: `device` is the device's number within its tenant."""

    device: int
    user: str
    role: Role

    @property
    def side(self) -> Side:
        return side_of(self.role)


class Edit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change whose values have been validated."""

    id: str
    base: int
    create: bool = False
    set: Mapping[str, Any] = {}
    inc: Mapping[str, int | float] = {}
    add: Mapping[str, list[str]] = {}
    remove: Mapping[str, list[str]] = {}
    append: Mapping[str, list[dict[str, Any]]] = {}
    edit: Mapping[str, tuple[str, str]] = {}
    delete: bool = False


class Clash(msgspec.Struct, frozen=True):
    """Two authors meant different things. `held` is what did not become the field's value; `open` waits for a person.

    `policy` is empty where the field's own policy decided.
    """

    field: str
    kept: Any
    held: Any
    held_by: int
    open: bool
    policy: str = ""


class Merged(msgspec.Struct, frozen=True):
    """The record after the edit; `mask` has the bits of the fields that changed; `concurrent` if others had moved past the base."""

    record: Record
    mask: int
    clashes: tuple[Clash, ...] = ()
    concurrent: bool = False


class Refused(Exception):
    """The edit breaks a rule; the transaction is parked with this reason."""

    def __init__(self, rule: str, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.rule, self.detail, self.field = rule, detail, field

    def reason(self, change: int, entity: str, record_id: str) -> Reason:
        return Reason(self.rule, self.detail, change, entity, record_id, self.field)


def merge(spec: EntitySpec, record: Record | None, edit: Edit, author: Author, stamp: Stamp) -> Merged:
    """Apply one edit. Raises `Refused`; then nothing has changed."""
    if record is None:
        return _create(spec, edit, author, stamp)
    if edit.delete:
        return _delete(spec, record, edit, author, stamp)
    return _Editing(spec, record, edit, author, stamp).run()


def _create(spec: EntitySpec, edit: Edit, author: Author, stamp: Stamp) -> Merged:
    if not edit.create:
        raise Refused("not_found", f"there is no {spec.name} {edit.id}")
    if author.role not in spec.create:
        raise Refused("writer", f"a {author.role} may not create a {spec.name}")
    body = dict(edit.set)
    indexes, mask, special = _shape(spec.cls, author.role, tuple(body))
    for field in special:
        _check_first(spec, field, body[field.name], author)
        body[field.name] = canonical(field, body[field.name])
    versions = dict.fromkeys(indexes, Version(PENDING, stamp, author.device, author.side))
    born = Record(edit.id, 0, deleted=False, body=body, versions=versions)
    if edit.inc or edit.add or edit.remove or edit.append or edit.edit:
        rest = msgspec.structs.replace(edit, set={})
        return _Editing(spec, born, rest, author, stamp, mask=mask).run()
    return Merged(born, mask)


@lru_cache(maxsize=4_096)
def _shape(cls: type[Entity], role: Role, names: tuple[str, ...]) -> tuple[tuple[int, ...], int, tuple[FieldSpec, ...]]:
    """Of a new record that says these fields: the indexes and the mask of what it has a version of, and those of the fields that
    are no plain ones. A plain field a creator of this role may set to whatever its type takes, and it holds that as it was said."""
    fields = [cls.spec.fields[name] for name in names]
    indexes = (EXISTENCE, *(field.index for field in fields))
    special = (
        field
        for field in fields
        if role not in field.policy.writers or field.policy.flow is not None or field.policy.kind in REORDERED
    )
    return indexes, sum(1 << index for index in indexes), tuple(special)


def _check_first(spec: EntitySpec, field: FieldSpec, value: Any, author: Author) -> None:
    """Whether a new record may begin with this value."""
    if not _same(value, field.default):
        _check_writer(field, author)
    flow = field.policy.flow
    if flow and value != flow.initial and not flow.allows(flow.initial, value, author.role):
        raise Refused("lifecycle", f"a new {spec.name} cannot start as {value!r}", field.name)


def _delete(spec: EntitySpec, record: Record, edit: Edit, author: Author, stamp: Stamp) -> Merged:
    if author.role not in spec.delete:
        raise Refused("writer", f"a {author.role} may not delete a {spec.name}")
    if record.deleted:
        return Merged(record, 0)
    held: dict[int, dict[str, Any]] = {}
    for field in spec.fields.values():
        version = record.versions.get(field.index)
        if version is None or version.seq <= edit.base or version.device == author.device:
            continue
        if field.policy.facts:
            clash = Clash("", kept=record.body, held=None, held_by=author.device, open=True)
            return Merged(record, 0, (clash,), concurrent=True)
        if version.side is not Side.SERVER:  # what a rule worked out nobody would miss
            held.setdefault(version.device, {})[field.name] = record.body.get(field.name, field.default)
    versions = record.versions | {EXISTENCE: Version(PENDING, stamp, author.device, author.side)}
    gone = msgspec.structs.replace(record, deleted=True, versions=versions)
    clashes = tuple(Clash("", "deleted", values, device, open=True) for device, values in held.items())
    return Merged(gone, 1 << EXISTENCE, clashes, concurrent=bool(clashes))


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are one; here, unlike in Python, true is not 1, and how a list is held does not matter."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _check_writer(field: FieldSpec, author: Author) -> None:
    if author.role not in field.policy.writers:
        raise Refused("writer", f"a {author.role} may not write {field.name}", field.name)


class _Editing:
    """The state of one edit being applied: copies of the record's parts, and what has happened to them so far.

    `mask` has what the edit has done already, which is to create the record.
    """

    def __init__(self, spec: EntitySpec, record: Record, edit: Edit, author: Author, stamp: Stamp, *, mask: int = 0) -> None:
        self.spec, self.record, self.edit, self.author, self.stamp = spec, record, edit, author, stamp
        self.creating = bool(mask)
        self.version = Version(PENDING, stamp, author.device, author.side)
        self.me = (stamp, author.device)
        self.body = dict(record.body)
        self.versions = dict(record.versions)
        self.adds = record.adds
        self.mask = mask
        self.clashes: list[Clash] = []
        self.concurrent = False

    def run(self) -> Merged:
        self._check_frozen()
        deleted = self.record.deleted and not self._restore()
        for name, value in self.edit.set.items():
            self._set(self._field(name, Op.SET), value)
        for name, amount in self.edit.inc.items():
            self._inc(self._field(name, Op.INC), amount)
        for name, elements in self.edit.add.items():
            self._add(self._field(name, Op.ADD), elements)
        for name, elements in self.edit.remove.items():
            self._remove(self._field(name, Op.REMOVE), elements)
        for name, entries in self.edit.append.items():
            self._append(self._field(name, Op.APPEND), entries)
        for name, (base, text) in self.edit.edit.items():
            self._edit_text(self._field(name, Op.EDIT), base, text)
        record = Record(self.record.id, self.record.seq, deleted, self.body, self.versions, self.adds)
        return Merged(record, self.mask, tuple(self.clashes), self.concurrent)

    def _check_frozen(self) -> None:
        """Once the record's state says so, nothing but the state itself may change, and what is left open."""
        frozen = self.spec.frozen
        if frozen is None or self.creating or self.record.body.get(frozen.field) not in frozen.states:
            return
        edit = self.edit
        for name in (*edit.set, *edit.inc, *edit.add, *edit.remove, *edit.append, *edit.edit):
            said = name in edit.set and _same(self._current(self.spec.fields[name]), edit.set[name])
            if name != frozen.field and name not in frozen.open and not said:
                raise Refused("frozen", f"a {self.spec.name} that is {self.record.body[frozen.field]} does not change", name)

    def _field(self, name: str, op: Op) -> FieldSpec:
        field = self.spec.fields.get(name)
        if field is None:
            raise Refused("unknown_field", f"{self.spec.name} has no field {name}", name)
        if op is Op.SET and _same(self._current(field), self.edit.set[name]):
            return field  # to say what stands already takes no right
        _check_writer(field, self.author)
        if op not in field.policy.ops:
            raise Refused("operation", f"{name} is {field.policy.kind}: it does not take {op!s}", name)
        return field

    def _restore(self) -> bool:
        """A record deleted without the author's knowledge comes back for a new fact; for anything less a person decides.

        Whoever knows that it was deleted brings it back by creating it again.
        """
        gone = self.record.versions[EXISTENCE]
        aware = gone.seq <= self.edit.base
        if not (aware and self.edit.create and self.author.role in self.spec.create):
            if aware or gone.device == self.author.device or not self._tells_facts():
                raise Refused("deleted", f"this {self.spec.name} was deleted: restore or discard")
            self.concurrent = True
            self.clashes.append(Clash("", kept="restored", held="deleted", held_by=gone.device, open=False))
        self.versions[EXISTENCE] = self.version
        self.mask |= 1 << EXISTENCE
        return True

    def _tells_facts(self) -> bool:
        """Whether the edit tells a fact that whoever deleted the record did not know."""
        facts = {name: field for name, field in self.spec.fields.items() if field.policy.facts}
        return (
            any(name in facts and not _same(self._current(facts[name]), value) for name, value in self.edit.set.items())
            or any(name in facts and amount != 0 for name, amount in self.edit.inc.items())
            or any(name in facts and self._fresh(facts[name], entries)[0] for name, entries in self.edit.append.items())
        )

    def _current(self, field: FieldSpec) -> Any:
        return self.body.get(field.name, field.default)

    def _moved(self, field: FieldSpec) -> Version | None:
        """The version of the field if another device moved it past the author's base."""
        version = self.versions.get(field.index)
        if version is None or version.seq <= self.edit.base or version.device == self.author.device:
            return None
        self.concurrent = True
        return version

    def _write(self, field: FieldSpec, value: Any) -> None:
        self.body[field.name] = value
        self.versions[field.index] = self.version
        self.mask |= field.mask

    def _set(self, field: FieldSpec, value: Any) -> None:
        current = self._current(field)
        if field.policy.kind is Kind.KEYED:
            self._set_keys(field, current, value)
        elif not _same(value, current):
            self._replace(field, current, canonical(field, value))
        elif field.policy.flow and value in field.policy.flow.once and self._moved(field):
            held = {"user": self.author.user, field.name: value}
            self.clashes.append(Clash(field.name, current, held, self.author.device, open=False, policy=SECOND_REPORT))

    def _replace(self, field: FieldSpec, current: Any, value: Any) -> None:
        kind = field.policy.kind
        moved = self._moved(field)
        if kind in (Kind.HIGHEST, Kind.LOWEST):
            if surpasses(kind, current, value):
                self._write(field, value)
            return
        if kind is Kind.APPEND_ONLY and not _same(current, field.default):
            self.clashes.append(Clash(field.name, current, value, self.author.device, open=False))
            return
        flow, role = field.policy.flow, self.author.role
        if flow and not (flow.enters(value, role) if moved else flow.allows(current, value, role)):
            raise Refused("lifecycle", f"{field.name} cannot go from {current!r} to {value!r} for a {role}", field.name)
        if moved is None:
            self._write(field, value)
        else:
            self._settle(field, moved, current, value)

    def _settle(self, field: FieldSpec, moved: Version, current: Any, value: Any) -> None:
        verdict = settle(
            field.policy,
            Write(current, moved.stamp, moved.device, moved.side),
            Write(value, self.stamp, self.author.device, self.author.side),
        )
        match verdict:
            case Verdict.TAKE:
                self.clashes.append(Clash(field.name, value, current, moved.device, open=False))
                self._write(field, value)
            case Verdict.FOLLOW:
                self._write(field, value)
            case Verdict.KEEP | Verdict.WAIT:
                is_open = verdict is Verdict.WAIT
                self.clashes.append(Clash(field.name, current, value, self.author.device, open=is_open))
            case Verdict.CONTAINED:
                pass

    def _set_keys(self, field: FieldSpec, current: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self._moved(field)
        marks, merged = self.adds.get(field.index, {}), dict(current)
        fresh: dict[str, Mark] = {}
        for key, value in values.items():
            before = current.get(key)
            if _same(before, value):
                continue
            seq, who = marks.get(key, (0, self.me))
            if self._unseen(seq, who):
                name = f"{field.name}.{key}"
                if self.me < who:
                    self.clashes.append(Clash(name, before, value, self.author.device, open=False))
                    continue
                self.clashes.append(Clash(name, value, before, who[1], open=False))
            merged[key] = value
            fresh[key] = (PENDING, self.me)
        if fresh:
            self._write(field, canonical(field, merged))
            self._mark(field, fresh)

    def _unseen(self, seq: int, who: tuple[Stamp, int]) -> bool:
        """Whether somebody else wrote this past the author's base."""
        return seq > self.edit.base and who[1] != self.author.device

    def _mark(self, field: FieldSpec, marks: dict[str, Mark]) -> None:
        self.adds = self.adds | {field.index: self.adds.get(field.index, {}) | marks}

    def _inc(self, field: FieldSpec, amount: float) -> None:
        self._moved(field)
        if amount:
            self._write(field, _bounded(field, (self._current(field) or 0) + amount))

    def _add(self, field: FieldSpec, elements: list[str]) -> None:
        self._moved(field)
        before, marks = self._current(field), self.adds.get(field.index, {})
        if not elements:
            return
        fresh: dict[str, Mark] = {}
        for element in elements:
            shared = element in before and self._unseen(*marks.get(element, (0, self.me)))
            fresh[element] = (PENDING, (self.stamp, SEVERAL) if shared else self.me)
        self._mark(field, fresh)
        self._write(field, sorted({*before, *elements}))

    def _remove(self, field: FieldSpec, elements: list[str]) -> None:
        self._moved(field)
        before, marks = self._current(field), self.adds.get(field.index, {})
        dropped = {element for element in elements if not self._unseen(*marks.get(element, (0, self.me)))}
        if dropped & set(before):
            self._write(field, [element for element in before if element not in dropped])

    def _append(self, field: FieldSpec, entries: list[dict[str, Any]]) -> None:
        self._moved(field)
        fresh, clashing = self._fresh(field, entries)
        for there, entry in clashing:
            self.clashes.append(Clash(field.name, there, entry, self.author.device, open=False))
        if fresh:
            self._write(field, sorted([*self._current(field), *fresh], key=entry_order))

    def _fresh(self, field: FieldSpec, entries: list[dict[str, Any]]) -> tuple[list[Any], list[tuple[Any, Any]]]:
        """Entries that are new, and those whose id stands for another one: (that one, the entry)."""
        known = {entry["id"]: entry for entry in self._current(field)}
        fresh, clashing = [], []
        for entry in entries:
            there = known.get(entry["id"])
            if there is None:
                known[entry["id"]] = entry
                fresh.append(entry)
            elif not _same(there, entry):
                clashing.append((there, entry))
        return fresh, clashing

    def _edit_text(self, field: FieldSpec, base: str, text: str) -> None:
        self._moved(field)
        current = self._current(field) or ""
        # Merged even where the device's own edit was last: that edit may itself have been merged with somebody else's.
        merged = merge_text(base, current, text)
        if merged.overlaps:
            self.clashes.append(Clash(field.name, merged.text, text, self.author.device, open=True))
        if merged.text != current:
            self._write(field, _bounded(field, merged.text))


def _bounded(field: FieldSpec, value: Any) -> Any:
    """What two valid edits came to; it may be more than the field holds."""
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        raise Refused("bounds", str(error), field.name) from error
    return value
