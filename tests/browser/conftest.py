"""A real browser before the real daemon, which replays real candles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from attrs import define, field
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from protocol.times import to_wire
from tests.benchmarks.ground import BEGIN, HOUR, Ground
from tests.browser.driver import FLAGS, browser_path
from tests.resilience.candles import Files, real_stretch
from tests.server.clients import Ended, at_the_end
from tests.world.daemon import DaemonProcess

HOURS = 3000
DESK, PHONE = (1280, 860), (390, 844)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        expect.set_options(timeout=15_000)  # a bound against hanging, not a figure
        browser = playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        yield browser
        browser.close()


@define
class Window:
    """Opens pages, and sees what goes wrong in them. `offline` lets requests fail: the daemon is to be away."""

    browser: Browser
    offline: bool = False
    errors: list[str] = field(factory=list)
    _contexts: list[BrowserContext] = field(factory=list)

    def open(
        self,
        base: str,
        place: str = "overview",
        *,
        theme: str = "light",
        size: tuple[int, int] = DESK,
        state: str = "live",
    ) -> Page:
        width, height = size
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            timezone_id="Europe/Vienna",
            locale="en-GB",
        )
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self._heard(said.type, said.text))
        page.goto(f"{base}/#/{place}")
        page.wait_for_selector(f"#age[data-state={state}]")
        return page

    def _heard(self, kind: str, text: str) -> None:
        refused = "Failed to load resource" in text or "WebSocket connection" in text
        if kind in ("error", "warning") and not (self.offline and refused):
            self.errors.append(text)

    def close(self) -> None:
        for context in self._contexts:
            context.close()


def full_of_entries(folder: Path, pairs: int, bursts: int) -> tuple[tuple[str, ...], str]:
    """A market of so many pairs, each with so many holes at the same hours, and an entry for each hole: its flags and
    its end."""
    return Ground(folder).gaps(pairs, bursts).flags, to_wire(BEGIN + (3 * bursts + 2) * HOUR)


def as_read(told: str) -> re.Pattern[str]:
    """A sentence as the page shows it: its times are the reader's."""
    time = r"\d{4}\\-\d\d\\-\d\dT\d\d:\d\d:\d\d\\\.\d{3}Z"
    return re.compile(f"^{re.sub(time, '.+', re.escape(told))}$")


def read_down(page: Page, to: Locator) -> int:
    """Read a list on, down to this row; the most rows that it held on the way."""
    most = 0
    for _ in range(2000):  # a bound against hanging
        if to.count():
            return most
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(20)
        most = max(most, page.locator(".entry").count())
    raise AssertionError("the list has an end before that")


def serious(page: Page) -> None:
    """Nothing serious that axe finds on the page as it stands."""
    for violation in Axe().run(page).response["violations"]:
        where = [node["html"][:200] for node in violation["nodes"]]
        assert violation["impact"] not in ("serious", "critical"), (violation["id"], violation["help"], where)


@pytest.fixture
def window(browser: Browser) -> Iterator[Window]:
    window = Window(browser)
    yield window
    window.close()
    assert not window.errors


@pytest.fixture
def replayed(real_data: Path, tmp_path: Path) -> Callable[[int], Files]:
    """So many hours of real candles as files."""
    return lambda hours: real_stretch(real_data, tmp_path, hours)


@pytest.fixture(scope="session")
def ended(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """At the end of real candles. For tests that only read."""
    folder = tmp_path_factory.mktemp("replayed")
    files = real_stretch(real_data, folder, HOURS)
    daemon = DaemonProcess(folder / "data", (*files.flags, "--speed", "max"))
    try:
        found = at_the_end(daemon, files.end)
        with closing(found.client):
            yield found
    finally:
        daemon.kill()
