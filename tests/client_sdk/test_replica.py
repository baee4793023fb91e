"""A day on one device against the peer."""

import pytest

from client_sdk import Offline, OutboxState, Replica
from sync.entities import Appointment, TimeEntry
from sync.entities.flows import AppointmentStatus
from sync.entities.work import TimeKind
from sync.protocol import OutcomeKind
from tests.client_sdk.conftest import DAWN_MS
from tests.client_sdk.peer import Line, Peer


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
    assert len({bytes(raw) for request in peer.requests for raw in request.transactions}) == 1
    assert peer.records["time_entry", entry].record.body["kind"] == "work"
    visit = ana.get(Appointment, "visit1")
    assert visit
    assert (visit.fields.status, visit.pending) == (AppointmentStatus.COMPLETED, False)
    assert [(o.state, o.kind) for o in ana.history()] == [(OutboxState.DONE, OutcomeKind.APPLIED)]
    assert not ana.outbox()
