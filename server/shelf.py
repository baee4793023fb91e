"""The shelf: what fresh devices get of a scope, made once by a process and given to all who begin.

A catalogue goes to every phone, a territory's sites to each of its team; on the day a company starts, thousands ask for the same
bytes. So a process keeps the items of large scopes as they travel. Whether they still hold is seen in the snapshot of each page:
the newest seq of the scope must be the one they were made at. Who may have them is decided by the same walk over links as ever.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import msgspec

LEAST_BYTES: Final = 8_000
"""Smaller scopes are read as fast as they are looked up."""
SCOPES: Final = 500
"""How many scopes of one tenant; each is named in the statement of a fresh device's page."""
BYTES: Final = 64_000_000


class Shelved(msgspec.Struct, frozen=True):
    """All live records of a scope as items of the list `whole`, as of its newest commit `seq`."""

    seq: int
    whole: bytes


class Shelf:
    """One per process. What was put there first, by the tenant whose devices have not begun for longest, makes room for others."""

    def __init__(self, bytes_max: int = BYTES, least_bytes: int = LEAST_BYTES) -> None:
        self._bytes_max, self._least_bytes, self._bytes = bytes_max, least_bytes, 0
        self._tenants: OrderedDict[tuple[int, str], OrderedDict[str, Shelved]] = OrderedDict()

    def of(self, tenant_id: int, incarnation: str) -> Mapping[str, Shelved]:
        """What is there of a tenant's scopes, by name: to look at while a page is made, whatever comes and goes meanwhile."""
        if mine := self._tenants.get((tenant_id, incarnation)):
            self._tenants.move_to_end((tenant_id, incarnation))
            return mine.copy()
        return {}

    def put(self, tenant_id: int, incarnation: str, scope: str, shelved: Shelved) -> None:
        """Keep a scope's items, if they are worth it."""
        if not self._least_bytes <= len(shelved.whole) <= self._bytes_max // 4:
            return
        mine = self._tenants.setdefault((tenant_id, incarnation), OrderedDict())
        self._tenants.move_to_end((tenant_id, incarnation))
        if scope in mine:
            self._bytes -= len(mine.pop(scope).whole)
        mine[scope] = shelved
        self._bytes += len(shelved.whole)
        while len(mine) > SCOPES:
            self._bytes -= len(mine.popitem(last=False)[1].whole)
        while self._bytes > self._bytes_max:
            key, oldest = next(iter(self._tenants.items()))
            self._bytes -= len(oldest.popitem(last=False)[1].whole)
            if not oldest:
                del self._tenants[key]
