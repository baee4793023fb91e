"""Plans that are published drop by drop: what is due goes out at the next sweep."""

from typing import Final

from server.domain.event import Clock, Rules
from server.publishing import publish_due

RULES: Final[Rules] = {}
CLOCKS: Final[tuple[Clock, ...]] = (publish_due,)
