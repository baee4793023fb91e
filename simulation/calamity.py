"""What befalls a server's data: it is restored from a backup, or it forgets old deletions while somebody is away."""

from random import Random

from simulation.database import Backup, Database
from simulation.faults import Faults
from simulation.oracle import Oracle
from simulation.plan import Fault, Plan
from simulation.schedule import Scheduler
from simulation.server import Server

MINUTE_MS = 60_000


class Calamity:
    def __init__(self, oracle: Oracle, server: Server, database: Database, faults: Faults, scheduler: Scheduler) -> None:
        self._oracle, self._server, self._database, self._faults, self._scheduler = oracle, server, database, faults, scheduler

    async def run(self, plan: Plan) -> None:
        """At times that the seed decides."""
        random = Random(f"calamity {plan.seed}")
        while True:
            await self._scheduler.sleep(random.randint(3, 40) * MINUTE_MS)
            if plan.restores and self._faults.may(Fault.SERVER_RESTORED) and random.random() < 0.5:
                await self._restore(random)
            elif self._faults.may(Fault.HISTORY_PRUNED) and random.random() < 0.5:
                await self._prune(random.randint(0, 30) * MINUTE_MS)

    async def _restore(self, random: Random) -> None:
        """The disk breaks some time after a backup was taken; what was committed in between is gone."""
        await self._oracle.catch_up()
        with self._scheduler.io():
            backup = await Backup.take(self._database.url, self._server.tenant_id)
        try:
            await self._scheduler.sleep(random.randint(1, 20) * MINUTE_MS)
            await self._oracle.catch_up()
            self._server.kill()
            self._server.life += 1
            with self._scheduler.io():
                await backup.restore()
            incarnation = random.randbytes(6).hex()
            with self._scheduler.io():
                async with self._database.office.of(self._server.tenant_id) as tenant:
                    await tenant.begin_incarnation(incarnation)
            await self._oracle.restored(incarnation)
            self._faults.struck(Fault.SERVER_RESTORED)
        finally:
            with self._scheduler.io():
                await backup.close()

    async def _prune(self, age_ms: int) -> None:
        while self._server.committing:  # between a commit's read and its write either outcome would be right
            await self._scheduler.sleep(50)
        await self._oracle.catch_up()
        with self._scheduler.io():
            async with self._database.office.of(self._server.tenant_id) as tenant:
                horizon = await tenant.prune(self._scheduler.now_ms - age_ms)
        if horizon:
            self._oracle.pruned(horizon)
            self._faults.struck(Fault.HISTORY_PRUNED)
