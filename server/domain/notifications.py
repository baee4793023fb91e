"""What customers and other systems are told of: found where it happened, put into the outbox in the same transaction, sent later.

What happened is told once for each channel and recipient: the message's key says what, about which record, and which time of
several. So a rule that looks twice adds nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from string import Template
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from server.domain.consent import SERVICE, decide
from server.domain.event import Event, Rules
from server.domain.rulebook import in_force
from server.storage import outbox
from server.storage.office import Tenant
from server.storage.outbox import Message
from server.storage.tables import projections
from sync.clock import wall_ms
from sync.codec import decode_versions
from sync.entities.flows import AppointmentStatus, CaseStatus, LeadStatus, QuoteStatus, Stage
from sync.merge import EXISTENCE
from sync.protocol import Change
from sync.schema import REGISTRY

DAY_MS: Final = 86_400_000
LATE_MS: Final = DAY_MS
"""What is learned of later than this is history: customers are not written to about it."""
FAR_MS: Final = 253_370_764_800_000
"""The year 9999: an instant may lie beyond what a calendar can say."""
EMAIL: Final = "email"
MAX_CONTACTS: Final = 5


class Wording(msgspec.Struct, frozen=True):
    """The subject and the text of a mail, with places such as `$technician`; see docs/customer.md."""

    subject: str
    text: str


class House(msgspec.Struct, frozen=True):
    """The body of a business rule of kind "notification": who writes, in which time zone, in which words, and what is left out.

    `roles` names the roles of contacts who are told; empty: all of them.
    """

    sender: str = ""
    sender_name: str = ""
    zone: str = "UTC"
    wordings: dict[str, Wording] = {}
    off: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


BOOKED, ON_THE_WAY, COMPLETED, CANCELED = (
    "appointment.booked",
    "appointment.on_the_way",
    "appointment.completed",
    "appointment.canceled",
)
RENEWAL: Final = "contract.renewal"
WORDINGS: Final = {
    BOOKED: Wording(
        "Your appointment on $date", "Dear $contact,\n\nwe will come to $site on $date, $window, for: $work.\n\n$house"
    ),
    ON_THE_WAY: Wording(
        "We are on our way, arriving at about $eta",
        "Dear $contact,\n\n$technician is on the way to $site and will arrive at about $eta, for: $work.\n\n$house",
    ),
    COMPLETED: Wording("The work at $site is done", "Dear $contact,\n\n$technician has finished: $work.\n$remedy\n\n$house"),
    CANCELED: Wording(
        "Your appointment on $date is cancelled", "Dear $contact,\n\nour visit to $site on $date is cancelled.\n\n$house"
    ),
    RENEWAL: Wording(
        "Your contract $contract ends on $end",
        "Dear $contact,\n\nyour contract $contract ends on $end. Shall we renew it?\n\n$house",
    ),
}

_BOOKED: Final = frozenset({AppointmentStatus.DISPATCHED, AppointmentStatus.ACCEPTED})
_STATES: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "appointment": (
        "status",
        {
            AppointmentStatus.TRAVELING: ON_THE_WAY,
            AppointmentStatus.COMPLETED: COMPLETED,
            AppointmentStatus.CANNOT_COMPLETE: "appointment.cannot_complete",
            AppointmentStatus.CANCELED: CANCELED,
        },
    ),
    "case": ("status", {CaseStatus.NEW: "case.opened", CaseStatus.RESOLVED: "case.resolved"}),
    "lead": (
        "status",
        {
            LeadStatus.CAPTURED: "lead.captured",
            LeadStatus.QUALIFIED: "lead.qualified",
            LeadStatus.WON: "lead.won",
            LeadStatus.LOST: "lead.lost",
        },
    ),
    "opportunity": ("stage", {Stage.WON: "opportunity.won", Stage.LOST: "opportunity.lost"}),
    "quote": (
        "status",
        {QuoteStatus.SENT: "quote.sent", QuoteStatus.SIGNED: "quote.signed", QuoteStatus.DECLINED: "quote.declined"},
    ),
}
TEST: Final = "webhook.test"
KINDS: Final = tuple(sorted({BOOKED, RENEWAL, TEST} | {kind for _, kinds in _STATES.values() for kind in kinds.values()}))
"""Everything that can be told."""


class Happening(msgspec.Struct, frozen=True):
    """`event` is the same however often one looks; `at_ms` is when the record came to it, as the server knows it."""

    kind: str
    event: str
    at_ms: int


def happenings(entity: str, record_id: str, fields: Mapping[str, Any], came: Mapping[str, int], now_ms: int) -> list[Happening]:
    """What a record as it stands says has happened. `came` has by field when its value was written, by "" when the record was."""
    found = []
    if entity in _STATES:
        field, kinds = _STATES[entity]
        kind = kinds.get(fields.get(field, REGISTRY[entity].fields[field].default))
        if kind:
            found.append(Happening(kind, f"{kind}:{record_id}", came.get(field, came[""])))
    if entity == "appointment" and _is_booked(fields) and (fields.get("planned_start") or 0) > now_ms:
        told = fields.get("promised_from") or fields["planned_start"] // DAY_MS * DAY_MS
        found.append(Happening(BOOKED, f"{BOOKED}:{record_id}:{told}", max(came.get("status", 0), came.get("planned_start", 0))))
    if entity == "contract" and fields.get("renewal_stage_days") is not None:
        days = fields["renewal_stage_days"]
        found.append(Happening(RENEWAL, f"{RENEWAL}:{record_id}:{days}", came.get("renewal_stage_days", came[""])))
    return found


def _is_booked(visit: Mapping[str, Any]) -> bool:
    """Whether the customer may rely on it: it was promised, or it has been sent to the technician."""
    status = visit.get("status", AppointmentStatus.UNSCHEDULED)
    return status in _BOOKED or (status == AppointmentStatus.SCHEDULED and visit.get("promised_from") is not None)


def eta_ms(visit: Mapping[str, Any]) -> int | None:
    """When a technician who is on the way arrives: departure and travel if both are known, else as planned. UTC, ms."""
    left = max((one["at"] for one in visit.get("actual", ()) if one["status"] == AppointmentStatus.TRAVELING), default=None)
    if left is not None and visit.get("travel_s"):
        return int(left + visit["travel_s"] * 1000)
    planned: int | None = visit.get("planned_start")
    return planned


async def notify(event: Event) -> Iterable[Change]:
    """Put what has happened to a record into the outbox, for those who want to know and may be told."""
    row = await event.tenant.raw_record(event.entity, event.id)
    if row is None:
        return ()
    versions, _ = decode_versions(row.ver, row.seq)
    spec = REGISTRY[event.entity]
    came = {name: wall_ms(versions[field.index].stamp) for name, field in spec.fields.items() if field.index in versions}
    came[""] = wall_ms(versions[EXISTENCE].stamp)
    found = happenings(event.entity, event.id, event.fields, came, event.now_ms)
    if not found:
        return ()
    messages = await calls(event.tenant, event, found)
    for one in found:
        if one.kind not in WORDINGS or one.at_ms <= event.now_ms - LATE_MS:
            continue
        if not await outbox.is_told(event.tenant, event.id, one.event, EMAIL):
            messages += await _letters(event, one)
    await outbox.put(event.tenant, messages, event.now_ms)
    return ()


async def calls(tenant: Tenant, event: Event, found: Sequence[Happening]) -> list[Message]:
    """What subscriptions are told: the record as it stands. Only what came after somebody subscribed."""
    messages = []
    for hook in await outbox.webhooks(tenant):
        for one in found:
            if hook.active and outbox.wants(hook.kinds, one.kind) and one.at_ms >= hook.created_ms:
                data = {"entity": event.entity, "id": event.id, "seq": event.seq, "fields": event.fields}
                messages.append(call_of(hook, one, data, event.now_ms, event.fields.get("account")))
    return messages


def call_of(hook: Any, one: Happening, data: Mapping[str, Any], now_ms: int, account: str | None = None) -> Message:
    """One call, after the Standard Webhooks specification: `type`, `timestamp` and `data`."""
    at = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = msgspec.json.encode({"type": one.kind, "timestamp": at, "data": data}).decode()
    return Message(
        event=one.event,
        kind=one.kind,
        channel="webhook",
        recipient=hook.id,
        address=hook.url,
        account=account,
        entity=str(data["entity"]),
        subject=str(data["id"]),
        title=one.kind,
        body=body,
    )


async def _letters(event: Event, one: Happening) -> list[Message]:
    """Mails to the customer's contacts, those included that are not sent, with the reason."""
    version, house = await in_force(event.tenant, "notification", House, event.now_ms)
    if one.kind in house.off:
        return []
    said = await (_of_contract(event) if event.entity == "contract" else _of_visit(event, one, _zone(house)))
    if said is None:
        return []
    account, contact_id, words = said
    wording = house.wordings.get(one.kind, WORDINGS[one.kind])
    people = await _contacts(event.tenant, account, contact_id, house.roles)
    return [
        _letter(event, one, person, wording, words | {"house": house.sender_name or "Your service team"}, version)
        for person in people
    ]


def _letter(event: Event, one: Happening, person: Any, wording: Wording, words: Mapping[str, str], version: int) -> Message:
    decision = decide(person.consent, EMAIL, SERVICE)
    address = person.emails[0] if person.emails else ""
    reason = "" if decision.allowed else decision.reason
    if not address:
        reason = "no e-mail address is known"
    words = {**words, "contact": person.name}
    return Message(
        event=one.event,
        kind=one.kind,
        channel=EMAIL,
        recipient=person.id,
        address=address,
        account=person.account,
        entity=event.entity,
        subject=event.id,
        title=Template(wording.subject).safe_substitute(words),
        body=Template(wording.text).safe_substitute(words),
        rule_version=version,
        state=outbox.SKIPPED if reason else outbox.DUE,
        reason=reason,
    )


async def _contacts(tenant: Tenant, account: str, contact_id: str | None, roles: Sequence[str]) -> Sequence[Any]:
    """Who is told: the one who reported the case, else the account's contacts of the named roles."""
    table = projections["contact"].c
    if contact_id:
        return await tenant.rows("contact", [table.id == contact_id])
    among = [table.role.in_(roles)] if roles else []
    return await tenant.rows("contact", [table.account == account, *among], limit=MAX_CONTACTS)


def _zone(house: House) -> ZoneInfo:
    try:
        return ZoneInfo(house.zone)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _date(ms: int, zone: ZoneInfo) -> str:
    return f"{_local(ms, zone):%A, %d %B %Y}"


def _clock(ms: int, zone: ZoneInfo) -> str:
    return f"{_local(ms, zone):%H:%M}"


def _local(ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(min(ms, FAR_MS) / 1000, zone)


async def _of_visit(event: Event, one: Happening, zone: ZoneInfo) -> tuple[str, str | None, dict[str, str]] | None:
    """(account, the contact concerned, words) of a visit; None if there is nothing to be said of it any more."""
    tenant, visit = event.tenant, event.fields
    orders = await tenant.rows("work_order", [projections["work_order"].c.id == visit["work_order"]])
    start = visit.get("promised_from") or visit.get("planned_start")
    if not orders or start is None or (visit.get("planned_start") or start) < event.now_ms - LATE_MS:
        return None
    if one.kind == CANCELED and not await outbox.told(tenant, event.id, BOOKED, EMAIL):
        return None
    arrives = eta_ms(visit)
    if one.kind == ON_THE_WAY and (arrives is None or arrives < event.now_ms):
        return None
    order = orders[0]
    sites = await tenant.rows("site", [projections["site"].c.id == order.site])
    technicians = await tenant.rows("technician", [projections["technician"].c.id == visit.get("technician")])
    cases = await tenant.rows("case", [projections["case"].c.id == order.case]) if order.case else ()
    window = (
        f"between {_clock(visit['promised_from'], zone)} and {_clock(visit['promised_to'], zone)}"
        if visit.get("promised_from") and visit.get("promised_to")
        else f"at about {_clock(start, zone)}"
    )
    words = {
        "site": sites[0].name if sites else "",
        "technician": technicians[0].name if technicians else "our technician",
        "work": order.subject or order.type or "the work that you ordered",
        "number": order.number or order.id,
        "date": _date(start, zone),
        "window": window,
        "eta": _clock(arrives, zone) if arrives is not None else "",
        "remedy": order.remedy or "",
    }
    return order.account, cases[0].contact if cases else None, words


async def _of_contract(event: Event) -> tuple[str, str | None, dict[str, str]]:
    contract = event.fields
    return contract["account"], None, {"contract": contract["name"], "end": _date(contract["end"], ZoneInfo("UTC"))}


RULES: Final[Rules] = dict.fromkeys((*_STATES, "contract"), (notify,))
