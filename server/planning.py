"""Planning as a durable job: asked over HTTP, run by a worker outside the web process, readable while it runs."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from dispatch import Progress, solve, verify
from server.author import write
from server.context import Context
from server.storage.office import Office
from server.storage.tables import projections
from server.translate import PLANNABLE, STARTED, Day, changes, question
from sync.protocol import OutcomeKind

TASK: Final = "plan"
MAX_SECONDS: Final = 3_600


class PlanRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Plan what falls into [start_ms, end_ms); times in milliseconds since 1970. `publish` writes the plan to the appointments."""

    start_ms: int
    end_ms: int
    seconds: float = 10.0
    seed: int = 0
    publish: bool = True

    def __post_init__(self) -> None:
        if self.end_ms <= self.start_ms:
            raise ValueError("end_ms must be after start_ms")
        if not 0 < self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds must be above 0 and at most {MAX_SECONDS}")


async def start_plan(context: Context, tenant_id: int, request: PlanRequest) -> str:
    """Queue a run and return its id."""
    run_id = context.new_id()
    async with context.office.of(tenant_id) as tenant:
        await tenant.add_plan(run_id, request, context.now_ms())
    await context.jobs.configure_task(TASK).defer_async(tenant_id=tenant_id, run_id=run_id)
    return run_id


async def load_day(office: Office, tenant_id: int, request: PlanRequest, now_ms: int) -> Day:
    """All rows that the plan depends on, in one transaction."""
    a, shift = projections["appointment"].c, projections["shift"].c
    overlaps = sa.or_(
        sa.and_(a.planned_start >= request.start_ms, a.planned_start < request.end_ms),
        sa.and_(
            a.planned_start.is_(None),
            sa.func.coalesce(a.earliest, a.promised_from, 0) < request.end_ms,
            sa.func.coalesce(a.promised_to, request.end_ms) >= request.start_ms,
        ),
    )
    async with office.of(tenant_id, snapshot=True) as tenant:
        appointments = await tenant.rows("appointment", [a.status.in_([*PLANNABLE, *STARTED]), overlaps])
        orders = await tenant.rows("work_order", [projections["work_order"].c.id.in_({row.work_order for row in appointments})])
        sites = await tenant.rows("site", [projections["site"].c.id.in_({row.site for row in orders})])
        versions = await tenant.versions("appointment", [row.id for row in appointments])
        return Day(
            request.start_ms,
            request.end_ms,
            now_ms,
            appointments,
            {row.id: row for row in orders},
            {row.id: row for row in sites},
            await tenant.rows("technician"),
            await tenant.rows("skill_held"),
            await tenant.rows("shift", [shift.start >= request.start_ms, shift.start < request.end_ms]),
            versions,
        )


async def run_plan(context: Context, tenant_id: int, run_id: str, should_stop: Callable[[], bool]) -> None:
    """Solve a queued run, checking the plan before anything of it is written. Safe to run again after a crash."""
    async with context.office.of(tenant_id) as tenant:
        row = await tenant.plan(run_id)
        if row is None or row.state in ("done", "failed"):
            return
        await tenant.update_plan(run_id, state="running", progress=[])
    try:
        ended = await _solve(context, tenant_id, run_id, msgspec.convert(row.request, PlanRequest), should_stop)
    except Exception as error:  # a job's outermost edge: whoever waits for the plan must hear of anything
        async with context.office.of(tenant_id) as tenant:
            await tenant.update_plan(run_id, state="failed", error=repr(error), finished_ms=context.now_ms())
        raise
    async with context.office.of(tenant_id) as tenant:
        await tenant.update_plan(run_id, **ended, finished_ms=context.now_ms())


async def _solve(
    context: Context, tenant_id: int, run_id: str, request: PlanRequest, should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Search, check, publish; what the run's row says afterwards."""
    day = await load_day(context.office, tenant_id, request, context.now_ms())
    asked = question(day)
    reporter = _Reporter(context, tenant_id, run_id)
    plan = await asyncio.to_thread(
        solve,
        asked.problem,
        seconds=request.seconds,
        seed=request.seed,
        on_progress=reporter.note,
        should_stop=should_stop,
    )
    await reporter.finish()
    breaches = verify(asked.problem, plan)
    found: dict[str, Any] = {
        "plan": msgspec.to_builtins(plan),
        "planned": plan.served,
        "unserved": [{"appointment": u.job, "rule": u.rule, "reason": u.words, "nearest": u.nearest} for u in plan.unserved]
        + [{"appointment": job, "rule": "position", "reason": why, "nearest": ""} for job, why in asked.left_out.items()],
        "checked": not breaches,
        "breaches": [msgspec.to_builtins(breach) for breach in breaches],
        "adapted": [],
    }
    if breaches:
        return {"state": "failed", "best": found, "error": "the checker refused the plan"}
    if request.publish:
        found["adapted"] = await _publish(context, tenant_id, run_id, day, plan)
    return {"state": "done", "best": found, "error": None}


async def _publish(context: Context, tenant_id: int, run_id: str, day: Day, plan: Any) -> list[str]:
    """Write the plan, each appointment for itself. Those that somebody moved meanwhile stay as they are and are returned."""
    groups = [(change,) for change in changes(day, plan)]
    if not groups:
        return []
    committed = await write(context, tenant_id, f"plan {run_id}", groups)
    return [group[0].id for group, outcome in zip(groups, committed.outcomes, strict=True) if outcome.kind is OutcomeKind.PARKED]


class _Reporter:
    """Carries progress from the solving thread to the run's row, the latest only."""

    def __init__(self, context: Context, tenant_id: int, run_id: str) -> None:
        self._context, self._tenant_id, self._run_id = context, tenant_id, run_id
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._progress: list[dict[str, Any]] = []
        self._best: object = None
        self._writing: asyncio.Task[None] | None = None

    def note(self, news: Progress) -> None:
        """Called in the solving thread."""
        with self._lock:
            self._progress.append(
                {"seconds": round(news.seconds, 3), "served": news.jobs_served, "score": msgspec.to_builtins(news.score)}
            )
            self._best = {"plan": msgspec.to_builtins(news.plan), "planned": news.jobs_served}
        self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = self._loop.create_task(self._write())

    async def _write(self) -> None:
        with self._lock:
            progress, best = list(self._progress), self._best
        async with self._context.office.of(self._tenant_id) as tenant:
            await tenant.update_plan(self._run_id, progress=progress, best=best)

    async def finish(self) -> None:
        if self._writing is not None:
            await self._writing
        if self._progress:
            await self._write()
