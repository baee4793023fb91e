"""`solve`: a problem in, the best plan found out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from msgspec import Struct, structs

from dispatch import child
from dispatch.anneal import Run, spend
from dispatch.assemble import Laid, assemble, laid_out, visits_of
from dispatch.authority import approve
from dispatch.compile import Compiled, compile_problem
from dispatch.kernel.engine import trips_of_visits, visits_of_trips
from dispatch.kernel.shape import Data
from dispatch.kernel.tables import tables
from dispatch.links import Ties
from dispatch.plan import Plan, Score
from dispatch.problem import Job, Problem, Shift, Worker
from dispatch.rounds import solve_tied
from dispatch.small import whole
from dispatch.travel import matrix

PROGRESS_S = 0.1


class Progress(Struct, frozen=True, kw_only=True):
    """News of a running search: seconds since it began, jobs served, and the best plan so far; its score is the cost by level."""

    seconds: float
    jobs_served: int
    score: Score
    plan: Plan


def solve(
    problem: Problem,
    *,
    seconds: float | None = 10.0,
    iterations: int | None = None,
    seed: int = 0,
    threads: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    start: Plan | None = None,
) -> Plan:
    """The best plan found in `seconds`, or in `iterations` when given; never worse than `start` as far as that still holds.

    With `iterations` the same problem, seed, start and `threads` give the same plan. `on_progress` is called in this thread when
    the plan improves, at most some ten times a second; `should_stop` is asked every few hundredths of a second, and when it says
    True the best plan so far is returned. The plan has passed `verify` and OR-Tools' own model of the problem (`authority`);
    raises PlanRefused when it has not, which is a fault of the search. Plans told to `on_progress` have not been there yet.
    Crews and precedence among jobs to come are searched for in rounds (`rounds`); `on_progress` then hears of each round.
    """
    ties = Ties(problem)
    stop = should_stop or _never
    if not ties.jobs:
        plan = _search(
            _Caller(stop, threads, on_progress),
            problem,
            seconds=seconds,
            iterations=iterations,
            seed=seed,
            start=start,
            last=True,
        )
        return approve(problem, plan)
    began_s = time.monotonic()

    def told(plan: Plan) -> bool:
        if on_progress is not None:
            elapsed_s = time.monotonic() - began_s
            on_progress(Progress(seconds=elapsed_s, jobs_served=plan.served, score=plan.score, plan=plan))
        return not stop()

    search = partial(_search, _Caller(stop, threads))
    limit_s = None if iterations is not None else seconds
    return approve(problem, solve_tied(ties, search, seconds=limit_s, iterations=iterations, seed=seed, start=start, tell=told))


@dataclass(frozen=True, slots=True)
class _Caller:
    """What the caller lends and wants to hear."""

    stop: Callable[[], bool]
    threads: int
    on_progress: Callable[[Progress], None] | None = None


def _search(
    caller: _Caller,
    problem: Problem,
    *,
    seconds: float | None,
    iterations: int | None,
    seed: int,
    start: Plan | None,
    last: bool = False,
) -> Plan:
    """The kernel's walk, not judged yet; what is left out is explained only the `last` time."""
    began_s = time.monotonic()
    compiled = compile_problem(problem)
    given = {} if start is None else visits_of(compiled, start)
    if not compiled.ways or not compiled.open_jobs:
        return assemble(compiled, given, seed=seed, explain=last)
    child.prepare()
    data = tables(compiled)
    floor = assemble(compiled, given, seed=seed)
    left_s = None if seconds is None or iterations is not None else max(seconds / 4, seconds - (time.monotonic() - began_s))
    run = Run(compiled, data, seed, left_s, iterations, caller.threads)
    best: Laid = given
    done, told_s = 0, -1.0
    for news in spend(run, trips_of_visits(compiled, data, given) if given else None, caller.stop):
        done = news.iterations
        if news.trips is not None:
            best = visits_of_trips(compiled, data, news.trips)
            elapsed_s = time.monotonic() - began_s
            if caller.on_progress is not None and elapsed_s - told_s > PROGRESS_S:
                told_s = elapsed_s
                plan = assemble(compiled, best, seed=seed, iterations=done)
                caller.on_progress(Progress(seconds=elapsed_s, jobs_served=plan.served, score=plan.score, plan=plan))
    found = assemble(compiled, best, seed=seed, iterations=done)
    if found.score > floor.score:
        best = given
    best, proved = _whole(compiled, data, best, caller.stop) if last else (best, False)
    plan = assemble(compiled, best, seed=seed, iterations=done, explain=last)
    return structs.replace(plan, proved=proved)


def _whole(compiled: Compiled, data: Data, best: Laid, stop: Callable[[], bool]) -> tuple[Laid, bool]:
    """What CP-SAT makes of a small problem if it scores better, and whether that is proved to be the best."""
    answer = None if stop() else whole(compiled, data, best, stop)
    if answer is None or answer.orders is None:
        return best, False
    found, at_hand = laid_out(compiled, answer.orders), assemble(compiled, best)
    laid = assemble(compiled, found)
    priced = compiled.problem.published or any(job.due_s is not None for job in compiled.problem.jobs)
    priced = priced or any(len(way.breaks) > 1 for way in compiled.ways)  # where the model is looser than a plan
    complete = laid.served == len({i for order in answer.orders for i in order})
    better = laid.score < at_hand.score
    proved = answer.proved and not priced and complete and laid.score <= at_hand.score
    return (found if better else best), proved


def warm_up() -> None:
    """Loads the compiled search ahead of the first real run: about half a minute once on a machine, then a second."""
    worker = Worker(id="w", shifts=(Shift(start_s=0, end_s=60, start_place=0, end_place=0),))
    jobs = tuple(Job(id=id_, place=0, duration_s=40) for id_ in "jk")  # one of them stays out and is explained
    solve(Problem(workers=(worker,), jobs=jobs, travel=matrix([[0]])), iterations=1)


def _never() -> bool:
    return False
