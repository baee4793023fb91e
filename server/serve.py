"""Running the server: the web process and, unless told otherwise, a worker process of its own beside it."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn

from dispatch import warm_up
from server.app import create_app
from server.attachments import Attachments
from server.context import Context, database_url, opened
from server.courier import running_courier
from server.geocoding import Geocoder, geocoder_of, geocoding
from server.jobs import register, run_worker
from server.roads import service_of
from server.rules import SWEEP_S, Rules
from server.settings import Settings
from server.storage.blobs import Blobs
from server.storage.migrate import migrate
from server.wakeups import Wakeups

GC_THRESHOLD: Final = (20_000, 20, 50)
"""A push of a hundred records makes thousands of objects that die with it: collections for their sake took a fifth of its time."""


class HttpServer(uvicorn.Server):
    """Ends the event streams when it shuts down: they would never end by themselves, and it waits for what is under way."""

    def __init__(self, config: uvicorn.Config, wakeups: Wakeups) -> None:
        super().__init__(config)
        self._wakeups = wakeups

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._wakeups.end_streams()
        await super().shutdown(sockets)


@asynccontextmanager
async def running_rules(
    context: Context, on_step: Callable[[], None] | None = None, *, sweep_s: float = SWEEP_S
) -> AsyncIterator[None]:
    """Rules at work in this process, woken by its own door; `on_step` hears of each batch."""
    rules = Rules(context, sweep_s=sweep_s)
    rules.on_step = on_step or rules.on_step
    context.door.on_ruled = rules.note
    task = asyncio.create_task(rules.run(), name="rules")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def at_work(context: Context) -> AsyncIterator[None]:
    """Rules, and a courier that takes what they have to say out of the house."""
    async with running_courier(context) as courier, running_rules(context, courier.note):
        yield


async def serve(settings: Settings, *, with_worker: bool = True) -> None:
    """Serve until SIGINT or SIGTERM. The embedded database is started if no other is named."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn ends by it, then raises it again: what follows must still run
    service_of(settings.roads), _geocoder(settings)  # a wrong address ends this process, not its worker
    url = database_url(settings)
    migrate(url)
    worker = await _start_worker(url) if with_worker else None
    try:
        async with opened(url, settings, connections=settings.connections, migrated=True) as context, at_work(context):
            app = create_app(context, max_body_bytes=settings.max_body_bytes, attachments=_attachments(context, settings))
            config = uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_level="warning",
                access_log=False,
                lifespan="on",
                timeout_graceful_shutdown=5,
            )
            gc.collect()
            gc.freeze()  # what is here now stays: no collection need look through it again
            gc.set_threshold(*GC_THRESHOLD)
            await HttpServer(config, context.wakeups).serve()
    finally:
        if worker is not None:
            with contextlib.suppress(ProcessLookupError):
                worker.terminate()
            await worker.wait()


def _attachments(context: Context, settings: Settings) -> Attachments:
    blobs = Blobs.open(settings.attachments_url, settings.home)
    return Attachments(context, blobs, settings.home.resolve() / "uploads", max_bytes=settings.max_attachment_bytes)


def _geocoder(settings: Settings) -> Geocoder | None:
    return geocoder_of(settings.geocoder, settings.home / "addresses.sqlite")


async def _start_worker(url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "server.serve", url)


async def work(url: str) -> None:
    """Work on jobs until SIGINT or SIGTERM."""
    settings = Settings.read(os.environ)
    geocoder = _geocoder(settings)
    threading.Thread(target=warm_up, name="warm-up", daemon=True).start()  # the first plan need not wait for the compiler
    async with opened(url, settings, connections=4, migrated=True) as context:
        register(context.jobs)
        task = asyncio.create_task(run_worker(context))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        async with at_work(context), geocoding(context, geocoder):
            with contextlib.suppress(asyncio.CancelledError):
                await task


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a process's work on the fastest event loop there is."""
    try:
        import uvloop  # noqa: PLC0415  # absent on some systems
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    run(work(sys.argv[1]))
