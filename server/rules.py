"""Runs what the server does of its own accord (`server/domain/`).

Each rule looks at the state as it is and says what is missing, so running it twice changes nothing; the list of what to look at is
written in the same commit as the change itself (`server.commit.RULED`).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeAlias

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
    quotes,
    readings,
    reports,
    sales,
    stock,
    surveys,
    visits,
)
from server.domain.event import Clock, Event, Rule
from server.publishing import publish_due
from server.storage.office import Held, Tenant
from server.storage.records import forget_answers
from sync.protocol import Change, OutcomeKind

BATCH: Final = 200
ATTEMPTS: Final = 5
TURNS: Final = 100
"""How often the clocks of a tenant look in one sweep, each time at a batch; who has more due goes on in the next."""
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
_EACH: Final[tuple[Mapping[str, tuple[Rule, ...]], ...]] = tuple(getattr(module, "RULES", {}) for module in MODULES)
RULES: Final[dict[str, tuple[Rule, ...]]] = {
    entity: tuple(rule for rules in _EACH for rule in rules.get(entity, ())) for entity in sorted(set[str]().union(*_EACH))
}

_DATABASE_AWAY: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlalchemy.exc.SQLAlchemyError)
_FAULTS: Final = (Broken, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_Records: TypeAlias = dict[tuple[str, str], Held | None]
_log: Final = logging.getLogger(__name__)


async def tick(context: Context, clocks: Sequence[Clock], tenant_id: int, now_ms: int) -> int:
    """Write what these clocks find due in a tenant; returns how many transactions that were."""
    found: list[tuple[str, Sequence[Iterable[Change]]]] = []
    async with context.office.of(tenant_id) as tenant:
        for clock in clocks:
            try:
                found.append((clock.__name__, await clock(tenant, now_ms)))
            except _FAULTS:  # a fault in one must not hold up the others
                _log.exception("%s of tenant %d", clock.__name__, tenant_id)
    written = 0
    for label, groups in found:
        if not groups:
            continue
        try:
            await write(context, tenant_id, label, groups)
        except _FAULTS:
            _log.exception("%s of tenant %d", label, tenant_id)
        else:
            written += len(groups)
    return written


class Rules:
    """Runs the rules of a process's tenants, woken by the door, and the clocks of all tenants."""

    def __init__(self, context: Context, *, sweep_s: float = SWEEP_S) -> None:
        self._context, self._sweep_s = context, sweep_s
        self._due: set[int] = set()
        self._wake = asyncio.Event()
        self._forgot_ms = 0
        self.on_step: Callable[[], None] = _unheard
        """Told after each batch: something may have been put into the outbox."""

    def note(self, tenant_id: int) -> None:
        self._due.add(tenant_id)
        self._wake.set()

    async def run(self) -> None:
        """For ever. Clocks have a task of their own: a sweep through many tenants must not keep what just happened waiting."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="rules")
            tasks.create_task(self._sweep(), name="clocks")

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            await self._drain()

    async def _sweep(self) -> None:
        """Now and then every tenant: what another process left behind, and what time alone brings."""
        while True:
            try:
                tenants = (await self._context.office.tenants()).values()
                self._due.update(tenants)
                self._wake.set()
                await self._keep_house(tenants)
            except _DATABASE_AWAY:
                _log.exception("the clocks wait for the next sweep")
            await asyncio.sleep(self._sweep_s)

    async def _keep_house(self, tenants: Iterable[int]) -> None:
        """What the clocks find due, and once a day what nobody needs any more is forgotten."""
        now_ms = self._context.now_ms()
        forget = now_ms - self._forgot_ms >= DAY_MS
        for tenant_id in tenants:
            try:
                await self._keep_house_of(tenant_id, now_ms, forget=forget)
            except (*_DATABASE_AWAY, *_FAULTS):  # what is wrong with one tenant must not hold up the others
                _log.exception("the clocks of tenant %d wait for the next sweep", tenant_id)
        if forget:
            self._forgot_ms = now_ms

    async def _keep_house_of(self, tenant_id: int, now_ms: int, *, forget: bool) -> None:
        for _ in range(TURNS):
            if not await tick(self._context, CLOCKS, tenant_id, now_ms):
                break
        await publish_due(self._context, tenant_id, now_ms)
        if forget:
            async with self._context.office.of(tenant_id) as tenant:
                await tenant.prune(now_ms - KEEP_TOMBSTONES_MS)
                await forget_answers(tenant, now_ms - KEEP_ANSWERS_MS)

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
            records: _Records = {}
            for entity, ids in groupby(events, key=itemgetter(0)):
                records |= {(held.entity, held.id): held for held in await tenant.some(entity, [record_id for _, record_id in ids])}
            for entity, record_id in events:
                for rule in RULES[entity]:
                    await self._apply(tenant, rule, entity, record_id, records)
        if events:
            self.on_step()
        return len(events)

    async def _apply(self, tenant: Tenant, rule: Rule, entity: str, record_id: str, records: _Records) -> None:
        """`records` are this batch's as they were read; once a rule has written, they are read anew."""
        for _ in range(ATTEMPTS):
            if (entity, record_id) not in records:
                records[entity, record_id] = await tenant.record(entity, record_id)
            held = records[entity, record_id]
            if held is None:
                return
            event = Event(tenant, entity, record_id, held.seq, msgspec.json.decode(held.fields), self._context.now_ms())
            try:
                changes = tuple(await rule(event))
                if not changes:
                    return
                records.clear()
                committed = await write(self._context, tenant.tenant_id, rule.__name__, [changes])
            except _FAULTS:  # a fault in the rule must not hold up the others
                _log.exception("%s on %s %s", rule.__name__, entity, record_id)
                return
            if committed.outcomes[0].kind is not OutcomeKind.PARKED:
                return  # otherwise a record moved between the look and the write: look again


def _unheard() -> None:
    """No courier runs in this process; another one looks by itself."""
