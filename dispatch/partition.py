"""Set partitioning by CP-SAT: of many routes found along the way, those that together serve the jobs at least cost.

Runs in a child process only. One worker, a fixed seed and a limit in CP-SAT's own deterministic time: a run can be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from msgspec import Struct

SEED = 1


class Column(Struct, frozen=True):
    """A route that a way of this kind could drive: the jobs on it, and what it costs beyond an empty route."""

    kind: int
    jobs: tuple[int, ...]
    cost: int


class Pick(Struct, frozen=True, kw_only=True):
    """The question: columns, ways of each kind, the price of leaving out each job (None: it must be served), and the columns of
    the plan at hand, which a pick must beat."""

    columns: tuple[Column, ...]
    ways: tuple[int, ...]
    absence: tuple[int | None, ...]
    chosen: tuple[int, ...]
    effort: float


def pick(question: Pick) -> tuple[int, ...]:
    """The columns of the best plan found; those of the plan at hand when nothing beats it."""
    cp_model = import_module("ortools.sat.python.cp_model")  # here: it loads pandas, which the parent can do without
    model = cp_model.CpModel()
    take = [model.new_bool_var("") for _ in question.columns]
    by_job: list[list[Any]] = [[] for _ in question.absence]
    by_kind: list[list[Any]] = [[] for _ in question.ways]
    for column, taken in zip(question.columns, take, strict=True):
        by_kind[column.kind].append(taken)
        for job in column.jobs:
            by_job[job].append(taken)
    for count, members in zip(question.ways, by_kind, strict=True):
        if len(members) > count:
            model.add(sum(members) <= count)
    prices = [(taken, column.cost) for taken, column in zip(take, question.columns, strict=True)]
    hinted = set(question.chosen)
    served = {job for at in hinted for job in question.columns[at].jobs}
    for job, (members, price) in enumerate(zip(by_job, question.absence, strict=True)):
        if price is None:
            model.add_exactly_one(members)
            continue
        out = model.new_bool_var("")
        model.add_hint(out, job not in served)
        model.add_exactly_one([*members, out])
        prices.append((out, price))
    for at, taken in enumerate(take):
        model.add_hint(taken, at in hinted)
    model.minimize(sum(cost * taken for taken, cost in prices))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = SEED
    solver.parameters.max_deterministic_time = question.effort
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return tuple(question.chosen)
    return tuple(at for at, taken in enumerate(take) if solver.boolean_value(taken))


def bounded_prices(absence: Sequence[int], left_out: Sequence[int], worst: int) -> tuple[int | None, ...]:
    """Prices of absence for `Pick`, no larger than the levels need: what the plan at hand serves at a price as high as the
    dearest job it leaves out, or higher, must be served still; the rest keep their order, each class above all of the next.

    `worst` is more than all routes together can cost. An optional visit's price below it stays as it is.
    """
    if not left_out:
        return tuple(price if price < worst else None for price in absence)
    dearest = max(absence[job] for job in left_out)
    ladder: dict[int, int] = {}
    rung = worst
    for price in sorted({price for price in absence if worst <= price <= dearest}):
        ladder[price] = rung
        rung *= 1 + sum(1 for other in absence if other == price)
        rung = min(rung, 1 << 50)
    return tuple(price if price < worst else ladder.get(price) for price in absence)
