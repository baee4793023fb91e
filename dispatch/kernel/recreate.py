"""Putting jobs into a plan: what was taken out and some that were absent, in an order drawn by lot, each where it is cheapest."""

from __future__ import annotations

import numpy as np

from dispatch.kernel.chance import draw
from dispatch.kernel.change import apply_offer, try_route
from dispatch.kernel.jit import compiled, inlined, merged
from dispatch.kernel.shape import (
    ABSENCE,
    ABSENT,
    ABSENT_AT,
    ABSENTEE,
    ALLOWED,
    BEGUN,
    BIG,
    BLINK,
    EAGER,
    EMPTY_AT,
    GAP,
    GAPS,
    HEIR,
    JOBS,
    KEYS,
    LENGTH,
    LISTED,
    MEMO_KEY,
    MEMO_PRICE,
    MOST,
    OFFER,
    OPTION,
    PRICE,
    RANK,
    ROW,
    SEED,
    SEEN,
    TASK,
    TASK_KEY,
    TOKEN,
    TOUCHED_AT,
    VERSION,
    WAY,
    WAY_OF,
    WORK,
    Data,
    State,
)
from dispatch.kernel.undo import touch

BLINKS = 0.01  # share of ways not looked at
RECALLED = 24  # absent jobs tried again in an iteration,
ANYWHERE = 3  # so many of them wherever they are
EAGERNESS = 0.5  # share of iterations that place jobs beyond the price of their absence,
EAGER_MOST = 8.0  # up to so many times
KEEN = 0.3  # who is to have another's day is offered this share of it at least
ALIKE = 8  # of a larger kind of way, only one empty way is looked at,
PROBES = 16  # and looked for in so many


@compiled
def recall(d: Data, s: State) -> None:
    """Adds jobs that have been absent before to this iteration's work: near what was taken out, and a few urgent ones anywhere.

    With absent jobs about, half the iterations are eager: they may place jobs at a loss, which pays when others go along.
    """
    s.cost[EAGER] = 1.0
    if s.cell[ABSENT] > 0 and draw(s) < EAGERNESS:
        s.cost[EAGER] += (EAGER_MOST - 1.0) * draw(s)
    count = s.cell[ABSENT]
    if count <= RECALLED:
        for k in range(count):
            s.job[TASK, s.cell[WORK]] = s.job[ABSENTEE, k]
            s.cell[WORK] += 1
        return
    first = s.cell[WORK]
    for k in range(-1, d.near.shape[1]):
        j = s.cell[SEED] if k < 0 else d.near[s.cell[SEED], k]
        if j < 0 or s.cell[WORK] - first >= RECALLED - ANYWHERE:
            break
        if s.job[ABSENT_AT, j] >= 0:
            s.job[TASK, s.cell[WORK]] = j
            s.cell[WORK] += 1
    for _ in range(ANYWHERE):
        j = s.job[ABSENTEE, int(draw(s) * count)]
        other = s.job[ABSENTEE, int(draw(s) * count)]
        if d.jobs[other, RANK] < d.jobs[j, RANK]:
            j = other
        fresh = True
        for k in range(first, s.cell[WORK]):
            fresh = fresh and s.job[TASK, k] != j
        if fresh:
            s.job[TASK, s.cell[WORK]] = j
            s.cell[WORK] += 1


@compiled
def order_work(d: Data, s: State) -> None:
    """Sorts the jobs to place: at random, by work, by distance, by window; mostly class by class."""
    count = s.cell[WORK]
    u = draw(s)
    by_class = draw(s) < 0.9
    for k in range(count):
        j = s.job[TASK, k]
        if u < 0.30:
            key = int(draw(s) * (1 << 30))
        elif u < 0.45:
            key = -d.jobs[j, KEYS + 0]
        elif u < 0.60:
            key = -d.jobs[j, KEYS + 1]
        elif u < 0.65:
            key = d.jobs[j, KEYS + 1]
        elif u < 0.80:
            key = d.jobs[j, KEYS + 2]
        elif u < 0.90:
            key = d.jobs[j, KEYS + 3]
        else:
            key = -d.jobs[j, KEYS + 4]
        s.job[TASK_KEY, k] = key + (d.jobs[j, RANK] * (1 << 44) if by_class else 0)
    for k in range(1, count):
        j, key, i = s.job[TASK, k], s.job[TASK_KEY, k], k - 1
        while i >= 0 and s.job[TASK_KEY, i] > key:
            s.job[TASK, i + 1], s.job[TASK_KEY, i + 1] = s.job[TASK, i], s.job[TASK_KEY, i]
            i -= 1
        s.job[TASK, i + 1], s.job[TASK_KEY, i + 1] = j, key


@inlined
def list_way(d: Data, s: State, r: int, j: int, count: int) -> int:
    """Adds way r to those to look at for job j, if it may serve it; how many there are now."""
    s.mark[SEEN, r] = s.cell[TOKEN]
    if not d.ok[d.ways[r, ROW], j] & ALLOWED or s.sums[0, r, JOBS] >= d.ways[r, MOST]:
        return count
    s.mark[LISTED, count] = r
    return count + 1


@merged
def list_ways(d: Data, s: State, j: int) -> int:
    """Lists the ways to look at for job j: its neighbours' ways, and of the kinds near those begun and empty, or
    the one that is to have its day; how many."""
    s.cell[TOKEN] += 1
    if s.cell[HEIR] >= 0:
        return list_way(d, s, s.cell[HEIR], j, 0)
    count = 0
    for k in range(d.near.shape[1]):
        i = d.near[j, k]
        if i < 0:
            break
        r = s.job[WAY_OF, i]
        if r >= 0 and s.mark[SEEN, r] != s.cell[TOKEN]:
            count = list_way(d, s, r, j, count)
    for k in range(d.kinds_near.shape[1]):
        kind = d.kinds_near[j, k]
        if kind < 0:
            break
        first, last = d.kind_at[kind], d.kind_at[kind + 1]
        many = last - first > ALIKE
        opened = False  # one empty way of a kind stands for all
        at = s.mark[EMPTY_AT, kind] if many else 0
        for _ in range(min(last - first, PROBES)):
            r = d.kind_ways[first + at]
            empty = s.sums[0, r, JOBS] == 0
            if s.mark[SEEN, r] != s.cell[TOKEN] and (d.ways[r, BEGUN] or (not opened if empty else not many)):
                count = list_way(d, s, r, j, count)
            opened = opened or empty
            if many and opened:
                break
            at = at + 1 if first + at + 1 < last else 0
        if many:
            s.mark[EMPTY_AT, kind] = at
    return count


@merged
def find_place(d: Data, s: State, j: int, limit: int) -> None:
    """The best insertion of job j below a price on the ways listed, each looked at once unless the search blinks.

    What was found on a way that has not changed since is remembered: most of what an iteration asks was asked before. When that
    is the best, its arrangement is made out anew in a last step.
    """
    count = list_ways(d, s, j)
    s.cell[OFFER + PRICE], s.cell[OFFER + WAY], s.cell[OFFER + OPTION] = limit, -1, 0
    for k in range(count + 1):
        last = k == count
        if last:
            if s.cell[OFFER + OPTION] >= 0:
                break
            s.cell[OFFER + PRICE] += 1
            r, low, high = s.cell[OFFER + WAY], s.cell[OFFER + GAP], s.cell[OFFER + GAP]
        else:
            r = s.mark[LISTED, k]
            low, high = 0, s.sums[0, r, LENGTH]
            s.cell[BLINK] -= 1
            if s.cell[BLINK] <= 0:
                s.cell[BLINK] = 1 + int(np.log(1.0 - draw(s)) / np.log(1.0 - BLINKS))
                continue
        at = r % s.memo.shape[1]
        fixed = not last and s.mark[TOUCHED_AT, r] < 0
        gap = s.memo[j, at, MEMO_KEY] - s.mark[VERSION, r] * GAPS
        if fixed and 0 <= gap < GAPS:
            price = s.memo[j, at, MEMO_PRICE]
            if price >= s.cell[OFFER + PRICE]:
                continue
            if gap > 0:
                s.cell[OFFER + PRICE], s.cell[OFFER + WAY], s.cell[OFFER + GAP], s.cell[OFFER + OPTION] = price, r, gap - 1, -1
                continue
        try_route(d, s, r, j, low, high)
        if fixed:
            found = s.cell[OFFER + WAY] == r
            s.memo[j, at, MEMO_KEY] = s.mark[VERSION, r] * GAPS + (s.cell[OFFER + GAP] + 1 if found else 0)
            s.memo[j, at, MEMO_PRICE] = s.cell[OFFER + PRICE]


@compiled
def recreate(d: Data, s: State) -> None:
    """Places the work in order, each job where it is cheapest, if that is cheaper than its absence.

    Where a way was named to have what another had, it alone is offered most of the work in a first pass.
    """
    order_work(d, s)
    count = s.cell[WORK]
    keen = KEEN + (1.0 - KEEN) * draw(s) if s.cell[HEIR] >= 0 else 0.0
    for k in range(-count if s.cell[HEIR] >= 0 else 0, count):
        if k == 0:
            s.cell[HEIR] = -1
        j = s.job[TASK, k + count if k < 0 else k]
        if s.job[WAY_OF, j] >= 0 or (k < 0 and draw(s) >= keen):
            continue
        find_place(d, s, j, int(min(float(BIG), s.cost[EAGER] * d.jobs[j, ABSENCE])))
        if s.cell[OFFER + WAY] >= 0:
            touch(s, s.cell[OFFER + WAY])
            apply_offer(d, s, j)
