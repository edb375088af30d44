"""An open page outlives the daemon."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, as_read, full_of_entries, read_down
from tests.resilience.candles import Files, made_up
from tests.server.clients import Ended, at_the_end, frames_in
from tests.world.daemon import DaemonProcess
from tests.world.small_disk import SmallDisk, disk

__all__ = ["disk"]

SHOWN = "[...document.querySelectorAll('.entry')].map(it => Number(it.dataset.seq))"


def entries_shown(page: Page) -> list[int]:
    found: list[int] = page.evaluate(SHOWN)
    return found


def test_the_daemon_is_killed_again_and_again_and_the_journal_misses_nothing_and_has_nothing_twice(
    start_daemon: Callable[..., DaemonProcess], replayed: Callable[[int], Files], window: Window
) -> None:
    files = replayed(3000)
    daemon = start_daemon(*files.flags, "--speed", "250")
    port = daemon.ready().rsplit(":", 1)[1]
    page = window.open(daemon.base, "journal")
    window.offline = True
    for number in (20, 40):
        page.wait_for_function(f"() => document.querySelectorAll('.entry').length > {number}")
        daemon.kill()
        expect(page.locator("#banner")).to_contain_text("No connection to the daemon")
        expect(page.locator("#age")).to_have_attribute("data-state", "lost")
        shown = entries_shown(page)
        frames = [json.loads(frame) for frame in frames_in(daemon.data_dir)]
        assert set(shown) <= {it["seq"] for it in frames if it["event"] == "journal_entry"}, (
            "shown before it was durable"
        )
        daemon = start_daemon(*files.flags, "--speed", "250" if number == 20 else "max", "--port", port)
        expect(page.locator("#banner")).to_be_hidden()
    ended = at_the_end(daemon, files.end)
    entries = [event["seq"] for event in reversed(ended.of("journal_entry"))]
    page.wait_for_function(f"() => ({SHOWN})[0] === {entries[0]}")
    assert entries_shown(page) == entries


def test_another_log_at_the_same_address_is_shown_from_its_beginning(
    start_daemon: Callable[..., DaemonProcess], replayed: Callable[[int], Files], window: Window, tmp_path: Path
) -> None:
    files = replayed(300)
    daemon = start_daemon(*files.flags, "--speed", "max")
    first = at_the_end(daemon, files.end)
    page = window.open(daemon.base, "journal")
    page.wait_for_selector(f".entry[data-seq='{first.of('journal_entry')[-1]['seq']}']")
    window.offline = True
    daemon.kill()
    daemon = start_daemon(
        *files.flags, "--speed", "0.01", "--port", first.base.rsplit(":", 1)[1], data_dir=tmp_path / "another"
    )
    daemon.ready()
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator(".entry")).to_have_count(1)
    expect(page.locator(".entry")).to_contain_text("Started")


def test_a_daemon_that_hangs_is_told_and_so_is_that_it_goes_on(
    start_daemon: Callable[..., DaemonProcess], replayed: Callable[[int], Files], window: Window
) -> None:
    daemon = start_daemon(*replayed(300).flags, "--speed", "max")
    page = window.open(daemon.ready(), "overview")
    page.wait_for_selector(".entry")
    daemon.signal(signal.SIGSTOP)
    expect(page.locator("#banner")).to_contain_text("No connection to the daemon")
    expect(page.locator("#age")).to_have_attribute("data-state", "lost")
    daemon.signal(signal.SIGCONT)
    expect(page.locator("#banner")).to_be_hidden(timeout=15_000)
    expect(page.locator("#age")).to_have_attribute("data-state", "live")


def test_a_stream_that_never_comes_is_told(ended: Ended, window: Window) -> None:
    page = window.browser.new_page()
    page.route_web_socket("**/ws/**", lambda socket: socket.close())
    page.goto(ended.base)
    expect(page.locator("#banner")).to_contain_text("No connection to the daemon")
    expect(page.locator("#age")).to_have_attribute("data-state", "lost")
    page.close()


def test_what_was_asked_for_while_the_daemon_was_away_is_there_once_it_is_back(
    start_daemon: Callable[..., DaemonProcess], replayed: Callable[[int], Files], window: Window
) -> None:
    files = replayed(1500)
    first = at_the_end(start_daemon(*files.flags, "--speed", "max"), files.end)
    pages = {name: window.open(first.base, name) for name in ("overview", "health")}
    window.offline = True
    first.daemon.kill()
    for page in pages.values():
        expect(page.locator("#age")).to_have_attribute("data-state", "lost")
    pages["overview"].get_by_role("link", name="Trades").click()
    pages["health"].get_by_role("link", name="Versions").click()
    for page in pages.values():
        expect(page.locator("#main .trouble")).to_be_visible()
    daemon = start_daemon(*files.flags, "--speed", "max", "--port", first.base.rsplit(":", 1)[1])
    daemon.ready()
    trade = first.of("trade")[-1]["seq"]
    expect(pages["overview"].locator(f".trades [data-seq='{trade}']")).to_be_visible()
    expect(pages["health"].get_by_role("columnheader", name="Version 1, in force")).to_be_visible()


def test_a_list_whose_next_page_cannot_be_had_asks_for_it_now_and_then(
    start_daemon: Callable[..., DaemonProcess], tmp_path: Path, window: Window
) -> None:
    flags, end = full_of_entries(tmp_path, 100, 4)
    first = at_the_end(start_daemon(*flags, "--speed", "max"), end)
    page = window.open(first.base, "journal")
    page.wait_for_selector(".entry")
    window.offline = True
    first.daemon.kill()
    expect(page.locator("#age")).to_have_attribute("data-state", "lost")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(3000)  # long enough to see that it does not ask all the time
    assert 0 < sum("cursor=" in url for url in asked) < 4
    daemon = start_daemon(*flags, "--speed", "max", "--port", first.base.rsplit(":", 1)[1])
    daemon.ready()
    oldest = page.locator(f".entry[data-seq='{first.of('journal_entry')[0]['seq']}']")
    read_down(page, oldest)
    expect(oldest).to_contain_text("Started")


def test_a_full_disk_is_told_and_so_is_that_it_goes_on(
    start_daemon: Callable[..., DaemonProcess], disk: SmallDisk, window: Window
) -> None:
    files = made_up(disk.path.parent, 1000, 12)
    daemon = start_daemon(*files.flags, "--speed", "max", data_dir=disk.path / "data")
    page = window.open(daemon.listening(), "health", state="degraded")
    expect(page.locator("#banner")).to_have_text(
        re.compile("^Degraded: disk does not work .*is full.*goes on by itself")
    )
    expect(page.get_by_role("listitem").filter(has_text="disk:")).to_contain_text("is full")
    disk.make_room()
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator("#age")).to_have_attribute("data-state", "live")


def test_a_thousand_entries_of_one_commit_come_to_an_open_page(
    start_daemon: Callable[..., DaemonProcess], tmp_path: Path, window: Window
) -> None:
    flags, end = full_of_entries(tmp_path, 1000, 1)
    daemon = start_daemon(*flags, "--speed", "0.3")
    page = window.open(daemon.ready(), "journal")
    page.wait_for_selector(".entry")
    ended = at_the_end(daemon, end)
    entries = [event["seq"] for event in reversed(ended.of("journal_entry"))]
    assert len(entries) > 1000
    page.wait_for_function(f"() => ({SHOWN})[0] === {entries[0]}")
    shown = entries_shown(page)
    assert shown == entries[: len(shown)]


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
    expect(page.locator(".overview .entry .words")).to_have_text([as_read(entry["text"]) for entry in reversed(last)])
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


def test_a_page_that_gets_no_frames_any_more_is_told_all_the_same(
    start_daemon: Callable[..., DaemonProcess], replayed: Callable[[int], Files], window: Window
) -> None:
    """As one that is hidden between a message and its frame."""
    files = replayed(1000)
    daemon = start_daemon(*files.flags, "--speed", "100")
    page = window.open(daemon.ready(), "versions")
    page.wait_for_selector(".snug td")
    page.evaluate("window.requestAnimationFrame = () => 0")
    ended = at_the_end(daemon, files.end)
    expect(page.locator("#foot")).to_contain_text(f"event {ended.head:,}")
    closed = sum(it["pnl"] is not None for it in ended.of("trade"))
    assert closed > 1
    record = page.get_by_role("row", name="Closed trades").get_by_role("cell")
    expect(record).to_have_text(str(closed))  # a record moves under an open page


def at_the_end_after_a_pause(page: Page, daemon: DaemonProcess, files: Files) -> Ended:
    """The page's one thread is kept busy while the market goes on."""
    page.evaluate("() => { const end = Date.now() + 3000; while (Date.now() < end); }")
    return at_the_end(daemon, files.end)
