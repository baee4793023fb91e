"""Queries by SQL on tables that are derived from the declarations."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from client_sdk import Replica, SdkError, col, ledger, tables
from client_sdk.query import Condition
from sync.entities import Account, Appointment, Asset, WorkOrder
from sync.entities.customers import AssetStatus
from tests.client_sdk.oracle import check, shown

Make = Callable[..., Replica]


@pytest.fixture
def shed(make: Make) -> Replica:
    replica = make("shed")
    with replica.edit() as tx:
        for name, on, status in (("a", 3, "installed"), ("b", 1, "faulty"), ("c", None, "installed"), ("d", 2, "removed")):
            tx.create(Asset(site="s", name=name, installed_on=on, status=AssetStatus(status)), record_id=name)
        tx.create(Account(name="x", tags=("vip", "north"), credit_hold=True), record_id="x")
        tx.create(Account(name="y"), record_id="y")
    return replica


INSTALLED, NAME = col(Asset.installed_on), col(Asset.name)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ((), "abcd"),
        ((NAME.is_("b"),), "b"),
        ((NAME.is_not("b"),), "acd"),
        ((INSTALLED.is_(None),), "c"),
        ((INSTALLED.is_not(None),), "abd"),
        ((INSTALLED > 1,), "ad"),
        ((INSTALLED >= 2, INSTALLED < 3), "d"),
        ((INSTALLED <= 1,), "b"),
        (INSTALLED.between(1, 3), "bd"),
        ((col(Asset.status).is_(AssetStatus.INSTALLED),), "ac"),
        ((col(Asset.status).one_of(AssetStatus.FAULTY, AssetStatus.REMOVED),), "bd"),
        ((NAME.one_of(),), ""),
        ((NAME.is_("a") | NAME.is_("b") | (INSTALLED >= 2), INSTALLED < 3), "bd"),
        ((NAME.is_("a") | (NAME.is_("b") | NAME.is_("zz")),), "ab"),
        ((NAME.is_("'; drop table base; --"),), ""),
    ],
)
def test_conditions(shed: Replica, where: tuple[Condition, ...], found: str) -> None:
    assert "".join(item.id for item in shed.query(Asset, *where)) == found


def test_sets_and_booleans(shed: Replica) -> None:
    assert [item.id for item in shed.query(Account, col(Account.tags).has("vip"))] == ["x"]
    assert [item.id for item in shed.query(Account, col(Account.credit_hold).is_(False))] == ["y"]


def test_order_and_limit(shed: Replica) -> None:
    def names(**how: object) -> str:
        return "".join(item.id for item in shed.query(Asset, **how))  # type: ignore[arg-type]  # forwarded

    assert names(order_by=INSTALLED.ascending()) == "cbda"
    assert names(order_by=INSTALLED.descending(), limit=2) == "ad"
    assert names(order_by=(col(Asset.status).ascending(), NAME.descending())) == "bcad"


def test_a_query_takes_fields_of_its_entity_only(shed: Replica) -> None:
    with pytest.raises(TypeError, match=r"Account\.name"):
        shed.query(Asset, col(Account.name).is_("x"))
    with pytest.raises(TypeError, match="field of an entity"):
        col("name")


def test_a_new_declaration_fills_an_old_file(make: Make, monkeypatch: pytest.MonkeyPatch, shed: Replica) -> None:
    """A field was added since the file was made: the tables are made again from base and outbox, whatever stood in them."""
    before = shown(shed)
    for statement in ("DROP TABLE rows_asset", "CREATE TABLE rows_asset (_id TEXT)", "DELETE FROM rows_account"):
        shed._store._run(statement)
    monkeypatch.setattr(tables, "LAYOUT", tables.LAYOUT + 1)
    again = make("shed")
    assert shown(again) == before
    check(again)


def test_an_entity_that_was_unknown_takes_its_place(make: Make, monkeypatch: pytest.MonkeyPatch, shed: Replica) -> None:
    """What a newer server sent before the app was updated is kept, and shown afterwards unless its scope left meanwhile."""
    store = shed._store
    with store.write():
        store.put_base(
            [("work_order", "wo1", "", 1, b'{"account":"x","site":"s"}'), ("appointment", "v1", "", 1, b'{"work_order":"gone"}')]
        )
        store.enter_scope("work_order:wo1")
    monkeypatch.setattr(tables, "LAYOUT", tables.LAYOUT + 1)
    again = make("shed")
    assert [item.id for item in again.query(WorkOrder)] == ["wo1"]
    assert again.query(Appointment) == []
    check(again)


def test_preparing_twice_does_nothing(shed: Replica) -> None:
    shed._store._run("DELETE FROM rows_asset")
    ledger.prepare(shed._store)
    assert shed.query(Asset) == []


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "newer"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SdkError, match="version 99"):
        Replica.open(path)
