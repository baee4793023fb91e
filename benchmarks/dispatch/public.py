"""Public instances against their best known solutions: technician routing, VRPTW, and VRPTW with prizes beside PyVRP."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.dispatch import peers
from benchmarks.dispatch.run import Ask, Row, Suite, judged, mean_and_worst, planned, values
from dispatch.formats import Instance, read_instance


def trsp_names(ask: Ask) -> list[str]:
    """The instances with a best known solution."""
    return ask.chosen(list(_best_durations(ask)))


def _best_durations(ask: Ask) -> dict[str, float]:
    with (Path(ask.data) / "trsp/bks.csv").open() as file:
        return {row["instance"]: float(row["duration"]) for row in csv.DictReader(file)}


def trsp_row(ask: Ask, name: str) -> Row:
    """Our median duration against the best known. A plan that leaves a request out has no gap: its count says so."""
    instance = read_instance(Path(ask.data) / f"trsp/{name}.txt")
    best = _best_durations(ask)[name]
    service = sum(job.duration_s for job in instance.problem.jobs) / instance.scale
    plans = [planned(ask, instance.problem, seed) for seed in ask.seeds]
    found = statistics.median(sum(route.duty_s for route in plan.routes) / instance.scale for plan in plans)
    unserved = max(len(plan.unserved) for plan in plans)
    row: Row = {"instance": name, "duration": found, "best_known": best, "unserved": unserved, "verified": True}
    if unserved == 0:
        row |= {"gap_pct": 100 * (found / best - 1), "gap_without_service_pct": 100 * (found - best) / (best - service)}
    return row


def trsp_figures(rows: Sequence[Row]) -> dict[str, object]:
    """Mean and worst gaps over the rows that serve every request."""
    whole = mean_and_worst(rows, "gap_pct", "gap_without_service_pct")
    return {**whole, "rows_with_unserved": sum(row["unserved"] != 0 for row in rows)}


def vrplib_names(ask: Ask) -> list[str]:
    """The suite's instances."""
    return ask.chosen(sorted(path.stem for path in (Path(ask.data) / ask.suite).glob("*.vrp")))


def vrplib_row(ask: Ask, name: str) -> Row:
    """Our median cost and PyVRP's, each for the same seconds, against the best known."""
    path = Path(ask.data) / ask.suite / f"{name}.vrp"
    instance = read_instance(path)
    best = float(path.with_suffix(".sol").read_text().split()[-1]) * (instance.scale if ask.suite == "vrptw" else 1)
    plans = [planned(ask, instance.problem, seed) for seed in ask.seeds]
    cost = statistics.median(plan.score.cost for plan in plans)
    row: Row = {
        "instance": name,
        "cost": cost / instance.scale,
        "best_known": best / instance.scale,
        "gap_pct": 100 * (cost / best - 1),
        "unserved": max(sum(plan.score.unserved) for plan in plans),
        "verified": True,
    }
    return row | _pyvrp(ask, instance, best)


def _pyvrp(ask: Ask, instance: Instance, best: float) -> Row:
    try:
        answers = [peers.pyvrp(instance.problem, ask.seconds, seed) for seed in ask.seeds]
    except peers.Absent as why:
        return {"pyvrp": str(why)}
    plans = [judged(instance.problem, answer.orders) for answer in answers]
    cost = statistics.median(plan.score.cost for plan in plans)
    return {
        "pyvrp_gap_pct": 100 * (cost / best - 1),
        "pyvrp_unserved": max(sum(plan.score.unserved) for plan in plans),
        "pyvrp_s": statistics.median(answer.seconds for answer in answers),
    }


def vrplib_figures(rows: Sequence[Row]) -> dict[str, object]:
    """Mean and worst gaps, ours and PyVRP's, and ours over PyVRP's by cost."""
    ratios = {
        str(row["instance"]): (100 + ours) / (100 + theirs)
        for row, ours, theirs in zip(rows, values(rows, "gap_pct"), values(rows, "pyvrp_gap_pct"), strict=False)
    }
    return {**mean_and_worst(rows, "gap_pct", "pyvrp_gap_pct"), "ratios_to_pyvrp": ratios}


TRSP = Suite(
    words="""Technician routing (Pillac): the duration of all routes, unrounded, against the dissertation's best known; the gap
        without service is (ours - best) / (best - service). The median of the seeds counts. Every plan passed verify and OR-
        Tools' model.""",
    names=trsp_names,
    row=trsp_row,
    figures=trsp_figures,
    seconds=60.0,
)
VRPTW = Suite(
    words="""Gehring-Homberger, 1000 customers, distances truncated to one decimal, against the .sol beside each instance; PyVRP
        for the same seconds on the same machine, after ours, its routes laid out and priced by our evaluator. The median of
        the seeds counts.""",
    names=vrplib_names,
    row=vrplib_row,
    figures=vrplib_figures,
    seconds=30.0,
)
