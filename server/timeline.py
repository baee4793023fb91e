"""The timeline of an account: everything that happened with a customer, newest first, by one statement that only walks indices.

What has no time of its own, such as a quote, stands at the time of its last commit.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from server.storage.pool import Connection
from sync.schema import REGISTRY

PAGE: Final = 100


class Entry(msgspec.Struct, frozen=True):
    """One thing that happened: when (ms since 1970, UTC), of which kind, in words, and the record that it stands in.

    `place` is where the next page begins.
    """

    at: int
    kind: str
    title: str
    entity: str
    id: str
    facts: dict[str, Any]
    place: str


def _last_commit(entity: str, record_id: str) -> str:
    """When a record was last changed, in ms; asked only where a record has no time of its own."""
    return f"""(select g.received_ms from record r join device_log g on g.tenant_id = $1 and g.seq = r.seq
        where r.tenant_id = $1 and r.entity = '{entity}' and r.id = {record_id} limit 1)"""  # noqa: S608  # constants


def _branch(kind: str, entity: str, at: str, source: str, facts: str, *, key: str = "x.id", record: str = "x.id") -> str:
    timed = f"coalesce({at}, {_last_commit(entity, record)}, 0)" if entity in REGISTRY else at
    return f"""select {timed} as at, '{kind}' collate "C" as kind, {key} as key, '{entity}' as entity, {record} as id,
        jsonb_build_object({facts}) as facts from {source}"""  # noqa: S608  # constants


_OF_ACCOUNT: Final = "x where x.tenant_id = $1 and x.account = $2"
_ORDERS: Final = "o join lateral (select * from {0} where {0}.tenant_id = $1 and {0}.work_order = o.id) x on true"
_DEALS: Final = "d join lateral (select * from {0} where {0}.tenant_id = $1 and {0}.opportunity = d.id) x on true"

BRANCHES: Final[Mapping[str, str]] = {
    "order": _branch("order", "work_order", "x.opened_at", "o x", "'subject', x.subject, 'status', x.status, 'number', x.number"),
    "visit": _branch(
        "visit",
        "appointment",
        "x.planned_start, x.earliest",
        f"{_ORDERS.format('appointment')} left join technician t on t.tenant_id = $1 and t.id = x.technician",
        "'subject', o.subject, 'status', x.status, 'technician', t.name",
    ),
    "part": _branch(
        "part",
        "part_used",
        "null::bigint",
        f"{_ORDERS.format('part_used')} left join product p on p.tenant_id = $1 and p.id = x.product",
        "'product', p.name, 'quantity', x.quantity",
    ),
    "case": _branch("case", "case", "x.opened_at", f'"case" {_OF_ACCOUNT}', "'subject', x.subject, 'status', x.status"),
    "lead": _branch("lead", "lead", "x.captured_at", f"lead {_OF_ACCOUNT}", "'need', x.need, 'status', x.status"),
    "opportunity": _branch(
        "opportunity", "opportunity", "x.opened_on", "d x", "'name', x.name, 'stage', x.stage, 'amount_cents', x.amount_cents"
    ),
    "stage": _branch(
        "stage",
        "opportunity",
        "(s.one->>'at')::bigint",
        "d x cross join lateral jsonb_array_elements(x.stages) as s(one)",
        "'name', x.name, 'stage', s.one->>'stage', 'amount_cents', s.one->'amount_cents'",
        key="x.id || ':' || (s.one->>'id')",
    ),
    "quote": _branch(
        "quote",
        "quote",
        "x.signed_at",
        _DEALS.format("quote"),
        "'number', x.number, 'status', x.status, 'total_cents', x.total_cents",
    ),
    "sale": _branch(
        "sale", "sales_order", "x.placed_at", _DEALS.format("sales_order"), "'number', x.number, 'total_cents', x.total_cents"
    ),
    "contract": _branch("contract", "contract", "x.start", f"contract {_OF_ACCOUNT}", "'name', x.name, 'status', x.status"),
    "activity": _branch("activity", "activity", "x.at", f"activity {_OF_ACCOUNT}", "'what', x.kind, 'outcome', x.outcome"),
    "survey": _branch(
        "survey",
        "survey",
        "x.answered_at, x.asked_at",
        f"survey {_OF_ACCOUNT}",
        "'what', x.kind, 'score', x.score, 'words', x.words",
    ),
    "message": _branch(
        "message",
        "notification",
        "coalesce(x.sent_ms, x.created_ms)",
        f"notification {_OF_ACCOUNT} and x.channel <> 'webhook'",
        "'title', x.title, 'state', x.state, 'to', x.address, 'reason', x.reason",
    ),
}
"""By kind, the part of the statement that finds it."""
KINDS: Final = tuple(BRANCHES)


def statement(kinds: Collection[str]) -> str:
    """The timeline of these kinds: $1 tenant, $2 account, $3 to $5 the place before which it goes on, $6 how many."""
    parts = "\nunion all\n".join(BRANCHES[kind] for kind in KINDS if kind in kinds)
    return f"""
with o as materialized (select * from work_order where tenant_id = $1 and account = $2),
d as materialized (select * from opportunity where tenant_id = $1 and account = $2)
select at, kind, key, entity, id, facts from ({parts}) x
where (at, kind, key collate "C") < ($3::bigint, $4::text collate "C", $5::text collate "C")
order by at desc, kind desc, key collate "C" desc
limit $6
"""  # noqa: S608  # constants


async def timeline(
    connection: Connection, tenant_id: int, account: str, *, kinds: Collection[str], before: tuple[int, str, str], limit: int
) -> list[Entry]:
    """What happened with an account before a place, the newest first."""
    rows = await connection.fetch(statement(kinds or KINDS), tenant_id, account, *before, limit)
    return [_entry(row) for row in rows]


def _entry(row: Any) -> Entry:
    facts = {name: value for name, value in msgspec.json.decode(row["facts"]).items() if value not in (None, "")}
    place = f"{row['at']}.{row['kind']}.{row['key']}"
    return Entry(row["at"], row["kind"], _TITLES[row["kind"]](facts), row["entity"], row["id"], facts, place)


def _money(facts: Mapping[str, Any], name: str) -> str:
    return f"{(facts.get(name) or 0) / 100:,.2f}"


def _said(value: Any, otherwise: str = "") -> str:
    text = str(value or otherwise).replace("_", " ")
    return text if len(text) <= 120 else text[:117] + "…"


_TITLES: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "order": lambda f: f"Order {_said(f.get('number'))} {_said(f.get('subject'))} ({_said(f.get('status'))})".replace("  ", " "),
    "visit": lambda f: (
        f"Visit of {_said(f.get('technician'), 'nobody yet')}: {_said(f.get('subject'), 'work')} ({_said(f.get('status'))})"
    ),
    "part": lambda f: f"{f.get('quantity', 0)} × {_said(f.get('product'), 'part')} used",
    "case": lambda f: f"Case: {_said(f.get('subject'))} ({_said(f.get('status'))})",
    "lead": lambda f: f"Lead: {_said(f.get('need'))} ({_said(f.get('status'))})",
    "opportunity": lambda f: f"Opportunity {_said(f.get('name'))}, {_money(f, 'amount_cents')} ({_said(f.get('stage'))})",
    "stage": lambda f: f"{_said(f.get('name'))} came to {_said(f.get('stage'))}, {_money(f, 'amount_cents')}",
    "quote": lambda f: f"Quote {_said(f.get('number'))} over {_money(f, 'total_cents')} ({_said(f.get('status'))})".replace(
        "  ", " "
    ),
    "sale": lambda f: f"Ordered {_said(f.get('number'))} for {_money(f, 'total_cents')}".replace("  ", " "),
    "contract": lambda f: f"Contract {_said(f.get('name'))} begins ({_said(f.get('status'))})",
    "activity": lambda f: f"{_said(f.get('what')).capitalize()}: {_said(f.get('outcome'))}",
    "survey": lambda f: f"Survey {_said(f.get('what')).upper()}: {f.get('score', 'no answer yet')}",
    "message": lambda f: f"Message to {_said(f.get('to'), 'nobody')}: {_said(f.get('title'))} ({_said(f.get('state'))})",
}
