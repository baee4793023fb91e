"""What a rule is given, and what it gives back."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from server.storage.office import Tenant
from sync.protocol import Change


class Event(msgspec.Struct, frozen=True):
    """A record that changed, as it stands now: its id, its seq (the base of changes to it) and its fields.

    `tenant` answers questions in the transaction that took the event; `now_ms` is the server's time, in ms since 1970.
    """

    tenant: Tenant
    entity: str
    id: str
    seq: int
    fields: dict[str, Any]
    now_ms: int


Rule: TypeAlias = Callable[[Event], Awaitable[Iterable[Change]]]
"""Looks at the state as it is and says what is missing, so that running it twice changes nothing."""

Rules: TypeAlias = Mapping[str, tuple[Rule, ...]]
"""By entity, the rules that look at each change of its records, in order."""

Clock: TypeAlias = Callable[[Tenant, int], Awaitable[Sequence[Iterable[Change]]]]
"""What time alone brings: given a tenant and now in ms, says what is due; each group of changes becomes one transaction.

It is called at each sweep (some times a minute), in every server process: it must find what is due by an indexed question, and a
second look after the changes were written must find nothing.
"""
