"""Campaigns: a segment's rule finds accounts, their contacts become members, and those who agreed are written to, once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from server.author import create, update, write
from server.context import Context
from server.domain.consent import decide
from server.problems import ProblemError
from server.storage import outbox
from server.storage.office import Tenant
from server.storage.outbox import Message
from server.storage.tables import projections
from sync.codec import refusal
from sync.entities.flows import AppointmentStatus
from sync.protocol import Change

DAY_MS: Final = 86_400_000
BATCH: Final = 200


class SegmentRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the accounts of a segment have in common: each part that is given must hold.

    `tier`, `segment` and `territory` name values of which the account has one, `tags` those of which it has one, `owner` users;
    `products` accounts with an installed machine of one of these, `installed_days_ago` at least so many days ago;
    `not_visited_days`: no visit was completed for so long; `contract`: whether a contract is in force.
    """

    tier: tuple[str, ...] = ()
    segment: tuple[str, ...] = ()
    territory: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    installed_days_ago: int | None = None
    not_visited_days: int | None = None
    contract: bool | None = None


def rule_of(body: Mapping[str, Any]) -> SegmentRule:
    """Raises a problem that names the part of the rule which does not fit."""
    try:
        return msgspec.convert(body, SegmentRule)
    except msgspec.ValidationError as error:
        refused = refusal(error, "rule")
        raise ProblemError(
            422, "The segment's rule does not fit", refused.detail, field=refused.field, rule=refused.rule
        ) from error


def _clauses(rule: SegmentRule, tenant_id: int, now_ms: int) -> Iterable[sa.ColumnElement[bool]]:
    account = projections["account"].c
    for name in ("tier", "segment", "territory", "owner"):
        if values := getattr(rule, name):
            yield account[name].in_(values)
    if rule.tags:
        yield account.tags.overlap(sa.cast(list(rule.tags), account.tags.type))
    if rule.products or rule.installed_days_ago is not None:
        asset, site = projections["asset"].c, projections["site"].c
        installed = sa.select(asset.id).where(asset.tenant_id == tenant_id, asset.site == site.id, asset.status != "removed")
        if rule.products:
            installed = installed.where(asset.product.in_(rule.products))
        if rule.installed_days_ago is not None:
            installed = installed.where(asset.installed_on <= now_ms - rule.installed_days_ago * DAY_MS)
        yield sa.exists().where(site.tenant_id == tenant_id, site.account == account.id, installed.exists())
    if rule.not_visited_days is not None:
        order, visit = projections["work_order"].c, projections["appointment"].c
        recent = sa.exists().where(
            order.tenant_id == tenant_id,
            order.account == account.id,
            visit.tenant_id == tenant_id,
            visit.work_order == order.id,
            visit.status == AppointmentStatus.COMPLETED,
            visit.planned_start > now_ms - rule.not_visited_days * DAY_MS,
        )
        yield sa.not_(recent)
    if rule.contract is not None:
        contract = projections["contract"].c
        covered = sa.exists().where(
            contract.tenant_id == tenant_id, contract.account == account.id, contract.start <= now_ms, contract.end > now_ms
        )
        yield covered if rule.contract else sa.not_(covered)


async def accounts(tenant: Tenant, rule: SegmentRule, now_ms: int, *, after: str = "", limit: int = 500) -> Sequence[sa.Row[Any]]:
    """The accounts of a segment as they stand, by id."""
    table = projections["account"].c
    return await tenant.rows("account", [table.id > after, *_clauses(rule, tenant.tenant_id, now_ms)], limit=limit)


async def enlist(context: Context, tenant_id: int, campaign_id: str) -> int:
    """Make every contact of the segment's accounts a member, those who are one already left alone; returns how many were new."""
    now_ms, made, after = context.now_ms(), 0, ""
    async with context.office.of(tenant_id) as tenant:
        campaign = await _campaign(tenant, campaign_id)
        segments = await tenant.rows("segment", [projections["segment"].c.id == campaign.segment])
        if not segments:
            raise ProblemError(422, "The campaign has no segment", campaign_id, field="segment", rule="required")
        rule = rule_of(segments[0].rule)
    contact, member = projections["contact"].c, projections["campaign_member"].c
    while True:
        async with context.office.of(tenant_id) as tenant:
            found = await accounts(tenant, rule, now_ms, after=after, limit=BATCH)
            people = await tenant.rows("contact", [contact.account.in_([row.id for row in found])])
            known = {row.contact for row in await tenant.rows("campaign_member", [member.campaign == campaign_id])}
        # The id follows from campaign and contact, so that two who enlist at once make one member.
        fresh = [
            create(
                "campaign_member",
                f"{campaign_id}.{person.id}"[:80],
                campaign=campaign_id,
                contact=person.id,
                account=person.account,
            )
            for person in people
            if person.id not in known
        ]
        if fresh:
            committed = await write(context, tenant_id, "campaign members", [[one] for one in fresh])
            made += sum(not outcome.reasons for outcome in committed.outcomes)
        if len(found) < BATCH:
            return made
        after = found[-1].id


async def send(context: Context, tenant_id: int, campaign_id: str) -> dict[str, int]:
    """Put a letter into the outbox for each member who was not written to yet and agreed; for the others say why not."""
    counted = {"sent": 0, "skipped": 0}
    while True:
        now_ms = context.now_ms()
        async with context.office.of(tenant_id) as tenant:
            campaign = await _campaign(tenant, campaign_id)
            if campaign.channel != "email":
                raise ProblemError(422, "Only mail is sent from here", campaign.channel, field="channel", rule="channel")
            if not campaign.subject or not campaign.words:
                missing = "words" if campaign.subject else "subject"
                raise ProblemError(422, "The campaign has nothing to say", missing, field=missing, rule="required")
            changes = await _letters(tenant, campaign, now_ms)
        if not changes:
            return counted
        await write(context, tenant_id, "campaign sent", [[change] for _, change in changes])
        for what, _ in changes:
            counted[what] += 1


async def _letters(tenant: Tenant, campaign: Any, now_ms: int) -> list[tuple[str, Change]]:
    """A batch of members: letters into the outbox in this transaction, and what to note of each."""
    table = projections["campaign_member"].c
    waiting = [table.campaign == campaign.id, table.sent_at.is_(None), sa.func.coalesce(table.skipped, "") == ""]
    members = await tenant.rows("campaign_member", waiting, limit=BATCH)
    versions = await tenant.versions("campaign_member", [member.id for member in members])
    people = {
        person.id: person
        for person in await tenant.rows("contact", [projections["contact"].c.id.in_([m.contact for m in members])])
    }
    messages: list[Message] = []
    noted: list[tuple[str, Change]] = []
    for member in members:
        person = people.get(member.contact)
        reason = _obstacle(person, campaign)
        if reason or person is None:
            noted.append(("skipped", update("campaign_member", member.id, versions[member.id], skipped=reason[:200])))
            continue
        noted.append(("sent", update("campaign_member", member.id, versions[member.id], sent_at=now_ms)))
        messages.append(
            Message(
                event=f"campaign:{campaign.id}",
                kind="campaign",
                channel=campaign.channel,
                recipient=person.id,
                address=person.emails[0],
                account=person.account,
                entity="campaign_member",
                subject=member.id,
                title=campaign.subject,
                body=campaign.words.replace("$contact", person.name),
            )
        )
    await outbox.put(tenant, messages, now_ms)
    return noted


def _obstacle(person: Any, campaign: Any) -> str:
    """Why somebody is not written to; empty if nothing is in the way."""
    if person is None:
        return "the contact is gone"
    decision = decide(person.consent, campaign.channel, campaign.purpose)
    if not decision.allowed:
        return decision.reason
    return "" if person.emails else "no e-mail address is known"


async def _campaign(tenant: Tenant, campaign_id: str) -> Any:
    rows = await tenant.rows("campaign", [projections["campaign"].c.id == campaign_id])
    if not rows:
        raise ProblemError(404, "There is no such record", f"campaign {campaign_id}", rule="not_found")
    return rows[0]


async def figures(tenant: Tenant, campaign_id: str) -> dict[str, Any]:
    """What a campaign cost and brought: members, letters, responses by kind, leads, deals, and the cost of a lead in cents."""
    campaign = await _campaign(tenant, campaign_id)
    member, lead, deal = (projections[name].c for name in ("campaign_member", "lead", "opportunity"))
    mine = [member.tenant_id == tenant.tenant_id, member.campaign == campaign_id]
    skipped = sa.func.coalesce(member.skipped, "") != ""
    counts = (
        await tenant.connection.execute(
            sa.select(
                sa.func.count().label("members"),
                sa.func.count(member.sent_at).label("sent"),
                sa.func.count().filter(skipped).label("skipped"),
            ).where(*mine)
        )
    ).one()
    entry = sa.func.jsonb_array_elements(member.responses).table_valued("value").lateral()
    kind = sa.cast(entry.c.value, projections["campaign_member"].c.responses.type)["kind"].astext
    answers = await tenant.connection.execute(
        sa.select(kind.label("kind"), sa.func.count(sa.distinct(member.id)))
        .select_from(projections["campaign_member"])
        .join(entry, sa.true())
        .where(*mine)
        .group_by(kind)
    )
    leads = (
        await tenant.connection.execute(
            sa.select(sa.func.count()).where(lead.tenant_id == tenant.tenant_id, lead.campaign == campaign_id)
        )
    ).scalar_one()
    won = (
        await tenant.connection.execute(
            sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(deal.amount_cents), 0)).where(
                deal.tenant_id == tenant.tenant_id, deal.campaign == campaign_id, deal.stage == "won"
            )
        )
    ).one()
    return {
        **counts._asdict(),
        "responses": {row[0]: row[1] for row in answers},
        "leads": leads,
        "won": won[0],
        "won_cents": int(won[1]),
        "cost_cents": campaign.cost_cents,
        "cost_per_lead_cents": round(campaign.cost_cents / leads) if leads else None,
    }
