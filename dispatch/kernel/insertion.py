"""Where one job more fits into a plan that stands: every gap, every arrangement of the breaks, every window, exactly.

For each arrangement of a route's breaks the stretches before and behind every gap are labelled once (see `route`); a candidate is
then three joins, whatever the route's length. Only lateness asks for the times of the whole route, and only where something is due.
"""

from __future__ import annotations

from typing import NamedTuple

from dispatch.kernel.jit import compiled, entry, inlined
from dispatch.kernel.route import Stretch, join
from dispatch.kernel.shape import BIG, Ints, Ints32

# Columns of Rows.ways
FROM_PLACE, TO_PLACE, EARLIEST, LATEST_START, LATEST_END, PAID_END, BEGUN, PAUSES = 0, 1, 2, 3, 4, 5, 6, 7
TRAVEL, METRE, DUTY, OVERTIME, PER_ROUTE, BALANCE, HOURS, SPENT = 8, 9, 10, 11, 12, 13, 14, 15
BASE_TRAVEL, BASE_METRES, BASE_LATE, BASE_COST, DUE_HERE = 16, 17, 18, 19, 20
WAY_COLUMNS = 21

# Columns of Rows.visits, and of Rows.pauses
PLACE, LOW, HIGH, WORK, DUE, LATE = 0, 1, 2, 3, 4, 5
PAUSE_FROM, PAUSE_TO, PAUSE_S = 0, 1, 2

# Columns of Ask.ways: time on site, what the worker costs by itself, where the job may go (CLOSED, ANYWHERE, BEHIND_DEPOT).
TAKES, OWN_MOVES, OWN_COST, OPEN, DEPOT_AT = 0, 1, 2, 3, 4
CLOSED, ANYWHERE, BEHIND_DEPOT = 0, 1, 2

# Columns of Ask.options
FROM_S, TO_S, OPTION_MOVES, OPTION_COST, WINDOW = 0, 1, 2, 3, 4

# Columns of Found.best; a price of lateness of BIG says that nothing fits.
BEST_LATE, BEST_MOVES, BEST_COST, START, GAP, OPTION = 0, 1, 2, 3, 4, 5


class Rows(NamedTuple):
    """A plan's routes: m ways, their visits in order in one table, b breaks a way at most."""

    travel: Ints32  # (places, places)
    metres: Ints32  # (places, places)
    ways: Ints  # (m, columns)
    pauses: Ints  # (m, b, 3)
    at: Ints  # (m + 1,): slices of `visits`
    visits: Ints  # (visits, columns)


class Ask(NamedTuple):
    """The job: its place, when it is due (BIG: never), what a second of lateness costs; its ways; o intervals for its start."""

    job: Ints  # (3,)
    ways: Ints  # (m, columns)
    options: Ints  # (o, columns)


class Found(NamedTuple):
    """By way and window the best candidate with the gaps of its breaks; and room for labels."""

    best: Ints  # (m, windows, columns)
    gaps: Ints  # (m, windows, b)
    label: Ints  # (longest + 2, 6)
    gap: Ints  # (b + 1,) the arrangement looked at
    trial: Ints  # (b + 1,) the same with the job


@inlined
def leg(table: Ints32, a: int, b: int) -> int:
    """Seconds or metres from a to b; nothing where an end is open."""
    if a < 0 or b < 0:
        return 0
    return int(table[a, b])


@inlined
def before(rows: Rows, r: int, p: int) -> int:
    """The place ahead of gap p."""
    return int(rows.ways[r, FROM_PLACE]) if p == 0 else int(rows.visits[rows.at[r] + p - 1, PLACE])


@inlined
def behind(rows: Rows, r: int, p: int) -> int:
    """The place behind gap p."""
    at = rows.at[r] + p
    return int(rows.visits[at, PLACE]) if at < rows.at[r + 1] else int(rows.ways[r, TO_PLACE])


@inlined
def drive(rows: Rows, r: int, a: int, b: int, first: int, last: int) -> Stretch:
    """The drive from a to b with the breaks first … last - 1 on the way; the first of them may interrupt it."""
    left = leg(rows.travel, a, b)
    whole = (0, -BIG, BIG)
    for k in range(first, last):
        pause_s = rows.pauses[r, k, PAUSE_S]
        whole = join(whole, (left + pause_s, rows.pauses[r, k, PAUSE_FROM] - left, rows.pauses[r, k, PAUSE_TO]))
        left = 0
    return join(whole, (left, -BIG, BIG))


@inlined
def first_in(found: Found, count: int, gap: int) -> int:
    """The first break in this gap or a later one; gaps never fall from break to break."""
    k = 0
    while k < count and found.gap[k] < gap:
        k += 1
    return k


@compiled
def label(rows: Rows, found: Found, r: int) -> None:
    """The stretches before and behind every gap of way r, for the arrangement at hand."""
    n, count = rows.at[r + 1] - rows.at[r], rows.ways[r, PAUSES]
    earliest, latest_end = rows.ways[r, EARLIEST], rows.ways[r, LATEST_END]
    for k in range(count):
        if found.gap[k] == 0:
            earliest = BIG if rows.ways[r, BEGUN] else max(earliest, rows.pauses[r, k, PAUSE_FROM] + rows.pauses[r, k, PAUSE_S])
        elif found.gap[k] == n + 2:
            latest_end = min(latest_end, rows.pauses[r, k, PAUSE_TO])
    latest_start = rows.ways[r, LATEST_START]
    here = (0, earliest, latest_start if earliest <= latest_start else -BIG)
    found.label[0, 0], found.label[0, 1], found.label[0, 2] = here
    for p in range(n):
        at = rows.at[r] + p
        way = drive(
            rows, r, before(rows, r, p), rows.visits[at, PLACE], first_in(found, count, p + 1), first_in(found, count, p + 2)
        )
        here = join(join(here, way), (rows.visits[at, WORK], rows.visits[at, LOW], rows.visits[at, HIGH]))
        found.label[p + 1, 0], found.label[p + 1, 1], found.label[p + 1, 2] = here
    here = (0, -BIG, latest_end)
    found.label[n, 3], found.label[n, 4], found.label[n, 5] = here
    for p in range(n - 1, -1, -1):
        at = rows.at[r] + p
        way = drive(
            rows, r, rows.visits[at, PLACE], behind(rows, r, p + 1), first_in(found, count, p + 2), first_in(found, count, p + 3)
        )
        here = join((rows.visits[at, WORK], rows.visits[at, LOW], rows.visits[at, HIGH]), join(way, here))
        found.label[p, 3], found.label[p, 4], found.label[p, 5] = here


@compiled
def lateness(rows: Rows, ask: Ask, found: Found, r: int, p: int, option: int, start: int) -> int:
    """What way r is late, weighed, with the job in gap p; `found.trial` says where the breaks are then."""
    n = rows.at[r + 1] - rows.at[r]
    t, place, k, total = start, rows.ways[r, FROM_PLACE], 0, 0
    while k < rows.ways[r, PAUSES] and found.trial[k] == 0:
        k += 1
    for q in range(n + 1):
        asked = q == p
        at = rows.at[r] + (q if q < p else q - 1)
        to = ask.job[0] if asked else rows.visits[at, PLACE]
        left = leg(rows.travel, place, to)
        while k < rows.ways[r, PAUSES] and found.trial[k] == q + 1:
            t = max(t + left, rows.pauses[r, k, PAUSE_FROM]) + rows.pauses[r, k, PAUSE_S]
            left = 0
            k += 1
        low = ask.options[option, FROM_S] if asked else rows.visits[at, LOW]
        t = max(t + left, low) + (ask.ways[r, TAKES] if asked else rows.visits[at, WORK])
        due = ask.job[1] if asked else rows.visits[at, DUE]
        if t > due:
            total += (t - due) * (ask.job[2] if asked else rows.visits[at, LATE])
        place = to
    return int(total)


@inlined
def cost_of(rows: Rows, ask: Ask, r: int, p: int, whole: Stretch, inside: int) -> int:
    """What way r costs with the job in gap p, but for its jobs' own prices."""
    a, b, c = before(rows, r, p), ask.job[0], behind(rows, r, p)
    seconds = rows.ways[r, BASE_TRAVEL] + leg(rows.travel, a, b) + leg(rows.travel, b, c)
    metres = rows.ways[r, BASE_METRES] + leg(rows.metres, a, b) + leg(rows.metres, b, c)
    if rows.at[r] < rows.at[r + 1] or rows.ways[r, BEGUN]:
        seconds -= leg(rows.travel, a, c)
        metres -= leg(rows.metres, a, c)
    duty = whole[0] - inside + rows.ways[r, SPENT]
    over = max(0, whole[0] + whole[1] - rows.ways[r, PAID_END])
    cost = rows.ways[r, PER_ROUTE] + rows.ways[r, TRAVEL] * seconds + rows.ways[r, METRE] * metres
    cost += rows.ways[r, DUTY] * duty + rows.ways[r, OVERTIME] * over
    return int(cost + rows.ways[r, BALANCE] * duty * duty // rows.ways[r, HOURS])


@compiled
def judge(rows: Rows, ask: Ask, found: Found, r: int, p: int, first: int, split: int, last: int) -> None:
    """The job in gap p of way r, the breaks first … split - 1 taken before it and split … last - 1 behind it, for every option."""
    n, count = rows.at[r + 1] - rows.at[r], rows.ways[r, PAUSES]
    ahead = (found.label[p, 0], found.label[p, 1], found.label[p, 2])
    rest = (found.label[p, 3], found.label[p, 4], found.label[p, 5])
    till = join(ahead, drive(rows, r, before(rows, r, p), ask.job[0], first, split))
    rest = join(drive(rows, r, ask.job[0], behind(rows, r, p), split, last), rest)
    if till[2] == -BIG or rest[2] == -BIG:
        return
    inside = 0
    for k in range(count):
        gap = found.gap[k]
        found.trial[k] = gap + 1 if gap > p + 1 or (gap == p + 1 and k >= split) else gap
        if 0 < gap < n + 2:
            inside += rows.pauses[r, k, PAUSE_S]
    due = rows.ways[r, DUE_HERE] or ask.job[1] < BIG
    for o in range(ask.options.shape[0]):
        whole = join(join(till, (ask.ways[r, TAKES], ask.options[o, FROM_S], ask.options[o, TO_S])), rest)
        if whole[2] == -BIG:
            continue
        best = found.best[r, ask.options[o, WINDOW]]
        late = lateness(rows, ask, found, r, p, o, whole[1]) - rows.ways[r, BASE_LATE] if due else 0
        moves = ask.ways[r, OWN_MOVES] + ask.options[o, OPTION_MOVES]
        cost = cost_of(rows, ask, r, p, whole, inside) - rows.ways[r, BASE_COST]
        cost += ask.ways[r, OWN_COST] + ask.options[o, OPTION_COST]
        start = max(max(whole[1], till[1]) + till[0], ask.options[o, FROM_S])
        better = late < best[BEST_LATE] or (
            late == best[BEST_LATE]
            and (
                moves < best[BEST_MOVES]
                or (moves == best[BEST_MOVES] and (cost < best[BEST_COST] or (cost == best[BEST_COST] and start < best[START])))
            )
        )
        if better:
            best[BEST_LATE], best[BEST_MOVES], best[BEST_COST], best[START], best[GAP], best[OPTION] = (
                late,
                moves,
                cost,
                start,
                p,
                o,
            )
            for k in range(count):
                found.gaps[r, ask.options[o, WINDOW], k] = found.trial[k]


@entry
def look(rows: Rows, ask: Ask, found: Found) -> None:
    """Fills `found` with the best place of the job on every way and in every window."""
    for r in range(rows.ways.shape[0]):
        if ask.ways[r, OPEN] == CLOSED:
            continue
        n, count = rows.at[r + 1] - rows.at[r], rows.ways[r, PAUSES]
        for k in range(count):
            found.gap[k] = 0
        while True:
            label(rows, found, r)
            for p in range(n + 1):
                if ask.ways[r, OPEN] == BEHIND_DEPOT and p <= ask.ways[r, DEPOT_AT]:
                    continue
                first, last = first_in(found, count, p + 1), first_in(found, count, p + 2)
                for split in range(first, last + 1):
                    judge(rows, ask, found, r, p, first, split, last)
            k = count - 1
            while k >= 0 and found.gap[k] == n + 2:
                k -= 1
            if k < 0:
                break
            step = found.gap[k] + 1
            for later in range(k, count):
                found.gap[later] = step
