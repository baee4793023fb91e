"""The server of the demo: the real `truckroll serve` as a process of its own, on a free port, in a temporary home."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
import msgspec

from demo.importer import Import, Imported

START_S: Final = 60.0
STOP_S: Final = 12.0
POLL_S: Final = 0.1
PORT_ATTEMPTS: Final = 5


class HouseError(RuntimeError):
    """The server did not start or ended too early; the message has the end of what it printed."""


class House:
    """`async with House() as house` serves at `house.url` until the block ends; then no process and no file is left."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="truckroll-demo-"))
        self.port = 0
        self._log = self.home / "server.log"
        self._server: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        try:
            for _ in range(PORT_ATTEMPTS):
                if await self._start(free_port()):
                    return self
            raise HouseError(f"no port was free in {PORT_ATTEMPTS} attempts\n{self._tail()}")
        except BaseException:
            await self._end()
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._end()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment without any other server's settings: the demo never touches a database of yours.

        The embedded PostgreSQL keeps a lock file among the temporary files, where another user's would be in its way.
        """
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL" and not name.startswith("TRUCKROLL_")}
        return kept | {"TRUCKROLL_HOME": str(self.home), "TMPDIR": str(self.home)}

    async def set_up(self, asked: Import) -> Imported:
        """Run the importer against the running server's database."""
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "demo.importer"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
            try:
                answer, _ = await process.communicate(msgspec.json.encode(asked))
            finally:
                kill_group(process.pid, signal.SIGKILL)
        if process.returncode:
            raise HouseError(f"the importer failed\n{self._tail()}")
        return msgspec.json.decode(answer, type=Imported)

    async def _start(self, port: int) -> bool:
        """Start the server; False if it ended at once, as it does when another process took the port first."""
        self.port = port
        command = (sys.executable, "-c", "from cli.main import main; main()", "serve", "--port", str(port))
        with self._log.open("ab") as log:
            self._server = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )
        deadline_s = time.monotonic() + START_S
        async with httpx.AsyncClient(base_url=self.url) as client:
            while time.monotonic() < deadline_s:
                if self._server.returncode is not None:
                    if "address already in use" in self._tail():
                        return False
                    raise HouseError(f"the server ended with {self._server.returncode}\n{self._tail()}")
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("/v1/health")).status_code == 200:
                        return True
                await asyncio.sleep(POLL_S)
        raise HouseError(f"the server did not answer within {START_S:.0f} s\n{self._tail()}")

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-3_000:] if self._log.exists() else ""

    async def _end(self) -> None:
        """Ask politely, then do not ask. The database is looked for by its own pid file, whoever started it."""
        if self._server is not None:
            if self._server.returncode is None:
                self._server.send_signal(signal.SIGINT)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._server.wait(), STOP_S)
            kill_group(self._server.pid, signal.SIGKILL)
            await self._server.wait()
        await self._end_database()
        shutil.rmtree(self.home, ignore_errors=True)

    async def _end_database(self) -> None:
        lock = self.home / "pg" / "postmaster.pid"
        if not lock.exists():
            return
        pid = int(lock.read_text().split("\n", 1)[0])
        for number in (signal.SIGINT, signal.SIGQUIT):  # to PostgreSQL: end now in order; end at once
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            for _ in range(int(STOP_S / POLL_S)):
                if not lock.exists():
                    return
                await asyncio.sleep(POLL_S)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def kill_group(leader: int, number: signal.Signals) -> None:
    """Signal what is left of a session that this process started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
