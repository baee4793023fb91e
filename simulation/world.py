"""One world from one seed: set up, lived in, brought to rest, judged."""

import asyncio
import logging
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from client_sdk import Invalid, NotFound, Replica
from client_sdk import session as sdk_session
from server import author, tenants
from server.storage.office import SERVER_DEVICE_NO, SERVER_USER
from simulation import field_acts, final
from simulation.calamity import Calamity
from simulation.console import Console
from simulation.database import Database
from simulation.device import Device
from simulation.faults import Faults
from simulation.field_acts import REP, TECHNICIAN, Act
from simulation.link import Link
from simulation.model import Person
from simulation.office_acts import OFFICE
from simulation.oracle import Oracle, Trouble
from simulation.party import Party
from simulation.plan import Fault, Plan
from simulation.schedule import START_MS, Crash, Scheduler
from simulation.server import Complaints, Server
from simulation.trace import Trace
from sync.entities import Account, Appointment, Asset, Contact, Depot, Site, Technician, WorkOrder, WorkOrderTask
from sync.entities.flows import AppointmentStatus
from sync.policies import Role

DAY_MS: Final = 86_400_000
ROUNDS: Final = 25
_SEQ: Final = "select seq from clock where tenant_id = $1"
_EVENTS: Final = "select count(*) from rule_event where tenant_id = $1"


class Report(msgspec.Struct, frozen=True):
    """What one seed came to. `trace` names the run: the same seed has the same."""

    seed: int
    transactions: int
    commits: int
    exchanges_to_quiesce: int
    faults: dict[str, int]
    outcomes: dict[str, int]
    trace: str
    wall_s: float
    trouble: str = ""
    what: str = ""
    last: tuple[str, ...] = ()


class World:
    def __init__(self, plan: Plan, database: Database, folder: Path, template: Path, trace: Trace) -> None:
        self.plan, self._database, self._folder, self._template, self._trace = plan, database, folder, template, trace
        self._random = Random(f"world {plan.seed}")
        self.scheduler = Scheduler(Random(f"order {plan.seed}"))
        self.faults = Faults(plan)
        self.server = Server(database, self.scheduler, self.faults, Random(f"server {plan.seed}"))
        self.oracle = Oracle(database, self.scheduler, self.server, trace)
        self.parties: list[Party] = []
        self.exchanges_to_quiesce = 0

    # Setting up ------------------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """The company, its people, its first records, its devices; nothing goes wrong yet."""
        context = self.server.context
        with self.scheduler.io():
            tenant_id = await tenants.create_tenant(context, f"seed {self.plan.seed} of {time.time_ns()}")
        self.server.tenant_id = tenant_id
        self.oracle.incarnation = await self.oracle.ask(
            lambda c: c.fetchval("select incarnation from clock where tenant_id = $1", tenant_id)
        )
        self.oracle.model.people[SERVER_DEVICE_NO] = Person(SERVER_USER, Role.SERVER, 0)
        technicians = [await self._user(f"tech{n}", "technician") for n in range(self.plan.technicians)]
        reps = [await self._user(f"rep{n}", "rep", ("N",) if n else ()) for n in range(self.plan.reps)]
        products = [author.create("product", f"product{n}", sku=f"P{n}", name=f"Part {n}") for n in range(3)]
        await author.write(context, tenant_id, "products", [products])
        for n in range(self.plan.consoles):
            role = Role.MANAGER if n == 0 else Role.DISPATCHER
            await self._console(f"office{n}", role)
        first = self.parties[0]
        assert isinstance(first, Console)
        self._furnish(first, technicians, reps)
        assert await first.sync(), "the first records were not taken"
        for n, user in enumerate(technicians):
            await self._device(f"t{n}", Role.TECHNICIAN, user)
        for n, user in enumerate(reps):
            await self._device(f"r{n}", Role.REP, user)
        for n in range(self.plan.twins):
            await self._device(f"twin{n}", Role.TECHNICIAN, technicians[n])

    async def _user(self, name: str, role: str, territories: Sequence[str] = ()) -> str:
        return await tenants.create_user(self.server.context, self.server.tenant_id, name, role, territories)

    def _named(self, name: str, role: Role, user: str) -> dict[str, Any]:
        link = Link(self.server, self.scheduler, self.faults, self.plan.page_records)
        return {
            "name": name,
            "role": role,
            "user": user,
            "scheduler": self.scheduler,
            "faults": self.faults,
            "link": link,
            "trace": self._trace,
            "seed": self.plan.seed,
        }

    async def _enrolled(self, party: Console | Device) -> None:
        code = await tenants.create_code(self.server.context, self.server.tenant_id, party.user)
        await party.enrol(code)
        row = await self.oracle.ask(
            lambda c: c.fetchrow(
                "select no, enrolled_ms from device where tenant_id = $1 and id = $2", self.server.tenant_id, party.device_id
            )
        )
        party.device_no = row["no"]
        self.oracle.parties[party.device_no] = party
        self.oracle.model.people[party.device_no] = Person(party.user, party.role, row["enrolled_ms"])
        self.parties.append(party)

    async def _console(self, name: str, role: Role) -> None:
        console = Console(**self._named(name, role, await self._user(name, str(role))))
        await self._enrolled(console)

    async def _device(self, name: str, role: Role, user: str) -> None:
        named = self._named(name, role, user)
        device = Device(**named, folder=self._folder, template=self._template, observe=self.oracle.observe)
        await self._enrolled(device)
        assert await device.sync(), f"{name} cannot sync"

    def _furnish(self, who: Console, technicians: Sequence[str], reps: Sequence[str]) -> None:
        """The first records of a company."""
        for n, user in enumerate(technicians):
            with who.edit("a technician") as draft:
                depot = draft.create(Depot(name=f"Depot {n}"))
                draft.create(Technician(name=f"Technician {n}", user=user, depot=depot))
        for n in range(4):
            with who.edit("an account") as draft:
                account = draft.create(Account(name=f"Account {n}", owner=reps[n % len(reps)]))
                draft.create(Contact(account=account, name=f"Contact {n}"))
                site = draft.create(Site(account=account, name=f"Site {n}", territory="N" if n % 2 else ""))
                draft.create(Asset(site=site, name=f"Asset {n}"))
        for n in range(6):
            place, technician = who.items(Site)[n % 4], who.items(Technician)[n % len(technicians)]
            with who.edit("a job") as draft:
                order = draft.create(WorkOrder(account=place.fields.account, site=place.id, subject=f"Job {n}"))
                draft.create(WorkOrderTask(work_order=order, title="look"))
                draft.create(Appointment(work_order=order, technician=technician.id, status=AppointmentStatus.SCHEDULED))

    # Living ----------------------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        self.faults.on = True
        haunts = [
            self.server.haunt(),
            Calamity(self.oracle, self.server, self._database, self.faults, self.scheduler).run(self.plan),
        ]
        haunting = [self.scheduler.spawn(haunt, "haunt") for haunt in haunts]
        share = self.plan.transactions // len(self.parties)
        lives = [self.scheduler.spawn(self._life(party, share), party.name) for party in self.parties]
        await asyncio.wait(lives)
        for haunt in haunting:
            haunt.cancel()
        self.faults.on = False
        await self._rest()

    async def _life(self, party: Party, share: int) -> None:
        """Work, and sync now and then, until one's share is done."""
        acts = OFFICE if isinstance(party, Console) else REP if party.role is Role.REP else TECHNICIAN
        goal = len(party.done) + share
        while len(party.done) < goal:
            # People do things when the clock strikes, so that they do them at once.
            beat_ms = self.plan.beat_minutes * 60_000
            beats = party.random.choice((1, 1, 1, 2, 5))
            await party.scheduler.sleep(beats * beat_ms - (self.scheduler.now_ms - START_MS) % beat_ms)
            party.jump_clock()
            if isinstance(party, Console) and party.random.random() < 0.7:
                await self._refresh(party)
            for _ in range(min(party.random.randint(1, 16), goal - len(party.done))):
                self._act(party, acts)
            await self._look(party)
            if party.random.random() < 0.85:
                await self._sync(party)

    def _act(self, party: Party, acts: Mapping[Act, int]) -> None:
        if party.random.random() < 0.02:
            field_acts.poison(party)
            return
        act = party.random.choices(list(acts), list(acts.values()))[0]
        try:
            with party.edit(act.__name__) as draft:
                act(party, draft)
        except (Invalid, NotFound):
            return  # nothing was stored; a later act finds something to do

    async def _refresh(self, console: Console) -> None:
        with self.scheduler.io():
            await console.refresh(self._database.office, self.server.tenant_id)

    async def _look(self, party: Party) -> None:
        if isinstance(party, Device):
            await party.look()

    async def _sync(self, party: Party) -> bool:
        party.link.wander()
        if isinstance(party, Device):
            if party.random.random() < 0.1:
                party.mend()
            return await party.sync()
        assert isinstance(party, Console)
        return await party.sync()

    # Coming to rest --------------------------------------------------------------------------------------------------------

    async def _rest(self) -> None:
        """Faults are off: everybody syncs until nothing is pending anywhere, in a bounded number of rounds."""
        await self.scheduler.sleep(DAY_MS)  # what was still under way has come or is lost
        before = sum(party.link.exchanges for party in self.parties)
        for _ in range(ROUNDS):
            for party in self.parties:
                party.link.down_until_ms = 0
                if not await self._sync(party):
                    raise Trouble("lost", f"{party.name} cannot sync though nothing is wrong")
            await self.scheduler.sleep(20_000)
            if await self._even():
                break
        else:
            raise Trouble("diverged", f"no rest after {ROUNDS} rounds")
        self.exchanges_to_quiesce = sum(party.link.exchanges for party in self.parties) - before
        await self._judge()

    async def _even(self) -> bool:
        seq = await self.oracle.ask(lambda c: c.fetchval(_SEQ, self.server.tenant_id))
        events = await self.oracle.ask(lambda c: c.fetchval(_EVENTS, self.server.tenant_id))
        devices = [party for party in self.parties if isinstance(party, Device)]
        return not events and all(device.checkpoint == seq for device in devices)

    async def _judge(self) -> None:
        with self.scheduler.io():
            async with self._database.office.of(self.server.tenant_id) as tenant:
                await final.check(self.oracle, tenant, self.parties)

    def close(self) -> None:
        for party in self.parties:
            if isinstance(party, Device):
                party.close()


async def run_world(plan: Plan, database: Database, folder: Path, template: Path, *, loud: bool = False) -> Report:
    """One seed from beginning to end; what goes wrong is in the report."""
    started, trace, complaints = time.perf_counter(), Trace(loud=loud), Complaints()
    sdk_session.__dict__["MAX_TRANSACTIONS"] = plan.batch_transactions
    logger = logging.getLogger("server.rules")
    logger.addHandler(complaints)
    logger.propagate = False
    world = World(plan, database, folder, template, trace)
    trouble: Trouble | None = None
    try:
        setting = world.scheduler.spawn(world.settle(), "settle")
        await world.scheduler.run(setting.done)
        living = world.scheduler.spawn(world.live(), "live")
        await world.scheduler.run(living.done)
        if complaints.found:
            trouble = Trouble("diverged", f"the server complains: {complaints.found[0]}")
    except Trouble as found:
        trouble = found
    except Crash as crash:
        trouble = _trouble_of(crash)
    finally:
        logger.removeHandler(complaints)
        await world.scheduler.end()
        world.close()
    return _report(world, trace, trouble, time.perf_counter() - started)


def _trouble_of(crash: Crash) -> Trouble:
    """What the oracle said, or an error that the product should not have raised."""
    if isinstance(crash.error, Trouble):
        return crash.error
    told = "".join(traceback.format_exception(crash.error)[-4:])
    return Trouble("diverged", f"{crash.task} ended with {told}")


def _report(world: World, trace: Trace, trouble: Trouble | None, wall_s: float) -> Report:
    outcomes: dict[str, int] = {}
    for fate in world.oracle.model.fates.values():
        outcomes[fate.kind] = outcomes.get(fate.kind, 0) + 1
    return Report(
        seed=world.plan.seed,
        transactions=len(world.oracle.log),
        commits=world.oracle.model.seq,
        exchanges_to_quiesce=world.exchanges_to_quiesce,
        faults={fault.value: world.faults.counts[fault] for fault in Fault},
        outcomes=dict(sorted(outcomes.items())),
        trace=trace.digest,
        wall_s=round(wall_s, 3),
        trouble=trouble.kind if trouble else "",
        what=trouble.what if trouble else "",
        last=tuple(trace.last)[-40:] if trouble else (),
    )


def make_template(folder: Path) -> Path:
    """An empty replica to copy, since making its tables takes longer than a day of simulated work."""
    path = folder / "template.db"
    Replica.open(path).close()
    return path
