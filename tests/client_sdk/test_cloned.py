"""One file in two places, or from an older day: new work is never taken for old work, and nothing is delivered twice."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest

from client_sdk import Offline, OutboxState, Rejected, Replica
from sync.entities import Account, Lead, WorkOrder
from sync.protocol import Enrolled, OutcomeKind, Transaction
from tests.client_sdk.conftest import Clock
from tests.client_sdk.oracle import check, copies_at_each_statement, drive, shown
from tests.client_sdk.peer import Line, Peer

Make = Callable[..., Replica]


@pytest.fixture
def peer() -> Peer:
    peer = Peer()
    peer.clones = True
    return peer


def copied(path: Path, name: str) -> str:
    """The file as a backup or a move to another phone takes it, while it is open."""
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", path.with_name(name + suffix))
    return name


def lead(replica: Replica, need: str) -> int:
    with replica.edit(need) as tx:
        tx.create(Lead(need=need))
    assert tx.n
    return tx.n


def leads(peer: Peer) -> list[str]:
    """What the server has, in the order in which it came."""
    held = [(of.record.seq, of.record.body["need"]) for (entity, _), of in peer.records.items() if entity == "lead"]
    return [need for _, need in sorted(held)]


async def test_work_of_both_installations_stands(ana: Replica, make: Make, peer: Peer, tmp_path: Path) -> None:
    lead(ana, "both have this")
    await ana.sync()
    twin = make(copied(tmp_path / "ana", "twin"))
    lead(ana, "first's")
    await ana.sync()
    numbers = [lead(twin, "second's"), lead(twin, "second's too")]
    sent = twin.outbox()
    await twin.sync()
    assert leads(peer) == ["both have this", "first's", "second's", "second's too"]
    mine, theirs = ana.identity(), twin.identity()
    assert mine
    assert theirs
    assert (mine.device, mine.epoch, theirs.device, theirs.epoch) == ("device2", 1, "device3", 2)
    assert mine.user == theirs.user
    assert [one.n for one in sent] == numbers == [2, 3]
    assert [(one.n, one.state, one.label) for one in twin.history()] == [
        (1, OutboxState.DONE, "both have this"),
        (2, OutboxState.DONE, "second's"),
        (3, OutboxState.DONE, "second's too"),
    ]
    for replica in (ana, twin):
        lead(replica, "later")
        await replica.sync()
        check(replica)
    assert [len(peer.devices[token].log) for token in ("token2", "token3")] == [3, 3]


async def test_its_bytes_change_in_the_number_only(ana: Replica, make: Make, peer: Peer, tmp_path: Path) -> None:
    twin = make(copied(tmp_path / "ana", "twin"))
    lead(ana, "first's")
    await ana.sync()
    for need in ("a", "b"):
        lead(twin, need)
    before = [raw for _, raw in twin._store.waiting()]
    for need in ("c", "d"):
        lead(ana, need)
    await ana.sync()
    await twin.sync()
    after = [raw for raw, _ in peer.devices["token3"].log]
    assert [msgspec.json.decode(raw, type=Transaction).n for raw in after] == [1, 2]
    assert after == before  # which begin at 1 under either identity
    lead(twin, "e")
    waiting = [raw for _, raw in twin._store.waiting()]
    assert waiting[0].startswith(b'{"n":3,')


async def test_what_both_have_waiting_is_delivered_once_and_first(ana: Replica, make: Make, peer: Peer, tmp_path: Path) -> None:
    """Unsent work is copied too. What was the same in both gets its outcome under the old identity, only the rest moves."""
    lead(ana, "unsent, copied")
    lead(ana, "unsent, copied too")
    twin = make(copied(tmp_path / "ana", "twin"))
    lead(ana, "first's")
    lead(twin, "second's")
    await ana.sync()
    await twin.sync()
    assert leads(peer) == ["unsent, copied", "unsent, copied too", "first's", "second's"]
    assert [one for one in peer.applied if one[0] == "user2"] == [("user2", 1), ("user2", 2), ("user2", 3), ("user2", 1)]
    assert [one.kind for one in twin.history()] == [OutcomeKind.APPLIED] * 3
    assert not twin.outbox()


async def test_a_file_restored_from_an_older_backup_goes_on(ana: Replica, make: Make, peer: Peer, tmp_path: Path) -> None:
    """Work that the backup lacks comes down from the server; new work under the numbers of the lost one is not swallowed."""
    lead(ana, "in the backup")
    await ana.sync()
    backup = copied(tmp_path / "ana", "backup")
    for need in ("after it", "after it too"):
        lead(ana, need)
    await ana.sync()
    peer.holds["user2"] |= {f"lead:{record_id}" for entity, record_id in peer.records if entity == "lead"}
    ana.close()
    old = make(backup)
    await old.sync()
    assert {item.fields.need for item in old.query(Lead)} == {"in the backup", "after it", "after it too"}
    lead(old, "new")
    with old.edit("on an old record") as tx:
        tx.set(WorkOrder, "wo1", cause="valve")
    await old.sync()
    assert leads(peer)[-1] == "new"
    assert peer.records["work_order", "wo1"].record.body["cause"] == "valve"
    check(old)


async def test_parked_work_and_its_numbers_survive_the_change(ana: Replica, make: Make, peer: Peer, tmp_path: Path) -> None:
    with ana.edit("not allowed") as tx:
        tx.set(Account, "acc1", credit_hold=True)
    await ana.sync()
    twin = make(copied(tmp_path / "ana", "twin"))
    lead(ana, "first's")
    await ana.sync()
    lead(twin, "second's")
    await twin.sync()
    assert [parked.n for parked in twin.parked()] == [1]
    twin.retry(1)
    await twin.sync()
    assert [parked.n for parked in twin.parked()] == [3]
    twin.discard(3)
    check(twin)


async def test_a_gap_under_the_new_identity_is_filled(ana: Replica, make: Make, peer: Peer, tmp_path: Path) -> None:
    """The server was restored after the renewal: it asks by its own numbers."""
    lead(ana, "copied")
    await ana.sync()
    twin = make(copied(tmp_path / "ana", "twin"))
    lead(ana, "first's")
    await ana.sync()
    for need in "abc":
        lead(twin, need)
    await twin.sync()
    log = peer.devices["token3"].log
    before = [raw for raw, _ in log]
    del log[1:]
    lead(twin, "d")
    await twin.sync()
    assert [raw for raw, _ in log[:3]] == before
    assert len(log) == 4
    log.clear()
    await twin.sync()
    assert len(log) == 4
    check(twin)


async def test_a_lost_reply_to_the_renewal_leaves_an_unused_device(ana: Replica, make: Make, peer: Peer, tmp_path: Path) -> None:
    line = peer.transport()
    twin = make(copied(tmp_path / "ana", "twin"), line)
    lead(ana, "first's")
    await ana.sync()
    lead(twin, "second's")
    line.down_after = 3
    line.meanwhile = lambda: setattr(line, "lose_replies", int(line.down_after == 1))
    with pytest.raises(Offline):
        await twin.sync()
    line.up, line.down_after, line.meanwhile = True, None, None
    await twin.sync()
    assert leads(peer) == ["first's", "second's"]
    assert [len(device.log) for device in peer.devices.values()] == [1, 0, 1]


async def test_a_closed_log_is_left_for_a_new_one(ana: Replica, peer: Peer) -> None:
    lead(ana, "done")
    await ana.sync()
    peer.devices["token2"].epoch = 9
    lead(ana, "waiting")
    await ana.sync()
    identity = ana.identity()
    assert identity
    assert identity.epoch == 10
    assert leads(peer) == ["done", "waiting"]


async def test_a_server_that_calls_everything_a_copy_is_not_believed_for_ever(ana: Replica, peer: Peer, line: Line) -> None:
    lead(ana, "a")
    answer = b'{"type":"a","title":"cloned","status":409,"rule":"cloned","extra":{"n":1}}'
    renewed = msgspec.json.encode(Enrolled("device9", "token9", 2, "user2", "Ana", "technician", "acme", "t1", 0))
    line.answers = [(409, answer), (200, renewed), (409, answer)]
    with pytest.raises(Rejected, match="cloned"):
        await ana.sync()
    assert ana.status().waiting == 1


async def test_two_processes_of_the_copy_renew_it_once(ana: Replica, make: Make, peer: Peer, tmp_path: Path) -> None:
    """Whoever waited for the other's sync speaks under the new identity."""
    name = copied(tmp_path / "ana", "twin")
    lead(ana, "first's")
    await ana.sync()
    one, two = make(name), make(name)
    lead(one, "a")
    lead(two, "b")
    await one.sync()
    lead(two, "c")
    await two.sync()
    assert leads(peer) == ["first's", "a", "b", "c"]
    assert len(peer.devices) == 2


def test_killed_at_any_statement_of_the_change(make: Make, peer: Peer, clock: Clock, tmp_path: Path) -> None:
    """The server goes on from where it was at the kill: each survivor delivers everything, and everything once."""
    ana = make("ana")
    drive(ana.enrol("https://peer", "code"))
    lead(ana, "unsent, copied")
    name = copied(tmp_path / "ana", "twin")
    lead(ana, "first's")
    drive(ana.sync())
    twin = make(name)
    lead(twin, "second's")
    lead(twin, "second's too")
    servers: list[Peer] = []
    copies = copies_at_each_statement(
        twin, tmp_path / name, lambda: drive(twin.sync()), at_each=lambda: servers.append(copy.deepcopy(peer))
    )
    wanted, after = leads(peer), {key: body for key, (body, *_) in shown(twin).items()}
    assert wanted == ["unsent, copied", "first's", "second's", "second's too"]
    assert len(copies) == len(servers) > 20
    for path, server in zip(copies, servers, strict=True):
        survivor = make(path.name, Line(server, Random(0), 0.0))
        check(survivor)
        drive(survivor.sync())
        check(survivor)
        assert leads(server) == wanted
        assert {key: body for key, (body, *_) in shown(survivor).items()} == after
        assert len(server.applied) == 4
        survivor.close()
