"""The company's figures over HTTP."""

from typing import Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from server.kpis import EVER_MS, Period, figure, worth
from server.storage.kpis import KPIS
from server.web import AnyRequest, admitted, answer_json, context_of
from sync.policies import MANAGERS


@get("/v1/kpis")
async def kpis_route(request: AnyRequest) -> Response[bytes]:
    """The figures that there are, with their formulae and groups."""
    await admitted(request)
    told = [{"name": k.name, "title": k.title, "unit": k.unit, "formula": k.formula, "by": list(k.groups)} for k in KPIS.values()]
    return answer_json(request, told)


@get("/v1/kpis/worth")
async def worth_route(request: AnyRequest, since_ms: FromQuery[int] = 0, until_ms: FromQuery[int] = EVER_MS) -> Response[bytes]:
    """The accounts by what they are expected to buy in the coming year."""
    device = await admitted(request, MANAGERS)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        return answer_json(request, await worth(tenant, Period(since_ms, until_ms)))


@get("/v1/kpis/{name:str}")
async def kpi_route(
    request: AnyRequest,
    name: FromPath[str],
    since_ms: FromQuery[int] = 0,
    until_ms: FromQuery[int] = EVER_MS,
    by: FromQuery[str | None] = None,
) -> Response[bytes]:
    """One figure of the period [since_ms, until_ms), split by a group when asked."""
    device = await admitted(request)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        return answer_json(request, await figure(tenant, name, Period(since_ms, until_ms), by))


ROUTES: Final[list[HTTPRouteHandler]] = [kpis_route, worth_route, kpi_route]
