"""The reckoning: journals, which say what users did, against what the server and the devices hold in the end. Pure.

Nothing here asks the SDK or the server whether they did well. A write is accounted for if its effect can be found: in the record,
in a conflict record that holds it, behind a later write whose author had seen it, or in a parked transaction with its reasons. A
fact (a part, a stock move, a time entry, a lead, an entry of an append-only list) must be there exactly once, as it was noted, and
nothing may be there that nobody noted.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from demo.journal import Deed, Noted, Op
from demo.orders import Fate, Row
from sync.policies import Flow, Kind
from sync.schema import REGISTRY, FieldSpec

FACTS: Final = ("part_used", "stock_move", "time_entry", "lead", "activity", "opportunity")
"""Entities of which every record was made by somebody with a journal, or was there at the founding."""

_BETWEEN_WORDS: Final = re.compile(r"[\s‹¦›]+")

Records = Mapping[str, Mapping[str, Row]]


class Author(msgspec.Struct, frozen=True):
    """A device with its journal, the number of its last transaction on the server, and what it knows of each of them."""

    name: str
    noted: Noted
    last_n: int
    fates: tuple[Fate, ...] = ()


class Evidence(msgspec.Struct, frozen=True):
    """`records` are the server's, by entity and id; `parked` the reasons by device and number; `founding` what was imported."""

    authors: tuple[Author, ...]
    records: Records
    parked: Mapping[tuple[str, int], tuple[str, ...]]
    founding: tuple[Op, ...] = ()


class _Note(msgspec.Struct, frozen=True):
    """One field that one deed wrote."""

    author: str
    k: int
    op: Op
    field: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.op.entity, self.op.id, self.field

    @property
    def value(self) -> Any:
        return self.op.fields[self.field]


# Lost ------------------------------------------------------------------------------------------------------------------------


def lost_writes(evidence: Evidence) -> list[str]:
    """Every write that a user made and that can no longer be found, in words."""
    return [f"{author.name}: {words}" for author in evidence.authors for words in _lost_of(author, _Found(evidence))]


def _lost_of(author: Author, found: "_Found") -> Iterator[str]:
    numbers = author.noted.numbers
    unnumbered = any(deed.k not in numbers for deed in author.noted.deeds)
    last = max(numbers.values(), default=0)
    if author.last_n < last:
        yield f"the server has taken its transactions up to {author.last_n}, it has written {last}"
    if author.last_n > last and not unnumbered:
        yield f"the server has {author.last_n} of its transactions, it has written {last}"
    fates = {fate.n: fate for fate in author.fates}
    for deed in author.noted.deeds:
        n = numbers.get(deed.k)
        if n is None:
            yield from found.half_done(deed)
            continue
        reasons = found.evidence.parked.get((author.name, n))
        fate = fates.get(n)
        if fate is not None and (fate.kind is None or (fate.state == "parked") is not (reasons is not None)):
            yield f"transaction {n} ({deed.label}) is {fate.state} on the device; the server says {reasons or 'that it was taken'}"
        if reasons is None:
            yield from (f"transaction {n} ({deed.label}): {words}" for words in found.missing(author.name, deed))
        elif not reasons:
            yield f"transaction {n} ({deed.label}) is parked without a reason"
        elif any(found.exists(op) for op in deed.ops if op.verb == "create"):
            yield f"transaction {n} ({deed.label}) is parked, and yet part of it was applied"


class _Found:
    """What can be found on the server, indexed for the questions of `lost_writes`."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._notes: dict[tuple[str, str, str], list[_Note]] = {}
        for author in evidence.authors:
            for deed in author.noted.deeds:
                for op in deed.ops:
                    for field in op.fields if op.verb in ("set", "text") else ():
                        note = _Note(author.name, deed.k, op, field)
                        self._notes.setdefault(note.key, []).append(note)
        self._clashes: dict[tuple[str, str, str], list[Any]] = {}
        for row in evidence.records.get("conflict", {}).values():
            clash = row.fields
            key = (clash["subject_entity"], clash["subject"], str(clash["field"]))
            self._clashes.setdefault(key, []).extend((clash.get("kept"), clash.get("held")))

    def record(self, op: Op) -> Row | None:
        return self.evidence.records.get(op.entity, {}).get(op.id)

    def exists(self, op: Op) -> bool:
        return self.record(op) is not None

    def half_done(self, deed: Deed) -> Iterator[str]:
        """A deed in whose middle the device was killed: there whole, or not at all."""
        marks = [self.exists(op) for op in deed.ops if op.verb == "create"]
        marks += [self._entry(op, field) is not None for op in deed.ops if op.verb == "append" for field in op.fields]
        if any(marks) and not all(marks):
            yield f"{deed.label}: the device was killed in the middle, and half of it was applied"

    def missing(self, author: str, deed: Deed) -> Iterator[str]:
        """What of a deed that was taken cannot be found."""
        for op in deed.ops:
            record = self.record(op)
            if op.verb == "delete":
                if record is not None and "deleted" not in self._clashes.get((op.entity, op.id, ""), []):
                    yield f"{op.entity} {op.id} was deleted and is there, without a conflict that says why"
            elif record is None:
                yield f"{op.entity} {op.id} is not there"
            elif op.verb == "create":
                yield from self._altered(op, record)
            else:
                yield from (words for field in op.fields if (words := self._misses(_Note(author, deed.k, op, field), record)))

    def _misses(self, note: _Note, record: Row) -> str:
        """What is wrong with one field that a deed wrote; '' if nothing is."""
        where, value = f"{record.entity} {record.id}.{note.field}", note.value
        if note.op.verb == "append":
            return "" if self._entry(note.op, note.field) == value else f"{where} has no entry {value['id']} as it was noted"
        return "" if self._stands(note, record) else f"{where} = {value!r} is neither there nor held anywhere"

    def _altered(self, op: Op, record: Row) -> Iterator[str]:
        for name, value in op.fields.items():
            field = REGISTRY[op.entity].fields[name]
            if field.policy.kind in (Kind.FIXED, Kind.APPEND_ONLY) and record.fields.get(name) != value:
                yield f"{op.entity} {op.id}.{name} is {record.fields.get(name)!r}, it was noted as {value!r}"

    def _entry(self, op: Op, field: str) -> Any:
        record = self.record(op)
        entries = record.fields.get(field, ()) if record else ()
        return next((entry for entry in entries if entry["id"] == op.fields[field]["id"]), None)

    def _stands(self, note: _Note, record: Row) -> bool:
        spec = REGISTRY[note.op.entity].fields[note.field]
        current = record.fields.get(note.field, msgspec.to_builtins(spec.default))
        clashes = self._clashes.get(note.key, [])
        if note.op.verb == "text":
            added = _added(note)
            shown = [current, *(clash for clash in clashes if isinstance(clash, str))]
            return any(added <= words_of(text) for text in shown) or self._replaced(note, spec)
        if current == note.value or note.value in clashes:
            return True
        if any(row.fields.get(note.field) == note.value for row in self._seconds(note.op)):
            return True
        flow = spec.policy.flow
        return (flow is not None and _leads_to(flow, note.value, current)) or self._replaced(note, spec)

    def _seconds(self, op: Op) -> Iterator[Row]:
        """Where a visit went back to whoever had done it, the server keeps what it was given to as a cancelled visit beside it."""
        beside = f"{op.id}.second."
        yield from (row for row in self.evidence.records.get(op.entity, {}).values() if row.id.startswith(beside))

    def _replaced(self, note: _Note, spec: FieldSpec) -> bool:
        """Whether somebody who had seen the value wrote another one: the same user later, or anybody who noted it as seen."""
        for other in self._notes[note.key]:
            if other.author == note.author and other.k <= note.k:
                continue
            before = other.op.before.get(note.field)
            if spec.policy.kind is Kind.TEXT and isinstance(before, str):
                if _added(note) <= words_of(before):
                    return True
            elif before == note.value:
                return True
        return False


def _added(note: _Note) -> set[str]:
    """The words that an edit of a text brought in."""
    return words_of(note.value) - words_of(note.op.before.get(note.field) or "")


def words_of(text: str) -> set[str]:
    """The words of a text, those inside a marked overlap (‹mine¦yours›) each for itself."""
    return set(_BETWEEN_WORDS.split(text)) - {""}


def _leads_to(flow: Flow, before: str, after: str) -> bool:
    """Whether a life cycle can have gone on from one state to the other, so that the later one contains the earlier."""
    reached, fresh = {before}, [before]
    while fresh:
        for state in flow.moves.get(fresh.pop(), {}):
            if state not in reached:
                reached.add(state)
                fresh.append(state)
    return after in reached and flow.rank[after] >= flow.rank[before]


# Doubled ---------------------------------------------------------------------------------------------------------------------


def doubled_writes(evidence: Evidence) -> list[str]:
    """Every fact on the server that nobody noted, and every entry that is there twice, in words."""
    found: list[str] = []
    noted = {(op.entity, op.id) for op in _creations(evidence)}
    for entity in FACTS:
        extra = [record_id for record_id in evidence.records.get(entity, {}) if (entity, record_id) not in noted]
        found += [f"{entity} {record_id} is there, and nobody made it" for record_id in extra]
    appended = {
        (op.entity, op.id, field, op.fields[field]["id"])
        for deed in _deeds(evidence)
        for op in deed.ops
        if op.verb == "append"
        for field in op.fields
    }
    for entity, spec in REGISTRY.items():
        lists = [name for name, field in spec.fields.items() if field.policy.kind is Kind.APPEND_ONLY and field.default == ()]
        for record in evidence.records.get(entity, {}).values():
            for name in lists:
                ids = Counter(entry["id"] for entry in record.fields.get(name, ()))
                found += [f"{entity} {record.id}.{name} has {entry} {count} times" for entry, count in ids.items() if count > 1]
                unknown = [entry for entry in ids if (entity, record.id, name, entry) not in appended]
                found += [f"{entity} {record.id}.{name} has {entry}, and nobody wrote it" for entry in unknown]
    return found


def stock_differences(evidence: Evidence) -> list[str]:
    """Where the stock on hand, the sum of the server's moves, is not the sum of what was noted."""
    server = Counter[tuple[str, str]]()
    for record in evidence.records.get("stock_move", {}).values():
        server[record.fields["location"], record.fields["product"]] += record.fields["quantity"]
    noted = Counter[tuple[str, str]]()
    for op in _creations(evidence):
        if op.entity == "stock_move":
            noted[op.fields["location"], op.fields["product"]] += op.fields["quantity"]
    places = sorted(set(server) | set(noted))
    return [f"{p[1]} in {p[0]}: the server has {server[p]}, the journals say {noted[p]}" for p in places if server[p] != noted[p]]


def _deeds(evidence: Evidence) -> Iterator[Deed]:
    """Deeds that the server has taken: the parked ones changed nothing; one cut off by a kill counts if it is there."""
    for author in evidence.authors:
        for deed in author.noted.deeds:
            n = author.noted.numbers.get(deed.k)
            if n is None:
                created = [op for op in deed.ops if op.verb == "create"]
                if any(op.id not in evidence.records.get(op.entity, {}) for op in created):
                    continue
            elif (author.name, n) in evidence.parked:
                continue
            yield deed


def _creations(evidence: Evidence) -> Iterator[Op]:
    yield from evidence.founding
    for deed in _deeds(evidence):
        yield from (op for op in deed.ops if op.verb == "create")


# Converged -------------------------------------------------------------------------------------------------------------------


def divergences(name: str, device: Iterable[Row], server: Sequence[Row]) -> list[str]:
    """Where what a device holds is not, record by record and field by field, what the server says that it may hold."""
    here = {(row.entity, row.id): row for row in device}
    there = {(row.entity, row.id): row for row in server}
    found = [f"{name} lacks {entity} {record_id}" for entity, record_id in sorted(there.keys() - here.keys())]
    found += [f"{name} holds {entity} {record_id}, which it may not" for entity, record_id in sorted(here.keys() - there.keys())]
    for key in sorted(here.keys() & there.keys()):
        mine, theirs = here[key], there[key]
        other = _differing(mine, theirs)
        if other:
            found.append(f"{name} shows otherwise than the server, in {key[0]} {key[1]}: {other}")
        elif mine.seq != theirs.seq:
            found.append(f"{name} has {key[0]} {key[1]} in version {mine.seq}, the server in {theirs.seq}")
        elif mine.pending:
            found.append(f"{name} still counts on an edit of {key[0]} {key[1]}")
    return found


def _differing(mine: Row, theirs: Row) -> str:
    """The fields that differ, as `name: here, there`. Both sides in the form that they have in JSON, defaults left out."""
    cls = REGISTRY[mine.entity].cls
    here, there = (msgspec.json.decode(msgspec.json.encode(msgspec.convert(row.fields, cls))) for row in (mine, theirs))
    names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    return "; ".join(f"{name}: {here.get(name)!r}, {there.get(name)!r}" for name in names)
