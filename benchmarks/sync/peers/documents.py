"""What the document stores among the peers are given: batches of the workload's records, each with its id."""

import random

import msgspec

from benchmarks.sync.workload import BATCH, Ids, Record, Size, asset


class Documents:
    """Records from one seed, and how a workload divides them among devices."""

    def __init__(self, seed: int, size: Size) -> None:
        self.size = size
        self.chance, self.ids = random.Random(seed), Ids(seed)
        self._sites, self._products = [self.ids() for _ in range(50)], [self.ids() for _ in range(5)]

    def some(self, count: int) -> list[tuple[str, Record]]:
        return [(self.ids(), asset(self.chance, self._sites[number % 50], self._products[number % 5])) for number in range(count)]

    def batches(self, devices: int, each: int) -> list[list[list[tuple[str, Record]]]]:
        """By device, its batches of a hundred."""
        return [[self.some(BATCH) for _ in range(each)] for _ in range(devices)]


def encode(value: object) -> bytes:
    return msgspec.json.encode(value)
