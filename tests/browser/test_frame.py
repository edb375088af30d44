"""The frame around the screens: who may look, theme, keyboard, what is degraded."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Browser, expect

from tests.browser.conftest import Window, serious
from tests.resilience.candles import Files
from tests.server.clients import Ended
from tests.world.daemon import DaemonProcess

TOKEN = "correct-horse-battery_staple-1"


def test_the_token_is_asked_for_and_forgotten_with_the_tab(
    start_daemon: Callable[..., DaemonProcess], replayed: Callable[[int], Files], browser: Browser
) -> None:
    daemon = start_daemon(*replayed(200).flags, "--speed", "max", env={"FORESTAY_SERVER__TOKEN": TOKEN})
    base = daemon.listening()
    context = browser.new_context()
    page = context.new_page()
    page.goto(base)
    asked = page.get_by_role("dialog")
    asked.get_by_label("Token").fill("not-the-right-token-at-all")
    asked.get_by_role("button").click()
    expect(asked).to_contain_text("That was not it.")
    asked.get_by_label("Token").fill(TOKEN)
    asked.get_by_role("button").click()
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
    expect(page.locator(".entry").first).to_be_visible()
    assert TOKEN not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    page.reload()
    expect(page.locator("#age")).to_have_attribute("data-state", "live")
    other = context.new_page()
    other.goto(base)
    expect(other.get_by_role("dialog")).to_be_visible()
    context.close()


def test_the_theme_is_the_systems_until_one_is_chosen(ended: Ended, window: Window) -> None:
    page = window.open(ended.base, theme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Theme: dark").click()
    light = page.evaluate(colour)
    assert dark != light
    page.reload()
    page.get_by_role("button", name="Theme: light").wait_for()
    assert page.evaluate(colour) == light


def test_every_screen_is_reached_and_an_entry_is_opened_by_keyboard_alone(ended: Ended, window: Window) -> None:
    page = window.open(ended.base)
    page.wait_for_selector(".entry")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    names = ("Journal", "Risk desk", "Trades", "Strategy", "Versions", "Health", "Settings")
    for name in names:
        page.get_by_role("link", name=name, exact=True).focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
        expect(page.locator("#main")).to_be_focused()
        expect(page.get_by_role("link", name=name, exact=True)).to_have_attribute("aria-current", "page")
    page.get_by_role("link", name="Journal", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".entry")
    page.locator(".entry summary").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".entry[open] .detail code").first).to_be_visible()
    serious(page)
    page.get_by_role("link", name="Settings", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Revoke signing…").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("to confirm")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_hostile_text_stays_text(ended: Ended, window: Window) -> None:
    page = window.open(
        ended.base, "journal?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&tag=%22%3E%3Cscript%3E&pair=%3Cb%3E"
    )
    expect(page.get_by_label("Search")).to_have_value("<img src=x onerror=alert(1)>")
    assert page.locator("main img, main script, main b").count() == 0
