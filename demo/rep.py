"""A rep's day at the device: leads in hand become opportunities, opportunities are quoted, and come to an end."""

import time
from typing import Final

from client_sdk import Item, col, quoting
from demo.user import User
from sync.entities import Activity, Lead, Opportunity
from sync.entities.customers import ActivityKind
from sync.entities.flows import LeadStatus, Stage

SURE: Final = 2
"""So many deals a rep is sure to win."""


class RepUser(User):
    def convert(self) -> int:
        """Make an opportunity of every lead in hand; returns how many there were."""
        leads = self.replica.query(Lead, col(Lead.owner).is_(self.me), col(Lead.status).is_(LeadStatus.CAPTURED))
        for lead in leads:
            account = lead.fields.account
            assert account is not None, "the demo's technicians capture leads on a visit, which has an account"
            with self.doing("convert a lead") as tx:
                opportunity = Opportunity(
                    account=account,
                    name=lead.fields.need[:190],
                    lead=lead.id,
                    product=lead.fields.product,
                    owner=self.me,
                    amount_cents=lead.fields.estimate_cents,
                )
                opportunity_id = tx.create(opportunity)
                tx.set(Lead, lead.id, status=LeadStatus.CONVERTED, opportunity=opportunity_id)
            self.tell(f"makes an opportunity of “{lead.fields.need}”")
        return len(leads)

    def close(self, leave: int) -> int:
        """Call on the customers: the first are won, then two in three; returns how many were won."""
        mine = self.replica.query(
            Opportunity,
            col(Opportunity.owner).is_(self.me),
            col(Opportunity.stage).is_not(Stage.WON),
            col(Opportunity.stage).is_not(Stage.LOST),
        )
        won = 0
        for at, opportunity in enumerate(mine[: len(mine) - leave] if leave else mine):
            if at < SURE or self.random.random() < 0.66:
                self._sign(opportunity, self._quote(opportunity))
                won += 1
            else:
                self._lose(opportunity)
        return won

    def _quote(self, opportunity: Item[Opportunity]) -> str:
        """At the prices of the list that the device has, with a discount that nobody has to approve."""
        now_ms = time.time_ns() // 1_000_000
        listed = quoting.prices(self.replica, quoting.price_book(self.replica, now_ms).id)
        product = opportunity.fields.product
        wanted = product if product in listed else self.random.choice(sorted(listed))
        discount_pct = float(self.random.randint(0, 5))
        with self.doing("quote") as tx:
            return quoting.draft(
                self.replica, tx, opportunity.id, {wanted: 1}, now_ms=now_ms, discount_pct=discount_pct, tax_pct=9.25
            )

    def _sign(self, opportunity: Item[Opportunity], quote: str) -> None:
        """The customer signs on the device."""
        now_ms = time.time_ns() // 1_000_000
        with self.doing("signed on the device") as tx:
            quoting.sign(self.replica, tx, quote, signer="the customer", at=now_ms, strokes="M0 20L15 0L30 20L45 5")
            tx.set(Opportunity, opportunity.id, stage=Stage.WON)
            tx.create(self._call(opportunity, Stage.WON, now_ms))
        self.tell(f"has a quote signed and wins “{opportunity.fields.name}”")

    def _lose(self, opportunity: Item[Opportunity]) -> None:
        with self.doing("lost an opportunity") as tx:
            tx.set(Opportunity, opportunity.id, stage=Stage.LOST, lost_reason="went with another firm")
            tx.create(self._call(opportunity, Stage.LOST, time.time_ns() // 1_000_000))
        self.tell(f"loses “{opportunity.fields.name}”")

    def _call(self, opportunity: Item[Opportunity], outcome: Stage, now_ms: int) -> Activity:
        account = opportunity.fields.account
        assert account is not None, "an opportunity made of a lead with an account has one"
        return Activity(
            account=account,
            kind=ActivityKind.VISIT,
            at=now_ms,
            outcome=outcome.value,
            by=self.me,
            opportunity=opportunity.id,
        )
