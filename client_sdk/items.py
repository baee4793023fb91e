"""What a replica gives to the app: frozen values, never live rows."""

import enum
from typing import Generic, TypeVar

import msgspec

from sync.entities import Conflict
from sync.protocol import OutcomeKind, Reason
from sync.schema import Entity

E = TypeVar("E", bound=Entity)
E_co = TypeVar("E_co", bound=Entity, covariant=True)
Key = tuple[str, str]
"""An entity's wire name and a record's id."""


class Item(msgspec.Struct, Generic[E_co], frozen=True):
    """One record as the device shows it.

    `pending` says that work of this device on it is not yet confirmed in a checkpoint. `seq` is the version of the server's record
    underneath, 0 if the server has not sent one. `unread` names fields whose value this version of the app cannot read; `fields`
    has their default.
    """

    id: str
    fields: E_co
    pending: bool
    seq: int
    unread: tuple[str, ...] = ()


class OutboxState(enum.StrEnum):
    WAITING = "waiting"
    """No outcome yet: it is sent, again and again, until there is one."""
    CONFIRMED = "confirmed"
    """The server has it; the checkpoint that contains it has not come yet."""
    DONE = "done"
    """The checkpoint contains it. Kept for a while, in case the server is restored from a backup."""
    PARKED = "parked"
    """The server refused it."""


class Outgoing(msgspec.Struct, frozen=True):
    """A transaction of this device and what is known of its fate."""

    n: int
    label: str
    wrote_ms: int
    records: tuple[Key, ...]
    state: OutboxState
    kind: OutcomeKind | None = None
    conflicts: tuple[str, ...] = ()


class Parked(msgspec.Struct, frozen=True):
    """A transaction that the server refused, whole: `transaction` is what was sent, byte by byte."""

    n: int
    label: str
    wrote_ms: int
    records: tuple[Key, ...]
    reasons: tuple[Reason, ...]
    transaction: bytes


class Conflicts(msgspec.Struct, frozen=True):
    """`records` are the conflict records that the device holds, `outcomes` its own transactions that ran into one."""

    records: tuple[Item[Conflict], ...]
    outcomes: tuple[Outgoing, ...]


class Identity(msgspec.Struct, frozen=True):
    """Who this device is, from its enrolment. A replica whose file turned out to be a copy goes on as a device of its own: then
    `device` is another, and `epoch` one more."""

    device: str
    user: str
    user_name: str
    role: str
    tenant: str
    technician: str | None
    epoch: int = 1


class Status(msgspec.Struct, frozen=True):
    """How the replica stands. `waiting` are transactions without an outcome, `confirmed` those whose checkpoint has not
    come; `staged` counts the records of a download under way, which appear together at its checkpoint."""

    enrolled: bool
    waiting: int
    confirmed: int
    parked: int
    cursor: str | None
    last_sync_ms: int | None
    staged: int
    revoked: bool
    last_error: str | None = None
