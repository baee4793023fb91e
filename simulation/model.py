"""What the company's records must be after each commit, computed from the device logs and nothing else."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from simulation.party import POISON
from simulation.rules_of_merge import Held, No, Row, Writer, edit
from sync.links import CATALOGUE, Link, LinkKind, scope_name, user
from sync.policies import FIELD, Role
from sync.protocol import OutcomeKind
from sync.schema import REGISTRY, EntitySpec

Key = tuple[str, str]
MAX_DRIFT_MS: Final = 5 * 60 * 1000


class Person(msgspec.Struct, frozen=True):
    """Who is behind a device number."""

    user: str
    role: Role
    enrolled_ms: int


class Batch(msgspec.Struct, frozen=True):
    """One entry of a device log, with what the device's clock said when it was sent."""

    device: int
    epoch: int
    first_n: int
    seq: int
    received_ms: int
    offset_ms: int
    transactions: tuple[bytes, ...]


class Fate(msgspec.Struct, frozen=True):
    """What must become of a transaction. `stamp` is its corrected stamp."""

    kind: OutcomeKind
    conflicts: tuple[str, ...]
    seq: int
    stamp: int


def believed(stamp: int, wrote_ms: int, offset_ms: int, enrolled_ms: int, now_ms: int) -> int:
    """The stamp that a claimed one is worth: near the best estimate of when it was written, never in the future.

    A clock that was right when it wrote and was set since shows in that only the raw time is possible.
    """
    possible = range(enrolled_ms - MAX_DRIFT_MS, now_ms + MAX_DRIFT_MS + 1)
    if wrote_ms - offset_ms not in possible and wrote_ms in possible:
        offset_ms = 0
    shifted = stamp - offset_ms * 1000
    best_ms = max(wrote_ms - offset_ms, enrolled_ms)
    if shifted // 1000 <= now_ms:
        best_ms = max(best_ms, shifted // 1000)
    best_ms = min(best_ms, now_ms)
    low_ms, high_ms = max(best_ms - MAX_DRIFT_MS, enrolled_ms), min(best_ms + MAX_DRIFT_MS, now_ms)
    return sorted((low_ms * 1000, shifted, high_ms * 1000 + 999))[1]


class Model:
    """Every record's rows by commit, so that it can be asked how things stood at any of them."""

    def __init__(self) -> None:
        self.people: dict[int, Person] = {}
        self.rows: dict[Key, list[Row]] = {}
        self.seq = 0
        self.fates: dict[tuple[int, int], Fate] = {}
        """By device number and n."""
        self.parked: dict[tuple[int, int], bytes] = {}
        self._ever: dict[str, set[str]] = {}
        self._buried: dict[Key, list[Row]] = {}
        """Records whose tombstone was forgotten; a backup may still know them."""
        self._reach: dict[tuple[str, int], set[str]] = {}
        self._horizon = 0
        self._relinked = [0]
        """The commits after which other links stood than before."""

    # Commits ---------------------------------------------------------------------------------------------------------------

    def commit(self, seq: int, batches: Sequence[Batch]) -> None:
        """Apply the batches of one commit in the order in which they came to the door."""
        assert seq == self.seq + 1, f"commit {seq} follows {self.seq}"
        self._remember(self.seq)
        self.seq = seq
        draft = _Commit(self, seq)
        for batch in batches:
            for n, raw in enumerate(batch.transactions, batch.first_n):
                self.fates[batch.device, n] = draft.take(batch, n, raw)
        if any(_links(self.row(key, seq - 1)) != _links(row) for key, row in draft.rows.items()):
            self._relinked.append(seq)
        for key, row in draft.rows.items():
            self.rows.setdefault(key, []).append(row)

    def _remember(self, seq: int) -> None:
        """What the field reaches now it may write for ever."""
        for person in self.people.values():
            if person.role in FIELD:
                self._ever.setdefault(person.user, set()).update(self.reach(person.user, seq))

    def roll_back(self, seq: int, last_n: Mapping[int, int], horizon: int) -> None:
        """The server was restored to the state after commit `seq`, when its devices were at `last_n`."""
        self.seq = seq
        self.rows |= self._buried
        self._buried.clear()
        self._horizon = 0
        for key in list(self.rows):
            kept = [row for row in self.rows[key] if row.seq <= seq]
            if kept:
                self.rows[key] = kept
            else:
                del self.rows[key]
        for device, n in [name for name in self.fates if name[1] > last_n.get(name[0], 0)]:
            del self.fates[device, n]
            self.parked.pop((device, n), None)
        self._reach.clear()
        self._ever.clear()
        self._relinked = [at for at in self._relinked if at <= seq]
        self.forget(horizon)

    def forget(self, horizon: int) -> None:
        """Tombstones and withdrawn links up to the horizon are gone, and with them the late rights of those who held something."""
        self._horizon = horizon = max(self._horizon, horizon)
        for key in [key for key, rows in self.rows.items() if rows[-1].deleted and rows[-1].seq <= horizon]:
            self._buried[key] = self.rows.pop(key)
        self._ever.clear()
        for at in [horizon, *(at for at in self._relinked if at > horizon)]:
            self._remember(at)

    def may_write(self, user_id: str, scope: str) -> bool:
        return scope in self._ever.get(user_id, ())

    # Questions -------------------------------------------------------------------------------------------------------------

    def row(self, key: Key, seq: int) -> Row | None:
        """The record as it stood after commit `seq`."""
        for row in reversed(self.rows.get(key, ())):
            if row.seq <= seq:
                return row
        return None

    def live(self, seq: int) -> Iterable[Row]:
        for key in self.rows:
            row = self.row(key, seq)
            if row and not row.deleted:
                yield row

    def reach(self, user_id: str, seq: int) -> set[str]:
        """The scopes that a user may hold after commit `seq`."""
        asked = (user_id, self._relinked[bisect_right(self._relinked, seq) - 1])
        if asked not in self._reach:
            links = [link for row in self.live(seq) for link in _links(row)]
            principals = {user(user_id)} | _targets(links, LinkKind.ACTS_AS, {user(user_id)})
            held = _targets(links, LinkKind.HOLDS, principals)
            self._reach[asked] = held | _targets(links, LinkKind.NEEDS, held) | {CATALOGUE}
        return self._reach[asked]

    def holdings(self, user_id: str, seq: int) -> dict[Key, Row]:
        """Every record that a user may hold after commit `seq`."""
        reach = self.reach(user_id, seq)
        return {(row.entity, row.id): row for row in self.live(seq) if row.scope in reach}


def _links(row: Row | None) -> frozenset[Link]:
    return frozenset() if row is None or row.deleted else REGISTRY[row.entity].links(row.id, row.body)


def _targets(links: Iterable[Link], kind: LinkKind, sources: set[str]) -> set[str]:
    return {link.target for link in links if link.kind is kind and link.source in sources}


class _Commit:
    """One commit while it is put together."""

    def __init__(self, model: Model, seq: int) -> None:
        self._model, self._seq = model, seq
        self.rows: dict[Key, Row] = {}
        self._made_by: dict[str, str] = {}

    def take(self, batch: Batch, n: int, raw: bytes) -> Fate:
        transaction = msgspec.json.decode(raw)
        person = self._model.people[batch.device]
        stamp = believed(transaction["stamp"], transaction["wrote_ms"], batch.offset_ms, person.enrolled_ms, batch.received_ms)
        writer = Writer(batch.device, person.user, person.role, stamp, self._seq)
        staged: dict[Key, Row] = {}
        held: list[tuple[Key, Held]] = []
        try:
            if transaction.get("label") == POISON:
                raise No("poison")
            for change in transaction["changes"]:
                key = (change["entity"], change["id"])
                held += [(key, one) for one in self._change(REGISTRY[key[0]], key, change, writer, staged)]
        except No:
            if person.role is not Role.SERVER:
                self._model.parked[batch.device, n] = raw
            return Fate(OutcomeKind.PARKED, (), self._seq, stamp)
        if writer.role in FIELD:
            held += self._late(writer, staged, transaction)
        for key, row in staged.items():
            if self._before(key) is None and row.scope == scope_name(*key):
                self._made_by.setdefault(row.scope, person.user)
        self.rows |= {key: row for key, row in staged.items() if row.seq == self._seq}
        names = tuple(self._hold(batch, n, at, writer, *one) for at, one in enumerate(held))
        return Fate(OutcomeKind.CONFLICT if names else OutcomeKind.APPLIED, names, self._seq, stamp)

    def _late(self, writer: Writer, staged: Mapping[Key, Row], transaction: Mapping[str, Any]) -> list[tuple[Key, Held]]:
        """Work of somebody who held the scope once and holds it no longer is taken, and told to the office: once for each scope."""
        reach = self._model.reach(writer.user, self._seq - 1)
        told: list[tuple[Key, Held]] = []
        for scope in sorted({row.scope for row in staged.values() if row.seq == self._seq} - reach):
            if self._model.may_write(writer.user, scope):
                there = [one for one in transaction["changes"] if staged[one["entity"], one["id"]].scope == scope]
                changes = [{"base": 0} | one for one in there]
                held = {"user": writer.user, "label": transaction.get("label", ""), "changes": changes}
                key = (there[0]["entity"], there[0]["id"])
                told.append((key, Held("", None, held, writer.device, open=True, policy="former_holder")))
        return told

    def _before(self, key: Key) -> Row | None:
        return self.rows.get(key) or self._model.row(key, self._seq - 1)

    def _change(self, spec: EntitySpec, key: Key, change: Mapping[str, Any], writer: Writer, staged: dict[Key, Row]) -> list[Held]:
        for other in _referred(spec, change):
            if not (staged.get(other) or self._before(other)):
                raise No(f"there is no {other}")
        parent = change.get("set", {}).get(spec.scope.field or "") if change.get("create") else None
        for other in _referred(spec, change):
            whole = staged.get(other) or self._before(other)
            if whole and whole.deleted and parent in (other[1], scope_name(*other)):
                raise No("a part of something deleted")
        row = staged.get(key) or self._before(key)
        scope = row.scope if row else spec.scope_of(key[1], change["set"]) if change.get("create") else ""
        own = row is None and bool(change.get("create")) and spec.scope.field is None
        if writer.role in FIELD and scope and not own and not self._reached(writer, scope):
            raise No("out of reach")
        if writer.role is Role.SERVER and row and key not in staged and row.seq > change.get("base", 0):
            raise No("moved")
        edited = edit(spec, row, change, writer, scope)
        staged[key] = edited.row
        return edited.held

    def _reached(self, writer: Writer, scope: str) -> bool:
        return self._model.may_write(writer.user, scope) or self._made_by.get(scope) == writer.user

    def _hold(self, batch: Batch, n: int, at: int, writer: Writer, key: Key, held: Held) -> str:
        """What lost is a record of its own."""
        conflict_id = f"{batch.device}.{batch.epoch}.{n}.{at}"
        spec, scope = REGISTRY["conflict"], self._before_or_now(key).scope
        field = REGISTRY[key[0]].fields.get(held.field.partition(".")[0])
        body = {
            "scope": scope,
            "subject_entity": key[0],
            "subject": key[1],
            "field": held.field,
            "policy": held.policy or (str(field.policy.kind) if field else "delete"),
            "kept": held.kept,
            "held": held.held,
            "held_by": f"device {held.held_by}",
            "at": writer.stamp // 1000,
            "status": "open" if held.open else "settled",
        }
        change = {"id": conflict_id, "create": True, "set": body}
        self.rows["conflict", conflict_id] = edit(spec, None, change, writer._replace(role=Role.SERVER), scope).row
        return conflict_id

    def _before_or_now(self, key: Key) -> Row:
        row = self._before(key)
        assert row is not None
        return row


def _referred(spec: EntitySpec, change: Mapping[str, Any]) -> Iterable[Key]:
    """What must exist for this change to make sense."""
    given = change.get("set", {})
    for field in spec.references:
        if field.refers and given.get(field.name) is not None:
            yield field.refers, given[field.name]
    if change.get("create") and spec.scope.field and not spec.scope.kind:
        kind, _, record_id = str(given[spec.scope.field]).partition(":")
        if kind in REGISTRY:
            yield kind, record_id
