"""A request with an `Idempotency-Key` is served once; whoever repeats it gets the same answer, for a day."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Final

import msgspec
from litestar import Response

from server.devices import Admitted
from server.problems import MEDIA_TYPE, ProblemError
from server.storage import records
from server.web import JSON, AnyRequest, context_of

MAX_KEY: Final = 200
HEADER: Final = "idempotency-key"


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}

    def response(self) -> Response[bytes]:
        media_type = MEDIA_TYPE if self.status >= 400 else JSON
        return Response(self.body, status_code=self.status, media_type=media_type, headers=dict(self.headers))


async def once(
    request: AnyRequest, device: Admitted, body: bytes, serve: Callable[[str, bool], Awaitable[Answer]]
) -> Response[bytes]:
    """Serve a request, or give the answer that it had. `serve` is given the key, and whether the request was begun before."""
    key = request.headers.get(HEADER, "")
    if not key:
        return (await serve("", False)).response()  # noqa: FBT003  # a callable's second parameter
    if len(key) > MAX_KEY:
        raise ProblemError(400, "The request does not fit", f"at most {MAX_KEY} characters", field="Idempotency-Key", rule="bounds")
    context = context_of(request)
    asked = sha256(b"\0".join((request.method.encode(), request.url.path.encode(), body))).digest()
    async with context.office.of(device.tenant_id) as tenant:
        found = await records.reserve(tenant, device.author.user, key, asked, context.now_ms())
    if found.row is not None and found.row.request_hash != asked:
        raise ProblemError(422, "The key was used for another request", key, field="Idempotency-Key", rule="idempotency_key")
    if found.row is not None:
        return Answer(found.row.status, found.row.body, found.row.headers | {"idempotent-replayed": "true"}).response()
    if not (found.fresh or found.redone):
        raise ProblemError(409, "The request is under way", "repeat it in a minute", field="Idempotency-Key", rule="in_progress")
    try:
        answer = await serve(f"{device.author.user}.{key}", found.redone)
    except ProblemError as problem:
        if problem.problem.status >= 500:
            raise
        answer = Answer(problem.problem.status, problem.body)
    async with context.office.of(device.tenant_id) as tenant:
        await asyncio.shield(records.keep_answer(tenant, device.author.user, key, answer.status, answer.headers, answer.body))
    return answer.response()
