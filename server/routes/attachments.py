"""Attachments over HTTP: uploads speak tus 1.0 (core and creation), downloads speak plain HTTP with ranges.

An upload's address is named by its sha256, and the token says whose upload it is, so a device that lost a reply has lost nothing.
"""

import base64
import binascii
import errno
import re
from typing import Final

from litestar import Response, Router, get, head, patch, post, route
from litestar.params import FromPath
from litestar.response import Stream

from server.attachments import Attachments, Found
from server.devices import Admitted
from server.problems import MEDIA_TYPE, ProblemError
from server.storage.blobs import BlobFault
from server.storage.uploads import Upload
from server.web import AnyRequest, admitted
from sync.policies import PEOPLE

PATH: Final = "/v1/attachments"
TUS: Final = "1.0.0"
MAX_DIGITS: Final = 15
_TUS_HEADERS: Final = {"tus-resumable": TUS, "cache-control": "no-store"}
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_RANGE: Final = re.compile(r"bytes=(?:(\d{1,15})-(\d{0,15})|-(\d{1,15}))")
OPAQUE: Final = "application/octet-stream"


def _desk(request: AnyRequest) -> Attachments:
    desk: Attachments = request.app.state.attachments
    return desk


@route(http_method=["OPTIONS"])
async def discover_route(request: AnyRequest) -> Response[bytes]:
    """What of tus this server speaks."""
    known = {"tus-version": TUS, "tus-extension": "creation", "tus-max-size": str(_desk(request).max_bytes)}
    return Response(b"", status_code=204, headers=_TUS_HEADERS | known)


@post()
async def create_route(request: AnyRequest) -> Response[bytes]:
    """Begin an upload, or take it up again. `Upload-Metadata` says `sha256` (in hex) and may say `media_type`. Content that the
    server has is complete at once: the reply's `Upload-Offset` is then its length."""
    _speaks(request)
    device = await admitted(request, PEOPLE)
    metadata = _metadata(request.headers.get("upload-metadata", ""))
    media_type = metadata.get("media_type", "") or OPAQUE
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise ProblemError(400, "The request does not fit", "media_type is like image/jpeg", field="media_type", rule="pattern")
    upload = Upload(_sha256(metadata.get("sha256", "")), _number(request, "upload-length"), media_type, None)
    offset = await _desk(request).begin(device, upload)
    place = {"location": f"{PATH}/uploads/{upload.sha256}", "upload-offset": str(offset)}
    return Response(b"", status_code=201, headers=_TUS_HEADERS | place)


@head("/uploads/{sha256:str}")
async def look_route(request: AnyRequest, sha256: FromPath[str]) -> Response[None]:
    """How far a device's upload is."""
    _speaks(request)
    device = await admitted(request, PEOPLE)
    offset, size_bytes = await _desk(request).look(device, _sha256(sha256))
    return Response(None, headers=_TUS_HEADERS | {"upload-offset": str(offset), "upload-length": str(size_bytes)})


@patch("/uploads/{sha256:str}")
async def append_route(request: AnyRequest, sha256: FromPath[str]) -> Response[bytes]:
    """The next bytes of an upload, from `Upload-Offset` on. A later request on the same upload takes it over."""
    _speaks(request)
    device = await admitted(request, PEOPLE)
    content_type = request.headers.get("content-type", "")
    if content_type != "application/offset+octet-stream":
        raise ProblemError(415, "Unknown content type", content_type, field="Content-Type", rule="content_type")
    offset = _number(request, "upload-offset")
    ended = False

    async def receive() -> bytes | None:
        nonlocal ended
        while not ended:
            event = await request.receive()
            if event["type"] != "http.request":
                return None
            ended = not event["more_body"]
            if event["body"]:
                return event["body"]
        return b""

    at = await _desk(request).append(device, _sha256(sha256), offset, receive)
    return Response(b"", status_code=204, headers=_TUS_HEADERS | {"upload-offset": str(at)})


@get("/{sha256:str}")
async def download_route(request: AnyRequest, sha256: FromPath[str]) -> Response[bytes] | Stream:
    """The content, whole or a `Range` of it, for those who hold an attachment record with this sha256."""
    device, found = await _found(request, sha256)
    if _is_known(request.headers.get("if-none-match", ""), sha256):
        return Response(b"", status_code=304, headers=_describe(found))
    wanted = request.headers.get("range", "")
    if request.headers.get("if-range", f'"{sha256}"') != f'"{sha256}"':
        wanted = ""
    part = _range(wanted, found)
    start, end = part or (0, found.size_bytes)
    headers = _describe(found) | {"content-length": str(end - start)}
    if part:
        headers["content-range"] = f"bytes {start}-{end - 1}/{found.size_bytes}"
    if start == end:
        return Response(b"", headers=headers, media_type=_served_as(found))
    body = await _desk(request).read(device, found, start, end)
    return Stream(body, status_code=206 if part else 200, headers=headers, media_type=_served_as(found))


@head("/{sha256:str}")
async def describe_route(request: AnyRequest, sha256: FromPath[str]) -> Response[None]:
    """What a download would bring."""
    _, found = await _found(request, sha256)
    length = {"content-length": str(found.size_bytes), "content-type": _served_as(found)}
    return Response(None, headers=_describe(found) | length)


async def _found(request: AnyRequest, sha256: str) -> tuple[Admitted, Found]:
    device = await admitted(request, PEOPLE)
    return device, await _desk(request).find(device, _sha256(sha256))


def _describe(found: Found) -> dict[str, str]:
    return {
        "etag": f'"{found.sha256}"',
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=31536000, immutable",
        # The content is whatever a device sent: no browser may run it as a page of this server.
        "content-disposition": "attachment",
        "content-security-policy": "default-src 'none'; sandbox",
        "x-content-type-options": "nosniff",
    }


def _served_as(found: Found) -> str:
    return found.media_type if _MEDIA_TYPE.fullmatch(found.media_type) else OPAQUE


def _is_known(header: str, sha256: str) -> bool:
    return any(tag.strip().removeprefix("W/") in (f'"{sha256}"', "*") for tag in header.split(",") if tag.strip())


def _range(wanted: str, found: Found) -> tuple[int, int] | None:
    """The first byte and the one after the last; None for the whole, which RFC 9110 asks for where this is not one valid range."""
    size = found.size_bytes
    match = _RANGE.fullmatch(wanted)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if first and last and int(last) < int(first):
        return None
    start = max(0, size - int(suffix)) if suffix else int(first)
    end = size if suffix or not last else min(size, int(last) + 1)
    if start >= size:
        raise ProblemError(
            416, "The range is outside of the content", f"it has {size} bytes", field="Range", rule="bounds", size=size
        )
    return start, end


def _speaks(request: AnyRequest) -> None:
    if request.headers.get("tus-resumable") != TUS:
        raise ProblemError(412, "Unknown version of tus", f"send Tus-Resumable: {TUS}", field="Tus-Resumable", rule="version")


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise ProblemError(400, "The request does not fit", "sha256 is 64 lower-case hex digits", field="sha256", rule="pattern")
    return text


def _number(request: AnyRequest, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise ProblemError(400, "The request does not fit", f"{name} is a number of bytes", field=name.title(), rule="bounds")
    return int(text)


def _metadata(header: str) -> dict[str, str]:
    """tus: pairs of a key and a value in base64, separated by commas."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ProblemError(
                400, "The request does not fit", f"{key}: {error}", field="Upload-Metadata", rule="base64"
            ) from error
    return found


def _refuse(request: AnyRequest, error: ProblemError) -> Response[bytes]:
    """tus wants its headers on refusals too."""
    headers = dict(_TUS_HEADERS)
    extra = error.problem.extra
    if "offset_bytes" in extra:
        headers["upload-offset"] = str(extra["offset_bytes"])
    if "size" in extra:
        headers["content-range"] = f"bytes */{extra['size']}"
    if error.problem.status == 412:
        headers["tus-version"] = TUS
    body = b"" if request.method == "HEAD" else error.body
    return Response(body, status_code=error.problem.status, headers=headers, media_type=MEDIA_TYPE)


def _unreachable(request: AnyRequest, _: BlobFault) -> Response[bytes]:
    return _refuse(
        request, ProblemError(503, "The store of attachments does not answer", "send the same again", rule="unavailable")
    )


def _full(request: AnyRequest, error: OSError) -> Response[bytes]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _refuse(request, ProblemError(507, "The server's disk is full", "send the same again later", rule="storage"))
    return _refuse(request, ProblemError(503, "The server cannot take this now", "send the same again", rule="unavailable"))


def router() -> Router:
    """The routes, for one application; it keeps its `Attachments` in its state."""
    return Router(
        PATH,
        route_handlers=[discover_route, create_route, look_route, append_route, download_route, describe_route],
        exception_handlers={ProblemError: _refuse, BlobFault: _unreachable, OSError: _full},
    )
