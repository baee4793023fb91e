"""The replica: what an app holds in its hand."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random, SystemRandom
from types import TracebackType
from typing import Self
from weakref import WeakSet

import msgspec

from client_sdk import capture, ledger, words
from client_sdk.attachments import Attachments
from client_sdk.background import BackgroundSync
from client_sdk.capture import Agreed, Photo
from client_sdk.draft import Draft
from client_sdk.errors import NotEnrolled, NotFound, SdkError, Unreadable, Wiped
from client_sdk.items import (
    Conflicts,
    E,
    Identity,
    Item,
    Key,
    OutboxState,
    Outgoing,
    Parked,
    Status,
)
from client_sdk.query import Condition, Order
from client_sdk.replay import keys_of, read
from client_sdk.session import Session
from client_sdk.store import OutboxRow, Store, SyncLock, ViewRow
from client_sdk.tables import one, select
from client_sdk.transport import Transport
from client_sdk.wakeups import Wakeups
from client_sdk.watch import Hub, Watch, hub_of
from sync.codec import decode_body, decode_transaction
from sync.entities import Asset, Conflict, KnowledgeArticle, Lead, WorkOrder
from sync.entities.flows import OfferStatus
from sync.ids import RANDOM_BYTES, ulid
from sync.protocol import Enrolled, Outcome
from sync.schema import REGISTRY, Body, Entity, EntitySpec

Sleep = Callable[[float], Awaitable[object]]
_STATES = tuple(OutboxState)
SEARCHED = 200
"""How many articles whose words fit are weighed against each other."""


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Replica:
    """A device's part of the company's records, in one SQLite file, with everything it has written and not yet delivered.

    Local operations are plain calls and work without any network; what talks to the server is awaited. A replica may be used from
    any thread, and one file may be open in several replicas, in threads or processes.
    """

    attachments: Attachments
    """Photos and documents: attach, send, fetch."""

    def __init__(self, store: Store, session: Session, hub: Hub, *, clock: Callable[[], int], random: Random, sleep: Sleep) -> None:
        """Use `Replica.open`."""
        self._store, self._session, self._hub, self._clock, self._random, self._sleep = store, session, hub, clock, random, sleep
        self._watches: WeakSet[Watch] = WeakSet()
        self._last_error: str | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        clock: Callable[[], int] = wall_clock_ms,
        random: Random | None = None,
        sleep: Sleep = asyncio.sleep,
        transport: Transport | None = None,
        key: str | None = None,
        registry: Mapping[str, EntitySpec] = REGISTRY,
    ) -> "Replica":
        """Open or create the file at `path`. `clock` gives milliseconds since 1970; `transport` replaces HTTP.

        With a `key` the file is encrypted (this needs the extra `truckroll[encryption]`); it is always opened with the same key.
        Raises `WrongKey` if that does not fit. `registry` has the entities that the app knows.
        """
        path = Path(path)
        store, hub = Store(path, key=key, registry=registry), hub_of(path)
        ledger.prepare(store)
        session = Session(store, SyncLock(path), hub, clock, sleep, transport)
        random = random or SystemRandom()
        replica = cls(store, session, hub, clock=clock, random=random, sleep=sleep)
        replica.attachments = Attachments(store, hub, path, clock=clock, random=random, sleep=sleep)
        return replica

    def close(self) -> None:
        """End the watches and close the file. A background sync ends at its next step; better stop it before."""
        for watch in tuple(self._watches):
            watch.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # Reading ---------------------------------------------------------------------------------------------------------------

    def get(self, entity: type[E], record_id: str) -> Item[E] | None:
        """The record as the device shows it, its own pending edits included; None if it holds no such record.

        Raises `Unreadable` if a newer server gave it a value that this version of the app cannot show.
        """
        rows = self._store.view(one(entity.spec, record_id))
        return _item(entity, rows[0]) if rows else None

    def query(
        self, entity: type[E], *where: Condition, order_by: Order | tuple[Order, ...] = (), limit: int | None = None
    ) -> list[Item[E]]:
        """The records for which all conditions hold. Those that this version of the app cannot read are left out."""
        orders = (order_by,) if isinstance(order_by, Order) else order_by
        items = []
        for row in self._store.view(select(entity.spec, where, orders, limit)):
            try:
                items.append(_item(entity, row))
            except Unreadable:
                continue
        return items

    def search_knowledge(
        self, text: str = "", *, product: str | None = None, symptom: str = "", limit: int = 10
    ) -> list[Item[KnowledgeArticle]]:
        """Published knowledge articles, the likeliest help first: those that have all words of `text` and any word of `symptom`,
        for the product or for none in particular. Without words, all of them. What helped others comes before what did not.

        Raises `SdkError` if this device's SQLite has no full-text search.
        """
        if not self._store.searchable:
            raise SdkError("this device's SQLite has no full-text search (FTS5)")
        statement = words.matching(text, symptom, SEARCHED)
        found = []
        for row, rank in self._store.search(statement) if statement else ():
            try:
                item = _item(KnowledgeArticle, row)
            except Unreadable:
                continue
            worth = item.fields.worth(rank, product)
            if worth > 0:
                found.append((-worth, item.id, item))
        return [item for _, _, item in sorted(found, key=lambda one: one[:2])[:limit]]

    def knowledge_for(self, work_order: str, limit: int = 5) -> list[Item[KnowledgeArticle]]:
        """What may help with an order: by the model of its machine and by its symptom."""
        order = self.get(WorkOrder, work_order)
        if order is None:
            raise NotFound(f"this replica holds no work_order {work_order}")
        asset = self.get(Asset, order.fields.asset) if order.fields.asset else None
        product = asset.fields.product if asset else None
        return self.search_knowledge(product=product, symptom=order.fields.symptom, limit=limit)

    def watch(self, entity: type[Entity] | None = None) -> Watch:
        """An async iterator of sets of changed `(entity, id)`, from now on: after each local edit and each checkpoint."""
        watch = self._hub.watch(entity.spec.name if entity else None)
        self._watches.add(watch)
        return watch

    # Writing ---------------------------------------------------------------------------------------------------------------

    @contextmanager
    def edit(self, label: str = "", *, seen: tuple[Item[Entity], ...] = ()) -> Iterator[Draft]:
        """A transaction, stored when the block ends; if the block raises, nothing is.

        `label` says in words what the user did. Pass as `seen` what the user had on the screen when a form was open for long: the
        edit is then based on those versions, and what the server changed meanwhile is a conflict and not overwritten unseen.
        """
        bases = {(type(item.fields).spec.name, item.id): item.seq for item in seen}
        draft = Draft(label, self._look, self.new_id, bases)
        yield draft
        if draft.changes:
            self._hub.edited(ledger.commit(self._store, draft, self._clock()))

    def capture_lead(
        self,
        lead: Lead,
        *,
        visit: str | None = None,
        offer: str | None = None,
        photo: Photo | None = None,
        agreed: Agreed | None = None,
    ) -> str:
        """Somebody needs something: one transaction with the lead, its photo and the proof of consent; returns the lead's id.

        From the `visit` (an appointment) come account, site and asset; from the `offer`, which is thereby taken, product and
        estimate; what `lead` says itself stands. Works offline. Raises `NotFound` if the replica does not hold visit or offer.
        """
        return capture.capture_lead(self, lead, self._clock(), visit=visit, offer=offer, photo=photo, agreed=agreed)

    def answer_offer(self, offer: str, status: OfferStatus, words: str = "") -> None:
        """The customer says no to an offer, or later, in these words. A yes is a lead: `capture_lead(..., offer=...)`."""
        capture.answer_offer(self, offer, status, self._clock(), words)

    def new_id(self) -> str:
        """An id for a record or for an entry of an append-only list."""
        return ulid(self._clock(), self._random.randbytes(RANDOM_BYTES))

    def _look(self, key: Key) -> tuple[int, Body | None]:
        with self._store.read():
            base, rows = self._store.base(key), self._store.view(one(self._store.registry[key[0]], key[1]))
        return base.seq if base else 0, decode_body(rows[0].body) if rows else None

    # What became of it -----------------------------------------------------------------------------------------------------

    def outbox(self) -> list[Outgoing]:
        """Transactions whose work no checkpoint contains yet, oldest first."""
        return [_outgoing(row) for row in self._store.outbox((OutboxState.WAITING, OutboxState.CONFIRMED))]

    def history(self) -> list[Outgoing]:
        """The device's transactions, oldest first, with what became of each; old ones are forgotten."""
        return [_outgoing(row) for row in self._store.outbox(_STATES)]

    def parked(self) -> list[Parked]:
        """Transactions that the server refused and that nobody has dealt with yet."""
        return [_parked(row) for row in self._store.outbox((OutboxState.PARKED,), closed=False)]

    def retry(self, n: int) -> None:
        """Send a parked transaction again, as a new one on the present state of its records."""
        self._hub.edited(ledger.retry(self._store, n, self._clock()))

    def discard(self, n: int) -> None:
        """Give a parked transaction up."""
        ledger.discard(self._store, n)

    def conflicts(self) -> Conflicts:
        """The conflict records that the device holds, and its own transactions that ran into a conflict."""
        outcomes = [outgoing for outgoing in self.history() if outgoing.conflicts]
        records = self.query(Conflict) if Conflict.spec.name in self._store.registry else ()
        return Conflicts(tuple(records), tuple(outcomes))

    def identity(self) -> Identity | None:
        """Who this device is; None before it is enrolled."""
        enrolled = self._store.device().enrolled
        return None if enrolled is None else msgspec.json.decode(enrolled, type=Identity)

    def status(self) -> Status:
        with self._store.read():
            device, counts = self._store.device(), self._store.counts()
        return Status(
            enrolled=device.enrolled is not None,
            waiting=counts.get(OutboxState.WAITING, 0),
            confirmed=counts.get(OutboxState.CONFIRMED, 0),
            parked=counts.get(OutboxState.PARKED, 0),
            cursor=device.cursor,
            last_sync_ms=device.synced_ms,
            staged=device.staged,
            revoked=device.revoked,
            last_error=self._last_error,
        )

    # The network -----------------------------------------------------------------------------------------------------------

    async def enrol(self, url: str, code: str, device_name: str = "") -> Identity:
        """Make this file a device of the server at `url`, with a one-time code."""
        enrolled: Enrolled = await self._session.enrol(url, code, device_name)
        return msgspec.convert(enrolled, Identity, from_attributes=True)

    def adopt(self, url: str, enrolled: bytes) -> None:
        """Make this file the device of an enrolment that was asked for before there was a file (see `Replicas`)."""
        self._session.adopt(url, enrolled)

    async def sync(self) -> None:
        """Deliver everything that waits and bring the replica up to date.

        Raises a `SyncError` if that does not work out now, and `DiskFull` if there is no room for what came: then the replica
        shows what it showed before. In both cases a later sync makes up for it.
        """
        try:
            await self._session.sync()
            self._last_error = None
        except SdkError as error:
            self._last_error = f"{type(error).__name__}: {error}"
            if isinstance(error, Wiped):
                self.attachments.erase()
            raise

    def sync_in_background(self) -> BackgroundSync:
        """Sync after each edit and now and then, with back-off while it fails. Stop it with `await handle.stop()`."""
        return BackgroundSync(self.sync, self._hub, self._random, self._sleep)

    def listen(self, background: BackgroundSync) -> Wakeups:
        """Have the server wake a background sync when there is something to bring. Stop it with `await handle.stop()`."""
        self._who()
        return Wakeups(self._who, background.poke, self._random, self._sleep)

    def _who(self) -> tuple[str, str]:
        device = self._store.device()
        if device.enrolled is None:
            raise NotEnrolled("enrol this replica first")
        return device.url, msgspec.json.decode(device.enrolled, type=Enrolled).token


def _item(entity: type[E], row: ViewRow) -> Item[E]:
    fields, unread = read(entity, row.body)
    return Item(row.id, fields, row.pending, row.seq, unread)


def _outgoing(row: OutboxRow) -> Outgoing:
    transaction = decode_transaction(row.raw)
    outcome = msgspec.json.decode(row.outcome, type=Outcome) if row.outcome else None
    return Outgoing(
        row.n,
        transaction.label,
        transaction.wrote_ms,
        keys_of(transaction),
        row.state,
        outcome.kind if outcome else None,
        outcome.conflicts if outcome else (),
    )


def _parked(row: OutboxRow) -> Parked:
    transaction = decode_transaction(row.raw)
    reasons = msgspec.json.decode(row.outcome, type=Outcome).reasons if row.outcome else ()
    return Parked(row.n, transaction.label, transaction.wrote_ms, keys_of(transaction), reasons, row.raw)
