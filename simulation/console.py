"""An office console: it sees everything, if a little late, and speaks the bare protocol without the SDK's help."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from client_sdk import Item, Offline
from client_sdk.draft import Draft
from server.storage.office import Office
from server.storage.tables import record
from simulation.party import E, Key, Party
from sync.clock import tick
from sync.codec import decode_body, decode_edit, encode_body
from sync.ids import RANDOM_BYTES, ulid
from sync.merge import Refused
from sync.overlay import overlay
from sync.protocol import Change, Enrolled, Enrolment, Exchange, Problem, Reply, Transaction
from sync.schema import REGISTRY

BATCH: Final = 40


class Console(Party):
    """`cache` holds version and body of what it last read, with its own edits on top."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.cache: dict[Key, tuple[int, dict[str, Any]]] = {}
        self.sent: list[bytes] = []
        self.taken = 0
        self._stamp = 0

    async def enrol(self, code: str) -> None:
        _, answer = await self.link.post("/v1/enrol", msgspec.json.encode(Enrolment(code, self.name)), {})
        enrolled = msgspec.json.decode(answer, type=Enrolled)
        self.device_id, self._token, self._epoch = enrolled.device, enrolled.token, enrolled.epoch

    async def refresh(self, office: Office, tenant_id: int) -> None:
        columns = (record.c.entity, record.c.id, record.c.seq, record.c.body)
        query = sa.select(*columns).where(record.c.tenant_id == tenant_id, sa.not_(record.c.deleted))
        async with office.of(tenant_id) as tenant:
            rows = await tenant.connection.execute(query.order_by(record.c.entity, record.c.id))
        self.cache = {(row.entity, row.id): (row.seq, decode_body(row.body)) for row in rows}

    def items(self, entity: type[E]) -> Sequence[Item[E]]:
        spec = entity.spec
        return [
            Item(key[1], spec.decoder.decode(encode_body(body)), pending=False, seq=seq)
            for key, (seq, body) in self.cache.items()
            if key[0] == spec.name
        ]

    @contextmanager
    def edit(self, label: str) -> Iterator[Draft]:
        draft = Draft(label, self._look, lambda: ulid(self.now(), self.random.randbytes(RANDOM_BYTES)), {})
        yield draft
        if draft.changes:
            self.write_foreign(label, draft.changes)

    def _look(self, key: Key) -> tuple[int, dict[str, Any] | None]:
        return self.cache.get(key, (0, None))

    def write_foreign(self, label: str, changes: tuple[Change, ...]) -> None:
        n, now_ms = len(self.sent) + 1, self.now()
        self._stamp = tick(self._stamp, now_ms)
        self.sent.append(msgspec.json.encode(Transaction(n, self._stamp, now_ms, changes, label)))
        self.note(n, label, changes)
        for change in msgspec.json.decode(msgspec.json.encode(changes), type=tuple[Change, ...]):
            self._show(change)

    def _show(self, change: Change) -> None:
        spec, key = REGISTRY.get(change.entity), (change.entity, change.id)
        if spec is None:
            return
        seq, body = self.cache.get(key, (0, {}))
        try:
            after = overlay(spec, body, decode_edit(spec, change))
        except Refused:
            return
        if after is None:
            self.cache.pop(key, None)
        else:
            self.cache[key] = seq, after

    async def sync(self) -> bool:
        """Send what has no outcome yet; True once nothing is left."""
        while True:
            batch = self.sent[self.taken : self.taken + BATCH]
            request = Exchange(
                epoch=self._epoch,
                sent_ms=self.now(),
                first=self.taken + 1,
                transactions=tuple(msgspec.Raw(raw) for raw in batch),
                limit=0,
            )
            try:
                reply = await self._exchange(request)
            except (Offline, msgspec.DecodeError) as error:
                self.trace.say(self.scheduler.now_ms, self.name, "sync failed", type(error).__name__)
                return False
            self.taken = reply
            if self.taken == len(self.sent):
                return True

    async def _exchange(self, request: Exchange) -> int:
        """The number that the server has got to."""
        headers = {"Authorization": f"Bearer {self._token}"}
        status, answer = await self.link.post("/v1/sync", msgspec.json.encode(request), headers)
        if status == 200:
            return msgspec.json.decode(answer, type=Reply).taken
        problem = msgspec.json.decode(answer, type=Problem)
        if problem.rule == "gap":
            return int(problem.extra["expected"]) - 1
        if status >= 500:
            raise Offline(problem.title)
        raise AssertionError(f"the server refused {self.name}: {problem}")
