"""One company for each story."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from conftest import Company

from server.storage import embedded
from server.storage.migrate import migrate
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


@pytest.fixture(scope="session")
def private_url() -> Iterator[str]:
    """A database server of these stories' own, which they may maltreat; it ends with the run."""
    with tempfile.TemporaryDirectory(prefix="truckroll-private-", ignore_cleanup_errors=True) as home:
        url = embedded.start(Path(home))
        migrate(url)
        yield url
