"""Taking jobs out of a plan: strings of routes near each other, room for an urgent job, a day that another is to have."""

from __future__ import annotations

from dispatch.kernel.chance import draw
from dispatch.kernel.change import take_out
from dispatch.kernel.jit import compiled, inlined
from dispatch.kernel.shape import (
    ABSENT,
    ABSENTEE,
    ALLOWED,
    HEIR,
    JOB_COUNT,
    JOBS,
    KIND,
    LENGTH,
    POS,
    RANK,
    ROUTES,
    ROW,
    SEED,
    TASK,
    TOUCHED,
    TOUCHED_AT,
    TOUCHED_WAY,
    WAY_OF,
    WORK,
    Data,
    State,
)
from dispatch.kernel.undo import touch

REMOVED, REMOVED_LONG = 10.0, 7.0  # jobs that strings take out on average; from long routes
LONGEST = 10.0  # the most of one string
LONG = 20  # routes are long that have more jobs on average
SPLIT = 0.5  # share of strings that leave a few jobs inside standing
CLEARED = 0.02  # with jobs absent, share of iterations that clear a way for one of them
HANDED = 0.05  # share of iterations that hand a day over to someone who has none, where there is one


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


@inlined
def has_long_routes(d: Data, s: State) -> bool:
    """Whether routes have many jobs on average: each insertion costs more there, and swaps of ends bring more. Not with jobs
    absent, when most insertions are tries of those."""
    return bool(s.cell[ABSENT] == 0 and d.jobs.shape[0] > LONG * s.cell[ROUTES])


@compiled
def take_strings(d: Data, s: State, seed: int) -> None:
    """Takes strings off ways near job `seed`."""
    served, routes = d.jobs.shape[0] - s.cell[ABSENT], s.cell[ROUTES]
    s.cell[SEED] = seed
    if served == 0:
        return
    longest = min(LONGEST, served / routes)
    most = 4.0 * (REMOVED_LONG if has_long_routes(d, s) else REMOVED) / (1.0 + longest) - 1.0
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


@inlined
def any_of_kind(d: Data, s: State, kind: int) -> int:
    """A way of this kind, at random."""
    first, last = d.kind_at[kind], d.kind_at[kind + 1]
    return int(d.kind_ways[first + int(draw(s) * (last - first))])


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
            r = any_of_kind(d, s, kind)
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
def hand_over(d: Data, s: State) -> bool:
    """Takes all jobs off a way, and strings off others near, and names a way of another kind without jobs that is offered them
    first: who works at all is not found job by job, since a day's first job alone never pays. False when there is none to name.
    """
    j = int(draw(s) * d.jobs.shape[0])
    r = s.job[WAY_OF, j]
    if r < 0:
        return False
    heir, met = -1, 0
    for k in range(d.kinds_near.shape[1]):
        kind = d.kinds_near[j, k]
        if kind < 0:
            break
        other = any_of_kind(d, s, kind)
        if kind != d.ways[r, KIND] and s.sums[0, other, JOBS] == 0 and d.ok[d.ways[other, ROW], j] & ALLOWED:
            met += 1
            if draw(s) * met < 1.0:
                heir = other
    if heir < 0:
        return False
    take_strings(d, s, j)
    touch(s, r)
    for p in range(s.sums[0, r, LENGTH]):
        item = s.seq[0, r, p]
        if item < s.cell[JOB_COUNT] and s.job[WAY_OF, item] == r:
            s.job[WAY_OF, item] = -1
            s.job[TASK, s.cell[WORK]] = item
            s.cell[WORK] += 1
    s.cell[HEIR] = heir
    return True


@compiled
def ruin(d: Data, s: State) -> bool:
    """Takes jobs off ways near a random job, near one that waits for room, or off one whose day another is to have. False when a
    way left behind keeps no times."""
    s.cell[HEIR] = -1
    handed = draw(s) < HANDED and hand_over(d, s)
    if not handed and (s.cell[ABSENT] == 0 or draw(s) >= CLEARED or not clear(d, s)):
        take_strings(d, s, int(draw(s) * d.jobs.shape[0]))
    sound = True
    for k in range(s.cell[TOUCHED]):
        sound = take_out(d, s, s.mark[TOUCHED_WAY, k]) and sound
    return sound
