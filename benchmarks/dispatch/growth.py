"""How time to a first full plan and memory grow with the number of jobs."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.dispatch.days import day
from benchmarks.dispatch.run import Ask, Row, Suite, values
from dispatch import solve, verify

SIZES = (100, 300, 1000, 3000, 10_000)
JOBS_A_WORKER = 15


def names(ask: Ask) -> list[str]:
    """The sizes, in jobs."""
    return ask.chosen([str(size) for size in SIZES])


def row(ask: Ask, name: str) -> Row:
    """One size; the process is fresh, so its peak memory is this size's."""
    jobs = int(name)
    before_mb = fresh_peak_mb()
    problem = day(max(8, jobs // JOBS_A_WORKER), jobs)
    made_mb = peak_mb()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    plan = solve(problem, iterations=1, seed=ask.seeds[0])
    first_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    assert not verify(problem, plan)
    return {
        "jobs": jobs,
        "workers": len(problem.workers),
        "first_plan_s": first_s,
        "first_plan_cpu_s": cpu_s,
        "served": plan.served,
        "peak_mb": peak_mb(),
        "problem_mb": made_mb - before_mb,
        "growth_mb": peak_mb() - before_mb,
        "verified": True,
    }


def fresh_peak_mb() -> float:
    """The memory held now, from which the peak counts anew; where that cannot be had, the peak so far."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak_mb()
    return _status_mb("VmRSS") or peak_mb()


def peak_mb() -> float:
    """The most memory that this process held, since it was last asked to count anew."""
    return _status_mb("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024**2 if sys.platform == "darwin" else 1024
    )


def _status_mb(key: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:")), None)


def figures(rows: Sequence[Row]) -> dict[str, object]:
    """Slopes of the logarithms, by least squares over all sizes."""
    found: dict[str, object] = {}
    jobs = values(rows, "jobs")
    for key in ("first_plan_s", "first_plan_cpu_s", "growth_mb"):
        numbers = values(rows, key)
        if len(numbers) > 1 and min(numbers) > 0:
            found[f"{key}_exponent"] = float(np.polyfit(np.log(jobs), np.log(numbers), 1)[0])
    return found


SUITE = Suite(
    words="""Generated days (seed 7) with a worker for 15 jobs: seconds from a problem in memory to a plan that verify and OR-Tools'
        model accept, jobs placed greedily and hardly any search; what is compiled is loaded. Each size runs in a fresh process.
        first_plan_cpu_s is its processor time, without the child in which OR-Tools judges. peak_mb is all that it held, growth_mb
        without what Python and the packages take. The exponents are slopes of the logarithms.""",
    names=names,
    row=row,
    figures=figures,
    seconds=1.0,
    alone=True,
)
