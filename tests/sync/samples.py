"""An entity with a field of every policy, and the few words in which tests say who writes what."""

from typing import Annotated, Any

import msgspec

from sync.codec import decode_edit, encode_body
from sync.entities.flows import APPOINTMENT, AppointmentStatus
from sync.merge import PENDING, Author, Edit, Merged, Record, Version, merge
from sync.policies import (
    MANAGERS,
    OFFICE,
    Role,
    add_wins,
    append_only,
    counter,
    field_wins,
    fixed,
    highest,
    keyed,
    last_writer,
    lifecycle,
    lowest,
    manual,
    office_wins,
    server_only,
    text,
)
from sync.protocol import Change
from sync.schema import REGISTRY, Code, Count, Entity, EntitySpec, Id, Instant, Json, Name, Text, root


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Id
    at: Instant = 0
    note: Code = ""


class Sample(Entity, scope=root("sample"), delete=OFFICE):
    """Declared like any other entity, but taken out of the registry, so that no table and no page is made of it."""

    home: Annotated[Id, fixed()]
    title: Annotated[Name, last_writer()] = ""
    price: Annotated[Count, office_wins()] = 0
    remedy: Annotated[Name, field_wins()] = ""
    used: Annotated[Count, counter()] = 0
    peak: Annotated[Count | None, highest()] = None
    floor: Annotated[Count | None, lowest()] = None
    tags: Annotated[tuple[Code, ...], add_wins()] = ()
    log: Annotated[tuple[Entry, ...], append_only()] = ()
    fact: Annotated[Code, append_only()] = ""
    custom: Annotated[dict[Code, Json], keyed()] = {}  # noqa: RUF012  # msgspec copies mutable defaults
    status: Annotated[AppointmentStatus, lifecycle(APPOINTMENT)] = AppointmentStatus.UNSCHEDULED
    notes: Annotated[Text, text()] = ""
    serial: Annotated[Code, manual()] = ""
    score: Annotated[Count, server_only()] = 0
    approved: Annotated[bool, last_writer(MANAGERS)] = False


SPEC: EntitySpec = REGISTRY.pop("sample")

TECHNICIAN = Author(1, "tess", Role.TECHNICIAN)
OTHER_TECHNICIAN = Author(2, "theo", Role.TECHNICIAN)
DISPATCHER = Author(3, "dora", Role.DISPATCHER)
MANAGER = Author(4, "mona", Role.MANAGER)
REP = Author(5, "rita", Role.REP)
RULES = Author(6, "rules", Role.SERVER)
AUTHORS = (TECHNICIAN, OTHER_TECHNICIAN, DISPATCHER, MANAGER, REP, RULES)

SEEN = 10
"""The seq of a record that everybody has seen."""


def made(**fields: Any) -> Record:
    """A record that the server created at `SEEN` and everybody holds."""
    edit = Edit("S1", 0, create=True, set={"home": "H1", **fields})
    return numbered(merge(SPEC, None, edit, RULES, 1_000), SEEN)


def change(base: int = SEEN, *, create: bool = False, delete: bool = False, **ops: dict[str, Any]) -> Change:
    """A change of the sample, by operation."""
    coded = {op: values if op in ("inc", "edit") else msgspec.Raw(encode_body(values)) for op, values in ops.items()}
    return msgspec.json.decode(
        msgspec.json.encode(Change("sample", "S1", base, create=create, delete=delete, **coded)), type=Change
    )


def edit(base: int = SEEN, *, create: bool = False, delete: bool = False, **ops: dict[str, Any]) -> Edit:
    return decode_edit(SPEC, change(base, create=create, delete=delete, **ops))


def numbered(merged: Merged, seq: int) -> Record:
    """The record once its commit has a number; what did not change keeps its own."""
    record = merged.record
    if not merged.mask:
        return record
    versions = {i: Version(seq, *v[1:]) if v.seq == PENDING else v for i, v in record.versions.items()}
    adds = {i: {e: (seq if at == PENDING else at, who) for e, (at, who) in marks.items()} for i, marks in record.adds.items()}
    return msgspec.structs.replace(record, seq=seq, versions=versions, adds=adds)


def shown(record: Record) -> dict[str, Any]:
    """All fields of a record, those at their default too."""
    return {name: record.body.get(name, msgspec.json.decode(msgspec.json.encode(f.default))) for name, f in SPEC.fields.items()}
