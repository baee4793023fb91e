"""Who wins when two authors wrote one field without having seen each other.

A policy is declared on the field, beside its type. It says which operations the field takes, who may write it, and how a
concurrent write is settled. Settling is pure: the current write and the incoming one in, a `Verdict` out. Whatever loses is held in
a conflict record; nothing is dropped (the exceptions are `highest`, `lowest` and a lifecycle state that lies behind the current
one: there the result already contains the loser).
"""

import enum
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from sync.clock import Stamp


class Role(enum.StrEnum):
    TECHNICIAN = "technician"
    REP = "rep"
    DISPATCHER = "dispatcher"
    MANAGER = "manager"
    ADMINISTRATOR = "administrator"
    SERVER = "server"


Roles: TypeAlias = frozenset[Role]

FIELD: Final[Roles] = frozenset({Role.TECHNICIAN, Role.REP})
OFFICE: Final[Roles] = frozenset({Role.DISPATCHER, Role.MANAGER, Role.ADMINISTRATOR})
SALES: Final[Roles] = frozenset({Role.REP, Role.MANAGER, Role.ADMINISTRATOR})
MANAGERS: Final[Roles] = frozenset({Role.MANAGER, Role.ADMINISTRATOR})
PEOPLE: Final[Roles] = FIELD | OFFICE
SERVER: Final[Roles] = frozenset({Role.SERVER})
NOBODY: Final[Roles] = frozenset()


class Op(enum.StrEnum):
    """What a change may do to a field. Any field may also be given a value when its record is created."""

    SET = "set"
    INC = "inc"
    ADD = "add"
    REMOVE = "remove"
    APPEND = "append"
    EDIT = "edit"


class Kind(enum.StrEnum):
    LAST_WRITER = "last_writer"
    OFFICE_WINS = "office_wins"
    FIELD_WINS = "field_wins"
    COUNTER = "counter"
    HIGHEST = "highest"
    LOWEST = "lowest"
    ADD_WINS = "add_wins"
    APPEND_ONLY = "append_only"
    KEYED = "keyed"
    LIFECYCLE = "lifecycle"
    TEXT = "text"
    MANUAL = "manual"
    SERVER_ONLY = "server_only"
    FIXED = "fixed"


class Flow(msgspec.Struct, frozen=True, eq=False):
    """A guarded state machine. `moves[a][b]` are the roles that may go from state a to state b.

    `rank` orders states for the case that two ends meet: of two concurrent states neither of which follows from the other, the
    higher rank wins (a job that was done outranks its cancellation: facts of execution are never refused); equal ranks wait for a
    person.
    """

    initial: str
    moves: Mapping[str, Mapping[str, Roles]]
    rank: Mapping[str, int]
    once: frozenset[str] = frozenset()
    """States that two authors who did not know of each other should not both have reached: the second report is held too."""

    def allows(self, before: str, after: str, role: Role) -> bool:
        return role in self.moves.get(before, {}).get(after, NOBODY) or (role is Role.SERVER and self.follows(before, after))

    def enters(self, after: str, role: Role) -> bool:
        """Whether the role may go to `after` from anywhere: the author acted on a state that meanwhile may have passed."""
        return any(self.allows(before, after, role) for before in self.moves)

    def follows(self, before: str, after: str) -> bool:
        """Whether the flow has a move from `before` to `after`, whoever may make it."""
        return after in self.moves.get(before, {})


class Policy(msgspec.Struct, frozen=True):
    """How one field merges. `facts` marks fields whose edits restore a record that the office deleted meanwhile."""

    kind: Kind
    ops: frozenset[Op]
    writers: Roles
    facts: bool = False
    flow: Flow | None = None


def _policy(kind: Kind, *ops: Op, by: Roles, facts: bool = False) -> Policy:
    return Policy(kind, frozenset(ops), by | SERVER, facts=facts)


def last_writer(by: Roles = PEOPLE) -> Policy:
    """The higher corrected stamp wins, then the higher device number; a person before the server."""
    return _policy(Kind.LAST_WRITER, Op.SET, by=by)


def office_wins(by: Roles = PEOPLE) -> Policy:
    """An author in the office wins over one in the field; within a side, the last writer."""
    return _policy(Kind.OFFICE_WINS, Op.SET, by=by)


def field_wins(by: Roles = PEOPLE) -> Policy:
    """An author in the field wins over one in the office; within a side, the last writer."""
    return _policy(Kind.FIELD_WINS, Op.SET, by=by, facts=True)


def counter(by: Roles = PEOPLE) -> Policy:
    """Increments add up, in any order."""
    return _policy(Kind.COUNTER, Op.INC, by=by, facts=True)


def highest(by: Roles = PEOPLE) -> Policy:
    return _policy(Kind.HIGHEST, Op.SET, by=by, facts=True)


def lowest(by: Roles = PEOPLE) -> Policy:
    return _policy(Kind.LOWEST, Op.SET, by=by, facts=True)


def add_wins(by: Roles = PEOPLE) -> Policy:
    """A set; adding an element wins over removing it at the same time."""
    return _policy(Kind.ADD_WINS, Op.ADD, Op.REMOVE, by=by)


def append_only(by: Roles = PEOPLE) -> Policy:
    """A fact. A list takes further entries, each with an `id`; any other value is written once and stands."""
    return _policy(Kind.APPEND_ONLY, Op.SET, Op.APPEND, by=by, facts=True)


def keyed(by: Roles = PEOPLE) -> Policy:
    """A map merged key by key; of one key, the last writer. A key is removed by setting it to null."""
    return _policy(Kind.KEYED, Op.SET, by=by)


def lifecycle(flow: Flow, by: Roles = PEOPLE) -> Policy:
    """A state guarded by `flow`."""
    return Policy(Kind.LIFECYCLE, frozenset({Op.SET}), by | SERVER, facts=True, flow=flow)


def text(by: Roles = PEOPLE) -> Policy:
    """Free text, merged three ways on the common base; overlapping edits keep both, marked."""
    return _policy(Kind.TEXT, Op.EDIT, by=by)


def manual(by: Roles = PEOPLE) -> Policy:
    """The current value stays, the other is held for a person."""
    return _policy(Kind.MANUAL, Op.SET, by=by)


def server_only() -> Policy:
    """Written by rules, importers and the scheduler."""
    return _policy(Kind.SERVER_ONLY, Op.SET, Op.INC, Op.ADD, Op.REMOVE, Op.APPEND, by=NOBODY)


def fixed(by: Roles = PEOPLE) -> Policy:
    """Given when the record is created, never changed: what a record is a part of."""
    return _policy(Kind.FIXED, by=by)


def surpasses(kind: Kind, current: Any, value: Any) -> bool:
    """Whether a value takes the place of the current one in a field that keeps the highest or the lowest."""
    if value is None or current is None:
        return value is not None
    return bool(value > current if kind is Kind.HIGHEST else value < current)


class Side(enum.IntEnum):
    """Where an author stands; stored with every field version, so the numbers never change."""

    FIELD = 1
    OFFICE = 2
    SERVER = 3


def side_of(role: Role) -> Side:
    if role is Role.TECHNICIAN or role is Role.REP:  # without hashing it: this is asked of every change
        return Side.FIELD
    return Side.SERVER if role is Role.SERVER else Side.OFFICE


class Write(msgspec.Struct, frozen=True):
    """One author's value of one field, with what settles ties."""

    value: object
    stamp: Stamp
    device: int
    side: Side


class Verdict(enum.Enum):
    TAKE = "the incoming value replaces the current one, which is held"
    KEEP = "the current value stands, the incoming one is held"
    WAIT = "the current value stands, the incoming one waits for a person"
    CONTAINED = "the current value stands and already contains the incoming one"
    FOLLOW = "the incoming value follows from the current one; nothing is held"


_PRECEDENCE: Final = {
    Kind.LAST_WRITER: {Side.SERVER: 0, Side.FIELD: 1, Side.OFFICE: 1},
    Kind.OFFICE_WINS: {Side.SERVER: 0, Side.FIELD: 1, Side.OFFICE: 2},
    Kind.FIELD_WINS: {Side.SERVER: 0, Side.OFFICE: 1, Side.FIELD: 2},
}
"""Whose value stands where a policy goes by sides: a person's before the server's."""


def settle(policy: Policy, current: Write, incoming: Write) -> Verdict:
    """The verdict on two concurrent, different values of a field whose operation is `set`. A person wins over the server."""
    precedence = _PRECEDENCE.get(policy.kind, {})
    if precedence.get(current.side) != precedence.get(incoming.side):
        return Verdict.TAKE if precedence[incoming.side] > precedence[current.side] else Verdict.KEEP
    match policy.kind:
        case Kind.MANUAL:
            return Verdict.WAIT
        case Kind.APPEND_ONLY:
            return Verdict.KEEP
        case Kind.LIFECYCLE:
            return _meet(policy.flow, str(current.value), str(incoming.value))
        case _:
            return Verdict.TAKE if _later(incoming, current) else Verdict.KEEP


def _later(a: Write, b: Write) -> bool:
    return (a.stamp, a.device) > (b.stamp, b.device)


def _meet(flow: Flow | None, current: str, incoming: str) -> Verdict:
    assert flow is not None, "a lifecycle policy carries its flow"
    forward, back = flow.follows(current, incoming), flow.follows(incoming, current)
    if forward and not back:
        return Verdict.FOLLOW
    if back and not forward:
        return Verdict.CONTAINED
    if flow.rank[incoming] == flow.rank[current]:
        return Verdict.WAIT
    return Verdict.TAKE if flow.rank[incoming] > flow.rank[current] else Verdict.KEEP
