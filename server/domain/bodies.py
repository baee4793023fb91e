"""What the rules of the house on service say: the bodies of `BusinessRule` by kind, read by `server.domain.rulebook`.

A new version takes over as a whole, so a body that has several rules lists all of them, each under a name.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec

from sync.entities.service import SurveyKind
from sync.schema import Code, Id, Name

Priority = Annotated[int, msgspec.Meta(ge=1, le=5)]
_Label = Annotated[str, msgspec.Meta(min_length=1, max_length=40, pattern=r"^[0-9A-Za-z_-]+$")]


class DefaultLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kind `service_level`: what is promised where no contract promises anything."""

    service_level: Id | None = None


class Escalation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A broken promise `on` "respond" or "resolve" gives a case to `owner`, and at least this priority."""

    name: _Label
    on: Literal["respond", "resolve"]
    owner: Id | None = None
    priority: Priority | None = None


class Escalations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kind `escalation`."""

    rules: tuple[Escalation, ...] = ()


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reading in `unit` above or below a value opens a case; null as `product` means any machine."""

    name: _Label
    unit: Code
    subject: Name
    product: Id | None = None
    above: float | None = None
    below: float | None = None
    priority: Priority = 3
    symptom: Name = ""

    def __post_init__(self) -> None:
        if self.above is None and self.below is None:
            raise ValueError("a limit says what a reading is to be above or below")


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kind `reading`."""

    rules: tuple[Limit, ...] = ()


class AskAfterVisit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Kind `survey`: the question after a completed visit, on orders of `types` (all if empty); null means that nobody is asked."""

    kind: SurveyKind | None = None
    types: tuple[Code, ...] = ()
    page: Name = ""
    """Where the customer answers; the token takes the place of `{token}`."""


READERS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "escalation": Escalations,
    "reading": Limits,
    "service_level": DefaultLevel,
    "survey": AskAfterVisit,
}
