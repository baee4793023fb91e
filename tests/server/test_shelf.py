"""What devices that begin share is what each would have been given alone."""

import random

import msgspec
import pytest
from conftest import Company
from test_tail import clock, holders, office, some_work

from server.feed import Asked, Cursor, pull
from server.shelf import Shelf, Shelved
from sync.protocol import Page


async def first_sync(company: Company, user: str, limit: int, shelf: Shelf) -> list[tuple[object, ...]]:
    """The pages of a device that has nothing, each as what it says in whatever order."""
    seq, incarnation = await clock(company)
    cursor, pages = Cursor.first(incarnation), []
    for _ in range(200):
        asked = Asked(company.tenant_id, user, cursor, limit, company.context.now_ms(), 0, seq)
        async with company.context.pool.connection(company.tenant_id) as connection:
            pulled = await pull(connection, asked, shelf)
        page = msgspec.json.decode(pulled.page, type=Page)
        lists = (sorted(msgspec.to_builtins(records)) for records in (page.whole, page.delta, page.gone))
        pages.append((page.cursor, page.more, page.enter, page.evict, *lists, pulled.checkpoint))
        if not page.more and not page.groups_left:
            return pages
        cursor = Cursor.decode(page.cursor)
    raise AssertionError("the first sync does not end")


@pytest.mark.parametrize("limit", [3, 11, 2_000])
async def test_whoever_begins_gets_what_is_there(company: Company, limit: int) -> None:
    """Whatever was written since the shelf was filled, in whichever pages it comes."""
    users, chance, shared = await holders(company), random.Random(limit), Shelf(least_bytes=1)
    for step in range(6):
        await office(company, *some_work(chance, step))
        await company.rest()
        for user in users:
            assert await first_sync(company, user, limit, shared) == await first_sync(company, user, limit, Shelf()), (step, user)


async def test_a_scope_is_read_once_for_all(company: Company) -> None:
    rep, *_ = await holders(company)
    await company.rest()
    shared = Shelf(least_bytes=1)
    before = await first_sync(company, rep, 2_000, shared)
    _, incarnation = await clock(company)
    there = shared.of(company.tenant_id, incarnation)
    assert {"account:A1", "site:S1"} <= set(there)
    for scope, kept in there.items():
        shared.put(company.tenant_id, incarnation, scope, Shelved(kept.seq, kept.whole.replace(b"boiler", b"BOILER")))
    after = await first_sync(company, rep, 2_000, shared)
    assert "BOILER" in str(after)
    assert str(after).replace("BOILER", "boiler") == str(before)


def test_the_shelf_is_as_long_as_it_is() -> None:
    shelf = Shelf(bytes_max=200_000)
    shelf.put(1, "a", "tiny", Shelved(1, b"x"))
    shelf.put(1, "a", "huge", Shelved(1, b"x" * 60_000))
    assert shelf.of(1, "a") == {}
    for number in range(10):
        shelf.put(1, "a", f"s{number}", Shelved(1, b"x" * 30_000))
    assert list(shelf.of(1, "a")) == ["s4", "s5", "s6", "s7", "s8", "s9"]
    shelf.put(1, "a", "s4", Shelved(2, b"x" * 10_000))
    assert shelf.of(1, "a")["s4"].seq == 2
    assert len(shelf.of(1, "a")) == 6
    for number in range(5):
        shelf.put(2, "b", f"s{number}", Shelved(1, b"x" * 30_000))
    assert list(shelf.of(1, "a")) == ["s9", "s4"]
    assert shelf.of(1, "b") == {}
