"""What the office does: plan, reassign, correct, cancel and delete, while the field is out of sight."""

from collections.abc import Mapping
from typing import Final

from client_sdk.draft import Draft
from simulation import field_acts
from simulation.field_acts import Act
from simulation.party import Party
from sync.entities import (
    Account,
    Appointment,
    Asset,
    Contact,
    Depot,
    Lead,
    Opportunity,
    Shift,
    Site,
    Technician,
    TimeEntry,
    WorkOrder,
    WorkOrderTask,
)
from sync.entities.flows import APPOINTMENT, WORK_ORDER, AppointmentStatus
from sync.policies import MANAGERS
from sync.schema import Entity


def plan_job(who: Party, draft: Draft) -> None:
    site, technician = who.pick(who.items(Site)), who.pick(who.items(Technician))
    if not (site and technician):
        return
    order = draft.create(WorkOrder(account=site.fields.account, site=site.id, subject=who.word()))
    for step in range(who.random.randint(0, 3)):
        draft.create(WorkOrderTask(work_order=order, title=who.word(), position=step))
    status = who.random.choice((AppointmentStatus.SCHEDULED, AppointmentStatus.UNSCHEDULED))
    draft.create(Appointment(work_order=order, technician=technician.id, status=status))


def reassign(who: Party, draft: Draft) -> None:
    """To somebody else, or to nobody; now and then with a mate, or without the one there was."""
    visit, technician, mate = who.pick(who.items(Appointment)), who.pick(who.items(Technician)), who.pick(who.items(Technician))
    if visit and technician and mate:
        draft.set(Appointment, visit.id, technician=technician.id if who.random.random() < 0.9 else None)
        if visit.fields.mates or who.random.random() < 0.3:
            draft.set(Appointment, visit.id, mates=() if visit.fields.mates else (mate.id,))


def dispatch(who: Party, draft: Draft) -> None:
    visit = who.pick(who.items(Appointment))
    if visit and (target := field_acts.next_state(who, APPOINTMENT, visit.fields.status)):
        draft.set(Appointment, visit.id, status=target)


def move_order(who: Party, draft: Draft) -> None:
    order = who.pick(who.items(WorkOrder))
    if order and (target := field_acts.next_state(who, WORK_ORDER, order.fields.status)):
        draft.set(WorkOrder, order.id, status=target)


def rewrite_order(who: Party, draft: Draft) -> None:
    if order := who.pick(who.items(WorkOrder)):
        draft.set(WorkOrder, order.id, subject=who.word(), priority=who.random.randint(1, 5))
        if who.random.random() < 0.3 and (site := who.pick(who.items(Site))):
            draft.set(WorkOrder, order.id, site=site.id, account=site.fields.account)
        if who.random.random() < 0.4:
            draft.set(WorkOrder, order.id, custom={who.random.choice(("po", "ref")): who.word()})


def delete_something(who: Party, draft: Draft) -> None:
    """Tasks, contacts and machines by anybody in the office, visits and now and then a whole order by managers."""
    kinds: tuple[type[Entity], ...] = (WorkOrderTask, WorkOrderTask, Appointment, Shift, Contact, Asset)
    kind = WorkOrder if who.random.random() < 0.05 else who.random.choice(kinds)
    if found := who.pick(who.items(kind)):
        draft.delete(kind, found.id)


def reassign_and_delete(who: Party, draft: Draft) -> None:
    """A record deleted by the transaction that takes it away."""
    visits = who.items(Appointment)
    if visit := who.pick(visits):
        for task in who.items(WorkOrderTask):
            if task.fields.work_order == visit.fields.work_order and who.random.random() < 0.5:
                draft.delete(WorkOrderTask, task.id)
        draft.set(Appointment, visit.id, technician=None)


def staff(who: Party, draft: Draft) -> None:
    """Depots, shifts, vans and who drives them."""
    technician = who.pick(who.items(Technician))
    if technician is None:
        return
    match who.random.randint(0, 2):
        case 0:
            start = who.scheduler.now_ms
            draft.create(Shift(technician=technician.id, start=start, end=start + 8 * 3_600_000))
        case 1:
            depot = who.pick(who.items(Depot))
            found = depot.id if depot and who.random.random() < 0.8 else draft.create(Depot(name=who.word()))
            draft.set(Technician, technician.id, depot=found)
        case _:
            draft.add(Technician, technician.id, territories=who.random.choice("NESW"))


def own_account(who: Party, draft: Draft) -> None:
    """Accounts change hands between sales people: those who own something now, or captured a lead."""
    account, lead = who.pick(who.items(Account)), who.pick(who.items(Lead))
    people = [one.fields.owner for one in who.items(Account)] + ([lead.fields.owner] if lead else [])
    if account:
        draft.set(Account, account.id, owner=who.random.choice(people), credit_hold=who.random.random() < 0.5)


def approve(who: Party, draft: Draft) -> None:
    if entry := who.pick(who.items(TimeEntry)):
        draft.set(TimeEntry, entry.id, approved=who.random.random() < 0.7)


def grow(who: Party, draft: Draft) -> None:
    account = who.pick(who.items(Account))
    if account and who.random.random() < 0.6:
        site = draft.create(Site(account=account.id, name=who.word(), territory=who.random.choice(("", "N", "S"))))
        draft.create(Asset(site=site, name=who.word(), serial=who.word()))
    else:
        draft.create(Account(name=who.word(), parent=account.id if account else None))


def forecast(who: Party, draft: Draft) -> None:
    if deal := who.pick(who.items(Opportunity)):
        if who.role in MANAGERS:
            draft.set(Opportunity, deal.id, forecast_cents=who.random.randint(0, 10**6), name=who.word())
        else:
            draft.set(Opportunity, deal.id, external_id=who.word())


OFFICE: Final[Mapping[Act, int]] = {
    plan_job: 5,
    reassign: 14,
    dispatch: 10,
    move_order: 3,
    rewrite_order: 8,
    delete_something: 9,
    reassign_and_delete: 3,
    staff: 4,
    own_account: 5,
    approve: 3,
    grow: 2,
    forecast: 4,
    field_acts.diagnose: 5,
    field_acts.describe: 7,
    field_acts.work_a_task: 5,
    field_acts.inspect_asset: 7,
    field_acts.tag: 6,
    field_acts.correct_site: 6,
    field_acts.rename_account: 7,
    field_acts.work_lead: 3,
    field_acts.resolve: 4,
}
