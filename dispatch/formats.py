"""Files of public instances as problems.

Technician routing (Pillac, Guéret and Medaglia, 2013): requests with skills, tools and spare parts, technicians with homes and a
depot. VRPLIB: VRPTW and its prize-collecting form, with DIMACS distances (truncated to one decimal). A file's unit of length and
time becomes `Instance.scale` seconds, so that whole seconds are exact enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dispatch.problem import Job, Parts, Place, Problem, Rates, Shift, SkillHeld, SkillNeed, Window, Worker
from dispatch.travel import TravelMatrix

TRSP_SCALE = 100_000  # travel is rounded up to 1e-5 of a unit: a plan that holds here holds unrounded
DIMACS_SCALE = 10
IN_HAND = re.compile(r"\[([^\]]*)\]")


class BadFile(ValueError):
    """A file that is none of the formats known, or breaks its own; says where."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A problem read from a file: `scale` seconds of the problem are one unit of the file."""

    name: str
    problem: Problem
    scale: int
    planar: bool


def read_instance(path: Path) -> Instance:
    """Reads a file of any known format. Raises BadFile, or OSError when it cannot be read."""
    text = path.read_text(encoding="utf-8")
    if "DEPOT TECHNICIANS AND REQUESTS" in text:
        return read_trsp(text, path.stem)
    if "NODE_COORD_SECTION" in text:
        return read_vrplib(text, path.stem)
    raise BadFile(f"{path.name}: neither technician routing nor VRPLIB")


def read_trsp(text: str, name: str) -> Instance:
    """A technician routing instance: all requests are to be served, the objective is the duration of all routes."""
    lines = text.splitlines()
    try:
        crew = int(lines[lines.index("INFO") + 2].split()[0])
        first = next(n for n, line in enumerate(lines) if line.startswith("ID ")) + 1
        rows = [_trsp_row(line) for line in lines[first:] if line.strip()]
    except (ValueError, IndexError, StopIteration) as error:
        raise BadFile(f"{name}: not a technician routing instance ({error})") from error
    points = [(row.x, row.y) for row in rows]
    workers = tuple(
        Worker(
            id=row.id,
            shifts=(Shift(start_s=row.opens * TRSP_SCALE, end_s=row.closes * TRSP_SCALE, start_place=at, end_place=at),),
            skills=tuple(SkillHeld(skill) for skill in row.skills),
            tools=frozenset(row.tools),
            parts=_counted(row.parts),
            rates=Rates(travel_per_s=0, duty_per_s=1, overtime_per_s=0),
        )
        for at, row in enumerate(rows[1 : crew + 1], start=1)
    )
    jobs = tuple(
        Job(
            id=row.id,
            place=at,
            duration_s=row.stay * TRSP_SCALE,
            windows=(Window(row.opens * TRSP_SCALE, row.closes * TRSP_SCALE),),
            priority=1,
            skills=tuple(SkillNeed(skill) for skill in row.skills),
            tools=frozenset(row.tools),
            parts=_counted(row.parts),
        )
        for at, row in enumerate(rows[crew + 1 :], start=crew + 1)
    )
    exact = _euclidean(points) * TRSP_SCALE
    travel = np.ceil(exact - 1e-6).astype(np.int32)
    problem = Problem(workers=workers, jobs=jobs, travel=TravelMatrix(travel, travel), places=_planar(points), depots=(0,))
    return Instance(name, problem, TRSP_SCALE, planar=True)


def read_releases(text: str, instance: Instance) -> dict[str, int]:
    """When requests become known, in the problem's seconds, from a `_rd_` file of technician routing.

    Those known from the start are left out. Raises BadFile, also when a request is none of the instance's.
    """
    lines = text.splitlines()
    try:
        first = next(n for n, line in enumerate(lines) if line.split() == ["ID", "RD"]) + 1
        rows = [(id_, int(moment)) for id_, moment in (line.split() for line in lines[first:] if line.strip())]
    except (ValueError, StopIteration) as error:
        raise BadFile(f"{instance.name}: no list of release times under a line ID RD ({error})") from error
    strange = [id_ for id_, _ in rows if id_ not in instance.problem.job_index]
    if strange:
        raise BadFile(f"{instance.name}: there is no request {strange[0]}")
    return {id_: moment * instance.scale for id_, moment in rows if moment >= 0}


@dataclass(frozen=True, slots=True)
class _TrspRow:
    id: str
    x: int
    y: int
    opens: int
    closes: int
    stay: int
    skills: tuple[str, ...]
    tools: tuple[str, ...]
    parts: tuple[int, ...]


def _trsp_row(line: str) -> _TrspRow:
    numbers = [int(word) for word in line.split("[", 1)[0].split()]
    skills, tools, parts = (tuple(word.strip() for word in group.split(",") if word.strip()) for group in IN_HAND.findall(line))
    id_, x, y, opens, closes, stay = numbers
    return _TrspRow(str(id_), x, y, opens, closes, stay, skills, tools, tuple(int(part) for part in parts))


def _counted(parts: Sequence[int]) -> tuple[Parts, ...]:
    return tuple(Parts(str(kind), count) for kind, count in enumerate(parts) if count)


def _planar(points: Sequence[tuple[int, int]]) -> tuple[Place, ...]:
    return tuple(Place(lat=float(y), lon=float(x)) for x, y in points)


def _euclidean(points: Sequence[tuple[int, int]]) -> npt.NDArray[np.float64]:
    at = np.array(points, dtype=np.float64)
    return np.asarray(np.hypot(at[:, 0][:, None] - at[:, 0], at[:, 1][:, None] - at[:, 1]))


def read_vrplib(text: str, name: str) -> Instance:
    """VRPTW, or PCVRPTW where there are prizes: distance, plus the prizes not collected. Load is a part on the van."""
    head, sections = _vrplib_parts(text)
    try:
        vehicles, capacity, stay = int(head["VEHICLES"]), int(head["CAPACITY"]), int(head.get("SERVICE_TIME", "0"))
        points = [(int(row[1]), int(row[2])) for row in sections["NODE_COORD_SECTION"]]
        demands = [int(row[1]) for row in sections["DEMAND_SECTION"]]
        windows = [(int(row[1]), int(row[2])) for row in sections["TIME_WINDOW_SECTION"]]
        prizes = [int(row[1]) for row in sections["PRIZE_SECTION"]] if "PRIZE_SECTION" in sections else None
    except (KeyError, ValueError, IndexError) as error:
        raise BadFile(f"{name}: not a VRPLIB instance with time windows ({error})") from error
    travel = np.floor(_euclidean(points) * DIMACS_SCALE + 1e-9).astype(np.int32)
    shift = Shift(start_s=windows[0][0] * DIMACS_SCALE, end_s=windows[0][1] * DIMACS_SCALE, start_place=0, end_place=0)
    rates = Rates(travel_per_s=1, duty_per_s=0, overtime_per_s=0)
    workers = tuple(
        Worker(id=f"v{number}", shifts=(shift,), parts=(Parts("load", capacity),), rates=rates) for number in range(1, vehicles + 1)
    )
    jobs = tuple(
        Job(
            id=str(at),
            place=at,
            duration_s=stay * DIMACS_SCALE,
            windows=(Window(windows[at][0] * DIMACS_SCALE, windows[at][1] * DIMACS_SCALE),),
            priority=1 if prizes is None else None,
            value=0 if prizes is None else prizes[at] * DIMACS_SCALE,
            parts=(Parts("load", demands[at]),) if demands[at] else (),
        )
        for at in range(1, len(points))
    )
    problem = Problem(workers=workers, jobs=jobs, travel=TravelMatrix(travel, travel), places=_planar(points))
    return Instance(name, problem, DIMACS_SCALE, planar=True)


def _vrplib_parts(text: str) -> tuple[dict[str, str], dict[str, list[list[str]]]]:
    head: dict[str, str] = {}
    sections: dict[str, list[list[str]]] = {}
    rows: list[list[str]] | None = None
    for line in _lines(text):
        if line.endswith("_SECTION"):
            rows = sections.setdefault(line, [])
        elif ":" in line:
            key, _, value = line.partition(":")
            head[key.strip()] = value.strip()
        elif rows is not None:
            rows.append(line.split())
    return head, sections


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.strip() and line.strip() != "EOF":
            yield line.strip()
