"""What the strategy sees, what it is worth, what becomes of it, and whether a price is believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import sqrt
from typing import Any, Final

import pytest
from attrs import evolve as changed
from attrs import fields, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.executor.book import Position
from actors.executor.fills import evidence, evidence_text
from actors.quote_verifier.verify import EXIT_TOLERANCE, verify
from actors.strategist.outcomes import Outcomes, evolve, overdue, skipped, told
from actors.strategist.signals import (
    EDGE_CANDLES,
    PairView,
    Signal,
    compiled,
    reason_to_enter,
    reason_to_leave,
    stand_aside,
    too_dear,
)
from protocol.codec import decode_row, encode_row, from_json, to_json, to_plain
from protocol.errors import Refusal
from protocol.events import Decided, JournalEntry, QuoteRejected, Row, Trade
from protocol.market import Candle, Observation, Reading, Tick
from protocol.money import booked, pct
from protocol.orders import Order, Quote
from protocol.settings import AgentConfig, PairQuotes, PaperConfig, QuotesConfig, StrategyConfig
from protocol.strategy import (
    INDICATORS,
    AnyOrAll,
    Condition,
    Operator,
    RegimeFilter,
    Signals,
    StrategyParams,
    StrategySpec,
)

AT: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
ETH: Final = "ETH/USDT"
LOW: Final = Condition("rsi", "<=", 30, 3)
CROSSES: Final[tuple[Operator, ...]] = ("crosses_above", "crosses_below")
HIGH: Final = Condition("rsi", ">=", 70, 3)


def strategy(*regime: Condition, entry: AnyOrAll | None = None, fee_multiple: str = "3") -> StrategyConfig:
    signals = Signals(entry or AnyOrAll(all_of=(LOW,)), AnyOrAll(any_of=(HIGH,)))
    return StrategyConfig(StrategySpec("spot", "test", signals, RegimeFilter(regime)), Decimal(fee_multiple))


def at_values(before: float | None, now: float | None) -> PairView:
    """A view whose rsi(3) was `before` a candle ago and is `now`."""
    view = PairView.of(strategy())
    view.before, view.now = [before], [now]
    return view


def holds(condition: Condition, before: float | None, now: float | None) -> bool:
    return compiled(condition, 0)([now], [before])


def bar(close: Decimal | int = 100, ts: datetime = AT, volume: Decimal | int = 1) -> Candle:
    price = Decimal(close)
    return Candle(ts, price, price, price, price, Decimal(volume))


CROSSINGS: list[tuple[Operator, float | None, float | None, bool]] = [
    ("crosses_above", 49, 51, True),
    ("crosses_above", 50, 51, True),
    ("crosses_above", 49, 50, False),
    ("crosses_above", 51, 52, False),
    ("crosses_above", 51, 49, False),
    ("crosses_above", None, 51, False),
    ("crosses_above", 49, None, False),
    ("crosses_below", 51, 49, True),
    ("crosses_below", 50, 49, True),
    ("crosses_below", 51, 50, False),
    ("crosses_below", 49, 48, False),
    ("crosses_below", 49, 51, False),
    ("crosses_below", None, 49, False),
    ("<", None, 49.9, True),
    ("<", None, 50, False),
    ("<=", None, 50, True),
    ("<=", None, 50.1, False),
    (">", None, 50.1, True),
    (">", None, 50, False),
    (">=", None, 50, True),
    (">=", None, 49.9, False),
    (">=", 60, None, False),
]


@pytest.mark.parametrize(("op", "before", "now", "expected"), CROSSINGS)
def test_a_condition_holds_exactly_where_its_operator_says(
    op: Operator, before: float | None, now: float | None, expected: bool
) -> None:
    assert holds(Condition("rsi", op, 50, 3), before, now) == expected


def test_a_condition_looks_at_its_own_slot() -> None:
    test = compiled(LOW, 1)
    assert test([90, 20, 90], [None, None, None])
    assert not test([20, 90, 20], [20, 20, 20])


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30), st.floats(0, 100))
def test_crossings_up_and_down_take_turns(values: list[float], level: float) -> None:
    """Where a series neither stands on the level nor is cold, each crossing is seen once."""
    apart = [value for value in values if value != level]
    crossed = []
    for before, now in pairwise(apart):
        crossed += [op for op in CROSSES if holds(Condition("rsi", op, level, 3), before, now)]
    assert len(crossed) == sum((before < level) != (now < level) for before, now in pairwise(apart))
    assert all(op != following for op, following in pairwise(crossed))


def test_all_of_needs_all_and_any_of_needs_one() -> None:
    never, slots = Condition("rsi", ">", 90, 3), {"rsi(3)": 0}

    def met(joined: AnyOrAll) -> bool:
        return Signal.of(joined, slots).met([25], [20])

    assert met(AnyOrAll(all_of=(LOW,)))
    assert not met(AnyOrAll(all_of=(LOW, never)))
    assert met(AnyOrAll(any_of=(never, LOW)))
    assert not met(AnyOrAll(any_of=(never,)))


def test_the_reason_names_the_conditions_that_hold_with_their_numbers() -> None:
    assert Signal.of(AnyOrAll(any_of=(LOW, HIGH)), {"rsi(3)": 0}).told([25.5], [20]) == "rsi(3) 25.5 <= 30"
    assert reason_to_enter(at_values(20, 25.5)) == "rsi(3) 25.5 <= 30"
    assert reason_to_enter(at_values(20, 31)) is None


def test_conditions_with_one_key_share_one_indicator() -> None:
    view = PairView.of(strategy(Condition("rsi", "<", 5, 3), Condition("rsi", "<", 5, 4)))
    assert list(view.indicators) == ["rsi(3)", "rsi(4)"]
    assert len(view.now) == 2


def test_a_view_has_the_value_of_now_and_of_one_candle_ago() -> None:
    view = PairView.of(strategy())
    seen = []
    for hour, close in enumerate((100, 101, 102, 101, 103, 99)):
        view.see(bar(close, AT + hour * HOUR), {})
        seen.append((view.before[0], view.now[0]))
    assert [before for before, _ in seen] == [None, *(now for _, now in seen[:-1])]
    assert [now is None for _, now in seen] == [True, True, True, False, False, False]


def every_indicator() -> StrategyConfig:
    """A document that looks through each indicator there is, in short windows."""
    given = {"window": 4, "fast": 2, "slow": 5, "width": 1.5, "name": "fng", "max_age_hours": 3}
    conditions = tuple(
        Condition(name, ">", 0.5, **{parameter.name: given[parameter.name] for parameter in info.parameters})  # type: ignore[arg-type]
        for name, info in INDICATORS.items()
    )
    signals = Signals(AnyOrAll(any_of=conditions), AnyOrAll(all_of=conditions[:3]))
    return StrategyConfig(StrategySpec("spot", "all", signals, RegimeFilter(conditions[3:])))


CANDLES: Final = st.lists(
    st.tuples(st.lists(st.decimals(1, 10_000, places=4), min_size=4, max_size=4), st.integers(0, 100), st.booleans()),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40)
@given(CANDLES, st.integers(0, 40))
def test_a_view_goes_through_a_checkpoint_unchanged(candles: list[Any], cut: int) -> None:
    config = every_indicator()
    whole, half = PairView.of(config), PairView.of(config)
    rounds = []
    for hour, (prices, volume, told_then) in enumerate(candles):
        low, opened, close, high = sorted(prices)
        ts = AT + hour * HOUR
        series = {"fng": Reading(close, ts - (hour % 5) * HOUR)} if told_then else {}
        rounds.append((Candle(ts, opened, high, low, close, Decimal(volume)), series))
    for candle, series in rounds:
        whole.see(candle, series)
    for candle, series in rounds[:cut]:
        half.see(candle, series)
    thawed = PairView.thawed(from_json(to_json(to_plain(half.state))), config)
    assert thawed.state == half.state
    for candle, series in rounds[cut:]:
        thawed.see(candle, series)
    assert thawed.state == whole.state
    assert _classes(thawed) == _classes(whole)
    assert (reason_to_enter(thawed), thawed.exit.met(thawed.now, thawed.before)) == (
        reason_to_enter(whole),
        whole.exit.met(whole.now, whole.before),
    )
    assert stand_aside(thawed) == stand_aside(whole)


def test_what_the_fee_filter_knew_goes_through_a_checkpoint() -> None:
    view = PairView.of(strategy())
    for hour in range(30):
        view.see(bar(100 + hour % 3, AT + hour * HOUR), {})
    thawed = PairView.thawed(from_json(to_json(to_plain(view.state))), strategy())
    assert thawed.state == view.state
    assert view.swing is not None
    assert too_dear(thawed, config("3"), Decimal(100)) == too_dear(view, config("3"), Decimal(100))


def test_a_view_whose_fee_filter_is_off_goes_through_a_checkpoint_too() -> None:
    config = strategy(fee_multiple="0")
    view = PairView.of(config)
    view.see(bar(), {})
    thawed = PairView.thawed(from_json(to_json(to_plain(view.state))), config)
    assert thawed.state == view.state
    assert (thawed.edge, thawed.swing) == (None, None)


def _classes(view: PairView) -> list[Any]:
    return [type(view.swing), *(type(value) for value in (*view.now, *view.before))]


# --- outside series

FNG: Final = Condition("series", "<=", 20, name="fng", max_age_hours=48)


def looking_at(*conditions: Condition) -> PairView:
    return PairView.of(strategy(entry=AnyOrAll(all_of=conditions)))


def test_a_series_is_its_latest_value() -> None:
    view = looking_at(FNG)
    view.see(bar(), {"fng": Reading(Decimal("20.5"), AT - HOUR), "vix": Reading(Decimal(1), AT)})
    assert view.now[-1] == 20.5
    assert reason_to_enter(view) is None
    view.see(bar(ts=AT + HOUR), {"fng": Reading(Decimal(20), AT)})
    assert (view.before[-1], view.now[-1]) == (20.5, 20.0)
    assert reason_to_enter(view) == "series(fng,48) 20 <= 20"


@pytest.mark.parametrize(("old", "known"), [(0, True), (48, True), (48.001, False), (1000, False)])
def test_a_value_that_is_too_old_counts_as_none(old: float, known: bool) -> None:
    view = looking_at(FNG)
    view.see(bar(), {"fng": Reading(Decimal(10), AT - old * HOUR)})
    assert view.now[-1] == (10.0 if known else None)
    assert view.entry.met(view.now, view.before) == known


def test_a_series_of_which_nothing_is_known_holds_nothing() -> None:
    for op in (">", "<"):
        view = looking_at(changed(FNG, op=op))
        view.see(bar(), {"vix": Reading(Decimal(10), AT)})
        assert view.now[-1] is None
        assert not view.entry.met(view.now, view.before)


def test_the_age_that_is_allowed_belongs_to_the_condition() -> None:
    view = looking_at(FNG, changed(FNG, max_age_hours=1))
    view.see(bar(), {"fng": Reading(Decimal(10), AT - 2 * HOUR)})
    assert [view.now[slot] for _, slot, _ in view.entry.conditions] == [10.0, None]
    assert not view.entry.met(view.now, view.before)


def test_a_series_crosses_between_two_candles_that_both_know_it() -> None:
    view = looking_at(changed(FNG, op="crosses_below", max_age_hours=1))
    seen = []
    for hour, reading in enumerate((25, None, 15, 25, 15)):
        ts = AT + hour * HOUR
        view.see(bar(ts=ts), {} if reading is None else {"fng": Reading(Decimal(reading), ts)})
        seen.append(view.entry.met(view.now, view.before))
    assert seen == [False, False, False, False, True]


def test_a_regime_can_be_an_outside_series() -> None:
    view = PairView.of(strategy(changed(FNG, op=">", value=80)))
    view.see(bar(), {"fng": Reading(Decimal(90), AT)})
    no = stand_aside(view)
    assert isinstance(no, Refusal)
    assert no.reason == "series(fng,48) is 90, it stands aside at > 80"
    assert no.data == {"measured": 90.0, "limit": 80}


# --- what holds an entry back


@pytest.mark.parametrize(("value", "refused"), [(0.0399, False), (0.04, True), (0.05, True)])
def test_the_regime_filter_stands_aside_at_its_limit(value: float, refused: bool) -> None:
    view = PairView.of(strategy(Condition("volatility", ">=", 0.04, 24)))
    view.now = [20.0, value]
    no = stand_aside(view)
    assert (no.rule if no else None) == ("regime" if refused else None)
    if no:
        assert no.reason == f"volatility(24) is {value:.4g}, it stands aside at >= 0.04"
        assert no.data == {"measured": value, "limit": 0.04}


def test_the_first_regime_that_holds_is_the_reason() -> None:
    view = PairView.of(strategy(Condition("momentum", ">", 9, 4), HIGH, Condition("rsi", ">", 10, 3)))
    view.now = [80.0, 0.5]
    no = stand_aside(view)
    assert isinstance(no, Refusal)
    assert no.reason.startswith("rsi(3) is 80, it stands aside at >= 70")


def test_a_regime_that_is_not_known_yet_holds_nothing_back() -> None:
    assert stand_aside(PairView.of(strategy(Condition("volatility", ">=", 0.0, 24)))) is None


def config(multiple: str, **paper: Any) -> AgentConfig:
    return AgentConfig((ETH,), StrategyConfig(fee_multiple=Decimal(multiple)), paper=PaperConfig(**paper))


def swinging(edge: float) -> PairView:
    view = PairView.of(strategy())
    view.swing = edge / sqrt(EDGE_CANDLES)
    return view


@pytest.mark.parametrize(("edge", "refused"), [(0.0179, True), (0.0181, False)])
def test_an_entry_must_promise_its_multiple_of_the_round_trip(edge: float, refused: bool) -> None:
    """Twice (25 + 5) bps, and gas of 0.10 on 100 USDT twice: 0.8 %; with multiple 2.25 that is 1.8 %."""
    no = too_dear(swinging(edge), config("2.25", gas_usdt=Decimal("0.10")), Decimal(100))
    assert (no.rule if no else None) == ("fee_filter" if refused else None)
    if no:
        assert no.reason == "expected edge 1.79 % is below 2.25 x the round-trip cost of 0.80 %"
        assert no.data == {"measured": Decimal("0.0179"), "limit": Decimal("0.018")}


@given(
    st.floats(0, 0.5),
    st.decimals(Decimal("0.01"), 100, places=2),
    st.decimals(1, 10_000, places=2),
    st.builds(PaperConfig, fee_bps=st.decimals(0, 300, places=1), gas_usdt=st.decimals(0, 5, places=2)),
)
def test_what_is_told_of_an_entry_that_is_too_dear_is_what_its_data_say(
    edge: float, multiple: Decimal, size: Decimal, paper: PaperConfig
) -> None:
    of = changed(config(str(multiple)), paper=paper)
    no = too_dear(swinging(edge), of, size)
    cost = 2 * ((paper.fee_bps + paper.slippage_bps) / 10_000 + paper.gas_usdt / size)
    assert (no is not None) == (Decimal(str(swinging(edge).swing * sqrt(24))) < multiple * cost)  # type: ignore[operator]
    if no is not None:
        entry, _ = skipped({}, order(1), no, AT)
        assert isinstance(entry, JournalEntry)
        assert (entry.data["measured"], entry.data["limit"]) == (no.data["measured"], booked(multiple * cost))
        assert entry.data["measured"] <= entry.data["limit"]
        assert abs(entry.data["measured"] - Decimal(repr(edge))) <= Decimal("0.00000001")
        assert entry.text == (
            f"Skipped ETH/USDT buy: expected edge {pct(Decimal(str(swinging(edge).swing * sqrt(24))))} is below "  # type: ignore[operator]
            f"{multiple:f} x the round-trip cost of {pct(cost)}."
        )


def test_an_edge_that_just_carries_its_costs_passes() -> None:
    free_of_gas = config("1", gas_usdt=Decimal(0), fee_bps=Decimal(0), slippage_bps=Decimal(0))
    assert too_dear(swinging(0.0), free_of_gas, Decimal(100)) is None
    assert too_dear(swinging(0.0), config("0"), Decimal(100)) is None
    assert too_dear(swinging(0.0), config("0"), Decimal(0)) is None  # what is off says nothing at all
    assert too_dear(PairView.of(strategy()), config("1"), Decimal(100)) is not None  # nothing is known of its edge yet


def test_an_order_of_nothing_is_too_dear_and_no_death() -> None:
    """A book that has lost everything wishes for orders of nothing."""
    assert too_dear(swinging(0.5), config("3"), Decimal(0)) is not None


def test_the_edge_is_the_volatility_of_the_last_24_candles() -> None:
    view = PairView.of(strategy())
    for hour in range(25):
        assert view.swing is None
        view.see(bar(100 + hour % 2, AT + hour * HOUR), {})
    assert view.swing == pytest.approx(0.00995033)


def test_what_is_switched_off_is_not_even_computed() -> None:
    assert PairView.of(strategy(fee_multiple="0")).edge is None


# --- why to leave


def held(entry: Decimal | int | str = 100, opened_at: datetime = AT) -> Position:
    return Position(ETH, Decimal(1), Decimal(entry), Decimal(entry), opened_at)


def leaving(
    close: Decimal | int | str,
    params: StrategyParams,
    *,
    rsi: float = 50,
    hours: float = 1,
    position: Position | None = None,
) -> str | None:
    candle = bar(Decimal(close), AT + timedelta(hours=hours))
    return reason_to_leave(at_values(None, rsi), params, position or held(), candle)


STOPPED: Final = StrategyParams(stop_loss_pct=Decimal(5))
TAKING: Final = StrategyParams(take_profit_pct=Decimal(10))
BRIEF: Final = StrategyParams(max_hold_hours=Decimal("1.5"))
PRICED: list[tuple[StrategyParams, str, str, str]] = [
    (STOPPED, "95", "95.00000001", "the close 95 is -5.00 % from the entry, the stop-loss is at -5.00 %"),
    (STOPPED, "80", "120", "the close 80 is -20.00 % from the entry, the stop-loss is at -5.00 %"),
    (TAKING, "110", "109.99999999", "the close 110 is 10.00 % from the entry, the take-profit is at 10.00 %"),
    (TAKING, "1234.5", "80", "the close 1,234.50 is 1134.50 % from the entry, the take-profit is at 10.00 %"),
]  # fmt: skip


@pytest.mark.parametrize(("params", "reached", "just_not", "words"), PRICED)
def test_an_exit_by_price_is_taken_at_its_bound_and_not_just_before(
    params: StrategyParams, reached: str, just_not: str, words: str
) -> None:
    assert leaving(reached, params) == words
    assert leaving(just_not, params) is None


@given(
    st.decimals(Decimal("0.0001"), 100_000, places=8),
    st.decimals(Decimal("0.01"), Decimal("99.99"), places=2),
    st.integers(-3, 3),
)
def test_a_bound_is_exact_for_any_entry_price(entry: Decimal, percent: Decimal, off: int) -> None:
    """To the last place that a price has."""
    for side, params in ((-1, StrategyParams(stop_loss_pct=percent)), (1, StrategyParams(take_profit_pct=percent))):
        bound = Fraction(entry) * (100 + side * Fraction(percent)) / 100
        close = booked(Decimal(bound.numerator) / bound.denominator) + off * Decimal("0.00000001")
        if close > 0:
            fires = leaving(close, params, position=held(entry)) is not None
            assert fires == (side * Fraction(close) >= side * bound)


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("1.5", 90), ("0.7", 42), ("0.1", 6), ("0.35", 21), ("2", 120), ("0.05", 3), ("1.15", 69), ("24.9", 1494)],
)
def test_an_exit_by_time_is_taken_at_its_bound_and_not_just_before(limit: str, minutes: int) -> None:
    params = StrategyParams(max_hold_hours=Decimal(limit))
    for after, leaves in ((0, True), (1, True), (-1, False)):
        at = timedelta(minutes=minutes, milliseconds=after)
        found = reason_to_leave(at_values(None, 50), params, held(), bar(ts=AT + at))
        assert (found is not None) == leaves
        if leaves:
            assert found == f"it was held for {Decimal(minutes) / 60:.2f} h, the longest is {limit} h"


def test_time_counts_from_the_fill() -> None:
    """A fill at the open of a candle is held since then."""
    since_open = held(opened_at=AT - HOUR)
    assert leaving(100, BRIEF, hours=0.5, position=since_open) is not None
    assert leaving(100, BRIEF, hours=0.5) is None


ALL_EXITS: Final = StrategyParams(stop_loss_pct=Decimal(5), take_profit_pct=Decimal(10), max_hold_hours=Decimal("1.5"))


@pytest.mark.parametrize(
    ("close", "hours", "rsi", "word"),
    [
        (90, 2, 80, "stop-loss"),
        (90, 1, 50, "stop-loss"),
        (120, 2, 80, "take-profit"),
        (120, 1, 80, "take-profit"),
        (100, 2, 80, "held for 2.00 h, the longest is 1.5 h"),
        (100, 2, 50, "held for"),
        (100, 1, 80, "rsi(3) 80 >= 70"),
        (100, 1, 50, None),
    ],
)
def test_of_several_exits_stop_loss_take_profit_time_and_signal_answer_in_this_order(
    close: int, hours: float, rsi: float, word: str | None
) -> None:
    found = leaving(close, ALL_EXITS, rsi=rsi, hours=hours)
    if word is None:
        assert found is None
    else:
        assert found is not None
        assert word in found


def test_without_exits_by_price_and_time_only_the_signal_counts() -> None:
    plain = StrategyParams()
    assert leaving(1, plain, hours=10_000) is None
    assert leaving(1, plain, rsi=70) == "rsi(3) 70 >= 70"


def test_an_exit_does_not_wait_for_warm_indicators() -> None:
    """After a change of the strategy its views are cold, and a stop-loss holds all the same."""
    cold = PairView.of(strategy())
    assert reason_to_leave(cold, STOPPED, held(), bar(90)) is not None
    assert reason_to_leave(cold, StrategyParams(), held(), bar(90)) is None


# --- outcomes


def order(number: int, side: Any = "buy", pair: str = ETH) -> Order:
    return Order(f"ord_{number}", pair, side, Decimal(100), None, "because")


class Desk:
    """Outcomes folded in turn, hour by hour, and the rows of it."""

    def __init__(self, at: datetime = AT) -> None:
        self.outcomes: Outcomes = {}
        self.rows: list[Row] = []
        self.at = at

    def no(self, rule: str = "regime", *, hours: int = 1, **of: Any) -> tuple[Row, ...]:
        self.morning(hours)
        rows = skipped(self.outcomes, order(len(self.rows), **of), Refusal(rule, f"it is {rule}", {"n": 1}), self.at)
        return self.fold(*rows)

    def trade(self, pair: str = ETH) -> tuple[Row, ...]:
        self.morning()
        one = Decimal(1)
        trade = Trade(self.at, pair, "buy", one, one, None, one, "paper", "jrn", one, "ord")
        return self.fold(*told(self.outcomes, pair, self.at), trade)

    def morning(self, hours: int = 1) -> tuple[Row, ...]:
        """A round begins: what was counted on an earlier day is told."""
        self.at += hours * HOUR
        return self.fold(*overdue(self.outcomes, self.at))

    def fold(self, *rows: Row) -> tuple[Row, ...]:
        for row in rows:
            self.outcomes = evolve(self.outcomes, row)
        self.rows += rows
        return rows


def entries(rows: tuple[Row, ...]) -> list[JournalEntry]:
    return [row for row in rows if isinstance(row, JournalEntry)]


def test_the_first_no_is_told_at_once_with_its_reason() -> None:
    entry, decided = Desk().no("fee_filter")
    assert isinstance(entry, JournalEntry)
    assert isinstance(decided, Decided)
    assert (entry.type, entry.tags, decided.entry, decided.code) == (
        "SKIPPED",
        ("fee_filter", ETH),
        entry.id,
        "fee_filter",
    )
    assert entry.text == "Skipped ETH/USDT buy: it is fee_filter."
    assert entry.data == {"code": "fee_filter", "order_ref": "ord_0", "pair": ETH, "side": "buy", "n": 1}


BREAKS: dict[str, Callable[[Desk], tuple[Row, ...]]] = {
    "another outcome": lambda desk: desk.no("fee_filter"),
    "the other side": lambda desk: desk.no(side="sell"),
    "a trade": Desk.trade,
    "a new day": lambda desk: desk.morning(12),
}


@pytest.mark.parametrize("breaking", BREAKS)
@pytest.mark.parametrize(("repeats", "times"), [(0, ""), (1, "once"), (3, "3 times")])
def test_the_repeats_are_counted_and_told_once_when_they_end(breaking: str, repeats: int, times: str) -> None:
    desk = Desk()
    assert len(entries(desk.no())) == 1
    for _ in range(repeats):
        assert [type(row) for row in desk.no()] == [Decided]
    rows = BREAKS[breaking](desk)
    summaries = [entry for entry in entries(rows) if "repeats" in entry.tags]
    assert len(summaries) == bool(repeats)
    if repeats:
        first, last = AT + 2 * HOUR, AT + (1 + repeats) * HOUR
        assert rows[0] == summaries[0]
        assert f"Skipped ETH/USDT buy {times} more for the same reason (regime)" in summaries[0].text
        assert (summaries[0].data["count"], summaries[0].tags) == (repeats, ("regime", "repeats", ETH))
        assert (summaries[0].data["first"], summaries[0].data["last"]) == (
            f"2026-01-01T{first.hour:02}:00:00.000Z",
            f"2026-01-01T{last.hour:02}:00:00.000Z",
        )
    assert told(desk.outcomes, ETH, desk.at) == ()
    assert overdue(desk.outcomes, desk.at + timedelta(days=1)) == ()


def test_pairs_are_counted_apart() -> None:
    desk = Desk()
    desk.no()
    assert len(entries(desk.no(pair="BTC/USDT"))) == 1
    assert entries(desk.no()) == entries(desk.no(pair="BTC/USDT")) == []
    desk.trade("BTC/USDT")
    assert desk.outcomes[ETH].hidden == 1


def test_after_a_trade_the_same_no_is_told_again() -> None:
    desk = Desk()
    desk.no()
    desk.trade()
    assert len(entries(desk.no())) == 1


def test_a_rejected_quote_is_tagged_by_its_source() -> None:
    assert entries(Desk().no("QUOTE_STALE"))[0].tags == ("quote", ETH)
    assert entries(Desk().no("QUOTE_MISMATCH"))[0].tags == ("quote", ETH)


def test_dust_is_a_matter_of_costs() -> None:
    (entry,) = entries(Desk().no("dust"))
    assert (entry.tags, entry.data["code"]) == (("fee_filter", ETH), "dust")


STEPS: Final = st.lists(
    st.tuples(
        st.sampled_from(["regime", "fee_filter", "QUOTE_STALE", "trade"]),
        st.sampled_from([ETH, "BTC/USDT"]),
        st.integers(1, 9),
    ),
    max_size=25,
)


@given(STEPS)
def test_each_decision_has_one_outcome_and_none_is_lost_in_the_folding(steps: list[tuple[str, str, int]]) -> None:
    desk = Desk()
    for rule, pair, hours in steps:
        if rule == "trade":
            desk.trade(pair)
        else:
            desk.no(rule, hours=hours, pair=pair)
    decisions = [rule for rule, _, _ in steps if rule != "trade"]
    summaries = [entry for entry in entries(tuple(desk.rows)) if "repeats" in entry.tags]
    plain = [entry for entry in entries(tuple(desk.rows)) if "repeats" not in entry.tags]
    hidden = sum(repeats.hidden for repeats in desk.outcomes.values())
    assert len([row for row in desk.rows if isinstance(row, Decided)]) == len(decisions)
    assert len(plain) + sum(entry.data["count"] for entry in summaries) + hidden == len(decisions)
    ids = [entry.id for entry in entries(tuple(desk.rows))]
    assert len(ids) == len(set(ids))


@given(STEPS)
def test_the_folding_is_restored_from_its_rows(steps: list[tuple[str, str, int]]) -> None:
    desk = Desk()
    for rule, pair, hours in steps:
        if rule == "trade":
            desk.trade(pair)
        else:
            desk.no(rule, hours=hours, pair=pair)
    restored: Outcomes = {}
    for row in desk.rows:
        read = decode_row(encode_row(row, None if isinstance(row, Decided) else 1))
        restored = evolve(restored, read)
    assert restored == desk.outcomes


# --- is this price to be believed?

LIMITS: Final = QuotesConfig(
    max_divergence_pct=Decimal(1), max_age_seconds=600, max_impact_pct=Decimal(2), min_depth_usdt=Decimal(1000)
)
TIGHT: Final = QuotesConfig(
    max_divergence_pct=Decimal("0.01"),
    max_age_seconds=1,
    max_impact_pct=Decimal("0.01"),
    min_depth_usdt=Decimal(10**12),
)
LOOSE: Final = QuotesConfig(
    max_divergence_pct=Decimal(50), max_age_seconds=604_800, max_impact_pct=Decimal(50), min_depth_usdt=Decimal(0)
)


def of_pair(limits: QuotesConfig, *keys: str) -> PairQuotes:
    """These limits as one pair's own: all of them, or only `keys`."""
    names = keys or ("max_divergence_pct", "max_age_seconds", "max_impact_pct", "min_depth_usdt")
    return PairQuotes(**{name: getattr(limits, name) for name in names})


def judged(order: Order, tick: Tick, quotes: QuotesConfig = LIMITS, **paper: Any) -> Quote | QuoteRejected:
    return verify(order, tick, AgentConfig((ETH,), quotes=quotes, paper=PaperConfig(**paper)), AT)


def tick(
    *,
    price: str = "100",
    age: float = 0,
    depth: str | None = "10000",
    reference: str | None = "100",
    ref_age: float = 0,
) -> Tick:
    seen = AT - timedelta(seconds=ref_age)
    return Tick(
        bar(),
        Observation("pool", Decimal(price), AT - timedelta(seconds=age), Decimal(depth) if depth else None),
        Observation("exchange", Decimal(reference), seen) if reference else None,
    )


def wish(side: Any = "buy", size: str = "100") -> Order:
    return Order("ord", ETH, side, Decimal(size), None, "because")


@frozen
class Gate:
    """One limit: what a quote beyond it is rejected for, what it is for an entry and for an exit, the smallest step
    beyond it, and a tick and an order's size that stand exactly at `x`."""

    key: str
    reason: str
    code: str
    entry: Decimal
    exit: Decimal
    step: Decimal
    made: Callable[[Decimal], tuple[Tick, str]]


ATOM: Final = Decimal("0.00000001")
GATES: Final = {
    "the pool's age": Gate(
        "max_age_seconds", "stale", "QUOTE_STALE", Decimal(600), Decimal(3000), Decimal("0.001"),
        lambda x: (tick(age=float(x)), "100"),
    ),
    "the reference's age": Gate(
        "max_age_seconds", "stale", "QUOTE_STALE", Decimal(600), Decimal(3000), Decimal("0.001"),
        lambda x: (tick(ref_age=float(x)), "100"),
    ),
    "divergence upwards": Gate(
        "max_divergence_pct", "divergence", "QUOTE_DIVERGENCE", Decimal("0.01"), Decimal("0.05"), ATOM,
        lambda x: (tick(price=str(100 * (1 + x))), "100"),
    ),
    "divergence downwards": Gate(
        "max_divergence_pct", "divergence", "QUOTE_DIVERGENCE", Decimal("0.01"), Decimal("0.05"), ATOM,
        lambda x: (tick(price=str(100 * (1 - x))), "100"),
    ),
    "depth": Gate(
        "min_depth_usdt", "liquidity", "INSUFFICIENT_LIQUIDITY", Decimal(1000), Decimal(200), -ATOM,
        lambda x: (tick(depth=str(x)), "1"),
    ),
    "impact": Gate(
        "max_impact_pct", "liquidity", "INSUFFICIENT_LIQUIDITY", Decimal("0.02"), Decimal("0.1"), ATOM,
        lambda x: (tick(), str(10_000 * x)),
    ),
}  # fmt: skip
# Ways to give a pair LIMITS.
GIVEN: Final[dict[str, Callable[[str], QuotesConfig]]] = {
    "everybody's": lambda _: LIMITS,
    "the pair's own over tight ones": lambda _: changed(TIGHT, pairs={ETH: of_pair(LIMITS)}),
    "the pair's own over loose ones": lambda _: changed(LOOSE, pairs={ETH: of_pair(LIMITS)}),
    "one key of its own, the others everybody's": lambda key: changed(
        LIMITS, **{key: getattr(TIGHT, key)}, pairs={ETH: of_pair(LIMITS, key)}
    ),
    "other keys of its own": lambda key: changed(
        LIMITS, pairs={ETH: of_pair(LOOSE, *({a.name for a in fields(PairQuotes)} - {key}))}
    ),
    "another pair's beside it": lambda _: changed(LIMITS, pairs={"BTC/USDT": of_pair(TIGHT)}),
}


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("given_as", GIVEN)
@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_a_quote_is_believed_at_its_limit_and_not_beyond_and_an_exit_has_wider_ones(
    gate: Gate, given_as: str, side: str
) -> None:
    limits, limit = GIVEN[given_as](gate.key), gate.exit if side == "sell" else gate.entry
    at_limit, size = gate.made(limit)
    assert isinstance(judged(wish(side, size), at_limit, limits), Quote)
    beyond, size = gate.made(limit + gate.step)
    rejected = judged(wish(side, size), beyond, limits)
    assert isinstance(rejected, QuoteRejected)
    assert (rejected.reason, rejected.code, rejected.order_ref) == (gate.reason, gate.code, "ord")
    assert (rejected.ts, rejected.pair) == (AT, ETH)


def test_an_exits_limits_are_an_entrys_times_the_tolerance() -> None:
    for gate in GATES.values():
        wider = gate.entry / EXIT_TOLERANCE if gate.step < 0 else gate.entry * EXIT_TOLERANCE
        assert gate.exit == wider


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (tick(age=601), "the price of pool is 601 s old, the limit is 600 s"),
        (tick(ref_age=601.5), "the price of exchange is 601.5 s old, the limit is 600 s"),
        (tick(price="102.5"), "pool quotes 102.5, exchange 100: 2.50 % apart, the limit is 1.00 %"),
        (tick(depth="999"), "pool holds 999.00 USDT, the least it must hold is 1,000.00 USDT"),
        (
            tick(depth="4000"),
            "100.00 USDT would move pool by 2.50 % (it holds 4,000.00 USDT), the limit is 2.00 %",
        ),
    ],
)
def test_the_detail_has_the_numbers(of: Tick, words: str) -> None:
    assert getattr(judged(wish(), of), "detail", None) == words


@pytest.mark.parametrize("early", [{"age": -1}, {"ref_age": -1}])
def test_a_price_from_the_future_is_not_believed(early: dict[str, float]) -> None:
    assert getattr(judged(wish(), tick(**early)), "reason", None) == "stale"  # type: ignore[arg-type]


def test_without_a_second_source_the_divergence_is_not_checked_and_never_passed() -> None:
    quote = judged(wish(), tick(price="1", reference=None))
    assert isinstance(quote, Quote)
    assert (quote.divergence_fraction, quote.reference_price, quote.reference_venue) == (None, None, None)
    assert evidence(quote)["divergence_checked"] is False
    assert "not checked" in evidence_text(quote)


@pytest.mark.parametrize(
    ("side", "price", "impact", "limits"),
    [
        ("buy", "101.505", "0.01", {"divergence": "0.01", "age_seconds": 600, "impact": "0.02", "depth_usdt": "1000"}),
        (
            "sell", "99.5049505", "0.01",
            {"divergence": "0.05", "age_seconds": 3000, "impact": "0.1", "depth_usdt": "200"},
        ),
    ],
)  # fmt: skip
def test_a_quote_carries_the_evidence_it_was_believed_on(
    side: str, price: str, impact: str, limits: dict[str, Any]
) -> None:
    """Both prices, their ages, and the limits they were held against: an exit's where it is one."""
    quote = judged(wish(side), tick(price="100.5", age=30, ref_age=60))
    assert isinstance(quote, Quote)
    assert (quote.order_ref, quote.verified_at, quote.size_usdt) == ("ord", AT, Decimal(100))
    assert evidence(quote) == {
        "venue": "pool", "price": Decimal(price), "mid": Decimal("100.5"), "impact": Decimal(impact),
        "age_seconds": Decimal(30), "depth_usdt": Decimal(10_000),
        "reference_venue": "exchange", "reference_price": Decimal(100), "reference_age_seconds": Decimal(60),
        "divergence": Decimal("0.005"), "divergence_checked": True,
        "limits": {key: limit if isinstance(limit, int) else Decimal(limit) for key, limit in limits.items()},
    }  # fmt: skip
    wider = "1.00" if side == "buy" else "5.00"
    assert evidence_text(quote) == f"The quote was 0.50 % from exchange (limit {wider} %)."


@pytest.mark.parametrize("depth", [None, "0"])
@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("limits", [LIMITS, LOOSE])
def test_a_pool_that_holds_nothing_fills_no_order(side: str, depth: str | None, limits: QuotesConfig) -> None:
    rejected = judged(wish(side), tick(depth=depth), limits)
    assert isinstance(rejected, QuoteRejected)
    assert rejected.reason == "liquidity"


@pytest.mark.parametrize("depth", [None, "0", "1"])
def test_where_fills_are_modelled_without_impact_no_pool_is_too_thin(depth: str | None) -> None:
    quote = judged(wish(), tick(depth=depth), impact="none")
    assert isinstance(quote, Quote)
    assert (quote.price, quote.impact_fraction) == (Decimal(100), Decimal(0))
    assert isinstance(judged(wish(), tick(depth=depth, age=601), impact="none"), QuoteRejected)
    assert isinstance(judged(wish(), tick(depth=depth, price="102"), impact="none"), QuoteRejected)


def test_age_comes_before_divergence_and_divergence_before_liquidity() -> None:
    everything = tick(price="200", age=10_000, depth="1")
    assert getattr(judged(wish(), everything), "reason", None) == "stale"
    fresh = tick(price="200", depth="1")
    assert getattr(judged(wish(), fresh), "reason", None) == "divergence"
    agreed = tick(depth="1")
    assert getattr(judged(wish(), agreed), "reason", None) == "liquidity"
