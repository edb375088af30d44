"""The page of a backtest: what it says, that it asks nobody, and that it is well made."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any, Final

import plotly.graph_objects as go
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from actors.risk_engine.evaluation import criteria
from server.backtesting.metrics import metrics
from server.backtesting.plan import Part
from server.backtesting.record import Gate, Record, RoundTrip
from server.backtesting.report import FIGURES, LISTED, MARKED, POINTS, report, thinned

BEGINS: Final = datetime(2022, 1, 1, tzinfo=UTC)
VOID: Final = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """What a browser would make of it: elements, their text, and each table as its rows. Fails on a tag that is not
    closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self._table: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")
        if tag == "table":
            self._table = self.tables[dict(attrs)["id"] or ""] = []
        elif tag == "tr":
            self._table.append([])
        elif tag in {"td", "th"}:
            self._table[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data
        if {"td", "th"} & set(self.open):
            self._table[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for found, attrs in self.elements if found == tag]

    def rows(self, table: str) -> dict[str, list[str]]:
        return {row[0]: row[1:] for row in self.tables[table]}

    @property
    def drawn(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.texts["script"][0])
        return found


def minute(number: float) -> datetime:
    return BEGINS + timedelta(minutes=number)


def trip(number: int, pair: str = "BTCUSDT") -> RoundTrip:
    return RoundTrip(
        pair, minute(number), minute(number + 65), Decimal("20123.45"), Decimal("20321.5"), Decimal(500),
        Decimal("4.32"), Decimal("0.6"), Decimal("0.25"), Decimal("0.0086"),
    )  # fmt: skip


def part(
    name: str = "whole",
    trips: Sequence[RoundTrip] = (),
    equities: Sequence[str] = ("1000", "1050", "945", "1010"),
    begins: datetime = BEGINS,
    pairs: Sequence[str] = ("BTCUSDT",),
) -> Part:
    """A point every ten hours."""
    curve = tuple((begins + timedelta(hours=10 * i), Decimal(equity)) for i, equity in enumerate(equities))
    record = Record(
        begins, curve[-1][0], curve[0][1], curve[-1][1], tuple(trips), curve, Decimal("0.1"), Decimal("0.07"),
        Decimal(1000) * len(trips), 2 * len(trips), Decimal("0.6") * len(trips), Decimal("0.25") * len(trips),
        {trip.pair: 3900.0 for trip in trips}, 600, 0.01,
    )  # fmt: skip
    figures = metrics(record)
    found = criteria(figures["expectancy"] or Decimal(0), len(trips), 2, Decimal("0.1"), Decimal("0.15"))
    gate = Gate(False, Decimal("1.25"), 14, found)
    return Part(name, record, figures, gate, {pair: [(at, equity * 20) for at, equity in curve] for pair in pairs})


@pytest.fixture(scope="module")
def text() -> str:
    """Of a run in three parts."""
    trips = [trip(10), trip(90), trip(700)]
    split = BEGINS + timedelta(hours=20)
    return report(
        "crossing on BTCUSDT",
        [part("whole", trips), part("in sample", trips[:1]), part("out of sample", trips[2:], begins=split)],
    )


def test_it_has_the_numbers_with_parts_side_by_side(text: str) -> None:
    page = Page(text)
    figures = page.rows("figures")
    assert page.tables["figures"][0] == ["", "whole", "in sample", "out of sample"]
    assert figures["Begins"] == ["2022-01-01 00:00", "2022-01-01 00:00", "2022-01-01 20:00"]
    assert figures["Return"] == ["1.00 %"] * 3
    assert figures["Max drawdown"] == ["10.00 %"] * 3
    assert figures["Closed trades"] == ["3", "1", "1"]
    assert figures["Fees"] == ["1.80 USDT", "0.60 USDT", "0.60 USDT"]
    assert figures["Average loss"] == ["–"] * 3


def test_no_figure_is_left_out() -> None:
    assert {key for key, _, _ in FIGURES} == part().metrics.keys() - {"per_pair", "per_month"}


def test_the_gate_says_of_each_criterion_what_it_is_and_whether_it_is_met(text: str) -> None:
    page = Page(text)
    assert page.tables["gate"] == [
        ["Criterion", "Wanted", "whole", "in sample", "out of sample"],
        ["Expectancy after fees", "above 0.00 USDT", *["4.32 USDT, met"] * 3],
        ["Closed trades", "at least 2", "3, met", "1, not met", "1, not met"],
        ["Max drawdown", "below 15.00 %", *["10.00 %, met"] * 3],
        ["Days of market time", "at least 14 days", *["1.2 days, not met"] * 3],
        ["All of them", "", *["not met"] * 3],
    ]
    assert page.texts["li"][0] == "Whole: does not pass the gate to live trading. Not met: days of market time."


def test_pairs_months_and_trades(text: str) -> None:
    page = Page(text)
    assert page.rows("pairs")["BTCUSDT"][:3] == ["3", "12.96", "1.80"]
    assert page.rows("months")["2022-01"] == ["1.00 %", "12.96", "3", "1.80", "100.00 %"]
    assert [row[0] for row in page.tables["trades"]] == ["Number", "3", "2", "1"]  # newest first
    assert page.rows("trades")["1"] == [
        "BTCUSDT", "2022-01-01 00:10", "2022-01-01 01:15", "1 h 5 min", "20,123.45", "20,321.50", "500.00", "4.32",
        "0.60", "0.25", "0.86 %",
    ]  # fmt: skip


def test_only_the_newest_trades_are_listed_and_drawn_and_the_page_says_so() -> None:
    trips = [trip(number) for number in range(MARKED + 5)]
    page = Page(report("many", [part(trips=trips)]))
    numbers = [row[0] for row in page.tables["trades"][1:]]
    assert len(numbers) == LISTED
    assert (numbers[0], numbers[-1]) == ("2,005", "1,006")
    assert any("Only the newest 1,000 of 2,005 trades are listed." in note for note in page.texts["p"])
    close, entries, exits = page.drawn["chart-3"]["data"]
    assert len(close["x"]) == 4
    assert len(entries["x"]) == len(exits["x"]) == MARKED
    assert any("the newest 2,000 of 2,005 trades" in words for words in page.texts["figcaption"])


def test_the_charts_are_what_plotly_takes(text: str) -> None:
    page = Page(text)
    assert list(page.drawn) == ["chart-1", "chart-2", "chart-3"]
    assert [div["id"] for div in page.all("div") if div.get("class") == "chart"] == list(page.drawn)
    for chart in page.drawn.values():
        go.Figure(chart["data"], chart["layout"])  # raises on what it does not know
    equity, drawdown, prices = page.drawn.values()
    assert equity["data"][0]["x"][1] == "2022-01-01 10:00:00"
    assert equity["data"][0]["y"] == [1000, 1050, 945, 1010]
    assert drawdown["data"][0]["y"] == pytest.approx([0, 0, -0.1, -40 / 1050])
    assert equity["layout"]["shapes"][0]["x0"] == "2022-01-01 20:00:00"  # where out of sample begins
    entries, exits = prices["data"][1:]
    assert (entries["x"][0], entries["y"][0]) == ("2022-01-01 00:10:00", 20123.45)
    assert (exits["x"][0], exits["y"][0]) == ("2022-01-01 01:15:00", 20321.5)
    assert "price %{y" in exits["hovertemplate"]
    assert exits["text"][0] == "size 500.00 USDT<br>PnL 4.32 USDT (0.86 %)<br>fees 0.60 USDT<br>held 1 h 5 min"


def test_without_an_out_of_sample_part_nothing_is_marked() -> None:
    drawn = Page(report("one part", [part()])).drawn
    assert all("shapes" not in chart["layout"] for chart in drawn.values())


HOSTILE: Final = """</script></title><script>alert(1)</script><img src=x onerror="alert('2')">&amp;"""


def test_what_people_wrote_is_text() -> None:
    hostile = part(HOSTILE, [trip(10, HOSTILE)], pairs=[HOSTILE])
    page = Page(report(HOSTILE, [hostile, evolve(hostile, name="out of sample")]))
    assert page.texts["title"] == [f"Backtest: {HOSTILE}"]
    assert page.texts["h1"] == [f"Backtest: {HOSTILE}"]
    assert page.texts["h3"][-1] == f"{HOSTILE}: price and trades"
    assert page.tables["trades"][1][1] == HOSTILE
    assert len(page.all("script")) == 3
    assert page.all("img") == []
    # Plotly reads some texts as markup: none of them is a person's.
    assert "alert" not in json.dumps(page.drawn)


def test_nothing_is_loaded_from_outside(text: str) -> None:
    page = Page(text)
    loading = {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}
    assert [attrs for _, attrs in page.elements if loading & attrs.keys()] == []
    assert "@import" not in page.texts["style"][0]
    assert "url(" not in page.texts["style"][0]
    (policy,) = (meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
    # plotly.js 4 shows a button that uploads the chart, unless it is told not to.
    assert "showSendToCloud: false" in page.texts["script"][-1]
    assert len(re.findall(r"plotly\.js v\d", text)) == 1


def test_it_can_be_read_by_all(text: str) -> None:
    page = Page(text)
    assert page.all("html") == [{"lang": "en"}]
    assert text.startswith("<!DOCTYPE html>\n")
    assert [meta["content"] for meta in page.all("meta") if meta.get("name") == "color-scheme"] == ["light dark"]
    assert len(page.texts["h1"]) == 1
    assert page.texts["caption"] == ["Figures", "The gate", "By pair", "By month", "Trades"]
    assert {th.get("scope") for th in page.all("th")} == {"col", "row"}
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs}
    assert named <= set(ids)


def test_equal_input_makes_equal_text(text: str) -> None:
    trips = [trip(10), trip(90)]
    assert report("again", [part(trips=trips)]) == report("again", [part(trips=trips)])


def test_a_run_without_trades_prices_or_time() -> None:
    page = Page(report("nothing", [part(equities=["1000"], pairs=[])]))
    assert page.tables["trades"][1] == ["none"]
    assert page.tables["pairs"][1] == ["none"]
    assert page.rows("figures")["Sharpe ratio"] == ["–"]
    assert list(page.drawn) == ["chart-1", "chart-2"]
    quiet = Page(report("prices alone", [part()]))
    assert [data["x"] for data in quiet.drawn["chart-3"]["data"][1:]] == [[], []]


# --- thinning

HEIGHTS = st.lists(st.integers(-1000, 1000), min_size=1, max_size=300)


@given(HEIGHTS, st.integers(4, 40))
def test_thinning_keeps_the_ends_the_extremes_and_the_order(heights: list[int], limit: int) -> None:
    points = [(minute(number), Decimal(height)) for number, height in enumerate(heights)]
    kept = thinned(points, limit)
    assert len(kept) <= max(limit, 1)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert [*kept] == sorted(set(kept))
    assert set(kept) <= set(points)
    for extreme in (min, max):
        assert extreme(height for _, height in kept) == extreme(heights)


def test_a_long_curve_is_drawn_thin() -> None:
    equities = ["1000"] * 12_000
    equities[7_777], equities[7_778] = "1300", "700"
    page = Page(report("long", [part(equities=equities, pairs=[])]))
    equity, drawdown = (chart["data"][0]["y"] for chart in page.drawn.values())
    assert len(equity) <= POINTS
    assert (min(equity), max(equity)) == (700, 1300)
    assert min(drawdown) == pytest.approx(-600 / 1300)
    assert any("Of 12,000 points at most 5,000 are drawn" in words for words in page.texts["figcaption"])
