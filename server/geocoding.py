"""Sites without a position get one from their address, by a geocoder of geopy's; a poor match waits for somebody to look at it.

Answers are kept, and a service is asked at most once a second: what Nominatim's public rules ask for, and kind to one's own.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import geopy.geocoders
import sqlalchemy as sa
from geopy.exc import GeopyError
from geopy.extra.rate_limiter import RateLimiter
from sqlalchemy.exc import SQLAlchemyError

from server.author import Broken, update, write
from server.context import Context
from server.storage.addresses import Addresses, Answer
from server.storage.tables import projections
from sync.entities.customers import Located
from sync.protocol import Change

AGENT: Final = "truckroll"
EVERY_S: Final = 20.0
BATCH: Final = 20
PAUSE_S: Final = 1.0
TIMEOUT_S: Final = 20
HOUSE_RANK: Final = 28
"""Nominatim's place rank from which a match is a house or better; 26 is a street, 16 a town."""
_log: Final = logging.getLogger(__name__)

Quality = Callable[[dict[str, Any]], bool]


def _nominatim_good(raw: dict[str, Any]) -> bool:
    return int(raw.get("place_rank", 0)) >= HOUSE_RANK


def _photon_good(raw: dict[str, Any]) -> bool:
    return bool(raw.get("properties", {}).get("type") == "house")


KINDS: Final[dict[str, tuple[str, Quality]]] = {"nominatim": ("Nominatim", _nominatim_good), "photon": ("Photon", _photon_good)}
"""By name the class in geopy, and what in its raw answer makes a match good."""


class Geocoder:
    """One service, asked through geopy. Blocks: call `find` in a thread."""

    def __init__(self, kind: str, url: str, file: Path, *, pause_s: float = PAUSE_S) -> None:
        parts = urlsplit(url)
        name, self._good = KINDS[kind]
        self.name = f"{kind} {url}"
        service = getattr(geopy.geocoders, name)(
            domain=parts.netloc + parts.path.rstrip("/"), scheme=parts.scheme, user_agent=AGENT, timeout=TIMEOUT_S
        )
        self._ask = RateLimiter(service.geocode, min_delay_seconds=pause_s, max_retries=0, swallow_exceptions=False)
        self._addresses = Addresses(file)

    def find(self, address: str) -> Answer:
        """Where an address is. Raises GeopyError when the service gives no answer."""
        words = " ".join(address.split()).casefold()
        known = self._addresses.known(self.name, words)
        if known is not None:
            return known
        found = self._ask(address)
        answer = Answer() if found is None else Answer(found.latitude, found.longitude, self._good(found.raw))
        self._addresses.add(self.name, words, answer)
        return answer


def geocoder_of(address: str, file: Path) -> Geocoder | None:
    """`nominatim+https://host` or `photon+https://host`; empty means none. Raises ValueError."""
    kind, _, url = address.partition("+")
    if not address:
        return None
    if kind not in KINDS or not url.startswith(("http://", "https://")):
        raise ValueError(f"TRUCKROLL_GEOCODER is nominatim+https://… or photon+https://…, not {address!r}")
    return Geocoder(kind, url, file)


async def geocode_due(context: Context, tenant_id: int, geocoder: Geocoder) -> int:
    """Ask for some sites that nobody asked for yet, and write what is found; returns how many were looked at."""
    site = projections["site"].c
    open_ = [sa.or_(site.located.is_(None), site.located == Located.OPEN), site.address != "", site.position.is_(None)]
    async with context.office.of(tenant_id) as tenant:
        rows = await tenant.rows("site", open_, limit=BATCH)
        versions = await tenant.versions("site", [row.id for row in rows])
    changes = []
    for row in rows:
        address = ", ".join(part for part in (row.address, row.postal_code, row.city) if part)
        changes.append((_change(row.id, versions[row.id], await asyncio.to_thread(geocoder.find, address)),))
    if changes:
        await write(context, tenant_id, "geocoding", changes)  # a site that moved meanwhile is looked at again
    return len(changes)


def _change(site_id: str, base: int, answer: Answer) -> Change:
    if answer.lat is None or answer.lon is None:
        return update("site", site_id, base, located=Located.NOT_FOUND)
    position = {"lat": answer.lat, "lon": answer.lon}
    return update("site", site_id, base, position=position, located=Located.FOUND if answer.good else Located.NEEDS_REVIEW)


@asynccontextmanager
async def geocoding(context: Context, geocoder: Geocoder | None) -> AsyncIterator[None]:
    """A task beside the worker that looks for sites of all tenants again and again; nothing without a geocoder."""
    task = None if geocoder is None else asyncio.create_task(_for_ever(context, geocoder), name="geocoding")
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _for_ever(context: Context, geocoder: Geocoder) -> None:
    while True:
        try:
            for tenant_id in (await context.office.tenants()).values():
                while await geocode_due(context, tenant_id, geocoder):
                    pass
        except (GeopyError, OSError, SQLAlchemyError, Broken) as error:  # what is open stays so, and the next round asks again
            _log.warning("geocoding by %s waits: %r", geocoder.name, error)
        await asyncio.sleep(EVERY_S)
