"""A signed report says what was signed, or somebody is asked to look."""

from collections.abc import Iterable
from typing import Final

import msgspec

from server.domain.doubts import doubt
from server.domain.event import Event, Rules
from sync.entities import ServiceReport
from sync.entities.work import ReportStatus, report_sha256
from sync.protocol import Change

POLICY: Final = "signed_content"


async def check_signed(event: Event) -> Iterable[Change]:
    """Two may have written one report out of each other's reach: what was signed then is not all that it says now."""
    report = msgspec.convert(event.fields, ServiceReport)
    differs = report.status is ReportStatus.SIGNED and report.sha256 != report_sha256(report)
    words = "the report says something else than what was signed: sign an amendment" if differs else ""
    return await doubt(event, POLICY, "sha256", words)


RULES: Final[Rules] = {"service_report": (check_signed,)}
