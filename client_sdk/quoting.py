"""Quotes on the device, without any signal: priced, checked, sent and signed just as the server will see them.

::

    with replica.edit("quote") as tx:
        quote = quoting.draft(replica, tx, opportunity, {"X1": 2}, discount_pct=5)
    print(totals_of(replica.get(Quote, quote).fields).total_cents)
    with replica.edit("signed") as tx:
        quoting.sign(replica, tx, quote, signer="Ana Lake", at=now_ms, strokes=path)
"""

from collections.abc import Mapping
from typing import Protocol

from client_sdk.errors import NeedsApproval, NotFound
from client_sdk.items import E, Item
from client_sdk.query import col
from client_sdk.replica import Replica
from sync.entities import PriceBook, PriceEntry, Product, Profile, Quote, Signature
from sync.entities.flows import ApprovalStatus, QuoteStatus
from sync.entities.pricing import DEFAULT_LIMIT_PCT, Price, breaches, content_sha256, reason
from sync.entities.sales import QuoteLine
from sync.schema import Entity


class Writing(Protocol):
    """What a `Draft` can do, as far as it takes to quote; an app may put something of its own around it."""

    def create(self, fields: Entity, *, record_id: str | None = None) -> str: ...

    def set(self, entity: type[Entity], record_id: str, /, **values: object) -> None: ...

    def shown(self, entity: type[E], record_id: str) -> E | None: ...


def price_book(replica: Replica, now_ms: int) -> Item[PriceBook]:
    """The version of the price list that holds now. Raises `NotFound` if the device has none."""
    valid = [
        book
        for book in replica.query(PriceBook)
        if (book.fields.valid_from or 0) <= now_ms and (book.fields.valid_to is None or now_ms < book.fields.valid_to)
    ]
    if not valid:
        raise NotFound("this replica holds no price list that is valid now")
    return max(valid, key=lambda book: (book.fields.valid_from or 0, book.id))


def prices(replica: Replica, book: str) -> dict[str, Price]:
    """Name, price and floor by product, of one version of the price list."""
    names = {product.id: product.fields.name for product in replica.query(Product)}
    entries = (entry.fields for entry in replica.query(PriceEntry, col(PriceEntry.price_book).is_(book)))
    return {e.product: Price(names.get(e.product, e.product), e.price_cents, e.floor_cents) for e in entries}


def draft(
    replica: Replica,
    tx: Writing,
    opportunity: str,
    quantities: Mapping[str, int],
    *,
    now_ms: int,
    discount_pct: float = 0,
    tax_pct: float = 0,
    valid_to: int | None = None,
) -> str:
    """A new quote of these products at today's prices; returns its id. It keeps these prices whatever list comes next.

    Raises `NotFound` if a product is not on the list.
    """
    book = price_book(replica, now_ms)
    listed = prices(replica, book.id)
    if missing := [product for product in quantities if product not in listed]:
        raise NotFound(f"the price list {book.fields.version} has no {', '.join(missing)}")
    lines: dict[str, QuoteLine | None] = {
        str(at): QuoteLine(product=product, quantity=quantity, price_cents=listed[product].list_cents)
        for at, (product, quantity) in enumerate(quantities.items(), 1)
    }
    quote = Quote(
        opportunity=opportunity,
        price_book=book.id,
        lines=lines,
        discount_pct=discount_pct,
        tax_pct=tax_pct,
        valid_to=valid_to,
    )
    return tx.create(quote)


def objections(replica: Replica, quote: Quote) -> list[str]:
    """Why the quote may not go out as it is, in words; empty if it may. The server judges by the same function."""
    if quote.approval is ApprovalStatus.APPROVED and quote.approved_for in ("", content_sha256(quote)):
        return []
    identity = replica.identity()
    me = replica.get(Profile, identity.user) if identity else None
    limit_pct = me.fields.discount_limit_pct if me else None
    return breaches(quote, prices(replica, quote.price_book), DEFAULT_LIMIT_PCT if limit_pct is None else limit_pct)


def send(replica: Replica, tx: Writing, quote_id: str) -> None:
    """Send a draft; from then on it does not change. Raises `NeedsApproval` if somebody has to approve it first."""
    _refuse_unapproved(replica, quote_id, _held(tx, quote_id))
    tx.set(Quote, quote_id, status=QuoteStatus.SENT)


def sign(replica: Replica, tx: Writing, quote_id: str, *, signer: str, at: int, strokes: str = "", photo: str | None = None) -> str:
    """The customer signs, a quote that was sent or one drafted on the spot: what it says now, no later change of it. Returns the
    signature's id.

    Raises `NeedsApproval` if a draft would need approval first; one that was sent may always be signed.
    """
    quote = _held(tx, quote_id)
    if quote.status is QuoteStatus.DRAFT:
        _refuse_unapproved(replica, quote_id, quote)
    signature = Signature(
        scope=f"opportunity:{quote.opportunity}",
        subject_entity=Quote.spec.name,
        subject=quote_id,
        sha256=content_sha256(quote),
        signer=signer,
        at=at,
        strokes=strokes,
        photo=photo,
    )
    signature_id = tx.create(signature)
    tx.set(Quote, quote_id, status=QuoteStatus.SIGNED, signed_by=signer, signed_at=at, signature=signature_id)
    return signature_id


def approve(tx: Writing, quote_id: str, *, by: str) -> None:
    """A manager approves a quote as this device shows it; if it has changed meanwhile, the server asks again."""
    quote = _held(tx, quote_id)
    tx.set(Quote, quote_id, approval=ApprovalStatus.APPROVED, approved_by=by, approved_for=content_sha256(quote))


def _held(tx: Writing, quote_id: str) -> Quote:
    shown = tx.shown(Quote, quote_id)
    if shown is None:
        raise NotFound(f"this replica holds no quote {quote_id}")
    return shown


def _refuse_unapproved(replica: Replica, quote_id: str, quote: Quote) -> None:
    if found := objections(replica, quote):
        raise NeedsApproval(quote_id, reason(found))
