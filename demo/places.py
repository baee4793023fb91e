"""Where the company's customers and people live: places made up from a seed, or real addresses out of a file."""

import difflib
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

import msgspec

CENTRE: Final = (41.60, -93.61)
SPREAD_DEG: Final = 0.09
"""About ten kilometres: a town that a van crosses in half an hour."""

_STREETS: Final = ("Alder", "Birch", "Canal", "Depot", "Elm", "Foundry", "Granary", "Harbour", "Iron", "Juniper", "Kiln", "Linden")
_KINDS: Final = ("Street", "Avenue", "Lane", "Road", "Court")


class Place(msgspec.Struct, frozen=True):
    """A street address with its point on the map, in degrees (WGS 84)."""

    street: str
    city: str
    postal_code: str
    lat: float
    lon: float


class BadAddresses(ValueError):
    """The file of addresses cannot be used; the message says why and what would do."""


class _Point(msgspec.Struct, frozen=True):
    lat: float
    lng: float


class _Address(msgspec.Struct, frozen=True, rename="camel"):
    coordinates: _Point
    address1: str = ""
    city: str | None = None
    postal_code: str = ""


class _File(msgspec.Struct, frozen=True):
    addresses: list[_Address]


def made_up(random: Random, count: int) -> list[Place]:
    """So many places of a town that does not exist."""
    places = []
    for _ in range(count):
        street = f"{random.randint(1, 199)} {random.choice(_STREETS)} {random.choice(_KINDS)}"
        lat, lon = (round(random.gauss(centre, SPREAD_DEG), 6) for centre in CENTRE)
        places.append(Place(street, "Millbrook", f"50{random.randint(100, 199)}", lat, lon))
    return places


def read_places(path: Path, city: str) -> list[Place]:
    """The addresses of one city in a file of the form `{"addresses": [{"address1", "city", "postalCode", "coordinates": …}]}`.

    Raises `BadAddresses` if the file cannot be read, has another form, or holds nothing in that city.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File).addresses
    except OSError as error:
        raise BadAddresses(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise BadAddresses(f"{path} is not a file of addresses: {error}") from error
    cities = Counter(address.city for address in found if address.city)
    if not cities:
        raise BadAddresses(f"{path} holds no address with a city")
    wanted = {name.casefold(): name for name in cities}.get(city.strip().casefold())
    if wanted is None:
        raise BadAddresses(_unknown(city, cities, path))
    return [Place(a.address1, wanted, a.postal_code, a.coordinates.lat, a.coordinates.lng) for a in found if a.city == wanted]


def _unknown(city: str, cities: Counter[str], path: Path) -> str:
    near = difflib.get_close_matches(city, cities, n=3, cutoff=0.7)
    largest = ", ".join(f"{name} ({count})" for name, count in cities.most_common(12))
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    problem = f"{path} has no address in {city!r}." if city.strip() else "Name a city with --city."
    return f"{problem}{hint} The cities with most addresses are: {largest}; {len(cities)} in all."
