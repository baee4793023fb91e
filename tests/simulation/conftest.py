"""One PostgreSQL for the simulated worlds of a test run."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec
import pytest

from simulation.main import run_plans, temporary_server
from simulation.plan import plan_of
from simulation.world import Report

Live: TypeAlias = Callable[..., list[Report]]


@pytest.fixture(scope="session")
def sim_url() -> Iterator[str]:
    with temporary_server() as url:
        yield url


@pytest.fixture(scope="session")
def live(sim_url: str) -> Live:
    """Live through worlds of these seeds, shaped by what is given."""

    def lived(*seeds: int, **shape: Any) -> list[Report]:
        return run_plans(sim_url, [msgspec.structs.replace(plan_of(seed), **shape) for seed in seeds])

    return lived
