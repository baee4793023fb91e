"""The replica of a field app: typed records on SQLite that work without any network, and a sync that loses nothing.

::

    with Replica.open("truckroll.db") as replica:
        await replica.enrol("https://sync.example.com", code="A1B2-C3D4", device_name="Ana's phone")
        await replica.sync()
        for visit in replica.query(Appointment, col(Appointment.status).is_(AppointmentStatus.DISPATCHED)):
            with replica.edit("on my way") as tx:
                tx.set(Appointment, visit.id, status=AppointmentStatus.TRAVELING)

Reading: `get(Entity, id)`, `query(Entity, *conditions, order_by=, limit=)`, `watch(Entity | None)`.
Writing: `edit(label)` gives a `Draft`: `create`, `set`, `inc`, `add`, `remove`, `append`, `edit_text`, `delete`.
For sales: `capture_lead(Lead(...), visit=, offer=, photo=, agreed=)`, `answer_offer(id, status)`.
Fate of the work: `outbox()`, `history()`, `parked()` with `retry(n)` and `discard(n)`, `conflicts()`, `status()`, `identity()`.
Network: `await enrol(url, code, device_name)`, `await sync()`, `sync_in_background()`, woken by the server with `listen(...)`.
Quotes: `quoting.draft(...)`, `send`, `sign`, `approve`, priced and checked on the device as the server will.
Photos and documents: `attachments.attach(tx, ...)`, `await attachments.sync()`, `await attachments.fetch(item)`.

Local operations are plain calls, those that talk to the server are awaited. `docs/howto/build-an-app.md` shows an app of 30 lines.
"""

from client_sdk.attachments import Attachments, File, FileState, NotUploaded, Progress
from client_sdk.background import BackgroundSync
from client_sdk.capture import Agreed, Photo
from client_sdk.draft import Draft
from client_sdk.errors import (
    AlreadyEnrolled,
    BadReply,
    Closed,
    DiskFull,
    Invalid,
    NeedsApproval,
    NotEnrolled,
    NotFound,
    Offline,
    Rejected,
    Revoked,
    SdkError,
    StorageError,
    SyncError,
    Unreadable,
    Wiped,
    WrongKey,
)
from client_sdk.items import Conflicts, Identity, Item, OutboxState, Outgoing, Parked, Status
from client_sdk.query import col
from client_sdk.replica import Replica
from client_sdk.replicas import Replicas
from client_sdk.transport import HttpTransport, Transport
from client_sdk.wakeups import Wakeups
from client_sdk.watch import Watch

__all__ = [
    "Agreed",
    "AlreadyEnrolled",
    "Attachments",
    "BackgroundSync",
    "BadReply",
    "Closed",
    "Conflicts",
    "DiskFull",
    "Draft",
    "File",
    "FileState",
    "HttpTransport",
    "Identity",
    "Invalid",
    "Item",
    "NeedsApproval",
    "NotEnrolled",
    "NotFound",
    "NotUploaded",
    "Offline",
    "OutboxState",
    "Outgoing",
    "Parked",
    "Photo",
    "Progress",
    "Rejected",
    "Replica",
    "Replicas",
    "Revoked",
    "SdkError",
    "Status",
    "StorageError",
    "SyncError",
    "Transport",
    "Unreadable",
    "Wakeups",
    "Watch",
    "Wiped",
    "WrongKey",
    "col",
]
