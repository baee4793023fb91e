"""A world small enough to check by hand: places on a line, numbered by the minutes between them."""

from collections.abc import Iterable

import pytest

from dispatch import Job, Parts, Problem, Rates, Shift, SkillHeld, SkillNeed, TravelMatrix, Window, Worker, matrix

MINUTE = 60


class Tiny:
    """Builders in minutes. The line has 61 places; place p lies p minutes (and p kilometres) from place 0."""

    places = 61

    @staticmethod
    def travel() -> TravelMatrix:
        seconds = [[abs(a - b) * MINUTE for b in range(Tiny.places)] for a in range(Tiny.places)]
        return matrix(seconds, [[s * 1000 // MINUTE for s in row] for row in seconds])

    @staticmethod
    def shift(start: int = 0, end: int = 480, home: int | None = 0, **more) -> Shift:
        return Shift(start_s=start * MINUTE, end_s=end * MINUTE, start_place=home, end_place=home, **more)

    @staticmethod
    def worker(id_: str = "ann", *shifts: Shift, skills: Iterable[tuple[str, int]] = (), **more) -> Worker:
        more.setdefault("rates", Rates(travel_per_s=1, duty_per_s=0))
        held = tuple(SkillHeld(skill, level) for skill, level in skills)
        return Worker(id=id_, shifts=shifts or (Tiny.shift(),), skills=held, **more)

    @staticmethod
    def job(
        id_: str, place: int, minutes: int = 10, *windows: tuple[int, int], skills: Iterable[tuple[str, int]] = (), **more
    ) -> Job:
        return Job(
            id=id_,
            place=place,
            duration_s=minutes * MINUTE,
            windows=tuple(Window(a * MINUTE, b * MINUTE) for a, b in windows),
            skills=tuple(SkillNeed(skill, level) for skill, level in skills),
            **more,
        )

    @staticmethod
    def parts(**counts: int) -> tuple[Parts, ...]:
        return tuple(Parts(part, count) for part, count in counts.items())

    @staticmethod
    def problem(workers: Iterable[Worker], jobs: Iterable[Job], **more) -> Problem:
        return Problem(workers=tuple(workers), jobs=tuple(jobs), travel=Tiny.travel(), **more)


@pytest.fixture(scope="session")
def tiny() -> type[Tiny]:
    return Tiny
