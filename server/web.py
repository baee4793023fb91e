"""Bytes in and out of a request: bodies, compression, who is asking."""

import gzip
import zlib
from typing import Any, Final, TypeVar

import msgspec
import zstandard
from litestar import Request, Response

from server.context import Context
from server.devices import Admitted, admit, claim_of
from server.problems import ProblemError, malformed
from sync.codec import refusal
from sync.policies import OFFICE, Roles

JSON: Final = "application/json"
SMALL: Final = 1_024
"""Replies shorter than this travel as they are."""

AnyRequest = Request[Any, Any, Any]
T = TypeVar("T")
_zstd: Final = zstandard.ZstdCompressor(level=1)


async def body_of(request: AnyRequest) -> bytes:
    """The request's body, decompressed, within the limit that the application sets."""
    limit_bytes: int = request.app.state.max_body_bytes
    body = await request.body()
    encoding = request.headers.get("content-encoding", "identity")
    try:
        match encoding:
            case "identity":
                pass
            case "gzip":
                body = zlib.decompressobj(wbits=31).decompress(body, limit_bytes + 1)
            case "zstd":
                body = zstandard.ZstdDecompressor().stream_reader(body).read(limit_bytes + 1)
            case _:
                raise ProblemError(415, "Unknown content encoding", encoding, field="Content-Encoding", rule="encoding")
    except (zlib.error, zstandard.ZstdError) as error:
        raise ProblemError(400, "The body does not decompress", str(error), field="Content-Encoding", rule="encoding") from error
    if len(body) > limit_bytes:
        raise ProblemError(413, "The request is too large", f"at most {limit_bytes} bytes", rule="bounds")
    return body


def answer(request: AnyRequest, body: bytes, status: int = 200) -> Response[bytes]:
    """JSON bytes, compressed as the client accepts."""
    headers = {"vary": "accept-encoding"}
    accepted = request.headers.get("accept-encoding", "")
    if len(body) >= SMALL and "zstd" in accepted:
        body, headers = _zstd.compress(body), headers | {"content-encoding": "zstd"}
    elif len(body) >= SMALL and "gzip" in accepted:
        body, headers = gzip.compress(body, 1), headers | {"content-encoding": "gzip"}
    return Response(body, media_type=JSON, headers=headers, status_code=status)


def answer_json(request: AnyRequest, value: object, status: int = 200) -> Response[bytes]:
    return answer(request, msgspec.json.encode(value), status)


def context_of(request: AnyRequest) -> Context:
    context: Context = request.app.state.context
    return context


async def admitted(request: AnyRequest, roles: Roles = OFFICE) -> Admitted:
    """The device that asks, if its user has one of these roles."""
    claim = claim_of(request.headers.get("authorization"))
    async with context_of(request).pool.connection(claim.tenant_id) as connection:
        device = await admit(connection, claim)
    if device.author.role not in roles:
        raise ProblemError(403, "Not for this role", f"a {device.author.role} may not ask this", rule="role")
    return device


async def decoded(request: AnyRequest, kind: type[T]) -> T:
    """The request's body as a struct. Raises a problem that names the member which does not fit."""
    return decoded_as(await body_of(request), kind)


def decoded_as(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(refusal(error)) from error
