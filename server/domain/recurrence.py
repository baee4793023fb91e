"""When something comes back: the RRULE of RFC 5545, expanded by dateutil on the clock of a wall."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rrulestr

Recurrence: TypeAlias = rrule
_PART: Final = re.compile(r"([A-Z]+)=([A-Z0-9,+-]+)", re.ASCII)
_UNTIL: Final = re.compile(r"(\d{8})(T\d{6}(Z?))?", re.ASCII)
_FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_BY_THE_CLOCK: Final = ("BYHOUR", "BYMINUTE", "BYSECOND")
_UTC: Final = ZoneInfo("UTC")
MAX_COUNT: Final = 10_000


class Unsound(ValueError):
    """No recurrence that is understood here."""


def recurrence_of(rule: str, start_ms: int, zone: ZoneInfo = _UTC) -> Recurrence:
    """The occurrences of a rule, the first at `start_ms`; each falls on the same local time in `zone`, whatever its clocks do.

    A rule is one RRULE, with or without that word, at most one occurrence a day. `UNTIL` may be a day, a local time or, with Z, an
    instant. Raises `Unsound` saying what is wrong.
    """
    parts: dict[str, str] = {}
    for part in rule.upper().removeprefix("RRULE:").split(";"):
        found = _PART.fullmatch(part)
        if found is None:
            raise Unsound(f"a recurrence is written like FREQ=MONTHLY;BYDAY=1MO, which {part!r} is not")
        if parts.setdefault(found[1], found[2]) != found[2]:
            raise Unsound(f"{found[1]} stands there twice")
    if parts.get("FREQ") not in _FREQUENCIES:
        raise Unsound(f"FREQ is one of {', '.join(_FREQUENCIES)}")
    if clock := [name for name in _BY_THE_CLOCK if name in parts]:
        raise Unsound(f"{clock[0]} is not for work that comes at most once a day: the time of day is that of the start")
    for name in ("INTERVAL", "COUNT"):
        if name in parts and not (parts[name].isdigit() and 1 <= int(parts[name]) <= MAX_COUNT):
            raise Unsound(f"{name} is a number from 1 to {MAX_COUNT}")
    if "UNTIL" in parts:
        parts["UNTIL"] = _until(parts["UNTIL"], zone)
    begin = datetime.fromtimestamp(start_ms / 1000, UTC).astimezone(zone)
    try:
        made = rrulestr(";".join(f"{name}={value}" for name, value in parts.items()), dtstart=begin)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise Unsound(f"{rule}: {error}") from error
    assert isinstance(made, rrule), "one rule makes no set"
    return made


def _until(value: str, zone: ZoneInfo) -> str:
    """The end as an instant in UTC, which is what the standard asks for once the start has a zone."""
    found = _UNTIL.fullmatch(value)
    if found is None:
        raise Unsound("UNTIL is written like 20271231, 20271231T170000 or 20271231T160000Z")
    try:
        if found[3]:
            datetime.strptime(value, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return value
        local = datetime.strptime(value if found[2] else f"{value}T235959", "%Y%m%dT%H%M%S").replace(tzinfo=zone)
    except ValueError as error:
        raise Unsound(f"UNTIL={value} is no time") from error
    return local.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def occurrences(recurrence: Recurrence, from_ms: int, to_ms: int) -> tuple[list[datetime], int | None]:
    """The occurrences in [from_ms, to_ms), in local time, and the first one after them in ms; None if there is none.

    A rule that never comes true is searched to the end of the calendar: seconds. Call it outside the event loop.
    """
    found: list[datetime] = []
    begin = datetime.fromtimestamp(from_ms / 1000, UTC) - timedelta(microseconds=1)
    for at in recurrence.xafter(begin):
        if (at_ms := round(at.timestamp() * 1000)) >= to_ms:
            return found, at_ms
        found.append(at)
    return found, None
