"""Killed at any statement, at any moment, by several hands at once: the file is whole, and the work is delivered once."""

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

from client_sdk import Replica
from sync.entities import Account, Asset, Lead, Site, WorkOrder
from tests.client_sdk.conftest import Clock, Office
from tests.client_sdk.http_peer import served
from tests.client_sdk.oracle import check, copies_at_each_statement, drive, shown
from tests.client_sdk.peer import Line, Peer

Make = Callable[..., Replica]
ROOT = Path(__file__).parents[2]
SCOPES = {"work_order:wo1", "site:site1", "account:acc1"}


async def test_killed_at_any_statement_of_a_local_transaction(ana: Replica, make: Make, tmp_path: Path) -> None:
    def work() -> None:
        with ana.edit() as tx:
            tx.set(WorkOrder, "wo1", cause="valve")
            tx.create(Lead(need="pump"), record_id="lead1")

    before = shown(ana)
    copies = copies_at_each_statement(ana, tmp_path / "ana", work)
    after = shown(ana)
    assert len(copies) > 8
    outcomes = []
    for copy in copies:
        survivor = make(copy.name)
        check(survivor)
        assert shown(survivor) in (before, after)
        assert survivor.status().waiting == int(shown(survivor) == after)
        outcomes.append(shown(survivor) == after)
    assert outcomes == sorted(outcomes)
    assert (outcomes[0], outcomes[-1]) == (False, True)


def test_killed_at_any_statement_of_a_sync(make: Make, peer: Peer, office: Office, clock: Clock, tmp_path: Path) -> None:
    """Pages staged, a checkpoint published, outcomes stored, a scope gone and another come: at each statement the file is
    consistent, shows the state before or after, and syncs on to the same end as if nothing had happened."""
    ana = make("ana")
    drive(ana.enrol("https://peer", "code"))
    office.create(Account(name="A"), "acc1")
    office.create(Site(account="acc1", name="S"), "site1")
    office.create(WorkOrder(account="acc1", site="site1"), "wo1")
    peer.holds["user2"] = set(SCOPES)
    drive(ana.sync())
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="valve")
    for number in range(5):
        office.create(Asset(site="site1", name=f"boiler {number}"), f"asset{number}")
    peer.holds["user2"].remove("account:acc1")
    peer.page = 2
    before = shown(ana)
    copies = copies_at_each_statement(ana, tmp_path / "ana", lambda: drive(ana.sync()))
    after = shown(ana)
    assert len(copies) > 50
    for copy in copies:
        survivor = make(copy.name, Line(peer, Random(0), 0.0))
        check(survivor)
        assert {key: body for key, (body, *_) in shown(survivor).items()} in (
            {key: body for key, (body, *_) in before.items()},
            {key: body for key, (body, *_) in after.items()},
        )
        drive(survivor.sync())
        assert shown(survivor) == after
        assert survivor.status().waiting == survivor.status().confirmed == 0
        survivor.close()
    assert peer.applied.count(("user2", 1)) == 1


async def start(path: Path, name: str, count: int) -> asyncio.subprocess.Process:
    arguments = (sys.executable, "-m", "tests.client_sdk.worker", str(path), name, str(count))
    return await asyncio.create_subprocess_exec(*arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE)


async def printed(process: asyncio.subprocess.Process) -> set[str]:
    """The leads that the process says are stored."""
    assert process.stdout
    lines = (await process.stdout.read()).decode().splitlines()
    await process.wait()
    return {line for line in lines if line and not line.startswith("#")}


def settled(peer: Peer, replica: Replica, stored: set[str]) -> None:
    """Everything that was ever stored is on the server, once, in order."""
    check(replica)
    assert stored <= {record_id for entity, record_id in peer.records if entity == "lead"}
    numbers = [n for user, n in peer.applied if user == "user2"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert replica.status().waiting == 0
    assert {key: body for key, (body, *_) in shown(replica).items()} == peer.visible("user2")


async def test_killed_processes_lose_and_double_nothing(tmp_path: Path, peer: Peer, office: Office) -> None:
    """A real device process is killed with SIGKILL while a request is on its way, stored, or just answered."""
    office.create(Account(name="A"), "acc1")
    office.create(Site(account="acc1", name="S"), "site1")
    office.create(WorkOrder(account="acc1", site="site1"), "wo1")
    peer.page, random = 2, Random(5)
    stored: set[str] = set()
    victim: asyncio.subprocess.Process | None = None
    moments_left = 0

    async def hook(moment: str) -> None:
        nonlocal moments_left
        moments_left -= 1
        if victim and moments_left == 0:
            if moment == "answered":  # let it get some way into storing the reply
                for _ in range(random.randrange(400)):
                    await asyncio.sleep(0)
            victim.kill()

    async with served(peer, hook) as url:
        with Replica.open(tmp_path / "device") as replica:
            await replica.enrol(url, "code")
            peer.holds["user2"] = set(SCOPES)
            await replica.sync()
        for run in range(6):
            victim, moments_left = await start(tmp_path / "device", f"run{run}", 9), random.randrange(1, 13)
            stored |= await printed(victim)
            with Replica.open(tmp_path / "device") as replica:
                check(replica)
        victim = None
        with Replica.open(tmp_path / "device") as replica:
            await replica.sync()
            settled(peer, replica, stored)
    assert len(stored) > 9


async def test_two_processes_of_one_app_push_at_once(tmp_path: Path, peer: Peer, office: Office) -> None:
    office.create(Account(name="A"), "acc1")
    office.create(Site(account="acc1", name="S"), "site1")
    office.create(WorkOrder(account="acc1", site="site1"), "wo1")
    async with served(peer) as url:
        with Replica.open(tmp_path / "device") as replica:
            await replica.enrol(url, "code")
            peer.holds["user2"] = set(SCOPES)
            await replica.sync()
        processes = [await start(tmp_path / "device", name, 12) for name in ("one", "two")]
        stored = set().union(*await asyncio.gather(*(printed(process) for process in processes)))
        assert [process.returncode for process in processes] == [0, 0]
        with Replica.open(tmp_path / "device") as replica:
            await replica.sync()
            settled(peer, replica, stored)
    assert len(stored) == 24


def test_a_new_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    """As when an app and its background service begin together."""
    opened: list[Path] = []
    for number in range(20):
        barrier = threading.Barrier(6)

        def open_one(path: Path = tmp_path / f"{number}.db", barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            Replica.open(path).close()
            opened.append(path)

        _together(*[open_one] * 6)
    assert len(opened) == 120


def test_two_threads_push_at_once(make: Make, peer: Peer, office: Office, tmp_path: Path) -> None:
    """On one replica and on two of the same file, from a file that nobody has opened before."""
    opened: list[Replica] = []
    barrier = threading.Barrier(2)

    def open_one() -> None:
        barrier.wait()
        opened.append(make("device"))

    _together(open_one, open_one)
    office.create(Account(name="A"), "acc1")
    office.create(Site(account="acc1", name="S"), "site1")
    office.create(WorkOrder(account="acc1", site="site1"), "wo1")
    asyncio.run(opened[0].enrol("https://peer", "code"))
    peer.holds["user2"] = set(SCOPES)
    asyncio.run(opened[0].sync())
    stored: set[str] = set()

    def work(replica: Replica) -> Callable[[], None]:
        def run() -> None:
            for number in range(10):
                with replica.edit() as tx:
                    stored.add(tx.create(Lead(need=str(number))))
                    tx.set(WorkOrder, "wo1", cause=str(number))
                if number % 4 == 3:
                    asyncio.run(replica.sync())

        return run

    _together(work(opened[0]), work(opened[0]), work(opened[1]))
    asyncio.run(opened[1].sync())
    settled(peer, opened[0], stored)
    assert len(stored) == 30


def _together(*work: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001  # told by the caller
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(run,)) for run in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
