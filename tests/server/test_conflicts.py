"""A person resolves a conflict by an ordinary change, on a device or at the desk, and can take it back."""

import pytest
from conftest import Company
from wire import BareDevice, create

from server import door
from server.commit import Commit
from server.storage.pool import Connection
from sync.protocol import OutcomeKind


async def disputed(company: Company) -> tuple[BareDevice, BareDevice, str]:
    """Two authors gave an account different tax ids (a `manual` field); returns their devices and the conflict's id."""
    office = BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))
    rep = BareDevice(company.http, await company.enrol(await company.user("Rita", "rep")))
    await office.push(create("account", "A1", name="Acme", owner=rep.me.user))
    await rep.pull()
    await office.push(office.update("account", "A1", tax_id="DE 1"))
    outcome = await rep.push(rep.update("account", "A1", tax_id="DE 2"))
    assert outcome.kind is OutcomeKind.CONFLICT
    return office, rep, outcome.conflicts[0]


async def test_a_manual_conflict_keeps_the_value_and_waits_on_every_device_that_holds_the_record(company: Company) -> None:
    _, rep, conflict = await disputed(company)
    await rep.pull()
    assert rep.records["account", "A1"]["tax_id"] == "DE 1"
    held = rep.records["conflict", conflict]
    assert (held["kept"], held["held"], held["field"], held.get("status", "open")) == ("DE 1", "DE 2", "tax_id", "open")


async def test_it_is_resolved_by_an_ordinary_change_and_undone_by_another(company: Company) -> None:
    office, rep, conflict = await disputed(company)
    await rep.pull()
    resolved = await rep.push(
        rep.update("account", "A1", tax_id="DE 2"),
        rep.update("conflict", conflict, status="resolved", resolution="asked the customer"),
    )
    assert resolved.kind is OutcomeKind.APPLIED, resolved
    await rep.pull()
    assert rep.records["account", "A1"]["tax_id"] == "DE 2"
    assert rep.records["conflict", conflict]["status"] == "resolved"
    office.seqs |= dict.fromkeys((("account", "A1"), ("conflict", conflict)), resolved.seq)
    undone = await office.push(
        office.update("account", "A1", tax_id="DE 1"), office.update("conflict", conflict, status="open", resolution="")
    )
    assert undone.kind is OutcomeKind.APPLIED, undone
    await rep.pull()
    assert (rep.records["account", "A1"]["tax_id"], rep.records["conflict", conflict]["status"]) == ("DE 1", "open")


async def test_late_work_is_shown_to_the_office_although_the_right_ended_while_it_was_merged(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))
    theo = BareDevice(company.http, await company.enrol(await company.user("Theo", "technician")))
    await office.push(
        create("technician", "T1", name="Theo", user=theo.me.user),
        create("technician", "T2", name="Uma"),
        create("account", "A1", name="Acme"),
        create("site", "S1", account="A1", name="Plant"),
        create("work_order", "W1", account="A1", site="S1", subject="Boiler"),
        create("appointment", "P1", work_order="W1", technician="T1", status="scheduled"),
    )
    await theo.pull()
    assert (await theo.push(theo.update("work_order", "W1", cause="valve"))).kind is OutcomeKind.APPLIED
    real, reassigned = door._write, list[int]()

    async def write(connection: Connection, tenant_id: int, commit: Commit, linked: int) -> int:
        if not reassigned:
            reassigned.append(0)
            reassigned.append((await office.push(office.update("appointment", "P1", technician="T2"))).seq)
        return await real(connection, tenant_id, commit, linked)

    monkeypatch.setattr(door, "_write", write)
    late = await theo.push(theo.update("work_order", "W1", symptom="leaks"))
    assert late.kind is OutcomeKind.CONFLICT, late
    assert late.seq > reassigned[1]
