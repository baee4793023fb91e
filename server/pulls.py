"""A pull, served the cheapest way that tells the whole truth: by the clock alone, by the shared tail, or by a walk over links."""

from server.devices import Admitted
from server.feed import Asked, Cursor, Pulled, idle, pull
from server.holdings import Holdings
from server.shelf import Shelf
from server.storage.pool import Pool
from server.tail import Tails
from sync.protocol import Exchange


class Pulls:
    """One per process, with what devices share of what it has read."""

    def __init__(self, pool: Pool, holdings: Holdings, shelf: Shelf) -> None:
        self._pool, self._tails, self._shelf = pool, Tails(pool, holdings), shelf

    async def page(self, device: Admitted, request: Exchange, cursor: Cursor, now_ms: int, *, told: int) -> Pulled:
        """The page; it contains what the outcomes of this exchange tell of, up to the commit `told`."""
        if not told and not request.digests and (nothing := idle(cursor, device.clock_seq)):
            return nothing
        user = device.author.user
        if cursor.settled and not request.digests:
            seq = max(device.clock_seq, told)
            if tail := await self._tails.pull(device.tenant_id, user, cursor, request.limit, seq):
                return tail
        asked = Asked(device.tenant_id, user, cursor, request.limit, now_ms, device.horizon, device.clock_seq, request.digests)
        async with self._pool.connection(device.tenant_id) as connection:
            return await pull(connection, asked, self._shelf)
