"""Indicators, incremental: O(1) a candle for any window (amortized), None until they are warm.

They are floats, computed in one order of operations everywhere, so a restart and a backtest see the same digits. Their
whole state is in their attributes, plain numbers and lists of them, so that a checkpoint can carry it. What each says
to people is in `protocol.strategy.INDICATORS`.

They count candles: a gap is not filled, the candle after it follows the one before it.

A window is kept as the block of candles under way and the rest of the full block before it. Sums and extremes over
every rest are made once, when a block is full; from then on each candle drops one and adds to the block's own. So
nothing is ever taken out of a sum again: rounding never piles up, and a huge value leaves no trace when it is gone.
Sums are of distances from `home`, the last value of the block before, which is in the window for as long: where nothing
moves they are exactly 0. They are added up one by one since `sum` gives other digits from Python 3.12 on.
"""

from __future__ import annotations

from itertools import accumulate
from math import log, sqrt
from typing import Any, Final

from attrs import define, field

from protocol.market import Candle
from protocol.strategy import Condition, IndicatorName


@define
class PriceVsSma:
    """close / SMA(window) - 1, a fraction: Nison's disparity index (Beyond Candlesticks, 1994). Warm after `window`
    candles."""

    window: int
    closes: list[float] = field(factory=list)
    rests: list[float] = field(factory=list)
    home: float = 0.0
    total: float = 0.0

    def update(self, close: float, _: Candle) -> float | None:
        self.closes.append(close)
        if not self.rests:
            return self._next_block(close)
        home = self.home
        self.total = total = self.total + (close - home)
        return close / (home + (self.rests.pop() + total) / self.window) - 1

    def _next_block(self, close: float) -> float | None:
        if len(self.closes) < self.window:
            return None
        self.home, self.total = close, 0.0
        self.rests = list(accumulate([c - close for c in reversed(self.closes)]))
        self.closes.clear()
        return close / (close + self.rests.pop() / self.window) - 1


@define
class Rsi:
    """Wilder's relative strength index, 100 * gain / (gain + loss), 0 to 100 (New Concepts in Technical Trading
    Systems, 1978): the first averages are plain means of `window` changes, then smoothed by 1/window. Warm after
    `window` + 1 candles; 50 where nothing moved."""

    window: int
    previous: float | None = None
    seen: int = 0  # changes; no more than `window`
    gain: float = 0.0
    loss: float = 0.0

    def update(self, close: float, _: Candle) -> float | None:
        previous, self.previous = self.previous, close
        if previous is None:
            return None
        seen, window = self.seen, self.window
        if seen < window:
            self.seen = seen = seen + 1
        # A plain mean of the first `seen` is smoothing by 1/seen.
        change, gain, loss = close - previous, self.gain, self.loss
        if change > 0:
            self.gain = gain = gain + (change - gain) / seen
            self.loss = loss = loss - loss / seen
        else:
            self.gain = gain = gain - gain / seen
            self.loss = loss = loss - (change + loss) / seen
        if seen < window:
            return None
        moved = gain + loss
        return 100 * (gain / moved) if moved > 0 else 50.0


@define
class EmaCross:
    """EMA(fast) / EMA(slow) - 1 of closes, a fraction: Appel's convergence-divergence (The Moving Average
    Convergence-Divergence Trading Method, 1979) against the slow average. An EMA(n) begins as the plain mean of the
    first n closes, then moves by 2 / (n + 1). Warm after `slow` candles."""

    fast: int
    slow: int
    seen: int = 0  # candles; no more than `slow` + 1
    quick: float = 0.0
    steady: float = 0.0

    def update(self, close: float, _: Candle) -> float | None:
        fast, slow, seen, quick, steady = self.fast, self.slow, self.seen, self.quick, self.steady
        if seen <= slow:
            self.seen = seen = seen + 1
        self.quick = quick = quick + (close - quick) / (seen if seen <= fast else (fast + 1) / 2)
        self.steady = steady = steady + (close - steady) / (seen if seen <= slow else (slow + 1) / 2)
        return quick / steady - 1 if seen >= slow else None


@define
class _Spread:
    """The last `window` values by their mean and their population standard deviation."""

    window: int
    values: list[float] = field(factory=list, kw_only=True)
    rests: list[float] = field(factory=list, kw_only=True)
    square_rests: list[float] = field(factory=list, kw_only=True)
    home: float = field(default=0.0, kw_only=True)
    total: float = field(default=0.0, kw_only=True)
    squares: float = field(default=0.0, kw_only=True)

    def _take(self, value: float) -> tuple[float, float] | None:
        """How far `value`, now the last, is above the mean, and the deviation. None until there are `window`."""
        self.values.append(value)
        if not self.rests and not self._next_block(value):
            return None
        window, distance = self.window, value - self.home
        self.total = total = self.total + distance
        self.squares = squares = self.squares + distance * distance
        # No value is further than sqrt(window) deviations from the mean, `home` neither: what is lost to the
        # subtraction is bounded.
        mean = (self.rests.pop() + total) / window
        variance = (self.square_rests.pop() + squares) / window - mean * mean
        return distance - mean, sqrt(variance) if variance > 0 else 0.0

    def _next_block(self, home: float) -> bool:
        if len(self.values) < self.window:
            return False
        self.home, self.total, self.squares = home, 0.0, 0.0
        distances = [value - home for value in reversed(self.values)]
        self.rests = list(accumulate(distances))
        self.square_rests = list(accumulate([distance * distance for distance in distances]))
        self.values.clear()
        return True


@define
class Bollinger(_Spread):
    """%b = (close - lower) / (upper - lower), the bands `width` population standard deviations below and above
    SMA(window) (Bollinger on Bollinger Bands, 2001): 0 at the lower, 1 at the upper, 0.5 where they coincide. Warm
    after `window` candles."""

    width: float

    def update(self, close: float, _: Candle) -> float | None:
        found = self._take(close)
        if found is None:
            return None
        above, deviation = found
        return above / (2 * self.width * deviation) + 0.5 if deviation > 0 else 0.5


@define
class Atr:
    """Wilder's average true range / close, a fraction (New Concepts in Technical Trading Systems, 1978). The true range
    is the longest of high - low and the distances of both from the close before; the first average is the plain mean of
    `window` of them, then smoothed by 1/window. Warm after `window` + 1 candles, as the first has no close before."""

    window: int
    previous: float | None = None
    seen: int = 0  # true ranges; no more than `window`
    average: float = 0.0

    def update(self, close: float, candle: Candle) -> float | None:
        previous, self.previous = self.previous, close
        if previous is None:
            return None
        high, low, seen, window = float(candle.high), float(candle.low), self.seen, self.window
        if seen < window:
            self.seen = seen = seen + 1
        reach = (high if high > previous else previous) - (low if low < previous else previous)
        self.average = average = self.average + (reach - self.average) / seen
        return average / close if seen == window else None


@define
class Momentum:
    """close / close `window` candles ago - 1, a fraction: the rate of change (Murphy, Technical Analysis of the
    Financial Markets, 1999). Warm after `window` + 1 candles."""

    window: int
    closes: list[float] = field(factory=list)
    at: int = 0

    def update(self, close: float, _: Candle) -> float | None:
        closes, at, window = self.closes, self.at, self.window
        if len(closes) < window:
            closes.append(close)
            return None
        old, closes[at] = closes[at], close
        self.at = at + 1 if at + 1 < window else 0
        return close / old - 1


@define
class Volatility(_Spread):
    """Population standard deviation of the last `window` logarithmic returns, a fraction per candle: close-to-close
    volatility (Hull, Options, Futures, and Other Derivatives), over n instead of n - 1 and not made annual. Warm after
    `window` + 1 candles."""

    previous: float | None = None

    def update(self, close: float, _: Candle) -> float | None:
        previous, self.previous = self.previous, close
        if previous is None:
            return None
        found = self._take(log(close / previous))
        return None if found is None else found[1]


@define
class VolumeZ(_Spread):
    """(volume - mean) / population standard deviation of the last `window` volumes, this one included, in standard
    deviations: the standard score of statistics. Warm after `window` candles; 0 where all volumes are the same."""

    def update(self, _: float, candle: Candle) -> float | None:
        found = self._take(float(candle.volume))
        if found is None:
            return None
        above, deviation = found
        return above / deviation if deviation > 0 else 0.0


@define
class Breakout:
    """(close - lowest low) / (highest high - lowest low) of the `window` candles before this one, in channel widths:
    Donchian's channel (Faith, Way of the Turtle, 2007). Warm after `window` + 1 candles. A channel without height has
    no widths to count in: 0.5 where the close is on it, 2 above, -1 below."""

    window: int
    top: float | None = None
    bottom: float | None = None
    highs: list[float] = field(factory=list)
    lows: list[float] = field(factory=list)
    high_rests: list[float] = field(factory=list)
    low_rests: list[float] = field(factory=list)
    highest: float = 0.0
    lowest: float = 0.0

    def update(self, close: float, candle: Candle) -> float | None:
        top, bottom = self.top, self.bottom
        self._take(float(candle.high), float(candle.low))
        if top is None or bottom is None:
            return None
        if top > bottom:
            return (close - bottom) / (top - bottom)
        return 0.5 if close == top else 2.0 if close > top else -1.0

    def _take(self, high: float, low: float) -> None:
        """Make this candle the channel's last."""
        self.highs.append(high)
        self.lows.append(low)
        if not self.high_rests and not self._next_block(high, low):
            return
        highest, lowest, top, bottom = self.highest, self.lowest, self.high_rests.pop(), self.low_rests.pop()
        if high > highest:
            self.highest = highest = high
        if low < lowest:
            self.lowest = lowest = low
        self.top = top if top > highest else highest
        self.bottom = bottom if bottom < lowest else lowest

    def _next_block(self, high: float, low: float) -> bool:
        if len(self.highs) < self.window:
            return False
        # The block begins with the last candle of the one before, which is in the channel for as long.
        self.highest, self.lowest = high, low
        self.high_rests = list(accumulate(reversed(self.highs), max))
        self.low_rests = list(accumulate(reversed(self.lows), min))
        self.highs.clear()
        self.lows.clear()
        return True


Indicator = PriceVsSma | Rsi | EmaCross | Bollinger | Atr | Momentum | Volatility | VolumeZ | Breakout
INDICATORS: Final[dict[IndicatorName, type[Indicator]]] = {
    "price_vs_sma": PriceVsSma,
    "rsi": Rsi,
    "ema_cross": EmaCross,
    "bollinger": Bollinger,
    "atr": Atr,
    "momentum": Momentum,
    "volatility": Volatility,
    "volume_z": VolumeZ,
    "breakout": Breakout,
}


def made(condition: Condition) -> Indicator:
    """The indicator that the condition looks at, cold."""
    kind: Any = INDICATORS[condition.indicator]
    found: Indicator = kind(*condition.arguments)
    return found
