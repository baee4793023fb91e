"""What is asked of leads over HTTP: why a lead stands where it stands."""

from typing import Final

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from server.devices import Admitted
from server.domain import rulebook
from server.domain.leads import SCORING
from server.domain.scoring import Scorecard
from server.problems import ProblemError
from server.storage.office import Held, Tenant
from server.storage.tables import projections
from server.web import AnyRequest, admitted, answer_json, context_of
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


ROUTES: Final[list[HTTPRouteHandler]] = [explain_route]
