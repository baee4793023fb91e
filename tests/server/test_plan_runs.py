"""Planning runs over HTTP, with a worker at work: progress, ends by hand, limits, what-if, drops, and a killed worker."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
from conftest import Company
from live import PATIENCE_S, serving
from test_planning import DAY, HOUR, appointments, office_with_work
from wire import BareDevice

from dispatch import warm_up
from server.jobs import register, run_worker
from server.plan_request import PlanLimits, PlanRequest
from server.planning import TASK, start_plan
from server.publishing import publish_due
from server.storage import plans
from sync.protocol import OutcomeKind

LONG_S = 120.0  # a run that ends before this was ended by somebody
ASKED = {"start_ms": DAY, "end_ms": DAY + 24 * HOUR, "seconds": LONG_S}


@contextlib.asynccontextmanager
async def worker(company: Company, **options: Any) -> AsyncIterator[None]:
    if TASK not in company.context.jobs.tasks:
        register(company.context.jobs)
    task = asyncio.create_task(run_worker(company.context, **options))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def working(company: Company) -> AsyncIterator[Company]:
    """The company, with a worker in this process."""
    async with worker(company):
        yield company


class Desk:
    """A dispatcher at their desk."""

    def __init__(self, company: Company, device: BareDevice) -> None:
        self.company, self.device = company, device
        self.headers = {"authorization": f"Bearer {device.me.token}"}

    async def ask(self, method: str, path: str, expected: int, **options: Any) -> Any:
        response = await self.company.http.request(method, path, headers=self.headers, **options)
        assert response.status_code == expected, response.text
        return response.json()

    async def start(self, **asked: Any) -> str:
        return str((await self.ask("POST", "/v1/plans", 202, json=ASKED | asked))["id"])

    async def run(self, run_id: str) -> Any:
        return await self.ask("GET", f"/v1/plans/{run_id}", 200)

    async def until(self, run_id: str, holds: Callable[[Any], bool]) -> Any:
        async def look() -> Any:
            run = await self.run(run_id)
            return run if holds(run) else None

        return await eventually(look)

    async def ended(self, run_id: str) -> Any:
        return await self.until(run_id, lambda run: run["state"] in ("done", "failed", "cancelled"))


async def eventually(look: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(PATIENCE_S * 2):
        while not (found := await look()):
            await asyncio.sleep(0.1)
        return found


async def desk(company: Company) -> Desk:
    await asyncio.to_thread(warm_up)  # the first use on a machine compiles, which is nothing to be waited for with patience
    return Desk(company, await office_with_work(company))


async def test_the_best_so_far_is_taken(working: Company) -> None:
    """A run of two minutes is stopped once it has a plan; what it has is checked and published."""
    dana = await desk(working)
    run_id = await dana.start()
    await dana.until(run_id, lambda run: run["progress"])
    assert (await dana.ask("POST", f"/v1/plans/{run_id}/stop", 202, json={"keep": True}))["state"] == "running"
    run = await dana.ended(run_id)
    assert (run["state"], run["best"]["checked"], run["best"]["planned"]) == ("done", True, 2)
    assert run["best"]["figures"]["served"] == 2
    assert {change["kind"] for change in run["best"]["difference"]} == {"added"}
    assert (await appointments(working))["P1"].technician == "T1"


async def test_a_cancelled_run_publishes_nothing(working: Company) -> None:
    dana = await desk(working)
    run_id = await dana.start()
    await dana.until(run_id, lambda run: run["progress"])
    await dana.ask("POST", f"/v1/plans/{run_id}/stop", 202, json={})
    run = await dana.ended(run_id)
    assert run["state"] == "cancelled"
    assert run["best"]["planned"] == 2, "what it found can still be read"
    assert {row.status for row in (await appointments(working)).values()} == {"unscheduled"}
    assert (await dana.ask("POST", f"/v1/plans/{run_id}/stop", 202, json={"keep": True}))["state"] == "cancelled"


async def test_a_run_that_has_not_begun_is_cancelled_at_once(company: Company) -> None:
    dana = await desk(company)
    run_id = await dana.start()
    assert (await dana.ask("POST", f"/v1/plans/{run_id}/stop", 202, json={}))["state"] == "cancelled"
    await dana.ask("POST", "/v1/plans/nowhere/stop", 404, json={})
    problem = await dana.ask("POST", f"/v1/plans/{run_id}/stop", 400, json={"keep": "yes"})
    assert problem["field"] == "keep"


async def test_progress_is_a_stream(working: Company) -> None:
    """Better plans as they come, then the end; who comes back with the last number hears only what is new."""
    dana = await desk(working)
    async with serving(working.context) as served, httpx.AsyncClient(base_url=served.url, timeout=PATIENCE_S) as http:
        run_id = await dana.start()
        path = f"/v1/plans/{run_id}/events"
        heard: list[tuple[str, int, Any]] = []
        async with asyncio.timeout(PATIENCE_S), http.stream("GET", path, headers=dana.headers) as reply:
            assert reply.headers["content-type"].startswith("text/event-stream")
            async for event in events(reply):
                heard.append(event)
                if len(heard) == 1:
                    await dana.ask("POST", f"/v1/plans/{run_id}/stop", 202, json={"keep": True})
        assert [name for name, _, _ in heard[:-1]] == ["progress"] * (len(heard) - 1)
        assert [number for _, number, _ in heard[:-1]] == list(range(1, len(heard)))
        assert heard[0][2].keys() == {"seconds", "served", "score"}
        assert heard[-1][0] == "end"
        assert heard[-1][2] == {"state": "done", "error": None}
        run = await dana.run(run_id)
        assert [data for name, _, data in heard if name == "progress"] == run["progress"]
        late = {"last-event-id": str(len(run["progress"]))}
        async with http.stream("GET", path, headers=dana.headers | late) as reply:
            assert [name async for name, _, _ in events(reply)] == ["end"]
        missing = await http.get("/v1/plans/nowhere/events", headers=dana.headers)
        assert missing.status_code == 404


async def events(reply: httpx.Response) -> AsyncIterator[tuple[str, int, Any]]:
    fields: dict[str, str] = {}
    async for line in reply.aiter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields["event"], int(fields["id"]), msgspec.json.decode(fields["data"])
            fields = {}


async def test_limits_of_a_tenant_are_told_by_name(company: Company) -> None:
    """Runs under way, seconds, and appointments of one run: each refused with its rule, and nothing is queued."""
    dana = await desk(company)
    usual, company.context.plan_limits = company.context.plan_limits, PlanLimits(runs=1, seconds=200, jobs=4)
    try:
        problem = await dana.ask("POST", "/v1/plans", 422, json=ASKED | {"seconds": 201})
        assert (problem["rule"], problem["field"]) == ("plan_seconds", "seconds")
        run_id = await dana.start()
        problem = await dana.ask("POST", "/v1/plans", 429, json=ASKED)
        assert (problem["rule"], problem["detail"]) == ("plan_runs", "1 wait or are under way, 1 may")
        await dana.ask("POST", f"/v1/plans/{run_id}/stop", 202, json={})
        company.context.plan_limits = PlanLimits(runs=1, seconds=200, jobs=3)
        problem = await dana.ask("POST", "/v1/plans", 422, json=ASKED)
        assert (problem["rule"], problem["field"]) == ("plan_jobs", "end_ms")
    finally:
        company.context.plan_limits = usual
    with pytest.raises(ValueError, match="TRUCKROLL_PLAN_RUNS"):
        PlanLimits.read({"TRUCKROLL_PLAN_RUNS": "0"})


async def test_what_if_changes_nothing(working: Company) -> None:
    """Without Gus nobody can do the gas job: the answer says so, and the appointments stay as they are."""
    dana = await desk(working)
    await dana.ended(await dana.start(seconds=1))
    before = await appointments(working)
    run = await dana.ended(await dana.start(seconds=1, what_if={"without_technicians": ["T1"], "overtime_s": 3600}))
    assert run["state"] == "done"
    lost = {change["job"]: change["kind"] for change in run["best"]["difference"]}
    assert lost["P1"] == "dropped"
    assert {left["appointment"]: left["rule"] for left in run["best"]["unserved"]}["P1"] == "skills"
    assert await appointments(working) == before
    await dana.ask("POST", "/v1/plans", 400, json=ASKED | {"what_if": {"overtime_s": -1}})


async def test_a_change_by_hand_during_the_run_stays(working: Company) -> None:
    """The dispatcher moves a visit while the run is under way; the run takes its end and leaves that visit alone."""
    dana = await desk(working)
    run_id = await dana.start()
    await dana.until(run_id, lambda run: run["progress"])
    change = dana.device.update("appointment", "P2", technician="T2", planned_start=DAY + 8 * HOUR, pinned=True)
    assert (await dana.device.push(change)).kind is OutcomeKind.APPLIED
    await dana.ask("POST", f"/v1/plans/{run_id}/stop", 202, json={"keep": True})
    run = await dana.ended(run_id)
    assert (run["state"], run["best"]["adapted"]) == ("done", ["P2"])
    rows = await appointments(working)
    assert (rows["P2"].technician, rows["P2"].planned_start, rows["P2"].planned_end) == ("T2", DAY + 8 * HOUR, None)
    assert rows["P1"].technician == "T1"


async def test_a_plan_goes_out_drop_by_drop(working: Company) -> None:
    """Only the next hours are published; the rest waits with the run, goes out when it is due, and never over a change by hand."""
    dana = await desk(working)
    later = [("P1", DAY + 12 * HOUR), ("P2", DAY + 14 * HOUR)]
    for id_, at_ms in later:
        times = dana.device.update("appointment", id_, earliest=at_ms, promised_from=at_ms, promised_to=at_ms + HOUR)
        assert (await dana.device.push(times)).kind is OutcomeKind.APPLIED
    hours = (DAY + 13.5 * HOUR - working.context.now_ms()) / HOUR
    run = await dana.ended(await dana.start(seconds=1, next_hours=hours))
    assert (run["state"], run["best"]["withheld"], run["best"]["planned"]) == ("done", ["P2"], 2)
    rows = await appointments(working)
    assert (rows["P1"].technician, rows["P2"].technician, rows["P2"].status) == ("T1", None, "unscheduled")
    assert await publish_due(working.context, working.tenant_id, working.context.now_ms()) == 0
    assert await publish_due(working.context, working.tenant_id, working.context.now_ms() + HOUR) == 1
    assert (await appointments(working))["P2"].status == "scheduled"
    assert await publish_due(working.context, working.tenant_id, working.context.now_ms() + HOUR) == 0
    assert (await dana.run(run["id"]))["best"]["withheld"] == []


async def test_the_next_visits_of_each_technician_go_out(working: Company) -> None:
    """One visit at a time: the second waits behind the first, and what somebody moved meanwhile is not touched."""
    dana = await desk(working)
    rest = dana.device.update("technician", "T2", active=False)
    assert (await dana.device.push(rest)).kind is OutcomeKind.APPLIED
    run = await dana.ended(await dana.start(seconds=1, next_jobs=1))
    assert run["best"]["withheld"] == ["P1"], "P2 is promised early"
    assert (await appointments(working))["P2"].technician == "T1"
    moved = dana.device.update("appointment", "P1", duration_s=1800)
    assert (await dana.device.push(moved)).kind is OutcomeKind.APPLIED
    done = dana.device.update("appointment", "P2", status="canceled")
    assert (await dana.device.push(done)).kind is not OutcomeKind.PARKED
    assert await publish_due(working.context, working.tenant_id, working.context.now_ms()) == 1
    assert (await dana.run(run["id"]))["best"]["adapted"] == ["P1"]
    assert (await appointments(working))["P1"].technician is None


async def test_a_new_run_takes_over_what_an_old_one_withheld(working: Company) -> None:
    dana = await desk(working)
    first = await dana.ended(await dana.start(seconds=1, next_jobs=0))
    assert sorted(first["best"]["withheld"]) == ["P1", "P2"]
    await dana.ended(await dana.start(seconds=1, next_jobs=0))
    async with working.context.office.of(working.tenant_id) as tenant:
        assert [run.id for run in await plans.withheld(tenant)] != [first["id"]]
        assert len(await plans.withheld(tenant)) == 1


async def test_a_killed_workers_run_is_picked_up(company: Company, database_url: str) -> None:
    """A worker process is killed in the middle of a run; another one goes on from the best plan it had told, and publishes."""
    dana = await desk(company)
    run_id = await start_plan(company.context, company.tenant_id, PlanRequest(DAY, DAY + 24 * HOUR, seconds=LONG_S))
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "server.serve", database_url)
    try:
        before = await dana.until(run_id, lambda run: run["progress"])
        assert before["state"] == "running"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert (await dana.run(run_id))["state"] == "running"
    async with worker(company, stalled_s=1):
        await dana.ask("POST", f"/v1/plans/{run_id}/stop", 202, json={"keep": True})
        run = await dana.ended(run_id)
    assert (run["state"], run["best"]["checked"], run["best"]["planned"]) == ("done", True, 2)
    assert run["progress"][: len(before["progress"])] == before["progress"]
    assert (await appointments(company))["P1"].technician == "T1"
