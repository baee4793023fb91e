"""One company for each story."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import Company

from tests.scenarios.field import Clock, Field


@pytest.fixture
def clock(company: Company, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The true time, which the server has and the phones are off by their skew."""
    clock = Clock()
    monkeypatch.setattr(company.context, "now_ms", clock)
    return clock


@pytest.fixture
async def field(company: Company, clock: Clock, tmp_path: Path) -> AsyncIterator[Field]:
    field = Field(company, tmp_path, clock)
    await field.open()
    yield field
    field.close()
