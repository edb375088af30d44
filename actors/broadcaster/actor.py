"""The Broadcaster: puts on the board what the Journal has committed, all of it and in order."""

from __future__ import annotations

import logging
from math import inf
from typing import Any, Final

import trio

from actors.broadcaster.board import Board
from actors.executor.book import FOLDED as BOOK_ROWS
from actors.executor.book import Book
from actors.executor.live import FOLDED as LIVE_ROWS
from actors.executor.live import Live
from actors.journal.store import DISK_ERRORS, MAKER, Checkpoint, LogReader
from actors.messages import Committed, GuardSeen, OutageChanged
from actors.ports import Blocking
from actors.risk_engine.state import FOLDED as RISK_ROWS
from actors.risk_engine.state import RiskState
from actors.tower import Actor
from protocol.codec import decode_row, from_plain
from protocol.errors import Outage

log = logging.getLogger("forestay.journal")
READ_ROWS: Final = 2_000
RETRY_SECONDS: Final = 0.5
_FOLDED: Final = {row.kind for row in (*BOOK_ROWS, *RISK_ROWS, *LIVE_ROWS)}


class Broadcaster(Actor):
    """Reads the log itself wherever it has not been told: at its start, and when its mailbox was full."""

    def __init__(self, board: Board, reader: LogReader, blocking: Blocking) -> None:
        self._board = board
        self._reader = reader
        self._blocking = blocking

    async def restore(self) -> None:
        """Read what the board does not show yet, however long the disk refuses it."""
        while not await self._caught_up():
            await trio.sleep(RETRY_SECONDS)
        self._board.ready.set()

    async def _caught_up(self, until: float = inf) -> bool:
        """Show whatever the board lacks, up to row `until` at least; False where the disk cannot be read now."""
        try:
            if self._board.row == 0:  # a board that shows something goes on from there, without a gap
                checkpoint = await self._blocking(lambda: self._reader.latest_checkpoint(MAKER))
                if checkpoint:
                    await self._begin_at(checkpoint)
            await self._catch_up(until)
        except DISK_ERRORS as error:
            self._board.outages["disk"] = Outage("disk", f"the log cannot be read: {error}")
            return False
        return True

    async def _begin_at(self, checkpoint: Checkpoint) -> None:
        seq = await self._blocking(lambda: self._reader.seq_at(checkpoint.row))
        try:
            risk = from_plain(checkpoint.states["RiskEngine"], RiskState)
            book = from_plain(checkpoint.states["Executor"]["book"], Book)
            live = from_plain(checkpoint.states["Executor"]["live"], Live)
        except Exception:  # it is only a cache: what cannot be read is folded again
            log.warning("the checkpoint at row %d is of no use to the board", checkpoint.row, exc_info=True)
        else:
            self._board.begin(checkpoint.row, seq, risk, book, live)

    async def receive(self, message: Any) -> None:
        match message:
            case Committed():
                # The log may grow faster than it is read: a message costs no more than what lies before it.
                if message.rows[0].row <= self._board.row + 1 or await self._caught_up(message.rows[0].row - 1):
                    self._board.show((s.row, s.seq, s.body.decode(), s.value) for s in message.rows)
            case OutageChanged():
                before = self._board.outages.get(message.what)
                self._board.outages[message.what] = message.outage
                if message.outage is None and before is not None:
                    await self._caught_up()
            case GuardSeen():
                self._board.guard = message.status
            case _:
                raise TypeError(f"the Broadcaster does not take {message!r}")

    async def _catch_up(self, until: float) -> None:
        while self._board.row < until and (
            found := await self._blocking(lambda: self._reader.rows(self._board.row, READ_ROWS))
        ):
            self._board.show(
                (row, seq, body, decode_row(body) if kind in _FOLDED else None) for row, seq, kind, body in found
            )
