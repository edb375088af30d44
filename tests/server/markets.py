"""Small markets made from a seed: files in which trades, skips, vetoes and rejected quotes happen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from protocol.times import to_wire

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
PAIRS = ("ETH/USDT", "LTC/USDT")
BARS = 858  # ends with a position open

# Trades often, and under limits that are reached now and then.
SETTINGS = """\
[strategy]
fee_multiple = 2
spec = "strategy.yaml"

[risk]
max_consecutive_losses = 2
max_drawdown_pct = 12
daily_drawdown_pct = 3

[evaluation]
eval_window_days = 3
trade_floor = 4
"""
STRATEGY = """\
market_mode: spot
name: often
signals:
  entry: {all_of: [{indicator: price_vs_sma, op: "<=", value: -0.015, window: 24}]}
  exit: {any_of: [{indicator: price_vs_sma, op: ">=", value: 0.0, window: 24}]}
regime_filter: {stand_aside_when: [{indicator: volatility, op: ">=", value: 0.022, window: 24}]}
params: {position_size_pct: 90, max_concurrent: 1}
"""


def walk(seed: int, bars: int) -> list[float]:
    """Closes of a market that is now calm, now wild, and always pulled back to where it began."""
    random, closes, price, sigma = Random(seed), list[float](), 100.0, 0.006
    for bar in range(bars):
        if bar % 40 == 0:
            sigma = random.choice((0.002, 0.006, 0.012, 0.025))
        price *= 1 + random.gauss(0.0, sigma) + 0.01 * (100 - price) / 100
        closes.append(price)
    return closes


def write_candles(path: Path, closes: Sequence[float], begin: datetime = BEGIN) -> Path:
    """Hourly candles with these closes."""
    lines, last = ["time,open,high,low,close,volume"], closes[0]
    for hour, close in enumerate(closes):
        at = (begin + timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines.append(f"{at},{last:.6f},{max(last, close):.6f},{min(last, close):.6f},{close:.6f},100")
        last = close
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def end_of(bars: int = BARS) -> str:
    """When the last of so many candles closes."""
    return to_wire(BEGIN + timedelta(hours=bars))


def busy_flags(folder: Path, bars: int = BARS, speed: str = "max") -> list[str]:
    """Write a busy market and its settings; the flags that replay it. The first pair has a reference that strays."""
    flags = ["--speed", speed, "--config", str(write_settings(folder))]
    for seed, pair in enumerate(PAIRS, start=1):
        name = pair.split("/")[0].lower()
        closes = walk(seed, bars)
        flags += ["--replay", f"{pair}={write_candles(folder / f'{name}.csv', closes)}"]
        if seed == 1:
            strays = [close * (1.03 if hour // 12 % 4 == 0 else 1.0) for hour, close in enumerate(closes)]
            flags += ["--reference", f"{pair}={write_candles(folder / f'{name}-elsewhere.csv', strays)}"]
    return flags


def write_settings(folder: Path) -> Path:
    """A settings file, and beside it the strategy that it names."""
    (folder / "strategy.yaml").write_text(STRATEGY, encoding="utf-8")
    path = folder / "busy.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    return path
