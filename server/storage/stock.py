"""What lies where, by the moves that brought it there and took it away."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

import sqlalchemy as sa

from server.storage.office import Tenant
from server.storage.tables import projections


async def on_hand(tenant: Tenant, products: Collection[str], locations: Collection[str] | None = None) -> dict[str, dict[str, int]]:
    """By location, how many of each of these products the moves add up to; everywhere, or at some locations."""
    move = projections["stock_move"].c
    where = [move.tenant_id == tenant.tenant_id, move.product.in_(products)]
    where += [] if locations is None else [move.location.in_(locations)]
    query = sa.select(move.location, move.product, sa.func.sum(move.quantity)).where(*where).group_by(move.location, move.product)
    return _nested((await tenant.connection.execute(query)).all())


async def used_parts(tenant: Tenant, orders: Collection[str]) -> dict[str, dict[str, int]]:
    """By work order, how many of each product went into it."""
    part = projections["part_used"].c
    query = (
        sa.select(part.work_order, part.product, sa.func.sum(part.quantity))
        .where(part.tenant_id == tenant.tenant_id, part.work_order.in_(orders))
        .group_by(part.work_order, part.product)
    )
    return _nested((await tenant.connection.execute(query)).all())


def _nested(rows: Iterable[Any]) -> dict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for outer, inner, count in rows:
        found[outer][inner] = int(count)
    return dict(found)
