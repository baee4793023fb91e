"""The laws of business time, and its hard days."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.domain.business_hours import (
    ALWAYS,
    DAYS,
    Hours,
    Misread,
    NeverOpen,
    add_business_time,
    business_time_between,
    hours_of,
)

HOUR = 3_600_000
WORKDAYS = {day: [["08:00", "12:00"], ["13:00", "17:00"]] for day in DAYS[:5]}
BERLIN = {"zone": "Europe/Berlin", "weekly": WORKDAYS}


def at(zone: str, *when: int) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[arg-type,misc]  # year, month, day, …


@st.composite
def some_hours(draw: st.DrawFn) -> Hours:
    """Hours of any shape that are open at some time of the week, in zones that change their clocks in every way."""
    weekly: dict[str, Any] = {}
    for day in draw(st.lists(st.sampled_from(DAYS), min_size=1, unique=True)):
        marks = sorted(draw(st.lists(st.integers(0, 24 * 60), min_size=2, max_size=4, unique=True)))
        weekly[day] = [
            [f"{a // 60:02}:{a % 60:02}", f"{b // 60:02}:{b % 60:02}"] for a, b in zip(marks[::2], marks[1::2], strict=False)
        ]
    zones = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo")
    holidays = draw(st.lists(st.dates(datetime(2026, 1, 1).date(), datetime(2027, 12, 31).date()), max_size=5))  # noqa: DTZ001
    return hours_of({"zone": draw(st.sampled_from(zones)), "weekly": weekly, "holidays": [str(day) for day in holidays]})


instants = st.integers(at("UTC", 2026, 1, 1), at("UTC", 2027, 12, 31))
spans = st.integers(0, 60 * HOUR)
LAWS = settings(max_examples=60)


@LAWS
@given(some_hours(), instants, spans)
def test_counting_is_the_inverse_of_adding(hours: Hours, start: int, span: int) -> None:
    end = add_business_time(hours, start, span)
    assert end >= start
    assert business_time_between(hours, start, end) == span
    if span:
        assert business_time_between(hours, start, end - 1) == span - 1, "it is the first such instant"


@LAWS
@given(some_hours(), instants, spans, spans)
def test_adding_is_additive_and_monotone(hours: Hours, start: int, one: int, other: int) -> None:
    assert add_business_time(hours, add_business_time(hours, start, one), other) == add_business_time(hours, start, one + other)
    assert add_business_time(hours, start, max(one, other)) >= add_business_time(hours, start, min(one, other))
    assert add_business_time(hours, start + one, other) >= add_business_time(hours, start, other)


@LAWS
@given(some_hours(), instants, spans, spans)
def test_counting_is_additive(hours: Hours, start: int, one: int, other: int) -> None:
    middle, end = start + one, start + one + other
    parts = business_time_between(hours, start, middle) + business_time_between(hours, middle, end)
    assert parts == business_time_between(hours, start, end)
    assert 0 <= parts <= end - start


@LAWS
@given(instants, spans)
def test_what_is_always_open_is_the_clock_itself(start: int, span: int) -> None:
    assert add_business_time(ALWAYS, start, span) == start + span
    assert business_time_between(ALWAYS, start, start + span) == span


def test_nights_weekends_lunch_and_holidays_do_not_count() -> None:
    hours = hours_of(BERLIN | {"holidays": ["2026-12-25"]})
    friday = at("Europe/Berlin", 2026, 11, 20, 16, 0)
    assert add_business_time(hours, friday, 2 * HOUR) == at("Europe/Berlin", 2026, 11, 23, 9, 0)
    assert add_business_time(hours, at("Europe/Berlin", 2026, 11, 23, 11, 30), HOUR) == at("Europe/Berlin", 2026, 11, 23, 13, 30)
    christmas_eve = at("Europe/Berlin", 2026, 12, 24, 16, 0)
    assert add_business_time(hours, christmas_eve, 2 * HOUR) == at("Europe/Berlin", 2026, 12, 28, 9, 0)


@pytest.mark.parametrize(
    ("day", "passed"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)], ids=["forward", "back", "plain"]
)
def test_a_day_has_as_many_hours_as_its_clock_makes(day: tuple[int, int, int], passed: int) -> None:
    hours = hours_of({"zone": "Europe/Berlin", "weekly": {name: [["00:00", "24:00"]] for name in DAYS}})
    midnight = at("Europe/Berlin", *day)
    after = datetime(*day, tzinfo=ZoneInfo("Europe/Berlin")) + timedelta(days=1)
    assert business_time_between(hours, midnight, int(after.timestamp() * 1000)) == passed * HOUR


def test_times_that_the_clock_leaps_over_last_no_time() -> None:
    spans = [["01:00", "02:15"], ["02:20", "02:40"], ["02:45", "04:00"]]
    hours = hours_of({"zone": "Europe/Berlin", "weekly": {"sun": spans}})
    begin = at("UTC", 2026, 3, 28, 12)
    assert business_time_between(hours, begin, at("UTC", 2026, 3, 29, 12)) == 2 * HOUR, "01:00 to 02:00, then 03:00 to 04:00"
    assert add_business_time(hours, begin, HOUR + 1) == int(datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp() * 1000) + 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"weekly": {"mon": [["22:00", "06:00"]]}}, "weekly.mon"),
        ({"weekly": {"mon": [["08:00", "08:00"]]}}, "weekly.mon"),
        ({"weekly": {"mon": [["08:00", "12:00"], ["11:00", "15:00"]]}}, "weekly.mon"),
        ({"weekly": {"mon": [["8:00", "12:00"]]}}, "weekly.mon"),
        ({"weekly": {"mon": [["08:00", "25:00"]]}}, "weekly.mon"),
        ({"weekly": {"monday": []}}, "weekly.monday"),
        ({"zone": "Europe/Nowhere"}, "zone"),
        ({"zone": "../etc/passwd"}, "zone"),
        ({"zone": "Europe"}, "zone"),
        ({"holidays": ["25.12.2026"]}, "holidays"),
    ],
)
def test_hours_that_make_no_sense_are_refused_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Misread) as refused:
        hours_of(fields)
    assert refused.value.field == field


def test_an_office_that_never_opens_is_told_as_such() -> None:
    with pytest.raises(NeverOpen):
        add_business_time(hours_of({"weekly": {}}), 0, 1)
    assert business_time_between(hours_of({"weekly": {}}), 0, HOUR) == 0
