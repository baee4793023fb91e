"""The project's own JSON: problems in, plans in and out, and the report of a run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from dispatch.figures import Figures, figures
from dispatch.formats import BadFile, Instance, read_instance
from dispatch.plan import Plan, Route, Score, Unserved
from dispatch.problem import Job, Place, Problem, Published, Worker
from dispatch.replay import Event
from dispatch.travel import TravelMatrix, estimate
from dispatch.verify import Breach, verify


class TravelTable(Struct, frozen=True):
    """Travel between all places, row by row; metres default to the seconds."""

    seconds: tuple[tuple[int, ...], ...]
    metres: tuple[tuple[int, ...], ...] | None = None


class ProblemFile(Struct, frozen=True, kw_only=True):
    """A problem as JSON. Without `travel` it is estimated from the places' coordinates."""

    workers: tuple[Worker, ...]
    jobs: tuple[Job, ...]
    places: tuple[Place, ...] = ()
    travel: TravelTable | None = None
    depots: tuple[int, ...] = ()
    depot_s: int = 0
    now_s: int | None = None
    published: tuple[Published, ...] = ()


class Report(Struct, frozen=True, kw_only=True):
    """What a run found. `duration` (without breaks) and `distance` are in the file's own unit, everything else in the plan's
    seconds; `figures` name the score's levels and the parts of the cost."""

    name: str
    duration: float
    distance: float
    cost: float
    served: int
    unserved: tuple[Unserved, ...]
    verified: bool
    breaches: tuple[Breach, ...]
    score: Score
    routes: tuple[Route, ...]
    seed: int
    iterations: int
    figures: Figures


class DayReport(Struct, frozen=True, kw_only=True):
    """A moving day as it went, beside a plan made with every request known (`static_…`): `future_ratio` is duration over duration.

    Durations are in the file's own unit. `outings` counts the times somebody was called out again from home.
    """

    name: str
    served: int
    duration: float
    static_served: int
    static_duration: float
    future_ratio: float
    unserved: tuple[Unserved, ...]
    verified: bool
    breaches: tuple[Breach, ...]
    outings: int
    seconds_per_event: float
    static_seconds: float
    seed: int
    events: tuple[Event, ...]
    routes: tuple[Route, ...]


_problem = msgspec.json.Decoder(ProblemFile)
_plan = msgspec.json.Decoder(Plan)


def load(path: Path) -> Instance:
    """Reads a problem of any format: own JSON by its suffix, otherwise by its sections. Raises BadFile, BadProblem or OSError."""
    return (
        Instance(path.stem, decode_problem(path.read_bytes()), 1, planar=False) if path.suffix == ".json" else read_instance(path)
    )


def decode_problem(data: bytes) -> Problem:
    """A problem from JSON. Raises BadFile with the field at fault, or BadProblem when it contradicts itself."""
    try:
        file = _problem.decode(data)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise BadFile(f"problem: {error}") from error
    if file.travel is None:
        travel = estimate([(place.lat, place.lon) for place in file.places])
    else:
        seconds = np.array(file.travel.seconds, dtype=np.int32)
        metres = seconds if file.travel.metres is None else np.array(file.travel.metres, dtype=np.int32)
        travel = TravelMatrix(seconds, metres)
    return Problem(
        workers=file.workers,
        jobs=file.jobs,
        travel=travel,
        places=file.places,
        depots=file.depots,
        depot_s=file.depot_s,
        now_s=file.now_s,
        published=file.published,
    )


def encode_problem(problem: Problem) -> bytes:
    """A problem as JSON, its travel table written out."""
    travel = TravelTable(_rows(problem.travel.seconds), _rows(problem.travel.metres))
    return msgspec.json.encode(
        ProblemFile(
            workers=problem.workers,
            jobs=problem.jobs,
            places=problem.places,
            travel=travel,
            depots=problem.depots,
            depot_s=problem.depot_s,
            now_s=problem.now_s,
            published=problem.published,
        )
    )


def _rows(matrix: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())


def decode_plan(data: bytes) -> Plan:
    """A plan from JSON: a plan, or the report of a run. Raises BadFile with the field at fault."""
    try:
        return _plan.decode(data)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise BadFile(f"plan: {error}") from error


def report(instance: Instance, plan: Plan) -> Report:
    """The report of a plan, checked from the definition."""
    breaches = verify(instance.problem, plan)
    return Report(
        name=instance.name,
        duration=sum(route.duty_s for route in plan.routes) / instance.scale,
        distance=sum(route.distance_m for route in plan.routes) / instance.scale,
        cost=plan.score.cost / instance.scale,
        served=plan.served,
        unserved=plan.unserved,
        verified=not breaches,
        breaches=breaches,
        score=plan.score,
        routes=plan.routes,
        seed=plan.seed,
        iterations=plan.iterations,
        figures=figures(instance.problem, plan),
    )
