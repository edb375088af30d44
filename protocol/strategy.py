"""The strategy document: what to look at, when to enter, when to leave. The same in paper, live and backtest."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Literal

from attrs import field, frozen

from protocol.limits import NOTHING, Impossible, between, matching

Operator = Literal["<", "<=", ">", ">=", "crosses_above", "crosses_below"]
IndicatorName = Literal[
    "price_vs_sma", "rsi", "ema_cross", "bollinger", "atr", "momentum", "volatility", "volume_z", "breakout", "series"
]


@frozen
class Parameter:
    """What an indicator wants to be told: a number from `low` to `high`, or (`low` is None) a name."""

    name: str
    about: str
    low: float | None
    high: float | None
    default: int | float | None = None  # None: must be given
    whole: bool = True


@frozen
class IndicatorInfo:
    """An indicator for people and programs: what it says, in which unit, between which bounds (None: none), and from
    which candle on (`warm`, in terms of its parameters)."""

    about: str
    unit: str
    warm: str
    parameters: tuple[Parameter, ...]
    low: float | None = None
    high: float | None = None


_WINDOW: Final = Parameter("window", "candles looked at", 2, 10_000)

INDICATORS: Final[dict[IndicatorName, IndicatorInfo]] = {
    "price_vs_sma": IndicatorInfo(
        "The close against its simple moving average: close / SMA - 1.", "fraction", "window", (_WINDOW,), low=-1
    ),
    "rsi": IndicatorInfo(
        "Wilder's relative strength index of closes.", "0 to 100", "window + 1", (_WINDOW,), low=0, high=100
    ),
    "ema_cross": IndicatorInfo(
        "A fast exponential moving average of closes against a slow one: EMA(fast) / EMA(slow) - 1. "
        "It crosses 0 where they cross.",
        "fraction",
        "slow",
        (
            Parameter("fast", "candles of the fast average; below slow", 2, 10_000),
            Parameter("slow", "candles of the slow average", 2, 10_000),
        ),
        low=-1,
    ),
    "bollinger": IndicatorInfo(
        "Where the close stands between its Bollinger bands (SMA plus and minus width standard deviations): "
        "0 at the lower, 1 at the upper, beyond them below 0 or above 1.",
        "%b",
        "window",
        (_WINDOW, Parameter("width", "standard deviations from the average to each band", 0.1, 10, 2.0, whole=False)),
    ),
    "atr": IndicatorInfo(
        "Wilder's average true range as a part of the close.", "fraction", "window + 1", (_WINDOW,), low=0
    ),
    "momentum": IndicatorInfo(
        "The close against the close window candles ago, - 1.", "fraction", "window + 1", (_WINDOW,), low=-1
    ),
    "volatility": IndicatorInfo(
        "The standard deviation of the last window logarithmic returns, per candle.",
        "fraction",
        "window + 1",
        (_WINDOW,),
        low=0,
    ),
    "volume_z": IndicatorInfo(
        "How unusual the candle's volume is: its distance from the mean of the last window volumes (this one "
        "included) in their standard deviations.",
        "standard deviations",
        "window",
        (_WINDOW,),
    ),
    "breakout": IndicatorInfo(
        "Where the close stands in the channel of the window candles before this one: 0 at their lowest low, 1 at "
        "their highest high; above 1 it breaks out.",
        "channel widths",
        "window + 1",
        (_WINDOW,),
    ),
    "series": IndicatorInfo(
        "An outside series from a CSV file, such as a fear-and-greed index or a funding rate: its latest value.",
        "the series' own",
        "1",
        (
            Parameter("name", "the series' name among [market.series]", None, None),
            Parameter("max_age_hours", "an older value counts as none", 1, 8760, 48),
        ),
    ),
}
_PARAMETERS: Final = ("window", "fast", "slow", "width", "name", "max_age_hours")


@frozen
class Condition:
    """An indicator, with its own parameters, compared with `value`. Conditions with one `key` share its state."""

    indicator: IndicatorName
    op: Operator
    value: float = field(converter=float)
    window: int | None = None
    fast: int | None = None
    slow: int | None = None
    width: float | None = None
    name: str | None = None
    max_age_hours: int | None = None

    def __attrs_post_init__(self) -> None:
        info = INDICATORS[self.indicator]
        wanted = {parameter.name: parameter for parameter in info.parameters}
        for name in _PARAMETERS:
            given = getattr(self, name)
            if name not in wanted:
                if given is not None:
                    raise Impossible(name, given, f"{self.indicator} takes {', '.join(wanted)} and no {name}")
            elif given is None:
                if wanted[name].default is None:
                    raise Impossible(name, NOTHING, f"is missing: {self.indicator} needs {_told(wanted[name])}")
                object.__setattr__(self, name, wanted[name].default)
            else:
                _check(wanted[name], given)
        if self.fast is not None and self.slow is not None and self.fast >= self.slow:
            raise Impossible("fast", self.fast, f"must be below slow ({self.slow})")
        if (info.low is not None and self.value < info.low) or (info.high is not None and self.value > info.high):
            bounds = f"from {info.low:g}" + ("" if info.high is None else f" to {info.high:g}")
            raise Impossible("value", self.value, f"{self.indicator} is {bounds}, so this could never decide anything")

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The indicator's parameters, in their order."""
        return tuple(getattr(self, parameter.name) for parameter in INDICATORS[self.indicator].parameters)

    @property
    def key(self) -> str:
        """The indicator with its parameters: `rsi(14)`, `ema_cross(12,26)`, `series(fng,48)`."""
        return f"{self.indicator}({','.join(f'{a:g}' if isinstance(a, float) else str(a) for a in self.arguments)})"


def _check(parameter: Parameter, given: Any) -> None:
    if parameter.low is None or parameter.high is None:
        if not given or len(given) > 40:
            raise Impossible(parameter.name, given, "must be a name of 1 to 40 characters")
    elif not parameter.low <= given <= parameter.high:
        raise Impossible(parameter.name, given, f"must be from {parameter.low:g} to {parameter.high:g}")


def _told(parameter: Parameter) -> str:
    return f"{parameter.name} ({parameter.about})"


@frozen
class AnyOrAll:
    """Conditions joined one way: exactly one of `all_of` and `any_of` is given."""

    all_of: tuple[Condition, ...] = ()
    any_of: tuple[Condition, ...] = ()

    def __attrs_post_init__(self) -> None:
        if bool(self.all_of) == bool(self.any_of):
            raise Impossible("", NOTHING, "give conditions under exactly one of all_of, any_of")

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
    """`position_size_pct` of equity goes into a new position; at most `max_concurrent` are open.

    The three exits beside the signals are looked at once a candle, at its close: `stop_loss_pct` below and
    `take_profit_pct` above the entry's price, and `max_hold_hours` after the entry. None: without.
    """

    position_size_pct: Decimal = field(default=Decimal(90), validator=between(0.1, 100))
    max_concurrent: int = field(default=1, validator=between(1, 100))
    stop_loss_pct: Decimal | None = field(default=None, validator=between(0.01, 99.99, optional=True))
    take_profit_pct: Decimal | None = field(default=None, validator=between(0.01, 100_000, optional=True))
    max_hold_hours: Decimal | None = field(default=None, validator=between(0.01, 87_600, optional=True))


_text = matching(lambda text: bool(text.strip()) and len(text) <= 2000, "must be 1 to 2000 characters of text")


@frozen(slots=False)
class StrategySpec:
    """The whole document. `about` says to people what it is for."""

    market_mode: Literal["spot"]
    name: str = field(validator=_text)
    signals: Signals
    regime_filter: RegimeFilter = RegimeFilter()
    params: StrategyParams = StrategyParams()
    about: str | None = None

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition of the document, in its order."""
        return tuple(condition for _, condition in self.located())

    def located(self) -> Iterator[tuple[str, Condition]]:
        """Every condition with its path in the document."""
        for side, signal in (("entry", self.signals.entry), ("exit", self.signals.exit)):
            joined = "all_of" if signal.all_of else "any_of"
            for index, condition in enumerate(signal.conditions):
                yield f"signals.{side}.{joined}[{index}]", condition
        for index, condition in enumerate(self.regime_filter.stand_aside_when):
            yield f"regime_filter.stand_aside_when[{index}]", condition


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
