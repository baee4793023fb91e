"""Swapping the ends of two routes (2-opt*; Potvin and Rousseau, 1995): what no string of a few jobs brings about on long routes."""

from __future__ import annotations

from dispatch.kernel.chance import draw
from dispatch.kernel.change import seat
from dispatch.kernel.jit import compiled, inlined
from dispatch.kernel.route import ahead, along, arc, drive, join, onward, relabel, site
from dispatch.kernel.ruin import any_of_kind
from dispatch.kernel.shape import (
    ALLOWED,
    BEGUN,
    BIG,
    DEPOT,
    DUTY,
    FULL,
    JOB_COUNT,
    JOBS,
    LATEST_END,
    LENGTH,
    MOST,
    PER_ROUTE,
    POS,
    ROW,
    SPAN,
    TO_PLACE,
    TOUCHED_AT,
    WAY_OF,
    Data,
    State,
)
from dispatch.kernel.undo import touch

OPENED = 0.3  # share of swaps that are with a way that has no jobs: cheapest they never are


@inlined
def spliced(d: Data, s: State, r: int, p: int, other: int, q: int) -> int:
    """What way r costs with its items before p and another way's from q on, beyond the driving within those parts and what it
    costs now by the hour and the day; BIG when it would be late. Exact for ways of one pace and price, without breaks and depots.
    """
    a, length = site(d, s, r, p - 1), s.sums[0, other, LENGTH]
    home, homeward = 0, 0
    if q < length:
        b, tail = site(d, s, other, q), onward(s, other, q)
        end = site(d, s, other, length - 1)
        home = arc(d, r, end, d.ways[r, TO_PLACE]) - arc(d, other, end, d.ways[other, TO_PLACE])
        homeward = drive(d, end, d.ways[r, TO_PLACE]) - drive(d, end, d.ways[other, TO_PLACE])
    elif p > 0 or d.ways[r, BEGUN]:
        b, tail = int(d.ways[r, TO_PLACE]), (0, -BIG, int(d.ways[r, LATEST_END]))
    else:
        return int(-d.ways[r, DUTY] * s.sums[0, r, SPAN] - d.ways[r, PER_ROUTE])
    whole = join(along(d, r, ahead(s, r, p), a, b, 0), tail)
    if whole[2] == -BIG:
        return BIG
    opened = 0 if s.sums[0, r, JOBS] > 0 or d.ways[r, BEGUN] else d.ways[r, PER_ROUTE]
    return int(opened + arc(d, r, a, b) + home + d.ways[r, DUTY] * (whole[0] + homeward - s.sums[0, r, SPAN]))


@inlined
def may_follow(d: Data, s: State, r: int, p: int, other: int, q: int) -> bool:
    """Whether way r may have its items before p and another way's from q on, by who may do what, how many, and parts; where it has
    no room for them, it is to be given some."""
    n, count = s.cell[JOB_COUNT], p - int(0 <= s.sums[0, r, DEPOT] < p)
    for k in range(q, s.sums[0, other, LENGTH]):
        item = s.seq[0, other, k]
        if item < n:
            count += 1
            if not d.ok[d.ways[r, ROW], item] & ALLOWED:
                return False
    if count > d.ways[r, MOST]:
        return False
    if count + 2 > s.seq.shape[2]:
        s.cell[FULL] = 1
        return False
    for k in range(d.need.shape[1] if d.place.shape[0] == n else 0):  # with a depot about, seating its call will tell
        total = 0
        for i in range(p):
            total += d.need[s.seq[0, r, i], k]
        for i in range(q, s.sums[0, other, LENGTH]):
            total += d.need[s.seq[0, other, i], k]
        if total > d.stock[r, k]:
            return False
    return True


@compiled
def splice(d: Data, s: State, r: int, p: int, other: int, q: int) -> bool:
    """Gives way r its items before p and another way's from q on, as both were when this iteration began, and seats the breaks
    it had later, and the depot call, anew. False when it keeps no times."""
    n, head, tail = s.cell[JOB_COUNT], s.mark[TOUCHED_AT, r], s.mark[TOUCHED_AT, other]
    was = s.sums[1, head, LENGTH]
    carried, length = 0, 0
    for k in range(p):
        carried |= s.gap[1, head, k + 1]
        item = s.seq[1, head, k]
        if item < n:
            s.seq[0, r, length] = item
            length += 1
            s.gap[0, r, length] = carried
            carried = 0
    for g in range(p + 1, was + 2):
        carried |= s.gap[1, head, g]
    s.gap[0, r, length + 1] = carried
    for k in range(q, s.sums[1, tail, LENGTH]):
        item = s.seq[1, tail, k]
        if item < n:
            s.seq[0, r, length] = item
            s.job[WAY_OF, item] = r
            length += 1
            s.gap[0, r, length + 1] = 0
    s.gap[0, r, length + 2] = s.gap[1, head, was + 2]
    s.sums[0, r, LENGTH] = length
    relabel(d, s, r)
    return seat(d, s, r)


@inlined
def way_to_open(d: Data, s: State, j: int) -> int:
    """A way without jobs near job j, at random; -1 when the one looked at has some."""
    kind = d.kinds_near[j, int(draw(s) * d.kinds_near.shape[1])]
    r = any_of_kind(d, s, kind) if kind >= 0 else -1
    return r if r >= 0 and s.sums[0, r, LENGTH] == 0 else -1


@inlined
def price_of_swap(d: Data, s: State, r: int, p: int, other: int, q: int, limit: float) -> int:
    """About what it adds to let two ways have each other's items from p and q on; BIG when they may not, or it is no less than a
    limit."""
    here = spliced(d, s, r, p, other, q) - arc_ahead(d, s, r, p) - arc_ahead(d, s, other, q)
    if here >= limit + d.ways[other, PER_ROUTE] + d.ways[other, DUTY] * s.sums[0, other, SPAN]:
        return BIG  # the other way cannot save more than all its hours
    price = here + spliced(d, s, other, q, r, p)
    if price >= limit or not may_follow(d, s, r, p, other, q) or not may_follow(d, s, other, q, r, p):
        return BIG
    return int(price)


@inlined
def arc_ahead(d: Data, s: State, r: int, p: int) -> int:
    """Price of the drive to item p of way r, or home; nothing where it stays at home."""
    return 0 if s.sums[0, r, LENGTH] == 0 and not d.ways[r, BEGUN] else arc(d, r, site(d, s, r, p - 1), site(d, s, r, p))


@compiled
def swap_tails(d: Data, s: State, limit: float) -> bool:
    """Lets a random job be followed by a neighbour on another way and all that comes after it, and what came ahead of that
    neighbour by what followed the job: with the neighbour where that seems cheapest. Or gives what followed the job to a way
    without any. False when nothing seems to add less than `limit`, or a way keeps no times."""
    i = int(draw(s) * d.jobs.shape[0])
    r = s.job[WAY_OF, i]
    if r < 0:
        return False
    p = s.job[POS, i] + 1
    best, best_way, best_gap = limit, -1, 0
    if draw(s) < OPENED:
        other = way_to_open(d, s, i)
        if other >= 0 and p < s.sums[0, r, LENGTH] and price_of_swap(d, s, r, p, other, 0, best) < BIG:
            best_way = other
    else:
        for k in range(d.near.shape[1]):
            j = d.near[i, k]
            if j < 0:
                break
            other = s.job[WAY_OF, j]
            if other >= 0 and other != r:
                price = price_of_swap(d, s, r, p, other, s.job[POS, j], best)
                if price < best:
                    best, best_way, best_gap = price, other, s.job[POS, j]
    if best_way < 0:
        return False
    touch(s, r)
    touch(s, best_way)
    sound = splice(d, s, r, p, best_way, best_gap)
    return splice(d, s, best_way, best_gap, r, p) and sound
