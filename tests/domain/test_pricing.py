"""What a quote comes to: golden cases and laws."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.entities import Quote
from sync.entities.pricing import Price, breaches, content_sha256, line_cents, reason, totals, totals_of
from sync.entities.sales import QuoteLine

PERCENT = st.integers(0, 100_00).map(lambda n: n / 100)
LINES = st.lists(
    st.builds(
        QuoteLine,
        product=st.just("X1"),
        quantity=st.integers(-1_000, 1_000),
        price_cents=st.integers(0, 10**7),
        discount_pct=PERCENT,
    ),
    max_size=6,
)


def line(quantity: int, price_cents: int, discount_pct: float = 0, product: str = "X1") -> QuoteLine:
    return QuoteLine(product=product, quantity=quantity, price_cents=price_cents, discount_pct=discount_pct)


def quote(*lines: QuoteLine, **fields: object) -> Quote:
    return Quote(opportunity="O1", price_book="B1", lines={str(at): one for at, one in enumerate(lines, 1)}, **fields)


@pytest.mark.parametrize(
    ("lines", "discount_pct", "tax_pct", "expected"),
    [
        ([], 0, 0, (0, 0, 0)),
        ([line(2, 10_000)], 0, 19, (20_000, 3_800, 23_800)),
        ([line(1, 5, 50)], 0, 0, (3, 0, 3)),  # 2.5 rounds away from zero
        ([line(-1, 5, 50)], 0, 0, (-3, 0, -3)),  # and so does its reversal
        ([line(3, 333, 33.3)], 0, 0, (666, 0, 666)),  # 666.333
        ([line(1, 1_000, 12.1), line(1, 1_000, 12.1)], 0, 7.7, (1_758, 135, 1_893)),  # tax 135.366, of the net, once
        ([line(1, 99, 10), line(1, 99, 10)], 10, 0, (160, 0, 160)),  # 80.19 each: the discounts multiply, then a line is rounded
        ([line(1, 1_00, 100)], 0, 25, (0, 0, 0)),
        ([line(1, 15, 0.1)], 0, 0, (15, 0, 15)),  # 14.985
    ],
)
def test_totals_are_exact_cents(
    lines: list[QuoteLine], discount_pct: float, tax_pct: float, expected: tuple[int, int, int]
) -> None:
    sums = totals(lines, discount_pct, tax_pct)
    assert (sums.net_cents, sums.tax_cents, sums.total_cents) == expected


@given(LINES, PERCENT, PERCENT)
def test_the_net_is_the_sum_of_the_lines_and_no_line_is_off_by_more_than_half_a_cent(
    lines: list[QuoteLine], discount_pct: float, tax_pct: float
) -> None:
    sums = totals(lines, discount_pct, tax_pct)
    assert sums.net_cents == sum(line_cents(one, discount_pct) for one in lines)
    assert sums.total_cents == sums.net_cents + sums.tax_cents
    for one in lines:
        off = (100 - Fraction(str(one.discount_pct))) * (100 - Fraction(str(discount_pct))) / 10_000
        assert abs(one.quantity * one.price_cents * off - line_cents(one, discount_pct)) <= Fraction(1, 2)
        assert 0 <= abs(line_cents(one, discount_pct)) <= abs(one.quantity * one.price_cents)


@given(LINES, PERCENT)
def test_a_line_and_its_reversal_come_to_nothing(lines: list[QuoteLine], discount_pct: float) -> None:
    back = [line(-one.quantity, one.price_cents, one.discount_pct) for one in lines]
    assert totals([*lines, *back], discount_pct, 19).total_cents == 0


LIST = {"X1": Price("Pump", 10_000, 9_000), "X2": Price("Hour", 6_000)}


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (quote(line(1, 10_000)), []),
        (quote(line(1, 10_000, 10)), []),  # at the floor and at the limit
        (quote(line(1, 10_000, 5), discount_pct=5), []),  # 90.25
        (quote(line(1, 8_999)), ["Pump: 89.99 is below the floor of 90.00", "Pump: 10.01 % off the list, the limit is 10 %"]),
        (quote(line(1, 6_000, product="X2"), discount_pct=10.01), ["Hour: 10.01 % off the list, the limit is 10 %"]),
        (quote(line(0, 10_000)), ["Pump: a quantity of 0"]),
        (quote(line(1, 1, product="X9")), ["line 1 is not on the price list"]),
        (quote(line(2**40, 2**40)), ["the total is beyond what can be booked"]),
    ],
)
def test_what_needs_approval_is_said_in_words(offered: Quote, expected: list[str]) -> None:
    assert breaches(offered, LIST, 10) == expected


def test_a_long_reason_is_cut_to_its_field() -> None:
    assert len(reason(["x" * 90, "y" * 90, "z" * 90])) == 200


def test_the_hash_is_of_what_the_customer_is_offered_and_of_nothing_else() -> None:
    offered = quote(line(1, 10_000, 5), tax_pct=19)
    same = quote(line(1, 10_000, 5.0), tax_pct=19.0, net_cents=1, assessed="x", signed_by="Ana", approval="approved")
    assert content_sha256(offered) == content_sha256(same)
    others = [
        quote(line(2, 10_000, 5), tax_pct=19),
        quote(line(1, 10_000, 5), tax_pct=7),
        quote(line(1, 10_000, 5), tax_pct=19, notes="with a bow"),
        quote(line(1, 10_000, 5), tax_pct=19, valid_to=1),
        quote(tax_pct=19),
    ]
    assert len({content_sha256(one) for one in (offered, *others)}) == 6
    assert content_sha256(quote(line(1, 10_000, 12.5))) == "098fc849c6cef5c410e69258dfa62888d7c6b8df942478154989b7cd578151f7"
    assert totals_of(offered).total_cents == 11_305
