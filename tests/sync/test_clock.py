"""Stamps: always forward, never in the future, and of no use to a phone whose clock is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.clock import MAX_DRIFT_MS, TICKS_PER_MS, correct, observe, tick, wall_ms

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
ENROLLED_MS = NOW_MS - 30 * 24 * HOUR_MS

times = st.integers(0, NOW_MS + 20 * YEAR_MS)
offsets = st.integers(-30 * YEAR_MS, 30 * YEAR_MS)


def corrected(wrote_ms: int, *, offset_ms: int = 0, stamp: int | None = None, now_ms: int = NOW_MS) -> int:
    """The time that the server believes, in milliseconds."""
    claimed = wrote_ms * TICKS_PER_MS if stamp is None else stamp
    return wall_ms(correct(claimed, wrote_ms, offset_ms=offset_ms, not_before_ms=ENROLLED_MS, now_ms=now_ms))


@pytest.mark.parametrize(
    ("last", "now_ms", "stamp"),
    [(0, 0, 1), (0, 1_000, 1_000_000), (1_000_000, 1_000, 1_000_001), (5_000_000, 1_000, 5_000_001), (1_000_999, 1_000, 1_001_000)],
)
def test_a_tick_follows_the_clock_or_else_the_last_stamp(last: int, now_ms: int, stamp: int) -> None:
    assert tick(last, now_ms) == stamp


@given(st.integers(0, 2**53), times, st.integers(0, 2**53))
def test_a_tick_is_later_than_everything_before_it(last: int, now_ms: int, seen: int) -> None:
    clock = observe(last, seen)
    assert tick(clock, now_ms) > max(last, seen)
    assert wall_ms(tick(clock, now_ms)) >= now_ms


@given(times, offsets, st.integers(0, 2**60))
def test_a_corrected_stamp_is_never_in_the_future_nor_before_the_enrolment(wrote_ms: int, offset_ms: int, stamp: int) -> None:
    assert ENROLLED_MS <= corrected(wrote_ms, offset_ms=offset_ms, stamp=stamp) <= NOW_MS


@given(st.integers(ENROLLED_MS, NOW_MS), st.sampled_from([0, HOUR_MS, -HOUR_MS, 9 * YEAR_MS, -25 * YEAR_MS]))
def test_a_clock_that_is_wrong_all_along_wins_nothing_and_loses_nothing(true_ms: int, offset_ms: int) -> None:
    """Scenario 13: a constant error is measured and taken away, whatever its size."""
    assert corrected(true_ms + offset_ms, offset_ms=offset_ms) == true_ms


@given(st.integers(ENROLLED_MS, NOW_MS), st.sampled_from([9 * YEAR_MS, -25 * YEAR_MS]))
def test_what_was_written_before_the_clock_jumped_keeps_its_time(true_ms: int, jump_ms: int) -> None:
    """Scenario 13: the clock was right, was set years off while offline, and still is at the exchange."""
    assert abs(corrected(true_ms, offset_ms=jump_ms) - true_ms) <= MAX_DRIFT_MS


@given(st.integers(ENROLLED_MS, NOW_MS), st.integers(HOUR_MS, 20 * YEAR_MS))
def test_a_clock_set_ahead_for_a_while_wins_at_most_the_present(true_ms: int, ahead_ms: int) -> None:
    """Scenario 13: set to 2035 while it wrote, right again at the exchange."""
    assert corrected(true_ms + ahead_ms) <= NOW_MS
    after_it_is_right_again = corrected(true_ms, stamp=tick((true_ms + 20 * YEAR_MS) * TICKS_PER_MS, true_ms))
    assert abs(after_it_is_right_again - true_ms) <= MAX_DRIFT_MS


@given(st.integers(ENROLLED_MS, NOW_MS), st.integers(0, 30 * YEAR_MS))
def test_a_clock_set_back_for_a_while_writes_at_its_last_contact(contact_ms: int, behind_ms: int) -> None:
    """Scenario 13: its stamps go on from the last one, however far the wall clock went back."""
    stamp = tick(contact_ms * TICKS_PER_MS, contact_ms - behind_ms)
    assert contact_ms <= corrected(contact_ms - behind_ms, stamp=stamp) <= NOW_MS


@given(st.integers(0, 2**60), times)
def test_with_a_right_clock_a_stamp_moves_by_the_drift_allowed_at_most(stamp: int, wrote_ms: int) -> None:
    within = min(max(wrote_ms, ENROLLED_MS), NOW_MS)
    lifted = max(within, min(wall_ms(stamp), NOW_MS)) if wall_ms(stamp) <= NOW_MS else within
    assert abs(corrected(wrote_ms, stamp=stamp) - lifted) <= MAX_DRIFT_MS
