"""`truckroll dispatch replay`: a moving day, played."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from dispatch import BadProblem, solve, warm_up
from dispatch.files import DayReport, load
from dispatch.formats import BadFile, read_releases
from dispatch.replay import Event, replay

console = Console()
errors = Console(stderr=True)


def replay_day(
    file: Annotated[Path, typer.Argument(help="Technician routing, or any other problem file.", exists=True, dir_okay=False)],
    releases: Annotated[Path, typer.Option(help="When requests become known: an _rd_ file.", exists=True, dir_okay=False)],
    seconds_per_event: Annotated[float, typer.Option(min=0.05, help="How long to repair the plan at each event.")] = 1.0,
    static_seconds: Annotated[float, typer.Option(min=0.1, help="How long to plan with every request known, to compare.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Another seed, another walk.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the day here.")] = None,
) -> None:
    """Play a moving day: requests of FILE become known while it runs, and the plan is repaired each time with the past frozen."""
    try:
        instance = load(file)
        released_s = read_releases(releases.read_text(encoding="utf-8"), instance)
    except (BadFile, BadProblem, ValueError) as error:
        raise typer.BadParameter(str(error)) from error

    def told(event: Event) -> None:
        words = f"{event.at_s / instance.scale:10,.1f}  {len(event.released)} new  {event.begun} begun  {event.planned} planned"
        errors.print(f"[dim]{words}  {event.left_out} left out[/dim]", highlight=False)

    warm_up()
    day = replay(instance.problem, released_s, seconds=seconds_per_event, seed=seed, on_event=told)
    static = solve(instance.problem, seconds=static_seconds, seed=seed)
    if day.outings == 0 and day.plan.score < static.score:  # knowing the future is no worse than not knowing it
        static = solve(instance.problem, seconds=static_seconds, seed=seed, start=day.plan)
    static_s = sum(route.duty_s for route in static.routes)
    found = DayReport(
        name=instance.name,
        served=day.plan.served,
        duration=day.duty_s / instance.scale,
        static_served=static.served,
        static_duration=static_s / instance.scale,
        future_ratio=day.duty_s / max(1, static_s),
        unserved=day.plan.unserved,
        verified=not day.breaches,
        breaches=day.breaches,
        outings=day.outings,
        seconds_per_event=seconds_per_event,
        static_seconds=static_seconds,
        seed=seed,
        events=day.events,
        routes=day.plan.routes,
    )
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    _show_day(found)
    if not found.verified:
        raise typer.Exit(1)


def _show_day(found: DayReport) -> None:
    table = Table("", "as it went", "all known", box=None)
    table.add_row("duration", f"{found.duration:,.3f}", f"{found.static_duration:,.3f}")
    table.add_row("served", str(found.served), str(found.static_served))
    console.print(table)
    console.print(f"not knowing the future costs {100 * (found.future_ratio - 1):.2f} % of duration", highlight=False)
    console.print(f"{len(found.events)} events, {found.outings} called out again from home", highlight=False)
    console.print("verified" if found.verified else f"[red]not verified: {found.breaches[0].words}[/red]", highlight=False)
    for left in found.unserved[:20]:
        console.print(f"{left.job}: {left.words}; {left.nearest}", highlight=False)
