"""Whether somebody may be written to: by channel and purpose, as their own latest statement says. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

SERVICE: Final = "service"
"""The purpose of messages about work that the customer ordered: they need no consent, but a withdrawal is honoured."""
ANY: Final = frozenset({"", "*"})
"""A statement about these channels or purposes is one about all of them."""


class Decision(msgspec.Struct, frozen=True):
    """`reason` says in words why not, or by which statement."""

    allowed: bool
    reason: str


def decide(statements: Iterable[Mapping[str, Any]], channel: str, purpose: str) -> Decision:
    """The latest statement about a channel and a purpose holds; a withdrawal before a grant of the same time."""
    about = [s for s in statements if s["channel"] in ANY | {channel} and s["purpose"] in ANY | {purpose}]
    latest = max(about, key=lambda s: (s["at"], not s["given"], s["id"]), default=None)
    if latest is None:
        if purpose == SERVICE:
            return Decision(allowed=True, reason="about work that was ordered")
        return Decision(allowed=False, reason=f"no consent to {purpose} by {channel}")
    if not latest["given"]:
        return Decision(allowed=False, reason=f"consent to {purpose} by {channel} was withdrawn (statement {latest['id']})")
    return Decision(allowed=True, reason=f"consent was given (statement {latest['id']})")
