"""What the demo tells a device's user to do, and what it hears back: JSON lines on the process's standard input and output."""

from typing import Any, TypeAlias

import msgspec

from demo.journal import Op


class Enrol(msgspec.Struct, frozen=True, tag=True):
    """Make the file a device of the server at `url`."""

    url: str
    code: str
    name: str


class Sync(msgspec.Struct, frozen=True, tag=True):
    """Exchange until it works, at most `attempts` times."""

    attempts: int = 1


class Work(msgspec.Struct, frozen=True, tag=True):
    """Technician: do the visits planned to start before `until_ms`. `live` syncs in the background meanwhile."""

    until_ms: int
    live: bool = False
    pace_s: float = 0.0


class Do(msgspec.Struct, frozen=True, tag=True):
    """Do exactly this, as one transaction."""

    label: str
    ops: tuple[Op, ...]


class Convert(msgspec.Struct, frozen=True, tag=True):
    """Rep: make an opportunity of every lead in hand."""


class Close(msgspec.Struct, frozen=True, tag=True):
    """Rep: bring every open opportunity to its end, all but `leave` of them; the first is always won."""

    leave: int = 0


class Outcomes(msgspec.Struct, frozen=True, tag=True):
    """Technician: what has become of the leads captured?"""


class Dump(msgspec.Struct, frozen=True, tag=True):
    """Write everything that the device holds and knows of its own work to a file, as a `Held`."""

    path: str


Order: TypeAlias = Enrol | Sync | Work | Do | Convert | Close | Outcomes | Dump


class Event(msgspec.Struct, frozen=True, tag=True):
    """Something that happened on the device, for the story."""

    text: str


class Answer(msgspec.Struct, frozen=True, tag=True):
    """The order has been carried out. `ok` is False only where the network did not let it."""

    ok: bool = True
    count: int = 0
    detail: str = ""


News: TypeAlias = Event | Answer


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A record as a device holds it."""

    entity: str
    id: str
    seq: int
    fields: dict[str, Any]
    pending: bool = False


class Fate(msgspec.Struct, frozen=True):
    """What a device knows of one of its transactions."""

    n: int
    state: str
    kind: str | None


class Held(msgspec.Struct, frozen=True):
    """A device's whole memory."""

    device: str
    user: str
    rows: tuple[Row, ...]
    fates: tuple[Fate, ...]
