"""Field races: two people mean well and have not seen each other. The plan may change; facts of execution are never refused."""

import asyncio
import threading
from typing import Any

import pytest

from server import planning
from server.domain.sales import UNFOUNDED
from server.planning import PlanRequest, run_plan, start_plan
from sync.entities import (
    Appointment,
    Asset,
    Conflict,
    Depot,
    Lead,
    Opportunity,
    PartUsed,
    PriceBook,
    PriceEntry,
    Quote,
    Shift,
    Site,
    StockCount,
    StockMove,
    TimeEntry,
    WorkOrder,
)
from sync.entities.flows import AppointmentStatus as Visit
from sync.entities.flows import ConflictStatus, LeadStatus, QuoteStatus, Stage, WorkOrderStatus
from sync.entities.people import Position
from sync.entities.sales import QuoteLine
from sync.entities.stock import MoveReason
from sync.entities.work import ActualTime, TimeKind
from sync.protocol import OutcomeKind
from tests.scenarios.field import DAY_MS, HOUR_MS, Field, Phone, make

OPEN = frozenset({Visit.SCHEDULED, Visit.DISPATCHED, Visit.ACCEPTED, Visit.TRAVELING, Visit.ON_SITE, Visit.IN_PROGRESS})


def finish(phone: Phone, technician: str, order: str, at_ms: int, visit: str = "") -> None:
    """The technician finishes the job: status, actual time, time entry and part in one transaction."""
    with phone.edit(f"{technician} finishes {order}") as tx:
        visit = visit or f"{order}.visit"
        tx.set(Appointment, visit, status=Visit.COMPLETED)
        tx.append(Appointment, visit, actual=ActualTime(f"{technician}.{order}", at_ms, Visit.COMPLETED))
        work = TimeEntry(work_order=order, technician=technician, kind=TimeKind.WORK, start=at_ms - HOUR_MS, end=at_ms)
        tx.create(work, record_id=f"{technician}.{order}.time")
        tx.create(PartUsed(work_order=order, product="X1", quantity=1), record_id=f"{technician}.{order}.part")


async def test_24_finished_offline_while_it_was_reassigned(field: Field) -> None:
    """Facts win: the visit of the one who did the work stands as completed, the other one's is cancelled, and both are told."""
    theo, uma = await field.technician("Theo"), await field.technician("Uma")
    visit = await field.job("W1", "Theo")
    await theo.sync()
    finish(theo, "Theo", "W1", field.clock())
    await field.dispatcher.sets(Appointment, visit, technician="Uma")
    await uma.sync()
    assert uma.sees(Appointment, visit)
    await theo.sync()
    await field.rules_are_done()
    visits = (await field.dispatcher.all(Appointment)).values()
    assert [v.status for v in visits if v.technician == "Theo"] == [Visit.COMPLETED]
    assert {v.status for v in visits if v.technician == "Uma"} == {Visit.CANCELED}
    assert (await field.dispatcher.see(WorkOrder, "W1")).status is WorkOrderStatus.WORK_DONE
    assert {"Theo.W1.time"} == set(await field.dispatcher.all(TimeEntry))
    assert theo.last().kind is OutcomeKind.CONFLICT
    await uma.sync()
    open_ones = [v for v in uma.replica.query(Appointment) if v.fields.technician == "Uma" and v.fields.status in OPEN]
    assert open_ones == []
    assert uma.ids(Conflict) == set(await field.dispatcher.conflicts())


@pytest.mark.parametrize("first", ["Theo", "Uma"])
async def test_25_two_technicians_complete_the_same_job(field: Field, first: str) -> None:
    """The report that comes first is the primary one, the other becomes an additional visit; time and parts of both stand."""
    phones = {"Theo": await field.technician("Theo"), "Uma": await field.technician("Uma")}
    visit = await field.job("W1", "Theo")
    await phones["Theo"].sync()
    await field.dispatcher.sets(Appointment, visit, technician="Uma")
    await phones["Uma"].sync()
    second = "Uma" if first == "Theo" else "Theo"
    for name in ("Theo", "Uma"):
        finish(phones[name], name, "W1", field.clock())
    await phones[first].sync()
    await field.rules_are_done()
    await phones[second].sync()
    await field.rules_are_done()
    visits = await field.dispatcher.all(Appointment)
    completed = {v.technician: record_id for record_id, v in visits.items() if v.status is Visit.COMPLETED}
    assert set(completed) == {"Theo", "Uma"}
    assert completed[first] == visit
    assert visits[completed[second]].reason == "additional visit"
    assert set(await field.dispatcher.all(TimeEntry)) == {"Theo.W1.time", "Uma.W1.time"}
    assert set(await field.dispatcher.all(PartUsed)) == {"Theo.W1.part", "Uma.W1.part"}
    assert (await field.dispatcher.see(WorkOrder, "W1")).status is WorkOrderStatus.WORK_DONE


async def test_26_the_customer_cancels_while_the_technician_is_on_the_way_or_done(field: Field) -> None:
    """On the way, the cancellation stands and the way driven is kept; once finished, the work stands and the office is told."""
    theo = await field.technician("Theo")
    for order in ("W1", "W2"):
        await field.job(order, "Theo")
    await theo.sync()
    with theo.edit("on my way") as tx:
        tx.set(Appointment, "W1.visit", status=Visit.TRAVELING)
        tx.create(TimeEntry(work_order="W1", technician="Theo", kind=TimeKind.TRAVEL, start=1, end=2), record_id="drive")
    finish(theo, "Theo", "W2", field.clock())
    for order in ("W1", "W2"):
        await field.dispatcher.does(
            await field.dispatcher.setting(Appointment, f"{order}.visit", status=Visit.CANCELED),
            await field.dispatcher.setting(WorkOrder, order, status=WorkOrderStatus.CANCELED),
        )
    await theo.sync()
    await field.rules_are_done()
    visits, orders = await field.dispatcher.all(Appointment), await field.dispatcher.all(WorkOrder)
    assert (visits["W1.visit"].status, orders["W1"].status) == (Visit.CANCELED, WorkOrderStatus.CANCELED)
    assert (visits["W2.visit"].status, orders["W2"].status) == (Visit.COMPLETED, WorkOrderStatus.WORK_DONE)
    assert set(await field.dispatcher.all(TimeEntry)) == {"drive", "Theo.W2.time"}
    told = {(c.subject, c.field, c.kept, c.held) for c in (await field.dispatcher.conflicts()).values() if c.field == "status"}
    assert ("W2.visit", "status", Visit.COMPLETED, Visit.CANCELED) in told
    await theo.sync()
    assert {name: theo.see(Appointment, name) for name in visits} == visits, (
        "he sees that the one is cancelled and the other stands"
    )
    assert OutcomeKind.PARKED not in theo.fates()


async def test_27_two_vans_take_the_last_part_from_one_depot(field: Field) -> None:
    """Each move counts once, however often it is sent; the balance may go below zero, and then one count is asked for."""
    await field.dispatcher.does(make(Depot(name="North"), "D1"))
    stocked = StockMove(location="depot:D1", product="X1", quantity=1, reason=MoveReason.RECEIVED, at=1)
    await field.dispatcher.does(make(stocked, "delivery"))
    vans = [await field.technician(name, depot="D1") for name in ("Theo", "Uma")]
    for van, name in zip(vans, ("Theo", "Uma"), strict=True):
        with van.edit("take the last pump") as tx:
            for location, quantity in (("depot:D1", -1), (f"technician:{name}", 1)):
                move = StockMove(location=location, product="X1", quantity=quantity, reason=MoveReason.TRANSFER, at=2)
                tx.create(move, record_id=f"{name}.{location}")
    vans[0].line.copies = 3
    for van in vans:
        await van.sync()
    await field.rules_are_done()
    moves = (await field.dispatcher.all(StockMove)).values()
    balance = {place: sum(m.quantity for m in moves if m.location == place) for place in {m.location for m in moves}}
    assert balance == {"depot:D1": -1, "technician:Theo": 1, "technician:Uma": 1}
    (count,) = (await field.dispatcher.all(StockCount)).values()
    assert (count.location, count.product, count.expected) == ("depot:D1", "X1", -1)
    for van in vans:
        await van.sync()
        assert len(van.ids(StockCount)) == 1


async def test_28_the_price_changes_under_an_unsigned_quote_and_under_a_signed_one(field: Field) -> None:
    """A quote stands on one version of the price list: a new one changes neither; a draft is quoted anew, a signed one never."""
    rita = await field.rep("Rita")
    await field.catalogue(B1=PriceBook(version="1"), B1X=PriceEntry(price_book="B1", product="X1", price_cents=100))
    await field.manager.does(make(Opportunity(account="A1", name="Pumps", owner=rita.user), "O1"))
    await rita.sync()
    with rita.edit("two offers") as tx:
        line = QuoteLine(product="X1", quantity=1, price_cents=100)
        for quote in ("draft", "signed"):
            tx.create(Quote(opportunity="O1", price_book="B1", lines={"1": line}), record_id=quote)
    await rita.sync()
    with rita.edit("signed on the glass, without signal") as tx:
        tx.set(Quote, "signed", status=QuoteStatus.SIGNED, signed_by="Mr Lake")
    await field.catalogue(B2=PriceBook(version="2"), B2X=PriceEntry(price_book="B2", product="X1", price_cents=120))
    await rita.sync()
    await field.rules_are_done()
    quotes = await field.manager.all(Quote)
    assert {name: (q.price_book, q.lines["1"].price_cents) for name, q in quotes.items() if q.lines["1"]} == {
        "draft": ("B1", 100),
        "signed": ("B1", 100),
    }
    assert (quotes["signed"].status, quotes["signed"].signed_by) == (QuoteStatus.SIGNED, "Mr Lake")
    assert {entry.fields.price_cents for entry in rita.replica.query(PriceEntry)} == {100, 120}
    for quote in ("draft", "signed"):
        with rita.edit("the new price") as tx:
            tx.set(Quote, quote, lines={"1": QuoteLine(product="X1", quantity=1, price_cents=120)})
    await rita.sync()
    assert rita.fates()[-2:] == [OutcomeKind.APPLIED, OutcomeKind.PARKED]
    assert [reason.rule for reason in rita.replica.parked()[0].reasons] == ["frozen"]
    assert rita.see(Quote, "signed") == quotes["signed"]


async def test_29_both_sides_edit_the_same_notes(field: Field) -> None:
    """Edits of different words both stand; edits of the same words are both kept, marked, and a person is asked."""
    theo = await field.technician("Theo")
    await field.job("W1", "Theo")
    await theo.sync()

    async def office_writes(before: str, after: str) -> None:
        seen = await field.dispatcher.version(Site, "S1")
        await field.dispatcher.does({"entity": "site", "id": "S1", "base": seen, "edit": {"access_notes": (before, after)}})

    await office_writes("gate code 12, dog", "gate code 34, dog")
    with theo.edit() as tx:
        tx.edit_text(Site, "S1", access_notes="gate code 12, dog asleep")
    await theo.sync()
    assert (await field.dispatcher.see(Site, "S1")).access_notes == "gate code 34, dog asleep"
    await office_writes("gate code 34, dog asleep", "gate code 56, dog asleep")
    with theo.edit() as tx:
        tx.edit_text(Site, "S1", access_notes="gate code 78, dog asleep")
    await theo.sync()
    notes = (await field.dispatcher.see(Site, "S1")).access_notes
    assert notes == "gate code ‹56,¦78,› dog asleep"
    site = theo.see(Site, "S1")
    assert site
    assert site.access_notes == notes
    (conflict,) = (await field.dispatcher.conflicts()).values()
    assert (conflict.subject, conflict.field, conflict.status) == ("S1", "access_notes", ConflictStatus.OPEN)
    assert len(theo.ids(Conflict)) == 1


async def test_30_two_technicians_capture_the_same_lead(field: Field) -> None:
    """One lead becomes the master, both who captured it are credited by rule, and a person can undo it."""
    phones = [await field.technician(name) for name in ("Theo", "Uma")]
    await field.rep("Rita")
    for number, phone in enumerate(phones, 1):
        await field.job(f"W{number}", ("Theo", "Uma")[number - 1])
        await phone.sync()
        with phone.edit("capture lead") as tx:
            tx.create(Lead(need="Heat pump", site="S1", account="A1", captured_by=(phone.user,)), record_id=f"L{number}")
    for phone in phones:
        await phone.sync()
    await field.rules_are_done()
    leads = await field.manager.all(Lead)
    assert (leads["L2"].status, leads["L2"].duplicate_of) == (LeadStatus.DUPLICATE, "L1")
    assert set(leads["L1"].captured_by) == {phone.user for phone in phones}
    for phone in phones:
        await phone.sync()
        assert phone.see(Lead, "L1") == leads["L1"]
    await field.manager.sets(Lead, "L2", status=LeadStatus.CAPTURED)
    await field.rules_are_done()
    leads = await field.manager.all(Lead)
    assert [leads[name].status for name in ("L1", "L2")] == [LeadStatus.CAPTURED, LeadStatus.CAPTURED]
    assert leads["L2"].owner, "it is routed like any other again"
    assert set(leads["L1"].captured_by) == {phones[0].user}


async def test_31_deleted_in_the_office_while_edited_in_the_field(field: Field) -> None:
    """A fact brings the record back; an opinion waits for a person, who restores the record and applies it, or discards it."""
    theo = await field.technician("Theo")
    boilers = [f"boiler{number}" for number in range(3)]
    await field.dispatcher.does(*(make(Asset(site="S1", name=boiler), boiler) for boiler in boilers))
    await field.job("W1", "Theo")
    await theo.sync()
    with theo.edit("a fact") as tx:
        tx.set(Asset, "boiler0", condition="rusty")
    for boiler in boilers[1:]:
        with theo.edit("an opinion") as tx:
            tx.set(Asset, boiler, name="renamed")
    await field.manager.does(*[await field.manager.deleting(Asset, boiler) for boiler in boilers])
    await theo.sync()
    assert theo.fates() == [OutcomeKind.CONFLICT, OutcomeKind.PARKED, OutcomeKind.PARKED]
    assert (theo.ids(Asset), set(await field.manager.all(Asset))) == ({"boiler0"}, {"boiler0"})
    (conflict,) = (await field.manager.conflicts()).values()
    assert (conflict.subject, conflict.kept, conflict.held) == ("boiler0", "restored", "deleted")
    waiting = await field.manager.get("/v1/parked")
    assert [one["reasons"][0]["rule"] for one in waiting] == ["deleted", "deleted"]
    restore, discard = (f"/v1/parked/{one['device_no']}/{one['epoch']}/{one['n']}" for one in waiting)
    await field.manager.does(make(Asset(site="S1", name="boiler1"), "boiler1") | {"base": 2**50})
    assert [o["kind"] for o in (await field.manager.post(restore, apply=True))["outcomes"]] != ["parked"]
    await field.manager.post(discard, apply=False)
    await theo.sync()
    assert {item.id: item.fields.name for item in theo.replica.query(Asset)} == {"boiler0": "boiler0", "boiler1": "renamed"}
    assert await field.manager.get("/v1/parked") == []


async def test_32_rep_and_manager_move_the_same_opportunity(field: Field) -> None:
    """To the same stage is no conflict; won against lost keeps what stands, and a person decides."""
    rita = await field.rep("Rita")
    for name in ("same", "split"):
        await field.manager.does(make(Opportunity(account="A1", name=name, owner=rita.user), name))
    await rita.sync()
    for name, mine, theirs in (("same", Stage.WON, Stage.WON), ("split", Stage.WON, Stage.LOST)):
        with rita.edit() as tx:
            tx.set(Opportunity, name, stage=mine)
        await field.manager.sets(Opportunity, name, stage=theirs)
    await rita.sync()
    deals = await field.manager.all(Opportunity)
    assert (deals["same"].stage, deals["split"].stage) == (Stage.WON, Stage.LOST)
    met = {key: one for key, one in (await field.manager.conflicts()).items() if one.policy != UNFOUNDED}
    ((conflict_id, conflict),) = met.items()  # beside it, a rule may ask what the stage rests on
    assert (conflict.subject, conflict.kept, conflict.held, conflict.status) == ("split", "lost", "won", ConflictStatus.OPEN)
    assert rita.sees(Conflict, conflict_id)
    await field.manager.does(
        await field.manager.setting(Opportunity, "split", stage=Stage.NEGOTIATION),
        await field.manager.setting(Conflict, conflict_id, status=ConflictStatus.RESOLVED, resolution="Rita talks to them again"),
    )
    await rita.sync()
    split = rita.see(Opportunity, "split")
    assert split
    assert split.stage is Stage.NEGOTIATION
    decided = rita.see(Conflict, conflict_id)
    assert decided
    assert decided.status is ConflictStatus.RESOLVED


async def test_33_the_plan_arrives_after_a_dispatcher_moved_the_same_visit(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hand wins: the visit stays where it was put, the rest of the plan is written, and the next plan goes around it."""
    dawn = field.clock() + 30 * DAY_MS
    await field.technician("Theo", home=Position(36.16, -86.78))
    await field.dispatcher.does(make(Shift(technician="Theo", start=dawn, end=dawn + 9 * HOUR_MS), "shift"))
    for number in (1, 2):
        site = make(Site(account="A1", name=f"site {number}", position=Position(36.1 + number / 50, -86.7)), f"P{number}")
        await field.dispatcher.does(
            site,
            make(WorkOrder(account="A1", site=f"P{number}"), f"W{number}"),
            make(Appointment(work_order=f"W{number}"), f"V{number}"),
        )
    solved, moved = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def solve(*asked: Any, **how: Any) -> Any:
        plan = planning_solve(*asked, **how)
        loop.call_soon_threadsafe(solved.set)
        assert moved.wait(30)
        return plan

    planning_solve = planning.solve
    monkeypatch.setattr(planning, "solve", solve)
    run = PlanRequest(dawn, dawn + DAY_MS, seconds=0.2)
    context, tenant_id = field.company.context, field.company.tenant_id
    first = await start_plan(context, tenant_id, run)
    working = asyncio.create_task(run_plan(context, tenant_id, first, lambda: False))
    await solved.wait()
    hand = {"technician": "Theo", "planned_start": dawn + 5 * HOUR_MS, "pinned": True, "status": Visit.SCHEDULED}
    await field.dispatcher.sets(Appointment, "V1", **hand)
    moved.set()
    await working
    assert (await field.dispatcher.get(f"/v1/plans/{first}"))["best"]["adapted"] == ["V1"]
    visits = await field.dispatcher.all(Appointment)
    assert {name: getattr(visits["V1"], name) for name in hand} == hand
    assert visits["V2"].technician == "Theo"
    again = await start_plan(context, tenant_id, run)
    await run_plan(context, tenant_id, again, lambda: False)
    told = (await field.dispatcher.get(f"/v1/plans/{again}"))["best"]
    assert (told["planned"], told["checked"], told["adapted"]) == (2, True, [])
    visits = await field.dispatcher.all(Appointment)
    assert {name: getattr(visits["V1"], name) for name in hand} == hand


async def test_34_a_plan_is_published_while_three_devices_are_offline(field: Field) -> None:
    """The board names who has not seen which visit, and each drops off it once its device has come to that commit."""
    names = ("Theo", "Uma", "Vera")
    phones = {name: await field.technician(name) for name in names}
    for number, name in enumerate(names, 1):
        await field.job(f"W{number}", name)

    async def board() -> set[tuple[str, str]]:
        return {(row["id"], row["technician"]) for row in (await field.dispatcher.get("/v1/board"))["unseen"]}

    unseen = {(f"W{number}.visit", name) for number, name in enumerate(names, 1)}
    assert await board() == unseen
    phones["Vera"].line.lose_replies = 1
    for number, name in enumerate(names, 1):
        await phones[name].sync() if name != "Vera" else None
        unseen -= {(f"W{number}.visit", name)} if name != "Vera" else set()
        assert await board() == unseen
    with pytest.raises(Exception, match="reply is lost"):
        await phones["Vera"].sync()
    assert await board() == {("W3.visit", "Vera")}, "a reply that got lost has shown nothing"
    await phones["Vera"].sync()
    assert await board() == set()
    await field.dispatcher.sets(Appointment, "W1.visit", planned_start=field.clock() + HOUR_MS)
    assert await board() == {("W1.visit", "Theo")}


async def test_a_crew_finishes_and_whoever_was_taken_off_had_been_there(field: Field) -> None:
    """Two who were sent together both report: one visit. Whoever finished it offline and was taken off is one of the crew again."""
    phones = {"Theo": await field.technician("Theo"), "Uma": await field.technician("Uma")}
    for order in ("W1", "W2"):
        visit = await field.job(order, "Theo")
        await field.dispatcher.sets(WorkOrder, order, crew=2)
        await field.dispatcher.sets(Appointment, visit, mates=["Uma"])
    for phone in phones.values():
        await phone.sync()
        assert phone.ids(Appointment) == {"W1.visit", "W2.visit"}
    for name, phone in phones.items():
        finish(phone, name, "W1", field.clock())
    finish(phones["Uma"], "Uma", "W2", field.clock())
    await field.dispatcher.sets(Appointment, "W2.visit", mates=[])
    for phone in phones.values():
        await phone.sync()
        await field.rules_are_done()
    visits = await field.dispatcher.all(Appointment)
    assert {v.status for v in visits.values()} == {Visit.COMPLETED}
    assert {name: (v.technician, v.mates) for name, v in visits.items()} == {
        "W1.visit": ("Theo", ("Uma",)),
        "W2.visit": ("Theo", ("Uma",)),
    }, "one visit of each order, and nobody's was cancelled"
    assert {"Theo.W1.time", "Uma.W1.time", "Uma.W2.time"} == set(await field.dispatcher.all(TimeEntry))
    for phone in phones.values():
        await field.holds_exactly_what_it_may(phone)
