"""What may be asked of the planner, and how much of it."""

from collections.abc import Mapping

import msgspec


class WhatIf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A day as it might be: people who are not there, appointments that are not, everybody's day longer by some overtime."""

    without_technicians: tuple[str, ...] = ()
    without_appointments: tuple[str, ...] = ()
    overtime_s: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.overtime_s <= 86_400:
            raise ValueError("overtime_s must be from 0 to 86400")


class PlanRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Plan what falls into [start_ms, end_ms); times in milliseconds since 1970.

    `publish` writes the plan to the appointments: all of it, or of each technician only the next `next_jobs` visits and those of
    the next `next_hours`; what comes later stays with the run and is published when it is due. With `what_if` the plan is made on
    a copy of the day and nothing is published; the answer tells the difference.
    """

    start_ms: int
    end_ms: int
    seconds: float = 10.0
    seed: int = 0
    publish: bool = True
    next_jobs: int | None = None
    next_hours: float | None = None
    what_if: WhatIf | None = None

    def __post_init__(self) -> None:
        if self.end_ms <= self.start_ms:
            raise ValueError("end_ms must be after start_ms")
        if not self.seconds > 0:
            raise ValueError("seconds must be above 0")
        if self.next_jobs is not None and self.next_jobs < 0:
            raise ValueError("next_jobs must not be below 0")
        if self.next_hours is not None and not self.next_hours >= 0:
            raise ValueError("next_hours must not be below 0")

    @property
    def drips(self) -> bool:
        """Whether some of the plan may be withheld for later."""
        return self.next_jobs is not None or self.next_hours is not None


class PlanLimits(msgspec.Struct, frozen=True):
    """What each tenant may ask of the planner: runs that wait or are under way, seconds of one run, appointments of one run."""

    runs: int = 4
    seconds: float = 3_600
    jobs: int = 20_000

    @classmethod
    def read(cls, env: Mapping[str, str]) -> "PlanLimits":
        """From `TRUCKROLL_PLAN_RUNS`, `…_SECONDS`, `…_JOBS`. Raises ValueError naming the variable."""
        found = {}
        for name, known in msgspec.structs.asdict(cls()).items():
            variable = f"TRUCKROLL_PLAN_{name.upper()}"
            words = env.get(variable, str(int(known)))
            if not words.isdecimal() or int(words) == 0:
                raise ValueError(f"{variable} is a whole number above 0, not {words!r}")
            found[name] = int(words)
        return cls(runs=found["runs"], seconds=found["seconds"], jobs=found["jobs"])
