"""Opportunities, and what follows from their end."""

from collections.abc import Iterable
from typing import Final

import msgspec

from server.author import update
from server.domain.event import Event, Rules
from sync.entities.flows import LeadStatus, Stage
from sync.protocol import Change


async def tell_outcome(event: Event) -> Iterable[Change]:
    """What became of an opportunity is what became of its lead, and so reaches whoever captured it."""
    tenant, opportunity = event.tenant, event.fields
    stage = opportunity.get("stage", Stage.PROSPECT)
    if not opportunity.get("lead") or stage not in (Stage.WON, Stage.LOST):
        return ()
    held = await tenant.record("lead", opportunity["lead"])
    if held is None:
        return ()
    lead = msgspec.json.decode(held.fields)
    status = LeadStatus.WON if stage == Stage.WON else LeadStatus.LOST
    if lead.get("status", LeadStatus.CAPTURED) not in (LeadStatus.CONVERTED, LeadStatus.WON, LeadStatus.LOST):
        return ()
    if lead["status"] == status:
        return ()
    return (update("lead", held.id, held.seq, status=status, opportunity=event.id),)


RULES: Final[Rules] = {"opportunity": (tell_outcome,)}
