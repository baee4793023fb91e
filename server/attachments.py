"""Attachments: content comes up in pieces, resumably, is checked against its sha256 and filed; it goes down to whoever holds a
record of it.

The truth about an unfinished upload is its staged file: the length of the file is the offset. A server that is killed loses at most
what it had not yet written to the file, and says so when it is asked. Nothing is taken for complete before the store has it.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from server.context import Context
from server.devices import Admitted
from server.problems import ProblemError
from server.storage import reach, uploads
from server.storage.blobs import BlobFault, Blobs
from server.storage.uploads import Upload
from sync.policies import OFFICE

UNFINISHED_MAX: Final = 50
"""Uploads that one device may have under way."""
WRITE_BYTES: Final = 256 * 1024
"""How much is collected before it is written: what a killed server can lose."""
IDLE_S: Final = 60.0
STALE_MS: Final = 14 * 86_400_000
SWEEP_S: Final = 3_600.0

_log: Final = logging.getLogger(__name__)
Receive = Callable[[], Awaitable[bytes | None]]
"""The next piece of a body, empty at its end; None if the sender is gone."""


class Found(msgspec.Struct, frozen=True):
    """A content that the asker may have."""

    sha256: str
    size_bytes: int
    media_type: str


class _Turn:
    """One request at work on an upload. A later one makes it give way: whoever asks anew has given up on the former."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.superseded = False
        self._limit: asyncio.Timeout | None = None

    def give_way(self) -> None:
        self.superseded = True
        if self._limit is not None:
            self._limit.reschedule(0)

    async def next(self, receive: Receive, idle_s: float) -> bytes | None:
        """The next piece; None if there will be none."""
        if self.superseded:
            return None
        try:
            async with asyncio.timeout(idle_s) as self._limit:
                return await receive()
        except TimeoutError:
            return None
        finally:
            self._limit = None


class Attachments:
    """Uploads and downloads of one server process. Uploads lie in `staging` on local disk, which processes of a machine share."""

    def __init__(self, context: Context, blobs: Blobs, staging: Path, *, max_bytes: int, idle_s: float = IDLE_S) -> None:
        self._context, self._blobs, self._staging, self.max_bytes, self._idle_s = context, blobs, staging, max_bytes, idle_s
        self._turns: dict[Path, _Turn] = {}

    # Up ---------------------------------------------------------------------------------------------------------------------

    async def begin(self, device: Admitted, upload: Upload) -> int:
        """Begin an upload or take it up again; returns its offset, which is its length if the content is here already."""
        if upload.size_bytes > self.max_bytes:
            raise ProblemError(
                413, "The attachment is too large", f"at most {self.max_bytes} bytes", field="Upload-Length", rule="bounds"
            )
        size_bytes = await self._blobs.size(device.tenant_id, upload.sha256)
        if size_bytes is not None and size_bytes != upload.size_bytes:
            raise ProblemError(
                422,
                "The length does not fit",
                f"content with this sha256 has {size_bytes} bytes",
                field="Upload-Length",
                rule="checksum",
            )
        now_ms = self._context.now_ms()
        noted = msgspec.structs.replace(upload, stored_ms=None if size_bytes is None else now_ms)
        async with self._context.pool.connection(device.tenant_id) as connection:
            fits = await uploads.begin(
                connection, device.tenant_id, device.author.device, noted, now_ms=now_ms, unfinished_max=UNFINISHED_MAX
            )
        if not fits:
            raise ProblemError(
                429, "Too many unfinished uploads", f"finish some of the {UNFINISHED_MAX}", rule="bounds", limit=UNFINISHED_MAX
            )
        return (await self.look(device, upload.sha256))[0]

    async def look(self, device: Admitted, sha256: str) -> tuple[int, int]:
        """(offset, length) of a device's upload; finishes it if a server died between its last byte and its end."""
        async with self._at_work(device, sha256) as (upload, _, part):
            if part is None:
                return upload.size_bytes, upload.size_bytes
            offset = part.seek(0, os.SEEK_END)
            if offset > upload.size_bytes:  # the same content was announced with another length before
                part.truncate(0)
                offset = 0
            if offset == upload.size_bytes:
                await self._finish(device, upload)
            return offset, upload.size_bytes

    async def append(self, device: Admitted, sha256: str, offset: int, receive: Receive) -> int:
        """Take what a body brings from `offset` on; returns the new offset. Content that is complete is checked and filed."""
        async with self._at_work(device, sha256) as (upload, turn, part):
            at = upload.size_bytes if part is None else part.seek(0, os.SEEK_END)
            if at != offset:
                raise ProblemError(
                    409, "The upload is at another offset", f"it is at {at}", field="Upload-Offset", rule="offset", offset_bytes=at
                )
            if part is None:
                return at
            at = await self._write(part, at, upload.size_bytes, turn, receive)
            if at == upload.size_bytes:
                await self._finish(device, upload)
        if turn.superseded and at < upload.size_bytes:
            raise ProblemError(423, "Another request took this upload over", rule="locked", offset_bytes=at)
        return at

    async def _write(self, part: FileIO, at: int, size_bytes: int, turn: _Turn, receive: Receive) -> int:
        waiting = bytearray()
        too_much = False
        while piece := await turn.next(receive, self._idle_s):
            too_much = at + len(waiting) + len(piece) > size_bytes
            if too_much:
                break
            waiting += piece
            if len(waiting) >= WRITE_BYTES:
                at += await asyncio.to_thread(_write_all, part, bytes(waiting))
                waiting.clear()
        at += await asyncio.to_thread(_flush, part, bytes(waiting))
        if too_much:
            raise ProblemError(
                413, "The body goes past the announced length", f"{size_bytes} bytes", rule="bounds", offset_bytes=at
            )
        return at

    async def _finish(self, device: Admitted, upload: Upload) -> None:
        """Check and file a complete content. Killed anywhere in here, it is done again when somebody asks."""
        path = self._part(device.tenant_id, device.author.device, upload.sha256)
        if await asyncio.to_thread(_sha256, path) != upload.sha256:
            await self._drop(device.tenant_id, device.author.device, upload.sha256)
            raise ProblemError(
                422, "The content is not what was announced", "its sha256 differs; begin anew", field="sha256", rule="checksum"
            )
        await self._blobs.put(device.tenant_id, upload.sha256, path)
        async with self._context.pool.connection(device.tenant_id) as connection:
            await uploads.stored(connection, device.tenant_id, device.author.device, upload.sha256, self._context.now_ms())
        path.unlink(missing_ok=True)

    async def _drop(self, tenant_id: int, device_no: int, sha256: str) -> None:
        self._part(tenant_id, device_no, sha256).unlink(missing_ok=True)
        async with self._context.pool.connection(tenant_id) as connection:
            await uploads.forget(connection, tenant_id, device_no, sha256)

    def _part(self, tenant_id: int, device_no: int, sha256: str) -> Path:
        return self._staging / str(tenant_id) / str(device_no) / sha256

    @asynccontextmanager
    async def _at_work(self, device: Admitted, sha256: str) -> AsyncIterator[tuple[Upload, _Turn, FileIO | None]]:
        """Be the only request, among all processes of this machine, that works on an upload. There is no file if it is finished."""
        path = self._part(device.tenant_id, device.author.device, sha256)
        turn, former = _Turn(), self._turns.get(path)
        self._turns[path] = turn
        try:
            if former is not None:
                former.give_way()
                await former.over.wait()
            upload = await self._known(device, sha256)
            if upload.stored_ms is not None:
                path.unlink(missing_ok=True)
                yield upload, turn, None
                return
            with _locked(path) as part:
                upload = await self._known(device, sha256)  # another process may have finished it before it let go of the lock
                if upload.stored_ms is not None:
                    path.unlink(missing_ok=True)
                yield upload, turn, None if upload.stored_ms is not None else part
        finally:
            turn.over.set()
            if self._turns[path] is turn:
                del self._turns[path]

    async def _known(self, device: Admitted, sha256: str) -> Upload:
        async with self._context.pool.connection(device.tenant_id) as connection:
            upload = await uploads.find(connection, device.tenant_id, device.author.device, sha256)
        if upload is None:
            raise ProblemError(404, "There is no such upload", "begin it with POST /v1/attachments", rule="not_found")
        return upload

    # Down -------------------------------------------------------------------------------------------------------------------

    async def find(self, device: Admitted, sha256: str) -> Found:
        """A content, if an attachment record in a scope that the user holds tells of it. The office holds everything."""
        async with self._context.pool.connection(device.tenant_id) as connection:
            told = await uploads.told(connection, device.tenant_id, sha256)
            scopes = sorted({scope for scope, _ in told})
            may = bool(told) and (
                device.author.role in OFFICE or await reach.holds_any(connection, device.tenant_id, device.author.user, scopes)
            )
        if not may:
            raise ProblemError(404, "There is no such attachment", sha256, field="sha256", rule="not_found")
        size_bytes = await self._blobs.size(device.tenant_id, sha256)
        if size_bytes is None:
            raise ProblemError(
                404, "The attachment has not arrived yet", "its device has not uploaded it", field="sha256", rule="not_uploaded"
            )
        return Found(sha256, size_bytes, told[0][1])

    async def read(self, device: Admitted, found: Found, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end`."""
        return await self._blobs.read(device.tenant_id, found.sha256, start, end)

    # Order ------------------------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Drop unfinished uploads that nobody has asked for in a long time."""
        before_ms = self._context.now_ms() - STALE_MS
        for tenant_id in (await self._context.office.tenants()).values():
            async with self._context.pool.connection(tenant_id) as connection:
                found = await uploads.stale(connection, tenant_id, before_ms)
            for device_no, sha256 in found:
                await self._drop(tenant_id, device_no, sha256)

    async def sweep_for_ever(self) -> None:
        while True:
            try:
                await self.sweep()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, BlobFault) as error:
                _log.warning("stale uploads stay for another hour: %s", error)
            await asyncio.sleep(SWEEP_S)


@contextmanager
def _locked(path: Path) -> Iterator[FileIO]:
    """The staged file, opened for appending and locked against other processes. The lock ends with its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ProblemError(423, "Another process works on this upload", "ask again soon", rule="locked") from error
        yield file


def _write_all(part: FileIO, data: bytes) -> int:
    """A full disk may take less than all of a write before it refuses the rest."""
    at = 0
    while at < len(data):
        at += part.write(data[at:])
    return at


def _flush(part: FileIO, rest: bytes) -> int:
    written = _write_all(part, rest)
    os.fsync(part.fileno())
    return written


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
