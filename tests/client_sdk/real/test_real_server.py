"""The SDK against the real server and a real PostgreSQL, over its HTTP face."""

import pytest

from client_sdk import Offline, OutboxState, Replica, col
from sync.entities import Account, Appointment, Lead, Site, TimeEntry, WorkOrder
from sync.entities.flows import AppointmentStatus
from sync.entities.work import TimeKind
from sync.protocol import OutcomeKind
from tests.client_sdk.real.conftest import Wire
from tests.server.wire import BareDevice, create


async def test_a_job_done_offline_arrives_once_though_replies_are_lost(
    crew: tuple[Replica, Replica], office: BareDevice, wire: Wire
) -> None:
    theo, _ = crew
    identity = theo.identity()
    assert identity
    assert identity.technician == "T0"
    with theo.edit("finish job") as tx:
        tx.set(Appointment, "P1", status=AppointmentStatus.COMPLETED)
        tx.create(TimeEntry(work_order="W1", technician="T0", kind=TimeKind.WORK, start=1, end=2))
    with theo.edit("capture lead") as tx:
        lead = tx.create(Lead(need="heat pump", account="A1", captured_by=(identity.user,)))
    wire.lose_replies = 2
    for _ in range(2):
        with pytest.raises(Offline):
            await theo.sync()
    await theo.sync()
    assert [(sent.state, sent.kind) for sent in theo.history()] == [(OutboxState.DONE, OutcomeKind.APPLIED)] * 2
    assert len(theo.query(TimeEntry)) == 1
    visit, captured = theo.get(Appointment, "P1"), theo.get(Lead, lead)
    assert visit
    assert visit.fields.status is AppointmentStatus.COMPLETED
    assert captured
    assert not captured.pending


async def test_a_reassigned_order_leaves_with_its_site_after_the_work_on_it(
    crew: tuple[Replica, Replica], office: BareDevice
) -> None:
    theo, uma = crew
    await office.push({"entity": "appointment", "id": "P1", "base": 1, "set": {"technician": "T1"}})
    with theo.edit("a last note") as tx:
        tx.set(WorkOrder, "W1", symptom="drips")
    await theo.sync()
    await uma.sync()
    assert [theo.query(entity) for entity in (WorkOrder, Appointment, Site, Account)] == [[], [], [], []]
    order = uma.get(WorkOrder, "W1")
    assert order
    assert order.fields.symptom == "drips"
    assert uma.get(Site, "S1")


async def test_both_sides_edit_and_nothing_is_lost(crew: tuple[Replica, Replica], office: BareDevice) -> None:
    theo, _ = crew
    notes = ("gate code 12, dog", "gate code 34, dog")
    await office.push({"entity": "site", "id": "S1", "base": 1, "set": {"hours": "8-4"}, "edit": {"access_notes": notes}})
    with theo.edit() as tx:
        tx.set(Site, "S1", hours="9-5")
        tx.edit_text(Site, "S1", access_notes="gate code 12, dog asleep")
    with theo.edit("not a technician's to say") as tx:
        tx.set(Account, "A1", credit_hold=True)
    await theo.sync()
    site = theo.get(Site, "S1")
    assert site
    assert (site.fields.hours, site.fields.access_notes) == ("8-4", "gate code 34, dog asleep")
    assert [sent.kind for sent in theo.history()] == [OutcomeKind.CONFLICT, OutcomeKind.PARKED]
    assert [(parked.reasons[0].rule, parked.reasons[0].field) for parked in theo.parked()] == [("writer", "credit_hold")]
    (conflict,) = theo.conflicts().records
    assert (conflict.fields.subject, conflict.fields.field, conflict.fields.kept, conflict.fields.held) == (
        "S1",
        "hours",
        "8-4",
        "9-5",
    )


async def test_a_device_in_the_background_hears_of_nothing_by_halves(crew: tuple[Replica, Replica], office: BareDevice) -> None:
    theo, _ = crew
    changes = theo.watch(WorkOrder)
    await office.push(
        create("work_order", "W2", account="A1", site="S1", subject="second"),
        create("appointment", "P2", work_order="W2", technician="T0", status="scheduled"),
    )
    async with theo.sync_in_background():
        while ("work_order", "W2") not in await anext(changes):
            continue
    assert [visit.fields.status for visit in theo.query(Appointment, col(Appointment.work_order).is_("W2"))] == [
        AppointmentStatus.SCHEDULED
    ]
