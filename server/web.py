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
    return unpacked(await request.body(), request.headers.get("content-encoding", "identity"), request.app.state.max_body_bytes)


def unpacked(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """A body as it was before its content encoding. Raises `ProblemError`."""
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
    body, headers = packed(body, request.headers.get("accept-encoding", ""))
    return Response(body, media_type=JSON, headers=headers, status_code=status)


def packed(body: bytes, accepted: str) -> tuple[bytes, dict[str, str]]:
    """The body in the best of the accepted content encodings, and the headers that say so."""
    headers = {"vary": "accept-encoding"}
    if len(body) >= SMALL and "zstd" in accepted:
        return _zstd.compress(body), headers | {"content-encoding": "zstd"}
    if len(body) >= SMALL and "gzip" in accepted:
        return gzip.compress(body, 1), headers | {"content-encoding": "gzip"}
    return body, headers


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
