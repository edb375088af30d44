"""The paper ledger, in whole units of 1e-8 USDT. `round` of a fraction is half-even, as the ledger's rule is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Final

from tests.simulation.judge.report import Line, Plain

UNITS: Final = 10**8
Number = int | Decimal


def units(value: Number) -> int:
    """Exact. Raises ValueError for what is finer than the ledger."""
    if type(value) is int:
        return value * UNITS
    over, under = value.as_integer_ratio()
    whole, rest = divmod(over * UNITS, under)
    if rest:
        raise ValueError(f"{value} has more than 8 places")
    return whole


def text(amount: int) -> str:
    """Units as the number that the log would have."""
    return f"{Decimal(amount).scaleb(-8).normalize():f}"


def divided(over: int, under: int) -> int:
    """over / under, half-even."""
    whole, rest = divmod(over, under)
    if 2 * rest > under or (2 * rest == under and whole % 2):
        return whole + 1
    return whole


@dataclass(slots=True)
class Position:
    """`qty` in units of the base, `cost` with the fees of opening."""

    qty: int
    cost: int
    opened_at: int


@dataclass(slots=True)
class Close:
    """A pair's last close, its time, and the time of the one before it."""

    price: Fraction
    at: int
    before: int | None


@dataclass(slots=True)
class Waiting:
    """An order that waits for the next open: its row's body, and what the order means to spend."""

    order: Plain
    quote: Plain
    size: int
    verified_at: int
    row: int

    @property
    def buys(self) -> bool:
        return bool(self.order["side"] == "buy")


@dataclass(slots=True)
class Ledger:
    """Cash, positions, the last closes, and the open intents."""

    cash: int = 0
    positions: dict[str, Position] = field(default_factory=dict)
    closes: dict[str, Close] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)

    def equity(self, closes: Mapping[str, Fraction]) -> int:
        """Cash and positions, each at its pair's close: this round's, or the last there was."""
        return self.cash + sum(self.worth(pair, closes) for pair in self.positions)

    def worth(self, pair: str, closes: Mapping[str, Fraction]) -> int:
        price = closes[pair] if pair in closes else self.closes[pair].price
        return round(self.positions[pair].qty * price)

    @property
    def free(self) -> int:
        """What no waiting entry was promised."""
        return self.cash - sum(waiting.size for waiting in self.waiting.values() if waiting.buys)

    @property
    def taken(self) -> set[str]:
        """Places: open positions, and entries that wait."""
        return {*self.positions, *(pair for pair, waiting in self.waiting.items() if waiting.buys)}

    def settle(self, closes: Mapping[str, Fraction], at: int) -> None:
        for pair, price in closes.items():
            last = self.closes.get(pair)
            self.closes[pair] = Close(price, at, last.at if last else None)

    def trade(self, trade: Line, at: int) -> None:
        """Book what the log says was traded, filled at `at`."""
        body = trade.body
        pair, size, fees = body["pair"], units(body["size"]), units(body["fees"])
        if body["side"] == "buy":
            self.cash -= size + fees
            self.positions[pair] = Position(units(body["qty"]), size + fees, at)
        else:
            self.cash += size - fees
            self.positions.pop(pair, None)
