"""What the parts of the business are told with: the company of the stories, its phones and desks; a shop, and who hears of it."""

from tests.domain.house import house, still
from tests.domain.outside import mailbox, receiver, shop
from tests.scenarios.conftest import clock, field

__all__ = ["clock", "field", "house", "mailbox", "receiver", "shop", "still"]
