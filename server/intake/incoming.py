"""What comes in, record by record, and what it comes to. Pure."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from sync.schema import REGISTRY, Body, canonical

NATURAL_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "account": ("name",),
    "contact": ("account", "name"),
    "site": ("account", "name"),
    "asset": ("site", "serial"),
    "product": ("sku",),
    "opportunity": ("account", "name"),
    "profile": ("name",),
}
"""What tells records of an entity apart where another system gave them no id. Names are compared by `plain`."""

REFERENCED_BY_NAME: Final = {"product": ("sku", "name")}
"""Which fields a reference may name, where it is not `name` alone."""


class Incoming(msgspec.Struct, frozen=True):
    """One row of a file as fields of one record. `references` holds what a row says of another record: its id, external id or name.

    `source` is the file's name, `line` the row's number in it, the header being line 1; `left_open` are fields of which the row
    ought to say something and does not.
    """

    entity: str
    source: str
    line: int
    fields: dict[str, Any]
    references: dict[str, str] = {}
    record_id: str = ""
    left_open: tuple[str, ...] = ()


class Rejected(msgspec.Struct, frozen=True):
    """A row that was not taken, and why."""

    source: str
    line: int
    entity: str
    reason: str
    row: dict[str, Any]


class Taken(msgspec.Struct, frozen=True):
    """A value that was taken as another, and in how many rows."""

    field: str
    value: str
    taken_as: str
    rows: int


class Tally(msgspec.Struct):
    """What became of the rows of one entity."""

    read: int = 0
    created: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0

    @property
    def held(self) -> int:
        return self.created + self.changed + self.unchanged


class Report(msgspec.Struct):
    """What an import came to. In a dry run it is what it would come to."""

    dry_run: bool
    tallies: dict[str, Tally] = {}
    rejected: list[Rejected] = []
    taken: Counter[tuple[str, str, str]] = msgspec.field(default_factory=Counter)
    people: Counter[str] = msgspec.field(default_factory=Counter)
    left_open: Counter[str] = msgspec.field(default_factory=Counter)

    def tally(self, entity: str) -> Tally:
        return self.tallies.setdefault(entity, Tally())

    def reject(self, row: Incoming, reason: str) -> None:
        self.tally(row.entity).rejected += 1
        self.rejected.append(Rejected(row.source, row.line, row.entity, reason, {**row.fields, **row.references}))

    @property
    def corrected(self) -> list[Taken]:
        return [Taken(*key, rows=rows) for key, rows in sorted(self.taken.items())]


def plain(name: str) -> str:
    """A name without what people write differently: case, accents, spaces and punctuation."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or name
    return re.sub(r"[\W_]+", "", letters.casefold())


def natural_key(entity: str, body: Body) -> tuple[str, ...] | None:
    """What tells a record apart by its fields, or None where one of them is missing."""
    names = NATURAL_KEYS.get(entity)
    if names is None or not all(body.get(name) for name in names):
        return None
    return tuple(str(body[name]) if REGISTRY[entity].fields[name].refers else plain(str(body[name])) for name in names)


def id_of(entity: str, body: Body) -> str | None:
    """The id of a record that this import makes: the same each time, so that no repetition doubles it; None without any key."""
    if body.get("external_id"):
        key: tuple[str, ...] | None = ("external", body["external_id"])
    else:
        key = natural_key(entity, body)
    return None if key is None else blake2b("\x1f".join((entity, *key)).encode(), digest_size=13).hexdigest().upper()


def difference(entity: str, held: Body, fields: Body) -> dict[str, Any]:
    """The fields of `fields` in which a held record differs."""
    spec = REGISTRY[entity].fields
    return {
        name: value
        for name, value in fields.items()
        if canonical(spec[name], value) != canonical(spec[name], held.get(name, msgspec.to_builtins(spec[name].default)))
    }
