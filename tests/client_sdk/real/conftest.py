"""Replicas against the real server and a real PostgreSQL, over its HTTP face."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from client_sdk import HttpTransport, Offline, Replica
from sync.protocol import OutcomeKind
from tests.client_sdk.oracle import check
from tests.server.wire import BareDevice, create

NOW_MS = time.time_ns() // 1_000_000

Enrol = Callable[..., Awaitable[Replica]]


class Wire:
    """The server's web face, with replies that get lost."""

    def __init__(self, http: Any) -> None:
        self._inner = HttpTransport(http)
        self.lose_replies = 0
        self.posts = 0

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self.posts += 1
        answer = await self._inner.post(path, body, headers)
        if self.lose_replies:
            self.lose_replies -= 1
            raise Offline("the reply is lost")
        return answer


@pytest.fixture
def wire(company: Any) -> Wire:
    return Wire(company.http)


@pytest.fixture
async def enrol(company: Any, tmp_path: Path, wire: Wire) -> AsyncIterator[Enrol]:
    """A replica of a user by id, in a file by name."""
    opened: list[Replica] = []

    async def enrol_one(user_id: str, name: str, **options: Any) -> Replica:
        replica = Replica.open(tmp_path / name, transport=wire, **options)
        opened.append(replica)
        await replica.enrol("http://server", await company.code(user_id), name)
        return replica

    yield enrol_one
    for replica in opened:
        if replica._store._connection is not None:
            check(replica)
            replica.close()


@pytest.fixture
async def office(company: Any) -> BareDevice:
    """A dispatcher, who works on the console and holds no replica."""
    return BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))


@pytest.fixture
async def crew(company: Any, office: BareDevice, enrol: Enrol) -> tuple[Replica, Replica]:
    """The replicas of two technicians; the first one has one order for today."""
    users = [await company.user(name, "technician") for name in ("Theo", "Uma")]
    made = await office.push(
        create("technician", "T0", name="Theo", user=users[0]),
        create("technician", "T1", name="Uma", user=users[1]),
        create("account", "A1", name="Acme"),
        create("site", "S1", account="A1", name="Plant", access_notes="gate code 12, dog"),
        create("work_order", "W1", account="A1", site="S1", subject="boiler"),
        create("appointment", "P1", work_order="W1", technician="T0", status="dispatched", planned_start=NOW_MS),
    )
    assert made.kind is OutcomeKind.APPLIED, made
    theo, uma = await enrol(users[0], "theo"), await enrol(users[1], "uma")
    await theo.sync()
    await uma.sync()
    return theo, uma
