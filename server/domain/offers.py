"""Offers for the visits ahead: computed when a visit is planned and as days pass, answered on the device, learned from."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from server.author import create, update
from server.domain import rulebook
from server.domain.event import Clock, Event, Rules
from server.domain.ranking import (
    DAY_MS,
    RECOMMENDED,
    Advice,
    Affinity,
    Covered,
    Facts,
    Machine,
    OfferRule,
    Pair,
    Ranked,
    Tally,
    Ware,
    pairs_of,
    rank,
)
from server.storage.leads import AWAITED, bought_together, mark, marked_ms, offer_answers, visits_to_prepare
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.entities.customers import AssetStatus
from sync.entities.flows import AppointmentStatus, ContractStatus, OfferStatus, RecommendationStatus
from sync.protocol import Change

KIND: Final = "offers"
AFFINITY_KIND: Final = "offer_affinity"
REMEMBER_MS: Final = 730 * DAY_MS
"""How long an answer counts."""
AHEAD_MS: Final = 7 * DAY_MS
BATCH: Final = 20
LEAST_CUSTOMERS: Final = 3
_UNDONE: Final = frozenset({AppointmentStatus.UNSCHEDULED, AppointmentStatus.REJECTED, AppointmentStatus.CANCELED})


async def prepare_offers(event: Event) -> Iterable[Change]:
    """A visit is planned, moved or called off: its offers follow."""
    return await offers_of(event.tenant, event.fields["work_order"], event.now_ms)


async def learn_from_answer(event: Event) -> Iterable[Change]:
    """An answer settles the advice that the offer came from, and ranks the offers of the site's other visits anew."""
    tenant, offer = event.tenant, event.fields
    if offer.get("status") not in (OfferStatus.TAKEN, OfferStatus.DECLINED):
        return ()
    order = await tenant.record("work_order", offer["work_order"])
    if order is None:
        return ()
    site = msgspec.json.decode(order.fields)["site"]
    changes: list[Change] = []
    if offer["status"] == OfferStatus.TAKEN and offer.get("kind") == RECOMMENDED:
        table = projections["recommendation"].c
        advised = [table.site == site, table.product == offer["product"], table.status == RecommendationStatus.OPEN]
        rows = await tenant.rows("recommendation", advised)
        bases = await tenant.versions("recommendation", [row.id for row in rows])
        changes += [update("recommendation", row.id, bases[row.id], status=RecommendationStatus.DONE) for row in rows]
    orders, visits = projections["work_order"].c, projections["appointment"].c
    ahead = sa.select(visits.work_order).where(visits.tenant_id == tenant.tenant_id, visits.status.in_(AWAITED))
    for other in await tenant.rows("work_order", [orders.site == site, orders.id != order.id, orders.id.in_(ahead)], limit=BATCH):
        changes += await offers_of(tenant, other.id, event.now_ms)
    return changes


async def offers_of(tenant: Tenant, order_id: str, now_ms: int) -> list[Change]:
    """What has to change so that a work order has the offers that it should have; nothing once a visit is under way."""
    held = await tenant.record("work_order", order_id)
    if held is None:
        return []
    visits = await tenant.rows("appointment", [projections["appointment"].c.work_order == order_id])
    ahead = [v.planned_start for v in visits if v.status in AWAITED and v.technician and v.planned_start is not None]
    if not ahead and any(v.status not in _UNDONE and v.status not in AWAITED for v in visits):
        return []
    known = await tenant.rows("offer", [projections["offer"].c.work_order == order_id])
    number, ranked = 0, tuple[Ranked, ...]()
    if ahead:
        number, rule = await rulebook.in_force(tenant, KIND, OfferRule, now_ms)
        order = msgspec.json.decode(held.fields)
        facts = await _facts(tenant, rule, order, min(ahead), now_ms)
        answered = frozenset(o.product for o in known if o.status not in (OfferStatus.OPEN, OfferStatus.WITHDRAWN))
        ranked = rank(rule, msgspec.structs.replace(facts, answered=answered)) if facts else ()
    if not ranked and not known:
        return []
    bases = await tenant.versions("offer", [row.id for row in known])
    return list(_differing(order_id, number, ranked, {row.id: row for row in known}, bases))


def _differing(
    order_id: str, number: int, ranked: Sequence[Ranked], known: Mapping[str, Any], bases: Mapping[str, int]
) -> Iterable[Change]:
    wanted = set[str]()
    for position, offer in enumerate(ranked, 1):
        offer_id = _id(order_id, offer)
        wanted.add(offer_id)
        row = known.get(offer_id)
        computed = {
            "reason": offer.reason,
            "chance": offer.chance,
            "value_cents": offer.value_cents,
            "expected_cents": offer.expected_cents,
            "position": position,
            "rule_version": number,
        }
        if row is None:
            fixed = {"work_order": order_id, "product": offer.product, "asset": offer.asset, "kind": offer.kind}
            yield create("offer", offer_id, **fixed, **computed)
        elif row.status == OfferStatus.WITHDRAWN:
            yield update("offer", offer_id, bases[offer_id], **computed, status=OfferStatus.OPEN)
        elif row.status == OfferStatus.OPEN and _tells_more(row, position, offer):
            yield update("offer", offer_id, bases[offer_id], **computed)
    for offer_id, row in known.items():
        if offer_id not in wanted and row.status == OfferStatus.OPEN:
            yield update("offer", offer_id, bases[offer_id], status=OfferStatus.WITHDRAWN)


def _tells_more(row: Any, position: int, offer: Ranked) -> bool:
    """Whether a device should hear of it: a tenth more or less of value, or another order."""
    return bool(row.position != position or abs(row.expected_cents - offer.expected_cents) * 10 > row.expected_cents)


def _id(order_id: str, offer: Ranked) -> str:
    """The id follows from what is offered, so that two processes make one offer."""
    plain = f"{order_id}.{offer.product}.{offer.kind}"
    return plain if len(plain) <= 80 else f"offer.{sha256(plain.encode()).hexdigest()[:40]}"


async def _facts(tenant: Tenant, rule: OfferRule, order: Mapping[str, Any], at_ms: int, now_ms: int) -> Facts | None:
    """What is known of the site, its machines and its customer; None if there is nothing to go by."""
    asset, advice, contract = (projections[name].c for name in ("asset", "recommendation", "contract"))
    machines = await tenant.rows("asset", [asset.site == order["site"], asset.status != AssetStatus.REMOVED])
    open_advice = [advice.site == order["site"], advice.status == RecommendationStatus.OPEN, advice.product.is_not(None)]
    advised = await tenant.rows("recommendation", open_advice)
    if not machines and not advised:
        return None
    contracts = await tenant.rows(
        "contract", [contract.account == order["account"], contract.status == ContractStatus.ACTIVE, contract.end > at_ms]
    )
    _, learned = await rulebook.in_force(tenant, AFFINITY_KIND, Affinity, now_ms)
    owned = {row.product for row in machines if row.product}
    wares, pairs = await _wares(tenant, rule, owned, owned | {row.product for row in advised}, learned)
    elsewhere: dict[tuple[str, str], Tally] = {}
    here: dict[tuple[str, str], Tally] = {}
    for kind, family, is_here, status, count in await offer_answers(tenant, order["site"], now_ms - REMEMBER_MS):
        tallies = here if is_here else elsewhere
        taken, declined = (count, 0) if status == OfferStatus.TAKEN else (0, count)
        so_far = tallies.get((kind, family), Tally())
        tallies[kind, family] = Tally(so_far.taken + taken, so_far.declined + declined)
    return Facts(
        at_ms,
        tuple(Machine(m.id, m.name, m.product, m.installed_on, m.warranty_end) for m in machines),
        tuple(Covered(c.name, c.end, frozenset(c.covered_assets or ()), c.renewal_opportunity is not None) for c in contracts),
        tuple(Advice(a.product, a.words, a.at, a.asset) for a in advised),
        wares,
        pairs,
        elsewhere,
        here,
    )


async def _wares(
    tenant: Tenant, rule: OfferRule, owned: set[str], named: set[str], learned: Affinity
) -> tuple[dict[str, Ware], dict[str, dict[str, Pair]]]:
    """The products that could be offered, by id and by sku, and what goes with those that stand here."""
    table = projections["product"].c
    services = sa.or_(table.family == rule.service_family, table.id.in_(rule.services.values()))
    rows = list(await tenant.rows("product", [sa.or_(table.id.in_(named), services)]))
    pairs = {row.id: _imported(row.affinity) | learned.pairs.get(row.id, {}) for row in rows if row.id in owned}
    further = {other for found in pairs.values() for other in found} | {code for row in rows for code in row.substitutes or ()}
    if further:
        rows += await tenant.rows("product", [sa.or_(table.id.in_(further), table.sku.in_(further))])
    wares = {
        row.id: Ware(row.id, row.name, row.family, row.price_cents, row.lifetime_days, tuple(row.substitutes or ())) for row in rows
    }
    return {row.sku: wares[row.id] for row in rows} | wares, pairs


def _imported(lifts: Mapping[str, float] | None) -> dict[str, Pair]:
    """Lifts that somebody else computed; how many have the other product is not known, so a twentieth is taken as the average."""
    return {other: Pair(lift, min(1.0, lift / 20), 0) for other, lift in (lifts or {}).items() if lift > 1}


async def refresh_offers(tenant: Tenant, now_ms: int) -> list[list[Change]]:
    """Look again, once a day, at the offers of visits in the coming days."""
    due = await visits_to_prepare(tenant, KIND, now_ms, now_ms + AHEAD_MS, now_ms - DAY_MS, BATCH)
    if not due:
        return []
    await mark(tenant, KIND, due, now_ms)
    return [changes for order_id in due if (changes := await offers_of(tenant, order_id, now_ms))]


async def learn_affinity(tenant: Tenant, now_ms: int) -> list[list[Change]]:
    """Once a day, count anew what customers have together; a new version only if something has changed."""
    if await marked_ms(tenant, AFFINITY_KIND) > now_ms - DAY_MS:
        return []
    await mark(tenant, AFFINITY_KIND, [""], now_ms)
    found = pairs_of(await bought_together(tenant, LEAST_CUSTOMERS), least=LEAST_CUSTOMERS)
    _, known = await rulebook.in_force(tenant, AFFINITY_KIND, Affinity, now_ms)
    return [[await rulebook.next_version(tenant, AFFINITY_KIND, found, now_ms)]] if found != known else []


RULES: Final[Rules] = {"appointment": (prepare_offers,), "offer": (learn_from_answer,)}
CLOCKS: Final[tuple[Clock, ...]] = (refresh_offers, learn_affinity)
