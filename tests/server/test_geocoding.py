"""Sites are located by a geocoder that speaks Nominatim's format on a real socket."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from conftest import Company
from geopy.exc import GeopyError
from test_planning import DAY, REQUEST
from wire import BareDevice, create

from server.geocoding import Geocoder, geocode_due, geocoder_of
from server.planning import load_day
from server.translate import question
from sync.protocol import OutcomeKind

KNOWN = {
    "12 Oak St, 37201, Nashville": {"lat": "36.16", "lon": "-86.78", "place_rank": 30},
    "Oak St, Nashville": {"lat": "36.17", "lon": "-86.79", "place_rank": 26},
}


class Nominatim(BaseHTTPRequestHandler):
    """Knows two addresses: a house and a street."""

    asked: list[str]
    broken = False

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        assert (parts.path, query["format"]) == ("/search", ["json"])
        assert "truckroll" in self.headers["user-agent"]
        self.asked.append(query["q"][0])
        found = KNOWN.get(query["q"][0])
        body = msgspec.json.encode([] if found is None else [found | {"display_name": query["q"][0]}])
        self.send_response(503 if self.broken else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def service() -> Iterator[tuple[str, type[Nominatim]]]:
    handler = type("Served", (Nominatim,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()
    thread.join()


async def sites(company: Company) -> dict[str, Any]:
    async with company.context.office.of(company.tenant_id) as tenant:
        return {row.id: row for row in await tenant.rows("site")}


async def test_sites_are_located(company: Company, service: tuple[str, type[Nominatim]], tmp_path: Path) -> None:
    """A house is found; a street is not planned until somebody looked; an unknown address is told; each is asked once."""
    geocoder = Geocoder("nominatim", service[0], tmp_path / "addresses.sqlite", pause_s=0)
    office = BareDevice(company.http, await company.enrol(await company.user("Dana", "dispatcher")))
    made = await office.push(
        create("account", "A", name="Acme"),
        create("site", "S1", account="A", name="House", address="12 Oak St", postal_code="37201", city="Nashville"),
        create("site", "S2", account="A", name="Street", address="Oak St", city="Nashville"),
        create("site", "S3", account="A", name="Nowhere", address="Atlantis"),
        create("site", "S4", account="A", name="Placed", address="1 Elm St", position={"lat": 1.0, "lon": 2.0}),
        create("site", "S5", account="A", name="No address"),
        *(create("work_order", f"W{n}", account="A", site=f"S{n}") for n in (1, 2)),
        *(create("appointment", f"P{n}", work_order=f"W{n}") for n in (1, 2)),
    )
    assert made.kind is OutcomeKind.APPLIED, made
    assert await geocode_due(company.context, company.tenant_id, geocoder) == 3
    assert await geocode_due(company.context, company.tenant_id, geocoder) == 0
    assert sorted(service[1].asked) == sorted([*KNOWN, "Atlantis"])
    found = await sites(company)
    assert {id_: row.located for id_, row in found.items()} == {
        "S1": "found", "S2": "needs_review", "S3": "not_found", "S4": "open", "S5": "open",
    }  # fmt: skip
    assert found["S1"].position == {"lat": 36.16, "lon": -86.78}
    assert (found["S2"].position["lat"], found["S3"].position) == (36.17, None)
    asked = question(await load_day(company.context.office, company.tenant_id, REQUEST, DAY))
    assert [job.id for job in asked.problem.jobs] == ["P1"]
    assert asked.left_out == {"P2": "somebody has to look whether the site's position is right"}
    looked = await office.push(office.update("site", "S2", located="reviewed"))
    assert looked.kind is not OutcomeKind.PARKED
    asked = question(await load_day(company.context.office, company.tenant_id, REQUEST, DAY))
    assert (len(asked.problem.jobs), asked.left_out) == (2, {})


def test_answers_are_kept_and_failures_are_not(service: tuple[str, type[Nominatim]], tmp_path: Path) -> None:
    url, nominatim = service
    geocoder = Geocoder("nominatim", url, tmp_path / "addresses.sqlite", pause_s=0)
    nominatim.broken = True
    with pytest.raises(GeopyError):
        geocoder.find("12 Oak St, 37201, Nashville")
    nominatim.broken = False
    first = geocoder.find("12 Oak St, 37201, Nashville")
    again = Geocoder("nominatim", url, tmp_path / "addresses.sqlite", pause_s=0)
    assert again.find(" 12 oak st,  37201, Nashville") == first
    assert len(nominatim.asked) == 2


def test_a_geocoder_is_named_by_its_address(tmp_path: Path) -> None:
    assert geocoder_of("", tmp_path) is None
    chosen = geocoder_of("photon+https://photon.example.org", tmp_path)
    assert chosen is not None
    assert chosen.name == "photon https://photon.example.org"
    with pytest.raises(ValueError, match="TRUCKROLL_GEOCODER"):
        geocoder_of("oracle+https://example.org", tmp_path)
