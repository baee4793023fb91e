"""Writing as the server: rules, the planner, importers, repairs. Through the one door, like everybody else."""

from collections.abc import Iterable, Sequence
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
SERVER: Final = Author(SERVER_DEVICE_NO, SERVER_USER, Role.SERVER)


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
    committed = await _commit(context, tenant_id, SERVER, [(label, tuple(group)) for group in groups], strict=True)
    reasons = [reason for outcome in committed.outcomes for reason in outcome.reasons if reason.rule != "moved"]
    if reasons:
        raise Broken(f"{label}: {reasons}")
    return committed


async def write_for(
    context: Context,
    tenant_id: int,
    user_id: str,
    role: Role,
    work: Sequence[tuple[str, tuple[Change, ...]]],
    *,
    strict: bool = False,
) -> Committed:
    """Commit labelled transactions on behalf of a user, past the walls that a field author meets. Refused ones are not kept.

    If `strict`, a change of a record that has moved past its base is refused with the rule `moved` instead of merged.
    """
    return await _commit(context, tenant_id, Author(SERVER_DEVICE_NO, user_id, role), work, strict=strict, trusted=True)


async def _commit(
    context: Context,
    tenant_id: int,
    author: Author,
    work: Sequence[tuple[str, tuple[Change, ...]]],
    *,
    strict: bool = False,
    trusted: bool = False,
) -> Committed:
    """Number the transactions behind the end of the server's log, again if another process has just written there.

    Within a process one writes after the other, or they would overtake each other for ever.
    """
    async with context.server_turns[tenant_id]:
        return await _commit_in_turn(context, tenant_id, author, work, strict=strict, trusted=trusted)


async def _commit_in_turn(
    context: Context, tenant_id: int, author: Author, work: Sequence[tuple[str, tuple[Change, ...]]], *, strict: bool, trusted: bool
) -> Committed:
    for _ in range(ATTEMPTS):
        async with context.office.of(tenant_id) as tenant:
            epoch, last_n = await tenant.device_end(SERVER_DEVICE_NO)
        now_ms = context.now_ms()
        stamp = tick(0, now_ms)
        raws = tuple(
            msgspec.json.encode(Transaction(n, stamp, now_ms, changes, label))
            for n, (label, changes) in enumerate(work, last_n + 1)
        )
        try:
            push = Push(author, epoch, last_n + 1, raws, now_ms, strict=strict, trusted=trusted)
            return await context.door.submit(tenant_id, push)
        except Moved:
            continue
    raise Broken(f"the server's log moved {ATTEMPTS} times in a row")
