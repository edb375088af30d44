"""Each screen shows what REST says, on real candles."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import PHONE, Window, as_read, full_of_entries, read_down, serious
from tests.resilience.candles import Files
from tests.server.clients import Ended, at_the_end, change
from tests.server.conftest import busy  # noqa: F401 - a fixture
from tests.world.daemon import DaemonProcess

SHOWN = "[...document.querySelectorAll('.entry')].map(it => it.dataset.id)"
SCREENS = ("overview", "journal", "risk", "trades", "strategy", "versions", "health", "settings")
DRAWN = {
    "overview": ".chart figcaption:has-text('Equity from')",
    "journal": ".entry",
    "risk": "tbody tr[data-seq]",
    "trades": ".trades [role=row][data-seq]",
    "strategy": "#verdict .good-news",
    "versions": ".snug td",
    "health": "tbody tr",
    "settings": "input[name='risk.max_drawdown_pct']",
}


def drawn(page: Page, screen: str) -> Page:
    page.wait_for_selector(DRAWN[screen], state="attached")
    return page


def test_the_overview_shows_equity_figures_limits_and_the_last_decisions(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base), "overview")
    agent, figures = ended.get("").json(), ended.get("/performance").json()
    status = {"PAPER": "Forward testing", "ELIGIBLE": "Ready for live — your call"}[agent["status"]]
    expect(page.locator("#badge")).to_have_text(status)
    expect(page.locator(".figures .big")).to_have_text(f"{agent['equity']:,.2f} USDT")
    expect(page.locator(".chart figcaption")).to_contain_text(f"to {agent['equity']:,.2f} USDT")
    win_rate = page.locator(".figures div", has_text="Win rate").locator("dd")
    expect(win_rate).to_have_text(f"{figures['win_rate'] * 100:.1f} %")
    for limit in ended.get("/risk/objectives").json():
        expect(page.get_by_role("progressbar", name=limit["rule"].replace("_", " "), exact=True)).to_be_visible()
    for criterion in ("Evaluation window", "Closed trades", "Expectancy after fees", "Max drawdown of the run"):
        expect(page.get_by_role("progressbar", name=criterion)).to_be_visible()
    entries = ended.get("/journal?limit=6").json()
    expect(page.locator(".overview .entry .words")).to_have_text([as_read(entry["text"]) for entry in entries])


def test_the_chart_is_told_in_words_and_its_tooltip_has_time_equity_phase_and_drawdown(
    ended: Ended, window: Window
) -> None:
    page = drawn(window.open(ended.base), "overview")
    page.get_by_role("button", name="All", exact=True).click()
    first = ended.of("snapshot")[0]
    expect(page.locator(".chart figcaption")).to_contain_text(f"Equity from {first['equity']:,.2f} USDT")
    box = page.locator(".chart .canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    tip = page.locator(".tip")
    expect(tip).to_contain_text("Equity")
    expect(tip).to_contain_text("Phase paper")
    expect(tip).to_contain_text("Drawdown")


POINT = "{ ts: '2026-01-02T%s:00.000Z', equity: %d, phase: '%s', dd_from_peak: 0 }"


def test_a_chart_takes_two_changes_of_phase_in_one_bucket_and_goes_on(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base), "overview")
    first, live, back = (
        POINT % it for it in (("01:00", 1000, "paper"), ("02:05", 990, "live"), ("02:20", 1010, "paper"))
    )
    words = page.evaluate(
        f"""async () => {{
            const {{ EquityChart }} = await import("/page/chart.js");
            const chart = new EquityChart();
            document.querySelector("main").append(chart.element);
            await chart.open();
            const at = {{ points: 0, marks: 0, trades: 0 }};
            const found = {{ interval: "1h", points: [{first}], marks: [], trades: [], at }};
            chart.show(found);
            chart.add([{live}, {back}].map((it, index) => ({{ ...it, event: "snapshot", seq: index + 1 }})));
            const told = chart.words.textContent;
            chart.show(found);
            return [told, chart.words.textContent];
        }}"""
    )
    assert "to 1,010.00 USDT" in words[0]
    assert "to 1,000.00 USDT" in words[1]


def test_a_chart_says_when_it_is_to_be_read_anew(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base), "overview")
    found = page.evaluate(
        """async () => {
            const { EquityChart } = await import("/page/chart.js");
            const chart = new EquityChart();
            document.querySelector("main").append(chart.element);
            await chart.open();
            const at = { points: 0, marks: 0, trades: 0 };
            const plain = { equity: 1, phase: "paper", dd_from_peak: 0 };
            const point = (hour) => ({ ...plain, ts: new Date(hour * 3600e3).toISOString() });
            chart.show({ interval: "1h", points: [0, 1, 2].map(point), marks: [], trades: [], at });
            const outgrown = [];
            for (let hour = 3; hour < 200; hour += 1) {
                chart.add([{ ...point(hour), event: "snapshot", seq: hour }]);
                outgrown.push(chart.outgrown);
            }
            return outgrown.indexOf(true) + 3;
        }"""
    )
    assert found == 103


@pytest.fixture
def crowded(start_daemon: Callable[..., DaemonProcess], tmp_path: Path) -> Ended:
    """At the end of a market with many entries."""
    flags, end = full_of_entries(tmp_path, 100, 8)
    return at_the_end(start_daemon(*flags, "--speed", "max"), end)


def test_the_journal_reaches_its_first_entry_and_holds_no_more_than_what_is_near(
    crowded: Ended, window: Window
) -> None:
    page = drawn(window.open(crowded.base, "journal"), "journal")
    entries = crowded.of("journal_entry")
    assert len(entries) > 800
    first = page.locator(f".entry[data-seq='{entries[0]['seq']}']")
    most = read_down(page, first)
    expect(first).to_contain_text("Started")
    assert 100 < most < len(entries) * 0.7
    page.evaluate("scrollTo(0, 5000)")  # what was given back comes again
    page.wait_for_function(f"wanted => ({SHOWN}).slice(0, 200).join() === wanted", arg=",".join(newest(entries)[:200]))


def newest(entries: list[dict[str, str]]) -> list[str]:
    return [entry["id"] for entry in reversed(entries)]


def test_the_journal_is_filtered_by_type_pair_and_words(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base, "journal"), "journal")
    page.get_by_label("Type").select_option("EXECUTED")
    page.get_by_label("Pair").select_option("ETH/USDT")
    page.get_by_label("Search").fill("gained")
    wanted = [
        entry["id"]
        for entry in reversed(ended.of("journal_entry"))
        if entry["type"] == "EXECUTED" and "ETH/USDT" in entry["tags"] and "gained" in entry["text"].lower()
    ]
    assert wanted
    page.wait_for_function(f"wanted => JSON.stringify({SHOWN}) === JSON.stringify(wanted)", arg=wanted)
    assert re.search(r"#/journal\?.*type=EXECUTED", page.url)


def test_times_that_are_asked_for_are_instants_whatever_clock_is_shown(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base, "journal"), "journal")
    at = ended.of("journal_entry")[50]["ts"]
    page.get_by_label("From").fill("2022-02-01T12:00")
    page.wait_for_function("() => location.hash.includes('2022-02-01T11%3A00%3A00.000Z')")
    page.get_by_role("button", name="Times: local").click()
    expect(page.get_by_label("From")).to_have_value("2022-02-01T11:00")
    page.goto(f"{ended.base}/#/journal?to={at}")
    expect(page.get_by_role("textbox", name="To")).to_have_value(at[:16])
    earlier = [it["id"] for it in ended.of("journal_entry") if it["ts"] < at]
    page.wait_for_function(f"wanted => ({SHOWN}).join() === wanted", arg=",".join(reversed(earlier)))


def test_a_search_whose_first_page_is_short_goes_on_by_itself(
    start_daemon: Callable[..., DaemonProcess], tmp_path: Path, window: Window
) -> None:
    """The first entry of so long a log that one look through it does not reach it."""
    flags, end = full_of_entries(tmp_path, 100, 102)
    long = at_the_end(start_daemon(*flags, "--speed", "max"), end)
    started = long.of("journal_entry")[0]
    assert "Started" not in str(long.get("/journal?q=Started&limit=100").json())
    page = window.open(long.base, "journal?q=Started")
    page.wait_for_selector(f".entry[data-seq='{started['seq']}']")
    expect(page.locator(".endless > .none")).to_be_empty()


def test_a_trade_leads_to_its_entry_and_back(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base, "trades"), "trades")
    trade = ended.of("trade")[-1]
    page.locator(f"[data-ref={trade['journal_ref']}]").get_by_role("link").click()
    entry = page.locator(".one .entry")
    expect(entry).to_have_attribute("data-id", trade["journal_ref"])
    expect(entry).to_contain_text(trade["order_ref"])
    entry.get_by_role("link", name="Its trade").click()
    expect(page.locator(".trades [role=row][data-seq]")).to_have_attribute("data-seq", str(trade["seq"]))


def test_trades_are_sorted_filtered_and_saved(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base, "trades"), "trades")
    page.get_by_role("combobox", name=re.compile("^Side")).select_option("sell")
    page.get_by_role("button", name="PnL").click()
    wanted = sorted((it for it in ended.of("trade") if it["side"] == "sell"), key=lambda it: -it["pnl"])
    shown = "[...document.querySelectorAll('.trades [data-seq]')].map(it => Number(it.dataset.seq))"
    page.wait_for_function(
        f"wanted => JSON.stringify({shown}) === wanted",
        arg=json.dumps([it["seq"] for it in wanted], separators=(",", ":")),
    )
    with page.expect_download() as saving:
        page.get_by_role("button", name="Save as CSV").click()
    with open(saving.value.path()) as file:
        assert [int(row["seq"]) for row in csv.DictReader(file)] == [it["seq"] for it in wanted]


def test_trades_are_sorted_on_a_phone_too(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base, "trades", size=PHONE), "trades")
    trades = [it for it in ended.of("trade") if it["pnl"] is not None]
    best, worst = (chosen(trades, key=lambda it: it["pnl"])["seq"] for chosen in (max, min))
    first = page.locator(".trades [role=row][data-seq]").first
    page.get_by_label("Sorted by").select_option("pnl")
    expect(first).to_have_attribute("data-seq", str(best))
    page.get_by_label("Order").select_option("asc")
    expect(first).to_have_attribute("data-seq", str(worst))


def test_the_risk_desk_has_every_limit_the_funnel_and_the_latest_blocks(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base, "risk"), "risk")
    vetoes = ended.of("risk_veto")
    shown = page.locator("tbody tr[data-seq]")
    assert [int(it.get_attribute("data-seq") or 0) for it in shown.all()] == [it["seq"] for it in vetoes[:-51:-1]]
    expect(page.get_by_text("Signing is not set up")).to_be_visible()
    funnel = ended.get("/funnel").json()
    expect(page.locator(".bar", has_text="Signals").locator(".figure")).to_have_text(f"{funnel['signals']:,}")


def test_would_this_pass_asks_every_rule(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base, "risk"), "risk")
    page.get_by_label("Size, USDT").fill("1000000")
    page.get_by_role("button", name="Would it pass?").click()
    answer = ended.client.post("/agents/current/risk/check", json={"pair": "ETH/USDT", "side": "buy", "size": 10**6})
    expect(page.locator(".trouble code")).to_have_text(answer.json()["rule"])
    expect(page.get_by_role("region", name="What each rule says").locator("tbody tr")).to_have_count(
        len(answer.json()["checks"])
    )


def test_health_names_every_floor(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base, "health"), "health")
    for actor in ended.get("/health").json()["actors"]:
        expect(page.get_by_role("rowheader", name=actor["name"])).to_be_visible()


def test_times_are_the_viewers_and_utc_is_one_click_away(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base, "trades"), "trades")
    trade = ended.of("trade")[-1]
    hour = int(trade["ts"][11:13])
    at = page.locator(f"[data-seq='{trade['seq']}'] time")
    local = at.inner_text()
    assert local.endswith(":00")
    assert int(local[-5:-3]) in {(hour + 1) % 24, (hour + 2) % 24}  # Vienna, winter or summer
    page.get_by_role("button", name="Times: local").click()
    drawn(page, "trades")
    expect(page.locator(f"[data-seq='{trade['seq']}'] time")).to_have_text(re.compile(rf", {hour:02}:00$"))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_has_no_serious_finding_of_axe(ended: Ended, window: Window, screen: str, theme: str) -> None:
    page = drawn(window.open(ended.base, screen, theme=theme), screen)
    serious(page)


@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_fits_a_phone(ended: Ended, window: Window, screen: str) -> None:
    page = drawn(window.open(ended.base, screen, size=PHONE), screen)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    tables = page.locator(".scroll:has(.stacked)")
    assert tables.evaluate_all("(all) => all.filter((it) => it.scrollWidth > it.clientWidth).length") == 0


@pytest.mark.parametrize(("screen", "table"), [("risk", "Blocks"), ("health", "Floors")])
def test_a_row_of_many_columns_is_a_block_of_its_own_on_a_phone(
    ended: Ended, window: Window, screen: str, table: str
) -> None:
    page = drawn(window.open(ended.base, screen, size=PHONE), screen)
    row = page.get_by_role("region", name=table).get_by_role("row").nth(1)
    heads = page.get_by_role("region", name=table).locator("thead th").all_inner_texts()[1:]
    shown = row.locator("td").evaluate_all("(cells) => cells.map((it) => getComputedStyle(it, '::before').content)")
    assert shown == [f'"{head}"' for head in heads]
    assert row.evaluate("(it) => it.getBoundingClientRect().right") <= PHONE[0]


def test_a_strategy_is_checked_as_it_is_typed_tried_and_its_report_saved(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base, "strategy"), "strategy")
    area = page.get_by_label("The strategy as YAML")
    good = area.input_value()
    area.fill(good.replace("value: -0.05", "value: minus five"))
    expect(page.locator("#verdict")).to_contain_text("minus five")
    expect(area).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("button", name="Adopt as a new version")).to_be_disabled()
    expect(page.get_by_role("button", name="Run it")).to_be_disabled()
    area.fill(good.replace("value: -0.05", "value: -0.04").replace("mean-reversion-v1", "mine"))
    expect(page.locator("#verdict")).to_have_text("A strategy: mine.")
    page.get_by_role("button", name="Run it").click()
    expect(page.get_by_role("heading", name="Result of mine")).to_be_visible(timeout=60_000)
    result = ended.client.get(f"/backtests/{ended.client.get('/backtests').json()[0]['id']}").json()["result"]
    row = page.get_by_role("row", name="Final equity")
    for part in (result, result["in_sample"], result["out_of_sample"]):
        expect(row).to_contain_text(f"{part['metrics']['final']:,.2f} USDT")
    with page.expect_download() as saving:
        page.get_by_role("button", name="Save the whole report").click()
    assert "plotly" in saving.value.path().read_text()


def test_what_was_checked_before_is_never_adopted_for_what_stands_there_now(ended: Ended, window: Window) -> None:
    page = drawn(window.open(ended.base, "strategy"), "strategy")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/strategies/check", hold)
    area, adopt = page.get_by_label("The strategy as YAML"), page.get_by_role("button", name="Adopt as a new version")
    good = area.input_value()
    with page.expect_request("**/strategies/check"):
        area.fill(good.replace("mean-reversion-v1", "mine"))
    area.fill("no strategy at all")
    with page.expect_response("**/strategies/check"), page.expect_request("**/strategies/check"):
        held[0].continue_()
    expect(adopt).to_be_disabled()
    held[1].continue_()
    expect(area).to_have_attribute("aria-invalid", "true")
    expect(adopt).to_be_disabled()


def test_a_strategy_is_adopted_as_a_version_and_the_versions_stand_side_by_side(
    start_daemon: Callable[..., DaemonProcess], replayed: Callable[[int], Files], window: Window
) -> None:
    files = replayed(300)
    ended = at_the_end(start_daemon(*files.flags, "--speed", "max"), files.end)
    page = drawn(window.open(ended.base, "strategy"), "strategy")
    area = page.get_by_label("The strategy as YAML")
    area.fill(area.input_value().replace("mean-reversion-v1", "mine"))
    page.get_by_role("button", name="Adopt as a new version").click()
    page.get_by_role("dialog").get_by_role("button", name="Adopt it").click()
    expect(page.get_by_text("It is in force")).to_be_visible()
    assert ended.get("/config").json()["strategy"]["spec"]["name"] == "mine"

    # The whole document is adopted: a stop-loss of the one before does not stay behind in one that has none.
    ready = {it["name"]: it["text"] for it in ended.client.get("/strategies").json()}
    for name in ("bollinger-reversion-v1", "mean-reversion-v1"):
        page.get_by_label("Begin with").select_option(name)
        expect(page.locator("#verdict")).to_have_text(f"A strategy: {name}.")
        page.get_by_role("button", name="Adopt as a new version").click()
        page.get_by_role("dialog").get_by_role("button", name="Adopt it").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        found = ended.client.post("/strategies/check", json={"text": ready[name]}).json()
        assert ended.get("/config").json()["strategy"]["spec"] == found["spec"]

    page.get_by_role("link", name="Versions").click()
    expect(page.get_by_role("columnheader", name="Version 4, in force")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Version 1")).to_be_visible()
    page.locator("details.version", has_text="Version 2").locator("summary").first.click()
    expect(page.get_by_role("region", name="Changes")).to_contain_text("strategy.spec.name")

    # Whatever its name is, it is a text.
    hostile = "<img src=x onerror=alert(1)>"
    spec = ended.get("/config").json()["strategy"]["spec"] | {"name": hostile}
    change(ended.base, {"strategy": {"spec": spec}})
    expect(page.get_by_role("columnheader", name="Version 5, in force")).to_be_visible()
    expect(page.get_by_role("cell", name=hostile).first).to_be_visible()
    page.get_by_role("link", name="Journal").click()
    expect(page.locator(".entry", has_text="CONFIG_CHANGE").first).to_be_visible()
    page.locator(".entry summary").first.click()
    expect(page.locator("main img, main script")).to_have_count(0)

    # What cannot be is refused in words, and nothing is changed.
    window.offline = True
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("Daily drawdown, %").fill("25")
    page.get_by_role("button", name="Adopt as a new version").click()
    expect(page.get_by_text("VALIDATION_ERROR")).to_be_visible()
    page.get_by_label("Daily drawdown, %").fill("6")
    page.get_by_role("button", name="Adopt as a new version").click()
    expect(page.get_by_text("It is in force")).to_be_visible()
    assert ended.get("/config").json()["risk"]["daily_drawdown_pct"] == 6

    # What somebody else changes is shown and not undone; what one is just changing is left alone.
    page.get_by_label("Losses in a row").fill("3")
    change(ended.base, {"risk": {"daily_drawdown_pct": 4}})
    expect(page.get_by_label("Daily drawdown, %")).to_have_value("4")
    expect(page.get_by_label("Losses in a row")).to_have_value("3")
    page.get_by_role("button", name="Adopt as a new version").click()
    page.wait_for_function(
        "() => document.querySelector(\"[name='risk.max_consecutive_losses']\").defaultValue === '3'"
    )
    risk = ended.get("/config").json()["risk"]
    assert (risk["daily_drawdown_pct"], risk["max_consecutive_losses"]) == (4, 3)


def test_a_no_is_explained_gate_by_gate(busy: Ended, window: Window) -> None:  # noqa: F811
    no = next(it for it in reversed(busy.of("journal_entry")) if it["type"] == "RISK_VETO")
    page = window.open(busy.base, f"journal?id={no['id']}&at={no['ts']}")
    page.get_by_role("button", name="Why? Gate by gate").click()
    told = busy.get(f"/why?pair={no['data']['pair']}&at={no['ts']}").json()
    expect(page.locator("pre.why")).to_have_text(told["text"])
    assert no["text"] in told["text"]


def test_folded_repeats_unfold(busy: Ended, window: Window) -> None:  # noqa: F811
    folded = next(
        it for it in reversed(busy.of("journal_entry")) if "repeats" in it["tags"] and it["data"]["count"] > 1
    )
    page = window.open(busy.base, f"journal?id={folded['id']}&at={folded['ts']}")
    page.get_by_role("button", name=f"Unfold the {folded['data']['count']} repeats").click()
    times = page.locator(".repeats time")
    expect(times).to_have_count(folded["data"]["count"])
    assert times.first.get_attribute("datetime") == folded["data"]["first"]
    assert times.last.get_attribute("datetime") == folded["data"]["last"]
