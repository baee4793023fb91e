"""Travel times and distances between places: a matrix, and an estimate of it from coordinates.

The estimate is the great-circle distance (haversine on the mean Earth radius; within 0.6 % of geopy's geodesic, which is its tested
reference) times a detour factor, driven at speeds that rise with the length of the trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntMatrix = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]

ROW_BLOCK = 512  # rows of the matrix estimated at once: beside the matrix itself little memory is held
EARTH_RADIUS_M = 6_371_008.8
DETOUR = 1.3  # roads against the crow; 1.2 to 1.4 in most countries

# (up to this many metres of road, km/h on that stretch): the first kilometres are streets, the last of a long trip are motorway.
SPEED_BANDS: tuple[tuple[float, float], ...] = ((2_000, 25), (10_000, 40), (50_000, 70), (float("inf"), 95))


@dataclass(frozen=True, slots=True, eq=False)
class TravelMatrix:
    """Directed travel between places.

    `seconds[i, j]` and `metres[i, j]` are int32 arrays of one square shape, from place i to place j. Raises ValueError when the
    shapes differ or a value is negative.
    """

    seconds: IntMatrix
    metres: IntMatrix

    def __post_init__(self) -> None:
        if self.seconds.ndim != 2 or self.seconds.shape[0] != self.seconds.shape[1]:
            raise ValueError(f"travel seconds must be square, not {self.seconds.shape}")
        if self.metres.shape != self.seconds.shape:
            raise ValueError(f"travel metres {self.metres.shape} and seconds {self.seconds.shape} differ in shape")
        for matrix in (self.seconds, self.metres):
            if matrix.dtype != np.int32 or (matrix.size and int(matrix.min()) < 0):
                raise ValueError("travel matrices hold int32 values of 0 or more")

    @property
    def size(self) -> int:
        """The number of places."""
        return int(self.seconds.shape[0])


def matrix(seconds: npt.ArrayLike, metres: npt.ArrayLike | None = None) -> TravelMatrix:
    """A TravelMatrix from nested lists or arrays of whole numbers; metres default to the seconds."""
    durations = np.ascontiguousarray(seconds, dtype=np.int32)
    return TravelMatrix(durations, durations if metres is None else np.ascontiguousarray(metres, dtype=np.int32))


def great_circle_m(points: npt.ArrayLike, rows: slice = slice(None)) -> FloatArray:
    """Great-circle metres between n (latitude, longitude) pairs in degrees, shape (n, n); with `rows` from those only."""
    radians = np.radians(np.asarray(points, dtype=np.float64).reshape(-1, 2))
    lat, lon = radians[:, 0], radians[:, 1]
    chord = np.sin((lat[rows, None] - lat[None, :]) / 2) ** 2
    chord += np.cos(lat[rows])[:, None] * np.cos(lat)[None, :] * np.sin((lon[rows, None] - lon[None, :]) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.clip(chord, 0.0, 1.0))))


def drive_s(road_m: FloatArray, bands: Sequence[tuple[float, float]] = SPEED_BANDS) -> FloatArray:
    """Seconds to drive distances in metres: each stretch of a trip at its band's speed, so a longer trip is never quicker."""
    total = np.zeros_like(road_m)
    low = 0.0
    for up_to_m, kmh in bands:
        total += np.clip(road_m - low, 0.0, up_to_m - low) * (3.6 / kmh)
        low = up_to_m
    return total


def estimate(
    points: Sequence[tuple[float, float]],
    *,
    detour: float = DETOUR,
    bands: Sequence[tuple[float, float]] = SPEED_BANDS,
) -> TravelMatrix:
    """A symmetric TravelMatrix for (latitude, longitude) pairs in degrees, rounded up so that sums never promise too much."""
    pairs = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    seconds, metres = (np.empty((len(pairs), len(pairs)), dtype=np.int32) for _ in range(2))
    for low in range(0, len(pairs), ROW_BLOCK):
        rows = slice(low, low + ROW_BLOCK)
        road_m = great_circle_m(pairs, rows) * detour
        seconds[rows], metres[rows] = np.ceil(drive_s(road_m, bands)), np.ceil(road_m)
    return TravelMatrix(seconds, metres)
