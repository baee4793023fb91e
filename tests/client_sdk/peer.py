"""A small server for the SDK's tests: the real merge and the real protocol on dictionaries. A peer, not a mock.

Who holds which scope is set by the test (`holds`). Pages are cut small on purpose; a round that takes several pages is followed by
another one from where it began, until one fits a page, which is what the protocol promises of a checkpoint.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any
from zlib import crc32

import msgspec

from client_sdk import Offline
from sync.codec import decode_edit, decode_transaction, pick, spec_of, whole_needed
from sync.digest import scope_digest
from sync.merge import PENDING, Author, Record, Refused, Version, merge
from sync.policies import Role
from sync.protocol import Enrolled, Enrolment, Exchange, Gone, Outcome, OutcomeKind, Page, Problem, Reply, Transaction, WireRecord
from sync.schema import REGISTRY

OFFICE = Author(1, "office", Role.ADMINISTRATOR)


class Held(msgspec.Struct):
    """A record and the scope it lives in."""

    entity: str
    record: Record
    scope: str


class Installed(msgspec.Struct):
    """A device as the peer knows it: `log` has what it sent, by number, with the outcome."""

    author: Author
    epoch: int = 1
    active: bool = True
    wiping: bool = False
    log: list[tuple[bytes, Outcome]] = []


class Round(msgspec.Struct):
    """A cut-up round of a download: what is left of it, and where the next one starts."""

    items: list[tuple[str, Any]]
    base: int
    scopes: frozenset[str]
    group: int = 0


class Peer:
    def __init__(self, *, page: int = 2_000) -> None:
        self.page = page
        self.groups = 1
        """In how many checkpoints a first sync arrives."""
        self.horizon = 0
        """Tombstones up to this seq are gone."""
        self.seq = 0
        self.incarnation = 1
        self.records: dict[tuple[str, str], Held] = {}
        self.devices: dict[str, Installed] = {}
        self.holds: dict[str, set[str]] = {}
        self.cursors: dict[str, Round] = {}
        self.conflicts = 0
        self.applied: list[tuple[str, int]] = []
        self.clones = False
        """Whether a test copies files: then a number may come with other content, else that is a mistake of the device."""
        self.requests: list[Exchange] = []

    def transport(self, random: Random | None = None, loss: float = 0.0) -> "Line":
        return Line(self, random or Random(0), loss)

    # HTTP --------------------------------------------------------------------------------------------------------------

    def serve(self, path: str, body: bytes, headers: Mapping[str, str], now_ms: int = 0) -> tuple[int, bytes]:
        if path == "/v1/enrol":
            return self.enrol(msgspec.json.decode(body, type=Enrolment))
        device = self.devices.get(headers.get("Authorization", "").removeprefix("Bearer "))
        if device is None or not device.active:
            return problem(401, "token")
        if path == "/v1/renew":
            return self.renew(device)
        request = msgspec.json.decode(body, type=Exchange)
        self.requests.append(request)
        numbered = [(n, bytes(raw)) for n, raw in enumerate(request.transactions, request.first)]
        return self._flaw(device, request, numbered) or self._exchange(device, request, numbered, now_ms)

    def _flaw(self, device: Installed, request: Exchange, numbered: list[tuple[int, bytes]]) -> tuple[int, bytes] | None:
        if request.epoch != device.epoch:
            return problem(409, "epoch", expected=device.epoch)
        if numbered and request.first > len(device.log) + 1:
            return problem(409, "gap", expected=len(device.log) + 1)
        for n, raw in numbered:
            if n <= len(device.log) and device.log[n - 1][0] != raw:
                assert self.clones, "a transaction is sent again byte by byte"
                return problem(409, "cloned", n=n)
        return None

    def _exchange(self, device: Installed, request: Exchange, numbered: list[tuple[int, bytes]], now_ms: int) -> tuple[int, bytes]:
        outcomes = tuple(self._take(device, n, raw) for n, raw in numbered)
        if request.cursor and not request.cursor.startswith(f"{self.incarnation}/"):
            return problem(409, "incarnation")
        since = self.cursors[request.cursor] if request.cursor else Round([], 0, frozenset())
        if device.wiping:
            reply = Reply(now_ms, len(device.log), None, outcomes, wipe=True)
        elif request.cursor and since.base < self.horizon and not since.items and request.digests is None:
            reply = Reply(now_ms, len(device.log), None, outcomes, want_digests=True)
        else:
            holds = self.holds[device.author.user]
            page = self._page(holds, self._compared(holds, since, request.digests))
            reply = Reply(now_ms, len(device.log), page, outcomes)
        return 200, msgspec.json.encode(reply)

    def enrol(self, request: Enrolment) -> tuple[int, bytes]:
        if not request.code:
            return problem(403, "enrolment")
        number = len(self.devices) + 2
        user = f"user{number}"
        self.devices[f"token{number}"] = Installed(Author(number, user, Role.TECHNICIAN))
        self.holds.setdefault(user, set())
        enrolled = Enrolled(f"device{number}", f"token{number}", 1, user, request.device_name, "technician", "acme", "t1", 0)
        return 201, msgspec.json.encode(enrolled)

    def renew(self, device: Installed) -> tuple[int, bytes]:
        assert self.clones, "nobody has copied a file"
        number = len(self.devices) + 2
        author = Author(number, device.author.user, device.author.role)
        self.devices[f"token{number}"] = Installed(author, device.epoch + 1)
        enrolled = Enrolled(
            f"device{number}", f"token{number}", device.epoch + 1, author.user, "Ana", "technician", "acme", "t1", 0
        )
        return 200, msgspec.json.encode(enrolled)

    # Upload ------------------------------------------------------------------------------------------------------------

    def _take(self, device: Installed, n: int, raw: bytes) -> Outcome:
        if n <= len(device.log):
            return device.log[n - 1][1]
        outcome = self._decide(device.author, n, raw)
        device.log.append((raw, outcome))
        return outcome

    def _decide(self, author: Author, n: int, raw: bytes) -> Outcome:
        try:
            transaction = decode_transaction(raw)
        except Refused as refused:
            return Outcome(n, OutcomeKind.PARKED, reasons=(refused.reason(0, "", ""),))
        assert transaction.n == n
        return self.commit(author, transaction)

    def commit(self, author: Author, transaction: Transaction) -> Outcome:
        """The one door: all the changes of a transaction, or none of them."""
        after: dict[tuple[str, str], Held] = {}
        conflicts: list[str] = []
        concurrent = False
        for at, change in enumerate(transaction.changes):
            key = (change.entity, change.id)
            try:
                spec = spec_of(change)
                edit = decode_edit(spec, change)
                before = after.get(key) or self.records.get(key)
                merged = merge(spec, before.record if before else None, edit, author, transaction.stamp)
            except Refused as refused:
                return Outcome(transaction.n, OutcomeKind.PARKED, reasons=(refused.reason(at, change.entity, change.id),))
            scope = before.scope if before else spec.scope_of(change.id, merged.record.body)
            after[key] = Held(change.entity, merged.record, scope)
            concurrent |= merged.concurrent
            for clash in merged.clashes:
                self.conflicts += 1
                conflicts.append(f"c{self.conflicts}:{clash.field}")
        self.seq += 1
        for key, held in after.items():
            self.records[key] = Held(held.entity, _stamped(held.record, self.seq), held.scope)
        self.applied.append((author.user, transaction.n))
        kind = OutcomeKind.CONFLICT if conflicts else OutcomeKind.MERGED if concurrent else OutcomeKind.APPLIED
        return Outcome(transaction.n, kind, self.seq, tuple(conflicts))

    # Download ----------------------------------------------------------------------------------------------------------

    def _compared(self, holds: set[str], since: Round, digests: dict[str, str] | None) -> Round:
        """Where the device stands, without the scopes that differ from what it says of them: they enter anew."""
        if digests is None or since.items:
            return since
        away = since.base < self.horizon
        same = {
            scope
            for scope, digest in digests.items()
            if scope not in holds or digest == self._digest(scope) or (self._moved(scope, since) and not away)
        }
        return Round([], since.base, since.scopes & same, since.group)

    def _digest(self, scope: str) -> str:
        live = ((key, held.record) for key, held in self.records.items() if held.scope == scope and not held.record.deleted)
        return scope_digest((*key, record.seq) for key, record in live)

    def _moved(self, scope: str, since: Round) -> bool:
        return any(held.record.seq > since.base for held in self.records.values() if held.scope == scope)

    def _page(self, holds: set[str], since: Round) -> Page:
        scopes = frozenset(scope for scope in holds if crc32(scope.encode()) % self.groups <= since.group)
        first = not since.items
        round_ = Round(self._changes(since, scopes), self.seq, scopes, since.group) if first else since
        items, rest = round_.items[: self.page], round_.items[self.page :]
        # A last page of a long round is no checkpoint: what was committed meanwhile would be missing. The next round is shorter.
        more, last = bool(rest) or not first, self.groups - 1
        after = Round(rest, round_.base, round_.scopes, since.group if more else min(since.group + 1, last))
        name = f"{self.incarnation}/{len(self.cursors)}"
        self.cursors[name] = after
        of = {kind: tuple(item for found, item in items if found == kind) for kind in ("evict", "enter", "whole", "delta", "gone")}
        return Page(cursor=name, more=more, groups_left=last - since.group, **of)

    def _changes(self, since: Round, scopes: frozenset[str]) -> list[tuple[str, Any]]:
        items: list[tuple[str, Any]] = [("evict", scope) for scope in sorted(since.scopes - scopes)]
        items += [("enter", scope) for scope in sorted(scopes - since.scopes)]
        for (entity, record_id), held in sorted(self.records.items(), key=lambda item: item[1].record.seq):
            record, fresh = held.record, held.scope not in since.scopes
            if held.scope not in scopes or (record.seq <= since.base and not fresh):
                continue
            mask = sum(1 << index for index, version in record.versions.items() if version.seq > since.base)
            if record.deleted:
                items.append(("gone", Gone(entity, record_id, record.seq)))
            elif fresh or whole_needed(mask):
                items.append(("whole", WireRecord(entity, record_id, record.seq, record.body)))
            else:
                fields = pick(REGISTRY[entity], record.body, mask)
                items.append(("delta", WireRecord(entity, record_id, record.seq, fields)))
        return items

    # What a test looks at ----------------------------------------------------------------------------------------------

    def visible(self, user: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The live records of the scopes that a user holds."""
        return {
            key: held.record.body
            for key, held in self.records.items()
            if held.scope in self.holds[user] and not held.record.deleted
        }


class Line:
    """A transport to a peer that may lose requests and replies, as a seed decides."""

    def __init__(self, peer: Peer, random: Random, loss: float) -> None:
        self.peer, self.random, self.loss = peer, random, loss
        self.up = True
        self.lose_replies = 0
        self.down_after: int | None = None
        self.answers: list[tuple[int, bytes]] = []
        """Given instead of the peer's."""
        self.meanwhile: Callable[[], None] | None = None
        """Called while a request is on its way."""

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        if not self.up or self.random.random() < self.loss:
            raise Offline("no network")
        if self.down_after is not None:
            self.down_after -= 1
            self.up = self.down_after > 0
        if self.meanwhile:
            self.meanwhile()
        if self.answers:
            return self.answers.pop(0)
        answer = self.peer.serve(path, body, headers)
        if self.lose_replies > 0:
            self.lose_replies -= 1
            raise Offline("the reply is lost")
        if self.random.random() < self.loss:
            raise Offline("the reply is lost")
        return answer


def problem(status: int, rule: str, **extra: Any) -> tuple[int, bytes]:
    return status, msgspec.json.encode(Problem(f"urn:test:{rule}", rule, status, rule=rule, extra=extra))


def _stamped(record: Record, seq: int) -> Record:
    """The record with the commit's number in place of the marks that stand for it."""
    versions = {i: Version(seq, *v[1:]) if v.seq == PENDING else v for i, v in record.versions.items()}
    adds = {
        index: {e: (seq if at == PENDING else at, device) for e, (at, device) in marks.items()}
        for index, marks in record.adds.items()
    }
    return msgspec.structs.replace(record, seq=seq, versions=versions, adds=adds)
