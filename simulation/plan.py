"""What a seed decides before anything happens: how many take part, how much they do, which faults there are and how often."""

import enum
from collections.abc import Iterator
from random import Random
from typing import Final

import msgspec


class Fault(enum.StrEnum):
    """Everything that goes wrong, by its name in the report."""

    REQUEST_LOST = "request_lost"
    REQUEST_LATE = "request_arrives_after_newer_ones"
    REQUEST_DOUBLED = "request_doubled"
    REQUEST_TWICE_AT_ONCE = "request_twice_at_once"
    REPLY_LOST = "reply_lost_after_the_commit"
    REPLY_CUT = "reply_cut_short"
    OUT_OF_REACH = "device_out_of_reach"
    KILLED_EDITING = "device_killed_in_an_edit"
    KILLED_SENDING = "device_killed_while_sending"
    KILLED_APPLYING = "device_killed_while_applying"
    CLOCK_JUMPS = "device_clock_jumps"
    CLOCK_WRONG = "device_clock_wrong_or_drifting"
    SERVER_KILLED = "server_killed"
    DATABASE_CUT_BEFORE = "database_cut_before_a_statement"
    DATABASE_CUT_AFTER = "database_cut_after_a_statement"
    SERVER_RESTORED = "server_restored_from_a_backup"
    HISTORY_PRUNED = "tombstones_forgotten_behind_a_device"


LEAST_TRANSACTIONS: Final = 12
ALL_FAULTS: Final = frozenset(Fault)


class Plan(msgspec.Struct, frozen=True):
    """The shape of one run. `rate` scales how often faults strike; the bounds are small, so that pages and batches are many. A slow
    database (`statement_ms`) lets more pushes share a commit.
    """

    seed: int
    technicians: int
    reps: int
    twins: int
    consoles: int
    transactions: int
    page_records: int
    batch_transactions: int
    statement_ms: int
    beat_minutes: int
    restores: bool
    rate: float
    faults: frozenset[Fault]


def plan_of(seed: int) -> Plan:
    random = Random(f"plan {seed}")
    return Plan(
        seed=seed,
        technicians=random.randint(2, 4),
        reps=random.randint(1, 2),
        twins=random.randint(0, 2),
        consoles=random.randint(1, 3),
        transactions=360,
        page_records=random.choice((3, 8, 25, 10_000)),
        batch_transactions=random.choice((3, 10, 50, 200)),
        beat_minutes=random.choice((1, 5, 30)),
        statement_ms=random.choice((4, 60, 500)),
        restores=random.random() < 0.3,
        rate=random.choice((0.3, 1.0, 1.0, 2.0)),
        faults=ALL_FAULTS,
    )


def smaller_than(plan: Plan) -> Iterator[Plan]:
    """Plans with one thing less: work, people, a kind of fault."""
    replace = msgspec.structs.replace
    for share in (0.5, 0.75, 0.9):
        if (fewer := int(plan.transactions * share)) >= LEAST_TRANSACTIONS:
            yield replace(plan, transactions=fewer)
    if plan.twins:
        yield replace(plan, twins=plan.twins - 1)
    if plan.reps > 1:
        yield replace(plan, reps=plan.reps - 1)
    if plan.technicians > max(1, plan.twins):
        yield replace(plan, technicians=plan.technicians - 1)
    if plan.consoles > 1:
        yield replace(plan, consoles=plan.consoles - 1)
    for fault in Fault:
        if fault in plan.faults:
            yield replace(plan, faults=plan.faults - {fault})
