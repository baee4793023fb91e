"""A device's days against the peer: what is shown, what is sent, and what becomes of it."""

from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import msgspec
import pytest

from client_sdk import (
    AlreadyEnrolled,
    BadReply,
    Closed,
    NotEnrolled,
    NotFound,
    Offline,
    OutboxState,
    Rejected,
    Replica,
    Revoked,
    SdkError,
    Wiped,
    ledger,
    session,
)
from sync.entities import Account, Appointment, Asset, Lead, Site, TimeEntry, WorkOrder, WorkOrderTask
from sync.entities.customers import Reading
from sync.entities.flows import AppointmentStatus
from sync.entities.work import TimeKind
from sync.protocol import OutcomeKind, Page, Reply, Transaction, WireRecord
from tests.client_sdk.conftest import DAWN_MS, Clock, Office, arrived
from tests.client_sdk.oracle import shown
from tests.client_sdk.peer import Line, Peer

Make = Callable[..., Replica]


def states(replica: Replica) -> list[tuple[OutboxState, OutcomeKind | None]]:
    return [(sent.state, sent.kind) for sent in replica.history()]


def sent_bytes(peer: Peer) -> list[bytes]:
    return [bytes(raw) for request in peer.requests for raw in request.transactions]


async def test_a_job_is_finished_offline_and_delivered_once(ana: Replica, peer: Peer, line: Line) -> None:
    line.up = False
    with ana.edit("finish job") as tx:
        tx.set(Appointment, "visit1", status=AppointmentStatus.COMPLETED)
        entry = tx.create(TimeEntry(work_order="wo1", technician="t1", kind=TimeKind.WORK, start=DAWN_MS, end=DAWN_MS + 1))
    visit = ana.get(Appointment, "visit1")
    assert visit
    assert (visit.fields.status, visit.pending) == (AppointmentStatus.COMPLETED, True)
    line.up, line.lose_replies = True, 1
    with pytest.raises(Offline, match="lost"):
        await ana.sync()
    await ana.sync()
    assert peer.applied.count(("user2", 1)) == 1
    assert len(sent_bytes(peer)) == 2
    assert len(set(sent_bytes(peer))) == 1
    assert peer.records["time_entry", entry].record.body["kind"] == "work"
    visit = ana.get(Appointment, "visit1")
    assert visit
    assert (visit.fields.status, visit.pending) == (AppointmentStatus.COMPLETED, False)
    assert states(ana) == [(OutboxState.DONE, OutcomeKind.APPLIED)]
    assert not ana.outbox()


async def test_an_uploaded_edit_never_flickers_while_the_download_lags(ana: Replica, peer: Peer, office: Office) -> None:
    """The outcome comes with a page that is no checkpoint: base and overlay stay as they are until one comes."""
    for number in range(5):
        office.create(WorkOrder(account="acc1", site="site1"), f"more{number}")
        peer.holds["user2"].add(f"work_order:more{number}")
    peer.page = 3
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="valve")
    shown, receive = [], ledger.receive

    def watched(*args: object, **options: object) -> object:
        result = receive(*args, **options)  # type: ignore[arg-type]  # the arguments of the real one
        order = ana.get(WorkOrder, "wo1")
        assert order
        shown.append((order.fields.cause, order.pending, ana.status().confirmed, ana.status().staged))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "receive", watched)
        await ana.sync()
    assert len(shown) > 2
    assert {cause for cause, *_ in shown} == {"valve"}
    assert [confirmed for _, _, confirmed, _ in shown] == [1] * (len(shown) - 1) + [0]
    assert shown[-1][1] is False


async def test_pages_are_shown_together(ana: Replica, peer: Peer, office: Office) -> None:
    """Nothing of a round is visible before its checkpoint: half a transaction never is."""
    peer.page = 1
    for number in range(4):
        office.create(Asset(site="site1", name=f"boiler {number}"), f"asset{number}")
    seen, receive = set(), ledger.receive

    def watched(*args: object, **options: object) -> object:
        result = receive(*args, **options)  # type: ignore[arg-type]  # the arguments of the real one
        seen.add(len(ana.query(Asset)))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "receive", watched)
        await ana.sync()
    assert seen == {0, 4}


async def test_a_download_resumes_at_its_page(make: Make, peer: Peer, office: Office) -> None:
    line = peer.transport()
    bea = make("bea", line)
    await bea.enrol("https://peer", "code", "Bea")
    office.create(Account(name="A"), "acc9")
    for number in range(9):
        office.create(Site(account="acc9", name=f"s{number}"), f"site{number}")
        peer.holds["user2"].add(f"site:site{number}")
    peer.page = 4
    line.lose_replies = 3
    for _ in range(3):
        with pytest.raises(Offline):
            await bea.sync()
    line.down_after = 5
    with pytest.raises(Offline):
        await bea.sync()
    assert bea.status().staged > 0
    bea.close()
    again = make("bea", peer.transport())
    peer.requests.clear()
    await again.sync()
    assert peer.requests[0].cursor is not None
    assert len(again.query(Site)) == 9
    assert again.status().staged == 0


async def test_a_refused_transaction_is_parked_whole_and_nothing_waits_for_it(ana: Replica, peer: Peer) -> None:
    with ana.edit("credit hold") as tx:
        tx.set(Account, "acc1", credit_hold=True)
        tx.set(Site, "site1", hours="9-5")
    with ana.edit("note") as tx:
        tx.set(WorkOrder, "wo1", symptom="cold")
    await ana.sync()
    account, site = ana.get(Account, "acc1"), ana.get(Site, "site1")
    assert account
    assert site
    assert (account.fields.credit_hold, account.pending, site.fields.hours) == (False, False, "")
    (parked,) = ana.parked()
    assert (parked.n, parked.label, parked.reasons[0].rule, parked.reasons[0].field) == (1, "credit hold", "writer", "credit_hold")
    assert parked.transaction == sent_bytes(peer)[0]
    assert states(ana) == [(OutboxState.PARKED, OutcomeKind.PARKED), (OutboxState.DONE, OutcomeKind.APPLIED)]
    ana.discard(1)
    assert not ana.parked()
    with pytest.raises(NotFound):
        ana.discard(1)


async def test_a_parked_transaction_is_retried_on_the_present_state(ana: Replica, peer: Peer, office: Office) -> None:
    peer.records["appointment", "visit1"].record.body["status"] = "unscheduled"
    with ana.edit("done") as tx:
        tx.set(Appointment, "visit1", status=AppointmentStatus.COMPLETED)
    await ana.sync()
    (parked,) = ana.parked()
    office.edit(lambda tx: tx.set(Appointment, "visit1", status=AppointmentStatus.DISPATCHED))
    await ana.sync()
    ana.retry(parked.n)
    visit = ana.get(Appointment, "visit1")
    assert visit
    assert (visit.fields.status, visit.pending) == (AppointmentStatus.COMPLETED, True)
    await ana.sync()
    assert not ana.parked()
    assert states(ana)[1] == (OutboxState.DONE, OutcomeKind.APPLIED)
    base = msgspec.json.decode(sent_bytes(peer)[1], type=Transaction).changes[0].base
    assert base == peer.seq - 1


async def test_edits_that_rest_on_a_parked_creation_show_nothing_by_halves(ana: Replica, office: Office) -> None:
    with ana.edit("an account is not for technicians to open") as tx:
        account = tx.create(Account(name="Mine"))
    with ana.edit() as tx:
        tx.set(Account, account, tier="gold")
    await ana.sync()
    assert ana.get(Account, account) is None
    assert [parked.n for parked in ana.parked()] == [1, 2]


async def test_a_scope_that_leaves_waits_for_the_work_on_it(ana: Replica, peer: Peer, line: Line) -> None:
    """Records with pending edits stay until these are delivered, the rest leaves at once."""
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="valve")
    peer.holds["user2"].discard("work_order:wo1")
    page = Page("c", evict=("work_order:wo1",))
    ledger.receive(ana._store, arrived(page), DAWN_MS)
    order = ana.get(WorkOrder, "wo1")
    assert order
    assert (order.fields.cause, order.fields.subject, order.pending) == ("valve", "boiler is cold", True)
    assert ana.get(Appointment, "visit1") is None
    assert ana.status().waiting == 1
    ana._store._run("UPDATE device SET cursor = '1/0'")
    await ana.sync()
    assert ana.get(WorkOrder, "wo1") is None
    assert peer.records["work_order", "wo1"].record.body["cause"] == "valve"


async def test_a_record_deleted_elsewhere_is_shown_until_the_work_on_it_is_delivered(ana: Replica, office: Office) -> None:
    """A fact restores it; an opinion is parked, and then the record goes."""
    with ana.edit() as tx:
        tx.set(Appointment, "visit1", status=AppointmentStatus.COMPLETED)
    office.edit(lambda tx: tx.delete(Appointment, "visit1"))
    await ana.sync()
    visit = ana.get(Appointment, "visit1")
    assert visit
    assert visit.fields.status is AppointmentStatus.COMPLETED
    assert ana.history()[0].kind is OutcomeKind.CONFLICT
    assert ana.conflicts().outcomes[0].n == 1
    with ana.edit() as tx:
        tx.set(Appointment, "visit1", duration_s=60)
    office.edit(lambda tx: tx.delete(Appointment, "visit1"))
    await ana.sync()
    assert ana.get(Appointment, "visit1") is None
    assert ana.parked()[0].reasons[0].rule == "deleted"


async def test_a_scope_that_enters_again_replaces_what_was_held_of_it(ana: Replica, peer: Peer, office: Office) -> None:
    peer.holds["user2"].discard("work_order:wo1")
    await ana.sync()
    assert ana.query(Appointment) == []
    assert ana.get(Site, "site1") is not None
    office.edit(lambda tx: tx.delete(Appointment, "visit1"))
    office.create(Appointment(work_order="wo1"), "visit2")
    peer.holds["user2"].add("work_order:wo1")
    await ana.sync()
    assert [visit.id for visit in ana.query(Appointment)] == ["visit2"]
    assert ana.get(WorkOrder, "wo1") is not None


async def test_the_base_of_an_edit_is_the_version_that_was_seen(ana: Replica, peer: Peer, office: Office) -> None:
    form = ana.get(Site, "site1")
    assert form
    office.edit(lambda tx: tx.set(Site, "site1", hours="8-4"))
    await ana.sync()
    with ana.edit("form open since before the sync", seen=(form,)) as tx:
        tx.set(Site, "site1", hours="9-5")
    with ana.edit("saw the new hours") as tx:
        tx.set(Site, "site1", address="Quay 1")
        lead = tx.create(Lead(need="pump"))
        tx.set(Lead, lead, estimate_cents=5)
    with ana.edit() as tx:
        tx.set(Lead, lead, reason="x")
    first, second, third = (msgspec.json.decode(raw, type=Transaction) for _, raw in ana._store.waiting(9))
    assert first.changes[0].base == form.seq
    assert second.changes[0].base > form.seq
    assert [(change.base, change.create) for change in (*second.changes[1:], *third.changes)] == [(0, True), (0, False), (0, False)]
    await ana.sync()
    assert ana.history()[0].kind is OutcomeKind.CONFLICT
    site = ana.get(Site, "site1")
    assert site
    assert (site.fields.hours, site.fields.address) == ("8-4", "Quay 1")


async def test_every_operation_is_shown_at_once_and_stands_after_the_sync(ana: Replica, office: Office) -> None:
    with ana.edit() as tx:
        tx.add(Account, "acc1", tags=["vip", "north"])
        tx.edit_text(Site, "site1", access_notes="gate code 12, dog")
        asset = tx.create(Asset(site="site1", name="boiler"))
        tx.append(Asset, asset, readings=Reading(id=tx.new_id(), at=DAWN_MS, value=3.5))
        tx.set(Site, "site1", custom={"gate": "blue", "bell": "left"})
    with ana.edit() as tx:
        tx.remove(Account, "acc1", tags="north")
        tx.set(Site, "site1", custom={"bell": None})
        tx.append(Asset, asset, readings=[Reading(id=tx.new_id(), at=DAWN_MS + 1, value=4.5)])
    office.edit(lambda tx: tx.edit_text(Site, "site1", access_notes="gate code 34"))

    def shown() -> tuple[object, ...]:
        account, site, boiler = ana.get(Account, "acc1"), ana.get(Site, "site1"), ana.get(Asset, asset)
        assert account
        assert site
        assert boiler
        return account.fields.tags, site.fields.custom, [one.value for one in boiler.fields.readings], site.fields.access_notes

    assert shown() == (("vip",), {"gate": "blue"}, [3.5, 4.5], "gate code 12, dog")
    await ana.sync()
    assert shown()[:3] == (("vip",), {"gate": "blue"}, [3.5, 4.5])


async def test_a_gap_is_filled_from_what_was_acknowledged(ana: Replica, peer: Peer) -> None:
    """The server was restored from a backup and has lost the last transactions of this device."""
    for cause in "abc":
        with ana.edit() as tx:
            tx.set(WorkOrder, "wo1", cause=cause)
    await ana.sync()
    first = sent_bytes(peer)
    device = peer.devices["token2"]
    del device.log[1:]
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="d")
    await ana.sync()
    assert [entry[0] for entry in device.log[:3]] == first
    assert len(device.log) == 4
    assert {state for state, _ in states(ana)} == {OutboxState.DONE}


async def test_a_loss_shows_in_an_idle_exchange_too(ana: Replica, peer: Peer) -> None:
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="a")
    await ana.sync()
    peer.devices["token2"].log.clear()
    await ana.sync()
    assert len(peer.devices["token2"].log) == 1


async def test_a_restored_server_is_downloaded_anew(ana: Replica, peer: Peer) -> None:
    del peer.records["appointment", "visit1"]
    peer.holds["user2"].discard("account:acc1")
    peer.incarnation += 1
    await ana.sync()
    assert ana.query(Appointment) == []
    assert ana.query(Account) == []
    assert ana.get(WorkOrder, "wo1") is not None


async def test_a_gap_before_everything_that_is_kept_is_said(ana: Replica, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "KEPT_DONE", 1)
    for cause in "abcd":
        with ana.edit() as tx:
            tx.set(WorkOrder, "wo1", cause=cause)
        await ana.sync()
    assert [sent.n for sent in ana.history()] == [4]
    peer.devices["token2"].log.clear()
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="e")
    with pytest.raises(BadReply, match="transaction 1"):
        await ana.sync()
    assert ana.status().waiting > 0


async def test_uploads_are_cut_into_bearable_pieces(ana: Replica, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_TRANSACTIONS", 3)
    monkeypatch.setattr(session, "MAX_BYTES", 1_000)
    for size in (10, 10, 10, 10, 2_000, 10):
        with ana.edit() as tx:
            tx.create(Lead(need="x" * size))
    peer.requests.clear()
    await ana.sync()
    assert [len(request.transactions) for request in peer.requests] == [3, 1, 1, 1]


async def test_a_revoked_device_keeps_its_work(ana: Replica, peer: Peer) -> None:
    peer.devices["token2"].active = False
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="a")
    with pytest.raises(Revoked):
        await ana.sync()
    assert ana.status().revoked
    assert ana.status().waiting == 1
    peer.devices["token2"].active = True
    await ana.sync()
    assert not ana.status().revoked


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, b"<html>Welcome to the hotel's network</html>"), BadReply),
        ((200, b'{"server_ms": 1, "taken": 0}'), BadReply),
        ((302, b""), BadReply),
        ((503, b"busy"), Offline),
        ((429, b""), Offline),
        ((413, b'{"type":"a","title":"too large","status":413,"rule":"bounds","field":"transactions"}'), Rejected),
        ((409, b'{"type":"a","title":"gap","status":409,"rule":"gap"}'), Rejected),
    ],
)
async def test_an_answer_that_is_none_changes_nothing(
    ana: Replica, line: Line, answer: tuple[int, bytes], expected: type[Exception]
) -> None:
    before = ana.status()
    line.answers = [answer]
    with pytest.raises(expected):
        await ana.sync()
    after = ana.status()
    assert after.last_error is not None
    assert after.last_error.startswith(expected.__name__)
    assert msgspec.structs.replace(after, last_error=None) == before
    await ana.sync()
    assert ana.status().last_error is None


async def test_a_server_that_gives_no_outcome_does_not_keep_the_device_busy(ana: Replica, line: Line) -> None:
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="a")
    line.answers = [(200, msgspec.json.encode(Reply(0, 0, Page("1/0"))))]
    with pytest.raises(BadReply, match="no outcome"):
        await ana.sync()
    assert ana.status().waiting == 1


async def test_a_newer_server_is_understood_as_far_as_it_goes(ana: Replica, peer: Peer) -> None:
    """Unknown fields and entities are kept as they are; an unknown value of a field shows its default, and says so."""
    new = {"work_order": "wo1", "technician": "t1", "start": 1, "kind": "teleport", "drone": {"a": 1}}
    page = Page(
        "1/0",
        whole=(
            WireRecord("work_order_task", "task1", 9, {"work_order": "wo1", "title": "look", "result": "levitated", "drone": 7}),
            WireRecord("time_entry", "t1", 9, new),
            WireRecord("hologram", "h1", 9, {"x": 1}),
        ),
        delta=(WireRecord("work_order_task", "task1", 10, {"note": "n", "swarm": [1]}), WireRecord("account", "nobody", 10, {})),
    )
    ledger.receive(ana._store, arrived(page), DAWN_MS)

    task = ana.get(WorkOrderTask, "task1")
    assert task
    assert (task.fields.note, task.fields.result.value, task.unread) == ("n", "open", ("result",))
    row = ana._store.base(("work_order_task", "task1"))
    assert row
    assert msgspec.json.decode(row.body) == {
        "work_order": "wo1", "title": "look", "result": "levitated", "drone": 7, "note": "n", "swarm": [1],
    }  # fmt: skip
    with ana.edit() as tx:
        tx.set(WorkOrderTask, "task1", note="m")
    shown = ana._store.view(("SELECT _id, _seq, _pending, _body FROM view_work_order_task", ()))[0]
    assert msgspec.json.decode(shown.body)["drone"] == 7
    assert ana.query(TimeEntry) == []
    with pytest.raises(SdkError, match="cannot read kind"):
        ana.get(TimeEntry, "t1")
    held = ana._store.base(("hologram", "h1"))
    assert held
    assert held.body == b'{"x":1}'


async def test_stamps_grow_though_the_clock_goes_back(ana: Replica, clock: Clock) -> None:
    for step in (0, -86_400_000, 5):
        clock.now_ms += step
        with ana.edit() as tx:
            tx.set(WorkOrder, "wo1", cause=str(step))
    sent = [msgspec.json.decode(raw, type=Transaction) for _, raw in ana._store.waiting(9)]
    assert [transaction.n for transaction in sent] == [1, 2, 3]
    assert sent[0].stamp < sent[1].stamp < sent[2].stamp
    assert [transaction.wrote_ms - DAWN_MS for transaction in sent] == [0, -86_400_000, -86_399_995]


async def test_a_file_is_one_device(ana: Replica, make: Make, clock: Clock) -> None:
    with pytest.raises(AlreadyEnrolled):
        await ana.enrol("https://peer", "code")
    fresh = make("fresh")
    with pytest.raises(NotEnrolled):
        await fresh.sync()
    assert fresh.identity() is None
    with pytest.raises(Rejected, match="enrolment"):
        await fresh.enrol("https://peer", "")
    assert not fresh.status().enrolled
    identity = ana.identity()
    assert identity
    assert (identity.user, identity.user_name, identity.role, identity.technician) == ("user2", "Ana", "technician", "t1")
    assert make("ana").identity() == identity


async def test_a_closed_replica_says_so(ana: Replica) -> None:
    ana.close()
    with pytest.raises(Closed):
        ana.query(Account)


async def test_entering_a_scope_that_is_held_replaces_it(ana: Replica) -> None:
    """Access was withdrawn and given back between two syncs: what left it meanwhile must go."""
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="valve")
    whole = WireRecord("appointment", "visit2", 99, {"work_order": "wo1"})
    ledger.receive(ana._store, arrived(Page("1/0", enter=("work_order:wo1",), whole=(whole,))), DAWN_MS)
    assert [visit.id for visit in ana.query(Appointment)] == ["visit2"]
    order = ana.get(WorkOrder, "wo1")
    assert order
    assert order.fields.cause == "valve"


async def test_a_first_sync_in_groups_never_flickers(make: Make, peer: Peer, office: Office) -> None:
    """What was captured before the first sync stays in sight though its scope arrives with the last group."""
    bea = make("bea")
    await bea.enrol("https://peer", "code")
    office.create(Account(name="A"), "acc1")
    with bea.edit() as tx:
        leads = [tx.create(Lead(need=str(number))) for number in range(9)]
    peer.holds["user2"] = {"account:acc1", *(f"lead:{lead}" for lead in leads)}
    peer.groups, seen, receive = 3, [], ledger.receive

    def watched(*args: object, **options: object) -> object:
        result = receive(*args, **options)  # type: ignore[arg-type]  # the arguments of the real one
        seen.append((len(bea.query(Lead)), sum(lead.pending for lead in bea.query(Lead)), bea.status().last_sync_ms))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "receive", watched)
        await bea.sync()
    assert [found for found, *_ in seen] == [9, 9, 9, 9], "three groups, and one to tell that the last has arrived"
    assert 9 > seen[0][1] > seen[1][1] > seen[2][1] == 0
    assert [synced for *_, synced in seen] == [None, None, DAWN_MS, DAWN_MS]
    assert states(bea) == [(OutboxState.DONE, OutcomeKind.APPLIED)]


async def test_a_damaged_scope_is_found_and_healed_alone(ana: Replica, peer: Peer, clock: Clock) -> None:
    """Once a day the device says what it holds of each scope, as one number each."""
    ana._store._run("DELETE FROM base WHERE id = 'visit1'")
    await ana.sync()
    assert ana._store.base(("appointment", "visit1")) is None
    clock.now_ms += session.COMPARE_EVERY_MS
    peer.requests.clear()
    await ana.sync()
    assert ana._store.base(("appointment", "visit1")) is not None
    assert set(peer.requests[0].digests or ()) == peer.holds["user2"]
    await ana.sync()
    assert peer.requests[-1].digests is None


async def test_away_past_the_tombstones_keeps_no_zombies(ana: Replica, peer: Peer, office: Office) -> None:
    """The server no longer knows what was deleted meanwhile: digests tell which scopes differ, and the outbox is delivered."""
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="valve")
    office.edit(lambda tx: tx.delete(Appointment, "visit1"))
    del peer.records["appointment", "visit1"]
    peer.holds["user2"].discard("site:site1")
    peer.horizon = peer.seq
    await ana.sync()
    assert ana.query(Appointment) == []
    assert ana.query(Site) == []
    assert peer.records["work_order", "wo1"].record.body["cause"] == "valve"
    assert {key: body for key, (body, *_) in shown(ana).items()} == peer.visible("user2")


async def test_a_wiped_device_delivers_its_work_and_forgets_everything(ana: Replica, peer: Peer, tmp_path: Path) -> None:
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="a secret remedy")
    peer.devices["token2"].wiping = True
    with pytest.raises(Wiped):
        await ana.sync()
    assert peer.records["work_order", "wo1"].record.body["cause"] == "a secret remedy"
    assert ana.identity() is None
    assert ana.query(WorkOrder) == []
    assert ana.history() == []
    assert b"secret" not in (tmp_path / "ana").read_bytes() + (tmp_path / "ana-wal").read_bytes()
    await ana.enrol("https://peer", "code")
    await ana.sync()


async def test_a_restored_server_in_groups_does_not_flicker_either(ana: Replica, peer: Peer) -> None:
    """What is held of the time before the restore shows the work on it until its scope has come anew."""
    peer.incarnation += 1
    peer.groups = next(groups for groups in range(2, 9) if crc32(b"work_order:wo1") % groups)
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="valve")
    seen, receive = set(), ledger.receive

    def watched(*args: object, **options: object) -> object:
        result = receive(*args, **options)  # type: ignore[arg-type]  # the arguments of the real one
        order = ana.get(WorkOrder, "wo1")
        seen.add(order.fields.cause if order else None)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "receive", watched)
        await ana.sync()
    assert seen == {"valve"}
