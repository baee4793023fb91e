"""What is asked of the register of planning runs."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONPATH

from server.storage.office import Tenant
from server.storage.tables import plan_run

ACTIVE: Final = ("queued", "running")
_LOCK: Final = 0x706C616E
"""First half of the advisory lock under which a tenant's runs are counted and added."""


async def add(tenant: Tenant, run_id: str, request: object, now_ms: int) -> None:
    values = {"tenant_id": tenant.tenant_id, "id": run_id, "request": msgspec.to_builtins(request), "created_ms": now_ms}
    await tenant.connection.execute(sa.insert(plan_run).values(**values))


async def active(tenant: Tenant) -> int:
    """How many runs wait or are under way. Nobody adds one before this transaction ends."""
    await tenant.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, tenant.tenant_id)))
    query = sa.select(sa.func.count()).where(plan_run.c.tenant_id == tenant.tenant_id, plan_run.c.state.in_(ACTIVE))
    return int((await tenant.connection.execute(query)).scalar_one())


async def get(tenant: Tenant, run_id: str) -> sa.Row[Any] | None:
    return (await tenant.connection.execute(sa.select(plan_run).where(*_this(tenant, run_id)))).first()


async def news(tenant: Tenant, run_id: str, told: int) -> sa.Row[Any, Any, Any, Any] | None:
    """State, wish, error, and the progress behind the entries told already."""
    path = sa.func.jsonb_path_query_array(plan_run.c.progress, sa.cast(f"$[{int(told)} to last]", JSONPATH))
    query = sa.select(plan_run.c.state, plan_run.c.wish, plan_run.c.error, path.label("progress"))
    return (await tenant.connection.execute(query.where(*_this(tenant, run_id)))).first()


async def update(tenant: Tenant, run_id: str, **values: Any) -> None:
    await tenant.connection.execute(sa.update(plan_run).where(*_this(tenant, run_id)).values(**values))


async def wish(tenant: Tenant, run_id: str, what: str, now_ms: int) -> str | None:
    """Note what is wished of a run that has not ended; one that has not begun is cancelled at once. Returns its state, or None."""
    ends = plan_run.c.state == "queued"
    statement = (
        sa.update(plan_run)
        .where(*_this(tenant, run_id), plan_run.c.state.in_(ACTIVE))
        .values(
            wish=what,
            state=sa.case((ends, "cancelled"), else_=plan_run.c.state),
            finished_ms=sa.case((ends, now_ms), else_=plan_run.c.finished_ms),
        )
    )
    await tenant.connection.execute(statement)
    row = await get(tenant, run_id)
    return None if row is None else str(row.state)


async def withheld(tenant: Tenant) -> Sequence[sa.Row[Any, Any, Any]]:
    """Runs of whose plan something has not been published yet, the oldest first."""
    query = sa.select(plan_run.c.id, plan_run.c.request, plan_run.c.withheld).with_for_update(skip_locked=True)
    query = query.where(plan_run.c.tenant_id == tenant.tenant_id, plan_run.c.withheld.is_not(None))
    return (await tenant.connection.execute(query.order_by(plan_run.c.created_ms, plan_run.c.id))).all()


async def supersede(tenant: Tenant, run_id: str, start_ms: int, end_ms: int) -> None:
    """What other runs withhold of the same stretch of time is not published any more."""
    asked = plan_run.c.request
    overlaps = sa.and_(asked["start_ms"].astext.cast(sa.BigInteger) < end_ms, asked["end_ms"].astext.cast(sa.BigInteger) > start_ms)
    statement = sa.update(plan_run).where(plan_run.c.tenant_id == tenant.tenant_id, plan_run.c.id != run_id, overlaps)
    statement = statement.where(plan_run.c.withheld.is_not(None)).values(withheld=sa.null())
    await tenant.connection.execute(statement)


def _this(tenant: Tenant, run_id: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return plan_run.c.tenant_id == tenant.tenant_id, plan_run.c.id == run_id
