"""What the strategy sees in a candle, and whether that is worth its cost. Pure but for the indicators' own state."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from math import sqrt
from typing import Any, Final, cast

from attrs import Factory, define

from actors.strategist.indicators import INDICATORS, Indicator, Volatility
from protocol.codec import from_plain
from protocol.errors import Refusal
from protocol.money import BPS, ZERO, booked, pct
from protocol.settings import AgentConfig
from protocol.strategy import AnyOrAll, Condition, IndicatorName, StrategySpec

EDGE_BARS: Final = 24
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _key(condition: Condition) -> str:
    return f"{condition.indicator}({condition.window})"


@define
class PairView:
    """One pair through the eyes of a strategy: each indicator once, its value now and one bar ago."""

    indicators: dict[str, Indicator]
    edge: Volatility = Factory(lambda: Volatility(EDGE_BARS))
    now: dict[str, float | None] = Factory(dict)
    before: dict[str, float | None] = Factory(dict)
    swing: float | None = None

    @classmethod
    def of(cls, spec: StrategySpec) -> PairView:
        return cls({_key(c): INDICATORS[c.indicator](c.window) for c in spec.conditions})

    @classmethod
    def thawed(cls, plain: dict[str, Any]) -> PairView:
        """A view out of a checkpoint; an indicator's key says its class."""
        indicators = {
            key: from_plain(state, INDICATORS[cast(IndicatorName, key.split("(")[0])])
            for key, state in plain["indicators"].items()
        }
        edge, values = from_plain(plain["edge"], Volatility), dict[str, float | None]
        now, before = from_plain(plain["now"], values), from_plain(plain["before"], values)
        return cls(indicators, edge, now, before, None if plain["swing"] is None else float(plain["swing"]))

    def see(self, close: Decimal) -> None:
        """Take in the next finished candle."""
        price = float(close)
        self.before = self.now
        self.now = {key: indicator.update(price) for key, indicator in self.indicators.items()}
        self.swing = self.edge.update(price)

    def holds(self, condition: Condition) -> bool:
        """Does it hold now? Never before its indicator is warm; a crossing needs two warm bars."""
        now, before = self.now.get(_key(condition)), self.before.get(_key(condition))
        if now is None:
            return False
        if condition.op in _COMPARE:
            return _COMPARE[condition.op](now, condition.value)
        if before is None:
            return False
        if condition.op == "crosses_above":
            return before <= condition.value < now
        return before >= condition.value > now

    def meets(self, signal: AnyOrAll) -> bool:
        if signal.all_of:
            return all(self.holds(condition) for condition in signal.all_of)
        return any(self.holds(condition) for condition in signal.any_of)

    def told(self, signal: AnyOrAll) -> str:
        """The conditions that hold, as a phrase with their numbers."""
        return " and ".join(
            f"{_key(c)} {self.now[_key(c)]:.4g} {c.op} {c.value:g}" for c in signal.conditions if self.holds(c)
        )


def stand_aside(view: PairView, spec: StrategySpec) -> Refusal | None:
    """The regime in which the strategy does not enter."""
    for condition in spec.regime_filter.stand_aside_when:
        if view.holds(condition):
            value = view.now[_key(condition)]
            reason = f"{_key(condition)} is {value:.4g}, it stands aside at {condition.op} {condition.value:g}"
            return Refusal("regime", reason, {"measured": value, "limit": condition.value})
    return None


def too_dear(view: PairView, config: AgentConfig, size_usdt: Decimal) -> Refusal | None:
    """An entry whose expected edge does not carry `fee_multiple` times its round trip.

    The edge is one standard deviation of what the price does in a day: the volatility of the last 24 bars x sqrt(24),
    the move that a mean reversion can hope to catch. It is an estimate to compare with costs, not a forecast. The round
    trip costs twice (fee + slippage) and twice the gas.
    """
    multiple = config.strategy.fee_multiple
    if multiple == 0:
        return None
    if size_usdt <= 0:
        return Refusal("fee_filter", "there is nothing left to spend", {"measured": size_usdt, "limit": ZERO})
    edge = Decimal(str((view.swing or 0.0) * sqrt(EDGE_BARS)))
    cost = 2 * ((config.paper.fee_bps + config.paper.slippage_bps) * BPS + config.paper.gas_usdt / size_usdt)
    if edge >= multiple * cost:
        return None
    reason = f"expected edge {pct(edge)} is below {multiple:f} x the round-trip cost of {pct(cost)}"
    return Refusal("fee_filter", reason, {"measured": booked(edge), "limit": booked(multiple * cost)})
