"""What is asked of leads over HTTP: why a lead stands where it stands, and when its owner could visit."""

from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from server.devices import Admitted
from server.domain import rulebook
from server.domain.leads import SCORING
from server.domain.scoring import Scorecard
from server.problems import ProblemError
from server.storage.office import Held, Tenant
from server.storage.tables import projections
from server.visit_slots import SlotRequest, book, offered
from server.web import AnyRequest, admitted, answer_json, context_of, decoded
from sync.entities import Lead
from sync.policies import OFFICE, PEOPLE, SALES


@get("/v1/leads/{lead_id:str}/explain")
async def explain_route(request: AnyRequest, lead_id: FromPath[str]) -> Response[bytes]:
    """Why a lead has its score, what it was matched with, and why it is with whom. For sales, office and captors."""
    device = await admitted(request, PEOPLE)
    async with context_of(request).office.of(device.tenant_id, snapshot=True) as tenant:
        _, lead = await found_lead(tenant, device, lead_id)
        joined = await tenant.rows("lead", [projections["lead"].c.duplicate_of == lead_id])
        card = await rulebook.version(tenant, SCORING, lead.score_version, Scorecard)
    return answer_json(
        request,
        {
            "id": lead_id,
            "status": lead.status,
            "score": {
                "score": lead.score,
                "means": "the chance in per cent; ten points are one in log-odds",
                "version": lead.score_version,
                "learned_from": card.learned_from,
                "auc": card.auc,
                "reasons": lead.score_reasons,
            },
            "match": {
                "duplicate_of": lead.duplicate_of,
                "reason": lead.match_reason,
                "credited": lead.credited,
                "contact": lead.contact,
                "joined": [{"id": row.id, "status": row.status, "reason": row.match_reason} for row in joined],
            },
            "routing": {
                "owner": lead.owner,
                "territory": lead.territory,
                "reason": lead.routing_reason,
                "routed_at": lead.routed_at,
                "respond_by": lead.respond_by,
                "first_contact_at": lead.first_contact_at,
                "passed_by": lead.passed_by,
            },
        },
    )


async def found_lead(tenant: Tenant, device: Admitted, lead_id: str) -> tuple[Held, Lead]:
    """A lead that the user may know of. Raises a problem that tells nothing of others."""
    held = await tenant.record("lead", lead_id)
    lead: Lead | None = msgspec.json.decode(held.fields, type=Lead) if held else None
    author = device.author
    if held is None or lead is None or (author.role not in OFFICE | SALES and author.user not in lead.captured_by):
        raise ProblemError(404, "There is no such record", f"lead {lead_id}", rule="not_found")
    return held, lead


@get("/v1/leads/{lead_id:str}/slots")
async def slots_route(  # litestar calls it by names
    request: AnyRequest,
    lead_id: FromPath[str],
    start_ms: FromQuery[int],
    end_ms: FromQuery[int],
    window_s: FromQuery[int] = 7200,
    duration_s: FromQuery[int] = 3600,
) -> Response[bytes]:
    """Windows in which the lead's owner could visit, graded from 1 to 100 (adds least to the days as they stand)."""
    device = await admitted(request, OFFICE | SALES)
    try:
        asked = SlotRequest(start_ms, end_ms, window_s, duration_s)
    except ValueError as error:
        raise ProblemError(400, "The request does not fit", str(error), field="start_ms", rule="bounds") from error
    context = context_of(request)
    async with context.office.of(device.tenant_id) as tenant:
        _, lead = await found_lead(tenant, device, lead_id)
    return answer_json(request, {"slots": await offered(context, device.tenant_id, lead, asked)})


@post("/v1/leads/{lead_id:str}/visit")
async def visit_route(request: AnyRequest, lead_id: FromPath[str]) -> Response[bytes]:
    """Book the owner's visit in a window that was offered: a work order with one pinned appointment, promised to the customer."""
    device = await admitted(request, OFFICE | SALES)
    asked = await decoded(request, SlotRequest)
    context = context_of(request)
    async with context.office.of(device.tenant_id) as tenant:
        held, lead = await found_lead(tenant, device, lead_id)
    return answer_json(request, await book(context, device.tenant_id, held, lead, asked), 201)


ROUTES: Final[list[HTTPRouteHandler]] = [explain_route, slots_route, visit_route]
