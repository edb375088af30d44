"""Simulated connections: bytes between a client and the daemon's real door, in memory and in the order of the seed."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

import trio

ROOM: Final = 2**14  # bytes on their way in one direction, as in a socket's buffers
PORT: Final = 8000


class Pipe:
    """Bytes one way. A sender waits while ROOM bytes are on their way; a cut loses them."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ended = self.cut = False
        self._news = trio.Event()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        while data:
            if self.cut or self._ended:
                raise trio.BrokenResourceError("the connection is cut")
            room = ROOM - len(self._bytes)
            if room > 0:
                self._bytes += data[:room]
                data = data[room:]
                self._wake()
            else:
                await self._news.wait()

    async def receive(self) -> bytes:
        """What has arrived, b"" at the end."""
        await trio.lowlevel.checkpoint()
        while not self._bytes and not self._ended:
            if self.cut:
                raise trio.BrokenResourceError("the connection is cut")
            await self._news.wait()
        data = bytes(self._bytes)
        self._bytes.clear()
        self._wake()
        return data

    def end(self) -> None:
        self._ended = True
        self._wake()

    def break_off(self) -> None:
        """Cut: what is on its way is lost, both ends notice."""
        self._bytes.clear()
        self.cut = True
        self._wake()


class Connection:
    """Both ways between a client and the door."""

    def __init__(self) -> None:
        self.up, self.down = Pipe(), Pipe()

    def cut(self) -> None:
        self.up.break_off()
        self.down.break_off()


class DoorStream(trio.abc.HalfCloseableStream):
    """The door's end, with as much of a socket as the bulkhead asks of one. `on_bytes` is called with
    each write before its first byte is on its way to the client."""

    def __init__(self, wire: Connection, on_bytes: Callable[[bytes], None]) -> None:
        self._wire = wire
        self._on_bytes = on_bytes
        self.socket = self

    # the socket's side

    family = socket.AF_INET

    def getpeername(self) -> Any:
        return ("127.0.0.1", 50_000)

    def getsockname(self) -> Any:
        return ("127.0.0.1", PORT)

    def setsockopt(self, *_: Any) -> None:
        pass

    def close(self) -> None:
        self._wire.cut()

    # the stream's side

    async def send_all(self, data: Any) -> None:
        self._on_bytes(bytes(data))
        await self._wire.down.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._wire.up.receive()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._wire.down.end()

    async def aclose(self) -> None:
        self._wire.cut()
        await trio.lowlevel.checkpoint()


class Listener(trio.abc.Listener[DoorStream]):
    """Where the door of one life waits for clients. Once closed it refuses, and every connection is cut."""

    def __init__(self, on_bytes: Callable[[bytes], None]) -> None:
        self._on_bytes = on_bytes
        self._wires: list[Connection] = []
        self._to_accept, self._arriving = trio.open_memory_channel[Connection](1000)
        self.open = True

    def connect(self) -> Connection:
        """Raises OSError where nobody listens."""
        if not self.open:
            raise ConnectionRefusedError
        wire = Connection()
        self._wires.append(wire)
        self._to_accept.send_nowait(wire)
        return wire

    async def accept(self) -> DoorStream:
        return DoorStream(await self._arriving.receive(), self._on_bytes)

    def cut(self) -> None:
        """The process is gone."""
        self.open = False
        for wire in self._wires:
            wire.cut()

    async def aclose(self) -> None:
        self.open = False
        await trio.lowlevel.checkpoint()
