"""What a transaction refuses at once, and how its operations join."""

from collections.abc import Callable

import msgspec
import pytest

from client_sdk import Draft, Invalid, NotFound, Replica, SdkError
from sync.entities import Account, Appointment, Asset, Site, TimeEntry, WorkOrder
from sync.protocol import Transaction

SET_OF_TAGS = {"tags": ("x",)}


@pytest.mark.parametrize(
    ("write", "field", "rule"),
    [
        (lambda tx: tx.set(Account, "acc1", name=3), "name", "type"),
        (lambda tx: tx.set(Account, "acc1", nam="x"), "nam", "unknown_field"),
        (lambda tx: tx.set(Account, "acc1", name="x" * 201), "name", "bounds"),
        (lambda tx: tx.set(WorkOrder, "wo1", priority=9), "priority", "bounds"),
        (lambda tx: tx.set(Appointment, "visit1", status="teleported"), "status", "bounds"),
        (lambda tx: tx.set(Account, "acc1", **SET_OF_TAGS), "tags", "operation"),
        (lambda tx: tx.set(WorkOrder, "wo1", summary="x"), "summary", "operation"),
        (lambda tx: tx.inc(WorkOrder, "wo1", priority=1), "priority", "operation"),
        (lambda tx: tx.set(Site, "site1", account="acc2"), "account", "operation"),
        (lambda tx: tx.add(Account, "acc1", tags=[3]), "tags[0]", "type"),
        (lambda tx: tx.add(Account, "acc1", tags="x" * 41), "tags[0]", "bounds"),
        (lambda tx: tx.edit_text(Site, "site1", access_notes=7), "access_notes", "type"),
        (lambda tx: tx.edit_text(Site, "site1", access_notes="x" * 20_001), "access_notes", "bounds"),
        (
            lambda tx: tx.append(Asset, tx.create(Asset(site="site1")), readings=Account(name="no reading")),
            "readings[0].name",
            None,
        ),
        (lambda tx: tx.create(Account(name="x"), record_id="a b"), "id", "bounds"),
        (lambda tx: tx.create(Account(name="x"), record_id="acc1"), "", "exists"),
        (lambda tx: tx.create(Account(name=7)), "name", "type"),  # type: ignore[arg-type]  # on purpose
    ],
)
async def test_a_wrong_change_is_refused_at_once(
    ana: Replica, write: Callable[[Draft], object], field: str, rule: str | None
) -> None:
    """With the field and the rule; and nothing of its transaction is stored."""

    def work() -> None:
        with ana.edit() as tx:
            tx.set(WorkOrder, "wo1", cause="never stored")
            write(tx)

    with pytest.raises(Invalid) as caught:
        work()
    assert caught.value.field == field
    assert caught.value.rule == (rule or caught.value.rule)
    assert not ana.outbox()
    order = ana.get(WorkOrder, "wo1")
    assert order
    assert (order.fields.cause, order.pending) == ("", False)


async def test_what_is_not_held_cannot_be_edited(ana: Replica) -> None:
    for write in (
        lambda tx: tx.set(Account, "nobody", name="x"),
        lambda tx: tx.delete(Account, "nobody"),
        lambda tx: (tx.delete(Account, "acc1"), tx.set(Account, "acc1", name="x")),
    ):
        with pytest.raises(NotFound), ana.edit() as tx:
            write(tx)
    assert not ana.outbox()


async def test_any_exception_leaves_nothing(ana: Replica) -> None:
    with pytest.raises(ZeroDivisionError), ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause=str(1 / 0))
    assert ana.status().waiting == 0


async def test_an_empty_transaction_is_none(ana: Replica) -> None:
    with ana.edit() as tx:
        pass
    assert tx.n is None
    assert ana.status().waiting == 0


async def test_a_stored_transaction_takes_nothing_more(ana: Replica) -> None:
    with ana.edit() as tx:
        tx.set(WorkOrder, "wo1", cause="a")
    assert tx.n == 1
    with pytest.raises(SdkError, match="stored"):
        tx.set(WorkOrder, "wo1", cause="b")


async def test_operations_join_until_they_touch_a_field_twice(ana: Replica) -> None:
    with ana.edit("all of it") as tx:
        tx.set(Account, "acc1", tier="gold")
        tx.set(WorkOrder, "wo1", cause="a")
        tx.add(Account, "acc1", tags="x")
        tx.set(Account, "acc1", segment="s")
        tx.remove(Account, "acc1", tags="x")
        tx.set(Account, "acc1", tier="silver")
        tx.set(Account, "acc1")
    ((_, raw),) = ana._store.waiting(9)
    sent = msgspec.json.decode(raw, type=Transaction)
    assert [(c.entity, c.set and bytes(c.set), c.add and bytes(c.add), c.remove and bytes(c.remove)) for c in sent.changes] == [
        ("account", b'{"tier":"gold","segment":"s"}', b'{"tags":["x"]}', msgspec.UNSET),
        ("work_order", b'{"cause":"a"}', msgspec.UNSET, msgspec.UNSET),
        ("account", b'{"tier":"silver"}', msgspec.UNSET, b'{"tags":["x"]}'),
    ]
    account = ana.get(Account, "acc1")
    assert account
    assert (account.fields.tier, account.fields.segment, account.fields.tags) == ("silver", "s", ())


async def test_a_text_edit_says_what_the_author_saw(ana: Replica) -> None:
    with ana.edit() as tx:
        tx.edit_text(Site, "site1", access_notes="gate code 34")
        tx.edit_text(Site, "site1", access_notes="gate code 56")
    sent = msgspec.json.decode(ana._store.waiting(9)[0][1], type=Transaction)
    assert [msgspec.to_builtins(change.edit) for change in sent.changes] == [
        {"access_notes": ["gate code 12", "gate code 34"]},
        {"access_notes": ["gate code 34", "gate code 56"]},
    ]


async def test_a_new_record_can_be_deleted_before_it_was_sent(ana: Replica) -> None:
    with ana.edit() as tx:
        entry = tx.create(TimeEntry(work_order="wo1", technician="t1", kind="work", start=1))  # type: ignore[arg-type]  # as JSON has it
        tx.delete(TimeEntry, entry)
    assert ana.get(TimeEntry, entry) is None
