"""Leads on their way from the field to a rep: matched, scored, routed, and not forgotten."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from server.author import update
from server.domain import rulebook
from server.domain.event import Clock, Event, Rules
from server.domain.look import hours_by_id
from server.domain.matching import (
    ContactMatching,
    LeadMatching,
    Likely,
    blocking_keys,
    compare,
    lead_fields,
    person_of_contact,
    person_of_lead,
)
from server.domain.routing import Choice, RoutingRule, Seller, choose, respond_by_ms
from server.domain.scoring import Scorecard, features_of
from server.storage.leads import managers, overdue_leads, sellers, set_keys, sharing
from server.storage.office import Held, Tenant
from server.storage.tables import projections
from sync.entities.customers import ActivityKind
from sync.entities.flows import LeadStatus
from sync.policies import SALES
from sync.protocol import Change

MATCHING: Final = "lead_matching"
CONTACTS: Final = "contact_matching"
SCORING: Final = "lead_score"
ROUTING: Final = "lead_routing"
OPEN: Final = (LeadStatus.CAPTURED, LeadStatus.QUALIFIED)
_MASTERS: Final = (*OPEN, LeadStatus.CONVERTED)
BATCH: Final = 50


async def merge_duplicates(event: Event) -> Iterable[Change]:
    """A second lead for the same need joins the first: one master, everybody who captured it credited.

    Undone by setting it back to captured: the credit goes back too. It still names its master then, and is not merged again.
    """
    tenant, lead = event.tenant, event.fields
    _, matcher = await rulebook.in_force(tenant, MATCHING, LeadMatching, event.now_ms)
    fields = lead_fields(lead)
    keys = blocking_keys(matcher, fields)
    await set_keys(tenant, "lead", event.id, keys)
    if lead.get("duplicate_of"):
        undone = _status(lead) != LeadStatus.DUPLICATE and lead.get("credited")
        return await _take_credit_back(tenant, event.id, event.seq, lead) if undone else ()
    if _status(lead) not in OPEN or not keys:
        return ()
    found: list[tuple[Likely, Held, dict[str, Any]]] = []
    for other_id in await sharing(tenant, "lead", keys, event.id):
        other = await tenant.record("lead", other_id)
        body = msgspec.json.decode(other.fields) if other else {}
        if other is None or body.get("duplicate_of") or _status(body) not in _MASTERS:
            continue
        likely = compare(matcher, fields, lead_fields(body))
        if likely.chance >= matcher.threshold:
            found.append((likely, other, body))
    if not found:
        return ()
    likely, other, body = max(found, key=lambda one: (one[0].chance, one[1].id < event.id, one[1].id))
    # The one captured first is the master, unless a person has already gone further with the other.
    further = _status(body) == LeadStatus.CONVERTED
    if other.id < event.id or further:
        return _join(event.id, event.seq, lead, other.id, other.seq, body, likely)
    return _join(other.id, other.seq, body, event.id, event.seq, lead, likely) if _status(body) in OPEN else ()


def _join(  # a lead, its master, and why
    lead_id: str, seq: int, lead: Mapping[str, Any], master_id: str, master_seq: int, master: Mapping[str, Any], likely: Likely
) -> Iterable[Change]:
    credited = sorted({*lead.get("captured_by", [])} - {*master.get("captured_by", [])})
    reason = f"the same as {master_id}, {likely.words}"[:200]
    yield update("lead", lead_id, seq, status=LeadStatus.DUPLICATE, duplicate_of=master_id, credited=credited, match_reason=reason)
    if credited:  # whoever captured both is the master's already
        yield Change("lead", master_id, base=master_seq, add=msgspec.Raw(msgspec.json.encode({"captured_by": credited})))


async def _take_credit_back(tenant: Tenant, lead_id: str, seq: int, lead: Mapping[str, Any]) -> Iterable[Change]:
    master = await tenant.record("lead", lead["duplicate_of"])
    if master is None:
        return ()
    gone = msgspec.Raw(msgspec.json.encode({"captured_by": lead["credited"]}))
    return (Change("lead", master.id, base=master.seq, remove=gone), update("lead", lead_id, seq, credited=[]))


async def index_contact(event: Event) -> Iterable[Change]:
    """A contact is found by what a lead may say of a person."""
    _, matcher = await rulebook.in_force(event.tenant, CONTACTS, ContactMatching, event.now_ms)
    await set_keys(event.tenant, "contact", event.id, blocking_keys(matcher, person_of_contact(event.fields)))
    return ()


async def find_contact(event: Event) -> Iterable[Change]:
    """A lead that says who wants something finds the contact, and by it the account, if they are known."""
    tenant, lead = event.tenant, event.fields
    said = person_of_lead(lead)
    if lead.get("contact") or _status(lead) not in OPEN or not said.keys() - {"account"}:
        return ()
    _, matcher = await rulebook.in_force(tenant, CONTACTS, ContactMatching, event.now_ms)
    found = []
    for contact_id in await sharing(tenant, "contact", blocking_keys(matcher, said), ""):
        held = await tenant.record("contact", contact_id)
        if held is not None:
            contact = msgspec.json.decode(held.fields)
            likely = compare(matcher, said, person_of_contact(contact))
            if likely.chance >= matcher.threshold and lead.get("account") in (None, contact["account"]):
                found.append((likely.chance, contact_id, contact["account"]))
    if not found:
        return ()
    _, contact_id, account = max(found)
    return (update("lead", event.id, event.seq, contact=contact_id, account=account),)


async def score_lead(event: Event) -> Iterable[Change]:
    """A lead is scored by what is known until somebody talks to the customer; then the score stays, to be learned from."""
    lead = event.fields
    if _status(lead) != LeadStatus.CAPTURED or lead.get("first_contact_at"):
        return ()
    number, card = await rulebook.in_force(event.tenant, SCORING, Scorecard, event.now_ms)
    features = features_of(lead)
    score = round(100 * card.chance(features))
    reasons = [{"feature": words, "points": points} for words, points in card.reasons(features)]
    if lead.get("score") == score and lead.get("score_reasons") == reasons:
        return ()
    return (update("lead", event.id, event.seq, score=score, score_reasons=reasons, score_version=number),)


async def route_lead(event: Event) -> Iterable[Change]:
    """A captured lead goes to a rep, with a time by which the customer should have heard from them."""
    tenant, lead = event.tenant, event.fields
    if _status(lead) != LeadStatus.CAPTURED or lead.get("routed_at"):
        return ()
    number, rule = await rulebook.in_force(tenant, ROUTING, RoutingRule, event.now_ms)
    hours = await hours_by_id(tenant, rule.business_hours)
    clock = {"routed_at": event.now_ms, "respond_by": respond_by_ms(rule, hours, lead, event.now_ms)}
    if lead.get("owner"):
        return (update("lead", event.id, event.seq, **clock, routing_reason="given by hand"),)
    territory = await _territory(tenant, lead)
    chosen = await _choose(tenant, rule, lead, territory, event.now_ms)
    words = f"{chosen.words} (rule {number})"
    return (update("lead", event.id, event.seq, owner=chosen.owner, territory=territory, routing_reason=words, **clock),)


async def _choose(
    tenant: Tenant, rule: RoutingRule, lead: Mapping[str, Any], territory: str, now_ms: int, passed_by: Iterable[str] = ()
) -> Choice:
    product = await tenant.record("product", lead["product"]) if lead.get("product") else None
    family = msgspec.json.decode(product.fields).get("family", "") if product else ""
    known = [
        Seller(
            row.id,
            row.name,
            frozenset(row.territories or ()),
            frozenset(row.skills or ()),
            row.room,
            row.in_hand,
            row.away_until,
        )
        for row in await sellers(tenant, now_ms)
    ]
    return choose(known, territory, rule.skills.get(family, family), passed_by)


async def _territory(tenant: Tenant, lead: Mapping[str, Any]) -> str:
    for entity in ("site", "account"):
        if lead.get(entity):
            held = await tenant.record(entity, lead[entity])
            found: str = msgspec.json.decode(held.fields).get("territory", "") if held else ""
            if found:
                return found
    return ""


async def note_first_contact(event: Event) -> Iterable[Change]:
    """A call, mail or visit of the owner, or of anybody in sales, is the first contact."""
    tenant, activity = event.tenant, event.fields
    held = await tenant.record("lead", activity["lead"]) if activity.get("lead") else None
    if held is None or activity.get("kind") == ActivityKind.NOTE:
        return ()
    lead = msgspec.json.decode(held.fields)
    by = activity.get("by")
    who = await tenant.user(by) if by and by != lead.get("owner") else None
    if lead.get("first_contact_at") or not by or (by != lead.get("owner") and (who is None or who.role not in SALES)):
        return ()
    return (update("lead", held.id, held.seq, first_contact_at=activity["at"]),)


async def chase_leads(tenant: Tenant, now_ms: int) -> list[list[Change]]:
    """A lead that nobody has contacted in time goes to somebody else, and in the end to the manager."""
    overdue = await overdue_leads(tenant, now_ms, BATCH)
    if not overdue:
        return []
    number, rule = await rulebook.in_force(tenant, ROUTING, RoutingRule, now_ms)
    return [[await _passed_on(tenant, rule, number, held, now_ms)] for held in await tenant.some("lead", overdue)]


async def _passed_on(tenant: Tenant, rule: RoutingRule, number: int, held: Held, now_ms: int) -> Change:
    lead = msgspec.json.decode(held.fields)
    owner = lead.get("owner")
    passed = list(dict.fromkeys([*lead.get("passed_by", []), *([owner] if owner else [])]))
    chosen = Choice(None, f"{len(passed)} have let it pass")
    if len(passed) < rule.passes:
        chosen = await _choose(tenant, rule, lead, lead.get("territory") or await _territory(tenant, lead), now_ms, passed)
    if chosen.owner is not None:
        hours = await hours_by_id(tenant, rule.business_hours)
        words, due = f"{chosen.words} (rule {number})", respond_by_ms(rule, hours, lead, now_ms)
        return update("lead", held.id, held.seq, owner=chosen.owner, passed_by=passed, respond_by=due, routing_reason=words)
    manager = await _manager(tenant, owner)
    words = f"{chosen.words}: {'it is the manager’s' if manager else 'there is no manager'} (rule {number})"
    return update(
        "lead",
        held.id,
        held.seq,
        owner=manager or owner,
        passed_by=passed,
        respond_by=None,
        routing_reason=words,
    )


async def _manager(tenant: Tenant, owner: str | None) -> str | None:
    """The owner's manager, else any."""
    profiles = await tenant.rows("profile", [projections["profile"].c.id == owner], limit=1) if owner else ()
    everybody = await managers(tenant)
    theirs = profiles[0].manager if profiles else None
    return theirs if theirs in everybody else next(iter(everybody), None)


def _status(lead: Mapping[str, Any]) -> str:
    return str(lead.get("status", LeadStatus.CAPTURED))


RULES: Final[Rules] = {
    "lead": (merge_duplicates, find_contact, score_lead, route_lead),
    "contact": (index_contact,),
    "activity": (note_first_contact,),
}
CLOCKS: Final[tuple[Clock, ...]] = (chase_leads,)
