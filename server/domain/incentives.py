"""Credit for leads: a ledger that is only ever written on, by versions of a rule of the house.

A lead's lines follow from its state: accrued while it is qualified, converted or won, confirmed once it is won and the win is
proven (`server.domain.sales.is_proven`), in equal shares among its captors. A standing line that the state does not call for any
more is clawed back by another one. A lead keeps the version of the rule by which it was first credited.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from server.author import create
from server.domain import rulebook
from server.domain.event import Event, Rules
from server.domain.sales import UNFOUNDED, is_proven, opportunity_of
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.entities import Incentive, Lead
from sync.entities.credit import Balance, balance, shares, standing
from sync.entities.flows import LeadStatus
from sync.entities.market import IncentiveKind
from sync.entities.pricing import money, percent_of
from sync.protocol import Change

KIND: Final = "incentive"
DAY_MS: Final = 86_400_000
_ACCRUED: Final = (LeadStatus.QUALIFIED, LeadStatus.CONVERTED, LeadStatus.WON)
_ID_MAX: Final = 74


class IncentiveRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The business rule "incentive": what a lead earns, a fixed part and a percentage; without such a rule nobody is credited.

    Percentages are of the lead's estimate on accrual and of what the opportunity was won at on confirmation. A confirmed line older
    than `claw_back_days` stands whatever happens.
    """

    accrue_cents: int = 0
    accrue_pct: float = 0
    confirm_cents: int = 0
    confirm_pct: float = 0
    cap_cents: int | None = None
    claw_back_days: int = 90

    def amount(self, fixed_cents: int, pct: float, of_cents: int) -> int:
        amount = max(0, fixed_cents + percent_of(of_cents, pct))
        return amount if self.cap_cents is None else min(amount, self.cap_cents)


class _Due(msgspec.Struct, frozen=True):
    """What one kind of line should come to, over all who captured the lead; no words, no line."""

    kind: IncentiveKind
    amount_cents: int = 0
    words: str = ""


async def credit_lead(event: Event) -> Iterable[Change]:
    """The lines that a lead's state calls for and that are not in the ledger yet."""
    tenant, lead = event.tenant, msgspec.convert(event.fields, Lead)
    lines = await ledger(tenant, lead=event.id)
    version, rule = await _rule(tenant, lines, event.now_ms)
    if not version:
        return ()
    known = await tenant.versions("profile", lead.captured_by)
    opportunity = await opportunity_of(event, lead.opportunity) if lead.opportunity else None
    won = opportunity is not None and lead.status is LeadStatus.WON and await is_proven(opportunity)
    amount = opportunity.fields.get("amount_cents", 0) if opportunity else 0
    rules = await rule_records(tenant)
    credited = _Credited(event, lead, version, rules.get(version, ("", None))[0], rule, lines, sorted(known))
    accrued = rule.amount(rule.accrue_cents, rule.accrue_pct, lead.estimate_cents)
    confirmed = rule.amount(rule.confirm_cents, rule.confirm_pct, amount)
    accrual = f"{lead.status.value}, estimated at {money(lead.estimate_cents)}" if lead.status in _ACCRUED else ""
    return (
        *credited.changes(_Due(IncentiveKind.ACCRUE, accrued, accrual)),
        *credited.changes(_Due(IncentiveKind.CONFIRM, confirmed, f"won at {money(amount)}" if won else "")),
    )


class _Credited:
    """A lead and its lines so far."""

    def __init__(
        self,
        event: Event,
        lead: Lead,
        version: int,
        rule_id: str,
        rule: IncentiveRule,
        lines: Mapping[str, Incentive],
        captors: list[str],
    ) -> None:
        self.event, self.lead, self.rule, self.lines, self.captors = event, lead, rule, lines, captors
        self.version, self.rule_id = version, rule_id

    def changes(self, due: _Due) -> Iterator[Change]:
        """Nothing if what stands is what is due; otherwise all that stands is clawed back, and what is due written anew."""
        stands = {line_id: line for line_id, line in standing(self.lines).items() if line.kind is due.kind}
        want = shares(due.amount_cents, self.captors) if due.words else {}
        same_people = {line.user for line in stands.values()} == set(want)
        if same_people and (due.kind is IncentiveKind.ACCRUE or {line.user: line.amount_cents for line in stands.values()} == want):
            return
        oldest = min((line.at for line in stands.values()), default=self.event.now_ms)
        if due.kind is IncentiveKind.CONFIRM and self.event.now_ms - oldest > self.rule.claw_back_days * DAY_MS:
            return
        why = f"the lead is {self.lead.status.value}" if not due.words else f"shared anew among {len(want)}"
        for line_id, line in sorted(stands.items()):
            back = {"amount_cents": -line.amount_cents, "basis": why, "reverses": line_id}
            yield self._line(f"{line_id}.back", line.user, IncentiveKind.CLAW_BACK, **back)
        for person, amount_cents in want.items():
            before = sum(line.user == person and line.kind is due.kind for line in self.lines.values())
            words = due.words if len(want) == 1 else f"{due.words}, shared by {len(want)}"
            line_id = _line_id(self.event.id, str(self.version), due.kind, person, str(before + 1))
            yield self._line(line_id, person, due.kind, amount_cents=amount_cents, basis=words)

    def _line(self, line_id: str, user: str, kind: IncentiveKind, **fields: Any) -> Change:
        about = {"lead": self.event.id, "opportunity": self.lead.opportunity, "rule": self.rule_id, "rule_version": self.version}
        return create("incentive", line_id, user=user, kind=kind, at=self.event.now_ms, **about, **fields)


def _line_id(*parts: str) -> str:
    """The id follows from what the line is for, so that two processes write the same line and not two."""
    joined = ".".join(parts)
    return joined if len(joined) <= _ID_MAX else blake2b(joined.encode(), digest_size=16).hexdigest()


async def ledger(tenant: Tenant, *, user: str | None = None, lead: str | None = None) -> dict[str, Incentive]:
    """Lines by id, in the order in which they were written: of one person, of one lead, or all."""
    table = projections["incentive"].c
    where = [column == value for column, value in ((table.user, user), (table.lead, lead)) if value is not None]
    rows = sorted(await tenant.rows("incentive", where), key=lambda row: (row.at, row.id))
    fields = Incentive.spec.fields
    return {
        row.id: msgspec.convert({name: value for name in fields if (value := getattr(row, name)) is not None}, Incentive)
        for row in rows
    }


async def _rule(tenant: Tenant, lines: Mapping[str, Incentive], now_ms: int) -> tuple[int, IncentiveRule]:
    for line in lines.values():
        return line.rule_version, await rulebook.version(tenant, KIND, line.rule_version, IncentiveRule)
    return await rulebook.in_force(tenant, KIND, IncentiveRule, now_ms)


async def rule_records(tenant: Tenant) -> dict[int, tuple[str, Any]]:
    """The id and the body of each version of the rule, as it was when it credited somebody."""
    rows = await tenant.rows("business_rule", [projections["business_rule"].c.kind == KIND])
    return {row.version: (row.id, row.body) for row in rows}


async def credit_by_opportunity(event: Event) -> Iterable[Change]:
    """What an opportunity was won at, or that it is not won any more, is what its lead earns."""
    held = await event.tenant.record("lead", event.fields["lead"]) if event.fields.get("lead") else None
    if held is None:
        return ()
    fields = msgspec.json.decode(held.fields)
    return await credit_lead(msgspec.structs.replace(event, entity="lead", id=held.id, seq=held.seq, fields=fields))


async def credit_by_doubt(event: Event) -> Iterable[Change]:
    """A win that was doubted is proven, or doubted again."""
    if event.fields.get("policy") != UNFOUNDED:
        return ()
    about = await opportunity_of(event, event.fields["subject"])
    return await credit_by_opportunity(about) if about else ()


class Standing(msgspec.Struct, frozen=True):
    """One place of the leaderboard."""

    user: str
    name: str
    balance: Balance


async def leaderboard(tenant: Tenant, from_ms: int, to_ms: int) -> list[Standing]:
    """Who earned what by lines of a time, from the ledger and nothing else; first who is owed most.

    A line that was reversed does not count, whenever it was reversed.
    """
    people: dict[str, dict[str, Incentive]] = {}
    lines = await ledger(tenant)
    left = standing(lines)
    for line_id, line in left.items():
        if from_ms <= line.at < to_ms:
            people.setdefault(line.user, {})[line_id] = line
    names = {row.id: row.name for row in await tenant.rows("profile", [projections["profile"].c.id.in_(list(people))])}
    found = [Standing(user, names.get(user, user), balance(mine)) for user, mine in people.items()]
    return sorted(found, key=lambda place: (-place.balance.owed_cents, -place.balance.expected_cents, place.user))


RULES: Final[Rules] = {"lead": (credit_lead,), "opportunity": (credit_by_opportunity,), "conflict": (credit_by_doubt,)}
