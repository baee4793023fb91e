"""Planning as a durable job: asked over HTTP, run by a worker outside the web process, readable while it runs."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from dispatch import Plan, Progress, TravelMatrix, solve, verify
from dispatch.figures import figures
from dispatch.replan import difference
from server.context import Context
from server.plan_request import PlanRequest
from server.problems import ProblemError
from server.publishing import publish
from server.roads import Told
from server.storage import plans
from server.storage.office import Office
from server.storage.stock import on_hand, used_parts
from server.storage.tables import projections
from server.translate import PLANNABLE, STARTED, Day, Question, imagined, question
from server.translate_back import standing

TASK: Final = "plan"
WATCH_S: Final = 0.25
ENDED: Final = frozenset({"done", "failed", "cancelled"})


async def start_plan(context: Context, tenant_id: int, request: PlanRequest) -> str:
    """Queue a run and return its id. Raises ProblemError where the tenant's limits forbid it."""
    run_id, limits = context.new_id(), context.plan_limits
    if request.seconds > limits.seconds:
        detail = f"{request.seconds:g} s asked, {limits.seconds:g} s allowed"
        raise ProblemError(422, "The run would take too long", detail, field="seconds", rule="plan_seconds")
    async with context.office.of(tenant_id) as tenant:
        under_way = await plans.active(tenant)
        if under_way >= limits.runs:
            detail = f"{under_way} wait or are under way, {limits.runs} may"
            raise ProblemError(429, "Too many planning runs at once", detail, rule="plan_runs")
        jobs = await tenant.count("appointment", _of_days(request))
        if jobs > limits.jobs:
            detail = f"{jobs} appointments fall into the time, {limits.jobs} may be planned at once"
            raise ProblemError(422, "Too many jobs for one run", detail, field="end_ms", rule="plan_jobs")
        await plans.add(tenant, run_id, request, context.now_ms())
    await context.jobs.configure_task(TASK).defer_async(tenant_id=tenant_id, run_id=run_id)
    return run_id


def _of_days(request: PlanRequest) -> list[sa.ColumnElement[bool]]:
    """What tells the appointments that a run plans."""
    a = projections["appointment"].c
    overlaps = sa.or_(
        sa.and_(a.planned_start >= request.start_ms, a.planned_start < request.end_ms),
        sa.and_(
            a.planned_start.is_(None),
            sa.func.coalesce(a.earliest, a.promised_from, 0) < request.end_ms,
            sa.func.coalesce(a.promised_to, request.end_ms) >= request.start_ms,
        ),
    )
    return [a.status.in_([*PLANNABLE, *STARTED]), overlaps]


async def load_day(office: Office, tenant_id: int, request: PlanRequest, now_ms: int) -> Day:
    """All rows that the plan depends on, in one transaction."""
    shift = projections["shift"].c
    async with office.of(tenant_id, snapshot=True) as tenant:
        appointments = await tenant.rows("appointment", _of_days(request))
        orders = await tenant.rows("work_order", [projections["work_order"].c.id.in_({row.work_order for row in appointments})])
        sites = await tenant.rows("site", [projections["site"].c.id.in_({row.site for row in orders})])
        versions = await tenant.versions("appointment", [row.id for row in appointments])
        parts = {product for order in orders for product, count in (order.parts or {}).items() if count}
        leads = {order.lead for order in orders if order.optional and order.value_cents is None and order.lead is not None}
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
            depots=await tenant.rows("depot"),
            on_hand=await on_hand(tenant, parts) if parts else {},
            used=await used_parts(tenant, {order.id for order in orders if order.parts}) if parts else {},
            leads={row.id: row for row in await tenant.rows("lead", [projections["lead"].c.id.in_(leads)])} if leads else {},
        )


async def run_plan(context: Context, tenant_id: int, run_id: str, should_stop: Callable[[], bool]) -> None:
    """Solve a queued run, checking the plan before anything of it is written.

    Safe to run again after a crash: it goes on from the best plan that was told.
    """
    async with context.office.of(tenant_id) as tenant:
        row = await plans.get(tenant, run_id)
        if row is None or row.state in ENDED:
            return
        await plans.update(tenant, run_id, state="running")
    wished = _Wish(context, tenant_id, run_id, should_stop)
    watching = asyncio.create_task(wished.watch())
    try:
        ended = await _solve(context, tenant_id, row, wished)
    except Exception as error:  # a job's outermost edge: whoever waits for the plan must hear of anything
        async with context.office.of(tenant_id) as tenant:
            await plans.update(tenant, run_id, state="failed", error=repr(error), finished_ms=context.now_ms())
        raise
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    async with context.office.of(tenant_id) as tenant:
        await plans.update(tenant, run_id, **ended, finished_ms=context.now_ms())


class _Wish:
    """What the office wishes of a run under way: nothing, the best plan so far (`take`), or an end without one (`cancel`)."""

    def __init__(self, context: Context, tenant_id: int, run_id: str, aborted: Callable[[], bool]) -> None:
        self._context, self._tenant_id, self._run_id, self._aborted = context, tenant_id, run_id, aborted
        self._stop = threading.Event()
        self.what = ""

    def stops(self) -> bool:
        """Asked by the solving thread."""
        return self._stop.is_set() or self._aborted()

    async def look(self) -> str:
        async with self._context.office.of(self._tenant_id) as tenant:
            row = await plans.news(tenant, self._run_id, 0)
        self.what = "" if row is None or row.wish is None else row.wish
        if self.what:
            self._stop.set()
        return self.what

    async def watch(self) -> None:
        while not await self.look():  # noqa: ASYNC110  # what is awaited happens in another process
            await asyncio.sleep(WATCH_S)


async def _solve(context: Context, tenant_id: int, row: Any, wished: _Wish) -> dict[str, Any]:
    """Search, check, publish; what the run's row says afterwards."""
    request, run_id = msgspec.convert(row.request, PlanRequest), row.id
    day = await load_day(context.office, tenant_id, request, context.now_ms())
    if request.what_if is not None:
        day = imagined(day, request.what_if)
    asked, travel = await asyncio.to_thread(_question, context, day)
    told, known = _told_before(row)
    reporter = _Reporter(context, tenant_id, run_id, asked, told)
    plan = await asyncio.to_thread(
        solve,
        asked.problem,
        seconds=max(0.1, request.seconds - reporter.spent_s),
        seed=request.seed,
        on_progress=reporter.note,
        should_stop=wished.stops,
        start=known,
    )
    await reporter.finish()
    breaches = verify(asked.problem, plan)
    found = _found(asked, day, plan) | {
        "travel": msgspec.to_builtins(travel),
        "checked": not breaches,
        "breaches": [msgspec.to_builtins(b) for b in breaches],
    }
    if await wished.look() == "cancel":
        return {"state": "cancelled", "best": found, "error": None}
    if breaches:
        return {"state": "failed", "best": found, "error": "the checker refused the plan"}
    if request.publish and request.what_if is None:
        found["adapted"], found["withheld"] = await publish(context, tenant_id, run_id, request, day, asked, plan)
    return {"state": "done", "best": found, "error": None}


def _question(context: Context, day: Day) -> tuple[Question, Told]:
    """The problem with its travel, and where that comes from. Blocks while a road service is asked."""
    told: list[Told] = []

    def travel(points: Sequence[tuple[float, float]]) -> TravelMatrix:
        matrix, source = context.roads.travel(points, day.start_ms + (day.end_ms - day.start_ms) // 2)
        told.append(source)
        return matrix

    return question(day, travel), told[0]


def _found(asked: Question, day: Day, plan: Plan) -> dict[str, Any]:
    """The plan as it is told: itself, what it leaves out, its figures, and what is different from what stands."""
    left = [{"appointment": u.job, "rule": u.rule, "reason": u.words, "nearest": u.nearest} for u in plan.unserved]
    left += [{"appointment": job, "rule": "position", "reason": why, "nearest": ""} for job, why in asked.left_out.items()]
    told, counted, mates = asked.told(plan), figures(asked.problem, plan), len(asked.mates)
    return {
        "plan": msgspec.to_builtins(told),
        "planned": told.served,
        "unserved": left,
        "figures": msgspec.to_builtins(msgspec.structs.replace(counted, jobs=counted.jobs - mates, served=told.served)),
        "difference": msgspec.to_builtins(difference(standing(day), told)),
        "adapted": [],
        "withheld": [],
    }


def _told_before(row: Any) -> tuple[list[dict[str, Any]], Plan | None]:
    """What a run that a worker left unfinished had told: its progress, and its best plan."""
    if not row.progress or not row.best:
        return [], None
    return list(row.progress), msgspec.convert(row.best["plan"], Plan)


class _Reporter:
    """Carries progress from the solving thread to the run's row, the latest only."""

    def __init__(self, context: Context, tenant_id: int, run_id: str, asked: Question, told: list[dict[str, Any]]) -> None:
        self._context, self._tenant_id, self._run_id, self._asked = context, tenant_id, run_id, asked
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._progress = told
        self.spent_s: float = told[-1]["seconds"] if told else 0.0
        self._best: object = None
        self._writing: asyncio.Task[None] | None = None

    def note(self, news: Progress) -> None:
        """Called in the solving thread."""
        told, served = self._asked.told(news.plan), news.jobs_served - len(self._asked.mates)
        with self._lock:
            seconds = round(self.spent_s + news.seconds, 3)
            self._progress.append({"seconds": seconds, "served": served, "score": msgspec.to_builtins(news.score)})
            self._best = {"plan": msgspec.to_builtins(told), "planned": served}
        self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = self._loop.create_task(self._write())

    async def _write(self) -> None:
        with self._lock:
            progress, best = list(self._progress), self._best
        async with self._context.office.of(self._tenant_id) as tenant:
            await plans.update(tenant, self._run_id, progress=progress, **({} if best is None else {"best": best}))

    async def finish(self) -> None:
        if self._writing is not None:
            await self._writing
        if self._progress:
            await self._write()
