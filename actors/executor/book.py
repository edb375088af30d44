"""A book: cash, open positions and waiting orders of one phase, as a fold over trades and marks."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from attrs import Factory, frozen
from attrs import evolve as changed

from protocol.events import (
    ConfigAdopted,
    Decided,
    GivenUp,
    Intended,
    LiveOpened,
    Marked,
    OrderPlaced,
    Snapshot,
    Trade,
    WrittenOff,
)
from protocol.money import ZERO, booked
from protocol.orders import Phase


@frozen
class Position:
    """An open position. `cost` is what it took to open: size plus fees, USDT."""

    pair: str
    qty: Decimal
    cost: Decimal
    entry_price: Decimal
    opened_at: datetime


@frozen(slots=False)  # made at every mark, as books and gauges are: a third faster so
class Mark:
    """A pair's last close: its price, its time, and the time of the close before it."""

    price: Decimal
    at: datetime
    before: datetime | None


@frozen(slots=False)
class Book:
    """Equity = cash + positions at their last close. `placed` are open intents, by pair: in paper orders that wait for
    the next open, in live those that wait for the chain. `snapshot_at` is when the last snapshot was taken."""

    cash: Decimal = ZERO
    positions: dict[str, Position] = Factory(dict)
    marks: dict[str, Mark] = Factory(dict)
    placed: dict[str, OrderPlaced] = Factory(dict)
    phase: Phase = "paper"
    snapshot_at: datetime | None = None

    def worth(self, pair: str) -> Decimal:
        """The pair's position at the last close, booked; 0 where there is none."""
        held = self.positions.get(pair)
        return booked(held.qty * self.marks[pair].price) if held else ZERO

    @property
    def equity(self) -> Decimal:
        return self.equity_at({})

    def equity_at(self, prices: dict[str, Decimal]) -> Decimal:
        """Equity with these as the last closes of their pairs."""
        if not self.positions:
            return self.cash
        total = self.cash
        for pair, held in self.positions.items():
            total += booked(held.qty * (prices[pair] if pair in prices else self.marks[pair].price))
        return booked(total)

    @property
    def entering(self) -> list[OrderPlaced]:
        """The entries that wait for their fill: their cash is spoken for, and they count as positions."""
        return [placed for placed in self.placed.values() if placed.order.side == "buy"]

    @property
    def free(self) -> Decimal:
        """Cash that no waiting entry has been promised."""
        return self.cash - sum((placed.order.size_usdt for placed in self.entering), ZERO) if self.placed else self.cash

    def marked(self, prices: dict[str, Decimal], at: datetime) -> Book:
        """The book at these closes."""
        old = self.marks
        new = {pair: Mark(price, at, old[pair].at if pair in old else None) for pair, price in prices.items()}
        marks = new if old.keys() <= new.keys() else {**old, **new}
        return Book(self.cash, self.positions, marks, self.placed, self.phase, self.snapshot_at)


FOLDED = (ConfigAdopted, OrderPlaced, Decided, Trade, Marked, Snapshot)
LIVE_FOLDED = (LiveOpened, Intended, GivenUp, WrittenOff, Trade, Marked, Snapshot)


def evolve(book: Book, row: Any) -> Book:
    """The book after a row of the log. The only way a book changes."""
    match row:
        case Marked() if row.phase == book.phase:
            return book.marked(row.prices, row.ts)
        case Trade() if row.phase == book.phase:
            return _traded(book, row)
        case Snapshot() if row.phase == book.phase:
            return Book(book.cash, book.positions, book.marks, book.placed, book.phase, row.ts)
        case _ if book.phase == "live":
            return _evolve_live(book, row)
        case OrderPlaced():
            return changed(book, placed={**book.placed, row.order.pair: row})
        case Decided() if row.pair in book.placed and row.phase == "paper":  # a placed order that was not filled
            return changed(book, placed=_without(book.placed, row.pair))
        case ConfigAdopted(version=1):
            return changed(book, cash=row.config.paper.initial_usdt)
        case _:
            return book


def _evolve_live(book: Book, row: Any) -> Book:
    match row:
        case Intended():
            placed = OrderPlaced(row.ts, row.order, row.quote)
            return changed(book, placed={**book.placed, row.order.pair: placed})
        case GivenUp():
            return changed(book, cash=booked(book.cash - row.gas), placed=_without(book.placed, row.pair))
        case LiveOpened():
            return changed(book, cash=row.cash)
        case WrittenOff():
            held, others = book.positions[row.pair], _without(book.positions, row.pair)
            if row.left == 0:
                return changed(book, positions=others)
            less = changed(held, qty=row.left, cost=booked(held.cost * row.left / held.qty))
            return changed(book, positions={**others, row.pair: less})
        case _:
            return book


def _traded(book: Book, trade: Trade) -> Book:
    pair, placed = trade.pair, _without(book.placed, trade.pair)
    if trade.side == "sell":
        cash = booked(book.cash + trade.size - trade.fees)
        return changed(book, cash=cash, positions=_without(book.positions, pair), placed=placed)
    opened_at = trade.filled_at or trade.ts
    held = Position(pair, trade.qty, booked(trade.size + trade.fees), trade.price, opened_at)
    marks = book.marks if pair in book.marks else {**book.marks, pair: Mark(trade.price, opened_at, None)}
    cash = booked(book.cash - trade.size - trade.fees)
    return changed(book, cash=cash, positions={**book.positions, pair: held}, marks=marks, placed=placed)


def _without(by_pair: dict[str, Any], pair: str) -> dict[str, Any]:
    return {name: value for name, value in by_pair.items() if name != pair} if pair in by_pair else by_pair
