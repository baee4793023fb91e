"""What the parts of the business are told with: the company of the stories, its phones and desks."""

from tests.domain.house import house, still
from tests.scenarios.conftest import clock, field

__all__ = ["clock", "field", "house", "still"]
