"""The paper book, over any orders: every cent is explained, every order ends once, and a restart changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from attrs import frozen
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.executor.book import Book, evolve
from actors.executor.fills import execute, fill_at_open
from protocol.codec import decode_row, encode_row, from_json, from_plain, to_json, to_plain
from protocol.errors import Refusal
from protocol.events import ConfigAdopted, Decided, Marked, OrderPlaced, Row, Trade
from protocol.market import Candle
from protocol.money import ZERO
from protocol.orders import Order, Quote
from protocol.settings import AgentConfig, PaperConfig

BEGINS: Final = datetime(2026, 1, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
PAIRS: Final = ("BTC/USDT", "ETH/USDT", "PEPE/USDT")
UNIT: Final = Fraction(1, 10**8)

papers = st.builds(
    PaperConfig,
    st.decimals(50, 2000, places=2),
    fee_bps=st.decimals(0, 300, places=1),
    slippage_bps=st.decimals(0, 300, places=1),
    gas_usdt=st.decimals(0, 3, places=2),
    fill_at=st.sampled_from(["quote", "next_open"]),
)
prices = st.one_of(st.decimals(Decimal("0.00002"), 1, places=8), st.decimals(1, 90_000, places=4))


def nearest(value: Fraction) -> Fraction:
    """To a whole number of units of 1e-8, halves to the even one."""
    return round(value / UNIT) * UNIT


@frozen
class Held:
    qty: Fraction
    cost: Fraction


class Ledger(RuleBasedStateMachine):
    """Beside the book runs a model in fractions, which is told sides, prices and sizes only and does its own sums."""

    @initialize(paper=papers)
    def begin(self, paper: PaperConfig) -> None:
        self.paper, self.at, self.orders = paper, BEGINS, 0
        self.book, self.rows = Book(), list[Row]()
        self.cash = Fraction(paper.initial_usdt)
        self.held: dict[str, Held] = {}
        self.marks: dict[str, Fraction] = {}
        self.gained = Fraction(0)
        self.waiting: dict[str, str] = {}  # by pair, the order that has not ended
        self.ended: list[str] = []
        self.fold(ConfigAdopted(BEGINS, 1, AgentConfig(PAIRS, paper=paper)))

    def fold(self, row: Row) -> None:
        self.rows.append(row)
        self.book = evolve(self.book, row)

    def order(self, pair: str, size: Decimal, quoted: Decimal) -> None:
        """Decide, as the Executor does, and keep what comes of it."""
        self.orders += 1
        side, held = ("sell", self.book.positions[pair].qty) if pair in self.held else ("buy", None)
        wanted = Order(f"ord_{self.orders}", pair, side, size, held, "the test says so")  # type: ignore[arg-type]
        one = Decimal(1)
        quote = Quote(wanted.ref, self.at, size, "pool", quoted, quoted, ZERO, ZERO, one, 7200, one, one, ZERO)
        self.settle(wanted, execute(wanted, quote, self.book, self.paper, self.at), quoted)

    def settle(self, order: Order, done: Trade | OrderPlaced | Refusal, quoted: Decimal) -> None:
        if isinstance(done, OrderPlaced):
            self.waiting[order.pair] = order.ref
            self.fold(done)
            return
        assert self.waiting.pop(order.pair, order.ref) == order.ref
        self.ended.append(order.ref)
        if isinstance(done, Refusal):
            self.fold(Decided(self.at, order.pair, order.side, done.rule, "jrn"))
            return
        assert (done.order_ref, done.pair, done.side) == (order.ref, order.pair, order.side)
        self.trade(done, order, Fraction(quoted))
        self.fold(done)

    def trade(self, done: Trade, order: Order, quoted: Fraction) -> None:
        slip, fee = Fraction(self.paper.slippage_bps) / 10_000, Fraction(self.paper.fee_bps) / 10_000
        price = nearest(quoted * (1 + slip if order.side == "buy" else 1 - slip))
        size = nearest(Fraction(done.qty) * price)
        fees = nearest(size * fee + Fraction(self.paper.gas_usdt))
        assert (Fraction(done.price), Fraction(done.size), Fraction(done.fees)) == (price, size, fees)
        if order.side == "buy":
            assert Fraction(done.qty) % UNIT == 0 < done.qty
            assert size + fees <= Fraction(order.size_usdt), "more is spent than was judged"
            self.cash -= size + fees
            self.held[order.pair] = Held(Fraction(done.qty), size + fees)
            self.marks.setdefault(order.pair, price)
            return
        held = self.held.pop(order.pair)
        assert Fraction(done.qty) == held.qty, "an exit leaves nothing behind"
        self.cash += size - fees
        assert done.pnl is not None
        assert Fraction(done.pnl) == size - fees - held.cost
        self.gained += size - fees - held.cost

    @rule(pair=st.sampled_from(PAIRS), part=st.integers(1, 100), price=prices)
    def enter_or_leave(self, pair: str, part: int, price: Decimal) -> None:
        """With at most the cash that is free, as the rules see to; an order of a pair waits for the one before it."""
        size = (self.book.free * part / 100).quantize(Decimal("0.00000001"), "ROUND_DOWN")
        if pair in self.waiting or (pair not in self.held and size <= 0):
            return
        if pair in self.held:
            size = max((self.book.positions[pair].qty * price).quantize(Decimal("0.00000001")), Decimal("0.00000001"))
        self.order(pair, size, price)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), hours=st.integers(1, 4), price=prices)
    def next_open(self, data: Any, hours: int, price: Decimal) -> None:
        """A candle later, or so late that the quote is too old: filled at its open, or refused."""
        pair = data.draw(st.sampled_from(sorted(self.waiting)))
        self.at += hours * HOUR
        placed = self.book.placed[pair]
        assert placed.order.ref == self.waiting[pair]
        candle = Candle(self.at, price, price, price, price, Decimal(1))
        done = fill_at_open(placed, candle, self.book, self.paper, self.at)
        if hours > 3:
            assert isinstance(done, Refusal), "the evidence was good for two hours, and the candle opened after three"
        self.settle(placed.order, done, price)

    @rule(closes=st.dictionaries(st.sampled_from(PAIRS), prices))
    def mark(self, closes: dict[str, Decimal]) -> None:
        self.at += HOUR
        self.marks |= {pair: Fraction(price) for pair, price in closes.items()}
        expected = self.worth()
        assert Fraction(self.book.equity_at(closes)) == expected
        self.fold(Marked(self.at, self.book.equity_at(closes), closes))

    @rule()
    def restart(self) -> None:
        """From a checkpoint, and from the whole log as it is on the disk."""
        assert from_plain(from_json(to_json(to_plain(self.book))), Book) == self.book
        again = Book()
        for row in self.rows:
            again = evolve(again, decode_row(encode_row(row, None).decode()))
        assert again == self.book
        self.book = again

    def worth(self) -> Fraction:
        return self.cash + sum((nearest(held.qty * self.marks[pair]) for pair, held in self.held.items()), Fraction(0))

    @invariant()
    def every_cent_is_explained(self) -> None:
        assert Fraction(self.book.cash) == self.cash >= 0
        assert {pair: Held(Fraction(p.qty), Fraction(p.cost)) for pair, p in self.book.positions.items()} == self.held
        invested = sum((held.cost for held in self.held.values()), Fraction(0))
        assert self.cash + invested == Fraction(self.paper.initial_usdt) + self.gained
        assert Fraction(self.book.equity) == self.worth()

    @invariant()
    def cash_is_promised_once(self) -> None:
        promised = sum((p.order.size_usdt for p in self.book.placed.values() if p.order.side == "buy"), ZERO)
        assert self.book.free == self.book.cash - promised >= 0

    @invariant()
    def every_order_ends_once_or_waits(self) -> None:
        assert len(set(self.ended)) == len(self.ended)
        assert {pair: placed.order.ref for pair, placed in self.book.placed.items()} == self.waiting
        assert len(self.ended) + len(self.waiting) == self.orders


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
