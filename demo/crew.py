"""The devices as the demo handles them: a process each, its line to the server, its files."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from demo.company import Person
from demo.importer import Login
from demo.journal import Noted, read
from demo.line import Line
from demo.orders import Answer, Dump, Event, Held, News, Order

LIMIT: Final = 1024 * 1024
QUIT_S: Final = 5.0
_news: Final = msgspec.json.Decoder(News)

Tell = Callable[[str, str], None]
"""Told who and what, for the story."""


class Gone(RuntimeError):
    """The device's process ended in the middle of an order."""


class Handset:
    """One device: it can be told to do things, and it can be killed and started again on the same file."""

    def __init__(self, login: Login, folder: Path, line: Line, environment: dict[str, str], tell: Tell, *, seed: int) -> None:
        self.person: Person = login.person
        self.user, self.code, self.line = login.user, login.code, line
        self.kills = 0
        self.skew_ms = 0
        self._folder, self._environment, self._tell, self._seed = folder, environment, tell, seed
        self._process: asyncio.subprocess.Process | None = None

    @property
    def name(self) -> str:
        return self.person.name

    @property
    def journal(self) -> Noted:
        return read(self._folder / f"{self.person.key}.journal")

    async def start(self) -> None:
        """Start the process. `seed` moves on with each start, so that a restarted user does not repeat themselves."""
        key = self.person.key
        files = (str(self._folder / f"{key}.db"), str(self._folder / f"{key}.journal"))
        with (self._folder / f"{key}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "demo.device", *files, f"{self._seed}.{key}.{self.kills}", str(self.skew_ms)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                limit=LIMIT,
            )

    async def ask(self, order: Order) -> Answer:
        """Have an order carried out; what happens on the way goes into the story. Raises `Gone` if the process ends first."""
        process = self._process
        assert process is not None, "start the device first"
        assert process.stdin is not None, "it was started with a pipe to write to"
        assert process.stdout is not None, "it was started with a pipe to read from"
        try:
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            await process.stdin.drain()
            while line := await process.stdout.readline():
                match _news.decode(line):
                    case Event(text):
                        self._tell(self.name, text)
                    case Answer() as answer:
                        return answer
        except (ConnectionError, msgspec.DecodeError) as error:
            raise Gone(self._why()) from error
        raise Gone(self._why())

    def _why(self) -> str:
        return f"{self.name}'s device ended in mid-order\n{(self._folder / f'{self.person.key}.log').read_text()[-2_000:]}"

    async def dump(self) -> Held:
        """Everything that the device holds."""
        path = self._folder / f"{self.person.key}.held.json"
        await self.ask(Dump(str(path)))
        return msgspec.json.decode(path.read_bytes(), type=Held)

    async def kill(self) -> None:
        """SIGKILL: no handler runs, no buffer is written."""
        assert self._process is not None, "start the device first"
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        self.kills += 1

    async def quit(self) -> None:
        """End the process: kindly by closing its input, otherwise by force."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), QUIT_S)
        if process.returncode is None:
            process.kill()
            await process.wait()
