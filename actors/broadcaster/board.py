"""The board: what is committed, as clients may see it. Written by the Broadcaster, read by the door.

It holds the folds of the committed rows (what is) and the latest frames (what just happened). It outlives the
Broadcaster's incarnations, and so do the connections that follow it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import trio

from actors.executor import book as books
from actors.executor import live as lives
from actors.executor.book import Book
from actors.executor.live import Live
from actors.risk_engine import state as risks
from actors.risk_engine.state import RiskState
from protocol.errors import Outage, Outside
from protocol.events import Row
from protocol.signing import GuardStatus

Committal = tuple[int, int | None, str, Row | None]  # row, seq, frame, and its value where a fold needs it

FIRST: Final[tuple[Outside, ...]] = ("disk", "market", "chain", "guard")
KEPT_FRAMES: Final = 10_000  # how far a client that had caught up may fall behind


class Board:
    """`row` and `seq` are the last committed ones shown; `risk` and `book` are as of them."""

    def __init__(self) -> None:
        self.row = 0
        self.seq = 0
        self.risk = RiskState()
        self.book = Book()
        self.live = Live()
        self.outages: dict[Outside, Outage | None] = {}
        self.guard: GuardStatus | None = None  # as it was last seen
        self.ready = trio.Event()  # the log has been read to its end once
        self.closed = False  # nothing more will be shown
        self._frames: list[str] = []  # the latest, the last of them `seq`
        self._news = trio.Event()

    @property
    def outage(self) -> Outage | None:
        """What keeps the agent from what it is to do now; the disk's first, on which all else waits. Paper needs
        neither chain nor guard."""
        needed = FIRST if self.live.trading or not self.live.flat else FIRST[:2]
        return next((outage for what in needed if (outage := self.outages.get(what))), None)

    @property
    def shown(self) -> Book:
        """The book of the current phase."""
        return self.live.book if self.live.trading else self.book

    def begin(self, row: int, seq: int, risk: RiskState, book: Book, live: Live) -> None:
        """Stand at a checkpoint instead of before the first row."""
        self.row, self.seq, self.risk, self.book, self.live = row, seq, risk, book, live

    def show(self, rows: Iterable[Committal]) -> None:
        """Committed rows, in order; those that are already shown are passed over."""
        for row, seq, frame, value in rows:
            if row <= self.row:
                continue
            self.row = row
            self.risk = risks.evolve(self.risk, value)
            self.book = books.evolve(self.book, value)
            self.live = lives.evolve(self.live, value)
            if seq is not None:
                self.seq = seq
                self._frames.append(frame)
        if len(self._frames) > 2 * KEPT_FRAMES:
            del self._frames[:-KEPT_FRAMES]
        self._wake()

    def close(self) -> None:
        """Say that nothing more will be shown."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def frames_after(self, seq: int, limit: int) -> list[str] | None:
        """Up to `limit` frames after `seq`, oldest first; None where the board does not reach back so far."""
        behind = self.seq - seq
        if behind > min(len(self._frames), KEPT_FRAMES):
            return None
        start = len(self._frames) - behind
        return self._frames[start : start + limit]

    async def news(self) -> None:
        """Until the next rows are shown, or the board is closed."""
        await self._news.wait()
