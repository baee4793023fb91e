"""The customer over HTTP: the timeline of an account, and the calendars of those who come."""

import hmac
from hashlib import sha256
from typing import Any, Final

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from server.calendar import add_feed, feed, feeds, revoke_feed, visits_of
from server.devices import Admitted, digest
from server.problems import ProblemError
from server.storage.office import Tenant
from server.storage.tables import projections
from server.timeline import KINDS, PAGE, timeline
from server.web import AnyRequest, admitted, answer_json, context_of, decoded
from sync.policies import OFFICE, PEOPLE, SALES

NEWEST: Final = (2**53, "~", "~")
"""A place behind everything."""


class NewCalendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    technician: str


@get("/v1/accounts/{account:str}/timeline")
async def timeline_route(
    request: AnyRequest,
    account: FromPath[str],
    before: FromQuery[str] = "",
    kinds: FromQuery[str] = "",
    limit: FromQuery[int] = PAGE,
) -> Response[bytes]:
    """Everything that happened with an account, the newest first; `next` goes on as `before`, `kinds` names some, with commas."""
    device = await admitted(request, OFFICE | SALES)
    wanted = [kind for kind in kinds.split(",") if kind]
    if unknown := [kind for kind in wanted if kind not in KINDS]:
        raise ProblemError(400, "The request does not fit", ", ".join(unknown), field="kinds", rule="kind", known=KINDS)
    context = context_of(request)
    async with context.office.of(device.tenant_id) as tenant:
        if await tenant.record("account", account) is None:
            raise ProblemError(404, "There is no such record", f"account {account}", rule="not_found")
    most = max(1, min(limit, PAGE))
    async with context.pool.connection(device.tenant_id) as connection:
        found = await timeline(connection, device.tenant_id, account, kinds=wanted, before=_place(before), limit=most)
    onward = found[-1].place if len(found) == most else None
    items = [{name: value for name, value in msgspec.to_builtins(entry).items() if name != "place"} for entry in found]
    return answer_json(request, {"items": items, "next": onward})


def _place(before: str) -> tuple[int, str, str]:
    if not before:
        return NEWEST
    at, _, rest = before.partition(".")
    kind, _, key = rest.partition(".")
    if not at.isdigit() or len(at) > 15 or kind not in KINDS:
        raise ProblemError(400, "The request does not fit", "the `next` of the page before", field="before", rule="cursor")
    return int(at), kind, key


@post("/v1/calendars")
async def new_calendar_route(request: AnyRequest) -> Response[bytes]:
    """A technician's calendar as an address to subscribe to, told this once; technicians may ask for their own."""
    device = await admitted(request, PEOPLE)
    asked = await decoded(request, NewCalendar)
    context = context_of(request)
    feed_id, secret = context.new_id(), context.random(32).hex()
    async with context.office.of(device.tenant_id) as tenant:
        await _check_own(tenant, device, asked.technician)
        await add_feed(tenant, feed_id, asked.technician, digest(secret), context.now_ms())
    path = f"/v1/calendars/{device.tenant_id}.{feed_id}.{secret}.ics"
    return answer_json(request, {"id": feed_id, "technician": asked.technician, "path": path}, 201)


async def _check_own(tenant: Tenant, device: Admitted, technician: str) -> None:
    rows = await tenant.rows("technician", [projections["technician"].c.id == technician])
    mine = bool(rows) and rows[0].user == device.author.user
    if device.author.role not in OFFICE and not mine:
        raise ProblemError(403, "Not for this role", "it is somebody else's calendar", field="technician", rule="role")
    if not rows:
        raise ProblemError(404, "There is no such record", f"technician {technician}", field="technician", rule="not_found")


@get("/v1/calendars")
async def calendars_route(request: AnyRequest) -> Response[bytes]:
    """The calendars that are subscribed to, without their addresses."""
    device = await admitted(request)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        rows = await feeds(tenant)
    return answer_json(request, [{"id": r.id, "technician": r.technician, "created_ms": r.created_ms} for r in rows])


@delete("/v1/calendars/{feed_id:str}", status_code=200)
async def revoke_calendar_route(request: AnyRequest, feed_id: FromPath[str]) -> Response[bytes]:
    """From now on the address leads nowhere."""
    device = await admitted(request)
    context = context_of(request)
    async with context.office.of(device.tenant_id) as tenant:
        gone = await revoke_feed(tenant, feed_id, context.now_ms())
    if not gone:
        raise ProblemError(404, "There is no such calendar", feed_id, rule="not_found")
    return Response(b"", status_code=204)


@get("/v1/calendars/{name:str}", security=[])
async def calendar_route(request: AnyRequest, name: FromPath[str]) -> Response[bytes]:
    """The calendar itself, as calendar applications fetch it: the address is the right to see it."""
    parts = name.removesuffix(".ics").split(".")
    missing = ProblemError(404, "There is no such calendar", "the address is unknown or was revoked", rule="not_found")
    if len(parts) != 3 or not parts[0].isdigit() or len(parts[0]) > 9 or not name.endswith(".ics"):
        raise missing
    tenant_id = int(parts[0])
    context = context_of(request)
    async with context.office.of(tenant_id) as tenant:
        rows = await feeds(tenant, parts[1])
        if not rows or not hmac.compare_digest(rows[0].token_hash, digest(parts[2])):
            raise missing
        people = await tenant.rows("technician", [projections["technician"].c.id == rows[0].technician])
        visits = await visits_of(tenant, rows[0].technician, context.now_ms())
    body = feed(visits, people[0].name if people else "Visits", tenant_id)
    headers: dict[str, Any] = {"etag": f'"{sha256(body).hexdigest()[:32]}"', "cache-control": "private, max-age=300"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(b"", status_code=304, headers=headers)
    return Response(body, media_type="text/calendar; charset=utf-8", headers=headers)


ROUTES: Final[tuple[HTTPRouteHandler, ...]] = (
    timeline_route,
    new_calendar_route,
    calendars_route,
    revoke_calendar_route,
    calendar_route,
)
