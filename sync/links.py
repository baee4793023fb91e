"""Who may hold which scope, as facts that single records state.

A link is one directed edge. A user's reach is found by walking at most three of them, one of each kind:

    user --ACTS_AS--> principal --HOLDS--> scope --NEEDS--> scope

A user is also its own principal (`user:U`), and everybody of a tenant holds `catalogue`. Because each link follows from one record
alone, a reassignment writes two links whatever the order contains, and concurrent writers cannot disagree about a link without
also disagreeing about the record, where the merge settles it. `NEEDS` does not chain: a technician who reaches an account through
a work order does not reach every site of that account.
"""

import enum
from typing import Final

import msgspec

CATALOGUE: Final = "catalogue"


class LinkKind(enum.IntEnum):
    ACTS_AS = 1
    HOLDS = 2
    NEEDS = 3


class Link(msgspec.Struct, frozen=True, order=True):
    """`source` reaches `target`; both are `kind:id` names of a user, a principal or a scope."""

    kind: LinkKind
    source: str
    target: str


def scope_name(kind: str, record_id: str) -> str:
    return f"{kind}:{record_id}"


def user(user_id: str) -> str:
    return f"user:{user_id}"


def territory(code: str) -> str:
    """The principal that the representatives of a territory act as."""
    return f"territory:{code}"
