"""What the strategy sees in a candle, and whether that is worth its cost. Pure but for the indicators' own state."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from math import sqrt
from typing import Any, Final, cast

from attrs import define, field, frozen

from actors.executor.book import Position
from actors.strategist.indicators import INDICATORS, Indicator, Volatility, made
from protocol.codec import from_plain
from protocol.errors import Refusal
from protocol.market import Candle, Reading
from protocol.money import BPS, PCT, ZERO, booked, pct, price
from protocol.settings import AgentConfig, StrategyConfig
from protocol.strategy import AnyOrAll, Condition, IndicatorName, StrategyParams

EDGE_CANDLES: Final = 24
Values = Sequence[float | None]
Test = Callable[[Values, Values], bool]

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compiled(condition: Condition, slot: int) -> Test:
    """Does the condition hold, by the values now and one candle ago? Never before its indicator is warm; a crossing
    needs two warm candles."""
    limit = condition.value
    if compare := _COMPARE.get(condition.op):

        def compares(now: Values, _: Values) -> bool:
            value = now[slot]
            return value is not None and compare(value, limit)

        return compares
    upward = condition.op == "crosses_above"

    def crosses(now: Values, before: Values) -> bool:
        new, old = now[slot], before[slot]
        if new is None or old is None:
            return False
        return old <= limit < new if upward else old >= limit > new

    return crosses


@frozen
class Signal:
    """Conditions joined by all or any, each with the slot of its indicator's value."""

    conditions: tuple[tuple[Condition, int, Test], ...]
    tests: tuple[Test, ...]
    needs_all: bool

    @classmethod
    def of(cls, joined: AnyOrAll, slots: Mapping[str, int]) -> Signal:
        conditions = tuple((c, slots[c.key], compiled(c, slots[c.key])) for c in joined.conditions)
        return cls(conditions, tuple(test for _, _, test in conditions), bool(joined.all_of))

    def met(self, now: Values, before: Values) -> bool:
        needs_all = self.needs_all
        for test in self.tests:
            if test(now, before) is not needs_all:
                return not needs_all
        return needs_all

    def told(self, now: Values, before: Values) -> str:
        """The conditions that hold, as a phrase with their numbers."""
        return " and ".join(
            f"{c.key} {now[slot]:.4g} {c.op} {c.value:g}" for c, slot, test in self.conditions if test(now, before)
        )


@define
class PairView:
    """One pair through the eyes of a strategy: each indicator once, its value now and one candle ago (None: cold).

    What a checkpoint must carry is in `state`; the rest follows from the spec.
    """

    indicators: dict[str, Indicator]
    series: dict[str, Condition]
    edge: Volatility | None  # what the fee filter looks at; None where it is off
    entry: Signal
    exit: Signal
    regime: tuple[tuple[Condition, int, Test], ...]
    now: list[float | None]
    before: list[float | None]
    swing: float | None = None
    _running: list[Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._running = [indicator.update for indicator in self.indicators.values()]

    @classmethod
    def of(cls, config: StrategyConfig) -> PairView:
        """A cold one. Slots: the indicators, then the outside series."""
        spec = config.spec
        by_key = {condition.key: condition for condition in spec.conditions}
        indicators = {key: made(c) for key, c in by_key.items() if c.indicator != "series"}
        series = {key: c for key, c in by_key.items() if c.indicator == "series"}
        slots = {key: slot for slot, key in enumerate((*indicators, *series))}
        regime = tuple(
            (c, slots[c.key], compiled(c, slots[c.key])) for c in spec.regime_filter.stand_aside_when
        )  # fmt: skip
        entry, exit_ = Signal.of(spec.signals.entry, slots), Signal.of(spec.signals.exit, slots)
        cold: list[float | None] = [None] * len(slots)
        edge = Volatility(EDGE_CANDLES) if config.fee_multiple else None
        return cls(indicators, series, edge, entry, exit_, regime, cold, cold)

    @property
    def state(self) -> dict[str, Any]:
        return {
            "indicators": self.indicators, "edge": self.edge, "now": self.now, "before": self.before,
            "swing": self.swing,
        }  # fmt: skip

    @classmethod
    def thawed(cls, plain: dict[str, Any], config: StrategyConfig) -> PairView:
        """A view with the `state` out of a checkpoint; an indicator's key says its class."""
        view = cls.of(config)
        for key in view.indicators:
            kind = INDICATORS[cast(IndicatorName, key.split("(")[0])]
            view.indicators[key] = from_plain(plain["indicators"][key], kind)
        view.edge = None if plain["edge"] is None else from_plain(plain["edge"], Volatility)
        values = list[float | None]
        view.now, view.before = from_plain(plain["now"], values), from_plain(plain["before"], values)
        view.swing = None if plain["swing"] is None else float(plain["swing"])
        view.__attrs_post_init__()
        return view

    def see(self, candle: Candle, series: Mapping[str, Reading]) -> None:
        """Take in the next finished candle, and what the outside series say by then."""
        close = float(candle.close)
        self.before = self.now
        now = [update(close, candle) for update in self._running]
        if self.series:
            now += [_latest(condition, series, candle) for condition in self.series.values()]
        self.now = now
        if self.edge is not None:
            self.swing = self.edge.update(close, candle)


def _latest(condition: Condition, series: Mapping[str, Reading], candle: Candle) -> float | None:
    """The series' value; None where there is none yet or it is too old to be trusted."""
    reading = series.get(condition.name or "")
    if reading is None or candle.ts - reading.at > timedelta(hours=condition.max_age_hours or 0):
        return None
    return float(reading.value)


def reason_to_enter(view: PairView) -> str | None:
    """The entry conditions with their numbers, if they hold."""
    return view.entry.told(view.now, view.before) if view.entry.met(view.now, view.before) else None


def reason_to_leave(view: PairView, params: StrategyParams, held: Position, candle: Candle) -> str | None:
    """Why to leave a position at this close, or None: its stop-loss, its take-profit, its time, the exit signal; the
    first of them that holds. The three are measured from the entry's price and time, fees not counted."""
    if params.stop_loss_pct is not None or params.take_profit_pct is not None:
        gain = candle.close / held.entry_price - 1
        if params.stop_loss_pct is not None and gain <= -params.stop_loss_pct * PCT:
            return f"the close {price(candle.close)} is {pct(gain)} from the entry, the stop-loss is at " + pct(
                -params.stop_loss_pct * PCT
            )
        if params.take_profit_pct is not None and gain >= params.take_profit_pct * PCT:
            return f"the close {price(candle.close)} is {pct(gain)} from the entry, the take-profit is at " + pct(
                params.take_profit_pct * PCT
            )
    if params.max_hold_hours is not None:
        hours = Decimal((candle.ts - held.opened_at) // timedelta(milliseconds=1)) / 3_600_000
        if hours >= params.max_hold_hours:
            return f"it was held for {hours:.2f} h, the longest is {params.max_hold_hours:f} h"
    return view.exit.told(view.now, view.before) if view.exit.met(view.now, view.before) else None


def stand_aside(view: PairView) -> Refusal | None:
    """The regime in which the strategy does not enter."""
    for condition, slot, test in view.regime:
        if test(view.now, view.before):
            value = view.now[slot]
            reason = f"{condition.key} is {value:.4g}, it stands aside at {condition.op} {condition.value:g}"
            return Refusal("regime", reason, {"measured": value, "limit": condition.value})
    return None


def too_dear(view: PairView, config: AgentConfig, size_usdt: Decimal) -> Refusal | None:
    """An entry whose expected edge does not carry `fee_multiple` times its round trip.

    The edge is one standard deviation of what the price does in 24 candles: the volatility of the last 24 log returns x
    sqrt(24), the move that a mean reversion can hope to catch. It is an estimate to compare with costs, not a forecast.
    The round trip costs twice (fee + slippage) and twice the gas.
    """
    multiple = config.strategy.fee_multiple
    if multiple == 0:
        return None
    if size_usdt <= 0:
        return Refusal("fee_filter", "there is nothing left to spend", {"measured": size_usdt, "limit": ZERO})
    edge = expected_edge(view.swing)
    cost = round_trip(config, size_usdt)
    if edge >= multiple * cost:
        return None
    reason = f"expected edge {pct(edge)} is below {multiple:f} x the round-trip cost of {pct(cost)}"
    return Refusal("fee_filter", reason, {"measured": booked(edge), "limit": booked(multiple * cost)})


def expected_edge(swing: float | None) -> Decimal:
    """The volatility of the last 24 candles x sqrt(24), as a fraction; 0 while it is cold.

    >>> expected_edge(0.01)
    Decimal('0.04898979485566356')
    """
    return Decimal(str((swing or 0.0) * sqrt(EDGE_CANDLES)))


def round_trip(config: AgentConfig, size_usdt: Decimal) -> Decimal:
    """What buying and selling `size_usdt` costs, as a fraction of it: fee, slippage and gas, each twice.

    >>> round_trip(AgentConfig(("ETH/USDT",)), Decimal(100))     # 2 x (0.25 % + 0.05 %) + 2 x 0.10 of 100
    Decimal('0.0080')
    """
    paper = config.paper
    return 2 * ((paper.fee_bps + paper.slippage_bps) * BPS + paper.gas_usdt / size_usdt)
