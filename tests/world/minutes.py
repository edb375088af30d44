"""Made-up minute candles and the strategy that every backtester can run on them: what the oracle and the benchmark
compare us on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import yaml

PAIR: Final = "BTC/USDT"
BEGINS: Final = datetime(2020, 1, 1, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
FEE: Final = 0.001

SPEC: Final[dict[str, Any]] = {
    "market_mode": "spot",
    "name": "oracle",
    "signals": {
        "entry": {
            "all_of": [
                {"indicator": "rsi", "op": "<", "value": 30, "window": 14},
                {"indicator": "price_vs_sma", "op": "<", "value": 0, "window": 20},
            ]
        },
        "exit": {"all_of": [{"indicator": "rsi", "op": ">", "value": 55, "window": 14}]},
    },
    "params": {"position_size_pct": 100, "max_concurrent": 1},
}
# A fee of 0.1 %, the next bar's open, and no other rule.
SETTINGS: Final = """
[strategy]
fee_multiple = 0
[risk]
preset = "off"
[paper]
fee_bps = 10
slippage_bps = 0
gas_usdt = 0
impact = "none"
fill_at = "next_open"
"""


class Bar(NamedTuple):
    """A candle and the time it opened."""

    opened: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


class Made(NamedTuple):
    """A round trip: when and at which price it was entered and left."""

    entered: datetime
    left: datetime
    bought_at: float
    sold_at: float


def minutes(count: int, seed: int = 7) -> Iterator[Bar]:
    """A walk that is pulled home a little, so that a mean reversion finds something. Opens are not the closes before
    them."""
    random, close = Random(seed), 20_000.0
    for number in range(count):
        home = 20_000 * (1 + 0.2 * math.sin(number / 40_000))
        opened = round(close * (1 + random.gauss(0, 0.0001)), 2)
        close = round(opened * (1 + 0.015 * (home / opened - 1) + random.gauss(0, 0.0008)), 2)
        high = round(max(opened, close) * (1 + abs(random.gauss(0, 0.0003))), 2)
        low = round(min(opened, close) * (1 - abs(random.gauss(0, 0.0003))), 2)
        yield Bar(BEGINS + number * MINUTE, opened, high, low, close, round(random.uniform(0.5, 20), 3))


def write(folder: Path, count: int, seed: int = 7) -> tuple[Path, Path, Path]:
    """The candles as CSV, the strategy, and the settings."""
    candles, spec, settings = folder / "minutes.csv", folder / "oracle.yaml", folder / "oracle.toml"
    with candles.open("w") as file:
        file.write("time,open,high,low,close,volume\n")
        for bar in minutes(count, seed):
            opened = int(bar.opened.timestamp())
            file.write(f"{opened},{bar.open:.2f},{bar.high:.2f},{bar.low:.2f},{bar.close:.2f},{bar.volume:.3f}\n")
    spec.write_text(yaml.safe_dump(SPEC, sort_keys=False))
    settings.write_text(SETTINGS)
    return candles, spec, settings


def wilder_rsi(closes: list[float], window: int) -> list[float]:
    """By the book: nan while it is cold."""
    found, gain, loss = [math.nan] * len(closes), 0.0, 0.0
    for index in range(1, len(closes)):
        change = closes[index] - closes[index - 1]
        up, down = max(change, 0.0), max(-change, 0.0)
        if index <= window:
            gain, loss = gain + up / window, loss + down / window
        else:
            gain, loss = (gain * (window - 1) + up) / window, (loss * (window - 1) + down) / window
        if index >= window:
            found[index] = 100.0 if loss == 0 else 100 - 100 / (1 + gain / loss)
    return found


def simple_average(closes: list[float], window: int) -> list[float]:
    """nan while it is cold."""
    cold = [math.nan] * (window - 1)
    return cold + [math.fsum(closes[end - window : end]) / window for end in range(window, len(closes) + 1)]


def plain_loop(bars: list[Bar]) -> list[Made]:
    """The strategy as a newcomer would write it: no class of ours, no order, no book."""
    closes = [bar.close for bar in bars]
    rsi, average = wilder_rsi(closes, 14), simple_average(closes, 20)
    made, bought, wish = [], None, None
    for index, bar in enumerate(bars):
        if wish == "buy":
            bought = bar
        elif wish == "sell" and bought is not None:
            made.append(Made(bought.opened, bar.opened, bought.open, bar.open))
            bought = None
        wish = None
        if bought is None and rsi[index] < 30 and bar.close < average[index]:
            wish = "buy"
        elif bought is not None and rsi[index] > 55:
            wish = "sell"
    return made
