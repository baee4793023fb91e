"""Before a visit the device has the best next offers; what is taken or declined comes back into the ranking."""

from typing import Any

import pytest

from client_sdk import Replica, col
from server.domain.offers import learn_affinity, refresh_offers
from server.domain.ranking import Facts, Machine, OfferRule, Tally, Ware, acceptance, rank, wears_out
from sync.entities import Appointment, Lead, Offer
from sync.entities.flows import AppointmentStatus, OfferStatus
from tests.domain.house import DAY_MS, HOUR_MS, NOW_MS, YEAR_MS, Clock, House
from tests.server.wire import BareDevice, create

VISIT_MS = NOW_MS + 2 * HOUR_MS
CATALOGUE = (
    ("product", "boiler", {"sku": "B1", "name": "Boiler", "family": "heat", "price_cents": 300_000, "lifetime_days": 15 * 365}),
    ("product", "pump", {"sku": "P1", "name": "Heat pump", "family": "heat", "price_cents": 900_000, "lifetime_days": 20 * 365}),
    ("product", "filter", {"sku": "F1", "name": "Water filter", "family": "water", "price_cents": 40_000}),
    ("product", "care", {"sku": "C1", "name": "Care plan", "family": "service", "price_cents": 24_000}),
)


async def staffed(house: House) -> tuple[BareDevice, Replica]:
    """A dispatcher, a technician's phone, and a customer with an old boiler."""
    desk = await house.desk("Dana", "dispatcher")
    theo = await house.company.user("Theo", "technician")
    await house.brings(*CATALOGUE)
    await house.does(
        desk,
        create("technician", "T1", name="Theo", user=theo),
        create("account", "A1", name="Lakeside Clinic"),
        create("site", "S1", account="A1", name="Main house"),
        create("asset", "M1", site="S1", name="Boiler in the cellar", product="boiler", installed_on=NOW_MS - 15 * YEAR_MS),
    )
    return desk, await house.phone(theo, "theo")


async def planned(house: House, desk: BareDevice, order: str, at_ms: int = VISIT_MS, **more: Any) -> str:
    await house.does(
        desk,
        create("work_order", order, account="A1", site="S1", **more),
        create("appointment", f"{order}.v", work_order=order, technician="T1", status="dispatched", planned_start=at_ms),
    )
    return f"{order}.v"


def offers(phone: Replica, order: str = "W1") -> list[tuple[str, Offer]]:
    """What the device shows for a work order, best first."""
    found = phone.query(
        Offer,
        col(Offer.work_order).is_(order),
        col(Offer.status).is_(OfferStatus.OPEN),
        order_by=col(Offer.position).ascending(),
    )
    return [(item.id, item.fields) for item in found]


async def test_offers_come_with_the_work_order_with_reason_and_expected_value(house: House) -> None:
    desk, phone = await staffed(house)
    await house.does(
        desk,
        create("asset", "M2", site="S1", name="Softener", product="filter", warranty_end=VISIT_MS + 20 * DAY_MS),
        create("recommendation", "R1", site="S1", words="replace the filter bowl", product="filter", at=NOW_MS - DAY_MS),
    )
    await planned(house, desk, "W1")
    await phone.sync()
    found = {offer.kind: offer for _, offer in offers(phone)}
    assert set(found) == {"replace", "recommended", "warranty"}
    old = found["replace"]
    assert (old.product, old.asset) == ("boiler", "M1")
    assert [offer.position for _, offer in offers(phone)] == [1, 2, 3]
    worth = [offer.expected_cents for _, offer in offers(phone)]
    assert worth == sorted(worth, reverse=True)
    assert old.chance == pytest.approx(0.25 * wears_out(15 * 365 + 1 / 12, 15 * 365), abs=0.001)
    assert old.expected_cents == round(old.chance * 300_000)
    assert "Boiler in the cellar is 15.0 years old" in old.reason
    assert "Softener ends on 2030-04-06" in found["warranty"].reason
    assert "Advised on an earlier visit on 2030-03-16: “replace the filter bowl”." in found["recommended"].reason


async def test_a_contract_that_ends_and_a_machine_that_none_covers_are_told(house: House) -> None:
    desk, phone = await staffed(house)
    covering = {"account": "A1", "name": "Gold", "start": 1, "status": "active", "covered_assets": ["M1"]}
    await house.brings(("contract", "K1", covering | {"end": VISIT_MS + 30 * DAY_MS, "status": "draft"}))
    manager = await house.desk("Mia", "manager")
    await house.does(manager, {"entity": "contract", "id": "K1", "base": 2**50, "set": {"status": "active"}})
    await planned(house, desk, "W1")
    await phone.sync()
    (contract,) = [offer for _, offer in offers(phone) if offer.kind == "contract"]
    assert contract.reason.startswith("The contract Gold ends on 2030-04-16.")
    await house.does(desk, create("asset", "M2", site="S1", name="New pump"))
    await house.does(manager, {"entity": "contract", "id": "K1", "base": 2**50, "set": {"end": VISIT_MS + YEAR_MS}})
    await planned(house, desk, "W2")
    await phone.sync()
    (contract,) = [offer for _, offer in offers(phone, "W2") if offer.kind == "contract"]
    assert contract.reason.startswith("No contract covers New pump.")


async def test_what_customers_like_this_one_bought_is_offered_by_its_lift(house: House) -> None:
    desk, phone = await staffed(house)
    for n in range(2, 8):  # six customers with boilers, four of them with filters; twelve more with neither
        product = ["boiler", *(["filter"] if n < 6 else [])]
        await house.does(
            desk,
            create("account", f"A{n}", name=f"Customer {n}"),
            create("site", f"S{n}", account=f"A{n}", name="House"),
            *(create("asset", f"M{n}{one}", site=f"S{n}", product=one) for one in product),
        )
    for n in range(20, 32):
        await house.does(
            desk,
            create("account", f"A{n}", name=f"Customer {n}"),
            create("site", f"S{n}", account=f"A{n}", name="House"),
            create("asset", f"M{n}", site=f"S{n}", product="pump"),
        )
    assert await house.tick(learn_affinity) == 1
    rule = (await house.rows("business_rule"))["offer_affinity.1"]
    assert rule.body["pairs"]["boiler"]["filter"] == {"lift": round(4 * 19 / (7 * 4), 2), "share": round(4 / 7, 3), "customers": 4}
    await planned(house, desk, "W1")
    await phone.sync()
    (bundle,) = [offer for _, offer in offers(phone) if offer.kind == "affinity"]
    assert bundle.product == "filter"
    assert bundle.reason.startswith("57% of customers with Boiler have Water filter too, 2.7 × the average.")
    house.clock.ms += 2 * DAY_MS
    assert await house.tick(learn_affinity) == 0, "nothing new was sold: no new version"


async def test_a_declined_offer_ranks_lower_at_this_site_and_for_its_kind(house: House) -> None:
    desk, phone = await staffed(house)
    await planned(house, desk, "W1")
    await planned(house, desk, "W2", VISIT_MS + DAY_MS)
    await phone.sync()
    before = dict(offers(phone, "W2"))["W2.boiler.replace"]
    phone.answer_offer("W1.boiler.replace", OfferStatus.DECLINED, "we move out")
    await phone.sync()
    await house.rules_are_done()
    await phone.sync()
    after = dict(offers(phone, "W2"))["W2.boiler.replace"]
    assert after.chance == pytest.approx(before.chance / 2, abs=0.002), "one no here weighs as much as all that is known"
    assert "Declined here once." in after.reason
    assert "W1.boiler.replace" not in dict(offers(phone)), "what was answered is not asked again"


async def test_an_offer_taken_offline_on_one_device_and_declined_on_another_is_taken(house: House) -> None:
    desk, phone = await staffed(house)
    other = await house.phone(phone.identity().user, "tablet")  # type: ignore[union-attr]  # enrolled
    visit = await planned(house, desk, "W1")
    await phone.sync()
    await other.sync()
    other.answer_offer("W1.boiler.replace", OfferStatus.DECLINED)
    lead = phone.capture_lead(Lead(need="new boiler"), visit=visit, offer="W1.boiler.replace")
    await phone.sync()
    await other.sync()
    await phone.sync()
    offer = phone.get(Offer, "W1.boiler.replace")
    assert offer
    assert (offer.fields.status, offer.fields.lead) == (OfferStatus.TAKEN, lead)


async def test_offers_follow_the_plan_and_the_days(house: House, still: Clock) -> None:
    desk, _phone = await staffed(house)
    visit = await planned(house, desk, "W1", NOW_MS + 30 * DAY_MS)
    made = await house.rows("offer")
    assert {row.status for row in made.values()} == {"open"}
    await house.does(desk, {"entity": "appointment", "id": visit, "base": 2**50, "set": {"status": "canceled"}})
    assert {row.status for row in (await house.rows("offer")).values()} == {"withdrawn"}
    await house.does(
        desk, create("appointment", "W1.w", work_order="W1", technician="T1", status="scheduled", planned_start=VISIT_MS + DAY_MS)
    )
    again = await house.rows("offer")
    assert set(again) == set(made)
    assert {row.status for row in again.values()} == {"open"}
    assert await house.tick(refresh_offers) == 0, "nothing is new"
    manager = await house.desk("Mia", "manager")
    await house.does(manager, create("business_rule", "offers.1", kind="offers", version=1, body={"replace_from": 9.0}))
    assert await house.tick(refresh_offers) == 0, "once a day is enough"
    still.ms += DAY_MS + 1
    assert await house.tick(refresh_offers) == 1
    rows = await house.rows("offer")
    assert rows["W1.boiler.replace"].status == "withdrawn", "a rule of the house that is newer takes over"


async def test_advice_that_led_to_a_sale_is_done(house: House) -> None:
    desk, phone = await staffed(house)
    await house.does(desk, create("recommendation", "R1", site="S1", words="filter", product="filter"))
    visit = await planned(house, desk, "W1")
    await phone.sync()
    phone.capture_lead(Lead(need="a filter"), visit=visit, offer="W1.filter.recommended")
    await phone.sync()
    await house.rules_are_done()
    assert (await house.rows("recommendation"))["R1"].status == "done"


async def test_a_visit_under_way_keeps_its_offers(house: House) -> None:
    desk, phone = await staffed(house)
    visit = await planned(house, desk, "W1")
    await phone.sync()
    with phone.edit("work") as tx:
        tx.set(Appointment, visit, status=AppointmentStatus.IN_PROGRESS)
    await phone.sync()
    await house.rules_are_done()
    assert {row.status for row in (await house.rows("offer")).values()} == {"open"}


def test_wear_is_even_odds_at_the_lifetime() -> None:
    assert wears_out(0, 100, within_days=100) == pytest.approx(0.5)
    assert wears_out(50, 100, 10) < wears_out(100, 100, 10) < wears_out(150, 100, 10)


def test_acceptance_is_the_posterior_of_prior_others_and_site() -> None:
    rule = OfferRule(prior={"k": 0.2}, prior_answers=10, site_answers=1)
    assert acceptance(rule, "k", Tally(), Tally()) == pytest.approx(0.2)
    assert acceptance(rule, "k", Tally(8, 2), Tally()) == pytest.approx((8 + 2) / 20)
    assert acceptance(rule, "k", Tally(8, 2), Tally(0, 3)) == pytest.approx(0.5 / 4)


def test_a_replacement_is_the_newer_product_and_only_the_best_offer_of_it_stands() -> None:
    wares = {
        "old": Ware("old", "Old", "heat", 100_00, 3650, ("new",)),
        "new": Ware("new", "New", "heat", 900_00, 3650, ()),
    }
    machines = tuple(Machine(f"M{n}", f"M{n}", "old", NOW_MS - n * YEAR_MS, None) for n in (8, 12))
    (offer,) = rank(OfferRule(), Facts(NOW_MS, machines, (), (), wares, {}))
    assert (offer.product, offer.asset, offer.value_cents) == ("new", "M12", 900_00)
