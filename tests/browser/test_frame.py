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
    asked.get_by_label("Token").fill("what\u2013no-header-can-carry")
    asked.get_by_role("button").click()
    expect(asked).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
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


def test_who_skips_to_the_content_stays_where_he_is(ended: Ended, window: Window) -> None:
    page = window.open(ended.base, "journal?type=EXECUTED")
    page.wait_for_selector(".entry")
    page.locator("a.skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("[location.hash, document.activeElement.id]") == ["#/journal?type=EXECUTED", "main"]


def test_a_question_that_was_left_by_going_back_is_not_asked_any_more(ended: Ended, window: Window) -> None:
    page = window.open(ended.base, "overview")
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("button", name="Revoke signing").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    page.wait_for_selector("main[data-screen=overview]")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_what_names_no_screen_is_the_overview(ended: Ended, window: Window) -> None:
    page = window.open(ended.base, "toString")
    page.wait_for_selector("main[data-screen=overview]")


NUMBERS = {
    "price(0.00001234)": "0.00001234", "price(0.0123456)": "0.0123456", "price(1.23456)": "1.23456",
    "price(1699.7849)": "1,699.78", "price(0)": "0.00000", "limit(0.025)": "2.5 %", "limit(0.125)": "12.5 %",
    "limit(0.001)": "0.1 %", "limit(0.08)": "8 %", "signed(0.001, f.number)": "0.00",
    "signed(-0.001, f.number)": "0.00", "signed(1.5, f.number)": "+1.50", "signed(-1.5, f.number)": "\u22121.50",
    "signed(null, f.number)": "\u2013",
}  # fmt: skip


def test_numbers_are_shown_as_exactly_as_they_have_to_be(ended: Ended, window: Window) -> None:
    page = window.open(ended.base)
    for call, words in NUMBERS.items():
        assert page.evaluate(f"import('/page/format.js').then((f) => f.{call})") == words, call


def test_hostile_text_stays_text(ended: Ended, window: Window) -> None:
    page = window.open(
        ended.base, "journal?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&tag=%22%3E%3Cscript%3E&pair=%3Cb%3E"
    )
    expect(page.get_by_label("Search")).to_have_value("<img src=x onerror=alert(1)>")
    assert page.locator("main img, main script, main b").count() == 0
