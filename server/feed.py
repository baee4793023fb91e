"""The pull: what a device must add, change and drop to get from its cursor to now. One statement, one snapshot.

A pull runs in rounds. A round starts from the checkpoint that the device has applied (`base`) and walks the records of its scopes
in the order of their seq. If the whole round fits one page, that page is a snapshot: the device publishes it, and its checkpoint
is the clock of that snapshot. If not, the device stages the pages; once the round is through, the next one starts from the clock at
which the long one began, and is shorter. The last round fits one page; what was staged plus that page is exactly the state at its
clock.
"""

import base64
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from server.storage import statements
from server.storage.pool import Connection
from sync.codec import encode_body, newer_than, pick, whole_needed
from sync.links import user
from sync.schema import REGISTRY

PAGE_RECORDS_MAX: Final = 10_000


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """What a device's opaque cursor says. `head` > 0 while a round is under way; `at` is the seq that it has walked to."""

    incarnation: str
    base: int
    head: int = 0
    at: int = 0

    def encode(self) -> str:
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Raises ValueError on anything that this server did not make."""
        try:
            padded = text.encode() + b"=" * (-len(text) % 4)
            return _decoder.decode(base64.urlsafe_b64decode(padded))
        except (ValueError, msgspec.DecodeError) as error:
            raise ValueError("a cursor is what the last reply gave, unchanged") from error


_decoder: Final = msgspec.msgpack.Decoder(Cursor)


class Pulled(msgspec.Struct, frozen=True):
    """A page as JSON bytes, and the checkpoint it leads to (0 while a round is under way)."""

    page: bytes
    checkpoint: int


def idle(cursor: Cursor | None, clock_seq: int, incarnation: str) -> Pulled | None:
    """The empty page of a device that is already where the clock is."""
    if cursor and cursor.incarnation == incarnation and cursor.base == clock_seq and not cursor.head:
        return Pulled(b'{"cursor":"%s"}' % cursor.encode().encode(), clock_seq)
    return None


async def pull(connection: Connection, tenant_id: int, user_id: str, cursor: Cursor, limit: int) -> Pulled:
    """The next page for a device whose cursor belongs to this incarnation of the database."""
    limit = max(1, min(limit, PAGE_RECORDS_MAX))
    rows = await connection.fetch(statements.PAGE, tenant_id, user(user_id), cursor.base, cursor.at, limit)
    clock_seq = 0
    evict: list[str] = []
    enter: list[str] = []
    records: list[Any] = []
    for row in rows:
        if row[0] == 2:
            records.append(row)
        elif row[0] == 1:
            (evict if row[5] else enter).append(row[2])
        else:
            clock_seq = row[1]
    first, full = cursor.head == 0, len(records) >= limit
    if full:
        after = Cursor(cursor.incarnation, cursor.base, cursor.head or clock_seq, max(row[1] for row in records))
    else:
        after = Cursor(cursor.incarnation, clock_seq if first else cursor.head)
    more = full or not first
    page = _encode(after.encode(), more, evict if first else (), enter if first else (), _records(records, cursor.base))
    return Pulled(page, 0 if more else clock_seq)


class _Lists:
    def __init__(self) -> None:
        self.whole: list[bytes] = []
        self.delta: list[bytes] = []
        self.gone: list[bytes] = []


def _records(rows: Iterable[Any], base: int) -> _Lists:
    """The rows as they travel; almost always the stored bytes, spliced."""
    lists = _Lists()
    for _, seq, entity, record_id, _, _, deleted, body, delta, ver in rows:
        head = b'["%s","%s",%d' % (entity.encode(), record_id.encode(), seq)
        if deleted:
            lists.gone.append(head + b"]")
        elif ver is not None and not whole_needed(mask := newer_than(ver, seq, base)):
            fields = encode_body(pick(REGISTRY[entity], msgspec.json.decode(body), mask))
            lists.delta.append(b"%s,%s]" % (head, fields))
        elif delta is not None:
            lists.delta.append(b"%s,%s]" % (head, delta))
        else:
            lists.whole.append(b"%s,%s]" % (head, body))
    return lists


def _encode(cursor: str, more: bool, evict: Iterable[str], enter: Iterable[str], lists: _Lists) -> bytes:  # noqa: FBT001  # as on the wire
    parts = [b'{"cursor":"%s"' % cursor.encode()]
    if more:
        parts.append(b'"more":true')
    parts += [b'"%s":%s' % (name, encode_body(scopes)) for name, scopes in ((b"evict", evict), (b"enter", enter)) if scopes]
    for name, items in ((b"whole", lists.whole), (b"delta", lists.delta), (b"gone", lists.gone)):
        if items:
            parts.append(b'"%s":[%s]' % (name, b",".join(items)))
    return b",".join(parts) + b"}"
