"""A day at noon: an emergency put in, slots of a week graded, and a repair, beside planning the rest of the day anew."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from msgspec import structs

from benchmarks.dispatch import peers
from benchmarks.dispatch.days import DAY, HOUR, day, emergencies, week
from benchmarks.dispatch.run import Ask, Row, Suite, p95, planned
from dispatch import Job, Plan, Problem, Progress, solve, verify
from dispatch.board import Board
from dispatch.booking import Inserted, insert, insert_on, slots_on
from dispatch.replan import freeze, repair

NOON = 12 * HOUR
ASKED = 20  # emergencies put in, customers asking for a slot
AGAIN = 3  # of them with a repair and a plan from scratch
REPAIR_S = 1.0
SIZES = {"50x500": (50, 500)}

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds and the answer."""
    began_s = time.perf_counter()
    answer = work()
    return time.perf_counter() - began_s, answer


def names(ask: Ask) -> list[str]:
    """The sizes measured."""
    return ask.chosen(list(SIZES))


def row(ask: Ask, name: str) -> Row:
    """Medians and 95th percentiles of one size."""
    return measured(ask, name, day(*SIZES[name]), asked=ASKED, again=AGAIN)


def measured(ask: Ask, name: str, problem: Problem, *, asked: int, again: int, repair_s: float = REPAIR_S) -> Row:
    """The row of any day."""
    plan = planned(ask, problem, ask.seeds[0])
    noon = freeze(problem, plan, NOON)
    rest = repair(noon, plan, seconds=repair_s)
    jobs = emergencies(problem, asked, NOON, NOON + 4 * HOUR)
    insert(noon, rest, jobs[0])  # loads what is compiled
    board_s, board = timed(lambda: Board(noon, rest))
    cold, warm, put_in = [], [], []
    for job in jobs:
        cold.append(timed(lambda job=job: insert(noon, rest, job))[0])  # type: ignore[misc]  # bound by its default
        seconds, found = timed(lambda job=job: insert_on(board, job))  # type: ignore[misc]  # as above
        warm.append(seconds)
        if isinstance(found, Inserted):
            put_in.append((job, found.plan))
            assert not verify(replace(noon, jobs=(*noon.jobs, job)), found.plan)
    anew = [_anew(ask, noon, job, with_it, repair_s) for job, with_it in put_in[:again]]
    whole, days = week(problem, plan)
    asking = [structs.replace(job, windows=()) for job in jobs]
    week_s, week_board = timed(lambda: Board(whole, days))
    windows = [(d * DAY + h * HOUR, d * DAY + (h + 2) * HOUR) for d in range(5) for h in range(8, 18, 2)]
    tables = [timed(lambda job=job: slots_on(week_board, job, windows)) for job in asking]  # type: ignore[misc]  # as above
    resolve_s = statistics.median([again_["resolve_s"] for again_ in anew]) if anew else ask.seconds
    slots = [seconds for seconds, _ in tables]
    result: Row = {
        "day": name,
        "jobs_left_at_noon": sum(job.fact is None for job in noon.jobs),
        "emergencies": len(jobs),
        "put_in": len(put_in),
        "insert_median_ms": 1000 * statistics.median(cold),
        "insert_p95_ms": 1000 * p95(cold),
        "board_ms": 1000 * board_s,
        "insert_on_board_median_ms": 1000 * statistics.median(warm),
        "insert_on_board_p95_ms": 1000 * p95(warm),
        "slot_windows": len(windows),
        "slot_shifts": len(week_board.compiled.ways),
        "week_board_ms": 1000 * week_s,
        "slots_median_ms": 1000 * statistics.median(slots),
        "slots_p95_ms": 1000 * p95(slots),
        "slots_possible": statistics.median(sum(slot.grade > 0 for slot in table) for _, table in tables),
        "resolve_s": resolve_s,
        "resolve_over_insert": resolve_s / statistics.median(cold),
        "resolve_over_slots": resolve_s / (week_s + statistics.median(slots)),
    }
    for key in (
        "resolve_as_good_s",
        "repair_s",
        "repair_better_s",
        "insert_cost",
        "repair_cost",
        "resolve_cost",
        "ortools_first_s",
    ):
        numbers = [again_[key] for again_ in anew if key in again_]
        result[key] = statistics.median(numbers) if numbers else None
    first_s = result["ortools_first_s"]
    if isinstance(first_s, float):
        result["ortools_first_over_insert"] = first_s / statistics.median(cold)
        result["ortools_first_over_slots"] = first_s / (week_s + statistics.median(slots))
    result["repair_never_worse"] = all(again_["repair_never_worse"] for again_ in anew)
    return result


def _anew(ask: Ask, noon: Problem, job: Job, with_it: Plan, repair_s: float) -> dict[str, float]:
    """The rest of the day with the emergency: repaired from the insertion, planned from scratch, and OR-Tools' first answer."""
    problem = replace(noon, jobs=(*noon.jobs, job))
    found: dict[str, float] = {"insert_cost": with_it.score.cost}

    def watched(key: str) -> Callable[[Progress], None]:
        def told(news: Progress) -> None:
            if key not in found and (news.score < with_it.score or (key == "resolve_as_good_s" and news.score == with_it.score)):
                found[key] = news.seconds

        return told

    found["repair_s"], mended = timed(lambda: repair(problem, with_it, seconds=repair_s, on_progress=watched("repair_better_s")))
    found["resolve_s"], fresh = timed(
        lambda: solve(
            problem, seconds=ask.seconds, seed=ask.seeds[0], threads=ask.threads, on_progress=watched("resolve_as_good_s")
        )
    )
    assert not verify(problem, mended)
    found["repair_never_worse"] = mended.score <= with_it.score
    found["repair_cost"], found["resolve_cost"] = mended.score.cost, fresh.score.cost
    try:
        answer = peers.ortools(problem, ask.seconds)
    except peers.Absent:
        return found
    if answer.first_s is not None:
        found["ortools_first_s"] = answer.first_s
    return found


def figures(rows: Sequence[Row]) -> dict[str, object]:
    """How many times as long planning anew takes; the aims are 100 for an insertion and 10 for a table of slots."""
    return {
        key: {str(row["day"]): row[key] for row in rows if row.get(key) is not None}
        for key in ("resolve_over_insert", "resolve_over_slots", "ortools_first_over_insert", "ortools_first_over_slots")
    }


SUITE = Suite(
    words="""A generated day (seed 7) is planned, everything that has begun by noon is frozen, and 20 emergencies of the highest
        class are put in, each to start between 12 and 16 h. insert is the whole call on problem and plan; insert_on_board
        leaves out what a Board keeps. slots: a job without windows, 25 windows of two hours over 5 days x 50 workers, the
        same day repeated with 2500 jobs; the board of the week counts in resolve_over_slots. resolve is our solver from
        scratch on the rest of the day for the seconds given, what a dispatcher would wait for; resolve_as_good is when its
        walk first came level with the insertion; ortools_first when OR-Tools alone had any plan. The first three emergencies
        that fit are repaired (1 s) and planned anew. Costs are seconds driven from noon on; repair_better_s is when the
        repair first beat the insertion.""",
    names=names,
    row=row,
    figures=figures,
    seconds=10.0,
)
