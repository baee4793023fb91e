"""The lead score, learned from how the company's own leads ended."""

import asyncio
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from server.domain import rulebook
from server.domain.event import Clock
from server.domain.leads import SCORING
from server.domain.scoring import BASE, DAY_MS, Example, Scorecard, backtest, learn
from server.storage.leads import ended_leads, mark, marked_ms
from server.storage.office import Tenant
from sync.entities.flows import LeadStatus
from sync.protocol import Change

EVERY_MS: Final = 7 * DAY_MS
WITHIN_MS: Final = 90 * DAY_MS
"""A lead counts as won if it was won within that time, and is learned from once that time is up."""
LEAST_LEADS: Final = 200
LEAST_OF_EACH: Final = 30


async def learn_score(tenant: Tenant, now_ms: int) -> list[list[Change]]:
    """Once a week, learn the score anew if there is history enough; it is taken up if it tells newer leads apart better than the
    one in force does."""
    if await marked_ms(tenant, SCORING) > now_ms - EVERY_MS:
        return []
    await mark(tenant, SCORING, [""], now_ms)
    examples = [_example(row) for row in await ended_leads(tenant, now_ms - WITHIN_MS)]
    _, known = await rulebook.in_force(tenant, SCORING, Scorecard, now_ms)
    found = await asyncio.to_thread(better, examples, known)
    return [[await rulebook.next_version(tenant, SCORING, found, now_ms)]] if found else []


def better(examples: list[Example], known: Scorecard) -> Scorecard | None:
    """A scorecard of all examples, if one of the older ones alone told the newer ones apart better than `known` does."""
    won = sum(e.won_after_ms is not None and e.won_after_ms <= WITHIN_MS for e in examples)
    if len(examples) < LEAST_LEADS or min(won, len(examples) - won) < LEAST_OF_EACH:
        return None
    try:
        judged = backtest(examples, WITHIN_MS, rival=known, until_ms=max(e.at_ms for e in examples) + WITHIN_MS)
    except ValueError:  # older or newer ones alone all ended alike
        return None
    if judged.auc <= max(0.5, judged.auc_rival or 0.5):
        return None
    return msgspec.structs.replace(learn(examples, WITHIN_MS), auc=judged.auc)


def _example(row: sa.Row[Any]) -> Example:
    """A lead as it was known when it was scored: its features are those that the score's reasons name."""
    told = [reason["feature"].partition(": ") for reason in row.score_reasons or () if reason["feature"] != BASE]
    won = row.status == LeadStatus.WON
    after_ms = max(0, (row.closed_at or row.captured_at) - row.captured_at) if won else None
    return Example(row.captured_at, {name: value for name, _, value in told}, after_ms)


CLOCKS: Final[tuple[Clock, ...]] = (learn_score,)
