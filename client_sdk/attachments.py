"""Photos, signatures and documents on the device: kept beside the replica's file, sent in their own queue, fetched when asked for.

::

    with replica.edit("leak found") as tx:
        replica.attachments.attach(tx, Path("leak.jpg"), media_type="image/jpeg", parent=WorkOrder, parent_id=order.id)
    await replica.sync()                                    # the record travels at once
    await replica.attachments.sync()                        # its content when the line allows, from where it stopped
    path = await replica.attachments.fetch(item)            # another device's photo, from then on here

Content lies in files named by their sha256; a row tells what is to be sent. A row is written as a draft, and becomes part of the
queue in the very SQLite transaction that stores the edit, by a trigger: an edit that is not stored sends nothing, and one that is
stored loses nothing, wherever the process is killed. How far an upload has come only the server knows, and it is asked each time.
"""

import base64
import enum
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from client_sdk.background import BackgroundSync
from client_sdk.draft import Draft
from client_sdk.errors import BadReply, NotEnrolled, NotFound, Offline, Rejected, Revoked, SdkError
from client_sdk.files import Files
from client_sdk.items import Item
from client_sdk.line import Answer, Line, http_line
from client_sdk.store import Store, SyncLock
from client_sdk.tables import one
from client_sdk.watch import Hub
from sync.codec import decode_body
from sync.entities import Attachment
from sync.protocol import Enrolled, Problem
from sync.schema import Entity

PATH: Final = "/v1/attachments"
FIRST_PIECE_BYTES: Final = 128 * 1024
MAX_PIECE_BYTES: Final = 4 * 1024 * 1024
FETCH_BYTES: Final = 1024 * 1024
DRAFT_MS: Final = 86_400_000
LOCK_RETRY_S: Final = 0.05
SETBACKS_MAX: Final = 5
"""How often one upload may lose ground before it waits for the next call."""
_BUSY: Final = frozenset({408, 423, 425, 429})
_FINAL: Final = frozenset({400, 413, 415, 422})
"""Refusals of the content itself; others are of the device or of the moment."""
_TUS: Final = {"Tus-Resumable": "1.0.0"}
_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS attachment_file (
         record TEXT PRIMARY KEY, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, media_type TEXT NOT NULL,
         state TEXT NOT NULL, made_ms INTEGER NOT NULL, sent_bytes INTEGER NOT NULL DEFAULT 0,
         problem TEXT NOT NULL DEFAULT '') WITHOUT ROWID""",
    """CREATE TRIGGER IF NOT EXISTS attachment_edit_stored AFTER INSERT ON touched WHEN NEW.entity = 'attachment' BEGIN
         UPDATE attachment_file SET state = 'waiting' WHERE record = NEW.id AND state = 'drafted'; END""",
    "CREATE TRIGGER IF NOT EXISTS attachment_wiped AFTER DELETE ON device BEGIN DELETE FROM attachment_file; END",
)
_COLUMNS: Final = "record, sha256, size_bytes, media_type, state, sent_bytes, problem"


class FileState(enum.StrEnum):
    DRAFTED = "drafted"
    """Its edit is not stored (yet)."""
    WAITING = "waiting"
    """To be sent."""
    STORED = "stored"
    """The server has it, checked."""
    REFUSED = "refused"
    """The server does not take it; `problem` says why."""


class File(msgspec.Struct, frozen=True):
    """What became of a content that this device attached. `record` is the id of its attachment record."""

    record: str
    sha256: str
    size_bytes: int
    media_type: str
    state: FileState
    sent_bytes: int
    problem: str


class Progress(msgspec.Struct, frozen=True):
    """How far one content has come, up or down."""

    sha256: str
    done_bytes: int
    size_bytes: int


OnProgress = Callable[[Progress], None]


class NotUploaded(SdkError):
    """The record is there, its content has not reached the server yet. Ask again later."""


def _silent(_: Progress) -> None:
    """Nobody watches."""


class Attachments:
    """The attachments of one replica; `Replica.attachments`."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        path: Path,
        *,
        clock: Callable[[], int],
        random: Random,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._store, self._hub, self._clock, self._random, self._sleep = store, hub, clock, random, sleep
        self._files = Files(path.with_name(path.name + "-files"))
        self._sending, self._fetching = (SyncLock(path.with_name(path.name + end)) for end in ("-send", "-fetch"))
        if not store.sql("SELECT 1 FROM sqlite_master WHERE name = 'attachment_wiped'"):
            with store.write():
                for statement in _SCHEMA:
                    store.sql(statement)
        if store.device().enrolled is None and not self.queue():
            self._files.erase()  # a wipe may have been cut short

    # On the device ----------------------------------------------------------------------------------------------------------

    def attach(
        self,
        tx: Draft,
        content: bytes | Path,
        *,
        media_type: str,
        parent: type[Entity],
        parent_id: str,
        scope: str | None = None,
        caption: str = "",
    ) -> str:
        """Attach content to a record, as part of an edit; returns the id of the attachment record. The content is copied.

        The attachment lives in the scope of its parent; say which one if the parent is made in the same edit.
        """
        sha256, size_bytes = self._files.keep(content)
        fields = Attachment(
            scope=scope or self._scope(parent, parent_id),
            parent_entity=parent.spec.name,
            parent=parent_id,
            sha256=sha256,
            size_bytes=size_bytes,
            media_type=media_type,
            caption=caption,
        )
        record = tx.create(fields)
        with self._store.write():
            self._store.sql(
                "INSERT INTO attachment_file (record, sha256, size_bytes, media_type, state, made_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (record, sha256, size_bytes, media_type, FileState.DRAFTED, self._clock()),
            )
        return record

    def _scope(self, parent: type[Entity], parent_id: str) -> str:
        if parent.spec.scope.field is None:
            return parent.spec.scope_of(parent_id, {})
        rows = self._store.view(one(parent.spec, parent_id))
        if not rows:
            raise NotFound(f"this replica holds no {parent.spec.name} {parent_id}: say the scope")
        return parent.spec.scope_of(parent_id, decode_body(rows[0].body))

    def queue(self, state: FileState | None = None) -> list[File]:
        """What this device attached and what became of it."""
        rows = self._store.sql(
            f"SELECT {_COLUMNS} FROM attachment_file WHERE ? IS NULL OR state = ? ORDER BY made_ms, record",  # noqa: S608  # constants
            (state, state),
        )
        return [_file(row) for row in rows]

    def retry(self, record: str) -> None:
        """Send a refused content again."""
        self._mark(record, FileState.WAITING, was=FileState.REFUSED)

    def local(self, sha256: str) -> Path | None:
        """The content's file, if it is on this device."""
        path = self._files.path(sha256)
        return path if path.exists() else None

    def trim(self, keep_bytes: int) -> None:
        """Free the device's disk: drop contents that the server has, the oldest first, until so many bytes are left."""
        needed = {file.sha256 for file in self.queue() if file.state is not FileState.STORED}
        self._files.trim(keep_bytes, needed)

    def erase(self) -> None:
        """Remove every content from the device, by order of the server."""
        self._files.erase()

    # Up ---------------------------------------------------------------------------------------------------------------------

    async def sync(self, on_progress: OnProgress = _silent) -> None:
        """Send what waits, the smallest first. What the server refuses is marked so and the rest goes on.

        Raises a `SyncError` if the line or the server fails; what has come through stays, and the next call goes on from there.
        """
        self._forget_drafts()
        if not self.queue(FileState.WAITING):
            return
        async with _held(self._sending, self._sleep), self._line() as line:
            tried: set[str] = set()
            while left := [file for file in self.queue(FileState.WAITING) if file.record not in tried]:
                file = min(left, key=lambda file: file.size_bytes)
                tried.add(file.record)
                await self._send(line, file, on_progress)

    def sync_in_background(self, on_progress: OnProgress = _silent) -> BackgroundSync:
        """Send after each edit and now and then, with back-off while it fails. Stop it with `await handle.stop()`."""
        return BackgroundSync(lambda: self.sync(on_progress), self._hub, self._random, self._sleep)

    async def _send(self, line: Line, file: File, on_progress: OnProgress) -> None:
        if self._files.damaged(file.sha256, file.size_bytes):
            self._mark(file.record, FileState.REFUSED, problem="the file on this device is gone or damaged")
            return
        try:
            offset = await self._begin(line, file)
            piece_bytes, setbacks = FIRST_PIECE_BYTES, 0
            while offset < file.size_bytes:
                before, offset = offset, await self._piece(line, file, offset, piece_bytes)
                setbacks += offset <= before
                if setbacks > SETBACKS_MAX:
                    raise BadReply(f"the upload of {file.sha256} does not get on")
                piece_bytes = min(MAX_PIECE_BYTES, piece_bytes * 2)
                self._note(file, offset)
                on_progress(Progress(file.sha256, offset, file.size_bytes))
        except Rejected as refused:
            if refused.problem.status not in _FINAL:
                raise
            self._mark(file.record, FileState.REFUSED, problem=str(refused))
        else:
            self._note(file, file.size_bytes)
            self._mark(file.record, FileState.STORED)

    async def _begin(self, line: Line, file: File) -> int:
        """Announce an upload, new or not; the server says where it stands."""
        pairs = {"sha256": file.sha256, "media_type": file.media_type}
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
        headers = {"Upload-Length": str(file.size_bytes), "Upload-Metadata": metadata}
        answer = await line.request("POST", PATH, _TUS | headers, b"")
        return _offset(_accepted(answer), file)

    async def _piece(self, line: Line, file: File, offset: int, piece_bytes: int) -> int:
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        piece = self._files.read(file.sha256, offset, piece_bytes)
        answer = await line.request("PATCH", f"{PATH}/uploads/{file.sha256}", _TUS | headers, piece)
        if answer.status == 409:
            return _offset(answer, file)  # the reply to what went before was lost
        if answer.status in (404, 422):
            return await self._begin(line, file)  # the server has given up the upload, or what it had of it was damaged
        return _offset(_accepted(answer), file)

    def _note(self, file: File, offset: int) -> None:
        with self._store.write():
            self._store.sql("UPDATE attachment_file SET sent_bytes = ? WHERE record = ?", (offset, file.record))

    def _mark(self, record: str, state: FileState, *, was: FileState = FileState.WAITING, problem: str = "") -> None:
        with self._store.write():
            self._store.sql(
                "UPDATE attachment_file SET state = ?, problem = ? WHERE record = ? AND state = ?", (state, problem, record, was)
            )

    def _forget_drafts(self) -> None:
        """Drafts of edits that were never stored; no edit stays open for a day."""
        with self._store.write():
            self._store.sql("DELETE FROM attachment_file WHERE state = 'drafted' AND made_ms < ?", (self._clock() - DRAFT_MS,))

    # Down -------------------------------------------------------------------------------------------------------------------

    async def fetch(self, item: Item[Attachment], on_progress: OnProgress = _silent) -> Path:
        """The file with a content, from this device or else from the server; a download that broke off goes on.

        Raises `NotUploaded` if the server does not have it yet, `NotFound` if this user may not have it.
        """
        sha256, size_bytes = item.fields.sha256, item.fields.size_bytes
        if found := self.local(sha256):
            return found
        async with _held(self._fetching, self._sleep):
            if found := self.local(sha256):
                return found
            async with self._line() as line:
                while (at := self._files.partial_bytes(sha256)) < size_bytes:
                    last = min(size_bytes, at + FETCH_BYTES) - 1
                    answer = await line.request("GET", f"{PATH}/{sha256}", {"Range": f"bytes={at}-{last}"}, b"")
                    self._files.extend(sha256, at, _part(answer, last + 1 - at))
                    on_progress(Progress(sha256, last + 1, size_bytes))
            if not self._files.complete(sha256):
                raise BadReply(f"what came is not the content {sha256}")
            return self._files.path(sha256)

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[Line]:
        device = self._store.device()
        if device.enrolled is None:
            raise NotEnrolled("enrol this replica first")
        async with http_line(device.url, msgspec.json.decode(device.enrolled, type=Enrolled).token) as line:
            yield line


@asynccontextmanager
async def _held(lock: SyncLock, sleep: Callable[[float], Awaitable[object]]) -> AsyncIterator[None]:
    while not lock.acquire():
        await sleep(LOCK_RETRY_S)
    try:
        yield
    finally:
        lock.release()


def _file(row: tuple[str, str, int, str, str, int, str]) -> File:
    return File(row[0], row[1], row[2], row[3], FileState(row[4]), row[5], row[6])


def _accepted(answer: Answer) -> Answer:
    """The answer, if it is a good one; else the error that it stands for."""
    if 200 <= answer.status < 300:
        return answer
    if answer.status >= 500 or answer.status in _BUSY:
        raise Offline(f"the server answered {answer.status}")
    try:
        problem = msgspec.json.decode(answer.body, type=Problem)
    except msgspec.DecodeError as error:
        raise BadReply(f"not an answer of this protocol: {error}") from error
    raise (Revoked if answer.status == 401 else Rejected)(problem)


def _offset(answer: Answer, file: File) -> int:
    text = answer.headers.get("upload-offset", "")
    if not text.isdigit() or int(text) > file.size_bytes:
        raise BadReply(f"the reply names no offset of the upload: {text!r}")
    return int(text)


def _part(answer: Answer, wanted_bytes: int) -> bytes:
    try:
        body = _accepted(answer).body
    except Rejected as refused:
        if refused.problem.rule == "not_uploaded":
            raise NotUploaded("the content has not reached the server yet") from refused
        if refused.problem.status == 404:
            raise NotFound("there is no such attachment for this user") from refused
        raise
    if answer.status != 206 or len(body) != wanted_bytes:
        raise BadReply(f"asked for {wanted_bytes} bytes, got {len(body)} with status {answer.status}")
    return body
