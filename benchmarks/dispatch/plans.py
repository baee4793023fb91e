"""How good are the plans? One suite per question, JSON out.

trsp     technician routing (duration): gap to the dissertation's best known, and the same without service time
vrptw    1000 customers (distance): gap to the best known solution
pcvrptw  the same with prizes (distance and prizes not collected)
field    generated days with skills, windows, own homes, shifts, priorities and breaks, against OR-Tools' own search
growth   generated days of growing size: seconds to a first full plan, peak memory, and how both grow

Protocol: one process, one thread, nothing else on the machine; each instance once per seed, the median reported; every plan is
checked. Run: uv run truckroll bench dispatch --suite trsp --seconds 60 --json trsp.json [--only R109] [--seeds 1,2,3]
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import resource
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from dispatch import Break, Job, Plan, Problem, Rates, Shift, SkillHeld, SkillNeed, Window, Worker, estimate, solve, verify
from dispatch.compile import compile_problem
from dispatch.formats import Instance, read_instance
from dispatch.ortools_search import search
from dispatch.solver import assemble, laid_out

DATA = Path("../shared/data")
HOUR = 3600


def solved(instance: Instance, seconds: float, seed: int) -> Plan:
    plan = solve(instance.problem, seconds=seconds, seed=seed)
    breaches = verify(instance.problem, plan)
    if breaches:
        raise SystemExit(f"{instance.name}: {breaches[0]}")
    return plan


def trsp(args: argparse.Namespace) -> dict[str, object]:
    best = {row["instance"]: float(row["duration"]) for row in csv.DictReader((DATA / "trsp/bks.csv").open())}
    rows = []
    for name in chosen(best, args):
        instance = read_instance(DATA / f"trsp/{name}.txt")
        service = sum(job.duration_s for job in instance.problem.jobs) / instance.scale
        durations, unserved = [], 0
        for seed in args.seeds:
            plan = solved(instance, args.seconds, seed)
            unserved = max(unserved, len(plan.unserved))
            durations.append(sum(route.duty_s for route in plan.routes) / instance.scale)
        found = statistics.median(durations)
        row = {
            "instance": name,
            "duration": found,
            "best_known": best[name],
            "gap_pct": 100 * (found / best[name] - 1),
            "gap_without_service_pct": 100 * (found - best[name]) / (best[name] - service),
            "unserved": unserved,
            "verified": True,
        }
        tell(row)
        rows.append(row)
    return summary(rows, ("gap_pct", "gap_without_service_pct"))


def vrplib(args: argparse.Namespace) -> dict[str, object]:
    rows = []
    for path in sorted((DATA / args.suite).glob("*.vrp")):
        if args.only and path.stem not in args.only:
            continue
        instance = read_instance(path)
        words = path.with_suffix(".sol").read_text().split()
        best = float(words[-1]) * (instance.scale if args.suite == "vrptw" else 1)
        plans = [solved(instance, args.seconds, seed) for seed in args.seeds]
        cost = statistics.median(plan.score.cost for plan in plans)
        row = {
            "instance": path.stem,
            "cost": cost / instance.scale,
            "best_known": best / instance.scale,
            "gap_pct": 100 * (cost / best - 1),
            "unserved": max(len(plan.unserved) for plan in plans),
            "verified": True,
        }
        tell(row)
        rows.append(row)
    return summary(rows, ("gap_pct",))


def day(workers: int, jobs: int, seed: int) -> Problem:
    """A city's day: clustered sites, homes of their own, five skills, three classes, half the jobs with windows, a lunch break."""
    draw = random.Random(seed)
    towns = [(36.1 + draw.gauss(0, 0.12), -86.8 + draw.gauss(0, 0.15)) for _ in range(max(3, workers // 4))]

    def point() -> tuple[float, float]:
        lat, lon = draw.choice(towns)
        return lat + draw.gauss(0, 0.03), lon + draw.gauss(0, 0.04)

    points = [point() for _ in range(workers + jobs)]
    lunch = Break(11 * HOUR + 1800, 13 * HOUR, 1800)
    staff = []
    for w in range(workers):
        start = draw.choice((7, 8, 8, 9)) * HOUR
        shift = Shift(start_s=start, end_s=start + draw.choice((8, 9)) * HOUR, start_place=w, end_place=w, breaks=(lunch,))
        skills = tuple(SkillHeld(f"s{k}", draw.randint(1, 3)) for k in draw.sample(range(5), draw.randint(2, 4)))
        rates = Rates(travel_per_s=1, duty_per_s=0)
        staff.append(Worker(id=f"w{w}", shifts=(shift,), skills=skills, pace_pct=draw.choice((90, 100, 100, 115)), rates=rates))
    work = []
    for j in range(jobs):
        opens = draw.randrange(7, 15) * HOUR
        windows = (Window(opens, opens + draw.choice((2, 4)) * HOUR),) if draw.random() < 0.5 else ()
        skills_needed = (SkillNeed(f"s{draw.randrange(5)}", draw.choice((1, 1, 2))),) if draw.random() < 0.7 else ()
        minutes = draw.choice((10, 15, 20, 30, 45))
        work.append(
            Job(
                id=f"j{j}",
                place=workers + j,
                duration_s=minutes * 60,
                windows=windows,
                skills=skills_needed,
                priority=draw.choice((1, 2, 2, 3, 3, 3)),
            )
        )
    return Problem(workers=tuple(staff), jobs=tuple(work), travel=estimate(points))


def field(args: argparse.Namespace) -> dict[str, object]:
    rows = []
    for workers, jobs in ((20, 150), (50, 500), (200, 3000)):
        if args.only and f"{workers}x{jobs}" not in args.only:
            continue
        instance = Instance(f"{workers}x{jobs}", day(workers, jobs, 7), 1, planar=False)
        plans = [solved(instance, args.seconds, seed) for seed in args.seeds]
        plan = sorted(plans, key=lambda plan: plan.score)[len(plans) // 2]
        peer = ortools_alone(instance.problem, args.seconds) if jobs <= 500 else None
        row = {
            "instance": instance.name,
            "unserved_by_class": plan.score.unserved,
            "cost": plan.score.cost,
            "ortools_unserved_by_class": None if peer is None else peer.score.unserved,
            "ortools_cost": None if peer is None else peer.score.cost,
            "verified": True,
        }
        tell(row)
        rows.append(row)
    return {"rows": rows}


def ortools_alone(problem: Problem, seconds: float) -> Plan:
    compiled = compile_problem(problem)
    plan = assemble(compiled, {})
    for orders in search(problem, None, seconds=seconds, seed=1):
        if orders is not None:
            plan = min(plan, assemble(compiled, laid_out(compiled, orders)), key=lambda plan: plan.score)
    return plan


def growth(_args: argparse.Namespace) -> dict[str, object]:
    rows = []
    for jobs in (100, 300, 1000, 3000, 10_000):
        problem = day(max(8, jobs // 15), jobs, 7)
        began_s = time.monotonic()
        plan = solve(problem, iterations=1, seed=1)
        row = {
            "jobs": jobs,
            "first_plan_s": time.monotonic() - began_s,
            "served": plan.served,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        tell(row)
        rows.append(row)
    first, last = rows[1], rows[-1]
    exponent = math.log(last["first_plan_s"] / first["first_plan_s"]) / math.log(last["jobs"] / first["jobs"])
    return {"rows": rows, "time_exponent": exponent}


def chosen(names: dict[str, float], args: argparse.Namespace) -> list[str]:
    return [name for name in names if not args.only or name in args.only]


def summary(rows: list[dict[str, object]], gaps: tuple[str, ...]) -> dict[str, object]:
    result: dict[str, object] = {"rows": rows}
    for gap in gaps:
        values = [float(str(row[gap])) for row in rows]
        result[f"mean_{gap}"], result[f"worst_{gap}"] = statistics.fmean(values), max(values)
    return result


def tell(row: Mapping[str, object]) -> None:
    print(
        "  ".join(f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()), flush=True
    )


def run(suite: str, seconds: float, seeds: list[int], only: list[str], json_file: Path | None) -> int:
    """Runs a suite, prints its rows and summary, and writes them; 0 when every plan held."""
    args = argparse.Namespace(suite=suite, seconds=seconds, seeds=seeds, only=only)
    solve(day(2, 4, 1), iterations=1)  # the first use compiles
    result = {"suite": suite, "seconds": seconds, "seeds": seeds, **SUITES[suite](args)}
    print({key: value for key, value in result.items() if key != "rows"})
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=1))
    return 0


SUITES = {"trsp": trsp, "vrptw": vrplib, "pcvrptw": vrplib, "field": field, "growth": growth}
