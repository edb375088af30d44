"""Is there a price for this order that can be believed? Pure: everything it looks at is in its arguments."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from protocol.events import QuoteRejected
from protocol.market import Observation, Tick
from protocol.money import PCT, ZERO, booked, pct, price, usdt
from protocol.orders import Order, Quote
from protocol.settings import AgentConfig

# Exits are let through at this many times the limits of entries: a poor quote must not keep us in a position.
EXIT_TOLERANCE = 5


def verify(order: Order, tick: Tick, config: AgentConfig, at: datetime) -> Quote | QuoteRejected:
    """A quote for exactly this order, held against an independent reference, or why it is not believed.

    Looked at in turn: the age of both prices, the divergence of the two mids, the pool's depth, and the price impact of
    the order's size. Where paper fills are modelled without impact, a pool has no depth to run out of.
    """
    limits, wider = config.quotes.of(order.pair), EXIT_TOLERANCE if order.side == "sell" else 1
    max_age = limits.max_age_seconds * wider
    max_divergence = limits.max_divergence_pct * PCT * wider
    max_impact = limits.max_impact_pct * PCT * wider
    min_depth = booked(limits.min_depth_usdt / wider) if config.paper.impact == "pool" else ZERO
    pool, reference = tick.executable, tick.reference

    for seen in (pool, reference):
        if seen is not None and not 0 <= (age := _age(seen, at)) <= max_age:
            return QuoteRejected(
                at, order.pair, "stale",
                f"the price of {seen.venue} is {age} s old, the limit is {max_age} s", "QUOTE_STALE", order.ref, age,
                Decimal(max_age),
            )  # fmt: skip

    divergence = booked(abs(pool.price / reference.price - 1)) if reference else None
    if reference is not None and divergence is not None and divergence > max_divergence:
        return QuoteRejected(
            at, order.pair, "divergence",
            f"{pool.venue} quotes {price(pool.price)}, {reference.venue} {price(reference.price)}: {pct(divergence)} "
            f"apart, the limit is {pct(max_divergence)}", "QUOTE_DIVERGENCE", order.ref, divergence, max_divergence,
        )  # fmt: skip

    depth, impact = pool.depth_usdt or ZERO, ZERO
    if config.paper.impact == "pool":
        if depth < min_depth or depth <= 0:
            detail = f"{pool.venue} holds {usdt(depth)}, the least it must hold is {usdt(min_depth)}"
            return _too_thin(order, detail, depth, min_depth, at)
        impact = booked(order.size_usdt / depth)
        if impact > max_impact:
            moved = f"{usdt(order.size_usdt)} would move {pool.venue} by {pct(impact)} (it holds {usdt(depth)})"
            return _too_thin(order, f"{moved}, the limit is {pct(max_impact)}", impact, max_impact, at)

    return Quote(
        order.ref, at, order.size_usdt, pool.venue, executable_price(pool.price, impact, order.side == "buy"),
        pool.price, impact, _age(pool, at), depth, max_age, max_impact, max_divergence, min_depth,
        reference.venue if reference else None, reference.price if reference else None,
        _age(reference, at) if reference else None, divergence,
    )  # fmt: skip


def _too_thin(order: Order, detail: str, measured: Decimal, limit: Decimal, at: datetime) -> QuoteRejected:
    return QuoteRejected(at, order.pair, "liquidity", detail, "INSUFFICIENT_LIQUIDITY", order.ref, measured, limit)


def executable_price(mid: Decimal, impact: Decimal, buying: bool) -> Decimal:
    """The average price in a constant-product pool without its fee: spending a fraction `impact` of the USDT side moves
    a buy's price to mid x (1 + impact); selling base worth that fraction brings mid / (1 + impact).

    With reserves x (base) and y (USDT), mid = y/x: dy buys x dy/(y + dy), so dy over that is mid (1 + dy/y).

    >>> executable_price(Decimal(2000), Decimal("0.01"), True)
    Decimal('2020')
    """
    return booked(mid * (1 + impact) if buying else mid / (1 + impact))


def _age(seen: Observation, at: datetime) -> Decimal:
    return booked(Decimal((at - seen.observed_at).total_seconds()))
