"""Planning over HTTP: start a run, look at it, listen to it, end it early."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Stream

from server.context import Context
from server.plan_request import PlanRequest
from server.planning import ENDED, start_plan
from server.problems import ProblemError
from server.storage import plans
from server.web import AnyRequest, admitted, answer_json, context_of, decoded

LOOK_S: Final = 0.3
QUIET_LOOKS: Final = 50
"""After so many looks without news a comment keeps the line alive."""


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End a run: `keep` takes the best plan so far, as if its time were over; otherwise nothing is published."""

    keep: bool = False


@post("/v1/plans")
async def plan_route(request: AnyRequest) -> Response[bytes]:
    """Plan a stretch of time as a job of a worker; answers at once with the run's id."""
    device = await admitted(request)
    asked = await decoded(request, PlanRequest)
    run_id = await start_plan(context_of(request), device.tenant_id, asked)
    return answer_json(request, {"id": run_id}, 202)


@get("/v1/plans/{run_id:str}")
async def plan_state_route(request: AnyRequest, run_id: FromPath[str]) -> Response[bytes]:
    """How a run stands: its state, its progress so far and the best plan found."""
    device = await admitted(request)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        row = await plans.get(tenant, run_id)
    if row is None:
        raise _unknown(run_id)
    names = ("id", "state", "progress", "best", "error", "request", "wish")
    return answer_json(request, {name: getattr(row, name) for name in names})


@post("/v1/plans/{run_id:str}/stop")
async def plan_stop_route(request: AnyRequest, run_id: FromPath[str]) -> Response[bytes]:
    """Cancel a run, or take its best plan so far. A run that has ended stays as it ended; the answer says how it stands."""
    device = await admitted(request)
    asked = await decoded(request, Stop)
    context = context_of(request)
    async with context.office.of(device.tenant_id) as tenant:
        state = await plans.wish(tenant, run_id, "take" if asked.keep else "cancel", context.now_ms())
    if state is None:
        raise _unknown(run_id)
    return answer_json(request, {"id": run_id, "state": state}, 202)


@get("/v1/plans/{run_id:str}/events")
async def plan_events_route(request: AnyRequest, run_id: FromPath[str]) -> Stream:
    """Server-sent events: `progress` with seconds, jobs served and score for each better plan, then `end` with the state.

    Each has a number; a client that comes back with `Last-Event-ID` hears what it missed.
    """
    device = await admitted(request)
    context, last = context_of(request), request.headers.get("last-event-id", "")
    async with context.office.of(device.tenant_id) as tenant:
        if await plans.news(tenant, run_id, 0) is None:
            raise _unknown(run_id)
    return Stream(
        _told(context, device.tenant_id, run_id, int(last) if last.isdecimal() else 0),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _told(context: Context, tenant_id: int, run_id: str, told: int) -> AsyncIterator[bytes]:
    quiet = 0
    while True:
        async with context.office.of(tenant_id) as tenant:
            row = await plans.news(tenant, run_id, told)
        if row is None:
            return
        for entry in row.progress:
            told += 1
            yield _event("progress", told, entry)
        if row.state in ENDED:
            yield _event("end", told, {"state": row.state, "error": row.error})
            return
        quiet = 0 if row.progress else quiet + 1
        if quiet % QUIET_LOOKS == 1:
            yield b": at work\n\n"
        await asyncio.sleep(LOOK_S)


def _event(name: str, number: int, data: object) -> bytes:
    return b"event: %s\nid: %d\ndata: %s\n\n" % (name.encode(), number, msgspec.json.encode(data))


def _unknown(run_id: str) -> ProblemError:
    return ProblemError(404, "There is no such run", run_id, rule="not_found")


ROUTES: Final[list[HTTPRouteHandler]] = [plan_route, plan_state_route, plan_stop_route, plan_events_route]
