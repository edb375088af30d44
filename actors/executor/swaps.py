"""Amounts of a live swap: what an order may spend and must bring, and what a mined one was worth. Pure.

A pool of constant product takes its fee from what is paid in, so `quote.price`, which is without the fee, promises
`spend x (1 - fee) / price` for a buy and `qty x (1 - fee) x price` for a sell.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Final

from actors.executor.fills import evidence, evidence_text, recheck
from actors.executor.live import USDT, Live
from protocol.errors import Refusal
from protocol.events import Intended, JournalEntry, Mined, Purpose, Trade
from protocol.market import Tick
from protocol.money import BPS, PCT, ZERO, Units, booked, booked_down, pct, price, usdt
from protocol.orders import Order, Quote, entry_ref, named
from protocol.settings import AgentConfig
from protocol.times import EPOCH, to_wire

UINT256_DIGITS: Final = 78
Decimals = Mapping[str, int]  # of each token, by symbol


def base_of(pair: str) -> str:
    return pair.removesuffix(f"/{USDT}")


def intend(
    order: Order,
    quote: Quote,
    live: Live,
    config: AgentConfig,
    decimals: Decimals,
    purpose: Purpose,
    at: datetime,
    seen_at: datetime,
) -> Intended | Refusal:
    """A judged order as exact amounts: what is sold is all that the wallet is known to hold. `seen_at` is when the
    quote was seen, by the chain's clock. A Refusal where the quote does not carry it any more, or there is nothing to
    spend."""
    if stale := recheck(order, quote, at):
        return stale
    base = base_of(order.pair)
    buying = order.side == "buy"
    from_token, to_token = (USDT, base) if buying else (base, USDT)
    spend = Units.of(order.size_usdt, decimals[USDT]) if buying else live.units.get(base, Units(0))
    held = live.units.get(from_token, Units(0))
    if not 0 < spend <= held:
        reason = f"the wallet is known to hold {held.amount(decimals[from_token]):f} {from_token}"
        return Refusal("insufficient_funds", reason)
    slippage = config.live.slippage_pct * PCT
    kept = (1 - config.paper.fee_bps * BPS) * (1 - slippage)
    with localcontext(prec=UINT256_DIGITS):
        paid = spend.amount(decimals[from_token])
        promised = paid / quote.price if buying else paid * quote.price
        least = Units.of(promised * kept, decimals[to_token])
    deadline = int((seen_at - EPOCH).total_seconds()) + config.live.deadline_seconds
    return Intended(at, order, quote, purpose, from_token, to_token, spend, least, slippage, deadline)


def way_out(pair: str, live: Live, tick: Tick, reason: str, seen_at: datetime, at: datetime) -> Order:
    """Sell all of a pair that the live book holds, because everything is to be sold. Two tries at one log time are told
    apart by when the chain was seen."""
    held = live.book.positions[pair]
    worth = booked(held.qty * tick.candle.close)
    return Order(named("ord", at, pair, "flatten", to_wire(seen_at)), pair, "sell", worth, held.qty, reason, "live")


def traded(
    intended: Intended, mined: Mined, gas: Decimal, live: Live, config: AgentConfig, decimals: Decimals
) -> Trade:
    """The trade that a mined swap was: its price and fees from what it really moved. `gas` is what all the order's
    transactions cost, USDT, and is among the fees."""
    order, fee = intended.order, config.paper.fee_bps * BPS
    ref = entry_ref(order, intended.ts)
    spent = mined.spent.amount(decimals[intended.from_token])
    received = mined.received.amount(decimals[intended.to_token])
    if order.side == "buy":
        qty, paid = booked_down(received), booked(spent)
        pool_fee = booked(paid * fee)
        size = booked(paid - pool_fee)
        return Trade(
            mined.ts, order.pair, "buy", size, _per(size, qty), None, booked(pool_fee + gas), "live", ref, qty,
            order.ref, tx_hash=mined.hash,
        )  # fmt: skip
    held = live.book.positions[order.pair]
    brought = booked(received)
    size = booked(brought / (1 - fee))
    fees = booked(size - brought + gas)
    pnl = booked(size - fees - held.cost)
    return Trade(
        mined.ts, order.pair, "sell", size, _per(size, held.qty), pnl, fees, "live", ref, held.qty, order.ref,
        hold_s=int((mined.ts - held.opened_at).total_seconds()),
        return_=booked(pnl / held.cost) if held.cost else ZERO, tx_hash=mined.hash,
    )  # fmt: skip


def _per(size: Decimal, qty: Decimal) -> Decimal:
    return booked(size / qty) if qty else ZERO


def shadow_bps(trade: Trade, quote: Quote, config: AgentConfig) -> Decimal:
    """How much worse than the paper model's the live price was, in basis points; negative where it was better."""
    slip = config.paper.slippage_bps * BPS
    paper = quote.price * (1 + slip) if trade.side == "buy" else quote.price * (1 - slip)
    worse = trade.price / paper - 1
    return booked((worse if trade.side == "buy" else -worse) / BPS)


def executed_live(
    trade: Trade, intended: Intended, mined: Mined, gas: Decimal, config: AgentConfig
) -> JournalEntry:
    """A live trade as a colleague would note it, beside what paper would have booked."""
    order, base = intended.order, base_of(trade.pair)
    verb = "Bought" if trade.side == "buy" else "Sold"
    off = shadow_bps(trade, intended.quote, config)
    text = (
        f"{verb} {trade.qty.normalize():f} {base} for {usdt(trade.size)} at {price(trade.price)} live "
        f"(fees {usdt(trade.fees)}, block {mined.block}) because {order.reason}."
    )
    if trade.pnl is not None:
        outcome = "Gained" if trade.pnl > 0 else "Lost"
        hours = Decimal(trade.hold_s or 0) / 3600
        text += f" {outcome} {usdt(abs(trade.pnl))} ({pct(trade.return_ or ZERO)}) over {hours:.1f} h."
    side = "worse" if off > 0 else "better"
    text += f" Paper would have booked a price {abs(off):.1f} bps {'better' if off > 0 else 'worse'}; live was {side}."
    text += " " + evidence_text(intended.quote)
    return JournalEntry(
        trade.ts, trade.journal_ref, "EXECUTED", (trade.side, trade.pair, "live"), text,
        {"order_ref": order.ref, "pair": trade.pair, "side": trade.side, "phase": "live", "size": trade.size,
         "price": trade.price, "qty": trade.qty, "fees": trade.fees, "gas": gas, "pnl": trade.pnl,
         "tx_hash": mined.hash, "block": mined.block, "spent": mined.spent, "received": mined.received,
         "shadow_bps": off, "quote": evidence(intended.quote)},
    )  # fmt: skip
