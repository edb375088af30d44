"""The paper book: every cent between two snapshots is explained, what was bought can be sold, and an order that waits
for the next open is an intent of its own until it is filled or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from typing import Any, Final, Literal

import pytest
from attrs import evolve as changed
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from actors.executor.book import Book, Mark, evolve
from actors.executor.fills import done_rows, evidence_text, execute, executed_entry, fill, fill_at_open, recheck
from actors.executor.snapshots import due, mark_of, snapshot
from actors.quote_verifier.verify import executable_price, verify
from actors.risk_engine.state import Gauge, RiskState
from protocol.codec import decode_row, encode_row, from_json, from_plain, to_json, to_plain
from protocol.errors import Refusal
from protocol.events import ConfigAdopted, Decided, JournalEntry, Marked, OrderPlaced, Row, Snapshot, Trade
from protocol.market import Candle, Observation, Round, Tick
from protocol.money import ZERO, booked
from protocol.orders import Order, Quote, entry_ref
from protocol.settings import AgentConfig, PaperConfig, QuotesConfig

AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
ETH: Final = "ETH/USDT"
PAIRS: Final = ("BTC/USDT", ETH, "PEPE/USDT")
UNIT: Final = Decimal("0.00000001")

prices = st.decimals(Decimal("0.0001"), 100_000, places=8)
papers = st.builds(
    PaperConfig,
    st.just(Decimal(1000)),
    fee_bps=st.decimals(0, 300, places=1),
    slippage_bps=st.decimals(0, 300, places=1),
    gas_usdt=st.decimals(0, 5, places=2),
    impact=st.sampled_from(["pool", "none"]),
    fill_at=st.sampled_from(["quote", "next_open"]),
)


def _fee(bps: str) -> PaperConfig:
    return PaperConfig(fee_bps=Decimal(bps), slippage_bps=Decimal(0), gas_usdt=Decimal(0))


def quoted(price: Decimal = Decimal(2000), **parts: Any) -> Quote:
    """A quote for `order`, fresh at AT and far inside its limits."""
    one = Decimal(1)
    quote = Quote("ord", AT, Decimal(10**7), "pool", price, price, ZERO, ZERO, one, 60, one, one, ZERO)
    return changed(quote, **parts)


def order(side: Literal["buy", "sell"], size: Decimal, pair: str = ETH, ref: str = "ord") -> Order:
    return Order(ref, pair, side, size, None, "the test says so")


def bought(size: Decimal, price: Decimal, paper: PaperConfig) -> tuple[Trade, Book]:
    """All of a book of `size` USDT spent; the drawn example is dropped where that buys nothing."""
    opening = fill(order("buy", size), price, Book(size), paper, AT)
    assume(isinstance(opening, Trade))
    assert isinstance(opening, Trade)
    return opening, evolve(Book(size), opening)


# --- every cent is explained


class World:
    """A paper book and, apart from it, an account in exact fractions of why its equity is what it is.

    The account sees what the market did and quantity and price of the fills: never what the ledger booked. The ledger
    rounds, to the nearest 1e-8, in exactly three places: a trade's size (qty x price), its fees, and the worth of what
    is held when it is looked at. Between two snapshots the worths at every mark in between cancel out; so the way from
    one equity to another is explained to half a unit for each size, each fee, and each position held at either end.
    """

    def __init__(self, paper: PaperConfig) -> None:
        self.config = AgentConfig(
            PAIRS,
            quotes=QuotesConfig(max_impact_pct=Decimal(50), max_divergence_pct=Decimal(50), min_depth_usdt=ZERO),
            paper=paper,
        )
        self.paper = paper
        self.book = Book(Decimal(1000))
        self.at = AT
        self.trades: list[Trade] = []
        self.explained = Fraction(1000)
        self.seen: dict[str, Fraction] = {}  # what each pair was last worth
        self.snapshots: list[tuple[Decimal, Fraction, int, int]] = []

    def round(self, bars: dict[str, Any]) -> None:
        """Each pair: None (no candle), or its open and close in ticks, the pool, what is wished, and how much of it."""
        self.at += HOUR
        ticks = {pair: _tick(self.at, pair, *bar[:3]) for pair, bar in sorted(bars.items()) if bar}
        for pair, tick in ticks.items():
            if placed := self.book.placed.get(pair):
                done = fill_at_open(placed, tick.candle, self.book, self.paper, self.at)
                refused = (Decided(self.at, pair, placed.order.side, "no", None),)
                self.fold(*(done_rows(done, placed.order, placed.quote, self.paper) or refused))
        closes = {pair: tick.candle.close for pair, tick in ticks.items()}
        for pair, close in closes.items():
            self.moved(pair, Fraction(close))
        self.book = self.book.marked(closes, self.at)
        for pair, tick in ticks.items():
            wish, percent = bars[pair][3:]
            held = self.book.positions.get(pair)
            if pair in self.book.placed or wish == "wait" or (held is None) != (wish == "buy"):
                continue
            size = booked(self.book.free * percent / 100) if wish == "buy" else self.book.worth(pair)
            wanted = order(wish, size, pair, f"ord_{pair}_{self.at}")
            quote = verify(wanted, tick, self.config, self.at)
            if isinstance(quote, Quote):
                self.fold(*done_rows(execute(wanted, quote, self.book, self.paper, self.at), wanted, quote, self.paper))
        self.fold(mark_of(self.book, Round(self.at, ticks, None)))
        held_now = len(self.book.positions)
        self.snapshots.append((self.book.equity, self.explained, len(self.trades), held_now))

    def fold(self, *rows: Row) -> None:
        for row in rows:
            if isinstance(row, Marked):
                assert row.equity == self.book.marked(row.prices, row.ts).equity
            if isinstance(row, JournalEntry):
                assert row.data["swap_fee"] + row.data["gas"] == row.data["fees"]
                assert row.data["swap_fee"] >= 0
            if isinstance(row, Trade):
                self.account_for(row)
                if row.side == "sell":  # what was bought is sold whole
                    assert row.qty == self.book.positions[row.pair].qty
            before, self.book = self.book, evolve(self.book, row)
            # As it is booked, there is no tolerance at all.
            if isinstance(row, Trade):
                assert self.book.cash == before.cash + (row.size if row.side == "sell" else -row.size) - row.fees
                worth = max(before.worth(row.pair), self.book.worth(row.pair))  # one of them is 0
                slipped = row.size - worth if row.side == "sell" else worth - row.size
                assert self.book.equity - before.equity == slipped - row.fees
            held = map(self.book.worth, self.book.positions)
            assert self.book.equity == self.book.cash + sum(held) == booked(self.book.equity)
            assert self.book.cash >= self.book.free >= 0
            assert not {*self.book.positions} & {placed.order.pair for placed in self.book.entering}

    def account_for(self, trade: Trade) -> None:
        """A fill away from the last close, its fee, its gas."""
        qty, price = Fraction(trade.qty), Fraction(trade.price)
        mark = self.seen.setdefault(trade.pair, price)
        self.explained += qty * ((mark - price) if trade.side == "buy" else (price - mark))
        self.explained -= qty * price * Fraction(self.paper.fee_bps) / 10_000 + Fraction(self.paper.gas_usdt)
        self.trades.append(trade)

    def moved(self, pair: str, close: Fraction) -> None:
        """A price move of what is held."""
        if held := self.book.positions.get(pair):
            self.explained += Fraction(held.qty) * (close - self.seen[pair])
        self.seen[pair] = close


def _tick(at: datetime, pair: str, opened: int, close: int, depth: int) -> Tick:
    unit = UNIT if pair == "PEPE/USDT" else Decimal("0.01")
    low, high = sorted((opened, close))
    candle = Candle(at, unit * opened, unit * high, unit * low, unit * close, Decimal(1))
    return Tick(candle, Observation("pool", candle.close, at, Decimal(depth)), None)


bars = st.tuples(
    st.integers(5000, 20_000),
    st.integers(5000, 20_000),
    st.integers(2_000, 10**6),
    st.sampled_from(["buy", "sell", "wait"]),
    st.integers(1, 100),
)
ROUNDS: Final = st.lists(st.fixed_dictionaries({pair: st.none() | bars for pair in PAIRS}), min_size=1, max_size=12)


@settings(max_examples=200)
@given(ROUNDS, papers)
def test_between_any_two_snapshots_the_change_of_equity_is_explained_to_the_last_place(
    rounds: list[dict[str, Any]], paper: PaperConfig
) -> None:
    """By price moves of what is held, fees, and the way from the mark to the fill; cash is never below 0."""
    world = World(paper)
    for round_ in rounds:
        world.round(round_)
    for (before, why_before, n, held_before), (after, why, m, held) in combinations(
        [(Decimal(1000), Fraction(1000), 0, 0), *world.snapshots], 2
    ):
        unexplained = abs(Fraction(after - before) - (why - why_before))
        assert unexplained <= Fraction(UNIT) / 2 * (2 * (m - n) + held_before + held)


def test_a_dust_position_is_not_sold_with_cash_that_an_order_waits_for() -> None:
    """Gas of 5 would come out of the 10 that are promised: they would be missing when the entry is filled."""
    paper = PaperConfig(gas_usdt=Decimal(5), fill_at="next_open")
    entry = OrderPlaced(AT, order("buy", Decimal(10), "LTC/USDT", "entry"), quoted(Decimal(10), order_ref="entry"))
    one = Decimal(1)
    bought = Trade(AT, ETH, "buy", one, one, None, ZERO, "paper", "jrn", one, "ord")
    book = evolve(evolve(Book(Decimal(11)), bought), entry)
    assert [book.cash, book.free] == [Decimal(10), ZERO]
    refusal = fill(order("sell", one), one, book, paper, AT)
    assert isinstance(refusal, Refusal)
    assert refusal.rule == "dust"
    assert "there are 0.00 USDT to pay them" in refusal.reason


# --- a fill


@given(prices, st.decimals(1, 10**6, places=8), papers)
def test_a_trade_is_what_it_says(price: Decimal, size: Decimal, paper: PaperConfig) -> None:
    """size = qty x price; fees = the pool's share of it and gas; the price is the quote's, made worse by slippage."""
    trade, _ = bought(size, price, paper)
    assert trade.price == booked(price * (1 + paper.slippage_bps / 10_000))
    assert trade.size == booked(trade.qty * trade.price)
    assert trade.fees == booked(trade.size * paper.fee_bps / 10_000 + paper.gas_usdt)
    assert (trade.pnl, trade.hold_s, trade.return_, trade.filled_at) == (None, None, None, None)


@given(price=st.decimals(UNIT, 1, places=8), size=st.decimals(1, 10_000, places=8), paper=papers)
@example(price=Decimal("0.00617807"), size=Decimal("3.13638128"), paper=_fee("36.6"))
@example(price=Decimal("0.00275250"), size=Decimal("64.89125257"), paper=_fee("48.6"))
def test_a_buy_never_spends_more_than_its_order(price: Decimal, size: Decimal, paper: PaperConfig) -> None:
    """Not even by the last place: an order may be for all the cash there is."""
    trade = fill(order("buy", size), price, Book(size), paper, AT)
    if isinstance(trade, Trade):
        assert trade.size + trade.fees <= size
        assert evolve(Book(size), trade).cash >= 0


@given(prices, prices, st.decimals(10, 10**6, places=8), papers)
def test_what_was_bought_can_be_sold_whole(
    buying: Decimal, selling: Decimal, size: Decimal, paper: PaperConfig
) -> None:
    opening, book = bought(size, buying, paper)
    closing = fill(order("sell", Decimal(1)), selling, book, paper, AT + timedelta(hours=3))
    assume(isinstance(closing, Trade))  # a price of nearly nothing may not pay for its gas
    assert isinstance(closing, Trade)
    assert closing.qty == opening.qty
    after = evolve(book, closing)
    assert not after.positions
    # pnl = proceeds - cost, net of both legs' fees: exactly what the round trip did to the cash
    assert closing.pnl == closing.size - closing.fees - opening.size - opening.fees == after.cash - size
    assert closing.hold_s == 3 * 3600
    assert closing.return_ == booked(closing.pnl / (opening.size + opening.fees))
    assert closing.price == booked(selling * (1 - paper.slippage_bps / 10_000))


@given(st.decimals(10, 10**6, places=8), prices, papers)
def test_what_was_just_bought_is_never_dust(size: Decimal, price: Decimal, paper: PaperConfig) -> None:
    """A buy is refused where its sale at that price would not pay for its own gas: no slippage, no way back to dust."""
    calm = changed(paper, slippage_bps=ZERO)
    opening, book = bought(size, price, calm)
    closing = fill(order("sell", opening.size), price, book, calm, AT + HOUR)
    assert isinstance(closing, Trade)
    assert closing.size > closing.fees


def test_an_order_that_gas_eats_up_buys_nothing_and_says_so() -> None:
    paper = PaperConfig(gas_usdt=Decimal(2))
    for size in (Decimal("0.5"), Decimal(2), Decimal("2.01"), Decimal("4.01")):
        refusal = fill(order("buy", size), Decimal("0.5"), Book(size), paper, AT)
        assert isinstance(refusal, Refusal)
        assert refusal.rule == "dust"
        assert "2.00 USDT" in refusal.reason
    assert isinstance(fill(order("buy", Decimal("4.02")), Decimal("0.5"), Book(), paper, AT), Trade)


def test_a_buy_at_the_edge_of_dust_is_refused_up_to_where_its_sale_pays_for_the_gas() -> None:
    """At 1 USDT a piece without a fee: what is bought must bring more than the gas of 2."""
    paper = PaperConfig(gas_usdt=Decimal(2), fee_bps=ZERO, slippage_bps=ZERO)
    brings_gas = Decimal(4) + 2 * UNIT  # 2 of gas, 2 of coins, and what rounding is kept back for
    refusal = fill(order("buy", brings_gas), Decimal(1), Book(Decimal(9)), paper, AT)
    assert isinstance(refusal, Refusal)
    assert refusal.data == {"measured": Decimal(2), "limit": Decimal(2)}
    more = fill(order("buy", brings_gas + UNIT), Decimal(1), Book(Decimal(9)), paper, AT)
    assert isinstance(more, Trade)
    assert more.size == 2 + UNIT


def test_a_sale_that_brings_less_than_its_gas_is_made_as_long_as_the_cash_pays_for_it() -> None:
    """A position is not kept for the sake of its gas; only what cannot be paid is refused."""
    paper = PaperConfig(gas_usdt=Decimal(2), fee_bps=ZERO, slippage_bps=ZERO)
    opening = Trade(AT, ETH, "buy", Decimal(10), Decimal(1), None, ZERO, "paper", "jrn", Decimal(10), "ord")
    price = Decimal("0.05")  # brings 0.5
    for cash, sold in ((Decimal("1.5"), True), (Decimal("1.5") - UNIT, False)):
        book = evolve(Book(cash + 10), opening)
        done = fill(order("sell", Decimal("0.5")), price, book, paper, AT + HOUR)
        assert isinstance(done, Trade) == sold
        if isinstance(done, Trade):
            assert evolve(book, done).cash == 0
        else:
            assert done.rule == "dust"
            assert done.data == {"measured": Decimal("0.5"), "limit": Decimal(2)}
            assert "brings 0.50 USDT, fees and gas are 2.00 USDT" in done.reason


def test_a_price_too_small_to_be_booked_is_refused_and_not_divided_by() -> None:
    """Some coins trade at a billionth of a dollar: what the ledger rounds to 0 is no price."""
    found = fill(order("buy", Decimal(100)), Decimal(0), Book(Decimal(100)), PaperConfig(), AT)
    assert isinstance(found, Refusal)


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(1, 10**6))
def test_a_fill_pays_what_a_constant_product_pool_would_take(base: int, quote: int, per_million: int) -> None:
    """Against the reserves themselves: (x - dx)(y + dy) = xy."""
    x, y, fraction = Fraction(base), Fraction(quote), Fraction(per_million, 10**6)
    mid, impact = booked(Decimal(quote) / base), Decimal(per_million) / 10**6
    assume(mid > Decimal("0.001"))
    paid = fraction * y
    received = x - x * y / (y + paid)
    _near(executable_price(mid, impact, True), paid / received)
    given_up = fraction * x  # worth that fraction of the USDT side, at mid
    proceeds = y - x * y / (x + given_up)
    _near(executable_price(mid, impact, False), proceeds / given_up)


def _near(found: Decimal, exact: Fraction) -> None:
    assert abs(Fraction(found) - exact) <= Fraction(1, 10**7) + exact / 10**4


# --- what is journaled


def test_the_entry_says_the_numbers_of_its_trade() -> None:
    paper = PaperConfig()
    opening = fill(order("buy", Decimal(900)), Decimal(2000), Book(Decimal(1000)), paper, AT)
    assert isinstance(opening, Trade)
    entry = executed_entry(opening, order("buy", Decimal(900)), quoted(), paper.gas_usdt)
    assert (entry.id, entry.type, entry.ts) == (opening.journal_ref, "EXECUTED", opening.ts)
    for words in ("Bought 0.", " ETH for 897.", "at 2,001.00 (fees 2.34 USDT)", "the test says so", "not checked"):
        assert words in entry.text
    assert entry.data["quote"]["divergence_checked"] is False
    book = evolve(Book(Decimal(1000)), opening)
    closing = fill(order("sell", Decimal(900)), Decimal(1900), book, paper, AT + timedelta(hours=2))
    assert isinstance(closing, Trade)
    checked = quoted(
        Decimal(1900), reference_venue="exchange", divergence_fraction=Decimal("0.0025"),
        max_divergence_fraction=Decimal("0.05"),
    )  # fmt: skip
    text = executed_entry(closing, order("sell", Decimal(900)), checked, paper.gas_usdt).text
    for words in ("Sold 0.", "Lost 50.", "over 2.0 h", "0.25 % from exchange", "limit 5.00 %"):
        assert words in text


@given(prices, st.decimals(1, 10**6, places=8), papers, st.decimals(0, 5, places=9))
def test_the_fees_of_a_leg_are_its_pools_and_its_gas(
    price: Decimal, size: Decimal, paper: PaperConfig, gas: Decimal
) -> None:
    """To the last place, both ways of the trip, also where the gas has more places than the ledger."""
    paper = changed(paper, gas_usdt=gas)
    opening, book = bought(size, price, paper)
    closing = fill(order("sell", size), price, book, paper, AT + HOUR)
    for trade in (opening, closing):
        if isinstance(trade, Trade):
            data = executed_entry(trade, order(trade.side, size), quoted(price), paper.gas_usdt).data
            assert data["swap_fee"] + data["gas"] == data["fees"] == trade.fees
            assert data["swap_fee"] >= 0
            assert abs(data["swap_fee"] - trade.size * paper.fee_bps / 10_000) <= UNIT


def test_without_a_second_price_source_the_entry_says_that_nothing_was_checked() -> None:
    assert "not checked" in evidence_text(quoted())


# --- an order that waits for the next open

NEXT_OPEN: Final = PaperConfig(fill_at="next_open", slippage_bps=Decimal(100))


def bar(hours: float = 1, open_: str = "110", close: str = "120", seconds: int = 3600) -> Candle:
    opened, closed = Decimal(open_), Decimal(close)
    ts = AT + timedelta(hours=hours)
    return Candle(ts, opened, max(opened, closed), min(opened, closed), closed, Decimal(1), seconds)


def waiting(side: Literal["buy", "sell"] = "buy", **quote: Any) -> OrderPlaced:
    found = execute(order(side, Decimal(500)), quoted(Decimal(100), **quote), Book(Decimal(1000)), NEXT_OPEN, AT)
    assert isinstance(found, OrderPlaced)
    return found


def holding() -> Book:
    """10 ETH at 100, bought an hour before AT, and 500 in cash."""
    ten, size = Decimal(10), Decimal(1000)
    book = Book(Decimal(1500), marks={ETH: Mark(Decimal(100), AT - HOUR, None)})
    return evolve(book, Trade(AT - HOUR, ETH, "buy", size, Decimal(100), None, ZERO, "paper", "jrn", ten, "first"))


def test_at_the_quote_an_order_is_filled_at_once_and_at_the_next_open_it_waits() -> None:
    wanted, book = order("buy", Decimal(500)), Book(Decimal(1000))
    now = execute(wanted, quoted(Decimal(100)), book, changed(NEXT_OPEN, fill_at="quote"), AT)
    assert isinstance(now, Trade)
    assert (now.price, now.ts, now.filled_at) == (Decimal(101), AT, None)
    assert execute(wanted, quoted(Decimal(100)), book, NEXT_OPEN, AT) == OrderPlaced(AT, wanted, quoted(Decimal(100)))


def test_a_waiting_order_is_filled_at_the_open_of_the_next_candle() -> None:
    """With its slippage, and the impact that was verified for its size; the candle's close does not matter."""
    placed = waiting(impact_fraction=Decimal("0.02"))
    book = evolve(Book(Decimal(1000)), placed)
    for close in ("90", "200"):
        trade = fill_at_open(placed, bar(close=close), book, NEXT_OPEN, AT + HOUR)
        assert isinstance(trade, Trade)
        assert trade.price == booked(Decimal(110) * Decimal("1.02") * Decimal("1.01"))
        assert (trade.ts, trade.filled_at) == (AT + HOUR, AT)
        assert trade.journal_ref == entry_ref(placed.order, AT + HOUR)
        assert trade.size + trade.fees <= 500
    sale = fill_at_open(waiting("sell", impact_fraction=Decimal("0.1")), bar(), holding(), NEXT_OPEN, AT + HOUR)
    assert isinstance(sale, Trade)
    assert sale.price == booked(Decimal(100) * Decimal("0.99"))  # 110 / 1.1, less the slippage
    assert (sale.qty, sale.filled_at, sale.hold_s) == (Decimal(10), AT, 3600)


def test_after_a_hole_the_order_is_filled_at_the_open_of_the_candle_that_comes() -> None:
    placed = waiting(max_age_seconds=7200)
    trade = fill_at_open(placed, bar(3), evolve(Book(Decimal(1000)), placed), NEXT_OPEN, AT + 3 * HOUR)
    assert isinstance(trade, Trade)
    assert (trade.ts, trade.filled_at) == (AT + 3 * HOUR, AT + 2 * HOUR)


@pytest.mark.parametrize("seconds", [60, 3600, 86_400])
def test_an_open_is_as_long_before_the_close_as_the_candle_is(seconds: int) -> None:
    placed, length = waiting(), timedelta(seconds=seconds)
    candle = changed(bar(seconds=seconds), ts=AT + length)
    trade = fill_at_open(placed, candle, evolve(Book(Decimal(1000)), placed), NEXT_OPEN, candle.ts)
    assert isinstance(trade, Trade)
    assert trade.filled_at == AT
    assert evolve(Book(Decimal(1000)), trade).positions[ETH].opened_at == AT


def test_the_entry_of_a_fill_at_the_open_says_so() -> None:
    placed = waiting()
    trade = fill_at_open(placed, bar(), evolve(Book(Decimal(1000)), placed), NEXT_OPEN, AT + HOUR)
    assert isinstance(trade, Trade)
    entry, row = done_rows(trade, placed.order, placed.quote, NEXT_OPEN)
    assert isinstance(entry, JournalEntry)
    assert row is trade
    assert "at 111.1, the open of the next candle (fees" in entry.text


@pytest.mark.parametrize(("hours", "stale"), [(1, False), (2, False), (2.001, True), (30, True)])
def test_a_quote_is_too_old_for_the_candle_after_a_long_hole(hours: float, stale: bool) -> None:
    """Aged by the time from the decision to the open: 20 s then, an hour more one candle later."""
    placed = waiting(age_seconds=Decimal(20), max_age_seconds=3620)
    done = fill_at_open(placed, bar(hours), holding(), NEXT_OPEN, AT + timedelta(hours=hours))
    assert isinstance(done, Refusal) == stale
    if isinstance(done, Refusal):
        age = booked(Decimal(20 + round((hours - 1) * 3600, 3)))
        assert (done.rule, done.data) == ("QUOTE_STALE", {"measured": age, "limit": 3620})
        assert f"{age} s old by now, the limit is 3620 s" in done.reason


def test_a_waiting_entrys_cash_is_spoken_for_and_an_exits_is_not() -> None:
    book = evolve(Book(Decimal(1000)), waiting())
    assert [book.cash, book.free, book.equity] == [Decimal(1000), Decimal(500), Decimal(1000)]
    assert [placed.order.pair for placed in book.entering] == [ETH]
    leaving = evolve(holding(), waiting("sell"))
    assert leaving.free == leaving.cash == Decimal(500)
    assert leaving.entering == []


def test_a_fill_and_a_refusal_both_end_the_waiting() -> None:
    placed = waiting()
    book = evolve(Book(Decimal(1000)), placed)
    assert list(book.placed) == [ETH]
    trade = fill_at_open(placed, bar(), book, NEXT_OPEN, AT + HOUR)
    assert isinstance(trade, Trade)
    assert evolve(book, trade).placed == {}
    refused = evolve(book, Decided(AT + HOUR, ETH, "buy", "QUOTE_STALE", "jrn"))
    assert refused == Book(Decimal(1000))


def test_another_pairs_outcome_leaves_an_order_waiting() -> None:
    book = evolve(Book(Decimal(1000)), waiting())
    one = Decimal(1)
    for row in (
        Decided(AT, "BTC/USDT", "buy", "regime", "jrn"),
        Trade(AT, "BTC/USDT", "buy", one, one, None, ZERO, "paper", "jrn", one, "other"),
        Marked(AT, Decimal(1000), {ETH: one}),
        Snapshot(AT, Decimal(1000), "paper", ZERO, ZERO),
    ):
        assert evolve(book, row).placed == book.placed


def test_rows_of_the_other_book_are_not_folded() -> None:
    book, one = evolve(Book(Decimal(1000)), waiting()), Decimal(1)
    for row in (
        Trade(AT, ETH, "buy", one, one, None, ZERO, "live", "jrn", one, "ord"),
        Marked(AT, one, {ETH: one}, "live"),
    ):
        assert evolve(book, row) == book


def rows_of_a_waiting_order() -> list[Row]:
    """A log up to an order that waits while another position is held."""
    one, config = Decimal(1), AgentConfig(PAIRS, paper=NEXT_OPEN)
    full = quoted(Decimal(100), reference_venue="exchange", reference_price=Decimal("100.1"),
                  reference_age_seconds=one, divergence_fraction=Decimal("0.001"))  # fmt: skip
    return [
        ConfigAdopted(AT - 2 * HOUR, 1, config),
        Trade(
            AT - HOUR, "BTC/USDT", "buy", one, one, None, UNIT, "paper", "jrn", one, "first", filled_at=AT - 2 * HOUR
        ),
        Marked(AT - HOUR, Decimal(1000), {"BTC/USDT": Decimal(2), ETH: Decimal(99)}),
        Snapshot(AT - HOUR, Decimal(1000), "paper", ZERO, ZERO),
        OrderPlaced(AT, order("buy", Decimal(500)), full),
        Marked(AT, Decimal(1000), {"BTC/USDT": Decimal(3), ETH: Decimal(100)}),
    ]


def folded(rows: list[Row], book: Book | None = None) -> Book:
    book = book or Book()
    for row in rows:
        book = evolve(book, row)
    return book


@pytest.mark.parametrize("cut", range(7))
def test_a_waiting_order_goes_through_the_log_and_a_checkpoint_unchanged(cut: int) -> None:
    """Refolded from the bytes of the rows, or thawed in the midst of them and folded on: the same book."""
    rows = rows_of_a_waiting_order()
    read = [decode_row(encode_row(row, 1 if isinstance(row, Trade | Snapshot) else None)) for row in rows]
    book = folded(rows)
    assert [placed.order for placed in book.entering] == [order("buy", Decimal(500))]
    assert folded(read) == book
    thawed = from_plain(from_json(to_json(to_plain(folded(rows[:cut])))), Book)
    assert thawed == folded(rows[:cut])
    assert folded(read[cut:], thawed) == book


# --- is the evidence still good?

RECHECKS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"order_ref": "other"}, {}, "QUOTE_MISMATCH"),
    ({"size_usdt": Decimal("499.99999999")}, {"size_usdt": Decimal(500)}, "QUOTE_MISMATCH"),
    ({"age_seconds": Decimal("60.00000001")}, {"age_seconds": Decimal(60)}, "QUOTE_STALE"),
    ({"reference_age_seconds": Decimal(61)}, {"reference_age_seconds": Decimal(60)}, "QUOTE_STALE"),
    ({"verified_at": AT - timedelta(seconds=61)}, {"verified_at": AT - timedelta(seconds=60)}, "QUOTE_STALE"),
    ({"impact_fraction": Decimal("0.02000001")}, {"impact_fraction": Decimal("0.02")}, "INSUFFICIENT_LIQUIDITY"),
    ({"divergence_fraction": Decimal("0.01000001")}, {"divergence_fraction": Decimal("0.01")}, "QUOTE_DIVERGENCE"),
]  # fmt: skip


@pytest.mark.parametrize("fill_at", ["quote", "next_open"])
@pytest.mark.parametrize(("beyond", "at_limit", "code"), RECHECKS)
def test_the_executor_looks_at_the_evidence_again(
    beyond: dict[str, Any], at_limit: dict[str, Any], code: str, fill_at: Literal["quote", "next_open"]
) -> None:
    """Whoever verified it, an order is not acted on if its quote is another's, too old, or beyond its own limits."""
    limits = {"max_impact_fraction": Decimal("0.02"), "max_divergence_fraction": Decimal("0.01")}
    paper, wanted = PaperConfig(fill_at=fill_at), order("buy", Decimal(500))
    good, bad = quoted(**limits, **at_limit), quoted(**limits, **beyond)
    assert recheck(wanted, good, AT) is None
    assert not isinstance(execute(wanted, good, Book(Decimal(1000)), paper, AT), Refusal)
    for refusal in (
        recheck(wanted, bad, AT),
        execute(wanted, bad, Book(Decimal(1000)), paper, AT),
        fill_at_open(OrderPlaced(AT, wanted, bad), bar(), Book(Decimal(1000)), paper, AT + HOUR),
    ):
        assert isinstance(refusal, Refusal)
        assert refusal.rule == code
        assert any(figure.isdigit() for figure in refusal.reason)
        if code != "QUOTE_MISMATCH":
            assert refusal.data["measured"] > refusal.data["limit"]
            assert "limit" in refusal.reason


def test_a_mismatch_names_both_the_quote_and_the_order() -> None:
    refusal = recheck(order("buy", Decimal(501)), quoted(size_usdt=Decimal(500)), AT)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "the quote is for ord of 500.00 USDT, the order is ord of 501.00 USDT"


# --- what the model leaves out


def test_without_impact_a_quote_is_the_mid_whatever_the_size_and_the_pool() -> None:
    config = AgentConfig(PAIRS, paper=PaperConfig(impact="none"))
    for size, depth in ((Decimal(1), None), (Decimal(10**6), Decimal(1)), (Decimal(10**6), ZERO)):
        tick = Tick(bar(0), Observation("pool", Decimal(100), AT, depth), None)
        for side in ("buy", "sell"):
            quote = verify(order("buy" if side == "buy" else "sell", size), tick, config, AT)
            assert isinstance(quote, Quote)
            assert [quote.price, quote.impact_fraction] == [Decimal(100), ZERO]
            assert recheck(order("buy" if side == "buy" else "sell", size), quote, AT) is None


# --- snapshots


def test_a_snapshot_is_due_at_first_and_then_after_its_minutes() -> None:
    book = Book(Decimal(1000))
    assert due(book, AT, 15)
    book = evolve(book, Snapshot(AT, Decimal(1000), "paper", Decimal(0), Decimal(0)))
    assert [due(book, AT + timedelta(minutes=m), 15) for m in (0, 14, 15, 16)] == [False, False, True, True]


def test_a_snapshot_shows_what_the_risk_engine_has_marked() -> None:
    gauge = Gauge(equity=Decimal(1000), peak=Decimal(1250), risk_peak=Decimal(1000), opening=Decimal(1025))
    risk = RiskState(config=AgentConfig(PAIRS), paper=gauge)
    shot = snapshot(risk, Book(Decimal(1000)), AT)
    used = booked(Decimal(25) / 1025 / Decimal("0.08"))
    assert shot == Snapshot(AT, Decimal(1000), "paper", Decimal("0.2"), used)


def test_a_snapshot_needs_a_config_to_measure_by() -> None:
    with pytest.raises(AssertionError, match="config"):
        snapshot(RiskState(), Book(Decimal(1000)), AT)


def test_a_mark_values_what_is_held_at_the_rounds_closes_and_the_rest_at_its_last_one() -> None:
    one = Decimal(1)
    other = Trade(AT - HOUR, "BTC/USDT", "buy", one, one, None, ZERO, "paper", "jrn", one, "other")
    book = evolve(holding(), other)  # 499 in cash, 10 ETH last seen at 100, 1 BTC at 1
    tick = Tick(bar(0, close="70"), Observation("pool", one, AT), None)
    mark = mark_of(book, Round(AT, {ETH: tick}, None))
    assert mark == Marked(AT, Decimal(1200), {ETH: Decimal(70)})
    marked = evolve(book, mark)
    assert marked.equity == mark.equity
    # A round of as many pairs as are known, but other ones: no price is forgotten.
    assert evolve(marked, Marked(AT + HOUR, ZERO, {"BTC/USDT": Decimal(2), "LTC/USDT": one})).equity == 1201


def test_a_mark_knows_the_close_before_it() -> None:
    """After a hole, that is how long nothing was heard of the pair."""
    book = (
        Book(Decimal(1000)).marked({ETH: Decimal(1), "BTC/USDT": Decimal(5)}, AT).marked({ETH: Decimal(2)}, AT + HOUR)
    )
    assert book.marks == {ETH: Mark(Decimal(2), AT + HOUR, AT), "BTC/USDT": Mark(Decimal(5), AT, None)}
