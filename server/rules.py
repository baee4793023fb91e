"""Runs what the server does of its own accord (`server/domain/`).

Each rule looks at the state as it is and says what is missing, so running it twice changes nothing; the list of what to look at is
written in the same commit as the change itself (`server.door.RULED`).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import asyncpg
import msgspec
import sqlalchemy.exc

from server.author import Broken, write
from server.context import Context
from server.domain import (
    cases,
    contracts,
    incentives,
    leads,
    learning,
    maintenance,
    notifications,
    offers,
    plans,
    quotes,
    readings,
    reports,
    sales,
    stock,
    surveys,
    visits,
)
from server.domain.event import Clock, Event, Rule
from server.storage.office import Tenant
from server.storage.records import forget_answers
from sync.protocol import OutcomeKind

BATCH: Final = 200
ATTEMPTS: Final = 5
SWEEP_S: Final = 20.0
"""How often every tenant is looked at, for what another process left behind when it died."""
DAY_MS: Final = 86_400_000
KEEP_TOMBSTONES_MS: Final = 90 * DAY_MS
KEEP_ANSWERS_MS: Final = DAY_MS

MODULES: Final = (
    incentives,
    leads,
    learning,
    offers,
    plans,
    quotes,
    sales,
    stock,
    visits,
    notifications,
    contracts,
    cases,
    maintenance,
    readings,
    reports,
    surveys,
)
CLOCKS: Final[tuple[Clock, ...]] = tuple(clock for module in MODULES for clock in getattr(module, "CLOCKS", ()))
RULES: Final[dict[str, tuple[Rule, ...]]] = {
    entity: tuple(rule for module in MODULES for rule in module.RULES.get(entity, ()))
    for entity in sorted({entity for module in MODULES for entity in module.RULES})
}

_DATABASE_AWAY: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlalchemy.exc.SQLAlchemyError)
_FAULTS: Final = (Broken, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_log: Final = logging.getLogger(__name__)


class Rules:
    """Runs the rules of a process's tenants, woken by the door."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._due: set[int] = set()
        self._wake = asyncio.Event()
        self._forgot_ms = 0
        self.on_step: Callable[[], None] = _unheard
        """Told after each batch: something may have been put into the outbox."""

    def note(self, tenant_id: int) -> None:
        self._due.add(tenant_id)
        self._wake.set()

    async def run(self) -> None:
        """For ever: the tenants that were noted, and now and then all of them."""
        while True:
            try:
                tenants = (await self._context.office.tenants()).values()
                self._due.update(tenants)
                await self._keep_house(tenants)
            except _DATABASE_AWAY:
                _log.exception("the rules wait for the next sweep")
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    while True:
                        await self._drain()
                        await self._wake.wait()

    async def _keep_house(self, tenants: Iterable[int]) -> None:
        """What time alone brings: the window of days moves, and once a day what nobody needs any more is forgotten."""
        now_ms = self._context.now_ms()
        forget = now_ms - self._forgot_ms >= DAY_MS
        for tenant_id in tenants:
            for clock in CLOCKS:
                await self._tick(clock, tenant_id, now_ms)
            if forget:
                async with self._context.office.of(tenant_id) as tenant:
                    await tenant.prune(now_ms - KEEP_TOMBSTONES_MS)
                    await forget_answers(tenant, now_ms - KEEP_ANSWERS_MS)
        if forget:
            self._forgot_ms = now_ms

    async def _tick(self, clock: Clock, tenant_id: int, now_ms: int) -> None:
        try:
            while await clock(self._context, tenant_id, now_ms):
                pass
        except _FAULTS:  # a fault in one must not hold up the others
            _log.exception("%s of tenant %d", clock.__name__, tenant_id)

    async def _drain(self) -> None:
        """A batch of each tenant in turn, so that one who brings in years of records holds up nobody else."""
        self._wake.clear()
        while self._due:
            tenants, self._due = self._due, set()
            for tenant_id in tenants:
                try:
                    if await self.step(tenant_id):
                        self._due.add(tenant_id)
                except _DATABASE_AWAY:
                    _log.exception("rules of tenant %d wait for the next sweep", tenant_id)

    async def step(self, tenant_id: int) -> int:
        """Take a batch of changed records and do what the rules say; returns how many records were looked at."""
        async with self._context.office.of(tenant_id) as tenant:
            events = await tenant.take_events(BATCH)
            for entity, record_id in events:
                for rule in RULES[entity]:
                    await self._apply(tenant, rule, entity, record_id)
        if events:
            self.on_step()
        return len(events)

    async def _apply(self, tenant: Tenant, rule: Rule, entity: str, record_id: str) -> None:
        for _ in range(ATTEMPTS):
            held = await tenant.record(entity, record_id)
            if held is None:
                return
            event = Event(tenant, entity, record_id, held.seq, msgspec.json.decode(held.fields), self._context.now_ms())
            try:
                changes = tuple(await rule(event))
                if not changes:
                    return
                committed = await write(self._context, tenant.tenant_id, rule.__name__, [changes])
            except _FAULTS:  # a fault in the rule must not hold up the others
                _log.exception("%s on %s %s", rule.__name__, entity, record_id)
                return
            if committed.outcomes[0].kind is not OutcomeKind.PARKED:
                return  # otherwise a record moved between the look and the write: look again


def _unheard() -> None:
    """No courier runs in this process; another one looks by itself."""
