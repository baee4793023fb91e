"""The HTTP face: routes, bytes in and out, problem documents. What is behind each route lives in its own module."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import msgspec
import sqlalchemy.exc
from litestar import Litestar, Response, get, post
from litestar.exceptions import HTTPException

from server import openapi
from server.attachments import Attachments
from server.context import Context
from server.devices import claim_of, renew
from server.devices import enrol as spend_code
from server.problems import MEDIA_TYPE, ProblemError, malformed
from server.routes import ROUTES
from server.routes.attachments import router as attachment_router
from server.routes.sync import Board, sync_route
from server.web import JSON, AnyRequest, answer_json, body_of, context_of
from sync.codec import refusal
from sync.derive import json_schema
from sync.protocol import Enrolment

_log = logging.getLogger(__name__)


@post("/v1/enrol")
async def enrol_route(request: AnyRequest) -> Response[bytes]:
    """Spend a one-time code for a device's token."""
    context = context_of(request)
    try:
        asked = msgspec.json.decode(await body_of(request), type=Enrolment)
    except msgspec.DecodeError as error:
        raise malformed(refusal(error)) from error
    enrolled = await spend_code(context.pool, asked, now_ms=context.now_ms(), random=context.random(42))
    return answer_json(request, enrolled)


@post("/v1/renew")
async def renew_route(request: AnyRequest) -> Response[bytes]:
    """A new identity for a copied installation (see the rule `cloned`)."""
    context = context_of(request)
    claim = claim_of(request.headers.get("authorization"))
    return answer_json(request, await renew(context.pool, claim, now_ms=context.now_ms(), random=context.random(42)))


@get("/v1/schema")
async def schema_route(request: AnyRequest) -> Response[bytes]:
    """JSON Schema of every entity, with each field's policy and writers."""
    return answer_json(request, json_schema())


@get("/v1/health")
async def health_route(request: AnyRequest) -> Response[bytes]:
    """Whether the server reaches its database."""
    await context_of(request).office.tenants()
    return Response(b'{"status":"ok"}', media_type=JSON)


def _problem(_: object, error: Exception) -> Response[bytes]:
    """Every error leaves as a problem document; what was not foreseen says nothing of its inside."""
    match error:
        case ProblemError():
            found = error
        case HTTPException():
            found = ProblemError(
                error.status_code, error.detail or "The request cannot be served", rule=f"http_{error.status_code}"
            )
        case asyncpg.PostgresConnectionError() | asyncpg.InterfaceError() | sqlalchemy.exc.OperationalError() | OSError():
            found = ProblemError(
                503, "The database is not reachable", "nothing was stored; send the same again", rule="unavailable"
            )
        case _:
            _log.error("a request failed", exc_info=error)
            found = ProblemError(500, "Something went wrong", "nothing was stored; send the same again", rule="internal")
    return Response(found.body, media_type=MEDIA_TYPE, status_code=found.problem.status)


def create_app(
    context: Context, *, max_body_bytes: int, board_every_s: float = 2.0, attachments: Attachments | None = None
) -> Litestar:
    """The ASGI application on an opened context; without `attachments` it takes and gives none."""
    board = Board(context)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        app.state.context, app.state.board, app.state.max_body_bytes = context, board, max_body_bytes
        tasks = [asyncio.create_task(board.write_for_ever(board_every_s), name="board")]
        if attachments is not None:
            app.state.attachments = attachments
            tasks.append(asyncio.create_task(attachments.sweep_for_ever(), name="stale uploads"))
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return Litestar(
        [
            *(sync_route, enrol_route, renew_route, schema_route, health_route),
            *ROUTES,
            *([attachment_router()] if attachments else []),
        ],
        lifespan=[lifespan],
        exception_handlers={Exception: _problem, HTTPException: _problem},
        openapi_config=openapi.config(),
        request_max_body_size=max_body_bytes,
        logging_config=None,
    )
