"""The key of a tenant's public links."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from server.storage.office import Tenant
from server.storage.tables import link_key as table


async def link_key(tenant: Tenant) -> bytes | None:
    """None while the tenant has no public links."""
    key: bytes | None = (
        await tenant.connection.execute(sa.select(table.c.key).where(table.c.tenant_id == tenant.tenant_id))
    ).scalar_one_or_none()
    return key


async def make_link_key(tenant: Tenant) -> bytes:
    """The tenant's key, made on first use of two random UUIDs of the database, which draws them from a secure source."""
    two = sa.func.concat(sa.func.gen_random_uuid(), sa.func.gen_random_uuid())
    chance = sa.func.sha256(sa.func.convert_to(two, "UTF8"))
    await tenant.connection.execute(insert(table).values(tenant_id=tenant.tenant_id, key=chance).on_conflict_do_nothing())
    key = await link_key(tenant)
    assert key is not None, "it was there or it was made"
    return key
