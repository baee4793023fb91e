"""An encrypted replica keeps the promises of a plain one, and without its key tells nothing."""

import stat
from pathlib import Path

import pytest

from client_sdk import Replica, SdkError, WrongKey, driver
from sync.entities import Account, Lead, Site, WorkOrder
from tests.client_sdk.conftest import Office
from tests.client_sdk.oracle import check
from tests.client_sdk.peer import Line, Peer

# What a store must promise is one suite: here it runs again, on the other driver.
from tests.client_sdk.test_cloned import *  # noqa: F403
from tests.client_sdk.test_full_disk import *  # noqa: F403
from tests.client_sdk.test_kill import (
    test_killed_at_any_statement_of_a_local_transaction,  # noqa: F401
    test_two_threads_push_at_once,  # noqa: F401
)
from tests.client_sdk.test_query import *  # noqa: F403
from tests.client_sdk.test_replica import *  # noqa: F403

SECRETS = (b"Lakeside", b"gate code", b"boiler is cold", b"heat pump", b"token2", b"CREATE TABLE", b"SQLite format")


@pytest.fixture
def key() -> str:
    return "correct horse battery staple"


@pytest.fixture
def peer(request: pytest.FixtureRequest) -> Peer:
    peer = Peer()
    peer.clones = True
    return peer


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


async def test_no_byte_of_any_file_tells_anything(ana: Replica, tmp_path: Path) -> None:
    with ana.edit("capture") as tx:
        tx.create(Lead(need="heat pump"))
    ana._store._run("PRAGMA wal_checkpoint(PASSIVE)")
    with ana.edit("in the log beside the file") as tx:
        tx.create(Lead(need="heat pump"))
    assert modes(tmp_path).keys() >= {"ana", "ana-wal", "ana-shm", "ana-sync"}
    found = bytes_of(tmp_path)
    assert len(found) > 50_000
    assert [secret for secret in SECRETS if secret in found] == []


async def test_the_same_without_a_key_would_be_found(tmp_path: Path, peer: Peer) -> None:
    """So that the test above can fail."""
    with Replica.open(tmp_path / "plain", transport=peer.transport()) as plain:
        await plain.enrol("https://peer", "code", "Ana")
        with plain.edit("capture") as tx:
            tx.create(Lead(need="heat pump"))
    found = bytes_of(tmp_path)
    assert [secret for secret in SECRETS if secret in found] == [b"heat pump", b"token2", b"CREATE TABLE", b"SQLite format"]


@pytest.mark.parametrize("key", ["wrong", "correct horse battery stapl", None])
def test_another_key_or_none_opens_nothing(ana_closed: Path, key: str | None) -> None:
    before = ana_closed.read_bytes()
    with pytest.raises(WrongKey, match="not the one it is encrypted with"):
        Replica.open(ana_closed, key=key)
    assert ana_closed.read_bytes() == before
    with Replica.open(ana_closed, key="correct horse battery staple") as right:
        assert right.get(WorkOrder, "wo1")


@pytest.fixture
async def ana_closed(tmp_path: Path, line: Line, peer: Peer, office: Office) -> Path:
    """An encrypted file with an order in it, that nobody has open."""
    with Replica.open(tmp_path / "shut", key="correct horse battery staple", transport=line) as replica:
        identity = await replica.enrol("https://peer", "code")
        office.create(Account(name="Lakeside Clinic"), "acc1")
        office.create(Site(account="acc1", name="Main house"), "site1")
        office.create(WorkOrder(account="acc1", site="site1", subject="boiler is cold"), "wo1")
        peer.holds[identity.user] |= {"work_order:wo1"}
        await replica.sync()
        check(replica)
    return tmp_path / "shut"


def test_a_plain_file_does_not_open_with_a_key(tmp_path: Path) -> None:
    Replica.open(tmp_path / "plain").close()
    with pytest.raises(WrongKey):
        Replica.open(tmp_path / "plain", key="k")
    Replica.open(tmp_path / "plain").close()


def test_what_cannot_encrypt_does_not_pretend_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import apsw

    with pytest.raises(SdkError, match="empty key"):
        Replica.open(tmp_path / "a", key="")
    monkeypatch.delattr(apsw, "mc_version")
    with pytest.raises(SdkError, match="does not encrypt"):
        Replica.open(tmp_path / "a", key="k")
    monkeypatch.setitem(__import__("sys").modules, "apsw", None)
    with pytest.raises(SdkError, match=r"truckroll\[encryption\]"):
        Replica.open(tmp_path / "a", key="k")


async def test_only_the_owner_reads_the_files(ana: Replica, tmp_path: Path) -> None:
    assert driver.OWNER_ONLY == 0o600
    assert modes(tmp_path) == dict.fromkeys(("ana", "ana-wal", "ana-shm", "ana-sync"), 0o600)
