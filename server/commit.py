"""From pushes to one commit: pure. What it needs to know is read before, what it decides is written after, by `server.door`.

A commit takes the pushes of several devices of one tenant. Each transaction stands or falls alone: what does not decode, breaks a
rule or refers to nothing is parked whole, with its reasons, and the rest goes on. All that one commit writes shares one seq.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import msgspec

from server.checks import CHECKS
from sync.clock import correct, wall_ms
from sync.codec import decode_edit, decode_transaction, decode_versions, encode_body, encode_versions, pick, spec_of, whole_needed
from sync.entities.conflicts import Conflict
from sync.entities.flows import ConflictStatus
from sync.links import CATALOGUE, Link
from sync.merge import Author, Clash, Edit, Record, Refused, merge
from sync.policies import Role, Side
from sync.protocol import Outcome, OutcomeKind, Reason, Transaction
from sync.schema import REGISTRY, Body, EntitySpec

Key: TypeAlias = tuple[str, str]
"""(entity, id)"""

HASH_BYTES: Final = 8
FORMER_HOLDER: Final = "former_holder"
"""The policy named by a conflict that tells the office of work done by somebody who no longer holds the scope."""
MAX_CHANGES: Final = 5_000
RULED: Final = {
    "activity": "",
    "appointment": "",
    "asset": "readings",
    "case": "",
    "conflict": "",
    "contact": "",
    "contract": "",
    "lead": "",
    "maintenance_plan": "",
    "offer": "",
    "opportunity": "",
    "quote": "",
    "sales_order": "",
    "service_report": "",
    "signature": "",
    "stock_move": "",
    "survey": "",
    "work_order": "",
}
"""Entities whose changes rules look at (see `server.rules`); by a field, those without which there is nothing for them to see."""


class Push(msgspec.Struct, frozen=True):
    """Consecutive transactions of one device. `not_before_ms` is when it was enrolled.

    A `strict` push is the server's own: an edit of a record that moved past its base is refused instead of merged, and a refused
    transaction is not kept, since whoever sent it computes anew. A `trusted` one was let through by the office: its author may
    write anywhere.
    """

    author: Author
    epoch: int
    first_n: int
    raws: tuple[bytes, ...]
    received_ms: int
    offset_ms: int = 0
    not_before_ms: int = 0
    strict: bool = False
    trusted: bool = False

    @property
    def last_n(self) -> int:
        return self.first_n + len(self.raws) - 1

    @property
    def bound(self) -> bool:
        """Whether the author may only write what its user holds or has held; the office and the server write anywhere."""
        return self.author.side is Side.FIELD and not self.trusted


class Stored(msgspec.Struct, frozen=True):
    """A record's row as it was read."""

    scope: str
    seq: int
    deleted: bool
    body: bytes
    ver: bytes

    def record(self, record_id: str) -> Record:
        versions, adds = decode_versions(self.ver, self.seq)
        return Record(record_id, self.seq, self.deleted, msgspec.json.decode(self.body), versions, adds)


class Parsed(msgspec.Struct, frozen=True):
    """A transaction that decoded, with its edits and what each of them refers to; or the reason why it did not."""

    transaction: Transaction | None
    edits: tuple[tuple[EntitySpec, Edit], ...] = ()
    referred: tuple[list[Key], ...] = ()
    reason: Reason | None = None


class RecordRow(msgspec.Struct, frozen=True):
    entity: str
    id: str
    scope: str
    prev: int
    deleted: bool
    body: bytes
    delta: bytes | None
    ver: bytes
    ruled: bool


class LinkRow(msgspec.Struct, frozen=True):
    link: Link
    reason: str
    live: bool


class Logged(msgspec.Struct, frozen=True):
    """An outcome as the device log keeps it: with the hash of the transaction's bytes, which tells a resend from a clone."""

    hash: bytes
    outcome: Outcome


class ParkedRow(msgspec.Struct, frozen=True):
    n: int
    payload: bytes
    reasons: tuple[Reason, ...]


class Result(msgspec.Struct, frozen=True):
    """What became of one push; the outcomes' seq is filled in once the commit has its number."""

    push: Push
    outcomes: tuple[Logged, ...]
    parked: tuple[ParkedRow, ...]


class Commit(msgspec.Struct, frozen=True):
    records: tuple[RecordRow, ...]
    links: tuple[LinkRow, ...]
    results: tuple[Result, ...]


def device_name(number: int) -> str:
    """How a conflict names a device."""
    return f"device {number}"


def content_hash(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=HASH_BYTES).digest()


def parse(raw: bytes, n: int) -> Parsed:
    """Decode one transaction and check every value in it against the declarations."""
    try:
        if b"\\u0000" in raw:
            raise Refused("bounds", "text cannot hold the character U+0000")
        transaction = decode_transaction(raw)
        if transaction.n != n:
            raise Refused("number", f"this is transaction {n} of the device, it says {transaction.n}", "n")
        if not 1 <= len(transaction.changes) <= MAX_CHANGES:
            raise Refused("bounds", f"a transaction has 1 to {MAX_CHANGES} changes", "changes")
    except Refused as refused:
        return Parsed(None, reason=refused.reason(0, "", ""))
    edits: list[tuple[EntitySpec, Edit]] = []
    for at, change in enumerate(transaction.changes):
        try:
            spec = spec_of(change)
            edit = decode_edit(spec, change)
            if check := CHECKS.get(spec.name):
                check(edit)
            edits.append((spec, edit))
        except Refused as refused:
            return Parsed(None, reason=refused.reason(at, change.entity, change.id))
    return Parsed(transaction, tuple(edits), tuple(references(spec, edit) for spec, edit in edits))


def keys_of(parsed: Iterable[Parsed]) -> frozenset[Key]:
    """Every record that the transactions touch, refer to, or are a part of."""
    keys: set[Key] = set()
    for one in parsed:
        keys.update((spec.name, edit.id) for spec, edit in one.edits)
        keys.update(*one.referred)
    return frozenset(keys)


def references(spec: EntitySpec, edit: Edit) -> list[Key]:
    """The records that must exist for this edit: what its fields refer to, and the root of the scope that it joins."""
    said = edit.set
    found = [(field.refers, said[field.name]) for field in spec.references if field.refers and said.get(field.name) is not None]
    if edit.create and spec.scope.field and not spec.scope.kind:
        kind, _, record_id = str(said[spec.scope.field]).partition(":")
        if kind in REGISTRY:
            found.append((kind, record_id))
    return found


def scopes_wanted(push: Push, parsed: Iterable[Parsed], stored: Mapping[Key, Stored]) -> frozenset[str]:
    """The scopes that a field author's edits reach into, except the catalogue, which all hold, and those whose root the same push
    creates."""
    if not push.bound:
        return frozenset()
    wanted: set[str] = set()
    made: set[str] = set()
    for one in parsed:
        for spec, edit in one.edits:
            held = stored.get((spec.name, edit.id))
            if held:
                wanted.add(held.scope)
            elif edit.create:
                scope = spec.scope_of(edit.id, edit.set)
                (made if spec.scope.field is None else wanted).add(scope)
    return frozenset(wanted - made - {CATALOGUE})


def prepare(
    pushes: Sequence[tuple[Push, tuple[Parsed, ...]]],
    stored: Mapping[Key, Stored],
    reached: Mapping[tuple[str, str], bool],
) -> Commit:
    """Merge the pushes, in order, into what was read.

    `reached` has the (user, scope) pairs that field authors may write: what they hold (true) or once held (false). Work of one who
    no longer holds the scope is taken like any other, and held up to the office as well.
    """
    draft = _Draft(stored, reached)
    results = tuple(draft.take(push, parsed) for push, parsed in pushes)
    return Commit(tuple(draft.rows()), tuple(draft.links()), results)


_UNBORN: Final = Record("", 0, deleted=False, body={}, versions={})
"""What a record is before it is created."""


class _State(msgspec.Struct):
    """A record while the commit is being put together."""

    spec: EntitySpec
    scope: str
    record: Record
    mask: int
    before: Stored | None


class _Draft:
    def __init__(self, stored: Mapping[Key, Stored], reached: Mapping[tuple[str, str], bool]) -> None:
        self._stored, self._reached = stored, reached
        self._states: dict[Key, _State] = {}
        self._made_by: dict[str, str] = {}

    def take(self, push: Push, parsed: tuple[Parsed, ...]) -> Result:
        outcomes: list[Logged] = []
        parked: list[ParkedRow] = []
        for n, (raw, one) in enumerate(zip(push.raws, parsed, strict=True), push.first_n):
            outcome = self._transaction(push, n, one)
            outcomes.append(Logged(content_hash(raw), outcome))
            if outcome.kind is OutcomeKind.PARKED and not (push.strict or push.trusted):
                parked.append(ParkedRow(n, raw, outcome.reasons))
        return Result(push, tuple(outcomes), tuple(parked))

    def _transaction(self, push: Push, n: int, parsed: Parsed) -> Outcome:
        if parsed.transaction is None:
            return Outcome(n, OutcomeKind.PARKED, reasons=(parsed.reason,) if parsed.reason else ())
        stamp = correct(
            parsed.transaction.stamp,
            parsed.transaction.wrote_ms,
            offset_ms=push.offset_ms,
            not_before_ms=push.not_before_ms,
            now_ms=push.received_ms,
        )
        staged: dict[Key, _State] = {}
        reasons: list[Reason] = []
        clashes: list[tuple[_State, Clash]] = []
        concurrent = False
        bound = push.bound
        for at, (spec, edit) in enumerate(parsed.edits):
            try:
                state = self._state(spec, edit, parsed.referred[at], staged, push if bound else None)
                if push.strict and (state.record.seq > edit.base or (state.mask and (spec.name, edit.id) not in staged)):
                    raise Refused("moved", f"the {spec.name} has changed since version {edit.base}")
                merged = merge(spec, state.record if state.record.versions else None, edit, push.author, stamp)
            except Refused as refused:
                reasons.append(refused.reason(at, spec.name, edit.id))
                continue
            after = _State(spec, state.scope, merged.record, state.mask | merged.mask, state.before)
            staged[spec.name, edit.id] = after
            clashes += [(after, clash) for clash in merged.clashes]
            concurrent |= merged.concurrent
        if reasons:
            return Outcome(n, OutcomeKind.PARKED, reasons=tuple(reasons))
        if bound:
            clashes += self._late(push, staged, parsed)
        self._states |= staged
        for state in staged.values():
            if _is_new_root(state):
                self._made_by[state.scope] = push.author.user
        held = tuple(self._hold(push, n, at, stamp, state, clash) for at, (state, clash) in enumerate(clashes))
        kind = OutcomeKind.CONFLICT if held else OutcomeKind.MERGED if concurrent else OutcomeKind.APPLIED
        return Outcome(n, kind, conflicts=held)

    def _late(self, push: Push, staged: Mapping[Key, _State], parsed: Parsed) -> Iterable[tuple[_State, Clash]]:
        """One open conflict for each scope that the author held once and holds no longer; it tells all that was done there."""
        label = parsed.transaction.label if parsed.transaction else ""
        scopes = {state.scope for state in staged.values() if state.mask}
        for scope in sorted(scope for scope in scopes if self._reached.get((push.author.user, scope)) is False):
            there = [(spec, edit) for spec, edit in parsed.edits if staged[spec.name, edit.id].scope == scope]
            done = [{"entity": spec.name, **msgspec.to_builtins(edit)} for spec, edit in there]
            held = {"user": push.author.user, "label": label, "changes": done}
            subject = staged[there[0][0].name, there[0][1].id]
            yield subject, Clash("", kept=None, held=held, held_by=push.author.device, open=True, policy=FORMER_HOLDER)

    def _state(
        self, spec: EntitySpec, edit: Edit, refers: Iterable[Key], staged: Mapping[Key, _State], bound: Push | None
    ) -> _State:
        """The record as it stands now in this commit; raises `Refused` where its references are missing or, if the push is `bound`,
        its author may not know of it."""
        key = (spec.name, edit.id)
        part_of = edit.set.get(spec.scope.field) if edit.create and spec.scope.field else None
        for referred in refers:
            entity, record_id = referred
            if not (referred in self._stored or referred in self._states or referred in staged):
                raise Refused("reference", f"there is no {entity} {record_id}", _referring(spec, edit, entity, record_id))
            if part_of is not None and part_of in (record_id, f"{entity}:{record_id}"):
                self._check_parent(staged, entity, record_id, spec.scope.field or "")
        state = staged.get(key) or self._states.get(key)
        before = self._stored.get(key)
        if state is None and before is not None:
            state = _State(spec, before.scope, before.record(edit.id), 0, before)
        if state is None:
            scope = spec.scope_of(edit.id, edit.set) if edit.create else ""
            state = _State(spec, scope, _UNBORN, 0, None)
        if (
            bound
            and state.scope
            and not self._may(bound.author.user, state.scope, spec, edit, is_new=not state.record.versions)
            and not any(made.scope == state.scope and _is_new_root(made) for made in staged.values())
        ):
            raise Refused("not_found", f"there is no {spec.name} {edit.id}" if not edit.create else f"there is no {state.scope}")
        return state

    def _check_parent(self, staged: Mapping[Key, _State], entity: str, record_id: str, field: str) -> None:
        """What would become a part of something deleted meanwhile waits for a person."""
        key = (entity, record_id)
        state = staged.get(key) or self._states.get(key)
        if state.record.deleted if state else self._stored[key].deleted:
            raise Refused("deleted", f"the {entity} {record_id} was deleted: restore or discard", field)

    def _may(self, user_id: str, scope: str, spec: EntitySpec, edit: Edit, *, is_new: bool) -> bool:
        if is_new and edit.create and spec.scope.field is None:
            return True
        return scope == CATALOGUE or (user_id, scope) in self._reached or self._made_by.get(scope) == user_id

    def _hold(self, push: Push, n: int, at: int, stamp: int, state: _State, clash: Clash) -> str:
        """Keep what lost as a conflict record, in the scope of the record it is about."""
        conflict_id = f"{push.author.device}.{push.epoch}.{n}.{at}"
        spec = Conflict.spec
        field = state.spec.fields.get(clash.field.partition(".")[0])
        body = {
            "scope": state.scope,
            "subject_entity": state.spec.name,
            "subject": state.record.id,
            "field": clash.field,
            "policy": clash.policy or (str(field.policy.kind) if field else "delete"),
            "kept": clash.kept,
            "held": clash.held,
            "held_by": device_name(clash.held_by),
            "at": wall_ms(stamp),
            "status": str(ConflictStatus.OPEN if clash.open else ConflictStatus.SETTLED),
        }
        edit = Edit(conflict_id, 0, create=True, set=body)
        merged = merge(spec, None, edit, Author(push.author.device, push.author.user, Role.SERVER), stamp)
        self._states[spec.name, conflict_id] = _State(spec, state.scope, merged.record, merged.mask, None)
        return conflict_id

    def rows(self) -> Iterable[RecordRow]:
        """The rows to write, in a canonical order, so that one prepared statement serves one set of entities."""
        for (entity, record_id), state in sorted(self._states.items()):
            if state.mask:
                yield RecordRow(
                    entity,
                    record_id,
                    state.scope,
                    state.before.seq if state.before else 0,
                    state.record.deleted,
                    encode_body(state.record.body),
                    None if whole_needed(state.mask) else encode_body(pick(state.spec, state.record.body, state.mask)),
                    encode_versions(state.record),
                    _is_ruled(entity, state.record.body),
                )

    def links(self) -> Iterable[LinkRow]:
        """The links that records of this commit began or ceased to state."""
        for (entity, record_id), state in sorted(self._states.items()):
            if state.mask and state.spec.links_any:
                was = frozenset[Link]()
                if state.before and not state.before.deleted:
                    was = state.spec.links(record_id, _body(state.before))
                now = frozenset[Link]() if state.record.deleted else state.spec.links(record_id, state.record.body)
                reason = f"{entity}:{record_id}"
                yield from (LinkRow(link, reason, live=False) for link in sorted(was - now))
                yield from (LinkRow(link, reason, live=True) for link in sorted(now - was))


def _is_ruled(entity: str, body: Body) -> bool:
    """Whether rules look at such a record."""
    field = RULED.get(entity)
    return field is not None and (not field or bool(body.get(field)))


def _is_new_root(state: _State) -> bool:
    """Whether the commit makes the record and with it a scope."""
    return state.before is None and state.spec.scope.field is None


def _body(stored: Stored) -> Body:
    body: dict[str, Any] = msgspec.json.decode(stored.body)
    return body


def _referring(spec: EntitySpec, edit: Edit, entity: str, record_id: str) -> str:
    names = [f.name for f in spec.references if f.refers == entity and edit.set.get(f.name) == record_id]
    return names[0] if names else spec.scope.field or ""


def numbered(outcomes: Iterable[Logged], seq: int) -> tuple[Outcome, ...]:
    """The outcomes with the commit's number."""
    return tuple(msgspec.structs.replace(logged.outcome, seq=seq) for logged in outcomes)
