"""The rules of the house as data: versions of `BusinessRule`, the newest that is in force counts.

A reader of a kind says by a struct what it understands; the defaults of that struct are version 0, so a company without a rule of
its own has one all the same. A version whose body the reader cannot understand is passed over, as if it were switched off.
"""

import logging
from typing import Final, TypeVar

import msgspec

from server.author import create
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.protocol import Change

T = TypeVar("T", bound=msgspec.Struct)
_log: Final = logging.getLogger(__name__)


async def in_force(tenant: Tenant, kind: str, reader: type[T], now_ms: int) -> tuple[int, T]:
    """The version of a kind that is in force now, and its body; (0, the defaults) if there is none. Read once a transaction."""
    found: tuple[int, T] | None = tenant.kept.get((kind, reader))
    if found is None:
        found = tenant.kept[kind, reader] = await _in_force(tenant, kind, reader, now_ms)
    return found


async def _in_force(tenant: Tenant, kind: str, reader: type[T], now_ms: int) -> tuple[int, T]:
    table = projections["business_rule"].c
    rows = await tenant.rows("business_rule", [table.kind == kind, table.valid_from <= now_ms, table.active.is_not(False)])
    for row in sorted(rows, key=lambda row: row.version, reverse=True):
        try:
            return row.version, msgspec.convert(row.body, reader)
        except msgspec.ValidationError as error:
            _log.warning("%s version %d of tenant %d is passed over: %s", kind, row.version, tenant.tenant_id, error)
    return 0, reader()


async def version(tenant: Tenant, kind: str, number: int, reader: type[T]) -> T:
    """A version as it was when it decided something; the defaults if it is 0 or gone. Raises msgspec.ValidationError."""
    table = projections["business_rule"].c
    rows = await tenant.rows("business_rule", [table.kind == kind, table.version == number], limit=1) if number else ()
    return msgspec.convert(rows[0].body, reader) if rows else reader()


async def next_version(tenant: Tenant, kind: str, body: msgspec.Struct, now_ms: int) -> Change:
    """What the server has learned, as the next version of a kind. Two processes that learn at once make the same record."""
    rows = await tenant.rows("business_rule", [projections["business_rule"].c.kind == kind])
    number = max((row.version for row in rows), default=0) + 1
    return create("business_rule", f"{kind}.{number}", kind=kind, version=number, valid_from=now_ms, body=msgspec.to_builtins(body))
