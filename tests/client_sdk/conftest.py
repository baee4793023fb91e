"""A company in a few lines: a peer, an office that writes through the same door, and devices on files of their own."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from client_sdk import Replica, ledger
from client_sdk.draft import Draft
from sync.codec import decode_body, encode_body
from sync.entities import Account, Appointment, Site, WorkOrder
from sync.entities.flows import AppointmentStatus
from sync.protocol import Outcome, OutcomeKind, Page, Reply, Transaction
from sync.schema import Entity
from tests.client_sdk.peer import OFFICE, Line, Peer

DAWN_MS = 1_700_000_000_000


def arrived(page: Page) -> ledger.ArrivingReply:
    """A reply with no more than a page, as it comes over the line."""
    return ledger.reply.decode(msgspec.json.encode(Reply(0, 0, page)))


class Clock:
    """Milliseconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_ms = DAWN_MS

    def __call__(self) -> int:
        return self.now_ms


class Office:
    """Writes to the peer as the office does: on the newest version of each record."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._ids = itertools.count(1)
        self._numbers = itertools.count(1)

    def edit(self, write: Callable[[Draft], object]) -> Outcome:
        draft = Draft("", self._look, lambda: f"o{next(self._ids)}", {})
        write(draft)
        n = next(self._numbers)
        outcome = self.peer.commit(OFFICE, Transaction(n, n, n, draft.changes))
        assert outcome.kind is not OutcomeKind.PARKED, outcome
        return outcome

    def create(self, fields: Entity, record_id: str) -> str:
        self.edit(lambda tx: tx.create(fields, record_id=record_id))
        return record_id

    def _look(self, key: tuple[str, str]) -> tuple[int, dict[str, object] | None]:
        held = self.peer.records.get(key)
        if held is None or held.record.deleted:
            return 0, None
        return held.record.seq, decode_body(encode_body(held.record.body))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def peer() -> Peer:
    return Peer()


@pytest.fixture
def office(peer: Peer) -> Office:
    return Office(peer)


@pytest.fixture
def line(peer: Peer) -> Line:
    return peer.transport()


@pytest.fixture
def key() -> str | None:
    """What the files are encrypted with: nothing, unless a test module says otherwise."""
    return None


@pytest.fixture
def make(tmp_path: Path, clock: Clock, peer: Peer, key: str | None) -> Iterator[Callable[..., Replica]]:
    """Open a replica on the file `name`; the same name again is the same file."""
    opened: list[Replica] = []
    seeds = itertools.count()

    def open_one(name: str = "device", transport: Line | None = None) -> Replica:
        random = Random(next(seeds))
        replica = Replica.open(tmp_path / name, clock=clock, random=random, transport=transport or peer.transport(), key=key)
        opened.append(replica)
        return replica

    yield open_one
    for replica in opened:
        replica.close()


@pytest.fixture
async def ana(make: Callable[..., Replica], line: Line, peer: Peer, office: Office) -> Replica:
    """An enrolled technician's device that holds one order with one visit, synced."""
    replica = make("ana", line)
    identity = await replica.enrol("https://peer", "code", "Ana")
    office.create(Account(name="Lakeside Clinic"), "acc1")
    office.create(Site(account="acc1", name="Main house", access_notes="gate code 12"), "site1")
    office.create(WorkOrder(account="acc1", site="site1", subject="boiler is cold"), "wo1")
    office.create(
        Appointment(work_order="wo1", technician="t1", planned_start=DAWN_MS, status=AppointmentStatus.DISPATCHED), "visit1"
    )
    peer.holds[identity.user] |= {"work_order:wo1", "site:site1", "account:acc1"}
    await replica.sync()
    return replica


def body_of(fields: Entity) -> dict[str, object]:
    """A record's fields with every default said, for comparing."""
    said = msgspec.to_builtins(fields)
    return {name: said.get(name, msgspec.to_builtins(spec.default)) for name, spec in fields.spec.fields.items()}
