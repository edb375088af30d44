"""Any row that the log can hold, drawn by hypothesis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, get_args

from hypothesis import strategies as st

from protocol.events import (
    ConfigAdopted,
    Decided,
    Demotion,
    EntryType,
    Flattening,
    Frozen,
    Genesis,
    GivenUp,
    HandedOver,
    Intended,
    JournalEntry,
    Leg,
    LiveOpened,
    LockLifted,
    Marked,
    Mined,
    OrderPlaced,
    Promotion,
    Purpose,
    QuoteRejected,
    RiskVeto,
    RoundSettled,
    Row,
    RunFailed,
    RunStarted,
    Snapshot,
    Status,
    StatusChange,
    Submitted,
    Trade,
    TwakBlock,
    WrittenOff,
)
from protocol.market import Candle, Gap, Observation, Reading, Tick
from protocol.money import Units
from protocol.orders import Order, Quote
from protocol.settings import (
    AgentConfig,
    EvaluationConfig,
    LiveConfig,
    PairQuotes,
    PaperConfig,
    PresetName,
    QuotesConfig,
    RiskConfig,
    StrategyConfig,
)
from protocol.strategy import (
    INDICATORS,
    AnyOrAll,
    Condition,
    IndicatorName,
    Operator,
    Parameter,
    RegimeFilter,
    Signals,
    StrategyParams,
    StrategySpec,
)

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

candles = st.builds(
    Candle, times, above_zero, above_zero, above_zero, above_zero, money, st.sampled_from([60, 3600, 86_400])
)
observations = st.builds(Observation, text, above_zero, times, st.none() | above_zero)
ticks = st.builds(Tick, candles, observations, st.none() | observations)
gaps = st.builds(Gap, pairs, times, times, st.integers(1, 10**6))
readings = st.builds(Reading, money, times)

orders = st.builds(Order, text, pairs, sides, money, st.none() | above_zero, text, phases)
units = st.integers(-(2**256), 2**256).map(Units)
holdings = st.dictionaries(text, units, max_size=3)
legs = st.sampled_from(get_args(Leg))
_unchecked = st.just(dict[str, Any]())
_checked = st.fixed_dictionaries(
    {
        "reference_venue": text,
        "reference_price": above_zero,
        "reference_age_seconds": money,
        "divergence_fraction": money,
    }
)
_quote_fields = st.tuples(
    text, times, money, text, above_zero, above_zero, money, money, money, st.integers(1, 604_800), money, money, money
)
quotes = st.builds(lambda given, seen: Quote(*given, **seen), _quote_fields, _unchecked | _checked)

_names = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=20)


def _parameter(parameter: Parameter) -> st.SearchStrategy[Any]:
    if parameter.low is None or parameter.high is None:
        return _names
    if parameter.whole:
        return st.integers(int(parameter.low), int(parameter.high))
    return st.floats(parameter.low, parameter.high)


def _conditions(name: IndicatorName) -> st.SearchStrategy[Condition]:
    """Any condition on this indicator: parameters and values from one end of what is allowed to the other."""
    info = INDICATORS[name]
    low, high = (-1000 if info.low is None else info.low), (1000 if info.high is None else info.high)
    given = st.fixed_dictionaries({parameter.name: _parameter(parameter) for parameter in info.parameters})
    operators: st.SearchStrategy[Operator] = st.sampled_from(get_args(Operator))
    return st.builds(
        lambda op, value, found: Condition(name, op, value, **_ordered(found)), operators, st.floats(low, high), given
    )


def _ordered(given: dict[str, Any]) -> dict[str, Any]:
    """`fast` stays below `slow`."""
    if "slow" in given:
        fast, slow = sorted((given["fast"], given["slow"]))
        return {**given, "fast": min(fast, 9_999), "slow": max(slow, fast + 1) if fast < 10_000 else 10_000}
    return given


conditions = st.one_of(*map(_conditions, INDICATORS))
_some = st.lists(conditions, min_size=1, max_size=3).map(tuple)
joined = st.builds(lambda found: AnyOrAll(all_of=found), _some) | st.builds(lambda found: AnyOrAll(any_of=found), _some)
_params = st.builds(
    StrategyParams,
    st.decimals(1, 100, places=2),
    st.integers(1, 100),
    st.none() | st.decimals(1, 99, places=2),
    st.none() | st.decimals(1, 100_000, places=2),
    st.none() | st.decimals(1, 87_600, places=2),
)
specs = st.builds(
    StrategySpec,
    st.just("spot"),
    _names,
    st.builds(Signals, joined, joined),
    st.builds(RegimeFilter, st.lists(conditions, max_size=2).map(tuple)),
    _params,
    st.none() | text,
)
_percents = st.decimals(1, 50, places=2)
_ages = st.integers(1, 604_800)
_depths = st.decimals(0, 10**12, places=2)
_pair_quotes = st.builds(
    PairQuotes, st.none() | _percents, st.none() | _ages, st.none() | _percents, st.none() | _depths
)
configs = st.builds(
    AgentConfig,
    st.lists(pairs, min_size=1, max_size=3, unique=True).map(tuple),
    st.builds(StrategyConfig, specs, st.decimals(0, 100, places=2)),
    st.builds(QuotesConfig, _percents, _ages, _percents, _depths, st.dictionaries(pairs, _pair_quotes, max_size=2)),
    st.builds(RiskConfig, st.sampled_from(get_args(PresetName)), st.decimals(51, 99, places=2), _percents),
    st.builds(EvaluationConfig, st.integers(1, 3650), st.integers(1, 100_000)),
    st.builds(
        PaperConfig,
        st.decimals(1, 10**9, places=8),
        gas_usdt=st.decimals(0, 1000, places=8),
        impact=st.sampled_from(["pool", "none"]),
        fill_at=st.sampled_from(["quote", "next_open"]),
    ),
    st.builds(LiveConfig, st.decimals("0.01", 50, places=2), st.integers(10, 86_400)),
    st.integers(1, 1440),
)

statuses = st.sampled_from(get_args(Status))
EVENT_STRATEGIES: Final[tuple[st.SearchStrategy[Row], ...]] = (
    st.builds(Snapshot, times, money, phases, money, money),
    st.builds(
        Trade, times, pairs, sides, money, money, st.none() | money, money, phases, text, money, text,
        st.none() | st.integers(0, 10**9), st.none() | money, st.none() | times, st.none() | text,
    ),
    st.builds(
        JournalEntry, times, text, st.sampled_from(get_args(EntryType)), st.lists(text, max_size=3).map(tuple), text,
        st.dictionaries(text, plain, max_size=3),
    ),
    st.builds(RiskVeto, times, text, text, text, pairs, sides, money, text),
    st.builds(StatusChange, times, statuses, statuses, text),
    st.builds(
        QuoteRejected, times, pairs, st.sampled_from(["divergence", "stale", "liquidity"]), text,
        st.sampled_from(["QUOTE_DIVERGENCE", "QUOTE_STALE", "INSUFFICIENT_LIQUIDITY"]), text, money, money,
    ),
    st.builds(TwakBlock, times, text, text, text, pairs, sides, money, text),
    st.builds(Promotion, times, st.none() | text, text),
    st.builds(Demotion, times, text, st.sampled_from(["daily", "max"]), st.none() | times, text),
)  # fmt: skip
FACT_STRATEGIES: Final[tuple[st.SearchStrategy[Row], ...]] = (
    st.builds(Genesis, times, st.integers(1, 9), text, st.dictionaries(text, plain, max_size=3)),
    st.builds(ConfigAdopted, times, st.integers(1, 1000), configs),
    st.builds(RunStarted, times, st.integers(1, 1000), money),
    st.builds(RunFailed, times, times, money, money),
    st.builds(Marked, times, money, st.dictionaries(pairs, above_zero), phases),
    st.builds(OrderPlaced, times, orders, quotes),
    st.builds(LockLifted, times, text),
    st.builds(Decided, times, pairs, sides, text, st.none() | text, phases),
    st.builds(
        RoundSettled,
        times,
        plain,
        st.dictionaries(pairs, ticks),
        st.lists(gaps, max_size=2).map(tuple),
        st.dictionaries(text, readings, max_size=2),
        st.dictionaries(pairs, st.lists(candles, max_size=2).map(tuple), max_size=2),
    ),
    st.builds(LiveOpened, times, money, money, money, holdings),
    st.builds(
        Intended, times, orders, quotes, st.sampled_from(get_args(Purpose)), text, text, units, units,
        money, st.integers(0, 2**53),
    ),
    st.builds(Submitted, times, text, legs, st.integers(0, 2**53), text, text, units),
    st.builds(HandedOver, times, text, st.integers(0, 2**53), holdings, st.integers(0, 2**53)),
    st.builds(
        Mined, times, text, legs, text, st.integers(0, 2**53), st.booleans(), units, units, units, money,
    ),
    st.builds(GivenUp, times, text, pairs, text, text, money, st.none() | units),
    st.builds(Frozen, times, text),
    st.builds(Flattening, times, text),
    st.builds(WrittenOff, times, pairs, text, money, money, units, money, money),
)  # fmt: skip
events: st.SearchStrategy[Row] = st.one_of(*EVENT_STRATEGIES)
facts: st.SearchStrategy[Row] = st.one_of(*FACT_STRATEGIES)
rows: st.SearchStrategy[Row] = events | facts
