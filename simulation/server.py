"""The server in process: the real exchange, door and rules, without its web face. It may be killed and started again."""

import asyncio
import logging
from collections.abc import Mapping
from random import Random
from typing import Any, Final

import asyncpg
import msgspec
import procrastinate
import sqlalchemy.exc

from server.commit import Push
from server.context import Context
from server.devices import claim_of, enrol
from server.door import Committed, Door
from server.exchange import exchange
from server.holdings import Holdings
from server.problems import ProblemError
from server.pulls import Pulls
from server.rules import Rules
from server.shelf import Shelf
from server.storage.pool import Pool
from simulation.database import Database, Gate, GatedOffice, GatedPool
from simulation.faults import Faults
from simulation.plan import Fault
from simulation.schedule import Scheduler
from sync.protocol import Enrolment, Exchange

Arrival = tuple[int, int, int, int]
"""(device number, epoch, first n, received): what names one push."""

_UNREACHABLE: Final = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)
RULES_EVERY_MS: Final = 5_000


class ObservedDoor(Door):
    """The real door; the order in which pushes come to it is written down, since a log does not tell it within one commit."""

    def __init__(self, pool: Pool, holdings: Holdings, arrivals: dict[Arrival, int]) -> None:
        super().__init__(pool, holdings)
        self._arrivals = arrivals

    async def submit(self, tenant_id: int, push: Push) -> Committed:
        arrival = (push.author.device, push.epoch, push.first_n, push.received_ms)
        self._arrivals.setdefault(arrival, len(self._arrivals))
        return await super().submit(tenant_id, push)


class Server:
    """One server process after another on one database, for one tenant."""

    def __init__(self, database: Database, scheduler: Scheduler, faults: Faults, random: Random) -> None:
        self._scheduler, self._faults, self._random = scheduler, faults, random
        gate = Gate(scheduler, faults, random)
        self._pool, self._office = GatedPool(database, gate), GatedOffice(database, gate)
        self.arrivals: dict[Arrival, int] = {}
        self.sent_ms: dict[tuple[str, int], int] = {}
        """What a device said its clock was, by its id and the moment at which the request came."""
        self.tenant_id = 0
        self.rules_due = False
        self.life = 0
        """Counts restorations: no request outlives one."""
        self._running: set[asyncio.Task[tuple[int, bytes]]] = set()
        self._ruling: asyncio.Task[Any] | None = None
        self.start()

    def start(self) -> None:
        jobs = procrastinate.App(connector=procrastinate.PsycopgConnector())
        self.context = Context(self._pool, self._office, jobs, now_ms=self._scheduler.now, random=self._random.randbytes)
        holdings = Holdings(self._pool)
        self.context.pulls = Pulls(self._pool, holdings, Shelf(least_bytes=1))
        self.context.door = ObservedDoor(self._pool, holdings, self.arrivals)
        self.context.door.on_ruled = self._note
        self.rules_due = True
        self._ruling = self._scheduler.spawn(self._rule(Rules(self.context)), "rules")

    def kill(self) -> None:
        """The process is gone: what it was doing stops between two statements, what it remembered is forgotten."""
        names = (f"door-{self.tenant_id}", f"together-{self.tenant_id}")
        doors = [task for task in asyncio.all_tasks() if task.get_name() in names]
        for task in (*self._running, *doors, self._ruling):
            if task is not None:
                task.cancel()
        self._running.clear()
        self.start()

    @property
    def committing(self) -> bool:
        return any(task.get_name() == f"door-{self.tenant_id}" for task in asyncio.all_tasks())

    def _note(self, _tenant_id: int) -> None:
        self.rules_due = True

    async def _rule(self, rules: Rules) -> None:
        while True:
            await self._scheduler.sleep(RULES_EVERY_MS)
            if not (self.rules_due and self.tenant_id):
                continue
            self.rules_due = False
            try:
                while await rules.step(self.tenant_id):
                    pass
            except (*_UNREACHABLE, sqlalchemy.exc.SQLAlchemyError):
                self.rules_due = True

    async def serve(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """One request. Raises ConnectionResetError if the process dies over it."""
        task: asyncio.Task[tuple[int, bytes]] = self._scheduler.spawn(self._answer(path, body, headers), "serve")
        self._running.add(task)
        try:
            await asyncio.wait({task})
        finally:
            self._running.discard(task)
        if task.cancelled():
            raise ConnectionResetError("the server is gone")
        return task.result()

    async def _answer(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """As `server.routes.sync` does it."""
        now_ms = self._scheduler.now()
        try:
            if path == "/v1/enrol":
                asked = msgspec.json.decode(body, type=Enrolment)
                made = await enrol(self._pool, asked, now_ms=now_ms, random=self._random.randbytes(42))
                return 200, msgspec.json.encode(made)
            claim = claim_of(headers.get("Authorization"))
            self.sent_ms[claim.device_id, now_ms] = msgspec.json.decode(body, type=Exchange).sent_ms
            done = await exchange(self._pool, self.context.gate, self.context.door, self.context.pulls, claim, body, now_ms)
        except ProblemError as refused:
            return refused.problem.status, refused.body
        except _UNREACHABLE:
            return 503, ProblemError(503, "The database is not reachable", rule="unavailable").body
        return 200, done.reply

    async def haunt(self) -> None:
        """Be killed now and then."""
        while True:
            await self._scheduler.sleep(self._random.randint(1, 20) * 30_000 + self._random.randint(0, 3_000))
            if self._faults.strikes(Fault.SERVER_KILLED, 0.15):
                self.kill()


class Complaints(logging.Handler):
    """What the server logs as its own fault is one, here."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        why = record.exc_info[1] if record.exc_info else ""
        self.found.append(f"{record.getMessage()}: {why!r}")
