"""Watching, and syncing without being asked. Time passes only where a test lets it."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from client_sdk import BackgroundSync, Closed, DiskFull, Offline, Replica
from client_sdk.background import INTERVAL_S, MAX_BACKOFF_S, backoff_s
from client_sdk.store import SyncLock
from client_sdk.watch import Hub
from sync.entities import Account, Lead, WorkOrder
from tests.client_sdk.conftest import Office
from tests.client_sdk.peer import Line, Peer

Make = Callable[..., Replica]


class Sleeper:
    """A `sleep` that notes how long it was asked for, and ends when it is told to."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self.go = asyncio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self.go.acquire()


async def test_a_watch_tells_of_edits_and_checkpoints(ana: Replica, make: Make, office: Office) -> None:
    """Also of those made through another replica of the file, in another thread."""
    everything, orders = ana.watch(), ana.watch(WorkOrder)
    with ana.edit() as tx:
        lead = tx.create(Lead(need="pump"))
    assert await anext(everything) == {("lead", lead)}
    other = make("ana")

    def edit() -> None:
        with other.edit() as tx:
            tx.set(WorkOrder, "wo1", cause="a")

    thread = threading.Thread(target=edit)
    thread.start()
    thread.join()
    assert await anext(orders) == {("work_order", "wo1")}
    assert await anext(everything) == {("work_order", "wo1")}
    office.edit(lambda tx: tx.set(Account, "acc1", tier="gold"))
    await ana.sync()
    assert ("account", "acc1") in await anext(everything)
    ana.close()
    assert [changed async for changed in orders] == [{("work_order", "wo1")}]


async def test_changes_come_together(ana: Replica) -> None:
    watch = ana.watch(WorkOrder)
    for cause in "abc":
        with ana.edit() as tx:
            tx.set(WorkOrder, "wo1", cause=cause)
    assert await anext(watch) == {("work_order", "wo1")}
    watch.close()
    assert [changed async for changed in watch] == []


async def test_background_sync_wakes_for_an_edit(ana: Replica, peer: Peer) -> None:
    async with ana.sync_in_background() as background:
        watch = ana.watch(WorkOrder)
        with ana.edit() as tx:
            tx.set(WorkOrder, "wo1", cause="a")
        while ana.status().waiting or ana.status().confirmed:
            await anext(watch)
        assert peer.records["work_order", "wo1"].record.body["cause"] == "a"
    assert background.task.cancelled()
    assert not background._hub._wakers


async def test_it_waits_longer_and_longer_and_recovers() -> None:
    sleep, hub = Sleeper(), Hub()
    errors: list[Exception | None] = [Offline("a"), Offline("b"), DiskFull("no room"), None, Offline("c")]

    async def sync() -> None:
        error = errors.pop(0)
        if error:
            raise error

    async with BackgroundSync(sync, hub, Random(1), sleep) as background:
        waits = []
        for _ in range(5):
            waits.append(await sleep.asked.get())
            sleep.go.release()
            if not errors:
                break
        assert background.failures == 1
    assert 0.5 <= waits[0] <= 1 <= waits[1] <= 2 <= waits[2] <= 4
    assert waits[3] == INTERVAL_S
    assert 0.5 <= waits[4] <= 1


def test_back_off_is_bounded_and_jittered() -> None:
    random = Random(3)
    waits = {backoff_s(40, random) for _ in range(20)}
    assert len(waits) == 20
    assert all(MAX_BACKOFF_S / 2 <= wait <= MAX_BACKOFF_S for wait in waits)


async def test_a_poke_ends_the_wait() -> None:
    sleep, hub = Sleeper(), Hub()
    done = asyncio.Queue[int]()

    async def sync() -> None:
        done.put_nowait(1)

    async with BackgroundSync(sync, hub, Random(1), sleep) as background:
        for wake in (background.poke, lambda: hub.edited([("a", "b")])):
            await done.get()
            await sleep.asked.get()
            wake()
        await done.get()


async def test_it_ends_with_its_device_and_with_its_replica(ana: Replica, peer: Peer) -> None:
    peer.devices["token2"].active = False
    background = ana.sync_in_background()
    await background.task
    assert ana.status().revoked
    await background.stop()
    ana.close()
    background = ana.sync_in_background()
    await background.task
    with pytest.raises(Closed):
        ana.status()


async def test_a_mistake_is_not_swallowed() -> None:
    async def sync() -> None:
        raise ZeroDivisionError

    background = BackgroundSync(sync, Hub(), Random(1), Sleeper())
    with pytest.raises(ZeroDivisionError):
        await background.task
    with pytest.raises(ZeroDivisionError):
        await background.stop()


async def test_only_one_of_a_file_talks_to_the_server(tmp_path: Path, peer: Peer, ana: Replica) -> None:
    """Whoever comes second waits, and then finds nothing left to send."""
    lock = SyncLock(tmp_path / "ana")
    assert lock.acquire()
    sleep = Sleeper()
    second = Replica.open(tmp_path / "ana", transport=peer.transport(), sleep=sleep)
    with second.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="a")
    syncing = asyncio.create_task(second.sync())
    await sleep.asked.get()
    assert second.status().waiting == 1
    lock.release()
    sleep.go.release()
    await syncing
    assert second.status().waiting == 0
    second.close()


async def test_a_cancelled_sync_frees_the_lock(ana: Replica, line: Line, peer: Peer, tmp_path: Path) -> None:
    never = asyncio.Event()

    class Stuck:
        async def post(self, *_: object) -> tuple[int, bytes]:
            await never.wait()
            raise AssertionError

    stuck = Replica.open(tmp_path / "ana", transport=Stuck())
    task = asyncio.create_task(stuck.sync())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await ana.sync()
    stuck.close()
