"""Attachments over real HTTP on a real PostgreSQL: resumable up, checked, and down to whoever holds a record of them."""

import asyncio
import base64
import hashlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from conftest import Company
from live import PATIENCE_S, kept, serving
from wire import BareDevice, create

from server.app import create_app
from server.attachments import UNFINISHED_MAX, Attachments
from server.context import Context
from server.storage.blobs import Blobs
from server.tenants import create_tenant
from sync.protocol import Enrolled, OutcomeKind

MAX_BYTES = 4_000_000
PHOTO = bytes(range(256)) * 3_000
TUS = {"tus-resumable": "1.0.0"}
PIECE = {**TUS, "content-type": "application/offset+octet-stream"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Client:
    """One device's way to the attachments of a server."""

    def __init__(self, http: httpx.AsyncClient, me: Enrolled) -> None:
        self.http, self.me = http, me
        self.auth = {"authorization": f"Bearer {me.token}"}

    async def begin(self, content: bytes, *, named: str = "", media_type: str = "image/jpeg", length: str = "") -> httpx.Response:
        pairs = {"sha256": named or sha256(content), "media_type": media_type}
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
        headers = self.auth | TUS | {"upload-length": length or str(len(content)), "upload-metadata": metadata}
        return await self.http.post("/v1/attachments", headers=headers)

    async def look(self, name: str) -> httpx.Response:
        return await self.http.head(f"/v1/attachments/uploads/{name}", headers=self.auth | TUS)

    async def append(self, name: str, offset: int, piece: bytes | AsyncIterator[bytes]) -> httpx.Response:
        headers = self.auth | PIECE | {"upload-offset": str(offset)}
        return await self.http.patch(f"/v1/attachments/uploads/{name}", content=piece, headers=headers)

    async def upload(self, content: bytes) -> str:
        assert (await self.begin(content)).status_code == 201
        done = await self.append(sha256(content), 0, content)
        assert (done.status_code, done.headers["upload-offset"]) == (204, str(len(content))), done.text
        return sha256(content)

    async def get(self, name: str, **headers: str) -> httpx.Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.http.get(f"/v1/attachments/{name}", headers=self.auth | named)


@pytest.fixture
def desk(context: Context, tmp_path: Path) -> Attachments:
    return Attachments(context, Blobs.open("", tmp_path), tmp_path / "uploads", max_bytes=MAX_BYTES)


@pytest.fixture
async def web(context: Context, desk: Attachments) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server on a real socket that stores in `desk`."""
    app = create_app(context, max_body_bytes=1_000_000, attachments=desk)
    async with kept(serving(context, app)) as served, httpx.AsyncClient(base_url=served.url, timeout=PATIENCE_S) as client:
        yield client


async def setup(company: Company, web: httpx.AsyncClient, content: bytes = PHOTO) -> tuple[Client, Client, Client]:
    """The office, a technician whose order W1 has an attachment record of `content`, and another technician."""
    dispatcher = BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))
    theo, uma = await company.user("Theo", "technician"), await company.user("Uma", "technician")
    made = await dispatcher.push(
        create("technician", "T1", name="Theo", user=theo),
        create("technician", "T2", name="Uma", user=uma),
        create("account", "A1", name="Acme"),
        create("site", "S1", account="A1", name="Plant"),
        create("work_order", "W1", account="A1", site="S1", subject="Boiler"),
        create("appointment", "P1", work_order="W1", technician="T1", status="scheduled"),
    )
    assert made.kind is OutcomeKind.APPLIED, made
    device = BareDevice(company.http, await company.enrol(theo))
    told = await device.push(
        create(
            "attachment",
            "F1",
            scope="work_order:W1",
            parent_entity="work_order",
            parent="W1",
            sha256=sha256(content),
            size_bytes=len(content),
            media_type="image/jpeg",
        )
    )
    assert told.kind is OutcomeKind.APPLIED, told
    return Client(web, dispatcher.me), Client(web, device.me), Client(web, await company.enrol(uma))


async def test_what_one_uploads_its_holders_download(company: Company, web: httpx.AsyncClient) -> None:
    office, theo, _ = await setup(company, web)
    begun = await theo.begin(PHOTO)
    assert (begun.status_code, begun.headers["upload-offset"]) == (201, "0")
    assert begun.headers["location"] == f"/v1/attachments/uploads/{sha256(PHOTO)}"
    for offset in range(0, len(PHOTO), 300_000):
        done = await theo.append(sha256(PHOTO), offset, PHOTO[offset : offset + 300_000])
        assert (done.status_code, done.headers["tus-resumable"]) == (204, "1.0.0"), done.text
    for asker in (theo, office):
        found = await asker.get(sha256(PHOTO))
        assert (found.status_code, found.content) == (200, PHOTO)
        assert found.headers["content-type"] == "image/jpeg"
        assert found.headers["etag"] == f'"{sha256(PHOTO)}"'
        assert found.headers["x-content-type-options"] == "nosniff"


async def test_who_holds_no_record_of_it_finds_nothing(company: Company, web: httpx.AsyncClient) -> None:
    _, theo, uma = await setup(company, web)
    await theo.upload(PHOTO)
    answer = await uma.get(sha256(PHOTO))
    assert (answer.status_code, answer.json()["rule"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"
    unknown = await theo.get(sha256(b"never seen"))
    assert unknown.json() | {"detail": ""} == answer.json() | {"detail": ""}
    assert (await web.get(f"/v1/attachments/{sha256(PHOTO)}")).status_code == 401


async def test_a_foreign_tenant_finds_nothing_and_uploads_its_own(
    company: Company, web: httpx.AsyncClient, context: Context
) -> None:
    _, theo, _ = await setup(company, web)
    await theo.upload(PHOTO)
    other = Company(context, company.http, await create_tenant(context, f"other-{context.new_id()}"))
    stranger = Client(web, await other.enrol(await other.user("Olaf", "administrator")))
    assert (await stranger.get(sha256(PHOTO))).status_code == 404
    assert (await stranger.look(sha256(PHOTO))).status_code == 404
    assert (await stranger.begin(PHOTO)).headers["upload-offset"] == "0"


async def test_a_record_is_there_before_its_content(company: Company, web: httpx.AsyncClient) -> None:
    office, theo, _ = await setup(company, web)
    answer = await office.get(sha256(PHOTO))
    assert (answer.status_code, answer.json()["rule"]) == (404, "not_uploaded")
    await theo.upload(PHOTO)
    assert (await office.get(sha256(PHOTO))).content == PHOTO


async def test_a_lost_reply_costs_nothing(company: Company, web: httpx.AsyncClient) -> None:
    _, theo, _ = await setup(company, web)
    name = sha256(PHOTO)
    await theo.begin(PHOTO)
    await theo.append(name, 0, PHOTO[:1000])
    again = await theo.begin(PHOTO)
    assert (again.status_code, again.headers["upload-offset"]) == (201, "1000")
    repeated = await theo.append(name, 0, PHOTO[:1000])
    assert (repeated.status_code, repeated.json()["rule"], repeated.headers["upload-offset"]) == (409, "offset", "1000")
    await theo.append(name, 1000, PHOTO[1000:])
    last = await theo.look(name)
    assert (last.status_code, last.headers["upload-offset"]) == (200, str(len(PHOTO)))
    assert (await theo.append(name, len(PHOTO), b"")).status_code == 204


async def test_known_content_is_complete_at_once(company: Company, web: httpx.AsyncClient) -> None:
    _, theo, uma = await setup(company, web)
    await theo.upload(PHOTO)
    begun = await uma.begin(PHOTO)
    assert (begun.status_code, begun.headers["upload-offset"]) == (201, str(len(PHOTO)))
    assert (await uma.look(sha256(PHOTO))).headers["upload-offset"] == str(len(PHOTO))
    wrong = await uma.begin(PHOTO, length="12")
    assert (wrong.status_code, wrong.json()["rule"]) == (422, "checksum")


async def test_content_that_is_not_what_was_announced_is_refused_and_begins_anew(
    company: Company, web: httpx.AsyncClient, tmp_path: Path
) -> None:
    _, theo, _ = await setup(company, web)
    name = sha256(PHOTO)
    await theo.begin(PHOTO)
    refused = await theo.append(name, 0, PHOTO[:-1] + b"!")
    assert (refused.status_code, refused.json()["rule"]) == (422, "checksum")
    assert (await theo.look(name)).status_code == 404
    assert (await theo.get(name)).json()["rule"] == "not_uploaded"
    assert files(tmp_path / "uploads") == []
    assert await theo.upload(PHOTO) == name


async def test_one_device_cannot_spoil_the_upload_of_another(company: Company, web: httpx.AsyncClient) -> None:
    _, theo, uma = await setup(company, web)
    name = sha256(PHOTO)
    await theo.begin(PHOTO)
    await theo.append(name, 0, PHOTO[:1000])
    assert (await uma.look(name)).status_code == 404
    assert (await uma.append(name, 1000, b"rubbish")).status_code == 404
    await uma.begin(PHOTO)
    await uma.append(name, 0, b"rubbish")
    await theo.append(name, 1000, PHOTO[1000:])
    assert (await theo.get(name)).content == PHOTO


async def test_pieces_sent_at_the_same_time_leave_one_clean_upload(company: Company, web: httpx.AsyncClient) -> None:
    _, theo, _ = await setup(company, web)
    name = sha256(PHOTO)
    await theo.begin(PHOTO)
    while (at := int((await theo.begin(PHOTO)).headers["upload-offset"])) < len(PHOTO):
        piece = PHOTO[at : at + 200_000]
        answers = await asyncio.gather(*(theo.append(name, at, piece) for _ in range(5)))
        assert {answer.status_code for answer in answers} <= {204, 409, 423}
    assert (await theo.get(name)).content == PHOTO


async def test_a_stalled_request_gives_way_to_the_next(company: Company, web: httpx.AsyncClient) -> None:
    _, theo, _ = await setup(company, web)
    name, stalled, hang_up = sha256(PHOTO), asyncio.Event(), asyncio.Event()
    await theo.begin(PHOTO)

    async def stalling() -> AsyncIterator[bytes]:
        yield PHOTO[:5000]
        stalled.set()
        await hang_up.wait()

    former = asyncio.create_task(theo.append(name, 0, stalling()))
    await stalled.wait()
    at = int((await theo.look(name)).headers["upload-offset"])
    assert at in (0, 5000)
    assert (await theo.append(name, at, PHOTO[at:])).status_code == 204
    hang_up.set()
    answer = await former
    assert (answer.status_code, answer.json()["rule"]) == (423, "locked")
    assert (await theo.get(name)).content == PHOTO


async def test_a_line_that_breaks_keeps_what_came(company: Company, web: httpx.AsyncClient, tmp_path: Path) -> None:
    _, theo, _ = await setup(company, web)
    name = sha256(PHOTO)
    await theo.begin(PHOTO)

    async def breaking() -> AsyncIterator[bytes]:
        yield PHOTO[:300_000]
        await grown(tmp_path / "uploads", 1)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await theo.append(name, 0, breaking())
    at = int((await theo.look(name)).headers["upload-offset"])
    assert 0 < at <= 300_000
    assert (await theo.append(name, at, PHOTO[at:])).status_code == 204
    assert (await theo.get(name)).content == PHOTO


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def grown(staging: Path, size_bytes: int) -> Path:
    """Until the one staged file has this many bytes."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            for path in files(staging):
                if path.stat().st_size >= size_bytes:
                    return path
            await asyncio.sleep(0)


async def test_a_range_of_it(company: Company, web: httpx.AsyncClient) -> None:
    _, theo, _ = await setup(company, web)
    name, size = await theo.upload(PHOTO), len(PHOTO)
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        (f"bytes={size - 5}-", size - 5, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=10-{size + 99}", 10, size),
        ("bytes=0-", 0, size),
    ):
        part = await theo.get(name, range=asked)
        assert (part.status_code, part.content) == (206, PHOTO[start:end]), asked
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    for asked in ("bytes=0-1,5-6", "lines=1-2", "bytes=-", "bytes=a-b", "bytes=5-2"):
        assert (await theo.get(name, range=asked)).status_code == 200, asked
    for asked in (f"bytes={size}-", "bytes=-0"):
        outside = await theo.get(name, range=asked)
        assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{size}"), asked
    assert (await theo.get(name, if_none_match=f'"{name}"')).status_code == 304
    assert (await theo.get(name, range="bytes=0-9", if_range='"other"')).content == PHOTO
    described = await web.head(f"/v1/attachments/{name}", headers=theo.auth)
    assert (described.status_code, described.headers["content-length"]) == (200, str(size))


async def test_nothing_is_a_content_too(company: Company, web: httpx.AsyncClient) -> None:
    _, theo, _ = await setup(company, web, b"")
    begun = await theo.begin(b"")
    assert (begun.status_code, begun.headers["upload-offset"]) == (201, "0")
    found = await theo.get(sha256(b""))
    assert (found.status_code, found.content) == (200, b"")


async def test_bad_input_is_a_problem_document(company: Company, web: httpx.AsyncClient) -> None:
    _, theo, _ = await setup(company, web)
    name = sha256(PHOTO)
    await theo.begin(PHOTO)
    up, auth = f"/v1/attachments/uploads/{name}", theo.auth
    bad = [
        (400, "pattern", await theo.begin(PHOTO, named="../../etc/passwd")),
        (400, "pattern", await theo.begin(PHOTO, named=name.upper())),
        (400, "pattern", await theo.begin(PHOTO, media_type="text/html\r\nx: y")),
        (400, "bounds", await theo.begin(PHOTO, length="-1")),
        (400, "bounds", await theo.begin(PHOTO, length="9" * 40)),
        (413, "bounds", await theo.begin(PHOTO, length=str(MAX_BYTES + 1))),
        (400, "base64", await web.post("/v1/attachments", headers=auth | TUS | {"upload-metadata": "sha256 ?"})),
        (412, "version", await web.post("/v1/attachments", headers=auth)),
        (401, "token", await web.post("/v1/attachments", headers=TUS)),
        (415, "content_type", await web.patch(up, content=b"x", headers=auth | TUS | {"upload-offset": "0"})),
        (400, "bounds", await web.patch(up, content=b"x", headers=auth | PIECE)),
        (413, "bounds", await theo.append(name, 0, PHOTO + b"more")),
        (400, "pattern", await theo.append("x", 0, b"x")),
        (400, "pattern", await theo.get("x")),
    ]
    for status, rule, answer in bad:
        assert (answer.status_code, answer.json()["rule"]) == (status, rule), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["tus-resumable"] == "1.0.0"


async def test_the_server_says_what_of_tus_it_speaks(web: httpx.AsyncClient) -> None:
    answer = await web.options("/v1/attachments")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-extension"] == "creation"
    assert answer.headers["tus-max-size"] == str(MAX_BYTES)


async def test_a_device_has_so_many_unfinished_uploads(company: Company, web: httpx.AsyncClient) -> None:
    _, theo, _ = await setup(company, web)
    for n in range(UNFINISHED_MAX):
        assert (await theo.begin(b"%d" % n)).status_code == 201
    assert (await theo.begin(b"one more")).status_code == 429
    assert (await theo.begin(b"0")).status_code == 201
    await theo.append(sha256(b"0"), 0, b"0")
    assert (await theo.begin(b"one more")).status_code == 201


async def test_uploads_that_nobody_asks_for_are_dropped(
    company: Company, web: httpx.AsyncClient, desk: Attachments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, theo, _ = await setup(company, web)
    await theo.begin(PHOTO)
    await theo.append(sha256(PHOTO), 0, PHOTO[:1000])
    await desk.sweep()
    assert (await theo.look(sha256(PHOTO))).headers["upload-offset"] == "1000"
    later_ms = company.context.now_ms() + 30 * 86_400_000
    monkeypatch.setattr(company.context, "now_ms", lambda: later_ms)
    await desk.sweep()
    assert (await theo.look(sha256(PHOTO))).status_code == 404
    assert files(tmp_path / "uploads") == []


async def test_what_was_lost_from_the_store_can_be_uploaded_again(company: Company, web: httpx.AsyncClient, tmp_path: Path) -> None:
    _, theo, _ = await setup(company, web)
    name = await theo.upload(PHOTO)
    (kept,) = (path for path in (tmp_path / "attachments").rglob(name))
    kept.unlink()
    assert (await theo.get(name)).json()["rule"] == "not_uploaded"
    await theo.upload(PHOTO)
    assert (await theo.get(name)).content == PHOTO


async def test_any_store_that_obstore_knows(company: Company, context: Context, tmp_path: Path) -> None:
    for url in ("memory:///", f"file://{tmp_path}/elsewhere"):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        desk = Attachments(context, Blobs.open(url, tmp_path), tmp_path / "uploads", max_bytes=MAX_BYTES)
        app = create_app(context, max_body_bytes=1_000_000, attachments=desk)
        async with serving(context, app) as served, httpx.AsyncClient(base_url=served.url) as client:
            content = os.urandom(700_000)
            _, theo, _ = await setup(Company(context, company.http, await fresh(context)), client, content)
            name = await theo.upload(content)
            assert (await theo.get(name)).content == content
            assert (await theo.get(name, range="bytes=5-500004")).content == content[5:500_005]


async def fresh(context: Context) -> int:
    return await create_tenant(context, f"fresh-{context.new_id()}")


async def test_a_killed_server_goes_on_where_it_was(company: Company, database_url: str, tmp_path: Path) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"

    async def start() -> asyncio.subprocess.Process:
        script = Path(__file__).with_name("attachment_server.py")
        arguments = (str(script), str(listening.fileno()), database_url, str(tmp_path))
        return await asyncio.create_subprocess_exec(sys.executable, *arguments, pass_fds=[listening.fileno()])

    content = os.urandom(3_000_000)
    name = sha256(content)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as web:
        _, theo, _ = await setup(company, web, content)
        server = await start()
        await theo.begin(content)

        async def killing() -> AsyncIterator[bytes]:
            yield content[:1_500_000]
            await grown(tmp_path / "uploads", 1_000_000)
            server.send_signal(signal.SIGKILL)
            await server.wait()
            yield content[1_500_000:]

        with pytest.raises(httpx.TransportError):
            await theo.append(name, 0, killing())
        staged = (await grown(tmp_path / "uploads", 1_000_000)).stat().st_size
        assert 1_000_000 <= staged <= 1_500_000
        server = await start()
        at = int((await theo.look(name)).headers["upload-offset"])
        assert at == staged
        assert (await theo.append(name, at, content[at:])).status_code == 204
        assert (await theo.get(name)).content == content
        server.terminate()
        await server.wait()
    listening.close()


async def test_killed_between_the_last_byte_and_its_end_it_is_finished_when_asked(
    company: Company, web: httpx.AsyncClient, tmp_path: Path
) -> None:
    _, theo, _ = await setup(company, web)
    name = sha256(PHOTO)
    await theo.begin(PHOTO)
    await theo.append(name, 0, PHOTO[:10])
    (staged,) = (path for path in (tmp_path / "uploads").rglob(name))
    staged.write_bytes(PHOTO)  # all is written, and then the server is gone before it checked and filed it
    assert (await theo.get(name)).json()["rule"] == "not_uploaded"
    assert (await theo.look(name)).headers["upload-offset"] == str(len(PHOTO))
    assert (await theo.get(name)).content == PHOTO
    assert not staged.exists()
