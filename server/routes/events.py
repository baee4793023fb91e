"""`GET /v1/events`: a stream of hints that tell a device when to pull."""

from typing import Final

from litestar import get
from litestar.background_tasks import BackgroundTask
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from server.web import AnyRequest, admitted, context_of
from sync.policies import OFFICE, PEOPLE


@get("/v1/events")
async def events_route(request: AnyRequest) -> Stream:
    """Server-sent events: `event: wake` with the number of the tenant's commit, 0 if it is not known, whenever a pull may bring
    something; the first one at once. Comments keep the line alive. A device is not woken by its own commits."""
    device = await admitted(request, PEOPLE)
    wakeups = context_of(request).wakeups
    stream = wakeups.subscribe(
        device.tenant_id,
        device.author.device,
        device.author.user,
        sees_all=device.author.role in OFFICE,
        seq=device.clock_seq,
    )
    return Stream(
        stream,
        media_type="text/event-stream",
        # A proxy that collects the stream before passing it on would make it useless.
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        background=BackgroundTask(wakeups.unsubscribe, device.tenant_id, stream),
    )


ROUTES: Final[tuple[HTTPRouteHandler, ...]] = (events_route,)
