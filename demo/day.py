"""The day itself, chapter by chapter: what the demo makes happen, to whom, and in which order.

The races are arranged, not hoped for: a technician is without signal and writes, the office writes the same field meanwhile, and
only then does the signal come back. Which visits they meet on follows from the plan.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final

import msgspec

from demo.company import HOUR_MS
from demo.crew import Handset
from demo.journal import Op
from demo.line import Fault
from demo.luck import luck
from demo.office import Best, Desk, OfficeError, Record
from demo.orders import Enrol, Outcomes, Sync, Work
from demo.races import RACES, Race, Visit
from demo.story import Story
from sync.entities.flows import AppointmentStatus
from sync.policies import Role
from sync.protocol import Change, OutcomeKind

ATTEMPTS: Final = 60
POLL_S: Final = 0.25
LIVE_PACE_S: Final = 0.05
"""Between two steps of a visit, so that a background sync falls between them."""
NOON: Final = 12
EVENING: Final = 23
PATIENCE_S: Final = 30.0
REST_PATIENCE_S: Final = 90.0
"""The rules have a day's work to do, which takes a while on a busy machine."""
PLAN_SLOW_S: Final = 6.0
PLAN_PATIENCE_S: Final = 240.0
"""The search compiles itself on its first run, which takes a while on a busy machine."""


class Day:
    """The crew, the desks and the story, and what has been counted so far."""

    def __init__(self, crew: Sequence[Handset], dispatcher: Desk, manager: Desk, story: Story, seed: int, day_ms: int) -> None:
        self.technicians = [h for h in crew if h.person.role is Role.TECHNICIAN]
        self.reps = [h for h in crew if h.person.role is Role.REP]
        self.dispatcher, self.manager, self.story, self.seed, self.day_ms = dispatcher, manager, story, seed, day_ms
        self.random = luck(seed)
        self.dark: list[Handset] = []
        self.plan_wall_s = 0.0
        self.visits: Sequence[Visit] = ()

    @property
    def crew(self) -> list[Handset]:
        return [*self.technicians, *self.reps]

    # Before the day --------------------------------------------------------------------------------------------------------

    async def plan(self, seconds: float) -> tuple[Best, dict[str, Record]]:
        """Plan the day as the dispatcher does, telling of each better plan; returns the result and the visits before it."""
        before = {record.id: record for record in await self.dispatcher.records("appointment")}
        run = await self.dispatcher.start_plan(self.day_ms, self.day_ms + 24 * HOUR_MS, seconds, self.seed)
        self.story.line(
            self.dispatcher.person.name, f"asks for a plan of {len(before)} visits for {len(self.technicians)} technicians"
        )
        asked_s, told, waiting = self.story.wall_s, 0, True
        while (state := await self.dispatcher.plan(run)).state not in ("done", "failed"):
            waited_s = self.story.wall_s - asked_s
            if waited_s > seconds + PLAN_PATIENCE_S:
                raise OfficeError(f"the plan is still {state.state} {PLAN_PATIENCE_S:.0f} s after its time was up")
            if waited_s > PLAN_SLOW_S and waiting and not told:
                self.story.line(
                    "the planner", "has no plan yet: the first search after an installation compiles itself, for a minute or so"
                )
                waiting = False
            news = state.progress or []
            if len(news) > told:
                self.story.line(
                    "the planner",
                    f"{news[-1].served} visits served after {news[-1].seconds:.1f} s, cost {news[-1].score['cost']}",
                )
                told = len(news)
            await asyncio.sleep(POLL_S)
        self.plan_wall_s = self.story.wall_s - asked_s
        best = state.best or Best()
        self.story.line(
            "the planner", f"is done: {best.planned} visits planned, {len(best.unserved)} left out, checker says {best.checked}"
        )
        for left in best.unserved:
            self.story.line(
                "the planner", f"leaves out {left.appointment}: {left.reason}" + (f"; {left.nearest}" if left.nearest else "")
            )
        return best, before

    async def dispatch(self) -> None:
        """Send every planned visit out to its technician."""
        orders = {record.id: record for record in await self.dispatcher.records("work_order")}
        planned = [r for r in await self.dispatcher.records("appointment") if r.seen("status") == AppointmentStatus.SCHEDULED]
        batch: list[tuple[str, list[Change], tuple[Op, ...]]] = []
        for record in planned:
            fields = {"status": AppointmentStatus.DISPATCHED.value, "epoch": record.seen("epoch") + 1}
            op = Op("set", record.entity, record.id, fields, {name: record.seen(name) for name in fields})
            change = Change(record.entity, record.id, base=record.seq, set=msgspec.Raw(msgspec.json.encode(fields)))
            batch.append((f"dispatch {record.id}", [change], (op,)))
        outcomes = await self.dispatcher.write(batch)
        refused = [outcome for outcome in outcomes if outcome.kind is OutcomeKind.PARKED]
        self.story.line(self.dispatcher.person.name, f"dispatches {len(planned) - len(refused)} visits")
        visits = []
        for record in planned:
            order = orders[record.seen("work_order")]
            visits.append(
                Visit(
                    record.id,
                    order.id,
                    order.seen("site"),
                    order.seen("asset"),
                    order.seen("number"),
                    record.seen("technician"),
                    record.seen("planned_start"),
                )
            )
        self.visits = sorted(visits, key=lambda visit: visit.start_ms)

    async def enrol(self) -> None:
        """Start every device's process, enrol it, and give it what its user may hold."""
        await together(handset.start() for handset in self.crew)
        await together(h.ask(Enrol(h.line.url, h.code, h.person.key)) for h in self.crew)
        await self._offers_ready()
        for handset in self.crew:
            handset.line.up(failing=0.15)
        await together(self.sync(handset, quiet=True) for handset in self.crew)
        self.story.line("all", f"{len(self.crew)} devices are enrolled and hold their day")

    async def _offers_ready(self) -> None:
        """The rules look at each visit that was dispatched, and have the offers ready before the devices fetch their day."""
        for _ in range(int(PATIENCE_S / POLL_S)):
            if not await self.dispatcher.rules_due():
                break
            await asyncio.sleep(POLL_S)
        offers = await self.dispatcher.records("offer")
        self.story.line("the rules", f"have {len(offers)} offers ready for {len({o.seen('work_order') for o in offers})} visits")

    # The morning -----------------------------------------------------------------------------------------------------------

    async def morning(self) -> None:
        """Two in three work without any signal, the others on a bad line; the office does not wait for them."""
        until_ms = self.day_ms + NOON * HOUR_MS
        self.dark = [handset for at, handset in enumerate(self.technicians) if at % 3 != 2]
        for handset in self.technicians:
            handset.line.up(failing=0.35)
        for handset in self.dark:
            handset.line.down()
        self.story.line("the network", f"is gone for {len(self.dark)} technicians, and bad for the others")
        early = {h: [v for v in self.visits if v.technician == h.person.key and v.start_ms < until_ms] for h in self.dark}
        racing = [(handset, own[-1]) for handset, own in early.items() if own]
        for at, (handset, visit) in enumerate(racing):
            await self._race(RACES[at % len(RACES)], handset, visit)
        await together(self._work(handset, until_ms, live=handset not in self.dark) for handset in self.technicians)

    async def _race(self, race: Race, handset: Handset, visit: Visit) -> None:
        """Both ends write, neither has seen the other; the technician's end is still only on the device."""
        if race.field is not None:
            await handset.ask(race.field(visit))
        if race.office is not None:
            other = next(h for h in self.technicians if h is not handset)
            await race.office(self.dispatcher, visit, other.person.key)
        self.story.line(self.dispatcher.person.name, race.told.format(number=visit.number, name=handset.name))

    # Signal ----------------------------------------------------------------------------------------------------------------

    async def signal(self) -> None:
        """The network comes back in its worst way: replies are lost after the commit, and two devices die in mid-sync."""
        victims = [handset for handset in self.dark if handset.journal.deeds][:2]
        for at, handset in enumerate(self.technicians):
            handset.line.up(failing=0.25)
            handset.line.next = [(Fault.REPLY_LOST, Fault.REPLY_CUT, Fault.REQUEST_LOST)[at % 3], Fault.REPLY_LOST]
        for handset in victims:
            handset.line.next = []
            handset.line.failing = 0.0
        await together(
            [
                *(self._die_unacknowledged(handset) for handset in victims[:1]),
                *(self._die_applying(handset) for handset in victims[1:2]),
                *(self.sync(handset) for handset in self.technicians if handset not in victims),
            ]
        )

    async def _die_unacknowledged(self, handset: Handset) -> None:
        """Kill the device when the server has committed and the acknowledgement is on its way; then start it on the same file."""
        handset.line.hold.set()
        syncing = asyncio.create_task(handset.ask(Sync()))
        await asyncio.wait_for(handset.line.held.wait(), PATIENCE_S)
        await self._kill(handset, syncing, "SIGKILL in mid-sync: the server has the work, the device does not know")
        handset.line.hold.clear()
        await self._revive(handset)

    async def _die_applying(self, handset: Handset) -> None:
        """Kill the device as soon as a reply has reached it, while it writes what came to its file."""
        handset.line.passed.clear()
        syncing = asyncio.create_task(handset.ask(Sync()))
        await asyncio.wait_for(handset.line.passed.wait(), PATIENCE_S)
        await asyncio.sleep(self.random.random() * 0.01)
        await self._kill(handset, syncing, "SIGKILL while it takes in what the server sent")
        await self._revive(handset)

    async def _die_working(self, handset: Handset, until_ms: int) -> None:
        """Kill the device while its user types and it syncs in the background; the user goes on where the file left off."""
        handset.line.passed.clear()
        working = asyncio.create_task(self._work(handset, until_ms, live=True))
        passing = asyncio.create_task(handset.line.passed.wait())
        await asyncio.wait([working, passing], timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        passing.cancel()
        if working.done():
            return  # nothing was left to do this afternoon
        await self._kill(handset, working, "SIGKILL in the middle of a visit, with work written and not yet sent")
        await handset.start()
        self.story.line(handset.name, "is started again on the same file, and goes on with the visit")
        await self._work(handset, until_ms, live=True)

    async def _kill(self, handset: Handset, syncing: asyncio.Task[Any], words: str) -> None:
        await handset.kill()
        self.story.line(handset.name, words)
        await asyncio.wait([syncing])
        syncing.exception()  # it ended with its device, as it should

    async def _revive(self, handset: Handset) -> None:
        await handset.start()
        self.story.line(handset.name, "is started again on the same file")
        await self.sync(handset)

    # Afternoon and evening -------------------------------------------------------------------------------------------------

    async def afternoon(self) -> None:
        """Everybody works on, on a line that fails now and then."""
        until_ms = self.day_ms + EVENING * HOUR_MS
        live = [handset for at, handset in enumerate(self.technicians) if at % 2 == 0]
        others = [handset for handset in self.technicians if handset not in live]
        for handset in others:
            handset.line.down()
        keys = [visit.technician for visit in self.visits if visit.start_ms >= self.day_ms + NOON * HOUR_MS]
        busiest = max(live, key=lambda handset: keys.count(handset.person.key))
        await together(
            [
                self._die_working(busiest, until_ms),
                *(self._work(handset, until_ms, live=True) for handset in live if handset is not busiest),
                *(self._work(handset, until_ms, live=False) for handset in others),
            ]
        )
        for handset in self.technicians:
            handset.line.up(failing=0.2)
        await together(self.sync(handset) for handset in self.technicians)

    async def quiesce(self) -> None:
        """All lines are good; everybody syncs until the rules are done and nobody is behind, or patience ends."""
        for handset in self.crew:
            handset.line.up()
            handset.line.next = []
        clock, before, until_s = 0, -1, self.story.wall_s + REST_PATIENCE_S
        while self.story.wall_s < until_s:
            if await self.dispatcher.rules_due():
                await asyncio.sleep(POLL_S)
                continue
            if clock == before:
                break
            await together(self.sync(handset, quiet=True) for handset in self.crew)
            clock, before = max(row.clock_seq for row in await self.dispatcher.devices()), clock
        self.story.line("all", f"are back and at rest, at commit {clock}")
        for handset in self.technicians:
            await handset.ask(Outcomes())

    # Small things ----------------------------------------------------------------------------------------------------------

    async def _work(self, handset: Handset, until_ms: int, *, live: bool) -> None:
        await handset.ask(Work(until_ms, live=live, pace_s=LIVE_PACE_S if live else 0.0))

    async def sync(self, handset: Handset, *, quiet: bool = False) -> None:
        faults, resent = handset.line.faults, handset.line.resent_batches
        answer = await handset.ask(Sync(ATTEMPTS))
        failed, again = handset.line.faults - faults, handset.line.resent_batches - resent
        if not quiet or not answer.ok:
            words = f"syncs after {failed} failures" if failed else "syncs"
            sent = f", {again} batches sent again" if again else ""
            self.story.line(handset.name, words + sent if answer.ok else f"does not get through: {answer.detail}")


async def together(tasks: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run all at once; the first failure ends the others."""
    async with asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(task)
