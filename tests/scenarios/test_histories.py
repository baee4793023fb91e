"""Histories: backups, copies, long absences, wrong clocks and old apps; what happened is found out, and nothing is lost by it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import asyncpg
import httpx
import pytest
from conftest import Company
from typer.testing import CliRunner

from cli.main import app as command
from client_sdk import Offline, OutboxState
from server.app import create_app
from server.context import opened
from server.storage import embedded
from server.storage.migrate import migrate
from server.tenants import create_tenant
from sync.entities import Account, Appointment, Asset, Conflict, Lead, PartUsed, Site, TimeEntry, WorkOrder, WorkOrderTask
from sync.entities.flows import AppointmentStatus as Visit
from sync.entities.flows import ConflictStatus
from sync.entities.work import TimeKind
from sync.policies import field_wins, fixed, last_writer, text
from sync.protocol import OutcomeKind
from sync.schema import REGISTRY, Entity, EntitySpec, Id, Text, refers, root
from tests.scenarios.field import DAY_MS, HOUR_MS, YEAR_MS, Clock, Field, make

EVER = 2**52


@asynccontextmanager
async def server_on(url: str) -> AsyncIterator[tuple[httpx.AsyncClient, Company]]:
    """A server process's worth of server, and a company on it; name an existing one by its id."""
    async with opened(url, connections=3, migrated=True) as context:
        app = create_app(context, max_body_bytes=1_000_000)
        async with app.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as http:
            tenants = await context.office.tenants()
            yield http, Company(context, http, tenants.get("Acme") or await create_tenant(context, "Acme"))


async def test_10_the_server_is_restored_from_a_backup(
    private_url: str, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phones whose cursor is ahead are recognised, and bring back what the backup lost, in their order and once."""
    database = await asyncpg.connect(private_url)
    await database.execute("create database company")
    today, backup = (embedded.with_database(private_url, name) for name in ("company", "backup"))
    await asyncio.to_thread(migrate, today)
    async with server_on(today) as (_, company):
        field = Field(company, tmp_path, clock)
        await field.open()
        theo, uma = await field.technician("Theo"), await field.technician("Uma")
        for order, name in (("W1", "Theo"), ("W2", "Uma")):
            await field.job(order, name)
        for phone in (theo, uma):
            await phone.sync()
            with phone.edit("before the backup") as tx:
                tx.create(Lead(need="pump", captured_by=(phone.user,)), record_id=f"{phone.user}.1")
            await phone.sync()
    await database.execute("create database backup template company")
    async with server_on(today) as (http, _):
        for phone in (theo, uma):
            phone.line.via(http)
            for number in (2, 3):
                with phone.edit("after the backup") as tx:
                    tx.create(Lead(need="pump", captured_by=(phone.user,)), record_id=f"{phone.user}.{number}")
                    tx.set(Lead, f"{phone.user}.1", estimate_cents=number)
                await phone.sync()
        with theo.edit("not sent yet") as tx:
            tx.set(Lead, f"{theo.user}.2", estimate_cents=100)
    monkeypatch.setenv("DATABASE_URL", backup)
    assert (await asyncio.to_thread(CliRunner().invoke, command, ["tenant", "restored", "Acme"])).exit_code == 0
    async with server_on(backup) as (http, company):
        field.moved_to(company)
        assert len(await field.dispatcher.all(Lead)) == 2
        for phone in (theo, uma):
            phone.line.via(http)
            await phone.sync()
            assert set(phone.fates()) == {OutcomeKind.APPLIED}
            await field.holds_exactly_what_it_may(phone)
        leads = await field.dispatcher.all(Lead)
        assert {name: lead.estimate_cents for name, lead in leads.items()} == {
            **{f"{phone.user}.1": 3 for phone in (theo, uma)},
            **{f"{phone.user}.{number}": 0 for phone in (theo, uma) for number in (2, 3)},
            f"{theo.user}.2": 100,
        }
        field.close()
    await database.close()


@pytest.mark.parametrize("how", ["cloned", "restored"])
async def test_11_a_device_database_is_restored_or_cloned(field: Field, tmp_path: Path, how: str) -> None:
    """The copy is told from the original by what it says under a number that was used before; both go on, nothing is swallowed."""
    theo = await field.technician("Theo")
    await field.job("W1", "Theo")
    await theo.sync()
    file = tmp_path / "copy"
    theo.replica._store._run("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(theo.path, file)
    with theo.edit("on the original") as tx:
        work = TimeEntry(work_order="W1", technician="Theo", kind=TimeKind.WORK, start=1, end=2)
        tx.create(work, record_id="of.the.original")
    await theo.sync()
    if how == "restored":
        theo.close()
    copy = field.reopened(file, theo.user)
    for number in range(2):
        with copy.edit("on the copy") as tx:
            work = TimeEntry(work_order="W1", technician="Theo", kind=TimeKind.WORK, start=3, end=4)
            tx.create(work, record_id=f"of.the.copy.{number}")
    await copy.sync()
    if how == "cloned":
        with theo.edit("the original goes on") as tx:
            tx.set(WorkOrder, "W1", symptom="drips")
        await theo.sync()
        assert theo.fates() == [OutcomeKind.APPLIED] * 2
    await copy.sync()
    assert copy.fates() == [OutcomeKind.APPLIED] * 2
    assert set(await field.dispatcher.all(TimeEntry)) == {"of.the.original", "of.the.copy.0", "of.the.copy.1"}
    await field.holds_exactly_what_it_may(copy)


async def test_12_a_device_is_offline_for_200_days(field: Field, clock: Clock) -> None:
    """Past the tombstone horizon no deleted record lives on, the outbox is delivered, and what did not differ does not travel."""
    theo = await field.technician("Theo")
    for order in ("W1", "W2", "W3"):
        steps = [make(WorkOrderTask(work_order=order, title="step"), f"{order}.step{n}") for n in range(5)]
        await field.job(order, "Theo", *steps)
    await theo.sync()
    with theo.edit("work on the last day") as tx:
        tx.create(Lead(need="pump", captured_by=(theo.user,)), record_id="L1")
        tx.set(WorkOrder, "W1", symptom="drips")
    with theo.edit("on what will be gone") as tx:
        tx.set(WorkOrderTask, "W2.step0", note="was done")
    clock.passed_ms += 20 * DAY_MS
    boss = field.manager
    await boss.does(await boss.deleting(WorkOrderTask, "W2.step0"))
    await boss.sets(Appointment, "W3.visit", technician=None, status=Visit.UNSCHEDULED)
    await field.rules_are_done()
    clock.passed_ms += 180 * DAY_MS
    async with field.company.context.office.of(field.company.tenant_id) as tenant:
        await tenant.prune(clock() - 90 * DAY_MS)
    theo.line.arrived()
    await theo.sync()
    assert theo.ids(WorkOrder) == {"W1", "W2"}
    assert "W2.step0" not in theo.ids(WorkOrderTask)
    assert theo.fates() == [OutcomeKind.APPLIED, OutcomeKind.PARKED]
    assert (await boss.see(WorkOrder, "W1")).symptom == "drips"
    assert (await boss.get("/v1/parked"))[0]["transaction"]["changes"][0]["set"] == {"note": "was done"}
    came = theo.line.arrived()
    assert came >= {"W2", "L1"}
    assert not came & {"A1", "S1", "X1", "Theo"}, "the scopes whose digests agree cost nothing"
    await field.holds_exactly_what_it_may(theo)


async def test_13_the_clock_of_the_phone_is_wrong(field: Field, clock: Clock) -> None:
    """Years ahead, years behind or jumping while offline, it wins nothing and loses nothing: who truly wrote last stands."""
    phones = {name: await field.technician(name) for name in ("right", "ahead", "behind", "jumping")}
    segments = ["a", "b", "c", "d"]
    for name, phone in phones.items():
        await field.job(f"W.{name}", name)
        await phone.sync()
    phones["ahead"].skew_ms, phones["behind"].skew_ms = 9 * YEAR_MS, -20 * YEAR_MS
    for phone in phones.values():
        await phone.sync()

    def says(name: str, segment: str) -> None:
        clock.passed_ms += HOUR_MS
        with phones[name].edit(segment) as tx:
            tx.set(Account, "A1", segment=segment)

    async def stands() -> str:
        clock.passed_ms += HOUR_MS
        for phone in reversed(phones.values()):
            await phone.sync()
        found = (await field.dispatcher.see(Account, "A1")).segment
        for phone in phones.values():
            await phone.sync()
            account = phone.see(Account, "A1")
            assert account
            assert account.segment == found
            assert OutcomeKind.PARKED not in phone.fates()
        return found

    for order in (("ahead", "behind", "right"), ("right", "behind", "ahead"), ("ahead", "right", "behind")):
        for segment, name in zip(segments, order, strict=False):
            says(name, f"{segment} by {name}")
        assert await stands() == f"c by {order[-1]}"
    for skew_ms in (12 * YEAR_MS, -12 * YEAR_MS):
        says("jumping", "first")
        phones["jumping"].skew_ms += skew_ms
        says("right", "between")
        says("jumping", "jumped, and last")
        assert await stands() == "jumped, and last"
        says("jumping", "early")
        says("right", "last")
        assert await stands() == "last"
    told = {conflict.held for conflict in (await field.dispatcher.conflicts()).values() if conflict.field == "segment"}
    assert told >= {"a by ahead", "b by behind", "between", "early"}, "what lost is kept"


async def test_14_a_chain_of_offline_edits_to_one_field(field: Field) -> None:
    """The phone's own edits never conflict with each other, and a real conflict in the midst of them is found."""
    theo = await field.technician("Theo")
    await field.dispatcher.does(make(Asset(site="S1", name="boiler", serial="0"), "X2"))
    await field.job("W1", "Theo")
    await theo.sync()

    def writes(*values: str) -> None:
        for value in values:
            with theo.edit(value) as tx:
                tx.set(Asset, "X2", serial=value, name=f"boiler {value}", condition=value)

    writes("1", "2", "3")
    await theo.sync()
    assert theo.fates() == [OutcomeKind.APPLIED] * 3
    assert await field.dispatcher.conflicts() == {}
    writes("4")
    theo.line.lose_replies = 1
    with pytest.raises(Offline):
        await theo.sync()
    await field.dispatcher.sets(Asset, "X2", serial="office", name="boiler of the office")
    writes("5", "6")
    await theo.sync()
    assert theo.fates()[3] is OutcomeKind.APPLIED
    asset = await field.dispatcher.see(Asset, "X2")
    assert (asset.serial, asset.name, asset.condition) == ("office", "boiler 6", "6")
    found = [(c.field, c.status, c.kept, c.held) for c in (await field.dispatcher.conflicts()).values()]
    assert [one for one in found if one[0] == "name"] == [("name", ConflictStatus.SETTLED, "boiler 5", "boiler of the office")]
    assert ("serial", ConflictStatus.OPEN, "office", "6") in found
    assert {one[3] for one in found if one[0] == "serial"} <= {"5", "6"}
    assert theo.ids(Conflict) == set(await field.dispatcher.conflicts())
    await field.holds_exactly_what_it_may(theo)


async def test_15_an_uploaded_edit_while_the_download_lags(field: Field) -> None:
    """Between its edit and the checkpoint that holds it, the phone shows the edit at every moment."""
    theo = await field.technician("Theo")
    await field.job("W1", "Theo")
    await theo.sync()
    with theo.edit() as tx:
        tx.set(WorkOrder, "W1", symptom="drips")
    for n in range(12):
        await field.dispatcher.does(make(WorkOrderTask(work_order="W1", title="step"), f"step{n}"))
    shown: list[str | None] = []
    states: list[OutboxState] = []

    async def look() -> None:
        order = theo.see(WorkOrder, "W1")
        shown.append(order.symptom if order else None)
        states.append(theo.last().state)
        await field.dispatcher.sets(WorkOrder, "W1", subject=f"look {len(shown)}")

    theo.line.page, theo.line.before, theo.line.lose_replies = 3, look, 1
    with pytest.raises(Offline):
        await theo.sync()
    await theo.sync()
    theo.line.before = None
    order = theo.see(WorkOrder, "W1")
    assert order
    assert {*shown, order.symptom} == {"drips"}
    assert len(shown) > 5
    assert OutboxState.CONFIRMED in states, "the outcome came long before the checkpoint"
    await field.holds_exactly_what_it_may(theo)


def last_years_app() -> Mapping[str, EntitySpec]:
    """What an app of last year knew: sites without name and hours, leads that needed no words."""
    today = dict(REGISTRY)
    try:

        class Site(Entity, scope=root("site")):
            account: Annotated[Id, refers("account"), fixed()]
            access_notes: Annotated[Text, text()] = ""

        class Lead(Entity, scope=root("lead")):
            site: Annotated[Id | None, refers("site"), last_writer()] = None
            photo: Annotated[Id | None, field_wins()] = None

        return {**today, "site": Site.spec, "lead": Lead.spec}
    finally:  # declared, they are entities of this process, which is the server's too
        REGISTRY.update(today)


async def test_16_an_old_app_edits_a_record(field: Field) -> None:
    """Fields that it does not know stay as they are; a field that became required since reaches it, and stops nothing it sends."""
    user = (await field.technician("Theo")).user
    await field.job("W1", "Theo")
    await field.dispatcher.sets(Site, "S1", hours="8 to 5", custom={"gate": "blue"})
    registry = last_years_app()
    site, lead = registry["site"].cls, registry["lead"].cls
    old = await field.phone(user, "old phone", registry=registry)
    assert old.sees(site, "S1")
    with old.edit("old notes") as tx:
        tx.edit_text(site, "S1", access_notes="gate code 99, dog")
    with old.edit("old lead") as tx:
        tx.create(lead(site="S1"), record_id="L1")
    with old.edit("a part") as tx:
        tx.create(PartUsed(work_order="W1", product="X1", quantity=1), record_id="U1")
    await old.sync()
    told = await field.dispatcher.see(Site, "S1")
    assert (told.access_notes, told.hours, told.custom, told.name) == (
        "gate code 99, dog",
        "8 to 5",
        {"gate": "blue"},
        "Main house",
    )
    assert old.fates() == [OutcomeKind.APPLIED, OutcomeKind.PARKED, OutcomeKind.APPLIED]
    (parked,) = await field.dispatcher.get("/v1/parked")
    assert "need" in parked["reasons"][0]["detail"] + parked["reasons"][0].get("field", "")
    mended = make(Lead(need="asked on the phone", site="S1", captured_by=(user,)), "L1")
    where = f"/v1/parked/{parked['device_no']}/{parked['epoch']}/{parked['n']}"
    answer = await field.dispatcher.post(where, apply=True, changes=[mended])
    assert [outcome["kind"] for outcome in answer["outcomes"]] == ["applied"]
    await old.sync()
    assert old.sees(lead, "L1")
    with old.edit("knows nothing of the need") as tx:
        tx.set(lead, "L1", photo="P1")
    await old.sync()
    stands = await field.manager.see(Lead, "L1")
    assert (stands.need, stands.photo) == ("asked on the phone", "P1")
    new = await field.phone(user, "new phone")
    seen = new.see(Lead, "L1")
    assert (seen.need, seen.photo, seen.site) == (stands.need, stands.photo, stands.site), "a rule may have routed it meanwhile"
