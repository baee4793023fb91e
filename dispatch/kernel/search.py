"""Slack induction by string removals (Christiaens and Vanden Berghe, 2020) with absences, annealed over a set number of
iterations."""

from __future__ import annotations

import numpy as np

from dispatch.kernel.change import apply_offer, settle, take_out, try_route
from dispatch.kernel.jit import compiled, entry, inlined, merged
from dispatch.kernel.route import relabel
from dispatch.kernel.shape import (
    ABSENCE,
    ABSENT,
    ABSENT_AT,
    ABSENTEE,
    ALLOWED,
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
    EAGER,
    EMPTY_AT,
    FULL,
    GAP,
    GAPS,
    ITERATIONS,
    JOB_COUNT,
    JOBS,
    KEYS,
    LENGTH,
    LONGEST,
    MEMO_KEY,
    MEMO_PRICE,
    MOST,
    OFFER,
    OPTION,
    POS,
    PRICE,
    RANK,
    REMOVED,
    ROUTES,
    ROW,
    SEED,
    SEEN,
    TASK,
    TASK_KEY,
    TOKEN,
    TOUCHED,
    TOUCHED_AT,
    TOUCHED_WAY,
    VERSION,
    VERSIONS,
    WAY,
    WAY_OF,
    WORK,
    Data,
    State,
)

SPLIT = 0.5  # share of strings that leave a few jobs inside standing
CLEARED = 0.02  # with jobs absent, share of iterations that clear a way for one of them
RECALLED = 24  # absent jobs tried again in an iteration,
ANYWHERE = 3  # so many of them wherever they are
EAGERNESS = 0.5  # share of iterations that place jobs beyond the price of their absence,
EAGER_MOST = 8.0  # up to so many times
ALIKE = 8  # of a larger kind of way, only one empty way is looked at,
PROBES = 16  # and looked for in so many


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
def way_for(d: Data, s: State, j: int) -> int:
    """A way that may serve job j, at random: one that serves a neighbour, or any of a kind near; -1 when it has met none."""
    found, met = -1, 0
    if draw(s) < 0.5:
        for k in range(d.near.shape[1]):
            i = d.near[j, k]
            if i < 0:
                break
            r = s.job[WAY_OF, i]
            if r >= 0 and d.ok[d.ways[r, ROW], j] & ALLOWED:
                met += 1
                if draw(s) * met < 1.0:
                    found = r
    if found < 0:
        for k in range(d.kinds_near.shape[1]):
            kind = d.kinds_near[j, k]
            if kind < 0:
                break
            first, last = d.kind_at[kind], d.kind_at[kind + 1]
            r = d.kind_ways[first + int(draw(s) * (last - first))]
            if d.ok[d.ways[r, ROW], j] & ALLOWED:
                met += 1
                if draw(s) * met < 1.0:
                    found = r
    return found


@compiled
def clear(d: Data, s: State) -> bool:
    """Takes all jobs of lower classes off a way that may serve an urgent absent one: room that many have taken, bit by bit, no
    string of a few jobs would give back. False when there are none."""
    count = s.cell[ABSENT]
    j = s.job[ABSENTEE, int(draw(s) * count)]
    other = s.job[ABSENTEE, int(draw(s) * count)]
    if d.jobs[other, RANK] < d.jobs[j, RANK]:
        j = other
    r = way_for(d, s, j)
    if r < 0:
        return False
    n, first = s.cell[JOB_COUNT], s.cell[WORK]
    for p in range(s.sums[0, r, LENGTH]):
        item = s.seq[0, r, p]
        if item < n and d.jobs[item, RANK] > d.jobs[j, RANK]:
            s.job[TASK, s.cell[WORK]] = item
            s.cell[WORK] += 1
    if s.cell[WORK] == first:
        return False
    touch(s, r)
    for k in range(first, s.cell[WORK]):
        s.job[WAY_OF, s.job[TASK, k]] = -1
    s.cell[SEED] = j
    return True


@compiled
def ruin(d: Data, s: State) -> bool:
    """Takes strings out of routes near a random job. False when a route left behind keeps no times."""
    n = d.jobs.shape[0]
    served, routes = n - s.cell[ABSENT], s.cell[ROUTES]
    if s.cell[ABSENT] > 0 and draw(s) < CLEARED and clear(d, s):
        r = s.mark[TOUCHED_WAY, 0]
        take_out(s, r)
        return settle(d, s, r)
    seed = int(draw(s) * n)
    s.cell[SEED] = seed
    if served == 0:
        return True
    longest = min(s.cost[LONGEST], served / routes)
    most = 4.0 * s.cost[REMOVED] / (1.0 + longest) - 1.0
    strings = int(draw(s) * most + 1.0)
    for k in range(-1, d.near.shape[1]):
        if s.cell[TOUCHED] >= strings:
            break
        j = seed if k < 0 else d.near[seed, k]
        if j < 0:
            break
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
def look(d: Data, s: State, r: int, j: int) -> None:
    """Offers job j way r once, unless the search blinks.

    What was found on a way that has not changed since is remembered: most of what an iteration asks was asked before.
    """
    s.mark[SEEN, r] = s.cell[TOKEN]
    if not d.ok[d.ways[r, ROW], j] & ALLOWED or s.sums[0, r, JOBS] >= d.ways[r, MOST]:
        return
    s.cell[BLINK] -= 1
    if s.cell[BLINK] <= 0:
        s.cell[BLINK] = 1 + int(np.log(1.0 - draw(s)) / np.log(1.0 - s.cost[BLINKS]))
        return
    limit = s.cell[OFFER + PRICE]
    at = r % s.memo.shape[1]
    fixed = s.mark[TOUCHED_AT, r] < 0
    gap = s.memo[j, at, MEMO_KEY] - s.mark[VERSION, r] * GAPS
    if fixed and 0 <= gap < GAPS:
        price = s.memo[j, at, MEMO_PRICE]
        if price >= limit:
            return
        if gap > 0:
            s.cell[OFFER + PRICE], s.cell[OFFER + WAY], s.cell[OFFER + GAP], s.cell[OFFER + OPTION] = price, r, gap - 1, -1
            return
    try_route(d, s, r, j, 0, s.sums[0, r, LENGTH])
    if fixed:
        found = s.cell[OFFER + WAY] == r
        s.memo[j, at, MEMO_KEY] = s.mark[VERSION, r] * GAPS + (s.cell[OFFER + GAP] + 1 if found else 0)
        s.memo[j, at, MEMO_PRICE] = s.cell[OFFER + PRICE]


@merged
def find_place(d: Data, s: State, j: int, limit: int) -> None:
    """The best insertion of job j below a price: on its neighbours' ways, on ways near, or on an empty way of a kind near."""
    s.cell[TOKEN] += 1
    s.cell[OFFER + PRICE], s.cell[OFFER + WAY], s.cell[OFFER + OPTION] = limit, -1, 0
    for k in range(d.near.shape[1]):
        i = d.near[j, k]
        if i < 0:
            break
        r = s.job[WAY_OF, i]
        if r >= 0 and s.mark[SEEN, r] != s.cell[TOKEN]:
            look(d, s, r, j)
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
                look(d, s, r, j)
            opened = opened or empty
            if many and opened:
                break
            at = at + 1 if first + at + 1 < last else 0
        if many:
            s.mark[EMPTY_AT, kind] = at
    if s.cell[OFFER + OPTION] < 0:  # remembered: the arrangement is made out again
        s.cell[OFFER + PRICE] += 1
        try_route(d, s, s.cell[OFFER + WAY], j, s.cell[OFFER + GAP], s.cell[OFFER + GAP])


@compiled
def recreate(d: Data, s: State) -> None:
    """Places the work in order, each job where it is cheapest, if that is cheaper than its absence."""
    order_work(d, s)
    for k in range(s.cell[WORK]):
        j = s.job[TASK, k]
        find_place(d, s, j, int(min(float(BIG), s.cost[EAGER] * d.jobs[j, ABSENCE])))
        if s.cell[OFFER + WAY] >= 0:
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
def same(s: State, r: int, k: int) -> bool:
    """Whether touched way k, which is r, came out as it was: every third iteration puts all jobs back."""
    length, n = s.sums[0, r, LENGTH], s.cell[JOB_COUNT]
    if length != s.sums[1, k, LENGTH]:
        return False
    alike = True
    for p in range(length):
        item = s.seq[0, r, p]
        alike = alike and item == s.seq[1, k, p] and (item >= n or s.job[CHOICE, item] == s.kept[0, k, p])
    for g in range(length + 3):
        alike = alike and s.gap[0, r, g] == s.gap[1, k, g]
    return alike


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


@compiled
def forget(s: State) -> None:
    """Clears the marks of an iteration."""
    for k in range(s.cell[TOUCHED]):
        s.mark[TOUCHED_AT, s.mark[TOUCHED_WAY, k]] = -1
    s.cell[TOUCHED] = s.cell[WORK] = 0


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
    s.cell[ROUTES] = 0
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
