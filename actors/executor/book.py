"""A book: cash and open positions of one phase, as a fold over trades and marks."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from attrs import Factory, frozen
from attrs import evolve as changed

from protocol.events import ConfigAdopted, Marked, Phase, Snapshot, Trade
from protocol.money import ZERO, booked


@frozen
class Position:
    """An open position. `cost` is what it took to open: size plus fees, USDT."""

    pair: str
    qty: Decimal
    cost: Decimal
    entry_price: Decimal
    opened_at: datetime


@frozen
class Book:
    """Equity = cash + positions at their last price. `snapshot_at` is when the last snapshot was taken."""

    cash: Decimal = ZERO
    positions: dict[str, Position] = Factory(dict)
    prices: dict[str, Decimal] = Factory(dict)
    phase: Phase = "paper"
    snapshot_at: datetime | None = None

    def worth(self, pair: str) -> Decimal:
        """The pair's position at the last price, booked; 0 where there is none."""
        held = self.positions.get(pair)
        return booked(held.qty * self.prices[pair]) if held else ZERO

    @property
    def equity(self) -> Decimal:
        return booked(self.cash + sum((self.worth(pair) for pair in self.positions), ZERO))

    def priced(self, prices: dict[str, Decimal]) -> Book:
        return changed(self, prices={**self.prices, **prices})


FOLDED = (ConfigAdopted, Trade, Marked, Snapshot)


def evolve(book: Book, row: Any) -> Book:
    """The book after a row of the log. The only way a book changes."""
    match row:
        case Trade(side="buy"):
            held = Position(row.pair, row.qty, booked(row.size + row.fees), row.price, row.ts)
            return changed(
                book,
                cash=booked(book.cash - row.size - row.fees),
                positions={**book.positions, row.pair: held},
                prices={**book.prices, row.pair: book.prices.get(row.pair, row.price)},
            )
        case Trade(side="sell"):
            rest = {pair: held for pair, held in book.positions.items() if pair != row.pair}
            return changed(book, cash=booked(book.cash + row.size - row.fees), positions=rest)
        case Marked():
            return book.priced(row.prices)
        case Snapshot():
            return changed(book, snapshot_at=row.ts)
        case ConfigAdopted(version=1):
            return changed(book, cash=row.config.paper.initial_usdt)
        case _:
            return book
