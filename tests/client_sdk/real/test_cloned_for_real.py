"""Scenario 11 on the real server: a copied file, and a file from an older backup."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from client_sdk import Offline, Replica
from sync.entities import Lead, WorkOrder
from sync.protocol import OutcomeKind
from tests.client_sdk.oracle import check
from tests.client_sdk.real.conftest import Wire
from tests.server.wire import BareDevice


def copied(replica: Replica, path: Path, name: str, wire: Wire) -> Replica:
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", path.with_name(name + suffix))
    return Replica.open(path.with_name(name), transport=wire)


def capture(replica: Replica, need: str) -> None:
    identity = replica.identity()
    assert identity
    with replica.edit(need) as tx:
        tx.create(Lead(need=need, captured_by=(identity.user,)))


def needs(replica: Replica) -> list[str]:
    return sorted(lead.fields.need for lead in replica.query(Lead))


async def test_two_installations_of_one_file_lose_and_double_nothing(
    crew: tuple[Replica, Replica], company: Any, wire: Wire, tmp_path: Path
) -> None:
    theo, _ = crew
    capture(theo, "unsent, copied")
    twin = copied(theo, tmp_path / "theo", "twin", wire)
    capture(theo, "first")
    await theo.sync()
    capture(twin, "second")
    with twin.edit("on the order") as tx:
        tx.set(WorkOrder, "W1", cause="valve")
    wire.lose_replies = 1
    with pytest.raises(Offline):
        await twin.sync()
    await twin.sync()
    await theo.sync()
    assert needs(theo) == needs(twin) == ["first", "second", "unsent, copied"]
    assert [one.kind for one in twin.history()] == [OutcomeKind.APPLIED] * 3
    for replica in (theo, twin):
        capture(replica, "later")
        await replica.sync()
    await theo.sync()
    assert needs(theo) == needs(twin) == ["first", "later", "later", "second", "unsent, copied"]
    order = theo.get(WorkOrder, "W1")
    assert order
    assert order.fields.cause == "valve"
    async with company.context.office.of(company.tenant_id) as tenant:
        devices = [one for one in await tenant.devices() if one.user_id == twin.identity().user]
    assert sorted((one.epoch, one.last_n) for one in devices) == [(1, 3), (2, 3)]
    check(twin)
    twin.close()


async def test_a_phone_restored_from_last_weeks_backup_swallows_nothing(
    crew: tuple[Replica, Replica], office: BareDevice, wire: Wire, tmp_path: Path
) -> None:
    theo, _ = crew
    backup = copied(theo, tmp_path / "theo", "backup", wire)
    for need in ("a", "b"):
        capture(theo, need)
        await theo.sync()
    capture(backup, "new")
    await backup.sync()
    assert needs(backup) == ["a", "b", "new"]
    assert not backup.outbox()
    check(backup)
    backup.close()
