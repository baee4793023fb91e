"""`python -m demo.device FILE JOURNAL SEED [SKEW_MS]`: one device as an operating-system process with its own SQLite file.

It does what the demo says on standard input, an order a line, and tells what happens on standard output. It knows the server by a
URL only, imports nothing but the SDK, and may be killed at any moment: everything it needs to go on is in FILE. SKEW_MS is how far
its clock is off.
"""

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from client_sdk import Replica, SyncError
from demo.journal import Journal
from demo.orders import Answer, Close, Convert, Do, Dump, Enrol, Event, Fate, Held, Order, Outcomes, Row, Sync, Work
from demo.rep import RepUser
from demo.technician import TechnicianUser
from demo.user import User
from sync.schema import REGISTRY

RETRY_S: Final = 0.1
LIMIT: Final = 1024 * 1024
_orders: Final = msgspec.json.Decoder(Order)


def tell(news: Event | Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(news) + b"\n")
    sys.stdout.buffer.flush()


class Device:
    def __init__(self, replica: Replica, journal: Journal, seed: str) -> None:
        self.replica, self._journal, self._random = replica, journal, Random(seed)

    async def obey(self, order: Order) -> Answer:
        match order:
            case Enrol(url, code, name):
                await self.replica.enrol(url, code, name)
                return Answer()
            case Sync(attempts):
                return await self._sync(attempts)
            case Work():
                return await self._work(order)
            case Do(label, ops):
                self._user().do(label, ops)
                return Answer()
            case Convert():
                return Answer(count=self._rep().convert())
            case Close(leave):
                return Answer(count=self._rep().close(leave))
            case Outcomes():
                return Answer(count=self._technician().outcomes())
            case Dump(path):
                await asyncio.to_thread(Path(path).write_bytes, msgspec.json.encode(self.held()))
                return Answer()

    async def _sync(self, attempts: int) -> Answer:
        for attempt in range(1, attempts + 1):
            try:
                await self.replica.sync()
            except SyncError as error:
                detail = str(error)
                await asyncio.sleep(RETRY_S)
            else:
                return Answer(count=attempt)
        return Answer(ok=False, count=attempts, detail=detail)

    async def _work(self, order: Work) -> Answer:
        async with contextlib.AsyncExitStack() as stack:
            if order.live:
                await stack.enter_async_context(self.replica.sync_in_background())
            return Answer(count=await self._technician().work(order.until_ms, order.pace_s))

    def _user(self) -> User:
        return User(self.replica, self._journal, self._random, _event)

    def _technician(self) -> TechnicianUser:
        return TechnicianUser(self.replica, self._journal, self._random, _event)

    def _rep(self) -> RepUser:
        return RepUser(self.replica, self._journal, self._random, _event)

    def held(self) -> Held:
        """Everything that the device holds, as its user would see it, and the fate of each of its transactions."""
        identity = self.replica.identity()
        assert identity is not None, "a device is enrolled before it is looked into"
        rows = [
            Row(spec.name, item.id, item.seq, msgspec.to_builtins(item.fields), item.pending)
            for spec in REGISTRY.values()
            for item in self.replica.query(spec.cls)
        ]
        fates = [Fate(out.n, out.state.value, out.kind.value if out.kind else None) for out in self.replica.history()]
        return Held(identity.device, identity.user, tuple(rows), tuple(fates))


def _event(text: str) -> None:
    tell(Event(text))


async def main(file: Path, journal_file: Path, seed: str, skew_ms: int) -> None:
    reader = asyncio.StreamReader(limit=LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    journal = Journal(journal_file)
    with Replica.open(file, clock=lambda: time.time_ns() // 1_000_000 + skew_ms) as replica:
        device = Device(replica, journal, seed)
        while line := await reader.readline():
            tell(await device.obey(_orders.decode(line)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 0))
