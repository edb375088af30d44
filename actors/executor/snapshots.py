"""The mark that closes a round; when a snapshot is due and what it says. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from actors.executor.book import Book
from actors.risk_engine.state import RiskState
from protocol.events import Marked, Snapshot
from protocol.market import Round
from protocol.money import booked
from protocol.times import EPOCH


def closes(round: Round) -> dict[str, Decimal]:
    """What every pair of the round closed at."""
    return {pair: tick.candle.close for pair, tick in round.ticks.items()}


def mark_of(book: Book, round: Round) -> Marked:
    """The book at the round's closes."""
    prices = closes(round)
    return Marked(round.ts, book.equity_at(prices), prices, book.phase)


def due_at(book: Book, minutes: int) -> datetime:
    """The first round is due, and then the first one at least `minutes` of market time after the last snapshot."""
    return EPOCH if book.snapshot_at is None else book.snapshot_at + timedelta(minutes=minutes)


def due(book: Book, at: datetime, minutes: int) -> bool:
    return at >= due_at(book, minutes)


def snapshot(risk: RiskState, book: Book, at: datetime) -> Snapshot:
    """The book as the risk engine has just marked it."""
    gauge = risk.gauge(book.phase)
    used = gauge.daily_dd_used(risk.settings.risk)
    return Snapshot(at, book.equity, book.phase, booked(gauge.dd_from_peak), booked(used))
