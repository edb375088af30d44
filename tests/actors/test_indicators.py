"""Each indicator against its definition, recomputed from the whole history at every candle, and against TA-Lib on real
candles."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, Final

import numpy as np
import pytest
import talib
from attrs import asdict, evolve, frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actors.market_feed.candles import open_candles
from actors.strategist.indicators import INDICATORS, Indicator, made
from protocol import strategy
from protocol.codec import from_json, from_plain, to_json, to_plain
from protocol.market import Candle
from protocol.strategy import Condition, IndicatorName

START: Final = datetime(2024, 1, 1, tzinfo=UTC)


def bar(close: float, high: float | None = None, low: float | None = None, volume: float = 1.0) -> Candle:
    high, low = close if high is None else high, close if low is None else low
    return Candle(START, Decimal(close), Decimal(high), Decimal(low), Decimal(close), Decimal(volume))


@st.composite
def bars(draw: st.DrawFn) -> Candle:
    """Some prices, ranges and volumes come again and again, so that whole windows stand still and markets cross."""
    close = draw(st.sampled_from([1.1, 50.0]) | st.floats(0.01, 1_000_000))
    above, below = draw(st.just(0.0) | st.floats(0, 2)), draw(st.just(0.0) | st.floats(0, 0.9))
    volume = draw(st.sampled_from([0.0, 3.3]) | st.floats(1e-18, 1e9))  # one wei is 1e-18
    return bar(close, close * (1 + above), close * (1 - below), volume)


histories = st.lists(bars(), min_size=1, max_size=60)
windows = st.integers(2, 12)


@st.composite
def conditions(draw: st.DrawFn, name: IndicatorName) -> Condition:
    window = draw(windows)
    if name == "ema_cross":
        return Condition(name, ">", 0, fast=window, slow=window + draw(windows))
    width = draw(st.floats(0.1, 10)) if name == "bollinger" else None
    return Condition(name, ">", 0, window, width=width)


def usual(name: IndicatorName, window: int) -> Condition:
    return (
        Condition(name, ">", 0, fast=window // 2, slow=window)
        if name == "ema_cross"
        else Condition(name, ">", 0, window)
    )


def fed(condition: Condition, history: list[Candle]) -> tuple[Indicator, list[float | None]]:
    indicator = made(condition)
    return indicator, [indicator.update(float(candle.close), candle) for candle in history]


def warm_from(condition: Condition) -> int:
    """The candle from which on the table says that there is a value, from 1."""
    info = strategy.INDICATORS[condition.indicator]
    names = [parameter.name for parameter in info.parameters]
    return int(eval(info.warm, {}, dict(zip(names, condition.arguments, strict=True))))


# --- definitions: by the book, with no thought of speed; standard deviations in exact arithmetic


def closes_of(history: list[Candle]) -> list[float]:
    return [float(candle.close) for candle in history]


def price_vs_sma(history: list[Candle], window: int) -> float | None:
    closes = closes_of(history)
    return closes[-1] / fmean(closes[-window:]) - 1 if len(closes) >= window else None


def wilder(values: list[float], window: int) -> float:
    """The plain mean of the first `window` values, then each value weighs 1/window."""
    average = fmean(values[:window])
    for value in values[window:]:
        average = (average * (window - 1) + value) / window
    return average


def rsi(history: list[Candle], window: int) -> float | None:
    changes = [b - a for a, b in pairwise(closes_of(history))]
    if len(changes) < window:
        return None
    gain = wilder([max(change, 0.0) for change in changes], window)
    loss = wilder([max(-change, 0.0) for change in changes], window)
    if gain == loss == 0:
        return 50.0
    return 100.0 if loss == 0 else 100 - 100 / (1 + gain / loss)


def ema(closes: list[float], window: int) -> float:
    alpha, average = 2 / (window + 1), fmean(closes[:window])
    for close in closes[window:]:
        average = alpha * close + (1 - alpha) * average
    return average


def ema_cross(history: list[Candle], fast: int, slow: int) -> float | None:
    closes = closes_of(history)
    return ema(closes, fast) / ema(closes, slow) - 1 if len(closes) >= slow else None


def mean_and_deviation(values: list[float]) -> tuple[Fraction, Fraction]:
    exact = [Fraction(value) for value in values]
    return sum(exact, Fraction()) / len(exact), Fraction(pstdev(exact))


def bollinger(history: list[Candle], window: int, width: float) -> float | None:
    closes = closes_of(history)
    if len(closes) < window:
        return None
    mean, deviation = mean_and_deviation(closes[-window:])
    lower, upper = mean - Fraction(width) * deviation, mean + Fraction(width) * deviation
    return float((Fraction(closes[-1]) - lower) / (upper - lower)) if upper != lower else 0.5


def atr(history: list[Candle], window: int) -> float | None:
    if len(history) <= window:
        return None
    ranges = []
    for before, candle in pairwise(history):
        close, high, low = map(float, (before.close, candle.high, candle.low))
        ranges.append(max(high - low, abs(high - close), abs(low - close)))
    return wilder(ranges, window) / float(history[-1].close)


def momentum(history: list[Candle], window: int) -> float | None:
    closes = closes_of(history)
    return closes[-1] / closes[-window - 1] - 1 if len(closes) > window else None


def volatility(history: list[Candle], window: int) -> float | None:
    if len(history) <= window:
        return None
    return float(mean_and_deviation([math.log(b / a) for a, b in pairwise(closes_of(history)[-window - 1 :])])[1])


def volume_z(history: list[Candle], window: int) -> float | None:
    volumes = [float(candle.volume) for candle in history]
    if len(volumes) < window:
        return None
    mean, deviation = mean_and_deviation(volumes[-window:])
    return float((Fraction(volumes[-1]) - mean) / deviation) if deviation else 0.0


def breakout(history: list[Candle], window: int) -> float | None:
    if len(history) <= window:
        return None
    before, close = history[-window - 1 : -1], float(history[-1].close)
    top, bottom = max(float(candle.high) for candle in before), min(float(candle.low) for candle in before)
    if top == bottom:
        return 0.5 if close == top else 2.0 if close > top else -1.0
    return (close - bottom) / (top - bottom)


DEFINITIONS: Final[dict[IndicatorName, Callable[..., float | None]]] = {
    "price_vs_sma": price_vs_sma,
    "rsi": rsi,
    "ema_cross": ema_cross,
    "bollinger": bollinger,
    "atr": atr,
    "momentum": momentum,
    "volatility": volatility,
    "volume_z": volume_z,
    "breakout": breakout,
}
OF_A_WINDOW: Final = [name for name in DEFINITIONS if name not in ("rsi", "ema_cross", "atr")]  # the rest never forget


def test_every_indicator_of_the_table_has_a_class_and_its_definition_here() -> None:
    assert set(DEFINITIONS) == set(INDICATORS) == set(strategy.INDICATORS) - {"series"}


@pytest.mark.parametrize("name", DEFINITIONS)
@given(data=st.data())
def test_an_indicator_is_made_with_its_conditions_parameters(name: IndicatorName, data: st.DataObject) -> None:
    condition = data.draw(conditions(name))
    indicator = made(condition)
    assert type(indicator) is INDICATORS[name]
    for parameter in strategy.INDICATORS[name].parameters:
        assert getattr(indicator, parameter.name) == getattr(condition, parameter.name)


@pytest.mark.parametrize("name", DEFINITIONS)
@settings(max_examples=60)
@given(data=st.data(), history=histories)
def test_an_indicator_is_its_definition_at_every_candle(
    name: IndicatorName, data: st.DataObject, history: list[Candle]
) -> None:
    condition = data.draw(conditions(name))
    _, found = fed(condition, history)
    for count, value in enumerate(found, 1):
        expected = DEFINITIONS[name](history[:count], *condition.arguments)
        assert (value is None) == (expected is None)
        if value is not None and expected is not None:
            assert math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-10)


@pytest.mark.parametrize("name", DEFINITIONS)
@given(data=st.data())
def test_an_indicator_is_warm_from_the_candle_that_the_table_says(name: IndicatorName, data: st.DataObject) -> None:
    condition = data.draw(conditions(name))
    first = warm_from(condition)
    _, found = fed(condition, [bar(100.0 + count) for count in range(first + 5)])
    assert [value is not None for value in found] == [count >= first for count in range(1, first + 6)]


STILL: Final[dict[IndicatorName, float]] = {
    "price_vs_sma": 0, "rsi": 50, "ema_cross": 0, "bollinger": 0.5, "atr": 0, "momentum": 0, "volatility": 0,
    "volume_z": 0, "breakout": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("name", DEFINITIONS)
@given(data=st.data(), still=bars())
def test_a_market_that_stands_still_has_known_values(name: IndicatorName, data: st.DataObject, still: Candle) -> None:
    """Exactly: a condition such as `>= 0` or a crossing of 0 must not hang on rounding."""
    condition = data.draw(conditions(name))
    _, found = fed(condition, [bar(float(still.close), volume=float(still.volume))] * 50)
    assert set(found[warm_from(condition) - 1 :]) == {STILL[name]}


@pytest.mark.parametrize("name", OF_A_WINDOW)
@given(data=st.data(), history=histories, still=bars())
def test_nothing_is_left_of_a_lively_market_when_the_window_stands_still(
    name: IndicatorName, data: st.DataObject, history: list[Candle], still: Candle
) -> None:
    condition = data.draw(conditions(name))
    _, found = fed(condition, history + [bar(float(still.close), volume=float(still.volume))] * 40)
    assert set(found[len(history) + warm_from(condition) - 1 :]) == {STILL[name]}


@pytest.mark.parametrize("name", DEFINITIONS)
@given(data=st.data(), history=histories)
@example(None, [bar(1.043927334889304), bar(2.0), bar(335546.16793230944)])
def test_an_indicator_keeps_to_the_tables_bounds(
    name: IndicatorName, data: st.DataObject | None, history: list[Candle]
) -> None:
    """Exactly: a threshold at a bound is allowed, one beyond it is refused."""
    info = strategy.INDICATORS[name]
    _, found = fed(data.draw(conditions(name)) if data else usual(name, 4), history)
    low, high = -math.inf if info.low is None else info.low, math.inf if info.high is None else info.high
    assert all(value is None or (math.isfinite(value) and low <= value <= high) for value in found)


@pytest.mark.parametrize(("close", "expected"), [(42.0, 0.5), (42.001, 2.0), (41.999, -1.0)])
def test_a_channel_without_height_is_on_above_or_below(close: float, expected: float) -> None:
    _, found = fed(usual("breakout", 3), [bar(42.0)] * 3 + [bar(close, high=50, low=30)])
    assert found == [None, None, None, expected]


@pytest.mark.parametrize(("close", "expected"), [(90.0, 0.0), (95.0, 0.25), (110.0, 1.0), (120.0, 1.5), (80.0, -0.5)])
def test_the_channel_is_of_the_candles_before_and_of_no_earlier_ones(close: float, expected: float) -> None:
    """Neither its own range nor the first candle's counts."""
    channel = [bar(100, high=110, low=95), bar(100, high=105, low=90)]
    _, found = fed(usual("breakout", 2), [bar(100, high=999, low=1), *channel, bar(close, high=500, low=2)])
    assert found[-1] == expected


@pytest.mark.parametrize("name", DEFINITIONS)
@settings(max_examples=30)
@given(data=st.data(), history=histories)
def test_a_gap_is_not_filled(name: IndicatorName, data: st.DataObject, history: list[Candle]) -> None:
    """Candles are counted; when they were does not matter."""
    condition, hours = data.draw(conditions(name)), data.draw(st.lists(st.integers(1, 1000), min_size=60, max_size=60))
    scattered = [
        evolve(candle, ts=START + timedelta(hours=sum(hours[:count]))) for count, candle in enumerate(history, 1)
    ]
    assert fed(condition, scattered)[1] == fed(condition, history)[1]


@pytest.mark.parametrize("name", DEFINITIONS)
@settings(max_examples=60)
@given(data=st.data(), history=histories, cut=st.integers(0, 60))
def test_going_through_a_checkpoint_changes_nothing(
    name: IndicatorName, data: st.DataObject, history: list[Candle], cut: int
) -> None:
    """To the last bit of every value and of the state."""
    condition = data.draw(conditions(name))
    whole, expected = fed(condition, history)
    half, found = fed(condition, history[:cut])
    thawed: Any = from_plain(from_json(to_json(to_plain(half))), type(half))
    found += [thawed.update(float(candle.close), candle) for candle in history[cut:]]
    assert found == expected
    assert asdict(thawed) == asdict(whole)


@pytest.mark.parametrize("name", DEFINITIONS)
@settings(max_examples=30)
@given(data=st.data(), history=histories)
def test_the_state_is_plain_numbers_and_never_more_than_two_windows_of_them(
    name: IndicatorName, data: st.DataObject, history: list[Candle]
) -> None:
    condition = data.draw(conditions(name))
    indicator = made(condition)
    for candle in history:
        indicator.update(float(candle.close), candle)
        state = asdict(indicator).values()
        lists = [value for value in state if type(value) is list]
        numbers = [number for value in lists for number in value]
        assert {type(value) for value in state} <= {int, float, list, type(None)}
        assert {type(number) for number in numbers} <= {float}
        assert len(numbers) <= 2 * (condition.window or 0)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_rounding_never_piles_up(name: IndicatorName) -> None:
    """Over a long series with a huge candle in its midst: at each of the first candles without it, and at the end."""
    closes = [100 + math.sin(count) for count in range(3000)]
    # What remembers every candle for ever, by definition, has one that the definition's own floats can stand.
    closes[1000] = 1e12 if name in OF_A_WINDOW else 1e3
    history = [bar(close, close + 1, close - 1, volume=close) for close in closes]
    condition = usual(name, 10)
    _, found = fed(condition, history)
    for count in (*range(1000 + warm_from(condition) + 1, 1035), 3000):
        expected = DEFINITIONS[name](history[:count], *condition.arguments)
        assert found[count - 1] == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("name", ["bollinger", "volatility", "volume_z"])
def test_a_deviation_keeps_its_digits_where_moves_are_small(name: IndicatorName) -> None:
    """A ten-thousandth of a dollar at 60,000: squares of the prices themselves would hold nothing of it."""
    closes = [60_000 + round(math.sin(count * count), 2) / 10_000 for count in range(60)]
    history, condition = [bar(close, volume=close) for close in closes], usual(name, 10)
    _, found = fed(condition, history)
    for count in range(warm_from(condition), 61):
        expected = DEFINITIONS[name](history[:count], *condition.arguments)
        assert expected is not None
        assert found[count - 1] == pytest.approx(expected, rel=1e-9, abs=0)


# --- an independent library on real candles

Floats = NDArray[np.float64]


@frozen
class Market:
    candles: list[Candle]
    close: Floats
    high: Floats
    low: Floats
    volume: Floats


@pytest.fixture(scope="module")
def market(real_data: Path) -> Market:
    candles = list(open_candles(real_data / "eth-eur-1h.csv", "ETH/USDT").candles())
    columns = ([float(getattr(candle, name)) for candle in candles] for name in ("close", "high", "low", "volume"))
    return Market(candles, *map(np.array, columns))


def by_bands(m: Market, window: int, width: float) -> Floats:
    upper, _, lower = talib.BBANDS(m.close, window, width, width)
    found: Floats = (m.close - lower) / (upper - lower)
    return found


def by_channel(m: Market, window: int) -> Floats:
    """TA-Lib's channel has the candle itself in it: ours is that of one candle before."""
    top, bottom = (np.append(np.nan, line[:-1]) for line in (talib.MAX(m.high, window), talib.MIN(m.low, window)))
    found: Floats = (m.close - bottom) / (top - bottom)
    return found


def by_returns(m: Market, window: int) -> Floats:
    return np.append(np.nan, talib.STDDEV(np.diff(np.log(m.close)), window))


BY_TA_LIB: Final[dict[IndicatorName, Callable[..., Floats]]] = {
    "price_vs_sma": lambda m, window: m.close / talib.SMA(m.close, window) - 1,
    "rsi": lambda m, window: talib.RSI(m.close, window),
    "ema_cross": lambda m, fast, slow: talib.EMA(m.close, fast) / talib.EMA(m.close, slow) - 1,
    "bollinger": by_bands,
    "atr": lambda m, window: talib.ATR(m.high, m.low, m.close, window) / m.close,
    "momentum": lambda m, window: talib.ROCP(m.close, window),
    "volatility": by_returns,
    "volume_z": lambda m, window: (m.volume - talib.SMA(m.volume, window)) / talib.STDDEV(m.volume, window),
    "breakout": by_channel,
}
# Relative where the value is away from 0; near it, where a difference of nearly equal numbers is all that is left, this
# much. TA-Lib takes old values out of its running sums of squares for all of the series, which costs it digits where
# prices or volumes are large against their deviation; ours agree with exact arithmetic, above.
NEAR_0: Final[dict[IndicatorName, float]] = {"bollinger": 1e-9, "volume_z": 1e-10}


@pytest.mark.parametrize("window", [14, 48, 500])
@pytest.mark.parametrize("name", BY_TA_LIB)
def test_ta_lib_finds_the_same_on_real_candles(name: IndicatorName, window: int, market: Market) -> None:
    condition = usual(name, window)
    expected = BY_TA_LIB[name](market, *condition.arguments)
    _, values = fed(condition, market.candles)
    found = np.array([math.nan if value is None else value for value in values])
    first = warm_from(condition)
    assert len(found) > 17_000
    for line in (found, expected):
        assert np.isnan(line).tolist() == [count < first for count in range(1, len(line) + 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=NEAR_0.get(name, 1e-13))
