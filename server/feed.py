"""The pull: what a device must add, change and drop to get from its cursor to now. One statement, one snapshot.

A pull runs in rounds. A round starts from the checkpoint that the device has applied (`base`) and walks the records of its scopes
in the order of their seq. If the whole round fits one page, that page is a snapshot: the device publishes it, and its checkpoint
is the clock of that snapshot. If not, the device stages the pages; once the round is through, the next one starts from the clock at
which the long one began, and is shorter. The last round fits one page; what was staged plus that page is exactly the state at its
clock.

A first sync is a sequence of such checkpoints, each for one more group of scopes: today's work with what it needs, the coming
days', everything else. Until it is through, the cursor names the scopes that the device has.

A device that was away past the tombstone horizon says the digest of each scope that it holds; those that differ arrive anew, those
that it no longer reaches are evicted, the others cost nothing. The same digests, sent now and then, find and heal a damaged scope.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from server.shelf import Shelf, Shelved
from server.storage import statements
from server.storage.pool import Connection
from server.storage.statements import GROUPS
from server.storage.tables import FOREVER
from sync.codec import encode_body, newer_than, pick, whole_needed
from sync.digest import render
from sync.links import user
from sync.schema import REGISTRY

PAGE_RECORDS_MAX: Final = 10_000
ROUNDS_DOUBLING: Final = 12


class Cursor(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What a device's opaque cursor says.

    `head` > 0 while a round is under way; `at` is the seq that it has walked to. `have` names the scopes that the device has (null:
    those it reached at `base`), `then` those that it will have when the round is through. `group` is the one that arrives. Pages
    double with each `round`, so that a device catches up however busy its scopes are.
    """

    incarnation: str
    base: int
    head: int = 0
    at: int = 0
    group: int = GROUPS
    have: tuple[str, ...] | None = None
    then: tuple[str, ...] | None = None
    round: int = 0

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

    @classmethod
    def first(cls, incarnation: str) -> "Cursor":
        """The cursor of a device that has nothing."""
        return cls(incarnation, 0, group=0, have=())

    @property
    def settled(self) -> bool:
        """Whether the device is at a checkpoint with all its scopes."""
        return not self.head and not self.round and self.group >= GROUPS and self.have is None


_decoder: Final = msgspec.msgpack.Decoder(Cursor)


class Pulled(msgspec.Struct, frozen=True):
    """A page as JSON bytes in parts, the checkpoint it leads to (0 while a round is under way), and how many scopes were healed."""

    parts: Sequence[bytes]
    checkpoint: int
    healed: int = 0

    @property
    def page(self) -> bytes:
        """The JSON in one."""
        return b"".join(self.parts)


def idle(cursor: Cursor, clock_seq: int) -> Pulled | None:
    """The empty page of a device that is already where the clock is."""
    if cursor.settled and cursor.base == clock_seq:
        return Pulled((b'{"cursor":"%s"}' % cursor.encode().encode(),), clock_seq)
    return None


class Asked(msgspec.Struct, frozen=True):
    """What a device asks of the feed. `digests` maps the scopes that it holds to what it holds of them, where it says so."""

    tenant_id: int
    user_id: str
    cursor: Cursor
    limit: int
    now_ms: int
    horizon: int
    clock_seq: int
    digests: Mapping[str, str] | None = None


async def pull(connection: Connection, asked: Asked, shelf: Shelf) -> Pulled:
    """The next page for a device whose cursor belongs to this incarnation of the database."""
    cursor, anew, lapsed = asked.cursor, [], frozenset[str]()
    if asked.digests and cursor.settled:
        long_away = cursor.base < asked.horizon
        anew = await _differing(connection, asked, long_away=long_away)
        if long_away or anew:
            lapsed = frozenset(asked.digests)
            base = asked.clock_seq if long_away else cursor.base  # what does not differ is as it is now
            cursor = msgspec.structs.replace(cursor, base=base, have=tuple(sorted(lapsed - set(anew))))
    limit = max(1, min(asked.limit, PAGE_RECORDS_MAX)) << min(cursor.round, ROUNDS_DOUBLING)
    began = cursor.head or FOREVER
    exact = cursor.round == 0
    arguments: list[Any] = [asked.tenant_id, user(asked.user_id), cursor.base, cursor.at, limit, cursor.have, anew, began, exact]
    if cursor.group >= GROUPS:
        return _page(_Rows(await connection.fetch(statements.PAGE, *arguments), cursor.base, lapsed), cursor, healed=len(anew))
    there = shelf.of(asked.tenant_id, cursor.incarnation)
    seqs = encode_body({scope: one.seq for scope, one in there.items()}).decode()
    rows = await connection.fetch(statements.GROUP_PAGE, *arguments, cursor.group, asked.now_ms, seqs)
    of_page = _Rows(rows, cursor.base, lapsed, there)
    for scope, fresh in of_page.entire.items():
        shelf.put(asked.tenant_id, cursor.incarnation, scope, fresh)
    return _page(of_page, cursor, healed=len(anew))


async def _differing(connection: Connection, asked: Asked, *, long_away: bool) -> list[str]:
    """The scopes whose records differ from what the device says. Changes that it has yet to pull are no difference."""
    digests = asked.digests or {}
    rows = await connection.fetch(statements.DIGESTS, asked.tenant_id, list(digests))
    return [
        row["scope"]
        for row in rows
        if (long_away or row["newest"] <= asked.cursor.base) and render(int(row["total"] or 0)) != digests[row["scope"]]
    ]


_NOTHING: Final[Mapping[str, Shelved]] = {}


class _Rows:
    """The rows of a page statement, by what they say."""

    def __init__(self, rows: Iterable[Any], base: int, lapsed: frozenset[str], shelved: Mapping[str, Shelved] = _NOTHING) -> None:
        self.clock_seq = 0
        self.cut: int | None = None
        self.entire: dict[str, Shelved] = {}
        self.lists = Lists()
        present, enter, evict = list[str](), list[str](), set[str]()
        for kind, seq, name, before, whole, changed, gone in rows:
            match kind:
                case 0:
                    self.clock_seq = seq
                case 1:
                    self.cut = seq
                case 2:
                    evict.add(name)
                case 3:
                    present.append(name)
                    if not before:
                        enter.append(name)
                case 4:
                    self.lists.add(whole, changed, gone)
                    if seq is not None and whole:
                        self.entire[name] = Shelved(seq, whole)
                case 6:
                    self.lists.add(shelved[name].whole)
                case _:
                    self.lists.merge(head=whole, entity=name, seq=seq, body=changed, ver=gone, base=base)
        self.present, self.enter = present, enter
        self.evict = sorted({*evict, *(lapsed - set(present))})


class Lists:
    """The record lists of a page; almost always the stored bytes, spliced."""

    def __init__(self) -> None:
        self._whole: list[bytes] = []
        self._changed: list[bytes] = []
        self._gone: list[bytes] = []

    def add(self, whole: bytes | None = None, changed: bytes | None = None, gone: bytes | None = None) -> None:
        """Items of each list, joined."""
        if whole:
            self._whole.append(whole)
        if changed:
            self._changed.append(changed)
        if gone:
            self._gone.append(gone)

    def merge(self, *, head: bytes, entity: str, seq: int, body: bytes, ver: bytes, base: int) -> None:
        """A record of which a device at `base` has all but the fields that are newer."""
        if whole_needed(mask := newer_than(ver, seq, base)):
            self.add(whole=b"%s,%s]" % (head, body))
        else:
            self.add(changed=b"%s,%s]" % (head, encode_body(pick(REGISTRY[entity], msgspec.json.decode(body), mask))))

    def parts(self) -> Iterable[bytes]:
        """What a page says of them, after its other members; what is long is not copied."""
        for name, items in ((b"whole", self._whole), (b"delta", self._changed), (b"gone", self._gone)):
            if items:
                yield b',"%s":[' % name
                yield items[0]
                for item in items[1:]:
                    yield b","
                    yield item
                yield b"]"


def _page(rows: _Rows, cursor: Cursor, *, healed: int) -> Pulled:
    first = cursor.head == 0
    # A round is through where it began, though there may be newer ones by now: else it might never end.
    full = rows.cut is not None and (first or rows.cut < cursor.head)
    then = (tuple(rows.present) if cursor.group < GROUPS else None) if first else cursor.then
    head = rows.clock_seq if first else cursor.head
    if full:
        after = msgspec.structs.replace(cursor, head=head, at=rows.cut, then=then)
    elif first:
        group = min(cursor.group + 1, GROUPS)
        after = Cursor(cursor.incarnation, head, group=group, have=then if group < GROUPS else None)
    else:
        after = Cursor(cursor.incarnation, head, group=cursor.group, have=then, round=cursor.round + 1)
    more = full or not first
    parts = [b'{"cursor":"%s"' % after.encode().encode()]
    if more:
        parts.append(b'"more":true')
    if after.group < GROUPS:
        parts.append(b'"groups_left":%d' % (GROUPS - after.group))
    if first:
        parts += [
            b'"%s":%s' % (name, encode_body(scopes)) for name, scopes in ((b"evict", rows.evict), (b"enter", rows.enter)) if scopes
        ]
    checkpoint = 0 if more or after.group < GROUPS else rows.clock_seq
    return Pulled((b",".join(parts), *rows.lists.parts(), b"}"), checkpoint, healed)


def page_of_changes(rows: Iterable[Any], cursor: Cursor, base: int) -> Pulled:
    """The page that brings a device from the checkpoint `base` to `cursor`, in whose scopes nothing but these rows has changed:
    seq, entity, id, prev, deleted, body, delta, ver."""
    lists = Lists()
    for seq, entity, record_id, prev, deleted, body, delta, ver in rows:
        head = b'["%s","%s",%d' % (entity.encode(), record_id.encode(), seq)
        if deleted:
            lists.add(gone=head + b"]")
        elif prev > base:
            lists.merge(head=head, entity=entity, seq=seq, body=body, ver=ver, base=base)
        elif delta is not None:
            lists.add(changed=b"%s,%s]" % (head, delta))
        else:
            lists.add(whole=b"%s,%s]" % (head, body))
    return Pulled((b"".join((b'{"cursor":"%s"' % cursor.encode().encode(), *lists.parts(), b"}")),), cursor.base)
