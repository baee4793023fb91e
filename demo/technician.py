"""A technician's day at the device: visits one after another, whatever the network does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from client_sdk import Item, col, credit
from demo.user import Doing, User
from sync.entities import Appointment, Lead, Offer, PartUsed, Product, Site, StockMove, TimeEntry, WorkOrder, WorkOrderTask
from sync.entities.customers import Asset, Reading
from sync.entities.flows import AppointmentStatus, LeadStatus, OfferStatus
from sync.entities.sales import Urgency
from sync.entities.stock import MoveReason
from sync.entities.work import ActualTime, TaskResult, TimeKind

MINUTE_MS: Final = 60_000
_A = AppointmentStatus
_STEPS: Final = (_A.ACCEPTED, _A.TRAVELING, _A.ON_SITE, _A.IN_PROGRESS)
_READY: Final = (_A.SCHEDULED, _A.DISPATCHED, *_STEPS)
_NEEDS: Final = ("a heat pump for the annex", "a second cold room", "a service contract", "new controls", "a backup pump")
_FINDINGS: Final = ("trips when warm", "short cycles", "drips at the flange", "sensor reads low", "bearing is loud")
_REMEDIES: Final = ("replaced and tested", "cleaned and reset", "rewired", "sealed", "adjusted")

Rest = Callable[[float], Awaitable[object]]


class TechnicianUser(User):
    """Does visits. What is next follows from what the replica shows, so a day goes on where a killed device left it."""

    async def work(self, until_ms: int, pace_s: float, rest: Rest = asyncio.sleep) -> int:
        """Do the visits that are planned to start before `until_ms`; returns how many were brought to an end."""
        identity = self.replica.identity()
        assert identity is not None, "a device is enrolled before its user does anything"
        technician = identity.technician
        ended = 0
        while (visit := self._next(technician, until_ms)) is not None:
            ended += await self._visit(visit, technician or "", pace_s, rest)
        return ended

    def _next(self, technician: str | None, until_ms: int) -> Item[Appointment] | None:
        visits = self.replica.query(
            Appointment,
            col(Appointment.technician).is_(technician),
            col(Appointment.status).one_of(*_READY),
            col(Appointment.planned_start) < until_ms,
            order_by=col(Appointment.planned_start).ascending(),
            limit=1,
        )
        return visits[0] if visits else None

    async def _visit(self, visit: Item[Appointment], technician: str, pace_s: float, rest: Rest) -> bool:
        """Bring a visit from where it stands to its end, a transaction for each step."""
        start_ms = (visit.fields.planned_start or 0) + self.random.randint(-5, 9) * MINUTE_MS
        for status in _STEPS:
            shown = self.replica.get(Appointment, visit.id)
            if shown is None or shown.fields.status not in _READY or shown.fields.technician != technician:
                return False  # it was taken away meanwhile
            if _READY.index(shown.fields.status) >= _READY.index(status):
                continue
            with self.doing(f"{status.value.replace('_', ' ')}") as tx:
                self._reach(tx, visit.id, status, start_ms - (20 - 5 * _STEPS.index(status)) * MINUTE_MS)
            await rest(pace_s)
        order = self.replica.get(WorkOrder, visit.fields.work_order)
        if order is None:
            return False
        if self.random.random() < 0.45:
            self._note(order, start_ms)
        offers = self._show(order, start_ms)
        if self.random.random() < 0.15 or not self.replica.query(Lead, limit=1):  # everybody finds something on the first visit
            self._lead(visit, order, offers[0] if offers else None, start_ms)
        elif offers and self.random.random() < 0.3:
            self._decline(offers[0], start_ms)
        self._finish(visit, order, technician, start_ms)
        await rest(pace_s)
        return True

    def _reach(self, tx: Doing, visit: str, status: AppointmentStatus, at_ms: int) -> None:
        tx.set(Appointment, visit, status=status)
        tx.append(Appointment, visit, actual=ActualTime(self.replica.new_id(), at_ms, status))

    def _note(self, order: Item[WorkOrder], at_ms: int) -> None:
        """Something seen on site: on the order, on the machine, or for whoever comes next."""
        finding = f"{self.random.choice(_FINDINGS)} ({self.replica.new_id()[-6:]})"
        asset, site = order.fields.asset, self.replica.get(Site, order.fields.site)
        match self.random.randrange(3):
            case 0 if asset and self.replica.get(Asset, asset):
                with self.doing("meter reading") as tx:
                    reading = Reading(self.replica.new_id(), at_ms, float(self.random.randint(900, 9_000)), "h")
                    tx.append(Asset, asset, readings=reading)
                    tx.set(Asset, asset, condition=finding)
            case 1 if site:
                with self.doing("access note") as tx:
                    tx.text(Site, order.fields.site, access_notes=f"{site.fields.access_notes} {finding.capitalize()}.")
            case _:
                with self.doing("symptom") as tx:
                    tx.set(WorkOrder, order.id, symptom=finding)

    def _show(self, order: Item[WorkOrder], at_ms: int) -> list[Item[Offer]]:
        """Put the offers that wait on the order before the customer, the best first."""
        mine, fresh = col(Offer.work_order).is_(order.id), col(Offer.status).is_(OfferStatus.OPEN)
        offers = self.replica.query(Offer, mine, fresh, order_by=col(Offer.position).ascending())
        if unseen := [offer for offer in offers if offer.fields.shown_at is None]:
            with self.doing("show offers") as tx:
                for offer in unseen:
                    tx.set(Offer, offer.id, shown_at=at_ms)
        return offers

    def _decline(self, offer: Item[Offer], at_ms: int) -> None:
        with self.doing("offer declined") as tx:
            said = {"answered_by": self.me, "answered_at": at_ms, "answer": "not this year"}
            tx.set(Offer, offer.id, status=OfferStatus.DECLINED, **said)

    def _lead(self, visit: Item[Appointment], order: Item[WorkOrder], offer: Item[Offer] | None, at_ms: int) -> None:
        """The customer takes an offer, or needs something that nobody thought of."""
        lead = self.replica.new_id()
        product = self.replica.get(Product, offer.fields.product) if offer else None
        named = product.fields.name if product else self.random.choice(_NEEDS)
        need = f"{named} (seen at {order.fields.number})"
        with self.doing("capture a lead") as tx:
            fields = Lead(
                need=need,
                account=order.fields.account,
                site=order.fields.site,
                asset=order.fields.asset,
                appointment=visit.id,
                product=product.id if product else None,
                offer=offer.id if offer else None,
                urgency=self.random.choice(tuple(Urgency)),
                estimate_cents=offer.fields.value_cents if offer else self.random.randint(8, 90) * 100_00,
                captured_by=(self.me,),
                captured_at=at_ms,
            )
            tx.create(fields, record_id=lead)
            if offer:
                tx.set(Offer, offer.id, status=OfferStatus.TAKEN, answered_by=self.me, answered_at=at_ms, lead=lead)
        self.tell(f"captures a lead: {need}{f', an offer: {offer.fields.reason}' if offer else ''}")

    def _finish(self, visit: Item[Appointment], order: Item[WorkOrder], technician: str, start_ms: int) -> None:
        """One transaction: status, actual time, time entries, parts with their stock moves, tasks, cause and remedy."""
        end_ms = start_ms + visit.fields.duration_s * 1000 + self.random.randint(-8, 12) * MINUTE_MS
        if self.random.random() < 0.05:
            with self.doing("cannot complete") as tx:
                self._reach(tx, visit.id, _A.CANNOT_COMPLETE, end_ms)
                tx.set(Appointment, visit.id, reason="nobody opened")
                self._time(tx, order.id, technician, TimeKind.TRAVEL, start_ms - 15 * MINUTE_MS, start_ms)
            self.tell(f"cannot complete {order.fields.number}: nobody opened")
            return
        parts = self.replica.query(Product, col(Product.family).is_(order.fields.skill))
        used = self.random.sample(parts, min(len(parts), self.random.choice((0, 1, 1, 2))))
        with self.doing(f"finish {order.fields.number}") as tx:
            self._reach(tx, visit.id, _A.COMPLETED, end_ms)
            self._time(tx, order.id, technician, TimeKind.TRAVEL, start_ms - 15 * MINUTE_MS, start_ms)
            self._time(tx, order.id, technician, TimeKind.WORK, start_ms, end_ms)
            for product in used:
                self._use(tx, order.id, technician, product, end_ms)
            for task in self.replica.query(WorkOrderTask, col(WorkOrderTask.work_order).is_(order.id)):
                tx.set(WorkOrderTask, task.id, result=TaskResult.DONE, done_by=self.me, done_at=end_ms)
            tx.set(WorkOrder, order.id, remedy=f"{self.random.choice(_REMEDIES)} ({technician} {visit.id})")
        parts_text = f" with {' and '.join(product.fields.name for product in used)}" if used else ""
        self.tell(f"finishes {order.fields.number} {order.fields.subject}{parts_text}")

    def _time(self, tx: Doing, order: str, technician: str, kind: TimeKind, start_ms: int, end_ms: int) -> None:
        entry = TimeEntry(work_order=order, technician=technician, kind=kind, start=start_ms, end=max(start_ms, end_ms))
        tx.create(entry)

    def _use(self, tx: Doing, order: str, technician: str, product: Item[Product], at_ms: int) -> None:
        quantity = self.random.randint(1, 2)
        part = PartUsed(work_order=order, product=product.id, quantity=quantity, price_cents=product.fields.price_cents)
        part_id = tx.create(part)
        move = StockMove(
            location=f"technician:{technician}",
            product=product.id,
            quantity=-quantity,
            reason=MoveReason.USED,
            at=at_ms,
            part_used=part_id,
        )
        tx.create(move)

    def outcomes(self) -> None:
        """Tell what has become of the leads captured on this device, and what they earn."""
        for mine in credit.leads(self.replica):
            if mine.status in (LeadStatus.WON, LeadStatus.LOST):
                owed = f", {mine.balance.owed_cents / 100:.2f} $ of credit" if mine.balance.owed_cents else ""
                self.tell(f"sees that the lead “{mine.need}” was {mine.status.value}{owed}")
