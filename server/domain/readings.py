"""Readings of machines: a value outside the limits of the house opens a case, one for each machine and limit at a time."""

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec

from server.author import create
from server.domain import rulebook
from server.domain.bodies import Limit, Limits
from server.domain.cases import OPEN
from server.domain.event import Event, Rules
from server.domain.look import Seen, look
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.entities.customers import Reading
from sync.protocol import Change

ORIGIN: Final = "reading"
FRESH_MS: Final = 30 * 86_400_000
"""A reading that is older than this opens nothing: a limit drawn today does not judge last year."""


async def watch_limits(event: Event) -> Iterable[Change]:
    """A case for each limit that a reading breaks, taken since the last case of that limit ended."""
    asset = await look(event.tenant, "asset", event.id)
    if asset is None or not asset.get("readings"):
        return ()
    version, limits = await rulebook.in_force(event.tenant, "reading", Limits, event.now_ms)
    made: list[Change] = []
    for limit in limits.rules:
        if limit.product in (None, asset.get("product")):
            made += await _judge(event, asset, limit, version)
    return made


async def _judge(event: Event, asset: Seen, limit: Limit, version: int) -> Iterable[Change]:
    site = await look(event.tenant, "site", asset.get("site"))
    if site is None:
        return ()
    account: str = site.get("account")
    since_ms = event.now_ms - FRESH_MS
    for case in await _cases(event.tenant, account, asset.id, limit.name):
        if case.status in OPEN:
            return ()
        since_ms = max(since_ms, case.resolved_at or 0, case.opened_at or 0)
    broken = [
        r for r in asset.get("readings") if r["at"] > since_ms and r.get("unit", "") == limit.unit and breaks(limit, r["value"])
    ]
    if not broken:
        return ()
    reading = broken[-1]
    cause = f"{asset.id}/{limit.name}/{reading['id']}"
    case_id = f"reading.{blake2b(cause.encode(), digest_size=12).hexdigest()}"
    if await event.tenant.raw_record("case", case_id) is not None:
        return ()
    fields = {
        "account": account,
        "site": site.id,
        "asset": asset.id,
        "subject": limit.subject,
        "symptom": limit.symptom,
        "priority": limit.priority,
        "origin": ORIGIN,
        "opened_at": reading["at"],
        "description": _words(limit, reading, version),
        "custom": {"limit": limit.name, "rule_version": version, "reading": reading["id"]},
    }
    return (create("case", case_id, **fields),)


async def _cases(tenant: Tenant, account: str, asset: str, limit: str) -> list[Any]:
    table = projections["case"].c
    rows = await tenant.rows("case", [table.account == account, table.asset == asset, table.origin == ORIGIN])
    return [row for row in rows if row.custom.get("limit") == limit]


def breaks(limit: Limit, value: float) -> bool:
    return (limit.above is not None and value > limit.above) or (limit.below is not None and value < limit.below)


def _words(limit: Limit, reading: dict[str, Any], version: int) -> str:
    over = limit.above is not None and reading["value"] > limit.above
    bound = f"above {limit.above:g}" if over else f"below {limit.below:g}"
    at = datetime.fromtimestamp(reading["at"] / 1000, UTC).isoformat(timespec="minutes")
    return f"{reading['value']:g} {limit.unit} at {at} is {bound} {limit.unit}: limit {limit.name}, version {version} of the rule."


class Readings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sensor's gateway sends."""

    readings: tuple[Reading, ...]


class Differs(ValueError):
    """A reading came before under the same id, with other content; `at` is its place among those sent."""

    def __init__(self, at: int, reading_id: str) -> None:
        super().__init__(f"reading {reading_id} came before with other content")
        self.at = at


def unknown(asset: Seen, sent: Readings) -> tuple[Reading, ...]:
    """The readings that the asset does not have yet, each once. Raises `Differs`."""
    known = {entry["id"]: msgspec.convert(entry, Reading) for entry in asset.get("readings")}
    fresh: list[Reading] = []
    for at, reading in enumerate(sent.readings):
        if known.setdefault(reading.id, reading) != reading:
            raise Differs(at, reading.id)
        if reading is known[reading.id]:
            fresh.append(reading)
    return tuple(fresh)


RULES: Final[Rules] = {"asset": (watch_limits,)}
