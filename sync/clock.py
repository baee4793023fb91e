"""Hybrid logical clocks (Kulkarni et al., 2014), packed into one integer that every JSON parser holds exactly.

A stamp is `milliseconds since 1970 × 1000 + counter`. Below 2**53 until the year 2255, so JavaScript reads it without loss, and
comparing two stamps is comparing two integers. A counter that overflows carries into the milliseconds, which an HLC permits.

Stamps only break ties. Whether two edits are concurrent is decided by versions (see `merge`), never by a clock.
"""

from typing import Final, TypeAlias

Stamp: TypeAlias = int

TICKS_PER_MS: Final = 1000
MAX_DRIFT_MS: Final = 5 * 60 * 1000


def tick(last: Stamp, now_ms: int) -> Stamp:
    """The stamp of an event at `now_ms` on a clock whose latest stamp was `last`; always greater than `last`.

    >>> tick(0, 1_000)
    1000000
    >>> tick(1_000_000, 1_000)
    1000001
    >>> tick(5_000_000, 1_000)  # the wall clock went back: the stamp does not
    5000001
    """
    return max(last + 1, now_ms * TICKS_PER_MS)


def observe(last: Stamp, seen: Stamp) -> Stamp:
    """The clock after a stamp from elsewhere was seen: the next `tick` is greater than both."""
    return max(last, seen)


def wall_ms(stamp: Stamp) -> int:
    """The physical part of a stamp, in milliseconds since 1970."""
    return stamp // TICKS_PER_MS


def correct(stamp: Stamp, wrote_ms: int, *, offset_ms: int, not_before_ms: int, now_ms: int) -> Stamp:
    """The stamp that the server uses instead of the one a device claims.

    `wrote_ms` is the device's raw wall clock when it wrote; `offset_ms` is device minus server, measured at this exchange;
    `not_before_ms` is when the device was enrolled; `now_ms` is the server's time. The result is within `MAX_DRIFT_MS` of the best
    estimate of the true time and never in the future, so a phone set to 2035 wins nothing. Since an HLC never goes back and has
    seen the server's time, a stamp that is not in the future also bounds the estimate from below: a phone that jumps to 2001
    while offline writes at the time of its last contact, and loses nothing. And where the offset measured now cannot have held
    when it wrote, since that would lie before the enrolment or in the future, but the raw clock is possible, the clock was right
    then and has been set since.
    """
    if not _possible(wrote_ms - offset_ms, not_before_ms, now_ms) and _possible(wrote_ms, not_before_ms, now_ms):
        offset_ms = 0
    shifted = stamp - offset_ms * TICKS_PER_MS
    estimate_ms = max(wrote_ms - offset_ms, not_before_ms)
    if wall_ms(shifted) <= now_ms:
        estimate_ms = max(estimate_ms, wall_ms(shifted))
    estimate_ms = min(estimate_ms, now_ms)
    low = max(estimate_ms - MAX_DRIFT_MS, not_before_ms) * TICKS_PER_MS
    high = min(estimate_ms + MAX_DRIFT_MS, now_ms) * TICKS_PER_MS + TICKS_PER_MS - 1
    return min(max(shifted, low), high)


def _possible(at_ms: int, not_before_ms: int, now_ms: int) -> bool:
    return not_before_ms - MAX_DRIFT_MS <= at_ms <= now_ms + MAX_DRIFT_MS
