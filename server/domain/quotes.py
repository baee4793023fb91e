"""Quotes: what they come to, whether somebody has to approve them, and the order that a signed one becomes.

Nothing that a customer did is refused. A quote that went out although it needed approval, or whose signature is not under what it
says now, stands as it is with a doubt (`server.domain.doubts`) for the office, and no order is placed until the doubt is gone.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from server.author import create, update
from server.domain.doubts import doubt
from server.domain.event import Clock, Event, Rules
from server.domain.rulebook import in_force
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.entities import Quote, Signature
from sync.entities.flows import ApprovalStatus, OrderStatus, QuoteStatus, Stage
from sync.entities.pricing import DEFAULT_LIMIT_PCT, MAX_CENTS, Price, breaches, content_sha256, reason, totals_of
from sync.policies import Role
from sync.protocol import Change

UNAPPROVED: Final = "unapproved"
UNSIGNED: Final = "unsigned"
"""The policies of the doubts about a quote."""
_OUT: Final = (QuoteStatus.SENT, QuoteStatus.SIGNED)
BATCH: Final = 200
_UNSETTLED: Final = (ApprovalStatus.REQUIRED, ApprovalStatus.REFUSED)


class QuoteApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The business rule "quote_approval": the discount in percent that a role may give by itself, and what all others may."""

    limit_pct: dict[Role, float] = {}
    default_limit_pct: float = DEFAULT_LIMIT_PCT

    def of(self, role: str) -> float:
        return self.limit_pct.get(Role(role), self.default_limit_pct) if role in set(Role) else self.default_limit_pct


async def assess(event: Event) -> Iterable[Change]:
    """Totals, and whether approval is needed, of the content as it stands; an approval counts for the content that was approved."""
    quote = msgspec.convert(event.fields, Quote)
    content = content_sha256(quote)
    approved_other = quote.approval is ApprovalStatus.APPROVED and quote.approved_for not in ("", content)
    if content == quote.assessed:
        return (update("quote", event.id, event.seq, approval=ApprovalStatus.REQUIRED),) if approved_other else ()
    version, limit_pct = await _limit(event.tenant, quote, event.now_ms)
    found = breaches(quote, await price_list(event.tenant, quote.price_book), limit_pct)
    sums = totals_of(quote)
    booked = max(map(abs, msgspec.structs.astuple(sums))) <= MAX_CENTS
    said = {
        "net_cents": sums.net_cents if booked else 0,
        "total_cents": sums.total_cents if booked else 0,
        "approval_reason": reason([*found, f"rule version {version}"]) if found else "",
        "assessed": content,
    }
    approved = quote.approval is ApprovalStatus.APPROVED and quote.approved_for == content
    if found and not approved and quote.approval is not ApprovalStatus.REQUIRED:
        said["approval"] = ApprovalStatus.REQUIRED
    elif not found and quote.approval is not ApprovalStatus.NOT_NEEDED:
        said["approval"] = ApprovalStatus.NOT_NEEDED
    return (update("quote", event.id, event.seq, **said),)


async def price_list(tenant: Tenant, price_book: str) -> Mapping[str, Price]:
    """Name, price and floor by product, of one version of the price list."""
    entry = projections["price_entry"].c
    entries = await tenant.rows("price_entry", [entry.price_book == price_book])
    named = await tenant.rows("product", [projections["product"].c.id.in_([row.product for row in entries])])
    names = {row.id: row.name for row in named}
    return {row.product: Price(names.get(row.product, row.product), row.price_cents, row.floor_cents or 0) for row in entries}


async def _limit(tenant: Tenant, quote: Quote, now_ms: int) -> tuple[int, float]:
    """The version of the rule in force, and what it lets the opportunity's owner give, in percent."""
    version, rule = await in_force(tenant, "quote_approval", QuoteApproval, now_ms)
    held = await tenant.record("opportunity", quote.opportunity)
    owner = msgspec.json.decode(held.fields).get("owner") if held else None
    person = await tenant.user(owner) if owner else None
    return version, rule.of(person.role if person else Role.REP)


async def place_order(event: Event) -> Iterable[Change]:
    """A quote that was rightly signed is an order, and its opportunity is won at its price."""
    quote = msgspec.convert(event.fields, Quote)
    content = content_sha256(quote)
    if quote.assessed != content:
        return ()  # it is about to be assessed, and looked at again then
    out = quote.status in _OUT
    unapproved = f"went out without approval: {quote.approval_reason}" if out and quote.approval in _UNSETTLED else ""
    unsigned = await _unsigned(event.tenant, event.id, quote, content) if quote.status is QuoteStatus.SIGNED else ""
    changes = [*await doubt(event, UNAPPROVED, "approval", unapproved), *await doubt(event, UNSIGNED, "signature", unsigned)]
    if quote.status is not QuoteStatus.SIGNED or unapproved or unsigned:
        return changes
    return [*changes, *await _order(event, quote)]


async def _unsigned(tenant: Tenant, quote_id: str, quote: Quote, content: str) -> str:
    """What is wrong with the signature under a quote, in words; '' if nothing is."""
    held = await tenant.record("signature", quote.signature) if quote.signature else None
    if held is None:
        return "it says that it was signed, and there is no signature"
    signature = msgspec.json.decode(held.fields, type=Signature)
    if (signature.subject_entity, signature.subject) != ("quote", quote_id):
        return f"the signature is under {signature.subject_entity} {signature.subject}"[:200]
    return "" if signature.sha256 == content else f"{signature.signer} signed something else than what it says now"[:200]


async def _order(event: Event, quote: Quote) -> Iterable[Change]:
    tenant, order_id = event.tenant, f"{event.id}.order"
    held = await tenant.record("opportunity", quote.opportunity)
    if held is None or await tenant.raw_record("sales_order", order_id) is not None:
        return ()
    book = await tenant.record("price_book", quote.price_book)
    lines = {key: line for key, line in quote.lines.items() if line is not None}
    order = create(
        "sales_order",
        order_id,
        opportunity=quote.opportunity,
        quote=event.id,
        number=quote.number,
        lines=lines,
        total_cents=quote.total_cents,
        currency=msgspec.json.decode(book.fields).get("currency", "USD") if book else "USD",
        placed_at=quote.signed_at or event.now_ms,
    )
    fields = msgspec.json.decode(held.fields)
    amount = quote.net_cents + await _ordered(tenant, quote.opportunity)
    return (order, *_win(held.id, held.seq, fields, amount))


def _win(opportunity: str, seq: int, fields: Mapping[str, Any], amount_cents: int) -> Iterable[Change]:
    """A signed order outweighs that somebody had given the deal up: it is opened again first, since lost does not lead to won."""
    stage = fields.get("stage", Stage.PROSPECT)
    if stage == Stage.LOST:
        yield update("opportunity", opportunity, seq, stage=Stage.NEGOTIATION)
    won = {} if stage == Stage.WON else {"stage": Stage.WON}
    yield update("opportunity", opportunity, seq, amount_cents=amount_cents, **won)


async def _ordered(tenant: Tenant, opportunity: str) -> int:
    """The net, in cents, of the quotes of an opportunity that have become orders."""
    order = projections["sales_order"].c
    standing = await tenant.rows("sales_order", [order.opportunity == opportunity, order.status != OrderStatus.CANCELED])
    quotes = await tenant.rows("quote", [projections["quote"].c.id.in_([row.quote for row in standing])])
    return sum(row.net_cents or 0 for row in quotes)


async def tell_signature(event: Event) -> Iterable[Change]:
    """A signature that came after the quote that names it."""
    if event.fields.get("subject_entity") != "quote":
        return ()
    held = await event.tenant.record("quote", event.fields["subject"])
    if held is None:
        return ()
    fields = msgspec.json.decode(held.fields)
    return await place_order(msgspec.structs.replace(event, entity="quote", id=held.id, seq=held.seq, fields=fields))


async def tell_limits(tenant: Tenant, now_ms: int) -> list[list[Change]]:
    """Everybody's profile says what discount they may give, so that a device without signal knows."""
    sellers = (Role.REP, Role.MANAGER, Role.ADMINISTRATOR)
    table = projections["profile"].c
    _, rule = await in_force(tenant, "quote_approval", QuoteApproval, now_ms)
    wrong = [sa.and_(table.role == role, table.discount_limit_pct.is_distinct_from(rule.of(role))) for role in sellers]
    rows = await tenant.rows("profile", [sa.or_(*wrong)], limit=BATCH)
    versions = await tenant.versions("profile", [row.id for row in rows])
    return [[update("profile", row.id, versions[row.id], discount_limit_pct=rule.of(row.role))] for row in rows]


RULES: Final[Rules] = {"quote": (assess, place_order), "signature": (tell_signature,)}
CLOCKS: Final[tuple[Clock, ...]] = (tell_limits,)
