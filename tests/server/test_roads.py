"""Travel on roads: both services' formats, blocks, what is kept, and how a service that is away is told."""

from pathlib import Path

import pytest
from conftest import Company
from road_service import roads_served
from test_planning import REQUEST, office_with_work

from dispatch import estimate
from server.planning import run_plan, start_plan
from server.roads import Roads, band_of, service_of
from server.storage import plans

MORNING = 1795159980000  # a Friday, 07:33 UTC
TOWN = [(0.0, 0.01 * n) for n in range(4)]


def roads(address: str, tmp_path: Path, now_ms: int = MORNING) -> Roads:
    return Roads(service_of(address), tmp_path / "travel.sqlite", lambda: now_ms)


@pytest.mark.parametrize("kind", ["osrm", "valhalla"])
def test_travel_is_what_the_roads_say(kind: str, tmp_path: Path) -> None:
    """Directed seconds and metres of the service, asked once; the second time everything is kept."""
    with roads_served() as (url, service):
        found, told = roads(f"{kind}+{url}/", tmp_path).travel(TOWN, MORNING)
        assert found.seconds[0].tolist() == [0, 200, 400, 600]
        assert found.seconds[3].tolist() == [300, 200, 100, 0]
        assert found.metres[0].tolist() == [0, 1000, 2000, 3000]
        assert (told.source, told.pairs, told.asked, told.kept, told.estimated) == (f"{kind} {url}", 12, 12, 0, 0)
        assert len(service.asked) == 1
        again, kept = roads(f"{kind}+{url}", tmp_path).travel([*TOWN, TOWN[0]], MORNING)
        assert len(service.asked) == 1
        assert (kept.asked, kept.estimated, kept.why) == (0, 0, "")
        assert again.seconds[:4, :4].tolist() == found.seconds.tolist()
        assert again.seconds[4, 0] == 0


def test_each_band_and_age_is_asked_for_itself(tmp_path: Path) -> None:
    night = MORNING + 15 * 3_600_000
    assert (band_of(MORNING), band_of(night)) == ("weekday morning", "weekday night")
    with roads_served() as (url, service):
        roads(f"osrm+{url}", tmp_path).travel(TOWN, MORNING)
        roads(f"osrm+{url}", tmp_path).travel(TOWN, night)
        assert len(service.asked) == 2
        roads(f"osrm+{url}", tmp_path, MORNING + 40 * 86_400_000).travel(TOWN, MORNING)
        assert len(service.asked) == 3


@pytest.mark.parametrize("kind", ["osrm", "valhalla"])
def test_many_points_are_asked_in_blocks(kind: str, tmp_path: Path) -> None:
    """130 points are nine requests of what a service allows; one more point asks only the blocks it is in."""
    many = [(0.001 * n, 0.0) for n in range(130)]
    with roads_served() as (url, service):
        found, told = roads(f"{kind}+{url}", tmp_path).travel(many, MORNING)
        assert found.seconds[0].tolist() == [10 * n for n in range(130)]
        assert len(service.asked) == 9
        assert told.asked == 130 * 129
        _, more = roads(f"{kind}+{url}", tmp_path).travel([*many, (0.13, 0.0)], MORNING)
        assert (more.asked, more.kept) == (260, 130 * 129)
        assert len(service.asked) < 18


@pytest.mark.parametrize("kind", ["osrm", "valhalla"])
def test_no_road_is_estimated_and_told(kind: str, tmp_path: Path) -> None:
    island = [*TOWN[:2], (0.0, 11.0)]
    with roads_served() as (url, _):
        found, told = roads(f"{kind}+{url}", tmp_path).travel(island, MORNING)
        assert (told.asked, told.estimated, told.why) == (2, 4, "there is no road between some places")
        assert found.seconds[0, 2] == estimate(island).seconds[0, 2]
        assert found.seconds[0, 1] == 200


def test_a_service_that_is_away_is_told(tmp_path: Path) -> None:
    """Broken or gone: the estimate for what is not kept, with the reason in words."""
    with roads_served() as (url, service):
        roads(f"osrm+{url}", tmp_path).travel(TOWN[:2], MORNING)
        service.broken = True
        found, told = roads(f"osrm+{url}", tmp_path).travel(TOWN, MORNING)
        assert "it answers 502" in told.why
        assert (told.kept, told.estimated) == (2, 10)
        assert found.seconds[0, 1] == 200
        assert found.seconds[0, 3] == estimate(TOWN).seconds[0, 3]
    _, gone = roads(f"osrm+{url}", tmp_path).travel(TOWN, MORNING)
    assert "gave no table" in gone.why
    with pytest.raises(ValueError, match="TRUCKROLL_ROADS"):
        service_of("google+https://example.org")


async def test_a_plan_names_the_source_of_its_travel(company: Company, tmp_path: Path) -> None:
    """With a service its name; without one, the estimate."""
    await office_with_work(company)
    usual = company.context.roads
    with roads_served() as (url, _):
        for address, source in ((f"osrm+{url}", f"osrm {url}"), ("", "estimate")):
            company.context.roads = roads(address, tmp_path)
            try:
                run_id = await start_plan(company.context, company.tenant_id, REQUEST)
                await run_plan(company.context, company.tenant_id, run_id, lambda: False)
            finally:
                company.context.roads = usual
            async with company.context.office.of(company.tenant_id) as tenant:
                run = await plans.get(tenant, run_id)
            assert run is not None
            assert run.best["travel"]["source"] == source
            assert run.best["travel"]["why"] == ""
