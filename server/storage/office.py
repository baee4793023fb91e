"""Everything off the hot path that the server asks its tables: SQLAlchemy Core on the typed projections and the registers."""

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from server.storage import statements
from server.storage.pool import APP_ROLE
from server.storage.tables import (
    FOREVER,
    app_user,
    clock,
    device,
    device_log,
    enrolment,
    exchange_log,
    link,
    parked,
    projections,
    record,
    rule_event,
    tenant,
)
from sync.links import CATALOGUE, LinkKind, user

SERVER_USER: Final = "server"
SERVER_DEVICE: Final = "server"
SERVER_DEVICE_NO: Final = 0


class Office:
    """A database engine whose transactions see one tenant."""

    def __init__(self, url: str, size: int) -> None:
        self.engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://" + url.split("://", 1)[1],
            pool_size=size,
            pool_pre_ping=True,  # the database may have been restarted since
            connect_args={"server_settings": {"role": APP_ROLE, "application_name": "truckroll-office", "jit": "off"}},
        )

    async def close(self) -> None:
        await self.engine.dispose()

    @asynccontextmanager
    async def of(self, tenant_id: int, *, snapshot: bool = False) -> AsyncIterator["Tenant"]:
        """One transaction on one tenant's rows; as a `snapshot`, all its reads see the same moment."""
        async with self.engine.begin() as connection:
            if snapshot:
                await connection.execute(sa.text("set transaction isolation level repeatable read"))
            await connection.execute(sa.select(sa.func.set_config("app.tenant", str(tenant_id), True)))  # noqa: FBT003  # "local"
            yield Tenant(connection, tenant_id)

    async def tenants(self) -> Mapping[str, int]:
        """Tenant ids by name."""
        async with self.engine.connect() as connection:
            rows = await connection.execute(sa.select(tenant.c.name, tenant.c.tenant_id).order_by(tenant.c.tenant_id))
            return {row.name: row.tenant_id for row in rows}

    async def create_tenant(self, name: str, *, now_ms: int, incarnation: str) -> int:
        """A new tenant with its clock, and the server as its first author. Raises IntegrityError if the name is taken."""
        async with self.engine.begin() as connection:
            made = await connection.execute(sa.insert(tenant).values(name=name, created_ms=now_ms).returning(tenant.c.tenant_id))
            tenant_id: int = made.scalar_one()
            await connection.execute(sa.select(sa.func.set_config("app.tenant", str(tenant_id), True)))  # noqa: FBT003  # "local"
            await connection.execute(sa.insert(clock).values(tenant_id=tenant_id, seq=0, incarnation=incarnation, devices=0))
            await connection.execute(sa.insert(app_user).values(tenant_id=tenant_id, id=SERVER_USER, name="Server", role="server"))
            await connection.execute(
                sa.insert(device).values(
                    tenant_id=tenant_id,
                    id=SERVER_DEVICE,
                    no=SERVER_DEVICE_NO,
                    user_id=SERVER_USER,
                    name="the server's rules",
                    token_hash=b"",
                    enrolled_ms=now_ms,
                )
            )
            return tenant_id


class Held(msgspec.Struct, frozen=True):
    """A record as the office reads it."""

    entity: str
    id: str
    seq: int
    scope: str
    fields: msgspec.Raw


class Tenant:
    """What may be asked and told of one tenant, inside one transaction."""

    def __init__(self, connection: AsyncConnection, tenant_id: int) -> None:
        self.connection, self.tenant_id = connection, tenant_id
        self.kept: dict[Hashable, Any] = {}
        """What a reader need not ask twice in one transaction."""

    async def rows(
        self, entity: str, where: Sequence[sa.ColumnElement[bool]] = (), *, limit: int | None = None
    ) -> Sequence[sa.Row[Any]]:
        """Projection rows of an entity, by id."""
        table = projections[entity]
        query = sa.select(table).where(table.c.tenant_id == self.tenant_id, *where).order_by(table.c.id).limit(limit)
        return (await self.connection.execute(query)).all()

    async def count(self, entity: str, where: Sequence[sa.ColumnElement[bool]] = ()) -> int:
        """How many records of an entity there are."""
        table = projections[entity]
        query = sa.select(sa.func.count()).select_from(table).where(table.c.tenant_id == self.tenant_id, *where)
        return int((await self.connection.execute(query)).scalar_one())

    async def record(self, entity: str, record_id: str) -> Held | None:
        query = self._records().where(record.c.entity == entity, record.c.id == record_id)
        row = (await self.connection.execute(query)).first()
        return Held(row.entity, row.id, row.seq, row.scope, msgspec.Raw(row.body)) if row else None

    async def records(self, entity: str, *, after: str = "", limit: int = 500) -> list[Held]:
        query = self._records().where(record.c.entity == entity, record.c.id > after).order_by(record.c.id).limit(limit)
        return [Held(r.entity, r.id, r.seq, r.scope, msgspec.Raw(r.body)) for r in await self.connection.execute(query)]

    async def some(self, entity: str, ids: Sequence[str]) -> list[Held]:
        """Those of these records that are there."""
        query = self._records().where(record.c.entity == entity, record.c.id.in_(ids))
        return [Held(r.entity, r.id, r.seq, r.scope, msgspec.Raw(r.body)) for r in await self.connection.execute(query)]

    def _records(self) -> sa.Select[Any]:
        return sa.select(record.c.entity, record.c.id, record.c.seq, record.c.scope, record.c.body).where(
            record.c.tenant_id == self.tenant_id, sa.not_(record.c.deleted)
        )

    async def versions(self, entity: str, ids: Sequence[str]) -> dict[str, int]:
        """The seq of each of these records."""
        query = sa.select(record.c.id, record.c.seq).where(
            record.c.tenant_id == self.tenant_id, record.c.entity == entity, record.c.id.in_(ids)
        )
        return {row.id: row.seq for row in await self.connection.execute(query)}

    async def holdings(self, user_id: str) -> dict[tuple[str, str], tuple[int, bytes]]:
        """Every record that a user may hold now: (entity, id) → (seq, body). Asked in another way than the feed, to check it."""
        query = sa.text(
            f"""
            with recursive reach(name, step) as (
                select cast(:me as text) collate "C", 0
                union
                select l.target, l.kind from reach
                join link l on l.tenant_id = :tenant and l.source = reach.name and l.revoked = {FOREVER}
                    and l.kind > reach.step and (l.kind <> {LinkKind.NEEDS:d} or reach.step = {LinkKind.HOLDS:d})
            )
            select entity, id, seq, body from record
            where tenant_id = :tenant and not deleted
                and (scope = '{CATALOGUE}' or scope in (select name from reach where step >= {LinkKind.HOLDS:d}))
            """
        )
        rows = await self.connection.execute(query, {"me": user(user_id), "tenant": self.tenant_id})
        return {(row.entity, row.id): (row.seq, row.body) for row in rows}

    async def add_user(self, user_id: str, name: str, role: str, territories: Sequence[str] = ()) -> None:
        await self.connection.execute(
            sa.insert(app_user).values(tenant_id=self.tenant_id, id=user_id, name=name, role=role, territories=list(territories))
        )

    async def user(self, user_id: str) -> sa.Row[Any] | None:
        query = sa.select(app_user).where(app_user.c.tenant_id == self.tenant_id, app_user.c.id == user_id)
        return (await self.connection.execute(query)).first()

    async def add_code(self, code_hash: bytes, user_id: str, expires_ms: int) -> None:
        await self.connection.execute(
            sa.insert(enrolment).values(tenant_id=self.tenant_id, code_hash=code_hash, user_id=user_id, expires_ms=expires_ms)
        )

    async def devices(self) -> Sequence[Any]:
        """Every device with its user's name and role and how far it is behind the clock, in commits."""
        query = (
            sa.select(
                device.c.id,
                device.c.no,
                device.c.name,
                device.c.user_id,
                device.c.status,
                device.c.epoch,
                device.c.last_n,
                device.c.seen_ms,
                device.c.cursor_seq,
                app_user.c.name.label("user_name"),
                app_user.c.role,
                clock.c.seq.label("clock_seq"),
            )
            .join(app_user, sa.and_(app_user.c.tenant_id == device.c.tenant_id, app_user.c.id == device.c.user_id))
            .join(clock, clock.c.tenant_id == device.c.tenant_id)
            .where(device.c.tenant_id == self.tenant_id)
            .order_by(device.c.no)
        )
        return (await self.connection.execute(query)).all()

    async def set_device_status(self, device_id: str, status: str) -> bool:
        done = await self.connection.execute(
            sa.update(device).where(device.c.tenant_id == self.tenant_id, device.c.id == device_id).values(status=status)
        )
        return bool(done.rowcount)

    async def device_end(self, device_no: int) -> tuple[int, int]:
        """(epoch, number of the last transaction) of a device's log."""
        query = sa.select(device.c.epoch, device.c.last_n).where(device.c.tenant_id == self.tenant_id, device.c.no == device_no)
        row = (await self.connection.execute(query)).one()
        return row.epoch, row.last_n

    async def log(self, device_no: int) -> Sequence[sa.Row[Any]]:
        """A device's pushes, in order."""
        query = sa.select(device_log).where(device_log.c.tenant_id == self.tenant_id, device_log.c.device_no == device_no)
        return (await self.connection.execute(query.order_by(device_log.c.epoch, device_log.c.last_n))).all()

    async def exchanges(self, device_no: int, limit: int = 20) -> Sequence[sa.Row[Any]]:
        """A device's last exchanges, the newest first."""
        query = sa.select(exchange_log).where(exchange_log.c.tenant_id == self.tenant_id, exchange_log.c.device_no == device_no)
        return (await self.connection.execute(query.order_by(exchange_log.c.at_ms.desc()).limit(limit))).all()

    async def device_row(self, device_id: str) -> sa.Row[Any] | None:
        query = sa.select(device).where(device.c.tenant_id == self.tenant_id, device.c.id == device_id)
        return (await self.connection.execute(query)).first()

    async def raw_record(self, entity: str, record_id: str) -> sa.Row[Any] | None:
        """A record's row with its versions, deleted or not."""
        query = sa.select(record).where(record.c.tenant_id == self.tenant_id, record.c.entity == entity, record.c.id == record_id)
        return (await self.connection.execute(query)).first()

    async def logged(self, seqs: Sequence[int]) -> Sequence[sa.Row[Any]]:
        """The pushes of these commits."""
        query = sa.select(device_log).where(device_log.c.tenant_id == self.tenant_id, device_log.c.seq.in_(seqs))
        return (await self.connection.execute(query.order_by(device_log.c.seq, device_log.c.device_no))).all()

    async def conflicts_of(self, entity: str, record_id: str) -> Sequence[sa.Row[Any]]:
        table = projections["conflict"].c
        return await self.rows("conflict", [table.subject_entity == entity, table.subject == record_id])

    async def paths(self, user_id: str, scope: str) -> Sequence[Any]:
        """Every way by which a user reaches a scope now or once did: the links on it, with when each was granted and revoked."""
        query = sa.text(
            f"""
            with p as (
                select cast(:me as text) collate "C" as name, 0::bigint as granted, {FOREVER}::bigint as revoked
                union all
                select target, granted, revoked from link
                where tenant_id = :tenant and source = :me and kind = {LinkKind.ACTS_AS:d}
            ), h as (
                select p.name as principal, l.target, l.reason,
                    greatest(p.granted, l.granted) as granted, least(p.revoked, l.revoked) as revoked
                from p join link l on l.tenant_id = :tenant and l.source = p.name and l.kind = {LinkKind.HOLDS:d}
            )
            select principal, cast(null as text) as through, reason, granted, revoked from h where target = :scope
            union all
            select h.principal, h.target, h.reason || ', ' || l.reason,
                greatest(h.granted, l.granted), least(h.revoked, l.revoked)
            from h join link l
                on l.tenant_id = :tenant and l.source = h.target and l.kind = {LinkKind.NEEDS:d} and l.target = :scope
            order by revoked desc, granted
            """
        )
        rows = await self.connection.execute(query, {"me": user(user_id), "tenant": self.tenant_id, "scope": scope})
        return rows.all()

    async def parked(self) -> Sequence[sa.Row[Any]]:
        query = sa.select(parked, device.c.name.label("device_name")).join(
            device, sa.and_(device.c.tenant_id == parked.c.tenant_id, device.c.no == parked.c.device_no)
        )
        query = query.where(parked.c.tenant_id == self.tenant_id, parked.c.state == "waiting").order_by(parked.c.received_ms)
        return (await self.connection.execute(query)).all()

    async def parked_of(self, device_no: int, epoch: int) -> Sequence[sa.Row[Any]]:
        """What waits of one device, in the order in which it was done, with the role of its user."""
        query = (
            sa.select(parked, app_user.c.role)
            .join(app_user, sa.and_(app_user.c.tenant_id == parked.c.tenant_id, app_user.c.id == parked.c.user_id))
            .where(parked.c.tenant_id == self.tenant_id, parked.c.device_no == device_no, parked.c.epoch == epoch)
            .where(parked.c.state == "waiting")
            .order_by(parked.c.n)
        )
        return (await self.connection.execute(query)).all()

    async def set_parked(self, device_no: int, epoch: int, numbers: Sequence[int], state: str) -> None:
        await self.connection.execute(
            sa.update(parked)
            .where(parked.c.tenant_id == self.tenant_id, parked.c.device_no == device_no, parked.c.epoch == epoch)
            .where(parked.c.n.in_(numbers))
            .values(state=state)
        )

    async def unseen(self) -> Sequence[Any]:
        """Planned visits that a device of one who makes them has not seen as they stand now; of a crew a row for each."""
        visit, person = projections["appointment"].c, projections["technician"].c
        going = (
            sa.func.unnest(sa.func.array_append(visit.mates, visit.technician))
            .table_valued("member", name="going")
            .render_derived()
            .lateral()
        )
        query = (
            sa.select(
                visit.id,
                person.id.label("technician"),
                visit.status,
                visit.planned_start,
                record.c.seq,
                device.c.name,
                device.c.seen_ms,
            )
            .join(record, sa.and_(record.c.tenant_id == visit.tenant_id, record.c.entity == "appointment", record.c.id == visit.id))
            .join(going, sa.true())
            .join(projections["technician"], sa.and_(person.tenant_id == visit.tenant_id, person.id == going.c.member))
            .join(device, sa.and_(device.c.tenant_id == visit.tenant_id, device.c.user_id == person.user))
            .where(visit.tenant_id == self.tenant_id, device.c.status == "active", device.c.cursor_seq < record.c.seq)
            .order_by(visit.planned_start, visit.id)
        )
        return (await self.connection.execute(query)).all()

    async def rules_due(self) -> int:
        """How many changed records rules have not finished with; those that they are at count as well."""
        query = sa.select(sa.func.count()).select_from(rule_event).where(rule_event.c.tenant_id == self.tenant_id)
        due: int = (await self.connection.execute(query)).scalar_one()
        return due

    async def take_events(self, limit: int) -> list[tuple[str, str]]:
        """Take (entity, id) of records that changed since rules last looked; they come back if this transaction does not commit."""
        due = (
            sa.select(rule_event.c.seq, rule_event.c.entity, rule_event.c.id)
            .where(rule_event.c.tenant_id == self.tenant_id)
            .order_by(rule_event.c.seq)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        query = (
            sa.delete(rule_event)
            .where(rule_event.c.tenant_id == self.tenant_id, rule_event.c.seq == due.c.seq)
            .where(rule_event.c.entity == due.c.entity, rule_event.c.id == due.c.id)
            .returning(rule_event.c.entity, rule_event.c.id)
        )
        return sorted({(row.entity, row.id) for row in await self.connection.execute(query)})

    async def begin_incarnation(self, incarnation: str) -> None:
        """After a restore from a backup: no cursor made before is believed, and devices send again what the backup lost."""
        await self.connection.execute(sa.update(clock).where(clock.c.tenant_id == self.tenant_id).values(incarnation=incarnation))

    async def prune(self, before_ms: int) -> int:
        """Forget tombstones and revoked links of commits received before a time; returns the new horizon.

        Devices whose cursor lies before the horizon are brought up to date by digests instead.
        """
        newest = sa.select(sa.func.coalesce(sa.func.max(device_log.c.seq), 0)).where(
            device_log.c.tenant_id == self.tenant_id, device_log.c.received_ms < before_ms
        )
        horizon: int = (await self.connection.execute(newest)).scalar_one()
        mine = {"tenant_id": self.tenant_id}
        await self.connection.execute(sa.update(clock).filter_by(**mine).values(horizon=sa.func.greatest(clock.c.horizon, horizon)))
        await self.connection.execute(sa.delete(record).filter_by(**mine).where(record.c.deleted, record.c.seq <= horizon))
        await self.connection.execute(sa.delete(link).filter_by(**mine).where(link.c.revoked <= horizon))
        await self.connection.execute(sa.delete(exchange_log).filter_by(**mine).where(exchange_log.c.at_ms < before_ms))
        return horizon

    async def rebuild(self, entity: str) -> None:
        """Make the projections of an entity anew from its records."""
        for statement in statements.rebuild(entity):
            await self.connection.exec_driver_sql(statement, (self.tenant_id,))
