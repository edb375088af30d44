"""The strategy document: what to look at, when to enter, when to leave. The same in paper, live and backtest."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from attrs import field, frozen

from protocol.limits import Impossible, between

Operator = Literal["<", "<=", ">", ">=", "crosses_above", "crosses_below"]
IndicatorName = Literal["price_vs_sma", "rsi", "volatility", "momentum"]


@frozen
class Condition:
    """`indicator` over `window` bars, compared with `value`. Two conditions on one indicator share its state."""

    indicator: IndicatorName
    op: Operator
    value: float
    window: int = field(validator=between(2, 10_000))


@frozen
class AnyOrAll:
    """Conditions joined one way: exactly one of `all_of` and `any_of` is given."""

    all_of: tuple[Condition, ...] = ()
    any_of: tuple[Condition, ...] = ()

    def __attrs_post_init__(self) -> None:
        if bool(self.all_of) == bool(self.any_of):
            raise Impossible("", "", "give conditions under exactly one of all_of, any_of")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return self.all_of or self.any_of


@frozen
class Signals:
    entry: AnyOrAll
    exit: AnyOrAll


@frozen
class RegimeFilter:
    """No entry while any of these holds. Exits are never held back by it."""

    stand_aside_when: tuple[Condition, ...] = ()


@frozen
class StrategyParams:
    """`position_size_pct` of equity goes into a new position; at most `max_concurrent` are open."""

    position_size_pct: Decimal = field(default=Decimal(90), validator=between(0.1, 100))
    max_concurrent: int = field(default=1, validator=between(1, 100))


@frozen
class StrategySpec:
    market_mode: Literal["spot"]
    name: str
    signals: Signals
    regime_filter: RegimeFilter = RegimeFilter()
    params: StrategyParams = StrategyParams()

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition of the document, in its order."""
        return (
            *self.signals.entry.conditions,
            *self.signals.exit.conditions,
            *self.regime_filter.stand_aside_when,
        )


def default_spec() -> StrategySpec:
    """Mean reversion on hourly bars: buy a dip well under the two-day average while RSI says oversold, sell when the
    price is back at the average or RSI has recovered; stand aside when the market is wild."""
    return StrategySpec(
        market_mode="spot",
        name="mean-reversion-v1",
        signals=Signals(
            entry=AnyOrAll(all_of=(Condition("price_vs_sma", "<=", -0.05, 48), Condition("rsi", "<=", 25, 14))),
            exit=AnyOrAll(any_of=(Condition("price_vs_sma", ">=", 0.0, 48), Condition("rsi", ">=", 65, 14))),
        ),
        regime_filter=RegimeFilter((Condition("volatility", ">=", 0.04, 24),)),
    )
