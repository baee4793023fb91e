"""The tail tells a device what the whole walk would, or nothing."""

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from conftest import Company

from server import tail
from server.author import create, update, write, write_for
from server.feed import Asked, Cursor, pull
from server.holdings import Holdings
from server.shelf import Shelf
from server.storage import reach, statements
from server.tail import Tails
from sync.policies import Role
from sync.protocol import Change, Page


async def holders(company: Company) -> list[str]:
    """A representative and two technicians, the first of whom has the order W1; and what they hold."""
    rep = await company.user("Rita", "rep", ("north",))
    theo, uma = await company.user("Theo", "technician"), await company.user("Uma", "technician")
    made = [
        create("technician", "T1", name="Theo", user=theo),
        create("technician", "T2", name="Uma", user=uma),
        create("account", "A1", name="Acme", territory="north"),
        create("account", "A2", name="Bolt"),
        create("site", "S1", account="A1", name="Plant"),
        create("site", "S2", account="A2", name="Yard"),
        create("work_order", "W1", account="A1", site="S1", subject="Boiler"),
        create("appointment", "P1", work_order="W1", technician="T1", status="scheduled"),
    ]
    made += [create("asset", f"M{n}", site=f"S{n % 2 + 1}", name=f"boiler {n}") for n in range(8)]
    await write(company.context, company.tenant_id, "made", [made])
    return [rep, theo, uma]


async def office(company: Company, *changes: Change) -> None:
    await write_for(company.context, company.tenant_id, "dana", Role.DISPATCHER, [("work", (change,)) for change in changes])


async def clock(company: Company) -> tuple[int, str]:
    async with company.context.pool.connection(company.tenant_id) as connection:
        row: Any = await connection.fetchrow("select seq, incarnation from clock where tenant_id = $1", company.tenant_id)
        return row["seq"], row["incarnation"]


async def told(tails: Tails, company: Company, users: Sequence[str], first: int, limit: int = 2_000) -> list[bool]:
    """Whether the tail answers each user at each checkpoint from `first` on; what it answers is what the walk over links says."""
    seq, incarnation = await clock(company)
    found = []
    for base in range(first, seq + 1):
        for user in users:
            cursor = Cursor(incarnation, base)
            short = await tails.pull(company.tenant_id, user, cursor, limit, seq)
            found.append(short is not None)
            if short:
                async with company.context.pool.connection(company.tenant_id) as connection:
                    long = await pull(connection, Asked(company.tenant_id, user, cursor, limit, 0, 0, seq), Shelf())
                assert parts(short.page) == parts(long.page), (base, user)
                assert (short.checkpoint, short.healed) == (long.checkpoint, 0) == (seq, 0)
    return found


def tails_of(company: Company) -> Tails:
    return Tails(company.context.pool, Holdings(company.context.pool))


def parts(page: bytes) -> tuple[Any, ...]:
    read = msgspec.json.decode(page, type=Page)
    lists = (sorted(msgspec.to_builtins(records)) for records in (read.whole, read.delta, read.gone))
    return (read.cursor, read.more, read.enter, read.evict, *lists)


def some_work(chance: random.Random, step: int) -> list[Change]:
    """A few changes: of fields, of a record that is new, of one that goes; of a link, now and then."""
    work = [
        update("asset", f"M{chance.randrange(2)}", 2**40, **{chance.choice(("name", "condition", "serial")): f"seen {step}"}),
        update("work_order", "W1", 2**40, **{chance.choice(("cause", "symptom")): f"valve {step}"}),
    ]
    if chance.random() < 0.4:
        work.append(create("asset", f"N{step}", site=f"S{chance.randint(1, 2)}", name="new"))
    if chance.random() < 0.3:
        work.append(Change("asset", f"M{chance.randrange(2, 8)}", base=2**40, delete=True))
    if step % 5 == 3:
        work.append(update("appointment", "P1", 2**40, technician=f"T{2 - step // 5 % 2}"))
    return work


@pytest.mark.parametrize("seed", range(3))
async def test_it_says_what_the_walk_over_links_says(company: Company, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Whatever is written between, from whichever checkpoint, however little the process remembers."""
    monkeypatch.setattr(tail, "TAIL_RECORDS", 12)
    users, chance, tails = await holders(company), random.Random(seed), tails_of(company)
    await company.rest()
    first, _ = await clock(company)
    found: list[bool] = []
    for step in range(12):
        await office(company, *some_work(chance, step))
        await company.rest()
        found += await told(tails, company, users, first)
    assert any(found)
    assert not all(found), "of links that changed, or commits long past, it must not speak"


async def test_a_page_that_does_not_hold_all_is_none_of_its(company: Company) -> None:
    users, tails = await holders(company), tails_of(company)
    await company.rest()
    first, _ = await clock(company)
    await office(company, *(update("asset", f"M{n}", 2**40, condition="leaks") for n in range(8)))
    await company.rest()
    assert (await told(tails, company, users[:1], first, limit=5))[0]  # four of them are in the north
    assert not (await told(tails, company, users[:1], first, limit=4))[0]


async def test_what_many_changes_have_buried_is_taken_up_by_who_has_them(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """After more changes than a process remembers, the tail begins anew where the asking device stands."""
    monkeypatch.setattr(tail, "TAIL_RECORDS", 5)
    users, tails = await holders(company), tails_of(company)
    await company.rest()
    first, incarnation = await clock(company)
    await tails.pull(company.tenant_id, users[0], Cursor(incarnation, first), 2_000, first)
    await office(company, *(update("asset", f"M{n}", 2**40, condition="leaks") for n in range(8)))
    await company.rest()
    buried, _ = await clock(company)
    await office(company, update("asset", "M0", 2**40, condition="dry"))
    await company.rest()
    assert all(await told(tails, company, users, buried))
    assert not any((await told(tails, company, users, first))[: len(users)])


async def test_devices_alike_share_what_was_read_once(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first reads the tail and its user's scopes, the others nothing more; after a commit the tail alone is read again."""
    users, tails = await holders(company), tails_of(company)
    await company.rest()
    asked: list[object] = []
    for statements_read in ([statements.TAIL, reach.HELD], [statements.TAIL]):
        before, incarnation = await clock(company)
        await office(company, update("asset", "M1", 2**40, condition=f"{len(statements_read)}"))
        await company.rest()
        seq, _ = await clock(company)
        asked.clear()
        async with company.context.pool.connection(company.tenant_id) as connection:
            real = type(connection).fetch

        async def fetch(self: Any, query: str, *values: object, _real: Any = real) -> Any:
            asked.append(query)
            return await _real(self, query, *values)

        monkeypatch.setattr(type(connection), "fetch", fetch)
        for _ in range(3):
            assert await tails.pull(company.tenant_id, users[0], Cursor(incarnation, before), 2_000, seq)
        monkeypatch.undo()
        assert [query for query in asked if query in (statements.TAIL, reach.HELD)] == statements_read


async def test_a_restored_database_is_another_one(company: Company) -> None:
    users, tails = await holders(company), tails_of(company)
    await company.rest()
    seq, incarnation = await clock(company)
    assert await tails.pull(company.tenant_id, users[0], Cursor(incarnation, seq), 2_000, seq)
    async with company.context.office.of(company.tenant_id) as tenant:
        await tenant.begin_incarnation("another")
    assert await tails.pull(company.tenant_id, users[0], Cursor("another", seq), 2_000, seq)
    assert await tails.pull(company.tenant_id, users[0], Cursor(incarnation, seq), 2_000, seq + 1) is None
