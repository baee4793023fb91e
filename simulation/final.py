"""What must hold once everything has come to rest: converged, nothing lost, nothing doubled, nothing leaked."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from server.storage.office import Tenant
from simulation.device import Device
from simulation.oracle import Oracle, Trouble, whole
from simulation.party import WORD, Key, Party
from sync.protocol import OutcomeKind
from sync.schema import REGISTRY

_RECORDS: Final = "select entity, id, scope, seq, deleted, body from record where tenant_id = $1"
_PARKED: Final = "select device_no, n, payload from parked where tenant_id = $1"


async def check(oracle: Oracle, tenant: Tenant, parties: Iterable[Party]) -> None:
    everybody = list(parties)
    await oracle.catch_up()
    await _server(oracle, tenant)
    for party in everybody:
        _delivered(oracle, party)
        if isinstance(party, Device):
            await party.look()
            _caught_up(oracle, party)
            _agrees(party, await tenant.holdings(party.user))
    _values(oracle)


async def _server(oracle: Oracle, tenant: Tenant) -> None:
    """The server's records, its projections and what it keeps of refused work are what the log says."""
    model = oracle.model
    stored = await oracle.ask(lambda c: c.fetch(_RECORDS, tenant.tenant_id))
    for row in stored:
        key = (row["entity"], row["id"])
        must = model.row(key, model.seq)
        if must is None:
            raise Trouble("diverged", f"the server has {key}, which nobody made")
        body = whole(key, msgspec.json.decode(row["body"]))
        if (row["scope"], row["seq"], row["deleted"], body) != (must.scope, must.seq, must.deleted, whole(key, must.body)):
            raise Trouble("diverged", f"the server has {key} as {dict(row)}, must be {must}")
    if len(stored) != len(model.rows):
        raise Trouble("lost", f"the server has {len(stored)} records, must have {len(model.rows)}")
    live = {(row.entity, row.id) for row in model.live(model.seq)}
    for entity in REGISTRY:
        projected = {(entity, row.id) for row in await tenant.rows(entity)}
        if projected != {key for key in live if key[0] == entity}:
            raise Trouble("diverged", f"the table {entity} is not the projection of its records")
    kept = await oracle.ask(lambda c: c.fetch(_PARKED, tenant.tenant_id))
    parked = {(row["device_no"], row["n"]): bytes(row["payload"]) for row in kept}
    if parked != model.parked:
        raise Trouble("lost", f"refused and not kept whole: {sorted(parked.keys() ^ model.parked.keys())}")


def _delivered(oracle: Oracle, party: Party) -> None:
    """Everything that was done has come to the server as it was done, once, and has an outcome."""
    for done in party.done:
        raw = oracle.log.get((party.device_no, done.n))
        if raw is None:
            raise Trouble("lost", f"{party.name}/{done.n} ({done.label}) never came to the server")
        if msgspec.json.decode(raw)["changes"] != done.changes:
            raise Trouble("lost", f"{party.name}/{done.n} came to the server as {raw!r}")
    if extra := [name for name in oracle.log if name[0] == party.device_no and name[1] > len(party.done)]:
        raise Trouble("doubled", f"the server has {extra}, which {party.name} never did")


def _caught_up(oracle: Oracle, device: Device) -> None:
    shot = device.shot()
    if [n for n, (state, _) in shot.outbox.items() if state in ("waiting", "confirmed")]:
        raise Trouble("lost", f"{device.name} still has work to deliver")
    if any(leaving for _, _, leaving, _ in shot.base.values()):
        raise Trouble("leaked", f"{device.name} keeps what should have left")
    must = oracle.model.holdings(device.user, oracle.model.seq)
    if {key: whole(key, body) for key, (_, body) in shot.view.items()} != {key: whole(key, row.body) for key, row in must.items()}:
        raise Trouble("diverged", f"{device.name} does not show the present")


def _agrees(device: Device, holdings: dict[Key, tuple[int, bytes]]) -> None:
    """The office's own query, which knows nothing of the feed, gives the same."""
    view = {key: whole(key, body) for key, (_, body) in device.shot().view.items()}
    if view != {key: whole(key, msgspec.json.decode(body)) for key, (_, body) in holdings.items()}:
        raise Trouble("diverged", f"{device.name} does not hold what the office says")


class _Written(NamedTuple):
    value: Any
    device: int
    n: int
    base: int
    seq: int


def _values(oracle: Oracle) -> None:
    """Model aside: each accepted word stands, or its author or somebody who had seen it wrote another, or a conflict holds it."""
    model = oracle.model
    written: dict[tuple[Key, str], list[_Written]] = {}
    accepted = [name for name, fate in model.fates.items() if fate.kind is not OutcomeKind.PARKED]
    for device, n in sorted(accepted, key=lambda name: (model.fates[name].seq, name)):
        for change in msgspec.json.decode(oracle.log[device, n])["changes"]:
            key = (change["entity"], change["id"])
            for name, value in change.get("set", {}).items():
                if isinstance(value, str) and WORD.match(value):
                    one = _Written(value, device, n, change.get("base", 0), model.fates[device, n].seq)
                    written.setdefault((key, name), []).append(one)
    held = {
        (row.body["subject_entity"], row.body["subject"], row.body["field"], msgspec.json.encode(value))
        for rows in model.rows.values()
        for row in rows[-1:]
        if row.entity == "conflict"
        for value in (row.body.get("held"), row.body.get("kept"))
    }
    for (key, name), values in written.items():
        if key not in model.rows:
            continue  # deleted, and its tombstone forgotten
        current = whole(key, model.rows[key][-1].body)[name]
        for at, one in enumerate(values):
            later = values[at + 1 :]
            replaced = any(o.device == one.device or o.base >= one.seq or o.value == one.value for o in later)
            if one.value != current and not replaced and (*key, name, msgspec.json.encode(one.value)) not in held:
                raise Trouble("lost", f"{key} {name} = {one.value!r} of {one.device}/{one.n} is nowhere")
