"""A desk in the office: the dispatcher's or the manager's device on the same sync endpoint, and what the office may ask over HTTP.

It has no replica: it reads a record, decides, and writes on the version that it read, as the console does. It keeps a journal like
everybody else.
"""

import time
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec

from demo.importer import Login
from demo.journal import Deed, Journal, Noted, Op, Verb, read
from demo.orders import Row
from sync.protocol import Change, Enrolled, Exchange, Outcome, Problem, Reason, Reply, TextEdit, Transaction
from sync.schema import REGISTRY, Entity

PAGE: Final = 500
BATCH: Final = 200
T = TypeVar("T")


class OfficeError(RuntimeError):
    """The server refused what the office asked; the message has the problem document's words."""


class Record(msgspec.Struct, frozen=True):
    """A record as `GET /v1/records` gives it."""

    entity: str
    id: str
    seq: int
    fields: dict[str, Any]

    def seen(self, field: str) -> Any:
        """A field's value; one at its default does not travel."""
        return self.fields.get(field, msgspec.to_builtins(REGISTRY[self.entity].fields[field].default))


class DeviceRow(msgspec.Struct, frozen=True):
    id: str
    name: str
    epoch: int
    last_n: int
    cursor_seq: int
    clock_seq: int


class Board(msgspec.Struct, frozen=True):
    """How far the office's rules are behind: changed records that they have yet to look at."""

    rules_due: int


class ParkedRow(msgspec.Struct, frozen=True):
    """A transaction that a rule refused; `device` is the device's name."""

    device: str
    n: int
    reasons: list[Reason]


class Unserved(msgspec.Struct, frozen=True):
    appointment: str
    rule: str
    reason: str
    nearest: str = ""


class Best(msgspec.Struct, frozen=True):
    planned: int = 0
    unserved: list[Unserved] = []
    checked: bool = False
    adapted: list[str] = []


class Improvement(msgspec.Struct, frozen=True):
    seconds: float
    served: int
    score: dict[str, Any]


class PlanState(msgspec.Struct, frozen=True):
    id: str
    state: str
    progress: list[Improvement] | None = None
    best: Best | None = None
    error: str | None = None


class _Id(msgspec.Struct, frozen=True):
    id: str


class _Code(msgspec.Struct, frozen=True):
    code: str


class Desk:
    """One office device. Use as `async with`."""

    def __init__(self, url: str, login: Login, folder: Path) -> None:
        self.person, self.user, self._code = login.person, login.user, login.code
        self.outcomes: dict[int, Outcome] = {}
        self.me: Enrolled
        self._file = folder / f"{login.person.key}.journal"
        self._journal = Journal(self._file)
        self._http = httpx.AsyncClient(base_url=url, timeout=60.0)
        self._n = 0

    async def __aenter__(self) -> Self:
        body = {"code": self._code, "device_name": self.person.key}
        self.me = await self._ask("POST", "/v1/enrol", Enrolled, body)
        self._http.headers["authorization"] = f"Bearer {self.me.token}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        self._journal.close()

    @property
    def journal(self) -> Noted:
        return read(self._file)

    # Asking ----------------------------------------------------------------------------------------------------------------

    async def record(self, entity: type[Entity], record_id: str) -> Record:
        return await self._ask("GET", f"/v1/records/{entity.spec.name}/{record_id}", Record)

    async def records(self, entity: str) -> list[Record]:
        """All records of an entity, page after page."""
        found: list[Record] = []
        while True:
            after = found[-1].id if found else ""
            page = await self._ask("GET", f"/v1/records/{entity}?limit={PAGE}&after={after}", list[Record])
            found += page
            if len(page) < PAGE:
                return found

    async def holdings(self, user: str) -> list[Row]:
        """What the server says that a user may hold, asked without the feed."""
        return await self._ask("GET", f"/v1/users/{user}/holdings", list[Row])

    async def devices(self) -> list[DeviceRow]:
        return await self._ask("GET", "/v1/devices", list[DeviceRow])

    async def rules_due(self) -> int:
        return (await self._ask("GET", "/v1/board", Board)).rules_due

    async def parked(self) -> list[ParkedRow]:
        return await self._ask("GET", "/v1/parked", list[ParkedRow])

    async def new_code(self, user: str) -> str:
        """A fresh enrolment code; a manager may ask for one."""
        return (await self._ask("POST", "/v1/enrolments", _Code, {"user": user})).code

    async def start_plan(self, start_ms: int, end_ms: int, seconds: float, seed: int) -> str:
        body = {"start_ms": start_ms, "end_ms": end_ms, "seconds": seconds, "seed": seed}
        return (await self._ask("POST", "/v1/plans", _Id, body)).id

    async def plan(self, run_id: str) -> PlanState:
        return await self._ask("GET", f"/v1/plans/{run_id}", PlanState)

    async def _ask(self, method: str, path: str, kind: type[T], body: object = None) -> T:
        content = None if body is None else msgspec.json.encode(body)
        reply = await self._http.request(method, path, content=content)
        if reply.status_code >= 400:
            problem = msgspec.json.decode(reply.content, type=Problem)
            raise OfficeError(f"{method} {path}: {problem.status} {problem.title} {problem.detail} {problem.extra or ''}")
        return msgspec.json.decode(reply.content, type=kind)

    # Writing ---------------------------------------------------------------------------------------------------------------

    async def set(self, entity: type[Entity], record_id: str, label: str, **values: Any) -> Outcome:
        """Give fields a value, on the version that stands now."""
        return await self._edit("set", entity, record_id, label, values)

    async def text(self, entity: type[Entity], record_id: str, label: str, **texts: str) -> Outcome:
        return await self._edit("text", entity, record_id, label, texts)

    async def delete(self, entity: type[Entity], record_id: str, label: str) -> Outcome:
        return await self._edit("delete", entity, record_id, label, {})

    async def _edit(self, verb: Verb, entity: type[Entity], record_id: str, label: str, values: dict[str, Any]) -> Outcome:
        record = await self.record(entity, record_id)
        before = {name: record.seen(name) for name in values}
        op = Op(verb, entity.spec.name, record_id, msgspec.to_builtins(values), before)
        return (await self.write([(label, [_change(op, record.seq)], (op,))]))[0]

    async def create(self, orders: list[tuple[str, list[Change]]]) -> list[Outcome]:
        """Write new records, a transaction for each group."""
        made = [
            (label, changes, tuple(Op("create", c.entity, c.id, msgspec.json.decode(bytes(_raw(c)))) for c in changes))
            for label, changes in orders
        ]
        return await self.write(made)

    async def write(self, batch: list[tuple[str, list[Change], tuple[Op, ...]]]) -> list[Outcome]:
        """Commit transactions. Each is in the journal before it is sent, and noted as done once the server has answered."""
        outcomes: list[Outcome] = []
        for at in range(0, len(batch), BATCH):
            part, first, now_ms = batch[at : at + BATCH], self._n + 1, time.time_ns() // 1_000_000
            deeds = [self._journal.deed(now_ms, label, ops) for label, _, ops in part]
            raws = [
                msgspec.Raw(msgspec.json.encode(Transaction(first + i, now_ms * 1000 + i, now_ms, tuple(changes), label)))
                for i, (label, changes, _) in enumerate(part)
            ]
            request = Exchange(self.me.epoch, now_ms, first=first, transactions=tuple(raws), limit=0)
            reply = await self._ask("POST", "/v1/sync", Reply, request)
            self._n += len(part)
            for i, k in enumerate(deeds):
                self._journal.done(k, first + i)
            outcomes += reply.outcomes
        self.outcomes |= {outcome.n: outcome for outcome in outcomes}
        return outcomes

    def deeds(self) -> tuple[Deed, ...]:
        return self.journal.deeds


def _raw(change: Change) -> msgspec.Raw:
    assert isinstance(change.set, msgspec.Raw), "a creation sets all its fields"
    return change.set


def _change(op: Op, base: int) -> Change:
    match op.verb:
        case "text":
            edits = {name: TextEdit(op.before[name], text) for name, text in op.fields.items()}
            return Change(op.entity, op.id, base=base, edit=edits)
        case "delete":
            return Change(op.entity, op.id, base=base, delete=True)
        case _:
            return Change(op.entity, op.id, base=base, set=msgspec.Raw(msgspec.json.encode(op.fields)))
