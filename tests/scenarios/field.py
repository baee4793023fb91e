"""What the stories are told with: an office, phones on lines that fail, and a company that both belong to."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import httpx
import msgspec
import sqlalchemy as sa
from conftest import Company

from client_sdk import HttpTransport, Offline, Outgoing, Replica
from server.author import create as server_create
from server.author import write
from server.door import _nobody
from server.storage.tables import rule_event
from sync.entities import Account, Appointment, Conflict, Product, Site, Technician, WorkOrder
from sync.entities.flows import AppointmentStatus
from sync.protocol import Outcome, OutcomeKind, Page, Reply
from sync.schema import REGISTRY, Entity, EntitySpec
from tests.client_sdk.oracle import check, shown
from tests.server.wire import BareDevice

E = TypeVar("E", bound=Entity)
Registry = Mapping[str, EntitySpec]
Change = dict[str, Any]
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS
PATIENCE_S = 30
"""After so long a story that waits for something to happen fails instead of hanging."""


class Clock:
    """The true time in milliseconds: the machine's, and what a story lets pass beside it."""

    def __init__(self) -> None:
        self.passed_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.passed_ms


class Line:
    """A phone's way to the server, and what befalls it. `page` bounds the records of a page, 0 leaves that to the app."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.via(http)
        self.cut = False
        self.lose_replies = 0
        self.copies = 1
        self.page = 0
        self.before: Callable[[], Awaitable[object]] | None = None
        self.posts = 0
        self.pages: list[Page] = []

    def via(self, http: httpx.AsyncClient) -> None:
        """From now on, to this server."""
        self._inner = HttpTransport(http)

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        if self.cut:
            raise Offline("no signal")
        if self.before:
            await self.before()
        self.posts += 1
        if self.page and path == "/v1/sync":
            body = b'%s,"limit":%d}' % (body[:-1], self.page)
        answers = await asyncio.gather(*(self._inner.post(path, body, headers) for _ in range(self.copies)))
        if self.lose_replies:
            self.lose_replies -= 1
            raise Offline("the reply is lost")
        status, answer = answers[-1]
        if path == "/v1/sync" and status == 200 and (page := msgspec.json.decode(answer, type=Reply).page):
            self.pages.append(page)
        return status, answer

    def arrived(self) -> set[str]:
        """The ids of all records that have come down since the story last asked."""
        pages, self.pages = self.pages, []
        return {record.id for page in pages for record in (*page.whole, *page.delta)}


class Phone:
    """A replica of somebody in the field, on a line of its own. Its clock is `skew_ms` off the true time."""

    def __init__(self, path: Path, http: httpx.AsyncClient, clock: Clock, user: str, registry: Registry = REGISTRY) -> None:
        self.path, self.user, self.skew_ms = path, user, 0
        self.line = Line(http)
        self.replica = Replica.open(
            path, clock=lambda: clock() + self.skew_ms, random=Random(path.name), transport=self.line, registry=registry
        )
        self.edit = self.replica.edit

    async def sync(self) -> None:
        await self.replica.sync()

    def see(self, entity: type[E], record_id: str) -> E | None:
        item = self.replica.get(entity, record_id)
        return item.fields if item else None

    def sees(self, entity: type[Entity], record_id: str) -> bool:
        return self.replica.get(entity, record_id) is not None

    def ids(self, entity: type[Entity]) -> set[str]:
        return {item.id for item in self.replica.query(entity)}

    def bodies(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Everything that the phone shows."""
        return {key: body for key, (body, *_) in shown(self.replica).items()}

    def fates(self) -> list[OutcomeKind | None]:
        """What became of each transaction, oldest first; None while it waits."""
        return [sent.kind for sent in self.replica.history()]

    def last(self) -> Outgoing:
        return self.replica.history()[-1]

    def close(self) -> None:
        if self.replica._store._connection:
            check(self.replica)
        self.replica.close()


class Desk:
    """Somebody in the office, at a console that shows the newest state and writes on what it shows."""

    def __init__(self, device: BareDevice) -> None:
        self.device, self.user = device, device.me.user
        self._headers = {"authorization": f"Bearer {device.me.token}"}

    async def does(self, *changes: Change) -> Outcome:
        """One transaction, which must not be refused."""
        outcome = await self.device.push(*changes)
        assert outcome.kind is not OutcomeKind.PARKED, outcome
        return outcome

    async def tries(self, *changes: Change) -> Outcome:
        return await self.device.push(*changes)

    async def sets(self, entity: type[Entity], record_id: str, **fields: Any) -> Outcome:
        return await self.does(await self.setting(entity, record_id, **fields))

    async def setting(self, entity: type[Entity], record_id: str, **fields: Any) -> Change:
        name = entity.spec.name
        return {"entity": name, "id": record_id, "base": await self.version(entity, record_id), "set": fields}

    async def deleting(self, entity: type[Entity], record_id: str) -> Change:
        return {"entity": entity.spec.name, "id": record_id, "base": await self.version(entity, record_id), "delete": True}

    async def version(self, entity: type[Entity], record_id: str) -> int:
        seq: int = (await self.get(f"/v1/records/{entity.spec.name}/{record_id}"))["seq"]
        return seq

    async def see(self, entity: type[E], record_id: str) -> E:
        held = await self.get(f"/v1/records/{entity.spec.name}/{record_id}")
        return msgspec.convert(held["fields"], entity)

    async def all(self, entity: type[E]) -> dict[str, E]:
        rows = await self.get(f"/v1/records/{entity.spec.name}")
        return {row["id"]: msgspec.convert(row["fields"], entity) for row in rows}

    async def conflicts(self) -> dict[str, Conflict]:
        return await self.all(Conflict)

    async def get(self, path: str) -> Any:
        reply = await self.device.http.get(path, headers=self._headers)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def post(self, path: str, **body: Any) -> Any:
        reply = await self.device.http.post(path, json=body, headers=self._headers)
        assert reply.status_code < 300, reply.text
        return reply.json()


def make(fields: Entity, record_id: str) -> Change:
    return {"entity": fields.spec.name, "id": record_id, "create": True, "set": msgspec.to_builtins(fields)}


class Field:
    """A company with a dispatcher and a manager at their desks; everybody else is outside."""

    def __init__(self, company: Company, folder: Path, clock: Clock) -> None:
        self.company, self.clock, self.ruled = company, clock, company.context.door.on_ruled is not _nobody
        self._folder = folder
        self._phones: list[Phone] = []
        self.dispatcher: Desk
        self.manager: Desk

    async def open(self) -> None:
        self.dispatcher, self.manager = await self.desk("Dana", "dispatcher"), await self.desk("Mia", "manager")
        await self.catalogue(X1=Product(sku="X1", name="Pump", price_cents=10_000))
        await self.dispatcher.does(
            make(Account(name="Lakeside Clinic"), "A1"),
            make(Site(account="A1", name="Main house", access_notes="gate code 12, dog"), "S1"),
        )

    def close(self) -> None:
        for phone in self._phones:
            phone.close()

    def moved_to(self, company: Company) -> None:
        """The company as another server has it."""
        self.company, self.ruled = company, company.context.door.on_ruled is not _nobody
        for desk in (self.dispatcher, self.manager):
            desk.device.http = company.http

    async def desk(self, name: str, role: str) -> Desk:
        user = await self.company.user(name, role)
        return Desk(BareDevice(self.company.http, await self.company.enrol(user, name)))

    async def technician(self, technician: str, **fields: Any) -> Phone:
        """A technician, known to the office by the id, with an enrolled phone."""
        user = await self.company.user(technician, "technician")
        await self.dispatcher.does(make(Technician(name=technician, user=user, **fields), technician))
        return await self.phone(user, technician)

    async def rep(self, name: str, *territories: str) -> Phone:
        return await self.phone(await self.company.user(name, "rep", territories), name)

    async def phone(self, user: str, name: str, registry: Registry = REGISTRY) -> Phone:
        """A further phone of a user, in a file by name, with an app that knows the entities in `registry`."""
        phone = Phone(self._folder / name, self.company.http, self.clock, user, registry)
        self._phones.append(phone)
        await phone.replica.enrol("http://server", await self.company.code(user), name)
        await phone.sync()
        return phone

    def reopened(self, path: Path, user: str) -> Phone:
        """The phone that the file at `path` is."""
        phone = Phone(path, self.company.http, self.clock, user)
        self._phones.append(phone)
        return phone

    async def catalogue(self, **records: Entity) -> None:
        """What an importer brings into the catalogue."""
        changes = [server_create(r.spec.name, name, **msgspec.to_builtins(r)) for name, r in records.items()]
        await write(self.company.context, self.company.tenant_id, "catalogue", [changes])

    async def job(self, order: str, technician: str | None, *more: Change, site: str = "S1") -> str:
        """A work order at the site, dispatched to the technician for now, with whatever else belongs to it; its visit's id."""
        visit = f"{order}.visit"
        planned = {"technician": technician, "status": AppointmentStatus.DISPATCHED} if technician else {}
        await self.dispatcher.does(
            make(WorkOrder(account="A1", site=site, subject=f"{order}: boiler is cold"), order),
            make(Appointment(work_order=order, planned_start=self.clock(), **planned), visit),
            *more,
        )
        await self.rules_are_done()
        return visit

    async def rules_are_done(self) -> None:
        """Wait until the rules, if they are at work here, have looked at everything that happened."""
        if not self.ruled:
            return
        count = sa.select(sa.func.count()).select_from(rule_event).where(rule_event.c.tenant_id == self.company.tenant_id)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with self.company.context.office.of(self.company.tenant_id) as tenant:
                    if not (await tenant.connection.execute(count)).scalar_one():
                        return

    async def holds_exactly_what_it_may(self, phone: Phone) -> None:
        """Once all is quiet, the phone shows every record that its user may hold, as the server has it, and no other."""
        phone.line.before = None
        await self.rules_are_done()
        await phone.sync()
        rows = await self.dispatcher.get(f"/v1/users/{phone.user}/holdings")
        assert phone.bodies() == {(entity, record_id): body for entity, record_id, _, body in rows}


@asynccontextmanager
async def full_disk(phone: Phone) -> AsyncIterator[None]:
    """The phone's storage takes not one page more."""
    connection: sqlite3.Connection = phone.replica._store._open
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA max_page_count = {2**30}")
