"""The mark that closes a round; when a snapshot is due and what it says. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from actors.executor.book import Book
from actors.risk_engine.state import RiskState
from protocol.events import Marked, Snapshot
from protocol.market import Round
from protocol.money import booked


def mark_of(book: Book, round: Round) -> Marked:
    """The book at the round's closes."""
    prices = {pair: tick.candle.close for pair, tick in round.ticks.items()}
    equity = book.marked(prices, round.ts).equity if book.positions else book.cash
    return Marked(round.ts, equity, prices, book.phase)


def due(book: Book, at: datetime, minutes: int) -> bool:
    """At the first round, and then at the first round at least `minutes` of market time after the last snapshot."""
    return book.snapshot_at is None or at - book.snapshot_at >= timedelta(minutes=minutes)


def snapshot(risk: RiskState, book: Book, at: datetime) -> Snapshot:
    """The book as the risk engine has just marked it."""
    gauge = risk.gauge(book.phase)
    used = gauge.daily_dd_used(risk.settings.risk)
    return Snapshot(at, book.equity, book.phase, booked(gauge.dd_from_peak), booked(used))
