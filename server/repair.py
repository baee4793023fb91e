"""Parked work: what a rule refused is kept whole until somebody in the office applies it, mended or as it is, or discards it.

A parked transaction takes along those that depend on it: later parked ones of the same device that touch what it would have made.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from server.author import write_for
from server.context import Context
from server.problems import ProblemError
from sync.codec import decode_transaction
from sync.merge import Refused
from sync.policies import Role
from sync.protocol import Change, Outcome, OutcomeKind


class Repair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to do with parked work: `apply` it, with `changes` in place of the first transaction's if given, or `discard` it."""

    apply: bool
    changes: tuple[Change, ...] | None = None


class Repaired(msgspec.Struct, frozen=True):
    """The numbers of the transactions that were handled as one, and what became of them (empty if discarded)."""

    handled: tuple[int, ...]
    outcomes: tuple[Outcome, ...]


async def repair(context: Context, tenant_id: int, device_no: int, epoch: int, n: int, asked: Repair) -> Repaired:
    """Apply or discard a parked transaction with its dependants. What is refused again stays parked."""
    async with context.office.of(tenant_id) as tenant:
        waiting = await tenant.parked_of(device_no, epoch)
    rows = dependants(waiting, n)
    if not rows:
        raise ProblemError(404, "No such work is parked", f"device {device_no}, epoch {epoch}, transaction {n}", rule="not_found")
    numbers = tuple(row.n for row in rows)
    outcomes: tuple[Outcome, ...] = ()
    if asked.apply:
        outcomes = await _apply(context, tenant_id, rows, asked.changes)
    done = [number for number, outcome in zip(numbers, outcomes, strict=False) if outcome.kind is not OutcomeKind.PARKED]
    async with context.office.of(tenant_id) as tenant:
        await tenant.set_parked(device_no, epoch, done if asked.apply else numbers, "applied" if asked.apply else "discarded")
    return Repaired(numbers, outcomes)


def dependants(waiting: Sequence[Any], n: int) -> list[Any]:
    """The parked row `n` and the later ones that wait for the same: they touch a record which it, or one already taken, would have
    created, or miss the same deleted record.
    """
    taken: list[Any] = []
    made: set[tuple[str, str]] = set()
    missed: set[str] = set()
    for row in waiting:
        changes = _changes(row.payload)
        touches = {(change.entity, change.id) for change in changes}
        names = {value for change in changes if not isinstance(change.set, msgspec.UnsetType) for value in _strings(change.set)}
        misses = {reason["detail"] for reason in row.reasons if reason["rule"] == "deleted"}
        if row.n == n or (taken and (touches & made or names & {record_id for _, record_id in made} or misses & missed)):
            taken.append(row)
            made |= {(change.entity, change.id) for change in changes if change.create}
            missed |= misses
    return taken


def _changes(payload: bytes) -> tuple[Change, ...]:
    try:
        return decode_transaction(payload).changes
    except Refused:
        return ()


def _strings(raw: msgspec.Raw) -> list[str]:
    return [value for value in msgspec.json.decode(raw, type=dict[str, Any]).values() if isinstance(value, str)]


async def _apply(context: Context, tenant_id: int, rows: Sequence[Any], mended: tuple[Change, ...] | None) -> tuple[Outcome, ...]:
    """Commit them in order on behalf of the user who did them, past the walls that a field author meets."""
    work = [
        (f"repaired {row.n}", mended if mended is not None and at == 0 else _changes(row.payload)) for at, row in enumerate(rows)
    ]
    return (await write_for(context, tenant_id, rows[0].user_id, Role(rows[0].role), work)).outcomes
