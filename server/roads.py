"""Travel on real roads: tables asked of Valhalla or OSRM, kept by pair and time band, and the estimate where they have no answer.

A plan tells which it was: a road service that is away must not go unnoticed.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import msgspec

from dispatch import TravelMatrix, estimate
from server.storage.legs import KEEP_MS, Leg, Legs

Point = tuple[float, float]
"""Latitude and longitude in degrees."""
BLOCK: Final = 50
"""Points on each side of a request: what both services allow as they come (100 points, 2500 pairs)."""
AT_ONCE: Final = 4
TIMEOUT_S: Final = 30.0
BANDS: Final = ((6, "night"), (9, "morning"), (16, "day"), (19, "evening"), (24, "night"))
AWAY: Final = (httpx.HTTPError, msgspec.DecodeError, msgspec.ValidationError, KeyError, IndexError, TypeError, ValueError)
"""What a service that is away, or answers something else, ends in."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Where a plan's travel comes from: pairs of points by their source, and in words why some are estimated."""

    source: str
    pairs: int
    asked: int = 0
    kept: int = 0
    estimated: int = 0
    why: str = ""


class Service(Protocol):
    """One road service. `table` gives seconds and metres from each source to each target, None where there is no road."""

    @property
    def name(self) -> str: ...

    def table(self, http: httpx.Client, sources: Sequence[Point], targets: Sequence[Point]) -> list[list[Leg | None]]: ...


class Osrm(msgspec.Struct, frozen=True):
    """OSRM's table service."""

    url: str

    @property
    def name(self) -> str:
        return f"osrm {self.url}"

    def table(self, http: httpx.Client, sources: Sequence[Point], targets: Sequence[Point]) -> list[list[Leg | None]]:
        points = ";".join(f"{lon:.6f},{lat:.6f}" for lat, lon in (*sources, *targets))
        count = len(sources)
        asked = {
            "sources": ";".join(map(str, range(count))),
            "destinations": ";".join(map(str, range(count, count + len(targets)))),
            "annotations": "duration,distance",
        }
        found = _answer(http.get(f"{self.url}/table/v1/driving/{points}", params=asked))
        return [
            [_leg(s, m) for s, m in zip(row_s, row_m, strict=True)]
            for row_s, row_m in zip(found["durations"], found["distances"], strict=True)
        ]


class Valhalla(msgspec.Struct, frozen=True):
    """Valhalla's matrix service."""

    url: str

    @property
    def name(self) -> str:
        return f"valhalla {self.url}"

    def table(self, http: httpx.Client, sources: Sequence[Point], targets: Sequence[Point]) -> list[list[Leg | None]]:
        asked = {
            "sources": [{"lat": lat, "lon": lon} for lat, lon in sources],
            "targets": [{"lat": lat, "lon": lon} for lat, lon in targets],
            "costing": "auto",
            "units": "kilometers",
        }
        found = _answer(http.post(f"{self.url}/sources_to_targets", json=asked))
        return [
            [_leg(cell["time"], None if cell["distance"] is None else cell["distance"] * 1000) for cell in row]
            for row in found["sources_to_targets"]
        ]


def _answer(response: httpx.Response) -> Any:
    if response.is_error:
        raise ValueError(f"it answers {response.status_code}: {response.text[:200]}")
    return msgspec.json.decode(response.content)


def _leg(seconds: float | None, metres: float | None) -> Leg | None:
    """Rounded up, so that sums never promise too much."""
    return None if seconds is None or metres is None else (ceil(round(seconds, 3)), ceil(round(metres, 3)))


def service_of(address: str) -> Service | None:
    """`osrm+http://host:5000` or `valhalla+http://host:8002`; empty means the estimate. Raises ValueError."""
    kind, _, url = address.partition("+")
    if not address:
        return None
    if kind not in ("osrm", "valhalla") or not url.startswith(("http://", "https://")):
        raise ValueError(f"TRUCKROLL_ROADS is osrm+http://… or valhalla+http://…, not {address!r}")
    return Osrm(url.rstrip("/")) if kind == "osrm" else Valhalla(url.rstrip("/"))


def band_of(at_ms: int) -> str:
    """The stretch of the week a moment falls into (UTC): traffic differs between them, not within."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    part = next(name for until, name in BANDS if at.hour < until)
    return f"{'weekend' if at.weekday() > 4 else 'weekday'} {part}"


class Roads:
    """Travel between points by a service, with what it said before; by the estimate without one."""

    def __init__(self, service: Service | None, file: Path, now_ms: Callable[[], int]) -> None:
        self._service, self._legs, self._now_ms = service, Legs(file), now_ms

    def travel(self, points: Sequence[Point], at_ms: int) -> tuple[TravelMatrix, Told]:
        """Travel between all points in the band of `at_ms`, and where it comes from. Blocks: call it in a thread."""
        guess = estimate(points)
        pairs = len(points) * (len(points) - 1)
        if self._service is None:
            return guess, Told(source="estimate", pairs=pairs, estimated=pairs)
        keys = [f"{lat:.5f},{lon:.5f}" for lat, lon in points]
        places = dict(zip(keys, points, strict=True))
        name, band = self._service.name, band_of(at_ms)
        known = dict(self._legs.known(name, band, places, self._now_ms() - KEEP_MS))
        kept = sum((a, b) in known for a in keys for b in keys if a != b)
        why = self._ask(self._service, places, known, band)
        seconds, metres, estimated = guess.seconds.copy(), guess.metres.copy(), 0
        for i, a in enumerate(keys):
            for j, b in enumerate(keys):
                if a == b:
                    continue
                leg = known.get((a, b))
                if leg is None:
                    estimated += 1
                else:
                    seconds[i, j], metres[i, j] = leg
        same = sum(a == b for i, a in enumerate(keys) for j, b in enumerate(keys) if i != j)
        asked = pairs - same - kept - estimated
        why = why or ("there is no road between some places" if estimated else "")
        return TravelMatrix(seconds, metres), Told(source=name, pairs=pairs, asked=asked, kept=kept, estimated=estimated, why=why)

    def _ask(self, service: Service, places: dict[str, Point], known: dict[tuple[str, str], Leg], band: str) -> str:
        """Asks what is not known yet, block by block, and keeps it; why not, where the service fails."""
        keys = sorted(places)
        blocks = [keys[k : k + BLOCK] for k in range(0, len(keys), BLOCK)]
        open_ = [(a, b) for a in blocks for b in blocks if any((x, y) not in known for x in a for y in b if x != y)]
        failed = ""

        def ask(pair: tuple[list[str], list[str]]) -> list[list[Leg | None]]:
            return service.table(http, [places[key] for key in pair[0]], [places[key] for key in pair[1]])

        with httpx.Client(timeout=TIMEOUT_S) as http, ThreadPoolExecutor(AT_ONCE) as pool:
            for (sources, targets), answer in zip(open_, [pool.submit(ask, pair) for pair in open_], strict=True):
                try:
                    table = answer.result()
                    found = {
                        (a, b): leg for a, row in zip(sources, table, strict=True) for b, leg in zip(targets, row, strict=True)
                    }
                except AWAY as error:
                    failed = f"{service.name} gave no table: {str(error) or type(error).__name__}"
                    pool.shutdown(wait=False, cancel_futures=True)
                    break
                fresh = {pair: leg for pair, leg in found.items() if leg is not None}
                known.update(fresh)
                self._legs.add(service.name, band, [(*pair, *leg) for pair, leg in fresh.items()], self._now_ms())
        return failed
