"""From a compiled problem to the kernel's arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dispatch.compile import Compiled, Way, shift_of, work_s
from dispatch.kernel.shape import AFTER_DEPOT, ALLOWED, KEYS, MOVED, PAUSE, UNLIKED, Bytes, Data, Ints, Ints32
from dispatch.score import classes
from dispatch.weights import late_price, move_price, search_prices

NEIGHBOURS = 50  # with optional visits twice as many: half of them may be absent
KINDS_NEAR = 24
ROW_BLOCK = 512  # rows of the distance table held at once while neighbours are picked
FAR = 1 << 30  # a time beyond any

Floats: TypeAlias = npt.NDArray[np.float32]


def tables(compiled: Compiled) -> Data:
    """The arrays of a problem; memory grows with jobs × neighbours beyond the travel matrix."""
    problem, ways = compiled.problem, compiled.ways
    jobs = [problem.jobs[i] for i in compiled.open_jobs]
    places = np.array([job.place for job in jobs] + list(problem.depots), dtype=np.int64)
    paces = {problem.workers[way.worker].pace_pct: problem.workers[way.worker] for way in ways}
    work = [[work_s(job, paces[pct]) for job in jobs] + [problem.depot_s] * len(problem.depots) for pct in sorted(paces)]
    option_at, option = _options(compiled, origin(compiled))
    need, stock = _parts(compiled)
    bits = _bits(compiled, need, stock)
    ok, inverse = np.unique(bits, axis=0, return_inverse=True)
    row = inverse.reshape(-1).astype(np.int64)
    kind_at, kind_ways = _kinds(compiled, row, stock)
    neighbours = NEIGHBOURS * (2 if any(job.priority is None for job in jobs) else 1)
    metred = any(problem.workers[way.worker].rates.distance_per_m for way in ways)
    return Data(
        travel=np.ascontiguousarray(problem.travel.seconds),
        metres=np.ascontiguousarray(problem.travel.metres) if metred else np.zeros((1, 1), dtype=np.int32),
        place=places,
        work=_table(work, len(places)),
        ok=np.ascontiguousarray(ok),
        option=option,
        need=need,
        stock=stock,
        ways=np.ascontiguousarray(np.hstack([_ways(compiled, row, kind_at, kind_ways), _breaks(compiled, origin(compiled))])),
        jobs=np.ascontiguousarray(np.hstack([_jobs(compiled, option_at), _keys(compiled, places, option_at, option)])),
        near=_near(compiled, places, bits, option_at, option, neighbours),
        kind_at=kind_at,
        kind_ways=kind_ways,
        kinds_near=_kinds_near(compiled, places, bits, kind_at, kind_ways),
    )


def _jobs(compiled: Compiled, option_at: Ints) -> Ints:
    """The columns of jobs up to KEYS."""
    problem = compiled.problem
    rank = {name: k for k, name in enumerate(classes(problem))}
    prices, moved = search_prices(compiled), _moved_prices(compiled)
    rows = []
    for k, i in enumerate(compiled.open_jobs):
        job = problem.jobs[i]
        first = 0 if job.pinned else 1 + (len(rank) if job.priority is None else rank[job.priority])
        rows.append((option_at[k], option_at[k + 1], prices[k], job.not_preferred_price, moved[k], first))
    return _table(rows, KEYS)


def _ways(compiled: Compiled, row: Ints, kind_at: Ints, kind_ways: Ints) -> Ints:
    """The columns of ways up to PAUSE."""
    problem, ways, origin_s = compiled.problem, compiled.ways, origin(compiled)
    paces = sorted({problem.workers[way.worker].pace_pct for way in ways})
    kind = np.zeros(len(ways), dtype=np.int64)
    kind[kind_ways] = np.repeat(np.arange(len(kind_at) - 1), np.diff(kind_at))
    rows = []
    for r, way in enumerate(ways):
        worker = problem.workers[way.worker]
        rates = worker.rates
        who = (paces.index(worker.pace_pct), row[r], _most(compiled, way), len(way.facts) > 0, len(way.breaks))
        where = (way.start_place, way.end_place)
        begin = (way.earliest_s - origin_s, min(way.latest_start_s, way.end_s) - origin_s)
        end = (way.end_s - origin_s, shift_of(problem, way).end_s - origin_s)
        rate = (rates.travel_per_s, rates.duty_per_s, rates.distance_per_m, rates.overtime_per_s, rates.per_route)
        rows.append((*who, *where, *begin, *end, *rate, rates.balance_per_s, *_spent(compiled, way), kind[r]))
    return _table(rows, PAUSE)


def origin(compiled: Compiled) -> int:
    """The moment the kernel calls 0."""
    return min((way.earliest_s for way in compiled.ways), default=0)


def _table(rows: Sequence[Sequence[int]], width: int) -> Ints:
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def _options(compiled: Compiled, origin_s: int) -> tuple[Ints, Ints]:
    late, move = late_price(compiled), move_price(compiled)
    counts = [len(options) for options in compiled.alternatives]
    rows = [
        (option.start_s - origin_s, option.end_s - origin_s, option.late * late + option.moves * move + option.cost)
        for options in compiled.alternatives
        for option in options
    ]
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(np.int64), _table(rows, 3)


def _spent(compiled: Compiled, way: Way) -> tuple[int, int]:
    """The shift's length, and the duty that its facts have used up."""
    shift = shift_of(compiled.problem, way)
    begun = [fact.start_s for fact in (compiled.problem.jobs[i].fact for i in way.facts) if fact is not None]
    return max(1, shift.end_s - shift.start_s), way.earliest_s - min(begun, default=way.earliest_s)


def _parts(compiled: Compiled) -> tuple[Ints, Ints]:
    """Parts needed by job and left on the van by way, after what the facts used."""
    problem = compiled.problem
    names = sorted({need.part for i in compiled.open_jobs for need in problem.jobs[i].parts})
    column = {name: c for c, name in enumerate(names)}
    need = np.zeros((len(compiled.open_jobs), len(names)), dtype=np.int64)
    for k, i in enumerate(compiled.open_jobs):
        for item in problem.jobs[i].parts:
            need[k, column[item.part]] += item.count
    stock = np.zeros((len(compiled.ways), len(names)), dtype=np.int64)
    for r, way in enumerate(compiled.ways):
        for item in problem.workers[way.worker].parts:
            if item.part in column:
                stock[r, column[item.part]] += item.count
        for i in way.facts:
            for item in problem.jobs[i].parts:
                if item.part in column:
                    stock[r, column[item.part]] -= item.count
    return need, stock


def _breaks(compiled: Compiled, origin_s: int) -> Ints:
    most = max((len(way.breaks) for way in compiled.ways), default=0)
    table = np.zeros((len(compiled.ways), max(most, 1), 3), dtype=np.int64)
    for r, way in enumerate(compiled.ways):
        for k, b in enumerate(way.breaks):
            pause = shift_of(compiled.problem, way).breaks[b]
            table[r, k] = (pause.earliest_s - origin_s, pause.latest_s - origin_s, pause.duration_s)
    return table.reshape(len(compiled.ways), -1)


def _bits(compiled: Compiled, need: Ints, stock: Ints) -> Bytes:
    """What stands between each way and each job, shape (ways, jobs)."""
    problem = compiled.problem
    bits = compiled.ok * np.uint8(ALLOWED)
    published = {entry.job: entry for entry in problem.published}
    with_tools: dict[frozenset[str], list[int]] = {}
    for k, i in enumerate(compiled.open_jobs):
        job = problem.jobs[i]
        if job.tools:
            with_tools.setdefault(job.tools, []).append(k)
        entry = published.get(job.id)
        for r, way in enumerate(compiled.ways) if entry is not None or job.preferred else ():
            worker = problem.workers[way.worker].id
            if job.preferred and worker not in job.preferred:
                bits[r, k] |= UNLIKED
            if entry is not None and entry.worker != worker:
                bits[r, k] |= MOVED
    for r, way in enumerate(compiled.ways):
        owned = problem.workers[way.worker].tools
        for tools, members in with_tools.items():
            if tools - owned:
                bits[r, members] |= AFTER_DEPOT
        if need.shape[1]:
            bits[r, (need > stock[r]).any(axis=1)] |= AFTER_DEPOT
    return bits


def _moved_prices(compiled: Compiled) -> Ints:
    price = move_price(compiled)
    published = {entry.job: entry.move_worker * price for entry in compiled.problem.published}
    return np.array([published.get(compiled.problem.jobs[i].id, 0) for i in compiled.open_jobs], dtype=np.int64)


def _most(compiled: Compiled, way: Way) -> int:
    if way.earliest_s > min(way.latest_start_s, way.end_s):
        return 0
    most = shift_of(compiled.problem, way).max_jobs
    return len(compiled.problem.jobs) if most is None else most - len(way.facts)


def _kinds(compiled: Compiled, row: Ints, stock: Ints) -> tuple[Ints, Ints]:
    """Ways that are alike in every respect, as slices of one list."""
    problem = compiled.problem
    groups: dict[object, list[int]] = {}
    for r, way in enumerate(compiled.ways):
        worker, shift = problem.workers[way.worker], shift_of(problem, way)
        spans = (way.start_place, way.end_place, way.earliest_s, way.latest_start_s, way.end_s, shift.end_s, shift.max_jobs)
        breaks = tuple(shift.breaks[b] for b in way.breaks)
        key = (spans, breaks, worker.rates, worker.pace_pct, int(row[r]), stock[r].tobytes(), way.facts)
        groups.setdefault(key, []).append(r)
    sizes = [len(members) for members in groups.values()]
    flat = [r for members in groups.values() for r in members]
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), np.array(flat, dtype=np.int64)


def _kinds_near(compiled: Compiled, places: Ints, bits: Bytes, kind_at: Ints, kind_ways: Ints) -> Ints32:
    """The kinds of way that may serve each job, nearest home first."""
    count = len(compiled.open_jobs)
    leaders = kind_ways[kind_at[:-1]]
    if not len(leaders) or not count:
        return np.full((count, 1), -1, dtype=np.int32)
    width = min(KINDS_NEAR, len(leaders))
    seconds = compiled.problem.travel.seconds
    far = np.zeros((count, len(leaders)), dtype=np.int64)
    for kind, r in enumerate(leaders):
        way = compiled.ways[r]
        if way.start_place >= 0:
            far[:, kind] += seconds[way.start_place, places[:count]]
        if way.end_place >= 0:
            far[:, kind] += seconds[places[:count], way.end_place]
        far[bits[r] & ALLOWED == 0, kind] = 1 << 40
    order = np.argsort(far, axis=1, kind="stable")[:, :width]
    order[np.take_along_axis(far, order, axis=1) >= 1 << 40] = -1
    return order.astype(np.int32)


def _near(compiled: Compiled, places: Ints, bits: Bytes, option_at: Ints, option: Ints, neighbours: int) -> Ints32:
    """The jobs nearest to each job, by road and by hour, among those that share a way with it."""
    count = len(compiled.open_jobs)
    width = min(neighbours, max(count - 1, 0))
    seconds, at = compiled.problem.travel.seconds, places[:count]
    columns, group = np.unique(bits & ALLOWED, axis=1, return_inverse=True)
    group = group.reshape(-1)
    together = (columns.astype(np.int64).T @ columns.astype(np.int64)) > 0
    single = np.diff(option_at) == 1
    opens, closes = np.full(count, -FAR, dtype=np.float32), np.full(count, FAR, dtype=np.float32)
    opens[single] = np.clip(option[option_at[:-1][single], 0], -FAR, FAR)
    closes[single] = np.clip(option[option_at[:-1][single], 1], -FAR, FAR)
    work = np.array([compiled.problem.jobs[i].duration_s for i in compiled.open_jobs], dtype=np.float32)
    near = np.zeros((count, width), dtype=np.int32)
    for low in range(0, count, ROW_BLOCK):
        high = min(count, low + ROW_BLOCK)
        mine = slice(low, high)
        there = seconds[np.ix_(at[mine], at)].astype(np.float32)
        back = seconds[np.ix_(at, at[mine])].T.astype(np.float32)
        cost = np.minimum(
            _in_time(there, opens[mine, None], closes[mine, None], work[mine, None], opens, closes),
            _in_time(back, opens[None, :], closes[None, :], work[None, :], opens[mine, None], closes[mine, None]),
        )
        cost[~together[group[mine]][:, group]] += 1e12
        cost[np.arange(high - low), np.arange(low, high)] = np.inf
        some = np.sort(np.argpartition(cost, width - 1, axis=1)[:, :width], axis=1) if width < count - 1 else np.argsort(cost)
        order = np.argsort(np.take_along_axis(cost, some, axis=1), axis=1, kind="stable")
        near[mine] = np.take_along_axis(some, order, axis=1)[:, :width]
    return near


def _in_time(drive_s: Floats, opens: Floats, closes: Floats, work: Floats, then_opens: Floats, then_closes: Floats) -> Floats:
    """Driving plus a fifth of the waiting, plus the lateness, that doing one after the other costs at best."""
    wait = then_opens - work - closes - drive_s
    np.maximum(wait, 0, out=wait)
    wait *= np.float32(0.2)
    late = drive_s + (opens + work - then_closes)
    np.maximum(late, 0, out=late)
    wait += late
    wait += drive_s
    return wait


def _keys(compiled: Compiled, places: Ints, option_at: Ints, option: Ints) -> Ints:
    """Sort keys for placing jobs: work, distance from the nearest home, window width, first start, last start."""
    count = len(compiled.open_jobs)
    keys = np.zeros((count, 5), dtype=np.int64)
    homes = np.array(sorted({way.start_place for way in compiled.ways if way.start_place >= 0}), dtype=np.int64)
    seconds = compiled.problem.travel.seconds
    for k, i in enumerate(compiled.open_jobs):
        keys[k, 0] = compiled.problem.jobs[i].duration_s
        rows = option[option_at[k] : option_at[k + 1]]
        if len(rows):
            keys[k, 2:] = (np.minimum(rows[:, 1] - rows[:, 0], 1 << 40).sum(), max(rows[:, 0].min(), -(1 << 40)), rows[:, 1].max())
    if len(homes) and count:
        keys[:, 1] = seconds[np.ix_(homes, places[:count])].mean(axis=0)
    return np.clip(keys, -(1 << 42), 1 << 42)
