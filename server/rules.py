"""What the server does of its own accord when something changes. Each rule looks at the state as it is and says what is missing, so
running it twice changes nothing; the list of what to look at is written in the same commit as the change itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import asyncpg
import msgspec
import sqlalchemy as sa
import sqlalchemy.exc

from server.author import Broken, create, update, write
from server.commit import FORMER_HOLDER, device_name
from server.context import Context
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.codec import decode_versions
from sync.entities import Appointment
from sync.entities.flows import AppointmentStatus, LeadStatus, Stage, WorkOrderStatus
from sync.entities.stock import CountStatus
from sync.merge import SECOND_REPORT
from sync.protocol import Change, OutcomeKind

BATCH: Final = 200
ATTEMPTS: Final = 5
SWEEP_S: Final = 20.0
"""How often every tenant is looked at, for what another process left behind when it died."""

_DATABASE_AWAY: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlalchemy.exc.SQLAlchemyError)
_log: Final = logging.getLogger(__name__)
Rule = Callable[[Tenant, str, int, dict[str, Any]], Awaitable[Iterable[Change]]]


async def route_lead(tenant: Tenant, lead_id: str, seq: int, lead: dict[str, Any]) -> Iterable[Change]:
    """A captured lead goes to the rep of its territory who has the fewest in hand."""
    if lead.get("owner") or lead.get("status", LeadStatus.CAPTURED) != LeadStatus.CAPTURED:
        return ()
    territory = await _territory(tenant, lead)
    owners = await tenant.representatives(territory) or await tenant.representatives("")
    if not owners:
        return ()
    return (update("lead", lead_id, seq, owner=owners[0], territory=territory),)


async def _territory(tenant: Tenant, lead: dict[str, Any]) -> str:
    for entity in ("site", "account"):
        if lead.get(entity):
            held = await tenant.record(entity, lead[entity])
            found: str = msgspec.json.decode(held.fields).get("territory", "") if held else ""
            if found:
                return found
    return ""


async def tell_outcome(tenant: Tenant, opportunity_id: str, _seq: int, opportunity: dict[str, Any]) -> Iterable[Change]:
    """What became of an opportunity is what became of its lead, and so reaches whoever captured it."""
    stage = opportunity.get("stage", Stage.PROSPECT)
    if not opportunity.get("lead") or stage not in (Stage.WON, Stage.LOST):
        return ()
    held = await tenant.record("lead", opportunity["lead"])
    if held is None:
        return ()
    lead = msgspec.json.decode(held.fields)
    status = LeadStatus.WON if stage == Stage.WON else LeadStatus.LOST
    if lead.get("status", LeadStatus.CAPTURED) not in (LeadStatus.CONVERTED, LeadStatus.WON, LeadStatus.LOST):
        return ()
    if lead["status"] == status:
        return ()
    return (update("lead", held.id, held.seq, status=status, opportunity=opportunity_id),)


async def merge_duplicates(tenant: Tenant, lead_id: str, seq: int, lead: dict[str, Any]) -> Iterable[Change]:
    """A second lead for the same need at the same place joins the first: one master, everybody who captured it credited.

    Undone by setting it back to captured: the credit goes back too. It still names its master then, and is not merged again.
    """
    if lead.get("status", LeadStatus.CAPTURED) != LeadStatus.CAPTURED or not lead.get("site"):
        return ()
    if lead.get("duplicate_of"):
        return await _take_credit_back(tenant, lead_id, seq, lead)
    table = projections["lead"].c
    same = [
        table.site == lead["site"],
        table.id < lead_id,
        table.product == lead["product"] if lead.get("product") else sa.func.lower(table.need) == lead["need"].lower(),
        table.status.in_([LeadStatus.CAPTURED, LeadStatus.QUALIFIED, LeadStatus.CONVERTED]),
    ]
    masters = await tenant.rows("lead", same, limit=1)
    master = await tenant.record("lead", masters[0].id) if masters else None
    if master is None:
        return ()
    credited = sorted({*lead.get("captured_by", [])} - {*msgspec.json.decode(master.fields).get("captured_by", [])})
    return (
        update("lead", lead_id, seq, status=LeadStatus.DUPLICATE, duplicate_of=master.id, credited=credited),
        Change("lead", master.id, base=master.seq, add=msgspec.Raw(msgspec.json.encode({"captured_by": credited}))),
    )


async def _take_credit_back(tenant: Tenant, lead_id: str, seq: int, lead: dict[str, Any]) -> Iterable[Change]:
    master = await tenant.record("lead", lead["duplicate_of"]) if lead.get("credited") else None
    if master is None:
        return ()
    gone = msgspec.Raw(msgspec.json.encode({"captured_by": lead["credited"]}))
    return (Change("lead", master.id, base=master.seq, remove=gone), update("lead", lead_id, seq, credited=[]))


async def call_for_count(tenant: Tenant, move_id: str, _seq: int, move: dict[str, Any]) -> Iterable[Change]:
    """Moves are facts, so the balance of a place may fall below zero; then somebody has to count."""
    moves, counts = projections["stock_move"].c, projections["stock_count"].c
    here = [moves.location == move["location"], moves.product == move["product"]]
    balance = sum(row.quantity for row in await tenant.rows("stock_move", here))
    asked = [counts.location == move["location"], counts.product == move["product"], counts.status == CountStatus.OPEN]
    if balance >= 0 or await tenant.rows("stock_count", asked, limit=1):
        return ()
    return (create("stock_count", f"{move_id}.count", location=move["location"], product=move["product"], expected=balance),)


async def keep_extra_visit(tenant: Tenant, _conflict_id: str, _seq: int, conflict: dict[str, Any]) -> Iterable[Change]:
    """Two technicians completed one visit: the first report is the visit, the second a visit of its own beside it."""
    if conflict.get("policy") != SECOND_REPORT or conflict["subject_entity"] != "appointment":
        return ()
    held = await tenant.record("appointment", conflict["subject"])
    technician = await _technician_of(tenant, conflict["held"]["user"])
    if held is None or technician is None:
        return ()
    visit = msgspec.json.decode(held.fields)
    extra_id = f"{held.id}.extra.{technician}"
    if visit.get("technician") == technician or await tenant.raw_record("appointment", extra_id) is not None:
        return ()
    if await tenant.record("work_order", visit["work_order"]) is None:
        return ()
    fields = _like(visit) | {"technician": technician, "reason": "additional visit"}
    return (
        create("appointment", extra_id, **fields, status=AppointmentStatus.SCHEDULED),
        update("appointment", extra_id, 0, status=AppointmentStatus.COMPLETED),
    )


async def give_back_visit(tenant: Tenant, _conflict_id: str, _seq: int, conflict: dict[str, Any]) -> Iterable[Change]:
    """Reassigned, but the first technician had finished already: the visit is theirs, and the second one's is cancelled."""
    if conflict.get("policy") != FORMER_HOLDER:
        return ()
    done = [
        c["id"] for c in conflict["held"]["changes"] if c.get("set", {}).get("status") in _FINISHED and c["entity"] == "appointment"
    ]
    row = await tenant.raw_record("appointment", done[0]) if done else None
    technician = await _technician_of(tenant, conflict["held"]["user"])
    if row is None or row.deleted or technician is None:
        return ()
    visit = msgspec.json.decode(row.body)
    status = decode_versions(row.ver, row.seq)[0].get(Appointment.spec.fields["status"].index)
    theirs = status is not None and conflict["held_by"] == device_name(status.device)
    if not theirs or visit.get("status") not in _FINISHED or visit.get("technician") in (None, technician):
        return ()
    second = f"{row.id}.second.{visit['technician']}"
    fields = _like(visit) | {"technician": visit["technician"], "reason": f"done by {technician}"}
    return (
        update("appointment", row.id, row.seq, technician=technician),
        create("appointment", second, **fields, status=AppointmentStatus.SCHEDULED),
        update("appointment", second, 0, status=AppointmentStatus.CANCELED),
    )


async def _technician_of(tenant: Tenant, user_id: str) -> str | None:
    people = await tenant.rows("technician", [projections["technician"].c.user == user_id], limit=1)
    return people[0].id if people else None


def _like(visit: Mapping[str, Any]) -> dict[str, Any]:
    """What a visit beside this one has in common with it."""
    return {name: visit[name] for name in ("work_order", "planned_start", "planned_end", "duration_s") if name in visit}


_FINISHED: Final = frozenset({AppointmentStatus.COMPLETED, AppointmentStatus.CANNOT_COMPLETE})
_DONE: Final = frozenset({AppointmentStatus.COMPLETED, AppointmentStatus.CANCELED})
_UNDERWAY: Final = frozenset({AppointmentStatus.TRAVELING, AppointmentStatus.ON_SITE, AppointmentStatus.IN_PROGRESS})


async def follow_visits(tenant: Tenant, _appointment_id: str, _seq: int, appointment: dict[str, Any]) -> Iterable[Change]:
    """A work order's status follows from its appointments; a visit that could not be completed calls for another one."""
    held = await tenant.record("work_order", appointment["work_order"])
    if held is None:
        return ()
    order = msgspec.json.decode(held.fields)
    table = projections["appointment"].c
    visits = await tenant.rows("appointment", [table.work_order == held.id])
    statuses = {AppointmentStatus(visit.status) for visit in visits}
    now = WorkOrderStatus(order.get("status", WorkOrderStatus.NEW))
    found: list[Change] = []
    target = _order_status(now, statuses)
    if target is not None:
        found.append(update("work_order", held.id, held.seq, status=target))
    failed = [v for v in visits if v.status == AppointmentStatus.CANNOT_COMPLETE]
    for visit in failed:
        # The id follows from the failed visit, so that looking again does not call for a third one.
        next_id = f"{visit.id}.next"
        if await tenant.raw_record("appointment", next_id) is None:
            found.append(create("appointment", next_id, work_order=held.id, duration_s=visit.duration_s))
    return found


_FACTS_OVERTAKE: Final = (WorkOrderStatus.IN_PROGRESS, WorkOrderStatus.CANCELED)


def _order_status(now: WorkOrderStatus, visits: set[AppointmentStatus]) -> WorkOrderStatus | None:
    planned = (WorkOrderStatus.NEW, WorkOrderStatus.OPEN)
    active = (*planned, WorkOrderStatus.SCHEDULED)
    if AppointmentStatus.COMPLETED in visits and visits <= _DONE and now in (*active, *_FACTS_OVERTAKE):
        return WorkOrderStatus.WORK_DONE
    if visits & _UNDERWAY and now in active:
        return WorkOrderStatus.IN_PROGRESS
    if visits & {AppointmentStatus.SCHEDULED, AppointmentStatus.DISPATCHED, AppointmentStatus.ACCEPTED} and now in planned:
        return WorkOrderStatus.SCHEDULED
    return None


RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "lead": (merge_duplicates, route_lead),
    "opportunity": (tell_outcome,),
    "appointment": (follow_visits,),
    "stock_move": (call_for_count,),
    "conflict": (keep_extra_visit, give_back_visit),
}


DAY_MS: Final = 86_400_000
KEEP_PAST_MS: Final = 14 * DAY_MS
KEEP_AHEAD_MS: Final = 21 * DAY_MS
KEEP_TOMBSTONES_MS: Final = 90 * DAY_MS


async def slide_window(context: Context, tenant_id: int, now_ms: int) -> int:
    """Let devices drop visits long past or far ahead, and hold those that come into the window; returns how many changed."""
    table = projections["appointment"].c
    outside = sa.or_(table.planned_start < now_ms - KEEP_PAST_MS, table.planned_start > now_ms + KEEP_AHEAD_MS)
    wrong = sa.or_(sa.and_(table.held, outside), sa.and_(sa.not_(table.held), sa.not_(outside)))
    async with context.office.of(tenant_id) as tenant:
        rows = await tenant.rows("appointment", [table.planned_start.is_not(None), wrong], limit=BATCH)
        versions = await tenant.versions("appointment", [row.id for row in rows])
    if rows:
        await write(
            context, tenant_id, "window of days", [[update("appointment", r.id, versions[r.id], held=not r.held)] for r in rows]
        )
    return len(rows)


class Rules:
    """Runs the rules of a process's tenants, woken by the door."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._due: set[int] = set()
        self._wake = asyncio.Event()
        self._forgot_ms = 0

    def note(self, tenant_id: int) -> None:
        self._due.add(tenant_id)
        self._wake.set()

    async def run(self) -> None:
        """For ever: the tenants that were noted, and now and then all of them."""
        while True:
            try:
                tenants = (await self._context.office.tenants()).values()
                self._due.update(tenants)
                await self._keep_house(tenants)
            except _DATABASE_AWAY:
                _log.exception("the rules wait for the next sweep")
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    while True:
                        await self._drain()
                        await self._wake.wait()

    async def _keep_house(self, tenants: Iterable[int]) -> None:
        """What time alone brings: the window of days moves, and once a day what nobody needs any more is forgotten."""
        now_ms = self._context.now_ms()
        forget = now_ms - self._forgot_ms >= DAY_MS
        for tenant_id in tenants:
            await slide_window(self._context, tenant_id, now_ms)
            if forget:
                async with self._context.office.of(tenant_id) as tenant:
                    await tenant.prune(now_ms - KEEP_TOMBSTONES_MS)
        if forget:
            self._forgot_ms = now_ms

    async def _drain(self) -> None:
        self._wake.clear()
        while self._due:
            tenant_id = self._due.pop()
            try:
                while await self.step(tenant_id):
                    pass
            except _DATABASE_AWAY:
                _log.exception("rules of tenant %d wait for the next sweep", tenant_id)

    async def step(self, tenant_id: int) -> int:
        """Take a batch of changed records and do what the rules say; returns how many records were looked at."""
        async with self._context.office.of(tenant_id) as tenant:
            events = await tenant.take_events(BATCH)
            for entity, record_id in events:
                for rule in RULES[entity]:
                    await self._apply(tenant, rule, entity, record_id)
        return len(events)

    async def _apply(self, tenant: Tenant, rule: Rule, entity: str, record_id: str) -> None:
        for _ in range(ATTEMPTS):
            held = await tenant.record(entity, record_id)
            if held is None:
                return
            changes = tuple(await rule(tenant, record_id, held.seq, msgspec.json.decode(held.fields)))
            if not changes:
                return
            try:
                committed = await write(self._context, tenant.tenant_id, rule.__name__, [changes])
            except Broken:  # a fault in the rule must not hold up the others
                _log.exception("%s on %s %s", rule.__name__, entity, record_id)
                return
            if committed.outcomes[0].kind is not OutcomeKind.PARKED:
                return  # otherwise a record moved between the look and the write: look again
