"""The kernel held from Python: load a plan, anneal in slices, read the best plan out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dispatch.compile import FAR_S, Compiled
from dispatch.kernel import search
from dispatch.kernel.recreate import BLINKS, RECALLED
from dispatch.kernel.shape import (
    ABSENT,
    BEST_LENGTH,
    BIG,
    BLINK,
    CHOICE,
    COST,
    DIRTY,
    DIRTY_AT,
    DIRTY_WAY,
    DUTY,
    EXTRA,
    FULL,
    ITERATIONS,
    JOB_COUNT,
    LENGTH,
    OFFER,
    OPTIONS,
    OPTIONS_END,
    PACE,
    PAUSES,
    TOUCHED_AT,
    USED,
    WAY_OF,
    Data,
    Ints,
    Ints32,
    State,
)
from dispatch.kernel.tables import origin
from dispatch.schedule import Visit

REMEMBERED = 128  # ways of which a job's best insertion is remembered; more share places


@dataclass(frozen=True, slots=True)
class Trip:
    """One way's items as the kernel has them: (job or depot, option), and the gap of each break."""

    items: tuple[tuple[int, int], ...]
    gaps: tuple[int, ...]


Trips = Mapping[int, Trip]


class Engine:
    """A search under way. Deterministic for the data, the seed and the calls made."""

    def __init__(self, data: Data, seed: int, trips: Trips | None = None) -> None:
        self.data = data
        jobs, ways = len(data.jobs), len(data.ways)
        longest = max((len(trip.items) for trip in (trips or {}).values()), default=0)
        self.cap = min(jobs + 3, max(16 + 2 * jobs // max(ways, 1), longest + 4))
        self.state = _blank(data, self.cap, seed)
        self.load(trips or {})

    @property
    def iterations(self) -> int:
        """Iterations done so far."""
        return int(self.state.cell[ITERATIONS])

    @property
    def best_cost(self) -> float:
        """Cost of the best plan, absences included."""
        return float(self.state.cost[1])

    @property
    def absent(self) -> int:
        """Jobs that the present plan leaves out."""
        return int(self.state.cell[ABSENT])

    def load(self, trips: Trips) -> None:
        """Makes these trips the present plan, and the best."""
        longest = max((len(trip.items) for trip in trips.values()), default=0)
        if longest + 4 > self.cap:
            random, done = self.state.random, self.iterations
            self.cap = min(len(self.data.jobs) + 3, longest + 4)
            self.state = _blank(self.data, self.cap, 0)
            self.state.random[:], self.state.cell[ITERATIONS] = random, done
        s, jobs = self.state, len(self.data.jobs)
        s.job[WAY_OF] = -1
        s.gap[0] = 0
        s.sums[:] = 0
        s.mark[TOUCHED_AT] = -1
        for r, trip in trips.items():
            s.sums[0, r, LENGTH] = len(trip.items)
            for p, (item, option) in enumerate(trip.items):
                s.seq[0, r, p] = item
                if item < jobs:
                    s.job[WAY_OF, item], s.job[CHOICE, item] = r, option
            for k, gap in enumerate(trip.gaps):
                s.gap[0, r, gap] |= 1 << k
        for r in range(len(self.data.ways)):
            if r not in trips:
                s.gap[0, r, 1] = (1 << int(self.data.ways[r, PAUSES])) - 1
        search.begin(self.data, s)

    def fill(self) -> None:
        """Places all absent jobs greedily."""
        search.anneal(self.data, self.state, 1, 0.0, 1.0, 1)
        while self.state.cell[FULL]:
            self._grow()
            search.anneal(self.data, self.state, 1, 0.0, 1.0, 1)

    def anneal(self, iterations: int, temperature: float, cooling: float) -> float:
        """Runs a slice of annealing; the temperature it reached."""
        until = self.iterations + iterations
        while self.iterations < until:
            temperature = search.anneal(self.data, self.state, until - self.iterations, temperature, cooling, 0)
            self._grow()
        return temperature

    def count(self, iterations: int) -> None:
        """Adds iterations that an engine before this one has done."""
        self.state.cell[ITERATIONS] += iterations

    def travel_price(self) -> float:
        """What the present plan costs beyond the work on site and the jobs' own prices."""
        s, d = self.state, self.data
        served = np.flatnonzero(s.job[WAY_OF, : len(d.jobs)] >= 0)
        ways = d.ways[s.job[WAY_OF, served]]
        on_site = (ways[:, DUTY] * d.work[ways[:, PACE], served]).sum()
        return float(s.sums[0, :, COST].sum() - s.sums[0, :, EXTRA].sum() - on_site)

    def reheat(self) -> None:
        """Goes on from the best plan."""
        self.load(self.best())

    def best(self) -> dict[int, Trip]:
        """The best plan's trips by way."""
        s = self.state
        return self._trips(s.seq[2], s.gap[2], s.mark[BEST_LENGTH], s.kept[1])

    def present(self) -> dict[int, Trip]:
        """The present plan's trips by way."""
        s = self.state
        jobs = len(self.data.jobs)
        choice = np.where(s.seq[0] < jobs, s.job[CHOICE, np.minimum(s.seq[0], jobs - 1)], -1)
        return self._trips(s.seq[0], s.gap[0], s.sums[0, :, LENGTH], choice)

    def _trips(self, seq: Ints32, gap: Ints32, lengths: Ints, choice: Ints) -> dict[int, Trip]:
        trips = {}
        for r in np.flatnonzero(lengths):
            length = int(lengths[r])
            items = tuple(zip(seq[r, :length].tolist(), choice[r, :length].tolist(), strict=True))
            masks = gap[r, : length + 3].tolist()
            gaps = tuple(next(g for g, mask in enumerate(masks) if mask >> k & 1) for k in range(int(self.data.ways[r, PAUSES])))
            trips[int(r)] = Trip(items, gaps)
        return trips

    def _grow(self) -> None:
        """Gives routes more room when one was full; the search goes on from where it was."""
        if not self.state.cell[FULL]:
            return
        present, best, cost, random = self.present(), self.best(), self.best_cost, self.state.random.copy()
        done = self.iterations
        self.cap = min(len(self.data.jobs) + 3, self.cap * 2)
        self.state = _blank(self.data, self.cap, 0)
        self.load(best)
        if cost < BIG:
            s = self.state
            kept = (s.seq[2].copy(), s.gap[2].copy(), s.mark[BEST_LENGTH].copy(), s.kept[1].copy())
            self.load(present)
            s.seq[2], s.gap[2], s.mark[BEST_LENGTH], s.kept[1] = kept
            s.cost[1] = cost
            ways = np.arange(s.mark.shape[1])
            s.mark[DIRTY_WAY], s.mark[DIRTY_AT], s.cell[DIRTY] = ways, ways, len(ways)
        self.state.random[:] = random
        self.state.cell[ITERATIONS] = done


def visits_of_trips(compiled: Compiled, data: Data, trips: Trips) -> dict[int, tuple[list[Visit], tuple[int, ...]]]:
    """Trips as visits in the problem's own terms, with the gaps of their breaks."""
    start_s, jobs = origin(compiled), len(compiled.open_jobs)
    found: dict[int, tuple[list[Visit], tuple[int, ...]]] = {}
    for r, trip in trips.items():
        visits = []
        for item, option in trip.items:
            if item < jobs:
                low, high = int(data.option[option, 0]) + start_s, int(data.option[option, 1]) + start_s
                visits.append(Visit(compiled.open_jobs[item], int(data.place[item]), low, high))
            else:
                visits.append(Visit(-1, int(data.place[item]), -FAR_S, FAR_S))
        found[r] = (visits, trip.gaps)
    return found


def trips_of_visits(
    compiled: Compiled, data: Data, visits: Mapping[int, tuple[Sequence[Visit], Sequence[int] | None]]
) -> dict[int, Trip]:
    """The reverse of `visits_of_trips`."""
    start_s, jobs = origin(compiled), len(compiled.open_jobs)
    rank = {i: k for k, i in enumerate(compiled.open_jobs)}
    depot = {int(place): jobs + k for k, place in enumerate(data.place[jobs:])}
    trips = {}
    for r, (row, gaps) in visits.items():
        items = []
        for visit in row:
            if visit.job < 0:
                items.append((depot[visit.place], -1))
                continue
            k = rank[visit.job]
            options = range(int(data.jobs[k, OPTIONS]), int(data.jobs[k, OPTIONS_END]))
            items.append((k, next(o for o in options if int(data.option[o, 0]) + start_s == visit.start_s)))
        trips[r] = Trip(tuple(items), tuple(gaps or ()))
    return trips


def _blank(data: Data, cap: int, seed: int) -> State:
    """An empty state with room for `cap` items a way."""
    jobs, ways, parts = len(data.jobs), len(data.ways), data.need.shape[1]

    def ints(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return np.zeros(shape, dtype=np.int64)

    def small(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        return np.zeros(shape, dtype=np.int32)

    mixed = np.uint64((seed * 0x9E3779B97F4A7C15 + 0x2545F4914F6CDD1D) % (1 << 64) or 1)
    state = State(
        seq=small(3, ways, cap),
        gap=small(3, ways, cap + 4),
        kept=ints(2, ways, cap),
        label=ints(2, ways, cap + 1, 6),
        sums=ints(2, ways, USED + parts),
        job=ints(7, jobs + RECALLED),
        mark=ints(9, ways),
        memo=ints(jobs, min(ways, REMEMBERED), 2),
        cell=ints(OFFER + 9),
        cost=np.array([0.0, 0.0, 1.0]),
        random=np.array([mixed], dtype=np.uint64),
    )
    state.cell[JOB_COUNT] = jobs
    state.cell[BLINK] = round(1.0 / BLINKS)  # the first look, at the most urgent job's only way perhaps, is none to blink at
    return state
