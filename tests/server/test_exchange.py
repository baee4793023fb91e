"""The exchange against a real PostgreSQL: exactly once, merged by field, given to exactly those who may hold it."""

import asyncio
from typing import Any

import pytest
from conftest import Company
from wire import BareDevice, create, update

from sync.protocol import OutcomeKind


async def setup(company: Company) -> tuple[BareDevice, BareDevice, str]:
    """A dispatcher and a technician with one order each can see; returns their devices and the technician's id."""
    dispatcher = BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))
    user = await company.user("Theo", "technician")
    made = await dispatcher.push(
        create("technician", "T1", name="Theo", user=user),
        create("account", "A1", name="Acme"),
        create("site", "S1", account="A1", name="Plant"),
        create("work_order", "W1", account="A1", site="S1", subject="Boiler"),
        create("appointment", "P1", work_order="W1", technician="T1", status="scheduled"),
    )
    assert made.kind is OutcomeKind.APPLIED, made
    technician = BareDevice(company.http, await company.enrol(user))
    return dispatcher, technician, "T1"


async def test_a_technician_holds_the_order_with_its_site_and_account(company: Company) -> None:
    _, technician, _ = await setup(company)
    await technician.pull()
    assert set(technician.records) == {
        ("profile", technician.me.user),
        ("technician", "T1"),
        ("account", "A1"),
        ("site", "S1"),
        ("work_order", "W1"),
        ("appointment", "P1"),
    }
    assert technician.me.technician == "T1"


async def test_a_batch_sent_twice_counts_once_and_gets_the_same_answer(company: Company) -> None:
    _, technician, _ = await setup(company)
    tx = technician.transaction(create("part_used", "U1", work_order="W1", product="X", quantity=1))
    lead = technician.transaction(create("lead", "L1", need="heat pump", captured_by=[technician.me.user]))
    first = await technician.exchange(tx, lead)
    again = await technician.exchange(tx, lead)
    assert again.outcomes == first.outcomes
    assert [o.kind for o in first.outcomes] == [OutcomeKind.PARKED, OutcomeKind.APPLIED]
    assert first.outcomes[0].reasons[0].rule == "reference"
    assert first.outcomes[0].reasons[0].field == "product"


async def test_edits_of_different_fields_both_stand(company: Company) -> None:
    dispatcher, technician, _ = await setup(company)
    await technician.pull()
    await dispatcher.push(dispatcher.update("work_order", "W1", priority=1))
    outcome = await technician.push(technician.update("work_order", "W1", symptom="drips"))
    assert outcome.kind is OutcomeKind.APPLIED
    await technician.pull()
    order = technician.records["work_order", "W1"]
    assert (order["priority"], order["symptom"]) == (1, "drips")


async def test_a_reassigned_order_leaves_one_device_and_is_whole_on_the_other(company: Company) -> None:
    dispatcher, technician, _ = await setup(company)
    await technician.pull()
    other_user = await company.user("Uma", "technician")
    await dispatcher.push(create("technician", "T2", name="Uma", user=other_user))
    other = BareDevice(company.http, await company.enrol(other_user))
    await other.pull()
    assert ("work_order", "W1") not in other.records
    await dispatcher.push(dispatcher.update("appointment", "P1", technician="T2"))
    await technician.pull()
    await other.pull()
    assert set(technician.records) == {("technician", "T1"), ("profile", technician.me.user)}
    assert {("work_order", "W1"), ("appointment", "P1"), ("site", "S1"), ("account", "A1")} <= set(other.records)


async def test_pages_of_any_size_lead_to_the_same_records(company: Company) -> None:
    dispatcher, technician, _ = await setup(company)
    for n in range(12):
        await dispatcher.push(create("work_order_task", f"K{n}", work_order="W1", title=f"step {n}"))
    await technician.pull()
    twin = BareDevice(company.http, await company.enrol(technician.me.user))
    pages = await twin.pull(limit=2)
    assert len(pages) > 3
    assert twin.records == technician.records


async def test_an_idle_pull_brings_nothing(company: Company) -> None:
    _, technician, _ = await setup(company)
    for _ in range(100):  # a rule schedules the order behind the visit, a moment later
        await technician.pull()
        if technician.records["work_order", "W1"].get("status") == "scheduled":
            break
    (page,) = await technician.pull()
    assert (page.whole, page.delta, page.gone, page.evict, page.enter) == ((), (), (), (), ())


async def test_a_changed_field_travels_alone(company: Company) -> None:
    dispatcher, technician, _ = await setup(company)
    await technician.pull()
    await dispatcher.push(dispatcher.update("site", "S1", hours="8 to 5"))
    (page,) = await technician.pull()
    assert [(r.entity, r.id, r.fields) for r in page.delta if r.entity == "site"] == [("site", "S1", {"hours": "8 to 5"})]


async def test_a_lead_is_routed_and_its_outcome_comes_back(company: Company) -> None:
    _, technician, _ = await setup(company)
    rep = BareDevice(company.http, await company.enrol(await company.user("Rita", "rep")))
    await technician.push(create("lead", "L1", need="heat pump", account="A1", site="S1", captured_by=[technician.me.user]))
    while ("lead", "L1") not in rep.records:
        await rep.pull()
    assert ("account", "A1") in rep.records
    base = await version(rep, "lead", "L1")
    opened = await rep.push(
        create("opportunity", "O1", account="A1", name="Heat pump", lead="L1", owner=rep.me.user, amount_cents=900_000),
        update("lead", "L1", base, status="converted", opportunity="O1"),
    )
    assert opened.kind is OutcomeKind.APPLIED, opened
    won = await rep.push(update("opportunity", "O1", opened.seq, stage="won"))
    assert won.kind is OutcomeKind.APPLIED, won
    while technician.records.get(("lead", "L1"), {}).get("status") != "won":
        await technician.pull()


async def version(device: BareDevice, entity: str, record_id: str) -> int:
    """The seq of a record, as a fresh full pull of the same user says it."""
    device.cursor, device.records = None, {}
    pages = await device.pull()
    return next(r.seq for page in pages for r in page.whole if (r.entity, r.id) == (entity, record_id))


async def test_a_fault_in_a_merge_parks_its_push_and_lets_the_others_through(
    company: Company, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import server.commit

    dispatcher, technician, _ = await setup(company)
    merge = server.commit.merge

    def faulty(spec: Any, record: Any, edit: Any, author: Any, stamp: int) -> Any:
        if edit.id == "L-bad":
            raise ZeroDivisionError("planted")
        return merge(spec, record, edit, author, stamp)

    monkeypatch.setattr(server.commit, "merge", faulty)
    bad = technician.push(create("lead", "L-bad", need="pump", captured_by=[technician.me.user]))
    good = dispatcher.push(dispatcher.update("site", "S1", hours="8 to 5"))
    outcomes = await asyncio.gather(bad, good)
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.PARKED, OutcomeKind.APPLIED]
    assert "planted" in caplog.text
    after = await technician.push(create("lead", "L2", need="fan", captured_by=[technician.me.user]))
    assert after.kind is OutcomeKind.APPLIED, "the queue goes on"
