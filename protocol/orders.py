"""An order from wish to fill: what the strategy wants, the price that was verified for it, and names derived from
causes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any, Literal

from attrs import frozen

Side = Literal["buy", "sell"]
Phase = Literal["paper", "live"]

# intended    nothing of it has left this machine
# approving   a transaction that lets the router take the tokens is signed
# approved    it is mined
# swapping    the swap is signed
# handed      a kit was asked to do all of it by itself
OrderState = Literal["intended", "approving", "approved", "swapping", "handed"]


@frozen
class Order:
    """What the strategy wants. `size_usdt` is what it means to spend (buy) or the position's worth at the last close
    (sell); `qty` is base units: exact for a sell, None for a buy, where the fill decides it. Entries are buys, exits
    sells. `phase` is the book that it is for."""

    ref: str
    pair: str
    side: Side
    size_usdt: Decimal
    qty: Decimal | None
    reason: str
    phase: Phase = "paper"


@frozen
class Quote:
    """A price for exactly this order, verified at `verified_at`: the evidence that travels with it. `price` includes
    the impact of the order's own size; ages are in seconds of market time. Without a second source `reference_price` is
    None and the divergence was not checked."""

    order_ref: str
    verified_at: datetime
    size_usdt: Decimal
    venue: str
    price: Decimal
    mid: Decimal
    impact_fraction: Decimal
    age_seconds: Decimal
    depth_usdt: Decimal
    max_age_seconds: int
    max_impact_fraction: Decimal
    max_divergence_fraction: Decimal
    min_depth_usdt: Decimal
    reference_venue: str | None = None
    reference_price: Decimal | None = None
    reference_age_seconds: Decimal | None = None
    divergence_fraction: Decimal | None = None


def live_tag(order: Order) -> tuple[str, ...]:
    """What marks the entries on a live order among their tags; those of paper go without."""
    return ("live",) if order.phase == "live" else ()


def live_data(order: Order) -> dict[str, Any]:
    """The same among their data."""
    return {"phase": "live"} if order.phase == "live" else {}


def entry_ref(order: Order, at: datetime) -> str:
    """The id of the journal entry that tells the outcome of this order, whoever writes it."""
    return named("jrn", at, order.ref)


def named(prefix: str, at: datetime, *cause: str) -> str:
    """An id derived from its cause, so that deciding again gives the same one: `ord_6f1c...`, 80 bits.

    >>> from datetime import UTC
    >>> named("ord", datetime(2026, 1, 1, tzinfo=UTC), "ETH/USDT", "buy")
    'ord_2da8e2cd86e4c5d9366f'
    """
    text = "|".join((prefix, at.isoformat(), *cause))
    return f"{prefix}_{blake2b(text.encode(), digest_size=10).hexdigest()}"
