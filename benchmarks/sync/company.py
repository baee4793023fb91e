"""A company to measure with, written through the one door as the server would; users and devices are put in at once.

Technicians with four orders each, so that each holds eleven scopes; a territory of 50 sites with the records of the first
pull; another of 20 sites whose 200 representatives pull changes.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from benchmarks.sync.workload import Ids, Size, asset
from server.author import create, write
from server.context import Context
from server.devices import digest, token
from server.storage.tables import app_user, clock, device, rule_event
from server.tenants import create_tenant
from sync.policies import Role
from sync.protocol import Change

ORDERS_EACH: Final = 4
PULL_SITES: Final = 50
DELTA_SITES: Final = 20
DELTA_RECORDS: Final = 1_000
PRODUCTS: Final = 5
SECRET: Final = "benchmark"
_CHUNK: Final = 500


class Phone(msgspec.Struct):
    """A device as the benchmark plays it: `n` is its last transaction."""

    token: str
    no: int
    sites: tuple[str, ...] = ()
    n: int = 0


class Company(msgspec.Struct):
    """Who is there. `delta` are the records that the representatives hold and see change."""

    tenant_id: int
    incarnation: str
    dispatcher: str
    products: tuple[str, ...]
    technicians: list[Phone]
    representatives: list[Phone]
    pullers: list[Phone]
    delta: list[str]


async def founded(context: Context, ids: Ids, size: Size, chance: random.Random) -> Company:
    tenant_id = await create_tenant(context, f"bench-{ids()}")
    users: list[tuple[str, Role, tuple[str, ...]]] = [(ids(), Role.DISPATCHER, ())]
    users += [(ids(), Role.TECHNICIAN, ()) for _ in range(size.technicians)]
    users += [(ids(), Role.REP, ("delta",)) for _ in range(size.delta_devices)]
    users += [(ids(), Role.REP, ("pull",))]
    async with context.office.of(tenant_id) as tenant:
        rows = [
            {"tenant_id": tenant_id, "id": u, "name": u, "role": str(role), "territories": list(where)} for u, role, where in users
        ]
        await tenant.connection.execute(sa.insert(app_user), rows)
        incarnation: str = (await tenant.connection.execute(sa.select(clock.c.incarnation))).scalar_one()
    products = tuple(ids() for _ in range(PRODUCTS))
    await _write(context, tenant_id, (create("product", p, sku=p[-8:], name=f"product {p[-4:]}") for p in products))
    await _write(
        context, tenant_id, (create("profile", u, name=u, role=str(role), territories=sorted(where)) for u, role, where in users)
    )
    sites = await _orders(context, tenant_id, ids, [user for user, role, _ in users if role is Role.TECHNICIAN])
    pulled = await _territory(context, tenant_id, ids, "pull", PULL_SITES)
    await _write(context, tenant_id, _assets(chance, ids, pulled, products, size.pull_records))
    shared = await _territory(context, tenant_id, ids, "delta", DELTA_SITES)
    assets = list(_assets(chance, ids, shared, products, DELTA_RECORDS))
    await _write(context, tenant_id, assets)
    phones = await _enrolled(context, tenant_id, [user for user, _, _ in users[1:-1]] + [users[-1][0]] * 100)
    async with context.office.of(tenant_id) as tenant:  # what rules would have to say of all this is not measured
        await tenant.connection.execute(sa.delete(rule_event))
    for phone, held in zip(phones, sites, strict=False):
        phone.sites = held
    return Company(
        tenant_id,
        incarnation,
        users[0][0],
        products,
        phones[: size.technicians],
        phones[size.technicians : size.technicians + size.delta_devices],
        phones[size.technicians + size.delta_devices :],
        [change.id for change in assets],
    )


async def _orders(context: Context, tenant_id: int, ids: Ids, users: Sequence[str]) -> list[tuple[str, ...]]:
    """Each user becomes a technician with orders for today; returns the sites of each."""
    now_ms = context.now_ms()
    account = ids()
    made: list[Change] = [create("account", account, name="Acme Facilities")]
    sites: list[tuple[str, ...]] = []
    for user in users:
        technician = ids()
        made.append(create("technician", technician, name="T", user=user))
        sites.append(tuple(ids() for _ in range(ORDERS_EACH)))
        for site in sites[-1]:
            order = ids()
            made += [
                create("site", site, account=account, name="Plant"),
                create("work_order", order, account=account, site=site, subject="yearly check"),
                create(
                    "appointment",
                    ids(),
                    work_order=order,
                    technician=technician,
                    status="scheduled",
                    planned_start=now_ms + 3_600_000,
                ),
            ]
    await _write(context, tenant_id, made)
    return sites


async def _territory(context: Context, tenant_id: int, ids: Ids, name: str, sites: int) -> list[str]:
    """Accounts of a territory with two sites each; returns the sites."""
    found = []
    made: list[Change] = []
    for _ in range(sites // 2):
        account = ids()
        made.append(create("account", account, name="Acme", territory=name))
        for _ in range(2):
            found.append(ids())
            made.append(create("site", found[-1], account=account, name="Plant"))
    await _write(context, tenant_id, made)
    return found


def _assets(chance: random.Random, ids: Ids, sites: Sequence[str], products: Sequence[str], count: int) -> Iterable[Change]:
    return (
        create("asset", ids(), **asset(chance, sites[number % len(sites)], products[number % len(products)]))
        for number in range(count)
    )


async def _write(context: Context, tenant_id: int, changes: Iterable[Change]) -> None:
    every = list(changes)
    for at in range(0, len(every), _CHUNK):
        await write(context, tenant_id, "set up", [every[at : at + _CHUNK]])


async def _enrolled(context: Context, tenant_id: int, users: Sequence[str]) -> list[Phone]:
    """A device for each user, as if enrolled long ago."""
    rows: list[dict[str, Any]] = [
        {
            "tenant_id": tenant_id,
            "id": f"D{no}",
            "no": no,
            "user_id": user,
            "name": "bench",
            "token_hash": digest(SECRET),
            "enrolled_ms": 0,
        }
        for no, user in enumerate(users, 1)
    ]
    async with context.office.of(tenant_id) as tenant:
        for at in range(0, len(rows), _CHUNK):
            await tenant.connection.execute(sa.insert(device), rows[at : at + _CHUNK])
        await tenant.connection.execute(sa.update(clock).where(clock.c.tenant_id == tenant_id).values(devices=len(rows)))
    return [Phone(token(tenant_id, f"D{row['no']}", SECRET), row["no"]) for row in rows]
