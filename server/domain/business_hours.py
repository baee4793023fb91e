"""The time that promises are counted in: pure functions on the hours in which an office works.

Hours are spans of local time on the days of a week, but for holidays. An instant is open if the clock on the office's wall shows a
time inside a span. Everything is counted in milliseconds, so the two functions are exact inverses of each other:
`business_time_between(h, t, add_business_time(h, t, span)) == span`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
PATIENCE_DAYS: Final = 400
"""So long without an open minute, and the office counts as closed for good."""
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00", re.ASCII)


class Misread(ValueError):
    """Hours that make no sense; `field` is the part that does not."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


class NeverOpen(ValueError):
    """No business hours within `PATIENCE_DAYS`: there is no time to count."""


class Hours(msgspec.Struct, frozen=True):
    """Business hours, checked: for each day of the week, Monday first, spans of minutes since midnight, in order, apart."""

    zone: ZoneInfo
    weekly: tuple[tuple[tuple[int, int], ...], ...]
    holidays: frozenset[date] = frozenset()


ALWAYS: Final = Hours(ZoneInfo("UTC"), (((0, 24 * 60),),) * 7)


def hours_of(fields: Mapping[str, Any]) -> Hours:
    """The hours of a `BusinessHours` record. Raises `Misread` naming the field."""
    weekly: Mapping[str, Any] = fields.get("weekly", {})
    for day in weekly:
        if day not in DAYS:
            raise Misread(f"weekly.{day}", f"a day of the week is one of {', '.join(DAYS)}, not {day!r}")
    spans = tuple(_spans(day, weekly.get(day) or ()) for day in DAYS)
    return Hours(zone_of(fields.get("zone", "UTC")), spans, frozenset(_holiday(day) for day in fields.get("holidays", ())))


def zone_of(name: str) -> ZoneInfo:
    """Raises `Misread`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown, no name of a zone at all, the name of a folder of zones
        raise Misread("zone", f"there is no time zone {name!r}") from error


def _spans(day: str, given: Iterable[Any]) -> tuple[tuple[int, int], ...]:
    field = f"weekly.{day}"
    spans = sorted((_minutes(field, start), _minutes(field, end)) for start, end in given)
    for start, end in spans:
        if end <= start:
            raise Misread(field, "a span ends after it begins, on the same day: split one that goes over midnight in two")
    for (_, before), (after, _) in pairwise(spans):
        if after < before:
            raise Misread(field, "spans of one day do not overlap")
    return tuple(spans)


def _minutes(field: str, clock: str) -> int:
    if not _CLOCK.fullmatch(clock):
        raise Misread(field, f"a time of day is written like 08:30, up to 24:00, not {clock!r}")
    return int(clock[:2]) * 60 + int(clock[3:])


def _holiday(day: str) -> date:
    try:
        return date.fromisoformat(day)
    except ValueError as error:
        raise Misread("holidays", f"a day is written like 2026-12-25, not {day!r}") from error


def utc_day(at_ms: int) -> str:
    """A day in words, such as 2026-11-30."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()


def instant_ms(zone: ZoneInfo, day: date, minute: int) -> int:
    """When the clock on the wall shows `minute` minutes past midnight: the first time if it does twice; if it never does, because
    the clock is put forward over it, the moment at which that happens."""
    wall = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)  # noqa: DTZ001  # a wall clock's reading
    return _instant_s(zone, wall) * 1000


@lru_cache(maxsize=65_536)
def _instant_s(zone: ZoneInfo, wall: datetime) -> int:
    first, second = (int(wall.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
    if second >= first:
        return first
    before, after = second, first  # the clock is put forward somewhere between
    offset = datetime.fromtimestamp(before, UTC).astimezone(zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


def open_spans(hours: Hours, from_ms: int) -> Iterator[tuple[int, int]]:
    """When the office is open, as (start, end) in ms, in order, from an instant on; the first one may have begun at it.

    Raises `NeverOpen` when nothing more is to come.
    """
    day = datetime.fromtimestamp(from_ms / 1000, UTC).astimezone(hours.zone).date()
    idle = 0
    while idle < PATIENCE_DAYS:
        idle += 1
        for start, end in () if day in hours.holidays else hours.weekly[day.weekday()]:
            start_ms, end_ms = max(from_ms, instant_ms(hours.zone, day, start)), instant_ms(hours.zone, day, end)
            if start_ms < end_ms:
                idle = 0
                yield start_ms, end_ms
        day += timedelta(days=1)
    raise NeverOpen(f"no business hours in {PATIENCE_DAYS} days")


def add_business_time(hours: Hours, at_ms: int, span_ms: int) -> int:
    """The first instant, not before `at_ms`, by which `span_ms` of business hours have passed since. Raises `NeverOpen`."""
    if span_ms <= 0:
        return at_ms
    left_ms = span_ms
    for start_ms, end_ms in open_spans(hours, at_ms):
        if end_ms - start_ms >= left_ms:
            return start_ms + left_ms
        left_ms -= end_ms - start_ms
    raise AssertionError("open spans end by raising")


def business_time_between(hours: Hours, from_ms: int, to_ms: int) -> int:
    """How many ms of business hours lie between two instants; none if the second is not after the first."""
    passed_ms = 0
    try:
        for start_ms, end_ms in open_spans(hours, from_ms):
            if start_ms >= to_ms:
                break
            passed_ms += min(end_ms, to_ms) - start_ms
    except NeverOpen:
        pass
    return passed_ms
