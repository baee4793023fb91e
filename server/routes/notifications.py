"""Messages over HTTP: what was sent to whom and what not, and the subscriptions of other systems."""

from typing import Any, Final

import msgspec
import sqlalchemy as sa
from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from server.domain.notifications import KINDS, TEST, Happening, call_of
from server.problems import ProblemError
from server.storage import outbox
from server.web import AnyRequest, admitted, answer_json, context_of, decoded
from server.webhooks import SECRET_BYTES, Forbidden, check_url, secret
from sync.policies import MANAGERS

PAGE: Final = 200
_FILTERS: Final = ("state", "channel", "kind", "account", "recipient", "subject")


class NewWebhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`kinds` such as "lead.won" or "appointment.*"; empty: everything."""

    url: str
    kinds: tuple[str, ...] = ()


class WebhookEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    url: str | msgspec.UnsetType = msgspec.UNSET
    kinds: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    active: bool | msgspec.UnsetType = msgspec.UNSET


@get("/v1/notifications")
async def notifications_route(request: AnyRequest, before: FromQuery[str] = "", limit: FromQuery[int] = PAGE) -> Response[bytes]:
    """Messages, the newest first; `next` goes on as `before`. `state` is due, sent, skipped or dead; `reason` says why.

    Filtered by `state`, `channel`, `kind`, `account`, `recipient` and `subject` (the id of the record that they are about).
    """
    device = await admitted(request)
    place = _place(before)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        filters = {name: request.query_params[name] for name in _FILTERS if request.query_params.get(name)}
        rows = await outbox.listed(tenant, filters=filters, before=place, limit=max(1, min(limit, PAGE)))
    shown = [_shown(row) for row in rows]
    onward = f"{rows[-1].created_ms}.{rows[-1].id}" if len(rows) >= limit else None
    return answer_json(request, {"items": shown, "next": onward})


def _place(before: str) -> tuple[int, str] | None:
    at, _, message_id = before.partition(".")
    if not before:
        return None
    if not at.isdigit() or len(at) > 15:
        raise ProblemError(400, "The request does not fit", "the `next` of the page before", field="before", rule="cursor")
    return int(at), message_id


def _shown(row: sa.Row[Any]) -> dict[str, Any]:
    fields = row._asdict()
    del fields["tenant_id"]
    return fields


@post("/v1/notifications/{message_id:str}/resend")
async def resend_route(request: AnyRequest, message_id: FromPath[str]) -> Response[bytes]:
    """Send a message that was given up, or sent, once more, under the same id. One that was skipped stays so: somebody said no."""
    device = await admitted(request)
    context = context_of(request)
    async with context.office.of(device.tenant_id) as tenant:
        rows = await outbox.listed(tenant, filters={"id": message_id}, before=None, limit=1)
        if not rows:
            raise ProblemError(404, "There is no such message", message_id, rule="not_found")
        if rows[0].state == outbox.SKIPPED and not rows[0].reason.startswith("no mail server"):
            raise ProblemError(409, "The message is not to be sent", rows[0].reason, field="state", rule="skipped")
        await outbox.settle(tenant, message_id, state=outbox.DUE, attempts=0, next_ms=context.now_ms(), reason="")
    return answer_json(request, {"id": message_id, "state": outbox.DUE}, 202)


@get("/v1/webhooks")
async def webhooks_route(request: AnyRequest) -> Response[bytes]:
    """Subscriptions, with how they fare, and the kinds of things that can be told."""
    device = await admitted(request, MANAGERS)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        rows = await outbox.webhooks(tenant)
    return answer_json(request, {"items": [_hook(row) for row in rows], "kinds": KINDS})


def _hook(row: Any) -> dict[str, Any]:
    """Without the secret, which is told once."""
    return {name: value for name, value in _shown(row).items() if name != "secret"}


@post("/v1/webhooks")
async def subscribe_route(request: AnyRequest) -> Response[bytes]:
    """Subscribe an address; the answer has the secret that verifies the calls, this once."""
    device = await admitted(request, MANAGERS)
    asked = await decoded(request, NewWebhook)
    context = context_of(request)
    _check(request, asked.url, asked.kinds)
    hook_id, key = context.new_id(), secret(context.random(SECRET_BYTES))
    values = {"id": hook_id, "url": asked.url, "kinds": list(asked.kinds), "secret": key, "created_ms": context.now_ms()}
    async with context.office.of(device.tenant_id) as tenant:
        await outbox.add_webhook(tenant, **values)
    return answer_json(request, values, 201)


def _check(request: AnyRequest, url: str, kinds: tuple[str, ...]) -> None:
    try:
        check_url(url, private=context_of(request).outgoing.private_webhooks)
    except Forbidden as error:
        raise ProblemError(422, "The address cannot be called", str(error), field="url", rule="address") from error
    groups = {f"{kind.partition('.')[0]}.*" for kind in KINDS}
    unknown = [kind for kind in kinds if kind not in KINDS and kind not in groups]
    if unknown:
        raise ProblemError(422, "Nothing of this kind is told", ", ".join(unknown), field="kinds", rule="kind", known=KINDS)


@patch("/v1/webhooks/{hook_id:str}")
async def webhook_route(request: AnyRequest, hook_id: FromPath[str]) -> Response[bytes]:
    """Change a subscription, switch it off, or on again after it was given up."""
    device = await admitted(request, MANAGERS)
    asked = await decoded(request, WebhookEdit)
    context = context_of(request)
    async with context.office.of(device.tenant_id) as tenant:
        hooks = await outbox.webhooks(tenant, hook_id)
        if not hooks:
            raise ProblemError(404, "There is no such subscription", hook_id, rule="not_found")
        values: dict[str, Any] = msgspec.to_builtins(asked)
        _check(request, values.get("url", hooks[0].url), tuple(values.get("kinds", hooks[0].kinds)))
        if values.get("active"):
            values |= {"failing_since_ms": None, "disabled_ms": None}
        if values:
            await outbox.update_webhook(tenant, hook_id, **values)
        (hook,) = await outbox.webhooks(tenant, hook_id)
    return answer_json(request, _hook(hook))


@delete("/v1/webhooks/{hook_id:str}", status_code=200)
async def unsubscribe_route(request: AnyRequest, hook_id: FromPath[str]) -> Response[bytes]:
    device = await admitted(request, MANAGERS)
    async with context_of(request).office.of(device.tenant_id) as tenant:
        gone = await outbox.delete_webhook(tenant, hook_id)
    if not gone:
        raise ProblemError(404, "There is no such subscription", hook_id, rule="not_found")
    return Response(b"", status_code=204)


@post("/v1/webhooks/{hook_id:str}/test")
async def test_route(request: AnyRequest, hook_id: FromPath[str]) -> Response[bytes]:
    """Put a call of kind `webhook.test` into the outbox; GET /v1/notifications shows what became of it."""
    device = await admitted(request, MANAGERS)
    context = context_of(request)
    now_ms = context.now_ms()
    async with context.office.of(device.tenant_id) as tenant:
        hooks = await outbox.webhooks(tenant, hook_id)
        if not hooks:
            raise ProblemError(404, "There is no such subscription", hook_id, rule="not_found")
        happening = Happening(TEST, f"{TEST}:{context.new_id()}", now_ms)
        message = call_of(hooks[0], happening, {"entity": "webhook", "id": hook_id}, now_ms)
        await outbox.put(tenant, [message], now_ms)
    return answer_json(request, {"id": message.id}, 202)


ROUTES: Final[tuple[HTTPRouteHandler, ...]] = (
    notifications_route,
    resend_route,
    webhooks_route,
    subscribe_route,
    webhook_route,
    unsubscribe_route,
    test_route,
)
