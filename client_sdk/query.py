"""Conditions and orders of a query, typed by the entity's fields::

    replica.query(
        Appointment,
        col(Appointment.technician).is_(me) | col(Appointment.mates).has(me),
        col(Appointment.planned_start) >= dawn,
        order_by=col(Appointment.planned_start).ascending(),
    )

`Appointment.planned_start` is the class attribute: a type checker sees the field's type, and a misspelt field does not exist.
"""

import enum
from types import MemberDescriptorType
from typing import Generic, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")


class Comparison(enum.Enum):
    IS = "IS ?"
    IS_NOT = "IS NOT ?"
    BELOW = "< ?"
    AT_MOST = "<= ?"
    ABOVE = "> ?"
    AT_LEAST = ">= ?"
    ONE_OF = "one of"
    HAS = "has"


class Test(msgspec.Struct, frozen=True):
    """One comparison of one field."""

    entity: type
    field: str
    comparison: Comparison
    value: object

    def __or__(self, other: "Condition") -> "Either":
        return Either((self,)) | other


class Either(msgspec.Struct, frozen=True):
    """Holds if any of its tests does."""

    tests: tuple[Test, ...]

    def __or__(self, other: "Condition") -> "Either":
        return Either((*self.tests, *(other.tests if isinstance(other, Either) else (other,))))


Condition: TypeAlias = Test | Either


class Order(msgspec.Struct, frozen=True):
    entity: type
    field: str
    descending: bool = False


class Col(Generic[T]):
    """A field of an entity in a query. Comparisons treat null as a value: `is_(None)` is true of a missing one."""

    __slots__ = ("entity", "name")

    def __init__(self, entity: type, name: str) -> None:
        self.entity, self.name = entity, name

    def is_(self, value: T) -> Test:
        return self._test(Comparison.IS, value)

    def is_not(self, value: T) -> Test:
        return self._test(Comparison.IS_NOT, value)

    def one_of(self, *values: T) -> Test:
        return self._test(Comparison.ONE_OF, values)

    def has(self, element: str) -> Test:
        """The set or list contains `element`."""
        return self._test(Comparison.HAS, element)

    def between(self, low: T, high: T) -> tuple[Test, Test]:
        """At least `low` and below `high`: pass it with a star."""
        return self >= low, self < high

    def __lt__(self, value: T) -> Test:
        return self._test(Comparison.BELOW, value)

    def __le__(self, value: T) -> Test:
        return self._test(Comparison.AT_MOST, value)

    def __gt__(self, value: T) -> Test:
        return self._test(Comparison.ABOVE, value)

    def __ge__(self, value: T) -> Test:
        return self._test(Comparison.AT_LEAST, value)

    def ascending(self) -> Order:
        return Order(self.entity, self.name)

    def descending(self) -> Order:
        return Order(self.entity, self.name, descending=True)

    def _test(self, comparison: Comparison, value: object) -> Test:
        return Test(self.entity, self.name, comparison, value)


def col(field: T) -> Col[T]:
    """The column of an entity's class attribute, such as `col(Appointment.status)`."""
    if not isinstance(field, MemberDescriptorType):
        raise TypeError(f"col() takes a field of an entity class, such as Appointment.status, not {field!r}")
    return Col(field.__objclass__, field.__name__)
