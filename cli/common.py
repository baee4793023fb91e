"""What commands share: the configured database, the company, the console."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from server.context import Context, database_url, opened
from server.settings import Settings
from server.tenants import create_tenant

T = TypeVar("T")

console = Console()

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TenantName = Annotated[str, typer.Argument(help="The company's name.")]
Tenant = Annotated[
    str, typer.Option("--tenant", envvar="TRUCKROLL_TENANT", help="The company's name; not needed where there is but one.")
]


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


async def chosen_tenant(context: Context, name: str, *, fresh: str = "") -> int:
    """The named company, or the only one there is. Where there is none at all, one called `fresh` is made, if given."""
    known = await context.office.tenants()
    if name or len(known) > 1:
        return await tenant_id_of(context, name)
    if not known and fresh:
        return await create_tenant(context, fresh)
    if not known:
        raise typer.BadParameter("there is no company yet: truckroll tenant create", param_hint="tenant")
    return next(iter(known.values()))
