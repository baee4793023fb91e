"""`truckroll bench`: measure the product, beside peers where there are any. The code is in `benchmarks/`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Measure, beside peers where there are any; every suite says its protocol and writes JSON.", no_args_is_help=True
)


def numbers(text: str) -> list[int]:
    """Numbers such as 7, 1,5,9 or 1..3. Raises typer.BadParameter."""
    try:
        low, _, high = text.partition("..")
        return list(range(int(low), int(high) + 1)) if high else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of numbers such as 1, 1,2 or 1..3") from error


@app.command("dispatch")
def dispatch(
    suite: Annotated[str, typer.Option(help="trsp, vrptw, pcvrptw, field, realtime or growth.")],
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Search time of each plan; every suite has its own default.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, such as 1 or 1..3; of several the median counts.")] = "1",
    threads: Annotated[int, typer.Option(min=1, help="Threads of our search; peers have one.")] = 1,
    only: Annotated[str, typer.Option(help="Only these rows, such as R109,C101 or 50x500.")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Rows at a time, each in a process; 1 for honest times.")] = 1,
    data: Annotated[Path, typer.Option(help="Where the public instances are.")] = Path("../shared/data"),
    json: Annotated[Path | None, typer.Option(help="Write rows, figures and protocol here.")] = None,
) -> None:
    """How good are the plans, how fast do they come, and beside whom?"""
    from benchmarks.dispatch import suites  # noqa: PLC0415  # loads the planner and its peers, which other commands do without

    try:
        suites.measure(
            suite, data=data, seconds=seconds, seeds=numbers(seeds), threads=threads, only=_names(only), jobs=jobs, json=json
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.command("sync")
def sync(
    suite: Annotated[str, typer.Option(help="peers (the comparison), growth or soak.")] = "peers",
    json: Annotated[Path | None, typer.Option(help="Write rows, ratios and protocol here.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="peers: rounds; medians count.")] = 3,
    only: Annotated[str, typer.Option(help="peers: only these workloads, such as push,small.")] = "",
    systems: Annotated[str, typer.Option(help="peers: only these systems beside ours, such as floor,kinto.")] = "",
    largest: Annotated[int, typer.Option(min=10_000, help="growth: records of the largest tenant.")] = 1_000_000,
    minutes: Annotated[float, typer.Option(min=0.5, help="soak: how long.")] = 30.0,
    *,
    short: Annotated[bool, typer.Option("--short", help="peers: less of everything, a first look.")] = False,
) -> None:
    """How much does the sync server take and give, beside its peers and beside a bare floor?"""
    from benchmarks.sync import growth, soak  # noqa: PLC0415  # loads the servers' drivers, which other commands do without
    from benchmarks.sync import suite as peers  # noqa: PLC0415  # the same

    match suite:
        case "peers":
            failed = peers.run(short=short, rounds=rounds, only=_names(only), systems=_names(systems), json=json)
        case "growth":
            failed = growth.run(largest=largest, json=json)
        case "soak":
            failed = soak.run(minutes=minutes, json=json)
        case _:
            raise typer.BadParameter(f"there is no suite {suite!r}", param_hint="suite")
    raise typer.Exit(1 if failed else 0)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]
