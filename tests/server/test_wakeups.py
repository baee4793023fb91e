"""Wake-ups over real sockets: whom a commit concerns hears of it, from whichever process it came."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import httpx
import msgspec
import pytest
from conftest import Company
from live import PATIENCE_S, Served, kept, listening, serving
from wire import BareDevice, create, update

from server import author
from server.context import Context, opened
from server.wakeups import Audience, Hint, Subscription, Touched, joined, mark
from sync.protocol import OutcomeKind


@pytest.fixture
async def served(context: Context) -> AsyncIterator[Served]:
    async with kept(serving(context)) as one:
        yield one


async def setup(company: Company) -> tuple[BareDevice, BareDevice, BareDevice]:
    """A dispatcher, a technician who holds order W1 and one who holds W2."""
    dispatcher = BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))
    theo, uma = await company.user("Theo", "technician"), await company.user("Uma", "technician")
    made = await dispatcher.push(
        create("technician", "T1", name="Theo", user=theo),
        create("technician", "T2", name="Uma", user=uma),
        create("account", "A1", name="Acme"),
        create("site", "S1", account="A1", name="Plant"),
        create("account", "A2", name="Bolt"),
        create("site", "S2", account="A2", name="Yard"),
        create("work_order", "W1", account="A1", site="S1", subject="Boiler"),
        create("work_order", "W2", account="A2", site="S2", subject="Pump"),
        create("appointment", "P1", work_order="W1", technician="T1", status="scheduled"),
        create("appointment", "P2", work_order="W2", technician="T2", status="scheduled"),
    )
    assert made.kind is OutcomeKind.APPLIED, made
    return dispatcher, BareDevice(company.http, await company.enrol(theo)), BareDevice(company.http, await company.enrol(uma))


async def known(context: Context, company: Company) -> None:
    """Until it is known what each connected user of the tenant reaches, and all commits so far have been told."""
    async with asyncio.timeout(PATIENCE_S):
        while context.wakeups._audiences[company.tenant_id].unknown():
            await asyncio.sleep(0)


async def rules_rest(context: Context, company: Company) -> int:
    """Until the rules have no more to do for the tenant; the number of the last commit."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with context.pool.connection(company.tenant_id) as connection:
                if not await connection.fetchval("select count(*) from rule_event where tenant_id = $1", company.tenant_id):
                    return await connection.fetchval("select seq from clock where tenant_id = $1", company.tenant_id)
            await asyncio.sleep(0)


async def test_a_reassignment_wakes_both_technicians_without_a_poll(company: Company, served: Served) -> None:
    dispatcher, theo, uma = await setup(company)
    await rules_rest(company.context, company)
    async with listening(served.url, theo.me.token) as one, listening(served.url, uma.me.token) as other:
        await one.wake()
        await other.wake()
        await known(company.context, company)
        moved = await dispatcher.push(update("appointment", "P1", 1, technician="T2"))
        await one.wake_from(moved.seq)
        await other.wake_from(moved.seq)
        await uma.pull()
        assert ("work_order", "W1") in uma.records


async def test_a_stream_begins_with_a_hint(company: Company, served: Served) -> None:
    _, theo, _ = await setup(company)
    seq = await rules_rest(company.context, company)
    async with listening(served.url, theo.me.token) as ear:
        assert await ear.wake() == seq


async def test_whom_a_commit_does_not_concern_is_left_alone(company: Company, served: Served) -> None:
    dispatcher, theo, uma = await setup(company)
    await rules_rest(company.context, company)
    async with listening(served.url, theo.me.token) as one, listening(served.url, uma.me.token) as other:
        await one.wake()
        await other.wake()
        await known(company.context, company)
        first = await dispatcher.push(update("work_order", "W1", 1, priority=1))
        second = await dispatcher.push(update("work_order", "W2", 1, priority=1))
        assert await one.wake() == first.seq
        assert await other.wake() == second.seq


async def test_what_all_hold_wakes_all_and_everything_wakes_the_office(company: Company, served: Served) -> None:
    dispatcher, theo, uma = await setup(company)
    manager = BareDevice(company.http, await company.enrol(await company.user("Max", "manager")))
    await rules_rest(company.context, company)
    async with (
        listening(served.url, theo.me.token) as one,
        listening(served.url, uma.me.token) as other,
        listening(served.url, manager.me.token) as office,
    ):
        for ear in (one, other, office):
            await ear.wake()
        await known(company.context, company)
        valve = author.create("product", "X1", sku="V-1", name="Valve")
        part = await author.write(company.context, company.tenant_id, "import", [[valve]])
        for ear in (one, other, office):
            assert await ear.wake() == part.seq
        alone = await dispatcher.push(create("account", "A9", name="Nobody's"))
        assert await office.wake() == alone.seq


async def test_a_device_sleeps_through_its_own_commits(company: Company, served: Served) -> None:
    dispatcher, theo, _ = await setup(company)
    await rules_rest(company.context, company)
    twin = BareDevice(company.http, await company.enrol(theo.me.user))
    async with listening(served.url, theo.me.token) as one, listening(served.url, twin.me.token) as other:
        await one.wake()
        await other.wake()
        mine = await theo.push(update("work_order", "W1", 1, symptom="drips"))
        theirs = await dispatcher.push(update("work_order", "W1", mine.seq, priority=2))
        assert await one.wake() == theirs.seq
        await other.wake_from(mine.seq)


async def test_a_commit_of_another_process_wakes_too(company: Company, served: Served, database_url: str) -> None:
    _, theo, _ = await setup(company)
    seq = await rules_rest(company.context, company)
    async with opened(database_url, connections=2, migrated=True) as remote, listening(served.url, theo.me.token) as ear:
        await ear.wake()
        await company.context.wakeups.linked.wait()
        written = await author.write(remote, company.tenant_id, "test", [[author.update("work_order", "W1", seq, priority=1)]])
        await ear.wake_from(written.seq)


async def test_a_process_that_ends_at_once_still_tells(company: Company, served: Served, database_url: str) -> None:
    _, theo, _ = await setup(company)
    seq = await rules_rest(company.context, company)
    async with listening(served.url, theo.me.token) as ear:
        await ear.wake()
        await company.context.wakeups.linked.wait()
        async with opened(database_url, connections=1, migrated=True) as remote:
            written = await author.write(remote, company.tenant_id, "test", [[author.update("site", "S1", seq, hours="8-5")]])
        await ear.wake_from(written.seq)


async def test_after_a_gap_in_listening_everybody_is_woken(company: Company, served: Served, database_url: str) -> None:
    _, theo, _ = await setup(company)
    seq = await rules_rest(company.context, company)
    async with opened(database_url, connections=2, migrated=True) as remote, listening(served.url, theo.me.token) as ear:
        await ear.wake()
        await company.context.wakeups.linked.wait()
        owner = await asyncpg.connect(database_url)
        await owner.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'truckroll-wakeups' and datname = current_database()"
        )
        await owner.close()
        written = await author.write(remote, company.tenant_id, "test", [[author.update("work_order", "W1", seq, priority=1)]])
        await ear.wake_from(written.seq)


async def test_a_shut_out_device_loses_its_stream_and_gets_no_other(company: Company, served: Served) -> None:
    _, theo, _ = await setup(company)
    async with listening(served.url, theo.me.token) as ear:
        await ear.wake()
        async with company.context.office.of(company.tenant_id) as tenant:
            await tenant.set_device_status(theo.me.device, "revoked")
        await company.context.wakeups.audit()
        while await ear.wake() is not None:
            pass
    async with httpx.AsyncClient(base_url=served.url) as client:
        again = await client.get("/v1/events", headers={"authorization": f"Bearer {theo.me.token}"})
    assert again.status_code == 401
    assert again.headers["content-type"] == "application/problem+json"


async def test_a_stopping_server_ends_its_streams(company: Company) -> None:
    _, theo, _ = await setup(company)
    async with serving(company.context) as served, listening(served.url, theo.me.token) as ear:
        await ear.wake()
        await served.stop()
        while await ear.wake() is not None:
            pass
    assert company.context.wakeups.connected(company.tenant_id) == frozenset()


async def test_a_closed_connection_leaves_nothing_behind(company: Company, served: Served) -> None:
    _, theo, _ = await setup(company)
    async with listening(served.url, theo.me.token) as ear:
        await ear.wake()
        assert len(company.context.wakeups.connected(company.tenant_id)) == 1
    async with asyncio.timeout(PATIENCE_S):
        while company.context.wakeups.connected(company.tenant_id):
            await asyncio.sleep(0)


def stream(device_no: int, user_id: str, *, sees_all: bool = False) -> Subscription:
    return Subscription(device_no, user_id, sees_all=sees_all, spacing_s=0, heartbeat_s=0)


async def test_a_burst_is_one_hint() -> None:
    one = stream(1, "U1")
    for seq in (3, 5, 4):
        one.offer(seq)
    assert await anext(one) == b"event: wake\ndata: 5\n\n"
    assert await anext(one) == b": alive\n\n"


async def test_a_device_keeps_only_its_newest_streams() -> None:
    audience = Audience()
    streams = [stream(1, "U1") for _ in range(6)]
    for one in streams:
        audience.add(one)
    assert [one._ended for one in streams] == [True, True, False, False, False, False]


async def test_until_a_reach_is_known_everything_wakes() -> None:
    audience, one = Audience(), stream(1, "U1")
    audience.add(one)
    elsewhere = Hint(1, 1, scopes=(mark("site:elsewhere"),))
    assert audience.concerned(elsewhere) == [one]
    audience.index({"U1": ["site:S1"]}, audience.unknown())
    assert audience.concerned(elsewhere) == []
    assert audience.concerned(Hint(1, 2, scopes=(mark("site:S1"),))) == [one]


async def test_a_reach_looked_up_before_a_link_changed_is_not_believed() -> None:
    audience, one = Audience(), stream(1, "U1")
    audience.add(one)
    ages = audience.unknown()
    audience.concerned(Hint(1, 1, sources=(mark("user:U1"),)))
    audience.index({"U1": []}, ages)
    assert set(audience.unknown()) == {"U1"}


async def test_a_link_from_what_one_reaches_makes_the_reach_unknown() -> None:
    audience, one = Audience(), stream(1, "U1")
    audience.add(one)
    audience.index({"U1": ["technician:T1"]}, audience.unknown())
    assert audience.concerned(Hint(1, 1, sources=(mark("technician:T1"),))) == [one]
    assert audience.concerned(Hint(1, 2, scopes=(mark("work_order:new"),))) == [one]


async def test_who_leaves_is_forgotten() -> None:
    audience, one, other = Audience(), stream(1, "U1"), stream(2, "U2")
    audience.add(one)
    audience.add(other)
    audience.index({"U1": ["site:S1"], "U2": ["site:S1"]}, audience.unknown())
    assert not audience.remove(one)
    assert audience.concerned(Hint(1, 1, scopes=(mark("site:S1"),))) == [other]
    assert audience.remove(other)
    assert audience._by_mark == {}


def test_a_hint_of_any_size_fits_notifications() -> None:
    for count in (1, 400, 401, 4_000, 4_001, 50_000):
        whole = Hint(2**31, 2**53, tuple(mark(f"work_order:{n}") for n in range(count)), (mark("technician:T1"),))
        parts = list(whole.parts())
        assert all(len(msgspec.json.encode(part)) < 8_000 for part in parts)
        together = None
        for part in parts:
            together = joined(together, part)
        assert together is not None
        assert together.all or (set(together.scopes), set(together.sources)) == (set(whole.scopes), set(whole.sources))


async def test_a_commit_that_changed_nothing_wakes_nobody(context: Context) -> None:
    context.wakeups.note(10**9, 1, Touched(frozenset()))
    assert 10**9 not in context.wakeups._outgoing
