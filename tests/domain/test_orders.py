"""What a signed quote becomes."""

from sync.entities import Opportunity, SalesOrder
from sync.entities.flows import OrderStatus, Stage
from tests.domain.selling import deal, doubts, offer, orders, settled, shop, signed
from tests.scenarios.field import Field


async def test_a_quote_drafted_and_signed_on_the_spot_is_an_order_and_wins_the_deal_at_its_price(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    quote = offer(field, rita, await deal(field, rita), tax_pct=19)
    signed(field, rita, quote)
    await settled(field, rita)
    (order,) = (await orders(field)).values()
    assert (order.quote, order.total_cents, order.status) == (quote, 45_220, OrderStatus.PLACED)
    assert {line.product: line.quantity for line in order.lines.values()} == {"X1": 2, "X2": 3}
    won = await field.manager.see(Opportunity, "O1")
    assert (won.stage, won.amount_cents) == (Stage.WON, 38_000)
    assert won.stages[-1].stage is Stage.WON
    assert rita.see(SalesOrder, f"{quote}.order") == order
    assert await doubts(field) == {}


async def test_a_second_order_adds_to_the_deal(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    await deal(field, rita)
    for pumps in (1, 2):
        signed(field, rita, offer(field, rita, "O1", pumps))
        await settled(field, rita)
    assert len(await orders(field)) == 2
    assert (await field.manager.see(Opportunity, "O1")).amount_cents == 28_000 + 38_000


async def test_a_signature_outweighs_that_the_deal_was_given_up_but_a_later_word_of_the_manager_stands(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    quote = offer(field, rita, await deal(field, rita))
    await settled(field, rita)
    signed(field, rita, quote)
    await field.manager.sets(Opportunity, "O1", stage=Stage.LOST, lost_reason="no answer")
    await settled(field, rita)
    deal_now = await field.manager.see(Opportunity, "O1")
    assert (deal_now.stage, deal_now.lost_reason) == (Stage.WON, "no answer")
    await field.manager.sets(Opportunity, "O1", stage=Stage.NEGOTIATION)
    await settled(field, rita)
    assert (await field.manager.see(Opportunity, "O1")).stage is Stage.NEGOTIATION


async def test_a_cancelled_order_takes_the_win_back(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    quote = offer(field, rita, await deal(field, rita))
    signed(field, rita, quote)
    await settled(field, rita)
    await field.manager.sets(SalesOrder, f"{quote}.order", status=OrderStatus.CANCELED)
    await settled(field, rita)
    back = await field.manager.see(Opportunity, "O1")
    assert (back.stage, back.closed_at) == (Stage.NEGOTIATION, None)
