"""What service asks over HTTP: the order of a case, readings of machines, knowledge, answers to surveys."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from server.author import write_for
from server.devices import Admitted
from server.domain.cases import NewOrder, Unplaced, order_for
from server.domain.knowledge import find, find_for
from server.domain.look import Seen, look
from server.domain.readings import Differs, Readings, unknown
from server.problems import ProblemError, malformed
from server.storage.office import Tenant
from server.web import AnyRequest, admitted, answer_json, body_of, context_of
from sync.codec import refusal
from sync.policies import PEOPLE
from sync.protocol import Change, OutcomeKind

ATTEMPTS: Final = 10
MAX_FOUND: Final = 50
Find: TypeAlias = Callable[[Tenant], Awaitable[tuple[Response[bytes], tuple[Change, ...]]]]
"""Looks at what is there; gives the answer, and the changes to be written first."""
T = TypeVar("T")


@post("/v1/cases/{case_id:str}/work_order")
async def case_order_route(request: AnyRequest, case_id: FromPath[str]) -> Response[bytes]:
    """Open the work order of a case, with an unplanned visit; asked again, it is the same order."""
    device = await admitted(request)
    asked = await _decoded(request, NewOrder)

    async def open_it(tenant: Tenant) -> tuple[Response[bytes], tuple[Change, ...]]:
        case = await _seen(tenant, "case", case_id)
        try:
            order_id, changes = await order_for(tenant, case, asked, context_of(request).now_ms())
        except Unplaced as unplaced:
            raise ProblemError(422, "The case has no place to work at", str(unplaced), field="site", rule="required") from unplaced
        return answer_json(request, {"work_order": order_id}, 201 if changes else 200), changes

    return await _done(request, device, "an order for the case", open_it)


@post("/v1/assets/{asset_id:str}/readings")
async def readings_route(request: AnyRequest, asset_id: FromPath[str]) -> Response[bytes]:
    """Take readings of a machine; those that are there already are not taken twice."""
    device = await admitted(request)
    sent = await _decoded(request, Readings)

    async def take(tenant: Tenant) -> tuple[Response[bytes], tuple[Change, ...]]:
        asset = await _seen(tenant, "asset", asset_id)
        try:
            fresh = unknown(asset, sent)
        except Differs as differs:
            where = f"readings[{differs.at}].id"
            raise ProblemError(409, "The reading is another one", str(differs), field=where, rule="exists") from differs
        append = msgspec.Raw(msgspec.json.encode({"readings": fresh}))
        changes = (Change("asset", asset_id, base=asset.seq, append=append),) if fresh else ()
        return answer_json(request, {"taken": len(fresh), "known": len(sent.readings) - len(fresh)}), changes

    return await _done(request, device, "readings of a sensor", take)


@get("/v1/knowledge")
async def knowledge_route(
    request: AnyRequest,
    q: FromQuery[str] = "",
    product: FromQuery[str] = "",
    symptom: FromQuery[str] = "",
    limit: FromQuery[int] = 10,
) -> Response[bytes]:
    """Published articles that have all words of `q` and any word of `symptom`, for the product or for none, the likeliest first."""
    device = await admitted(request, PEOPLE)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        return answer_json(request, await find(tenant, q, product or None, symptom, _bounded(limit)))


@get("/v1/work_orders/{order_id:str}/knowledge")
async def order_knowledge_route(request: AnyRequest, order_id: FromPath[str], limit: FromQuery[int] = 5) -> Response[bytes]:
    """What may help with an order: by the model of its machine and by its symptom."""
    device = await admitted(request)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        found = await find_for(tenant, order_id, _bounded(limit))
    if found is None:
        raise ProblemError(404, "There is no such record", f"work_order {order_id}", rule="not_found")
    return answer_json(request, found)


def _bounded(limit: int) -> int:
    return max(1, min(limit, MAX_FOUND))


async def _seen(tenant: Tenant, entity: str, record_id: str) -> Seen:
    found = await look(tenant, entity, record_id)
    if found is None:
        raise ProblemError(404, "There is no such record", f"{entity} {record_id}", rule="not_found")
    return found


async def _done(request: AnyRequest, device: Admitted, label: str, find: Find) -> Response[bytes]:
    """Find what is missing, write it on behalf of the user who asks, and answer; anew if a record moves in between."""
    context, author = context_of(request), device.author
    for _ in range(ATTEMPTS):
        async with context.office.of(device.tenant_id) as tenant:
            answer, changes = await find(tenant)
        if not changes:
            return answer
        done = await write_for(context, device.tenant_id, author.user, author.role, [(label, changes)], strict=True)
        if done.outcomes[0].kind is not OutcomeKind.PARKED:
            return answer
        reason = done.outcomes[0].reasons[0]
        if reason.rule != "moved":
            raise ProblemError(422, "A rule refuses this", reason.detail, field=reason.field, rule=reason.rule)
    raise ProblemError(503, "Others are writing there", "nothing was stored; send the same again", rule="unavailable")


async def _decoded(request: AnyRequest, kind: type[T]) -> T:
    """The body; an empty one stands for the defaults."""
    try:
        return msgspec.json.decode(await body_of(request) or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise malformed(refusal(error)) from error


ROUTES: Final[list[HTTPRouteHandler]] = [
    case_order_route,
    readings_route,
    knowledge_route,
    order_knowledge_route,
]
