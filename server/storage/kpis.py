"""The figures that an office steers by, each computed in one SQL statement on the typed tables.

Every source sees `:tenant`, `:since` and `:until` (ms since 1970; the period is [since, until)). A figure is `value` over the rows
of its source, resting on `n` of them; `groups` are by what it can be split.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from server.storage.pipeline import OPEN_DEALS, PAST_MONTHS

DAY_MS: Final = 86_400_000
ON_TIME_MS: Final = 15 * 60_000
"""How late an arrival may be and still be as planned, where no window was promised."""


class Kpi(msgspec.Struct, frozen=True, kw_only=True):
    """One figure: what it is called and measured in, its formula in words, and the SQL that computes it."""

    name: str
    title: str
    unit: str
    formula: str
    source: str
    value: str
    n: str = "count(*)"
    groups: Mapping[str, str] = {}

    def statement(self, by: str | None) -> str:
        """SQL giving `label`, `value`, `n`: one row, or one for each label of the group `by`."""
        if by is None:
            return f"select '' as label, {self.value} as value, {self.n} as n from ({self.source}) s"
        return (
            f"select coalesce(({self.groups[by]})::text, '') as label, {self.value} as value, {self.n} as n "
            f"from ({self.source}) s group by 1 order by 1"
        )


def _month(column: str) -> str:
    return f"to_char(to_timestamp({column} / 1000.0) at time zone 'UTC', 'YYYY-MM')"


_VISITS: Final = """
select a.tenant_id, a.id, a.work_order, a.technician, a.mates, a.status, a.promised_to, a.planned_start, t.done_at, t.arrived_at
from appointment a cross join lateral (
    select max((e->>'at')::bigint) filter (where e->>'status' = 'completed') as done_at,
        min((e->>'at')::bigint) filter (where e->>'status' in ('on_site', 'in_progress')) as arrived_at
    from jsonb_array_elements(a.actual) e
) t where a.tenant_id = :tenant
"""
_DONE_VISITS: Final = f"select * from ({_VISITS}) v where status = 'completed' and done_at >= :since and done_at < :until"
_WENT: Final = f"""
select d.done_at, went.technician from ({_DONE_VISITS}) d
cross join lateral unnest(array_append(d.mates, d.technician)) went(technician)
"""
_TIMED_VISITS: Final = f"""
select * from ({_DONE_VISITS}) d where arrived_at is not null and coalesce(promised_to, planned_start) is not null
"""

_FIXED: Final = f"""
select w.id, w.type, count(*) filter (where v.status in ('completed', 'cannot_complete')) as visits, max(v.done_at) as done_at
from work_order w join ({_VISITS}) v on v.work_order = w.id
where w.tenant_id = :tenant and w.status in ('work_done', 'approved', 'posted')
group by w.id, w.type having max(v.done_at) >= :since and max(v.done_at) < :until
"""

_HOURS: Final = """
select technician, sum(work) as work, sum(travel) as travel, sum(shift) as shift from (
    select technician, case when kind = 'work' then spent else 0 end as work,
        case when kind = 'travel' then spent else 0 end as travel, 0 as shift
    from (select technician, kind, least("end", :until) - greatest(start, :since) as spent from time_entry
        where tenant_id = :tenant and "end" > :since and start < :until) e
    union all
    select technician, 0, 0, least("end", :until) - greatest(start, :since) - break_s * 1000 from shift
    where tenant_id = :tenant and "end" > :since and start < :until
) p group by technician
"""

_CASES: Final = """
select * from "case" where tenant_id = :tenant and status <> 'canceled'
"""
_CLOSED: Final = """
select o.*, p.name as product_name, coalesce(o.closed_at, o.close_on) as ended_at from opportunity o
left join product p on p.tenant_id = o.tenant_id and p.id = o.product
where o.tenant_id = :tenant and o.stage in ('won', 'lost')
    and coalesce(o.closed_at, o.close_on) >= :since and coalesce(o.closed_at, o.close_on) < :until
"""
_SOLD: Final = f"select * from ({_CLOSED}) c where stage = 'won'"

_LEADS: Final = """
select * from lead where tenant_id = :tenant and status <> 'duplicate' and captured_at >= :since and captured_at < :until
"""

_KEPT: Final = """
select b.account, exists (
    select from contract c where c.tenant_id = :tenant and c.account = b.account and c.status not in ('draft', 'canceled')
        and c.start < :until and c."end" >= :until
) as kept
from (select distinct account from contract where tenant_id = :tenant and status not in ('draft', 'canceled')
    and start < :since and "end" >= :since) b
"""

_VELOCITY: Final = f"""
select (select count(*) from opportunity where tenant_id = :tenant and stage not in ('won', 'lost')) as open, c.*
from (select avg((stage = 'won')::int) as win_rate, avg(amount_cents) filter (where stage = 'won') as amount_cents,
    avg(ended_at - opened_on) filter (where stage = 'won') / {DAY_MS}.0 as cycle_days, count(*) as closed from ({_CLOSED}) x) c
"""

_WORTH: Final = f"""
select b.amount_cents, 1 - k.retention as churn, b.orders,
    b.orders / nullif(b.accounts, 0)::float8 / nullif((b.last_at - b.first_at) / ({DAY_MS} * 365.25), 0) as a_year
from (select avg(amount_cents) as amount_cents, count(*) as orders, count(distinct account) as accounts,
    min(ended_at) as first_at, max(ended_at) as last_at from ({_SOLD}) x where account is not null) b
cross join (select avg(kept::int) as retention from ({_KEPT}) x) k
"""

_WON_OVER: Final = """
select (select sum(cost_cents) from campaign where tenant_id = :tenant and start >= :since and start < :until) as cost_cents,
    (select count(*) from (select account, min(coalesce(closed_at, close_on)) as first_at from opportunity
        where tenant_id = :tenant and stage = 'won' and account is not null group by account) f
        where first_at >= :since and first_at < :until) as accounts
"""

_ANSWERS: Final = """
select s.*, w.type from survey s left join work_order w on w.tenant_id = s.tenant_id and w.id = s.work_order
where s.tenant_id = :tenant and s.score is not null and s.answered_at >= :since and s.answered_at < :until
"""

KPIS: Final[Mapping[str, Kpi]] = {
    kpi.name: kpi
    for kpi in (
        Kpi(
            name="first-time-fix",
            title="First-time fix rate",
            unit="share",
            formula="of the work orders done in the period, those that took one visit",
            source=_FIXED,
            value="avg((visits = 1)::int)",
            groups={"type": "type", "month": _month("done_at")},
        ),
        Kpi(
            name="mttr",
            title="Mean time to repair",
            unit="s",
            formula="of the cases resolved in the period: resolved − opened − waited for the customer, on average",
            source=f"{_CASES} and resolved_at >= :since and resolved_at < :until and opened_at is not null",
            value="avg(resolved_at - opened_at - waited_ms) / 1000.0",
            groups={"priority": "priority", "month": _month("resolved_at")},
        ),
        Kpi(
            name="utilisation",
            title="Utilisation",
            unit="share",
            formula="time at work / (shifts − breaks)",
            source=_HOURS,
            value="sum(work)::float8 / nullif(sum(shift), 0)",
            groups={"technician": "technician"},
        ),
        Kpi(
            name="utilisation-with-travel",
            title="Utilisation, travel included",
            unit="share",
            formula="(time at work + travel) / (shifts − breaks)",
            source=_HOURS,
            value="sum(work + travel)::float8 / nullif(sum(shift), 0)",
            groups={"technician": "technician"},
        ),
        Kpi(
            name="travel-ratio",
            title="Travel ratio",
            unit="share",
            formula="travel / (travel + time at work)",
            source=_HOURS,
            value="sum(travel)::float8 / nullif(sum(work + travel), 0)",
            groups={"technician": "technician"},
        ),
        Kpi(
            name="sla-attainment",
            title="SLA attainment",
            unit="share",
            formula="of the cases due to be resolved in the period, those answered and resolved by when it was promised",
            source=f"{_CASES} and resolve_by >= :since and resolve_by < :until",
            value="avg((coalesce(resolved_at <= resolve_by, false) and coalesce(responded_at <= respond_by, true))::int)",
            groups={"priority": "priority", "month": _month("resolve_by")},
        ),
        Kpi(
            name="jobs-a-day",
            title="Jobs a day",
            unit="visits",
            formula="visits completed / days on which a technician completed any; a crew's visit is one of each who made it",
            source=_WENT,
            value=f"count(*)::float8 / nullif(count(distinct (technician, done_at / {DAY_MS})), 0)",
            groups={"technician": "technician", "month": _month("done_at")},
        ),
        Kpi(
            name="schedule-adherence",
            title="Schedule adherence",
            unit="share",
            formula="of the visits completed, those begun by the end of the promised window, or within 15 minutes of the plan",
            source=_TIMED_VISITS,
            value=f"avg((arrived_at <= coalesce(promised_to, planned_start + {ON_TIME_MS}))::int)",
            groups={"technician": "technician", "month": _month("done_at")},
        ),
        Kpi(
            name="lead-conversion",
            title="Lead conversion",
            unit="share",
            formula="of the leads captured in the period, duplicates left out, those that became an opportunity by now",
            source=_LEADS,
            value="avg((status in ('converted', 'won', 'lost'))::int)",
            groups={"cohort": _month("captured_at"), "source": "source", "owner": "owner", "territory": "territory"},
        ),
        Kpi(
            name="win-rate",
            title="Win rate",
            unit="share",
            formula="won / (won + lost), of the opportunities closed in the period",
            source=_CLOSED,
            value="avg((stage = 'won')::int)",
            groups={"owner": "owner", "product": "product_name", "month": _month("ended_at")},
        ),
        Kpi(
            name="weighted-forecast",
            title="Weighted forecast",
            unit="cents",
            formula="amount × chance of its stage (the share won of the closed ones that reached it), summed over the open "
            "opportunities that should close in the period or are undated",
            source=OPEN_DEALS,
            value="sum(worth * chance)",
            groups={"owner": "owner", "product": "product_name", "month": _month("close_on")},
        ),
        Kpi(
            name="forecast-accuracy",
            title="Accuracy of the weighted forecast",
            unit="share",
            formula="1 − what the forecasts of the period's months were off by / what was won, of the opportunities open at a "
            "month's first moment and closed in it, forecast by what was known then",
            source=PAST_MONTHS,
            value="1 - sum(abs(forecast_cents - won_cents))::float8 / nullif(sum(won_cents), 0)",
            groups={"month": _month("at_ms")},
        ),
        Kpi(
            name="sales-cycle",
            title="Sales cycle",
            unit="days",
            formula="closed − opened, of the opportunities won in the period, on average",
            source=f"select * from ({_SOLD}) w where opened_on is not null",
            value=f"avg(ended_at - opened_on) / {DAY_MS}.0",
            groups={"owner": "owner", "product": "product_name", "month": _month("ended_at")},
        ),
        Kpi(
            name="sales-velocity",
            title="Sales velocity",
            unit="cents a day",
            formula="open opportunities × win rate × average amount won / sales cycle in days",
            source=_VELOCITY,
            value="max(open * win_rate * amount_cents / nullif(cycle_days, 0))",
            n="max(closed)",
        ),
        Kpi(
            name="retention",
            title="Retention",
            unit="share",
            formula="of the accounts with a contract at the period's start, those with one at its end",
            source=_KEPT,
            value="avg(kept::int)",
        ),
        Kpi(
            name="churn",
            title="Churn",
            unit="share",
            formula="1 − retention",
            source=_KEPT,
            value="1 - avg(kept::int)",
        ),
        Kpi(
            name="clv",
            title="Customer lifetime value, simple",
            unit="cents",
            formula="average order × orders an account and year / churn; the period should be a year",
            source=_WORTH,
            value="max(amount_cents * a_year / nullif(churn, 0))",
            n="max(orders)",
        ),
        Kpi(
            name="cac",
            title="Customer acquisition cost",
            unit="cents",
            formula="cost of the campaigns begun in the period / accounts whose first opportunity was won in it",
            source=_WON_OVER,
            value="max(cost_cents::float8 / nullif(accounts, 0))",
            n="max(accounts)",
        ),
        Kpi(
            name="nps",
            title="Net promoter score",
            unit="points",
            formula="100 × (answers of 9 and 10 − answers of 0 to 6) / answers",
            source=f"select * from ({_ANSWERS}) a where kind = 'nps'",
            value="100.0 * avg((score >= 9)::int - (score <= 6)::int)",
            groups={"type": "type", "month": _month("answered_at")},
        ),
        Kpi(
            name="csat",
            title="Customer satisfaction",
            unit="share",
            formula="answers of 4 and 5 / answers",
            source=f"select * from ({_ANSWERS}) a where kind = 'csat'",
            value="avg((score >= 4)::int)",
            groups={"type": "type", "month": _month("answered_at")},
        ),
    )
}

PURCHASES: Final = f"""
select account, array_agg(ended_at order by ended_at) as at_ms, array_agg(amount_cents order by ended_at) as amounts_cents
from ({_SOLD}) w where account is not null group by account order by account
"""
"""What each account bought in the period, and when."""
