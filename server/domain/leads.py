"""Leads on their way from the field to a rep."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from server.author import update
from server.domain.event import Event, Rules
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.entities.flows import LeadStatus
from sync.protocol import Change


async def route_lead(event: Event) -> Iterable[Change]:
    """A captured lead goes to the rep of its territory who has the fewest in hand."""
    tenant, lead = event.tenant, event.fields
    if lead.get("owner") or lead.get("status", LeadStatus.CAPTURED) != LeadStatus.CAPTURED:
        return ()
    territory = await _territory(tenant, lead)
    owners = await tenant.representatives(territory) or await tenant.representatives("")
    if not owners:
        return ()
    return (update("lead", event.id, event.seq, owner=owners[0], territory=territory),)


async def _territory(tenant: Tenant, lead: dict[str, Any]) -> str:
    for entity in ("site", "account"):
        if lead.get(entity):
            held = await tenant.record(entity, lead[entity])
            found: str = msgspec.json.decode(held.fields).get("territory", "") if held else ""
            if found:
                return found
    return ""


async def merge_duplicates(event: Event) -> Iterable[Change]:
    """A second lead for the same need at the same place joins the first: one master, everybody who captured it credited.

    Undone by setting it back to captured: the credit goes back too. It still names its master then, and is not merged again.
    """
    tenant, lead = event.tenant, event.fields
    if lead.get("status", LeadStatus.CAPTURED) != LeadStatus.CAPTURED or not lead.get("site"):
        return ()
    if lead.get("duplicate_of"):
        return await _take_credit_back(tenant, event.id, event.seq, lead)
    table = projections["lead"].c
    same = [
        table.site == lead["site"],
        table.id < event.id,
        table.product == lead["product"] if lead.get("product") else sa.func.lower(table.need) == lead["need"].lower(),
        table.status.in_([LeadStatus.CAPTURED, LeadStatus.QUALIFIED, LeadStatus.CONVERTED]),
    ]
    masters = await tenant.rows("lead", same, limit=1)
    master = await tenant.record("lead", masters[0].id) if masters else None
    if master is None:
        return ()
    credited = sorted({*lead.get("captured_by", [])} - {*msgspec.json.decode(master.fields).get("captured_by", [])})
    return (
        update("lead", event.id, event.seq, status=LeadStatus.DUPLICATE, duplicate_of=master.id, credited=credited),
        Change("lead", master.id, base=master.seq, add=msgspec.Raw(msgspec.json.encode({"captured_by": credited}))),
    )


async def _take_credit_back(tenant: Tenant, lead_id: str, seq: int, lead: Mapping[str, Any]) -> Iterable[Change]:
    master = await tenant.record("lead", lead["duplicate_of"]) if lead.get("credited") else None
    if master is None:
        return ()
    gone = msgspec.Raw(msgspec.json.encode({"captured_by": lead["credited"]}))
    return (Change("lead", master.id, base=master.seq, remove=gone), update("lead", lead_id, seq, credited=[]))


RULES: Final[Rules] = {"lead": (merge_duplicates, route_lead)}
