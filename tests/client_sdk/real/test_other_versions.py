"""Scenario 16: apps of last year and of next year against today's server, both ways; and the day of the update."""

from pathlib import Path
from typing import Any

import pytest

from client_sdk import OutboxState, Replica, Unreadable
from sync.codec import decode_body
from sync.entities import Account, Appointment, Conflict, Lead, Site, TimeEntry, WorkOrder, WorkOrderTask
from sync.entities.flows import AppointmentStatus
from sync.entities.work import TaskResult, TimeKind
from sync.protocol import OutcomeKind
from sync.schema import REGISTRY
from tests.client_sdk.oracle import check
from tests.client_sdk.real.conftest import Enrol, Wire
from tests.client_sdk.versions import (
    LAST_YEAR,
    NEXT_YEAR,
    Drone,
    NewSite,
    OldAppointment,
    OldLead,
    OldStatus,
    OldTimeEntry,
    OldWorkOrder,
    OldWorkOrderTask,
)
from tests.server.wire import BareDevice, create


@pytest.fixture
async def old(crew: tuple[Replica, Replica], company: Any, enrol: Enrol, office: BareDevice) -> Replica:
    """Theo's second phone, with last year's app. His order has more in it than that knows."""
    theo = crew[0].identity()
    assert theo
    made = await office.push(
        create("work_order_task", "K1", work_order="W1", title="look", result="done", note="seen"),
        create("time_entry", "E1", work_order="W1", technician="T0", kind="break", start=1),
        create("time_entry", "E2", work_order="W1", technician="T0", kind="work", start=2),
        {"entity": "work_order", "id": "W1", "base": 1, "set": {"priority": 1, "custom": {"gate": "blue"}}},
    )
    assert made.kind is OutcomeKind.APPLIED, made
    replica = await enrol(theo.user, "old", registry=LAST_YEAR)
    await replica.sync()
    return replica


def held(replica: Replica, entity: str, record_id: str) -> dict[str, Any]:
    row = replica._store.base((entity, record_id))
    assert row
    return decode_body(row.body)


async def test_an_old_app_shows_what_it_knows_and_keeps_what_it_does_not(old: Replica) -> None:
    order, task = old.get(OldWorkOrder, "W1"), old.get(OldWorkOrderTask, "K1")
    assert order
    assert task
    assert (order.fields.subject, order.fields.custom, order.unread) == ("boiler", {"gate": "blue"}, ())
    assert (task.fields.note, task.unread) == ("seen", ())
    assert held(old, "work_order", "W1")["priority"] == 1
    assert held(old, "work_order_task", "K1")["title"] == "look"
    assert held(old, "account", "A1")["name"] == "Acme"
    assert "account" not in LAST_YEAR


async def test_what_an_old_app_does_not_know_survives_its_edits(
    old: Replica, crew: tuple[Replica, Replica], office: BareDevice
) -> None:
    """Fields, values and whole entities: it edits around them, and today's app finds them as they were."""
    theo = old.identity()
    assert theo
    with old.edit("around it") as tx:
        tx.set(OldWorkOrder, "W1", cause="valve", custom={"bell": "left"})
        tx.set(OldWorkOrderTask, "K1", note="done well")
        lead = tx.create(OldLead(need="pump", captured_by=(theo.user,)))
    await old.sync()
    assert [(one.state, one.kind) for one in old.history()] == [(OutboxState.DONE, OutcomeKind.APPLIED)]
    await crew[0].sync()
    order, task = crew[0].get(WorkOrder, "W1"), crew[0].get(WorkOrderTask, "K1")
    assert order
    assert task
    assert (order.fields.priority, order.fields.cause, order.fields.custom) == (1, "valve", {"gate": "blue", "bell": "left"})
    assert (task.fields.title, task.fields.result, task.fields.note) == ("look", TaskResult.DONE, "done well")
    captured = crew[0].get(Lead, lead)
    assert captured
    assert captured.fields.need == "pump"
    check(old)


async def test_a_value_that_an_old_app_does_not_know_is_named_and_stands(
    old: Replica, crew: tuple[Replica, Replica], office: BareDevice
) -> None:
    theo, _ = crew
    for status in (AppointmentStatus.IN_PROGRESS, AppointmentStatus.PAUSED):
        with theo.edit(status) as tx:
            tx.set(Appointment, "P1", status=status)
    await theo.sync()
    await old.sync()
    visit = old.get(OldAppointment, "P1")
    assert visit
    assert (visit.fields.status, visit.unread) == (OldStatus.UNSCHEDULED, ("status",))
    with old.edit("a word on it", seen=(visit,)) as tx:
        tx.set(OldAppointment, "P1", reason="lunch")
    await old.sync()
    await theo.sync()
    now = theo.get(Appointment, "P1")
    assert now
    assert (now.fields.status, now.fields.reason) == (AppointmentStatus.PAUSED, "lunch")
    visit = old.get(OldAppointment, "P1")
    assert visit
    assert (visit.fields.reason, visit.unread) == ("lunch", ("status",))


async def test_a_record_that_an_old_app_cannot_read_at_all_is_left_out(old: Replica) -> None:
    """A break was not a kind of time, and a time entry without a kind is none."""
    assert [item.id for item in old.query(OldTimeEntry)] == ["E2"]
    with pytest.raises(Unreadable, match="kind"):
        old.get(OldTimeEntry, "E1")
    assert held(old, "time_entry", "E1")["kind"] == "break"


async def test_what_an_old_app_cannot_say_is_parked_and_the_rest_goes_on(old: Replica, crew: tuple[Replica, Replica]) -> None:
    """Every task needs a title today."""
    with old.edit("a task as it was") as tx:
        task = tx.create(OldWorkOrderTask(work_order="W1", note="tighten"))
    with old.edit("a cause") as tx:
        tx.set(OldWorkOrder, "W1", cause="valve")
    await old.sync()
    (parked,) = old.parked()
    assert [(reason.rule, reason.field) for reason in parked.reasons] == [("required", "title")]
    assert old.get(OldWorkOrderTask, task) is None
    assert [one.kind for one in old.history()] == [OutcomeKind.PARKED, OutcomeKind.APPLIED]
    assert old.conflicts().records == ()


async def test_after_the_update_everything_is_there(old: Replica, wire: Wire, tmp_path: Path) -> None:
    """The app is updated on the same file, with work in it that the old one wrote."""
    with old.edit("unsent at the update") as tx:
        tx.set(OldWorkOrder, "W1", cause="valve")
    old.close()
    with Replica.open(tmp_path / "old", transport=wire) as today:
        order, account, task = today.get(WorkOrder, "W1"), today.get(Account, "A1"), today.get(WorkOrderTask, "K1")
        assert order
        assert account
        assert task
        assert (order.fields.priority, order.fields.cause, order.pending) == (1, "valve", True)
        assert (account.fields.name, task.fields.title) == ("Acme", "look")
        assert {entry.fields.kind for entry in today.query(TimeEntry)} == {TimeKind.BREAK, TimeKind.WORK}
        await today.sync()
        assert not today.outbox()
        assert today.query(Conflict) == []
        check(today)
    # and back: a downgrade loses nothing either
    with Replica.open(tmp_path / "old", transport=wire, registry=LAST_YEAR) as again:
        assert held(again, "account", "A1")["name"] == "Acme"
        await again.sync()
    with Replica.open(tmp_path / "old", transport=wire) as today:
        assert today.get(Account, "A1")
        check(today)


async def test_a_newer_app_finds_an_older_server(
    crew: tuple[Replica, Replica], company: Any, enrol: Enrol, office: BareDevice
) -> None:
    """What the server does not know is parked, named, for the office to mend; everything else goes on."""
    theo = crew[0].identity()
    assert theo
    new = await enrol(theo.user, "new", registry=NEXT_YEAR)
    await new.sync()
    site = new.get(NewSite, "S1")
    assert site
    assert (site.fields.name, site.fields.parking) == ("Plant", "")
    with new.edit("where to park") as tx:
        tx.set(NewSite, "S1", parking="yard")
    with new.edit("a drone") as tx:
        tx.create(Drone(site="S1", name="bee"))
    with new.edit("hours") as tx:
        tx.set(NewSite, "S1", hours="9-5")
    await new.sync()
    reasons = [(parked.label, parked.reasons[0].rule, parked.reasons[0].field) for parked in new.parked()]
    assert reasons == [("where to park", "unknown_field", "parking"), ("a drone", "unknown_entity", "entity")]
    site = new.get(NewSite, "S1")
    assert site
    assert (site.fields.hours, site.fields.parking) == ("9-5", "")
    await crew[0].sync()
    seen = crew[0].get(Site, "S1")
    assert seen
    assert seen.fields.hours == "9-5"
    assert "drone" not in REGISTRY
