"""What all suites share: how they are asked, how a plan is made and checked, how rows become JSON and a table."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import platform
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from dispatch import Plan, Problem, solve, verify, warm_up
from dispatch.assemble import assemble, laid_out
from dispatch.compile import Compiled, compile_problem

Row = dict[str, object]
WIDE = 8  # columns of a table, at most
WEIGHT = 10  # a job of one class left out weighs ten of the next

console = Console(soft_wrap=True)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a suite is asked. `seconds` is the search time of each plan; `jobs` rows are measured at a time, each in a process."""

    suite: str
    data: str
    seconds: float
    seeds: tuple[int, ...] = (1,)
    threads: int = 1
    only: tuple[str, ...] = ()
    jobs: int = 1

    def chosen(self, names: Sequence[str]) -> list[str]:
        """The rows wanted. Raises ValueError when one is none of the suite's."""
        strange = sorted(set(self.only) - set(names))
        if strange:
            raise ValueError(f"{self.suite} has no {strange[0]}; it has: {', '.join(names)}")
        return [name for name in names if not self.only or name in self.only]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: a row each, figures over all rows by name, and how they came about."""

    suite: str
    rows: tuple[Row, ...]
    figures: dict[str, object]
    protocol: dict[str, object]


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """A question: its rows' names, how one is measured, what is made of all, and how it is said in words."""

    words: str
    names: Callable[[Ask], list[str]]
    row: Callable[[Ask, str], Row]
    figures: Callable[[Sequence[Row]], dict[str, object]]
    seconds: float
    alone: bool = False  # each row in a fresh process, for its peak memory


def planned(ask: Ask, problem: Problem, seed: int) -> Plan:
    """Our plan, checked. Raises AssertionError when it does not hold, which `solve` never lets happen."""
    plan = solve(problem, seconds=ask.seconds, seed=seed, threads=ask.threads)
    breaches = verify(problem, plan)
    assert not breaches, breaches[0]
    return plan


def median_plan(ask: Ask, problem: Problem) -> Plan:
    """Of the plans of all seeds the middle one by score."""
    plans = sorted((planned(ask, problem, seed) for seed in ask.seeds), key=lambda plan: plan.score)
    return plans[len(plans) // 2]


def judged(problem: Problem, orders: Sequence[Sequence[int]], compiled: Compiled | None = None) -> Plan:
    """A peer's answer as a plan: its order of jobs on each way laid out by our rules. What keeps no times there is left out."""
    known = compiled or compile_problem(problem)
    plan = assemble(known, laid_out(known, orders))
    breaches = verify(problem, plan)
    assert not breaches, breaches[0]
    return plan


def weight(plan: Plan) -> int:
    """One number for what is left out: a job of the last class 1, of the one before 10, and so on."""
    return sum(count * WEIGHT**k for k, count in enumerate(reversed(plan.score.unserved)))


def run(suite: Suite, ask: Ask, told: Callable[[Row], None]) -> Result:
    """Measures every row of the suite."""
    began = datetime.now(UTC)
    rows = []
    for row in _rows(suite, ask, suite.names(ask)):
        rows.append(row)
        told(row)
    return Result(suite=ask.suite, rows=tuple(rows), figures=suite.figures(rows), protocol=protocol(suite, ask, began))


def _rows(suite: Suite, ask: Ask, names: Sequence[str]) -> Iterator[Row]:
    if ask.jobs == 1 and not suite.alone:
        warm_up()
        yield from (suite.row(ask, name) for name in names)
        return
    spawn = multiprocessing.get_context("spawn")
    lives = 1 if suite.alone else None
    with ProcessPoolExecutor(ask.jobs, mp_context=spawn, initializer=warm_up, max_tasks_per_child=lives) as pool:
        yield from pool.map(suite.row, [ask] * len(names), names)


def protocol(suite: Suite, ask: Ask, began: datetime) -> dict[str, object]:
    """How the figures came about."""
    shared = " Rows were measured at the same time on one machine: they slow each other." if ask.jobs > 1 else ""
    return {
        "words": " ".join(suite.words.split()) + shared,
        "seconds": ask.seconds,
        "seeds": ask.seeds,
        "threads": ask.threads,
        "rows_at_a_time": ask.jobs,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "began": began.isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **_versions("ortools", "numba", "numpy", "pyvrp", "pyvroom")},
    }


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def values(rows: Sequence[Row], key: str) -> list[float]:
    """The numbers under a key, of the rows that have one."""
    return [float(value) for value in (row.get(key) for row in rows) if isinstance(value, int | float)]


def mean_and_worst(rows: Sequence[Row], *keys: str) -> dict[str, object]:
    """`mean_KEY` and `worst_KEY` over the rows."""
    found: dict[str, object] = {}
    for key in keys:
        numbers = values(rows, key)
        if numbers:
            found[f"mean_{key}"], found[f"worst_{key}"] = statistics.fmean(numbers), max(numbers)
    return found


def p95(numbers: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return sorted(numbers)[max(0, -(-95 * len(numbers) // 100) - 1)]


def show(result: Result) -> None:
    """Prints rows (as columns where there is much to a row), figures and the protocol."""
    keys = list(dict.fromkeys(key for row in result.rows for key in row if not key.endswith("_jobs")))
    lines = [[words(row.get(key)) for key in keys] for row in result.rows]
    if len(keys) > WIDE:
        keys, *lines = [list(column) for column in zip(keys, *lines, strict=True)]
    table = Table(*keys, box=None, header_style="bold")
    for line in lines:
        table.add_row(*line)
    console.print(table)
    for name, value in result.figures.items():
        console.print(f"[bold]{name}[/bold] {words(value)}", highlight=False)
    console.print(f"[dim]{result.protocol['words']}[/dim]", highlight=False)


def words(value: object) -> str:
    """A figure as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {words(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return "/".join(words(inner) for inner in value)
    return str(value)


def write(result: Result, path: Path) -> None:
    """Writes the result as JSON: figures by their names at the top, and those by row once more under `ratios`."""
    ratios = {name.removeprefix("ratios_to_"): value for name, value in result.figures.items() if isinstance(value, dict)}
    whole = {"suite": result.suite, **result.figures, "ratios": ratios, "rows": result.rows, "protocol": result.protocol}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1))
