"""Scenario 22: several users on one device. Nothing of one leaks to another, and nothing is lost."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from client_sdk import AlreadyEnrolled, Closed, NotEnrolled, Offline, Replica, Replicas, WrongKey
from sync.entities import Account, Lead
from tests.client_sdk.conftest import Clock, Office
from tests.client_sdk.peer import Line, Peer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tablet"


@pytest.fixture
def tablet(folder: Path, line: Line, clock: Clock) -> Replicas:
    return Replicas(folder, transport=line, clock=clock)


async def come(tablet: Replicas, peer: Peer, office: Office, name: str) -> Replica:
    """A user with an account of their own, which nobody else may see."""
    replica = await tablet.enrol("https://peer", "code", name)
    identity = replica.identity()
    assert identity
    office.create(Account(name=f"{name}'s customer"), f"acc-{name}")
    peer.holds[identity.user].add(f"account:acc-{name}")
    await replica.sync()
    with replica.edit(f"{name}'s lead") as tx:
        tx.create(Lead(need=f"{name}'s pump"))
    return replica


def bytes_of(folder: Path, name: str) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob(f"{name}*"))


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_nothing_of_the_first_user_leaks_or_is_lost(tablet: Replicas, peer: Peer, office: Office, folder: Path) -> None:
    ana = await come(tablet, peer, office, "Ana")
    watch = ana.watch()
    background = ana.sync_in_background()
    bea = await come(tablet, peer, office, "Bea")
    assert tablet.current is bea
    assert [item.fields.name for item in bea.query(Account)] == ["Bea's customer"]
    assert [sent.label for sent in bea.outbox()] == ["Bea's lead"]
    with pytest.raises(Closed):
        ana.query(Account)
    assert [changed async for changed in watch] == []
    await background.task
    tablet.close()
    assert tablet.users() == ["user2", "user3"]
    assert b"Ana" not in bytes_of(folder, "user3")
    assert b"Bea" not in bytes_of(folder, "user2")
    assert modes(folder) == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700  # noqa: ASYNC240  # a test
    again = tablet.switch("user2")
    assert [sent.label for sent in again.outbox()] == ["Ana's lead"]
    await again.sync()
    assert [user for user, _ in peer.applied if user != "office"] == ["user2"]
    assert tablet.switch("user2") is again
    tablet.close()
    assert (tablet.current, tablet.current_user) == (None, None)


async def test_the_others_work_may_be_delivered_meanwhile(tablet: Replicas, peer: Peer, office: Office, line: Line) -> None:
    for name in ("Ana", "Bea", "Cleo"):
        await come(tablet, peer, office, name)
    line.up = False
    failed = await tablet.deliver()
    assert {user: type(error) for user, error in failed.items()} == {"user2": Offline, "user3": Offline}
    line.up = True
    assert await tablet.deliver() == {"user2": None, "user3": None}
    assert await tablet.deliver() == {}
    assert [user for user, _ in peer.applied if user != "office"] == ["user2", "user3"]
    assert tablet.current_user == "user4"
    assert tablet.current
    assert tablet.current.status().waiting == 1
    peer.devices["token2"].active = False
    with tablet.open("user2") as ana, ana.edit() as tx:
        tx.create(Lead(need="after that"))
    assert {user: type(error).__name__ for user, error in (await tablet.deliver()).items()} == {"user2": "Revoked"}
    tablet.close()


async def test_each_user_may_have_a_key(folder: Path, line: Line, peer: Peer, office: Office) -> None:
    keys = {"user2": "ana's", "user3": "bea's"}
    with Replicas(folder, key_of=keys.get, transport=line) as tablet:
        await come(tablet, peer, office, "Ana")
        await come(tablet, peer, office, "Bea")
        del keys["user2"]
        assert {user: type(error) for user, error in (await tablet.deliver()).items()} == {"user2": WrongKey}
        with pytest.raises(WrongKey):
            tablet.switch("user2")
        assert tablet.current_user == "user3"
        keys["user2"] = "ana's"
        assert tablet.switch("user2").outbox()
    assert b"pump" not in bytes_of(folder, "")


async def test_who_is_not_here_has_no_file(tablet: Replicas, folder: Path) -> None:
    with pytest.raises(NotEnrolled, match="user7"):
        tablet.switch("user7")
    assert tablet.users() == []
    assert not list(folder.iterdir())  # noqa: ASYNC240  # a test


async def test_one_user_has_one_file(tablet: Replicas, peer: Peer, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second code for the same user changes nothing of what is there."""
    await come(tablet, peer, office, "Ana")
    enrol: Callable[..., tuple[int, bytes]] = peer.enrol
    monkeypatch.setattr(peer, "enrol", lambda asked: (201, enrol(asked)[1].replace(b"user3", b"user2")))
    with pytest.raises(AlreadyEnrolled):
        await tablet.enrol("https://peer", "code", "Ana again")
    assert tablet.current
    assert tablet.current.identity() == tablet.switch("user2").identity()
    assert [sent.label for sent in tablet.current.outbox()] == ["Ana's lead"]
    tablet.close()


@pytest.mark.parametrize("user", ["../../etc/passwd", "..", ".", "a:b.c", "Ünïcode", "%2e%2e"])
def test_an_id_stays_in_its_folder(tablet: Replicas, folder: Path, user: str) -> None:
    path = tablet._path(user)
    assert path.resolve().parent == folder.resolve()
    path.touch()
    assert tablet.users() == [user]
