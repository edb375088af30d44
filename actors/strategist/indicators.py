"""Indicators, incremental: O(1) a candle for any window, None until they are warm.

They are floats, computed in one order of operations everywhere, so a restart and a backtest see the same digits. Their
whole state is in their attributes, so that a checkpoint can carry it. They count candles: a gap is not filled, the
candle after it follows the one before it. What each says, in which unit, and when it is warm is in
`protocol.strategy.INDICATORS`.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Any, Final

from attrs import Factory, define

from protocol.market import Candle
from protocol.strategy import Condition, IndicatorName


@define
class PriceVsSma:
    """close / SMA(window) - 1. The running sum is recomputed once a window, so that rounding never piles up."""

    window: int
    closes: list[float] = Factory(list)
    at: int = 0
    total: float = 0.0

    def update(self, close: float, _: Candle) -> float | None:
        closes, at, window = self.closes, self.at, self.window
        if len(closes) < window:
            closes.append(close)
            self.total += close
            return close / (self.total / window) - 1 if len(closes) == window else None
        self.total += close - closes[at]
        closes[at] = close
        self.at = at = at + 1 if at + 1 < window else 0
        if not at:
            self.total = sum(closes)
        return close / (self.total / window) - 1


@define
class Rsi:
    """Wilder's relative strength index, 0 to 100 (New Concepts in Technical Trading Systems, 1978): the first averages
    are plain means of `window` changes, then smoothed by 1/window. 50 where nothing moved."""

    window: int
    previous: float | None = None
    seen: int = 0
    gain: float = 0.0
    loss: float = 0.0

    def update(self, close: float, _: Candle) -> float | None:
        previous, self.previous = self.previous, close
        if previous is None:
            return None
        change, window = close - previous, self.window
        if self.seen < window:
            self.seen += 1
            if change > 0:
                self.gain += change / window
            else:
                self.loss -= change / window
            if self.seen < window:
                return None
        elif change > 0:
            self.gain += (change - self.gain) / window
            self.loss -= self.loss / window
        else:
            self.gain -= self.gain / window
            self.loss += (-change - self.loss) / window
        moved = self.gain + self.loss
        # Where the quotient is rounded up beyond its bound, the bound.
        return min(100 * (self.gain / moved), 100.0) if moved > 0 else 50.0


@define
class EmaCross:
    """EMA(fast) / EMA(slow) - 1, each begun with the plain mean of its first closes, then smoothed by 2 / (n + 1)
    (Appel, The Moving Average Convergence-Divergence Trading Method, 1979)."""

    fast: int
    slow: int
    seen: int = 0
    quick: float = 0.0
    steady: float = 0.0

    def update(self, close: float, _: Candle) -> float | None:
        self.seen = seen = self.seen + 1 if self.seen <= self.slow else self.seen
        self.quick = _smoothed(self.quick, close, seen, self.fast)
        self.steady = _smoothed(self.steady, close, seen, self.slow)
        return self.quick / self.steady - 1 if seen >= self.slow else None


def _smoothed(average: float, close: float, seen: int, window: int) -> float:
    """An EMA's next value; a running sum of what makes its first one, before."""
    if seen > window:
        return average + (close - average) * (2 / (window + 1))
    return average + close if seen < window else (average + close) / window


@define
class _Deviation:
    """Mean and population standard deviation of the last `window` values. The sums are of distances from a value of the
    window, so that large values with small moves keep their digits, and are recomputed once a window."""

    window: int
    values: list[float] = Factory(list)
    at: int = 0
    home: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> tuple[float, float] | None:
        values, at = self.values, self.at
        if len(values) < self.window:
            values.append(value)
            if len(values) < self.window:
                return None
            self._recompute()
        else:
            new, old = value - self.home, values[at] - self.home
            self.total += new - old
            self.squares += new * new - old * old
            values[at] = value
            self.at = at + 1 if at + 1 < self.window else 0
            if not self.at:
                self._recompute()
        mean = self.total / self.window
        return self.home + mean, sqrt(max(self.squares / self.window - mean * mean, 0.0))

    def _recompute(self) -> None:
        self.home = home = self.values[0]
        self.total = sum(value - home for value in self.values)
        self.squares = sum((value - home) * (value - home) for value in self.values)


@define
class Bollinger:
    """(close - lower) / (upper - lower), the bands `width` population standard deviations around SMA(window)
    (Bollinger on Bollinger Bands, 2001: %b). 0.5 where the bands coincide."""

    window: int
    width: float
    spread: _Deviation = Factory(lambda self: _Deviation(self.window), takes_self=True)

    def update(self, close: float, _: Candle) -> float | None:
        found = self.spread.add(close)
        if found is None:
            return None
        mean, deviation = found
        return (close - mean) / (2 * self.width * deviation) + 0.5 if deviation > 0 else 0.5


@define
class Atr:
    """Wilder's average true range / close (New Concepts in Technical Trading Systems, 1978): the true range is the
    highest of high - low and the distances of both from the close before; the first average is a plain mean of `window`
    of them, then smoothed by 1/window."""

    window: int
    previous: float | None = None
    seen: int = 0
    average: float = 0.0

    def update(self, close: float, candle: Candle) -> float | None:
        previous, self.previous = self.previous, close
        if previous is None:
            return None
        high, low = float(candle.high), float(candle.low)
        reach = max(high, previous) - min(low, previous)
        if self.seen < self.window:
            self.seen += 1
            self.average += reach / self.window
            if self.seen < self.window:
                return None
        else:
            self.average += (reach - self.average) / self.window
        return self.average / close


@define
class Momentum:
    """close / close `window` candles ago - 1."""

    window: int
    closes: list[float] = Factory(list)
    at: int = 0

    def update(self, close: float, _: Candle) -> float | None:
        if len(self.closes) < self.window:
            self.closes.append(close)
            return None
        old, self.closes[self.at] = self.closes[self.at], close
        self.at = (self.at + 1) % self.window
        return close / old - 1


@define
class Volatility:
    """Population standard deviation of the last `window` log returns, per candle. Its sums are recomputed once a
    window."""

    window: int
    previous: float | None = None
    returns: list[float] = Factory(list)
    at: int = 0
    total: float = 0.0
    squares: float = 0.0

    def update(self, close: float, _: Candle) -> float | None:
        previous, self.previous = self.previous, close
        if previous is None:
            return None
        change, returns, window = log(close / previous), self.returns, self.window
        if len(returns) < window:
            returns.append(change)
            self.total += change
            self.squares += change * change
            if len(returns) < window:
                return None
        else:
            at = self.at
            old, returns[at] = returns[at], change
            self.total += change - old
            self.squares += change * change - old * old
            self.at = at = at + 1 if at + 1 < window else 0
            if not at:
                self.total = sum(returns)
                self.squares = sum([change * change for change in returns])
        mean = self.total / window
        return sqrt(max(self.squares / window - mean * mean, 0.0))


@define
class VolumeZ:
    """(volume - mean) / population standard deviation of the last `window` volumes, this one included; 0 where they are
    all the same."""

    window: int
    spread: _Deviation = Factory(lambda self: _Deviation(self.window), takes_self=True)

    def update(self, _: float, candle: Candle) -> float | None:
        volume = float(candle.volume)
        found = self.spread.add(volume)
        if found is None:
            return None
        mean, deviation = found
        return (volume - mean) / deviation if deviation > 0 else 0.0


@define
class Breakout:
    """(close - lowest low) / (highest high - lowest low) of the `window` candles before this one (Donchian's channel).
    Where that channel has no height: 0.5 on it, 2 above, -1 below.

    Highs and lows are kept as (number, value), each list without those that a later one outdoes, so the first is the
    channel's bound: each candle enters and leaves once.
    """

    window: int
    seen: int = 0
    highs: list[tuple[int, float]] = Factory(list)
    lows: list[tuple[int, float]] = Factory(list)

    def update(self, close: float, candle: Candle) -> float | None:
        found = self._place(close) if self.seen >= self.window else None
        high, low, number = float(candle.high), float(candle.low), self.seen
        self.seen = number + 1
        highs, lows = self.highs, self.lows
        while highs and highs[-1][1] <= high:
            highs.pop()
        highs.append((number, high))
        while lows and lows[-1][1] >= low:
            lows.pop()
        lows.append((number, low))
        if highs[0][0] <= number - self.window:
            del highs[0]
        if lows[0][0] <= number - self.window:
            del lows[0]
        return found

    def _place(self, close: float) -> float:
        top, bottom = self.highs[0][1], self.lows[0][1]
        if top > bottom:
            return (close - bottom) / (top - bottom)
        return 0.5 if close == top else 2.0 if close > top else -1.0


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
