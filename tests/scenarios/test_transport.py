"""Transport and durability: lines that fail, processes that die, disks that are full; nothing is lost, doubled or half there."""

import asyncio
import os
import shutil
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from conftest import Company

from client_sdk import DiskFull, Offline, OutboxState, Replica
from server import door
from server.app import create_app
from server.context import opened
from server.tenants import create_tenant
from sync.entities import Account, Appointment, Asset, Lead, PartUsed, Site, StockMove, WorkOrder, WorkOrderTask
from sync.entities.flows import AppointmentStatus as Visit
from sync.entities.stock import MoveReason
from sync.protocol import OutcomeKind
from tests.client_sdk.oracle import check
from tests.scenarios.field import PATIENCE_S, Clock, Desk, Field, Phone, full_disk, make
from tests.server.live import serving

ROOT = Path(__file__).parents[2]


async def until(found: Callable[[], Awaitable[Any]]) -> Any:
    """What is found once something is."""
    async with asyncio.timeout(PATIENCE_S):
        while not (answer := await found()):
            pass
        return answer


async def waiting_for_a_lock(connection: "asyncpg.Connection[Any]") -> int | None:
    """The process of this database that waits for a lock."""
    query = "select min(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    pid: int | None = await connection.fetchval(query)
    return pid


@contextmanager
def one_slow_commit(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """The next commit says when it has its number, and is made visible only when it is told so."""
    numbered, release, write = asyncio.Event(), asyncio.Event(), door._write

    async def slow(connection: Any, tenant_id: int, commit: Any, linked: int) -> int:
        if numbered.is_set():
            return await write(connection, tenant_id, commit, linked)
        async with connection.transaction():
            seq = await write(connection, tenant_id, commit, linked)
            numbered.set()
            await release.wait()
            return seq

    with monkeypatch.context() as patched:
        patched.setattr(door, "_write", slow)
        yield numbered, release


async def test_01_a_lower_number_becomes_visible_after_a_higher_one(
    field: Field, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot: a commit keeps all others from a number until it is visible, so no reader finds one behind its cursor."""
    theo = await field.technician("Theo")
    await field.job("W1", "Theo")
    here, there = field.dispatcher, await field.desk("Dora", "dispatcher")
    watcher = await asyncpg.connect(database_url)
    async with (
        opened(database_url, connections=3, migrated=True) as elsewhere,
        serving(elsewhere) as served,
        httpx.AsyncClient(base_url=served.url) as http,
    ):
        there.device.http = http
        with one_slow_commit(monkeypatch) as (numbered, release):
            lower = asyncio.create_task(here.does(make(WorkOrderTask(work_order="W1", title="lower"), "lower")))
            await numbered.wait()
            higher = asyncio.create_task(there.does(make(WorkOrderTask(work_order="W1", title="higher"), "higher")))
            await until(lambda: waiting_for_a_lock(watcher))
            await theo.sync()
            assert theo.ids(WorkOrderTask) == set()
            release.set()
            assert (await lower).seq < (await higher).seq
        await theo.sync()
        assert theo.ids(WorkOrderTask) == {"lower", "higher"}

        async def writes(desk: Desk, name: str) -> None:
            for n in range(15):
                await desk.does(make(WorkOrderTask(work_order="W1", title=name), f"{name}{n}"))

        writing = asyncio.gather(writes(here, "x"), writes(there, "y"))
        while not writing.done():
            await theo.sync()
        await writing
    await watcher.close()
    await field.holds_exactly_what_it_may(theo)
    assert len(theo.ids(WorkOrderTask)) == 32


async def test_02_the_acknowledgement_is_lost_and_the_batch_is_sent_again(field: Field) -> None:
    """However often a batch arrives, also twice at the same time, parts are used once and the lead exists once, routed once."""
    theo, rita = await field.technician("Theo"), await field.rep("Rita")
    visit = await field.job("W1", "Theo")
    await theo.sync()
    with theo.edit("finish job") as tx:
        tx.set(Appointment, visit, status=Visit.COMPLETED)
        part = tx.create(PartUsed(work_order="W1", product="X1", quantity=2))
        used = StockMove(location="technician:Theo", product="X1", quantity=-2, reason=MoveReason.USED, at=1, part_used=part)
        tx.create(used)
    with theo.edit("capture lead") as tx:
        lead = tx.create(Lead(need="heat pump", account="A1", captured_by=(theo.user,)))
    theo.line.lose_replies, theo.line.copies = 3, 2
    for _ in range(3):
        with pytest.raises(Offline):
            await theo.sync()
        assert [sent.state for sent in theo.replica.outbox()] == [OutboxState.WAITING] * 2
    await theo.sync()
    assert theo.fates() == [OutcomeKind.APPLIED] * 2
    assert [move.quantity for move in (await field.dispatcher.all(StockMove)).values()] == [-2]
    assert set(await field.dispatcher.all(PartUsed)) == {part}
    await field.rules_are_done()
    assert {name: found.owner for name, found in (await field.dispatcher.all(Lead)).items()} == {lead: rita.user}
    await field.holds_exactly_what_it_may(theo)


async def copies_at_each_statement(phone: Phone, work: Callable[[], Awaitable[object]]) -> list[Path]:
    """The phone's file as a kill would leave it, at the start of every statement that `work` runs, and after the last."""
    connection: sqlite3.Connection = phone.replica._store._open
    copies: list[Path] = []

    def copy(_: str = "") -> None:
        to = phone.path.with_name(f"{phone.path.name}-killed{len(copies)}")
        shutil.copy(phone.path, to)
        shutil.copy(f"{phone.path}-wal", f"{to}-wal")
        copies.append(to)

    connection.set_trace_callback(copy)
    try:
        await work()
    finally:
        connection.set_trace_callback(None)
    copy()
    return copies


async def a_busy_pull(field: Field, *, refused: bool = True) -> Phone:
    """A phone with work to send, for which scopes came, went and changed: its next sync does everything that a sync can."""
    theo = await field.technician("Theo")
    for order in ("W1", "W2"):
        await field.job(order, "Theo", make(WorkOrderTask(work_order=order, title="step"), f"{order}.step"))
    await theo.sync()
    with theo.edit("symptom and a lead") as tx:
        tx.set(WorkOrder, "W1", symptom="drips")
        tx.create(Lead(need="pump", captured_by=(theo.user,)), record_id="L1")
    if refused:
        with theo.edit("not his to write") as tx:
            tx.set(Account, "A1", credit_hold=True)
    await field.dispatcher.sets(Appointment, "W2.visit", technician=None, status=Visit.UNSCHEDULED)
    await field.job("W3", "Theo", make(Asset(site="S1", name="boiler"), "X2"))
    await field.manager.does(await field.manager.deleting(WorkOrderTask, "W1.step"))
    theo.line.page = 2
    return theo


async def test_03_a_phone_killed_at_every_statement_of_a_pull(field: Field) -> None:
    """Whatever statement it dies at: the file is whole, and the next sync ends where an undisturbed one does."""
    theo = await a_busy_pull(field)
    copies = await copies_at_each_statement(theo, theo.sync)
    await field.rules_are_done()
    await theo.sync()
    assert len(copies) > 80
    for path in copies[::3]:
        survivor = field.reopened(path, theo.user)
        await survivor.sync()
        assert survivor.bodies() == theo.bodies()
        assert survivor.fates() == [OutcomeKind.APPLIED, OutcomeKind.PARKED]
        survivor.close()
    assert len(await field.dispatcher.all(Lead)) == 1
    assert len(await field.dispatcher.get("/v1/parked")) == 1


@asynccontextmanager
async def mortal_servers(url: str) -> AsyncIterator[tuple[str, Callable[[int], Awaitable[None]]]]:
    """The address of servers one after another, and a function that starts the next, which dies at the boundary it is given."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        handle = listening.fileno()
        arguments = (sys.executable, "-m", "tests.scenarios.mortal", str(handle), url)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, pass_fds=[handle], stdin=pipe, stdout=pipe)
        assert process.stdin
        assert process.stdout

        async def start(boundary: int) -> None:
            process.stdin.write(b"%d\n" % boundary)
            assert await process.stdout.readline() == b"ready\n"

        yield f"http://127.0.0.1:{listening.getsockname()[1]}", start
        process.stdin.close()
        await process.wait()


async def test_03_a_server_killed_at_every_statement_boundary_of_a_commit(field: Field, database_url: str) -> None:
    """Whenever it dies, a transaction is there whole or not at all, and sent again to the next process it is there once."""
    theo = await field.technician("Theo")
    await field.job("W1", "Theo")
    await theo.sync()
    made: list[str] = []
    async with mortal_servers(database_url) as (url, start), httpx.AsyncClient(base_url=url) as mortal:
        twin = await field.phone(theo.user, "Theo's tablet")
        for boundary in range(1, 100):
            with twin.edit() as tx:
                step = tx.create(WorkOrderTask(work_order="W1", title="step"))
                tx.create(PartUsed(work_order="W1", product="X1", quantity=1), record_id=f"{step}.part")
            made.append(step)
            await start(boundary)
            twin.line.via(mortal)
            with suppress(Offline):
                await twin.sync()
                break
            steps, parts = set(await field.dispatcher.all(WorkOrderTask)), set(await field.dispatcher.all(PartUsed))
            assert steps in (set(made), set(made[:-1]))
            assert parts == {f"{step}.part" for step in steps}
            twin.line.via(field.company.http)
            await twin.sync()
            assert set(await field.dispatcher.all(WorkOrderTask)) == set(made)
        twin.line.via(field.company.http)
    assert len(made) > 6
    assert twin.fates() == [OutcomeKind.APPLIED] * len(made)
    await field.holds_exactly_what_it_may(twin)


async def test_04_a_poison_transaction(field: Field) -> None:
    """What breaks a rule, names an unknown entity, has a bad value or says nothing at all is parked; all else goes on."""
    theo = await field.technician("Theo")
    await field.job("W1", "Theo")
    await theo.sync()
    for number in range(6):
        with theo.edit(f"note {number}") as tx:
            tx.create(WorkOrderTask(work_order="W1", title=f"step {number}"), record_id=f"step{number}")
    poison = {
        2: {"entity": "account", "id": "A1", "base": 1, "set": {"credit_hold": True}},
        3: {"entity": "spaceship", "id": "U1", "create": True, "set": {}},
        4: {"entity": "work_order_task", "id": "T", "create": True, "set": {"work_order": "W1", "title": 7}},
        5: None,
    }
    for n, change in poison.items():
        transaction = {"n": n, "stamp": 1, "wrote_ms": 1, "changes": [change] if change else []}
        theo.replica._store._run("UPDATE outbox SET raw = ? WHERE n = ?", (msgspec.json.encode(transaction), n))
    await field.dispatcher.sets(WorkOrder, "W1", subject="read this")
    await theo.sync()
    assert [kind is OutcomeKind.PARKED for kind in theo.fates()] == [False, True, True, True, True, False]
    order = theo.see(WorkOrder, "W1")
    assert order
    assert order.subject == "read this"
    assert set(await field.dispatcher.all(WorkOrderTask)) == {"step0", "step5"}
    waiting = {row["n"]: row for row in await field.dispatcher.get("/v1/parked")}
    assert [waiting[n]["reasons"][0]["rule"] for n in poison] == ["writer", "unknown_entity", "type", "bounds"]
    assert waiting[3]["transaction"]["changes"] == [poison[3]]
    assert theo.replica.status().waiting == 0


async def test_05_the_checkpoint_is_saved_before_its_data(field: Field) -> None:
    """It cannot be: at whatever statement the phone dies, its cursor has moved if and only if the data is there."""
    theo = await a_busy_pull(field, refused=False)
    before = (theo.replica.status().cursor, theo.bodies())
    copies = await copies_at_each_statement(theo, theo.sync)
    after = (theo.replica.status().cursor, theo.bodies())
    seen = []
    for path in copies:
        killed = field.reopened(path, theo.user)
        moved = killed.replica.status().cursor == after[0]
        seen.append(moved)
        assert (killed.replica.status().cursor, killed.bodies()) == (after if moved else before)
        killed.close()
    assert (seen[0], seen[-1]) == (False, True)
    assert seen == sorted(seen)


async def test_06_half_a_transaction_is_never_visible(field: Field) -> None:
    """With pages of two records under constant change: what one transaction wrote is seen together, an order with its site."""
    theo = await field.technician("Theo")
    orders = ["W1", "W2", "W3"]
    for order in orders:
        site, asset = f"site of {order}".replace(" ", "-"), f"asset of {order}".replace(" ", "-")
        await field.dispatcher.does(make(Site(account="A1", name=site), site), make(Asset(site=site, name="boiler"), asset))
        await field.job(order, "Theo", site=site)
        await field.dispatcher.sets(Site, site, city="newer than its order")
    rounds = 0

    async def the_office_renames_all() -> None:
        nonlocal rounds
        rounds += 1
        if rounds <= 12:
            await field.dispatcher.does(
                *[await field.dispatcher.setting(WorkOrder, order, subject=f"round {rounds}") for order in orders],
                *[await field.dispatcher.setting(Site, f"site-of-{order}", hours=f"round {rounds}") for order in orders],
            )
            await field.dispatcher.sets(WorkOrder, "W2", priority=1 + rounds % 5)  # so that it travels behind the others
        whole(theo)

    def whole(phone: Phone) -> None:
        held = {item.id: item.fields for item in phone.replica.query(WorkOrder)}
        for order in held.values():
            assert phone.sees(Site, order.site)
            assert phone.sees(Asset, order.site.replace("site", "asset"))
            assert phone.sees(Account, order.account)
        told = {order.subject for order in held.values()} | {
            item.fields.hours for item in phone.replica.query(Site) if item.id != "S1" and item.fields.hours
        }
        assert len(told) <= 1 or all(name.endswith("boiler is cold") for name in told)

    theo.line.page, theo.line.before = 2, the_office_renames_all
    while rounds <= 12:
        await theo.sync()
        whole(theo)
    assert {order.fields.subject for order in theo.replica.query(WorkOrder)} == {"round 12"}
    assert rounds > 12
    await field.holds_exactly_what_it_may(theo)


async def test_07_page_after_page_of_a_busy_scope(field: Field) -> None:
    """A slow phone catches up within a bounded number of pages although more changes between two of them than one page holds."""
    theo = await field.technician("Theo")
    steps = [f"step{n}" for n in range(24)]
    await field.job("W1", "Theo", *(make(WorkOrderTask(work_order="W1", title="new"), step) for step in steps))
    count = 0

    async def the_scope_is_busy() -> None:
        nonlocal count
        count += 1
        assert count < 60, "it never gets there"
        some = [steps[(count * 7 + n) % len(steps)] for n in range(7)]
        await field.dispatcher.does(
            *[await field.dispatcher.setting(WorkOrderTask, step, title=f"change {count}") for step in some]
        )

    theo.line.page, theo.line.before = 5, the_scope_is_busy
    await theo.sync()
    assert theo.ids(WorkOrderTask) == set(steps)
    assert f"change {count}" in {task.fields.title for task in theo.replica.query(WorkOrderTask)}
    await field.holds_exactly_what_it_may(theo)


async def test_08_two_processes_and_two_threads_of_one_app_push_at_once(field: Field, tmp_path: Path) -> None:
    """One outbox, one order: every transaction arrives once, in the order in which the app stored it."""
    theo = await field.technician("Theo")
    await field.job("wo1", "Theo")
    async with serving(field.company.context) as served:
        with Replica.open(tmp_path / "shared") as replica:
            await replica.enrol(served.url, await field.company.code(theo.user))
            await replica.sync()
            processes = [await _worker(tmp_path / "shared", name, 8) for name in ("one", "two")]
            await asyncio.gather(*(asyncio.to_thread(_works, replica, name) for name in ("three", "four")))
            for process in processes:
                assert await process.wait() == 0
            await replica.sync()
            check(replica)
            sent = replica.history()
            last = replica.get(WorkOrder, "wo1")
        assert [one.kind for one in sent] == [OutcomeKind.APPLIED] * 32
        stored = [record_id for one in sent for entity, record_id in one.records if entity == "lead"]
        assert set(await field.dispatcher.all(Lead)) == set(stored)
        assert len(set(stored)) == 32
        assert last
        assert (await field.dispatcher.see(WorkOrder, "wo1")).cause == last.fields.cause == sent[-1].label
        async with field.company.context.office.of(field.company.tenant_id) as tenant:
            device = max(await tenant.devices(), key=lambda one: one.no)
            pushes = [(row.first_n, row.last_n) for row in await tenant.log(device.no)]
        assert [n for first, to in pushes for n in range(first, to + 1)] == list(range(1, 33))


async def _worker(path: Path, name: str, count: int) -> asyncio.subprocess.Process:
    arguments = (sys.executable, "-m", "tests.client_sdk.worker", str(path), name, str(count))
    return await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL)


def _works(replica: Replica, name: str) -> None:
    for number in range(8):
        with replica.edit(f"{name} {number}") as tx:
            tx.create(Lead(need=f"{name} {number}"))
            tx.set(WorkOrder, "wo1", cause=f"{name} {number}")
        if number % 3 == 2:
            asyncio.run(replica.sync())


@asynccontextmanager
async def private(url: str, clock: Clock, folder: Path) -> AsyncIterator[Field]:
    """A company on it, and its server."""
    async with opened(url, connections=3, migrated=True) as context:
        app = create_app(context, max_body_bytes=1_000_000)
        async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as http:
            field = Field(Company(context, http, await create_tenant(context, context.new_id())), folder, clock)
            await field.open()
            yield field
            field.close()


def work(phone: Phone, name: str) -> None:
    """A transaction of two records."""
    with phone.edit(name) as tx:
        tx.create(WorkOrderTask(work_order="W1", title=name), record_id=f"{name}.step")
        tx.create(PartUsed(work_order="W1", product="X1", quantity=1), record_id=f"{name}.part")


def work_on(phone: Phone) -> None:
    for number in range(1000):
        work(phone, f"filling{number}")


async def test_09_the_disk_of_the_phone_is_full(field: Field) -> None:
    """An edit or a page that finds no room says so and leaves nothing by halves; with room again, all goes on."""
    theo = await field.technician("Theo")
    await field.job("W1", "Theo")
    await theo.sync()
    work(theo, "before")
    await field.job("W2", "Theo", *(make(WorkOrderTask(work_order="W2", title="x" * 200), f"s{n}") for n in range(50)))
    shown = theo.bodies()
    async with full_disk(theo):
        with pytest.raises(DiskFull):
            work_on(theo)
        filled = theo.replica.status().waiting - 1
        with pytest.raises(DiskFull):
            await theo.sync()
        check(theo.replica)
        assert "DiskFull" in (theo.replica.status().last_error or "")
        assert theo.ids(PartUsed) == {"before.part", *(f"filling{n}.part" for n in range(filled))}
        assert {key for key in theo.bodies() if "filling" not in key[1]} == set(shown)
    await theo.sync()
    assert set(theo.fates()) == {OutcomeKind.APPLIED}
    assert len(await field.dispatcher.all(PartUsed)) == filled + 1
    await field.holds_exactly_what_it_may(theo)


async def test_09_the_disk_of_the_server_is_full(private_url: str, clock: Clock, tmp_path: Path) -> None:
    """The work stays on the phone, whole, until there is room; then it is taken once."""
    database = await asyncpg.connect(private_url)
    async with private(private_url, clock, tmp_path) as field:
        theo = await field.technician("Theo")
        await field.job("W1", "Theo")
        await theo.sync()
        work(theo, "late")
        await database.execute(
            """create function no_room() returns trigger language plpgsql as
               $$begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end$$;
               create trigger no_room before insert on device_log for each row execute function no_room()"""
        )
        for _ in range(2):
            with pytest.raises(Offline):
                await theo.sync()
        assert theo.replica.status().waiting == 1
        assert theo.sees(PartUsed, "late.part")
        assert await field.dispatcher.all(PartUsed) == {}
        await database.execute("drop function no_room cascade")
        await theo.sync()
        assert theo.fates() == [OutcomeKind.APPLIED]
        assert len(await field.dispatcher.all(PartUsed)) == 1
    await database.close()


async def test_09_the_database_restarts_in_mid_commit(private_url: str, clock: Clock, tmp_path: Path) -> None:
    """Nothing of the commit is there; the server is back by itself as soon as its database is, and the work is taken once."""
    async with private(private_url, clock, tmp_path) as field:
        theo = await field.technician("Theo")
        await field.job("W1", "Theo")
        await theo.sync()
        work(theo, "last")
        blocker, watcher = await asyncpg.connect(private_url), await asyncpg.connect(private_url)
        await blocker.execute("begin; select * from clock for update")
        sending = asyncio.create_task(theo.sync())
        os.kill(await until(lambda: waiting_for_a_lock(watcher)), signal.SIGKILL)
        with pytest.raises(Offline):
            await sending
        assert theo.replica.status().waiting == 1

        async def is_back() -> bool:
            with suppress(Offline):
                await theo.sync()
                return True
            return False

        await until(is_back)
        assert theo.fates() == [OutcomeKind.APPLIED]
        assert set(await field.dispatcher.all(PartUsed)) == {"last.part"}
        assert (await field.company.http.get("/v1/health")).status_code == 200
        await field.holds_exactly_what_it_may(theo)
        for connection in (blocker, watcher):
            connection.terminate()
