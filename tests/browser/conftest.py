"""A real browser: Debian's chromium, driven by Playwright. `.ci/run` installs it; without one these tests skip."""

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    found = os.environ.get("TRUCKROLL_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CI_BROWSER") == "required":
            pytest.fail("this run must have a browser, and there is none")
        pytest.skip("no chromium on this machine: apt-get install chromium")
    async with async_playwright() as driver:
        # The sandbox needs rights that a container does not have; the pages are our own.
        running = await driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        await running.close()
