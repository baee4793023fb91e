"""To whom a lead goes, and by when somebody should have called. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from server.domain.business_hours import Hours, NeverOpen, add_business_time, utc_day

HOUR_S: Final = 3600
_TOLD: Final = 4


class RoutingRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The business rule "lead_routing". `respond_s` is how soon the first contact should be, by urgency, counted in the
    `business_hours` of that id, or round the clock; after `passes` people have let that pass, the lead goes to the manager.
    `skills` names the skill that selling a product family takes, if not the family."""

    respond_s: dict[str, int] = msgspec.field(
        default_factory=lambda: {"now": 2 * HOUR_S, "soon": 24 * HOUR_S, "someday": 72 * HOUR_S}
    )
    business_hours: str | None = None
    passes: int = 2
    skills: dict[str, str] = {}


class Seller(msgspec.Struct, frozen=True):
    """A rep as a lead sees them. `room` bounds the leads in hand, None does not; `away_until_ms` says that they are away now."""

    id: str
    name: str
    territories: frozenset[str]
    skills: frozenset[str]
    room: int | None
    in_hand: int
    away_until_ms: int | None


class Choice(msgspec.Struct, frozen=True):
    owner: str | None
    words: str


def choose(sellers: Sequence[Seller], territory: str, skill: str, passed_by: Iterable[str] = ()) -> Choice:
    """The seller for a lead, and why: who is there, has not let it pass, of the territory, with the skill, with room; of those who
    are left the one with the fewest leads in hand. A wish that nobody meets is given up, but not presence."""
    passed = frozenset(passed_by)
    out = [f"{s.name} is away until {utc_day(s.away_until_ms)}" for s in sellers if s.away_until_ms is not None]
    out += [f"{s.name} has let it pass" for s in sellers if s.id in passed and s.away_until_ms is None]
    left = [s for s in sellers if s.away_until_ms is None and s.id not in passed]
    if not left:
        return Choice(None, "; ".join(["nobody is there to take it", *out[:_TOLD]]))
    why: list[str] = []
    wishes: tuple[tuple[str, str, Callable[[Seller], bool]], ...] = (
        (f"territory {territory}", f"nobody of territory {territory}", lambda s: not territory or territory in s.territories),
        (f"knows {skill}", f"nobody who knows {skill}", lambda s: not skill or skill in s.skills),
        ("has room", "nobody has room", lambda s: s.room is None or s.in_hand < s.room),
    )
    for met, unmet, holds in wishes:
        fitting = [s for s in left if holds(s)]
        if not (met.endswith(" ") or unmet.endswith(" ")):
            why.append(met if fitting else unmet)
        left = fitting or left
    best = min(left, key=lambda s: (s.in_hand, s.id))
    load = f"{best.in_hand} in hand" + (f" of {best.room}" if best.room is not None else "")
    more = f", the fewest of {len(left)}" if len(left) > 1 else ""
    return Choice(best.id, "; ".join([f"{best.name}: {', '.join([*why, load + more])}", *out[:_TOLD]]))


def respond_by_ms(rule: RoutingRule, hours: Hours, lead: Mapping[str, object], now_ms: int) -> int | None:
    """When the first contact should have been at the latest; None if the business never opens."""
    respond_s = rule.respond_s.get(str(lead.get("urgency", "soon")), 24 * HOUR_S)
    try:
        return add_business_time(hours, now_ms, 1000 * respond_s)
    except NeverOpen:
        return None
