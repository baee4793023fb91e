"""The job queue: procrastinate on the same PostgreSQL. Any number of workers, on any machine."""

import asyncio
import threading
from typing import Any, Final

import procrastinate

from server.context import Context
from server.planning import TASK, run_plan

ABORT_POLL_S: Final = 0.1
STALLED_S: Final = 30


def register(jobs: procrastinate.App) -> None:
    """The tasks that a worker runs; their context comes with the worker."""

    @jobs.task(name=TASK, pass_context=True)
    async def plan(job: procrastinate.JobContext, tenant_id: int, run_id: str) -> None:
        context: Context = job.additional_context["context"]
        stop = threading.Event()
        watching = asyncio.create_task(_watch(job, stop))
        try:
            await run_plan(context, tenant_id, run_id, stop.is_set)
        finally:
            watching.cancel()


async def _watch(job: procrastinate.JobContext, stop: threading.Event) -> None:
    while not job.should_abort():  # noqa: ASYNC110  # procrastinate offers a question, not an event
        await asyncio.sleep(ABORT_POLL_S)
    stop.set()


async def run_worker(context: Context, *, stalled_s: float = STALLED_S, **options: Any) -> None:
    """Work on jobs until cancelled, those of workers included whose heart has not beaten for `stalled_s` seconds."""
    reviving = asyncio.create_task(_revive(context.jobs, stalled_s), name="revive")
    try:
        await context.jobs.run_worker_async(
            additional_context={"context": context}, install_signal_handlers=False, listen_notify=True, **options
        )
    finally:
        reviving.cancel()


async def _revive(jobs: procrastinate.App, stalled_s: float) -> None:
    """Put back what a worker took and did not end: its heartbeat has stopped."""
    while True:
        for job in await jobs.job_manager.get_stalled_jobs(seconds_since_heartbeat=stalled_s):
            await jobs.job_manager.retry_job(job)
        await asyncio.sleep(stalled_s)
