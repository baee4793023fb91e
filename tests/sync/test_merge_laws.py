"""Laws that hold for any record and any edits: what the merge promises, whatever people do."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sync.codec import decode_versions, encode_body, encode_versions, newer_than, pick, whole_needed
from sync.merge import PENDING, Author, Clash, Edit, Merged, Record, Refused, merge
from sync.overlay import overlay
from sync.policies import Kind, Op
from tests.sync.samples import (
    AUTHORS,
    DISPATCHER,
    MANAGER,
    OTHER_TECHNICIAN,
    REP,
    RULES,
    SEEN,
    SPEC,
    TECHNICIAN,
    made,
    numbered,
    shown,
)

PEOPLE = (TECHNICIAN, OTHER_TECHNICIAN, DISPATCHER, MANAGER, REP)
ELEMENTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=2)
ENTRIES = st.lists(st.builds(lambda n, at: {"id": f"e{n}", "at": at}, st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=2)
TEXTS = st.lists(st.sampled_from(["gate", "dog", "key", "12"]), max_size=4).map(" ".join)
STATES = st.sampled_from(sorted(SPEC.fields["status"].policy.flow.rank))  # type: ignore[union-attr]  # it is a lifecycle
NUMBERS = st.integers(-3, 3)
WORDS = st.sampled_from(["", "x", "y", "z"])
CUSTOM = st.dictionaries(st.sampled_from("kl"), st.sampled_from([None, True, 1, "v", ["w"]]), min_size=1, max_size=2)

few = settings(max_examples=40)
VALUES: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "title": ("set", WORDS),
    "price": ("set", NUMBERS),
    "remedy": ("set", WORDS),
    "used": ("inc", NUMBERS),
    "peak": ("set", NUMBERS),
    "floor": ("set", NUMBERS),
    "tags": ("add", ELEMENTS),
    "log": ("append", ENTRIES),
    "fact": ("set", WORDS),
    "custom": ("set", CUSTOM),
    "status": ("set", STATES),
    "notes": ("edit", TEXTS),
    "serial": ("set", WORDS),
    "score": ("set", NUMBERS),
}
"""For each field the operation that edits it, and values."""


@st.composite
def whole(draw: st.DrawFn) -> Record:
    """A record that everybody has seen."""
    fields: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "title": WORDS,
                "price": NUMBERS,
                "peak": NUMBERS,
                "tags": st.lists(st.sampled_from("abc"), max_size=3),
                "log": ENTRIES.filter(lambda entries: len({entry["id"] for entry in entries}) == len(entries)),
                "custom": CUSTOM,
                "notes": TEXTS,
                "serial": WORDS,
            },
        )
    )
    return made(**fields)


@st.composite
def edits(draw: st.DrawFn, record: Record, fields: Iterable[str] = tuple(VALUES), *, most: int = 3) -> Edit:
    """An edit on top of what `record` shows."""
    ops: dict[str, dict[str, Any]] = {}
    for name in draw(st.lists(st.sampled_from(list(fields)), min_size=1, max_size=most, unique=True)):
        op, values = VALUES[name]
        if op == "add" and draw(st.booleans()):
            op = "remove"
        value = draw(values)
        ops.setdefault(op, {})[name] = (shown(record)[name], value) if op == "edit" else value
    return Edit("S1", record.seq, **ops)


def tried(record: Record, edit: Edit, author: Author, stamp: int) -> Merged | None:
    try:
        return merge(SPEC, record, edit, author, stamp)
    except Refused:
        return None


Write = tuple[Author, Edit, int]


@st.composite
def histories(draw: st.DrawFn, authors: tuple[Author, ...] = AUTHORS, most: int = 5) -> tuple[Record, list[Write]]:
    """A record and edits of it, each on a version that its author may have seen, so that many are concurrent."""
    record = draw(whole())
    versions = [record]
    written: list[Write] = []
    for seq in range(SEEN + 1, SEEN + 1 + draw(st.integers(1, most))):
        author = draw(st.sampled_from(authors))
        edit = draw(edits(draw(st.sampled_from(versions))))
        stamp = draw(st.integers(0, 20))
        merged = tried(record, edit, author, stamp)
        if merged:
            written.append((author, edit, stamp))
            record = numbered(merged, seq)
            versions.append(record)
    assume(written)
    return versions[0], written


def replayed(record: Record, written: Iterable[Write]) -> tuple[list[Record], list[Clash]]:
    records, clashes = [record], list[Clash]()
    for author, edit, stamp in written:
        merged = merge(SPEC, records[-1], edit, author, stamp)
        clashes += merged.clashes
        records.append(numbered(merged, records[-1].seq + 1))
    return records, clashes


@few
@given(histories())
def test_merging_is_deterministic_and_touches_none_of_its_inputs(history: tuple[Record, list[Write]]) -> None:
    record, written = history
    before = msgspec.json.encode([record, [edit for _, edit, _ in written]])
    assert replayed(record, written) == replayed(record, written)
    assert msgspec.json.encode([record, [edit for _, edit, _ in written]]) == before


@few
@given(histories())
def test_the_same_edit_again_changes_nothing(history: tuple[Record, list[Write]]) -> None:
    """Increments aside, which the device log counts once. A text that was merged may be marked again, never lost."""
    record, written = history
    author, edit, stamp = written[-1]
    records, _ = replayed(record, written[:-1])
    once = merge(SPEC, records[-1], msgspec.structs.replace(edit, inc={}, edit={}), author, stamp)
    again = tried(numbered(once, 99), msgspec.structs.replace(edit, inc={}, edit={}), author, stamp)
    if again is not None:
        assert shown(again.record) == shown(once.record)
        assert {(clash.field, repr(clash.held)) for clash in again.clashes} <= {(c.field, repr(c.held)) for c in once.clashes}


@few
@given(whole(), st.data())
def test_concurrent_edits_of_different_fields_come_to_the_same_in_either_order(record: Record, data: st.DataObject) -> None:
    names = data.draw(st.permutations(list(VALUES)))
    half = len(names) // 2
    one = data.draw(edits(record, names[:half]))
    other = data.draw(edits(record, names[half:]))
    mine, theirs = data.draw(st.permutations(PEOPLE))[:2]
    _same_in_either_order(record, (mine, one, 5), (theirs, other, 6))


@few
@given(whole(), st.data())
def test_counters_lists_extremes_and_maps_come_to_the_same_in_any_order(record: Record, data: st.DataObject) -> None:
    """And so do values and keys that somebody wins, as long as everybody means something else."""
    names = ["used", "peak", "floor", "log", "custom", "title", "price", "remedy"]
    authors = data.draw(st.permutations(PEOPLE))[:3]
    chosen = [_of_its_own(_no_shared_ids(data.draw(edits(record, names)), author), author) for author in authors]
    writes = [(author, edit, stamp) for stamp, (author, edit) in enumerate(zip(authors, chosen, strict=True))]
    ends = {encode_body(_sorted(shown(replayed(record, order)[0][-1]))) for order in _orders(writes)}
    assert len(ends) == 1


@few
@given(whole(), st.data())
def test_adding_wins_over_removing_whatever_the_order(record: Record, data: st.DataObject) -> None:
    adder, remover, third = data.draw(st.permutations(PEOPLE))[:3]
    element = data.draw(st.sampled_from("abc"))
    writes = [
        (adder, Edit("S1", SEEN, add={"tags": [element]}), 1),
        (remover, Edit("S1", SEEN, remove={"tags": [element]}), 2),
        (third, Edit("S1", SEEN, add={"tags": [element]}), 3),
        (third, Edit("S1", SEEN, remove={"tags": [element]}), 4),
    ]
    for order in _orders(writes):
        if order.index(writes[2]) < order.index(writes[3]):  # a device's own edits stay in order
            assert element in shown(replayed(record, order)[0][-1])["tags"]


def _orders(writes: list[Write]) -> Iterable[list[Write]]:
    if not writes:
        yield []
    for at, first in enumerate(writes):
        yield from ([first, *rest] for rest in _orders(writes[:at] + writes[at + 1 :]))


def _of_its_own(edit: Edit, author: Author) -> Edit:
    """The edit with values that nobody else writes and nobody has seen: to say what stands is no edit, and wins nothing."""
    values = dict(edit.set)
    values |= {name: f"{values[name]}{author.device}" for name in ("title", "remedy") if name in values}
    values |= {name: values[name] * 10 + author.device + 100 for name in ("price",) if name in values}
    values |= {name: {key: [item, author.device] for key, item in values[name].items()} for name in ("custom",) if name in values}
    return msgspec.structs.replace(edit, set=values)


def _no_shared_ids(edit: Edit, author: Author) -> Edit:
    """Entries get ids of their author's own, as devices make them."""
    append = {n: [{**entry, "id": f"{entry['id']}.{author.device}"} for entry in entries] for n, entries in edit.append.items()}
    return msgspec.structs.replace(edit, append=append)


def _sorted(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"custom": dict(sorted(body["custom"].items())), "log": sorted(body["log"], key=lambda e: (e["at"], e["id"]))}


def _same_in_either_order(record: Record, a: Write, b: Write) -> None:
    try:
        one, other = replayed(record, [a, b]), replayed(record, [b, a])
    except Refused:
        return
    assert _sorted(shown(one[0][-1])) == _sorted(shown(other[0][-1]))
    assert sorted(map(repr, one[1])) == sorted(map(repr, other[1]))


# Nothing is lost ----------------------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(histories())
def test_nothing_is_ever_dropped(history: tuple[Record, list[Write]]) -> None:
    """After every merge each value that was meant is the field's, is contained in it, or is held; so is each value that was there
    and that the author had not seen.
    """
    record, written = history
    for author, edit, stamp in written:
        merged = merge(SPEC, record, edit, author, stamp)
        after = shown(merged.record)
        for name, value in edit.set.items():
            assert _kept(name, value, after[name], merged.clashes), (name, value)
        for name, entries in edit.append.items():
            assert all(entry in after[name] or entry in _held(merged, name) for entry in entries)
        for name, elements in edit.add.items():
            assert set(elements) <= set(after[name])
        for name, (base, text) in edit.edit.items():
            shows = f"{after[name]} {' '.join(str(clash.held) for clash in merged.clashes)}"
            assert all(word in shows for word in set(text.split()) - set(base.split()))
        _unseen_is_kept(record, edit, author, merged)
        record = numbered(merged, record.seq + 1)


def _kept(name: str, value: Any, after: Any, clashes: Iterable[Clash]) -> bool:
    field = SPEC.fields[name]
    held = [clash.held for clash in clashes if clash.field == name]
    match field.policy.kind:
        case Kind.KEYED:
            said = {(clash.field, repr(clash.held)) for clash in clashes}
            missing = {(f"custom.{key}", repr(item)) for key, item in value.items() if repr(after.get(key)) != repr(item)}
            return missing <= said
        case Kind.HIGHEST:
            return bool(after >= value)
        case Kind.LOWEST:
            return bool(after <= value)
        case Kind.LIFECYCLE:
            assert field.policy.flow
            return after == value or value in held or field.policy.flow.follows(value, after)
        case _:
            return after == value or value in held


def _held(merged: Merged, name: str) -> list[Any]:
    return [clash.held for clash in merged.clashes if clash.field == name]


def _unseen_is_kept(record: Record, edit: Edit, author: Author, merged: Merged) -> None:
    before, after = shown(record), shown(merged.record)
    for name in edit.set:
        field = SPEC.fields[name]
        version = record.versions.get(field.index)
        if version is None or version.seq <= edit.base or version.device == author.device or field.policy.kind is Kind.KEYED:
            continue
        if field.policy.kind in (Kind.HIGHEST, Kind.LOWEST):
            assert before[name] is None or _kept(name, before[name], after[name], ())
        else:
            flow = field.policy.flow
            contained = flow is not None and flow.follows(before[name], after[name])
            assert before[name] == after[name] or before[name] in _held(merged, name) or contained


@few
@given(st.sampled_from(PEOPLE), st.data())
def test_a_device_alone_never_conflicts_with_itself(author: Author, data: st.DataObject) -> None:
    """Scenario 14: a chain of offline edits, each seeing the ones before it, all on the base that the device had."""
    base = record = data.draw(whole())
    body: dict[str, Any] = dict(base.body)
    for stamp in range(data.draw(st.integers(1, 5))):
        seen = Record("S1", SEEN, deleted=False, body=body, versions=base.versions)
        edit = _no_shared_ids(data.draw(edits(seen, set(VALUES) - {"fact", "log"})), author)
        merged = tried(record, edit, author, stamp)
        if merged is None:
            continue
        assert merged.clashes == ()
        assert not merged.concurrent
        record = numbered(merged, record.seq + 1)
        laid = overlay(SPEC, body, edit)
        assert laid is not None
        body = laid
        assert shown(record) == shown(msgspec.structs.replace(record, body=body))


@few
@given(whole(), st.data())
def test_a_device_shows_what_the_server_makes_of_its_edit_when_nobody_else_wrote(record: Record, data: st.DataObject) -> None:
    author = data.draw(st.sampled_from(PEOPLE))
    edit = data.draw(edits(record))
    merged = tried(record, edit, author, 1)
    if merged is not None and not merged.clashes:
        laid = overlay(SPEC, record.body, edit)
        assert laid is not None
        assert shown(msgspec.structs.replace(record, body=laid)) == shown(merged.record)


@few
@given(whole(), st.sampled_from(PEOPLE))
def test_a_device_shows_a_new_record_as_the_server_stores_it(record: Record, author: Author) -> None:
    creation = Edit("S1", 0, create=True, set=record.body)
    assert overlay(SPEC, None, creation) == merge(SPEC, None, creation, author, 1).record.body


# Versions and deltas ------------------------------------------------------------------------------------------------------


@few
@given(histories())
def test_versions_survive_being_packed_with_the_commit_still_under_way(history: tuple[Record, list[Write]]) -> None:
    record, written = history
    records, _ = replayed(record, written[:-1])
    author, edit, stamp = written[-1]
    merged = merge(SPEC, records[-1], edit, author, stamp)
    assume(merged.mask)
    versions, marks = decode_versions(encode_versions(merged.record), 77)
    assert Record("S1", 77, deleted=False, body=merged.record.body, versions=versions, adds=marks) == numbered(merged, 77)
    assert all(version.seq != PENDING for version in versions.values())
    assert decode_versions(encode_versions(numbered(merged, 77)), 99) == (versions, marks)


@few
@given(histories(most=7))
def test_the_delta_since_any_version_turns_the_old_body_into_the_new_one(history: tuple[Record, list[Write]]) -> None:
    record, written = history
    records, _ = replayed(record, written)
    new = records[-1]
    packed = encode_versions(new)
    for old in records:
        mask = newer_than(packed, new.seq, old.seq)
        assert not whole_needed(mask)
        assert shown(msgspec.structs.replace(old, body={**old.body, **pick(SPEC, new.body, mask)})) == shown(new)
        assert bool(mask) == (shown(old) != shown(new) or any(v.seq > old.seq for v in new.versions.values()))
    assert whole_needed(newer_than(packed, new.seq, 0))


def test_a_delta_says_a_field_that_went_back_to_its_default() -> None:
    record = made(title="a")
    merged = merge(SPEC, record, Edit("S1", SEEN, set={"title": ""}), DISPATCHER, 1)
    assert pick(SPEC, merged.record.body, merged.mask) == {"title": ""}
    assert pick(SPEC, {}, SPEC.fields["peak"].mask | SPEC.fields["tags"].mask) == {"peak": None, "tags": ()}


def test_a_restored_record_is_sent_whole() -> None:
    gone = numbered(merge(SPEC, made(), Edit("S1", SEEN, delete=True), DISPATCHER, 1), 11)
    back = numbered(merge(SPEC, gone, Edit("S1", SEEN, inc={"used": 1}), TECHNICIAN, 2), 12)
    assert whole_needed(newer_than(encode_versions(back), 12, 10))
    assert not whole_needed(newer_than(encode_versions(back), 12, 12))


OPERATIONS: dict[Op, Callable[[str], Edit]] = {
    Op.SET: lambda name: Edit("S1", SEEN, set={name: "?"}),
    Op.INC: lambda name: Edit("S1", SEEN, inc={name: 1}),
    Op.ADD: lambda name: Edit("S1", SEEN, add={name: ["?"]}),
    Op.REMOVE: lambda name: Edit("S1", SEEN, remove={name: ["?"]}),
    Op.APPEND: lambda name: Edit("S1", SEEN, append={name: [{"id": "?"}]}),
    Op.EDIT: lambda name: Edit("S1", SEEN, edit={name: ("", "?")}),
}


def test_a_field_takes_the_operations_of_its_policy_and_refuses_all_others() -> None:
    for name, field in SPEC.fields.items():
        for op, edit in OPERATIONS.items():
            if op not in field.policy.ops:
                merged = tried(made(), edit(name), RULES, 1)
                assert merged is None, (name, op)
