"""Setting up companies and their people: what an operator or an administrator does before the first device."""

from collections.abc import Sequence

from server.author import create, write
from server.context import Context
from server.devices import CODE_VALID_MS, code, digest
from sync.ids import RANDOM_BYTES


async def create_tenant(context: Context, name: str) -> int:
    """A new, empty company. Raises sqlalchemy.exc.IntegrityError if the name is taken."""
    incarnation = context.random(6).hex()
    return await context.office.create_tenant(name, now_ms=context.now_ms(), incarnation=incarnation)


async def create_user(context: Context, tenant_id: int, name: str, role: str, territories: Sequence[str] = ()) -> str:
    """A new user; returns the id."""
    user_id = context.new_id()
    async with context.office.of(tenant_id) as tenant:
        await tenant.add_user(user_id, name, role, territories)
    profile = create("profile", user_id, name=name, role=role, territories=sorted(territories))
    await write(context, tenant_id, "user added", [[profile]])
    return user_id


async def create_code(context: Context, tenant_id: int, user_id: str) -> str:
    """A one-time code with which a device of this user enrols; valid for a week."""
    fresh = code(tenant_id, context.random(RANDOM_BYTES))
    async with context.office.of(tenant_id) as tenant:
        await tenant.add_code(digest(fresh), user_id, context.now_ms() + CODE_VALID_MS)
    return fresh
