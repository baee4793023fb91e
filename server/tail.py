"""The tail of the feed: what a tenant's last commits changed, read once by a process and shared by all devices close behind.

A device that pulls often is a few commits behind, and so are hundreds of others; most of them ask for the same changes. The tail
answers such a device without a walk over its links, as long as the links are those that it knows: the clock says which commit last
wrote any (`linked`), and the tail, the scopes of a user and the device's checkpoint must all be of that time. Then the device has
had its scopes without a break, none came and none left, and what it lacks are the records of these scopes that changed since.
Whoever this does not fit, such as a device that was away, or everybody after links changed, gets its page by `server.feed.pull`.

Nothing here is the truth: each tail is read in one snapshot together with the clock, and a process that forgets it reads it again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

import msgspec

from server.feed import Cursor, Pulled, page_of_changes
from server.holdings import Holdings
from server.storage import statements
from server.storage.pool import Pool
from sync.schema import REGISTRY

TAIL_RECORDS: Final = 2_000
"""How many changed records of a tenant a process remembers."""
PAGES: Final = 500
"""How many pages made of one tail."""
TENANTS: Final = 100
_ENTITIES: Final = list(REGISTRY)

Row: TypeAlias = Sequence[Any]
"""A changed record: seq, entity, id, prev, deleted, body, delta, ver."""


class Tail(msgspec.Struct, frozen=True):
    """The records of a tenant as of `seq` that changed after `since`, by scope and key.

    `linked` is the commit that last wrote a link. `pages` has what was made of it, by checkpoint and changed scopes that are held.
    """

    incarnation: str
    since: int
    seq: int
    linked: int
    rows: dict[str, dict[tuple[str, str], Row]]
    scopes: frozenset[str]
    pages: dict[tuple[int, frozenset[str]], tuple[int, Pulled]]

    def reaches(self, base: int) -> bool:
        """Whether it tells all that has happened since the checkpoint `base`."""
        return base >= max(self.since, self.linked)

    def page(self, base: int, held: frozenset[str]) -> tuple[int, Pulled]:
        """What a device at checkpoint `base` that holds these scopes lacks: how many records, and the page."""
        changed = self.scopes & held
        found = self.pages.get((base, changed))
        if found is None:
            if len(self.pages) >= PAGES:
                self.pages.clear()
            rows = sorted((row for scope in changed for row in self.rows[scope].values() if row[0] > base), key=_seq)
            page = page_of_changes(rows, Cursor(self.incarnation, self.seq), base)
            found = self.pages[base, changed] = len(rows), page
        return found


_seq: Final = itemgetter(0)


def _trimmed(since: int, rows: dict[str, dict[tuple[str, str], Row]]) -> tuple[int, dict[str, dict[tuple[str, str], Row]]]:
    """No more than what may be remembered: of the older half of a long tail, nothing. Returns since when, and the rows."""
    if sum(map(len, rows.values())) <= TAIL_RECORDS:
        return since, rows
    seqs = sorted(row[0] for of_scope in rows.values() for row in of_scope.values())
    since = seqs[len(seqs) // 2]
    kept = {scope: {key: row for key, row in of_scope.items() if row[0] > since} for scope, of_scope in rows.items()}
    return since, {scope: of_scope for scope, of_scope in kept.items() if of_scope}


class Tails:
    """One per process: the tails of its busiest tenants."""

    def __init__(self, pool: Pool, holdings: Holdings) -> None:
        self._pool, self._holdings = pool, holdings
        self._tails: OrderedDict[int, Tail] = OrderedDict()
        self._reading: dict[int, asyncio.Lock] = {}

    async def pull(self, tenant_id: int, user_id: str, cursor: Cursor, limit: int, seq: int) -> Pulled | None:
        """The page of a device at a checkpoint, as of `seq` or later; None if the tail does not tell it."""
        tail = await self._tail(tenant_id, cursor, seq)
        if tail.incarnation != cursor.incarnation or not tail.reaches(cursor.base):
            return None
        held = await self._holdings.of(tenant_id, tail.incarnation, user_id, tail.linked)
        if held is None:
            return None
        records, page = tail.page(cursor.base, held)
        return page if records < limit else None

    async def _tail(self, tenant_id: int, cursor: Cursor, seq: int) -> Tail:
        lock = self._reading.setdefault(tenant_id, asyncio.Lock())
        async with lock:  # whoever waited finds what the one before has read
            tail = self._tails.get(tenant_id)
            known = tail is not None and tail.incarnation == cursor.incarnation
            if tail is None or not known or (tail.seq < seq and tail.reaches(cursor.base)):
                tail = self._tails[tenant_id] = await self._read(tenant_id, cursor, tail if known else None)
            self._tails.move_to_end(tenant_id)
            if len(self._tails) > TENANTS:
                self._forget(next(iter(self._tails)))
        return tail

    def _forget(self, tenant_id: int) -> None:
        del self._tails[tenant_id]
        if not self._reading[tenant_id].locked():
            del self._reading[tenant_id]

    async def _read(self, tenant_id: int, cursor: Cursor, known: Tail | None) -> Tail:
        """The tail as it is now: what is known of it and what came since; if that is too much, what came since the checkpoint."""
        anew = Tail(cursor.incarnation, cursor.base, cursor.base, 0, {}, frozenset(), {})
        known = known or anew
        async with self._pool.connection(tenant_id) as connection:
            clock, *fresh = await connection.fetch(statements.TAIL, tenant_id, _ENTITIES, known.seq, TAIL_RECORDS + 1)
            if len(fresh) > TAIL_RECORDS and known.seq < cursor.base:
                known = anew
                clock, *fresh = await connection.fetch(statements.TAIL, tenant_id, _ENTITIES, known.seq, TAIL_RECORDS + 1)
        if len(fresh) > TAIL_RECORDS or clock["id"] != known.incarnation:
            return Tail(clock["id"], clock["seq"], clock["seq"], clock["linked"], {}, frozenset(), {})
        rows = dict(known.rows)
        for scope in {row["scope"] for row in fresh}:
            rows[scope] = dict(rows.get(scope, {}))
        for row in fresh:
            scope, _, *known_of = row
            rows[scope][row["entity"], row["id"]] = known_of
        since, rows = _trimmed(known.since, rows)
        return Tail(clock["id"], since, clock["seq"], clock["linked"], rows, frozenset(rows), {})
