"""Generated days with skills, windows, own homes, shifts, classes and breaks, beside VROOM and OR-Tools; without breaks PyVRP."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks.dispatch import peers
from benchmarks.dispatch.days import day
from benchmarks.dispatch.run import Ask, Row, Suite, judged, median_plan, values, weight
from dispatch import Plan, Problem
from dispatch.compile import compile_problem

SIZES = {"20x150": (20, 150), "50x500": (50, 500), "200x3000": (200, 3000)}
PLAIN = "-plain"  # the same day without breaks

Peer = Callable[[Problem, float], peers.Answer]


def names(ask: Ask) -> list[str]:
    """Each size with breaks and without."""
    return ask.chosen([name + kind for name in SIZES for kind in ("", PLAIN)])


def row(ask: Ask, name: str) -> Row:
    """Cost and what is left out by class, ours and each peer's, of one day."""
    return measured(ask, name, day(*SIZES[name.removesuffix(PLAIN)], breaks=not name.endswith(PLAIN)))


def measured(ask: Ask, name: str, problem: Problem) -> Row:
    """The row of any problem; a peer that has no answer is there with its reason."""
    ours = median_plan(ask, problem)
    result: Row = {"day": name, **_told("", ours), "verified": True}
    for peer, solve in _peers(ask, name).items():
        try:
            answer = solve(problem, ask.seconds)
        except peers.Absent as why:
            result[f"{peer}_absent"] = str(why)
            continue
        plan = judged(problem, answer.orders, compile_problem(problem))
        result |= _told(f"{peer}_", plan) | {f"{peer}_s": answer.seconds}
        if ours.score.unserved == plan.score.unserved:
            result[f"ratio_to_{peer}"] = ours.score.cost / max(1, plan.score.cost)
        result[f"no_class_worse_than_{peer}"] = ours.score.unserved <= plan.score.unserved
    return result


def _peers(ask: Ask, name: str) -> dict[str, Peer]:
    if name.endswith(PLAIN):
        return {"pyvrp": lambda problem, seconds: peers.pyvrp(problem, seconds, ask.seeds[0])}
    return {"vroom": peers.vroom, "ortools": peers.ortools}


def _told(who: str, plan: Plan) -> Row:
    return {
        f"{who}cost": plan.score.cost,
        f"{who}unserved_by_class": plan.score.unserved,
        f"{who}unserved_weight": weight(plan),
        f"{who}unserved_jobs": sorted(left.job for left in plan.unserved)[:20],
    }


def figures(rows: Sequence[Row]) -> dict[str, object]:
    """Ours over each peer's cost by day, its geometric mean, and whether a higher class is ever worse served by us."""
    found: dict[str, object] = {}
    for peer in ("vroom", "ortools", "pyvrp"):
        ratios = {str(row["day"]): row[f"ratio_to_{peer}"] for row in rows if f"ratio_to_{peer}" in row}
        if ratios:
            found[f"ratios_to_{peer}"] = ratios
            found[f"mean_ratio_to_{peer}"] = statistics.geometric_mean(values(rows, f"ratio_to_{peer}"))
    checks = [value for row in rows for key, value in row.items() if key.startswith("no_class_worse")]
    found["no_class_worse_than_a_peer"] = all(checks)
    return found


SUITE = Suite(
    words="""Generated days (seed 7): cost is seconds driven; what is left out is counted by class, most urgent first, and
        weighed 100, 10, 1. Each solver gets the same seconds and one thread (ours --threads), one after the other.
        Every answer is an order of jobs by shift, laid out, verified and priced by our evaluator. There is a ratio of
        costs only where both leave out the same of each class. no_class_worse says that ours, class by class from the
        most urgent on, leaves out no more. VROOM adds priorities up (100, 10, 1); it explores at level 5 below 1000
        jobs and at 2 from there, since it does not heed its limit then: vroom_s tells what it took.""",
    names=names,
    row=row,
    figures=figures,
    seconds=30.0,
)
