"""`truckroll`: serve, set up a company, look into it, plan, and see the demo."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import sqlalchemy.exc
import typer
from rich.table import Table

from cli import bench, dispatch, leads, replay
from cli.common import Json, TenantName, console, inside, settings, tenant_id_of
from cli.forecast import forecast_command
from cli.intake import export_command, import_command
from cli.kpi import kpi_command
from server.context import Context, database_url
from server.explain import Explanation, Unknown, explain
from server.serve import run as run_for_ever
from server.serve import serve as run_server
from server.serve import work as run_work
from server.storage.migrate import migrate as run_migrations
from server.tenants import create_code, create_tenant, create_user
from sync.derive import conflicts_page, json_schema
from sync.policies import Role

T = TypeVar("T")

app = typer.Typer(
    help="Field service and field sales, offline first: devices that work without signal, days planned, leads that reach the desk.",
    epilog="Start with: truckroll serve. Everything else is in docs/.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
tenant_app = typer.Typer(help="Companies on this server.", no_args_is_help=True)
user_app = typer.Typer(help="People of a company, and codes to enrol their devices.", no_args_is_help=True)
device_app = typer.Typer(help="Enrolled devices: who has seen what, and who may come in.", no_args_is_help=True)
app.add_typer(tenant_app, name="tenant", rich_help_panel="Set up")
app.add_typer(user_app, name="user", rich_help_panel="Set up")
app.add_typer(device_app, name="device", rich_help_panel="Operate")
dispatch.app.command("replay")(replay.replay_day)
app.add_typer(dispatch.app, name="dispatch", rich_help_panel="Run")
app.add_typer(leads.app, name="leads", rich_help_panel="Run")
app.add_typer(bench.app, name="bench", rich_help_panel="Develop")
app.command("import", rich_help_panel="Set up")(import_command)
app.command("export", rich_help_panel="Set up")(export_command)
app.command("kpi", rich_help_panel="Run")(kpi_command)
app.command("forecast", rich_help_panel="Run")(forecast_command)


@app.command(rich_help_panel="Run")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [TRUCKROLL_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [TRUCKROLL_PORT].", min=0, max=65_535)] = None,
    *,
    worker: Annotated[bool, typer.Option(help="Run a worker process beside it.")] = True,
) -> None:
    """Serve devices and the office. Needs nothing else: without DATABASE_URL the PostgreSQL of the package is started."""
    chosen = settings()
    chosen = msgspec.structs.replace(chosen, host=chosen.host if host is None else host, port=chosen.port if port is None else port)
    console.print(f"truckroll serves on http://{chosen.host}:{chosen.port} (Ctrl-C ends it)")
    run_for_ever(run_server(chosen, with_worker=worker))


@app.command(rich_help_panel="Run")
def worker() -> None:
    """Work on jobs (plans, rules). Start as many as you like, on any machine, with the same DATABASE_URL."""
    url = database_url(settings())
    run_migrations(url)
    run_for_ever(run_work(url))


@app.command(rich_help_panel="Operate")
def migrate() -> None:
    """Bring the database to today's schema."""
    run_migrations(database_url(settings()))
    console.print("the database is at today's schema")


@app.command(rich_help_panel="Operate")
def rebuild(tenant: TenantName, entity: Annotated[str, typer.Argument(help="An entity, such as work_order.")]) -> None:
    """Make an entity's typed table anew from its records."""

    async def work(context: Context) -> None:
        async with context.office.of(await tenant_id_of(context, tenant)) as rows:
            await rows.rebuild(entity)

    inside(work)


@app.command(rich_help_panel="Run")
def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="End after the day instead of serving on.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    addresses: Annotated[Path | None, typer.Option(help="Place the sites on real addresses from this file.")] = None,
    city: Annotated[str, typer.Option(help="The city to take from the addresses.")] = "",
    seed: Annotated[int, typer.Option(help="Another company, another day.")] = 7,
) -> None:
    """Play a company's day: devices as processes, lost links, a killed phone, everything compared at the end."""
    from demo.main import Options, run  # noqa: PLC0415  # loads the planner and the SDK, which other commands do without

    raise typer.Exit(run(Options(once=once, json=json, addresses=addresses, city=city, seed=seed)))


@app.command(rich_help_panel="Develop")
def simulate(
    seeds: Annotated[str, typer.Option(help="Seeds, such as 7, 1,5,9 or 1..300.")] = "1..20",
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
) -> None:
    """Run the simulated world: devices, server, link, clocks and crashes under one scheduler, judged by an oracle."""
    from simulation.main import run, seeds_of  # noqa: PLC0415  # the product runs without it

    try:
        chosen = seeds_of(seeds)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="seeds") from error
    raise typer.Exit(run(chosen, json, jobs))


@app.command(rich_help_panel="Develop")
def schema() -> None:
    """Print the JSON Schema of every entity."""
    typer.echo(msgspec.json.format(msgspec.json.encode(json_schema())).decode())


@app.command(rich_help_panel="Develop")
def conflicts(write: Annotated[Path | None, typer.Option(help="Write the page here instead of printing it.")] = None) -> None:
    """Print, for every field, who may write it and who wins (docs/conflicts.md)."""
    if write is None:
        typer.echo(conflicts_page())
    else:
        write.write_text(conflicts_page())


@tenant_app.command("create")
def tenant_create(name: TenantName) -> None:
    """Make a company with an administrator, and print the code that enrols the administrator's device."""

    async def work(context: Context) -> str:
        try:
            tenant_id = await create_tenant(context, name)
        except sqlalchemy.exc.IntegrityError as error:
            raise typer.BadParameter(f"the name {name!r} is taken", param_hint="name") from error
        administrator = await create_user(context, tenant_id, "Administrator", Role.ADMINISTRATOR)
        return await create_code(context, tenant_id, administrator)

    console.print(f"company {name!r} made; its administrator enrols with the code [bold]{inside(work)}[/bold]")


@tenant_app.command("list")
def tenant_list() -> None:
    """List the companies."""

    async def work(context: Context) -> dict[str, int]:
        return dict(await context.office.tenants())

    for name, number in inside(work).items():
        console.print(f"{number:>4}  {name}")


@user_app.command("add")
def user_add(
    tenant: TenantName,
    name: Annotated[str, typer.Argument(help="The person's name.")],
    role: Annotated[Role, typer.Option(help="What the person may do.")],
    territory: Annotated[list[str] | None, typer.Option(help="A territory; may be repeated.")] = None,
) -> None:
    """Add a person and print a code that enrols a device of theirs."""

    async def work(context: Context) -> tuple[str, str]:
        tenant_id = await tenant_id_of(context, tenant)
        user_id = await create_user(context, tenant_id, name, role, territory or ())
        return user_id, await create_code(context, tenant_id, user_id)

    user_id, fresh = inside(work)
    console.print(f"user {user_id} made; a device enrols with the code [bold]{fresh}[/bold]")


@user_app.command("code")
def user_code(tenant: TenantName, user: Annotated[str, typer.Argument(help="The user's id.")]) -> None:
    """Print a fresh enrolment code for a user."""

    async def work(context: Context) -> str:
        return await create_code(context, await tenant_id_of(context, tenant), user)

    console.print(inside(work))


@device_app.command("list")
def device_list(tenant: TenantName, *, as_json: Json = False) -> None:
    """List the devices of a company and how many commits each has not seen."""

    async def work(context: Context) -> list[dict[str, object]]:
        async with context.office.of(await tenant_id_of(context, tenant)) as rows:
            return [row._asdict() for row in await rows.devices()]

    rows = inside(work)
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
        return
    table = Table("device", "user", "role", "status", "transactions", "behind", title=tenant)
    for row in rows:
        behind = int(str(row["clock_seq"])) - int(str(row["cursor_seq"]))
        table.add_row(str(row["id"]), str(row["user_name"]), str(row["role"]), str(row["status"]), str(row["last_n"]), str(behind))
    console.print(table)


@device_app.command("show")
def device_show(
    tenant: TenantName, device: Annotated[str, typer.Argument(help="The device's id.")], *, as_json: Json = False
) -> None:
    """Show one device: where it is, what waits of it, and its last exchanges."""

    async def work(context: Context) -> tuple[Any, Sequence[Any], Sequence[Any]]:
        async with context.office.of(await tenant_id_of(context, tenant)) as rows:
            found = next((row for row in await rows.devices() if row.id == device), None)
            if found is None:
                raise typer.BadParameter(f"there is no device {device!r}", param_hint="device")
            return found, await rows.parked_of(found.no, found.epoch), await rows.exchanges(found.no)

    row, parked, exchanges = inside(work)
    if as_json:
        shown = {
            "device": row._asdict(),
            "parked": [{"n": one.n, "reasons": one.reasons} for one in parked],
            "exchanges": [one._asdict() for one in exchanges],
        }
        typer.echo(msgspec.json.encode(shown).decode())
        return
    console.print(
        f"[bold]{row.name or row.id}[/bold] of {row.user_name} ({row.role}), {row.status}, last seen {_when(row.seen_ms)}"
    )
    console.print(f"has sent {row.last_n} transactions; at commit {row.cursor_seq} of {row.clock_seq}")
    for one in parked:
        console.print(f"parked {one.n}: {'; '.join(reason['detail'] for reason in one.reasons)}")
    table = Table("at", "ms", "sent", "taken", "bytes up", "bytes down", "checkpoint", "healed", title="last exchanges")
    for one in exchanges:
        numbers = (one.sent, one.taken, one.request_bytes, one.reply_bytes, one.checkpoint or "…", one.healed)
        table.add_row(_when(one.at_ms), f"{one.took_us / 1000:.1f}", *map(str, numbers))
    console.print(table)


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S") if at_ms else "never"


@app.command("explain", rich_help_panel="Operate")
def explain_command(
    tenant: TenantName,
    device: Annotated[str, typer.Option(help="The device's id.")],
    record: Annotated[str, typer.Option(help="The record, as entity/id.")],
    *,
    as_json: Json = False,
) -> None:
    """Tell why a device holds a record or does not, and the story of each of its fields."""
    entity, _, record_id = record.partition("/")

    async def work(context: Context) -> Explanation:
        async with context.office.of(await tenant_id_of(context, tenant), snapshot=True) as rows:
            return await explain(rows, device, entity, record_id)

    try:
        told = inside(work)
    except Unknown as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        typer.echo(msgspec.json.encode(told).decode())
        return
    console.print(f"[bold]{told.verdict}[/bold]")
    for way in told.ways:
        state = f"revoked by commit {way.revoked}" if way.revoked else "stands"
        through = f"through {way.through} " if way.through else ""
        console.print(f"  by {way.principal} {through}({way.reasons}), since commit {way.granted}: {state}")
    table = Table("field", "value", "commit", "by", "side", "at", title=f"{told.entity} {told.id}, version {told.seq}")
    for field in told.fields:
        value = msgspec.json.encode(field.value).decode()
        table.add_row(field.field, value, str(field.seq), field.device, field.side, _when(field.at_ms))
    console.print(table)
    for push in told.pushes:
        console.print(f"commit {push.seq}: {push.device}, transaction {push.n} {push.label!r}: {push.outcome}")
        console.print_json(data=push.changes, indent=None)
    for conflict in told.conflicts:
        console.print(
            f"conflict {conflict['id']} on {conflict['field'] or 'the record'}: {conflict['status']}, held {conflict['held']!r}"
        )


@tenant_app.command("restored")
def tenant_restored(tenant: TenantName) -> None:
    """Say that the database was restored from a backup: devices begin anew and send again what the backup lost."""

    async def work(context: Context) -> None:
        async with context.office.of(await tenant_id_of(context, tenant)) as rows:
            await rows.begin_incarnation(context.random(6).hex())

    inside(work)
    console.print("a new incarnation has begun; devices bring back what the backup lost at their next sync")


@tenant_app.command("prune")
def tenant_prune(tenant: TenantName, days: Annotated[int, typer.Option(help="Keep this many days.", min=1)] = 90) -> None:
    """Forget tombstones and ended links older than some days; devices away for longer are brought up to date by digests."""

    async def work(context: Context) -> int:
        async with context.office.of(await tenant_id_of(context, tenant)) as rows:
            return await rows.prune(context.now_ms() - days * 86_400_000)

    console.print(f"the tombstone horizon is commit {inside(work)}")


def _status_command(name: str, status: str, words: str) -> None:
    def command(tenant: TenantName, device: Annotated[str, typer.Argument(help="The device's id.")]) -> None:
        async def work(context: Context) -> bool:
            async with context.office.of(await tenant_id_of(context, tenant)) as rows:
                return await rows.set_device_status(device, status)

        if not inside(work):
            raise typer.BadParameter(f"there is no device {device!r}", param_hint="device")
        console.print(f"device {device} is now {status}")

    device_app.command(name, help=words)(command)


_status_command("suspend", "suspended", "Keep a device out until it is resumed; its work waits on it.")
_status_command("resume", "active", "Let a suspended device in again.")
_status_command("wipe", "wiping", "Let a device bring in its work once more and then erase itself.")
_status_command("revoke", "revoked", "Keep a device out for good.")


def main() -> None:
    app()
