"""What the rules of leads and offers ask and note: counts over projections, marks of clocks, keys of matching."""

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from server.storage.office import Tenant
from server.storage.tables import projections, rule_mark
from sync.entities.flows import AppointmentStatus as A
from sync.entities.flows import OfferStatus

AWAITED: Final = (A.SCHEDULED, A.DISPATCHED, A.ACCEPTED)
"""A visit in one of these is still ahead."""

_BASKETS: Final = """
with basket as (
    select o.account, line.value ->> 'product' as product
    from sales_order s
    join opportunity o on o.tenant_id = s.tenant_id and o.id = s.opportunity
    cross join lateral jsonb_each(s.lines) line
    where s.tenant_id = :tenant and s.status <> 'canceled' and o.account is not null
    union
    select account, product from opportunity
    where tenant_id = :tenant and stage = 'won' and account is not null and product is not null
    union
    select s.account, a.product from asset a join site s on s.tenant_id = a.tenant_id and s.id = a.site
    where a.tenant_id = :tenant and a.product is not null and a.status <> 'removed'
), owners as (select product, count(*) as n from basket group by product)
select a.product as one, b.product as other, count(*) as both, x.n as ones, y.n as others,
    (select count(distinct account) from basket) as everybody
from basket a
join basket b on b.account = a.account and b.product <> a.product
join owners x on x.product = a.product
join owners y on y.product = b.product
group by a.product, b.product, x.n, y.n
having count(*) >= :least
order by a.product, b.product
"""


async def bought_together(tenant: Tenant, least: int) -> list[tuple[str, str, int, int, int, int]]:
    """(product, other, customers with both, with the one, with the other, all) by what customers bought or have standing."""
    rows = await tenant.connection.execute(sa.text(_BASKETS), {"tenant": tenant.tenant_id, "least": least})
    return [(row.one, row.other, row.both, row.ones, row.others, row.everybody) for row in rows]


async def offer_answers(tenant: Tenant, site: str, since_ms: int) -> list[tuple[str, str, bool, str, int]]:
    """Answers to offers since then, as (kind, family, at this site?, status, how many)."""
    o, p, w = projections["offer"], projections["product"], projections["work_order"]
    here = (w.c.site == site).label("here")
    query = (
        sa.select(o.c.kind, p.c.family, here, o.c.status, sa.func.count())
        .join(p, sa.and_(p.c.tenant_id == o.c.tenant_id, p.c.id == o.c.product))
        .join(w, sa.and_(w.c.tenant_id == o.c.tenant_id, w.c.id == o.c.work_order))
        .where(o.c.tenant_id == tenant.tenant_id, o.c.status.in_((OfferStatus.TAKEN, OfferStatus.DECLINED)))
        .where(sa.func.coalesce(o.c.answered_at, since_ms) >= since_ms)
        .group_by(o.c.kind, p.c.family, here, o.c.status)
    )
    return [(row[0], row[1], row[2], row[3], row[4]) for row in await tenant.connection.execute(query)]


async def visits_to_prepare(tenant: Tenant, rule: str, start_ms: int, end_ms: int, before_ms: int, limit: int) -> list[str]:
    """Work orders with a visit ahead in a stretch of time which a clock has not looked at since `before_ms`."""
    a, mark = projections["appointment"], rule_mark
    looked = sa.and_(mark.c.tenant_id == a.c.tenant_id, mark.c.rule == rule, mark.c.id == a.c.work_order)
    query = (
        sa.select(a.c.work_order)
        .distinct()
        .outerjoin(mark, looked)
        .where(a.c.tenant_id == tenant.tenant_id, a.c.status.in_(AWAITED), a.c.technician.is_not(None))
        .where(a.c.planned_start >= start_ms, a.c.planned_start < end_ms)
        .where(sa.func.coalesce(mark.c.at_ms, 0) < before_ms)
        .order_by(a.c.work_order)
        .limit(limit)
    )
    return list((await tenant.connection.execute(query)).scalars())


async def marked_ms(tenant: Tenant, rule: str, record_id: str = "") -> int:
    """When a clock last looked at something, 0 if never."""
    query = sa.select(rule_mark.c.at_ms).filter_by(tenant_id=tenant.tenant_id, rule=rule, id=record_id)
    return (await tenant.connection.execute(query)).scalar_one_or_none() or 0


async def mark(tenant: Tenant, rule: str, ids: Iterable[str], at_ms: int) -> None:
    rows = [{"tenant_id": tenant.tenant_id, "rule": rule, "id": one, "at_ms": at_ms} for one in sorted(set(ids))]
    if rows:
        made = insert(rule_mark).values(rows)
        await tenant.connection.execute(
            made.on_conflict_do_update(index_elements=["tenant_id", "rule", "id"], set_={"at_ms": at_ms})
        )
