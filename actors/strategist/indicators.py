"""Indicators, incremental: O(1) a bar for any window, warm after a stated number of bars, None before.

They are floats, computed in one order of operations everywhere, so a restart and a backtest see the same digits. Their
whole state is in their attributes, so that a checkpoint can carry it.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Final

from attrs import Factory, define

from protocol.strategy import IndicatorName


@define
class PriceVsSma:
    """close / SMA(window) - 1. Warm after `window` bars. The running sum is recomputed once a window, so that rounding
    never piles up."""

    window: int
    closes: list[float] = Factory(list)
    at: int = 0
    total: float = 0.0

    def update(self, close: float) -> float | None:
        if len(self.closes) < self.window:
            self.closes.append(close)
            self.total += close
        else:
            self.total += close - self.closes[self.at]
            self.closes[self.at] = close
            self.at = (self.at + 1) % self.window
            if self.at == 0:
                self.total = sum(self.closes)
        return close / (self.total / self.window) - 1 if len(self.closes) == self.window else None


@define
class Rsi:
    """Wilder's relative strength index, 0 to 100 (New Concepts in Technical Trading Systems, 1978): the first
    averages are plain means of `window` changes, then smoothed by 1/window. Warm after `window` + 1 bars; 50 where
    nothing moved."""

    window: int
    previous: float | None = None
    seen: int = 0
    gain: float = 0.0
    loss: float = 0.0

    def update(self, close: float) -> float | None:
        if self.previous is None:
            self.previous = close
            return None
        change, self.previous = close - self.previous, close
        up, down = max(change, 0.0), max(-change, 0.0)
        self.seen += 1
        if self.seen <= self.window:
            self.gain += up / self.window
            self.loss += down / self.window
        else:
            self.gain += (up - self.gain) / self.window
            self.loss += (down - self.loss) / self.window
        if self.seen < self.window:
            return None
        moved = self.gain + self.loss
        return min(100 * (self.gain / moved), 100.0) if moved > 0 else 50.0


@define
class Volatility:
    """Standard deviation (population) of the last `window` log returns, per bar. Warm after `window` + 1 bars. Sums are
    recomputed once a window."""

    window: int
    previous: float | None = None
    returns: list[float] = Factory(list)
    at: int = 0
    total: float = 0.0
    squares: float = 0.0

    def update(self, close: float) -> float | None:
        if self.previous is None:
            self.previous = close
            return None
        change, self.previous = log(close / self.previous), close
        if len(self.returns) < self.window:
            self.returns.append(change)
            self.total += change
            self.squares += change * change
        else:
            old = self.returns[self.at]
            self.total += change - old
            self.squares += change * change - old * old
            self.returns[self.at] = change
            self.at = (self.at + 1) % self.window
            if self.at == 0:
                self.total = sum(self.returns)
                self.squares = sum(r * r for r in self.returns)
        if len(self.returns) < self.window:
            return None
        mean = self.total / self.window
        return sqrt(max(self.squares / self.window - mean * mean, 0.0))


@define
class Momentum:
    """close / close `window` bars ago - 1. Warm after `window` + 1 bars."""

    window: int
    closes: list[float] = Factory(list)
    at: int = 0

    def update(self, close: float) -> float | None:
        if len(self.closes) < self.window:
            self.closes.append(close)
            return None
        old, self.closes[self.at] = self.closes[self.at], close
        self.at = (self.at + 1) % self.window
        return close / old - 1


Indicator = PriceVsSma | Rsi | Volatility | Momentum
INDICATORS: Final[dict[IndicatorName, type[Indicator]]] = {
    "price_vs_sma": PriceVsSma,
    "rsi": Rsi,
    "volatility": Volatility,
    "momentum": Momentum,
}
