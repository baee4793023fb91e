"""Updates of the app and of the server, in whichever order they come. `real/test_other_versions.py` has the real server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from client_sdk import Replica, Unreadable, ledger
from client_sdk.session import COMPARE_EVERY_MS
from sync.entities import WorkOrderTask
from sync.protocol import Page, WireRecord
from sync.schema import REGISTRY
from tests.client_sdk.conftest import DAWN_MS, Clock, Office, arrived
from tests.client_sdk.oracle import check
from tests.client_sdk.peer import Line, Peer
from tests.client_sdk.versions import LAST_YEAR, NEXT_YEAR, NewSite, OldWorkOrderTask

Make = Callable[..., Replica]


async def test_what_an_older_server_refused_is_sent_again_when_it_has_grown(
    ana: Replica, peer: Peer, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana.close()
    with Replica.open(tmp_path / "ana", transport=line, registry=NEXT_YEAR) as new:
        with new.edit("where to park") as tx:
            tx.set(NewSite, "site1", parking="yard")
        await new.sync()
        (parked,) = new.parked()
        assert (parked.reasons[0].rule, parked.reasons[0].field) == ("unknown_field", "parking")
        monkeypatch.setitem(REGISTRY, "site", NEXT_YEAR["site"])
        new.retry(parked.n)
        await new.sync()
        assert not new.parked()
        site = new.get(NewSite, "site1")
        assert site
        assert (site.fields.parking, site.pending) == ("yard", False)


async def test_a_field_that_the_update_requires_is_fetched(
    ana: Replica, peer: Peer, line: Line, office: Office, tmp_path: Path
) -> None:
    """What was downloaded before the field was there cannot be shown without it: it comes anew with the next sync."""
    office.create(WorkOrderTask(work_order="wo1", title="look", note="seen"), "task1")
    ana.close()
    with Replica.open(tmp_path / "ana", transport=line, registry=LAST_YEAR) as old:
        await old.sync()
        without = WireRecord("work_order_task", "task1", peer.seq, {"work_order": "wo1", "note": "seen"})
        ledger.receive(old._store, arrived(Page(old._store.device().cursor or "", whole=(without,))), DAWN_MS)
        task = old.get(OldWorkOrderTask, "task1")
        assert task
        with old.edit("unsent") as tx:
            tx.set(OldWorkOrderTask, "task1", note="mine")
    with Replica.open(tmp_path / "ana", transport=line) as today:
        assert today.query(WorkOrderTask) == []
        with pytest.raises(Unreadable, match="title"):
            today.get(WorkOrderTask, "task1")
        await today.sync()
        check(today)
        fetched = today.get(WorkOrderTask, "task1")
        assert fetched
        assert (fetched.fields.title, fetched.fields.note) == ("look", "mine")
        requests = len(peer.requests)
    with Replica.open(tmp_path / "ana", transport=line) as again:
        await again.sync()
        assert [request.cursor is None for request in peer.requests[requests:]] == [False]


async def test_an_old_app_does_not_fetch_every_day_what_it_does_not_know(
    ana: Replica, peer: Peer, line: Line, clock: Clock, tmp_path: Path
) -> None:
    with Replica.open(tmp_path / "old", transport=line, clock=clock, registry=LAST_YEAR) as old:
        identity = await old.enrol("https://peer", "code")
        peer.holds[identity.user] = {"work_order:wo1", "account:acc1"}
        await old.sync()
        clock.now_ms += COMPARE_EVERY_MS
        await old.sync()
        assert peer.requests[-1].digests is None
    clock.now_ms += COMPARE_EVERY_MS
    await ana.sync()
    assert peer.requests[-1].digests is not None
    with Replica.open(tmp_path / "old", transport=line, clock=clock) as today:
        await today.sync()
        assert peer.requests[-1].digests is not None


def test_the_years_do_not_mix() -> None:
    assert REGISTRY["site"].cls.__module__ == "sync.entities.customers"
    assert LAST_YEAR.keys() < REGISTRY.keys() < NEXT_YEAR.keys()
