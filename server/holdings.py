"""Which scopes a user holds now, remembered by a process as long as no link of the tenant has changed.

The clock of a tenant says which commit last wrote a link (`linked`); what was read at that commit or later is what holds. Users who
are not known are looked up together, by the walk over their links.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from server.storage.pool import Connection, Pool
from server.storage.reach import scopes_of
from server.together import Together

USERS: Final = 4_000
Held: TypeAlias = tuple[int, frozenset[str]]
"""The commit that last wrote a link when it was read, and the scopes."""
_NONE: Final[Held] = (-1, frozenset())


class Holdings:
    """One per process."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._held: OrderedDict[tuple[int, str, str], Held] = OrderedDict()
        self._looks: Together[str, Held] = Together(self._look)

    async def of(self, tenant_id: int, incarnation: str, user_id: str, linked: int) -> frozenset[str] | None:
        """The scopes of a user by the links as of `linked`; None if these have changed since."""
        known = self._remembered(tenant_id, incarnation, user_id)
        if known[0] < linked:
            known = await self._looks.ask(tenant_id, user_id) or _NONE
            self._keep(tenant_id, incarnation, user_id, known)
        return known[1] if known[0] == linked else None

    async def of_all(
        self, connection: Connection, tenant_id: int, incarnation: str, user_ids: Iterable[str], linked: int
    ) -> Mapping[str, frozenset[str]]:
        """The scopes of users by the links as of `linked` or later, looked up on a connection at hand."""
        held = {user_id: self._remembered(tenant_id, incarnation, user_id) for user_id in user_ids}
        if unknown := [user_id for user_id, known in held.items() if known[0] < linked]:
            for user_id, known in (await scopes_of(connection, tenant_id, unknown)).items():
                held[user_id] = known
                self._keep(tenant_id, incarnation, user_id, known)
        return {user_id: scopes for user_id, (_, scopes) in held.items()}

    def _remembered(self, tenant_id: int, incarnation: str, user_id: str) -> Held:
        """What is known of a user, who is from now on the last to be forgotten."""
        key = (tenant_id, incarnation, user_id)
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key, _NONE)

    def _keep(self, tenant_id: int, incarnation: str, user_id: str, held: Held) -> None:
        self._held[tenant_id, incarnation, user_id] = held
        if len(self._held) > USERS:
            self._held.popitem(last=False)

    async def _look(self, tenant_id: int, user_ids: list[str]) -> Mapping[str, Held]:
        async with self._pool.connection(tenant_id) as connection:
            return await scopes_of(connection, tenant_id, user_ids)
