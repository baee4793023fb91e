"""What a value must keep to beyond its type, looked at where a change comes in: `(entity, edit)` in, `Refused` out.

Each check looks at what the edit itself says, never at the record, so that it stands before anything is read.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from server.domain import bodies
from server.domain.business_hours import Misread, hours_of
from server.domain.recurrence import Unsound, recurrence_of
from sync.merge import Edit, Refused


def _hours(edit: Edit) -> None:
    holidays = [*edit.set.get("holidays", ()), *edit.add.get("holidays", ())]
    try:
        hours_of({**edit.set, "holidays": holidays})
    except Misread as misread:
        raise Refused("business_hours", str(misread), misread.field) from misread


def _recurrence(edit: Edit) -> None:
    try:
        if rule := edit.set.get("recurrence"):
            recurrence_of(rule, 0)
    except Unsound as unsound:
        raise Refused("recurrence", str(unsound), "recurrence") from unsound


def _body(edit: Edit) -> None:
    reader = bodies.READERS.get(str(edit.set.get("kind", "")))
    if reader is None:
        return
    try:
        msgspec.convert(edit.set.get("body"), reader)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at `$")
        raise Refused("rule_body", what, "body" + at.rstrip("`")) from error


CHECKS: Final[Mapping[str, Callable[[Edit], Any]]] = {
    "business_hours": _hours,
    "business_rule": _body,
    "maintenance_plan": _recurrence,
}
