"""What a person does on the page, with a real guard, a real daemon and a real EVM: each act is refused first, and works
when it may."""

from __future__ import annotations

import re
import signal

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Window, serious
from tests.live.conftest import chain, deployed, market, stage
from tests.live.stage import Stage
from tests.server.clients import Ended, forestay

__all__ = ["chain", "deployed", "market", "stage"]

CALM = (2010, 1990, 2010, 1990)
BUY_AND_SELL = (2010, 1990, 1900, 1850, 2000, 2050)  # falls below its average, and rises above it


def steps(stage: Stage, *prices: int) -> None:
    for price in prices:
        stage.step(price)


def dialog(page: Page, button: str) -> Locator:
    page.get_by_role("button", name=button).click()
    return page.get_by_role("dialog")


def do(asked: Locator, act: str, words: str, reason: str | None = None) -> None:
    """Type the words; before that the act cannot be done."""
    sure = asked.get_by_role("button", name=act)
    expect(sure).to_be_disabled()
    if reason is not None:
        asked.get_by_label("Why?").fill(reason)
        expect(sure).to_be_disabled()
    asked.get_by_label("to confirm").fill(words.upper())
    expect(sure).to_be_disabled()
    asked.get_by_label("to confirm").fill(words)
    sure.click()


def leave(asked: Locator) -> None:
    asked.get_by_role("button", name="Leave it").click()
    expect(asked).to_have_count(0)


def settle(stage: Stage) -> None:
    stage.until(lambda: not (live := stage.agent()["live"])["orders"] and live["flattening"] is None, mining=True)


def live_again(page: Page, stage: Stage) -> None:
    """By its record, or by force where that is not there yet."""
    asked = dialog(page, "Force it…" if stage.agent()["status"] == "PAPER" else "Go live…")
    do(asked, "Go live", "go live")
    expect(page.locator("#badge")).to_have_text("Live on BSC")
    leave(asked)


def test_go_live_and_back_and_every_no_on_the_way(stage: Stage, window: Window) -> None:
    stage.set()
    base = stage.daemon.listening()
    page = window.open(base, "settings")
    window.offline = True  # a refusal is an answer of 409, which the console tells, too
    badge = page.locator("#badge")
    expect(badge).to_have_text("Forward testing")

    # The record has not earned it: the preflight says so, and the daemon refuses.
    asked = dialog(page, "Go live…")
    record = asked.get_by_role("listitem").filter(has_text="record")
    expect(record).to_contain_text("fails")
    do(asked, "Go live", "go live")
    expect(asked.get_by_role("alert")).to_contain_text("NOT_ELIGIBLE")
    leave(asked)
    assert stage.agent()["status"] == "PAPER"
    expect(page.get_by_role("button", name="Re-approve…")).to_be_disabled()
    asked = dialog(page, "Demote…")
    do(asked, "Back to paper", "back to paper", "to see what it says")
    expect(asked.get_by_role("alert")).to_contain_text("NOT_LIVE")
    leave(asked)

    # It earns it, and a person says so.
    steps(stage, *CALM, *BUY_AND_SELL)
    while stage.agent()["status"] == "PAPER":
        steps(stage, *CALM)
    expect(badge).to_have_text("Ready for live — your call")
    asked = dialog(page, "Go live…")
    expect(asked.get_by_role("listitem").filter(has_text="fails")).to_have_count(0)
    do(asked, "Go live", "go live")
    expect(asked.get_by_role("alert")).to_contain_text("It is live.")
    leave(asked)
    expect(badge).to_have_text("Live on BSC")

    # While live no limit is loosened.
    limit = page.get_by_label("Max drawdown, %")
    limit.fill("40")
    page.get_by_role("button", name="Adopt as a new version").click()
    expect(page.get_by_text("LIVE_LIMIT")).to_be_visible()

    # Back by hand, and live again by force.
    asked = dialog(page, "Demote…")
    do(asked, "Back to paper", "back to paper", "lunch")
    expect(asked.get_by_role("alert")).to_contain_text("It trades on paper.")
    leave(asked)
    expect(badge).not_to_have_text("Live on BSC")
    assert "lunch" in stage.journal("STATUS_CHANGE")[0]["text"]
    steps(stage, *CALM)
    live_again(page, stage)

    # A bad day: it is out by itself, and locked until that day is over.
    steps(stage, 2010, 1990, 1900)
    settle(stage)
    steps(stage, 1700)
    expect(badge).to_have_text("Paper-trading — live paused, daily_drawdown breached")
    expect(page.locator("#left")).to_have_text(re.compile(r"^\d+ (h \d+ min|min) left$"))
    settle(stage)
    while stage.agent()["status"] == "DEMOTED":
        steps(stage, 1710, 1690)
    expect(badge).not_to_contain_text("paused")
    expect(page.locator("#left")).to_be_empty()
    live_again(page, stage)

    # It holds when the market falls by more than it may ever lose.
    steps(stage, 1720, 1700, 1600)
    settle(stage)
    steps(stage, 850)
    expect(badge).to_have_text("Paper-trading — live paused, max_drawdown breached")
    expect(page.locator("#left")).to_have_text("until you re-approve it")
    line = forestay("status", "--url", base, cwd=stage.folder).stdout
    assert "live paused, max_drawdown breached, until you re-approve it" in line
    settle(stage)
    asked = dialog(page, "Go live…")
    do(asked, "Go live", "go live")
    expect(asked.get_by_role("alert")).to_contain_text("PROMOTION_LOCKED")
    leave(asked)
    page.reload()  # a person who comes later finds the lock by what the log says
    expect(page.locator("#left")).to_have_text("until you re-approve it")
    asked = dialog(page, "Re-approve…")
    serious(page)
    do(asked, "Lift the lock", "re-approve", "the market fell, not the agent")
    expect(asked.get_by_role("alert")).to_contain_text("The lock is lifted.")
    leave(asked)
    expect(badge).not_to_contain_text("paused")

    # The chart has both phases, and says what changed them.
    page.get_by_role("link", name="Overview").click()
    told = page.locator(".chart figcaption")
    expect(told).to_contain_text("Promoted")
    for way in ("by hand", ": daily drawdown", ": max drawdown"):
        expect(told).to_contain_text(f"Demoted{' ' if way == 'by hand' else ''}{way}")
    serious(page)

    # The guard's process is gone, and is back.
    page.get_by_role("link", name="Risk desk").click()
    stage.guard.stop(signal.SIGKILL)
    expect(page.get_by_text("The guard does not answer.")).to_be_visible()
    stage.run_guard()
    expect(page.get_by_text("armed")).to_be_visible()

    # The kill switch.
    page.get_by_role("link", name="Stop…").click()
    asked = dialog(page, "Revoke signing…")
    do(asked, "Kill switch", "revoke signing")
    expect(asked.get_by_role("alert")).to_contain_text("The guard signs nothing more.")
    leave(asked)
    expect(page.locator("#banner")).to_contain_text("it signs nothing until a person restores it")
    expect(page.get_by_text("It is on since")).to_be_visible()
    line = forestay("status", "--url", base, cwd=stage.folder).stdout
    assert "it signs nothing until a person restores it" in line
    asked = dialog(page, "Go live…")
    guard = asked.get_by_role("listitem").filter(has=page.locator(".name", has_text="guard"))
    expect(guard.first).to_contain_text("fails")
    leave(asked)
    page.get_by_role("link", name="Risk desk").click()
    expect(page.get_by_text("Killed since")).to_be_visible()
    serious(page)


def test_what_is_not_set_up_is_refused_in_words(ended: Ended, window: Window) -> None:
    page = window.open(ended.base, "settings")
    window.offline = True
    for act, sure, words in (
        ("Revoke signing…", "Kill switch", "revoke signing"),
        ("Force it…", "Go live without", "go live"),
    ):
        asked = dialog(page, act)
        do(asked, sure, words)
        expect(asked.get_by_role("alert")).to_contain_text("SIGNING_NOT_SET_UP")
        leave(asked)


def test_stop_leads_to_its_button_however_often(ended: Ended, window: Window) -> None:
    page = window.open(ended.base)
    for _ in range(2):
        page.get_by_role("link", name="Stop…").click()
        expect(page.get_by_role("button", name="Revoke signing…")).to_be_focused()
        page.get_by_role("button", name="Theme").focus()
