"""Opportunities: the history of their stages, what their stage rests on, and what follows from their end."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from server.author import update
from server.domain.doubts import cleared, doubt, written_by
from server.domain.event import Event, Rules
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.clock import wall_ms
from sync.entities.flows import LeadStatus, OrderStatus, QuoteStatus, Stage
from sync.policies import Side
from sync.protocol import Change

UNFOUNDED: Final = "unfounded_stage"
"""The policy of the doubt about a stage that nothing bears out."""
_QUOTED: Final = (Stage.QUOTED, Stage.NEGOTIATION)
_CLOSED: Final = (Stage.WON, Stage.LOST)


async def note_stage(event: Event) -> Iterable[Change]:
    """Each stage that the rules have seen becomes an entry of the history, at the time when its author wrote it."""
    stage = Stage(event.fields.get("stage", Stage.PROSPECT))
    written = await written_by(event, "opportunity", event.id, "stage")
    if written is None or any(entry["id"] == str(written.seq) for entry in event.fields.get("stages", ())):
        return ()
    at, closed_at = wall_ms(written.stamp), event.fields.get("closed_at")
    if written.side is Side.SERVER and (said := await _imported_at(event, stage, written.seq)) is not None:
        if stage in _CLOSED:
            return ()  # when it was opened and closed is all that is known of it, and it says so itself
        at = said
    amount = event.fields.get("amount_cents", 0)
    entry = {"id": str(written.seq), "at": at, "stage": stage, "amount_cents": amount}
    grown = Change("opportunity", event.id, base=event.seq, append=msgspec.Raw(msgspec.json.encode({"stages": [entry]})))
    ended = at if stage in _CLOSED else None
    return (grown,) if closed_at == ended else (grown, update("opportunity", event.id, event.seq, closed_at=ended))


async def _imported_at(event: Event, stage: Stage, seq: int) -> int | None:
    """When the stage was reached, as an import says that wrote it together with the stage."""
    field = "closed_at" if stage in _CLOSED else "opened_on"
    said = await written_by(event, "opportunity", event.id, field)
    at: int | None = event.fields.get(field)
    return at if said and said.seq == seq else None


async def question_stage(event: Event) -> Iterable[Change]:
    """Quoted takes a quote, won takes an order or somebody of the office, lost takes a reason; what is missing is asked for."""
    return await doubt(event, UNFOUNDED, "stage", await _missing(event))


async def _missing(event: Event) -> str:
    stage, tenant = Stage(event.fields.get("stage", Stage.PROSPECT)), event.tenant
    if stage not in (*_QUOTED, *_CLOSED):
        return ""
    written = await written_by(event, "opportunity", event.id, "stage")
    side = written.side if written else Side.SERVER
    if side is Side.SERVER:
        return ""  # an import, or a rule that had its reasons
    if stage is Stage.LOST:
        return "" if event.fields.get("lost_reason") else "lost without a reason"
    if stage is Stage.WON:
        return "" if side is Side.OFFICE or await has_order(tenant, event.id) else "won by word of the rep, without a signed quote"
    quote = projections["quote"].c
    made = await tenant.rows("quote", [quote.opportunity == event.id, quote.status != QuoteStatus.WITHDRAWN], limit=1)
    return "" if made else f"{stage.value} without a quote"


async def is_proven(event: Event) -> bool:
    """Whether the win that an opportunity's event tells of counts: by an order, by the office's own word, or by its resolving the
    doubt about it."""
    return event.fields.get("stage") == Stage.WON and (not await _missing(event) or await cleared(event, UNFOUNDED))


async def has_order(tenant: Tenant, opportunity: str) -> bool:
    order = projections["sales_order"].c
    standing = [order.opportunity == opportunity, order.status != OrderStatus.CANCELED]
    return bool(await tenant.rows("sales_order", standing, limit=1))


async def opportunity_of(event: Event, opportunity: str) -> Event | None:
    """The same event as if it were its opportunity's; None if that is gone."""
    held = await event.tenant.record("opportunity", opportunity)
    if held is None:
        return None
    fields: dict[str, Any] = msgspec.json.decode(held.fields)
    return msgspec.structs.replace(event, entity="opportunity", id=held.id, seq=held.seq, fields=fields)


async def question_by_quote(event: Event) -> Iterable[Change]:
    """A quote that came, or was withdrawn, may be what a stage rests on."""
    about = await opportunity_of(event, event.fields["opportunity"])
    return await question_stage(about) if about else ()


async def follow_cancellation(event: Event) -> Iterable[Change]:
    """When its last order is cancelled, an opportunity is not won any more."""
    if event.fields.get("status") != OrderStatus.CANCELED or await has_order(event.tenant, event.fields["opportunity"]):
        return ()
    about = await opportunity_of(event, event.fields["opportunity"])
    if about is None or about.fields.get("stage") != Stage.WON:
        return ()
    return (update("opportunity", about.id, about.seq, stage=Stage.NEGOTIATION),)


_OUTCOME: Final = {Stage.WON: LeadStatus.WON, Stage.LOST: LeadStatus.LOST}
_TOLD: Final = (LeadStatus.CONVERTED, LeadStatus.WON, LeadStatus.LOST)


async def tell_outcome(event: Event) -> Iterable[Change]:
    """What became of an opportunity is what became of its lead, and so reaches whoever captured it; reopened, so is the lead."""
    tenant, opportunity = event.tenant, event.fields
    held = await tenant.record("lead", opportunity["lead"]) if opportunity.get("lead") else None
    if held is None:
        return ()
    status = _OUTCOME.get(Stage(opportunity.get("stage", Stage.PROSPECT)), LeadStatus.CONVERTED)
    lead = msgspec.json.decode(held.fields)
    if lead.get("status", LeadStatus.CAPTURED) not in _TOLD or lead["status"] == status:
        return ()
    if lead.get("opportunity") not in (None, event.id):
        return ()  # another opportunity speaks for it
    return (update("lead", held.id, held.seq, status=status, opportunity=event.id),)


RULES: Final[Rules] = {
    "opportunity": (note_stage, question_stage, tell_outcome),
    "quote": (question_by_quote,),
    "sales_order": (question_by_quote, follow_cancellation),
}
