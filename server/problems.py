"""Errors as RFC 9457 problem documents: what is wrong, where, and by which rule."""

from typing import Any

import msgspec

from sync.merge import Refused
from sync.protocol import Problem

MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """Raised anywhere below a request; the application turns it into its document."""

    def __init__(self, status: int, title: str, detail: str = "", *, field: str = "", rule: str = "", **extra: Any) -> None:
        super().__init__(title)
        self.problem = Problem(f"urn:truckroll:{rule or status}", title, status, detail, field, rule, extra)

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(self.problem)


def malformed(refused: Refused) -> ProblemError:
    title = "The request is not valid JSON" if refused.rule == "json" else "The request does not fit"
    return ProblemError(400, title, refused.detail, field=refused.field, rule=refused.rule)


def unauthorised(detail: str, rule: str = "token") -> ProblemError:
    return ProblemError(401, "This device is not admitted", detail, rule=rule)
