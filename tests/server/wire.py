"""A device that speaks the bare protocol: what a test sends is exactly what travels."""

import time
from typing import Any

import httpx
import msgspec

from sync.protocol import Enrolled, Outcome, OutcomeKind, Page, Reply


class BareDevice:
    """No replica, no retries: a number for each transaction and a cursor."""

    def __init__(self, http: httpx.AsyncClient, enrolled: Enrolled) -> None:
        self.http, self.me = http, enrolled
        self.next_n, self.cursor = 1, None
        self.records: dict[tuple[str, str], dict[str, Any]] = {}
        self.seqs: dict[tuple[str, str], int] = {}

    async def post(self, body: bytes) -> httpx.Response:
        return await self.http.post("/v1/sync", content=body, headers={"authorization": f"Bearer {self.me.token}"})

    def transaction(self, *changes: dict[str, Any], n: int | None = None, wrote_ms: int | None = None) -> dict[str, Any]:
        now_ms = time.time_ns() // 1_000_000 if wrote_ms is None else wrote_ms
        number = self.next_n if n is None else n
        self.next_n = max(self.next_n, number + 1)
        return {"n": number, "stamp": now_ms * 1000, "wrote_ms": now_ms, "changes": list(changes)}

    async def exchange(
        self,
        *transactions: dict[str, Any],
        first: int | None = None,
        limit: int = 2000,
        digests: dict[str, str] | None = None,
    ) -> Reply:
        request = {
            "epoch": self.me.epoch,
            "sent_ms": time.time_ns() // 1_000_000,
            "cursor": self.cursor,
            "first": first if first is not None else (transactions[0]["n"] if transactions else 1),
            "transactions": list(transactions),
            "limit": limit,
            "digests": digests,
        }
        response = await self.post(msgspec.json.encode(request))
        assert response.status_code == 200, response.text
        return msgspec.json.decode(response.content, type=Reply)

    async def push(self, *changes: dict[str, Any]) -> Outcome:
        """One transaction of these changes; its outcome."""
        reply = await self.exchange(self.transaction(*changes), limit=0)
        outcome = reply.outcomes[0]
        if outcome.kind is not OutcomeKind.PARKED:
            self.seqs |= {(change["entity"], change["id"]): outcome.seq for change in changes}
        return outcome

    def update(self, entity: str, record_id: str, **fields: Any) -> dict[str, Any]:
        """An edit of the version that this device saw last."""
        return update(entity, record_id, self.seqs[entity, record_id], **fields)

    async def pull(self, limit: int = 2000) -> list[Page]:
        """Pull until a checkpoint; `records` is then what the device holds."""
        pages: list[Page] = []
        while not pages or pages[-1].more or pages[-1].groups_left:
            reply = await self.exchange(limit=limit)
            assert reply.page is not None
            self.cursor = reply.page.cursor
            pages.append(reply.page)
        for page in pages:
            self._apply(page)
        return pages

    def _apply(self, page: Page) -> None:
        from sync.schema import REGISTRY

        dropped = {*page.evict, *page.enter}
        for key, body in list(self.records.items()):
            if REGISTRY[key[0]].scope_of(key[1], body) in dropped:
                del self.records[key]
        self.seqs |= {(record.entity, record.id): record.seq for record in (*page.whole, *page.delta)}
        for record in page.whole:
            self.records[record.entity, record.id] = record.fields
        for record in page.delta:
            self.records[record.entity, record.id] = self.records[record.entity, record.id] | record.fields
        for gone in page.gone:
            self.records.pop((gone.entity, gone.id), None)


def create(entity: str, record_id: str, **fields: Any) -> dict[str, Any]:
    return {"entity": entity, "id": record_id, "create": True, "set": fields}


def update(entity: str, record_id: str, base: int, **fields: Any) -> dict[str, Any]:
    return {"entity": entity, "id": record_id, "base": base, "set": fields}
