"""The statements of the hot path, written by hand: a push is a read and a write, a pull is one statement, whatever they carry.

They run on connections set up by `storage.pool`: the tenant is set for row-level security, and the planner may only walk indices
(on a fresh database its generic plans would otherwise read a tenant's every row).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from server.storage.tables import FOREVER
from sync.links import CATALOGUE, LinkKind
from sync.schema import REGISTRY, EntitySpec, FieldSpec

PROBE: Final = """
select u.id, d.no, d.user_id, d.token_hash, d.status, d.epoch, d.last_n, d.enrolled_ms, d.role, d.active,
    c.seq, c.incarnation, c.horizon
from unnest($2::text[]) as u(id)
cross join lateral (
    select d.no, d.user_id, d.token_hash, d.status, d.epoch, d.last_n, d.enrolled_ms, m.role, m.active
    from device d join app_user m on m.tenant_id = d.tenant_id and m.id = d.user_id
    where d.tenant_id = $1 and d.id = u.id
    limit 1
) d
cross join (select seq, incarnation, horizon from clock where tenant_id = $1) c
"""
"""Who are these, and is there anything new? The one statement of an idle pull."""

DEVICES: Final = "select no, epoch, last_n from device where tenant_id = $1 and no = any($2::int[])"

READ: Final = """
select null as entity, incarnation as id, null as scope, linked as seq, null::bool as deleted, null::bytea as body, null::bytea
from clock where tenant_id = $1
union all
select u.entity, u.id, r.scope, r.seq, r.deleted, r.body, r.ver
from unnest($2::text[], $3::text[]) as u(entity, id)
cross join lateral (
    select scope, seq, deleted, body, ver from record
    where tenant_id = $1 and record.entity = u.entity and record.id = u.id
    limit 1
) r
"""
"""The clock's incarnation and the commit that last wrote a link, then the records there are of the entities $2 and ids $3."""

REACHED: Final = f"""
with p as (
    select u.holder, u.holder as name, 0::bigint as granted, {FOREVER}::bigint as revoked from unnest($2::text[]) as u(holder)
    union all
    select u.holder, l.target, l.granted, l.revoked from unnest($2::text[]) as u(holder)
    cross join lateral (
        select target, granted, revoked from link
        where tenant_id = $1 and source = u.holder and kind = {LinkKind.ACTS_AS:d}
        offset 0
    ) l
), h as materialized (
    select p.holder, l.target, greatest(p.granted, l.granted) as granted, least(p.revoked, l.revoked) as revoked
    from p cross join lateral (
        select target, granted, revoked from link
        where tenant_id = $1 and source = p.name and kind = {LinkKind.HOLDS:d}
        offset 0
    ) l
)
select w.holder, w.scope, bool_or(x.revoked = {FOREVER}) as now
from unnest($3::text[], $4::text[]) as w(holder, scope)
cross join lateral (
    select h.granted, h.revoked from h where h.holder = w.holder and h.target = w.scope
    union all
    select greatest(h.granted, n.granted), least(h.revoked, n.revoked)
    from h cross join lateral (
        select granted, revoked from link
        where tenant_id = $1 and source = h.target and kind = {LinkKind.NEEDS:d} and target = w.scope
        offset 0
    ) n
    where h.holder = w.holder
) x
where x.granted < x.revoked
group by w.holder, w.scope
"""
"""Of the (holder, scope) pairs, those that links ever connected, at one time, and whether they do now: late work is not refused."""

OUTCOMES: Final = """
select first_n, last_n, seq, outcomes from device_log
where tenant_id = $1 and device_no = $2 and epoch = $3 and last_n >= $4 and first_n <= $5
order by last_n
"""

DAY_MS: Final = 86_400_000
GROUPS: Final = 3
"""A first sync comes in groups: today's work, the coming days', everything else."""


_HEAD: Final = """convert_to('["' || entity || '","' || id || '",' || seq, 'UTF8')"""


def _page(*, grouped: bool) -> str:
    """One page of the feed in one snapshot: the clock, the scopes that came or went since $3, the records after $4, about $5.

    $2 is the user's name as a link source, $3 the checkpoint that the device has applied, $4 how far it has got in this round.
    $6 names the scopes that the device has, null meaning those it reached at $3; $7 those that it gets anew although it has them.
    $8 is the clock at which the round began; what was granted later waits for the next round. $9 says that the device has all that
    was there at $3, so that deltas will do. While `grouped`, $10 is the group of scopes that arrives and $11 now, in milliseconds,
    every scope that is there now is told, and $12 names the scopes on the shelf, each with the newest seq it is of.

    A scope is `before` only if the device has held it from $3 until now without a break: of one that left and came back, pages in
    between may have left out what then changed, so it arrives whole. Likewise a record that changed twice while a round was under
    way may not have been sent as it was at the round's end, and so not as the next round's $3 has it.

    Rows by kind: 0 the clock and the incarnation; 1 the seq at which the page is cut, if it is; 2 a scope that went; 3 one that is
    there, and whether it was `before`; 4 what has changed in one scope, as JSON: items of the lists `whole`, `changed` and `gone`,
    with its newest seq if that is all there is of it; 5 a record of which only some fields are new: its seq, its entity, the head
    of its item, its body and its versions; 6 a scope that may be taken from the shelf.
    The lists are made here, a scope at a time: ten thousand rows would cost more to carry across and to join than to read.
    """
    order_rank = f"""
        case when l.target like 'work_order:%' then coalesce((
            select min(case when abs(a.planned_start - $11) < {DAY_MS} then 0 when a.planned_start >= $11 then 1 else 2 end)
            from appointment a where a.tenant_id = $1 and a.work_order = substr(l.target, 12)
        ), 2) when l.target like 'technician:%' then 0 else 2 end"""
    rank, inherited, last = (order_rank, "h.rank", "2") if grouped else ("0", "0", "0")
    has = (
        "{since} and target = any($6::text[])" if grouped else "case when $6::text[] is null then {since} else target = any($6) end"
    )
    had, kept = (has.format(since=since) for since in ("bool_or(granted <= $3)", f"bool_or(granted <= $3 and revoked = {FOREVER})"))
    arrives = "(min(rank) <= $10 or target = any($6))" if grouped else "true"
    entire = "(n.past = 0 and not n.had and n.count < $5 and n.newest <= cut.seq)" if grouped else "false"
    shelved = f"({entire} and n.newest = ($12::jsonb ->> n.scope)::bigint) is true" if grouped else "false"
    return f"""
with p as (
    select $2::text as name, 0::bigint as granted, {FOREVER}::bigint as revoked
    union all
    select target, granted, revoked from link
    where tenant_id = $1 and source = $2 and kind = {LinkKind.ACTS_AS:d} and revoked > $3
), h as (
    select l.target, greatest(p.granted, l.granted) as granted, least(p.revoked, l.revoked) as revoked, {rank} as rank
    from p cross join lateral (
        select target, granted, revoked from link
        where tenant_id = $1 and source = p.name and kind = {LinkKind.HOLDS:d} and revoked > $3
        offset 0
    ) l
), s as (
    select * from h
    union all
    select l.target, greatest(h.granted, l.granted), least(h.revoked, l.revoked), {inherited}
    from h cross join lateral (
        select target, granted, revoked from link
        where tenant_id = $1 and source = h.target and kind = {LinkKind.NEEDS:d} and revoked > $3
        offset 0
    ) l
    union all
    select '{CATALOGUE}', 1, {FOREVER}, {last}
), m as materialized (
    select *, greatest($4, case when before then $3 else 0 end) as past from (
        select target as scope,
            {had} as had,
            {kept} and not target = any($7::text[]) as before,
            bool_or(revoked = {FOREVER} and granted <= $8) and {arrives} as now
        from s where granted < revoked
        group by target
        having bool_or(granted <= $3) or bool_or(revoked = {FOREVER})
    ) m
), n as materialized (
    select m.*, l.count, l.newest from m cross join lateral (
        select count(*) as count, max(seq) as newest
        from (select seq from record where tenant_id = $1 and scope = m.scope and seq > m.past order by seq limit $5) l
    ) l
    where m.now and l.count > 0
), cut as materialized (
    select case when sum(n.count) < $5 then {FOREVER} else (
        select max(seq) from (
            select l.seq from n cross join lateral (
                select seq from record where tenant_id = $1 and scope = n.scope and seq > n.past order by seq limit $5
            ) l
            order by l.seq limit $5
        ) l
    ) end as seq from n
), w as materialized (
    select n.*, cut.seq as cut, {entire} as entire, {shelved} as shelved from n cross join cut
)
select 0 as kind, seq, incarnation as name, null::bool as before, null::bytea as whole, null::bytea as changed, null::bytea as gone
from clock where tenant_id = $1
union all
select 1, seq, null, null, null, null, null from cut where seq < {FOREVER}
union all
select case when now then 3 else 2 end, null, scope, before, null, null, null
from m where (had and not now) or (now and (not before or $6 is not null))
union all
select 4, case when w.entire then w.newest end, w.scope, null, l.whole, l.changed, l.gone from w cross join lateral (
    select string_agg({_HEAD} || ',' || body || ']', ',')
            filter (where not deleted and (delta is null and prev <= $3 or not (w.before and $9))) as whole,
        string_agg({_HEAD} || ',' || delta || ']', ',') filter (where not deleted and prev <= $3 and w.before and $9) as changed,
        string_agg({_HEAD} || ']', ',') filter (where deleted) as gone
    from record where tenant_id = $1 and scope = w.scope and seq > w.past and seq <= w.cut and (w.had or not deleted)
) l
where not w.shelved
union all
select 5, r.seq, r.entity, null, r.head, r.body, r.ver from w cross join lateral (
    select seq, entity, {_HEAD} as head, body, ver
    from record where tenant_id = $1 and scope = w.scope and seq > w.past and seq <= w.cut and prev > $3 and not deleted
    offset 0
) r where w.before and $9
union all
select 6, null, scope, null, null, null, null from w where shelved
"""


PAGE: Final = _page(grouped=False)
GROUP_PAGE: Final = _page(grouped=True)

TAIL: Final = """
select null::text as scope, linked, seq, null::text as entity, incarnation as id, null::bigint as prev, null::bool as deleted,
    null::bytea as body, null::bytea as delta, null::bytea as ver
from clock where tenant_id = $1
union all
select r.scope, null, r.seq, r.entity, r.id, r.prev, r.deleted, r.body, r.delta, r.ver
from (
    select r.* from unnest($2::text[]) as u(entity)
    cross join lateral (
        select seq, entity, id, prev, deleted, body, delta, ver, scope from record
        where tenant_id = $1 and record.entity = u.entity and record.seq > $3 and record.seq > 0
        offset 0
    ) r
    limit $4
) r
"""
"""The clock, then records of the entities $2 that changed after $3, at most $4."""

DIGESTS: Final = """
select w.scope, d.total::text as total, coalesce(d.newest, 0) as newest
from unnest($2::text[]) as w(scope)
cross join lateral (
    select sum(('x' || encode(substr(sha256(convert_to(entity || '/' || id || '/' || seq, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint)
            filter (where not deleted) as total,
        max(seq) as newest
    from record where tenant_id = $1 and record.scope = w.scope
) d
"""
"""The sum of record digests of each scope (signed; null if nothing is there) and the seq of its newest change."""

NOTE_SEEN: Final = """
update device set
    seen_ms = greatest(seen_ms, ($3::bigint[])[array_position($2::int[], no)]),
    cursor_seq = greatest(cursor_seq, ($4::bigint[])[array_position($2::int[], no)])
where tenant_id = $1 and no = any($2::int[])
"""

PARK: Final = """
p as (
    insert into parked (tenant_id, device_no, epoch, n, user_id, received_ms, payload, reasons)
    select $1, u.* from unnest($24::int[], $25::int[], $26::bigint[], $27::text[], $28::bigint[], $29::bytea[], $30::jsonb[])
        as u(device_no, epoch, n, user_id, received_ms, payload, reasons)
)"""

# While nothing is known of a table, the planner walks all that a tenant has in it and looks at each row whether it is meant: all
# devices, all links. So part d has no join, nor has NOTE_SEEN, and part x says once more, as a condition of the index, which links
# it may mean.
_WRITE: Final = f"""
with c as (
    update clock set seq = seq + 1,
        linked = greatest(refuse_if_linked(linked, $23), case when cardinality($17::text[]) > 0 then seq + 1 end)
    where tenant_id = $1 returning seq
), r as (
    insert into record as t (tenant_id, entity, id, scope, seq, prev, deleted, body, delta, ver)
    select $1, u.entity, u.id, u.scope, c.seq, u.prev, u.deleted, u.body, u.delta, u.ver
    from c, unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bool[], $7::bytea[], $8::bytea[], $9::bytea[])
        as u(entity, id, scope, prev, deleted, body, delta, ver)
    on conflict (tenant_id, entity, id) do update
        set seq = excluded.seq, prev = excluded.prev, deleted = excluded.deleted, body = excluded.body, delta = excluded.delta,
            ver = excluded.ver
        where t.seq = excluded.prev
    returning 1
), d as (
    update device set
        last_n = ($13::bigint[])[array_position($10::int[], no)],
        seen_ms = greatest(seen_ms, ($14::bigint[])[array_position($10::int[], no)])
    where tenant_id = $1 and no = any($10::int[]) and epoch = ($11::int[])[array_position($10::int[], no)]
        and last_n = ($12::bigint[])[array_position($10::int[], no)] - 1
    returning 1
), g as (
    insert into device_log (tenant_id, device_no, epoch, first_n, last_n, seq, received_ms, payload, outcomes)
    select $1, u.no, u.epoch, u.first_n, u.last_n, c.seq, u.received_ms, u.payload, u.outcomes
    from c, unnest($10::int[], $11::int[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bytea[], $16::bytea[])
        as u(no, epoch, first_n, last_n, received_ms, payload, outcomes)
), k as (
    insert into link (tenant_id, source, kind, target, reason, granted)
    select $1, u.source, u.kind, u.target, u.reason, c.seq
    from c, unnest($17::text[], $18::smallint[], $19::text[], $20::text[], $21::bool[]) as u(source, kind, target, reason, live)
    where u.live
), x as (
    update link l set revoked = c.seq
    from c, unnest($17::text[], $18::smallint[], $19::text[], $20::text[], $21::bool[]) as u(source, kind, target, reason, live)
    where not u.live and l.tenant_id = $1 and l.source = u.source and l.kind = u.kind and l.target = u.target
        and l.reason = u.reason and l.revoked = {FOREVER}
        and l.source = any (array(
            select w.source from unnest($17::text[], $21::bool[]) as w(source, live) where not w.live
        ))
), e as (
    insert into rule_event (tenant_id, seq, entity, id)
    select $1, c.seq, u.entity, u.id from c, unnest($2::text[], $3::text[], $22::bool[]) as u(entity, id, ruled) where u.ruled
)"""

_VERDICT: Final = """
select c.seq, refuse_if_stale((select count(*) from r), cardinality($3::text[]), (select count(*) from d), cardinality($10::int[]))
from c
"""
"""Fails the whole statement if a record or a device moved since it was read: then nothing is written, and the group is redone. So
does the update of the clock if links were written since $23, by which the rights of the authors were judged."""

FIXED_PARAMETERS: Final = 23
PARK_PARAMETERS: Final = 7


@lru_cache(maxsize=256)
def write(entities: tuple[str, ...], *, parking: bool) -> str:
    """The write of one commit that touches these entities (in this order): their projections follow the fixed parameters."""
    at = FIXED_PARAMETERS + (PARK_PARAMETERS if parking else 0)
    parts = [_WRITE, *([PARK] if parking else [])]
    for number, entity in enumerate(entities):
        parts.append(_project(REGISTRY[entity], f"p{number}", f"${at + 2 * number + 1}", f"${at + 2 * number + 2}"))
    return ",\n".join(parts) + _VERDICT


def _project(spec: EntitySpec, name: str, rows: str, gone: str) -> str:
    """Upsert the projections of one entity from a JSON array of bodies, and remove those of deleted records."""
    columns = ", ".join(f'"{field.name}"' for field in spec.fields.values())
    typed = ", ".join(f'"{field.name}" {field.column}' for field in spec.fields.values())
    values = ", ".join(_value(field) for field in spec.fields.values())
    updates = ", ".join(f'"{field.name}" = excluded."{field.name}"' for field in spec.fields.values())
    return f"""{name} as (
    insert into "{spec.name}" (tenant_id, id, {columns})
    select $1, x.id, {values}
    from json_to_recordset(convert_from({rows}::bytea, 'UTF8')::json) as x(id text, {typed})
    on conflict (tenant_id, id) do update set {updates}
), {name}_gone as (
    delete from "{spec.name}" where tenant_id = $1 and id = any({gone}::text[])
)"""


def _value(field: FieldSpec) -> str:
    """The column's value: a field that a body leaves out stands at its declared default."""
    default = field.default
    match default:
        case None:
            return f'x."{field.name}"'
        case bool() | int() | float():
            literal = str(default).lower()
        case str():
            literal = "'" + default.replace("'", "''") + "'"
        case _:
            literal = "'{}'" if field.column == "text[]" or isinstance(default, dict) else "'[]'"
    return f'coalesce(x."{field.name}", {literal})'


def rebuild(entity: str) -> Sequence[str]:
    """Statements that make one entity's projections of a tenant ($1) anew from its records."""
    spec = REGISTRY[entity]
    columns = ", ".join(f'"{field.name}"' for field in spec.fields.values())
    typed = ", ".join(f'"{field.name}" {field.column}' for field in spec.fields.values())
    values = ", ".join(_value(field) for field in spec.fields.values())
    return (
        f'delete from "{entity}" where tenant_id = $1',
        f"""insert into "{entity}" (tenant_id, id, {columns})
        select $1, r.id, {values} from record r,
            json_to_record(convert_from(r.body, 'UTF8')::json) as x({typed})
        where r.tenant_id = $1 and r.entity = '{entity}' and not r.deleted""",
    )


ENROL: Final = """
with e as (
    update enrolment set used_ms = $3 where tenant_id = $1 and code_hash = $2 and used_ms is null and expires_ms >= $3
    returning user_id
), c as (
    update clock set devices = devices + 1 where tenant_id = $1 and exists (select from e) returning devices, incarnation
)
insert into device (tenant_id, id, no, user_id, name, token_hash, enrolled_ms, seen_ms)
select $1, $4, c.devices, e.user_id, $5, $6, $3, $3 from e, c
returning no, user_id, epoch
"""
"""Spend a code and make the device, or return nothing."""

WHO: Final = """
select u.name, u.role, t.name as tenant,
    (select id from technician where tenant_id = $1 and "user" = $2 order by id limit 1) as technician
from app_user u join tenant t on t.tenant_id = u.tenant_id where u.tenant_id = $1 and u.id = $2
"""


NOTE_EXCHANGES: Final = """
insert into exchange_log (tenant_id, device_no, at_ms, took_us, sent, taken, request_bytes, reply_bytes, checkpoint, healed)
select $1, u.*
from unnest($2::int[], $3::bigint[], $4::int[], $5::int[], $6::bigint[], $7::int[], $8::int[], $9::bigint[], $10::int[])
    as u(device_no, at_ms, took_us, sent, taken, request_bytes, reply_bytes, checkpoint, healed)
on conflict do nothing
"""

RENEW: Final = """
with c as (
    update clock set devices = devices + 1 where tenant_id = $1 returning devices
)
insert into device (tenant_id, id, no, user_id, name, token_hash, status, epoch, enrolled_ms, seen_ms)
select $1, $3, c.devices, d.user_id, d.name, $4, d.status, d.epoch + 1, d.enrolled_ms, $5
from device d, c where d.tenant_id = $1 and d.id = $2
returning no, user_id, epoch
"""
"""A copy of a device's installation becomes a device of its own, one epoch later; an order to wipe goes along."""
