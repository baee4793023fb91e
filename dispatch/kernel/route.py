"""Labels of a route and the price of an insertion.

A stretch (length, ready, latest) maps the moment t at which it begins to the moment it is over, max(t, ready) + length for t up to
latest (Vidal, Crainic, Gendreau and Prins, 2013). With the stretches before and behind every gap at hand, an insertion is judged in
O(1), exactly: feasibility, shortest day with a delayed start, and overtime.
"""

from __future__ import annotations

from dispatch.kernel.jit import compiled, inlined
from dispatch.kernel.shape import (
    ARC,
    BALANCE,
    BEFORE,
    BEGUN,
    BEHIND,
    BIG,
    BUSY,
    CALL,
    CHOICE,
    COST,
    DEPOT,
    DISLIKE,
    DUTY,
    EARLIEST,
    EXTRA,
    FIRST,
    FROM_PLACE,
    GAP,
    HOURS,
    INSIDE,
    JOBS,
    LATEST_END,
    LATEST_START,
    LENGTH,
    METRE,
    MOVE,
    MOVED,
    OFFER,
    OPTION,
    OPTIONS,
    OPTIONS_END,
    OVERTIME,
    PACE,
    PAID_END,
    PAUSE,
    PAUSES,
    PER_ROUTE,
    POS,
    PRICE,
    ROW,
    SECOND,
    SPAN,
    SPENT,
    TO_PLACE,
    TRAVEL,
    UNLIKED,
    USED,
    WAY,
    Data,
    State,
)

Stretch = tuple[int, int, int]


@inlined
def join(a: Stretch, b: Stretch) -> Stretch:
    """a followed by b; latest is -BIG when b cannot be begun in time."""
    if a[1] + a[0] > b[2] or a[2] == -BIG:
        return (0, 0, -BIG)
    shifted = b[1] - a[0]
    wait = max(0, shifted - a[2])
    latest = min(a[2], b[2] - a[0])
    return (a[0] + b[0] + wait, min(latest, max(a[1], shifted)), latest)


@inlined
def ahead(s: State, r: int, p: int) -> Stretch:
    """From the start of way r through the items before p."""
    return (s.label[0, r, p, 0], s.label[0, r, p, 1], s.label[0, r, p, 2])


@inlined
def onward(s: State, r: int, p: int) -> Stretch:
    """From item p of way r to the end."""
    return (s.label[0, r, p, 3], s.label[0, r, p, 4], s.label[0, r, p, 5])


@inlined
def set_ahead(s: State, r: int, p: int, stretch: Stretch) -> None:
    """Stores what `ahead` answers."""
    s.label[0, r, p, 0], s.label[0, r, p, 1], s.label[0, r, p, 2] = stretch


@inlined
def set_onward(s: State, r: int, p: int, stretch: Stretch) -> None:
    """Stores what `onward` answers."""
    s.label[0, r, p, 3], s.label[0, r, p, 4], s.label[0, r, p, 5] = stretch


@inlined
def drive(d: Data, a: int, b: int) -> int:
    """Seconds between places, 0 at an open end."""
    if a < 0 or b < 0:
        return 0
    return int(d.travel[a, b])


@inlined
def arc(d: Data, r: int, a: int, b: int) -> int:
    """Price of driving from a to b on way r."""
    if a < 0 or b < 0:
        return 0
    price = d.ways[r, TRAVEL] * d.travel[a, b]
    if d.ways[r, METRE] != 0:
        price += d.ways[r, METRE] * d.metres[a, b]
    return int(price)


@inlined
def link(d: Data, r: int, a: int, b: int, mask: int) -> Stretch:
    """The drive from a to b with the breaks of mask on the way; the first of them may interrupt it."""
    left = drive(d, a, b)
    if mask == 0:
        return (left, -BIG, BIG)
    whole = (0, -BIG, BIG)
    for k in range(d.ways[r, PAUSES]):
        if mask & (1 << k):
            pause = (left + d.ways[r, PAUSE + 3 * k + 2], d.ways[r, PAUSE + 3 * k + 0] - left, d.ways[r, PAUSE + 3 * k + 1])
            whole = join(whole, pause)
            left = 0
    return whole


@inlined
def along(d: Data, r: int, here: Stretch, a: int, b: int, mask: int) -> Stretch:
    """A stretch, then the drive from a to b with the breaks of mask on the way."""
    if mask == 0:
        return (here[0] + drive(d, a, b), here[1], here[2])
    return join(here, link(d, r, a, b, mask))


@inlined
def towards(d: Data, r: int, a: int, b: int, mask: int, rest: Stretch) -> Stretch:
    """The drive from a to b with the breaks of mask on the way, then a stretch."""
    if mask == 0:
        left = drive(d, a, b)
        return (left + rest[0], rest[1] - left, rest[2] - left)
    return join(link(d, r, a, b, mask), rest)


@inlined
def node(d: Data, s: State, r: int, item: int) -> Stretch:
    """An item on site: a job within the option chosen for it, or a depot at any time."""
    if item >= d.jobs.shape[0]:
        return (d.work[d.ways[r, PACE], item], -BIG, BIG)
    o = s.job[CHOICE, item]
    return (d.work[d.ways[r, PACE], item], d.option[o, 0], d.option[o, 1])


@compiled
def bounded(d: Data, r: int, whole: Stretch, before: int, behind: int) -> Stretch:
    """A whole route with the breaks that are taken before it starts, unless it has begun, and after it has ended."""
    if before and d.ways[r, BEGUN]:
        return (0, 0, -BIG)
    for k in range(d.ways[r, PAUSES]):
        if before & (1 << k):
            whole = join((0, d.ways[r, PAUSE + 3 * k + 0] + d.ways[r, PAUSE + 3 * k + 2], d.ways[r, LATEST_START]), whole)
        if behind & (1 << k):
            whole = join(whole, (0, -BIG, d.ways[r, PAUSE + 3 * k + 1]))
    return whole


@inlined
def paused(d: Data, r: int, outside: int) -> int:
    """Seconds of the breaks that lie inside the route."""
    total = 0
    for k in range(d.ways[r, PAUSES]):
        if not outside & (1 << k):
            total += d.ways[r, PAUSE + 3 * k + 2]
    return total


@inlined
def priced(d: Data, r: int, arcs: int, whole: Stretch, inside: int) -> int:
    """Cost of a route but for its jobs' own prices."""
    cost = d.ways[r, PER_ROUTE] + arcs + d.ways[r, DUTY] * (whole[0] - inside)
    if d.ways[r, OVERTIME] != 0:
        cost += d.ways[r, OVERTIME] * max(0, whole[1] + whole[0] - d.ways[r, PAID_END])
    if d.ways[r, BALANCE] != 0:
        duty = d.ways[r, SPENT] + whole[0] - inside
        cost += d.ways[r, BALANCE] * duty * duty // d.ways[r, HOURS]
    return int(cost)


@inlined
def site(d: Data, s: State, r: int, p: int) -> int:
    """Place of item p of way r; -1 item is the start, `length` the end."""
    if p < 0:
        return int(d.ways[r, FROM_PLACE])
    if p >= s.sums[0, r, LENGTH]:
        return int(d.ways[r, TO_PLACE])
    return int(d.place[s.seq[0, r, p]])


@inlined
def own_price(d: Data, r: int, j: int, o: int) -> int:
    """What serving job j by option o on way r costs by itself: lateness, moves, preference."""
    price = d.option[o, 2]
    bits = d.ok[d.ways[r, ROW], j]
    if bits & UNLIKED:
        price += d.jobs[j, DISLIKE]
    if bits & MOVED:
        price += d.jobs[j, MOVE]
    return int(price)


@compiled
def relabel(d: Data, s: State, r: int) -> bool:
    """Recomputes everything about way r from its items, options and gaps; False when it keeps no times."""
    length = s.sums[0, r, LENGTH]
    n = d.jobs.shape[0]
    s.sums[0, r, DEPOT] = -1
    jobs, arcs, extra, busy = 0, 0, 0, 0
    a = d.ways[r, FROM_PLACE]
    for p in range(length):
        item = s.seq[0, r, p]
        b = d.place[item]
        arcs += arc(d, r, a, b)
        busy += drive(d, a, b) + d.work[d.ways[r, PACE], item]
        a = b
        if item >= n:
            s.sums[0, r, DEPOT] = p
            continue
        jobs += 1
        extra += own_price(d, r, item, s.job[CHOICE, item])
    if length > 0 or d.ways[r, BEGUN]:
        arcs += arc(d, r, a, d.ways[r, TO_PLACE])
        busy += drive(d, a, d.ways[r, TO_PLACE])
    s.sums[0, r, JOBS], s.sums[0, r, ARC], s.sums[0, r, EXTRA], s.sums[0, r, BUSY] = jobs, arcs, extra, busy
    set_ahead(s, r, 0, (0, d.ways[r, EARLIEST], d.ways[r, LATEST_START]))
    set_onward(s, r, length, (0, -BIG, d.ways[r, LATEST_END]))
    return relabel_between(d, s, r, 0, length)


@compiled
def relabel_between(d: Data, s: State, r: int, low: int, high: int) -> bool:
    """Recomputes the times of way r, whose sums of jobs and driving are true, as are the stretches ahead of items up to `low` and
    onward from item `high`; False when it keeps no times."""
    length, n = s.sums[0, r, LENGTH], d.jobs.shape[0]
    if d.need.shape[1] > 0:
        count_parts(d, s, r)
    here, a = ahead(s, r, low), site(d, s, r, low - 1)
    for p in range(low, length):
        item = s.seq[0, r, p]
        b = d.place[item]
        here = join(along(d, r, here, a, b, s.gap[0, r, p + 1]), node(d, s, r, item))
        set_ahead(s, r, p + 1, here)
        a = b
        if item < n:
            s.job[POS, item] = p
    here, b = onward(s, r, high), site(d, s, r, high)
    for p in range(high - 1, -1, -1):
        item = s.seq[0, r, p]
        a = d.place[item]
        here = join(node(d, s, r, item), towards(d, r, a, b, s.gap[0, r, p + 2], here))
        set_onward(s, r, p, here)
        b = a
    return finish(d, s, r)


@inlined
def count_parts(d: Data, s: State, r: int) -> None:
    """Parts that way r takes from its own stock, until it calls at a depot."""
    for k in range(d.need.shape[1]):
        s.sums[0, r, USED + k] = 0
    for p in range(s.sums[0, r, LENGTH]):
        item = s.seq[0, r, p]
        if item >= d.jobs.shape[0]:
            break
        for k in range(d.need.shape[1]):
            s.sums[0, r, USED + k] += d.need[item, k]


@inlined
def finish(d: Data, s: State, r: int) -> bool:
    """The span and the cost of way r, its labels being true."""
    length = s.sums[0, r, LENGTH]
    if s.sums[0, r, JOBS] == 0 and not d.ways[r, BEGUN]:
        s.sums[0, r, SPAN] = s.sums[0, r, COST] = s.sums[0, r, INSIDE] = 0
        return True
    before, behind = s.gap[0, r, 0], s.gap[0, r, length + 2]
    start = ahead(s, r, 0)
    rest = onward(s, r, 0)
    whole = join(along(d, r, start, site(d, s, r, -1), site(d, s, r, 0), s.gap[0, r, 1]), rest)
    whole = bounded(d, r, whole, before, behind)
    inside = paused(d, r, before | behind)
    s.sums[0, r, SPAN], s.sums[0, r, INSIDE] = whole[0], inside
    s.sums[0, r, COST] = priced(d, r, s.sums[0, r, ARC], whole, inside) + s.sums[0, r, EXTRA]
    return bool(whole[2] != -BIG)


@inlined
def keep(s: State, price: int, r: int, p: int, o: int, first: int, second: int, before: int, behind: int, call: int) -> None:
    """Remembers an insertion as the best so far."""
    s.cell[OFFER + PRICE], s.cell[OFFER + WAY], s.cell[OFFER + GAP], s.cell[OFFER + OPTION] = price, r, p, o
    (
        s.cell[OFFER + FIRST],
        s.cell[OFFER + SECOND],
        s.cell[OFFER + BEFORE],
        s.cell[OFFER + BEHIND],
        s.cell[OFFER + CALL],
    ) = first, second, before, behind, call


@inlined
def judge(d: Data, s: State, r: int, p: int, j: int, first: int, second: int, before: int, behind: int, added: int) -> None:
    """Prices job j in gap p of way r with these breaks before and after it, for every option, and keeps the best.

    `added` is the price of the driving it adds: what is driven more is paid at least.
    """
    if added >= s.cell[OFFER + PRICE]:
        return
    a, b, c = site(d, s, r, p - 1), d.place[j], site(d, s, r, p)
    till = along(d, r, ahead(s, r, p), a, b, first)
    soonest = till[0] + till[1]
    if till[2] == -BIG or soonest > d.option[d.jobs[j, OPTIONS_END] - 1, 1]:
        return
    rest = towards(d, r, b, c, second, onward(s, r, p))
    stay = d.work[d.ways[r, PACE], j]
    if rest[2] < soonest + stay:
        return
    inside = paused(d, r, before | behind)
    for o in range(d.jobs[j, OPTIONS], d.jobs[j, OPTIONS_END]):
        if d.option[o, 1] < soonest or d.option[o, 0] + stay > rest[2]:
            continue
        whole = join(join(till, (stay, d.option[o, 0], d.option[o, 1])), rest)
        if before | behind:
            whole = bounded(d, r, whole, before, behind)
        if whole[2] == -BIG:
            continue
        price = priced(d, r, s.sums[0, r, ARC] + added, whole, inside)
        price += own_price(d, r, j, o) - s.sums[0, r, COST] + s.sums[0, r, EXTRA]
        if price < s.cell[OFFER + PRICE]:
            keep(s, price, r, p, o, first, second, before, behind, -1)
