"""Selling, as the day goes on: leads routed and merged, deals closed on devices without signal, credit given and taken back.

The rules that do it run in the server, after the commit; the story waits for them, with patience that ends.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from demo.day import PATIENCE_S, POLL_S, Day, together
from demo.journal import Op
from demo.line import Fault
from demo.office import Record
from demo.orders import Close, Convert, Do
from sync.entities import Opportunity, SalesOrder
from sync.entities.flows import OrderStatus, Stage
from sync.entities.market import IncentiveKind
from sync.ids import RANDOM_BYTES, ulid

TWIN: Final = ("need", "account", "site", "asset", "product")
"""What two people who heard of one need say alike."""


async def leads(day: Day) -> None:
    """The day's leads find their reps, who pick them up."""
    await _routed(day)
    await _heard_twice(day)
    for handset in day.reps:
        handset.line.up(failing=0.2)
    await together(day.sync(handset) for handset in day.reps)


async def _routed(day: Day) -> None:
    """Wait until each lead has an owner; the rule runs in the server, after the commit."""
    names = {handset.user: handset.name for handset in day.reps}
    leads = await day.dispatcher.records("lead")
    until_s = day.story.wall_s + PATIENCE_S
    while not all(lead.seen("owner") for lead in leads) and day.story.wall_s < until_s:
        await asyncio.sleep(POLL_S)
        leads = await day.dispatcher.records("lead")
    for lead in leads:
        day.story.line(
            "the rules", f"route “{lead.seen('need')}” to {names.get(lead.seen('owner'), 'nobody')} ({lead.seen('territory')})"
        )


async def _heard_twice(day: Day) -> None:
    """A customer told one technician what they need, and tells another one on the phone: the rules make one lead of it."""
    true = [h for h in day.technicians if not h.skew_ms]
    told = [(lead, h) for lead in await day.dispatcher.records("lead") for h in true if lead.seen("captured_by") == [h.user]]
    if not told:
        return
    lead, first = told[0]
    second = next(handset for handset in true if handset is not first)
    same = {name: lead.seen(name) for name in TWIN if lead.seen(name)}
    fields = same | {"captured_by": [second.user], "captured_at": lead.seen("captured_at"), "source": "phone"}
    twin = ulid(time.time_ns() // 1_000_000, day.random.randbytes(RANDOM_BYTES))
    await second.ask(Do("hear of it too", (Op("create", "lead", twin, fields),)))
    await day.sync(second, quiet=True)
    merged = await _until(day, "lead", lambda found: any(one.id == twin and one.seen("duplicate_of") for one in found))
    words = "is the same as what {} captured: one lead, both are credited" if merged else "is not taken for what {} captured"
    day.story.line(second.name, f"hears of “{lead.seen('need')}” on the phone; it {words.format(first.name)}")


async def _until(day: Day, entity: str, holds: Callable[[list[Record]], bool]) -> bool:
    """Wait for the rules, which run in the server after the commit; whether they came to it in time."""
    until_s = day.story.wall_s + PATIENCE_S
    while True:
        found = holds(await day.manager.records(entity))
        if found or day.story.wall_s > until_s:
            return found
        await asyncio.sleep(POLL_S)


async def deals(day: Day) -> None:
    """The reps convert without signal, sync, have quotes signed without signal, while the manager closes one deal otherwise;
    and one who had signed thinks better of it."""
    for handset in day.reps:
        handset.line.down()
    await together(handset.ask(Convert()) for handset in day.reps)
    for handset in day.reps:
        handset.line.up(failing=0.2)
    await together(day.sync(handset) for handset in day.reps)
    for handset in day.reps:
        handset.line.down()
    busiest = await _contested(day)
    await together(handset.ask(Close()) for handset in day.reps)
    if busiest is not None:
        await day.manager.set(
            Opportunity, busiest.id, "close as lost", stage=Stage.LOST, lost_reason="customer wrote to the office"
        )
        day.story.line(day.manager.person.name, f"closes “{busiest.seen('name')}” as lost, at the same time")
    for handset in day.reps:
        handset.line.up()
        handset.line.next = [Fault.REPLY_LOST]
    await together(day.sync(handset) for handset in day.reps)
    await _regret(day)


async def _regret(day: Day) -> None:
    """An order is cancelled after its credit was confirmed: the deal is open again, and the credit is taken back."""

    def owed(lines: list[Record]) -> list[str]:
        return sorted({line.seen("opportunity") for line in lines if line.seen("kind") == IncentiveKind.CONFIRM})

    await _until(day, "incentive", lambda lines: len(owed(lines)) > 1)
    confirmed = owed(await day.manager.records("incentive"))
    orders = [o for o in await day.manager.records("sales_order") if o.seen("opportunity") in confirmed[-1:]]
    for order in orders:
        await day.manager.set(SalesOrder, order.id, "the customer cancels", status=OrderStatus.CANCELED)
        day.story.line(
            day.manager.person.name, f"cancels the order of {order.seen('total_cents') / 100:.2f} $: the customer regrets it"
        )
    taken = await _until(
        day,
        "incentive",
        lambda lines: (
            not orders
            or any(line.seen("kind") == IncentiveKind.CLAW_BACK and line.seen("opportunity") == confirmed[-1] for line in lines)
        ),
    )
    if orders and taken:
        day.story.line("the rules", "open the deal again and claw its credit back")


async def _contested(day: Day) -> Record | None:
    """An opportunity of the rep who has most: the one they will win is not the only one."""
    found = await day.manager.records("opportunity")
    owners = [record.seen("owner") for record in found]
    mine = [record for record in found if owners.count(record.seen("owner")) > 1]
    return mine[-1] if mine else None
