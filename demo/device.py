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
from typing import Final, TypeVar

import msgspec

from client_sdk import Replica, SyncError
from demo.journal import Journal
from demo.luck import luck
from demo.orders import Answer, Close, Convert, Do, Dump, Enrol, Event, Fate, Held, Order, Outcomes, Row, Sync, Work
from demo.rep import RepUser
from demo.technician import TechnicianUser
from demo.user import User
from sync.schema import REGISTRY

RETRY_S: Final = 0.1
LIMIT: Final = 1024 * 1024
U = TypeVar("U", bound=User)
_orders: Final = msgspec.json.Decoder(Order)


def tell(news: Event | Answer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(news) + b"\n")
    sys.stdout.buffer.flush()


class Device:
    def __init__(self, replica: Replica, journal: Journal, seed: str) -> None:
        self.replica, self._journal, self._random = replica, journal, luck(seed)

    async def obey(self, order: Order) -> Answer:
        """Carry an order out; what is local to the device is done in one go."""
        count = 0
        match order:
            case Sync(attempts):
                return await self._sync(attempts)
            case Enrol(url, code, name):
                await self.replica.enrol(url, code, name)
            case Work():
                count = await self._work(order)
            case Do(label, ops):
                self._user(User).do(label, ops)
            case Convert():
                count = self._user(RepUser).convert()
            case Close(leave):
                count = self._user(RepUser).close(leave)
            case Outcomes():
                self._user(TechnicianUser).outcomes()
            case Dump(path):
                await asyncio.to_thread(Path(path).write_bytes, msgspec.json.encode(self.held()))
        return Answer(count=count)

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

    async def _work(self, order: Work) -> int:
        async with contextlib.AsyncExitStack() as stack:
            if order.live:
                await stack.enter_async_context(self.replica.sync_in_background())
            return await self._user(TechnicianUser).work(order.until_ms, order.pace_s)

    def _user(self, kind: type[U]) -> U:
        return kind(self.replica, self._journal, self._random, _event)

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
