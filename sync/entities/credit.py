"""What the lines of the incentive ledger come to. Pure, so that a device shows what the office shows.

A line never changes. One that was accrued is expected, one that was confirmed is owed; either stands until a line that claws it
back reverses it.
"""

from collections.abc import Iterable, Mapping

import msgspec

from sync.entities.market import Incentive, IncentiveKind


class Balance(msgspec.Struct, frozen=True):
    """What is still expected, and what is owed, in cents; an accrual of a lead that was confirmed is not expected any more."""

    expected_cents: int = 0
    owed_cents: int = 0
    leads_owed: int = 0


def standing(lines: Mapping[str, Incentive]) -> dict[str, Incentive]:
    """The accruals and confirmations that no line has reversed."""
    reversed_ids = {line.reverses for line in lines.values()}
    return {
        line_id: line for line_id, line in lines.items() if line.kind is not IncentiveKind.CLAW_BACK and line_id not in reversed_ids
    }


def balance(lines: Mapping[str, Incentive]) -> Balance:
    """What one person's lines come to."""
    left = standing(lines).values()
    confirmed = {line.lead for line in left if line.kind is IncentiveKind.CONFIRM}
    return Balance(
        expected_cents=sum(line.amount_cents for line in left if line.kind is IncentiveKind.ACCRUE and line.lead not in confirmed),
        owed_cents=sum(line.amount_cents for line in left if line.kind is IncentiveKind.CONFIRM),
        leads_owed=len(confirmed),
    )


def shares(amount_cents: int, people: Iterable[str]) -> dict[str, int]:
    """An amount in equal parts; the cents that do not divide go one each to the first of them, by id."""
    ordered = sorted(set(people))
    part, over = divmod(amount_cents, len(ordered)) if ordered else (0, 0)
    return {person: part + (at < over) for at, person in enumerate(ordered)}
