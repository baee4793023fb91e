"""The simulation can fail: each bug here has been in a product of this kind, and a few seeds find it.

A bug is planted into the real code of this process; the same seeds pass without it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from client_sdk import ledger, session, store
from client_sdk.items import OutboxState
from server import commit, door, exchange, feed
from server.storage import statements
from simulation.world import Report
from sync import merge

SEEDS = range(101, 111)
SHAPE: dict[str, Any] = {
    "technicians": 2,
    "twins": 2,
    "reps": 1,
    "consoles": 3,
    "transactions": 220,
    "rate": 2.0,
    "batch_transactions": 5,
    "statement_ms": 500,
    "beat_minutes": 10,
}


def shape(seed: int) -> dict[str, Any]:
    """Every other world has pages of a few records: some bugs show only where a round is long, others only where it is short."""
    return SHAPE | {"page_records": 4 if seed % 2 else 10_000}


Live = Callable[..., list[Report]]
Plant = Callable[[pytest.MonkeyPatch], None]
PLANTS: list[Plant] = []


def bug(plant: Plant) -> Plant:
    PLANTS.append(plant)
    return plant


def in_write(patch: pytest.MonkeyPatch, before: str, after: str) -> None:
    """Change the one statement that writes a commit."""
    assert before in statements._WRITE
    patch.setattr(statements, "_WRITE", statements._WRITE.replace(before, after))
    statements.write.cache_clear()


def in_page(patch: pytest.MonkeyPatch, before: str, after: str) -> None:
    """Change the statement that cuts a page."""
    for name in ("PAGE", "GROUP_PAGE"):
        assert before in getattr(statements, name)
        patch.setattr(statements, name, getattr(statements, name).replace(before, after))


@bug
def a_resent_batch_is_taken_again(patch: pytest.MonkeyPatch) -> None:
    """The server does not look whether it has had a transaction before."""
    in_write(patch, "and last_n = ($12::bigint[])[array_position($10::int[], no)] - 1", "")
    real = exchange._push

    async def push(pool: Any, the_door: Any, claim: Any, device: Any, request: Any, now_ms: int) -> Any:
        blind = msgspec.structs.replace(device, last_n=request.first - 1)
        return await real(pool, the_door, claim, blind, request, now_ms)

    patch.setattr(exchange, "_push", push)


@bug
def the_number_is_taken_too_early(patch: pytest.MonkeyPatch) -> None:
    """A commit carries a number that readers have already passed."""
    in_write(patch, "u.entity, u.id, u.scope, c.seq,", "u.entity, u.id, u.scope, greatest(c.seq - 1, 1),")


@bug
def the_server_forgets_to_evict(patch: pytest.MonkeyPatch) -> None:
    real = feed._Rows.__init__

    def forget(self: Any, *given: Any) -> None:
        real(self, *given)
        self.evict = []

    patch.setattr(feed._Rows, "__init__", forget)


@bug
def the_device_forgets_to_evict(patch: pytest.MonkeyPatch) -> None:
    real = ledger._apply
    patch.setattr(ledger, "_apply", lambda store, page, *more: real(store, msgspec.structs.replace(page, evict=()), *more))


@bug
def what_the_author_saw_is_ignored(patch: pytest.MonkeyPatch) -> None:
    """Stale values win without a word."""
    patch.setattr(merge._Editing, "_moved", lambda self, field: None)


@bug
def the_cursor_is_saved_before_its_data(patch: pytest.MonkeyPatch) -> None:
    real = ledger.receive

    def receive(file: store.Store, reply: Any, now_ms: int, **more: Any) -> Any:
        if reply.page and not reply.page.more:
            with file.write():
                file._run("UPDATE device SET cursor = ?", (reply.page.cursor,))
        return real(file, reply, now_ms, **more)

    patch.setattr(ledger, "receive", receive)


@bug
def deletions_are_not_sent(patch: pytest.MonkeyPatch) -> None:
    real = feed.Lists.add
    patch.setattr(feed.Lists, "add", lambda self, whole=None, changed=None, gone=None: real(self, whole, changed))


@bug
def the_dead_rise(patch: pytest.MonkeyPatch) -> None:
    """Any edit brings a deleted record back."""

    def restore(self: Any) -> bool:
        self.versions[merge.EXISTENCE] = self.version
        self.mask |= 1 << merge.EXISTENCE
        return True

    patch.setattr(merge._Editing, "_restore", restore)


@bug
def clocks_are_trusted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(commit, "correct", lambda stamp, wrote_ms, **known: stamp)


@bug
def half_a_round_is_shown(patch: pytest.MonkeyPatch) -> None:
    """Each page is published as it comes."""
    real = ledger.receive

    def receive(file: store.Store, reply: Any, now_ms: int, **more: Any) -> Any:
        page = reply.page and msgspec.structs.replace(reply.page, more=False)
        return real(file, msgspec.structs.replace(reply, page=page), now_ms, **more)

    patch.setattr(ledger, "receive", receive)


@bug
def work_is_forgotten_when_it_is_sent(patch: pytest.MonkeyPatch) -> None:
    real = session._post

    async def post(*given: Any) -> Any:
        return await real(*given)

    batch = session.Session._batch

    def forget(self: Any) -> Any:
        sent = batch(self)
        with self._store.write():
            for n, _ in sent:
                self._store.set_state(n, OutboxState.DONE, None)
        return sent

    patch.setattr(session, "_post", post)
    patch.setattr(session.Session, "_batch", forget)


@bug
def a_delta_is_sent_for_older_records(patch: pytest.MonkeyPatch) -> None:
    """The last change alone, though the device has not seen the one before."""
    in_page(patch, "not deleted and prev <= $3 and w.before and $9", "not deleted and delta is not null and w.before and $9")
    in_page(patch, "prev > $3 and not deleted", "false")


@bug
def the_shelf_is_never_cleared(patch: pytest.MonkeyPatch) -> None:
    """A fresh device is given what a scope was when the first one began."""
    page = statements.GROUP_PAGE
    assert "n.newest = ($12::jsonb ->> n.scope)::bigint" in page
    patch.setattr(statements, "GROUP_PAGE", page.replace("n.newest = ($12::jsonb ->> n.scope)::bigint", "$12::jsonb ? n.scope"))


@bug
def access_is_not_withdrawn(patch: pytest.MonkeyPatch) -> None:
    real = commit._Draft.links
    patch.setattr(commit._Draft, "links", lambda self: [row for row in real(self) if row.live])


@bug
def what_lost_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    """Conflicts are announced and not recorded."""
    patch.setattr(commit._Draft, "_hold", lambda self, push, n, at, *rest: f"{push.author.device}.{push.epoch}.{n}.{at}")


@bug
def removing_wins_over_adding(patch: pytest.MonkeyPatch) -> None:
    def remove(self: Any, field: Any, elements: list[str]) -> None:
        before = self._current(field)
        if set(elements) & set(before):
            self._write(field, sorted(set(before) - set(elements)))

    patch.setattr(merge._Editing, "_remove", remove)


@bug
def own_work_vanishes_with_each_page(patch: pytest.MonkeyPatch) -> None:
    """After a page records are shown without the pending edits on them."""
    patch.setattr(store.Store, "overlaid", lambda self: {})


@bug
def own_work_vanishes_once_it_is_taken(patch: pytest.MonkeyPatch) -> None:
    """The overlay ends with the outcome and not with the checkpoint that has it: the old value flickers back."""
    real = ledger._settle

    def settle(file: store.Store, outcome: Any) -> Any:
        return real(file, outcome) | file.untouch([outcome.n])

    patch.setattr(ledger, "_settle", settle)


@bug
def refused_work_is_dropped(patch: pytest.MonkeyPatch) -> None:
    real = commit._Draft.take
    patch.setattr(commit._Draft, "take", lambda self, *given: msgspec.structs.replace(real(self, *given), parked=()))


@bug
def a_shared_commit_reads_old_records(patch: pytest.MonkeyPatch) -> None:
    """The second push of a group does not see what the first one did."""
    real = commit._Draft.take

    def take(self: Any, *given: Any) -> Any:
        before, self._states = self._states, {}
        result = real(self, *given)
        self._states = before | self._states
        return result

    patch.setattr(commit._Draft, "take", take)


@bug
def a_shared_commit_mixes_up_its_outcomes(patch: pytest.MonkeyPatch) -> None:
    real = door.Door._settle

    def settle(self: Any, tenant_id: int, group: Any, made: Any, seq: int) -> None:
        real(self, tenant_id, group, msgspec.structs.replace(made, results=made.results[::-1]), seq)

    patch.setattr(door.Door, "_settle", settle)


@bug
def half_a_transaction_is_taken(patch: pytest.MonkeyPatch) -> None:
    """Where one change is refused, the others are applied all the same."""
    real = commit._Draft._state

    def state(self: Any, spec: Any, edit: Any, staged: Any, push: Any) -> Any:
        self._states |= staged
        return real(self, spec, edit, staged, push)

    patch.setattr(commit._Draft, "_state", state)


@bug
def a_device_does_not_write_at_once(patch: pytest.MonkeyPatch) -> None:
    """Local work is stored statement by statement."""
    real = store.Store._run

    def run(self: Any, sql: str, values: Any = ()) -> Any:
        return real(self, "SELECT 1" if sql in ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK") else sql, values)

    patch.setattr(store.Store, "_run", run)


def seeds_until_found(live: Live, seeds: Iterable[int]) -> list[str]:
    """The troubles of these seeds, up to the first."""
    for seed in seeds:
        (report,) = live(seed, **shape(seed))
        if report.trouble:
            return [report.trouble]
    return []


def test_the_code_as_it_is_passes_these_seeds(live: Live) -> None:
    assert [report.what for seed in SEEDS for report in live(seed, **shape(seed)) if report.trouble] == []


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: Plant, live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    try:
        assert seeds_until_found(live, SEEDS)
    finally:
        statements.write.cache_clear()
