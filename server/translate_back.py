"""A plan back to ordinary changes, and what stands as a plan. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from dispatch import Plan
from dispatch.plan import Route, Score, Stop
from server.author import update
from server.translate import STARTED, Day, Question, crew_of, seconds, shift_at
from sync.entities.flows import AppointmentStatus as A
from sync.protocol import Change


def standing(day: Day) -> Plan:
    """What the appointments say now, as a plan to compare with: who and when, nothing else."""
    routes: dict[str, list[Stop]] = {}
    for row in day.appointments:
        for member in crew_of(row) if row.planned_start is not None else ():
            start_s = seconds(day, row.planned_start)
            end_s = start_s + row.duration_s
            routes.setdefault(member, []).append(Stop(job=row.id, arrival_s=start_s, start_s=start_s, end_s=end_s))
    laid = tuple(
        Route(worker=who, shift=0, start_s=0, end_s=0, stops=tuple(sorted(stops, key=lambda stop: stop.start_s)), travel_s=0,
              distance_m=0, duty_s=0)
        for who, stops in routes.items()
    )  # fmt: skip
    return Plan(routes=laid, unserved=(), score=Score(promises=0, unserved=(), late=0, moves=0, cost=0))


def standing_by_shift(day: Day) -> Plan:
    """The same with each visit in the shift that it falls into, as a plan into which something more can be put."""
    routes: dict[tuple[str, int], list[Stop]] = {}
    for route in standing(day).routes:
        for stop in route.stops:
            routes.setdefault((route.worker, shift_at(day, route.worker, day.start_ms + stop.start_s * 1000)), []).append(stop)
    laid = tuple(
        Route(worker=who, shift=shift, start_s=0, end_s=0, stops=tuple(stops), travel_s=0, distance_m=0, duty_s=0)
        for (who, shift), stops in sorted(routes.items())
    )
    return msgspec.structs.replace(standing(day), routes=laid)


def changes(day: Day, asked: Question, plan: Plan) -> Iterable[Change]:
    """One change for each appointment that the plan places elsewhere than it stands."""
    rows = {appointment.id: appointment for appointment in day.appointments}
    for job, crew in _crews(asked, plan).items():
        row = rows.get(job)
        if row is None or A(row.status) in STARTED:
            continue
        lead = row.technician if row.technician in crew else next(iter(crew))
        stop = crew[lead].stop
        fields: dict[str, Any] = {
            "technician": lead,
            "planned_start": day.start_ms + stop.start_s * 1000,
            "planned_end": day.start_ms + max(going.stop.end_s for going in crew.values()) * 1000,
            "travel_s": stop.travel_s,
            "fetch_at": next((going.fetch_at for going in (crew[lead], *crew.values()) if going.fetch_at), None),
        }
        if A(row.status) in (A.UNSCHEDULED, A.REJECTED):
            fields["status"] = A.SCHEDULED
        fields = {name: value for name, value in fields.items() if getattr(row, name) != value}
        if crew.keys() - {lead} != set(row.mates or ()):
            fields["mates"] = sorted(crew.keys() - {lead})
        if fields:
            yield update("appointment", row.id, day.bases[row.id], **fields)
    for left in plan.unserved:
        row = rows.get(left.job)
        if row is not None and A(row.status) is A.SCHEDULED and not row.pinned:
            nobody: dict[str, Any] = {"mates": []} if row.mates else {}
            yield update(
                "appointment", row.id, day.bases[row.id], technician=None, planned_start=None, status=A.UNSCHEDULED, **nobody
            )


class _Going(msgspec.Struct, frozen=True):
    """One worker's part in a job; `fetch_at` is the depot that they call at on the way."""

    stop: Stop
    fetch_at: str | None


def _crews(asked: Question, plan: Plan) -> dict[str, dict[str, _Going]]:
    """By job, who goes, in the order of the plan's routes."""
    depots = dict(zip(asked.problem.depots, asked.depots, strict=True))
    found: dict[str, dict[str, _Going]] = {}
    for route in plan.routes:
        fetch_at = None
        for stop in route.stops:
            if stop.kind == "depot":
                fetch_at = depots[stop.place]
            if stop.kind == "job":
                found.setdefault(stop.job, {})[route.worker] = _Going(stop, fetch_at)
                fetch_at = None
    return found
