"""A backtest as one HTML file, that opens without a network: figures as tables, charts by plotly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from attrs import frozen

from protocol.money import pct, price, usdt
from server.backtesting.metrics import drawdowns
from server.backtesting.plan import Part, gate_as_plain
from server.backtesting.record import Record, RoundTrip

POINTS: Final = 5_000  # of a line: more than a screen has columns
MARKED: Final = 2_000  # round trips drawn on a chart: more are too many to point at, and slow
LISTED: Final = 1_000  # round trips in the table
UNDEFINED: Final = "–"
Point = tuple[datetime, Decimal]


@frozen
class Table:
    """Each row's first cell is its heading. Cells are text; the template escapes them."""

    id: str
    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    note: str = ""


@frozen
class Chart:
    """`data` and `layout` as plotly.js takes them. Colours of text and grid are the page's own, set where it is drawn;
    `words` say what can be seen."""

    id: str
    heading: str
    words: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


def report(title: str, parts: Sequence[Part], *, library: str | None = None) -> str:
    """The page. The first part is the one that is drawn and listed, the others' figures stand beside its own; where one
    is named "out of sample", its begin is marked. Equal input makes equal text. `library` stands where plotly.js would,
    which is most of the page."""
    from jinja2 import Environment, StrictUndefined  # only who asks for a page pays for it

    whole = parts[0]
    charts = _charts(whole, _split(parts))
    pages = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pages.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return pages.from_string(PAGE).render(
        title=title,
        summary=_summary(whole),
        verdicts=[_verdict(part) for part in parts],
        figures=_figures(parts),
        gate=_gate(parts),
        charts=charts,
        drawn={chart.id: {"data": chart.data, "layout": chart.layout} for chart in charts},
        tables=[_per_pair(whole), _per_month(whole), _trades(whole.record.trips)],
        style=STYLE,
        script=SCRIPT,
        plotly=plotly_js() if library is None else library,
    )


def plotly_js() -> str:
    """The chart library, as it is put into a page."""
    from plotly.offline import get_plotlyjs

    found: str = get_plotlyjs()
    return found


def thinned(points: Sequence[Point], limit: int = POINTS) -> Sequence[Point]:
    """At most `limit` of the points, in their order: the first, the last, and of each of equal buckets between them the
    lowest and the highest, so that no peak and no trough is drawn away. `limit` is at least 4."""
    if len(points) <= limit:
        return points
    inner, buckets = points[1:-1], limit // 2 - 1
    kept = [points[0]]
    for number in range(buckets):
        bucket = inner[number * len(inner) // buckets : (number + 1) * len(inner) // buckets]
        extremes = (min(bucket, key=_height), max(bucket, key=_height))
        kept += sorted(extremes) if extremes[0] != extremes[1] else extremes[:1]
    return [*kept, points[-1]]


def _height(point: Point) -> Decimal:
    return point[1]


# --- sentences


def _summary(part: Part) -> str:
    figures = part.metrics
    return (
        f"From {_at(part.record.begins)} to {_at(part.record.ends)} UTC, {_days(figures['days'])}: "
        f"{usdt(part.record.initial)} became {usdt(part.record.final)} ({_or_undefined(pct, figures['return'])}) in "
        f"{figures['trades']:,} trades, with {usdt(part.record.fees)} of fees; at worst it was "
        f"{pct(part.record.max_drawdown)} below its peak."
    )


def _verdict(part: Part) -> str:
    missed = [_criterion(found["rule"])[0].lower() for found in _criteria(part) if not found["met"]]
    if part.gate.passed:
        return f"{part.name.capitalize()}: passes the gate to live trading."
    return f"{part.name.capitalize()}: does not pass the gate to live trading. Not met: {', '.join(missed)}."


# --- tables


def _figures(parts: Sequence[Part]) -> Table:
    rows = [(label, *(_or_undefined(shown, part.metrics[key]) for part in parts)) for key, label, shown in FIGURES]
    note = (
        "Sharpe and Sortino are of daily returns over a risk-free rate of 0, times the root of 365. Drawdowns are of "
        f"every round, also between the points that are drawn. {UNDEFINED} stands for a figure that is undefined."
    )
    return Table("figures", "Figures", ("", *(part.name for part in parts)), rows, note)


def _gate(parts: Sequence[Part]) -> Table:
    rows = []
    for first, *others in zip(*map(_criteria, parts), strict=True):
        label, wanted, shown = _criterion(first["rule"])
        cells = (f"{shown(found['current'])}, {'met' if found['met'] else 'not met'}" for found in (first, *others))
        rows.append((label, wanted.format(shown(first["limit"])), *cells))
    rows.append(("All of them", "", *("met" if part.gate.passed else "not met" for part in parts)))
    note = "The criteria by which a paper record earns the right to go live, applied to each part as if it were one."
    return Table("gate", "The gate", ("Criterion", "Wanted", *(part.name for part in parts)), rows, note)


def _per_pair(part: Part) -> Table:
    columns = ("Pair", "Trades", "PnL, USDT", "Fees, USDT", "Slippage, USDT", "Win rate", "Expectancy, USDT",
               "Profit factor", "Time held")  # fmt: skip
    rows = [
        (
            pair, f"{of['trades']:,}", _money(of["pnl"]), _money(of["fees"]), _money(of["slippage"]),
            _or_undefined(pct, of["win_rate"]), _or_undefined(_money, of["expectancy"]),
            _or_undefined(_ratio, of["profit_factor"]), _or_undefined(pct, of["exposure"]),
        )
        for pair, of in part.metrics["per_pair"].items()
    ]  # fmt: skip
    return Table("pairs", "By pair", columns, rows, "Of closed trades; the time held includes what is still open.")


def _per_month(part: Part) -> Table:
    columns = ("Month", "Return", "PnL of trades, USDT", "Trades", "Fees, USDT", "Win rate")
    rows = [
        (
            month, _or_undefined(pct, of["return"]), _money(of["pnl"]), f"{of['trades']:,}", _money(of["fees"]),
            _or_undefined(pct, of["win_rate"]),
        )
        for month, of in part.metrics["per_month"].items()
    ]  # fmt: skip
    note = "In UTC. The return is the equity's, open positions included; trades belong to the month of their exit."
    return Table("months", "By month", columns, rows, note)


def _trades(trips: Sequence[RoundTrip]) -> Table:
    columns = ("Number", "Pair", "Entry, UTC", "Exit, UTC", "Held", "Entry price", "Exit price", "Size, USDT",
               "PnL, USDT", "Fees, USDT", "Slippage, USDT", "Return")  # fmt: skip
    listed = list(enumerate(trips, 1))[-LISTED:]
    rows = [
        (
            f"{number:,}", trip.pair, _at(trip.entry_ts), _at(trip.exit_ts), _span(trip.exit_ts - trip.entry_ts),
            price(trip.entry_price), price(trip.exit_price), _money(trip.size), _money(trip.pnl), _money(trip.fees),
            _money(trip.slippage), pct(trip.return_),
        )
        for number, trip in reversed(listed)
    ]  # fmt: skip
    note = "Newest first. PnL is after fees; fees and slippage are of both legs."
    if len(trips) > LISTED:
        note = f"Only the newest {LISTED:,} of {len(trips):,} trades are listed. {note}"
    return Table("trades", "Trades", columns, rows, note)


# --- charts


def _charts(part: Part, split: datetime | None) -> list[Chart]:
    charts = [_equity(part.record, split), _drawdown(part.record, split)]
    for pair, closes in part.prices.items():
        trips = [trip for trip in part.record.trips if trip.pair == pair]
        if closes or trips:
            charts.append(_price(f"chart-{len(charts) + 1}", pair, closes, trips, split))
    return charts


def _equity(record: Record, split: datetime | None) -> Chart:
    lowest, highest = (extreme(record.curve, key=_height) for extreme in (min, max))
    words = (
        f"The equity's lowest point is {usdt(lowest[1])} on {_at(lowest[0])}, its highest {usdt(highest[1])} on "
        f"{_at(highest[0])}.{_thinning(len(record.curve))}{_marking(split)}"
    )
    data = [_line("equity", thinned(record.curve), "%{x}<br>%{y:,.2f} USDT")]
    return Chart("chart-1", "Equity", words, data, _layout("USDT", split))


def _drawdown(record: Record, split: datetime | None) -> Chart:
    falls = [(at, -fall) for at, fall in drawdowns(record.curve)]
    deepest = min(falls, key=_height)
    words = f"Below the highest equity so far; at most {pct(-deepest[1])}, on {_at(deepest[0])}.{_thinning(len(falls))}"
    data = [{**_line("drawdown", thinned(falls), "%{x}<br>%{y:.2%}"), "fill": "tozeroy"}]
    return Chart("chart-2", "Drawdown from the peak", words, data, _layout("", split, tickformat=".1%"))


def _price(
    id_: str, pair: str, closes: Sequence[Point], trips: Sequence[RoundTrip], split: datetime | None
) -> Chart:  # fmt: skip
    drawn = trips[-MARKED:]
    which = f"the newest {MARKED:,} of {len(trips):,}" if len(trips) > MARKED else f"{len(trips):,}"
    words = (
        f"Closes, sampled, and {which} trades: a green triangle that points up is an entry, an orange one that points "
        "down an exit."
    )
    data = [
        _line("close", thinned(closes), "%{x}<br>%{y:,.8~r}"),
        _markers("entry", "triangle-up", "#15804a", [(trip.entry_ts, trip.entry_price) for trip in drawn], drawn),
        _markers("exit", "triangle-down", "#c8590f", [(trip.exit_ts, trip.exit_price) for trip in drawn], drawn),
    ]
    return Chart(id_, f"{pair}: price and trades", words, data, _layout("USDT", split, hovermode="closest"))


def _line(name: str, points: Sequence[Point], hover: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        **_xy(points),
        "line": {"color": "#3b82c4", "width": 1.2},
        "hovertemplate": hover + "<extra></extra>",
    }


def _markers(
    name: str, symbol: str, colour: str, points: Sequence[Point], trips: Sequence[RoundTrip]
) -> dict[str, Any]:
    """Where the trades begin or end; what is shown on pointing at one is about the whole trade."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        **_xy(points),
        "marker": {"symbol": symbol, "color": colour, "size": 8},
        "text": [_hover(trip) for trip in trips],
        "hovertemplate": name + " %{x}<br>price %{y:,.8~r}<br>%{text}<extra></extra>",
    }


def _hover(trip: RoundTrip) -> str:
    """Numbers alone: plotly reads this as markup."""
    return (
        f"size {usdt(trip.size)}<br>PnL {usdt(trip.pnl)} ({pct(trip.return_)})<br>fees {usdt(trip.fees)}<br>"
        f"held {_span(trip.exit_ts - trip.entry_ts)}"
    )


def _xy(points: Iterable[Point]) -> dict[str, list[Any]]:
    """plotly.js reads a time without a zone as UTC, and shows it so."""
    times, heights = [], []
    for at, height in points:
        times.append(at.strftime("%Y-%m-%d %H:%M:%S"))
        heights.append(float(height))
    return {"x": times, "y": heights}


def _layout(unit: str, split: datetime | None, *, tickformat: str = "", hovermode: str = "x") -> dict[str, Any]:
    layout: dict[str, Any] = {
        "height": 380,
        "margin": {"l": 64, "r": 12, "t": 28, "b": 40},
        "hovermode": hovermode,
        "showlegend": hovermode == "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.1},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {"type": "date"},
        "yaxis": {"title": {"text": unit}, "tickformat": tickformat},
    }
    if split is not None:
        x = split.strftime("%Y-%m-%d %H:%M:%S")
        line = {"color": "#8a63c9", "dash": "dash", "width": 1.5}
        layout["shapes"] = [
            {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "xref": "x", "yref": "paper", "line": line}
        ]
        layout["annotations"] = [
            {"x": x, "y": 0, "xref": "x", "yref": "paper", "xanchor": "left", "yanchor": "bottom",
             "showarrow": False, "text": "out of sample"}
        ]  # fmt: skip
    return layout


def _split(parts: Sequence[Part]) -> datetime | None:
    """Where the out-of-sample part begins."""
    return next((part.record.begins for part in parts[1:] if part.name == "out of sample"), None)


def _thinning(count: int) -> str:
    return f" Of {count:,} points at most {POINTS:,} are drawn, all extremes among them." if count > POINTS else ""


def _marking(split: datetime | None) -> str:
    return "" if split is None else f" The dashed line is the begin of the out-of-sample part, {_at(split)}."


# --- words


def _or_undefined(shown: Callable[[Any], str], value: Any) -> str:
    return UNDEFINED if value is None else shown(value)


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def _ratio(value: float) -> str:
    return f"{value:,.2f}"


def _count(value: int | Decimal) -> str:
    return f"{value:,f}" if isinstance(value, Decimal) else f"{value:,}"


def _days(value: float | Decimal) -> str:
    return f"{value:,.1f}".removesuffix(".0") + " days"


def _at(at: datetime) -> str:
    """UTC, as people write it."""
    return at.strftime("%Y-%m-%d %H:%M")


def _span(span: timedelta) -> str:
    """By its two largest units.

    >>> _span(timedelta(days=2, hours=3, minutes=9)), _span(timedelta(minutes=5)), _span(timedelta(seconds=59))
    ('2 d 3 h', '5 min', '59 s')
    """
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    counts = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join([f"{count} {unit}" for count, unit in counts if count][:2]) or "0 s"


def _criteria(part: Part) -> list[dict[str, Any]]:
    criteria: list[dict[str, Any]] = gate_as_plain(part.gate)["criteria"]
    return criteria


def _criterion(rule: str) -> tuple[str, str, Callable[[Any], str]]:
    """Its label, what is wanted, and how its numbers are shown."""
    return CRITERIA.get(rule, (rule.replace("_", " ").capitalize(), "{}", _count))


CRITERIA: Final[dict[str, tuple[str, str, Callable[[Any], str]]]] = {
    "expectancy": ("Expectancy after fees", "above {}", usdt),
    "trade_floor": ("Closed trades", "at least {}", _count),
    "max_drawdown": ("Max drawdown", "below {}", pct),
    "eval_window_days": ("Days of market time", "at least {}", _days),
}

FIGURES: Final[tuple[tuple[str, str, Callable[[Any], str]], ...]] = (
    ("begins", "Begins", lambda text: text[:16].replace("T", " ")),
    ("ends", "Ends", lambda text: text[:16].replace("T", " ")),
    ("days", "Length", _days),
    ("initial", "Initial equity", usdt),
    ("final", "Final equity", usdt),
    ("return", "Return", pct),
    ("cagr", "CAGR", pct),
    ("max_drawdown", "Max drawdown", pct),
    ("daily_drawdown", "Worst drawdown of a day", pct),
    ("sharpe", "Sharpe ratio", _ratio),
    ("sortino", "Sortino ratio", _ratio),
    ("calmar", "Calmar ratio (CAGR / max drawdown)", _ratio),
    ("trades", "Closed trades", _count),
    ("win_rate", "Win rate", pct),
    ("average_win", "Average win", usdt),
    ("average_loss", "Average loss", usdt),
    ("expectancy", "Expectancy (mean PnL of a trade)", usdt),
    ("profit_factor", "Profit factor (won / lost)", _ratio),
    ("exposure", "Exposure (time held, all pairs added)", pct),
    ("turnover", "Turnover (traded / mean equity)", _ratio),
    ("executions", "Executions", _count),
    ("fees", "Fees", usdt),
    ("slippage", "Slippage, impact included", usdt),
    ("candles", "Candles decided", _count),
    ("run_s", "Deciding took", lambda seconds: f"{seconds:,.2f} s"),
    ("candles_per_s", "Candles per second", lambda rate: f"{rate:,.0f}"),
)

# --- the page. Its policy lets nothing in from outside, whatever a script would ask for.

PAGE: Final = """\
{% macro show(table) %}
<div class="scroll" role="region" tabindex="0" aria-labelledby="{{ table.id }}-caption">
<table id="{{ table.id }}">
<caption id="{{ table.id }}-caption">{{ table.caption }}</caption>
<thead><tr>
{%- for column in table.columns %}<th scope="col">{{ column }}</th>{% endfor -%}
</tr></thead>
<tbody>
{% for row in table.rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% else %}
<tr><td colspan="{{ table.columns | length }}">none</td></tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="note">{{ table.note }}</p>
{% endmacro %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Backtest: {{ title }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<main>
<h1>Backtest: {{ title }}</h1>
<p>{{ summary }}</p>
<ul>
{% for verdict in verdicts %}
<li>{{ verdict }}</li>
{% endfor %}
</ul>
<h2>Figures and gate</h2>
{{ show(figures) }}
{{ show(gate) }}
<h2>Charts</h2>
<noscript><p>The charts need JavaScript, which this browser does not run here. The tables do not.</p></noscript>
{% for chart in charts %}
<figure aria-labelledby="{{ chart.id }}-heading">
<h3 id="{{ chart.id }}-heading">{{ chart.heading }}</h3>
<div id="{{ chart.id }}" class="chart" role="img" aria-label="{{ chart.heading }}"></div>
<figcaption class="note">{{ chart.words }}</figcaption>
</figure>
{% endfor %}
<h2>Pairs, months, trades</h2>
{% for table in tables %}
{{ show(table) }}
{% endfor %}
</main>
<script type="application/json" id="drawn">{{ drawn | tojson }}</script>
<script>{{ plotly | safe }}</script>
<script>{{ script | safe }}</script>
</body>
</html>
"""

STYLE: Final = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171a; --ink: #e6e9ec; --soft: #9aa4ae; --line: #343b42; }
}
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 0; }
.scroll { overflow: auto; max-height: 80vh; margin-top: 1.5rem; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0.25rem 0; position: sticky; left: 0; }
th, td { padding: 0.25rem 0.75rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 500; background: var(--paper); }
thead th { position: sticky; top: 0; z-index: 1; color: var(--soft); }
th:first-child { text-align: left; }
.note { color: var(--soft); font-size: 0.875rem; margin: 0.5rem 0 0; }
figure { margin: 1.5rem 0 2.5rem; }
.chart { min-height: 380px; }
@media (max-width: 40rem) {
  th, td { padding: 0.25rem 0.5rem; }
  th[scope=row] { white-space: normal; min-width: 7rem; }
}
"""

# Drawn again when the reader's colours change: they are the page's, which the charts cannot inherit. By default
# plotly.js offers to upload a chart to its maker's server, by opening a window, which no policy of a page forbids.
SCRIPT: Final = """
const config = {
  responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d"],
};
const drawn = JSON.parse(document.getElementById("drawn").textContent);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function draw() {
  const axis = {gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line")};
  for (const [id, chart] of Object.entries(drawn)) {
    const layout = {...chart.layout, font: {color: colour("--ink"), family: "system-ui, sans-serif"}, uirevision: 1};
    layout.xaxis = {...layout.xaxis, ...axis};
    layout.yaxis = {...layout.yaxis, ...axis};
    layout.modebar = {bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--ink")};
    Plotly.react(id, chart.data, layout, config);
  }
}
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
"""
