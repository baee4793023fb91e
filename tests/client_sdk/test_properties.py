"""Laws of the replica, on random days: edits on two devices and in the office, lost messages, kills, scopes that come and go."""

import shutil
import tempfile
from functools import partial
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from client_sdk import NotFound, Replica, SyncError
from client_sdk.draft import Draft
from sync.entities import Account, Appointment, Lead, Site, WorkOrder, WorkOrderTask
from sync.entities.flows import AppointmentStatus
from sync.entities.work import TaskResult
from tests.client_sdk.conftest import Clock, Office
from tests.client_sdk.oracle import base, check, copies_at_each_statement, drive, shown
from tests.client_sdk.peer import Line, Peer

WORDS = ("", "a", "b", "a b", "b c a")
ORDERS = ("wo0", "wo1", "wo2")
SCOPES = ("account:acc", "site:site", *(f"work_order:{order}" for order in ORDERS))

words = st.sampled_from(WORDS)
orders = st.sampled_from(ORDERS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("cause"), orders, words),
        st.tuples(st.just("summary"), orders, words),
        st.tuples(st.just("task"), orders, words),
        st.tuples(st.just("result"), orders, st.sampled_from(TaskResult)),
        st.tuples(st.just("status"), orders, st.sampled_from(AppointmentStatus)),
        st.tuples(st.just("tag"), st.just("acc"), words),
        st.tuples(st.just("untag"), st.just("acc"), words),
        st.tuples(st.just("custom"), st.just("site"), words),
        st.tuples(st.just("lead"), st.just("acc"), words),
        st.tuples(st.just("drop"), orders, words),
    ),
    min_size=1,
    max_size=3,
)
Steps = list[tuple[str, str, str]]


def write(tx: Draft, todo: Steps) -> None:
    """Edits in the words of the tests, the same for devices and the office; what is not held is left out."""
    for what, where, value in todo:
        try:
            _write(tx, what, where, value)
        except NotFound:
            continue


def _write(tx: Draft, what: str, where: str, value: str) -> None:
    match what:
        case "cause":
            tx.set(WorkOrder, where, cause=value, remedy=value[:1])
        case "summary":
            tx.edit_text(WorkOrder, where, summary=value)
        case "task":
            tx.create(WorkOrderTask(work_order=where, title=value))
        case "result":
            tx.set(WorkOrderTask, f"task-{where}", result=value)
        case "status":
            tx.set(Appointment, f"visit-{where}", status=value)
        case "tag":
            tx.add(Account, where, tags=value or "x")
        case "untag":
            tx.remove(Account, where, tags=value or "x")
        case "custom":
            tx.set(Site, where, custom={value or "k": value or None})
        case "lead":
            tx.create(Lead(need=value))
        case _:
            tx.delete(WorkOrderTask, f"task-{where}")


def company(peer: Peer) -> Office:
    office = Office(peer)
    office.create(Account(name="A", tags=("x",)), "acc")
    office.create(Site(account="acc", name="S"), "site")
    for order in ORDERS:
        office.create(WorkOrder(account="acc", site="site", summary="a b"), order)
        office.create(WorkOrderTask(work_order=order, title="t"), f"task-{order}")
        office.create(Appointment(work_order=order, status=AppointmentStatus.DISPATCHED), f"visit-{order}")
    return office


class Days(RuleBasedStateMachine):
    """Two devices and an office. At every step the view is base and overlay; at the end all agree and nothing is lost."""

    @initialize(seed=st.integers(0, 2**16), groups=st.integers(1, 3))
    def begin(self, seed: int, groups: int) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="truckroll-days-"))
        self.peer, self.clock, self.random = Peer(), Clock(), Random(seed)
        self.office = company(self.peer)
        self.peer.groups = groups
        self.lines = [Line(self.peer, self.random, 0.0) for _ in range(2)]
        self.paths = [self.home / f"device{number}" for number in range(2)]
        self.replicas = [self.open(number) for number in range(2)]
        for replica in self.replicas:
            identity = drive(replica.enrol("https://peer", "code"))
            self.peer.holds[identity.user] = set(SCOPES)
        self.written = [0, 0]

    def open(self, number: int) -> Replica:
        return Replica.open(self.paths[number], clock=self.clock, random=self.random, transport=self.lines[number])

    @rule(number=st.integers(0, 1), todo=steps)
    def edit(self, number: int, todo: Steps) -> None:
        self.clock.now_ms += 1000
        replica = self.replicas[number]
        with replica.edit() as tx:
            write(tx, todo)
        self.written[number] += bool(tx.changes)

    @rule(todo=steps)
    def edit_in_the_office(self, todo: Steps) -> None:
        todo = [step for step in todo if step[0] != "status"]
        if todo:
            self.office.edit(lambda tx: write(tx, todo))

    @rule(number=st.integers(0, 1), scope=st.sampled_from(SCOPES))
    def come_or_go(self, number: int, scope: str) -> None:
        self.peer.holds[f"user{number + 2}"] ^= {scope}

    @rule(
        number=st.integers(0, 1),
        page=st.integers(1, 9),
        loss=st.sampled_from([0.0, 0.0, 0.3]),
        meanwhile=st.lists(st.none() | steps, max_size=4),
    )
    def sync(self, number: int, page: int, loss: float, meanwhile: list[Steps | None]) -> None:
        """With the user at work while requests are on their way."""
        line = self.lines[number]

        def work() -> None:
            if meanwhile and (todo := meanwhile.pop()):
                self.edit(number, todo)

        self.peer.page, line.loss, line.meanwhile = page, loss, work
        try:
            drive(self.replicas[number].sync())
        except SyncError:
            assert loss
        finally:
            line.loss, line.meanwhile = 0.0, None

    @rule(number=st.integers(0, 1), at=st.integers(0, 10**6), page=st.integers(1, 9))
    def kill_in_mid_sync(self, number: int, at: int, page: int) -> None:
        self.peer.page = page
        replica, path = self.replicas[number], self.paths[number]
        copies = copies_at_each_statement(replica, path, lambda: drive(replica.sync()))
        replica.close()
        survivor = copies[at % len(copies)]
        for suffix in ("", "-wal"):
            shutil.copy(f"{survivor}{suffix}", f"{path}{suffix}")
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
        for copy in copies:
            for suffix in ("", "-wal"):
                Path(f"{copy}{suffix}").unlink()
        self.replicas[number] = self.open(number)

    @rule(number=st.integers(0, 1))
    def reopen(self, number: int) -> None:
        self.replicas[number].close()
        self.replicas[number] = self.open(number)

    @precondition(lambda self: self.replicas[0].parked())
    @rule(again=st.booleans())
    def repair(self, again: bool) -> None:
        first = self.replicas[0].parked()[0]
        if again:
            self.replicas[0].retry(first.n)
            self.written[0] += 1
        else:
            self.replicas[0].discard(first.n)

    @invariant()
    def shows_base_and_overlay(self) -> None:
        for replica in self.replicas:
            check(replica)

    def teardown(self) -> None:
        if not hasattr(self, "replicas"):
            return
        self.peer.page = 7
        for _ in range(2):
            for replica in self.replicas:
                drive(replica.sync())
        for number, replica in enumerate(self.replicas):
            check(replica)
            user = f"user{number + 2}"
            assert {key: body for key, (body, _, _) in shown(replica).items()} == self.peer.visible(user)
            assert not any(pending for _, pending, _ in shown(replica).values())
            assert len(self.peer.devices[f"token{number + 2}"].log) == self.written[number]
            assert len(replica.outbox()) == 0
            replica.close()
        shutil.rmtree(self.home)


TestDays = Days.TestCase
TestDays.settings = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))


@given(days=st.lists(st.tuples(steps, st.sampled_from(SCOPES), st.booleans()), max_size=8), page=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_pages_staged_then_published_equal_one_page(days: list[tuple[Steps, str, bool]], page: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        peer = Peer()
        office = company(peer)
        replicas = [Replica.open(Path(home) / str(n), clock=Clock(), transport=Line(peer, Random(0), 0.0)) for n in range(2)]
        for replica in replicas:
            identity = drive(replica.enrol("https://peer", "code"))
            peer.holds[identity.user] = set(SCOPES)
        for todo, scope, with_sync in days:
            office.edit(partial(write, todo=[step for step in todo if step[0] != "status"]))
            for user in ("user2", "user3"):
                peer.holds[user] ^= {scope}
            if with_sync:
                _sync_both(peer, replicas, page)
        _sync_both(peer, replicas, page)
        assert base(replicas[0]) == base(replicas[1])
        assert {key: body for key, (body, _, _) in shown(replicas[0]).items()} == peer.visible("user2")
        for replica in replicas:
            replica.close()


def _sync_both(peer: Peer, replicas: list[Replica], page: int) -> None:
    for replica, size in zip(replicas, (page, 10_000), strict=True):
        peer.page = size
        drive(replica.sync())
