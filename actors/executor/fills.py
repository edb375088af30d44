"""Paper fills: what an order at a verified quote does to the book. Pure."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from actors.executor.book import Book
from protocol.errors import Refusal
from protocol.events import JournalEntry, Trade
from protocol.money import BPS, PLACES, ZERO, booked, booked_down, pct, price, usdt
from protocol.orders import Order, Quote, entry_ref
from protocol.settings import PaperConfig


def fill(order: Order, quote: Quote, book: Book, paper: PaperConfig, at: datetime) -> Trade | Refusal:
    """Fill the order in the paper book.

    A buy spends at most `order.size_usdt`, fee and gas included, so that what was judged affordable is; a sell sells
    the whole position. The price is the quote's, made worse by the configured slippage.
    """
    fee, slip = paper.fee_bps * BPS, paper.slippage_bps * BPS
    journal_ref = entry_ref(order, at)
    if order.side == "buy":
        at_price = booked(quote.price * (1 + slip))
        # What rounding size and fees may add, 1e-8 at most, is kept back.
        budget = order.size_usdt - paper.gas_usdt - 2 * PLACES
        qty = booked_down(budget / (1 + fee) / at_price) if at_price > 0 else ZERO
        if qty <= 0:
            return Refusal("dust", f"{usdt(order.size_usdt)} buys nothing after gas of {usdt(paper.gas_usdt)}")
        size = booked(qty * at_price)
        fees = booked(size * fee + paper.gas_usdt)
        return Trade(at, order.pair, "buy", size, at_price, None, fees, "paper", journal_ref, qty, order.ref)
    held = book.positions[order.pair]
    at_price = booked(quote.price * (1 - slip))
    size = booked(held.qty * at_price)
    fees = booked(size * fee + paper.gas_usdt)
    pnl = booked(size - fees - held.cost)
    return Trade(
        at, order.pair, "sell", size, at_price, pnl, fees, "paper", journal_ref, held.qty, order.ref,
        hold_s=int((at - held.opened_at).total_seconds()), return_=booked(pnl / held.cost) if held.cost else ZERO,
    )  # fmt: skip


def executed_entry(trade: Trade, order: Order, quote: Quote) -> JournalEntry:
    """The trade as a colleague would note it, with the quote as evidence."""
    base = trade.pair.split("/")[0]
    verb = "Bought" if trade.side == "buy" else "Sold"
    text = (
        f"{verb} {trade.qty.normalize():f} {base} for {usdt(trade.size)} at {price(trade.price)} "
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
         "qty": trade.qty, "fees": trade.fees, "pnl": trade.pnl, "quote": evidence(quote)},
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
                   "impact": quote.max_impact_fraction},
    }  # fmt: skip
