"""The paper book, over any orders: every cent is explained, every order ends once, and a restart changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from itertools import chain, groupby
from typing import Any, Final

from attrs import astuple, frozen
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.executor.book import FOLDED, Book, evolve
from actors.executor.fills import done_rows, execute, fill_at_open
from actors.executor.snapshots import mark_of
from protocol.codec import decode_row, encode_row, from_json, from_plain, to_json, to_plain
from protocol.errors import Refusal
from protocol.events import ConfigAdopted, Decided, JournalEntry, Marked, OrderPlaced, Row, Snapshot, Trade
from protocol.market import Candle, Observation, Round, Tick
from protocol.money import ZERO, booked, booked_down
from protocol.orders import Order, Quote, entry_ref
from protocol.settings import AgentConfig, PaperConfig

BEGINS: Final = datetime(2026, 1, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
LASTS: Final = 5 * 3600  # seconds, a quote
UNIT: Final = Fraction(1, 10**8)
ONE: Final = Decimal(1)
MOST: Final = Decimal(1_000_000)  # of an order: whatever was gained before, 28 digits hold every sum
# Lowest prices, so that the smallest lot is worth much, little or next to nothing; the highest are 40 times as high.
LOWEST: Final = {"BTC/USDT": Decimal(2250), "ETH/USDT": Decimal("0.9"), "PEPE/USDT": Decimal("0.00002")}

papers = st.builds(
    PaperConfig,
    st.decimals(20, 30, places=2) | st.decimals(20, 2000, places=2),
    fee_bps=st.decimals(0, 300, places=1),
    slippage_bps=st.decimals(0, 300, places=1),
    gas_usdt=st.sampled_from([ZERO, Decimal("0.1"), Decimal("2.37"), Decimal(9)]),
    fill_at=st.sampled_from(["quote", "next_open"]),
)
pairs = st.sampled_from(sorted(LOWEST))
heights = st.integers(1000, 40_000) | st.sampled_from([1000, 40_000])  # of a price, in thousandths of the lowest
impacts, ages = st.sampled_from([ZERO, Decimal("0.00123457"), Decimal("0.03")]), st.sampled_from([0, 600, LASTS])


def price_of(pair: str, height: int) -> Decimal:
    return booked(LOWEST[pair] * height / 1000)


def nearest(value: Fraction) -> Fraction:
    """To a whole number of units of 1e-8, halves to the even one."""
    return round(value / UNIT) * UNIT


def thawed(book: Book) -> Book:
    """By way of a checkpoint's bytes."""
    return from_plain(from_json(to_json(to_plain(book))), Book)


def pair_of(row: Any) -> str:
    return str(row.order.pair if isinstance(row, OrderPlaced) else row.pair if isinstance(row, Decided | Trade) else "")


@frozen
class Held:
    qty: Fraction
    cost: Fraction
    price: Fraction
    since: datetime


class Ledger(RuleBasedStateMachine):
    """Beside the book runs a model in fractions, which is told sides, prices and sizes only and does its own sums."""

    @initialize(paper=papers)
    def begin(self, paper: PaperConfig) -> None:
        self.paper, self.at, self.orders = paper, BEGINS, 0
        self.fee, self.gas = Fraction(paper.fee_bps) / 10_000, Fraction(paper.gas_usdt)
        self.book, self.rows, self.cash = Book(), list[Row](), Fraction(paper.initial_usdt)
        self.held: dict[str, Held] = {}
        self.marks: dict[str, tuple[Fraction, datetime, datetime | None]] = {}
        self.waiting: dict[str, OrderPlaced] = {}  # by pair, the order that has not ended
        self.snapshot_at: datetime | None = None
        self.fold(ConfigAdopted(BEGINS, 1, AgentConfig(tuple(LOWEST), paper=paper)))

    def fold(self, *rows: Row) -> None:
        self.rows += rows
        self.book = reduce(evolve, rows, self.book)

    @rule(pair=pairs, part=st.sampled_from([1, 30, 50, 97, 100, 100]), height=heights, impact=impacts, age=ages)
    def order(self, pair: str, part: int, height: int, impact: Decimal, age: int) -> None:
        """Leave, or enter with at most the cash that is free, as the rules see to. A pair has one order at a time."""
        if pair in self.waiting:
            return None
        self.orders += 1
        ref, at, price, held = f"ord_{self.orders}", self.at, price_of(pair, height), self.book.positions.get(pair)
        size = self.book.worth(pair) if held else booked_down(min(MOST, self.book.free * part / 100))
        order = Order(ref, pair, "sell" if held else "buy", size, held.qty if held else None, "so")
        quote = Quote(ref, at, size, "pool", price, price, impact, Decimal(age), ZERO, LASTS, ONE, ONE, ZERO)
        done = execute(order, quote, self.book, self.paper, at)
        if self.paper.fill_at == "quote":
            return self.end(done, order, quote, Fraction(price), at)
        self.waiting[pair] = OrderPlaced(at, order, quote)
        assert done == self.waiting[pair]
        return self.fold(*done_rows(done, order, quote, self.paper))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), hours=st.integers(1, 4), height=heights)
    def next_open(self, data: Any, hours: int, height: int) -> None:
        """A candle or a hole later: filled at its open, or refused where the evidence is too old by then."""
        self.at += hours * HOUR
        pair = data.draw(st.sampled_from(sorted(self.waiting)))
        placed, opened, price = self.waiting.pop(pair), self.at - HOUR, price_of(pair, height)
        candle = Candle(self.at, price, price, price, price, ZERO)
        done = fill_at_open(self.book.placed[pair], candle, self.book, self.paper, self.at)
        stale = (opened - placed.ts).total_seconds() + int(placed.quote.age_seconds) > LASTS
        assert stale == (isinstance(done, Refusal) and done.rule == "QUOTE_STALE")
        impact = 1 + Fraction(placed.quote.impact_fraction)
        quoted = nearest(Fraction(price) * impact if placed.order.side == "buy" else Fraction(price) / impact)
        self.end(done, placed.order, placed.quote, None if stale else quoted, opened)

    @rule(heights=st.dictionaries(pairs, heights), backwards=st.booleans())
    def mark(self, heights: dict[str, int], backwards: bool) -> None:
        """At the closes of some pairs, or of none."""
        self.at += HOUR
        closes = {pair: price_of(pair, heights[pair]) for pair in sorted(heights, reverse=backwards)}
        ticks: dict[str, Tick] = {}
        for pair, price in closes.items():
            bar, seen = Candle(self.at, price, price, price, price, ZERO), Observation("pool", price, self.at)
            ticks[pair] = Tick(bar, seen, None)
            self.marks[pair] = (Fraction(price), self.at, self.marks[pair][1] if pair in self.marks else None)
        marked = mark_of(self.book, Round(self.at, ticks, None))
        assert (Fraction(marked.equity), marked.prices, marked.phase) == (self.equity, closes, "paper")
        self.fold(marked)

    @rule(pair=pairs)
    def what_is_not_the_paper_books(self, pair: str) -> None:
        """The live book's rows, a new version of the config, a snapshot, a no to a pair that nothing waits for."""
        self.fold(ConfigAdopted(self.at, 2, AgentConfig((pair,), paper=PaperConfig(Decimal(9999)))))
        self.fold(Trade(self.at, pair, "buy", ONE, ONE, None, ZERO, "live", "jrn_live", ONE, "ord_live"))
        self.fold(Trade(self.at, pair, "sell", ONE, ONE, ONE, ZERO, "live", "jrn_live", ONE, "ord_live", 1, ONE))
        self.fold(Marked(self.at, ONE, {pair: ONE}, "live"), Snapshot(self.at, self.book.equity, "paper", ZERO, ZERO))
        self.snapshot_at = self.at
        if pair not in self.waiting:
            self.fold(Decided(self.at, pair, "buy", "max_concurrent", None))

    @rule(checkpoint=st.integers(0, 60))
    def restart(self, checkpoint: int) -> None:
        """Over what is on the disk, from a checkpoint or, where there is none, from the first row. In which order the
        pairs had their turn between two marks does not matter."""
        disk = [decode_row(encode_row(row, None).decode()) for row in self.rows if isinstance(row, FOLDED)]
        turns = [sorted(turn, key=pair_of, reverse=True) for _, turn in groupby(disk, lambda row: bool(pair_of(row)))]
        again = reduce(evolve, disk[checkpoint:], thawed(reduce(evolve, disk[:checkpoint], Book())))
        assert again == self.book == reduce(evolve, chain(*turns), Book())
        assert to_json(to_plain(again)) == to_json(to_plain(thawed(again))) == to_json(to_plain(self.book))
        self.book = again

    def end(self, done: Any, order: Order, quote: Quote, quoted: Fraction | None, at: datetime) -> None:
        if quoted is not None:
            slip = Fraction(self.paper.slippage_bps) / 10_000
            price = nearest(quoted * (1 + slip if order.side == "buy" else 1 - slip))
            (self.bought if order.side == "buy" else self.sold)(done, order, price, at)
        if isinstance(done, Refusal):  # as the Strategist tells it
            self.fold(Decided(self.at, order.pair, order.side, done.rule, entry_ref(order, self.at)))
        self.fold(*done_rows(done, order, quote, self.paper))

    def bought(self, done: Any, order: Order, price: Fraction, at: datetime) -> None:
        """All the money's worth in whole lots, and not more; nothing, where selling it again would not pay the gas."""
        wanted, lot = Fraction(order.size_usdt), price * UNIT * (1 + self.fee) + 4 * UNIT
        if isinstance(done, Refusal):
            assert done.rule == "dust"
            assert (wanted - self.gas) / (1 + self.fee) * (1 - self.fee) <= self.gas + lot, "it was not dust"
            return
        qty = Fraction(done.qty)
        size, fees = self.told(done, order, qty, price, at)
        assert qty % UNIT == 0 < qty
        assert wanted - lot < size + fees <= wanted, "less is bought than could be, or more is spent than was judged"
        assert nearest(size * (1 - self.fee)) > self.gas, "dust was bought"
        self.cash -= size + fees
        self.held[order.pair] = Held(qty, size + fees, price, at)
        self.marks.setdefault(order.pair, (price, at, None))

    def sold(self, done: Any, order: Order, price: Fraction, at: datetime) -> None:
        """The whole of it, unless the cash that is free cannot pay for that."""
        held, brings = self.held[order.pair], nearest(self.held[order.pair].qty * price)
        dust = self.free + brings - nearest(brings * self.fee + self.gas) < 0
        assert dust == (isinstance(done, Refusal) and done.rule == "dust")
        if not dust:
            size, fees = self.told(done, order, held.qty, price, at)
            gained = size - fees - held.cost
            assert (Fraction(done.pnl), Fraction(done.return_)) == (gained, nearest(gained / held.cost))
            assert done.hold_s == (at - held.since).total_seconds()
            self.cash += size - fees
            del self.held[order.pair]

    def told(self, done: Any, order: Order, qty: Fraction, price: Fraction, at: datetime) -> tuple[Fraction, Fraction]:
        """The size and the fees that the trade must have, and has."""
        size = nearest(qty * price)
        fees = nearest(size * self.fee + self.gas)
        assert (done.order_ref, done.pair, done.side, done.phase) == (order.ref, order.pair, order.side, "paper")
        assert (done.ts, done.filled_at or done.ts) == (self.at, at)
        assert tuple(map(Fraction, (done.qty, done.price, done.size, done.fees))) == (qty, price, size, fees)
        return size, fees

    @property
    def free(self) -> Fraction:
        return self.cash - sum(Fraction(w.order.size_usdt) for w in self.waiting.values() if w.order.side == "buy")

    @property
    def equity(self) -> Fraction:
        return self.cash + sum(nearest(held.qty * self.marks[pair][0]) for pair, held in self.held.items())

    @invariant()
    def the_book_is_the_models(self) -> None:
        book = self.book
        held = {p.pair: (p.qty, p.cost, p.entry_price, p.opened_at) for p in book.positions.values()}
        assert held == {pair: astuple(kept) for pair, kept in self.held.items()}
        assert {pair: (Fraction(m.price), m.at, m.before) for pair, m in book.marks.items()} == self.marks
        assert (book.placed, book.snapshot_at, book.phase) == (self.waiting, self.snapshot_at, "paper")
        assert tuple(map(Fraction, (book.cash, book.free, book.equity))) == (self.cash, self.free, self.equity)
        assert min(self.cash, self.free, *(kept.qty for kept in self.held.values())) >= 0

    @invariant()
    def every_cent_is_explained(self) -> None:
        """By the log alone, to the last place, without the model."""
        trades = [row for row in self.rows if isinstance(row, Trade) and row.phase == "paper"]
        begun, cash, fees = self.paper.initial_usdt, self.book.cash, sum((trade.fees for trade in trades), ZERO)
        assert cash + fees == begun + sum((t.size if t.side == "sell" else -t.size for t in trades), ZERO)
        invested = sum((position.cost for position in self.book.positions.values()), ZERO)
        assert cash + invested == begun + sum((trade.pnl for trade in trades if trade.pnl is not None), ZERO)

    @invariant()
    def every_order_ends_once_or_waits(self) -> None:
        """In a trade and its entry, or in a no."""
        trades = [row for row in self.rows if isinstance(row, Trade) and row.phase == "paper"]
        told = [(row.id, row.type, row.data["order_ref"]) for row in self.rows if isinstance(row, JournalEntry)]
        assert told == [(trade.journal_ref, "EXECUTED", trade.order_ref) for trade in trades]
        ends = [row.entry for row in self.rows if isinstance(row, Decided) and row.entry]
        ends += [trade.journal_ref for trade in trades]
        assert len(set(ends)) == len(ends) == self.orders - len(self.waiting)
        assert len({trade.order_ref for trade in trades}) == len(trades)


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
