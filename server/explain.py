"""Why a device holds a record or does not, and the story of each of its fields: for whoever is asked at 3 a.m."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import zstandard

from server.storage.office import Tenant
from server.storage.tables import FOREVER
from sync.clock import wall_ms
from sync.codec import decode_versions
from sync.links import CATALOGUE
from sync.merge import EXISTENCE, Version
from sync.policies import Side
from sync.schema import REGISTRY


class Way(msgspec.Struct, frozen=True):
    """One way by which the user reaches the scope. `reasons` are the records that state it; `revoked` is 0 while it stands."""

    principal: str
    through: str
    reasons: str
    granted: int
    revoked: int


class FieldStory(msgspec.Struct, frozen=True):
    """A field's value, and who gave it: in which commit, on which device, from which side, at which corrected time."""

    field: str
    value: Any
    seq: int
    device: str
    side: str
    at_ms: int


class Push(msgspec.Struct, frozen=True):
    """A transaction that touched the record."""

    seq: int
    device: str
    n: int
    label: str
    outcome: str
    changes: Any


class Explanation(msgspec.Struct, frozen=True):
    """`verdict` in words; `behind` is how many commits the device has not seen."""

    verdict: str
    entity: str
    id: str
    scope: str
    seq: int
    deleted: bool
    device_cursor: int
    behind: int
    ways: tuple[Way, ...]
    fields: tuple[FieldStory, ...]
    pushes: tuple[Push, ...]
    conflicts: tuple[Mapping[str, Any], ...]


class Unknown(LookupError):
    """There is no such device or record."""


async def explain(tenant: Tenant, device_id: str, entity: str, record_id: str) -> Explanation:
    """Raises `Unknown`."""
    devices = {row.id: row for row in await tenant.devices()}
    device = devices.get(device_id)
    row = await tenant.raw_record(entity, record_id) if entity in REGISTRY else None
    if device is None:
        raise Unknown(f"there is no device {device_id!r}")
    if row is None:
        raise Unknown(f"there is no {entity} {record_id!r}, and never was within the tombstone horizon")
    names = {one.no: f"{one.user_name} ({one.id})" for one in devices.values()}
    ways = tuple(
        Way(way.principal, way.through or "", way.reason or "", way.granted, 0 if way.revoked == FOREVER else way.revoked)
        for way in await tenant.paths(device.user_id, row.scope)
    )
    versions, _ = decode_versions(row.ver, row.seq)
    pushes = await tenant.logged(sorted({version.seq for version in versions.values()}))
    return Explanation(
        verdict=_verdict(device, row, ways),
        entity=entity,
        id=record_id,
        scope=row.scope,
        seq=row.seq,
        deleted=row.deleted,
        device_cursor=device.cursor_seq,
        behind=device.clock_seq - device.cursor_seq,
        ways=ways,
        fields=tuple(_stories(entity, msgspec.json.decode(row.body), versions, names)),
        pushes=tuple(_pushes(pushes, record_id, names)),
        conflicts=tuple(one._asdict() for one in await tenant.conflicts_of(entity, record_id)),
    )


def _verdict(device: Any, row: Any, ways: Iterable[Way]) -> str:
    standing = [way for way in ways if not way.revoked]
    if row.scope == CATALOGUE:
        reach = "everybody holds the catalogue"
    elif standing:
        reach = f"{device.user_name} reaches {row.scope} because of {standing[0].reasons}"
    elif ways := list(ways):
        reach = f"{device.user_name} no longer reaches {row.scope}: the last way ended at commit {max(way.revoked for way in ways)}"
    else:
        reach = f"{device.user_name} has never reached {row.scope}"
    should = (standing or row.scope == CATALOGUE) and not row.deleted
    if row.deleted:
        reach += f"; the record was deleted by commit {row.seq}"
    newest = max([row.seq, *(way.granted for way in standing), *(way.revoked for way in ways)])
    if device.cursor_seq >= newest:
        return f"{'holds it' if should else 'does not hold it'}: {reach}"
    coming = "will hold it as it is now" if should else "will drop it"
    return f"{coming} with its next sync (it is at {device.cursor_seq}, this is {newest}): {reach}"


def _stories(
    entity: str, body: Mapping[str, Any], versions: Mapping[int, Version], names: Mapping[int, str]
) -> Iterable[FieldStory]:
    spec = REGISTRY[entity]
    by_index = {field.index: field.name for field in spec.fields.values()} | {EXISTENCE: "(existence)"}
    for index, version in sorted(versions.items()):
        name = by_index.get(index, f"field {index}")
        by = names.get(version.device, f"device {version.device}")
        yield FieldStory(name, body.get(name), version.seq, by, Side(version.side).name.lower(), wall_ms(version.stamp))


def _pushes(rows: Iterable[Any], record_id: str, names: Mapping[int, str]) -> Iterable[Push]:
    for row in rows:
        payload: list[Any] = msgspec.json.decode(zstandard.ZstdDecompressor().decompress(row.payload))
        outcomes: list[Any] = msgspec.json.decode(row.outcomes)
        for transaction, logged in zip(payload, outcomes, strict=True):
            changes = transaction.get("changes", ()) if isinstance(transaction, dict) else ()
            mine = [change for change in changes if isinstance(change, dict) and change.get("id") == record_id]
            if mine:
                outcome = logged["outcome"]
                by = names.get(row.device_no, f"device {row.device_no}")
                yield Push(row.seq, by, outcome["n"], str(transaction.get("label", "")), outcome["kind"], mine)
