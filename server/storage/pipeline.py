"""What open deals should bring and how good such forecasts were, in SQL, by the same chances as `server.domain.forecast`.

The chance of a stage is the share won of the closed deals that ever reached it, drawn towards the share of all deals by ten
pseudo-deals. A deal without an amount counts at what won deals of its product brought on average, or all won deals.
"""

from typing import Final

from sync.entities.flows import Stage

_OPEN: Final = ", ".join(f"'{stage}'" for stage in (Stage.PROSPECT, Stage.QUALIFIED, Stage.QUOTED, Stage.NEGOTIATION))


def _rank(stage: str) -> str:
    """How far an open stage is, from 1; null for the others."""
    return f"array_position(array[{_OPEN}], {stage})"


_DEALS: Final = f"""
deal as (
    select o.*, coalesce(o.opened_on, (o.stages->0->>'at')::bigint, o.closed_at) as opened_at,
        case when o.stage in ('won', 'lost') then coalesce(o.closed_at, o.close_on) end as ended_at,
        coalesce({_rank("o.stage")}, 1) as rank,
        coalesce((select max({_rank("e->>'stage'")}) from jsonb_array_elements(o.stages) e), 1) as furthest
    from opportunity o where o.tenant_id = :tenant
)
"""


def _learned(moments: str) -> str:
    """For each moment `at_ms` of a source, `chance` by stage and `usual` worth by product, by the deals that had closed before."""
    return f"""
ended as (select m.at_ms, d.* from ({moments}) m join deal d on d.ended_at < m.at_ms),
overall as (select m.at_ms, (count(e.id) filter (where e.stage = 'won') + 1.0) / (count(e.id) + 2) as share
    from ({moments}) m left join ended e using (at_ms) group by 1),
chance as (select o.at_ms, r.rank, (count(e.id) filter (where e.stage = 'won') + 10 * o.share) / (count(e.id) + 10) as share
    from overall o cross join generate_series(1, 4) r(rank)
    left join ended e on e.at_ms = o.at_ms and greatest(e.rank, e.furthest) >= r.rank group by 1, 2, o.share),
usual as (select at_ms, product, grouping(product) = 1 as of_all, avg(amount_cents) as cents
    from ended where stage = 'won' and amount_cents > 0 group by at_ms, rollup (product))
"""


_WORTH: Final = """
coalesce(nullif({amount}, 0), (select cents from usual u where u.at_ms = {at} and u.product = {product}),
    (select cents from usual u where u.at_ms = {at} and u.of_all), 0)
"""

OPEN_DEALS: Final = f"""
with {_DEALS}, {_learned("select 9007199254740991 as at_ms")}
select d.owner, d.close_on, p.name as product_name,
    {_WORTH.format(amount="d.amount_cents", at="c.at_ms", product="d.product")} as worth,
    c.share as chance
from deal d join chance c on c.rank = d.rank left join product p on p.tenant_id = d.tenant_id and p.id = d.product
where d.stage not in ('won', 'lost') and (d.close_on is null or (d.close_on >= :since and d.close_on < :until))
"""
"""The open deals that should close in the period, or of which nobody says when: what each is worth, and its chance."""

_MONTHS: Final = """
select distinct (extract(epoch from date_trunc('month', to_timestamp(ended_at / 1000.0), 'UTC')) * 1000)::bigint as at_ms
from deal where ended_at >= :since and ended_at < :until
"""

PAST_MONTHS: Final = f"""
with {_DEALS}, month as ({_MONTHS}), {_learned("select at_ms from month")},
due as (
    select m.at_ms, d.product, case when d.stage = 'won' then d.amount_cents else 0 end as won_cents,
        coalesce({_rank("known.stage")}, 1) as rank, known.cents
    from month m join deal d on d.opened_at < m.at_ms and d.ended_at >= m.at_ms
        and d.ended_at < extract(epoch from to_timestamp(m.at_ms / 1000.0) at time zone 'UTC' + interval '1 month') * 1000
    left join lateral (
        select e->>'stage' as stage, (e->>'amount_cents')::bigint as cents from jsonb_array_elements(d.stages) e
        where (e->>'at')::bigint < m.at_ms order by (e->>'at')::bigint desc limit 1
    ) known on true
)
select d.at_ms, sum(d.won_cents) as won_cents, sum(c.share * {_WORTH.format(amount="d.cents", at="d.at_ms", product="d.product")})
    as forecast_cents
from due d join chance c on c.at_ms = d.at_ms and c.rank = d.rank
where exists (select from usual u where u.at_ms = d.at_ms) group by d.at_ms
"""
"""By month: what was won of the deals that were open at its first moment and closed in it, and what that moment would have said of
them. A month before which nothing had been won has nothing to go by, and is left out."""
