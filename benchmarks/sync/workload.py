"""What every system is given: the same records, the same batches, from one seed.

A record is an asset as a technician captures it on site: 14 values, about 370 bytes of JSON.
"""

import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from sync.ids import RANDOM_BYTES, ulid

FIRST_MS: Final = 1_760_000_000_000
"""When the ids of a run begin; not the wall clock, so that a run is the same again."""
BATCH: Final = 100
CONNECTIONS: Final = 50
"""How many requests are under way at once, for every system."""

Record = dict[str, Any]

_MAKERS: Final = ("Vaillant", "Buderus", "Viessmann", "Daikin", "Carrier", "Grundfos")
_PLACES: Final = ("plant room", "roof", "cellar", "yard", "hall two", "ward nine")
_WORDS: Final = ("pressure", "valve", "leak", "noise", "filter", "sensor", "relay", "burner", "pump", "seal", "fan", "belt")


class Size(msgspec.Struct, frozen=True):
    """How much of each workload a round has. `short` is for a first look, `full` for figures to quote."""

    push_devices: int = 50
    push_batches: int = 6
    small_devices: int = 1_000
    small_each: int = 3
    pull_records: int = 10_000
    pulls: int = 8
    delta_devices: int = 200
    delta_changes: int = 100
    conflict_devices: int = 20

    @property
    def technicians(self) -> int:
        """Who sends."""
        return max(self.push_devices, self.small_devices, self.conflict_devices)


FULL: Final = Size()
SHORT: Final = Size(push_batches=2, small_each=1, pulls=4, conflict_devices=10)


class Ids:
    """Ids as devices make them, in order of time."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._at_ms = FIRST_MS + seed * 10_000_000

    def __call__(self) -> str:
        self._at_ms += 1
        return ulid(self._at_ms, self._random.randbytes(RANDOM_BYTES))


def asset(chance: random.Random, site: str, product: str) -> Record:
    """One record, as JSON values."""
    return {
        "site": site,
        "product": product,
        "name": f"{chance.choice(_MAKERS)} unit {chance.randrange(1000):03d}, {chance.choice(_PLACES)}",
        "serial": f"SN-{chance.getrandbits(48):012X}",
        "installed_on": FIRST_MS - chance.randrange(10**11),
        "status": "faulty",
        "condition": condition(chance),
        "custom": {
            "maker": chance.choice(_MAKERS),
            "model": f"{chance.choice('ABCDEFG')}{chance.randrange(100, 999)}-{chance.randrange(10, 99)}",
            "power_kw": chance.randrange(5, 400),
            "floor": chance.randrange(-2, 30),
            "warranty": chance.random() < 0.5,
            "tag": f"{chance.getrandbits(32):08x}",
            "note": " ".join(chance.choices(_WORDS, k=4)),
        },
    }


def condition(chance: random.Random) -> str:
    """A field's new value, as people write it."""
    return " ".join(chance.choices(_WORDS, k=3))


def small_sizes(chance: random.Random, count: int) -> Iterator[int]:
    """How many changes each of `count` small exchanges carries."""
    return (chance.randint(1, 3) for _ in range(count))
