"""What is to be planned: places, workers with shifts, and jobs.

Units. All times are integer seconds counted from one origin that the caller picks (midnight of the first day, the Unix epoch); a
plan answers in the same clock. Lengths of time are seconds, distances metres, prices integers in a unit of the caller's choice:
pick one small enough (a thousandth of a cent) that a second's work is a whole number. Places are row numbers of the travel matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from msgspec import Struct

from dispatch.travel import TravelMatrix


class BadProblem(ValueError):
    """A problem that contradicts itself; `where` names the record and `rule` what it breaks."""

    def __init__(self, where: str, rule: str) -> None:
        super().__init__(f"{where}: {rule}")
        self.where = where
        self.rule = rule


class Place(Struct, frozen=True, kw_only=True):
    """A point for maps and travel estimates. `planar` files use `lon` as x and `lat` as y."""

    lat: float
    lon: float
    label: str = ""


class Window(Struct, frozen=True):
    """Bounds, both included, on the moment at which work at a job starts."""

    start_s: int
    end_s: int


class SkillNeed(Struct, frozen=True):
    """A job asks for this skill at this level or above."""

    skill: str
    level: int = 1


class SkillHeld(Struct, frozen=True):
    """A worker holds a skill. It counts for a shift when it is valid from the shift's start to its end; None is unbounded."""

    skill: str
    level: int = 1
    valid_from_s: int | None = None
    valid_to_s: int | None = None


class Parts(Struct, frozen=True):
    """A number of equal parts: needed by a job, or lying on a van when its shift starts."""

    part: str
    count: int


class Break(Struct, frozen=True):
    """A pause that starts within [earliest_s, latest_s].

    It falls between two stops and may interrupt the drive. It is void when the day starts after `earliest_s + duration_s` or ends
    by `latest_s`: then it is taken at home. Breaks are no part of a route's duty.
    """

    earliest_s: int
    latest_s: int
    duration_s: int


class Shift(Struct, frozen=True, kw_only=True):
    """One working day of one worker: at most one route is planned for it.

    The route leaves `start_place` no earlier than `start_s` and reaches `end_place` by `end_s`, or by `end_s + overtime_s` at the
    price of overtime. A place of None is open: the day starts at the first job, or ends with the last.
    """

    start_s: int
    end_s: int
    start_place: int | None = None
    end_place: int | None = None
    breaks: tuple[Break, ...] = ()
    overtime_s: int = 0
    max_jobs: int | None = None


class Rates(Struct, frozen=True, kw_only=True):
    """What a worker's route costs. Duty is end minus start of the route without its breaks, so it holds travel, waiting and
    work.

    `balance_per_s` makes a second dearer the fuller the shift is: a route of duty d on a shift of length h costs
    `balance_per_s` × d² ÷ h, rounded down. The sum of squares over equal shifts is least where all are equally full.
    """

    travel_per_s: int = 1
    duty_per_s: int = 1
    distance_per_m: int = 0
    overtime_per_s: int = 2
    per_route: int = 0
    balance_per_s: int = 0


class Worker(Struct, frozen=True, kw_only=True):
    """Someone who serves jobs. `pace_pct` is the share of a job's duration that they take: 80 is fast, 125 slow."""

    id: str
    shifts: tuple[Shift, ...]
    skills: tuple[SkillHeld, ...] = ()
    tools: frozenset[str] = frozenset()
    parts: tuple[Parts, ...] = ()
    territories: frozenset[str] = frozenset()  # empty: everywhere
    pace_pct: int = 100
    rates: Rates = Rates()


class Fact(Struct, frozen=True, kw_only=True):
    """A job that has started or is done: it happened, so no rule refuses it and no search moves it. Facts head their shift's
    route."""

    worker: str
    shift: int
    start_s: int
    end_s: int


class Job(Struct, frozen=True, kw_only=True):
    """One visit.

    Work takes `duration_s` at a normal pace; `due_s` is when it should have ended.
    `priority` 1 is served before any number of jobs of class 2, and so on; None is a visit that is made only where its `value`
    exceeds what it costs (a lead's expected value belongs there). `windows` are hard and empty means any time. A start outside
    all `soft_windows` costs `outside_price`. `due_s` is soft: lateness is weighed by `late_per_s`. `crew` different workers, each
    with the skills, tools and parts, start together; one of them is `pinned_worker`, if there is one. `after` names jobs that must
    have ended before this one starts. What a job costs is counted for every visit, so for each worker of a crew.
    """

    id: str
    place: int
    duration_s: int
    windows: tuple[Window, ...] = ()
    release_s: int | None = None
    due_s: int | None = None
    late_per_s: int = 1
    priority: int | None = 3
    value: int = 0
    skills: tuple[SkillNeed, ...] = ()
    tools: frozenset[str] = frozenset()
    parts: tuple[Parts, ...] = ()
    territory: str | None = None
    preferred: frozenset[str] = frozenset()
    not_preferred_price: int = 0  # paid when one who is not among `preferred` serves it
    excluded: frozenset[str] = frozenset()
    crew: int = 1
    after: frozenset[str] = frozenset()
    pinned_worker: str | None = None
    pinned_start_s: int | None = None
    fact: Fact | None = None
    soft_windows: tuple[Window, ...] = ()
    outside_price: int = 0  # paid when it starts outside all of `soft_windows`

    @property
    def pinned(self) -> bool:
        """Whether a person fixed who goes or when: a promise, above every priority."""
        return self.pinned_worker is not None or self.pinned_start_s is not None


class Published(Struct, frozen=True, kw_only=True):
    """Where the published plan has a job, and what it costs in peace to move it (more once the customer knows)."""

    job: str
    worker: str
    start_s: int
    move_worker: int = 1
    move_time: int = 1
    tolerance_s: int = 900


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Everything a plan depends on. Raises `BadProblem` on construction when ids repeat or references lead nowhere.

    `depots` are places where every tool and any number of parts can be fetched (taking `depot_s`); with none, a worker has what is
    on the van. Nothing that is not a fact departs before `now_s`.
    """

    workers: tuple[Worker, ...]
    jobs: tuple[Job, ...]
    travel: TravelMatrix
    places: tuple[Place, ...] = ()
    depots: tuple[int, ...] = ()
    depot_s: int = 0
    now_s: int | None = None
    published: tuple[Published, ...] = ()
    job_index: dict[str, int] = field(init=False, repr=False)
    worker_index: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "job_index", _index("job", (j.id for j in self.jobs)))
        object.__setattr__(self, "worker_index", _index("worker", (w.id for w in self.workers)))
        for where, rule in _faults(self):
            raise BadProblem(where, rule)

    def job(self, id_: str) -> Job:
        """The job of this id; KeyError when there is none."""
        return self.jobs[self.job_index[id_]]

    def worker(self, id_: str) -> Worker:
        """The worker of this id; KeyError when there is none."""
        return self.workers[self.worker_index[id_]]


def _after_itself(problem: Problem, job: Job) -> bool:
    seen: set[str] = set()
    ahead = list(job.after)
    while ahead:
        other = ahead.pop()
        if other in problem.job_index and other not in seen:
            seen.add(other)
            ahead += problem.job(other).after
    return job.id in seen


def _index(kind: str, ids: Iterable[str]) -> dict[str, int]:
    index: dict[str, int] = {}
    for i, id_ in enumerate(ids):
        if id_ in index:
            raise BadProblem(f"{kind} {id_}", "the id is used twice")
        index[id_] = i
    return index


def _faults(problem: Problem) -> Iterator[tuple[str, str]]:
    size = problem.travel.size
    if problem.places and len(problem.places) != size:
        yield "places", f"{len(problem.places)} places but a travel matrix of {size}"
    for depot in problem.depots:
        if not 0 <= depot < size:
            yield f"depot {depot}", "is no row of the travel matrix"
    for worker in problem.workers:
        yield from ((f"worker {worker.id}", rule) for rule in _worker_faults(worker, size))
    for job in problem.jobs:
        yield from ((f"job {job.id}", rule) for rule in _job_faults(problem, job, size))


def _worker_faults(worker: Worker, size: int) -> Iterator[str]:
    if worker.pace_pct <= 0:
        yield "pace_pct must be above 0"
    for i, shift in enumerate(worker.shifts):
        for place in (shift.start_place, shift.end_place):
            if place is not None and not 0 <= place < size:
                yield f"shift {i}: place {place} is no row of the travel matrix"
        if shift.end_s < shift.start_s:
            yield f"shift {i}: ends before it starts"
        for pause in shift.breaks:
            if pause.latest_s < pause.earliest_s or pause.duration_s < 0:
                yield f"shift {i}: a break's bounds are crossed"


def _job_faults(problem: Problem, job: Job, size: int) -> Iterator[str]:
    if not 0 <= job.place < size:
        yield f"place {job.place} is no row of the travel matrix"
    if job.duration_s < 0:
        yield "duration_s is negative"
    if job.crew < 1:
        yield "crew must be at least 1"
    if job.priority is not None and job.priority < 1:
        yield "priority starts at 1"
    crossed = [w for w in (*job.windows, *job.soft_windows) if w.end_s < w.start_s]
    if crossed:
        yield f"window {crossed[0].start_s}–{crossed[0].end_s} ends before it starts"
    missing = sorted(other for other in job.after if other not in problem.job_index)  # a difference with the keys would walk all
    if missing:
        yield f"comes after job {missing[0]}, which does not exist"
    elif job.after and _after_itself(problem, job):
        yield "comes after itself"
    # A pinned or excluded worker who has left is no fault of the problem: reasons name it.
    if job.fact is not None:
        index = problem.worker_index.get(job.fact.worker)
        if index is None or not 0 <= job.fact.shift < len(problem.workers[index].shifts):
            yield f"is a fact of worker {job.fact.worker}, shift {job.fact.shift}, which does not exist"
