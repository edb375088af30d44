"""`make screenshots`: each screen in both themes and on a phone, of an agent that has been live and was demoted."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from tests.browser.conftest import DESK, PHONE, Window
from tests.browser.test_acts import BUY_AND_SELL, CALM, settle, steps
from tests.browser.test_screens import DRAWN, SCREENS
from tests.live.conftest import chain, deployed, market, stage
from tests.live.stage import Stage

__all__ = ["chain", "deployed", "market", "stage"]

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def test_pictures(stage: Stage, window: Window) -> None:
    lived(stage)
    base = stage.daemon.listening()
    window.offline = True
    for theme, size, kind in (("light", DESK, ""), ("dark", DESK, "-dark"), ("light", PHONE, "-phone")):
        for screen in SCREENS:
            page = window.open(base, screen, theme=theme, size=size)
            if screen != "risk":  # nothing was blocked
                page.wait_for_selector(DRAWN[screen], state="attached")
            look(page, IMAGES / f"{screen}{kind}.png")
            page.context.close()


def lived(stage: Stage) -> None:
    """Paper, a record, live, a breach of the day."""
    stage.set()
    steps(stage, *CALM, *BUY_AND_SELL)
    while stage.agent()["status"] == "PAPER":
        steps(stage, *CALM)
    assert stage.post("promote", {"confirm": "go live"}).status_code == 200
    steps(stage, 2010, 1990, 1900)
    settle(stage)
    steps(stage, 1850, 2000, 2050)
    settle(stage)
    steps(stage, 2010, 1990, 1900)
    settle(stage)
    steps(stage, 1700)
    stage.until(lambda: stage.agent()["status"] == "DEMOTED")
    settle(stage)
    steps(stage, 1710, 1690, 1700)


def look(page: Page, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(1500)
    page.screenshot(path=path, animations="disabled")
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)  # so it is a third as large
