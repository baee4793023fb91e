"""What travels between a device and the server: one exchange, both ways.

The request carries new transactions up and says how far the device is; the reply carries an outcome for each transaction and a page
of the feed down. Either half may be empty. Numbers are JSON integers below 2**53, times are milliseconds since 1970 UTC, everything
else is documented where it stands. A reader ignores members it does not know.
"""

import enum
from typing import Any, Final

import msgspec

from sync.clock import Stamp
from sync.schema import Id

PROTOCOL: Final = 1


class TextEdit(msgspec.Struct, frozen=True, array_like=True):
    """An edit of a `text` field: the text that the author saw, and what it became."""

    base: str
    text: str


class Change(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one transaction does to one record.

    `base` is the record's version (its seq) that the author saw; 0 while its creation is still among the author's own pending
    transactions. `create` says that the record is new; then `set` holds all its fields. `set`, `add`, `remove` and `append` map
    field names to values, elements or entries; they are validated by the entity's declaration.
    """

    entity: str
    id: Id
    base: int = 0
    create: bool = False
    set: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inc: dict[str, int | float] | msgspec.UnsetType = msgspec.UNSET
    add: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    remove: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    append: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    edit: dict[str, TextEdit] | msgspec.UnsetType = msgspec.UNSET
    delete: bool = False


class Transaction(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Changes that stand or fall together. `n` numbers a device's transactions 1, 2, 3 … within its epoch, without gaps.

    `stamp` is the device's HLC stamp, `wrote_ms` its raw wall clock at the time; `label` says in words what the user did.
    """

    n: int
    stamp: Stamp
    wrote_ms: int
    changes: tuple[Change, ...]
    label: str = ""


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """The request. Transactions stay raw, so that one that does not decode is parked alone and the queue goes on.

    `cursor` is what the last reply gave, null at first; `epoch` comes from enrolment; `sent_ms` is the device's clock at sending;
    `first` is the number of the first transaction, the others follow without a gap; `limit` bounds the records of the page, 0 asks
    for none. `digests` maps every scope that the device holds to the digest of what it holds (see `sync.digest`): sent now and
    then, and when the reply asks for it; a scope that differs arrives anew.
    """

    epoch: int
    sent_ms: int
    cursor: str | None = None
    first: int = 1
    transactions: tuple[msgspec.Raw, ...] = ()
    limit: int = 2_000
    digests: dict[str, str] | None = None


class OutcomeKind(enum.StrEnum):
    APPLIED = "applied"
    MERGED = "merged"
    CONFLICT = "conflict"
    PARKED = "parked"


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a transaction was parked: the place, the rule that it breaks, and the same in words."""

    rule: str
    detail: str
    change: int = 0
    entity: str = ""
    id: str = ""
    field: str = ""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of transaction `n`. `seq` is the commit that holds it: once the cursor has passed it, the feed shows it."""

    n: int
    kind: OutcomeKind
    seq: int = 0
    conflicts: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()


class WireRecord(msgspec.Struct, frozen=True, array_like=True):
    """`[entity, id, seq, fields]`: all fields of the record, or those that changed since the cursor."""

    entity: str
    id: str
    seq: int
    fields: dict[str, Any]


class Gone(msgspec.Struct, frozen=True, array_like=True):
    """`[entity, id, seq]`: the record was deleted."""

    entity: str
    id: str
    seq: int


class Page(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page of the feed. While `more` is true the device only stages what it gets; the page with `more` false is a checkpoint:
    the device publishes all that it staged, in one local transaction.

    `evict` names scopes that the device must drop, `enter` scopes that arrive whole: what the device holds of them is replaced by
    the `whole` records that follow. `total` is how many records the current round brings, for a progress bar.
    """

    cursor: str
    more: bool = False
    evict: tuple[str, ...] = ()
    enter: tuple[str, ...] = ()
    whole: tuple[WireRecord, ...] = ()
    delta: tuple[WireRecord, ...] = ()
    gone: tuple[Gone, ...] = ()
    groups_left: int = 0


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The reply. `taken` is the highest n that the server has an outcome for; `server_ms` its clock.

    `want_digests` comes instead of a page when the device was away past the tombstone horizon: it repeats the exchange with
    `digests`. `wipe` orders the device to erase itself once its outbox is empty.
    """

    server_ms: int
    taken: int
    page: Page | None = None
    outcomes: tuple[Outcome, ...] = ()
    want_digests: bool = False
    wipe: bool = False


class Enrolment(msgspec.Struct, frozen=True):
    """`POST /v1/enrol`: a one-time code for a device's token."""

    code: str
    device_name: str = ""


class Enrolled(msgspec.Struct, frozen=True):
    """The token is shown once and bound to this device. `scopes` are those that the device itself stands for."""

    device: str
    token: str
    epoch: int
    user: str
    user_name: str
    role: str
    tenant: str
    technician: str | None
    server_ms: int


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An RFC 9457 problem document; `field` and `rule` name what is wrong with the request."""

    type: str
    title: str
    status: int
    detail: str = ""
    field: str = ""
    rule: str = ""
    extra: dict[str, Any] = {}
