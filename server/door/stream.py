"""The stream: the log's tail, from any point of it, at each client's own pace.

A client costs a cursor, not a buffer: frames come from the board, which all clients share, or from the log.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from actors.broadcaster.board import Board
from actors.journal.store import LogReader
from actors.ports import Blocking

FRAMES: Final = 500  # taken at a time


class Behind(Exception):
    """A client that had caught up fell further behind than the board reaches."""


async def follow(board: Board, reader: LogReader, reading: Blocking, since: int) -> AsyncGenerator[list[str], None]:
    """Every frame after `since`, in order, without gap or repeat; ends when the board is closed and all is told.

    Catching up reads the log as slowly as the client likes. Raises Behind when it had caught up and then fell behind.
    """
    cursor, caught_up = since, False
    while True:
        frames = board.frames_after(cursor, FRAMES)
        if frames is None:
            if caught_up:
                raise Behind
            frames = [frame for _, frame in await reading(lambda after=cursor: reader.frames(after, FRAMES))]  # type: ignore[misc]
        if frames:
            cursor += len(frames)
            yield frames
            continue
        caught_up = True
        if board.closed:
            return
        await board.news()
