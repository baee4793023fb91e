"""A small company for stories about customers: an office at the REST API, a customer with a site, and a technician."""

import asyncio
import time
from typing import Any

import httpx
import sqlalchemy as sa
from conftest import Company
from wire import BareDevice

from server.author import create, write
from server.storage.tables import rule_event

NOW_MS = time.time_ns() // 1_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PATIENCE_S = 30


class Desk:
    """Somebody of the company at the REST API."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self.http, self.token = http, token

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, path, json=body, headers={"authorization": f"Bearer {self.token}"} | named)

    async def get(self, path: str) -> Any:
        reply = await self("GET", path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def put(self, entity: str, record_id: str, **fields: Any) -> dict[str, Any]:
        reply = await self("PUT", f"/v1/records/{entity}/{record_id}", fields)
        assert reply.status_code in (200, 201), reply.text
        answer: dict[str, Any] = reply.json()
        return answer


class Shop:
    """`desk` is a manager; `device` is Theo's, who is technician T1 and holds a visit P1 for order W1 at Acme's plant."""

    def __init__(self, company: Company, desk: Desk, device: BareDevice) -> None:
        self.company, self.desk, self.device = company, desk, device

    @classmethod
    async def open(cls, company: Company) -> "Shop":
        desk = Desk(company.http, (await company.enrol(await company.user("Mia", "manager"))).token)
        theo = await company.user("Theo", "technician")
        await write(company.context, company.tenant_id, "catalogue", [[create("product", "X1", sku="X1", name="Pump")]])
        await desk.put("technician", "T1", name="Theo Berg", user=theo)
        await desk.put("account", "A1", name="Acme")
        await desk.put("site", "S1", account="A1", name="Plant 4", address="Mill Lane 4", city="York")
        await desk.put("contact", "C1", account="A1", name="Ann Ash", emails=["ann@acme.example"])
        await desk.put("work_order", "W1", account="A1", site="S1", subject="boiler check", number="17", opened_at=NOW_MS - DAY_MS)
        return cls(company, desk, BareDevice(company.http, await company.enrol(theo)))

    async def visit(self, record_id: str = "P1", **fields: Any) -> dict[str, Any]:
        """A visit of the technician's in three hours, sent to him, unless said otherwise."""
        start = NOW_MS + 3 * HOUR_MS
        plan = {
            "work_order": "W1",
            "technician": "T1",
            "planned_start": start,
            "planned_end": start + HOUR_MS,
            "status": "dispatched",
        }
        return await self.desk.put("appointment", record_id, **plan | fields)

    async def settle(self) -> None:
        """Wait until the rules have looked at everything that happened."""
        count = sa.select(sa.func.count()).select_from(rule_event).where(rule_event.c.tenant_id == self.company.tenant_id)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with self.company.context.office.of(self.company.tenant_id) as tenant:
                    if not (await tenant.connection.execute(count)).scalar_one():
                        return

    async def messages(self, **filters: str) -> list[dict[str, Any]]:
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        found: list[dict[str, Any]] = (await self.desk.get(f"/v1/notifications?{query}"))["items"]
        return found
