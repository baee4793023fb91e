"""Why a job is left out, and the nearest change that would let it in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dispatch import constraints
from dispatch.compile import FAR_S, Alternative, Compiled, Way, shift_of, work_s
from dispatch.openings import Openings
from dispatch.plan import Unserved
from dispatch.problem import Job
from dispatch.schedule import travel_s

Clock = Callable[[int], str]

MORE_TIME = "give the search more time"
STRETCH_S = 4 * 3600  # overtime beyond the allowed that is worth proposing


def clock_words(t_s: int) -> str:
    """A moment as day and time counted from the origin: `day 2 08:30`."""
    day, rest = divmod(t_s, 86400)
    at = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}"
    return f"day {day + 1} {at}" if day else at


@dataclass(frozen=True, slots=True)
class _Case:
    openings: Openings
    k: int
    job: Job
    clock: Clock

    @property
    def compiled(self) -> Compiled:
        return self.openings.compiled


def why_unserved(openings: Openings, k: int, clock: Clock = clock_words) -> Unserved:
    """The rule that keeps search job k out of the plan of these openings, and what would let it in.

    A rule that no worker meets on any shift comes first; then times that no shift reaches; then the lack of room.
    """
    compiled = openings.compiled
    job = compiled.problem.jobs[compiled.open_jobs[k]]
    case = _Case(openings, k, job, clock)
    if not compiled.ways:
        return Unserved(job=job.id, rule="shift_hours", words="nobody has a shift", nearest="add a shift")
    if job.pinned_worker is not None and job.pinned_worker not in compiled.problem.worker_index:
        words = f"it is pinned to {job.pinned_worker}, who has no shift in this plan"
        return Unserved(job=job.id, rule="pinned_worker", words=words, nearest="lift the pin")
    for judge in (_refused, _unreachable, _not_worth, _crowded_out):
        answer = judge(case)
        if answer is not None:
            return answer
    return Unserved(job=job.id, rule="no_room", words="the search found no room for it", nearest=MORE_TIME)


def _refused(case: _Case) -> Unserved | None:
    """No worker may serve it on any shift."""
    problem = case.compiled.problem
    if any(case.compiled.ok[r, case.k] for r in range(len(case.compiled.ways))):
        return None
    fewest: tuple[int, str, str, str] | None = None
    counts: dict[str, int] = {}
    for way in case.compiled.ways:
        worker = problem.workers[way.worker]
        found = constraints.refusals(problem, worker, shift_of(problem, way), case.job)
        for name, _ in found:
            counts[name] = counts.get(name, 0) + 1
        if found and (fewest is None or len(found) < fewest[0]):
            fewest = (len(found), found[0][0], found[0][1], worker.id)
    assert fewest is not None
    everywhere = [name for name, count in counts.items() if count == len(case.compiled.ways)]
    rule = everywhere[0] if everywhere else fewest[1]
    needs = " and ".join(f"{need.skill} level {need.level}" for need in case.job.skills)
    words = f"no one with {needs}" if rule == "skills" else f"every worker is refused by {rule}: {fewest[2]}"
    return Unserved(job=case.job.id, rule=rule, words=words, nearest=f"{fewest[3]} comes nearest: {fewest[2]}")


def _ways_near(case: _Case) -> Iterator[tuple[int, Way]]:
    """Shifts that may serve the job, nearest start first."""
    rows = [(r, way) for r, way in enumerate(case.compiled.ways) if case.compiled.ok[r, case.k]]
    rows.sort(key=lambda row: (travel_s(case.compiled.problem, row[1].start_place, case.job.place), row[0]))
    yield from rows


def _slack_s(case: _Case, way: Way, option: Alternative) -> int:
    """Seconds by which an otherwise empty shift misses this alternative; 0 or less when it fits."""
    problem = case.compiled.problem
    reach_s = way.earliest_s + travel_s(problem, way.start_place, case.job.place)
    start_s = max(reach_s, option.start_s)
    home_s = start_s + work_s(case.job, problem.workers[way.worker]) + travel_s(problem, case.job.place, way.end_place)
    return max(reach_s - option.end_s, home_s - way.end_s)


def _unreachable(case: _Case) -> Unserved | None:
    """Workers who may serve it have no shift at its times, even with nothing else to do."""
    options = case.compiled.alternatives[case.k]
    if not options:
        words = "its windows, release and pinned start leave no moment to start"
        return Unserved(job=case.job.id, rule="windows", words=words, nearest="widen its window")
    nearest: tuple[int, str] | None = None
    for _, way in _ways_near(case):
        worker = case.compiled.problem.workers[way.worker].id
        for option in options:
            slack_s = _slack_s(case, way, option)
            if slack_s <= 0:
                return None
            if nearest is None or slack_s < nearest[0]:
                nearest = (slack_s, worker)
    if nearest is None:
        return None
    words = "no shift of anyone who may serve it reaches its times"
    hint = f"a shift of {nearest[1]} longer by {-(-nearest[0] // 60)} minutes, or another window, would do"
    return Unserved(job=case.job.id, rule="shift_hours", words=words, nearest=hint)


def _not_worth(case: _Case) -> Unserved | None:
    """It is optional and there is room for it, so that it costs more than it brings."""
    found = None if case.job.priority is not None else case.openings.nearest(case.k, case.compiled.alternatives[case.k], 0)
    if found is None:
        return None
    late, moves, cost = case.openings.added(found[1])
    dear = (late, moves) > (0, 0) or cost >= case.job.value
    if not dear:
        return Unserved(job=case.job.id, rule="no_room", words="the search found no room for it", nearest=MORE_TIME)
    words = "it is worth less than it costs, wherever the search tried it"
    if (late, moves) > (0, 0):
        nearest = "it would make something late, or move what is published"
    elif case.job.value > 0:
        nearest = f"{100 * cost // case.job.value + 1} % of its value would do"
    else:
        nearest = f"it has no value; one above {cost} would do"
    return Unserved(job=case.job.id, rule="value", words=words, nearest=nearest)


def _crowded_out(case: _Case) -> Unserved | None:
    """Everyone who may serve it is busy: look for overtime, then for another time."""
    longer = case.openings.nearest(case.k, case.compiled.alternatives[case.k], STRETCH_S)
    words = "everyone who may serve it is taken by jobs that come first"
    if longer is not None:
        minutes = -(-max(longer[0], 60) // 60)
        return Unserved(
            job=case.job.id, rule="no_room", words=words, nearest=f"{minutes} minutes of overtime for {longer[1].worker} would do"
        )
    elsewhere = case.openings.nearest(case.k, (Alternative(-FAR_S, FAR_S),), 0)
    if elsewhere is None:
        return Unserved(job=case.job.id, rule="no_room", words=words, nearest="another shift of someone who may serve it would do")
    at = next(stop.start_s for stop in elsewhere[1].stops if stop.job == case.job.id)
    hint = f"{elsewhere[1].worker} could start it at {case.clock(at)}, outside its windows"
    return Unserved(job=case.job.id, rule="no_room", words=words, nearest=hint)
