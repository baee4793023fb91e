"""A rep who sells: a price list, an opportunity, and a quote on it."""

from typing import Any

from client_sdk import quoting
from sync.entities import BusinessRule, Opportunity, PriceBook, PriceEntry, Product, SalesOrder
from sync.entities.conflicts import Conflict
from tests.scenarios.field import Field, Phone, make


async def shop(field: Field) -> None:
    """Two products on a price list: a pump for 100.00, at least 90.00, and an hour of work for 60.00."""
    await field.catalogue(
        X2=Product(sku="X2", name="Hour"),
        B1=PriceBook(version="1"),
        B1X1=PriceEntry(price_book="B1", product="X1", price_cents=10_000, floor_cents=9_000),
        B1X2=PriceEntry(price_book="B1", product="X2", price_cents=6_000),
    )


async def deal(field: Field, rep: Phone, name: str = "O1", **fields: Any) -> str:
    """An opportunity of the rep's, who has it on the phone."""
    await field.manager.does(make(Opportunity(account="A1", name="Pumps", owner=rep.user, **fields), name))
    await field.rules_are_done()
    await rep.sync()
    return name


def offer(field: Field, rep: Phone, opportunity: str, pumps: int = 2, **terms: Any) -> str:
    with rep.edit("an offer") as tx:
        return quoting.draft(rep.replica, tx, opportunity, {"X1": pumps, "X2": 3}, now_ms=field.clock(), **terms)


def signed(field: Field, rep: Phone, quote: str, signer: str = "Ana Lake") -> None:
    with rep.edit("signed on the glass") as tx:
        quoting.sign(rep.replica, tx, quote, signer=signer, at=field.clock(), strokes="M0 0L9 9")


async def settled(field: Field, *phones: Phone) -> None:
    """Everybody has sent and got everything, and the rules have done theirs."""
    for phone in phones:
        await phone.sync()
    await field.rules_are_done()
    for phone in phones:
        await phone.sync()


async def doubts(field: Field) -> dict[str, tuple[str, str]]:
    """By id, the status of each conflict and what is held against its subject."""
    found: dict[str, Conflict] = await field.manager.conflicts()
    return {name: (conflict.status.value, str(conflict.held)) for name, conflict in found.items()}


async def orders(field: Field) -> dict[str, SalesOrder]:
    return await field.manager.all(SalesOrder)


async def rule(field: Field, kind: str, version: int, body: Any, valid_from: int = 0) -> None:
    await field.manager.does(make(BusinessRule(kind=kind, version=version, body=body, valid_from=valid_from), f"{kind}.{version}"))
    await field.rules_are_done()
