"""Work that comes back: a plan opens its orders ahead, by the calendar or by a meter.

A plan's `opened_to` is the next occurrence that is not open yet, so what is due is found by one question and a plan at rest is not
written. An occurrence is one order: its id follows from the plan and the local date, or from the plan and the meter's mark.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from server.author import create, update
from server.domain.business_hours import Misread, zone_of
from server.domain.event import Clock, Event, Rules
from server.domain.look import Seen, look
from server.domain.recurrence import Unsound, occurrences, recurrence_of
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.protocol import Change

DAY_MS: Final = 86_400_000
MAX_HORIZON_DAYS: Final = 366
NEVER: Final = 2**52
"""`opened_to` of a plan whose recurrence has come to its end, or cannot be read."""
SLACK_MS: Final = 7 * DAY_MS
"""A visit may be this long after its occurrence, though not after the next one."""
BATCH: Final = 20
MOST_AT_ONCE: Final = 400
"""More occurrences than a year has days are no plan but a mistake."""
_BASIS: Final = ("start", "recurrence", "active", "horizon_days")


async def open_orders(tenant: Tenant, now_ms: int) -> list[list[Change]]:
    """Open the orders of all plans whose next occurrence lies within their horizon, each plan by itself."""
    table = projections["maintenance_plan"].c
    horizon_ms = now_ms + table.horizon_days * DAY_MS
    due = [table.active, table.recurrence != "", (table.opened_to.is_(None)) | (table.opened_to <= horizon_ms)]
    groups: list[list[Change]] = []
    for row in await tenant.rows("maintenance_plan", due, limit=BATCH):
        plan = await look(tenant, "maintenance_plan", row.id)
        if plan is not None:
            groups.append([change async for change in _by_calendar(tenant, plan, now_ms)])
    return groups


async def _by_calendar(tenant: Tenant, plan: Seen, now_ms: int) -> AsyncIterator[Change]:
    zone = await zone_of_plan(tenant, plan)
    from_ms = now_ms if plan.get("opened_to") is None else plan.get("opened_to")
    to_ms = now_ms + plan.get("horizon_days") * DAY_MS + 1
    start_ms = plan.created_ms if plan.get("start") is None else plan.get("start")
    try:
        recurrence = recurrence_of(plan.get("recurrence"), start_ms, zone)
        # In a thread of its own, since a rule that never comes true is searched for seconds.
        found, following = await asyncio.to_thread(occurrences, recurrence, from_ms, to_ms)
    except Unsound:
        found, following = [], None
    times = [*(round(at.timestamp() * 1000) for at in found[:MOST_AT_ONCE]), following or NEVER]
    for at, (at_ms, end_ms) in zip(found, pairwise(times), strict=False):
        order_id = f"{plan.id}.{at:%Y%m%d}"
        if await tenant.raw_record("work_order", order_id) is None:
            for change in _order(plan, order_id, at_ms, min(at_ms + SLACK_MS, end_ms), now_ms):
                yield change
    yield update("maintenance_plan", plan.id, plan.seq, opened_to=NEVER if following is None else following)


async def zone_of_plan(tenant: Tenant, plan: Seen) -> ZoneInfo:
    """The zone of the business hours that the plan's contract promises by; UTC without one."""
    contract = await look(tenant, "contract", plan.get("contract"))
    level = await look(tenant, "service_level", contract.get("service_level")) if contract else None
    hours = await look(tenant, "business_hours", level.get("business_hours")) if level else None
    try:
        return zone_of(hours.get("zone") if hours else "UTC")
    except Misread:
        return zone_of("UTC")


def _order(plan: Seen, order_id: str, earliest_ms: int, due_ms: int, now_ms: int) -> Iterable[Change]:
    """A work order with its steps and one visit that waits to be planned."""
    same = ("account", "site", "asset", "type", "subject", "skill")
    fields = {name: plan.get(name) for name in same}
    yield create("work_order", order_id, **fields, plan=plan.id, due=due_ms, opened_at=now_ms)
    for at, title in enumerate(plan.get("tasks"), 1):
        yield create("work_order_task", f"{order_id}.task-{at}", work_order=order_id, title=title, position=at, required=True)
    visit = {"work_order": order_id, "earliest": earliest_ms, "due": due_ms, "duration_s": plan.get("duration_s")}
    yield create("appointment", f"{order_id}.visit", **visit)


async def start_anew(event: Event) -> Iterable[Change]:
    """A plan whose recurrence was changed, or that was taken up again, counts from now; what is open stays open."""
    plan = await look(event.tenant, "maintenance_plan", event.id)
    if plan is None or plan.get("opened_to") is None:
        return ()
    if all(plan.version(field).seq <= plan.version("opened_to").seq for field in _BASIS):
        return ()
    return (update("maintenance_plan", plan.id, plan.seq, opened_to=None),)


async def open_by_meter(event: Event) -> Iterable[Change]:
    """An order for each plan of this machine whose meter has run `meter_every` units since the last one.

    A plan begins at the meter's last reading before it was made, or else at the first one after. However far a meter has leapt, one
    order comes of it.
    """
    tenant = event.tenant
    if event.entity == "maintenance_plan":
        table = projections["maintenance_plan"].c
        plans, asset = [event.id], await look(tenant, "asset", event.fields.get("asset"))
    else:
        table = projections["maintenance_plan"].c
        rows = await tenant.rows("maintenance_plan", [table.asset == event.id, table.active, table.meter_every.is_not(None)])
        plans, asset = [row.id for row in rows], await look(tenant, "asset", event.id) if rows else None
    changes: list[Change] = []
    for plan_id in plans if asset else ():
        plan = await look(tenant, "maintenance_plan", plan_id)
        if plan and asset and plan.get("active") and plan.get("meter_every"):
            changes += await _by_meter(tenant, plan, asset, event.now_ms)
    return changes


async def _by_meter(tenant: Tenant, plan: Seen, asset: Seen, now_ms: int) -> list[Change]:
    readings = [reading for reading in asset.get("readings") if reading.get("unit", "") == plan.get("meter_unit")]
    if not readings:
        return []
    opened, every = plan.get("opened_meter"), plan.get("meter_every")
    if opened is None:
        earlier = [reading for reading in readings if reading["at"] <= plan.created_ms]
        opened = (earlier or readings[:1])[-1]["value"]
    steps = int((max(reading["value"] for reading in readings) - opened) // every)
    if steps < 1 and plan.get("opened_meter") is None:
        return [update("maintenance_plan", plan.id, plan.seq, opened_meter=opened)]
    if steps < 1:
        return []
    mark = opened + steps * every
    order_id = f"{plan.id}.at-{mark:.3f}"
    changes = [update("maintenance_plan", plan.id, plan.seq, opened_meter=mark)]
    if await tenant.raw_record("work_order", order_id) is None:
        changes += _order(plan, order_id, now_ms, now_ms + SLACK_MS, now_ms)
    return changes


RULES: Final[Rules] = {"maintenance_plan": (start_anew, open_by_meter), "asset": (open_by_meter,)}
CLOCKS: Final[tuple[Clock, ...]] = (open_orders,)
