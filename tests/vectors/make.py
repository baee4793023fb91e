"""Golden vectors: what any client or server of this protocol must come to, as JSON that every language reads.

`python -m tests.vectors.make` writes them anew from the code as it is; `tests/sync/test_vectors.py` proves that they agree. Change
them only together with the protocol, and say so in the changelog: whoever wrote a client has built on them.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from sync.clock import correct, observe, tick
from sync.codec import decode_edit, decode_transaction, encode_versions, newer_than, pick, spec_of, whole_needed
from sync.derive import bare, json_schema
from sync.digest import record_digest, scope_digest
from sync.entities import Quote
from sync.entities.pricing import content_sha256, totals_of
from sync.ids import ulid
from sync.merge import PENDING, Author, Edit, Merged, Record, Refused, Version, merge
from sync.overlay import overlay
from sync.policies import Role, Side
from sync.protocol import Exchange, Gone, Outcome, OutcomeKind, Page, Reason, Reply, WireRecord
from sync.schema import REGISTRY
from sync.text import merge_text

HERE: Final = Path(__file__).parent
Cases = Iterable[dict[str, Any]]

HOUR_MS: Final = 3_600_000
NOW_MS: Final = 1_800_000_000_000
ENROLLED_MS: Final = NOW_MS - 24 * HOUR_MS
YEARS_MS: Final = 9 * 365 * 24 * HOUR_MS

TECHNICIAN: Final = Author(1, "tess", Role.TECHNICIAN)
DISPATCHER: Final = Author(2, "dora", Role.DISPATCHER)
RULES: Final = Author(3, "rules", Role.SERVER)


def stamps() -> Cases:
    for last, now_ms in ((0, 1_000), (1_000_000, 1_000), (5_000_000, 1_000), (1_000_999, 1_000)):
        yield {"do": "tick", "last": last, "now_ms": now_ms, "result": tick(last, now_ms)}
    for last, seen in ((5, 9), (9, 5)):
        yield {"do": "observe", "last": last, "seen": seen, "result": observe(last, seen)}
    wrote = NOW_MS - HOUR_MS
    for says, stamp_ms, wrote_ms, offset_ms in (
        ("a right clock", wrote, wrote, 0),
        ("nine years ahead all along", wrote + YEARS_MS, wrote + YEARS_MS, YEARS_MS),
        ("nine years behind all along", wrote - YEARS_MS, wrote - YEARS_MS, -YEARS_MS),
        ("ahead while it wrote, right at the exchange", wrote + YEARS_MS, wrote + YEARS_MS, 0),
        ("right while it wrote, ahead at the exchange", wrote, wrote, YEARS_MS),
        ("behind while it wrote, right at the exchange", wrote, wrote - YEARS_MS, 0),
        ("the stamp an hour ahead of the clock", wrote + 2 * HOUR_MS, wrote, 0),
    ):
        about = {"offset_ms": offset_ms, "not_before_ms": ENROLLED_MS, "now_ms": NOW_MS}
        result = correct(stamp_ms * 1000, wrote_ms, **about)
        yield {"do": "correct", "says": says, "stamp": stamp_ms * 1000, "wrote_ms": wrote_ms, **about, "result": result}


def ids() -> Cases:
    for now_ms, random in ((0, bytes(10)), (1_700_000_000_000, bytes(10)), (1_700_000_000_000, bytes(range(246, 256)))):
        yield {"now_ms": now_ms, "random_hex": random.hex(), "ulid": ulid(now_ms, random)}


def digests() -> Cases:
    records = [("site", "S1", 7), ("asset", "A1", 3), ("asset", "A2", 2**40)]
    for record in records:
        yield {"records": [record], "record_digest": f"{record_digest(*record):016x}", "scope_digest": scope_digest([record])}
    yield {"records": records, "scope_digest": scope_digest(records)}
    yield {"records": [], "scope_digest": scope_digest([])}


_SITE: Final = {"account": "A1", "name": "Plant"}
CHANGES: Final[tuple[dict[str, Any], ...]] = (
    {"entity": "site", "id": "S1", "create": True, "set": _SITE},
    {"entity": "site", "id": "S1", "create": True, "set": {"account": "A1"}},
    {"entity": "site", "id": "S1", "base": 7, "set": {"name": "Works", "position": {"lat": 1.5, "lon": -2}}},
    {"entity": "site", "id": "S1", "base": 7, "set": {"position": {"lat": 91, "lon": 0}}},
    {"entity": "site", "id": "S1", "base": 7, "set": {"custom": {"gate": "12", "old": None}}},
    {"entity": "site", "id": "S1", "base": 7, "set": {"nome": "Works"}},
    {"entity": "site", "id": "S1", "base": 7, "set": {"name": "x" * 201}},
    {"entity": "site", "id": "S1", "base": 7, "edit": {"access_notes": ["gate 12", "gate 34"]}},
    {"entity": "site", "id": "S 1", "set": {}},
    {"entity": "sight", "id": "S1"},
    {"entity": "site", "id": "S1", "sets": {}},
    {"entity": "account", "id": "A1", "base": 7, "add": {"tags": ["vip"]}, "remove": {"tags": ["new"]}},
    {"entity": "account", "id": "A1", "base": 7, "add": {"tags": "vip"}},
    {"entity": "asset", "id": "E1", "base": 7, "append": {"readings": [{"id": "r1", "at": 5, "value": 3.5}]}},
    {"entity": "asset", "id": "E1", "base": 7, "append": {"readings": [{"id": "r1", "at": 5}]}},
    {"entity": "work_order", "id": "W1", "base": 7, "set": {"priority": 2.0}},
    {"entity": "work_order", "id": "W1", "base": 7, "set": {"status": "lost"}},
    {"entity": "work_order_task", "id": "T1", "base": 7, "delete": True},
    {"entity": "work_order_task", "id": "T1", "base": 7, "delete": True, "set": {"note": "x"}},
)


def _decoded(change: dict[str, Any]) -> tuple[str, Edit]:
    raw = msgspec.json.encode({"n": 1, "stamp": 1, "wrote_ms": 1, "changes": [change]})
    read = decode_transaction(raw).changes[0]
    return read.entity, decode_edit(spec_of(read), read)


def changes() -> Cases:
    for change in CHANGES:
        try:
            _, edit = _decoded(change)
        except Refused as refused:
            yield {"change": change, "refused": {"rule": refused.rule, "field": refused.field}}
        else:
            yield {"change": change, "edit": msgspec.to_builtins(edit)}


_READING: Final = {"id": "r2", "at": 7, "value": 2}


def overlays() -> Cases:
    """What a device shows of a record with one pending change."""
    site = {**_SITE, "access_notes": "gate 12", "custom": {"gate": "12", "old": 1}}
    readings = {"site": "S1", "readings": [{"id": "r1", "at": 5, "value": 1}, {"id": "r3", "at": 9, "value": 3}]}
    bodies: dict[str, Any] = {
        "site": site,
        "account": {"name": "Acme", "tags": ["new", "zoo"]},
        "asset": readings,
        "work_order_task": {"work_order": "W1", "title": "Look"},
        "work_order": {"account": "A1", "site": "S1"},
    }
    more = (
        {
            "entity": "asset",
            "id": "E1",
            "append": {"readings": [_READING, {"id": "r1", "at": 5, "value": 8}]},
        },
        {"entity": "account", "id": "A1", "create": True, "set": {"name": "Acme", "tags": ["b", "a", "b"], "custom": {"x": None}}},
    )
    for change in (*CHANGES, *more):
        try:
            entity, edit = _decoded(change)
        except Refused:
            continue
        body = None if edit.create else bodies[entity]
        yield {"entity": entity, "body": body, "change": change, "shows": overlay(REGISTRY[entity], body, edit)}


def texts() -> Cases:
    for base, ours, theirs in (
        ("", "a", ""),
        ("gate 12, dog", "gate 34, dog", "gate 12, dog asleep"),
        ("gate 12", "gate 34", "gate 56"),
        ("a dog", "a", "a cow"),
        ("a b c d", "a X d", "a b Y d"),
        ("a b c d", "a X c d", "a b c Y"),
        ("line one\nline two\n", "line one\nline 2\n", "zero\nline one\nline two\n"),
    ):
        merged = merge_text(base, ours, theirs)
        yield {"base": base, "ours": ours, "theirs": theirs, "text": merged.text, "overlaps": merged.overlaps}


def _record(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    versions = [[index, *version] for index, version in sorted(record.versions.items())]
    return {"seq": record.seq, "deleted": record.deleted, "body": record.body, "versions": versions, "marks": record.adds}


def _before(entity: str, body: dict[str, Any], theirs: dict[str, Any] | None, author: Author) -> Record:
    """A record at seq 10, and `theirs` written on it at seq 11 by somebody else with stamp 5000."""
    spec = REGISTRY[entity]
    record = _numbered(merge(spec, None, Edit("X1", 0, create=True, set=body), RULES, 1_000), 10)
    if theirs is None:
        return record
    _, edit = _decoded({"entity": entity, "id": "X1", "base": 10, **theirs})
    return _numbered(merge(spec, record, edit, author, 5_000), 11)


def _numbered(merged: Merged, seq: int) -> Record:
    record = merged.record
    versions = {i: v._replace(seq=min(v.seq, seq)) for i, v in record.versions.items()}
    marks = {i: {name: (min(at, seq), who) for name, (at, who) in named.items()} for i, named in record.adds.items()}
    return msgspec.structs.replace(record, seq=seq, versions=versions, adds=marks)


_ORDER: Final = {"account": "A1", "site": "S1"}
_NOTED: Final = {**_SITE, "access_notes": "gate 12"}
_VISIT: Final = {"work_order": "W1", "technician": "T1", "status": "dispatched"}
RACES: Final[tuple[tuple[str, str, dict[str, Any], dict[str, Any] | None, Author, dict[str, Any], Author, int], ...]] = (
    ("nobody else wrote", "lead", {"need": "x"}, None, DISPATCHER, {"set": {"urgency": "now"}}, TECHNICIAN, 9_000),
    ("last_writer, later", "account", {"name": "A"}, {"set": {"name": "B"}}, DISPATCHER, {"set": {"name": "C"}}, TECHNICIAN, 9_000),
    ("last_writer, earlier", "account", {"name": "A"}, {"set": {"name": "B"}}, DISPATCHER, {"set": {"name": "C"}}, TECHNICIAN, 900),
    ("the same value", "account", {"name": "A"}, {"set": {"name": "B"}}, DISPATCHER, {"set": {"name": "B"}}, TECHNICIAN, 9_000),
    ("different fields", "account", {"name": "A"}, {"set": {"name": "B"}}, DISPATCHER, {"set": {"tier": "C"}}, TECHNICIAN, 9_000),
    ("office_wins", "site", _SITE, {"set": {"name": "B"}}, DISPATCHER, {"set": {"name": "C"}}, TECHNICIAN, 9_000),
    ("field_wins", "work_order", _ORDER, {"set": {"remedy": "B"}}, DISPATCHER, {"set": {"remedy": "C"}}, TECHNICIAN, 900),
    ("manual", "asset", {"site": "S1"}, {"set": {"serial": "B"}}, DISPATCHER, {"set": {"serial": "C"}}, TECHNICIAN, 9_000),
    ("add_wins", "account", {"name": "A", "tags": ["v"]}, {"add": {"tags": ["v"]}}, DISPATCHER, {"remove": {"tags": ["v"]}},
     TECHNICIAN, 9_000),
    ("keyed, other keys", "site", _SITE, {"set": {"custom": {"a": 1}}}, DISPATCHER, {"set": {"custom": {"b": 2}}}, TECHNICIAN, 900),
    ("keyed, one key", "site", _SITE, {"set": {"custom": {"a": 1}}}, DISPATCHER, {"set": {"custom": {"a": 2}}}, TECHNICIAN, 900),
    ("append_only", "asset", {"site": "S1"}, {"append": {"readings": [_READING]}}, DISPATCHER,
     {"append": {"readings": [{"id": "r1", "at": 5, "value": 1}]}}, TECHNICIAN, 9_000),
    ("text, disjoint", "site", _NOTED, {"edit": {"access_notes": ["gate 12", "gate 34"]}}, DISPATCHER,
     {"edit": {"access_notes": ["gate 12", "the gate 12"]}}, TECHNICIAN, 9_000),
    ("text, overlapping", "site", _NOTED, {"edit": {"access_notes": ["gate 12", "gate 34"]}}, DISPATCHER,
     {"edit": {"access_notes": ["gate 12", "gate 56"]}}, TECHNICIAN, 9_000),
    ("lifecycle, a fact outranks", "appointment", _VISIT, {"set": {"status": "canceled"}}, DISPATCHER,
     {"set": {"status": "completed"}}, TECHNICIAN, 900),
    ("lifecycle, contained", "appointment", _VISIT, {"set": {"status": "canceled"}}, DISPATCHER, {"set": {"status": "accepted"}},
     TECHNICIAN, 9_000),
    ("lifecycle, a person decides", "opportunity", {"account": "A1", "name": "O"}, {"set": {"stage": "won"}}, RULES,
     {"set": {"stage": "lost"}}, Author(4, "rita", Role.REP), 9_000),
    ("lifecycle, no such move", "appointment", _VISIT, None, DISPATCHER, {"set": {"status": "unscheduled"}}, TECHNICIAN, 9_000),
    ("no right", "work_order", _ORDER, None, DISPATCHER, {"set": {"priority": 1}}, TECHNICIAN, 9_000),
    ("fixed", "site", _SITE, None, DISPATCHER, {"set": {"account": "A2"}}, DISPATCHER, 9_000),
    ("a fact restores", "work_order_task", {"work_order": "W1", "title": "Look"}, {"delete": True}, DISPATCHER,
     {"set": {"result": "done"}}, TECHNICIAN, 9_000),
    ("an opinion waits", "work_order_task", {"work_order": "W1", "title": "Look"}, {"delete": True}, DISPATCHER,
     {"set": {"title": "See"}}, TECHNICIAN, 9_000),
)  # fmt: skip


def merges() -> Cases:
    for says, entity, body, theirs, other, mine, author, stamp in RACES:
        before = _before(entity, body, theirs, other)
        change = {"entity": entity, "id": "X1", "base": 10, **mine}
        case = {"says": says, "before": _record(before), "change": change, "stamp": stamp}
        case |= {"author": {"device": author.device, "role": author.role}, "commit_seq": 12}
        try:
            merged = merge(REGISTRY[entity], before, _decoded(change)[1], author, stamp)
        except Refused as refused:
            yield case | {"refused": {"rule": refused.rule, "field": refused.field}}
        else:
            after = _numbered(merged, 12) if merged.mask else before
            yield case | {"after": _record(after), "clashes": msgspec.to_builtins(merged.clashes), "concurrent": merged.concurrent}


def versions() -> Cases:
    """Field versions as they are stored: `[index, seq, stamp, device, side]` to msgpack, newest first; index 0 is existence."""
    old, new = Version(7, 1_000, 1, Side.OFFICE), Version(PENDING, 2_000, 2, Side.FIELD)
    marks = {62: {"vip": (PENDING, (2_000, 2)), "a": (7, (1_000, 1))}}
    for stands, adds in (({0: old, 1: old, 2: new}, {}), ({0: old, 62: new}, marks)):
        record = Record("X1", 7, deleted=False, body={}, versions=stands, adds=adds)
        packed = encode_versions(record)
        masks = {str(since): newer_than(packed, 12, since) for since in (6, 7, 11, 12)}
        yield {"record": _record(_numbered(Merged(record, 0), 12)), "row_seq": 12, "packed_hex": packed.hex(), "newer_than": masks}


def deltas() -> Cases:
    """Which fields a device gets that has seen a record at `since`; `whole` if it must get them all."""
    spec = REGISTRY["site"]
    record = _before("site", {**_SITE, "hours": "8-17"}, {"set": {"hours": "", "city": "Nashville"}}, DISPATCHER)
    packed = encode_versions(record)
    for since in (9, 10, 11):
        mask = newer_than(packed, record.seq, since)
        whole = whole_needed(mask)
        fields = record.body if whole else pick(spec, record.body, mask)
        yield {"entity": "site", "record": _record(record), "since": since, "whole": whole, "fields": fields}


BODIES: Final[dict[str, dict[str, Any]]] = {
    "absence": {"holder": "technician:T1", "start": 1, "end": 2},
    "account": {"name": "Acme", "owner": "rita", "territory": "north"},
    "activity": {"account": "A1", "kind": "call", "at": 1},
    "appointment": _VISIT,
    "asset": {"site": "S1"},
    "attachment": {"scope": "work_order:W1", "parent_entity": "work_order", "parent": "W1", "sha256": "0" * 64,
                   "size_bytes": 1, "media_type": "image/jpeg"},
    "business_hours": {"name": "Office", "weekly": {"mon": [["08:00", "17:00"]]}},
    "business_rule": {"kind": "lead_routing", "version": 1},
    "campaign": {"name": "Spring"},
    "campaign_member": {"campaign": "M1", "contact": "N1"},
    "case": {"account": "A1", "subject": "No heat"},
    "conflict": {"scope": "work_order:W1", "subject_entity": "work_order", "subject": "W1", "field": "status"},
    "contact": {"account": "A1", "name": "Ann"},
    "contract": {"account": "A1", "name": "Care", "start": 1, "end": 2},
    "depot": {"name": "North"},
    "entitlement": {"account": "A1", "contract": "C1"},
    "incentive": {"user": "tess", "kind": "accrue", "amount_cents": 500, "at": 1},
    "knowledge_article": {"title": "Descaling"},
    "lead": {"need": "a new boiler", "account": "A1", "site": "S1", "captured_by": ["tess"], "owner": "rita"},
    "maintenance_plan": {"account": "A1", "site": "S1"},
    "offer": {"work_order": "W1", "product": "P1"},
    "opportunity": {"account": "A1", "name": "Boiler", "owner": "rita", "team": ["tess"]},
    "part_used": {"work_order": "W1", "product": "P1", "quantity": 1},
    "price_book": {"version": "2026-1"},
    "price_entry": {"price_book": "B1", "product": "P1", "price_cents": 100},
    "product": {"sku": "K-1", "name": "Valve"},
    "profile": {"name": "Rita", "territories": ["north", "south"]},
    "quota": {"user": "rita", "start": 1, "end": 2},
    "quote": {"opportunity": "O1", "price_book": "B1"},
    "recommendation": {"site": "S1", "words": "a new pump soon"},
    "sales_order": {"opportunity": "O1", "quote": "Q1"},
    "segment": {"name": "Hotels"},
    "service_level": {"name": "Gold", "promises": {"1": {"respond_s": 3600, "resolve_s": 14400}}},
    "service_report": {"work_order": "W1"},
    "shift": {"technician": "T1", "start": 1, "end": 2},
    "signature": {"scope": "work_order:W1", "subject_entity": "service_report", "subject": "R1", "sha256": "0" * 64,
                  "signer": "Ann", "at": 1},
    "site": _SITE,
    "skill_held": {"technician": "T1", "skill": "gas"},
    "stock_count": {"location": "technician:T1", "product": "P1"},
    "stock_move": {"location": "technician:T1", "product": "P1", "quantity": -1, "reason": "used", "at": 1},
    "survey": {"account": "A1", "kind": "nps"},
    "technician": {"name": "Tess", "user": "tess", "depot": "D1"},
    "time_entry": {"work_order": "W1", "technician": "T1", "kind": "work", "start": 1},
    "work_order": _ORDER,
    "work_order_task": {"work_order": "W1", "title": "Look"},
}  # fmt: skip


def scopes() -> Cases:
    """The scope that a record lives in, and the links it states: `[kind, source, target]`."""
    for entity, spec in sorted(REGISTRY.items()):
        body = BODIES[entity]
        spec.decoder.decode(msgspec.json.encode(body))
        links = [msgspec.to_builtins(link) for link in sorted(spec.links("X1", body))]
        yield {"entity": entity, "id": "X1", "body": body, "scope": spec.scope_of("X1", body), "links": links}


def messages() -> Cases:
    """Messages as they travel, one of each shape; what is left out has its default."""
    raw = msgspec.json.encode({"n": 4, "stamp": 5_000_001, "wrote_ms": 5_000, "changes": [CHANGES[2]], "label": "Renamed"})
    record = WireRecord("site", "S1", 12, {"name": "Works"})
    outcomes = (
        Outcome(3, OutcomeKind.APPLIED, 12),
        Outcome(4, OutcomeKind.CONFLICT, 12, ("1.1.4.0",)),
        Outcome(5, OutcomeKind.PARKED, 12, reasons=(Reason("bounds", "too long", 0, "site", "S1", "name"),)),
    )
    page = Page("c2", more=True, evict=("work_order:W1",), enter=("site:S1",), whole=(record,), delta=(record,))
    page = msgspec.structs.replace(page, gone=(Gone("shift", "H1", 11),))
    yield {"message": "Exchange", "json": msgspec.json.encode(Exchange(1, 5_000)).decode()}
    yield {"message": "Exchange", "json": msgspec.json.encode(Exchange(1, 5_000, "c1", 4, (msgspec.Raw(raw),), 500)).decode()}
    yield {"message": "Reply", "json": msgspec.json.encode(Reply(6_000, 5)).decode()}
    yield {"message": "Reply", "json": msgspec.json.encode(Reply(6_000, 5, page, outcomes)).decode()}


def quotes() -> Cases:
    pump, hour = {"product": "X1", "quantity": 2, "price_cents": 10_000}, {"product": "X2", "quantity": 3, "price_cents": 333}
    for fields in (
        {},
        {"lines": {"1": pump}, "tax_pct": 19},
        {"lines": {"10": hour | {"discount_pct": 33.3}, "9": pump}, "discount_pct": 12.1, "tax_pct": 7.7, "number": "A-1"},
        {"lines": {"1": hour | {"discount_pct": 50}, "2": hour | {"quantity": -3, "discount_pct": 50}}, "notes": "Grüße"},
        {"lines": {"1": {"product": "X1", "quantity": 1, "price_cents": 5, "discount_pct": 50}}, "valid_to": NOW_MS},
    ):
        quote = msgspec.convert({"opportunity": "O1", "price_book": "B1"} | fields, Quote)
        sums = msgspec.to_builtins(totals_of(quote))
        yield {"fields": msgspec.to_builtins(quote), **sums, "content_sha256": content_sha256(quote)}


FILES: Final[dict[str, Callable[[], Cases]]] = {
    "stamps": stamps,
    "ids": ids,
    "digests": digests,
    "changes": changes,
    "overlays": overlays,
    "texts": texts,
    "merges": merges,
    "versions": versions,
    "deltas": deltas,
    "scopes": scopes,
    "messages": messages,
    "quotes": quotes,
}


def rendered() -> dict[str, bytes]:
    """Every file by name, as it must be."""
    made: dict[str, Any] = {name: list(cases()) for name, cases in FILES.items()} | {"schema": bare(json_schema())}
    return {f"{name}.json": msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n" for name, value in made.items()}


def main() -> None:
    for name, content in rendered().items():
        (HERE / name).write_bytes(content)
        sys.stdout.write(f"{name}: {len(content)} bytes\n")


if __name__ == "__main__":
    main()
