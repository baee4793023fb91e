"""Gathering the evidence at the end of the day, from each side on its own, and counting."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from demo.check import Author, Evidence, Records, divergences, doubled_writes, lost_writes, stock_differences
from demo.crew import Handset
from demo.day import Day
from demo.importer import Imported
from demo.journal import Op
from demo.office import Best, Desk, Record
from demo.orders import Fate, Held, Row
from demo.plan_check import breaches, published
from demo.report import Report, Unserved
from sync.entities import Appointment
from sync.entities.flows import AppointmentStatus, ConflictStatus, LeadStatus, OfferStatus, QuoteStatus, Stage
from sync.entities.market import IncentiveKind
from sync.schema import REGISTRY

ENDED: Final = (AppointmentStatus.COMPLETED, AppointmentStatus.CANNOT_COMPLETE)


class Plan(msgspec.Struct, frozen=True):
    """The plan as the server told it, the visits before it, and what the demo's own look at it found."""

    best: Best
    problems: tuple[str, ...]


async def look_at_plan(desk: Desk, best: Best, asked: Mapping[str, Record]) -> Plan:
    """Judge the plan as it now stands in the records."""
    found = published(
        *[[_row(record) for record in await desk.records(name)] for name in ("appointment", "work_order", "shift", "skill_held")]
    )
    before = {record.id: msgspec.convert(record.fields, Appointment) for record in asked.values()}
    return Plan(best, tuple(breaches(found, before)))


async def reckon(day: Day, imported: Imported, plan: Plan) -> Report:
    """Ask every device and the server, compare, and count."""
    desk, story = day.dispatcher, day.story
    held = {handset.person.key: await handset.dump() for handset in day.crew}
    diverged: list[str] = []
    compared = 0
    for handset in day.crew:
        server = await desk.holdings(handset.user)
        compared += len(server)
        found = divergences(handset.name, held[handset.person.key].rows, server)
        diverged += found
        story.line(handset.name, f"holds {len(server)} records, {len(found) or 'none'} otherwise than the server")
    evidence = await _evidence(day, imported, held)
    lost, doubled, stock = lost_writes(evidence), doubled_writes(evidence), stock_differences(evidence)
    conflicts = evidence.records.get("conflict", {}).values()
    leads = evidence.records.get("lead", {}).values()
    return Report(
        devices=len(day.crew),
        offline_transactions=sum(_written_offline(handset) for handset in day.crew),
        resent_batches=sum(handset.line.resent_batches for handset in day.crew),
        killed=sum(handset.kills for handset in day.crew),
        conflicts=len(conflicts),
        parked=len(evidence.parked),
        lost_writes=len(lost),
        doubled_writes=len(doubled),
        converged=not diverged,
        jobs_planned=plan.best.planned,
        jobs_unserved=tuple(Unserved(u.appointment, u.rule, u.reason, u.nearest) for u in plan.best.unserved),
        plan_checked=plan.best.checked and not plan.problems,
        leads_captured=len(leads),
        leads_won=sum(lead.fields.get("status") == LeadStatus.WON for lead in leads),
        wall_s=round(story.wall_s, 1),
        **_loop(day, evidence.records),
        transactions=sum(len(author.noted.deeds) for author in evidence.authors),
        network_faults=sum(handset.line.faults for handset in day.crew),
        records_compared=compared,
        conflicts_open=sum(row.fields.get("status", ConflictStatus.OPEN) == ConflictStatus.OPEN for row in conflicts),
        conflicts_by_field=dict(Counter(f"{row.fields['subject_entity']}.{row.fields['field']}" for row in conflicts)),
        parked_reasons=tuple(f"{name} {n}: {'; '.join(reasons)}" for (name, n), reasons in sorted(evidence.parked.items())),
        plan_wall_s=round(day.plan_wall_s, 1),
        jobs_done=sum(row.fields.get("status") in ENDED for row in evidence.records.get("appointment", {}).values()),
        outcomes_seen_by_technicians=len(_wins_seen(day, held)),
        stock_differences=len(stock),
        seed=day.seed,
        problems=(*lost, *doubled, *stock, *diverged, *plan.problems),
    )


def _loop(day: Day, records: Records) -> dict[str, int]:
    """From the offer to the credit, counted on the server's records; that a quote was signed offline is what its
    signer's journal and line say together."""
    offers, leads, quotes = (records.get(name, {}) for name in ("offer", "lead", "quote"))
    lines = [line.fields["kind"] for line in records.get("incentive", {}).values()]
    offline = {
        op.id
        for handset in day.reps
        for deed in handset.journal.deeds
        for op in deed.ops
        if op.entity == "quote" and op.fields.get("status") == QuoteStatus.SIGNED and handset.line.was_down(deed.at_ms)
    }
    signed = {
        quote for quote, row in quotes.items() if row.fields.get("status") == QuoteStatus.SIGNED and row.fields.get("signature")
    }
    return {
        "offers_shown": sum("shown_at" in row.fields for row in offers.values()),
        "offers_taken": sum(
            row.fields.get("lead") in leads and row.fields.get("status") == OfferStatus.TAKEN for row in offers.values()
        ),
        "leads_merged": sum(row.fields.get("status") == LeadStatus.DUPLICATE for row in leads.values()),
        "leads_routed": sum(bool(row.fields.get("owner")) for row in leads.values()),
        "quotes_made": len(quotes),
        "quotes_signed_offline": len(signed & offline),
        "opportunities_won": sum(row.fields.get("stage") == Stage.WON for row in records.get("opportunity", {}).values()),
        "credits": sum(kind != IncentiveKind.CLAW_BACK for kind in lines),
        "clawed_back": sum(kind == IncentiveKind.CLAW_BACK for kind in lines),
    }


def _wins_seen(day: Day, held: Mapping[str, Held]) -> set[str]:
    """The leads that stand as won on the device of somebody who captured them."""
    return {
        row.id
        for handset in day.technicians
        for row in held[handset.person.key].rows
        if row.entity == "lead" and row.fields["status"] == LeadStatus.WON and handset.user in row.fields["captured_by"]
    }


async def _evidence(day: Day, imported: Imported, held: Mapping[str, Held]) -> Evidence:
    desk = day.dispatcher
    ends = {row.name: row.last_n for row in await desk.devices()}
    authors = [Author(h.person.key, h.journal, ends[h.person.key], held[h.person.key].fates) for h in day.crew]
    for office in (day.dispatcher, day.manager):
        fates = tuple(Fate(n, "parked" if o.reasons else "done", o.kind.value) for n, o in office.outcomes.items())
        authors.append(Author(office.person.key, office.journal, ends[office.person.key], fates))
    records = {name: {record.id: _row(record) for record in await desk.records(name)} for name in REGISTRY}
    parked = {(row.device, row.n): tuple(f"{r.rule}: {r.detail}" for r in row.reasons) for row in await desk.parked()}
    founding = tuple(
        Op("create", change.entity, change.id, msgspec.json.decode(change.set))
        for change in imported.moves
        if change.set is not msgspec.UNSET
    )
    return Evidence(tuple(authors), records, parked, founding)


def _written_offline(handset: Handset) -> int:
    return sum(handset.line.was_down(deed.at_ms) for deed in handset.journal.deeds)


def _row(record: Record) -> Row:
    return Row(record.entity, record.id, record.seq, record.fields)
