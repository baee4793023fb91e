"""The work order and everything that travels with it."""

import enum
from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated

import msgspec

from sync.entities.flows import APPOINTMENT, WORK_ORDER, AppointmentStatus, WorkOrderStatus
from sync.links import Link, LinkKind, scope_name
from sync.policies import (
    FIELD,
    MANAGERS,
    OFFICE,
    SALES,
    add_wins,
    append_only,
    field_wins,
    fixed,
    keyed,
    last_writer,
    lifecycle,
    office_wins,
    server_only,
    text,
)
from sync.schema import Body, Code, Count, Entity, Id, Instant, Json, Name, Text, frozen_while, named_by, part_of, refers, root


class WorkOrder(Entity, scope=root("work_order"), delete=MANAGERS):
    """What is to be done. `parts` says how many of which product the work takes, `tools` what one must bring along, `crew` how many
    technicians go together.

    Nobody is owed `optional` work: it is planned where it brings more than it costs. It brings `value_cents`, or what its lead is
    expected to.
    """

    account: Annotated[Id, refers("account"), office_wins(OFFICE)]
    site: Annotated[Id, refers("site"), office_wins(OFFICE)]
    asset: Annotated[Id | None, refers("asset"), office_wins()] = None
    number: Annotated[Code, office_wins(OFFICE)] = ""
    type: Annotated[Code, office_wins(OFFICE)] = ""
    subject: Annotated[Name, office_wins()] = ""
    priority: Annotated[int, msgspec.Meta(ge=1, le=5), office_wins(OFFICE)] = 3
    due: Annotated[Instant | None, office_wins(OFFICE)] = None
    skill: Annotated[Code, office_wins(OFFICE)] = ""
    skill_level: Annotated[int, msgspec.Meta(ge=1, le=10), office_wins(OFFICE)] = 1
    symptom: Annotated[Name, field_wins()] = ""
    cause: Annotated[Name, field_wins()] = ""
    remedy: Annotated[Name, field_wins()] = ""
    status: Annotated[WorkOrderStatus, lifecycle(WORK_ORDER)] = WorkOrderStatus.NEW
    summary: Annotated[Text, text()] = ""
    custom: Annotated[dict[Code, Json], keyed()] = {}
    case: Annotated[Id | None, refers("case"), office_wins(OFFICE)] = None
    contract: Annotated[Id | None, refers("contract"), office_wins(OFFICE)] = None
    plan: Annotated[Id | None, refers("maintenance_plan"), office_wins(OFFICE)] = None
    lead: Annotated[Id | None, refers("lead"), office_wins(OFFICE)] = None
    entitlement: Annotated[Id | None, refers("entitlement"), server_only()] = None
    coverage: Annotated[Code, server_only()] = ""
    coverage_reason: Annotated[Name, server_only()] = ""
    opened_at: Annotated[Instant | None, fixed()] = None
    external_id: Annotated[Code, last_writer(OFFICE)] = ""
    parts: Annotated[dict[Id, Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None], keyed()] = {}
    tools: Annotated[tuple[Code, ...], add_wins()] = ()
    crew: Annotated[int, msgspec.Meta(ge=1, le=20), office_wins(OFFICE)] = 1
    optional: Annotated[bool, office_wins(OFFICE)] = False
    value_cents: Annotated[Annotated[int, msgspec.Meta(ge=0, le=2**52)] | None, office_wins(OFFICE | SALES)] = None

    @staticmethod
    def links(record_id: str, body: Body) -> Iterable[Link]:
        order = scope_name("work_order", record_id)
        yield Link(LinkKind.NEEDS, order, scope_name("account", body["account"]))
        yield Link(LinkKind.NEEDS, order, scope_name("site", body["site"]))


class TaskResult(enum.StrEnum):
    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"


class WorkOrderTask(Entity, scope=part_of("work_order"), delete=OFFICE):
    work_order: Annotated[Id, refers("work_order"), fixed()]
    title: Annotated[Name, office_wins()]
    position: Annotated[int, msgspec.Meta(ge=0, le=10_000), office_wins()] = 0
    required: Annotated[bool, office_wins(OFFICE)] = False
    kind: Annotated[Code, office_wins()] = ""
    result: Annotated[TaskResult, field_wins()] = TaskResult.OPEN
    note: Annotated[Text, field_wins()] = ""
    done_by: Annotated[Id | None, field_wins()] = None
    done_at: Annotated[Instant | None, field_wins()] = None


class ActualTime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a status was really reached."""

    id: Id
    at: Instant
    status: AppointmentStatus


_GONE = frozenset({AppointmentStatus.UNSCHEDULED, AppointmentStatus.REJECTED})


class Appointment(Entity, scope=part_of("work_order"), create=OFFICE, delete=MANAGERS):
    """One planned visit. While it is planned for a technician, that technician holds the work order; one that was cancelled stays
    in sight, so that whoever was on the way is told. Of a crew `technician` leads; the `mates` are the others, and hold it too.

    `held` is false outside the window of days that devices keep: long done, or far ahead. It begins once the visit that it
    `follows` has ended; `fetch_at` is the depot to call at on the way, for parts and tools that are not on the van.
    """

    work_order: Annotated[Id, refers("work_order"), fixed()]
    earliest: Annotated[Instant | None, office_wins(OFFICE)] = None
    due: Annotated[Instant | None, office_wins(OFFICE)] = None
    promised_from: Annotated[Instant | None, office_wins(OFFICE)] = None
    promised_to: Annotated[Instant | None, office_wins(OFFICE)] = None
    planned_start: Annotated[Instant | None, office_wins(OFFICE)] = None
    planned_end: Annotated[Instant | None, office_wins(OFFICE)] = None
    duration_s: Annotated[int, msgspec.Meta(ge=0, le=7 * 86_400), office_wins()] = 3600
    travel_s: Annotated[int, msgspec.Meta(ge=0, le=7 * 86_400), office_wins(OFFICE)] = 0
    technician: Annotated[Id | None, refers("technician"), office_wins(OFFICE)] = None
    pinned: Annotated[bool, office_wins(OFFICE)] = False
    epoch: Annotated[int, msgspec.Meta(ge=0), office_wins(OFFICE)] = 0
    held: Annotated[bool, server_only()] = True
    actual: Annotated[tuple[ActualTime, ...], append_only()] = ()
    reason: Annotated[Name, field_wins()] = ""
    status: Annotated[AppointmentStatus, lifecycle(APPOINTMENT)] = AppointmentStatus.UNSCHEDULED
    follows: Annotated[Id | None, refers("appointment"), office_wins(OFFICE)] = None
    fetch_at: Annotated[Id | None, refers("depot"), office_wins(OFFICE)] = None
    mates: Annotated[tuple[Id, ...], msgspec.Meta(max_length=19), office_wins(OFFICE)] = ()

    @staticmethod
    def links(record_id: str, body: Body) -> Iterable[Link]:  # noqa: ARG004  # the link is the order's, whichever visit states it
        if body.get("fetch_at"):
            yield Link(LinkKind.NEEDS, scope_name("work_order", body["work_order"]), scope_name("depot", body["fetch_at"]))
        if body.get("held", True) and body.get("status", AppointmentStatus.UNSCHEDULED) not in _GONE:
            for member in {body.get("technician"), *body.get("mates", ())} - {None}:
                yield Link(LinkKind.HOLDS, scope_name("technician", member), scope_name("work_order", body["work_order"]))


class TimeKind(enum.StrEnum):
    TRAVEL = "travel"
    WORK = "work"
    BREAK = "break"


class TimeEntry(Entity, scope=part_of("work_order")):
    work_order: Annotated[Id, refers("work_order"), fixed()]
    technician: Annotated[Id, refers("technician"), append_only()]
    kind: Annotated[TimeKind, append_only()]
    start: Annotated[Instant, append_only()]
    end: Annotated[Instant | None, append_only()] = None
    approved: Annotated[bool, office_wins(MANAGERS)] = False


class PartUsed(Entity, scope=part_of("work_order")):
    """A part that went into the job; taken back only by a reversal."""

    work_order: Annotated[Id, refers("work_order"), fixed()]
    product: Annotated[Id, refers("product"), append_only()]
    quantity: Annotated[Count, append_only()]
    lot: Annotated[Code, append_only()] = ""
    price_cents: Annotated[Count, append_only()] = 0
    reverses: Annotated[Id | None, refers("part_used"), append_only()] = None


class Attachment(Entity, scope=named_by("scope"), delete=FIELD | OFFICE):
    """What is known of a photo, a signature or a document. The bytes travel in their own queue."""

    scope: Annotated[Id, fixed()]
    parent_entity: Annotated[Code, fixed()]
    parent: Annotated[Id, fixed()]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}(?!\n)$"), fixed()]
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**40), fixed()]
    media_type: Annotated[Name, fixed()]
    caption: Annotated[Name, last_writer()] = ""


class ReportLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: Code
    words: Text = ""
    quantity: Count = 0
    price_cents: Count = 0


class ReportStatus(enum.StrEnum):
    DRAFT = "draft"
    SIGNED = "signed"


class ServiceReport(Entity, scope=part_of("work_order"), frozen_when=frozen_while("status", ReportStatus.SIGNED)):
    """What the customer signs. Once signed it does not change; an amendment is a report of a higher version."""

    work_order: Annotated[Id, refers("work_order"), fixed()]
    version: Annotated[int, msgspec.Meta(ge=1), fixed()] = 1
    lines: Annotated[dict[Code, ReportLine | None], keyed()] = {}
    words: Annotated[Text, field_wins()] = ""
    sha256: Annotated[Annotated[str, msgspec.Meta(max_length=64)], field_wins()] = ""
    status: Annotated[ReportStatus, field_wins()] = ReportStatus.DRAFT


def report_sha256(report: ServiceReport) -> str:
    """The hash of what a report says, which is what a signature is put under: of a JSON array, without blanks, of order, version,
    words, and the lines by key as [key, kind, words, quantity, price_cents]."""
    lines = [
        [key, line.kind, line.words, line.quantity, line.price_cents]
        for key, line in sorted(report.lines.items(), key=lambda entry: entry[0].encode())
        if line is not None
    ]
    return sha256(msgspec.json.encode([report.work_order, report.version, report.words, lines])).hexdigest()


class Signature(Entity, scope=named_by("scope")):
    """Somebody put their name under something: which record, and the hash of what it said. `strokes` is an SVG path or empty."""

    scope: Annotated[Id, fixed()]
    subject_entity: Annotated[Code, fixed()]
    subject: Annotated[Id, fixed()]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}(?!\n)$"), fixed()]
    signer: Annotated[Name, fixed()]
    at: Annotated[Instant, fixed()]
    strokes: Annotated[Text, fixed()] = ""
    photo: Annotated[Id | None, fixed()] = None
