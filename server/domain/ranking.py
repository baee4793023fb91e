"""Which offers to make on a visit: from plain facts to a few offers with their reason in words and what each may be worth. Pure.

The expected value of an offer is *value × need × acceptance*. Need is how likely the customer has a use for it within a year; for
a machine that ages it is the chance that it wears out, by a Weibull law with shape 3 and the product's lifetime as its median
(Abernethy, The New Weibull Handbook, ch. 2: wear-out has shapes of 3 to 4). Acceptance is how often such offers are taken: a Beta
posterior, the rule's prior first, then the answers of all customers, then those at this very site.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from server.domain.business_hours import utc_day

DAY_MS: Final = 86_400_000
YEAR_DAYS: Final = 365.25
WEAR_OUT: Final = 3.0

REPLACE: Final = "replace"
WARRANTY: Final = "warranty"
CONTRACT: Final = "contract"
AFFINITY: Final = "affinity"
RECOMMENDED: Final = "recommended"


_PRIOR: Final = {REPLACE: 0.25, WARRANTY: 0.2, CONTRACT: 0.15, AFFINITY: 0.3, RECOMMENDED: 0.4}


class OfferRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The business rule "offers". `services` names the product that is sold for a kind (warranty, contract); without it, it is the
    cheapest product of `service_family`. `prior` is the acceptance that is assumed of a kind, worth `prior_answers` answers."""

    most: int = 3
    least_chance: float = 0.01
    replace_from: float = 0.7
    expiry_days: int = 90
    services: dict[str, str] = {}
    service_family: str = "service"
    prior: dict[str, float] = msgspec.field(default_factory=_PRIOR.copy)
    prior_answers: float = 10.0
    site_answers: float = 1.0


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much more often than by chance customers have both (`lift`), which share of the one's owners has the other, how many."""

    lift: float
    share: float
    customers: int


class Affinity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The business rule "offer_affinity", which the server learns from what was sold: product → other product → pair."""

    pairs: dict[str, dict[str, Pair]] = {}


class Machine(msgspec.Struct, frozen=True):
    id: str
    name: str
    product: str | None
    installed_ms: int | None
    warranty_end_ms: int | None


class Covered(msgspec.Struct, frozen=True):
    """A contract in force; with no `assets` it covers all. `renewing` says that its renewal is in somebody's hands already."""

    name: str
    end_ms: int
    assets: frozenset[str]
    renewing: bool


class Advice(msgspec.Struct, frozen=True):
    product: str
    words: str
    at_ms: int | None
    asset: str | None


class Ware(msgspec.Struct, frozen=True):
    id: str
    name: str
    family: str
    price_cents: int
    lifetime_days: int | None
    substitutes: tuple[str, ...]


class Tally(msgspec.Struct, frozen=True):
    taken: int = 0
    declined: int = 0


class Facts(msgspec.Struct, frozen=True):
    """All that the offers of one visit depend on. `elsewhere` and `here` count answers by (kind, family)."""

    at_ms: int
    machines: tuple[Machine, ...]
    contracts: tuple[Covered, ...]
    advice: tuple[Advice, ...]
    wares: Mapping[str, Ware]
    pairs: Mapping[str, Mapping[str, Pair]]
    elsewhere: Mapping[tuple[str, str], Tally] = {}
    here: Mapping[tuple[str, str], Tally] = {}
    answered: frozenset[str] = frozenset()
    """Products that this customer has said yes or no to on this very order."""


class Ranked(msgspec.Struct, frozen=True):
    product: str
    kind: str
    asset: str | None
    reason: str
    chance: float
    value_cents: int
    expected_cents: int


class _Idea(msgspec.Struct, frozen=True):
    ware: Ware
    kind: str
    asset: str | None
    need: float
    words: str


def rank(rule: OfferRule, facts: Facts) -> tuple[Ranked, ...]:
    """The best offers, the most promising first; of one product at most one."""
    best: dict[str, Ranked] = {}
    for idea in _ideas(rule, facts):
        offer = _valued(rule, facts, idea)
        known = best.get(offer.product)
        if offer.product in facts.answered or offer.chance < rule.least_chance or offer.expected_cents <= 0:
            continue
        if known is None or offer.expected_cents > known.expected_cents:
            best[offer.product] = offer
    return tuple(sorted(best.values(), key=lambda o: (-o.expected_cents, o.product))[: rule.most])


def wears_out(age_days: float, lifetime_days: float, within_days: float = YEAR_DAYS) -> float:
    """The chance that what has lasted so long fails within a stretch of time: 1 − S(a + d) ÷ S(a), S(a) = 2^−(a ÷ lifetime)³."""
    spent, to_spend = ((days / lifetime_days) ** WEAR_OUT for days in (age_days, age_days + within_days))
    return 1.0 - math.exp2(spent - to_spend)


def acceptance(rule: OfferRule, kind: str, elsewhere: Tally, here: Tally) -> float:
    """How likely an offer of this kind is taken: the prior, moved by the answers elsewhere, then by those at this site."""
    prior = rule.prior.get(kind, 0.1)
    asked = elsewhere.taken + elsewhere.declined
    rate = (elsewhere.taken + prior * rule.prior_answers) / (asked + rule.prior_answers)
    return (here.taken + rate * rule.site_answers) / (here.taken + here.declined + rule.site_answers)


def _valued(rule: OfferRule, facts: Facts, idea: _Idea) -> Ranked:
    group = (idea.kind, idea.ware.family)
    elsewhere, here = facts.elsewhere.get(group, Tally()), facts.here.get(group, Tally())
    chance = round(min(1.0, idea.need * acceptance(rule, idea.kind, elsewhere, here)), 3)
    value = idea.ware.price_cents
    words = f"{idea.words} {_experience(elsewhere, here)}".strip()
    return Ranked(idea.ware.id, idea.kind, idea.asset, words, chance, value, round(chance * value))


def _experience(elsewhere: Tally, here: Tally) -> str:
    asked = elsewhere.taken + elsewhere.declined
    told = f"Such offers were taken {elsewhere.taken} of {asked} times." if asked else ""
    if here.declined:
        told += f" Declined here {_times(here.declined)}."
    if here.taken:
        told += f" Taken here {_times(here.taken)}."
    return told.strip()


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _ideas(rule: OfferRule, facts: Facts) -> Iterator[_Idea]:
    for machine in facts.machines:
        yield from _of_age(rule, facts, machine)
        yield from _of_warranty(rule, facts, machine)
    yield from _of_contracts(rule, facts)
    yield from _of_affinity(facts)
    for advice in facts.advice:
        if advice.product in facts.wares:
            when = f" on {utc_day(advice.at_ms)}" if advice.at_ms else ""
            words = f"Advised on an earlier visit{when}: “{advice.words[:200]}”."
            yield _Idea(facts.wares[advice.product], RECOMMENDED, advice.asset, 1.0, words)


def _of_age(rule: OfferRule, facts: Facts, machine: Machine) -> Iterator[_Idea]:
    ware = facts.wares.get(machine.product or "")
    if ware is None or not ware.lifetime_days or machine.installed_ms is None:
        return
    age_days = (facts.at_ms - machine.installed_ms) / DAY_MS
    if age_days < rule.replace_from * ware.lifetime_days:
        return
    newer = next((facts.wares[one] for one in ware.substitutes if one in facts.wares), ware)
    need = wears_out(age_days, ware.lifetime_days)
    words = (
        f"{machine.name or ware.name} is {age_days / YEAR_DAYS:.1f} years old, and such last {ware.lifetime_days / YEAR_DAYS:.0f}: "
        f"{need:.0%} of those that old fail within a year."
    )
    yield _Idea(newer, REPLACE, machine.id, need, words)


def _of_warranty(rule: OfferRule, facts: Facts, machine: Machine) -> Iterator[_Idea]:
    ware, end_ms = _service(rule, facts, WARRANTY), machine.warranty_end_ms
    if ware is None or end_ms is None or not -30 <= (end_ms - facts.at_ms) / DAY_MS <= rule.expiry_days:
        return
    ends = "ends" if end_ms >= facts.at_ms else "ended"
    yield _Idea(ware, WARRANTY, machine.id, 1.0, f"The warranty of {machine.name or 'the machine'} {ends} on {utc_day(end_ms)}.")


def _of_contracts(rule: OfferRule, facts: Facts) -> Iterator[_Idea]:
    ware = _service(rule, facts, CONTRACT)
    if ware is None:
        return
    standing = [one for one in facts.contracts if one.end_ms > facts.at_ms]
    for contract in standing:
        if (contract.end_ms - facts.at_ms) / DAY_MS <= rule.expiry_days and not contract.renewing:
            yield _Idea(ware, CONTRACT, None, 1.0, f"The contract {contract.name} ends on {utc_day(contract.end_ms)}.")
    bare = [m for m in facts.machines if not any(not one.assets or m.id in one.assets for one in standing)]
    if bare:
        others = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
        yield _Idea(ware, CONTRACT, bare[0].id, 0.5, f"No contract covers {bare[0].name or 'the machine'}{others}.")


def _of_affinity(facts: Facts) -> Iterator[_Idea]:
    owned = {machine.product: machine for machine in facts.machines if machine.product}
    for product, machine in sorted(owned.items()):
        for other, pair in facts.pairs.get(product, {}).items():
            if other in facts.wares and other not in owned:
                own = facts.wares[product].name if product in facts.wares else "the machine here"
                words = (
                    f"{pair.share:.0%} of customers with {own} have {facts.wares[other].name} too, {pair.lift:.1f} × the average."
                )
                yield _Idea(facts.wares[other], AFFINITY, machine.id, pair.share, words)


def _service(rule: OfferRule, facts: Facts, kind: str) -> Ware | None:
    if kind in rule.services:
        return facts.wares.get(rule.services[kind])
    found = [ware for ware in facts.wares.values() if ware.family == rule.service_family]
    return min(found, key=lambda ware: (ware.price_cents, ware.id), default=None)


def pairs_of(
    counted: Iterable[tuple[str, str, int, int, int, int]], *, least: int = 3, lift: float = 1.2, most: int = 5
) -> Affinity:
    """Affinity from (product, other, customers with both, with the one, with the other, all): lift = P(both) ÷ (P(one) · P(other)).

    Pairs of fewer than `least` customers or less than `lift` tell nothing; of each product the `most` telling ones are kept.
    """
    found: dict[str, list[tuple[str, Pair]]] = {}
    for one, other, both, ones, others, everybody in counted:
        pair = Pair(round(both * everybody / (ones * others), 2), round(both / ones, 3), both)
        if both >= least and pair.lift >= lift:
            found.setdefault(one, []).append((other, pair))
    return Affinity(
        {one: dict(sorted(pairs, key=lambda entry: (-entry[1].lift, entry[0]))[:most]) for one, pairs in sorted(found.items())}
    )
