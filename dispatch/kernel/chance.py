"""The search's own random numbers: part of its state, so that a run can be repeated."""

from __future__ import annotations

import numpy as np

from dispatch.kernel.jit import inlined
from dispatch.kernel.shape import State


@inlined
def draw(s: State) -> float:
    """A uniform number in [0, 1) (xorshift64*)."""
    x = s.random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    s.random[0] = x
    return float((x * np.uint64(2685821657736338717)) >> np.uint64(11)) / 9007199254740992.0
