"""The job queue: procrastinate on the same PostgreSQL. Any number of workers, on any machine."""

import asyncio
import threading
from typing import Any, Final

import procrastinate

from server.context import Context
from server.planning import TASK, run_plan

RETRIES: Final = 2
ABORT_POLL_S: Final = 0.1


def register(jobs: procrastinate.App) -> None:
    """The tasks that a worker runs; their context comes with the worker."""

    @jobs.task(name=TASK, pass_context=True, retry=RETRIES)
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


async def run_worker(context: Context, **options: Any) -> None:
    """Work on jobs until cancelled."""
    await context.jobs.run_worker_async(
        additional_context={"context": context}, install_signal_handlers=False, listen_notify=True, **options
    )
