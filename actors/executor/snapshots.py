"""When a snapshot is due and what it says. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from actors.executor.book import Book
from actors.risk_engine.state import RiskState
from protocol.events import Snapshot
from protocol.money import booked


def due(book: Book, at: datetime, minutes: int) -> bool:
    """At the first round, and then at the first round at least `minutes` of market time after the last snapshot."""
    return book.snapshot_at is None or at - book.snapshot_at >= timedelta(minutes=minutes)


def snapshot(risk: RiskState, book: Book, at: datetime) -> Snapshot:
    """The paper book as the risk engine has just marked it."""
    return Snapshot(at, book.equity, book.phase, booked(risk.dd_from_peak), booked(risk.daily_dd_used))
