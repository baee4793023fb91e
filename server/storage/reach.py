"""Who reaches what at this moment: the walk over standing links, for questions outside the feed."""

from collections.abc import Sequence
from typing import Final

from server.storage.pool import Connection
from server.storage.tables import FOREVER
from sync.links import CATALOGUE, LinkKind, user


def _links(kind: LinkKind, source: str) -> str:
    """The targets of the standing links from a source: always by the key, whatever the planner knows of the table."""
    return f"""cross join lateral (
        select target from link
        where tenant_id = $1 and source = {source} and kind = {kind:d} and revoked = {FOREVER}
        offset 0
    ) l"""


_WALK: Final = f"""
with p as (
    select u.holder, u.holder as name from unnest($2::text[]) as u(holder)
    union all
    select u.holder, l.target from unnest($2::text[]) as u(holder) {_links(LinkKind.ACTS_AS, "u.holder")}
), h as materialized (
    select p.holder, l.target as name from p {_links(LinkKind.HOLDS, "p.name")}
), n as (
    select h.holder, l.target as name from h {_links(LinkKind.NEEDS, "h.name")}
)"""

NAMES: Final = f"{_WALK} select holder, name from p union select holder, name from h union select holder, name from n"
"""Every name on the way of each holder: its principals and the scopes it holds."""

HELD: Final = f"""{_WALK}
select s.holder, c.linked, array_agg(s.name) as scopes
from (select linked from clock where tenant_id = $1) c cross join (
    select u.holder, '{CATALOGUE}' as name from unnest($2::text[]) as u(holder) union select * from h union select * from n
) s
group by s.holder, c.linked
"""
"""The scopes that each holder holds, and the commit that last wrote a link."""

HOLDS_ONE: Final = f"""{_WALK}
select exists (
    select from unnest($3::text[]) as w(scope)
    where w.scope = '{CATALOGUE}' or exists (select from h where h.name = w.scope) or exists (select from n where n.name = w.scope)
)"""
"""Whether the holder holds any of the scopes in $3."""

SHUT_OUT: Final = """
select d.no from device d left join app_user u on u.tenant_id = d.tenant_id and u.id = d.user_id
where d.tenant_id = $1 and d.no = any($2::int[]) and (d.status <> 'active' or u.active is not true)
"""


async def names_of(connection: Connection, tenant_id: int, user_ids: Sequence[str]) -> dict[str, list[str]]:
    """By user, the names that links lead to."""
    names: dict[str, list[str]] = {user_id: [] for user_id in user_ids}
    for holder, name in await connection.fetch(NAMES, tenant_id, [user(user_id) for user_id in user_ids]):
        names[holder.removeprefix("user:")].append(name)
    return names


async def scopes_of(connection: Connection, tenant_id: int, user_ids: Sequence[str]) -> dict[str, tuple[int, frozenset[str]]]:
    """By user, the commit that last wrote a link of the tenant, and the scopes that the user holds by the links there are."""
    rows = await connection.fetch(HELD, tenant_id, [user(user_id) for user_id in user_ids])
    return {holder.removeprefix("user:"): (linked, frozenset(scopes)) for holder, linked, scopes in rows}


async def holds_any(connection: Connection, tenant_id: int, user_id: str, scopes: Sequence[str]) -> bool:
    """Whether a user holds one of these scopes now."""
    held: bool = await connection.fetchval(HOLDS_ONE, tenant_id, [user(user_id)], list(scopes))
    return held


async def shut_out(connection: Connection, tenant_id: int, device_nos: Sequence[int]) -> frozenset[int]:
    """Those of the devices that may not come in any more."""
    return frozenset(row[0] for row in await connection.fetch(SHUT_OUT, tenant_id, list(device_nos)))
