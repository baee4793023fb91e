"""Quotes made, approved, sent and signed on a phone without signal, and what the server makes of them."""

import pytest

from client_sdk import NeedsApproval, quoting
from server.domain.quotes import tell_limits
from server.rules import tick
from sync.entities import Opportunity, PriceBook, PriceEntry, Profile, Quote
from sync.entities.flows import ApprovalStatus, QuoteStatus
from sync.entities.pricing import content_sha256, totals_of
from sync.entities.sales import QuoteLine
from sync.protocol import OutcomeKind
from tests.domain.selling import deal, doubts, offer, orders, rule, settled, shop, signed
from tests.scenarios.field import Field, make


async def test_the_phone_adds_up_to_the_same_cents_as_the_server_and_keeps_its_prices(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    quote = offer(field, rita, await deal(field, rita), discount_pct=3.3, tax_pct=19)
    here = rita.see(Quote, quote)
    assert here is not None
    await field.catalogue(
        B2=PriceBook(version="2", valid_from=1),
        B2X1=PriceEntry(price_book="B2", product="X1", price_cents=99_999),
    )
    await settled(field, rita)
    there = await field.manager.see(Quote, quote)
    assert (there.net_cents, there.total_cents) == (totals_of(here).net_cents, totals_of(here).total_cents)
    assert there.net_cents == 19_340 + 17_406
    assert (there.price_book, there.assessed, there.approval) == ("B1", content_sha256(here), ApprovalStatus.NOT_NEEDED)
    assert quoting.price_book(rita.replica, field.clock()).id == "B2"


async def test_the_phone_does_not_send_or_sign_what_needs_approval(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    quote = offer(field, rita, await deal(field, rita), discount_pct=12)
    with pytest.raises(NeedsApproval, match=r"Pump: 88\.00 is below the floor of 90\.00; .*the limit is 10 %"), rita.edit() as tx:
        quoting.send(rita.replica, tx, quote)
    with pytest.raises(NeedsApproval):
        signed(field, rita, quote)
    await settled(field, rita)
    asked = await field.manager.see(Quote, quote)
    assert (asked.status, asked.approval) == (QuoteStatus.DRAFT, ApprovalStatus.REQUIRED)
    assert asked.approval_reason.startswith("Pump: 88.00 is below the floor of 90.00; ")
    yes = {"approval": "approved", "approved_by": field.manager.user, "approved_for": asked.assessed}
    await field.manager.sets(Quote, quote, **yes)
    await settled(field, rita)
    signed(field, rita, quote)
    await settled(field, rita)
    assert [order.total_cents for order in (await orders(field)).values()] == [17_600 + 15_840]
    assert await doubts(field) == {}


async def test_an_approval_is_of_what_was_seen_and_not_of_what_became_of_it(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    quote = offer(field, rita, await deal(field, rita), discount_pct=12)
    await settled(field, rita)
    seen = (await field.manager.see(Quote, quote)).assessed
    with rita.edit("cheaper still") as tx:
        tx.set(Quote, quote, discount_pct=40)
    await settled(field, rita)
    await field.manager.sets(Quote, quote, approval="approved", approved_by=field.manager.user, approved_for=seen)
    await settled(field, rita)
    assert (await field.manager.see(Quote, quote)).approval is ApprovalStatus.REQUIRED
    with rita.edit("back to what was approved") as tx:
        tx.set(Quote, quote, discount_pct=5)
    await settled(field, rita)
    assert (await field.manager.see(Quote, quote)).approval is ApprovalStatus.NOT_NEEDED


async def test_a_manager_of_the_team_approves_on_a_phone_what_that_phone_shows(field: Field) -> None:
    await shop(field)
    rita, mia = await field.rep("Rita"), await field.phone(field.manager.user, "Mia's phone")
    quote = offer(field, rita, await deal(field, rita, team=(mia.user,)), discount_pct=12)
    await settled(field, rita, mia)
    with mia.edit("fine with me") as tx:
        quoting.approve(tx, quote, by=mia.user)
    await settled(field, mia, rita)
    approved = await field.manager.see(Quote, quote)
    assert (approved.approval, approved.approved_by, approved.approved_for) == (
        ApprovalStatus.APPROVED,
        mia.user,
        approved.assessed,
    )
    with rita.edit("send") as tx:
        quoting.send(rita.replica, tx, quote)
    await settled(field, rita)
    assert await doubts(field) == {}


async def test_what_a_rep_may_give_is_a_rule_of_the_house_and_the_phone_knows_it(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    await rule(field, "quote_approval", 1, {"limit_pct": {"rep": 2}})
    assert await tick(field.company.context, [tell_limits], field.company.tenant_id, field.clock()) == 2, "profiles"
    quote = offer(field, rita, await deal(field, rita), discount_pct=5)
    profile = rita.see(Profile, rita.user)
    assert profile is not None
    assert profile.discount_limit_pct == 2
    with pytest.raises(NeedsApproval, match="the limit is 2 %"), rita.edit() as tx:
        quoting.send(rita.replica, tx, quote)
    await settled(field, rita)
    assert (await field.manager.see(Quote, quote)).approval_reason.endswith("; rule version 1")


async def test_a_quote_sent_and_signed_offline_is_kept_though_nobody_approved_it_and_the_office_is_asked(field: Field) -> None:
    """An app that does not ask first: the signature of a customer is a fact, and no order comes of it before a manager says so."""
    await shop(field)
    rita = await field.rep("Rita")
    await deal(field, rita)
    line = QuoteLine(product="X1", quantity=1, price_cents=5_000)
    with rita.edit("half price") as tx:
        quote = tx.create(Quote(opportunity="O1", price_book="B1", lines={"1": line}))
        tx.set(Quote, quote, status=QuoteStatus.SENT)
    signed(field, rita, quote)
    await settled(field, rita)
    kept = await field.manager.see(Quote, quote)
    assert (kept.status, kept.signed_by, kept.approval) == (QuoteStatus.SIGNED, "Ana Lake", ApprovalStatus.REQUIRED)
    state, words = (await doubts(field))[f"{quote}.unapproved"]
    assert (state, words[:51]) == ("open", "went out without approval: Pump: 50.00 is below the")
    assert await orders(field) == {}
    assert any(conflict.id == f"{quote}.unapproved" for conflict in rita.replica.conflicts().records)
    await field.manager.sets(Quote, quote, approval="approved", approved_by=field.manager.user, approved_for=kept.assessed)
    await settled(field, rita)
    assert list(await orders(field)) == [f"{quote}.order"]
    assert (await doubts(field))[f"{quote}.unapproved"][0] == "settled"


async def test_a_signature_under_something_else_opens_a_conflict_and_makes_no_order(field: Field) -> None:
    """While the rep has it signed without signal, the office changes the draft."""
    await shop(field)
    rita = await field.rep("Rita")
    quote = offer(field, rita, await deal(field, rita))
    await settled(field, rita)
    signed(field, rita, quote)
    await field.manager.sets(Quote, quote, notes="delivery is extra")
    await settled(field, rita)
    kept = await field.manager.see(Quote, quote)
    assert (kept.status, kept.notes) == (QuoteStatus.SIGNED, "delivery is extra")
    assert (await doubts(field))[f"{quote}.unsigned"] == ("open", "Ana Lake signed something else than what it says now")
    assert await orders(field) == {}


async def test_a_quote_that_says_signed_without_a_signature_makes_no_order(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    quote = offer(field, rita, await deal(field, rita))
    with rita.edit("signed, honestly") as tx:
        tx.set(Quote, quote, status=QuoteStatus.SIGNED, signed_by="Ana Lake")
    await settled(field, rita)
    assert (await doubts(field))[f"{quote}.unsigned"][0] == "open"
    assert await orders(field) == {}


async def test_a_sent_quote_is_frozen_but_can_be_signed_and_who_signed_stands(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    quote = offer(field, rita, await deal(field, rita))
    with rita.edit("send") as tx:
        quoting.send(rita.replica, tx, quote)
    await settled(field, rita)
    refused = await field.manager.tries(await field.manager.setting(Quote, quote, discount_pct=50))
    assert (refused.kind, refused.reasons[0].rule) == (OutcomeKind.PARKED, "frozen")
    signed(field, rita, quote)
    await settled(field, rita)
    forged = await field.manager.tries(await field.manager.setting(Quote, quote, signed_by="Somebody Else"))
    assert forged.kind is OutcomeKind.CONFLICT
    assert (await field.manager.see(Quote, quote)).signed_by == "Ana Lake"
    assert list(await orders(field)) == [f"{quote}.order"]


async def test_a_quote_beyond_all_numbers_is_kept_and_asks_for_approval(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    await deal(field, rita)
    line = QuoteLine(product="X1", quantity=2**40, price_cents=2**40)
    await field.manager.does(make(Quote(opportunity="O1", price_book="B1", lines={"1": line}), "Q1"))
    await settled(field, rita)
    huge = await field.manager.see(Quote, "Q1")
    assert (huge.total_cents, huge.approval) == (0, ApprovalStatus.REQUIRED)
    assert "beyond what can be booked" in huge.approval_reason
    assert (await field.manager.see(Opportunity, "O1")).amount_cents == 0
