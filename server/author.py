"""Writing as the server: rules, the planner, importers. Through the one door, like everybody else."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from server.commit import Push
from server.context import Context
from server.door import Committed, Moved
from server.storage.office import SERVER_DEVICE_NO, SERVER_USER
from sync.clock import tick
from sync.merge import Author
from sync.policies import Role
from sync.protocol import Change, Transaction

ATTEMPTS: Final = 20


def create(entity: str, record_id: str, **fields: Any) -> Change:
    return Change(entity, record_id, create=True, set=msgspec.Raw(msgspec.json.encode(fields)))


def update(entity: str, record_id: str, base: int, **fields: Any) -> Change:
    return Change(entity, record_id, base=base, set=msgspec.Raw(msgspec.json.encode(fields)))


class Broken(RuntimeError):
    """The server's own change breaks a rule: a fault in the server."""


async def write(context: Context, tenant_id: int, label: str, groups: Iterable[Iterable[Change]]) -> Committed:
    """Commit each group of changes as one transaction of the server.

    A group that touches a record which has moved past its base is not applied; its outcome is parked with the rule `moved`, and
    the caller looks again. Raises `Broken` if a group is refused for any other reason.
    """
    changes = [tuple(group) for group in groups]
    for _ in range(ATTEMPTS):
        async with context.office.of(tenant_id) as tenant:
            epoch, last_n = await tenant.device_end(SERVER_DEVICE_NO)
        now_ms = context.now_ms()
        stamp = tick(0, now_ms)
        raws = tuple(
            msgspec.json.encode(Transaction(n, stamp, now_ms, group, label)) for n, group in enumerate(changes, last_n + 1)
        )
        author = Author(SERVER_DEVICE_NO, SERVER_USER, Role.SERVER)
        try:
            committed = await context.door.submit(tenant_id, Push(author, epoch, last_n + 1, raws, now_ms, strict=True))
        except Moved:  # another process wrote as the server in between
            continue
        reasons = [reason for outcome in committed.outcomes for reason in outcome.reasons if reason.rule != "moved"]
        if reasons:
            raise Broken(f"{label}: {reasons}")
        return committed
    raise Broken(f"{label}: the server's log moved {ATTEMPTS} times in a row")
