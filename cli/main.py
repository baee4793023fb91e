"""`truckroll`: serve, set up a company, look into it, plan, and see the demo."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import sqlalchemy.exc
import typer
from rich.console import Console
from rich.table import Table

from server.context import Context, database_url, opened
from server.serve import serve as run_server
from server.serve import work as run_work
from server.settings import Settings
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

console = Console()

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TenantName = Annotated[str, typer.Argument(help="The company's name.")]


def settings() -> Settings:
    try:
        return Settings.read(os.environ)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def inside(work: Callable[[Context], Awaitable[T]]) -> T:
    """Run `work` on the configured database."""

    async def run() -> T:
        async with opened(database_url(settings()), connections=2) as context:
            return await work(context)

    return asyncio.run(run())


async def tenant_id_of(context: Context, name: str) -> int:
    known = await context.office.tenants()
    if name not in known:
        raise typer.BadParameter(f"there is no company {name!r}; there are: {', '.join(known) or 'none'}", param_hint="tenant")
    return known[name]


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
    asyncio.run(run_server(chosen, with_worker=worker))


@app.command(rich_help_panel="Run")
def worker() -> None:
    """Work on jobs (plans, rules). Start as many as you like, on any machine, with the same DATABASE_URL."""
    url = database_url(settings())
    run_migrations(url)
    asyncio.run(run_work(url))


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
            return [dict(row._mapping) for row in await rows.devices()]  # noqa: SLF001  # public in SQLAlchemy

    rows = inside(work)
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
        return
    table = Table("device", "user", "role", "status", "transactions", "behind", title=tenant)
    for row in rows:
        behind = int(str(row["clock_seq"])) - int(str(row["cursor_seq"]))
        table.add_row(str(row["id"]), str(row["user_name"]), str(row["role"]), str(row["status"]), str(row["last_n"]), str(behind))
    console.print(table)


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
_status_command("revoke", "revoked", "Keep a device out for good.")


def main() -> None:
    app()
