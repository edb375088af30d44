"""The Journal: the one writer of the log. It accepts and orders at once, commits in groups, and only then announces.

Accepting gives a turn's rows their places, and deciding may run ahead on that, at most PENDING_ROWS rows; acting and
showing wait for the commit. A disk that does not take writes is a state, not a death: nothing further is accepted, what
was is kept, and the log is reopened and read again until it does.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
import trio

from actors.journal.chain import Head, Sealed, seal
from actors.journal.store import DISK_ERRORS, MAKER, Checkpoint, LogStore
from actors.messages import (
    Append,
    Committed,
    Flush,
    OutageChanged,
    ReadAnchor,
    ReadCheckpoint,
    ReadHealth,
    ReadIncarnation,
    ReadRows,
    SaveCheckpoint,
    Settle,
)
from actors.ports import Blocking
from actors.tower import Actor, Address, MailboxFull
from actors.turn import Turn
from protocol.codec import decode_row
from protocol.errors import Outage
from protocol.events import Row
from protocol.signing import Anchor

log = logging.getLogger("forestay.journal")
T = TypeVar("T")
PENDING_ROWS: Final = 2_000
READ_ROWS: Final = 5_000
COMMIT_PAUSE_SECONDS: Final = 0.01
RETRY_SECONDS: Final = 0.5
SLOW_SECONDS: Final = 5.0  # a commit that takes longer is an outage: what waits for it must not look stuck


class Journal(Actor):
    def __init__(
        self, path: Path, log_id: str, blocking: Blocking, broadcaster: Address, *, vfs: str | None = None
    ) -> None:
        self._open: Callable[[], LogStore] = lambda: LogStore(path, log_id=log_id, vfs=vfs)
        self._log_id = log_id
        self._blocking = blocking
        self._broadcaster = broadcaster
        self._store: LogStore
        self._head: Head  # of what is accepted
        self._turn = Turn()
        self._draft: list[Row] = []
        self._pending: list[Sealed] = []  # accepted, not yet committed
        self._ends: deque[int] = deque()  # the last row of each turn among them
        self._unannounced: list[Sealed] = []
        self._checkpoint: Checkpoint | None = None
        self._outage: Outage | None = None
        self._work = trio.Event()
        self._progress = trio.Event()
        self._waiting = False
        self._begun: float | None = None  # the commit that is under way

    async def restore(self) -> None:
        """Open the log and verify what came after the last checkpoint, before anything is written."""
        await self._reopen()
        while isinstance(outage := await self._reading(self._verified), Outage):
            self._show(outage)
            await trio.sleep(RETRY_SECONDS)
            await self._reopen()
        self._head = self._store.head
        self._show(None)  # an earlier incarnation may have died of it, or in it

    def _verified(self) -> int:
        latest = self._store.latest_checkpoint(MAKER)
        return self._store.verify(latest.row if latest else 0)

    async def receive(self, message: Any) -> Any:
        match message:
            case Append() | Settle() if message.turn.journal is not self:
                return Outage("disk", "the Journal was restarted in the midst of this turn")
            case Append():
                self._append(message.turn, message.rows)
                return None
            case Settle():
                return await self._settle(message)
            case ReadIncarnation():
                return self
            case ReadRows():
                return await self._read(message)
            case ReadCheckpoint():
                return await self._reading(lambda: self._store.latest_checkpoint(MAKER))
            case SaveCheckpoint():
                if message.turn is self._turn:
                    self._checkpoint = Checkpoint(self._head.row, message.states)
                return None
            case ReadHealth():
                return self._outage
            case ReadAnchor():
                return Anchor(self._log_id, self._store.head.row, self._store.head.hash.hex())
            case Flush():
                return await self._flushed()
            case _:
                raise TypeError(f"the Journal does not take {message!r}")

    def _append(self, turn: Turn, rows: tuple[Row, ...]) -> None:
        if turn is not self._turn:
            self._turn, self._draft = turn, []
        self._draft += rows

    async def _settle(self, message: Settle) -> Outage | None:
        self._append(message.turn, message.rows)
        if self._outage is not None:
            return self._outage
        sealed, self._head = seal(self._draft, self._head)
        self._draft = []
        self._pending += sealed
        if sealed:
            self._ends.append(sealed[-1].row)
        message.turn.settled = True
        self._work.set()
        if len(self._pending) > PENDING_ROWS:
            await self._until_pending(PENDING_ROWS)
        return None

    async def _flushed(self) -> Outage | None:
        await self._until_pending(0)
        return self._outage

    async def _until_pending(self, rows: int) -> None:
        """Wait until at most `rows` are uncommitted, or the disk fails."""
        self._waiting = True
        while len(self._pending) > rows and self._outage is None:
            await self._progress.wait()
        self._waiting = False

    async def _read(self, message: ReadRows) -> tuple[int, list[Row]] | Outage:
        """Rows from the disk first; what is accepted but not yet there comes last."""
        committed = self._store.head.row
        if message.after < committed:
            found = await self._reading(lambda: self._store.bodies(message.after, message.kinds, READ_ROWS))
            if isinstance(found, Outage):
                return found
            if found:
                return found[-1][0], [decode_row(body) for _, body in found]
        rest = [s for s in self._pending if s.row > max(message.after, committed) and s.kind in message.kinds]
        return (rest[-1].row if rest else 0), [s.value for s in rest]

    async def _reading(self, read: Callable[[], T]) -> T | Outage:
        """What the disk says. While it is reopened there is no handle to read by, and nobody is kept waiting."""
        try:
            return await self._blocking(read)
        except (*DISK_ERRORS, apsw.ConnectionClosedError) as error:
            return Outage("disk", f"the log cannot be read: {error}")

    async def work(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            await self._commit_all()

    async def _watch(self) -> None:
        """A disk that takes its time is shown as one that fails, until it is done. What holds is told again and again:
        the Broadcaster may have been too busy to hear of it, or have fallen with it."""
        while True:
            await trio.sleep(SLOW_SECONDS / 5)
            slow = self._begun is not None and trio.current_time() - self._begun > SLOW_SECONDS
            if slow and self._outage is None:
                self._fail(Outage("disk", f"the log is not written within {SLOW_SECONDS:.0f} s"))
            else:
                self._show(self._outage)

    async def _commit_all(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._pending:
                await self._commit()
                if not self._waiting:  # nobody needs the next commit at once, so let it grow
                    await trio.sleep(COMMIT_PAUSE_SECONDS)
            # The Broadcaster's mailbox is full: it hears of it as soon as it has room. No commit waits for that, or the
            # oldest floor would wait for the youngest, which may not stand before that commit is done.
            while self._unannounced and not self._pending:
                await trio.sleep(0.01)
                self._announce()

    async def _commit(self) -> None:
        batch, checkpoint = self._whole_turns(), self._checkpoint
        if checkpoint and checkpoint.row > batch[-1].row:
            checkpoint = None
        self._begun = trio.current_time()
        try:
            await self._blocking(lambda: self._store.append(batch, checkpoint, MAKER))
        except DISK_ERRORS as error:
            self._begun = None
            await self._outlast(error)
            return
        self._begun = None
        if checkpoint is self._checkpoint:
            self._checkpoint = None
        if self._outage is not None:
            self._show(None)
        self._committed(batch)

    def _whole_turns(self) -> list[Sealed]:
        """What is committed next: as many turns as PENDING_ROWS rows hold, and one at least. A turn is never split."""
        first = self._pending[0].row
        *_, end = self._ends[0], *takewhile(lambda end: end < first + PENDING_ROWS, self._ends)
        return self._pending[: end - first + 1]

    def _committed(self, batch: list[Sealed]) -> None:
        del self._pending[: len(batch)]
        while self._ends and self._ends[0] <= batch[-1].row:
            self._ends.popleft()
        self._unannounced = [*self._unannounced, *batch][-PENDING_ROWS:]  # rows that are missing it reads from the log
        self._announce()
        self._progress.set()
        self._progress = trio.Event()

    def _announce(self) -> None:
        try:
            self._broadcaster.tell(Committed(tuple(self._unannounced)))
        except MailboxFull:
            return
        self._unannounced = []

    async def _outlast(self, error: Exception) -> None:
        """A write failed. Show it, and after a while reopen and read again: never the same handle. What is still
        pending is committed anew; the outage ends with the commit that succeeds."""
        self._fail(Outage("disk", f"the log cannot be written: {error}"))
        await trio.sleep(RETRY_SECONDS)
        await self._reopen()
        # What failed may still have been written: the log itself knows.
        done = [s for s in self._pending if s.row <= self._store.head.row]
        if done and done[-1].hash != self._store.head.hash:
            raise RuntimeError("the log holds other rows than the ones that were accepted")
        if done:
            self._committed(done)
        if not self._pending:
            self._show(None)

    async def _reopen(self) -> None:
        """Open the log anew, however long the disk refuses it."""
        while True:
            try:
                self.close()
                self._store = await self._blocking(self._open)
            except DISK_ERRORS as error:
                self._show(Outage("disk", f"the log cannot be opened: {error}"))
                await trio.sleep(RETRY_SECONDS)
            else:
                return

    def _fail(self, outage: Outage) -> None:
        """Whoever waits for the disk is told at once."""
        self._show(outage)
        self._progress.set()
        self._progress = trio.Event()

    def close(self) -> None:
        if hasattr(self, "_store"):
            with suppress(*DISK_ERRORS):  # it may have something to tidy up, on a disk that takes nothing
                self._store.close()

    def _show(self, outage: Outage | None) -> None:
        if (outage is None) != (self._outage is None):
            log.warning("%s", outage.reason if outage else "the log can be written again")
        self._outage = outage
        try:
            self._broadcaster.tell(OutageChanged("disk", outage))
        except MailboxFull:
            log.warning("the Broadcaster is too busy to hear of the disk")
