"""The link of one installation: it loses, doubles, delays, reorders and cuts."""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec

from client_sdk import Offline
from simulation.faults import Faults
from simulation.plan import Fault
from simulation.schedule import Scheduler
from simulation.server import Server
from sync.protocol import Exchange

TIMEOUT_MS: Final = 20_000
LATE_MS: Final = 2 * 3_600_000
_LOSSES: Final = (
    (Fault.REQUEST_LOST, 0.06),
    (Fault.REQUEST_LATE, 0.05),
    (Fault.REQUEST_DOUBLED, 0.05),
    (Fault.REQUEST_TWICE_AT_ONCE, 0.06),
    (Fault.REPLY_LOST, 0.08),
    (Fault.REPLY_CUT, 0.03),
)


class Link:
    """A `client_sdk.Transport`. `page_records` bounds the pages that are asked for."""

    def __init__(self, server: Server, scheduler: Scheduler, faults: Faults, page_records: int) -> None:
        self._server, self._scheduler, self._faults, self._page_records = server, scheduler, faults, page_records
        self.down_until_ms = 0
        self.exchanges = 0

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        self.exchanges += 1
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._scheduler.spawn(self._carry(path, self._with_small_page(path, body), headers, answer), "link")
        return await answer

    def wander(self) -> None:
        """Into a cellar now and then."""
        if self._faults.strikes(Fault.OUT_OF_REACH, 0.06):
            self.down_until_ms = self._scheduler.now_ms + self._faults.random.randint(1, 90) * 60_000

    def _with_small_page(self, path: str, body: bytes) -> bytes:
        if path != "/v1/sync":
            return body
        asked = msgspec.json.decode(body, type=Exchange)
        limit = min(asked.limit, self._page_records)
        return msgspec.json.encode(msgspec.structs.replace(asked, limit=limit))

    def _fate(self) -> Fault | None:
        struck = [fault for fault, probability in _LOSSES if self._faults.strikes(fault, probability)]
        for fault in struck[1:]:
            self._faults.counts[fault] -= 1
        return struck[0] if struck else None

    async def _carry(self, path: str, body: bytes, headers: Mapping[str, str], answer: "asyncio.Future[tuple[int, bytes]]") -> None:
        random, life = self._faults.random, self._server.life
        fate = self._fate()
        if self._scheduler.now_ms < self.down_until_ms or fate is Fault.REQUEST_LOST:
            return await self._fail(answer)
        if fate is Fault.REQUEST_LATE:
            await self._fail(answer)
            await self._scheduler.sleep(random.randint(0, LATE_MS))
            return await self._again(path, body, headers, life)
        await self._scheduler.sleep(random.randint(20, 400))
        if fate is Fault.REQUEST_TWICE_AT_ONCE:
            self._scheduler.spawn(self._again(path, body, headers, life), "link twin")
        try:
            status, reply = await self._server.serve(path, body, headers)
        except ConnectionResetError:
            return await self._fail(answer)
        if fate is Fault.REPLY_LOST:
            return await self._fail(answer)
        if fate is Fault.REPLY_CUT:
            reply = reply[: random.randint(0, len(reply) - 1)]
        await self._scheduler.sleep(random.randint(20, 400))
        if not answer.done():
            answer.set_result((status, reply))
        if fate is Fault.REQUEST_DOUBLED:
            await self._scheduler.sleep(random.randint(0, LATE_MS))
            await self._again(path, body, headers, life)
        return None

    async def _fail(self, answer: "asyncio.Future[tuple[int, bytes]]") -> None:
        await self._scheduler.sleep(TIMEOUT_MS)
        if not answer.done():
            answer.set_exception(Offline("no answer in time"))

    async def _again(self, path: str, body: bytes, headers: Mapping[str, str], life: int) -> None:
        """Deliver a request whose answer nobody waits for; a server that was restored meanwhile never sees it."""
        await self._scheduler.sleep(self._faults.random.randint(0, 5))
        if life != self._server.life:
            return
        try:
            await self._server.serve(path, body, headers)
        except ConnectionResetError:
            return
