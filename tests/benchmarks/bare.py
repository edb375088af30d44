"""The raw limit of the stream: the same frames out of memory, sent by trio to whoever connects, and nothing else.

`python -m tests.benchmarks.bare LOG FRAMES CLIENTS TOGETHER` says `ready PORT`; when all clients are there, each is
sent the log's first frames, so many TOGETHER in one write.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import trio

from actors.journal.store import LogReader

UPGRADED = b"HTTP/1.1 101 \r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def framed(payload: bytes) -> bytes:
    """A WebSocket text frame, as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 2**16:
        return bytes((0x81, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x81, 127)) + size.to_bytes(8, "big") + payload


class Server:
    def __init__(self, writes: list[bytes], clients: int) -> None:
        self._writes = writes
        self._missing = clients
        self._all_here = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(UPGRADED)
        self._missing -= 1
        if not self._missing:
            self._all_here.set()
        await self._all_here.wait()
        for data in self._writes:
            await stream.send_all(data)
        await trio.sleep_forever()


async def run(server: Server) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
        print("ready", listeners[0].socket.getsockname()[1], flush=True)


def main(log: str, frames: str, clients: str, together: str) -> None:
    found = [framed(frame.encode()) for _, frame in LogReader(Path(log)).frames(0, int(frames))]
    step = int(together)
    writes = [b"".join(found[at : at + step]) for at in range(0, len(found), step)]
    trio.run(run, Server(writes, int(clients)))


if __name__ == "__main__":
    main(*sys.argv[1:])
