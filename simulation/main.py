"""Many worlds: `run` lives through seeds on one temporary PostgreSQL and reports what became of them."""

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from server.storage import embedded
from server.storage.migrate import migrate
from simulation.database import Database, relax
from simulation.plan import Fault, Plan, plan_of, smaller_than
from simulation.world import Report, make_template, run_world

_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # files that need not outlive the run
TROUBLES: Final = ("diverged", "lost", "doubled", "leaked")


class Summary(msgspec.Struct, frozen=True):
    """The JSON report. All of `diverged`, `lost`, `doubled` and `leaked` must be 0."""

    seeds: int
    transactions: int
    commits: int
    diverged: int
    lost: int
    doubled: int
    leaked: int
    faults: dict[str, int]
    outcomes: dict[str, int]
    steps_max_to_quiesce: int
    wall_s: float
    failures: tuple[dict[str, Any], ...]


@contextmanager
def temporary_server() -> Iterator[str]:
    """A PostgreSQL of our own that need not survive a power cut; yields the URL of a migrated database."""
    with tempfile.TemporaryDirectory(prefix="truckroll-sim-", dir=_memory(), ignore_cleanup_errors=True) as home:
        url = embedded.start(Path(home))
        relax(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("create database simulation")
        url = embedded.with_database(url, "simulation")
        migrate(url)
        yield url


def _memory() -> Path | None:
    return _MEMORY if _MEMORY.is_dir() else None


def run_plans(url: str, plans: Iterable[Plan], *, loud: bool = False) -> list[Report]:
    """One after the other, in this process."""
    return asyncio.run(_run_plans(url, list(plans), loud=loud))


async def _run_plans(url: str, plans: Sequence[Plan], *, loud: bool) -> list[Report]:
    database = Database(url)
    reports: list[Report] = []
    try:
        with tempfile.TemporaryDirectory(prefix="truckroll-devices-", dir=_memory()) as home:
            template = make_template(Path(home))
            for at, plan in enumerate(plans):
                folder = Path(home) / str(at)
                folder.mkdir()
                reports.append(await run_world(plan, database, folder, template, loud=loud))
    finally:
        await database.close()
    return reports


def summary_of(reports: Sequence[Report], wall_s: float) -> Summary:
    troubles = Counter(report.trouble for report in reports)
    faults: Counter[str] = Counter({fault.value: 0 for fault in Fault})
    outcomes: Counter[str] = Counter()
    for report in reports:
        faults.update(report.faults)
        outcomes.update(report.outcomes)
    failures = tuple({"seed": r.seed, "trouble": r.trouble, "what": r.what, "replay": replay(r.seed)} for r in reports if r.trouble)
    return Summary(
        seeds=len(reports),
        transactions=sum(report.transactions for report in reports),
        commits=sum(report.commits for report in reports),
        diverged=troubles["diverged"],
        lost=troubles["lost"],
        doubled=troubles["doubled"],
        leaked=troubles["leaked"],
        faults=dict(faults),
        outcomes=dict(outcomes),
        steps_max_to_quiesce=max((report.exchanges_to_quiesce for report in reports), default=0),
        wall_s=round(wall_s, 1),
        failures=failures,
    )


def replay(seed: int) -> str:
    """The command that lives through a seed again, exactly."""
    return f"python -m simulation --seeds {seed} --verbose"


def run(seeds: Sequence[int], json_path: Path | None, jobs: int) -> int:
    """Live through the seeds, print what failed, write the report; 1 if anything failed."""
    started = time.perf_counter()
    plans = [plan_of(seed) for seed in seeds]
    with temporary_server() as url:
        shares = [(url, plans[job::jobs]) for job in range(jobs)]
        if jobs == 1:
            reports = run_plans(url, plans)
        else:
            with multiprocessing.get_context("spawn").Pool(jobs) as pool:
                reports = [report for share in pool.starmap(run_plans, shares) for report in share]
    reports.sort(key=lambda report: report.seed)
    summary = summary_of(reports, time.perf_counter() - started)
    if json_path:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    _tell(summary)
    return 1 if summary.failures else 0


def _tell(summary: Summary) -> None:
    for failure in summary.failures:
        print(f"seed {failure['seed']} {failure['trouble']}: {failure['what'][:2000]}\n  replay: {failure['replay']}")  # noqa: T201  # the result
    told = msgspec.to_builtins(summary)
    del told["failures"]
    print(msgspec.json.format(msgspec.json.encode(told), indent=2).decode())  # noqa: T201  # the result


def seeds_of(text: str) -> list[int]:
    """Seeds as said on the command line.

    >>> seeds_of("3")
    [3]
    >>> seeds_of("1..4")
    [1, 2, 3, 4]
    """
    first, _, last = text.partition("..")
    return list(range(int(first), int(last or first) + 1))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation")
    parser.add_argument("--seeds", default="1..20", help="one seed, or first..last")
    parser.add_argument("--json", type=Path, help="where to write the report")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--verbose", action="store_true", help="print every event")
    parser.add_argument("--shrink", type=int, metavar="SEED", help="look for a shorter run in which this seed still fails")
    parser.add_argument("--plan", help="live through exactly this plan, as --shrink prints it")
    given = parser.parse_args(arguments)
    if given.shrink is not None:
        return shrink_seed(given.shrink)
    if given.plan or given.verbose:
        plans = [msgspec.json.decode(given.plan, type=Plan)] if given.plan else [plan_of(seed) for seed in seeds_of(given.seeds)]
        with temporary_server() as url:
            reports = run_plans(url, plans, loud=given.verbose)
        _tell(summary_of(reports, sum(report.wall_s for report in reports)))
        return 1 if any(report.trouble for report in reports) else 0
    return run(seeds_of(given.seeds), given.json, given.jobs)


def shrink_seed(seed: int) -> int:
    """Print the smallest run found in which a seed fails; 1 if it fails at all."""
    with temporary_server() as url:
        plan, report = shrink(url, plan_of(seed))
    if not report.trouble:
        print(f"seed {seed} does not fail")  # noqa: T201  # the result
        return 0
    line = msgspec.json.encode(plan, order="sorted").decode()
    print(f"{report.trouble}: {report.what[:2000]}")  # noqa: T201  # the result
    print("\n".join(report.last))  # noqa: T201  # the result
    print(f"replay: python -m simulation --verbose --plan '{line}'")  # noqa: T201  # the result
    return 1


def shrink(url: str, plan: Plan) -> tuple[Plan, Report]:
    """The smallest failing plan that is found by making one part smaller after the other, and how it fails."""
    (report,) = run_plans(url, [plan])
    smaller = bool(report.trouble)
    while smaller:
        smaller = False
        for candidate in smaller_than(plan):
            (found,) = run_plans(url, [candidate])
            if found.trouble:
                plan, report, smaller = candidate, found, True
                break
    return plan, report
