"""Changes to a route: where a job can go in a gap, putting it there, taking jobs out, and re-seating breaks and the depot call."""

from __future__ import annotations

from dispatch.kernel.jit import compiled, inlined
from dispatch.kernel.route import (
    Stretch,
    ahead,
    along,
    arc,
    bounded,
    drive,
    finish,
    join,
    judge,
    keep,
    link,
    node,
    onward,
    own_price,
    paused,
    priced,
    relabel_between,
    set_onward,
    site,
)
from dispatch.kernel.shape import (
    AFTER_DEPOT,
    ARC,
    BEFORE,
    BEGUN,
    BEHIND,
    BIG,
    BUSY,
    CALL,
    CHOICE,
    COST,
    DEPOT,
    DUTY,
    EXTRA,
    FIRST,
    FROM_PLACE,
    FULL,
    GAP,
    INSIDE,
    JOB_COUNT,
    JOBS,
    LENGTH,
    OFFER,
    OPTION,
    OPTIONS,
    OPTIONS_END,
    PACE,
    PAUSES,
    PRICE,
    ROW,
    SECOND,
    SPAN,
    USED,
    WAY,
    WAY_OF,
    Data,
    State,
)

NEARLY = 8  # gaps too early for a job are passed over by halves until so few are left
CALLS_BACK = 2  # a first call is looked for in so many gaps before a job; then it is seated anew over the whole route


@inlined
def try_route(d: Data, s: State, r: int, j: int, low: int, high: int) -> None:
    """Offers job j every gap of way r from `low` to `high`, in every arrangement of the breaks nearby, with a depot call where one
    is needed."""
    rate, stay, b = d.ways[r, DUTY], d.work[d.ways[r, PACE], j], d.place[j]
    soonest, last = d.option[d.jobs[j, OPTIONS], 0] + stay, d.option[d.jobs[j, OPTIONS_END] - 1, 1]
    empty = s.sums[0, r, JOBS] == 0 and not d.ways[r, BEGUN]
    depot = s.sums[0, r, DEPOT]
    short = wants_call(d, s, r, j)
    if short and depot < 0 and d.place.shape[0] == d.jobs.shape[0]:
        return
    idle = s.sums[0, r, SPAN] - s.sums[0, r, INSIDE] - s.sums[0, r, BUSY]
    for p in range(first_in_time(s, r, low, high, soonest), high + 1):
        if s.label[0, r, p, 0] + s.label[0, r, p, 1] > last:
            break
        if s.label[0, r, p, 5] < soonest:
            continue
        a, c = site(d, s, r, p - 1), site(d, s, r, p)
        added = arc(d, r, a, b) + arc(d, r, b, c) - (0 if empty else arc(d, r, a, c))
        bound = added
        if rate != 0:
            longer = stay + drive(d, a, b) + drive(d, b, c) - (0 if empty else drive(d, a, c)) - idle
            bound += rate * max(0, longer)
        if bound >= s.cell[OFFER + PRICE]:
            continue
        if short and not 0 <= depot < p:
            if depot < 0:
                try_calls(d, s, r, p, j)
            continue
        for t in range(arrangements(d, s, r, p)):
            first, second, before, behind = arrangement(d, s, r, p, t)
            if first >= 0:
                judge(d, s, r, p, j, first, second, before, behind, added)


@inlined
def first_in_time(s: State, r: int, low: int, high: int, soonest: int) -> int:
    """A gap before which nothing fits that is over at `soonest`: the later the gap, the later what follows may begin."""
    while high - low > NEARLY:
        middle = (low + high) // 2
        if s.label[0, r, middle, 5] < soonest:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def wants_call(d: Data, s: State, r: int, j: int) -> bool:
    """Whether tools or parts for job j are wanting on way r before a depot is called at."""
    short = d.ok[d.ways[r, ROW], j] & AFTER_DEPOT != 0
    for k in range(d.need.shape[1]):
        if s.sums[0, r, USED + k] + d.need[j, k] > d.stock[r, k]:
            short = True
    return bool(short)


@inlined
def arrangements(d: Data, s: State, r: int, p: int) -> int:
    """How many ways there are to set a way's breaks around a job put into gap p, some of which do not apply."""
    count = d.ways[r, PAUSES]
    if s.sums[0, r, JOBS] == 0:
        return int((count + 1) * (count + 1) * (count + 1))
    if s.gap[0, r, p + 1] | s.gap[0, r, 0] | s.gap[0, r, s.sums[0, r, LENGTH] + 2] == 0:
        return 1
    return int(count + 5)


@inlined
def arrangement(d: Data, s: State, r: int, p: int, t: int) -> tuple[int, int, int, int]:
    """Breaks on the way to the job, on the way on, before the start and after the end; -1 first when arrangement t does not apply.

    The first job of a way has its breaks in order over the four. Later the breaks of the gap lie before or after the job, or one
    from outside the day is moved in beside it.
    """
    count = int(d.ways[r, PAUSES])
    mask, before, behind = int(s.gap[0, r, p + 1]), int(s.gap[0, r, 0]), int(s.gap[0, r, s.sums[0, r, LENGTH] + 2])
    if s.sums[0, r, JOBS] == 0:
        base = count + 1
        a, b, c = t // (base * base), t // base % base, t % base
        low, mid, high = (1 << a) - 1, (1 << b) - 1, (1 << c) - 1
        return (mid ^ low if a <= b <= c else -1, high ^ mid, low, ((1 << count) - 1) ^ high)
    if t <= count:
        bit = 1 << (t - 1) if t > 0 else 0
        low = mask & (bit - 1) if t > 0 else mask
        return (low if t == 0 or mask & bit else -1, mask ^ low, before, behind)
    if t <= count + 2:
        bit = behind & -behind
        ahead_of_job = t == count + 2  # and then only alone: before other breaks of the gap it would be out of order
        first = (bit if mask == 0 else -1) if ahead_of_job else mask
        return (first if bit else -1, 0 if ahead_of_job else bit, before, behind ^ bit)
    bit = 1
    while bit * 2 <= before:
        bit *= 2
    ahead_of_job = t == count + 3
    first = bit if ahead_of_job else (0 if mask == 0 else -1)
    return (first if before else -1, mask if ahead_of_job else bit, before ^ bit, behind)


@compiled
def try_calls(d: Data, s: State, r: int, p: int, j: int) -> None:
    """Job j in gap p together with a first call at a depot, at any earlier gap or, where tools allow, any later one."""
    n = d.jobs.shape[0]
    for o in range(d.jobs[j, OPTIONS], d.jobs[j, OPTIONS_END]):
        here = (d.work[d.ways[r, PACE], j], d.option[o, 0], d.option[o, 1])
        chain = here
        first = d.place[j]
        arcs = s.sums[0, r, ARC] - (
            arc(d, r, site(d, s, r, p - 1), site(d, s, r, p)) if s.sums[0, r, JOBS] > 0 or d.ways[r, BEGUN] else 0
        )
        arcs += arc(d, r, d.place[j], site(d, s, r, p))
        end = join(link(d, r, d.place[j], site(d, s, r, p), s.gap[0, r, p + 1]), onward(s, r, p))
        between = arc(d, r, site(d, s, r, p - 1), d.place[j])
        for q in range(p, max(-1, p - CALLS_BACK), -1):
            if q < p:
                mask = 0 if q + 1 == p else int(s.gap[0, r, q + 2])
                chain = join(link(d, r, site(d, s, r, q), first, mask), chain)
                chain = join(node(d, s, r, s.seq[0, r, q]), chain)
                first = site(d, s, r, q)
            before = site(d, s, r, q - 1)
            added = arcs if q == p else arcs + between - arc(d, r, before, first)
            mask = 0 if q == p else int(s.gap[0, r, q + 1])
            for call in range(n, d.place.shape[0]):
                price_call(
                    d,
                    s,
                    r,
                    p,
                    j,
                    o,
                    q,
                    call,
                    join(chain, end),
                    mask,
                    added + arc(d, r, before, d.place[call]) + arc(d, r, d.place[call], first),
                    first,
                )
    if not d.ok[d.ways[r, ROW], j] & AFTER_DEPOT:
        try_later_calls(d, s, r, p, j)


@compiled
def price_call(
    d: Data, s: State, r: int, p: int, j: int, o: int, q: int, call: int, rest: Stretch, mask: int, arcs: int, first: int
) -> None:
    """One arrangement of try_calls: the depot in gap q, `rest` running from the place `first` to the end."""
    here = along(d, r, ahead(s, r, q), site(d, s, r, q - 1), d.place[call], mask)
    here = join(here, node(d, s, r, call))
    whole = join(join(here, link(d, r, d.place[call], first, 0)), rest)
    before, behind = int(s.gap[0, r, 0]), int(s.gap[0, r, s.sums[0, r, LENGTH] + 2])
    whole = bounded(d, r, whole, before, behind)
    if whole[2] == -BIG:
        return
    settled = s.sums[0, r, COST] - s.sums[0, r, EXTRA]
    price = priced(d, r, arcs, whole, paused(d, r, before | behind)) - settled + own_price(d, r, j, o)
    if price < s.cell[OFFER + PRICE]:
        keep(s, price, r, p, o, 0, int(s.gap[0, r, p + 1]), before, behind, call)


@compiled
def try_later_calls(d: Data, s: State, r: int, p: int, j: int) -> None:
    """Job j in gap p, the call in a later gap q > p: the van holds what is needed up to there."""
    n, length = d.jobs.shape[0], s.sums[0, r, LENGTH]
    for o in range(d.jobs[j, OPTIONS], d.jobs[j, OPTIONS_END]):
        a = site(d, s, r, p - 1)
        here = join(ahead(s, r, p), link(d, r, a, d.place[j], s.gap[0, r, p + 1]))
        here = join(here, (d.work[d.ways[r, PACE], j], d.option[o, 0], d.option[o, 1]))
        base = (
            s.sums[0, r, ARC] - arc(d, r, a, site(d, s, r, p)) + arc(d, r, a, d.place[j]) + arc(d, r, d.place[j], site(d, s, r, p))
        )
        last = d.place[j]
        for q in range(p + 1, length):
            if not stock_lasts(d, s, r, j, q):
                break
            here = join(
                join(here, link(d, r, last, site(d, s, r, q - 1), 0 if q == p + 1 else s.gap[0, r, q])),
                node(d, s, r, s.seq[0, r, q - 1]),
            )
            if here[2] == -BIG:
                break
            last, after = site(d, s, r, q - 1), site(d, s, r, q)
            for call in range(n, d.place.shape[0]):
                there = d.place[call]
                till = join(join(here, link(d, r, last, there, s.gap[0, r, q + 1])), node(d, s, r, call))
                whole = join(join(till, link(d, r, there, after, 0)), onward(s, r, q))
                before, behind = int(s.gap[0, r, 0]), int(s.gap[0, r, length + 2])
                whole = bounded(d, r, whole, before, behind)
                if whole[2] == -BIG:
                    continue
                arcs = base - arc(d, r, last, after) + arc(d, r, last, there) + arc(d, r, there, after)
                price = (
                    priced(d, r, arcs, whole, paused(d, r, before | behind))
                    - (s.sums[0, r, COST] - s.sums[0, r, EXTRA])
                    + own_price(d, r, j, o)
                )
                if price < s.cell[OFFER + PRICE]:
                    keep(s, price, r, p, o, int(s.gap[0, r, p + 1]), 0, before, behind, call)


@compiled
def stock_lasts(d: Data, s: State, r: int, j: int, q: int) -> bool:
    """Whether the van's parts cover job j and the items before q."""
    for k in range(d.need.shape[1]):
        total = d.need[j, k]
        for i in range(q):
            total += d.need[s.seq[0, r, i], k]
        if total > d.stock[r, k]:
            return False
    return True


@inlined
def put(d: Data, s: State, r: int, p: int, item: int) -> None:
    """Opens place p of way r for an item and counts it; its gap's breaks stay before it. Times are left to `relabel_between`."""
    length = s.sums[0, r, LENGTH]
    a, b, c = site(d, s, r, p - 1), d.place[item], site(d, s, r, p)
    if length > 0 or d.ways[r, BEGUN]:
        s.sums[0, r, ARC] -= arc(d, r, a, c)
        s.sums[0, r, BUSY] -= drive(d, a, c)
    s.sums[0, r, ARC] += arc(d, r, a, b) + arc(d, r, b, c)
    s.sums[0, r, BUSY] += drive(d, a, b) + drive(d, b, c) + d.work[d.ways[r, PACE], item]
    for i in range(length, p - 1, -1):
        s.seq[0, r, i + 1] = s.seq[0, r, i]
        set_onward(s, r, i + 1, onward(s, r, i))
    for g in range(length + 3, p + 2, -1):
        s.gap[0, r, g] = s.gap[0, r, g - 1]
    s.gap[0, r, p + 2] = 0
    s.seq[0, r, p] = item
    s.sums[0, r, LENGTH] = length + 1
    if s.sums[0, r, DEPOT] >= p:
        s.sums[0, r, DEPOT] += 1


@inlined
def apply_offer(d: Data, s: State, j: int) -> bool:
    """Carries out the best insertion found for job j; False when the way has no row left for it."""
    r, p = s.cell[OFFER + WAY], s.cell[OFFER + GAP]
    if s.sums[0, r, LENGTH] + 2 >= s.seq.shape[2]:
        s.cell[FULL] = 1
        return False
    s.job[WAY_OF, j], s.job[CHOICE, j] = r, s.cell[OFFER + OPTION]
    put(d, s, r, p, j)
    s.sums[0, r, JOBS] += 1
    s.sums[0, r, EXTRA] += own_price(d, r, j, s.cell[OFFER + OPTION])
    s.gap[0, r, p + 1], s.gap[0, r, p + 2] = s.cell[OFFER + FIRST], s.cell[OFFER + SECOND]
    s.gap[0, r, 0], s.gap[0, r, s.sums[0, r, LENGTH] + 2] = s.cell[OFFER + BEFORE], s.cell[OFFER + BEHIND]
    relabel_between(d, s, r, p, p + 1)
    return seat_call(d, s, r) if s.cell[OFFER + CALL] >= 0 else True


@inlined
def take_out(d: Data, s: State, r: int) -> bool:
    """Drops the jobs of way r that are no longer its own; the breaks and the depot call are seated anew. False when nothing
    fits."""
    length, n = s.sums[0, r, LENGTH], s.cell[JOB_COUNT]
    behind = s.gap[0, r, length + 2]
    kept, carried, low, high = 0, 0, -1, 0
    a = was = int(d.ways[r, FROM_PLACE])  # the place ahead of this item, and ahead of it before
    for p in range(length + 1):
        carried |= s.gap[0, r, p + 1]
        b = site(d, s, r, p)
        item = s.seq[0, r, p] if p < length else 0
        if p < length and (item >= n or s.job[WAY_OF, item] != r):
            s.sums[0, r, ARC] -= arc(d, r, was, b)
            s.sums[0, r, BUSY] -= drive(d, was, b) + d.work[d.ways[r, PACE], item]
            if item < n:
                s.sums[0, r, EXTRA] -= own_price(d, r, item, s.job[CHOICE, item])
                s.sums[0, r, JOBS] -= 1
            low = kept if low < 0 else low
            high = kept
        else:
            if a != was:
                s.sums[0, r, ARC] += arc(d, r, a, b) - arc(d, r, was, b)
                s.sums[0, r, BUSY] += drive(d, a, b) - drive(d, was, b)
            s.gap[0, r, kept + 1] = carried
            set_onward(s, r, kept, onward(s, r, p))
            carried = 0
            if p < length:
                s.seq[0, r, kept] = item
                kept += 1
            a = b
        was = b
    s.gap[0, r, kept + 2] = behind
    s.sums[0, r, LENGTH], s.sums[0, r, DEPOT] = kept, -1
    if kept == 0 and not d.ways[r, BEGUN]:
        s.sums[0, r, ARC] = s.sums[0, r, BUSY] = 0
    relabel_between(d, s, r, low if low >= 0 else kept, high)
    return seat(d, s, r)


@inlined
def seat(d: Data, s: State, r: int) -> bool:
    """Seats the depot call, which way r has lost, and its breaks anew, unless it has become empty. False when nothing fits."""
    if s.sums[0, r, LENGTH] == 0 and not d.ways[r, BEGUN]:
        return True
    sound = seat_call(d, s, r)
    return seat_breaks(d, s, r) if d.ways[r, PAUSES] > 0 else sound


@compiled
def seat_call(d: Data, s: State, r: int) -> bool:
    """Puts a depot call into way r, which has none, at its best gap before the first job that needs it, if any does."""
    needed = first_in_need(d, s, r)
    if needed < 0:
        return finish(d, s, r)
    n = d.jobs.shape[0]
    best, best_gap, best_call = BIG, -1, -1
    before, behind = int(s.gap[0, r, 0]), int(s.gap[0, r, s.sums[0, r, LENGTH] + 2])
    for q in range(needed + 1):
        a, c = site(d, s, r, q - 1), site(d, s, r, q)
        for call in range(n, d.place.shape[0]):
            b = d.place[call]
            here = join(along(d, r, ahead(s, r, q), a, b, s.gap[0, r, q + 1]), node(d, s, r, call))
            whole = join(along(d, r, here, b, c, 0), onward(s, r, q))
            whole = bounded(d, r, whole, before, behind)
            price = priced(d, r, arc(d, r, a, b) + arc(d, r, b, c) - arc(d, r, a, c), whole, 0)
            if whole[2] != -BIG and price < best:
                best, best_gap, best_call = price, q, call
    if best_gap < 0:
        return False
    put(d, s, r, best_gap, best_call)
    s.sums[0, r, DEPOT] = best_gap
    return relabel_between(d, s, r, best_gap, best_gap + 1)


@inlined
def first_in_need(d: Data, s: State, r: int) -> int:
    """The first item of way r that own tools and the van's parts do not serve; -1 when there is none."""
    for p in range(s.sums[0, r, LENGTH]):
        if d.ok[d.ways[r, ROW], s.seq[0, r, p]] & AFTER_DEPOT:
            return p
        for k in range(d.need.shape[1]):
            total = 0
            for i in range(p + 1):
                total += d.need[s.seq[0, r, i], k]
            if total > d.stock[r, k]:
                return p
    return -1


@compiled
def seat_breaks(d: Data, s: State, r: int) -> bool:
    """Moves each break of way r in turn to where the day becomes cheapest."""
    sound, length = True, s.sums[0, r, LENGTH]
    for k in range(d.ways[r, PAUSES]):
        bit = 1 << k
        for g in range(length + 3):
            if s.gap[0, r, g] & bit:
                s.gap[0, r, g] ^= bit
                relabel_gap(d, s, r, g)
        best, best_gap = BIG, -1
        before, behind = int(s.gap[0, r, 0]), int(s.gap[0, r, length + 2])
        for g in range(length + 3):
            q = min(max(g - 1, 0), length)
            mask = int(s.gap[0, r, q + 1]) | (bit if 1 <= g <= length + 1 else 0)
            here = along(d, r, ahead(s, r, q), site(d, s, r, q - 1), site(d, s, r, q), mask)
            whole = join(here, onward(s, r, q))
            front, after = before | (bit if g == 0 else 0), behind | (bit if g == length + 2 else 0)
            whole = bounded(d, r, whole, front, after)
            price = priced(d, r, 0, whole, paused(d, r, front | after))
            if whole[2] != -BIG and price < best:
                best, best_gap = price, g
        if best_gap < 0:
            best_gap, sound = 1, False
        s.gap[0, r, best_gap] |= bit
        sound = relabel_gap(d, s, r, best_gap) and sound
    return sound


@compiled
def relabel_gap(d: Data, s: State, r: int, g: int) -> bool:
    """Recomputes the times of way r after the breaks in gap g have changed; False when it keeps none."""
    if 1 <= g <= s.sums[0, r, LENGTH] + 1:
        return relabel_between(d, s, r, g - 1, g - 1)
    return finish(d, s, r)
