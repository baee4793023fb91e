"""Stock that cannot be as it is said to be."""

from collections.abc import Iterable
from typing import Final

from server.author import create
from server.domain.event import Event, Rules
from server.storage.stock import on_hand
from server.storage.tables import projections
from sync.entities.stock import CountStatus
from sync.protocol import Change


async def call_for_count(event: Event) -> Iterable[Change]:
    """Moves are facts, so the balance of a place may fall below zero; then somebody has to count."""
    tenant, move = event.tenant, event.fields
    counts = projections["stock_count"].c
    there = await on_hand(tenant, [move["product"]], [move["location"]])
    balance = there.get(move["location"], {}).get(move["product"], 0)
    asked = [counts.location == move["location"], counts.product == move["product"], counts.status == CountStatus.OPEN]
    if balance >= 0 or await tenant.rows("stock_count", asked, limit=1):
        return ()
    return (create("stock_count", f"{event.id}.count", location=move["location"], product=move["product"], expected=balance),)


RULES: Final[Rules] = {"stock_move": (call_for_count,)}
