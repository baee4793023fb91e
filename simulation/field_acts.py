"""What people in the field do, one transaction each. An act looks at what its device shows and may find nothing to do."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from client_sdk.draft import Draft
from simulation.party import POISON, Party
from sync.entities import (
    Account,
    Activity,
    Appointment,
    Asset,
    Attachment,
    Conflict,
    Contact,
    Lead,
    Opportunity,
    PartUsed,
    Product,
    Site,
    StockMove,
    TimeEntry,
    WorkOrder,
    WorkOrderTask,
)
from sync.entities.customers import ActivityKind, Consent, Reading
from sync.entities.flows import APPOINTMENT, LEAD, OPPORTUNITY, WORK_ORDER, AppointmentStatus, ConflictStatus, LeadStatus, Stage
from sync.entities.stock import MoveReason
from sync.entities.work import ActualTime, TaskResult, TimeKind
from sync.policies import Flow
from sync.protocol import Change

_OPEN: Final = (AppointmentStatus.SCHEDULED, AppointmentStatus.DISPATCHED, AppointmentStatus.IN_PROGRESS, AppointmentStatus.ON_SITE)
Act: TypeAlias = Callable[[Party, Draft], None]


def next_state(who: Party, flow: Flow, state: str, *, reckless: float = 0.04) -> str | None:
    """A state that this person may go to from here; now and then one that nobody may."""
    if who.random.random() < reckless:
        return who.random.choice(sorted(flow.rank))
    return who.pick(sorted(after for after, roles in flow.moves.get(state, {}).items() if who.role in roles))


def diagnose(who: Party, draft: Draft) -> None:
    if order := who.pick(who.items(WorkOrder)):
        field = who.random.choice(("symptom", "cause", "remedy"))
        draft.set(WorkOrder, order.id, **{field: who.word()})


def describe(who: Party, draft: Draft) -> None:
    """Edit shared notes: words come, go and change."""
    found: tuple[type[WorkOrder | Site], str, str, str] | None = None
    if who.random.random() < 0.7 and (order := who.pick(who.items(WorkOrder))):
        found = (WorkOrder, order.id, "summary", order.fields.summary)
    elif site := who.pick(who.items(Site)):
        found = (Site, site.id, "access_notes", site.fields.access_notes)
    if found:
        entity, record_id, field, text = found
        words = text.split(" ") if text else []
        at = who.random.randint(0, len(words))
        if words and who.random.random() < 0.5:
            words[at : at + 1] = [who.word()] if who.random.random() < 0.7 else []
        else:
            words.insert(at, who.word())
        draft.edit_text(entity, record_id, **{field: " ".join(words)})


def work_a_task(who: Party, draft: Draft) -> None:
    if task := who.pick(who.items(WorkOrderTask)):
        draft.set(WorkOrderTask, task.id, result=who.random.choice(list(TaskResult)), note=who.word())
        if who.random.random() < 0.5:
            draft.set(WorkOrderTask, task.id, done_by=who.user, done_at=who.scheduler.now_ms)


def add_a_task(who: Party, draft: Draft) -> None:
    if order := who.pick(who.items(WorkOrder)):
        draft.create(WorkOrderTask(work_order=order.id, title=who.word(), position=who.random.randint(0, 99)))


def move_visit(who: Party, draft: Draft) -> None:
    if visit := who.pick(who.items(Appointment)):
        target = next_state(who, APPOINTMENT, visit.fields.status)
        if target:
            draft.set(Appointment, visit.id, status=target)
            entry = ActualTime(id=draft.new_id(), at=who.scheduler.now_ms, status=AppointmentStatus(target))
            draft.append(Appointment, visit.id, actual=entry)


def move_order(who: Party, draft: Draft) -> None:
    order = who.pick(who.items(WorkOrder))
    if order and (target := next_state(who, WORK_ORDER, order.fields.status)):
        draft.set(WorkOrder, order.id, status=target)


def finish_job(who: Party, draft: Draft) -> None:
    """Status, time, parts, stock and a signature, all or nothing."""
    visits = [visit for visit in who.items(Appointment) if visit.fields.status in _OPEN]
    visit, product = who.pick(visits), who.pick(who.items(Product))
    if not (visit and product and who.technician):
        return
    order, now_ms = visit.fields.work_order, who.scheduler.now_ms
    draft.set(Appointment, visit.id, status=AppointmentStatus.COMPLETED, reason=who.word())
    draft.create(TimeEntry(work_order=order, technician=who.technician, kind=TimeKind.WORK, start=now_ms))
    part = draft.create(PartUsed(work_order=order, product=product.id, quantity=who.random.randint(1, 4)))
    move = StockMove(
        location=f"technician:{who.technician}", product=product.id, quantity=-1, reason=MoveReason.USED, at=now_ms, part_used=part
    )
    draft.create(move)
    if who.random.random() < 0.5:
        signature = Attachment(
            scope=f"work_order:{order}",
            parent_entity="work_order",
            parent=order,
            sha256="ab" * 32,
            size_bytes=1,
            media_type="image/png",
        )
        draft.create(signature)


def use_a_part(who: Party, draft: Draft) -> None:
    order, product = who.pick(who.items(WorkOrder)), who.pick(who.items(Product))
    if order and product:
        draft.create(PartUsed(work_order=order.id, product=product.id, quantity=1, lot=who.word()))


def inspect_asset(who: Party, draft: Draft) -> None:
    asset = who.pick(who.items(Asset))
    if asset is None:
        if site := who.pick(who.items(Site)):
            draft.create(Asset(site=site.id, name=who.word()))
        return
    match who.random.randint(0, 3):
        case 0:
            reading = Reading(id=draft.new_id(), at=who.random.randint(0, 9), value=float(who.random.randint(0, 99)))
            draft.append(Asset, asset.id, readings=reading)
        case 1:
            draft.set(Asset, asset.id, serial=who.word())
        case 2:
            draft.set(Asset, asset.id, condition=who.word(), name=who.word())
        case _:
            key = who.random.choice(("oil", "gas", "note"))
            draft.set(Asset, asset.id, custom={key: who.word() if who.random.random() < 0.8 else None})


def tag(who: Party, draft: Draft) -> None:
    """Sets, where adding wins over removing."""
    if who.random.random() < 0.5 and (contact := who.pick(who.items(Contact))):
        phone = who.random.choice("12")
        if phone in contact.fields.phones and who.random.random() < 0.6:
            draft.remove(Contact, contact.id, phones=phone)
        else:
            draft.add(Contact, contact.id, phones=phone)
    elif account := who.pick(who.items(Account)):
        name = who.random.choice(("vip", "late"))
        if name in account.fields.tags and who.random.random() < 0.6:
            draft.remove(Account, account.id, tags=name)
        else:
            draft.add(Account, account.id, tags=[name])


def meet(who: Party, draft: Draft) -> None:
    account = who.pick(who.items(Account))
    if account is None:
        return
    if who.random.random() < 0.4:
        draft.create(Contact(account=account.id, name=who.word(), phones=("1",)))
    elif who.random.random() < 0.5 and (contact := who.pick(who.items(Contact))):
        given = Consent(id=draft.new_id(), at=who.scheduler.now_ms, channel="mail", purpose="news", given=who.random.random() < 0.5)
        draft.append(Contact, contact.id, consent=given)
        draft.set(Contact, contact.id, name=who.word())
    else:
        draft.create(Activity(account=account.id, kind=ActivityKind.CALL, at=who.scheduler.now_ms, outcome=who.word()))


def correct_site(who: Party, draft: Draft) -> None:
    if site := who.pick(who.items(Site)):
        draft.set(Site, site.id, hours=who.word())
        if who.random.random() < 0.3:
            draft.set(Site, site.id, name=who.word(), custom={who.random.choice("ab"): who.random.randint(0, 5)})


def rename_account(who: Party, draft: Draft) -> None:
    """The commonest race: one plain field, many writers."""
    if account := who.pick(who.items(Account)):
        draft.set(Account, account.id, **{who.random.choice(("name", "segment", "tier", "tax_id")): who.word()})


def capture_lead(who: Party, draft: Draft) -> None:
    site = who.pick(who.items(Site))
    made = Lead(
        need=who.word(),
        captured_by=(who.user,),
        captured_at=who.scheduler.now_ms,
        site=site.id if site else None,
        account=site.fields.account if site else None,
    )
    draft.create(made)


def work_lead(who: Party, draft: Draft) -> None:
    lead = who.pick(who.items(Lead))
    if lead is None:
        return
    if lead.fields.status is LeadStatus.QUALIFIED and lead.fields.account and who.random.random() < 0.6:
        deal = Opportunity(
            account=lead.fields.account,
            name=who.word(),
            lead=lead.id,
            owner=who.user,
            amount_cents=who.random.randint(1, 999),
        )
        made = draft.create(deal)
        draft.set(Lead, lead.id, status=LeadStatus.CONVERTED, opportunity=made)
    elif target := next_state(who, LEAD, lead.fields.status):
        draft.set(Lead, lead.id, status=target, reason=who.word())
    else:
        draft.set(Lead, lead.id, need=who.word())


def sell(who: Party, draft: Draft) -> None:
    deal = who.pick(who.items(Opportunity))
    if deal is None:
        return
    target = next_state(who, OPPORTUNITY, deal.fields.stage)
    if target and who.random.random() < 0.5:
        draft.set(Opportunity, deal.id, stage=Stage(target))
    else:
        draft.set(Opportunity, deal.id, amount_cents=who.random.randint(1, 10**6), name=who.word())


def resolve(who: Party, draft: Draft) -> None:
    if held := who.pick([one for one in who.items(Conflict) if one.fields.status is not ConflictStatus.RESOLVED]):
        draft.set(Conflict, held.id, status=ConflictStatus.RESOLVED, resolution=who.word())


def overstep(who: Party, draft: Draft) -> None:
    """Something that this role may not do, or that refers to nothing."""
    order = who.pick(who.items(WorkOrder))
    if order is None:
        return
    match who.random.randint(0, 3):
        case 0:
            draft.set(WorkOrder, order.id, priority=who.random.randint(1, 5), remedy=who.word())
        case 1:
            draft.create(PartUsed(work_order=order.id, product=f"none-{who.word()}", quantity=1))
        case 2:
            draft.create(WorkOrderTask(work_order=f"none-{who.word()}", title=who.word()))
        case _:
            draft.set(WorkOrder, order.id, symptom=who.word())
            draft.create(Asset(site=f"none-{who.word()}"))


def poison(who: Party) -> None:
    """What a broken or a foreign app might leave in its queue; something sound beside it must fall with it."""
    changes = [_unsound(who)]
    if order := who.pick(who.items(WorkOrder)):
        sound = msgspec.Raw(msgspec.json.encode({"symptom": who.word()}))
        changes.insert(who.random.randint(0, 1), Change("work_order", order.id, base=order.seq, set=sound))
    who.write_foreign(POISON, tuple(changes))


def _unsound(who: Party) -> Change:
    new_id = who.word()
    match who.random.randint(0, 3):
        case 0:
            return Change("spaceship", new_id, create=True, set=msgspec.Raw(b'{"name":"x"}'))
        case 1:
            return Change("lead", new_id, create=True, set=msgspec.Raw(b'{"need":"x","no_such_field":1}'))
        case 2:
            return Change("lead", new_id, create=True, set=msgspec.Raw(b'{"need":5}'))
        case _:
            return Change("part_used", new_id, create=True, set=msgspec.Raw(b'{"work_order":"x","quantity":1.5}'))


TECHNICIAN: Final[Mapping[Act, int]] = {
    diagnose: 10,
    describe: 10,
    work_a_task: 10,
    add_a_task: 4,
    move_visit: 10,
    move_order: 2,
    finish_job: 5,
    use_a_part: 4,
    inspect_asset: 10,
    tag: 10,
    meet: 6,
    correct_site: 6,
    rename_account: 6,
    capture_lead: 4,
    resolve: 3,
    overstep: 3,
}
REP: Final[Mapping[Act, int]] = {
    rename_account: 12,
    tag: 12,
    meet: 12,
    correct_site: 5,
    describe: 6,
    capture_lead: 5,
    work_lead: 14,
    sell: 12,
    resolve: 3,
}
