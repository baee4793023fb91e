"""What sales asks over HTTP: a quote on paper, the ledger of credit and its leaderboard, the forecast, the funnel and quotas."""

import asyncio
from typing import Any, Final, cast, get_args

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from server.devices import Admitted
from server.domain.forecast import month_of
from server.domain.incentives import leaderboard, ledger, rule_records
from server.forecasting import Grouping, attainments, funnel_of, outlook, past_forecasts
from server.problems import ProblemError
from server.quote_pdf import QuotePage, render
from server.storage.office import Tenant
from server.storage.tables import FOREVER, projections
from server.web import AnyRequest, admitted, answer_json, context_of
from sync.entities import Quote, Signature
from sync.entities.credit import balance, standing
from sync.policies import MANAGERS, OFFICE, PEOPLE, SALES

FOREVER_MS: Final = 2**52


@get("/v1/quotes/{quote_id:str}/pdf")
async def quote_pdf_route(request: AnyRequest, quote_id: FromPath[str]) -> Response[bytes]:
    """A quote as PDF, for the office and for whoever holds its opportunity."""
    device = await admitted(request, PEOPLE)
    context = context_of(request)
    async with context.office.of(device.tenant_id, snapshot=True) as tenant:
        held = await tenant.record("quote", quote_id)
        if held is None or not await _may_read(tenant, device, held.scope):
            raise ProblemError(404, "There is no such record", f"quote {quote_id}", rule="not_found")
        page = await _page(tenant, quote_id, msgspec.json.decode(held.fields, type=Quote))
    names = {number: name for name, number in (await context.office.tenants()).items()}
    page = msgspec.structs.replace(page, seller=names.get(device.tenant_id, ""), made_ms=context.now_ms())
    content = await asyncio.to_thread(render, page)
    shown = {"content-disposition": f'inline; filename="quote-{quote_id.replace(":", "-")}.pdf"'}
    return Response(content, media_type="application/pdf", headers=shown)


async def _may_read(tenant: Tenant, device: Admitted, scope: str) -> bool:
    if device.author.role in OFFICE:
        return True
    return any(path.revoked == FOREVER for path in await tenant.paths(device.author.user, scope))


async def _page(tenant: Tenant, quote_id: str, quote: Quote) -> QuotePage:
    opportunity = await _fields(tenant, "opportunity", quote.opportunity)
    account = await _fields(tenant, "account", opportunity.get("account"))
    book = await _fields(tenant, "price_book", quote.price_book)
    products = [line.product for line in quote.lines.values() if line is not None]
    named = await tenant.rows("product", [projections["product"].c.id.in_(products)])
    signature = await tenant.record("signature", quote.signature) if quote.signature else None
    return QuotePage(
        quote_id,
        quote,
        seller="",
        customer=account.get("name", ""),
        subject=opportunity.get("name", ""),
        currency=book.get("currency", "USD"),
        names={row.id: row.name for row in named},
        signature=msgspec.json.decode(signature.fields, type=Signature) if signature else None,
    )


async def _fields(tenant: Tenant, entity: str, record_id: str | None) -> dict[str, Any]:
    held = await tenant.record(entity, record_id) if record_id else None
    fields: dict[str, Any] = msgspec.json.decode(held.fields) if held else {}
    return fields


@get("/v1/incentives")
async def incentives_route(
    request: AnyRequest, user: FromQuery[str | None] = None, lead: FromQuery[str | None] = None
) -> Response[bytes]:
    """The ledger's lines of a person (by default whoever asks) or of a lead, each with the rule that made it and whether it still
    stands; and what they come to. Of others only managers may ask."""
    device = await admitted(request, PEOPLE)
    whose = None if lead and _manages(device) and user is None else _of_whom(device, user)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        lines = await ledger(tenant, user=whose, lead=lead)
        rules = await rule_records(tenant)
    left = standing(lines)
    told = [
        {
            "id": line_id,
            **msgspec.to_builtins(line),
            "stands": line_id in left,
            "rule_body": rules.get(line.rule_version, ("", None))[1],
        }
        for line_id, line in lines.items()
    ]
    return answer_json(request, {"user": whose, "lines": told, "balance": balance(lines)})


@get("/v1/leaderboard")
async def leaderboard_route(
    request: AnyRequest, from_ms: FromQuery[int] = 0, to_ms: FromQuery[int] = FOREVER_MS
) -> Response[bytes]:
    """Who is owed what, by lines of the ledger from `from_ms` to before `to_ms`; the first is owed most."""
    device = await admitted(request, PEOPLE)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        return answer_json(request, await leaderboard(tenant, from_ms, to_ms))


@get("/v1/forecast")
async def forecast_route(
    request: AnyRequest, from_ms: FromQuery[int | None] = None, to_ms: FromQuery[int | None] = None, by: FromQuery[str] = "rep"
) -> Response[bytes]:
    """What a period brings (by default this month, UTC), in all and by `rep` or `team`; a rep sees their own."""
    device = await admitted(request, SALES)
    if by not in get_args(Grouping):
        raise ProblemError(
            400, "The forecast is not split so", f"it is by {' or '.join(get_args(Grouping))}", field="by", rule="enum"
        )
    now_ms = context_of(request).now_ms()
    start_ms, end_ms = month_of(now_ms) if from_ms is None else (from_ms, month_of(max(0, from_ms))[1])
    end_ms = end_ms if to_ms is None else to_ms
    if not 0 <= start_ms < end_ms <= FOREVER_MS:
        raise ProblemError(400, "The period has no length", "from_ms lies before to_ms", field="to_ms", rule="bounds")
    async with context_of(request).office.of(device.tenant_id) as tenant:
        return answer_json(request, await outlook(tenant, now_ms, (start_ms, end_ms), cast("Grouping", by), _only(device)))


@get("/v1/forecast/backtest")
async def backtest_route(request: AnyRequest, months: FromQuery[int] = 12) -> Response[bytes]:
    """What the forecast would have said at the start of each past month, and what was won."""
    device = await admitted(request, MANAGERS)
    context = context_of(request)
    async with context.office.of(device.tenant_id) as tenant:
        return answer_json(request, await past_forecasts(tenant, context.now_ms(), max(1, min(months, 120))))


@get("/v1/funnel")
async def funnel_route(request: AnyRequest, from_ms: FromQuery[int] = 0, to_ms: FromQuery[int] = FOREVER_MS) -> Response[bytes]:
    """How far the deals opened in a period came, and where they were lost; a rep sees their own."""
    device = await admitted(request, SALES)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        return answer_json(request, await funnel_of(tenant, from_ms, to_ms, _only(device)))


@get("/v1/quotas")
async def quotas_route(request: AnyRequest, at_ms: FromQuery[int | None] = None) -> Response[bytes]:
    """The quotas that run now or at a moment, and how much of each is reached; a rep sees their own."""
    device = await admitted(request, SALES)
    context = context_of(request)
    async with context.office.of(device.tenant_id) as tenant:
        found = await attainments(tenant, context.now_ms() if at_ms is None else at_ms, _only(device))
    return answer_json(request, found)


def _only(device: Admitted) -> str | None:
    """Whose deals the asker may see: all, or their own."""
    return None if _manages(device) else device.author.user


def _manages(device: Admitted) -> bool:
    return device.author.role in MANAGERS


def _of_whom(device: Admitted, user: str | None) -> str:
    """The user asked for: oneself, or for managers anybody."""
    if user not in (None, device.author.user) and not _manages(device):
        raise ProblemError(403, "Not for this role", f"a {device.author.role} may ask of their own only", field="user", rule="role")
    return user or device.author.user


ROUTES: Final[tuple[HTTPRouteHandler, ...]] = (
    quote_pdf_route,
    incentives_route,
    leaderboard_route,
    forecast_route,
    backtest_route,
    funnel_route,
    quotas_route,
)
