"""Scenario 9 on the device: SQLite itself says that the disk is full, at an edit, at a page, at a checkpoint."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client_sdk import DiskFull, Replica, StorageError
from sync.entities import Account, Lead, WorkOrder, WorkOrderTask
from tests.client_sdk.conftest import Office
from tests.client_sdk.oracle import base, check, shown
from tests.client_sdk.peer import Peer

Make = Callable[..., Replica]
BIG = "x" * 9_000


@contextmanager
def full(replica: Replica, room: int = 0) -> Iterator[None]:
    """The file may grow by `room` pages and no more: every write beyond is SQLITE_FULL."""
    (pages,) = replica._store._one("PRAGMA page_count")
    replica._store._all(f"PRAGMA max_page_count = {pages + room}")
    yield
    replica._store._all("PRAGMA max_page_count = 4294967294")


async def test_an_edit_stores_nothing_and_says_so(ana: Replica, peer: Peer) -> None:
    before = shown(ana), ana.status()
    with full(ana):
        with pytest.raises(DiskFull, match="storage is full"), ana.edit("too much") as tx:
            tx.create(Lead(need=BIG))
        assert tx.n is None
        assert (shown(ana), ana.status()) == before
        assert ana.get(WorkOrder, "wo1") is not None
    check(ana)
    with ana.edit("there is room again") as tx:
        tx.create(Lead(need=BIG))
    assert tx.n == 1
    await ana.sync()
    assert peer.applied[-1] == ("user2", 1)


@pytest.mark.parametrize("page", [2_000, 3])
@pytest.mark.parametrize("room", [0, 2, 6, 14])
async def test_a_sync_that_cannot_store_keeps_the_old_checkpoint(
    ana: Replica, peer: Peer, office: Office, page: int, room: int
) -> None:
    """What waited has arrived, what came is not shown by halves, and the next sync with room makes up for it."""
    peer.page = page
    with ana.edit("waits") as tx:
        tx.set(WorkOrder, "wo1", cause="valve")
    for number in range(12):
        office.create(WorkOrderTask(work_order="wo1", title="look", note=BIG), f"task{number}")
    cursor, held, before = ana.status().cursor, base(ana), shown(ana)
    with full(ana, room):
        for _ in range(2):
            with pytest.raises(DiskFull):
                await ana.sync()
        assert ana.status().cursor == cursor
        assert (ana.status().last_error or "").startswith("DiskFull")
        assert base(ana) == held
        assert shown(ana) == before
    check(ana)
    assert peer.applied.count(("user2", 1)) == 1
    await ana.sync()
    check(ana)
    assert len(ana.query(WorkOrderTask)) == 12
    assert {key: body for key, (body, *_) in shown(ana).items()} == peer.visible("user2")
    assert peer.applied.count(("user2", 1)) == 1
    assert not ana.outbox()


async def test_a_background_sync_outlives_it(ana: Replica, peer: Peer, office: Office) -> None:
    office.create(WorkOrderTask(work_order="wo1", title="look", note=BIG), "task")
    changes = ana.watch(WorkOrderTask)
    with full(ana):
        background = ana.sync_in_background()
        while not background.failures:
            await background._sleep(0)
    assert not background.task.done()
    background.poke()
    assert await anext(changes) == {("work_order_task", "task")}
    await background.stop()


async def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path, make: Make) -> None:
    with pytest.raises(StorageError, match="No such file or directory"):
        make("no/such/folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError):
        make("folder")


async def test_what_the_code_gets_wrong_is_no_trouble_of_the_disk(ana: Replica) -> None:
    with pytest.raises(Exception, match="no such column") as raised:
        ana._store._all("SELECT colour FROM base")
    assert not isinstance(raised.value, StorageError)
    assert ana.query(Account)
