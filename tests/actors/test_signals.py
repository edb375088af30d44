"""What the strategy sees, what it is worth, what becomes of it, and whether a price is believed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import sqrt
from typing import Any, Final

import pytest
from attrs import asdict
from attrs import evolve as changed
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.executor.fills import evidence, evidence_text
from actors.quote_verifier.verify import EXIT_TOLERANCE, verify
from actors.strategist.outcomes import Outcomes, evolve, overdue, skipped, told
from actors.strategist.signals import EDGE_BARS, PairView, stand_aside, too_dear
from protocol.codec import decode_row, encode_row, from_json, to_json, to_plain
from protocol.errors import Refusal
from protocol.events import Decided, JournalEntry, QuoteRejected, Row, Trade
from protocol.market import Candle, Observation, Tick
from protocol.orders import Order, Quote
from protocol.settings import AgentConfig, PaperConfig, QuotesConfig, StrategyConfig
from protocol.strategy import AnyOrAll, Condition, Operator, RegimeFilter, Signals, StrategySpec, default_spec

AT: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
ETH: Final = "ETH/USDT"
LOW: Final = Condition("rsi", "<=", 30, 3)
CROSSES: Final[tuple[Operator, ...]] = ("crosses_above", "crosses_below")
HIGH: Final = Condition("rsi", ">=", 70, 3)


def spec(*regime: Condition, entry: AnyOrAll | None = None) -> StrategySpec:
    signals = Signals(entry or AnyOrAll(all_of=(LOW,)), AnyOrAll(any_of=(HIGH,)))
    return StrategySpec("spot", "test", signals, RegimeFilter(regime))


def at_values(before: float | None, now: float | None) -> PairView:
    """A view whose rsi(3) was `before` a bar ago and is `now`."""
    view = PairView.of(spec())
    view.before, view.now = {"rsi(3)": before}, {"rsi(3)": now}
    return view


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


@pytest.mark.parametrize(("op", "before", "now", "holds"), CROSSINGS)
def test_a_condition_holds_exactly_where_its_operator_says(
    op: Operator, before: float | None, now: float | None, holds: bool
) -> None:
    assert at_values(before, now).holds(Condition("rsi", op, 50, 3)) == holds


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30), st.floats(0, 100))
def test_crossings_up_and_down_take_turns(values: list[float], level: float) -> None:
    """Where a series neither stands on the level nor is cold, each crossing is seen once."""
    apart = [value for value in values if value != level]
    crossed = []
    for before, now in pairwise(apart):
        view = at_values(before, now)
        crossed += [op for op in CROSSES if view.holds(Condition("rsi", op, level, 3))]
    assert len(crossed) == sum((before < level) != (now < level) for before, now in pairwise(apart))
    assert all(op != following for op, following in pairwise(crossed))


def test_all_of_needs_all_and_any_of_needs_one() -> None:
    view = at_values(20, 25)
    never = Condition("rsi", ">", 90, 3)
    assert view.meets(AnyOrAll(all_of=(LOW,)))
    assert not view.meets(AnyOrAll(all_of=(LOW, never)))
    assert view.meets(AnyOrAll(any_of=(never, LOW)))
    assert not view.meets(AnyOrAll(any_of=(never,)))


def test_the_reason_names_the_conditions_that_hold_with_their_numbers() -> None:
    assert at_values(20, 25.5).told(AnyOrAll(any_of=(LOW, HIGH))) == "rsi(3) 25.5 <= 30"


@settings(max_examples=40)
@given(st.lists(st.decimals(1, 10_000, places=4), min_size=1, max_size=60), st.integers(0, 60))
def test_a_view_goes_through_a_checkpoint_unchanged(closes: list[Decimal], cut: int) -> None:
    whole, half = PairView.of(default_spec()), PairView.of(default_spec())
    for close in closes:
        whole.see(close)
    for close in closes[:cut]:
        half.see(close)
    thawed = PairView.thawed(from_json(to_json(to_plain(half))))
    for close in closes[cut:]:
        thawed.see(close)
    assert asdict(thawed) == asdict(whole)
    assert _classes(thawed) == _classes(whole)


def _classes(view: PairView) -> list[Any]:
    return [type(view.swing), *(type(value) for value in (*view.now.values(), *view.before.values()))]


@pytest.mark.parametrize(("value", "refused"), [(0.0399, False), (0.04, True), (0.05, True)])
def test_the_regime_filter_stands_aside_at_its_limit(value: float, refused: bool) -> None:
    regime = spec(Condition("volatility", ">=", 0.04, 24))
    view = PairView.of(regime)
    view.now = {"rsi(3)": 20.0, "volatility(24)": value}
    no = stand_aside(view, regime)
    assert (no.rule if no else None) == ("regime" if refused else None)
    if no:
        assert f"volatility(24) is {value:.4g}" in no.reason
        assert "0.04" in no.reason


def test_a_regime_that_is_not_known_yet_holds_nothing_back() -> None:
    regime = spec(Condition("volatility", ">=", 0.0, 24))
    assert stand_aside(PairView.of(regime), regime) is None


def config(multiple: str, **paper: Any) -> AgentConfig:
    return AgentConfig((ETH,), StrategyConfig(fee_multiple=Decimal(multiple)), paper=PaperConfig(**paper))


def swinging(edge: float) -> PairView:
    view = PairView.of(spec())
    view.swing = edge / sqrt(EDGE_BARS)
    return view


@pytest.mark.parametrize(("edge", "refused"), [(0.0179, True), (0.0181, False)])
def test_an_entry_must_promise_its_multiple_of_the_round_trip(edge: float, refused: bool) -> None:
    """Twice (25 + 5) bps, and gas of 0.10 on 100 USDT twice: 0.8 %; with multiple 2.25 that is 1.8 %."""
    no = too_dear(swinging(edge), config("2.25", gas_usdt=Decimal("0.10")), Decimal(100))
    assert (no.rule if no else None) == ("fee_filter" if refused else None)
    if no:
        assert "1.79 %" in no.reason
        assert "2.25 x the round-trip cost of 0.80 %" in no.reason


def test_an_edge_that_just_carries_its_costs_passes() -> None:
    free_of_gas = config("1", gas_usdt=Decimal(0), fee_bps=Decimal(0), slippage_bps=Decimal(0))
    assert too_dear(swinging(0.0), free_of_gas, Decimal(100)) is None
    assert too_dear(swinging(0.0), config("0"), Decimal(100)) is None
    assert too_dear(PairView.of(spec()), config("1"), Decimal(100)) is not None  # nothing is known of its edge yet


def test_an_order_of_nothing_is_too_dear_and_no_death() -> None:
    """A book that has lost everything wishes for orders of nothing."""
    assert too_dear(swinging(0.5), config("3"), Decimal(0)) is not None


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

LIMITS: Final = QuotesConfig(max_divergence_pct=Decimal(1), max_age_seconds=600, max_impact_pct=Decimal(2))


def tick(
    *,
    price: str = "100",
    age: float = 0,
    depth: str | None = "10000",
    reference: str | None = "100",
    ref_age: float = 0,
) -> Tick:
    one = Decimal(1)
    seen = AT - timedelta(seconds=ref_age)
    return Tick(
        Candle(AT, one, one, one, one, one),
        Observation("pool", Decimal(price), AT - timedelta(seconds=age), Decimal(depth) if depth else None),
        Observation("exchange", Decimal(reference), seen) if reference else None,
    )


def wish(side: Any = "buy", size: str = "100") -> Order:
    return Order("ord", ETH, side, Decimal(size), None, "because")


# How a tick is made that stands at `x` of a limit, what it is rejected for, and the limit of an entry.
GATES: list[tuple[str, str, Decimal, Any]] = [
    ("stale", "QUOTE_STALE", Decimal(600), lambda x: (wish, tick(age=float(x)), "100")),
    ("stale", "QUOTE_STALE", Decimal(600), lambda x: (wish, tick(ref_age=float(x)), "100")),
    ("divergence", "QUOTE_DIVERGENCE", Decimal("0.01"), lambda x: (wish, tick(price=str(100 * (1 + x))), "100")),
    ("divergence", "QUOTE_DIVERGENCE", Decimal("0.01"), lambda x: (wish, tick(price=str(100 * (1 - x))), "100")),
    ("liquidity", "INSUFFICIENT_LIQUIDITY", Decimal("0.02"), lambda x: (wish, tick(), str(10_000 * x))),
]


@pytest.mark.parametrize(("side", "wider"), [("buy", 1), ("sell", EXIT_TOLERANCE)])
@pytest.mark.parametrize(("reason", "code", "limit", "make"), GATES)
def test_a_quote_is_believed_at_its_limit_and_not_beyond_and_an_exit_has_wider_ones(
    reason: str, code: str, limit: Decimal, make: Any, side: str, wider: int
) -> None:
    of, at_limit, size = make(limit * wider)
    assert isinstance(verify(of(side, size), at_limit, LIMITS, AT), Quote)
    step = Decimal("0.001") if limit > 1 else Decimal("0.00000002")
    of, beyond, size = make(limit * wider + step)
    rejected = verify(of(side, size), beyond, LIMITS, AT)
    assert isinstance(rejected, QuoteRejected)
    assert (rejected.reason, rejected.code, rejected.order_ref) == (reason, code, "ord")
    assert any(figure.isdigit() for figure in rejected.detail)
    assert "limit" in rejected.detail


def test_without_a_second_source_the_divergence_is_not_checked_and_never_passed() -> None:
    quote = verify(wish(), tick(price="1", reference=None), LIMITS, AT)
    assert isinstance(quote, Quote)
    assert (quote.divergence_fraction, quote.reference_price, quote.reference_venue) == (None, None, None)
    assert evidence(quote)["divergence_checked"] is False
    assert "not checked" in evidence_text(quote)


def test_a_quote_carries_the_evidence_it_was_believed_on() -> None:
    quote = verify(wish(), tick(price="100.5", age=30, ref_age=60), LIMITS, AT)
    assert isinstance(quote, Quote)
    assert (quote.mid, quote.impact_fraction, quote.price) == (Decimal("100.5"), Decimal("0.01"), Decimal("101.505"))
    assert [quote.age_seconds, quote.reference_age_seconds] == [Decimal(30), Decimal(60)]
    assert quote.divergence_fraction == Decimal("0.005")
    assert (quote.max_age_seconds, quote.max_divergence_fraction, quote.max_impact_fraction) == (
        600, Decimal("0.01"), Decimal("0.02"),
    )  # fmt: skip
    assert evidence(quote)["divergence_checked"] is True


@pytest.mark.parametrize("depth", [None, "0"])
@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("max_impact_pct", [2, 50])
def test_a_pool_that_holds_nothing_fills_no_order(side: str, depth: str | None, max_impact_pct: int) -> None:
    limits = changed(LIMITS, max_impact_pct=Decimal(max_impact_pct))
    rejected = verify(wish(side), tick(depth=depth), limits, AT)
    assert isinstance(rejected, QuoteRejected)
    assert rejected.reason == "liquidity"


def test_age_comes_before_divergence_and_divergence_before_liquidity() -> None:
    everything = tick(price="200", age=10_000, depth="1")
    assert getattr(verify(wish(), everything, LIMITS, AT), "reason", None) == "stale"
    fresh = tick(price="200", depth="1")
    assert getattr(verify(wish(), fresh, LIMITS, AT), "reason", None) == "divergence"
    agreed = tick(depth="1")
    assert getattr(verify(wish(), agreed, LIMITS, AT), "reason", None) == "liquidity"
