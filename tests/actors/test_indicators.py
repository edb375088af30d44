"""Each indicator against its definition, recomputed from the whole history at every bar."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean, pstdev
from typing import Any, Final

import pytest
from attrs import asdict
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.strategist.indicators import INDICATORS, Indicator
from protocol.codec import from_json, from_plain, to_json, to_plain
from protocol.strategy import IndicatorName

closes = st.lists(st.floats(0.01, 1_000_000), min_size=1, max_size=60)
windows = st.integers(2, 12)


def price_vs_sma(history: list[float], window: int) -> float | None:
    return history[-1] / fmean(history[-window:]) - 1 if len(history) >= window else None


def rsi(history: list[float], window: int) -> float | None:
    """Wilder: plain means of the first `window` changes, then each change weighs 1/window."""
    changes = [b - a for a, b in zip(history, history[1:], strict=False)]  # noqa: RUF007 - a definition, spelled out
    if len(changes) < window:
        return None
    gain = fmean(max(c, 0.0) for c in changes[:window])
    loss = fmean(max(-c, 0.0) for c in changes[:window])
    for change in changes[window:]:
        gain = (gain * (window - 1) + max(change, 0.0)) / window
        loss = (loss * (window - 1) + max(-change, 0.0)) / window
    if gain == loss == 0:
        return 50.0
    return 100.0 if loss == 0 else 100 - 100 / (1 + gain / loss)


def volatility(history: list[float], window: int) -> float | None:
    if len(history) <= window:
        return None
    last = history[-window - 1 :]
    return pstdev(math.log(b / a) for a, b in zip(last, last[1:], strict=False))  # noqa: RUF007 - see above


def momentum(history: list[float], window: int) -> float | None:
    return history[-1] / history[-window - 1] - 1 if len(history) > window else None


DEFINITIONS: Final[dict[IndicatorName, tuple[Callable[[list[float], int], float | None], int]]] = {
    "price_vs_sma": (price_vs_sma, 0),
    "rsi": (rsi, 1),
    "volatility": (volatility, 1),
    "momentum": (momentum, 1),
}


def test_every_indicator_has_its_definition_here() -> None:
    assert set(DEFINITIONS) == set(INDICATORS)


def fed(name: IndicatorName, window: int, history: list[float]) -> tuple[Indicator, list[float | None]]:
    indicator = INDICATORS[name](window)
    return indicator, [indicator.update(close) for close in history]


@pytest.mark.parametrize("name", DEFINITIONS)
@settings(max_examples=60)
@given(history=closes, window=windows)
def test_an_indicator_is_its_definition_at_every_bar(name: IndicatorName, history: list[float], window: int) -> None:
    define, _ = DEFINITIONS[name]
    _, found = fed(name, window, history)
    for bar, value in enumerate(found, 1):
        expected = define(history[:bar], window)
        assert (value is None) == (expected is None)
        if value is not None and expected is not None:
            assert math.isclose(value, expected, rel_tol=1e-6, abs_tol=2e-6)


@pytest.mark.parametrize("name", DEFINITIONS)
@given(window=windows)
def test_an_indicator_is_warm_after_its_stated_number_of_bars(name: IndicatorName, window: int) -> None:
    extra = DEFINITIONS[name][1]
    _, found = fed(name, window, [100.0 + bar for bar in range(window + 5)])
    assert [value is not None for value in found] == [bar >= window + extra for bar in range(1, window + 6)]


@pytest.mark.parametrize(("name", "still"), [("price_vs_sma", 0), ("rsi", 50), ("volatility", 0), ("momentum", 0)])
def test_a_market_that_stands_still_has_known_values(name: IndicatorName, still: float) -> None:
    _, found = fed(name, 5, [42.5] * 50)
    assert found[-1] == pytest.approx(still, abs=1e-12)


@given(history=closes, window=windows)
@example(history=[1.043927334889304, 2.0, 335546.16793230944], window=2)
def test_rsi_stays_between_0_and_100(history: list[float], window: int) -> None:
    _, found = fed("rsi", window, history)
    assert all(value is None or 0 <= value <= 100 for value in found)


@pytest.mark.parametrize("name", DEFINITIONS)
@settings(max_examples=60)
@given(history=closes, window=windows, cut=st.integers(0, 60))
def test_going_through_a_checkpoint_changes_nothing(
    name: IndicatorName, history: list[float], window: int, cut: int
) -> None:
    """To the last bit of every value and of the state."""
    whole, expected = fed(name, window, history)
    half, found = fed(name, window, history[:cut])
    thawed: Any = from_plain(from_json(to_json(to_plain(half))), type(half))
    found += [thawed.update(close) for close in history[cut:]]
    assert found == expected
    assert asdict(thawed) == asdict(whole)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_rounding_never_piles_up(name: IndicatorName) -> None:
    """Over a long series with a huge bar in its midst, long gone."""
    define, _ = DEFINITIONS[name]
    history = [100 + math.sin(bar) for bar in range(3000)]
    history[1000] = 1e12
    if name == "rsi":
        history[1000] = 1e3  # it remembers every bar for ever, by definition
    _, found = fed(name, 10, history)
    value, expected = found[-1], define(history, 10)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)
