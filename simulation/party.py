"""Somebody who works: a person with an installation, its clock and its link, and the list of what was really done on it."""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from random import Random
from typing import Any, Final, TypeVar

import msgspec

from client_sdk import Item
from client_sdk.draft import Draft
from simulation.faults import Faults
from simulation.link import Link
from simulation.plan import Fault
from simulation.schedule import START_MS, Scheduler
from simulation.trace import Trace
from sync.policies import Role
from sync.protocol import Change
from sync.schema import Entity

T = TypeVar("T")
Key = tuple[str, str]
E = TypeVar("E", bound=Entity)
YEAR_MS: Final = 365 * 86_400_000
WORD: Final = re.compile(r"^[a-z]+\d+w\d+$")
"""What `Party.word` makes: a value that is written once and can be looked for."""
POISON: Final = "poison"
"""The label of what no server can accept."""


class Done(msgspec.Struct, frozen=True):
    """What the user did, as the simulation saw it happen. `jumps` counts how often the device's clock had jumped by then."""

    n: int
    label: str
    changes: list[dict[str, Any]]
    true_ms: int
    jumps: int


class DeviceClock:
    """A clock of a phone: wrong by some amount, running too fast or too slow, and at times set anew."""

    def __init__(self, scheduler: Scheduler, faults: Faults, random: Random) -> None:
        self._scheduler, self._random = scheduler, random
        self._skew_ms, self._drift = 0, 0.0
        self.jumps = 0
        if random.random() < 0.5:
            self._skew_ms = random.choice((-20 * YEAR_MS, -3_600_000, -40_000, 90_000, 7_200_000, 9 * YEAR_MS))
            self._drift = random.uniform(-2e-4, 2e-4)
            faults.struck(Fault.CLOCK_WRONG)

    def now(self) -> int:
        passed_ms = self._scheduler.now_ms - START_MS
        return self._scheduler.now_ms + self._skew_ms + int(passed_ms * self._drift)

    def jump(self) -> None:
        self._skew_ms = self._random.choice((-15 * YEAR_MS, -YEAR_MS, -86_400_000, -600_000, 0, 600_000, 86_400_000, 10 * YEAR_MS))
        self.jumps += 1


class Party:
    """What devices and consoles have in common."""

    def __init__(
        self, name: str, role: Role, user: str, *, scheduler: Scheduler, faults: Faults, link: Link, trace: Trace, seed: int
    ) -> None:
        self.name, self.role, self.user = name, role, user
        self.scheduler, self.faults, self.link, self.trace = scheduler, faults, link, trace
        self.random = Random(f"{name} {seed}")
        self.clock = (
            DeviceClock(scheduler, faults, self.random) if self.random.random() < 0.8 and faults.has(Fault.CLOCK_WRONG) else None
        )
        self.done: list[Done] = []
        self.device_id, self.device_no, self.technician = "", 0, ""
        self._words = 0

    def now(self) -> int:
        return self.clock.now() if self.clock else self.scheduler.now_ms

    def word(self) -> str:
        """A value that nobody else ever writes."""
        self._words += 1
        return f"{self.name}w{self._words}"

    def pick(self, items: Sequence[T]) -> T | None:
        return self.random.choice(items) if items else None

    def note(self, n: int, label: str, changes: Sequence[Change]) -> None:
        plain = msgspec.json.decode(msgspec.json.encode(changes))
        self.done.append(Done(n, label, plain, self.scheduler.now_ms, self.clock.jumps if self.clock else 0))
        self.trace.say(self.scheduler.now_ms, self.name, "wrote", n, label, plain)

    def items(self, entity: type[E]) -> Sequence[Item[E]]:
        raise NotImplementedError

    def edit(self, label: str) -> AbstractContextManager[Draft]:
        """A transaction of the user, as `Replica.edit` gives it."""
        raise NotImplementedError(label)

    def write_foreign(self, label: str, changes: tuple[Change, ...]) -> None:
        """Store a transaction without looking at it, as an app of another version might."""
        raise NotImplementedError

    def jump_clock(self) -> None:
        if self.clock and self.faults.strikes(Fault.CLOCK_JUMPS, 0.1):
            self.clock.jump()
            self.trace.say(self.scheduler.now_ms, self.name, "clock jumps to", self.clock.now())
