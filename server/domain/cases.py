"""Cases: what was promised for them and whether it is kept, who hears of it when it is not, and the work that solves them.

A case is promised an answer and a solution within seconds of business hours, counted from when it was opened, wherever that was.
While it waits for the customer the clock stands still. Everything here is worked out anew whenever the case changes, so a case that
was opened, and maybe answered, out of reach of any network has its promises, and no wrong breach, as soon as it arrives.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from server.author import create, update
from server.domain import contracts, rulebook
from server.domain.bodies import DefaultLevel, Escalations
from server.domain.business_hours import ALWAYS, Hours, NeverOpen, add_business_time, business_time_between
from server.domain.event import Clock, Event, Rules
from server.domain.look import Seen, hours_by_id, look
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.entities.flows import AppointmentStatus, CaseStatus, WorkOrderStatus
from sync.protocol import Change

RESPOND: Final = "respond"
RESOLVE: Final = "resolve"
OPEN: Final = (CaseStatus.NEW, CaseStatus.IN_PROGRESS, CaseStatus.WAITING)
_ENDED: Final = (CaseStatus.RESOLVED, CaseStatus.CLOSED)
_DONE: Final = (WorkOrderStatus.WORK_DONE, WorkOrderStatus.APPROVED, WorkOrderStatus.POSTED)
BATCH: Final = 100


class Terms(msgspec.Struct, frozen=True):
    """What a case is promised: ms of business hours in `hours`, null where nothing is."""

    contract: str | None
    hours: Hours
    respond_ms: int | None = None
    resolve_ms: int | None = None


async def keep_promises(event: Event) -> Iterable[Change]:
    """What follows from a case as it stands: its contract, its promises, how long it has waited, what was broken."""
    case = await look(event.tenant, "case", event.id)
    if case is None:
        return ()
    fields = worked_out(case, await terms_of(event.tenant, case, event.now_ms), event.now_ms)
    return (update("case", case.id, case.seq, **fields),) if fields else ()


async def terms_of(tenant: Tenant, case: Seen, now_ms: int) -> Terms:
    """The terms of the case's contract; without one, of a contract that covers its machine; else those that hold for everybody."""
    contract = await look(tenant, "contract", case.get("contract"))
    if contract is None:
        found = await contracts.covering(tenant, case.get("account"), case.get("asset"), "", opened_ms(case))
        contract = await look(tenant, "contract", found.id) if found else None
    level_id = contract.get("service_level") if contract else None
    if level_id is None:
        _, default = await rulebook.in_force(tenant, "service_level", DefaultLevel, now_ms)
        level_id = default.service_level
    level = await look(tenant, "service_level", level_id)
    contract_id = contract.id if contract else None
    if level is None:
        return Terms(contract_id, ALWAYS)
    promise = level.get("promises").get(str(case.get("priority")))
    hours = await hours_by_id(tenant, level.get("business_hours"))
    if promise is None:
        return Terms(contract_id, hours)
    return Terms(contract_id, hours, promise["respond_s"] * 1000, promise["resolve_s"] * 1000)


def opened_ms(case: Seen) -> int:
    """When the case was opened: as its author says, but not after it was written, by the corrected clock."""
    opened: int | None = case.get("opened_at")
    return case.created_ms if opened is None else min(opened, case.created_ms)


def worked_out(case: Seen, terms: Terms, now_ms: int) -> dict[str, Any]:
    """The fields of a case that are not yet what they should be. Pure."""
    status, at_ms = CaseStatus(case.get("status")), case.at_ms("status")
    since: int | None = case.get("waiting_since")
    waited_ms: int = case.get("waited_ms")
    if status is CaseStatus.WAITING:
        since = at_ms if since is None else since
    elif since is not None:
        waited_ms += business_time_between(terms.hours, since, at_ms)
        since = None
    responded, resolved = case.get("responded_at"), case.get("resolved_at")
    if responded is None and status not in (CaseStatus.NEW, CaseStatus.CANCELED):
        responded = at_ms
    said_since = case.version("resolved_at").seq >= case.version("status").seq
    if status in _ENDED and (resolved is None or (status is CaseStatus.RESOLVED and not said_since)):
        resolved = at_ms
    start_ms = opened_ms(case)
    respond_by = _deadline(terms.hours, start_ms, terms.respond_ms, 0)
    resolve_by = _deadline(terms.hours, start_ms, terms.resolve_ms, waited_ms)
    broken = list(case.get("breached"))
    if status is not CaseStatus.CANCELED:
        solved = resolved if status in _ENDED else since
        broken = [
            *_broken(case, RESPOND, responded, respond_by, now_ms),
            *_broken(case, RESOLVE, solved, resolve_by, now_ms),
        ]
    return case.differing(
        contract=case.get("contract") or terms.contract,
        waiting_since=since,
        waited_ms=waited_ms,
        responded_at=responded,
        resolved_at=resolved,
        respond_by=respond_by,
        resolve_by=resolve_by,
        breached=broken,
    )


def _deadline(hours: Hours, start_ms: int, promised_ms: int | None, waited_ms: int) -> int | None:
    try:
        return None if promised_ms is None else add_business_time(hours, start_ms, promised_ms + waited_ms)
    except NeverOpen:
        return None


def _broken(case: Seen, promise: str, kept_ms: int | None, by_ms: int | None, now_ms: int) -> tuple[str, ...]:
    """The promise, if it is broken. What was noted once stands until it turns out to have been kept, or is promised for later."""
    noted = promise in case.get("breached") and case.get(f"{promise}_by") == by_ms
    late = by_ms is not None and (noted or now_ms > by_ms if kept_ms is None else kept_ms > by_ms)
    return (promise,) if late else ()


async def note_breaches(tenant: Tenant, now_ms: int) -> list[list[Change]]:
    """Promises that time alone has broken are noted on their cases, once."""
    table = projections["case"].c
    unanswered = sa.and_(table.respond_by < now_ms, table.responded_at.is_(None), sa.literal(RESPOND) != sa.all_(table.breached))
    unsolved = sa.and_(
        table.resolve_by < now_ms, table.status != CaseStatus.WAITING, sa.literal(RESOLVE) != sa.all_(table.breached)
    )
    groups: list[list[Change]] = []
    for row in await tenant.rows("case", [table.status.in_(OPEN), sa.or_(unanswered, unsolved)], limit=BATCH):
        case = await look(tenant, "case", row.id)
        fields = worked_out(case, await terms_of(tenant, case, now_ms), now_ms) if case else {}
        if case and fields:
            groups.append([update("case", case.id, case.seq, **fields)])
    return groups


async def escalate(event: Event) -> Iterable[Change]:
    """A broken promise goes to whom the rule of the house names, once; the case's comments say by which rule and why."""
    case = await look(event.tenant, "case", event.id)
    if case is None or not case.get("breached") or CaseStatus(case.get("status")) not in OPEN:
        return ()
    version, escalations = await rulebook.in_force(event.tenant, "escalation", Escalations, event.now_ms)
    told = {comment["id"] for comment in case.get("comments")}
    for rule in escalations.rules:
        comment_id = f"escalated.{rule.name}"
        if rule.on not in case.get("breached") or comment_id in told:
            continue
        priority = min(case.get("priority"), rule.priority or case.get("priority"))
        by = datetime.fromtimestamp(case.get(f"{rule.on}_by") / 1000, UTC).isoformat(timespec="minutes")
        what = "The answer" if rule.on == RESPOND else "The solution"
        words = f"{what} was promised by {by}. Escalated by rule {rule.name}, version {version}."
        comment = {"id": comment_id, "at": event.now_ms, "by": "server", "words": words}
        fields = case.differing(owner=rule.owner or case.get("owner"), priority=priority)
        return (
            Change(
                "case",
                case.id,
                base=case.seq,
                set=msgspec.Raw(msgspec.json.encode(fields)),
                append=msgspec.Raw(msgspec.json.encode({"comments": [comment]})),
            ),
        )
    return ()


async def follow_order(event: Event) -> Iterable[Change]:
    """A case follows the work on it: begun with the order's first visit, resolved when the last of its orders is done.

    A case that a person took up again after that is left alone until another order, or this one anew, is done.
    """
    tenant = event.tenant
    case = await look(tenant, "case", event.fields.get("case"))
    order = await look(tenant, "work_order", event.id) if case else None
    if case is None or order is None or CaseStatus(case.get("status")) not in OPEN:
        return ()
    status = WorkOrderStatus(order.get("status"))
    if status is WorkOrderStatus.IN_PROGRESS and case.get("status") == CaseStatus.NEW:
        return (update("case", case.id, case.seq, status=CaseStatus.IN_PROGRESS),)
    fresh = order.version("status").seq > case.version("status").seq if status is WorkOrderStatus.WORK_DONE else True
    if status not in _DONE or not (fresh and (case.get("resolved_at") is None or status is WorkOrderStatus.WORK_DONE)):
        return ()
    table = projections["work_order"].c
    orders = await tenant.rows("work_order", [table.account == order.get("account"), table.case == case.id])
    if any(other.status not in (*_DONE, WorkOrderStatus.CANCELED) for other in orders):
        return ()
    done_ms = await _done_ms(tenant, order)
    return (update("case", case.id, case.seq, status=CaseStatus.RESOLVED, resolved_at=done_ms),)


async def _done_ms(tenant: Tenant, order: Seen) -> int:
    """When the work was done: at its last completed visit, which may have been told long after."""
    table = projections["appointment"].c
    visits = await tenant.rows("appointment", [table.work_order == order.id, table.status == AppointmentStatus.COMPLETED])
    seen = [await look(tenant, "appointment", visit.id) for visit in visits]
    return max((visit.at_ms("status") for visit in seen if visit), default=order.at_ms("status"))


class NewOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the order of a case is to be, beyond what the case says."""

    type: str = "repair"
    skill: str = ""
    duration_s: int = 3600


class Unplaced(ValueError):
    """Nobody knows where the work is to be done."""


async def order_for(tenant: Tenant, case: Seen, asked: NewOrder, now_ms: int) -> tuple[str, tuple[Change, ...]]:
    """The id of the case's work order, and what is missing for it to be there. Raises `Unplaced` for a case without a site."""
    held = await look(tenant, "work_order", case.get("work_order"))
    if held is not None:
        return held.id, ()
    order_id = f"{case.id}.order"
    changes: list[Change] = []
    if await tenant.raw_record("work_order", order_id) is None:
        asset = await look(tenant, "asset", case.get("asset"))
        site = case.get("site") or (asset.get("site") if asset else None)
        if site is None:
            raise Unplaced("the case names neither a site nor a machine that stands at one")
        fields: Mapping[str, Any] = {
            "account": case.get("account"),
            "site": site,
            "asset": case.get("asset"),
            "case": case.id,
            "contract": case.get("contract"),
            "subject": case.get("subject"),
            "priority": case.get("priority"),
            "symptom": case.get("symptom"),
            "due": case.get("resolve_by"),
            "opened_at": now_ms,
            "type": asked.type,
            "skill": asked.skill,
        }
        visit = {"work_order": order_id, "due": case.get("resolve_by"), "duration_s": asked.duration_s}
        changes += [create("work_order", order_id, **fields), create("appointment", f"{order_id}.visit", **visit)]
    status = CaseStatus.IN_PROGRESS if case.get("status") == CaseStatus.NEW else case.get("status")
    changes.append(update("case", case.id, case.seq, work_order=order_id, **case.differing(status=status)))
    return order_id, tuple(changes)


RULES: Final[Rules] = {"case": (keep_promises, escalate), "work_order": (follow_order,)}
CLOCKS: Final[tuple[Clock, ...]] = (note_breaches,)
