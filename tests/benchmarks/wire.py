"""A client that costs next to nothing: it counts the stream's frames and notes when they came.

`python -m tests.benchmarks.wire PORT CLIENTS SINCE [UNTIL]` opens so many connections (SINCE `-`: from the next event
on), says `ready`, and ends when each has had event UNTIL or was closed; UNTIL may also come as a line on standard
input. What it prints then is a `Heard` as JSON.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
from time import monotonic

RECEIVE = 2**18
TEXT, CLOSE, PING = 0x81, 0x88, 0x89
PONG = bytes((0x8A, 0x80, 0, 0, 0, 0))


class Stream:
    """One connection. `stamps` are (when, the last seq that had come by then)."""

    def __init__(self, port: int, since: str) -> None:
        query = "" if since == "-" else f"?since={since}"
        self.opened = monotonic()
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(
            f"GET /ws/agents/current{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        self.stamps: list[tuple[float, int]] = []
        self.seq = -1 if since == "-" else int(since)
        self.closed = 0
        self._rest = b""
        while b"\r\n\r\n" not in self._rest:
            self._rest += self.socket.recv(RECEIVE) or sys.exit("the server hung up")
        head, self._rest = self._rest.split(b"\r\n\r\n", 1)
        if b" 101 " not in head:
            sys.exit(f"no stream: {head.decode()}")
        self._take(b"")

    def receive(self) -> None:
        data = self.socket.recv(RECEIVE)
        if not data:
            self.closed = self.closed or 1006
        self._take(data)

    def _take(self, data: bytes) -> None:
        now, buffer, at, frames, last = monotonic(), self._rest + data, 0, 0, (0, 0)
        while len(buffer) - at >= 2:
            kind, length, begin = buffer[at], buffer[at + 1], at + 2
            if length == 126:
                length, begin = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, begin = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if begin + length > len(buffer):
                break
            at = begin + length
            if kind == TEXT:
                frames += 1
                last = (begin, at)
            elif kind == CLOSE:
                self.closed = int.from_bytes(buffer[begin : begin + 2], "big")
            elif kind == PING and length == 0:
                self.socket.sendall(PONG)
        if frames:
            self._count(frames, buffer[slice(*last)], now)
        self._rest = buffer[at:]

    def _count(self, frames: int, last: bytes, now: float) -> None:
        """The last frame's own seq must be what counting says: so none was lost or repeated."""
        seq = json.loads(last)["seq"]
        if self.seq >= 0 and seq != self.seq + frames:
            sys.exit(f"seq {seq} came {frames} frames after {self.seq}")
        self.seq = seq
        self.stamps.append((now, seq))


def listen(streams: list[Stream], until: float) -> None:
    """Receive until each stream has had event `until` or was closed."""
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        for stream in streams:
            selector.register(stream.socket, selectors.EVENT_READ, stream)
        waiting = {stream for stream in streams if stream.seq < until}
        while waiting:
            for key, _ in selector.select():
                stream = key.data
                if stream is None:
                    if line := os.read(0, 64):
                        until = int(line)
                        waiting = {stream for stream in waiting if stream.seq < until}
                    else:
                        selector.unregister(0)
                    continue
                stream.receive()
                if stream.closed:
                    selector.unregister(stream.socket)
                if stream.closed or stream.seq >= until:
                    waiting.discard(stream)


def main(port: str, clients: str, since: str, until: str = "inf") -> None:
    streams = [Stream(int(port), since) for _ in range(int(clients))]
    print("ready", flush=True)
    listen(streams, float(until))
    heard = [{"opened": s.opened, "closed": s.closed, "stamps": s.stamps} for s in streams]
    print(json.dumps(heard), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
