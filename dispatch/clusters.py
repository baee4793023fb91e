"""Parts of a large plan that can be searched one by one: routes that lie together, cut anew each time.

A group of routes is halved along the line between two of its jobs far from each other, judged by travel alone (a matrix has no
map), until the groups are small. The line is drawn by lot, so that the next cut runs elsewhere.
"""

from __future__ import annotations

import numpy as np

from dispatch.kernel.engine import Trips
from dispatch.kernel.shape import FROM_PLACE, TO_PLACE, Data, Ints

UNEVEN = 0.1  # a cut lies so far from the middle at most
MANY = 8  # ways alike from which those without a job are dealt out evenly


def clusters(data: Data, trips: Trips, most: int, chance: np.random.Generator) -> list[tuple[Ints, Ints]]:
    """Ways and jobs of each part, about `most` jobs at the most, each way and each job in one part."""
    jobs, ways = len(data.jobs), len(data.ways)
    row_jobs: list[list[int]] = []  # a row to be dealt: a way with its jobs, or a job that is absent
    row_ways: list[int] = []
    places: list[list[int]] = []
    served = np.zeros(jobs, dtype=bool)
    spare: list[int] = []
    kind_size = np.zeros(ways, dtype=np.int64)
    for low, high in zip(data.kind_at[:-1], data.kind_at[1:], strict=True):
        kind_size[data.kind_ways[low:high]] = high - low
    for r in range(ways):
        mine = [item for item, _ in trips[r].items if item < jobs] if r in trips else []
        served[mine] = True
        at = data.place[mine].tolist() or [int(p) for p in data.ways[r, [FROM_PLACE, TO_PLACE]] if p >= 0]
        if at and (mine or kind_size[r] < MANY):
            row_jobs.append(mine)
            row_ways.append(r)
            places.append(at)
        else:
            spare.append(r)
    for j in np.flatnonzero(~served).tolist():
        row_jobs.append([j])
        row_ways.append(-1)
        places.append([int(data.place[j])])
    flat = np.array([place for at in places for place in at], dtype=np.int64)
    starts = np.concatenate(([0], np.cumsum([len(at) for at in places]))).astype(np.int64)
    size = np.array([len(mine) for mine in row_jobs], dtype=np.int64)
    groups = _halved(data, flat, starts, size, np.arange(len(size)), most, chance)
    found = []
    for k, group in enumerate(groups):
        own = [row_ways[row] for row in group if row_ways[row] >= 0] + spare[k :: len(groups)]
        found.append((np.array(sorted(own), dtype=np.int64), np.array(sorted(j for row in group for j in row_jobs[row]), np.int64)))
    return [(own, mine) for own, mine in found if len(own) and len(mine)]


def _halved(data: Data, flat: Ints, starts: Ints, size: Ints, group: Ints, most: int, chance: np.random.Generator) -> list[Ints]:
    """The group of rows, or its halves' halves."""
    total = int(size[group].sum())
    if total <= most or len(group) < 2:
        return [group]
    spots = np.concatenate([flat[starts[row] : starts[row + 1]] for row in group])
    owner = np.repeat(np.arange(len(group)), starts[group + 1] - starts[group])
    one = spots[int(chance.integers(len(spots)))]
    other = spots[int(data.travel[one, spots].argmax())]
    along = data.travel[one, spots].astype(np.float64) - data.travel[other, spots]
    mean = np.bincount(owner, weights=along, minlength=len(group)) / np.bincount(owner, minlength=len(group))
    order = np.argsort(mean, kind="stable")
    done = np.cumsum(size[group][order])
    cut = int(np.searchsorted(done, total * (0.5 + chance.uniform(-UNEVEN, UNEVEN)))) + 1
    cut = min(max(cut, 1), len(group) - 1)
    first = _halved(data, flat, starts, size, group[order[:cut]], most, chance)
    return first + _halved(data, flat, starts, size, group[order[cut:]], most, chance)
