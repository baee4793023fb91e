"""A plan goes out: every appointment for itself, through the door, the near ones now and the later ones when they are due.

A change is made against the version of the appointment that the plan saw. Whatever somebody changed since stays as it is.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from dispatch import Plan
from server.author import write
from server.context import Context
from server.plan_request import PlanRequest
from server.storage import plans
from server.storage.tables import projections
from server.translate import Day, Question
from server.translate_back import changes
from sync.entities.flows import AppointmentStatus as A
from sync.protocol import Change, OutcomeKind

HOUR_MS: Final = 3_600_000
ENDED: Final = frozenset({A.COMPLETED, A.CANNOT_COMPLETE, A.CANCELED})


class Withheld(msgspec.Struct, frozen=True):
    """A change that waits: a visit of the technician that is to start at `start_ms`, and the visits ahead of it."""

    change: Change
    technician: str
    start_ms: int
    before: tuple[str, ...]


async def publish(
    context: Context, tenant_id: int, run_id: str, request: PlanRequest, day: Day, asked: Question, plan: Plan
) -> tuple[list[str], list[str]]:
    """Write what is due. Returns the appointments that somebody moved meanwhile, which stay as they are, and those withheld."""
    now, later = list(changes(day, asked, plan)), list[Withheld]()
    if request.drips:
        places = _places(day, plan)
        waiting = [Withheld(change, *places[change.id]) for change in now if change.id in places]
        rows = {row.id: A(row.status) for row in day.appointments}
        later = [entry for entry in waiting if not _due(entry, request, rows, day.now_ms)]
        held = {entry.change.id for entry in later}
        now = [change for change in now if change.id not in held]
    async with context.office.of(tenant_id) as tenant:
        await plans.supersede(tenant, run_id, request.start_ms, request.end_ms)
        await plans.update(tenant, run_id, withheld=_builtins(later))
    return await _write(context, tenant_id, run_id, now), [entry.change.id for entry in later]


def _places(day: Day, plan: Plan) -> dict[str, tuple[str, int, tuple[str, ...]]]:
    """By appointment: technician, start, and the visits ahead of it; of a crew those of the one who has the fewest."""
    found: dict[str, tuple[str, int, tuple[str, ...]]] = {}
    ahead: dict[str, list[str]] = {}
    for route in sorted(plan.routes, key=lambda route: route.start_s):
        before = ahead.setdefault(route.worker, [])
        for stop in route.stops:
            if stop.kind == "job":
                if stop.job not in found or len(before) < len(found[stop.job][2]):
                    found[stop.job] = (route.worker, day.start_ms + stop.start_s * 1000, tuple(before))
                before.append(stop.job)
    return found


def _due(entry: Withheld, request: PlanRequest, statuses: dict[str, A], now_ms: int) -> bool:
    """Whether few enough visits that have not ended lie ahead, or it starts soon enough."""
    if request.next_jobs is not None and sum(statuses.get(job) not in ENDED for job in entry.before) < request.next_jobs:
        return True
    return request.next_hours is not None and entry.start_ms < now_ms + request.next_hours * HOUR_MS


async def _write(context: Context, tenant_id: int, run_id: str, due: Iterable[Change]) -> list[str]:
    groups = [(change,) for change in due]
    if not groups:
        return []
    committed = await write(context, tenant_id, f"plan {run_id}", groups)
    return [group[0].id for group, outcome in zip(groups, committed.outcomes, strict=True) if outcome.kind is OutcomeKind.PARKED]


async def publish_due(context: Context, tenant_id: int, now_ms: int) -> int:
    """The clock of drip-fed plans: publishes what has become due since; returns how many appointments."""
    async with context.office.of(tenant_id) as tenant:
        ripe: list[tuple[str, list[Withheld]]] = []
        for run in await plans.withheld(tenant):
            waiting = _withheld(run.withheld)
            request = msgspec.convert(run.request, PlanRequest)
            ahead = {job for entry in waiting for job in entry.before}
            rows = await tenant.rows("appointment", [projections["appointment"].c.id.in_(ahead)])
            statuses = {row.id: A(row.status) for row in rows}
            due = [entry for entry in waiting if _due(entry, request, statuses, now_ms)]
            if due:
                ripe.append((run.id, due))
    published = 0
    for run_id, due in ripe:
        adapted = await _write(context, tenant_id, run_id, [entry.change for entry in due])
        await _released(context, tenant_id, run_id, due, adapted)
        published += len(due)
    return published


async def _released(context: Context, tenant_id: int, run_id: str, due: Sequence[Withheld], adapted: Sequence[str]) -> None:
    """Take what is out from what the run withholds. Written after the change: done twice, the change finds its record moved."""
    out = {entry.change.id for entry in due}
    async with context.office.of(tenant_id) as tenant:
        row = await plans.get(tenant, run_id)
        if row is None or row.withheld is None:
            return
        left = [entry for entry in _withheld(row.withheld) if entry.change.id not in out]
        best = row.best | {
            "withheld": [job for job in row.best["withheld"] if job not in out],
            "adapted": [*row.best["adapted"], *adapted],
        }
        await plans.update(tenant, run_id, withheld=_builtins(left), best=best)


def _builtins(entries: list[Withheld]) -> Any:
    """As JSON's own types, which a column holds; None where nothing waits. A change carries raw JSON, so it goes through text."""
    return msgspec.json.decode(msgspec.json.encode(entries)) or None


def _withheld(column: Any) -> list[Withheld]:
    return msgspec.json.decode(msgspec.json.encode(column), type=list[Withheld])
