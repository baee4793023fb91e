"""Small problems given to CP-SAT whole, after the walk: proof that its plan is the best, or a better one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dispatch.child import Stopped, ask_until
from dispatch.compile import Compiled
from dispatch.exact import Answer, Leg, Pause, Small, Tour, solve_whole
from dispatch.kernel.shape import (
    ABSENCE,
    ALLOWED,
    DISLIKE,
    DUTY,
    EARLIEST,
    FROM_PLACE,
    LATEST_END,
    LATEST_START,
    METRE,
    MOST,
    MOVE,
    MOVED,
    OPTIONS,
    OPTIONS_END,
    OVERTIME,
    PACE,
    PAID_END,
    PAUSE,
    PAUSES,
    PER_ROUTE,
    ROW,
    TO_PLACE,
    TRAVEL,
    UNLIKED,
    Data,
)
from dispatch.schedule import Visit

JOBS, WAYS = 12, 30  # larger problems are the walk's
EFFORT = 0.3  # deterministic time


def whole(
    compiled: Compiled, data: Data, visits: Mapping[int, tuple[Sequence[Visit], object]], stop: Callable[[], bool]
) -> Answer | None:
    """CP-SAT's answer, its orders in problem jobs by way; None when the problem is beyond it or the caller has had enough."""
    begun = any(way.facts for way in compiled.ways)
    squared = any(worker.rates.balance_per_s for worker in compiled.problem.workers)  # its cost is linear
    if begun or squared or compiled.problem.depots or not 0 < len(data.jobs) <= JOBS or len(data.ways) > WAYS:
        return None
    rank = {i: k for k, i in enumerate(compiled.open_jobs)}
    small = Small(
        tours=tuple(_tour(data, r) for r in range(len(data.ways))),
        options=tuple(
            tuple((int(a), int(b), int(price)) for a, b, price in data.option[job[OPTIONS] : job[OPTIONS_END]]) for job in data.jobs
        ),
        absence=tuple(data.jobs[:, ABSENCE].tolist()),
        orders=tuple(tuple(rank[v.job] for v in visits[r][0]) if r in visits else () for r in range(len(data.ways))),
        effort=EFFORT,
    )
    try:
        answer = ask_until(stop, solve_whole, small)
    except Stopped:
        return None
    if answer.orders is None:
        return None
    return Answer(tuple(tuple(compiled.open_jobs[k] for k in order) for order in answer.orders), answer.proved)


def _tour(data: Data, r: int) -> Tour:
    way = [int(value) for value in data.ways[r]]
    bits = data.ok[way[ROW]]
    mine = [k for k in range(len(data.jobs)) if bits[k] & ALLOWED] if way[MOST] > 0 else []
    at = {0: (way[TO_PLACE], way[FROM_PLACE]), **{k + 1: (int(data.place[k]), int(data.place[k])) for k in mine}}
    return Tour(
        earliest_s=way[EARLIEST],
        latest_start_s=way[LATEST_START],
        end_s=way[LATEST_END],
        paid_end_s=way[PAID_END],
        per_route=way[PER_ROUTE],
        duty=way[DUTY],
        overtime=way[OVERTIME],
        most=way[MOST],
        pauses=tuple(Pause(*way[PAUSE + 3 * b : PAUSE + 3 * b + 3]) for b in range(way[PAUSES])),
        work_s={k: int(data.work[way[PACE], k]) for k in mine},
        price={
            k: (int(data.jobs[k, DISLIKE]) if bits[k] & UNLIKED else 0) + (int(data.jobs[k, MOVE]) if bits[k] & MOVED else 0)
            for k in mine
        },
        legs=tuple(_leg(data, way, (a, at[a][1]), (b, at[b][0])) for a in at for b in at if a != b),
        parts=tuple(({k: int(data.need[k, part]) for k in mine}, int(data.stock[r, part])) for part in range(data.need.shape[1])),
    )


def _leg(data: Data, way: Sequence[int], source: tuple[int, int], target: tuple[int, int]) -> Leg:
    a, b = source[1], target[1]
    if a < 0 or b < 0:
        return Leg(source[0], target[0], 0, 0)
    seconds = int(data.travel[a, b])
    metres = int(data.metres[a, b]) if way[METRE] else 0
    return Leg(source[0], target[0], seconds, way[TRAVEL] * seconds + way[METRE] * metres)
