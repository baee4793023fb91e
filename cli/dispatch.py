"""`truckroll dispatch`: plan a file's problem, and check a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from dispatch import BadProblem, Job, Plan, Progress, solve, verify
from dispatch.booking import Inserted, Price, insert, slots
from dispatch.figures import Figures
from dispatch.files import Report, decode_plan, load, report
from dispatch.formats import BadFile, Instance
from dispatch.geojson import geojson as as_geojson
from dispatch.page import page
from dispatch.reasons import clock_words
from dispatch.why import Why, why

app = typer.Typer(help="Plan days, check plans, ask why.", no_args_is_help=True)
console = Console()
errors = Console(stderr=True)

File = Annotated[Path, typer.Argument(help="TRSP, VRPLIB (VRPTW, prizes) or the project's own JSON.", exists=True, dir_okay=False)]


@app.command("solve")
def solve_file(
    file: File,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to search.")] = 10.0,
    iterations: Annotated[int | None, typer.Option(min=1, help="Search so many iterations instead: repeatable exactly.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another walk.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Search on so many threads.")] = 1,
    json: Annotated[Path | None, typer.Option(help="Write the report here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write map, day bars and figures here, as one file for a browser.")] = None,
    geojson: Annotated[Path | None, typer.Option(help="Write routes, stops and jobs left out here, as GeoJSON.")] = None,
) -> None:
    """Plan FILE and say what the plan serves, what it leaves out and why."""
    instance = _load(file)

    def told(news: Progress) -> None:
        cost = news.score.cost / instance.scale
        errors.print(f"[dim]{news.seconds:6.1f} s  {news.jobs_served} served  cost {cost:,.1f}[/dim]", highlight=False)

    plan = solve(instance.problem, seconds=seconds, iterations=iterations, seed=seed, threads=threads, on_progress=told)
    found = report(instance, plan)
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    if html is not None:
        html.write_text(page(instance, plan, verified=found.verified), encoding="utf-8")
    if geojson is not None:
        if not instance.problem.places:
            _stop("the problem's places have no coordinates")
        geojson.write_bytes(as_geojson(instance.problem, plan))
    _show(instance, found)
    if not found.verified:
        raise typer.Exit(1)


@app.command("check")
def check_plan(
    problem: File, plan: Annotated[Path, typer.Argument(help="A plan or report as JSON.", exists=True, dir_okay=False)]
) -> None:
    """Check PLAN against PROBLEM from the definition alone; every breach is named. Exit 1 when there is one."""
    instance = _load(problem)
    try:
        breaches = verify(instance.problem, decode_plan(plan.read_bytes()))
    except BadFile as error:
        _stop(str(error))
    for breach in breaches:
        console.print(f"[red]{breach.rule}[/red] {breach.worker} {breach.job}: {breach.words}", highlight=False)
    console.print("no breach" if not breaches else f"{len(breaches)} breaches")
    if breaches:
        raise typer.Exit(1)


PlanFile = Annotated[Path, typer.Argument(help="A plan or report as JSON.", exists=True, dir_okay=False)]
JobId = Annotated[str, typer.Argument(help="A job of the problem that the plan leaves out.")]
AnyJob = Annotated[str, typer.Argument(help="A job of the problem.")]


@app.command("why")
def why_this(
    problem: File,
    plan: PlanFile,
    job: AnyJob,
    worker: Annotated[str | None, typer.Option(help="Of a crew, the one to explain.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the answer here.")] = None,
) -> None:
    """Say why this worker and why then, with what every alternative adds; or why the plan leaves JOB out."""
    instance = _load(problem)
    _job(instance, job)
    try:
        told = why(instance.problem, _plan(plan), job, worker)
    except KeyError:
        _stop(f"the plan neither serves {job} nor says why not")
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=1))
    if not isinstance(told, Why):
        console.print(f"{told.job} is left out by {told.rule}: {told.words}; {told.nearest}", highlight=False)
        return
    span = f"{_when(instance, told.start_s)} to {_when(instance, told.end_s)}"
    console.print(f"{told.job}: {told.worker}, {span}; then, for {told.time_words} ({told.time_rule})", highlight=False)
    parts = ", ".join(f"{name} {price / instance.scale:,.1f}" for name, price in told.parts.items()) or "nothing"
    console.print(f"adds {_money(instance, told.price)}: {parts}", highlight=False)
    table = Table("instead", "shift", "start", "late", "moves", "cost", "", box=None)
    for other in told.instead:
        price = other.price
        more = ("", "", "") if price is None else (f"{price.late:+}", f"{price.moves:+}", f"{price.cost / instance.scale:+,.1f}")
        start = "" if other.start_s is None else _when(instance, other.start_s)
        table.add_row(other.worker, str(other.shift), start, *more, f"{other.rule}: {other.words}" if other.rule else "")
    console.print(table)


@app.command("insert")
def insert_job(
    problem: File,
    plan: PlanFile,
    job: JobId,
    json: Annotated[Path | None, typer.Option(help="Write the plan with the job here.")] = None,
) -> None:
    """Put JOB where it adds least to PLAN, the others' order untouched, and say what it adds there and elsewhere."""
    instance = _load(problem)
    found = insert(instance.problem, *_asked(instance, plan, job))
    if not isinstance(found, Inserted):
        _stop(f"{found.job}: {found.words}; {found.nearest}")
    table = Table("worker", "start", "late", "moves", "cost", box=None)
    for place in (found.best, *found.others):
        price = place.price
        table.add_row(place.worker, clock_words(place.start_s), str(price.late), str(price.moves), _money(instance, price))
    console.print(table)
    breaches = verify(instance.problem, found.plan)
    if breaches:
        _stop(f"the plan does not hold with the job: {breaches[0].words} ({len(breaches)} breaches; see dispatch check)")
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(found.plan), indent=1))


@app.command("slots")
def grade_slots(
    problem: File,
    plan: PlanFile,
    job: JobId,
    hours: Annotated[
        float, typer.Option(min=0.1, help="How long each window on offer is; of an instance file, in its own unit of time.")
    ] = 2.0,
) -> None:
    """Grade the windows that could be offered for JOB, from 0 (cannot be done) to 100 (adds least), over all shifts."""
    instance = _load(problem)
    spans = [(shift.start_s, shift.end_s) for worker in instance.problem.workers for shift in worker.shifts]
    if not spans:
        _stop("nobody has a shift")
    step_s = max(1, round(hours * (3600 if instance.scale == 1 else instance.scale)))
    starts = range(min(a for a, _ in spans), max(b for _, b in spans), step_s)
    windows = [(a, a + step_s) for a in starts if any(a <= end_s and start_s <= a + step_s for start_s, end_s in spans)]
    table = Table("from", "to", "grade", "worker", "cost", box=None)
    for slot in slots(instance.problem, *_asked(instance, plan, job), windows):
        who, cost = ("", "") if slot.insertion is None else (slot.insertion.worker, _money(instance, slot.insertion.price))
        table.add_row(clock_words(slot.start_s), clock_words(slot.end_s), str(slot.grade), who, cost)
    console.print(table)


def _money(instance: Instance, price: Price) -> str:
    return f"{price.cost / instance.scale:,.1f}"


def _plan(file: Path) -> Plan:
    try:
        return decode_plan(file.read_bytes())
    except BadFile as error:
        _stop(str(error))


def _asked(instance: Instance, file: Path, id_: str) -> tuple[Plan, Job]:
    """The plan and a job that it leaves out, or the end in words."""
    plan, job = _plan(file), _job(instance, id_)
    strange = [breach for breach in verify(instance.problem, plan) if breach.rule == "known"]
    if strange:
        _stop(f"{file.name} is no plan of this problem: {strange[0].words}")
    served = [route.worker for route in plan.routes if id_ in route.jobs]
    if served:
        _stop(f"the plan serves {id_} already: {', '.join(served)} goes there")
    return plan, job


def _job(instance: Instance, id_: str) -> Job:
    if id_ not in instance.problem.job_index:
        _stop(f"the problem has no job {id_}")
    return instance.problem.job(id_)


def _load(file: Path) -> Instance:
    try:
        return load(file)
    except (BadFile, BadProblem, ValueError) as error:
        _stop(str(error))


def _stop(words: str) -> NoReturn:
    errors.print(words, style="red", highlight=False)
    raise typer.Exit(2)


def _show(instance: Instance, found: Report) -> None:
    table = Table(box=None, show_header=False)
    rows = {
        "duration": f"{found.duration:,.3f}",
        "distance": f"{found.distance:,.3f}",
        "served": str(found.served),
        "unserved": str(len(found.unserved)),
        "routes": str(len(found.routes)),
        "verified": "yes" if found.verified else f"no: {found.breaches[0].words}",
    }
    for key, value in rows.items():
        table.add_row(key, value)
    for name, words in _figures(instance, found.figures).items():
        table.add_row(name, words)
    console.print(table)
    for left in found.unserved[:20]:
        console.print(f"{left.job}: {left.words}; {left.nearest}", highlight=False)


def _figures(instance: Instance, told: Figures) -> dict[str, str]:
    """Figures, levels and the parts of the cost in words."""
    shares = {"travel share": told.travel_share, "utilisation": told.utilisation, "on time": told.on_time_share}
    rows = {name: "–" if share is None else f"{share:.1%}" for name, share in shares.items()}
    late = f"{told.overtime_s / 60:,.0f} min" if instance.scale == 1 else f"{told.overtime_s / instance.scale:,.1f}"
    rows |= {"visits a route": f"{told.visits_per_route:.1f}", "overtime": late, "balance": f"{told.balance:.3f}"}
    rows |= {name: f"{value / instance.scale:,.1f}" if name == "cost" else f"{value:,}" for name, value in told.levels.items()}
    return rows | {f"cost of {name}": f"{cost / instance.scale:,.1f}" for name, cost in told.cost.items() if cost}


def _when(instance: Instance, t_s: int) -> str:
    return clock_words(t_s) if instance.scale == 1 else f"{t_s / instance.scale:,.1f}"


if __name__ == "__main__":
    app()
