"""What the REST API asks of records: filtered pages, news since a commit, ids by external id; and answers kept for repeats."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from server.desired import Standing
from server.storage.office import Tenant
from server.storage.tables import kept_answer, projections, record
from sync.schema import REGISTRY

IN_HAND_MS: Final = 60_000
"""How long a request may be under way; after that whoever repeats it does it again."""


class Listed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record in a list; a deleted one has no fields."""

    entity: str
    id: str
    seq: int
    scope: str
    fields: msgspec.Raw
    deleted: bool = False


async def page(tenant: Tenant, entity: str, filters: Mapping[str, Any], *, after: str, limit: int) -> list[Listed]:
    """Live records behind the id `after`, in the order of their ids, whose fields have these values."""
    query = (
        sa.select(record.c.entity, record.c.id, record.c.seq, record.c.scope, record.c.body)
        .where(record.c.tenant_id == tenant.tenant_id, record.c.entity == entity)
        .where(sa.not_(record.c.deleted), record.c.id > after)
    )
    if filters:
        table = projections[entity]
        query = query.join(table, sa.and_(table.c.tenant_id == record.c.tenant_id, table.c.id == record.c.id))
        query = query.where(*_equal(entity, filters))
    rows = await tenant.connection.execute(query.order_by(record.c.id).limit(limit))
    return [Listed(r.entity, r.id, r.seq, r.scope, msgspec.Raw(r.body)) for r in rows]


def _equal(entity: str, filters: Mapping[str, Any]) -> Iterable[sa.ColumnElement[bool]]:
    table = projections[entity]
    for name, value in filters.items():
        column = table.c[name]
        yield sa.literal(value) == sa.any_(column) if REGISTRY[entity].fields[name].column == "text[]" else column == value


async def news(tenant: Tenant, entity: str, *, since: int, limit: int) -> list[Listed]:
    """Records that changed after commit `since`, deleted ones too, in the order of their last commit; whole commits only."""
    query = (
        sa.select(record.c.entity, record.c.id, record.c.seq, record.c.scope, record.c.body, record.c.deleted)
        .where(record.c.tenant_id == tenant.tenant_id, record.c.entity == entity, record.c.seq > since, record.c.seq > sa.text("0"))
        .order_by(record.c.seq)
        .fetch(limit, with_ties=True)
    )
    rows = await tenant.connection.execute(query)
    return [Listed(r.entity, r.id, r.seq, r.scope, msgspec.Raw(b"{}" if r.deleted else r.body), r.deleted) for r in rows]


async def standing(tenant: Tenant, entity: str, ids: Collection[str]) -> dict[str, Standing]:
    """These records as they stand, deleted ones too."""
    query = sa.select(record.c.id, record.c.seq, record.c.deleted, record.c.body).where(
        record.c.tenant_id == tenant.tenant_id, record.c.entity == entity, record.c.id.in_(ids)
    )
    rows = await tenant.connection.execute(query)
    return {r.id: Standing(r.id, r.seq, r.deleted, msgspec.json.decode(r.body)) for r in rows}


async def by_external_id(tenant: Tenant, entity: str, external_ids: Collection[str]) -> dict[str, list[str]]:
    """The ids of the live records that another system knows by these ids; more than one where that system's id is not unique."""
    table = projections[entity].c
    query = (
        sa.select(table.external_id, table.id)
        .where(table.tenant_id == tenant.tenant_id, table.external_id != "", table.external_id.in_(external_ids))
        .order_by(table.id)
    )
    found: dict[str, list[str]] = {}
    for row in await tenant.connection.execute(query):
        found.setdefault(row.external_id, []).append(row.id)
    return found


class Reserved(msgspec.Struct, frozen=True):
    """How a request with an idempotency key stands: `fresh`, `redone` (begun before and not ended), or answered by `row`."""

    fresh: bool = False
    redone: bool = False
    row: Any = None


async def reserve(tenant: Tenant, user_id: str, key: str, request_hash: bytes, now_ms: int) -> Reserved:
    """Take a request in hand, or find what became of it."""
    table = kept_answer.c
    mine = {"tenant_id": tenant.tenant_id, "user_id": user_id, "key": key}
    made = await tenant.connection.execute(
        insert(kept_answer).values(**mine, request_hash=request_hash, at_ms=now_ms).on_conflict_do_nothing().returning(table.key)
    )
    if made.first() is not None:
        return Reserved(fresh=True)
    row = (await tenant.connection.execute(sa.select(kept_answer).filter_by(**mine))).first()
    if row is not None and (row.status is not None or row.request_hash != request_hash):
        return Reserved(row=row)
    taken = await tenant.connection.execute(
        sa.update(kept_answer)
        .filter_by(**mine)
        .where(table.status.is_(None), table.at_ms < now_ms - IN_HAND_MS)
        .values(at_ms=now_ms)
    )
    return Reserved(redone=bool(taken.rowcount))


async def keep_answer(tenant: Tenant, user_id: str, key: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    await tenant.connection.execute(
        sa.update(kept_answer)
        .filter_by(tenant_id=tenant.tenant_id, user_id=user_id, key=key)
        .values(status=status, headers=dict(headers), body=body)
    )


async def forget_answers(tenant: Tenant, before_ms: int) -> None:
    await tenant.connection.execute(
        sa.delete(kept_answer).filter_by(tenant_id=tenant.tenant_id).where(kept_answer.c.at_ms < before_ms)
    )


async def by_external_ids(tenant: Tenant, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """Ids by (entity, external id)."""
    found: dict[tuple[str, str], list[str]] = {}
    for entity in sorted({entity for entity, _ in pairs}):
        ids = await by_external_id(tenant, entity, {external for name, external in pairs if name == entity})
        found |= {(entity, external): held for external, held in ids.items()}
    return found
