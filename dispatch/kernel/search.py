"""Slack induction by string removals (Christiaens and Vanden Berghe, 2020) with absences, annealed over a set number of
iterations."""

from __future__ import annotations

import numpy as np

from dispatch.kernel.change import apply_offer, settle, take_out, try_gap
from dispatch.kernel.jit import compiled, entry, inlined, merged
from dispatch.kernel.route import relabel
from dispatch.kernel.shape import (
    ABSENCE,
    ABSENT,
    ABSENT_AT,
    ABSENTEE,
    BEGUN,
    BEST_LENGTH,
    BIG,
    BLINK,
    BLINKS,
    CHOICE,
    COST,
    DIRTY,
    DIRTY_AT,
    DIRTY_WAY,
    FULL,
    ITERATIONS,
    JOB_COUNT,
    JOBS,
    KEYS,
    LENGTH,
    LONGEST,
    OFFER,
    POS,
    PRICE,
    RANK,
    REMOVED,
    ROW,
    TASK,
    TASK_KEY,
    TOKEN,
    TOUCHED,
    TOUCHED_AT,
    TOUCHED_WAY,
    WAY,
    WAY_OF,
    WORK,
    Data,
    State,
)

SPLIT = 0.5  # share of strings that leave a few jobs inside standing
RECALLED = 12  # absent jobs tried again in an iteration
ALIKE = 8  # of a larger kind of way, only one empty way is looked at


@inlined
def draw(s: State) -> float:
    """A uniform number in [0, 1) (xorshift64*)."""
    x = s.random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    s.random[0] = x
    return float((x * np.uint64(2685821657736338717)) >> np.uint64(11)) / 9007199254740992.0


@compiled
def touch(s: State, r: int) -> None:
    """Saves way r before its first change in this iteration."""
    if s.mark[TOUCHED_AT, r] >= 0:
        return
    k = s.cell[TOUCHED]
    s.cell[TOUCHED] = k + 1
    s.mark[TOUCHED_WAY, k], s.mark[TOUCHED_AT, r] = r, k
    length = s.sums[0, r, LENGTH]
    for c in range(s.sums.shape[2]):
        s.sums[1, k, c] = s.sums[0, r, c]
    for p in range(length + 1):
        for c in range(6):
            s.label[1, k, p, c] = s.label[0, r, p, c]
    for g in range(length + 3):
        s.gap[1, k, g] = s.gap[0, r, g]
    for p in range(length):
        item = s.seq[0, r, p]
        s.seq[1, k, p] = item
        if item < s.cell[JOB_COUNT]:
            s.kept[0, k, p] = s.job[CHOICE, item]


@compiled
def take_back(s: State) -> None:
    """Undoes everything since the iteration began."""
    n = s.cell[JOB_COUNT]
    for k in range(s.cell[TOUCHED]):
        r = s.mark[TOUCHED_WAY, k]
        for p in range(s.sums[0, r, LENGTH]):
            if s.seq[0, r, p] < n:
                s.job[WAY_OF, s.seq[0, r, p]] = -1
    for k in range(s.cell[TOUCHED]):
        r = s.mark[TOUCHED_WAY, k]
        for c in range(s.sums.shape[2]):
            s.sums[0, r, c] = s.sums[1, k, c]
        length = s.sums[0, r, LENGTH]
        for p in range(length + 1):
            for c in range(6):
                s.label[0, r, p, c] = s.label[1, k, p, c]
        for g in range(length + 3):
            s.gap[0, r, g] = s.gap[1, k, g]
        for p in range(length):
            item = s.seq[1, k, p]
            s.seq[0, r, p] = item
            if item < n:
                s.job[WAY_OF, item], s.job[POS, item], s.job[CHOICE, item] = r, p, s.kept[0, k, p]


@compiled
def take_string(s: State, r: int, j: int, size: int) -> None:
    """Takes a string of `size` jobs around job j off way r, half the time leaving a few within it standing."""
    length, n = s.sums[0, r, LENGTH], s.cell[JOB_COUNT]
    spare = 0
    if size > 1 and size < s.sums[0, r, JOBS] and draw(s) < SPLIT:
        spare = 1
        while size + spare < s.sums[0, r, JOBS] and draw(s) < 0.01:
            spare += 1
    span = min(size + spare, length)
    low = max(0, s.job[POS, j] - span + 1)
    high = min(s.job[POS, j], length - span)
    at = low + int(draw(s) * (high - low + 1))
    hole = at + 1 + int(draw(s) * max(1, size - 1)) if spare else length
    for p in range(at, min(length, at + span)):
        item = s.seq[0, r, p]
        if item < n and not hole <= p < hole + spare:
            s.job[WAY_OF, item] = -1
            s.job[TASK, s.cell[WORK]] = item
            s.cell[WORK] += 1


@compiled
def ruin(d: Data, s: State) -> bool:
    """Takes strings out of routes near a random job. False when a route left behind keeps no times."""
    n = d.jobs.shape[0]
    served, routes = 0, 0
    for r in range(s.sums.shape[1]):
        served += s.sums[0, r, JOBS]
        routes += s.sums[0, r, JOBS] > 0
    seed = int(draw(s) * n)
    if served == 0:
        return True
    longest = min(s.cost[LONGEST], served / routes)
    most = 4.0 * s.cost[REMOVED] / (1.0 + longest) - 1.0
    strings = int(draw(s) * most + 1.0)
    for k in range(-1, d.near.shape[1]):
        if s.cell[TOUCHED] >= strings:
            break
        j = seed if k < 0 else d.near[seed, k]
        r = s.job[WAY_OF, j]
        if r < 0 or s.mark[TOUCHED_AT, r] >= 0:
            continue
        touch(s, r)
        size = int(draw(s) * min(float(s.sums[0, r, JOBS]), longest) + 1.0)
        take_string(s, r, j, size)
    sound = True
    for k in range(s.cell[TOUCHED]):
        r = s.mark[TOUCHED_WAY, k]
        take_out(s, r)
        sound = settle(d, s, r) and sound
    return sound


@compiled
def recall(d: Data, s: State) -> None:
    """Adds some of the jobs that have been absent before to this iteration's work, urgent classes first choice."""
    count = s.cell[ABSENT]
    if count <= RECALLED:
        for k in range(count):
            s.job[TASK, s.cell[WORK]] = s.job[ABSENTEE, k]
            s.cell[WORK] += 1
        return
    for _ in range(RECALLED):
        j = s.job[ABSENTEE, int(draw(s) * count)]
        other = s.job[ABSENTEE, int(draw(s) * count)]
        if d.jobs[other, RANK] < d.jobs[j, RANK]:
            j = other
        fresh = True
        for k in range(s.cell[WORK]):
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


@merged
def look(d: Data, s: State, r: int, p: int, j: int) -> None:
    """Offers job j a gap once, unless the search blinks."""
    if s.stamp[r, p] == s.cell[TOKEN]:
        return
    s.stamp[r, p] = s.cell[TOKEN]
    s.cell[BLINK] -= 1
    if s.cell[BLINK] <= 0:
        s.cell[BLINK] = 1 + int(np.log(1.0 - draw(s)) / np.log(1.0 - s.cost[BLINKS]))
        return
    try_gap(d, s, r, p, j)


@merged
def find_place(d: Data, s: State, j: int) -> None:
    """The best insertion of job j beside its neighbours, at either end of ways near it, or on an empty way of each kind near it."""
    s.cell[TOKEN] += 1
    s.cell[OFFER + PRICE], s.cell[OFFER + WAY] = BIG, -1
    for k in range(d.near.shape[1]):
        i = d.near[j, k]
        r = s.job[WAY_OF, i]
        if r >= 0 and d.ok[d.ways[r, ROW], j] & 1:
            for p in range(s.job[POS, i], s.job[POS, i] + 2):
                look(d, s, r, p, j)
    for k in range(d.kinds_near.shape[1]):
        kind = d.kinds_near[j, k]
        if kind < 0:
            break
        first, last = d.kind_at[kind], d.kind_at[kind + 1]
        opened = False  # one empty way of a kind stands for all
        for w in range(first, last):
            r = d.kind_ways[w]
            empty = s.sums[0, r, JOBS] == 0
            if empty and opened and not d.ways[r, BEGUN]:
                continue
            if not empty and last - first > ALIKE:
                continue
            step = max(1, s.sums[0, r, LENGTH])
            for p in range(0, s.sums[0, r, LENGTH] + 1, step):
                look(d, s, r, p, j)
            opened = opened or empty
            if opened and last - first > ALIKE:
                break


@compiled
def recreate(d: Data, s: State) -> None:
    """Places the work in order, each job where it is cheapest, if that is cheaper than its absence."""
    order_work(d, s)
    for k in range(s.cell[WORK]):
        j = s.job[TASK, k]
        find_place(d, s, j)
        if s.cell[OFFER + WAY] >= 0 and s.cell[OFFER + PRICE] < d.jobs[j, ABSENCE]:
            touch(s, s.cell[OFFER + WAY])
            apply_offer(d, s, j)


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
def mark_dirty(s: State) -> None:
    """Notes which ways differ from the best plan."""
    for k in range(s.cell[TOUCHED]):
        r = s.mark[TOUCHED_WAY, k]
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


@compiled
def forget(s: State) -> None:
    """Clears the marks of an iteration."""
    for k in range(s.cell[TOUCHED]):
        s.mark[TOUCHED_AT, s.mark[TOUCHED_WAY, k]] = -1
    s.cell[TOUCHED] = s.cell[WORK] = 0


@entry
def anneal(d: Data, s: State, iterations: int, temperature: float, cooling: float, filling: int) -> float:
    """Runs this many iterations from this temperature, multiplied by `cooling` after each; the temperature reached.

    With `filling` one iteration places all absent jobs greedily, at any cost: the first plan.
    """
    for _ in range(iterations):
        if filling:
            for k in range(s.cell[ABSENT]):
                s.job[TASK, k] = s.job[ABSENTEE, k]
            s.cell[WORK] = s.cell[ABSENT]
            sound = True
        else:
            s.cell[ITERATIONS] += 1
            sound = ruin(d, s)
            recall(d, s)
        if sound:
            recreate(d, s)
            change = change_of_cost(d, s)
        if sound and (filling or change < -temperature * np.log(1.0 - draw(s))):
            s.cost[0] += change
            settle_absences(s)
            mark_dirty(s)
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
    total = 0.0
    for r in range(s.sums.shape[1]):
        relabel(d, s, r)
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
