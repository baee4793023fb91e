"""What the rules of leads and offers ask and note: counts over projections, marks of clocks, keys of matching."""

from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from server.storage.office import Tenant
from server.storage.tables import app_user, match_key, projections, rule_mark
from sync.entities.flows import AbsenceStatus, LeadStatus, OfferStatus
from sync.entities.flows import AppointmentStatus as A

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


async def sellers(tenant: Tenant, now_ms: int) -> list[sa.Row[Any]]:
    """Active reps: id, name, territories, skills, room, leads in hand, and until when they are away if they are away now."""
    lead, profile, away, person = (projections[name] for name in ("lead", "profile", "absence", "technician"))
    mine = sa.and_(profile.c.tenant_id == app_user.c.tenant_id, profile.c.id == app_user.c.id)
    in_hand = (
        sa.select(sa.func.count())
        .where(lead.c.tenant_id == app_user.c.tenant_id, lead.c.owner == app_user.c.id)
        .where(lead.c.status.in_((LeadStatus.CAPTURED, LeadStatus.QUALIFIED)))
        .scalar_subquery()
    )
    as_technician = sa.select(sa.literal("technician:") + person.c.id).where(
        person.c.tenant_id == app_user.c.tenant_id, person.c.user == app_user.c.id
    )
    away_until = (
        sa.select(sa.func.max(away.c.end))
        .where(away.c.tenant_id == app_user.c.tenant_id, away.c.status == AbsenceStatus.APPROVED)
        .where(away.c.start <= now_ms, away.c.end > now_ms)
        .where(sa.or_(away.c.holder == sa.literal("user:") + app_user.c.id, away.c.holder.in_(as_technician)))
        .scalar_subquery()
    )
    query = (
        sa.select(
            app_user.c.id,
            app_user.c.name,
            sa.func.coalesce(profile.c.territories, app_user.c.territories).label("territories"),
            profile.c.skills,
            profile.c.max_open_leads.label("room"),
            in_hand.label("in_hand"),
            away_until.label("away_until"),
        )
        .outerjoin(profile, mine)
        .where(app_user.c.tenant_id == tenant.tenant_id, app_user.c.role == "rep", app_user.c.active)
        .order_by(app_user.c.id)
    )
    return list(await tenant.connection.execute(query))


async def managers(tenant: Tenant) -> list[str]:
    """Active managers, then administrators."""
    query = (
        sa.select(app_user.c.id)
        .where(app_user.c.tenant_id == tenant.tenant_id, app_user.c.role.in_(("manager", "administrator")), app_user.c.active)
        .order_by(app_user.c.role.desc(), app_user.c.id)
    )
    return list((await tenant.connection.execute(query)).scalars())


async def overdue_leads(tenant: Tenant, now_ms: int, limit: int) -> list[str]:
    """Leads that nobody has contacted in time."""
    lead = projections["lead"].c
    query = (
        sa.select(lead.id)
        .where(lead.tenant_id == tenant.tenant_id, lead.respond_by <= now_ms, lead.first_contact_at.is_(None))
        .where(lead.status.in_((LeadStatus.CAPTURED, LeadStatus.QUALIFIED)))
        .order_by(lead.respond_by, lead.id)
        .limit(limit)
    )
    return list((await tenant.connection.execute(query)).scalars())


async def set_keys(tenant: Tenant, entity: str, record_id: str, keys: Iterable[str]) -> None:
    """By what a record is found as one that may mean the same as another."""
    mine = {"tenant_id": tenant.tenant_id, "entity": entity, "id": record_id}
    wanted = sorted(set(keys))
    await tenant.connection.execute(sa.delete(match_key).filter_by(**mine).where(match_key.c.key.not_in(wanted)))
    if wanted:
        await tenant.connection.execute(insert(match_key).values([mine | {"key": key} for key in wanted]).on_conflict_do_nothing())


async def sharing(tenant: Tenant, entity: str, keys: Iterable[str], but: str, limit: int = 500) -> list[str]:
    """Other records of an entity that have one of these keys; the newest ids first, at most `limit`."""
    query = (
        sa.select(match_key.c.id)
        .distinct()
        .where(match_key.c.tenant_id == tenant.tenant_id, match_key.c.entity == entity, match_key.c.key.in_(sorted(set(keys))))
        .where(match_key.c.id != but)
        .order_by(match_key.c.id.desc())
        .limit(limit)
    )
    return list((await tenant.connection.execute(query)).scalars())


async def ended_leads(tenant: Tenant, before_ms: int, limit: int = 50_000) -> list[sa.Row[Any]]:
    """Leads captured before then that have a score: id, captured_at, score_reasons, status, and when their opportunity ended."""
    lead, deal = projections["lead"], projections["opportunity"]
    query = (
        sa.select(lead.c.id, lead.c.captured_at, lead.c.score_reasons, lead.c.status, deal.c.closed_at)
        .outerjoin(deal, sa.and_(deal.c.tenant_id == lead.c.tenant_id, deal.c.id == lead.c.opportunity))
        .where(lead.c.tenant_id == tenant.tenant_id, lead.c.captured_at < before_ms, lead.c.score.is_not(None))
        .where(lead.c.status != LeadStatus.DUPLICATE)
        .order_by(lead.c.captured_at.desc())
        .limit(limit)
    )
    return list(await tenant.connection.execute(query))
