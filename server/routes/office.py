"""What the office asks over HTTP: devices, parked work, enrolment codes."""

from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from server.problems import ProblemError
from server.repair import Repair, repair
from server.tenants import create_code
from server.web import AnyRequest, admitted, answer_json, context_of, decoded
from sync.policies import MANAGERS


class NewCode(msgspec.Struct, frozen=True):
    user: str


@get("/v1/devices")
async def devices_route(request: AnyRequest) -> Response[bytes]:
    """Every device, and how many commits it has not seen yet."""
    device = await admitted(request)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        rows = [row._asdict() for row in await tenant.devices()]
    return answer_json(request, rows)


@get("/v1/users/{user_id:str}/holdings")
async def holdings_route(request: AnyRequest, user_id: FromPath[str]) -> Response[bytes]:
    """Every record that a user may hold now, as `[entity, id, seq, fields]`; asked without the feed, so that it can check it."""
    device = await admitted(request)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        held = await tenant.holdings(user_id)
    return answer_json(request, [[*key, seq, msgspec.Raw(body)] for key, (seq, body) in sorted(held.items())])


@get("/v1/parked")
async def parked_route(request: AnyRequest) -> Response[bytes]:
    """Transactions that a rule refused, whole, with the reasons."""
    device = await admitted(request)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        rows = await tenant.parked()
    return answer_json(
        request,
        [
            {
                "device": r.device_name,
                "device_no": r.device_no,
                "epoch": r.epoch,
                "user": r.user_id,
                "n": r.n,
                "received_ms": r.received_ms,
                "reasons": r.reasons,
            }
            | {"transaction": msgspec.Raw(r.payload) if _is_json(r.payload) else repr(r.payload)}
            for r in rows
        ],
    )


@post("/v1/parked/{device_no:int}/{epoch:int}/{n:int}")
async def repair_route(request: AnyRequest, device_no: FromPath[int], epoch: FromPath[int], n: FromPath[int]) -> Response[bytes]:
    """Apply parked work, mended or as it is, or discard it, together with what depends on it."""
    device = await admitted(request)
    asked = await decoded(request, Repair)
    return answer_json(request, await repair(context_of(request), device.tenant_id, device_no, epoch, n, asked))


@get("/v1/board")
async def board_route(request: AnyRequest) -> Response[bytes]:
    """Planned visits that their technician's device has not seen as they stand; how many changed records await the rules."""
    device = await admitted(request)
    await request.app.state.board.write()
    async with context_of(request).office.of(device.tenant_id) as tenant:
        rows, rules_due = await tenant.unseen(), await tenant.rules_due()
    unseen = [row._asdict() for row in rows]
    return answer_json(request, {"unseen": unseen, "rules_due": rules_due})


def _is_json(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return False
    return True


@post("/v1/enrolments")
async def enrolment_route(request: AnyRequest) -> Response[bytes]:
    """A one-time code with which a user's device enrols."""
    device = await admitted(request, MANAGERS)
    asked = await decoded(request, NewCode)
    context = context_of(request)
    async with context.office.of(device.tenant_id) as tenant:
        known = await tenant.user(asked.user)
    if known is None:
        raise ProblemError(404, "There is no such user", asked.user, field="user", rule="not_found")
    return answer_json(request, {"code": await create_code(context, device.tenant_id, asked.user)}, 201)


ROUTES: Final[list[HTTPRouteHandler]] = [
    devices_route,
    holdings_route,
    parked_route,
    repair_route,
    board_route,
    enrolment_route,
]
