"""What a plan says: who goes where, when, and which jobs nobody serves and why."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Stop(Struct, frozen=True, kw_only=True):
    """A job served, a break taken, or a depot called at.

    `travel_s` and `distance_m` lead here from the place before. A break has no place of its own (`place` -1) and no travel: it may
    interrupt the drive to the next stop, whose arrival then holds the pause as well.
    """

    kind: Literal["job", "break", "depot"] = "job"
    job: str = ""
    place: int = -1
    arrival_s: int
    start_s: int
    end_s: int
    travel_s: int = 0
    distance_m: int = 0


class Route(Struct, frozen=True, kw_only=True):
    """One shift of one worker, from leaving the start place to reaching the end place.

    `travel_s` and `distance_m` are sums over the route with the way home, `duty_s` is end minus start without breaks, `overtime_s`
    what lies beyond the shift's end.
    """

    worker: str
    shift: int
    start_s: int
    end_s: int
    stops: tuple[Stop, ...]
    travel_s: int
    distance_m: int
    duty_s: int
    overtime_s: int = 0

    @property
    def jobs(self) -> tuple[str, ...]:
        """The ids of the jobs served, in order."""
        return tuple(stop.job for stop in self.stops if stop.kind == "job")


class Unserved(Struct, frozen=True, kw_only=True):
    """A job that the plan leaves out: the name of the rule that stops it, in words, and the nearest change that would let it in."""

    job: str
    rule: str
    words: str
    nearest: str = ""


class Score(Struct, frozen=True, kw_only=True, order=True):
    """How good a plan is, level before level: a smaller value on an earlier level beats anything on a later one.

    1. `promises`: pinned jobs left out. 2. `unserved`: jobs left out, counted by priority class in ascending order of class.
    3. `late`: seconds of lateness times their weight. 4. `moves`: what moving published jobs costs in peace. 5. `cost`: travel,
    duty, distance, overtime, preference, and the value of optional visits not made.
    """

    promises: int
    unserved: tuple[int, ...]
    late: int
    moves: int
    cost: int


class Plan(Struct, frozen=True, kw_only=True):
    """Routes that hold at least one stop, the jobs left out, and the score. `iterations` and `seed` let a run be repeated.

    `proved` says that no plan scores better; known of small problems without lateness or a published plan only.
    """

    routes: tuple[Route, ...]
    unserved: tuple[Unserved, ...]
    score: Score
    seed: int = 0
    iterations: int = 0
    proved: bool = False

    @property
    def served(self) -> int:
        """How many jobs the plan serves (a crew's job once)."""
        return len({job for route in self.routes for job in route.jobs})
