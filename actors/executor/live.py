"""The live book and its open orders, as a fold over the log. Pure.

What the wallet holds is kept twice: in `book` as the ledger keeps it, to 8 places, and in `units` exactly, so that it
can be held against the chain to the wei.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from attrs import Factory, frozen
from attrs import evolve as changed

from actors.executor import book as books
from actors.executor.book import Book
from protocol.events import (
    LIVE_FACTS,
    Decided,
    Flattening,
    Frozen,
    GivenUp,
    HandedOver,
    Intended,
    Leg,
    LiveOpened,
    Marked,
    Mined,
    Snapshot,
    Status,
    StatusChange,
    Submitted,
    Trade,
    WrittenOff,
)
from protocol.money import ZERO, Units
from protocol.orders import OrderState

NATIVE: Final = "gas"  # the chain's own coin, which no pair trades: only its wrapping is a token
USDT: Final = "USDT"


@frozen
class OpenOrder:
    """An order between its intent and its end. `signed` are the transactions of the leg that is under way, oldest
    first; all have one nonce, so that at most one of them is ever mined. `gas` is what it has cost so far, USDT."""

    intended: Intended
    state: OrderState = "intended"
    signed: tuple[Submitted, ...] = ()
    handed: HandedOver | None = None
    gas: Decimal = ZERO

    @property
    def ref(self) -> str:
        return self.intended.order.ref

    @property
    def leg(self) -> Leg:
        """The leg that is signed, or is to be signed next, if the approval is there."""
        return "approval" if self.state == "approving" else "swap"


@frozen(slots=False)
class Live:
    """`status` is the agent's; `flattening` says why everything is to be sold, `frozen` why nothing is begun. `intents`
    is how many wishes were intended or turned down so far: what tells the names of two at one time apart."""

    book: Book = Factory(lambda: Book(phase="live"))
    units: dict[str, Units] = Factory(dict)
    orders: dict[str, OpenOrder] = Factory(dict)  # by ref, oldest first
    status: Status = "PAPER"
    flattening: str | None = None
    frozen: str | None = None
    intents: int = 0

    @property
    def trading(self) -> bool:
        """May the strategy's wishes become live orders?"""
        return self.status == "LIVE"

    @property
    def flat(self) -> bool:
        return not self.book.positions and not self.orders


FOLDED = (*LIVE_FACTS, Decided, Trade, Marked, Snapshot, StatusChange)


def evolve(live: Live, row: Any) -> Live:
    """The live side after a row of the log. The only way it changes."""
    book = books.evolve(live.book, row)
    if book is not live.book:
        live = changed(live, book=book)
    match row:
        case StatusChange():
            return changed(live, status=row.to)
        case LiveOpened():
            return changed(live, units=row.units, flattening=None, frozen=None)
        case Intended():
            return changed(live, orders={**live.orders, row.order.ref: OpenOrder(row)}, intents=live.intents + 1)
        case Decided(phase="live"):
            return changed(live, intents=live.intents + 1)
        case Submitted():
            return _with(live, _submitted(live.orders[row.order_ref], row))
        case HandedOver():
            return _with(live, changed(live.orders[row.order_ref], state="handed", handed=row))
        case Mined():
            return _mined(live, row)
        case GivenUp():
            coins = {} if row.coins is None else {NATIVE: row.coins}
            return _ended(changed(live, units=live.units | coins), row.order_ref)
        case Trade(phase="live"):
            return _ended(live, row.order_ref)
        case Flattening():
            return changed(live, flattening=None if live.flat else row.reason, frozen=None)
        case Frozen():
            return changed(live, frozen=row.reason, flattening=None)
        case WrittenOff():
            return changed(live, units=live.units | {row.token: row.units})
        case _:
            return live


def _with(live: Live, order: OpenOrder) -> Live:
    return changed(live, orders={**live.orders, order.ref: order})


def _submitted(order: OpenOrder, row: Submitted) -> OpenOrder:
    earlier = order.signed if order.signed and order.signed[-1].leg == row.leg else ()
    return changed(order, state="approving" if row.leg == "approval" else "swapping", signed=(*earlier, row))


def _mined(live: Live, row: Mined) -> Live:
    """Gas is paid whatever came of it; a swap that was not reverted has moved both tokens."""
    order = live.orders[row.order_ref]
    moved = {NATIVE: -row.gas_units, order.intended.from_token: -row.spent, order.intended.to_token: row.received}
    units = dict(live.units)
    for token, by in moved.items():
        units[token] = Units(units.get(token, Units(0)) + by)
    state: OrderState = "approved" if row.leg == "approval" and row.success else order.state
    return _with(changed(live, units=units), changed(order, state=state, signed=(), gas=order.gas + row.gas))


def _ended(live: Live, ref: str) -> Live:
    """Without the order; what was to be sold is, once nothing is left."""
    live = changed(live, orders={name: order for name, order in live.orders.items() if name != ref})
    return changed(live, flattening=None) if live.flat else live
