"""`python -m demo.importer`: what an operator and an importer do before the first device, in a process of its own.

Reads an `Import` from standard input and answers an `Imported`, both as JSON. It opens the same database as the running server and
writes through the one door, as the server itself: the catalogue and certificates are not a dispatcher's to write.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

import msgspec

from demo.company import NAME, Company, Person, Record, Size, found, people
from demo.luck import luck
from demo.places import Place
from server.author import write
from server.context import Context, database_url, opened
from server.settings import Settings
from server.tenants import create_code, create_tenant, create_user
from sync.protocol import Change

CHUNK: Final = 1_000


class Import(msgspec.Struct, frozen=True):
    """`home` is the server's; the rest is what `demo.company.found` takes."""

    home: str
    seed: int
    size: Size
    places: list[Place]
    day_ms: int


class Login(msgspec.Struct, frozen=True):
    """A person with the id of their user and a code for their first device."""

    person: Person
    user: str
    code: str


class Imported(msgspec.Struct, frozen=True):
    """`moves` are the stock that the vans start with: a known part of what the server will hold in the end."""

    logins: list[Login]
    records: int
    orders: list[tuple[str, list[Change]]]
    moves: list[Change]


def creation(record: Record) -> Change:
    """The change that makes a record."""
    record_id, fields = record
    return Change(fields.spec.name, record_id, create=True, set=msgspec.Raw(msgspec.json.encode(fields)))


async def set_up(context: Context, asked: Import) -> Imported:
    """Make the company with its people and everything that an importer brings."""
    tenant_id = await create_tenant(context, NAME)
    logins = []
    for person in people(asked.size):
        user = await create_user(context, tenant_id, person.name, person.role, person.territories)
        logins.append(Login(person, user, await create_code(context, tenant_id, user)))
    users = {login.person.key: login.user for login in logins}
    company: Company = found(luck(asked.seed), asked.places, asked.size, users, asked.day_ms)
    changes = [creation(record) for record in company.imported]
    for at in range(0, len(changes), CHUNK):
        await write(context, tenant_id, "import", [changes[at : at + CHUNK]])
    orders = [(order.subject, [creation(record) for record in order.records]) for order in company.orders]
    return Imported(logins, len(changes), orders, [change for change in changes if change.entity == "stock_move"])


async def main() -> None:
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Import)
    url = database_url(Settings(home=Path(asked.home)))
    async with opened(url, connections=2, migrated=True) as context:
        imported = await set_up(context, asked)
    sys.stdout.buffer.write(msgspec.json.encode(imported))


if __name__ == "__main__":
    asyncio.run(main())
