"""Contracts: whether an order is covered, what it uses up, when a contract is to be renewed, and what a renewal makes.

A contract covers an order if it is the account's, runs at the order's date, and names the order's machine and type or none at all.
`covered_types` says what is covered, its entitlements say how often. Warranty covers what no contract does.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from dateutil.relativedelta import relativedelta

from server.author import create, update
from server.domain.business_hours import utc_day
from server.domain.event import Clock, Event, Rules
from server.domain.look import Seen, look
from server.storage.office import Tenant
from server.storage.tables import projections
from sync.entities.flows import ContractStatus, Stage, WorkOrderStatus
from sync.protocol import Change

DAY_MS: Final = 86_400_000
STAGES_DAYS: Final = (90, 60, 30)
"""So long before its end a contract's renewal is brought up, the first time by opening an opportunity."""
RENEWAL: Final = "renewal"
BATCH: Final = 100
_ONCE_ACTIVE: Final = (ContractStatus.ACTIVE, ContractStatus.EXPIRED, ContractStatus.RENEWED)
_BASIS: Final = ("account", "asset", "type", "contract")
"""The fields of an order that its coverage follows from."""


class Coverage(msgspec.Struct, frozen=True):
    """`coverage` is covered, billable, exhausted or expired, empty where the account never had a contract and so nothing is to be
    said; `reason` says why in words. An entitlement is one to use up."""

    coverage: str
    reason: str
    contract: str | None = None
    entitlement: Seen | None = None


async def covering(tenant: Tenant, account: str, asset: str | None, kind: str, at_ms: int) -> sa.Row[Any] | None:
    """The contract that covers work of a type (any if empty) on a machine of an account at a date; the narrowest one."""
    rows = _fitting(await _contracts(tenant, account), asset, kind)
    return next((row for row in rows if row.start <= at_ms < row.end), None)


async def _contracts(tenant: Tenant, account: str) -> Sequence[sa.Row[Any]]:
    """The account's contracts that are, or once were, in force."""
    table = projections["contract"].c
    return await tenant.rows("contract", [table.account == account, table.status.in_(_ONCE_ACTIVE)])


def _fitting(rows: Sequence[sa.Row[Any]], asset: str | None, kind: str) -> list[sa.Row[Any]]:
    """Those for such work: the ones that name the machine or the type come first, then the newer ones."""
    fitting = [
        row
        for row in rows
        if (not row.covered_assets or asset in row.covered_assets)
        and (not row.covered_types or not kind or kind in row.covered_types)
    ]
    return sorted(fitting, key=lambda row: (not row.covered_assets, not row.covered_types, -row.start, row.id))


async def coverage_of(tenant: Tenant, order: Seen) -> Coverage:
    """How an order stands, at the date when it was opened."""
    opened: int | None = order.get("opened_at")
    at_ms = order.created_ms if opened is None else opened
    contracts = await _contracts(tenant, order.get("account"))
    fitting = _fitting(contracts, order.get("asset"), order.get("type"))
    if order.get("contract"):
        fitting = [row for row in fitting if row.id == order.get("contract")]
    running = [row for row in fitting if row.start <= at_ms < row.end]
    used_up: Coverage | None = None
    for row in running:
        entitlement = await _entitlement(tenant, row.id, order.get("type"))
        allowance = entitlement.get("allowance") if entitlement else None
        mine = entitlement is not None and order.get("entitlement") == entitlement.id
        if entitlement is None or allowance is None or entitlement.get("used") - mine < allowance:
            return Coverage("covered", f"Contract {row.name} covers it.", row.id, entitlement)
        used_up = used_up or Coverage("exhausted", f"All {allowance} visits of contract {row.name} are used.", row.id)
    if used_up is not None:
        return used_up
    asset = await look(tenant, "asset", order.get("asset"))
    if asset and asset.get("warranty_end") is not None and at_ms < asset.get("warranty_end"):
        return Coverage("covered", f"The machine is under warranty until {utc_day(asset.get('warranty_end'))}.")
    if over := [row for row in fitting if row.end <= at_ms]:
        last = max(over, key=lambda row: row.end)
        return Coverage("expired", f"Contract {last.name} ended on {utc_day(last.end)}.", last.id)
    return Coverage("billable", "No contract of this account covers it.") if contracts else Coverage("", "")


async def _entitlement(tenant: Tenant, contract_id: str, kind: str) -> Seen | None:
    """The contract's allowance for a type of work, or else the one for any."""
    rows = await tenant.rows("entitlement", [projections["entitlement"].c.contract == contract_id])
    by_type = {row.type: row.id for row in reversed(rows)}
    return await look(tenant, "entitlement", by_type.get(kind) or by_type.get(""))


async def check_coverage(event: Event) -> Iterable[Change]:
    """An order is checked when it opens, and again when what its coverage follows from changes; one visit of the allowance goes to
    it, in the same transaction, and comes back if it is cancelled."""
    tenant = event.tenant
    order = await look(tenant, "work_order", event.id)
    if order is None:
        return ()
    held: str | None = order.get("entitlement")
    if order.get("status") == WorkOrderStatus.CANCELED:
        if not order.get("coverage"):
            return ()
        found, fields = None, {"coverage": "", "coverage_reason": "", "entitlement": None}
    else:
        if order.get("coverage") and not _moved(order):
            return ()
        coverage = await coverage_of(tenant, order)
        if not coverage.coverage and not order.get("coverage"):
            return ()
        found = coverage.entitlement
        fields = {
            "coverage": coverage.coverage,
            "coverage_reason": coverage.reason[:200],
            "entitlement": found.id if found else None,
            "contract": order.get("contract") or coverage.contract,
        }
    changes = [update("work_order", order.id, order.seq, **fields)]
    if held != (found.id if found else None):
        changes += [_used(seen, amount) for seen, amount in ((found, 1), (await look(tenant, "entitlement", held), -1)) if seen]
    return changes


def _moved(order: Seen) -> bool:
    checked = order.version("coverage").seq
    return any(order.version(field).seq > checked for field in _BASIS)


def _used(entitlement: Seen, visits: int) -> Change:
    return Change("entitlement", entitlement.id, base=entitlement.seq, inc={"used": visits})


async def scan_renewals(tenant: Tenant, now_ms: int) -> list[list[Change]]:
    """Contracts that end within 90, 60 or 30 days are marked so, once each, and have one opportunity of their renewal."""
    table = projections["contract"].c
    stages = [
        sa.and_(table.end <= now_ms + days * DAY_MS, sa.or_(table.renewal_stage_days.is_(None), table.renewal_stage_days > days))
        for days in STAGES_DAYS
    ]
    due = [
        table.status == ContractStatus.ACTIVE,
        table.end > now_ms,
        table.end <= now_ms + STAGES_DAYS[0] * DAY_MS,
        sa.or_(*stages),
    ]
    groups: list[list[Change]] = []
    for row in await tenant.rows("contract", due, limit=BATCH):
        contract = await look(tenant, "contract", row.id)
        if contract is not None:
            groups.append([change async for change in _renewal(tenant, contract, now_ms)])
    return groups


async def _renewal(tenant: Tenant, contract: Seen, now_ms: int) -> AsyncIterator[Change]:
    stage = min(days for days in STAGES_DAYS if contract.get("end") <= now_ms + days * DAY_MS)
    opportunity_id = f"{contract.id}.renewal"
    if await tenant.raw_record("opportunity", opportunity_id) is None:
        account = await look(tenant, "account", contract.get("account"))
        yield create(
            "opportunity",
            opportunity_id,
            account=contract.get("account"),
            name=f"Renewal of {contract.get('name')}"[:200],
            kind=RENEWAL,
            owner=account.get("owner") if account else None,
            amount_cents=contract.get("price_cents"),
            close_on=contract.get("end"),
            opened_on=now_ms,
            contract=contract.id,
        )
    yield update("contract", contract.id, contract.seq, renewal_stage_days=stage, renewal_opportunity=opportunity_id)


async def expire_contracts(tenant: Tenant, now_ms: int) -> list[list[Change]]:
    """A contract whose end has come is expired."""
    table = projections["contract"].c
    rows = await tenant.rows("contract", [table.end <= now_ms, table.status == ContractStatus.ACTIVE], limit=BATCH)
    versions = await tenant.versions("contract", [row.id for row in rows])
    return [[update("contract", row.id, versions[row.id], status=ContractStatus.EXPIRED)] for row in rows]


async def renew_contract(event: Event) -> Iterable[Change]:
    """A won renewal makes the next contract, at the price that was agreed, with fresh allowances; the old one runs to its end."""
    tenant = event.tenant
    opportunity = await look(tenant, "opportunity", event.id)
    if opportunity is None or opportunity.get("kind") != RENEWAL or opportunity.get("stage") != Stage.WON:
        return ()
    old = await look(tenant, "contract", opportunity.get("contract"))
    if old is None or old.get("status") not in (ContractStatus.ACTIVE, ContractStatus.EXPIRED):
        return ()
    next_id = f"{old.id}.next"
    changes = [update("contract", old.id, old.seq, status=ContractStatus.RENEWED)]
    if await tenant.raw_record("contract", next_id) is None:
        same = ("account", "name", "service_level", "covered_assets", "covered_types", "custom")
        fields: dict[str, Any] = {name: old.get(name) for name in same}
        fields |= {"start": old.get("end"), "end": _as_long_again(old.get("start"), old.get("end")), "renews": old.id}
        changes.append(create("contract", next_id, **fields, price_cents=opportunity.get("amount_cents"), status="active"))
        for row in await tenant.rows("entitlement", [projections["entitlement"].c.contract == old.id]):
            allowed = {"account": row.account, "contract": next_id, "type": row.type, "allowance": row.allowance}
            changes.append(create("entitlement", f"{row.id}.next", **allowed))
    return changes


def _as_long_again(start_ms: int, end_ms: int) -> int:
    """The end of a term that begins at `end_ms` and has as many years, months and days as the one before."""
    start, end = (datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in (start_ms, end_ms))
    return round((end + relativedelta(end, start)).timestamp() * 1000)


RULES: Final[Rules] = {"work_order": (check_coverage,), "opportunity": (renew_contract,)}
CLOCKS: Final[tuple[Clock, ...]] = (scan_renewals, expire_contracts)
