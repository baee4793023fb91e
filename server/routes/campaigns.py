"""Campaigns over HTTP; segments, campaigns and members themselves are records (`/v1/records/campaign` …)."""

from typing import Final

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from server.domain.campaigns import accounts, enlist, figures, rule_of, send
from server.problems import ProblemError
from server.storage.tables import projections
from server.web import AnyRequest, admitted, answer_json, context_of
from sync.policies import SALES

PAGE: Final = 500


@get("/v1/segments/{segment_id:str}/accounts")
async def segment_route(
    request: AnyRequest, segment_id: FromPath[str], after: FromQuery[str] = "", limit: FromQuery[int] = PAGE
) -> Response[bytes]:
    """The accounts that a segment's rule finds now, by id; pass the last id as `after`."""
    device = await admitted(request, SALES)
    context = context_of(request)
    async with context.office.of(device.tenant_id) as tenant:
        segments = await tenant.rows("segment", [projections["segment"].c.id == segment_id])
        if not segments:
            raise ProblemError(404, "There is no such record", f"segment {segment_id}", rule="not_found")
        most = max(1, min(limit, PAGE))
        rows = await accounts(tenant, rule_of(segments[0].rule), context.now_ms(), after=after, limit=most)
    return answer_json(request, [{"id": row.id, "name": row.name} for row in rows])


@post("/v1/campaigns/{campaign_id:str}/members")
async def enlist_route(request: AnyRequest, campaign_id: FromPath[str]) -> Response[bytes]:
    """Make the contacts of the segment's accounts members; again later, those who came to it."""
    device = await admitted(request, SALES)
    return answer_json(request, {"made": await enlist(context_of(request), device.tenant_id, campaign_id)}, 201)


@post("/v1/campaigns/{campaign_id:str}/letters")
async def letters_route(request: AnyRequest, campaign_id: FromPath[str]) -> Response[bytes]:
    """Write to every member who was not written to yet and agreed; the others keep the reason in `skipped`."""
    device = await admitted(request, SALES)
    return answer_json(request, await send(context_of(request), device.tenant_id, campaign_id), 202)


@get("/v1/campaigns/{campaign_id:str}/figures")
async def figures_route(request: AnyRequest, campaign_id: FromPath[str]) -> Response[bytes]:
    """What it cost and what it brought."""
    device = await admitted(request, SALES)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        return answer_json(request, await figures(tenant, campaign_id))


ROUTES: Final[tuple[HTTPRouteHandler, ...]] = (segment_route, enlist_route, letters_route, figures_route)
