"""docs/howto/build-an-app.md does what it says."""

import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from client_sdk import Replica
from sync.entities import Account, Appointment, Site, WorkOrder
from sync.entities.flows import AppointmentStatus
from tests.client_sdk.conftest import Office
from tests.client_sdk.http_peer import served
from tests.client_sdk.peer import Peer

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "build-an-app.md"


def todo() -> tuple[str, Callable[..., Awaitable[None]]]:
    """The first code block of the page, and its `main`."""
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block
    module: dict[str, Any] = {"__name__": "todo"}
    exec(compile(block[1], "todo.py", "exec"), module)  # the page is ours
    return block[1], module["main"]


def test_it_is_thirty_lines() -> None:
    code, _ = todo()
    assert len([line for line in code.splitlines() if line]) <= 30


async def test_a_visit_is_finished_in_the_cellar(
    peer: Peer, office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _, main = todo()
    now_ms = time.time_ns() // 1_000_000
    office.create(Account(name="A"), "acc1")
    office.create(Site(account="acc1", name="S"), "site1")
    office.create(WorkOrder(account="acc1", site="site1", subject="boiler is cold"), "wo1")
    for visit, start_ms in (("today", now_ms), ("later", now_ms + 3 * 86_400_000)):
        office.create(Appointment(work_order="wo1", planned_start=start_ms, status=AppointmentStatus.DISPATCHED), visit)
    peer.holds["user2"] = {"work_order:wo1"}
    async with served(peer) as url:
        await main("enrol", url, "code", "Ana's phone")
    assert capsys.readouterr().out == "✓ today dispatched boiler is cold\n"
    await main("done", "today")
    assert capsys.readouterr().out == "offline: what you did is kept, and goes out later\n… today completed boiler is cold\n"
    async with served(peer, port=urlsplit(url).port or 0):
        await main()
    assert capsys.readouterr().out == "✓ today completed boiler is cold\n"
    assert peer.records["appointment", "today"].record.body["status"] == "completed"
    with Replica.open("todo.db") as replica:
        assert [sent.label for sent in replica.history()] == ["finish visit"]
