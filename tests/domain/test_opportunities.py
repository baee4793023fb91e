"""The stages of an opportunity: their history, what they rest on, and what they tell."""

from sync.entities import Lead, Opportunity, Quote
from sync.entities.flows import LeadStatus, QuoteStatus, Stage
from sync.protocol import OutcomeKind
from tests.domain.selling import deal, doubts, offer, settled, shop, signed
from tests.scenarios.field import HOUR_MS, Field, make

DOUBT = "O1.unfounded_stage"


async def test_each_stage_is_noted_once_at_the_time_when_the_rep_wrote_it(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    await deal(field, rita, amount_cents=50_000)
    written = field.clock()
    with rita.edit("qualified, without signal") as tx:
        tx.set(Opportunity, "O1", stage=Stage.QUALIFIED, amount_cents=70_000)
    field.clock.passed_ms += 5 * HOUR_MS
    await settled(field, rita)
    with rita.edit("a better name") as tx:
        tx.set(Opportunity, "O1", name="Two pumps")
    await settled(field, rita)
    stages = (await field.manager.see(Opportunity, "O1")).stages
    assert [(s.stage, s.amount_cents) for s in stages] == [(Stage.PROSPECT, 50_000), (Stage.QUALIFIED, 70_000)]
    assert abs(stages[1].at - written) < HOUR_MS
    assert rita.see(Opportunity, "O1") == await field.manager.see(Opportunity, "O1")


async def test_an_import_says_itself_when_a_deal_was_opened_and_closed(field: Field) -> None:
    await field.catalogue(
        old=Opportunity(account="A1", name="Old", stage=Stage.WON, amount_cents=9, opened_on=1_000, closed_at=5_000),
        open=Opportunity(account="A1", name="Open", stage=Stage.QUALIFIED, opened_on=2_000),
    )
    await field.rules_are_done()
    deals = await field.manager.all(Opportunity)
    assert deals["old"].stages == ()
    assert [(s.at, s.stage) for s in deals["open"].stages] == [(2_000, Stage.QUALIFIED)]
    assert (deals["old"].closed_at, deals["open"].closed_at) == (5_000, None)
    assert await doubts(field) == {}


async def test_a_win_by_word_of_the_rep_stands_and_is_doubted_until_there_is_an_order(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    await deal(field, rita)
    with rita.edit("won!") as tx:
        tx.set(Opportunity, "O1", stage=Stage.WON)
    await settled(field, rita)
    won = await field.manager.see(Opportunity, "O1")
    assert won.stage is Stage.WON
    assert won.closed_at is not None
    assert (await doubts(field))[DOUBT] == ("open", "won by word of the rep, without a signed quote")
    signed(field, rita, offer(field, rita, "O1"))
    await settled(field, rita)
    assert (await doubts(field))[DOUBT][0] == "settled"


async def test_a_manager_may_say_won_without_any_paper(field: Field) -> None:
    await field.manager.does(make(Opportunity(account="A1", name="Pumps"), "O1"))
    await field.manager.sets(Opportunity, "O1", stage=Stage.WON)
    await field.rules_are_done()
    assert await doubts(field) == {}


async def test_quoted_takes_a_quote_and_lost_takes_a_reason(field: Field) -> None:
    await shop(field)
    rita = await field.rep("Rita")
    await deal(field, rita)
    with rita.edit("quoted, I say") as tx:
        tx.set(Opportunity, "O1", stage=Stage.QUOTED)
    await settled(field, rita)
    assert (await doubts(field))[DOUBT] == ("open", "quoted without a quote")
    quote = offer(field, rita, "O1")
    await settled(field, rita)
    assert (await doubts(field))[DOUBT][0] == "settled"
    with rita.edit("never mind") as tx:
        tx.set(Quote, quote, status=QuoteStatus.WITHDRAWN)
        tx.set(Opportunity, "O1", stage=Stage.LOST)
    await settled(field, rita)
    assert (await doubts(field))[DOUBT] == ("open", "lost without a reason")
    with rita.edit("why") as tx:
        tx.set(Opportunity, "O1", lost_reason="too dear")
    await settled(field, rita)
    assert (await doubts(field))[DOUBT][0] == "settled"


async def test_a_stage_that_the_flow_does_not_know_is_parked_and_does_not_block(field: Field) -> None:
    rita = await field.rep("Rita")
    await deal(field, rita, stage=Stage.LOST, lost_reason="no budget")
    with rita.edit("back to the start") as tx:
        tx.set(Opportunity, "O1", stage=Stage.PROSPECT)
    with rita.edit("a name") as tx:
        tx.set(Opportunity, "O1", name="Pumps, once")
    await settled(field, rita)
    assert rita.fates()[-2:] == [OutcomeKind.PARKED, OutcomeKind.APPLIED]
    assert [reason.rule for reason in rita.replica.parked()[0].reasons] == ["lifecycle"]


async def test_the_lead_follows_its_opportunity_to_won_and_back(field: Field) -> None:
    theo, rita = await field.technician("T1"), await field.rep("Rita")
    await field.job("W1", "T1")
    await theo.sync()
    with theo.edit("captured") as tx:
        tx.create(Lead(need="a heat pump", site="S1", account="A1", captured_by=(theo.user,)), record_id="L1")
    await settled(field, theo, rita)
    await field.manager.does(
        make(Opportunity(account="A1", name="Heat pump", lead="L1", owner=rita.user), "O1"),
        await field.manager.setting(Lead, "L1", status="converted", opportunity="O1"),
    )
    for stage, lead in ((Stage.WON, LeadStatus.WON), (Stage.NEGOTIATION, LeadStatus.CONVERTED), (Stage.LOST, LeadStatus.LOST)):
        await field.manager.sets(Opportunity, "O1", stage=stage)
        await settled(field, theo)
        shown = theo.see(Lead, "L1")
        assert shown is not None
        assert shown.status is lead
