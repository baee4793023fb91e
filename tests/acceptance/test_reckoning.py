"""The demo's checker can fail: an honest day passes, and each way of doctoring it is found by the check that is meant for it."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from demo.check import Author, Evidence, divergences, doubled_writes, lost_writes, stock_differences
from demo.journal import Deed, Noted, Op
from demo.orders import Fate, Row

VAN, VISIT, ORDER = "technician:T", "P1", "W1"
PART = {"work_order": ORDER, "product": "X", "quantity": 2}
MOVE = {"location": VAN, "product": "X", "quantity": -2, "reason": "used", "at": 5}
STATUS = {"id": "E1", "at": 5, "status": "completed"}
Records = dict[str, dict[str, Row]]

DEEDS = (
    Deed(
        1,
        0,
        "finish",
        (
            Op("create", "part_used", "U1", PART),
            Op("create", "stock_move", "M1", MOVE),
            Op("set", "appointment", VISIT, {"status": "completed"}, {"status": "in_progress"}),
            Op("append", "appointment", VISIT, {"actual": STATUS}),
        ),
    ),
    Deed(2, 0, "symptom", (Op("set", "work_order", ORDER, {"symptom": "drips"}, {"symptom": ""}),)),
    Deed(3, 0, "access", (Op("text", "site", "S", {"access_notes": "Ring twice. Dog."}, {"access_notes": "Ring twice."}),)),
    Deed(4, 0, "a part of no catalogue", (Op("create", "part_used", "U2", PART | {"product": "none"}),)),
)


def records() -> Records:
    """What an honest server holds after these deeds; the office won the symptom, so the technician's is held."""
    clash = {"subject_entity": "work_order", "subject": ORDER, "field": "symptom", "kept": "smells", "held": "drips"}
    rows = (
        Row("part_used", "U1", 4, PART),
        Row("stock_move", "M0", 1, MOVE | {"quantity": 9, "reason": "received"}),
        Row("stock_move", "M1", 4, MOVE),
        Row("appointment", VISIT, 4, {"work_order": ORDER, "status": "completed", "actual": [STATUS]}),
        Row("work_order", ORDER, 5, {"account": "A", "site": "S", "symptom": "smells"}),
        Row("site", "S", 6, {"account": "A", "name": "S", "access_notes": "Ring twice. ‹Cat.¦Dog.›"}),
        Row("conflict", "C1", 5, clash),
    )
    found: Records = {}
    for row in rows:
        found.setdefault(row.entity, {})[row.id] = row
    return found


def author(last_n: int = 4, deeds: tuple[Deed, ...] = DEEDS) -> Author:
    fates = tuple(Fate(n, "parked" if n == 4 else "done", "parked" if n == 4 else "applied") for n in range(1, 5))
    return Author("T", Noted(deeds, {deed.k: deed.k for deed in deeds}), last_n, fates)


def evidence(found: Records, who: Author | None = None, parked: dict[tuple[str, int], tuple[str, ...]] | None = None) -> Evidence:
    refused = {("T", 4): ("reference: there is no product none",)} if parked is None else parked
    founding = (Op("create", "stock_move", "M0", MOVE | {"quantity": 9, "reason": "received"}),)
    return Evidence((who or author(),), found, refused, founding)


def test_an_honest_day_passes() -> None:
    honest = evidence(records())
    assert (lost_writes(honest), doubled_writes(honest), stock_differences(honest)) == ([], [], [])


def edited(entity: str, record_id: str, **fields: Any) -> Callable[[Records], object]:
    def doctor(found: Records) -> None:
        row = found[entity][record_id]
        found[entity][record_id] = msgspec.structs.replace(row, fields=row.fields | fields)

    return doctor


@pytest.mark.parametrize(
    ("doctor", "words"),
    [
        (lambda found: found["part_used"].pop("U1"), "part_used U1 is not there"),
        (edited("part_used", "U1", quantity=1), "quantity is 1, it was noted as 2"),
        (edited("appointment", VISIT, actual=[]), "has no entry E1"),
        (edited("appointment", VISIT, status="on_site"), "'completed' is neither there nor held"),
        (lambda found: found.pop("conflict"), "symptom = 'drips' is neither there nor held"),
        (edited("conflict", "C1", held="something else"), "symptom = 'drips' is neither there nor held"),
        (edited("site", "S", access_notes="Ring twice. Cat."), "access_notes"),
        (lambda found: found["part_used"].update(U2=Row("part_used", "U2", 7, PART)), "yet part of it was applied"),
    ],
)
def test_a_write_that_cannot_be_found_is_lost(doctor: Callable[[Records], object], words: str) -> None:
    found = records()
    doctor(found)
    assert [words in loss for loss in lost_writes(evidence(found))].count(True) == 1


def test_a_transaction_that_the_server_never_took_is_lost() -> None:
    assert any("up to 3, it has written 4" in loss for loss in lost_writes(evidence(records(), author(last_n=3))))


def test_a_parked_transaction_counts_only_with_its_reason() -> None:
    assert any("parked without a reason" in loss for loss in lost_writes(evidence(records(), parked={("T", 4): ()})))
    assert any("U2 is not there" in loss for loss in lost_writes(evidence(records(), parked={})))


def test_a_deed_cut_off_by_a_kill_is_there_whole_or_not_at_all() -> None:
    whole, cut = records(), records()
    del cut["part_used"]["U1"]
    who = Author("T", Noted(DEEDS[:1], {}), 1)
    assert lost_writes(evidence(whole, who, {})) == []
    assert any("half of it was applied" in loss for loss in lost_writes(evidence(cut, who, {})))


def test_a_visit_given_back_keeps_who_it_was_given_to() -> None:
    found = records()
    given = Deed(1, 0, "reassign", (Op("set", "appointment", VISIT, {"technician": "T2"}, {"technician": "T1"}),))
    who = Author("D", Noted((given,), {1: 1}), 1)
    assert any("technician = 'T2'" in loss for loss in lost_writes(evidence(found, who, {})))
    found["appointment"][f"{VISIT}.second.T2"] = Row("appointment", f"{VISIT}.second.T2", 9, {"technician": "T2"})
    assert lost_writes(evidence(found, who, {})) == []


def test_a_value_that_somebody_saw_and_replaced_is_not_lost() -> None:
    found = records()
    del found["conflict"]
    after = Author(
        "D", Noted((Deed(1, 0, "", (Op("set", "work_order", ORDER, {"symptom": "smells"}, {"symptom": "drips"}),)),), {1: 1}), 1
    )
    known = evidence(found)
    assert lost_writes(msgspec.structs.replace(known, authors=(*known.authors, after))) == []


@pytest.mark.parametrize(
    ("doctor", "words"),
    [
        (lambda found: found["part_used"].update(U9=Row("part_used", "U9", 4, PART)), "part_used U9 is there, and nobody made it"),
        (edited("appointment", VISIT, actual=[STATUS, STATUS]), "has E1 2 times"),
        (edited("appointment", VISIT, actual=[STATUS, STATUS | {"id": "E2"}]), "has E2, and nobody wrote it"),
    ],
)
def test_a_fact_that_is_there_twice_is_doubled(doctor: Callable[[Records], object], words: str) -> None:
    found = records()
    doctor(found)
    (doubled,) = doubled_writes(evidence(found))
    assert words in doubled


def test_stock_that_does_not_add_up_is_found() -> None:
    found = records()
    edited("stock_move", "M1", quantity=-1)(found)
    assert stock_differences(evidence(found)) == [f"X in {VAN}: the server has 8, the journals say 7"]


def test_devices_are_compared_record_by_record() -> None:
    server = [Row("product", "X", 3, {"sku": "1", "name": "pump"}), Row("product", "Y", 3, {"sku": "2", "name": "valve"})]
    same = [Row("product", "X", 3, {"sku": "1", "name": "pump", "unit": "pc"}), server[1]]
    assert divergences("T", same, server) == []
    assert divergences("T", same[:1], server) == ["T lacks product Y"]
    assert divergences("T", same, server[:1]) == ["T holds product Y, which it may not"]
    (other,) = divergences("T", [same[0], Row("product", "Y", 3, {"sku": "2", "name": "tap"})], server)
    assert "name: 'tap', 'valve'" in other
    (older,) = divergences("T", [same[0], Row("product", "Y", 2, server[1].fields)], server)
    assert "version 2" in older
    (pending,) = divergences("T", [same[0], Row("product", "Y", 3, server[1].fields, pending=True)], server)
    assert "still counts on" in pending
