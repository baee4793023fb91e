"""What becomes of one edit, case by case."""

from typing import Any

import msgspec
import pytest

from sync.codec import decode_edit, encode_body
from sync.merge import Author, Clash, Edit, Merged, Record, Refused, merge
from sync.policies import Role
from sync.protocol import Change
from sync.schema import REGISTRY
from tests.sync.samples import (
    DISPATCHER,
    MANAGER,
    OTHER_TECHNICIAN,
    REP,
    RULES,
    SEEN,
    SPEC,
    TECHNICIAN,
    edit,
    made,
    numbered,
    shown,
)

EARLY, LATE = 5_000, 9_000


def race(
    first: tuple[Author, Edit, int], second: tuple[Author, Edit, int], **fields: Any
) -> tuple[dict[str, Any], tuple[Clash, ...]]:
    """Two authors who have both seen `SEEN`: the record after both, and what was held of either."""
    record = made(**fields)
    one = merge(SPEC, record, first[1], first[0], first[2])
    two = merge(SPEC, numbered(one, SEEN + 1), second[1], second[0], second[2])
    return shown(two.record), one.clashes + two.clashes


def refused(record: Record | None, what: Edit, author: Author) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        merge(SPEC, record, what, author, LATE)
    return caught.value.rule, caught.value.field


# Creating ------------------------------------------------------------------------------------------------------------------


def test_a_new_record_belongs_to_its_author_field_by_field() -> None:
    merged = merge(SPEC, None, edit(0, create=True, set={"home": "H1", "title": "a"}), TECHNICIAN, LATE)
    assert merged.record.body == {"home": "H1", "title": "a"}
    assert {version.device for version in merged.record.versions.values()} == {TECHNICIAN.device}
    assert set(merged.record.versions) == {0, SPEC.fields["home"].index, SPEC.fields["title"].index}


def test_sets_and_maps_of_a_new_record_are_stored_in_their_one_form() -> None:
    merged = merge(
        SPEC, None, edit(0, create=True, set={"home": "H", "tags": ["b", "a", "b"], "custom": {"x": None, "y": 1}}), REP, LATE
    )
    assert merged.record.body == {"home": "H", "tags": ["a", "b"], "custom": {"y": 1}}


@pytest.mark.parametrize(
    ("author", "ops", "reason"),
    [
        (TECHNICIAN, {"set": {"home": "H", "score": 7}}, ("writer", "score")),
        (TECHNICIAN, {"set": {"home": "H", "approved": True}}, ("writer", "approved")),
        (TECHNICIAN, {"set": {"home": "H"}, "inc": {"score": 7}}, ("writer", "score")),
        (TECHNICIAN, {"set": {"home": "H", "status": "completed"}}, ("lifecycle", "status")),
        (REP, {"set": {"home": "H", "status": "scheduled"}}, ("lifecycle", "status")),
    ],
)
def test_creating_gives_no_right_that_editing_would_not(author: Author, ops: dict[str, Any], reason: tuple[str, str]) -> None:
    assert refused(None, edit(0, create=True, **ops), author) == reason


def test_a_value_that_is_the_default_takes_no_right() -> None:
    created = merge(
        SPEC, None, edit(0, create=True, set={"home": "H", "score": 0, "approved": False, "tags": []}), TECHNICIAN, LATE
    )
    assert created.record.body["score"] == 0


def test_only_who_may_create_creates() -> None:
    appointment = REGISTRY["appointment"]
    change = Change("appointment", "A1", create=True, set=msgspec.Raw(b'{"work_order":"W1"}'))
    with pytest.raises(Refused, match="a technician may not create a appointment"):
        merge(appointment, None, decode_edit(appointment, change), TECHNICIAN, LATE)


def test_a_record_that_is_not_there_is_not_edited() -> None:
    assert refused(None, edit(set={"title": "a"}), TECHNICIAN) == ("not_found", "")
    assert refused(None, edit(delete=True), DISPATCHER) == ("not_found", "")


def test_creating_what_is_there_already_changes_nothing() -> None:
    creation = edit(0, create=True, set={"home": "H1", "title": "a", "tags": ["b"], "approved": False})
    record = numbered(merge(SPEC, None, creation, TECHNICIAN, LATE), 3)
    for author in (TECHNICIAN, OTHER_TECHNICIAN):
        assert merge(SPEC, record, creation, author, LATE + 1) == Merged(record, 0)


def test_creating_an_id_that_stands_for_another_record_cannot_move_it_elsewhere() -> None:
    assert refused(made(), edit(0, create=True, set={"home": "H2"}), DISPATCHER) == ("operation", "home")


# Rights --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("author", "ops", "reason"),
    [
        (TECHNICIAN, {"set": {"home": "H2"}}, ("operation", "home")),
        (TECHNICIAN, {"set": {"score": 1}}, ("writer", "score")),
        (DISPATCHER, {"set": {"approved": True}}, ("writer", "approved")),
        (TECHNICIAN, {"set": {"tags": ["x"]}}, ("operation", "tags")),
        (TECHNICIAN, {"set": {"used": 3}}, ("operation", "used")),
        (TECHNICIAN, {"set": {"notes": "x"}}, ("operation", "notes")),
        (TECHNICIAN, {"inc": {"price": 3}}, ("operation", "price")),
        (TECHNICIAN, {"edit": {"title": ["", "x"]}}, ("operation", "title")),
        (TECHNICIAN, {"set": {"status": "completed"}}, ("lifecycle", "status")),
        (DISPATCHER, {"set": {"status": "accepted"}}, ("lifecycle", "status")),
        (TECHNICIAN, {"delete": True}, ("writer", "")),
    ],
)
def test_what_a_policy_or_a_role_does_not_take_is_refused(author: Author, ops: dict[str, Any], reason: tuple[str, str]) -> None:
    assert refused(made(), edit(**ops), author) == reason


def test_an_old_base_is_no_way_around_a_life_cycle() -> None:
    """Whoever claims not to have seen how a state moved still cannot enter one that the role may never enter."""
    order = REGISTRY["work_order"]
    created = Edit("W1", 0, create=True, set={"account": "A", "site": "S"})
    record = numbered(merge(order, None, created, MANAGER, 1), 1)
    record = numbered(merge(order, record, Edit("W1", 1, set={"status": "work_done"}), MANAGER, 2), 2)
    record = numbered(merge(order, record, Edit("W1", 2, set={"status": "approved"}), MANAGER, 3), 3)
    for base, author in ((0, TECHNICIAN), (0, OTHER_TECHNICIAN), (2, REP)):
        with pytest.raises(Refused, match="cannot go from 'approved' to 'posted'"):
            merge(order, record, Edit("W1", base, set={"status": "posted"}), author, LATE)


def test_to_say_what_stands_already_takes_no_right_and_changes_nothing() -> None:
    record = made(score=5, tags=["a"])
    assert merge(SPEC, record, edit(set={"score": 5, "home": "H1", "tags": ["a"]}), TECHNICIAN, LATE) == Merged(record, 0)


def test_refusing_leaves_the_record_as_it_was() -> None:
    record = made(title="a")
    before = msgspec.json.encode(record)
    assert refused(record, edit(set={"title": "b"}, inc={"score": 1}), TECHNICIAN)[0] == "writer"
    assert msgspec.json.encode(record) == before


def test_what_two_valid_edits_come_to_still_fits_the_field() -> None:
    long = "w " * 9_900
    record = made(notes=long, used=2**52)
    assert refused(record, edit(inc={"used": 1}), TECHNICIAN) == ("bounds", "used")
    one = merge(SPEC, record, edit(edit={"notes": [long, f"{'x' * 190} {long}"]}), TECHNICIAN, EARLY)
    assert refused(numbered(one, 11), edit(edit={"notes": [long, f"{long}{'y' * 190}"]}), DISPATCHER) == ("bounds", "notes")


# Races ---------------------------------------------------------------------------------------------------------------------


def test_edits_of_different_fields_both_stand() -> None:
    after, held = race((DISPATCHER, edit(set={"title": "a"}), EARLY), (TECHNICIAN, edit(set={"remedy": "b"}), LATE))
    assert (after["title"], after["remedy"], held) == ("a", "b", ())


def test_the_same_value_from_both_is_no_conflict() -> None:
    for ops in ({"title": "same"}, {"serial": "same"}, {"status": "scheduled"}):
        after, held = race((DISPATCHER, edit(set=ops), EARLY), (MANAGER, edit(set=ops), LATE))
        assert held == ()
        assert after | ops == after


def test_a_value_that_was_seen_is_replaced_without_a_conflict() -> None:
    record = numbered(merge(SPEC, made(), edit(set={"title": "a"}), DISPATCHER, LATE), 11)
    merged = merge(SPEC, record, edit(11, set={"title": "b"}), TECHNICIAN, EARLY)
    assert (merged.record.body["title"], merged.clashes, merged.concurrent) == ("b", (), False)


@pytest.mark.parametrize(
    ("field", "first", "second", "stands", "open_"),
    [
        ("title", (TECHNICIAN, EARLY), (DISPATCHER, LATE), "second", False),
        ("title", (TECHNICIAN, LATE), (DISPATCHER, EARLY), "first", False),
        ("title", (TECHNICIAN, LATE), (DISPATCHER, LATE), "second", False),
        ("title", (DISPATCHER, LATE), (TECHNICIAN, LATE), "first", False),
        ("title", (TECHNICIAN, EARLY), (RULES, LATE), "first", False),
        ("title", (RULES, LATE), (TECHNICIAN, EARLY), "second", False),
        ("remedy", (TECHNICIAN, EARLY), (DISPATCHER, LATE), "first", False),
        ("remedy", (DISPATCHER, LATE), (TECHNICIAN, EARLY), "second", False),
        ("remedy", (TECHNICIAN, EARLY), (OTHER_TECHNICIAN, LATE), "second", False),
        ("remedy", (RULES, LATE), (DISPATCHER, EARLY), "second", False),
        ("serial", (TECHNICIAN, EARLY), (DISPATCHER, LATE), "first", True),
        ("serial", (DISPATCHER, LATE), (TECHNICIAN, EARLY), "first", True),
        ("fact", (TECHNICIAN, EARLY), (DISPATCHER, LATE), "first", False),
    ],
)
def test_of_two_concurrent_values_one_stands_and_the_other_is_held(
    field: str, first: tuple[Author, int], second: tuple[Author, int], stands: str, open_: bool
) -> None:
    after, held = race((first[0], edit(set={field: "first"}), first[1]), (second[0], edit(set={field: "second"}), second[1]))
    loser = "first" if stands == "second" else "second"
    by = (first if loser == "first" else second)[0].device
    assert after[field] == stands
    assert held == (Clash(field, stands, loser, by, open_),)


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        ((TECHNICIAN, EARLY), (DISPATCHER, EARLY), 2),
        ((DISPATCHER, EARLY), (TECHNICIAN, LATE), 1),
        ((RULES, LATE), (TECHNICIAN, EARLY), 2),
    ],
)
def test_where_the_office_wins_it_wins_early_or_late(first: tuple[Author, int], second: tuple[Author, int], stands: int) -> None:
    after, held = race((first[0], edit(set={"price": 1}), first[1]), (second[0], edit(set={"price": 2}), second[1]))
    assert after["price"] == stands
    assert [clash.held for clash in held] == [3 - stands]


def test_increments_add_up_and_extremes_stay() -> None:
    assert race((DISPATCHER, edit(inc={"used": 3}), LATE), (TECHNICIAN, edit(inc={"used": -1}), EARLY))[0]["used"] == 2
    after, held = race((DISPATCHER, edit(set={"peak": 5, "floor": 5}), LATE), (TECHNICIAN, edit(set={"peak": 3, "floor": 3}), LATE))
    assert (after["peak"], after["floor"], held) == (5, 3, ())


def test_entries_of_both_stand_in_the_order_of_their_time() -> None:
    late, early = {"id": "e1", "at": 20}, {"id": "e2", "at": 10}
    after, held = race((DISPATCHER, edit(append={"log": [late]}), EARLY), (TECHNICIAN, edit(append={"log": [early]}), LATE))
    assert (after["log"], held) == ([early, late], ())


def test_an_entry_whose_id_stands_for_another_one_is_held() -> None:
    one, other = {"id": "e", "note": "one"}, {"id": "e", "note": "other"}
    after, held = race((DISPATCHER, edit(append={"log": [one]}), EARLY), (TECHNICIAN, edit(append={"log": [other]}), LATE))
    assert (after["log"], held) == ([one], (Clash("log", one, other, TECHNICIAN.device, open=False),))
    merged = merge(SPEC, made(), edit(append={"log": [one, one, other]}), TECHNICIAN, LATE)
    assert (merged.record.body["log"], [clash.held for clash in merged.clashes]) == ([one], [other])


def test_true_is_not_one() -> None:
    merged = merge(SPEC, made(custom={"flag": 1}), edit(set={"custom": {"flag": True}}), TECHNICIAN, LATE)
    assert merged.record.body["custom"]["flag"] is True


# Sets ----------------------------------------------------------------------------------------------------------------------


def test_adding_an_element_wins_over_removing_it_at_the_same_time() -> None:
    add, remove = edit(add={"tags": ["vip"]}), edit(remove={"tags": ["vip"]})
    for first, second in (((DISPATCHER, add, LATE), (REP, remove, LATE)), ((DISPATCHER, remove, LATE), (REP, add, EARLY))):
        after, held = race(first, second, tags=["vip"])
        assert (after["tags"], held) == (["vip"], ())


def test_an_element_that_was_seen_can_be_removed() -> None:
    record = numbered(merge(SPEC, made(), edit(add={"tags": ["a", "b"]}), DISPATCHER, EARLY), 11)
    assert merge(SPEC, record, edit(11, remove={"tags": ["a"]}), REP, LATE).record.body["tags"] == ["b"]
    assert merge(SPEC, record, edit(10, remove={"tags": ["a"]}), DISPATCHER, LATE).record.body["tags"] == ["b"]


def test_to_add_and_then_remove_does_not_take_away_what_somebody_else_added_meanwhile() -> None:
    record = numbered(merge(SPEC, made(), edit(add={"tags": ["vip"]}), DISPATCHER, EARLY), 11)
    record = numbered(merge(SPEC, record, edit(add={"tags": ["vip"]}), REP, LATE), 12)
    assert merge(SPEC, record, edit(remove={"tags": ["vip"]}), REP, LATE).record.body["tags"] == ["vip"]
    assert merge(SPEC, record, edit(12, remove={"tags": ["vip"]}), REP, LATE).record.body["tags"] == []


# Maps ----------------------------------------------------------------------------------------------------------------------


def keys(**values: Any) -> Edit:
    return edit(set={"custom": values})


def test_a_map_merges_key_by_key() -> None:
    after, held = race((DISPATCHER, keys(a=1), LATE), (TECHNICIAN, keys(b=2), EARLY), custom={"a": 0, "b": 0, "c": 0})
    assert (after["custom"], held) == ({"a": 1, "b": 2, "c": 0}, ())


def test_of_one_key_the_last_writer_wins() -> None:
    after, held = race((DISPATCHER, keys(a=1), LATE), (TECHNICIAN, keys(a=2), EARLY))
    assert (after["custom"], held) == ({"a": 1}, (Clash("custom.a", 1, 2, TECHNICIAN.device, open=False),))
    after, held = race((DISPATCHER, keys(a=1), EARLY), (TECHNICIAN, keys(a=2), LATE))
    assert (after["custom"], held) == ({"a": 2}, (Clash("custom.a", 2, 1, DISPATCHER.device, open=False),))


def test_removing_a_key_is_a_write_like_any_other() -> None:
    after, held = race((DISPATCHER, keys(a=None), LATE), (TECHNICIAN, keys(a=2), EARLY), custom={"a": 1})
    assert (after["custom"], held) == ({}, (Clash("custom.a", None, 2, TECHNICIAN.device, open=False),))
    after, held = race((DISPATCHER, keys(a=2), EARLY), (TECHNICIAN, keys(a=None), LATE), custom={"a": 1})
    assert (after["custom"], held) == ({}, (Clash("custom.a", None, 2, DISPATCHER.device, open=False),))


def test_writing_one_key_does_not_hide_a_conflict_on_another() -> None:
    """Scenario 14 within a map: the device's own write of `a` comes between somebody's `b` and the device's `b`."""
    record = numbered(merge(SPEC, made(), keys(b="theirs"), DISPATCHER, EARLY), 11)
    record = numbered(merge(SPEC, record, keys(a="mine"), TECHNICIAN, LATE), 12)
    merged = merge(SPEC, record, keys(b="mine"), TECHNICIAN, LATE + 1)
    assert [clash.held for clash in merged.clashes] == ["theirs"]


def test_a_key_that_nobody_else_touched_is_no_conflict_whoever_wrote_others() -> None:
    record = numbered(merge(SPEC, made(custom={"a": 1}), keys(b=1), DISPATCHER, LATE), 11)
    merged = merge(SPEC, record, keys(a=2), TECHNICIAN, EARLY)
    assert (merged.record.body["custom"], merged.clashes) == ({"a": 2, "b": 1}, ())


# Texts ---------------------------------------------------------------------------------------------------------------------


def test_the_same_notes_edited_by_both() -> None:
    """Scenario 29."""
    base = "gate 12 dog"
    mine, apart, across = (edit(edit={"notes": [base, t]}) for t in ("gate 34 dog", "gate 12 dog asleep", "gate 56 dog"))
    assert race((DISPATCHER, mine, LATE), (TECHNICIAN, apart, EARLY), notes=base)[0]["notes"] == "gate 34 dog asleep"
    after, held = race((DISPATCHER, mine, LATE), (TECHNICIAN, across, EARLY), notes=base)
    assert after["notes"] == "gate ‹34¦56› dog"
    assert held == (Clash("notes", "gate ‹34¦56› dog", "gate 56 dog", TECHNICIAN.device, open=True),)


def test_a_chain_of_edits_of_a_text_on_its_own_pending_base_merges_with_what_others_wrote() -> None:
    record = numbered(
        merge(SPEC, made(notes="one two three"), edit(edit={"notes": ["one two three", "ONE two three"]}), DISPATCHER, 1), 11
    )
    for seq, (seen, wrote) in enumerate([("one two three", "one two THREE"), ("one two THREE", "one two THREE four")], 12):
        merged = merge(SPEC, record, edit(edit={"notes": [seen, wrote]}), TECHNICIAN, LATE)
        assert merged.clashes == ()
        record = numbered(merged, seq)
    assert record.body["notes"] == "ONE two THREE four"


# Chains --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["title", "remedy", "serial"])
def test_a_chain_of_offline_edits_does_not_conflict_with_itself(field: str) -> None:
    """Scenario 14: all three rest on the base that the device saw."""
    record = made()
    for seq, value in enumerate("abc", SEEN + 1):
        merged = merge(SPEC, record, edit(set={field: value}), TECHNICIAN, LATE + seq)
        assert (merged.clashes, merged.concurrent) == ((), False)
        record = numbered(merged, seq)
    assert record.body[field] == "c"


@pytest.mark.parametrize("stamp", [EARLY, LATE + 100])
@pytest.mark.parametrize("field", ["title", "price", "remedy", "serial"])
def test_a_chain_of_offline_edits_does_not_hide_a_real_conflict(field: str, stamp: int) -> None:
    """Scenario 14: somebody else's value is held or stands, wherever in the chain it lands."""
    theirs: Any = 99 if field == "price" else "theirs"
    chain: list[Any] = [1, 2] if field == "price" else ["one", "two"]
    record = numbered(merge(SPEC, made(), edit(set={field: theirs}), DISPATCHER, stamp), 11)
    clashes: list[Clash] = []
    for seq, value in enumerate(chain, 12):
        merged = merge(SPEC, record, edit(set={field: value}), TECHNICIAN, LATE + seq)
        clashes += merged.clashes
        record = numbered(merged, seq)
    assert record.body[field] == theirs or theirs in [clash.held for clash in clashes]
    assert record.body[field] == chain[-1] or chain[-1] in [clash.held for clash in clashes]


# Deleting ------------------------------------------------------------------------------------------------------------------


def gone(**fields: Any) -> Record:
    return numbered(merge(SPEC, made(**fields), edit(delete=True), DISPATCHER, EARLY), 11)


def test_deleting_twice_is_deleting_once() -> None:
    assert merge(SPEC, gone(), edit(delete=True), MANAGER, LATE) == Merged(gone(), 0)


@pytest.mark.parametrize(
    "ops",
    [{"set": {"remedy": "new valve"}}, {"inc": {"used": 1}}, {"append": {"log": [{"id": "e"}]}}, {"set": {"fact": "seen"}}],
)
def test_a_fact_brings_back_a_record_that_was_deleted_meanwhile(ops: dict[str, Any]) -> None:
    """Scenario 31."""
    both = ops | {"set": ops.get("set", {}) | {"title": "also"}}
    merged = merge(SPEC, gone(title="kept"), edit(**both), TECHNICIAN, LATE)
    assert not merged.record.deleted
    assert merged.concurrent
    assert Clash("", "restored", "deleted", DISPATCHER.device, open=False) in merged.clashes
    assert merged.mask & 1


@pytest.mark.parametrize(
    ("base", "author", "ops"),
    [
        (SEEN, TECHNICIAN, {"set": {"title": "an opinion"}}),
        (SEEN, TECHNICIAN, {"add": {"tags": ["x"]}}),
        (SEEN, TECHNICIAN, {"set": {"remedy": "known before"}, "inc": {"used": 0}}),
        (SEEN, TECHNICIAN, {"append": {"log": [{"id": "e"}]}}),
        (11, TECHNICIAN, {"set": {"remedy": "new valve"}}),
        (SEEN, DISPATCHER, {"set": {"remedy": "new valve"}}),
        (11, TECHNICIAN, {"create": True, "set": {"home": "H2"}}),
    ],
)
def test_anything_less_than_a_new_fact_waits_for_a_person(base: int, author: Author, ops: dict[str, Any]) -> None:
    record = gone(remedy="known before", log=[{"id": "e"}])
    if "create" in ops:
        assert refused(record, edit(base, **ops), author) == ("operation", "home")
    else:
        assert refused(record, edit(base, **ops), author) == ("deleted", "")


def test_creating_it_again_brings_back_a_record_that_one_knows_was_deleted() -> None:
    merged = merge(SPEC, gone(title="old"), edit(11, create=True, set={"home": "H1", "title": "new"}), MANAGER, LATE)
    assert (merged.record.deleted, merged.record.body["title"], merged.clashes) == (False, "new", ())
    assert refused(gone(), edit(0, create=True, set={"home": "H1"}), MANAGER) == ("deleted", "")


def test_a_record_with_facts_that_the_deleter_did_not_see_stays() -> None:
    record = numbered(merge(SPEC, made(), edit(set={"remedy": "new valve"}), TECHNICIAN, EARLY), 11)
    merged = merge(SPEC, record, edit(delete=True), DISPATCHER, LATE)
    assert (merged.record, merged.mask) == (record, 0)
    assert [clash.open for clash in merged.clashes] == [True]


def test_other_edits_that_the_deleter_did_not_see_are_held_for_a_person() -> None:
    record = numbered(merge(SPEC, made(), edit(set={"title": "mine"}, add={"tags": ["x"]}), TECHNICIAN, EARLY), 11)
    merged = merge(SPEC, record, edit(delete=True), DISPATCHER, LATE)
    assert merged.record.deleted
    assert merged.clashes == (Clash("", "deleted", {"title": "mine", "tags": ["x"]}, TECHNICIAN.device, open=True),)
    by_rule = numbered(merge(SPEC, made(), edit(set={"score": 9}), RULES, EARLY), 11)
    assert merge(SPEC, by_rule, edit(delete=True), DISPATCHER, LATE).clashes == ()


# Freezing ------------------------------------------------------------------------------------------------------------------


def test_a_quote_that_was_sent_does_not_change_but_for_its_state() -> None:
    quote = REGISTRY["quote"]
    creation = Edit("Q1", 0, create=True, set={"opportunity": "O", "price_book": "P"})
    record = numbered(merge(quote, None, creation, REP, 1), 1)
    record = numbered(merge(quote, record, Edit("Q1", 1, set={"status": "sent", "discount_pct": 5}), REP, 2), 2)
    for ops in ({"discount_pct": 6}, {"lines": {"1": {"product": "X", "quantity": 1, "price_cents": 1}}}, {"valid_to": 7}):
        with pytest.raises(Refused, match="a quote that is sent does not change"):
            merge(quote, record, Edit("Q1", 2, set=ops), REP, 3)
    assert merge(quote, record, Edit("Q1", 2, set={"discount_pct": 5, "valid_to": None}), REP, 3).mask == 0
    signed = merge(quote, record, Edit("Q1", 2, set={"status": "signed"}), TECHNICIAN, 3)
    assert signed.record.body["status"] == "signed"


def test_the_server_holds_conflicts_that_everybody_can_read() -> None:
    """The longest name that a clash can have, and the widest values, fit the entity that keeps it."""
    conflict = REGISTRY["conflict"]
    body = {
        "scope": "work_order:01HF7YAT000000000000000000",
        "subject_entity": "work_order",
        "subject": "01HF7YAT000000000000000000",
        "field": f"custom.{'k' * 40}",
        "kept": None,
        "held": {"any": ["thing", 1, None]},
    }
    conflict.decoder.decode(encode_body(body))
    merge(conflict, None, Edit("C1", 0, create=True, set=body), Author(1, "rules", Role.SERVER), LATE)
