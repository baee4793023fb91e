"""What a quote comes to, what of it needs somebody's approval, and what exactly was signed. Pure: a device without signal and the
server come to the same cents.

All money is integer cents. The one rule of rounding: a line's net is worked out exactly, with its own discount and the quote's, and
rounded once, half away from zero, so that a line and its reversal add up to nothing. A quote's net is the sum of its lines' nets;
its tax is worked out of that and rounded once, the same way. A percentage counts as the decimal that it is written as: 12.1 is
121/1000, not the nearest binary fraction.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from typing import Final

import msgspec

from sync.entities.sales import Quote, QuoteLine

DEFAULT_LIMIT_PCT: Final = 10.0
"""The discount that needs nobody's approval where the house has no rule of its own."""
MAX_CENTS: Final = 2**52
"""What a field of cents can hold."""
_REASON_MAX: Final = 200


class Totals(msgspec.Struct, frozen=True):
    net_cents: int
    tax_cents: int
    total_cents: int


class Price(msgspec.Struct, frozen=True):
    """What the price list says of a product: its name, its price, and the least that may be asked for one."""

    name: str
    list_cents: int
    floor_cents: int = 0


def line_cents(line: QuoteLine, discount_pct: float = 0) -> int:
    """A line's net, in cents; `discount_pct` is the whole quote's."""
    return _rounded(_unit(line, discount_pct) * line.quantity)


def totals(lines: Iterable[QuoteLine | None], discount_pct: float = 0, tax_pct: float = 0) -> Totals:
    """Net, tax and total of these lines, in cents."""
    net = sum(line_cents(line, discount_pct) for line in lines if line is not None)
    tax = percent_of(net, tax_pct)
    return Totals(net, tax, net + tax)


def percent_of(cents: int, pct: float) -> int:
    """A percentage of an amount, rounded once, half away from zero."""
    return _rounded(cents * _share(pct))


def totals_of(quote: Quote) -> Totals:
    return totals(quote.lines.values(), quote.discount_pct, quote.tax_pct)


def breaches(quote: Quote, prices: Mapping[str, Price], limit_pct: float) -> list[str]:
    """Why a quote needs approval, in words; empty if it needs none. `prices` are those of the quote's own price book, by product.

    What a line asks per piece, all discounts taken, is held against the list: it may not lie under the floor, nor further below
    the list price than `limit_pct` allows, whether by a discount or by a lower price.
    """
    found = []
    for key, line in sorted(quote.lines.items()):
        if line is None:
            continue
        price = prices.get(line.product)
        if price is None:
            found.append(f"line {key} is not on the price list")
            continue
        unit = _unit(line, quote.discount_pct)
        if line.quantity < 1:
            found.append(f"{price.name}: a quantity of {line.quantity}")
        if unit < price.floor_cents:
            found.append(f"{price.name}: {money(_rounded(unit))} is below the floor of {money(price.floor_cents)}")
        if price.list_cents > 0 and (off := 1 - unit / price.list_cents) > _share(limit_pct):
            found.append(f"{price.name}: {float(off * 100):.4g} % off the list, the limit is {limit_pct:g} %")
    if max(map(abs, msgspec.structs.astuple(totals_of(quote)))) > MAX_CENTS:
        found.append("the total is beyond what can be booked")
    return found


def reason(found: Iterable[str]) -> str:
    """Breaches as one line of text that fits its field."""
    words = "; ".join(found)
    return words if len(words) <= _REASON_MAX else f"{words[: _REASON_MAX - 2]} …"


def content_sha256(quote: Quote) -> str:
    """The hash of everything that a customer is offered: what a signature is put under. Whoever signed, approved or added up is not
    in it.

    It is taken of a JSON array without blanks: opportunity, price book, number, valid_to, notes, discount, tax, and the lines by
    key as [key, product, quantity, price, discount]. Percentages are strings, in the shortest decimal form.
    """
    lines = [
        [key, line.product, line.quantity, line.price_cents, _plain(line.discount_pct)]
        for key, line in sorted(quote.lines.items(), key=lambda entry: entry[0].encode())
        if line is not None
    ]
    head = [quote.opportunity, quote.price_book, quote.number, quote.valid_to, quote.notes]
    said = [*head, _plain(quote.discount_pct), _plain(quote.tax_pct), lines]
    return sha256(msgspec.json.encode(said)).hexdigest()


def _unit(line: QuoteLine, discount_pct: float) -> Fraction:
    return line.price_cents * (1 - _share(line.discount_pct)) * (1 - _share(discount_pct))


def _share(pct: float) -> Fraction:
    return Fraction(str(pct)) / 100


def _rounded(cents: Fraction) -> int:
    whole = (2 * abs(cents.numerator) + cents.denominator) // (2 * cents.denominator)
    return whole if cents >= 0 else -whole


def _plain(pct: float) -> str:
    return format(Decimal(str(pct)).normalize(), "f")


def money(cents: int) -> str:
    """Cents as people read them: 1234.50."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"
