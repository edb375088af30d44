"""An open page outlives the daemon."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Window
from tests.resilience.candles import Files
from tests.server.clients import Ended, at_the_end, frames_in
from tests.world.daemon import DaemonProcess

SHOWN = "[...document.querySelectorAll('.entry')].map(it => Number(it.dataset.seq))"


def entries_shown(page: Page) -> list[int]:
    found: list[int] = page.evaluate(SHOWN)
    return found


def test_the_daemon_is_killed_and_comes_back_and_the_journal_misses_nothing_and_has_nothing_twice(
    start_daemon: Callable[..., DaemonProcess], replayed: Callable[[int], Files], window: Window
) -> None:
    files = replayed(1500)
    daemon = start_daemon(*files.flags, "--speed", "150")
    base = daemon.ready()
    port = base.rsplit(":", 1)[1]
    page = window.open(base, "journal")
    window.offline = True
    page.wait_for_function("() => document.querySelectorAll('.entry').length > 20")
    daemon.kill()
    expect(page.locator("#banner")).to_contain_text("No connection to the daemon")
    expect(page.locator("#age")).to_have_attribute("data-state", "lost")
    daemon = start_daemon(*files.flags, "--speed", "max", "--port", port)
    ended = at_the_end(daemon, files.end)
    expect(page.locator("#banner")).to_be_hidden()
    entries = [event["seq"] for event in reversed(ended.of("journal_entry"))]
    page.wait_for_function(f"() => ({SHOWN})[0] === {entries[0]}")
    shown = entries_shown(page)
    assert shown == entries[: len(shown)]
    assert len(frames_in(daemon.data_dir)) == ended.head


def test_a_burst_of_a_thousand_events_is_shown_to_the_last_and_nothing_twice(
    start_daemon: Callable[..., DaemonProcess], replayed: Callable[[int], Files], window: Window
) -> None:
    files = replayed(1500)
    daemon = start_daemon(*files.flags, "--speed", "0.01")
    page = window.open(daemon.ready(), "overview")
    port = daemon.base.rsplit(":", 1)[1]
    window.offline = True
    daemon.kill()
    daemon = start_daemon(*files.flags, "--speed", "max", "--port", port)
    ended = at_the_end(daemon, files.end)
    assert ended.head > 1000
    last = ended.of("journal_entry")[-6:]
    expect(page.locator(".overview .entry .words")).to_have_text([entry["text"] for entry in reversed(last)])
    expect(page.locator("#foot")).to_contain_text(f"event {ended.head:,}")
    equity = ended.get("").json()["equity"]
    expect(page.locator(".figures .big")).to_have_text(f"{equity:,.2f} USDT")
    expect(page.locator(".chart figcaption")).to_contain_text(f"to {equity:,.2f} USDT")


def test_a_page_that_stands_still_comes_back_to_all_of_it(
    start_daemon: Callable[..., DaemonProcess], replayed: Callable[[int], Files], window: Window
) -> None:
    files = replayed(1000)
    daemon = start_daemon(*files.flags, "--speed", "200")
    page = window.open(daemon.ready(), "journal")
    page.wait_for_selector(".entry")
    ended = at_the_end_after_a_pause(page, daemon, files)
    entries = [event["seq"] for event in reversed(ended.of("journal_entry"))]
    page.wait_for_function(f"() => ({SHOWN})[0] === {entries[0]}")
    shown = entries_shown(page)
    assert shown == entries[: len(shown)]


def at_the_end_after_a_pause(page: Page, daemon: DaemonProcess, files: Files) -> Ended:
    """The page's one thread is kept busy while the market goes on."""
    page.evaluate("() => { const end = Date.now() + 3000; while (Date.now() < end); }")
    return at_the_end(daemon, files.end)
