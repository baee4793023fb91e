"""What a replica must show, worked out the slow way, and how to kill one in the middle."""

import shutil
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from client_sdk import Replica
from sync.codec import decode_body, decode_edit, decode_transaction
from sync.overlay import overlay

T = TypeVar("T")
Shown = dict[tuple[str, str], tuple[dict[str, Any], bool, int]]


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what is async only in form: the peer answers at once."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("nothing here waits")


def shown(replica: Replica) -> Shown:
    """Body, pending and base version of everything that the replica shows."""
    found: Shown = {}
    for name in replica._store.registry:
        for row in replica._store.view((f"SELECT _id, _seq, _pending, _body FROM view_{name}", ())):
            found[name, row.id] = (decode_body(row.body), row.pending, row.seq)
    return found


def expected(replica: Replica) -> Shown:
    """Base records with every transaction of the overlay replayed from the beginning."""
    bodies: dict[tuple[str, str], dict[str, Any] | None] = {}
    seqs: dict[tuple[str, str], int] = {}
    for entity, record_id, seq, body in replica._store._all("SELECT entity, id, seq, body FROM base"):
        if entity in replica._store.registry:
            bodies[entity, record_id], seqs[entity, record_id] = decode_body(body), seq
    pending = set()
    touched = set(replica._store._all("SELECT entity, id, n FROM touched"))
    for n, raw, state in replica._store._all("SELECT n, raw, state FROM outbox WHERE state IN ('waiting', 'confirmed') ORDER BY n"):
        for change in decode_transaction(raw).changes:
            key, spec = (change.entity, change.id), replica._store.registry[change.entity]
            if state == "confirmed" and (*key, n) not in touched:
                continue  # in a first sync, the groups that are in have it
            pending.add(key)
            if bodies.get(key) is not None or change.create:
                bodies[key] = overlay(spec, bodies.get(key), decode_edit(spec, change))
    return {key: (body, key in pending, seqs.get(key, 0)) for key, body in bodies.items() if body is not None}


def check(replica: Replica) -> None:
    """What holds at every moment, whatever was killed when."""
    assert shown(replica) == expected(replica)
    numbers = [row[0] for row in replica._store._all("SELECT n FROM outbox ORDER BY n")]
    assert numbers == list(range(1, replica._store.device().n + 1))


def base(replica: Replica) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = replica._store._all("SELECT entity, id, scope, seq, body, leaving FROM base ORDER BY 1, 2")
    return rows


def copies_at_each_statement(
    replica: Replica, path: Path, work: Callable[[], object], at_each: Callable[[], object] = lambda: None
) -> list[Path]:
    """The file as a kill would leave it, at the start of every statement that `work` runs, and after the last."""
    connection: Any = replica._store._connection
    copies: list[Path] = []

    def copy(*statement: object) -> bool:
        to = path.with_name(f"{path.name}-killed{len(copies)}")
        shutil.copy(path, to)
        shutil.copy(f"{path}-wal", f"{to}-wal")
        copies.append(to)
        at_each()
        return True

    trace = connection.set_trace_callback if isinstance(connection, sqlite3.Connection) else connection.set_exec_trace
    trace(copy)
    try:
        work()
    finally:
        trace(None)
    copy()
    return copies
