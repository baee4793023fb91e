"""What happens when a history breaks: long absences, damaged scopes, restored servers, copied phones, wiped devices."""

import time
from typing import Any

import msgspec
from conftest import Company
from wire import BareDevice, create, update

from server.feed import Cursor
from server.storage.tables import clock, record
from sync.digest import scope_digest
from sync.protocol import Enrolled, OutcomeKind
from sync.schema import REGISTRY

HOUR = 3_600_000


async def fleet(company: Company, orders: int = 3) -> tuple[BareDevice, BareDevice]:
    """A dispatcher, and a technician with some orders: one today, one in a week, one without a date."""
    office = BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))
    user = await company.user("Theo", "technician")
    now = time.time_ns() // 1_000_000
    starts = [now + HOUR, now + 7 * 24 * HOUR, None]
    changes = [create("technician", "T1", name="Theo", user=user), create("account", "A1", name="Acme")]
    for n in range(orders):
        changes += [
            create("site", f"S{n}", account="A1", name=f"Plant {n}"),
            create("work_order", f"W{n}", account="A1", site=f"S{n}"),
            create("appointment", f"P{n}", work_order=f"W{n}", technician="T1", status="dispatched", planned_start=starts[n % 3]),
        ]
    assert (await office.push(*changes)).kind is OutcomeKind.APPLIED
    await company.rest()
    return office, BareDevice(company.http, await company.enrol(user))


def digests(device: BareDevice, seqs: dict[tuple[str, str], int]) -> dict[str, str]:
    scopes: dict[str, list[tuple[str, str, int]]] = {}
    for (entity, record_id), body in device.records.items():
        scopes.setdefault(REGISTRY[entity].scope_of(record_id, body), []).append((entity, record_id, seqs[entity, record_id]))
    return {"catalogue": scope_digest([])} | {scope: scope_digest(records) for scope, records in scopes.items()}


async def seqs_of(company: Company) -> dict[tuple[str, str], int]:
    async with company.context.office.of(company.tenant_id) as tenant:
        rows = await tenant.connection.execute(record.select().where(record.c.tenant_id == company.tenant_id))
        return {(row.entity, row.id): row.seq for row in rows}


async def ask(device: BareDevice, **over: Any) -> Any:
    request = {"epoch": 1, "sent_ms": time.time_ns() // 1_000_000, "cursor": device.cursor} | over
    return await device.post(msgspec.json.encode(request))


async def test_a_first_sync_brings_today_first_then_the_coming_days_then_the_rest(company: Company) -> None:
    _, technician = await fleet(company)
    seen: list[set[str]] = []
    left = 3
    while left:
        reply = await technician.exchange()
        assert reply.page is not None
        assert not reply.page.more
        technician.cursor, left = reply.page.cursor, reply.page.groups_left
        seen.append({r.id for r in reply.page.whole if r.entity in ("work_order", "site")})
    assert seen == [{"W0", "S0"}, {"W1", "S1"}, {"W2", "S2"}]


async def test_what_changes_during_a_first_sync_is_not_missed(company: Company) -> None:
    office, technician = await fleet(company)
    twin = BareDevice(company.http, await company.enrol(technician.me.user))
    changed = [("site", "S0"), ("site", "S2"), ("account", "A1")]
    while True:
        reply = await technician.exchange(limit=2)
        assert reply.page is not None
        technician._apply(reply.page)
        technician.cursor = reply.page.cursor
        if changed:
            entity, record_id = changed.pop()
            await office.push(office.update(entity, record_id, name="changed"))
        elif not reply.page.more and not reply.page.groups_left:
            break
    await company.rest()
    await technician.pull()
    await twin.pull()
    assert technician.records == twin.records


async def test_after_a_long_absence_only_scopes_that_differ_come_anew(company: Company) -> None:
    office, technician = await fleet(company)
    await technician.pull()
    known = digests(technician, await seqs_of(company))
    manager = BareDevice(company.http, await company.enrol(await company.user("Mia", "manager")))
    await office.push(office.update("appointment", "P1", technician=None, status="unscheduled"))
    await manager.push({"entity": "appointment", "id": "P2", "base": office.seqs["appointment", "P2"], "delete": True})
    await office.push(create("work_order_task", "K0", work_order="W0", title="new"))
    await forget(company)
    assert (await ask(technician)).json().get("want_digests") is True
    answer = msgspec.json.decode((await ask(technician, digests=known)).content)
    page = answer["page"]
    assert sorted({*page["enter"]} - {"catalogue"}) == ["work_order:W0"]
    assert sorted(page["evict"]) == ["site:S1", "site:S2", "work_order:W1", "work_order:W2"]
    assert {record_id for _, record_id, *_ in page["whole"]} == {"W0", "P0", "K0"}
    technician.cursor = page["cursor"]
    assert (await technician.pull())[0].whole == ()


async def forget(company: Company) -> None:
    """Move the horizon to now: tombstones and revoked links are gone, as after months."""
    async with company.context.office.of(company.tenant_id) as tenant:
        await tenant.prune(before_ms=2**52)


async def test_a_damaged_scope_is_found_and_healed_alone(company: Company) -> None:
    _, technician = await fleet(company)
    await technician.pull()
    known = digests(technician, await seqs_of(company))
    known["site:S1"] = "00000000deadbeef"
    page = msgspec.json.decode((await ask(technician, digests=known)).content)["page"]
    assert page["enter"] == ["site:S1"]
    assert [record_id for _, record_id, *_ in page["whole"]] == ["S1"]
    assert "evict" not in page


async def test_a_change_on_its_way_is_no_damage(company: Company) -> None:
    office, technician = await fleet(company)
    await technician.pull()
    known = digests(technician, await seqs_of(company))
    await office.push(office.update("site", "S1", hours="8 to 5"))
    page = msgspec.json.decode((await ask(technician, digests=known)).content)["page"]
    assert "enter" not in page
    assert [fields for *_, fields in page["delta"] if "hours" in fields] == [{"hours": "8 to 5"}]


async def test_a_cursor_from_before_a_restore_is_recognised(company: Company) -> None:
    _, technician = await fleet(company)
    await technician.pull()
    good = technician.cursor
    async with company.context.office.of(company.tenant_id) as tenant:
        now = (await tenant.connection.execute(clock.select().where(clock.c.tenant_id == company.tenant_id))).one()
    for stale in (Cursor("elsewhere", 1), Cursor(now.incarnation, now.seq + 1000)):
        technician.cursor = stale.encode()
        answer = await ask(technician)
        assert (answer.status_code, answer.json()["rule"]) == (409, "incarnation")
    async with company.context.office.of(company.tenant_id) as tenant:
        await tenant.begin_incarnation("anew")
    technician.cursor = good
    assert (await ask(technician)).json()["rule"] == "incarnation"
    technician.cursor = None
    await technician.pull()
    assert ("work_order", "W0") in technician.records


async def test_two_installations_with_one_identity_are_told_apart(company: Company) -> None:
    _, phone = await fleet(company)
    lead = phone.transaction(create("lead", "L1", need="pump", captured_by=[phone.me.user]))
    await phone.exchange(lead)
    copy = BareDevice(company.http, phone.me)
    other = copy.transaction(create("lead", "L2", need="fan", captured_by=[phone.me.user]))
    answer = await copy.post(msgspec.json.encode({"epoch": 1, "sent_ms": other["wrote_ms"], "transactions": [other], "limit": 0}))
    assert (answer.status_code, answer.json()["rule"], answer.json()["extra"]) == (409, "cloned", {"n": 1})
    renewed = await company.http.post("/v1/renew", headers={"authorization": f"Bearer {phone.me.token}"})
    me = msgspec.json.decode(renewed.content, type=Enrolled)
    assert (me.user, me.epoch) == (phone.me.user, phone.me.epoch + 1)
    assert me.device != phone.me.device
    copy = BareDevice(company.http, me)
    assert (await copy.push(create("lead", "L2", need="fan", captured_by=[me.user]))).kind is OutcomeKind.APPLIED
    assert (await phone.push(create("lead", "L3", need="lamp", captured_by=[me.user]))).kind is OutcomeKind.APPLIED


async def test_a_device_to_be_wiped_brings_in_its_work_first(company: Company) -> None:
    _, phone = await fleet(company)
    await phone.pull()
    async with company.context.office.of(company.tenant_id) as tenant:
        await tenant.set_device_status(phone.me.device, "wiping")
    reply = await phone.exchange(phone.transaction(create("lead", "L1", need="pump", captured_by=[phone.me.user])))
    assert reply.wipe
    assert reply.page is None
    assert reply.outcomes[0].kind is OutcomeKind.APPLIED


async def test_a_copy_of_a_device_to_be_wiped_is_wiped_too(company: Company) -> None:
    _, phone = await fleet(company)
    async with company.context.office.of(company.tenant_id) as tenant:
        await tenant.set_device_status(phone.me.device, "wiping")
    renewed = await company.http.post("/v1/renew", headers={"authorization": f"Bearer {phone.me.token}"})
    copy = BareDevice(company.http, msgspec.json.decode(renewed.content, type=Enrolled))
    assert (await copy.exchange()).wipe


async def test_a_scope_that_heals_over_several_pages_comes_whole(company: Company) -> None:
    office, technician = await fleet(company)
    for n in range(9):
        await office.push(create("work_order_task", f"K{n}", work_order="W1", title=f"step {n}"))
    await company.rest()
    await technician.pull()
    known = digests(technician, await seqs_of(company)) | {"work_order:W1": "00000000deadbeef"}
    before = dict(technician.records)
    page = (await technician.exchange(limit=3, digests=known)).page
    pages = []
    while page is not None:
        pages.append(page)
        technician._apply(page)
        technician.cursor = page.cursor
        page = (await technician.exchange(limit=3)).page if page.more else None
    assert len(pages) > 2
    assert technician.records == before


async def test_a_download_older_than_the_horizon_begins_anew(company: Company) -> None:
    office, technician = await fleet(company)
    half = await technician.exchange(limit=2)
    assert half.page is not None
    assert half.page.more
    await office.push(update("site", "S1", 2**50, hours="8 to 5"))
    await forget(company)
    technician.cursor = half.page.cursor
    assert (await ask(technician)).json()["rule"] == "incarnation"
