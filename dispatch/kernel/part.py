"""A part of a problem as a problem of its own: some ways and some jobs, in tables small enough for the processor's caches."""

from __future__ import annotations

import numpy as np

from dispatch.kernel.engine import Trip, Trips
from dispatch.kernel.shape import ABSENCE, FROM_PLACE, OPTIONS, OPTIONS_END, ROW, TO_PLACE, Data, Ints, Ints32


class Part:
    """`data` of these ways and jobs, and the way there and back for trips. Items and options are numbered anew; `prices` are what
    the absence of each job of the whole costs."""

    def __init__(self, whole: Data, ways: Ints, jobs: Ints, prices: Ints) -> None:
        self.ways, self.jobs = ways, jobs
        count = len(whole.jobs)
        items = np.concatenate((jobs, np.arange(count, len(whole.place))))
        self._items = items
        self._item_of = {int(item): k for k, item in enumerate(items)}
        self._way_of = {int(way): k for k, way in enumerate(ways)}
        at = whole.place[items]
        ends = whole.ways[ways][:, [FROM_PLACE, TO_PLACE]]
        places = np.unique(np.concatenate((at, ends[ends >= 0])))
        rows, row = np.unique(whole.ways[ways, ROW], return_inverse=True)
        way_table = whole.ways[ways]
        way_table[:, ROW] = row.reshape(-1)
        way_table[:, [FROM_PLACE, TO_PLACE]] = np.where(ends >= 0, np.searchsorted(places, ends), -1)
        job_table = whole.jobs[jobs]
        job_table[:, ABSENCE] = prices[jobs]
        lengths = job_table[:, OPTIONS_END] - job_table[:, OPTIONS]
        firsts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        self._shift = job_table[:, OPTIONS] - firsts[:-1]
        options = np.arange(firsts[-1]) + np.repeat(self._shift, lengths)
        job_table[:, OPTIONS], job_table[:, OPTIONS_END] = firsts[:-1], firsts[1:]
        kind_at, kind_ways, kinds_near = self._kinds(whole)
        self.data = Data(
            travel=np.ascontiguousarray(whole.travel[np.ix_(places, places)]),
            metres=whole.metres if len(whole.metres) == 1 else np.ascontiguousarray(whole.metres[np.ix_(places, places)]),
            place=np.searchsorted(places, at).astype(np.int64),
            work=np.ascontiguousarray(whole.work[:, items]),
            ok=np.ascontiguousarray(whole.ok[rows][:, jobs]),
            option=np.ascontiguousarray(whole.option[options]),
            need=np.ascontiguousarray(whole.need[jobs]),
            stock=np.ascontiguousarray(whole.stock[ways]),
            ways=way_table,
            jobs=job_table,
            near=_renumbered(whole.near[jobs], jobs, count),
            kind_at=kind_at,
            kind_ways=kind_ways,
            kinds_near=kinds_near,
        )

    def _kinds(self, whole: Data) -> tuple[Ints, Ints, Ints32]:
        kinds, kept, sizes = [], [], []
        for kind in range(len(whole.kind_at) - 1):
            members = whole.kind_ways[whole.kind_at[kind] : whole.kind_at[kind + 1]].tolist()
            mine = [self._way_of[r] for r in members if r in self._way_of]
            if mine:
                kinds.append(kind)
                kept += mine
                sizes.append(len(mine))
        near = _renumbered(whole.kinds_near[self.jobs], np.array(kinds, dtype=np.int64), len(whole.kind_at))
        return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64), np.array(kept, dtype=np.int64), near

    def inward(self, trips: Trips) -> Trips:
        """Trips of the whole on this part's ways, in the part's numbers."""
        jobs = len(self.jobs)
        found = {}
        for r, trip in trips.items():
            at = self._way_of.get(r)
            if at is None:
                continue
            items = []
            for item, option in trip.items:
                k = self._item_of[item]
                items.append((k, option - int(self._shift[k]) if k < jobs else option))
            found[at] = Trip(tuple(items), trip.gaps)
        return found

    def outward(self, trips: Trips) -> Trips:
        """The part's trips in the whole's numbers."""
        jobs = len(self.jobs)
        return {
            int(self.ways[r]): Trip(
                tuple((int(self._items[k]), option + int(self._shift[k]) if k < jobs else option) for k, option in trip.items),
                trip.gaps,
            )
            for r, trip in trips.items()
        }


def _renumbered(table: Ints32, kept: Ints, count: int) -> Ints32:
    """Rows of numbers below `count` as places in `kept`, those not there left out, in order, padded with -1."""
    number = np.full(count + 1, -1, dtype=np.int32)
    number[kept] = np.arange(len(kept), dtype=np.int32)
    found = number[table]  # -1 stays -1
    order = np.argsort(found < 0, axis=1, kind="stable")
    found = np.take_along_axis(found, order, axis=1)
    width = max(1, int((found >= 0).sum(axis=1).max(initial=0)))
    return np.ascontiguousarray(found[:, :width])
