"""Any row that the log can hold, drawn by hypothesis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, get_args

from hypothesis import strategies as st

from protocol.events import (
    ConfigAdopted,
    Decided,
    EntryType,
    Genesis,
    JournalEntry,
    Marked,
    QuoteRejected,
    RiskVeto,
    RoundSettled,
    Row,
    RunFailed,
    RunStarted,
    Snapshot,
    Status,
    StatusChange,
    Trade,
)
from protocol.market import Candle, Gap, Observation, Tick
from protocol.settings import AgentConfig, PaperConfig, StrategyConfig
from protocol.strategy import AnyOrAll, Condition, RegimeFilter, Signals, StrategyParams, StrategySpec

FIRST: Final = datetime(2020, 1, 1, tzinfo=UTC)

times = st.integers(0, 10**12).map(lambda millis: FIRST + timedelta(milliseconds=millis))
money = st.decimals(-(10**12), 10**12, places=8, allow_nan=False, allow_infinity=False)
above_zero = st.decimals(Decimal("0.00000001"), 10**9, places=8, allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
pairs = st.sampled_from(["ETH/USDT", "BTC/USDT", "1INCH/USDT"])
sides = st.sampled_from(["buy", "sell"])
phases = st.sampled_from(["paper", "live"])
plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text | money.filter(lambda d: d != int(d)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)

candles = st.builds(Candle, times, above_zero, above_zero, above_zero, above_zero, money)
observations = st.builds(Observation, text, above_zero, times, st.none() | above_zero)
ticks = st.builds(Tick, candles, observations, st.none() | observations)
gaps = st.builds(Gap, pairs, times, times, st.integers(1, 10**6))

conditions = st.builds(
    Condition,
    st.sampled_from(["rsi", "price_vs_sma", "volatility", "momentum"]),
    st.sampled_from(["<", "<=", ">", ">=", "crosses_above", "crosses_below"]),
    st.floats(-1000, 1000),
    st.integers(2, 10_000),
)
_some = st.lists(conditions, min_size=1, max_size=3).map(tuple)
joined = st.builds(lambda found: AnyOrAll(all_of=found), _some) | st.builds(lambda found: AnyOrAll(any_of=found), _some)
specs = st.builds(
    StrategySpec,
    st.just("spot"),
    text,
    st.builds(Signals, joined, joined),
    st.builds(RegimeFilter, st.lists(conditions, max_size=2).map(tuple)),
    st.builds(StrategyParams, st.decimals(1, 100, places=2), st.integers(1, 100)),
)
configs = st.builds(
    AgentConfig,
    st.lists(pairs, min_size=1, max_size=3, unique=True).map(tuple),
    st.builds(StrategyConfig, specs),
    paper=st.builds(PaperConfig, st.decimals(1, 10**9, places=8), gas_usdt=st.decimals(0, 1000, places=8)),
)

statuses = st.sampled_from(get_args(Status))
EVENT_STRATEGIES: Final[tuple[st.SearchStrategy[Row], ...]] = (
    st.builds(Snapshot, times, money, phases, money, money),
    st.builds(
        Trade, times, pairs, sides, money, money, st.none() | money, money, phases, text, money, text,
        st.none() | st.integers(0, 10**9), st.none() | money,
    ),
    st.builds(
        JournalEntry, times, text, st.sampled_from(get_args(EntryType)), st.lists(text, max_size=3).map(tuple), text,
        st.dictionaries(text, plain, max_size=3),
    ),
    st.builds(RiskVeto, times, text, text, text, pairs, sides, money, text),
    st.builds(StatusChange, times, statuses, statuses, text),
    st.builds(
        QuoteRejected, times, pairs, st.sampled_from(["divergence", "stale", "liquidity"]), text,
        st.sampled_from(["QUOTE_DIVERGENCE", "QUOTE_STALE", "INSUFFICIENT_LIQUIDITY"]), text,
    ),
)  # fmt: skip
FACT_STRATEGIES: Final[tuple[st.SearchStrategy[Row], ...]] = (
    st.builds(Genesis, times, st.integers(1, 9), text, st.dictionaries(text, plain, max_size=3)),
    st.builds(ConfigAdopted, times, st.integers(1, 1000), configs),
    st.builds(RunStarted, times, st.integers(1, 1000), money),
    st.builds(RunFailed, times, times, money, money),
    st.builds(Marked, times, money, st.dictionaries(pairs, above_zero)),
    st.builds(Decided, times, pairs, sides, text, st.none() | text),
    st.builds(RoundSettled, times, plain, st.dictionaries(pairs, ticks), st.lists(gaps, max_size=2).map(tuple)),
)
events: st.SearchStrategy[Row] = st.one_of(*EVENT_STRATEGIES)
facts: st.SearchStrategy[Row] = st.one_of(*FACT_STRATEGIES)
rows: st.SearchStrategy[Row] = events | facts
