"""Slack induction by string removals (Christiaens and Vanden Berghe, 2020) with absences, and swaps of routes' ends, annealed
over a set number of iterations."""

from __future__ import annotations

import numpy as np

from dispatch.kernel.chance import draw
from dispatch.kernel.jit import compiled, entry, merged
from dispatch.kernel.recreate import recall, recreate
from dispatch.kernel.route import relabel
from dispatch.kernel.ruin import has_long_routes, ruin
from dispatch.kernel.shape import (
    ABSENCE,
    ABSENT,
    ABSENT_AT,
    ABSENTEE,
    BEST_LENGTH,
    CHOICE,
    COST,
    DIRTY,
    DIRTY_AT,
    DIRTY_WAY,
    EAGER,
    FULL,
    HEIR,
    ITERATIONS,
    JOB_COUNT,
    JOBS,
    LENGTH,
    ROUTES,
    TASK,
    TOUCHED,
    TOUCHED_WAY,
    VERSION,
    VERSIONS,
    WAY_OF,
    WORK,
    Data,
    State,
)
from dispatch.kernel.tails import swap_tails
from dispatch.kernel.undo import forget, same, take_back

SWAPS, SWAPS_LONG = 0.3, 0.6  # share of iterations that swap the ends of two ways; of long ones


@compiled
def change_of_cost(d: Data, s: State) -> float:
    """What the iteration changed: routes and absences."""
    total = 0.0
    for k in range(s.cell[TOUCHED]):
        total += float(s.sums[0, s.mark[TOUCHED_WAY, k], COST] - s.sums[1, k, COST])
    for k in range(s.cell[WORK]):
        j = s.job[TASK, k]
        was_absent = s.job[ABSENT_AT, j] >= 0
        if was_absent and s.job[WAY_OF, j] >= 0:
            total -= float(d.jobs[j, ABSENCE])
        elif not was_absent and s.job[WAY_OF, j] < 0:
            total += float(d.jobs[j, ABSENCE])
    return total


@compiled
def settle_absences(s: State) -> None:
    """Brings the list of absent jobs up to date with this iteration's work."""
    for k in range(s.cell[WORK]):
        j = s.job[TASK, k]
        at = s.job[ABSENT_AT, j]
        if s.job[WAY_OF, j] < 0 and at < 0:
            s.job[ABSENT_AT, j] = s.cell[ABSENT]
            s.job[ABSENTEE, s.cell[ABSENT]] = j
            s.cell[ABSENT] += 1
        elif s.job[WAY_OF, j] >= 0 and at >= 0:
            last = s.job[ABSENTEE, s.cell[ABSENT] - 1]
            s.job[ABSENTEE, at], s.job[ABSENT_AT, last] = last, at
            s.job[ABSENT_AT, j] = -1
            s.cell[ABSENT] -= 1


@merged
def mark_changed(s: State) -> None:
    """Notes which ways differ from the best plan, and that what is remembered of them is out of date."""
    for k in range(s.cell[TOUCHED]):
        r = s.mark[TOUCHED_WAY, k]
        if same(s, r, k):
            continue
        s.cell[VERSIONS] += 1
        s.mark[VERSION, r] = s.cell[VERSIONS]
        s.cell[ROUTES] += int(s.sums[0, r, JOBS] > 0) - int(s.sums[1, k, JOBS] > 0)
        if s.mark[DIRTY_AT, r] < 0:
            s.mark[DIRTY_AT, r] = s.cell[DIRTY]
            s.mark[DIRTY_WAY, s.cell[DIRTY]] = r
            s.cell[DIRTY] += 1


@merged
def save_best(s: State) -> None:
    """The present plan is the best: copies the ways that differ."""
    n = s.cell[JOB_COUNT]
    for k in range(s.cell[DIRTY]):
        r = s.mark[DIRTY_WAY, k]
        s.mark[DIRTY_AT, r] = -1
        length = s.sums[0, r, LENGTH]
        s.mark[BEST_LENGTH, r] = length
        for g in range(length + 3):
            s.gap[2, r, g] = s.gap[0, r, g]
        for p in range(length):
            item = s.seq[0, r, p]
            s.seq[2, r, p] = item
            s.kept[1, r, p] = s.job[CHOICE, item] if item < n else -1
    s.cell[DIRTY] = 0
    s.cost[1] = s.cost[0]


@entry
def anneal(d: Data, s: State, iterations: int, temperature: float, cooling: float, filling: int) -> float:
    """Runs this many iterations from this temperature, multiplied by `cooling` after each; the temperature reached.

    With `filling` one iteration places all absent jobs greedily, where that pays: the first plan.
    """
    for _ in range(iterations):
        if filling:
            for k in range(s.cell[ABSENT]):
                s.job[TASK, k] = s.job[ABSENTEE, k]
            s.cell[WORK] = s.cell[ABSENT]
            s.cost[EAGER] = 1.0
            sound, limit = True, np.inf
        else:
            s.cell[ITERATIONS] += 1
            limit = -temperature * np.log(1.0 - draw(s))
            if draw(s) < (SWAPS_LONG if has_long_routes(d, s) else SWAPS):
                sound = swap_tails(d, s, limit)
            else:
                sound = ruin(d, s)
                recall(d, s)
        if sound:
            recreate(d, s)
            change = change_of_cost(d, s)
        if sound and change < limit:
            s.cost[0] += change
            settle_absences(s)
            mark_changed(s)
            if s.cost[0] < s.cost[1] - (0.0 if filling else 0.5):
                save_best(s)
        else:
            take_back(s)
        forget(s)
        temperature *= cooling
        if s.cell[FULL]:
            break
    return temperature


@entry
def begin(d: Data, s: State) -> None:
    """Labels every way, lists the absent, sets the costs, and takes the present plan as the best."""
    s.cell[ABSENT] = s.cell[DIRTY] = s.cell[TOUCHED] = s.cell[WORK] = 0
    s.cell[ROUTES], s.cell[HEIR] = 0, -1
    total = 0.0
    for r in range(s.sums.shape[1]):
        relabel(d, s, r)
        s.cell[VERSIONS] += 1
        s.mark[VERSION, r] = s.cell[VERSIONS]
        s.cell[ROUTES] += s.sums[0, r, JOBS] > 0
        total += float(s.sums[0, r, COST])
        s.mark[DIRTY_WAY, r], s.mark[DIRTY_AT, r] = r, r
    s.cell[DIRTY] = s.sums.shape[1]
    for j in range(d.jobs.shape[0]):
        s.job[ABSENT_AT, j] = -1
        if s.job[WAY_OF, j] < 0:
            s.job[ABSENT_AT, j] = s.cell[ABSENT]
            s.job[ABSENTEE, s.cell[ABSENT]] = j
            s.cell[ABSENT] += 1
            total += float(d.jobs[j, ABSENCE])
    s.cost[0] = s.cost[1] = total
    save_best(s)
