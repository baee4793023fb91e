"""Whether what happened is what had to happen: asked after everything that may have changed a device."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import groupby
from typing import Any, Final, TypeVar

import msgspec
import zstandard

from client_sdk.items import OutboxState
from server.feed import Cursor
from simulation.database import Database
from simulation.device import Device, Shot
from simulation.model import MAX_DRIFT_MS, Batch, Model
from simulation.party import POISON, Key, Party
from simulation.rules_of_merge import Row, tidy
from simulation.schedule import Scheduler
from simulation.server import Server
from simulation.trace import Trace
from sync.policies import Kind
from sync.protocol import OutcomeKind
from sync.schema import REGISTRY

T = TypeVar("T")
SLACK_MS: Final = 60_000
_LOG: Final = """
select device_no, epoch, first_n, last_n, seq, received_ms, payload, outcomes from device_log
where tenant_id = $1 and seq > $2 order by seq
"""
_raws: Final = msgspec.json.Decoder(list[msgspec.Raw])
_unzip: Final = zstandard.ZstdDecompressor().decompress
Body = dict[str, Any]


class Trouble(Exception):
    """The product broke a promise: `kind` is diverged, lost, doubled or leaked."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind, self.what = kind, what


class Oracle:
    def __init__(self, database: Database, scheduler: Scheduler, server: Server, trace: Trace) -> None:
        self._database, self._scheduler, self._server, self._trace = database, scheduler, server, trace
        self.model = Model()
        self.log: dict[tuple[int, int], bytes] = {}
        """Every transaction that the server has, by device number and n."""
        self.parties: dict[int, Party] = {}
        self.incarnation = ""
        self._held: dict[str, tuple[str | None, dict[Key, Any]]] = {}
        self._refused: dict[str, set[int]] = {}
        self._turn = asyncio.Lock()

    async def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """Something of the database, unseen by the simulation."""
        with self._scheduler.io():
            connection = await self._database.take(self._server.tenant_id)
            try:
                return await question(connection)
            finally:
                self._database.give(connection)

    # What the server did ---------------------------------------------------------------------------------------------------

    async def catch_up(self) -> None:
        """Read what was committed since, and hold it against the model."""
        async with self._turn:
            rows = await self.ask(lambda c: c.fetch(_LOG, self._server.tenant_id, self.model.seq))
            for seq, commit in groupby(rows, key=lambda row: int(row["seq"])):
                self._commit(seq, list(commit))

    def _commit(self, seq: int, rows: list[Any]) -> None:
        rows.sort(key=lambda row: self._server.arrivals[row["device_no"], row["epoch"], row["first_n"], row["received_ms"]])
        batches = [self._batch(row) for row in rows]
        for batch in batches:
            for n, raw in enumerate(batch.transactions, batch.first_n):
                if (batch.device, n) in self.log:
                    raise Trouble("doubled", f"the log has transaction {n} of device {batch.device} twice")
                self.log[batch.device, n] = raw
        if seq != self.model.seq + 1:
            raise Trouble("lost", f"commit {seq} follows {self.model.seq}")
        self.model.commit(seq, batches)
        for row, batch in zip(rows, batches, strict=True):
            self._outcomes(batch, msgspec.json.decode(row["outcomes"]))

    def _batch(self, row: Any) -> Batch:
        device, received_ms = row["device_no"], row["received_ms"]
        party = self.parties.get(device)
        offset_ms = self._server.sent_ms[party.device_id, received_ms] - received_ms if party else 0
        raws = tuple(bytes(raw) for raw in _raws.decode(_unzip(row["payload"])))
        return Batch(device, row["epoch"], row["first_n"], row["seq"], received_ms, offset_ms, raws)

    def _outcomes(self, batch: Batch, logged: list[Any]) -> None:
        for n, one in enumerate(logged, batch.first_n):
            said, fate = one["outcome"], self.model.fates[batch.device, n]
            kind = OutcomeKind.APPLIED if said["kind"] == OutcomeKind.MERGED else said["kind"]
            what = (said["n"], kind, tuple(said.get("conflicts", ())))
            if what != (n, fate.kind, fate.conflicts):
                kind_of = "lost" if kind == OutcomeKind.PARKED or fate.conflicts else "diverged"
                raise Trouble(kind_of, f"outcome of {batch.device}/{n} is {said}, must be {fate}: {self.log[batch.device, n]!r}")
            self._clock(batch, n)
            self._trace.say(batch.received_ms, "commit", batch.seq, batch.device, n, kind)

    def _clock(self, batch: Batch, n: int) -> None:
        """Where the clock only ran wrong and never jumped, the stamp is near the truth, however wrong it ran."""
        party = self.parties.get(batch.device)
        if party is None or party.clock is None or n > len(party.done) or party.clock.jumps:
            return
        wrong_ms = party.now() - self._scheduler.now_ms
        travelled_ms = max(0, -batch.offset_ms + wrong_ms)
        off_ms = self.model.fates[batch.device, n].stamp // 1000 - party.done[n - 1].true_ms
        if abs(off_ms) > MAX_DRIFT_MS + SLACK_MS + travelled_ms:
            raise Trouble("diverged", f"the stamp of {batch.device}/{n} is {off_ms} ms from the truth")

    # What befell the server --------------------------------------------------------------------------------------------------

    async def restored(self, incarnation: str) -> None:
        """The server is as it was at its backup; all that came after never happened."""
        tenant_id = self._server.tenant_id
        clock = await self.ask(lambda c: c.fetchrow("select seq, horizon from clock where tenant_id = $1", tenant_id))
        rows = await self.ask(lambda c: c.fetch("select no, last_n from device where tenant_id = $1", tenant_id))
        last_n = {row["no"]: row["last_n"] for row in rows}
        self.model.roll_back(clock["seq"], last_n, clock["horizon"])
        self.log = {name: raw for name, raw in self.log.items() if name[1] <= last_n.get(name[0], 0)}
        self.incarnation = incarnation
        self._trace.say(self._scheduler.now_ms, "restored", clock["seq"])

    def pruned(self, horizon: int) -> None:
        self.model.forget(horizon)
        self._trace.say(self._scheduler.now_ms, "pruned", horizon)

    # What a device holds ---------------------------------------------------------------------------------------------------

    async def observe(self, device: Device, shot: Shot) -> None:
        """Everything that must hold of a device at any moment."""
        await self.catch_up()
        refused = self._refused.setdefault(device.name, set())
        refused |= {n for n, (state, _) in shot.outbox.items() if state is OutboxState.PARKED}
        cursor = Cursor.decode(shot.cursor) if shot.cursor else None
        held = {key: (seq, body) for key, (seq, _, leaving, body) in shot.base.items() if not leaving}
        before = self._held.get(device.name, (None, {}))
        current = cursor if cursor is not None and cursor.incarnation == self.incarnation else None
        if shot.cursor != before[0]:
            if current is not None:
                self._published(device, shot, current)
            self._held[device.name] = (shot.cursor, held)
        elif held != before[1]:
            raise Trouble("diverged", f"{device.name} changed what it holds without a checkpoint: {_difference(before[1], held)}")
        self._history(device, shot)
        if cursor is not None and cursor.settled:
            self._shown(device, shot, refused)
        if current is not None and current.settled:
            self._states(device, shot, current.base)

    def _published(self, device: Device, shot: Shot, cursor: Cursor) -> None:
        """At a checkpoint the device holds exactly what its user may hold after that commit, in that commit's state.

        Until a first sync has brought its last group, that is said of the scopes which have arrived.
        """
        seq, have = cursor.base, None if cursor.have is None else frozenset(cursor.have)
        reach = self.model.reach(device.user, seq)
        must = {key: row for key, row in self.model.holdings(device.user, seq).items() if have is None or row.scope in have}
        working = {key for _, _, key in _pending(shot, frozenset())}
        for key, (held_seq, scope, leaving, body) in shot.base.items():
            if scope in shot.stale and not cursor.settled:
                continue
            if leaving:
                if key not in working:
                    raise Trouble("leaked", f"{device.name} keeps {key} of {scope} at {seq} for no pending work")
            elif scope not in reach:
                raise Trouble("leaked", f"{device.name} holds {key} of {scope} at {seq}")
            elif key not in must:
                raise Trouble("diverged", f"{device.name} holds {key} of {scope} at {seq}, which was deleted or is still to come")
            elif (held_seq, whole(key, body)) != (must[key].seq, whole(key, must[key].body)):
                raise Trouble("diverged", f"{device.name} holds {key} at {seq} as {held_seq} {body}, must be {must[key]}")
        if missing := [key for key in must if key not in shot.base or shot.base[key][2]]:
            raise Trouble("diverged", f"{device.name} misses {missing[:5]} at {seq}: {must[missing[0]]}")
        self._trace.say(self._scheduler.now_ms, device.name, "published", seq, sorted((*key, row.seq) for key, row in must.items()))

    def _states(self, device: Device, shot: Shot, seq: int) -> None:
        """What the device says of its work is what became of it."""
        for n, (state, _) in shot.outbox.items():
            fate = self.model.fates.get((device.device_no, n))
            refused = fate is not None and fate.kind is OutcomeKind.PARKED
            if state is OutboxState.WAITING:
                if fate and not refused and fate.seq <= seq:
                    raise Trouble("doubled", f"{device.name} shows {n} on top of checkpoint {seq}, which has it")
            elif fate is None:
                raise Trouble("lost", f"{device.name} believes {n} {state}, the server never had it")
            elif refused is not (state is OutboxState.PARKED):
                raise Trouble("lost", f"{device.name} believes {n} {state}, it is {fate}")
            elif (state is OutboxState.DONE) is not (fate.seq <= seq) and not refused:
                raise Trouble("diverged", f"{device.name} at {seq} believes {n} {state}, it is {fate}")

    def _history(self, device: Device, shot: Shot) -> None:
        """What the user did is in the file, whole and once."""
        if shot.n != len(device.done):
            raise Trouble("lost", f"{device.name} numbered {shot.n} transactions, its user made {len(device.done)}")
        for done in device.done:
            if done.n not in shot.outbox:
                raise Trouble("lost", f"{device.name} has forgotten {done.n}")
        for n, (state, raw) in shot.outbox.items():
            if state is OutboxState.WAITING and msgspec.json.decode(raw)["changes"] != device.done[n - 1].changes:
                raise Trouble("lost", f"{device.name} keeps another {n} than its user made")

    def _shown(self, device: Device, shot: Shot, refused: set[int]) -> None:
        """The app shows what it holds with its pending work on top, and so nothing flickers."""
        must: dict[Key, dict[str, Any] | None] = {key: body for key, (_, _, _, body) in shot.base.items() if key[0] in REGISTRY}
        touched, unsound = set(), set()
        for label, change, key in _pending(shot, refused):
            touched.add(key)
            if label == POISON:
                unsound.add(key)
            elif must.get(key) is not None or change.get("create"):
                must[key] = laid_over(key, must.get(key) or {}, change)
        for key in must.keys() | shot.view.keys():
            body, shown = must.get(key), shot.view.get(key)
            if key in unsound:
                continue
            if body is None or shown is None:
                if body is not None or shown is not None:
                    raise Trouble("diverged", f"{device.name} shows {key} as {shown}, must be {body}")
            elif whole(key, body) != whole(key, shown[1]) or shown[0] is not (key in touched):
                raise Trouble("diverged", f"{device.name} shows {key} as {shown}, must be {body}, pending {key in touched}")


def _pending(shot: Shot, refused: Iterable[int]) -> Iterable[tuple[str, dict[str, Any], Key]]:
    """The changes that no checkpoint contains yet, in order; what was refused once is not shown again."""
    for n, (state, raw) in shot.outbox.items():
        if state in (OutboxState.WAITING, OutboxState.CONFIRMED) and n not in refused:
            transaction = msgspec.json.decode(raw)
            for change in transaction["changes"]:
                yield transaction.get("label", ""), change, (change["entity"], change["id"])


def whole(key: Key, body: Body) -> dict[str, Any]:
    """With every field said."""
    defaults = _DEFAULTS.get(key[0])
    if defaults is None:
        fields = REGISTRY[key[0]].fields.values()
        defaults = _DEFAULTS[key[0]] = {f.name: msgspec.json.decode(msgspec.json.encode(f.default)) for f in fields}
    return defaults | body


_DEFAULTS: Final[dict[str, dict[str, Any]]] = {}


def laid_over(key: Key, body: dict[str, Any], change: Body) -> dict[str, Any] | None:
    """A pending change on top of a body."""
    if change.get("delete"):
        return None
    after = whole(key, body)
    for name, value in change.get("set", {}).items():
        if REGISTRY[key[0]].fields[name].policy.kind is Kind.KEYED:
            value = after[name] | value  # noqa: PLW2901  # the keys given join the others
        after[name] = tidy(REGISTRY[key[0]].fields[name], value)
    for name, amount in change.get("inc", {}).items():
        after[name] = (after[name] or 0) + amount
    for name, elements in change.get("add", {}).items():
        after[name] = sorted({*after[name], *elements})
    for name, elements in change.get("remove", {}).items():
        after[name] = [one for one in after[name] if one not in elements]
    for name, entries in change.get("append", {}).items():
        fresh = [one for one in entries if one["id"] not in {other["id"] for other in after[name]}]
        after[name] = sorted(after[name] + fresh, key=lambda one: (one.get("at", 0), one["id"]))
    for name, (_, text) in change.get("edit", {}).items():
        after[name] = text
    return after


def _difference(one: Mapping[Key, Any], other: Mapping[Key, Any]) -> list[Any]:
    return [(key, one.get(key), other.get(key)) for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)][:3]


__all__ = ["Oracle", "Row", "Trouble"]
