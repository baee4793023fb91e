"""The SDK's attachments and wake-ups against the real server: nothing is lost, whatever fails and whenever it is killed."""

import asyncio
import hashlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Company
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from live import PATIENCE_S, Served, kept, serving
from wire import BareDevice, create, update

from client_sdk import FileState, NotFound, NotUploaded, Offline, Progress, Replica, Revoked
from client_sdk.attachments import FIRST_PIECE_BYTES, NotEnrolled
from server.app import create_app
from server.attachments import Attachments
from server.context import Context
from server.storage.blobs import Blobs
from sync.entities import Attachment, Lead, WorkOrder

PHOTO = os.urandom(1_500_000)


class Flaky:
    """In front of the server: `fails` decides per request whether its reply is lost, after the server has done its work."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.fails: Callable[[Scope], bool] = lambda _: False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.fails(scope):
            if scope["method"] != "GET":  # it would do nothing but wait for its reader
                await self.app(scope, receive, _swallow)
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await self.app(scope, receive, send)


async def _swallow(_: Message) -> None:
    """The reply is lost."""


@pytest.fixture
def desk(context: Context, tmp_path: Path) -> Attachments:
    return Attachments(context, Blobs.open("", tmp_path / "home"), tmp_path / "home" / "uploads", max_bytes=2**24)


@pytest.fixture
def flaky(context: Context, desk: Attachments) -> Flaky:
    return Flaky(create_app(context, max_body_bytes=1_000_000, attachments=desk))


@pytest.fixture
async def served(context: Context, flaky: Flaky) -> AsyncIterator[Served]:
    async with kept(serving(context, flaky)) as one:
        yield one


class Crew:
    """An office, and technicians with replicas on files. Theo holds order W1, Uma none."""

    def __init__(self, company: Company, served: Served, folder: Path) -> None:
        self.company, self.served, self.folder = company, served, folder
        self.replicas: list[Replica] = []

    async def start(self) -> None:
        self.office = BareDevice(self.company.http, await self.company.enrol(await self.company.user("Dana", "dispatcher")))
        self.users = {name: await self.company.user(name, "technician") for name in ("theo", "uma")}
        self.made = await self.office.push(
            create("technician", "T1", name="Theo", user=self.users["theo"]),
            create("technician", "T2", name="Uma", user=self.users["uma"]),
            create("account", "A1", name="Acme"),
            create("site", "S1", account="A1", name="Plant"),
            create("work_order", "W1", account="A1", site="S1", subject="Boiler"),
            create("appointment", "P1", work_order="W1", technician="T1", status="scheduled"),
        )

    async def device(self, user: str, file: str) -> Replica:
        replica = self.open(file)
        await replica.enrol(self.served.url, await self.company.code(self.users[user]), user)
        await replica.sync()
        return replica

    def open(self, file: str) -> Replica:
        replica = Replica.open(self.folder / file)
        self.replicas.append(replica)
        return replica


@pytest.fixture
async def crew(company: Company, served: Served, tmp_path: Path) -> AsyncIterator[Crew]:
    crew = Crew(company, served, tmp_path)
    await crew.start()
    yield crew
    for replica in crew.replicas:
        replica.close()


def attach(replica: Replica, content: bytes | Path = PHOTO) -> str:
    with replica.edit("photo") as tx:
        return replica.attachments.attach(tx, content, media_type="image/jpeg", parent=WorkOrder, parent_id="W1")


def item(replica: Replica, record: str):  # the item of the record, which must be there
    found = replica.get(Attachment, record)
    assert found is not None
    return found


def state(replica: Replica) -> list[FileState]:
    return [file.state for file in replica.attachments.queue()]


async def test_a_photo_follows_its_record_to_another_device(crew: Crew) -> None:
    theo, twin = await crew.device("theo", "one"), await crew.device("theo", "two")
    record = attach(theo)
    await theo.sync()
    await twin.sync()
    with pytest.raises(NotUploaded):
        await twin.attachments.fetch(item(twin, record))
    up: list[Progress] = []
    down: list[Progress] = []
    await theo.attachments.sync(up.append)
    path = await twin.attachments.fetch(item(twin, record), down.append)
    assert path.read_bytes() == PHOTO
    for progress in (up, down):
        assert [p.done_bytes for p in progress] == sorted({p.done_bytes for p in progress})
        assert progress[-1].done_bytes == len(PHOTO)
        assert len(progress) > 1
    assert await twin.attachments.fetch(item(twin, record)) == path
    assert state(theo) == [FileState.STORED]


async def test_every_reply_lost_once_and_still_one_photo(crew: Crew, flaky: Flaky) -> None:
    theo = await crew.device("theo", "one")
    record = attach(theo)
    await theo.sync()
    lost: set[tuple[str, int]] = set()

    def once(scope: Scope) -> bool:
        if "/v1/attachments" not in scope["path"]:
            return False
        headers = dict(scope["headers"])
        key = (scope["method"], int(headers.get(b"upload-offset", b"-1")))
        return key not in lost and not lost.add(key)  # type: ignore[func-returns-value]  # `add` is for its effect

    flaky.fails = once
    failures = 0
    while FileState.WAITING in state(theo):
        try:
            await theo.attachments.sync()
        except Offline:
            failures += 1
    assert failures == len(lost) > 3
    flaky.fails = lambda _: False
    theo.attachments.trim(0)
    assert theo.attachments.local(hashlib.sha256(PHOTO).hexdigest()) is None
    assert (await theo.attachments.fetch(item(theo, record))).read_bytes() == PHOTO


async def spawn(*arguments: object) -> asyncio.subprocess.Process:
    script = Path(__file__).with_name("sending_device.py")
    return await asyncio.create_subprocess_exec(sys.executable, str(script), *map(str, arguments), stdout=asyncio.subprocess.PIPE)


async def killed_after_its_word(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        said = await process.stdout.readline()
    process.kill()
    await process.wait()
    return said.decode().strip()


async def test_a_device_killed_while_sending_goes_on_where_the_server_is(crew: Crew, tmp_path: Path) -> None:
    theo = await crew.device("theo", "one")
    record = attach(theo)
    await theo.sync()
    said = await killed_after_its_word(await spawn(tmp_path / "one", "-", "send"))
    assert int(said) == FIRST_PIECE_BYTES
    seen: list[Progress] = []
    await theo.attachments.sync(seen.append)
    assert seen[0].done_bytes == FIRST_PIECE_BYTES * 2
    assert state(theo) == [FileState.STORED]
    theo.attachments.trim(0)
    assert (await theo.attachments.fetch(item(theo, record))).read_bytes() == PHOTO


async def test_a_photo_whose_edit_is_stored_survives_a_kill(crew: Crew, tmp_path: Path) -> None:
    theo = await crew.device("theo", "one")
    photo = tmp_path / "photo"
    photo.write_bytes(PHOTO)
    assert await killed_after_its_word(await spawn(tmp_path / "one", photo, "attach")) == "stored"
    photo.unlink()
    assert state(theo) == [FileState.WAITING]
    await theo.sync()
    await theo.attachments.sync()
    assert state(theo) == [FileState.STORED]


async def test_a_photo_whose_edit_was_never_stored_is_not_sent(crew: Crew, tmp_path: Path) -> None:
    theo = await crew.device("theo", "one")
    photo = tmp_path / "unfinished"
    photo.write_bytes(PHOTO)
    assert await killed_after_its_word(await spawn(tmp_path / "one", photo, "attach")) == "attached"
    with suppress(ZeroDivisionError), theo.edit("photo") as tx:
        theo.attachments.attach(tx, b"never", media_type="image/jpeg", parent=WorkOrder, parent_id="W1")
        raise ZeroDivisionError
    assert state(theo) == [FileState.DRAFTED, FileState.DRAFTED]
    await theo.attachments.sync()
    assert theo.query(Attachment) == []
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


async def test_a_photo_of_an_order_that_was_taken_away_still_arrives(crew: Crew) -> None:
    theo = await crew.device("theo", "one")
    record = attach(theo)
    await theo.sync()
    await crew.office.push(update("appointment", "P1", crew.made.seq, technician="T2"))
    await theo.sync()
    assert theo.get(Attachment, record) is None
    await theo.attachments.sync()
    uma = await crew.device("uma", "two")
    assert (await uma.attachments.fetch(item(uma, record))).read_bytes() == PHOTO


async def test_who_lost_the_order_may_not_fetch_its_photo(crew: Crew) -> None:
    theo, twin = await crew.device("theo", "one"), await crew.device("theo", "two")
    record = attach(theo)
    await theo.sync()
    await theo.attachments.sync()
    await twin.sync()
    held = item(twin, record)
    await crew.office.push(update("appointment", "P1", crew.made.seq, technician="T2"))
    with pytest.raises(NotFound):
        await twin.attachments.fetch(held)


async def test_what_the_server_refuses_does_not_hold_up_the_rest(crew: Crew, desk: Attachments) -> None:
    theo = await crew.device("theo", "one")
    attach(theo, b"small")
    attach(theo, PHOTO)
    desk.max_bytes = 1000
    await theo.attachments.sync()
    assert state(theo) == [FileState.STORED, FileState.REFUSED]
    refused = theo.attachments.queue(FileState.REFUSED)[0]
    assert "too large" in refused.problem
    desk.max_bytes = 2**24
    theo.attachments.retry(refused.record)
    await theo.attachments.sync()
    assert state(theo) == [FileState.STORED, FileState.STORED]


async def test_a_file_damaged_on_the_device_is_not_sent(crew: Crew) -> None:
    theo = await crew.device("theo", "one")
    attach(theo)
    path = theo.attachments.local(hashlib.sha256(PHOTO).hexdigest())
    assert path is not None
    path.write_bytes(PHOTO[:-1] + b"!")
    await theo.attachments.sync()
    (file,) = theo.attachments.queue()
    assert (file.state, file.problem) == (FileState.REFUSED, "the file on this device is gone or damaged")


async def test_a_download_that_broke_off_goes_on(crew: Crew, flaky: Flaky) -> None:
    theo, twin = await crew.device("theo", "one"), await crew.device("theo", "two")
    record = attach(theo)
    await theo.sync()
    await theo.attachments.sync()
    await twin.sync()
    flaky.fails = lambda scope: scope["method"] == "GET" and not dict(scope["headers"])[b"range"].startswith(b"bytes=0-")
    with pytest.raises(Offline):
        await twin.attachments.fetch(item(twin, record))
    flaky.fails = lambda _: False
    seen: list[Progress] = []
    assert (await twin.attachments.fetch(item(twin, record), seen.append)).read_bytes() == PHOTO
    assert len(seen) == 1


async def test_trimming_keeps_what_waits(crew: Crew) -> None:
    theo = await crew.device("theo", "one")
    attach(theo, b"waits")
    theo.attachments.trim(0)
    assert theo.attachments.local(hashlib.sha256(b"waits").hexdigest()) is not None


async def test_a_revoked_device_keeps_its_photos(crew: Crew, company: Company) -> None:
    theo = await crew.device("theo", "one")
    attach(theo)
    identity = theo.identity()
    assert identity is not None
    async with company.context.office.of(company.tenant_id) as tenant:
        await tenant.set_device_status(identity.device, "revoked")
    with pytest.raises(Revoked):
        await theo.attachments.sync()
    assert state(theo) == [FileState.WAITING]


async def test_before_enrolment_photos_wait(tmp_path: Path) -> None:
    with Replica.open(tmp_path / "new") as replica:
        with replica.edit("photo") as tx:
            replica.attachments.attach(tx, b"x", media_type="image/png", parent=WorkOrder, parent_id="W1", scope="work_order:W1")
        with pytest.raises(NotEnrolled):
            await replica.attachments.sync()
        assert state(replica) == [FileState.WAITING]


async def test_a_listening_device_learns_of_an_order_without_asking(crew: Crew) -> None:
    uma = await crew.device("uma", "one")
    changes = uma.watch(WorkOrder)
    async with uma.sync_in_background() as background, uma.listen(background) as wakeups:
        await crew.office.push(update("appointment", "P1", crew.made.seq, technician="T2"))
        async with asyncio.timeout(PATIENCE_S):
            assert await anext(changes) == {("work_order", "W1")}
        assert not wakeups.task.done()


async def test_a_listener_survives_a_server_that_comes_back_and_ends_with_a_revoked_device(
    crew: Crew, company: Company, context: Context
) -> None:
    uma = await crew.device("uma", "one")
    identity = uma.identity()
    assert identity is not None
    async with uma.sync_in_background() as background, uma.listen(background) as wakeups:
        async with asyncio.timeout(PATIENCE_S):
            while not context.wakeups.connected(company.tenant_id):
                await asyncio.sleep(0)
        context.wakeups.end_streams()
        context.wakeups._ended = False
        async with asyncio.timeout(PATIENCE_S):
            while wakeups.failures == 0:
                await asyncio.sleep(0)
            while not context.wakeups.connected(company.tenant_id):
                await asyncio.sleep(0)
        async with company.context.office.of(company.tenant_id) as tenant:
            await tenant.set_device_status(identity.device, "revoked")
        await context.wakeups.audit()
        async with asyncio.timeout(PATIENCE_S):
            await wakeups.task


async def test_a_listener_goes_on_as_the_device_that_a_copied_file_becomes(
    crew: Crew, company: Company, context: Context, tmp_path: Path
) -> None:
    uma = await crew.device("uma", "one")
    for end in ("", "-wal"):
        shutil.copy(tmp_path / f"one{end}", tmp_path / f"copy{end}")
    copy = crew.open("copy")
    with uma.edit("one") as tx:
        tx.create(Lead(need="one", captured_by=(uma.identity().user,)))  # type: ignore[union-attr]  # it is enrolled
    await uma.sync()
    with copy.edit("other") as tx:
        tx.create(Lead(need="other", captured_by=(uma.identity().user,)))  # type: ignore[union-attr]  # it is enrolled
    async with copy.sync_in_background() as background, copy.listen(background):
        async with asyncio.timeout(PATIENCE_S):
            while len(copy.query(Lead)) < 2:
                await asyncio.sleep(0)
            mine = await device_no(context, company, copy)
            assert mine != await device_no(context, company, uma)
            with uma.edit("again") as tx:
                tx.set(Lead, uma.query(Lead)[0].id, need="both")
            await uma.sync()
            while mine not in context.wakeups.connected(company.tenant_id):
                await asyncio.sleep(0)


async def device_no(context: Context, company: Company, replica: Replica) -> int:
    identity = replica.identity()
    assert identity is not None
    async with context.office.of(company.tenant_id) as tenant:
        return next(row.no for row in await tenant.devices() if row.id == identity.device)
