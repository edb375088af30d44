"""Paper fills: what an order at a verified quote does to the book. Pure."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from actors.executor.book import Book
from actors.quote_verifier.verify import executable_price
from protocol.errors import Refusal
from protocol.events import JournalEntry, OrderPlaced, Row, Trade
from protocol.market import Candle
from protocol.money import BPS, PLACES, ZERO, booked, booked_down, pct, price, usdt
from protocol.orders import Order, Quote, entry_ref
from protocol.settings import PaperConfig


def execute(order: Order, quote: Quote, book: Book, paper: PaperConfig, at: datetime) -> Trade | OrderPlaced | Refusal:
    """Fill a judged order at its quote, or have it wait for the next open; a Refusal where the quote no longer holds
    or nothing would come of it."""
    if stale := recheck(order, quote, at):
        return stale
    if paper.fill_at == "next_open":
        return OrderPlaced(at, order, quote)
    return fill(order, quote.price, book, paper, at)


def fill_at_open(placed: OrderPlaced, candle: Candle, book: Book, paper: PaperConfig, at: datetime) -> Trade | Refusal:
    """Fill a waiting order at the candle's open, with the impact that was verified for its size."""
    order, quote, opened_at = placed.order, placed.quote, candle.opened_at
    if stale := recheck(order, quote, opened_at):
        return stale
    at_price = executable_price(candle.open, quote.impact_fraction, order.side == "buy")
    return fill(order, at_price, book, paper, at, None if opened_at == at else opened_at)


def recheck(order: Order, quote: Quote, at: datetime) -> Refusal | None:
    """Does the evidence still carry the order, at the moment it is acted on? It must be this order's, be for all of its
    size, be young enough by now, and keep the limits that are written on it."""
    if quote.order_ref != order.ref or order.size_usdt > quote.size_usdt:
        reason = f"the quote is for {quote.order_ref} of {usdt(quote.size_usdt)}, the order is {order.ref} of "
        return Refusal("QUOTE_MISMATCH", reason + usdt(order.size_usdt))
    since = Decimal((at - quote.verified_at).total_seconds())
    ages = [quote.age_seconds] + ([] if quote.reference_age_seconds is None else [quote.reference_age_seconds])
    if (age := booked(max(ages) + since)) > quote.max_age_seconds:
        reason = f"the quote is {age} s old by now, the limit is {quote.max_age_seconds} s"
        return Refusal("QUOTE_STALE", reason, {"measured": age, "limit": quote.max_age_seconds})
    measured = (
        ("INSUFFICIENT_LIQUIDITY", quote.impact_fraction, quote.max_impact_fraction),
        ("QUOTE_DIVERGENCE", quote.divergence_fraction or ZERO, quote.max_divergence_fraction),
    )
    for code, found, limit in measured:
        if found > limit:
            reason = f"the quote says {pct(found)} itself, the limit on it is {pct(limit)}"
            return Refusal(code, reason, {"measured": found, "limit": limit})
    if quote.depth_usdt < quote.min_depth_usdt:
        reason = f"the quote says {usdt(quote.depth_usdt)} deep itself, the least on it is {usdt(quote.min_depth_usdt)}"
        return Refusal("INSUFFICIENT_LIQUIDITY", reason, {"measured": quote.depth_usdt, "limit": quote.min_depth_usdt})
    return None


def fill(
    order: Order, quoted: Decimal, book: Book, paper: PaperConfig, at: datetime, filled_at: datetime | None = None
) -> Trade | Refusal:
    """Fill the order in the paper book at the `quoted` price, made worse by the configured slippage.

    A buy spends at most `order.size_usdt`, fee and gas included, so that what was judged affordable is. A sell sells
    the whole position: quantities are whole lots of 1e-8, rounded down when bought, so nothing is ever left over. Dust
    is what would cost more gas than it brings: it is not bought; it is sold as long as free cash can pay for that.
    """
    fee, slip = paper.fee_bps * BPS, paper.slippage_bps * BPS
    if order.side == "buy":
        return _buy(order, booked(quoted * (1 + slip)), fee, paper.gas_usdt, at, filled_at)
    return _sell(order, booked(quoted * (1 - slip)), book, fee, paper.gas_usdt, at, filled_at)


def _buy(
    order: Order, at_price: Decimal, fee: Decimal, gas: Decimal, at: datetime, filled_at: datetime | None
) -> Trade | Refusal:
    # What rounding size and fees may add, 1e-8 at most, is kept back.
    budget = order.size_usdt - gas - 2 * PLACES
    qty = booked_down(budget / (1 + fee) / at_price) if at_price > 0 else ZERO
    if qty <= 0:
        reason = f"{usdt(order.size_usdt)} buys nothing after gas of {usdt(gas)}"
        return Refusal("dust", reason, {"measured": order.size_usdt, "limit": gas})
    size = booked(qty * at_price)
    if (proceeds := booked(size * (1 - fee))) <= gas:
        reason = f"{usdt(size)} would bring {usdt(proceeds)} when sold again, gas alone is {usdt(gas)}"
        return Refusal("dust", reason, {"measured": proceeds, "limit": gas})
    fees = booked(size * fee + gas)
    return Trade(
        at, order.pair, "buy", size, at_price, None, fees, "paper", entry_ref(order, at), qty, order.ref,
        filled_at=filled_at,
    )  # fmt: skip


def _sell(
    order: Order, at_price: Decimal, book: Book, fee: Decimal, gas: Decimal, at: datetime, filled_at: datetime | None
) -> Trade | Refusal:
    held = book.positions[order.pair]
    size = booked(held.qty * at_price)
    fees = booked(size * fee + gas)
    if book.free + size - fees < 0:
        reason = f"it brings {usdt(size)}, fees and gas are {usdt(fees)} and there are {usdt(book.free)} to pay them"
        return Refusal("dust", reason, {"measured": size, "limit": fees})
    pnl = booked(size - fees - held.cost)
    return Trade(
        at, order.pair, "sell", size, at_price, pnl, fees, "paper", entry_ref(order, at), held.qty, order.ref,
        hold_s=int(((filled_at or at) - held.opened_at).total_seconds()),
        return_=booked(pnl / held.cost) if held.cost else ZERO, filled_at=filled_at,
    )  # fmt: skip


def done_rows(done: Trade | OrderPlaced | Refusal, order: Order, quote: Quote, paper: PaperConfig) -> tuple[Row, ...]:
    """What the executor journals of what it did; a refusal is told by who asked."""
    if isinstance(done, Trade):
        return (executed_entry(done, order, quote, paper.gas_usdt), done)
    return () if isinstance(done, Refusal) else (done,)


def executed_entry(trade: Trade, order: Order, quote: Quote, gas: Decimal) -> JournalEntry:
    """The trade as a colleague would note it, with the quote as evidence. `gas` is the part of the fees that is no
    pool's."""
    base, gas = trade.pair.split("/")[0], booked(gas)
    verb = "Bought" if trade.side == "buy" else "Sold"
    where = ", the open of the next candle" if trade.filled_at else ""
    text = (
        f"{verb} {trade.qty.normalize():f} {base} for {usdt(trade.size)} at {price(trade.price)}{where} "
        f"(fees {usdt(trade.fees)}) because {order.reason}."
    )
    if trade.pnl is not None:
        outcome = "Gained" if trade.pnl > 0 else "Lost"
        hours = Decimal(trade.hold_s or 0) / 3600
        text += f" {outcome} {usdt(abs(trade.pnl))} ({pct(trade.return_ or ZERO)}) over {hours:.1f} h."
    text += " " + evidence_text(quote)
    return JournalEntry(
        trade.ts, trade.journal_ref, "EXECUTED", (trade.side, trade.pair), text,
        {"order_ref": order.ref, "pair": trade.pair, "side": trade.side, "size": trade.size, "price": trade.price,
         "qty": trade.qty, "fees": trade.fees, "swap_fee": booked(trade.fees - gas), "gas": gas, "pnl": trade.pnl,
         "quote": evidence(quote)},
    )  # fmt: skip


def evidence_text(quote: Quote) -> str:
    if quote.divergence_fraction is None:
        return "There was no second price source: divergence not checked."
    return (
        f"The quote was {pct(quote.divergence_fraction)} from {quote.reference_venue} "
        f"(limit {pct(quote.max_divergence_fraction)})."
    )


def evidence(quote: Quote) -> dict[str, object]:
    """Both prices, their ages and the limits they were held against."""
    return {
        "venue": quote.venue, "price": quote.price, "mid": quote.mid, "impact": quote.impact_fraction,
        "age_seconds": quote.age_seconds, "depth_usdt": quote.depth_usdt,
        "reference_venue": quote.reference_venue, "reference_price": quote.reference_price,
        "reference_age_seconds": quote.reference_age_seconds, "divergence": quote.divergence_fraction,
        "divergence_checked": quote.divergence_fraction is not None,
        "limits": {"divergence": quote.max_divergence_fraction, "age_seconds": quote.max_age_seconds,
                   "impact": quote.max_impact_fraction, "depth_usdt": quote.min_depth_usdt},
    }  # fmt: skip
