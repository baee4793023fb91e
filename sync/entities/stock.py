"""Products, and the moves whose sum is the stock on hand."""

import enum
from typing import Annotated

import msgspec

from sync.links import CATALOGUE
from sync.policies import NOBODY, append_only, field_wins, fixed, server_only
from sync.schema import Code, Count, Entity, Id, Instant, Name, everywhere, named_by, refers


class Product(Entity, scope=everywhere(CATALOGUE), create=NOBODY):
    sku: Annotated[Code, fixed()]
    name: Annotated[Name, server_only()]
    unit: Annotated[Code, server_only()] = "pc"
    family: Annotated[Code, server_only()] = ""
    price_cents: Annotated[Count, server_only()] = 0
    lifetime_days: Annotated[Annotated[int, msgspec.Meta(ge=0)] | None, server_only()] = None
    substitutes: Annotated[tuple[Code, ...], server_only()] = ()
    affinity: Annotated[dict[Code, float], server_only()] = {}
    external_id: Annotated[Code, server_only()] = ""


class MoveReason(enum.StrEnum):
    RECEIVED = "received"
    TRANSFER = "transfer"
    USED = "used"
    COUNT = "count"
    REVERSAL = "reversal"


class StockMove(Entity, scope=named_by("location")):
    """Something went into or out of a van or a depot. Stock on hand is the sum of moves and is never written."""

    location: Annotated[Id, fixed()]
    product: Annotated[Id, refers("product"), append_only()]
    quantity: Annotated[Count, append_only()]
    reason: Annotated[MoveReason, append_only()]
    at: Annotated[Instant, append_only()]
    part_used: Annotated[Id | None, refers("part_used"), append_only()] = None


class PriceBook(Entity, scope=everywhere(CATALOGUE), create=NOBODY):
    """One version of the price list. A version never changes; a new price is a new version."""

    version: Annotated[Code, fixed()]
    currency: Annotated[Code, fixed()] = "USD"
    valid_from: Annotated[Instant | None, server_only()] = None
    valid_to: Annotated[Instant | None, server_only()] = None


class PriceEntry(Entity, scope=everywhere(CATALOGUE), create=NOBODY):
    price_book: Annotated[Id, refers("price_book"), fixed()]
    product: Annotated[Id, refers("product"), fixed()]
    price_cents: Annotated[Count, fixed()]
    floor_cents: Annotated[Count, fixed()] = 0


class CountStatus(enum.StrEnum):
    OPEN = "open"
    DONE = "done"


class StockCount(Entity, scope=named_by("location")):
    """Somebody should count: the moves of a product at a place add up to something that cannot be."""

    location: Annotated[Id, fixed()]
    product: Annotated[Id, refers("product"), fixed()]
    expected: Annotated[Count, server_only()] = 0
    counted: Annotated[Count | None, field_wins()] = None
    status: Annotated[CountStatus, field_wins()] = CountStatus.OPEN
