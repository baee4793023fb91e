"""A rep's day at the device: leads in hand become opportunities, opportunities come to an end."""

import time

from client_sdk import col
from demo.user import User
from sync.entities import Activity, Lead, Opportunity
from sync.entities.customers import ActivityKind
from sync.entities.flows import LeadStatus, Stage


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
                    owner=self.me,
                    amount_cents=lead.fields.estimate_cents,
                )
                opportunity_id = tx.create(self.replica.new_id(), opportunity)
                tx.set(Lead, lead.id, status=LeadStatus.CONVERTED, opportunity=opportunity_id)
            self.tell(f"makes an opportunity of “{lead.fields.need}”")
        return len(leads)

    def close(self, leave: int) -> int:
        """Call the customers: the first opportunity is won, then two in three; returns how many were won."""
        mine = self.replica.query(
            Opportunity,
            col(Opportunity.owner).is_(self.me),
            col(Opportunity.stage).is_not(Stage.WON),
            col(Opportunity.stage).is_not(Stage.LOST),
        )
        won = 0
        for at, opportunity in enumerate(mine[: len(mine) - leave] if leave else mine):
            stage = Stage.WON if at == 0 or self.random.random() < 0.66 else Stage.LOST
            with self.doing(f"{stage.value} an opportunity") as tx:
                if stage is Stage.WON:
                    tx.set(Opportunity, opportunity.id, stage=stage)
                else:
                    tx.set(Opportunity, opportunity.id, stage=stage, lost_reason="went with another firm")
                if opportunity.fields.account is not None:
                    call = Activity(
                        account=opportunity.fields.account,
                        kind=ActivityKind.CALL,
                        at=time.time_ns() // 1_000_000,
                        outcome=stage.value,
                        by=self.me,
                        opportunity=opportunity.id,
                    )
                    tx.create(self.replica.new_id(), call)
            won += stage is Stage.WON
            price = opportunity.fields.amount_cents // 100
            self.tell(f"{'wins' if stage is Stage.WON else 'loses'} “{opportunity.fields.name}” ({price} $)")
        return won
