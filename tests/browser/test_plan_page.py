"""The page of a plan, opened in a real browser from the file that the command wrote."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page
from typer.testing import CliRunner

from cli.dispatch import app
from dispatch import Plan
from dispatch.files import decode_plan

R104 = Path(__file__).parents[2] / "../shared/data/trsp/R104.txt"
DAY = """{"places": [{"lat": 36.16, "lon": -86.78}, {"lat": 36.10, "lon": -86.70}, {"lat": 36.20, "lon": -86.80}],
"workers": [{"id": "ann </script><script>boom()</script>", "shifts": [{"start_s": 28800, "end_s": 61200, "start_place": 0,
"end_place": 0, "breaks": [{"earliest_s": 39600, "latest_s": 46800, "duration_s": 1800}]}]}],
"jobs": [{"id": "<b>A</b>", "place": 1, "duration_s": 3600, "windows": [{"start_s": 30000, "end_s": 33000}]},
{"id": "B", "place": 2, "duration_s": 25000},
{"id": "C", "place": 2, "duration_s": 1800, "skills": [{"skill": "lifts", "level": 2}]}]}"""


class Opened:
    """The page, with everything it said on its console or asked of a network."""

    def __init__(self, page: Page, plan: Plan) -> None:
        self.page, self.plan = page, plan
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    async def count(self, selector: str) -> int:
        return await self.page.locator(selector).count()


@pytest.fixture(scope="module", params=["technician routing", "a day of our own"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """Solved and written by the command."""
    tmp_path, file = tmp_path_factory.mktemp("plan"), R104
    if request.param != "technician routing":
        file = tmp_path / "day.json"
        file.write_text(DAY)
    elif not file.exists():
        pytest.skip("the public instances are not here")
    html, json = tmp_path / "plan.html", tmp_path / "report.json"
    done = CliRunner().invoke(app, ["solve", str(file), "--iterations", "300", "--html", str(html), "--json", str(json)])
    assert done.exit_code == 0, done.output
    return html, decode_plan(json.read_bytes())


@pytest.fixture
async def opened(browser: Browser, written: tuple[Path, Plan]) -> AsyncIterator[Opened]:
    """The HTML opened as a file."""
    page = await browser.new_page()
    page.set_default_timeout(20_000)
    opened = Opened(page, written[1])
    await page.goto(written[0].as_uri())
    yield opened
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith(("file:", "data:"))] == []
    await page.close()


async def test_the_page_shows_every_route_and_every_stop(opened: Opened) -> None:
    """As many polylines as routes, as many bars as stops, as many dots as places called at, and each is really drawn."""
    plan = opened.plan
    stops = [stop for route in plan.routes for stop in route.stops]
    assert await opened.count("#map polyline.route") == len(plan.routes) > 0
    assert await opened.count("#gantt rect.bar") == len(stops)
    assert await opened.count("#map circle.stop") == sum(stop.kind != "break" for stop in stops)
    assert await opened.count("#left tr") == (len(plan.unserved) + 1 if plan.unserved else 0)
    assert await opened.count("#legend li") == len(plan.routes)
    for bar in await opened.page.locator("#gantt rect.bar").all():
        box = await bar.bounding_box()
        assert box is not None
        assert box["width"] > 0
    title = await opened.page.title()
    assert f"{plan.served} of" in title


async def test_a_click_on_a_route_shows_it_alone(opened: Opened) -> None:
    """The first route is highlighted on the map, in the days and in the list; the others fade; Escape ends it."""
    page = opened.page
    await page.locator("#legend button").first.click()
    for part in ("#map g", "#gantt g", "#legend button"):
        assert await opened.count(f'{part}[data-route="0"].on') == 1
        assert await opened.count(f"{part}.on") == 1
    assert await page.locator("#legend button").first.get_attribute("aria-pressed") == "true"
    assert opened.plan.routes[0].worker in await page.locator("#details").inner_text()
    if len(opened.plan.routes) > 1:
        faded = await page.locator('#map g[data-route="1"]').evaluate("part => getComputedStyle(part).opacity")
        assert float(faded) < 0.5
    await page.keyboard.press("Escape")
    assert await opened.count(".on") == 0
    await page.locator("#gantt .who").first.click()
    assert await opened.count('#map g[data-route="0"].on') == 1


async def test_a_stop_tells_its_details(opened: Opened) -> None:
    """Hovering shows them, a click and the keyboard keep them, on the map and in the days at once."""
    page, plan = opened.page, opened.plan
    bar = page.locator('#gantt rect[data-stop="0-0"]')
    await bar.hover()
    first = plan.routes[0].stops[0]
    details = await page.locator("#details").inner_text()
    assert (first.job or first.kind) in details
    assert plan.routes[0].worker in details
    assert await opened.count(".picked") == 0
    await bar.click()
    assert await opened.count('#gantt [data-stop="0-0"].picked') == 1
    assert await opened.count('#map [data-stop="0-0"].picked') == (first.kind != "break")
    last = len(plan.routes[0].stops) - 1
    await page.locator(f'#gantt rect[data-stop="0-{last}"]').focus()
    await page.keyboard.press("Enter")
    assert await opened.count(f'#gantt [data-stop="0-{last}"].picked') == 1
    assert await opened.count("#gantt .picked") == 1


async def test_the_map_zooms_and_comes_back(opened: Opened) -> None:
    page = opened.page
    await page.locator("#map").hover()
    await page.mouse.wheel(0, -300)
    await page.wait_for_function("document.getElementById('map').viewBox.baseVal.width < 620", timeout=5000)
    await page.locator("#map").dblclick(position={"x": 2, "y": 2})
    await page.wait_for_function("document.getElementById('map').viewBox.baseVal.width === 620", timeout=5000)
