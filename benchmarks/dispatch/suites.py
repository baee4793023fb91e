"""The suites by name, and the run of one from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.dispatch import field, growth, public, realtime
from benchmarks.dispatch.run import Ask, Row, Suite, console, run, show, words, write

DATA = Path("../shared/data")
SUITES: dict[str, Suite] = {
    "trsp": public.TRSP,
    "vrptw": public.VRPTW,
    "pcvrptw": public.VRPTW,
    "field": field.SUITE,
    "realtime": realtime.SUITE,
    "growth": growth.SUITE,
}


def measure(
    suite: str,
    *,
    data: Path,
    seconds: float | None,
    seeds: Sequence[int],
    threads: int,
    only: Sequence[str],
    jobs: int,
    json: Path | None,
) -> None:
    """Runs a suite, prints and writes it. Raises ValueError, in words, for what it has not, or when its data is not there."""
    if suite not in SUITES:
        raise ValueError(f"there is no suite {suite!r}; there are: {', '.join(SUITES)}")
    if suite in ("trsp", "vrptw", "pcvrptw") and not (data / suite).is_dir():
        raise ValueError(
            f"{data / suite} is not there: the public instances are not part of the repository (--data says where they are)"
        )
    chosen = SUITES[suite]
    ask = Ask(
        suite=suite,
        data=str(data),
        seconds=chosen.seconds if seconds is None else seconds,
        seeds=tuple(seeds),
        threads=threads,
        only=tuple(only),
        jobs=jobs,
    )
    chosen.names(ask)

    def told(row: Row) -> None:
        console.print("  ".join(f"[dim]{key}[/dim] {words(value)}" for key, value in row.items()), highlight=False)

    result = run(chosen, ask, told)
    show(result)
    if json is not None:
        write(result, json)
