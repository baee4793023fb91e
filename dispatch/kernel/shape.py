"""The arrays of the kernel: `Data` is the problem and never changes, `State` is a plan being changed.

n open jobs, m ways (shifts), k kinds of part, b breaks a shift at most. An *item* of a route is a job (0 … n-1) or a depot (n …).
Gap g of a route: 0 lies before the day starts, g in 1 … length + 1 is the drive to item g - 1 (or home), length + 2 is after the
end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

BIG = 1 << 50

# Bits of Data.ok
ALLOWED, UNLIKED, MOVED, AFTER_DEPOT = 1, 2, 4, 8

# Columns of Data.ways; breaks follow from PAUSE on, three columns each: earliest, latest, duration.
PACE, ROW, MOST, BEGUN, PAUSES, FROM_PLACE, TO_PLACE, EARLIEST, LATEST_START, LATEST_END, PAID_END = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
)
TRAVEL, DUTY, METRE, OVERTIME, PER_ROUTE, BALANCE, HOURS, SPENT, KIND, PAUSE = 11, 12, 13, 14, 15, 16, 17, 18, 19, 20

# Columns of Data.jobs; sort keys from KEYS on: work, distance from home, window width, first start, last start.
OPTIONS, OPTIONS_END, ABSENCE, DISLIKE, MOVE, RANK, KEYS = 0, 1, 2, 3, 4, 5, 6

# Columns of State.sums; parts taken from the van follow from USED on.
LENGTH, JOBS, ARC, EXTRA, SPAN, COST, DEPOT, INSIDE, BUSY, USED = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9

# Rows of State.job: by job way, position, option and place in the list of the absent; then lists of the absent and of work to do.
WAY_OF, POS, CHOICE, ABSENT_AT, ABSENTEE, TASK, TASK_KEY = 0, 1, 2, 3, 4, 5, 6

# Rows of State.mark: lists of ways (touched in this iteration, unlike the best plan), by way its place in them, best plan's
# lengths; by way the last search for a place that looked at it, and a number that changes whenever an iteration's change stays;
# by kind where an empty way was last; list of ways to look at.
TOUCHED_WAY, TOUCHED_AT, DIRTY_WAY, DIRTY_AT, BEST_LENGTH, SEEN, VERSION, EMPTY_AT, LISTED = 0, 1, 2, 3, 4, 5, 6, 7, 8

# Columns of State.memo: the version of the way times GAPS, plus the best gap + 1 (0: nothing is cheaper than the price); the price.
MEMO_KEY, MEMO_PRICE, GAPS = 0, 1, 1 << 16

# Cells of State.cost: cost of the present and of the best plan; how many times the price of its absence a job may cost in this
# iteration.
PRESENT, BEST, EAGER = 0, 1, 2

# Cells of State.cell: HEIR is a way without jobs that is offered first what another had; from OFFER on the best insertion found
# for a job.
ABSENT, TOKEN, BLINK, TOUCHED, WORK, FULL, ITERATIONS, DIRTY, JOB_COUNT = 0, 1, 2, 3, 4, 5, 6, 7, 8
VERSIONS, ROUTES, SEED, HEIR, OFFER = 9, 10, 11, 12, 13
PRICE, WAY, GAP, OPTION, FIRST, SECOND, BEFORE, BEHIND, CALL = 0, 1, 2, 3, 4, 5, 6, 7, 8


class Data(NamedTuple):
    """The problem. Times are seconds from the earliest shift; -1 as a place is open."""

    travel: Ints32  # (places, places)
    metres: Ints32  # (places, places), or (1, 1) when distance is free
    place: Ints  # (n + depots,)
    work: Ints  # (paces, n + depots): time on site
    ok: Bytes  # (rows, n) bits
    option: Ints  # (options, 3): earliest and latest start, price
    need: Ints  # (n, k)
    stock: Ints  # (m, k)
    ways: Ints  # (m, columns)
    jobs: Ints  # (n, columns)
    near: Ints32  # (n, neighbours), nearest first, -1 pads
    kind_at: Ints  # (kinds + 1,): ways that are alike, in `kind_ways`
    kind_ways: Ints  # (m,)
    kinds_near: Ints32  # (n, kinds looked at), -1 pads


class State(NamedTuple):
    """A plan under change. Where the first axis is 2 or 3 long it holds the present, what to take back, and the best."""

    seq: Ints32  # (3, m, cap) items
    gap: Ints32  # (3, m, cap + 4) bits of the breaks in each gap
    kept: Ints  # (2, m, cap) options: to take back, and of the best plan
    label: Ints  # (2, m, cap + 1, 6): stretch from the start through the items before; stretch from this item to the end
    sums: Ints  # (2, m, columns)
    job: Ints  # (7, n + some)
    mark: Ints  # (9, m)
    memo: Ints  # (n, some ways, 2) what a job's insertion into a way cost when last looked at
    cell: Ints
    cost: npt.NDArray[np.float64]
    random: Words
