"""The estimate against geopy's geodesic, and what every travel matrix promises."""

import numpy as np
import pytest
from geopy.distance import geodesic

from dispatch import TravelMatrix, estimate, matrix
from dispatch.travel import great_circle_m

CITIES = [
    (36.1627, -86.7816),
    (41.8781, -87.6298),
    (-33.8688, 151.2093),
    (51.5074, -0.1278),
    (0.0, 179.9),
    (0.0, -179.9),
    (89.0, 10.0),
]


def test_great_circle_stays_near_the_geodesic():
    """Within 0.6 %, poles and date line included."""
    ours = great_circle_m(CITIES)
    for i, a in enumerate(CITIES):
        for j, b in enumerate(CITIES):
            assert ours[i, j] == pytest.approx(geodesic(a, b).m, rel=0.006, abs=0.01)


def test_longer_trips_take_longer_and_run_faster():
    line = [(36.0, -86.0 + 0.01 * k * k) for k in range(30)]
    travel = estimate(line)
    seconds, metres = travel.seconds[0], travel.metres[0]
    assert (np.diff(seconds) > 0).all()
    speeds = metres[2:] / seconds[2:]
    assert (np.diff(speeds) >= 0).all()


def test_a_place_is_no_way_from_itself():
    travel = estimate(CITIES)
    assert not travel.seconds.diagonal().any()
    assert not travel.metres.diagonal().any()


def test_matrices_are_directed():
    travel = matrix([[0, 5], [7, 0]])
    assert (travel.seconds[0, 1], travel.seconds[1, 0], travel.metres[1, 0]) == (5, 7, 7)


@pytest.mark.parametrize("bad", [[[0, 1]], [[0, -1], [1, 0]]])
def test_bad_matrices_are_refused(bad):
    with pytest.raises(ValueError, match=r"travel matri|square"):
        matrix(bad)


def test_shapes_must_agree():
    small, large = np.zeros((1, 1), np.int32), np.zeros((2, 2), np.int32)
    with pytest.raises(ValueError, match="differ in shape"):
        TravelMatrix(small, large)
