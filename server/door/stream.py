"""The stream: the log's tail, from any point of it, at each client's own pace.

A client costs a cursor, not a buffer: frames come from the board, which all clients share, or from the log.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import trio
from quart import websocket
from quart_trio import QuartTrio

from actors.broadcaster.board import Board
from actors.journal.store import DISK_ERRORS, LogReader
from actors.ports import Blocking
from server.door.desk import Door, Listener
from server.door.gate import SUBPROTOCOL

FRAMES: Final = 500  # taken at a time
CLOSE_SECONDS: Final = 1.0  # what a client has at shutdown to take the last frames

GOING_AWAY, TRY_AGAIN, BAD_REQUEST, NO_TOKEN, NO_AGENT = 1001, 1013, 4400, 4401, 4404
UNREADABLE: Final = "the log cannot be read: come back with since"


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


def add_stream(app: QuartTrio, door: Door) -> None:
    @app.websocket("/ws/agents/<id>")
    async def stream(id: str) -> None:
        if not websocket.scope.get("forestay.token", True):
            await _refuse(door, NO_TOKEN, "token missing or wrong")
        elif id not in (door.agent, "current"):
            await _refuse(door, NO_AGENT, f"no agent {id[:60]}")
        else:
            await _told(door, websocket.args.get("since"))

    @app.websocket("/<path:_>")
    async def nothing(_: str) -> None:
        await _refuse(door, NO_AGENT, "there is no stream here")

    @app.websocket("/")
    async def root() -> None:
        await nothing("")


async def _accept(door: Door, since: int = 0) -> None:
    """Upgrade. The handshake names the log, so that a client notices another one before the first frame."""
    await door.board.ready.wait()
    offered = websocket.requested_subprotocols
    headers = {"X-Log-Id": door.log_id, "X-Last-Seq": str(max(door.board.seq, since))}
    await websocket.accept(headers=headers, subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)


async def _refuse(door: Door, code: int, reason: str) -> None:
    """Close with a code of ours, which only an upgraded connection can carry."""
    await _accept(door)
    await websocket.close(code, reason)


async def _told(door: Door, text: str | None) -> None:
    try:
        since = await _since(door, text)
    except DISK_ERRORS:
        await _refuse(door, TRY_AGAIN, UNREADABLE)
        return
    if since is None:
        await _refuse(door, BAD_REQUEST, "since must be a seq that the log has reached")
        return
    await _accept(door, since)  # only now: what is committed after the handshake is heard
    await _push(door, since)


async def _since(door: Door, text: str | None) -> int | None:
    """The seq to follow; None where `text` is none. Without one, what is committed from now on.

    The board may lag behind the log, and a client that catches up reads the log: so the log decides what is reached.
    """
    if text is None:
        return (await door.reading(door.reader.head)).seq
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        return None
    seq = int(text)
    return seq if seq <= door.board.seq or seq <= (await door.reading(door.reader.head)).seq else None


async def _push(door: Door, since: int) -> None:
    """Frames until the client leaves, is too slow, or the daemon stops."""
    code, reason = GOING_AWAY, "the daemon stops"
    listener = Listener(since)
    async with trio.open_nursery() as nursery:

        async def out_of_time() -> None:
            await door.stopping.wait()
            nursery.cancel_scope.deadline = trio.current_time() + CLOSE_SECONDS

        nursery.start_soon(out_of_time)
        door.listeners.add(listener)
        try:
            async with aclosing(follow(door.board, door.reader, door.reading, since)) as news:
                async for frames in news:
                    for frame in frames:
                        await websocket.send(frame)
                    listener.seq += len(frames)
        except Behind:
            code, reason = TRY_AGAIN, "too slow: come back with since"
        except DISK_ERRORS:
            code, reason = TRY_AGAIN, UNREADABLE
        finally:
            door.listeners.remove(listener)
        nursery.cancel_scope.cancel()
    await websocket.close(code, reason)
