"""The plan of a round, driven by hand: what it asks for, in which order, and what every decision ends in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import sqrt
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve as changed
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.executor.book import Book
from actors.executor.book import evolve as evolve_book
from actors.executor.fills import done_rows, execute, fill_at_open
from actors.executor.snapshots import mark_of
from actors.messages import Append, Execute, FillPlaced, Judge, Verify
from actors.quote_verifier.verify import executable_price, verify
from actors.risk_engine.rules import veto_rows
from actors.strategist import actor as strategist
from actors.strategist.conduct import Conductor, Step, intent
from actors.strategist.outcomes import Outcomes
from actors.strategist.outcomes import evolve as evolve_outcomes
from actors.strategist.signals import EDGE_CANDLES, PairView
from actors.turn import Turn
from protocol.codec import decode_row, encode_row
from protocol.errors import Refusal
from protocol.events import EVENTS, Decided, JournalEntry, OrderPlaced, QuoteRejected, Row, Trade
from protocol.market import Candle, Gap, Observation, Round, Tick
from protocol.money import booked
from protocol.orders import Order, Quote
from protocol.settings import AgentConfig, PaperConfig, StrategyConfig
from protocol.strategy import AnyOrAll, Condition, RegimeFilter, Signals, StrategyParams, StrategySpec
from tests.actors.logs import decisions, run_whole
from tests.actors.seeded import run_seeded
from tests.world.house import house
from tests.world.market import BEGINS, PAIRS, Walk, eager_config

AT: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
BTC, ETH, LTC = PAIRS
ENTERS, QUIET, LEAVES, WILD = 20.0, 50.0, 80.0, 3.0  # what rsi(3) says; WILD is an entry in a regime to stand aside
SPEC: Final = StrategySpec(
    "spot",
    "scripted",
    Signals(AnyOrAll(all_of=(Condition("rsi", "<=", 30, 3),)), AnyOrAll(any_of=(Condition("rsi", ">=", 70, 3),))),
    RegimeFilter((Condition("rsi", "<=", 5, 3),)),
    StrategyParams(Decimal(40), 2),
)


def config(*, fill_at: Any = "quote", watchlist: tuple[str, ...] = PAIRS, **params: Any) -> AgentConfig:
    spec = changed(SPEC, params=changed(SPEC.params, **params))
    return AgentConfig(watchlist, StrategyConfig(spec), paper=PaperConfig(fill_at=fill_at))


def view(rsi: float, edge: float = 0.5) -> PairView:
    """What the pair's view says of this candle, whatever it was."""
    made = PairView.of(StrategyConfig(SPEC))
    made.now, made.before = [rsi], [QUIET]
    made.swing = edge / sqrt(EDGE_CANDLES)
    return made


def tick(at: datetime, close: str = "100", opened: str = "100", *, age: float = 0) -> Tick:
    first, last = Decimal(opened), Decimal(close)
    candle = Candle(at, first, max(first, last), min(first, last), last, Decimal(1))
    return Tick(candle, Observation("pool", last, at - timedelta(seconds=age), Decimal(10**6)), None)


class Floors:
    """The older floors: they answer by the rules, or as a test says, and keep what they journal."""

    def __init__(self, config: AgentConfig, book: Book | None = None, outcomes: Outcomes | None = None) -> None:
        self.config = config
        self.book = book or Book(Decimal(1000))
        self.outcomes = outcomes or {}
        self.steps: list[Step] = []
        self.rows: list[Row] = []
        self.says: dict[tuple[type, str], Callable[[Any], Any]] = {}

    def round(self, said: dict[str, float | PairView], at: datetime = AT, **parts: Any) -> list[Step]:
        """Decide one round in which the pairs' views say this; its steps."""
        views = {pair: says if isinstance(says, PairView) else view(says) for pair, says in said.items()}
        ticks = parts.pop("ticks", {}) or {pair: tick(at) for pair in sorted(said)}
        round_, turn = Round(at, ticks, None, **parts), Turn()
        conductor = Conductor(turn, round_, self.config, views, self.book, self.outcomes)
        plan, answer, begun = conductor.steps(), None, len(self.steps)
        while True:
            try:
                step = plan.send(answer)
            except StopIteration:
                break
            assert step.turn is turn
            self.steps.append(step)
            answer = self.answer(step)
        self.log(mark_of(self.book, round_))
        assert conductor.outcomes == self.outcomes
        return self.steps[begun:]

    def answer(self, step: Step) -> Any:
        match step:
            case Append():
                return self.log(*step.rows)
            case FillPlaced(placed=placed):
                said = self.says.get((FillPlaced, placed.order.pair))
                done = said(step) if said else self._filled(step)
                return self._executed(done, placed.order, placed.quote)
            case _:
                said = self.says.get((type(step), step.order.pair))
                found = said(step) if said else self._by_the_rules(step)
                if isinstance(step, Judge) and found is not None:
                    self.log(*veto_rows(found, step.order, step.at))
                return self._executed(found, step.order, step.quote) if isinstance(step, Execute) else found

    def _by_the_rules(self, step: Any) -> Any:
        match step:
            case Verify():
                return verify(step.order, step.tick, self.config, step.at)
            case Judge():
                assert step.book.cash == self.book.cash
                assert step.book.positions == self.book.positions
                assert step.book.placed == self.book.placed
                return None if step.order.size_usdt <= step.book.free or step.order.side == "sell" else no("funds")
            case Execute():
                return execute(step.order, step.quote, self.book, self.config.paper, step.at)

    def _filled(self, step: FillPlaced) -> Trade | Refusal:
        return fill_at_open(step.placed, step.tick.candle, self.book, self.config.paper, step.at)

    def _executed(self, done: Trade | OrderPlaced | Refusal, order: Order, quote: Quote) -> Any:
        self.log(*done_rows(done, order, quote, self.config.paper))
        return done

    def log(self, *rows: Row) -> None:
        for row in rows:
            self.book, self.outcomes = evolve_book(self.book, row), evolve_outcomes(self.outcomes, row)
        self.rows += rows

    def entries(self, pair: str) -> list[JournalEntry]:
        """The outcomes told of this pair so far."""
        return [row for row in self.rows if isinstance(row, JournalEntry) and row.data.get("pair") == pair]


def no(rule: str) -> Refusal:
    return Refusal(rule, "the test says no", {"measured": Decimal(2), "limit": Decimal(1)})


def kinds(steps: list[Step]) -> list[str]:
    """The steps as `Verify ETH`; what is appended as `Append` and its rows' kinds."""
    return [
        f"Append {'+'.join(row.kind for row in step.rows)}"
        if isinstance(step, Append)
        else f"{type(step).__name__} {_pair(step)}"
        for step in steps
    ]


def _pair(step: Any) -> str:
    order: Order = step.placed.order if isinstance(step, FillPlaced) else step.order
    return order.pair.split("/")[0]


def held(pair: str, entry: str = "100", qty: str = "1", at: datetime = AT - HOUR) -> Trade:
    """An earlier trade that left this position."""
    price, amount = Decimal(entry), Decimal(qty)
    return Trade(at, pair, "buy", price * amount, price, None, Decimal(0), "paper", "jrn_0", amount, "ord_0")


def holding(*trades: Trade) -> Book:
    book = Book(Decimal(1000) + sum(trade.size for trade in trades))
    for trade in trades:
        book = evolve_book(book.marked({trade.pair: trade.price}, AT - HOUR), trade)
    return book


def waiting(floors: Floors, pair: str, at: datetime = AT - HOUR) -> OrderPlaced:
    """An order of the round before that waits for this round's open; the book's only trace of that round."""
    floors.round({pair: ENTERS}, at, ticks={pair: tick(at)})
    placed = floors.book.placed[pair]
    floors.steps.clear()
    floors.rows.clear()
    return placed


# --- which steps, and when


def test_a_quiet_round_asks_for_nothing() -> None:
    floors = Floors(config(), holding(held(ETH)))
    assert floors.round({BTC: QUIET, ETH: QUIET, LTC: LEAVES}) == []  # nothing is held in LTC
    assert floors.round({ETH: ENTERS}) == []  # it is held already


def test_a_decision_is_verified_judged_and_executed_pair_by_pair_in_name_order() -> None:
    floors = Floors(config(), holding(held(ETH)))
    steps = floors.round({LTC: ENTERS, ETH: LEAVES, BTC: ENTERS})
    assert kinds(steps) == [
        f"{step} {pair}" for pair in ("BTC", "ETH", "LTC") for step in ("Verify", "Judge", "Execute")
    ]
    assert [step.order.side for step in steps if isinstance(step, Verify)] == ["buy", "sell", "buy"]


def test_gaps_are_told_first_then_what_was_counted_yesterday_then_waiting_orders_then_decisions() -> None:
    floors = Floors(config(fill_at="next_open"))
    midnight = AT + timedelta(hours=12)
    for hours in (-4, -3, -2):
        floors.round({BTC: WILD}, midnight + hours * HOUR)
    placed = waiting(floors, LTC, midnight - HOUR)
    gap = Gap(ETH, midnight - 5 * HOUR, midnight, 4)
    steps = floors.round({BTC: ENTERS, LTC: QUIET}, midnight, gaps=(gap,))
    assert kinds(steps) == [
        "Append journal_entry",
        "Append journal_entry",
        "FillPlaced LTC",
        "Verify BTC",
        "Judge BTC",
        "Execute BTC",
    ]
    assert [row.tags for row in floors.rows if isinstance(row, JournalEntry)][:2] == [
        ("market", "gap", ETH),
        ("regime", "repeats", BTC),
    ]
    assert [step.placed for step in steps if isinstance(step, FillPlaced)] == [placed]


def test_what_was_only_counted_is_told_before_another_outcome() -> None:
    floors = Floors(config())
    for hour in range(3):
        floors.round({BTC: WILD}, AT + hour * HOUR)
    assert kinds(floors.steps) == ["Append journal_entry+decided", "Append decided", "Append decided"]
    steps = floors.round({BTC: ENTERS}, AT + 3 * HOUR)
    assert kinds(steps) == ["Verify BTC", "Append journal_entry", "Judge BTC", "Execute BTC"]
    assert floors.entries(BTC)[1].data["count"] == 2
    assert floors.outcomes == {}


def test_an_order_is_judged_with_the_evidence_that_was_asked_for_it() -> None:
    floors = Floors(config())
    verified, judge, executed = floors.round({BTC: ENTERS})
    assert isinstance(verified, Verify)
    assert isinstance(judge, Judge)
    assert isinstance(executed, Execute)
    assert verified.order == judge.order == executed.order
    assert verified.at == judge.at == executed.at == AT
    assert verified.tick == tick(AT)
    assert executed.quote == verify(verified.order, verified.tick, floors.config, AT)
    assert verified.order.reason == "rsi(3) 20 <= 30"


# --- the book that is decided on


def test_the_book_is_priced_at_this_rounds_closes_before_a_size_is_computed() -> None:
    """10 ETH bought at 100 close at 150: equity is 2,500, and 40 % of that is meant, not of what it was."""
    floors = Floors(config(), holding(held(ETH, qty="10")))
    ticks = {BTC: tick(AT, "7"), ETH: tick(AT, "150")}
    verified, judge, _ = floors.round({BTC: ENTERS, ETH: QUIET}, ticks=ticks)
    assert isinstance(verified, Verify)
    assert isinstance(judge, Judge)
    assert verified.order.size_usdt == Decimal(1000)
    assert judge.book.equity == Decimal(2500)
    assert {pair: (mark.price, mark.at) for pair, mark in judge.book.marks.items()} == {
        BTC: (Decimal(7), AT),
        ETH: (Decimal(150), AT),
    }


def test_a_sale_is_of_the_whole_position_at_its_worth_by_now() -> None:
    floors = Floors(config(), holding(held(ETH, qty="3")))
    verified = floors.round({ETH: LEAVES}, ticks={ETH: tick(AT, "150")})[0]
    assert isinstance(verified, Verify)
    order = verified.order
    assert (order.side, order.size_usdt, order.qty) == ("sell", Decimal(450), Decimal(3))


def test_a_pair_without_a_candle_is_not_decided_and_keeps_its_last_price() -> None:
    floors = Floors(config(), holding(held(ETH, qty="10")))
    verified, judge, _ = floors.round({BTC: ENTERS, ETH: LEAVES}, ticks={BTC: tick(AT)})
    assert isinstance(verified, Verify)
    assert isinstance(judge, Judge)
    assert (verified.order.pair, judge.book.equity) == (BTC, Decimal(2000))
    assert judge.book.marks[ETH].at == AT - HOUR


@pytest.mark.parametrize("fill_at", ["quote", "next_open"])
def test_each_decision_sees_what_the_ones_before_it_left(fill_at: str) -> None:
    """40 % of equity each, filled or promised: after two of them there is not enough for a third."""
    floors = Floors(config(fill_at=fill_at))
    steps = floors.round({BTC: ENTERS, ETH: ENTERS, LTC: ENTERS})
    free = [step.book.free for step in steps if isinstance(step, Judge)]
    filled = [row.size + row.fees for row in floors.rows if isinstance(row, Trade)]
    first, second = filled or [row.order.size_usdt for row in floors.rows if isinstance(row, OrderPlaced)]
    assert free == [Decimal(1000), 1000 - first, 1000 - first - second]
    assert [entry.type for entry in floors.entries(LTC)] == ["RISK_VETO"]


def test_a_pair_that_left_the_watchlist_is_only_left() -> None:
    floors = Floors(config(watchlist=(BTC,)), holding(held(ETH)))
    assert kinds(floors.round({ETH: LEAVES, LTC: ENTERS})) == ["Verify ETH", "Judge ETH", "Execute ETH"]


# --- every decision has one outcome

REJECTED: Final = QuoteRejected(
    AT, ETH, "stale", "the price of pool is old", "QUOTE_STALE", "ord", Decimal(9000), Decimal(5400)
)  # fmt: skip
GATES: dict[str, tuple[dict[str, Any], dict[type, Callable[[Any], Any]], str, list[str]]] = {
    "regime": ({ETH: WILD}, {}, "SKIPPED", ["regime"]),
    "fee filter": ({ETH: view(ENTERS, edge=0.001)}, {}, "SKIPPED", ["fee_filter"]),
    "quote": ({ETH: ENTERS}, {Verify: lambda _: REJECTED}, "SKIPPED", ["quote"]),
    "risk": ({ETH: ENTERS}, {Judge: lambda _: no("streak_limit")}, "RISK_VETO", ["streak_limit"]),
    "dust": ({ETH: ENTERS}, {Execute: lambda _: no("dust")}, "SKIPPED", ["fee_filter"]),
    "stale by now": ({ETH: ENTERS}, {Execute: lambda _: no("QUOTE_STALE")}, "SKIPPED", ["quote"]),
    "filled": ({ETH: ENTERS}, {}, "EXECUTED", ["buy"]),
}


@pytest.mark.parametrize("gate", GATES)
def test_each_gate_ends_in_exactly_one_outcome(gate: str) -> None:
    said, says, kind, tags = GATES[gate]
    floors = Floors(config())
    floors.says = {(step, ETH): answer for step, answer in says.items()}
    steps = floors.round(said)
    (entry,) = floors.entries(ETH)
    assert (entry.type, entry.tags) == (kind, (*tags, ETH))
    decided = [row for row in floors.rows if isinstance(row, Decided)]
    trades = [row for row in floors.rows if isinstance(row, Trade)]
    assert len(decided) + len(trades) == 1
    assert all(row.entry == entry.id for row in decided)
    assert sum(isinstance(row, QuoteRejected) for row in floors.rows) == (gate == "quote")
    last = {"regime": "Append", "fee filter": "Append", "quote": "Verify", "risk": "Judge"}.get(gate, "Execute")
    asked = [type(step).__name__ for step in steps]
    assert [name for name in ("Append", "Verify", "Judge", "Execute") if name in asked][-1:] == [last]


@pytest.mark.parametrize("gate", ["regime", "fee filter", "quote"])
def test_the_same_no_again_is_counted_and_not_told_again(gate: str) -> None:
    said, says, _, _ = GATES[gate]
    floors = Floors(config())
    floors.says = {(step, ETH): answer for step, answer in says.items()}
    for hour in range(3):
        floors.round(said, AT + hour * HOUR)
    assert len(floors.entries(ETH)) == 1
    assert [row.entry is None for row in floors.rows if isinstance(row, Decided)] == [False, True, True]


def test_a_rejected_quote_is_journaled_before_its_event_and_ends_the_decision() -> None:
    floors = Floors(config())
    floors.says = {(Verify, ETH): lambda _: REJECTED}
    steps = floors.round({ETH: ENTERS})
    assert kinds(steps) == ["Verify ETH", "Append journal_entry+decided+quote_rejected"]


# --- exits are never held back

EVER: Final = Condition("rsi", ">=", 0, 3)


@pytest.mark.parametrize(
    ("params", "close", "says", "word"),
    [
        ({}, "100", LEAVES, "rsi(3) 80 >= 70"),
        ({"stop_loss_pct": Decimal(5)}, "95", WILD, "stop-loss"),
        ({"take_profit_pct": Decimal(5)}, "105", WILD, "take-profit"),
        ({"max_hold_hours": Decimal(1)}, "100", WILD, "held for 1.00 h"),
    ],
)
def test_an_exit_is_held_back_neither_by_the_regime_nor_by_the_fee_filter(
    params: dict[str, Any], close: str, says: float, word: str
) -> None:
    """Nothing is expected of this market, and it is one to stand aside in: out all the same."""
    calm = view(says, edge=0.0)
    calm.regime = PairView.of(StrategyConfig(changed(SPEC, regime_filter=RegimeFilter((EVER,))))).regime
    floors = Floors(config(**params), holding(held(ETH)))
    steps = floors.round({ETH: calm}, ticks={ETH: tick(AT, close)})
    assert kinds(steps) == ["Verify ETH", "Judge ETH", "Execute ETH"]
    assert floors.book.positions == {}
    (entry,) = floors.entries(ETH)
    assert entry.type == "EXECUTED"
    assert word in entry.text


# --- orders that wait for the next open


def test_an_order_that_waits_is_filled_before_anything_is_decided() -> None:
    """LTC's order is filled at its open before BTC is decided at its close, so BTC sees the cash that is left."""
    floors = Floors(config(fill_at="next_open"))
    placed = waiting(floors, LTC)
    ticks = {BTC: tick(AT), LTC: tick(AT, "120", "110")}
    steps = floors.round({BTC: ENTERS, LTC: QUIET}, ticks=ticks)
    assert kinds(steps) == ["FillPlaced LTC", "Verify BTC", "Judge BTC", "Execute BTC"]
    assert steps[0] == FillPlaced(steps[0].turn, placed, ticks[LTC], AT)
    (trade,) = [row for row in floors.rows if isinstance(row, Trade)]
    assert (trade.pair, trade.filled_at, trade.order_ref) == (LTC, AT - HOUR, placed.order.ref)
    quoted = executable_price(Decimal(110), placed.quote.impact_fraction, True)
    assert trade.price == booked(quoted * Decimal("1.0005"))
    judge = steps[2]
    assert isinstance(judge, Judge)
    assert list(judge.book.positions) == [LTC]
    equity = 1000 - trade.size - trade.fees + booked(trade.qty * 120)
    assert judge.order.size_usdt == booked(equity * Decimal("0.4"))


def test_a_placed_order_is_no_outcome_yet_and_its_fill_is_the_only_one() -> None:
    floors = Floors(config(fill_at="next_open"))
    assert kinds(floors.round({ETH: ENTERS})) == ["Verify ETH", "Judge ETH", "Execute ETH"]
    assert floors.entries(ETH) == []
    floors.round({ETH: QUIET}, AT + HOUR)
    assert [entry.type for entry in floors.entries(ETH)] == ["EXECUTED"]
    assert not [row for row in floors.rows if isinstance(row, Decided)]


def test_an_order_waits_until_its_pair_has_a_candle_again() -> None:
    floors = Floors(config(fill_at="next_open"))
    placed = waiting(floors, ETH)
    assert floors.round({BTC: QUIET}) == []
    assert floors.book.placed == {ETH: placed}
    steps = floors.round({BTC: QUIET, ETH: QUIET}, AT + HOUR, ticks={ETH: tick(AT + HOUR)})
    assert kinds(steps) == ["FillPlaced ETH"]
    assert [row.filled_at for row in floors.rows if isinstance(row, Trade)] == [AT]


def test_while_an_order_waits_its_pair_has_no_other_intent() -> None:
    """Not to enter again, and not to leave what it may never hold."""
    floors = Floors(config(fill_at="next_open", max_hold_hours=Decimal(1)), holding(held(LTC, at=AT - 9 * HOUR)))
    placed = waiting(floors, ETH)
    for pair, says in ((ETH, ENTERS), (ETH, LEAVES)):
        assert intent(pair, tick(AT).candle, view(says), floors.config, floors.book) is None
    selling = OrderPlaced(AT, changed(placed.order, pair=LTC, side="sell"), placed.quote)
    assert intent(LTC, tick(AT).candle, view(LEAVES), floors.config, floors.book) is not None
    assert intent(LTC, tick(AT).candle, view(LEAVES), floors.config, evolve_book(floors.book, selling)) is None


def test_an_entry_that_was_filled_at_the_open_may_be_left_at_the_same_candles_close() -> None:
    """The close is after the open: a stop-loss is looked at on the very candle of the fill."""
    floors = Floors(config(fill_at="next_open", stop_loss_pct=Decimal(5)))
    waiting(floors, ETH)
    steps = floors.round({ETH: QUIET}, ticks={ETH: tick(AT, "80")})
    assert kinds(steps) == ["FillPlaced ETH", "Verify ETH", "Judge ETH", "Execute ETH"]
    assert [placed.order.side for placed in floors.book.placed.values()] == ["sell"]
    floors.round({ETH: QUIET}, AT + HOUR, ticks={ETH: tick(AT + HOUR, "85", "82")})
    assert (floors.book.positions, floors.book.placed) == ({}, {})
    trade = floors.rows[-2]
    assert isinstance(trade, Trade)
    assert (trade.side, trade.filled_at, trade.hold_s) == ("sell", AT, 3600)


def test_an_order_that_became_too_old_in_a_hole_is_skipped_and_waits_no_more() -> None:
    floors = Floors(config(fill_at="next_open"))
    waiting(floors, ETH)
    late = AT + 9 * HOUR
    steps = floors.round({ETH: QUIET}, late)
    assert kinds(steps) == ["FillPlaced ETH", "Append journal_entry+decided"]
    (entry,) = floors.entries(ETH)
    assert (entry.type, entry.tags, entry.data["code"]) == ("SKIPPED", ("quote", ETH), "QUOTE_STALE")
    assert (entry.data["measured"], entry.data["limit"]) == (Decimal(9 * 3600), 5400)
    assert floors.book.placed == {}
    assert floors.book.cash == floors.book.free == 1000


def test_after_a_refusal_the_same_candle_may_wish_again() -> None:
    """Each wish has its own outcome, and its own order."""
    floors = Floors(config(fill_at="next_open"))
    old = waiting(floors, ETH)
    late = AT + 9 * HOUR
    steps = floors.round({ETH: ENTERS}, late)
    assert kinds(steps)[:3] == ["FillPlaced ETH", "Append journal_entry+decided", "Verify ETH"]
    (new,) = floors.book.placed.values()
    assert new.order.ref != old.order.ref
    floors.round({ETH: QUIET}, late + HOUR)
    assert [entry.type for entry in floors.entries(ETH)] == ["SKIPPED", "EXECUTED"]
    assert len({entry.id for entry in floors.entries(ETH)}) == 2


def test_an_entry_of_dust_at_the_open_is_skipped() -> None:
    floors = Floors(config(fill_at="next_open"))
    waiting(floors, ETH)
    floors.says = {(FillPlaced, ETH): lambda _: no("dust")}
    floors.round({ETH: QUIET})
    (entry,) = floors.entries(ETH)
    assert (entry.type, entry.tags, entry.data["measured"], entry.data["limit"]) == (
        "SKIPPED",
        ("fee_filter", ETH),
        Decimal(2),
        Decimal(1),
    )
    assert floors.book.placed == {}


# --- any market

BARS: Final = st.none() | st.tuples(
    st.sampled_from([ENTERS, QUIET, LEAVES, WILD]), st.integers(50, 200), st.integers(50, 200), st.booleans()
)
MARKETS: Final = st.lists(st.fixed_dictionaries(dict.fromkeys(PAIRS, BARS)), min_size=1, max_size=10)


@settings(max_examples=100)
@given(MARKETS, st.sampled_from(["quote", "next_open"]), st.none() | st.just(Decimal(5)))
def test_every_wish_ends_once_and_no_pair_has_two_intents(
    market: list[dict[str, Any]], fill_at: str, stop_loss_pct: Decimal | None
) -> None:
    floors = Floors(config(fill_at=fill_at, stop_loss_pct=stop_loss_pct))
    placed = Counter[str]()
    for hour, bars in enumerate(market):
        at = AT + hour * HOUR
        there = {pair: bar for pair, bar in bars.items() if bar}
        ticks = {p: tick(at, str(b[1]), str(b[2]), age=9000 * b[3]) for p, b in sorted(there.items())}
        waiting_before = dict(floors.book.placed)
        steps = floors.round({pair: bar[0] for pair, bar in there.items()}, at, ticks=ticks)
        asked = [step.order.pair for step in steps if isinstance(step, Verify)]
        assert asked == sorted(set(asked))
        fills = [step.placed for step in steps if isinstance(step, FillPlaced)]
        assert fills == [order for pair, order in sorted(waiting_before.items()) if pair in ticks]
        first = next((i for i, step in enumerate(steps) if isinstance(step, Verify | Judge | Execute)), len(steps))
        assert not [step for step in steps[first:] if isinstance(step, FillPlaced)]
        placed.update(order.order.ref for pair, order in floors.book.placed.items() if pair in ticks)
        assert floors.book.cash >= floors.book.free >= 0
    wishes = {step.order.ref for step in floors.steps if isinstance(step, Verify)}
    trades = [row for row in floors.rows if isinstance(row, Trade)]
    decided = [row for row in floors.rows if isinstance(row, Decided)]
    early = [row for row in decided if row.code in ("regime", "fee_filter")]  # before any quote was asked for
    assert len(trades) + len(decided) - len(early) + len(floors.book.placed) == len(wishes)
    assert {trade.order_ref for trade in trades} <= wishes
    assert len({trade.order_ref for trade in trades}) == len(trades)
    assert max(placed.values(), default=1) == 1
    entries = [row for row in floors.rows if isinstance(row, JournalEntry)]
    assert len({entry.id for entry in entries}) == len(entries)
    restored: Outcomes = {}
    book = Book(Decimal(1000))
    for row in floors.rows:
        read = decode_row(encode_row(row, 1 if isinstance(row, EVENTS) else None))
        restored, book = evolve_outcomes(restored, read), evolve_book(book, read)
    assert (restored, book) == (floors.outcomes, floors.book)


# --- the same in the house, over restarts


def next_open_config() -> AgentConfig:
    """An hour's hole is too long for an entry that waits."""
    eager = eager_config()
    quotes, paper = changed(eager.quotes, max_age_seconds=1800), changed(eager.paper, fill_at="next_open")
    return changed(eager, quotes=quotes, paper=paper)


def test_in_the_house_waiting_orders_are_filled_at_the_open_and_no_pair_has_two(tmp_path: Path) -> None:
    market = Walk(5, 200)
    run_seeded(0, run_whole, tmp_path, market, next_open_config())
    rows = decisions(tmp_path)
    opens = {(pair, tick.candle.opened_at): tick.candle.open for r in market.rounds for pair, tick in r.ticks.items()}
    waiting_: dict[str, OrderPlaced] = {}
    ends = Counter[str]()
    for row in rows:
        if isinstance(row, OrderPlaced):
            assert row.order.pair not in waiting_
            waiting_[row.order.pair] = row
        elif isinstance(row, Trade | Decided) and row.pair in waiting_:
            placed = waiting_.pop(row.pair)
            ends[type(row).__name__] += 1
            if isinstance(row, Trade):
                assert row.order_ref == placed.order.ref
                assert row.filled_at is not None
                assert placed.ts <= row.filled_at < row.ts
                buying, slip = row.side == "buy", Decimal("0.0005")
                quoted = executable_price(opens[row.pair, row.filled_at], placed.quote.impact_fraction, buying)
                assert row.price == booked(quoted * (1 + slip if buying else 1 - slip))
        else:
            assert not isinstance(row, Trade)
    assert ends["Trade"] > 10
    assert ends["Decided"] > 0
    told = Counter(row.data["order_ref"] for row in rows if isinstance(row, JournalEntry) and "order_ref" in row.data)
    assert set(told.values()) == {1}


@pytest.mark.parametrize("every", [1, 2, 1000])
def test_a_house_that_is_left_while_an_order_waits_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, every: int
) -> None:
    """Refolded from the log, a checkpoint, or a checkpoint and the rows after it: it fills what was placed."""
    monkeypatch.setattr(strategist, "CHECKPOINT_ROUNDS", every)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    rounds, config_ = 60, next_open_config()
    run_seeded(0, run_whole, whole, Walk(25, rounds), config_)
    expected = decisions(whole)
    stops = [(row.ts - BEGINS) // HOUR for row in expected if isinstance(row, OrderPlaced)]
    assert len(stops) > 5

    async def until(count: int) -> None:
        market = Walk(25, rounds)
        del market.rounds[count:]
        async with house(parts, market, config_) as standing:
            await standing.settled()

    for count in sorted({*stops, rounds}):
        run_seeded(count, until, count)
        assert decisions(parts) == [row for row in expected if row.ts <= BEGINS + count * HOUR]
    assert "of no use" not in caplog.text
