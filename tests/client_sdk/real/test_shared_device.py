"""Scenario 22 on the real server: two technicians, one tablet."""

from pathlib import Path
from typing import Any

from client_sdk import Replica, Replicas
from sync.entities import Lead, WorkOrder
from tests.client_sdk.real.conftest import Wire


async def test_two_technicians_share_a_tablet(crew: tuple[Replica, Replica], company: Any, wire: Wire, tmp_path: Path) -> None:
    theo, uma = (replica.identity() for replica in crew)
    assert theo
    assert uma
    with Replicas(tmp_path / "tablet", transport=wire) as tablet:
        for who in (theo, uma):
            replica = await tablet.enrol("http://server", await company.code(who.user), "tablet")
            await replica.sync()
            with replica.edit("capture") as tx:
                tx.create(Lead(need=f"{who.user_name}'s", captured_by=(who.user,)))
        assert tablet.users() == sorted((theo.user, uma.user))
        assert tablet.current
        assert tablet.current.query(WorkOrder) == []
        assert [lead.fields.need for lead in tablet.current.query(Lead)] == ["Uma's"]
        assert await tablet.deliver() == {theo.user: None}
        await crew[0].sync()
        assert [lead.fields.need for lead in crew[0].query(Lead)] == ["Theo's"]
        mine = tablet.switch(theo.user)
        assert [order.id for order in mine.query(WorkOrder)] == ["W1"]
        assert [lead.fields.need for lead in mine.query(Lead)] == ["Theo's"]
        assert not mine.outbox()
        await tablet.deliver()
        await crew[1].sync()
        assert [lead.fields.need for lead in crew[1].query(Lead)] == ["Uma's"]
