"""What happens to the file as a whole: a local transaction, a reply, a repair. Each function is one SQLite transaction, so that a
process killed inside it has done nothing.

When does a transaction leave the overlay? The cursor is opaque to the device, so it cannot compare it with the seq of an outcome.
It need not: the server commits what a request brings before it cuts the page of the reply, and a page with `more` false reaches up
to the server's present. So any checkpoint that comes in the same reply as an outcome, or in a later one, contains what the outcome
tells of. The outcome is stored with its reply, and the next checkpoint drops it from the overlay; until then the overlay shows the
edit, after it the base does, and there is no moment between.

A first sync has a checkpoint for each group of scopes. Until the last group is in, that holds only for records that are in already;
a record whose scope is still to come stays in the overlay.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

import msgspec

from client_sdk.draft import Draft
from client_sdk.errors import BadReply, NotFound
from client_sdk.items import Key, OutboxState
from client_sdk.replay import edits_of, keys_of, replay
from client_sdk.store import Store
from client_sdk.tables import EntityTable, Value, one, table_of
from sync.clock import tick
from sync.codec import decode_body, decode_transaction, encode_body
from sync.digest import scope_digest
from sync.merge import Edit
from sync.protocol import Change, Outcome, OutcomeKind, Page, Reply, Transaction, WireRecord

KEPT_DONE: Final = 5_000
"""How many of the last transactions stay in the file after their checkpoint, for a server restored from a backup."""

_encode: Final = msgspec.json.Encoder().encode
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Arriving(WireRecord, frozen=True, array_like=True, gc=False):
    """A whole record on its way into the file, where its body stays the bytes that came."""

    fields: msgspec.Raw  # type: ignore[assignment]  # the same on the wire, not decoded


class ArrivingPage(Page, frozen=True, omit_defaults=True):
    whole: tuple[Arriving, ...] = ()


class ArrivingReply(Reply, frozen=True, omit_defaults=True):
    page: ArrivingPage | None = None


reply: Final = msgspec.json.Decoder(ArrivingReply)
_page: Final = msgspec.json.Decoder(ArrivingPage)


def prepare(store: Store) -> None:
    """Bring the derived tables to the present declarations; after an update of the app this fills them again."""
    if store.has_layout():
        return
    with store.write():
        if store.has_layout():
            return
        store.make_tables()
        _place(store)
        if any(
            store.lacks(spec.name, field.name)
            for spec in store.registry.values()
            for field in spec.fields.values()
            if field.required
        ):
            # It was downloaded before this version's entities required the field: it comes anew, whole.
            store.restart()
        refresh(store, store.keys())


def _place(store: Store) -> None:
    """Give records of entities that an older version of the app did not know their scope, and drop those of scopes left since."""
    held = set(store.scopes())
    for spec in store.registry.values():
        for record_id, row in store.unscoped(spec.name):
            scope = spec.scope_of(record_id, decode_body(row.body))
            if scope in held:
                store.put_base([(spec.name, record_id, scope, *row)])
            else:
                store.drop_base((spec.name, record_id))


# Local work ------------------------------------------------------------------------------------------------------------------


def commit(store: Store, draft: Draft, now_ms: int) -> set[Key]:
    """Store a draft as the next transaction and show it. Returns the records that it touches."""
    with store.write():
        n, keys = _enqueue(store, draft.changes, draft.label, now_ms)
    draft.n = n
    return keys


def _enqueue(store: Store, changes: tuple[Change, ...], label: str, now_ms: int) -> tuple[int, set[Key]]:
    device = store.device()
    n, stamp = device.n + 1, tick(device.stamp, now_ms)
    store.count_up(n, stamp)
    transaction = Transaction(n - device.before, stamp, now_ms, changes, label)
    raw, keys = _encode(transaction), keys_of(transaction)
    store.enqueue(n, raw, keys)
    # What is shown already has every earlier edit: only the new ones go on top, however long the queue is.
    for (entity, record_id), edits in edits_of(raw, store.registry).items():
        spec, base = store.registry[entity], store.base((entity, record_id))
        shown = store.view(one(spec, record_id))
        after = replay(spec, decode_body(shown[0].body) if shown else None, edits)
        if after is None:
            store.hide(entity, [record_id])
        else:
            raw = encode_body(after)
            store.show(entity, [table_of(spec).row(record_id, base.seq if base else 0, raw, pending=True)], [raw])
    return n, set(keys)


def retry(store: Store, n: int, now_ms: int) -> set[Key]:
    """Send a parked transaction again as a new one, based on what the device shows now, since a person has looked at it."""
    with store.write():
        if not store.close_parked(n):
            raise NotFound(f"there is no parked transaction {n}")
        parked = decode_transaction(store.raw(n))
        changes = tuple(msgspec.structs.replace(change, base=_base_seq(store, change)) for change in parked.changes)
        return _enqueue(store, changes, parked.label, now_ms)[1]


def _base_seq(store: Store, change: Change) -> int:
    row = None if change.create else store.base((change.entity, change.id))
    return row.seq if row else 0


def discard(store: Store, n: int) -> None:
    """Give a parked transaction up."""
    with store.write():
        if not store.close_parked(n):
            raise NotFound(f"there is no parked transaction {n}")


# Replies ---------------------------------------------------------------------------------------------------------------------


def receive(store: Store, reply: ArrivingReply, now_ms: int, *, compared: bool = False) -> set[Key]:
    """Store a reply: its outcomes, and its page staged or, at a checkpoint, published. Returns the records that changed."""
    with store.write():
        before = store.device().before
        changed, shown = _reopen(store, before + reply.taken + 1), set[Key]()
        for outcome in reply.outcomes:
            changed |= _settle(store, msgspec.structs.replace(outcome, n=before + outcome.n))
        if reply.want_digests:
            store.unstage()  # the server compares what is held; it no longer knows what has become of what was staged
        if reply.page and reply.page.more:
            _stage(store, reply.page)
        elif reply.page:
            done, left = _publish(store, reply.page)
            shown, changed = done - changed, changed | left
            if not reply.page.groups_left:
                store.synced(now_ms)
        if reply.page and compared:
            store.compared(now_ms)
        changed |= store.let_go()
        refresh(store, changed)
        return changed | shown


def reopen(store: Store, n: int) -> set[Key]:
    """Send everything from number `n` on again: the server has lost it. Raises `BadReply` if it is no longer in the file."""
    with store.write():
        if not store.keeps_from(n):
            raise BadReply(f"the server asks for transaction {n}, which this device no longer has")
        changed = _reopen(store, n)
        refresh(store, changed)
        return changed


def renew(store: Store, enrolled: bytes) -> None:
    """Take up a new identity: what has no outcome yet is numbered 1, 2, 3 … in its log and is the same in every other byte.

    Within the file every transaction keeps its number, which the app may have noted.
    """
    with store.write():
        waiting = store.waiting()
        before = waiting[0][0] - 1 if waiting else store.device().n
        for n, raw in waiting:
            store.set_raw(n, _encode(_members.decode(raw) | {"n": msgspec.Raw(_encode(n - before))}))
        store.renew(enrolled, before)


def restart(store: Store) -> None:
    """Download from the beginning: the server is another one than the cursor was made by (it was restored from a backup)."""
    with store.write():
        store.restart()


def _reopen(store: Store, n: int) -> set[Key]:
    changed: set[Key] = set()
    for row in store.answered_from(n):
        store.set_state(row.n, OutboxState.WAITING, None)
        # What was parked is sent again for the sake of the numbering, but it was refused once and is not shown again.
        if row.state is not OutboxState.PARKED:
            keys = keys_of(decode_transaction(row.raw))
            store.touch(row.n, keys)
            changed.update(keys)
    return changed


def _settle(store: Store, outcome: Outcome) -> set[Key]:
    if store.state_of(outcome.n) is not OutboxState.WAITING:
        return set()
    parked = outcome.kind is OutcomeKind.PARKED
    store.set_state(outcome.n, OutboxState.PARKED if parked else OutboxState.CONFIRMED, _encode(outcome))
    return store.untouch([outcome.n]) if parked else set()


def _stage(store: Store, page: ArrivingPage) -> None:
    records = len(page.whole) + len(page.delta) + len(page.gone)
    store.stage(_encode(page), page.cursor, records)


def _publish(store: Store, last: ArrivingPage) -> tuple[set[Key], set[Key]]:
    """Make all that was staged, and the last page, what the device shows: in the one transaction that moves the cursor.

    Returns the records that are shown already as they are now, and those that are to be refreshed.
    """
    shown: set[Key] = set()
    changed: set[Key] = set()
    overlaid = frozenset(store.overlaid())
    for staged in store.staged():
        _apply(store, _page.decode(staged), overlaid, shown, changed)
    _apply(store, last, overlaid, shown, changed)
    if last.groups_left:
        changed |= store.untouch_arrived()
    else:
        changed |= store.untouch(store.settle_confirmed())
        for scope in store.stale_scopes():
            changed |= store.drop_scope(scope)
    store.checkpoint(last.cursor)
    store.prune(KEPT_DONE)
    return shown - changed, changed


def _apply(store: Store, page: ArrivingPage, overlaid: frozenset[Key], shown: set[Key], changed: set[Key]) -> None:
    """Take a page over into the base records. Adds to `shown` what came whole and has no pending edits on top, since that can be
    shown at once, and to `changed` what is to be refreshed."""
    for scope in page.evict:
        changed |= store.drop_scope(scope)
    for scope in page.enter:
        changed |= store.drop_scope(scope)
        store.enter_scope(scope)
    _put(store, page.whole)
    for came in page.whole:
        key = (came.entity, came.id)
        if key in overlaid:
            changed.add(key)
        else:
            shown.add(key)
            changed.discard(key)
    for record in page.delta:
        # A delta of a record that is not held belongs to a scope that came in mid-round: it arrives whole in the next one.
        if store.update_base((record.entity, record.id), record.seq, record.fields):
            changed.add((record.entity, record.id))
    for gone in page.gone:
        store.drop_base((gone.entity, gone.id))
        changed.add((gone.entity, gone.id))


def _put(store: Store, records: Iterable[Arriving]) -> None:
    """Keep and show whole records; in the order of their keys, in which `base` is laid out."""
    tables = {name: table_of(spec) for name, spec in store.registry.items()}
    base: list[tuple[str, str, str, int, bytes]] = []
    shown: dict[str, tuple[list[tuple[Value, ...]], list[bytes]]] = {name: ([], []) for name in tables}
    for record in sorted(records, key=_place_of):
        entity, record_id, seq, raw = record.entity, record.id, record.seq, bytes(record.fields)
        table = tables.get(entity)
        scope, values = _read(table, record, raw)
        base.append((entity, record_id, scope, seq, raw))
        if table:
            rows, bodies = shown[entity]
            rows.append((record_id, seq, False, None, *values))
            bodies.append(raw)
    store.put_base(base)
    for entity, (rows, bodies) in shown.items():
        if rows:
            store.show(entity, rows, bodies)


_place_of: Final = attrgetter("entity", "id")


def _read(table: EntityTable | None, record: Arriving, raw: bytes) -> tuple[str, Sequence[Value]]:
    """A record's scope and the values of its columns. The scope is '' while this version of the app does not know the entity;
    `prepare` finds it once it does."""
    try:
        if table is None:
            decode_body(raw)
            return "", ()
        values = table.values(raw)
        return table.scope(record.id, values), values
    except KeyError as error:
        raise BadReply(f"{record.entity} {record.id} came without {error}, which says what it is a part of") from error
    except msgspec.DecodeError as error:
        raise BadReply(f"{record.entity} {record.id} has no fields: {error}") from error


def digests(store: Store) -> dict[str, str]:
    """The digest of each scope that is held, for the server to compare; what is stale comes anew in any case."""
    records: dict[str, list[tuple[str, str, int]]] = {scope: [] for scope in store.fresh_scopes()}
    for scope, entity, record_id, seq in store.held():
        if scope in records:
            records[scope].append((entity, record_id, seq))
    return {scope: scope_digest(of_scope) for scope, of_scope in records.items()}


def wipe(store: Store) -> set[Key] | None:
    """Erase everything, by order of the server. Returns what was shown; None, and nothing is erased, if work waits to be sent."""
    with store.write():
        if store.waiting(1):
            return None
        changed = store.keys()
        store.wipe()
    store.scrub()
    return changed


# The view --------------------------------------------------------------------------------------------------------------------


def refresh(store: Store, keys: Iterable[Key]) -> None:
    """Show each of the records as base and overlay have it."""
    overlaid = store.overlaid()
    pending: dict[int, dict[Key, list[Edit]]] = {}
    shown: dict[str, tuple[list[tuple[Value, ...]], list[bytes]]] = {}
    hidden: dict[str, list[str]] = {}
    for key in keys:
        spec = store.registry.get(key[0])
        if spec is None:
            continue
        numbers, base = overlaid.get(key, ()), store.base(key)
        for n in numbers:
            if n not in pending:
                pending[n] = edits_of(store.raw(n), store.registry)
        raw = base.body if base else None
        if numbers:
            body = None if raw is None else decode_body(raw)
            after = replay(spec, body, (edit for n in numbers for edit in pending[n].get(key, ())))
            raw = None if after is None else encode_body(after)
        if raw is None:
            hidden.setdefault(spec.name, []).append(key[1])
        else:
            rows, bodies = shown.setdefault(spec.name, ([], []))
            rows.append(table_of(spec).row(key[1], base.seq if base else 0, raw, pending=bool(numbers)))
            bodies.append(raw)
    for entity, ids in hidden.items():
        store.hide(entity, ids)
    for entity, (rows, bodies) in shown.items():
        store.show(entity, rows, bodies)
