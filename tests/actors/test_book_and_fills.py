"""The paper book: every cent between two marks is explained, and what was bought can be sold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

import pytest
from attrs import evolve as changed
from hypothesis import assume, example, given
from hypothesis import strategies as st

from actors.executor.book import Book, evolve
from actors.executor.fills import executed_entry, fill
from actors.executor.snapshots import due, snapshot
from actors.quote_verifier.verify import executable_price
from actors.risk_engine.state import RiskState
from protocol.errors import Refusal
from protocol.events import Marked, Snapshot, Trade
from protocol.money import booked
from protocol.orders import Order, Quote
from protocol.settings import PaperConfig

AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
PAIRS: Final = ("BTC/USDT", "ETH/USDT", "PEPE/USDT")
UNIT: Final = Decimal("0.00000001")

prices = st.decimals(Decimal("0.0001"), 100_000, places=8)
papers = st.builds(
    PaperConfig,
    st.just(Decimal(1000)),
    fee_bps=st.decimals(0, 300, places=1),
    slippage_bps=st.decimals(0, 300, places=1),
    gas_usdt=st.decimals(0, 5, places=2),
)


def _fee(bps: str) -> PaperConfig:
    return PaperConfig(fee_bps=Decimal(bps), slippage_bps=Decimal(0), gas_usdt=Decimal(0))


STEPS: Final = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "mark"]),
        st.sampled_from(PAIRS),
        st.integers(5000, 20_000),
        st.integers(1, 100),
    ),
    max_size=25,
)


def quoted(price: Decimal) -> Quote:
    one = Decimal(1)
    return Quote("ord", "pool", price, price, Decimal(0), one, one, 60, one, one)


def order(side: str, size: Decimal, pair: str = "ETH/USDT", qty: Decimal | None = None) -> Order:
    return Order("ord", pair, "buy" if side == "buy" else "sell", size, qty, "the test says so")


def filled(side: str, book: Book, pair: str, price: Decimal, size: Decimal, paper: PaperConfig) -> Trade | None:
    """A trade where the book allows one."""
    if (side == "buy") == (pair in book.positions):
        return None
    trade = fill(order(side, size, pair), quoted(price), book, paper, AT)
    return trade if isinstance(trade, Trade) else None


@given(STEPS, papers)
def test_equity_is_cash_and_marked_positions_and_every_change_is_explained(
    steps: list[tuple[str, str, int, int]], paper: PaperConfig
) -> None:
    """By price moves of what is held, fees, and the way from the mark to the fill: to the last place of the ledger."""
    book = Book(Decimal(1000))
    for action, pair, ticks, percent in steps:
        before, price = book, ticks * (UNIT if pair == "PEPE/USDT" else Decimal("0.01"))
        if action == "mark":
            book = evolve(book, Marked(AT, Decimal(0), {pair: price}))
            held = before.positions.get(pair)
            moved = booked(held.qty * price) - before.worth(pair) if held else Decimal(0)
            assert book.equity - before.equity == moved
        else:
            book = book.priced({pair: book.prices.get(pair, price)})
            trade = filled(action, book, pair, price, booked(max(book.cash, Decimal(0)) * percent / 100), paper)
            if trade is None:
                continue
            after = evolve(book, trade)
            worth = after.worth(pair) if action == "buy" else book.worth(pair)
            slipped = worth - trade.size if action == "buy" else trade.size - worth
            assert after.equity - book.equity == slipped - trade.fees
            book = after
        assert book.equity == book.cash + sum(booked(p.qty * book.prices[k]) for k, p in book.positions.items())
        assert booked(book.equity) == book.equity


@given(prices, st.decimals(1, 10**6, places=8), papers)
def test_a_trade_is_what_it_says(price: Decimal, size: Decimal, paper: PaperConfig) -> None:
    """size = qty x price; fees = the pool's share of it and gas; the price is the quote's, made worse by slippage."""
    trade = fill(order("buy", size), quoted(price), Book(size), paper, AT)
    assume(isinstance(trade, Trade))
    assert isinstance(trade, Trade)
    assert trade.price == booked(price * (1 + paper.slippage_bps / 10_000))
    assert trade.size == booked(trade.qty * trade.price)
    assert trade.fees == booked(trade.size * paper.fee_bps / 10_000 + paper.gas_usdt)
    assert (trade.pnl, trade.hold_s, trade.return_) == (None, None, None)


@given(price=st.decimals(UNIT, 1, places=8), size=st.decimals(1, 10_000, places=8), paper=papers)
@example(price=Decimal("0.00617807"), size=Decimal("3.13638128"), paper=_fee("36.6"))
@example(price=Decimal("0.00275250"), size=Decimal("64.89125257"), paper=_fee("48.6"))
def test_a_buy_never_spends_more_than_its_order(price: Decimal, size: Decimal, paper: PaperConfig) -> None:
    """Not even by the last place: an order may be for all the cash there is."""
    trade = fill(order("buy", size), quoted(price), Book(size), paper, AT)
    if isinstance(trade, Trade):
        assert trade.size + trade.fees <= size
        assert evolve(Book(size), trade).cash >= 0


@given(prices, prices, st.decimals(10, 10**6, places=8), papers)
def test_what_was_bought_can_be_sold_whole(bought: Decimal, sold: Decimal, size: Decimal, paper: PaperConfig) -> None:
    opening = fill(order("buy", size), quoted(bought), Book(size), paper, AT)
    assume(isinstance(opening, Trade))
    book = evolve(Book(size), opening)
    closing = fill(order("sell", Decimal(1)), quoted(sold), book, paper, AT + timedelta(hours=3))
    assert isinstance(opening, Trade)
    assert isinstance(closing, Trade)
    assert closing.qty == opening.qty
    after = evolve(book, closing)
    assert not after.positions
    # pnl = proceeds - cost, net of both legs' fees: exactly what the round trip did to the cash
    assert closing.pnl == closing.size - closing.fees - opening.size - opening.fees == after.cash - size
    assert closing.hold_s == 3 * 3600
    assert closing.return_ == booked(closing.pnl / (opening.size + opening.fees))
    assert closing.price == booked(sold * (1 - paper.slippage_bps / 10_000))


def test_an_order_that_gas_eats_up_buys_nothing_and_says_so() -> None:
    paper = PaperConfig(gas_usdt=Decimal(2))
    for size in (Decimal("0.5"), Decimal(2)):
        refusal = fill(order("buy", size), quoted(Decimal(10)), Book(size), paper, AT)
        assert isinstance(refusal, Refusal)
        assert refusal.rule == "dust"
        assert "2.00 USDT" in refusal.reason
    assert isinstance(fill(order("buy", Decimal("2.01")), quoted(Decimal("0.5")), Book(), paper, AT), Trade)


def test_a_price_too_small_to_be_booked_is_refused_and_not_divided_by() -> None:
    """Some coins trade at a billionth of a dollar: what the ledger rounds to 0 is no price."""
    found = fill(order("buy", Decimal(100)), quoted(Decimal(0)), Book(Decimal(100)), PaperConfig(), AT)
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


def test_the_entry_says_the_numbers_of_its_trade() -> None:
    paper = PaperConfig()
    opening = fill(order("buy", Decimal(900)), quoted(Decimal(2000)), Book(Decimal(1000)), paper, AT)
    assert isinstance(opening, Trade)
    entry = executed_entry(opening, order("buy", Decimal(900)), quoted(Decimal(2000)))
    assert (entry.id, entry.type, entry.ts) == (opening.journal_ref, "EXECUTED", opening.ts)
    for words in ("Bought 0.", " ETH for 897.", "at 2,001.00", "fees 2.34 USDT", "the test says so", "not checked"):
        assert words in entry.text
    assert entry.data["quote"]["divergence_checked"] is False
    book = evolve(Book(Decimal(1000)), opening)
    closing = fill(order("sell", Decimal(900)), quoted(Decimal(1900)), book, paper, AT + timedelta(hours=2))
    assert isinstance(closing, Trade)
    checked = changed(
        quoted(Decimal(1900)), reference_venue="exchange", divergence_fraction=Decimal("0.0025"),
        max_divergence_fraction=Decimal("0.05"),
    )  # fmt: skip
    text = executed_entry(closing, order("sell", Decimal(900)), checked).text
    for words in ("Sold 0.", "Lost 50.", "over 2.0 h", "0.25 % from exchange", "limit 5.00 %"):
        assert words in text


def test_a_snapshot_is_due_at_first_and_then_after_its_minutes() -> None:
    book = Book(Decimal(1000))
    assert due(book, AT, 15)
    book = evolve(book, Snapshot(AT, Decimal(1000), "paper", Decimal(0), Decimal(0)))
    assert [due(book, AT + timedelta(minutes=m), 15) for m in (0, 14, 15, 16)] == [False, False, True, True]


def test_a_snapshot_shows_what_the_risk_engine_has_marked() -> None:
    risk = RiskState(peak=Decimal(1200), equity=Decimal(1000))
    with pytest.raises(AssertionError, match="config"):
        snapshot(risk, Book(Decimal(1000)), AT)
