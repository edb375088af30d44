"""Those outside: clients that follow the stream and resume, and an owner who changes the config. They know the wire's
description and nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any, Final

import h11
import trio
from attrs import Factory, define, field, frozen
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Pong, RejectConnection, Request, TextMessage
from wsproto.utilities import RemoteProtocolError

from tests.simulation.wires import PORT, Connection

HOST: Final = f"127.0.0.1:{PORT}"
RETRY_SECONDS: Final = 0.3
ANSWER_SECONDS: Final = 8.0
STALL_SECONDS: Final = 20.0  # at most: one who reads nothing
SLOW_SECONDS: Final = 60.0  # at most: one who takes what a socket holds every SIP_SECONDS, too often to be given up
SIP_SECONDS: Final = 1.0
MOMENT_SECONDS: Final = 0.01  # in which whoever has something for a client sends it
GARBAGE: Final = (
    b"\x00",
    b"\xff" * 40,
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x81\x7f" + b"\xff" * 8,
    b"POST /agents HTTP/1.1\r\n",
)
SEQ: Final = re.compile(r'"seq":(\d+)')
Connect = Callable[[], Connection]  # raises OSError where nobody listens


class Left(Exception):
    """The connection is over."""


@define
class Manners:
    """How a client behaves: chances per frame heard."""

    leaves: float = 0.0
    stalls: float = 0.0
    babbles: float = 0.0


@frozen
class Way:
    """What may be on its way to a client: `bytes` in buffers, and `frames` that are taken from the board and not in
    them; further behind than `kept` frames, one that had caught up is dropped."""

    bytes: int
    frames: int
    kept: int


@define
class Lag:
    """How far behind a client is on one connection, by what it has heard and what was shown by then."""

    way: Way
    accepted: bool = False
    caught_up: bool = False
    _bytes: int = 0  # of frames heard
    _heard: deque[tuple[int, int]] = Factory(deque)  # so many bytes, when the stream stood at
    _end: int | None = None  # the last seq that it may be told here

    def is_borne(self, frame: str, seq: int, shown: int) -> bool:
        """Is it told this frame, though by now the connection should have ended? What was on its way when it was too
        far behind has arrived by then."""
        self._bytes += len(frame)
        while self._heard and self._bytes - self._heard[0][0] > self.way.bytes:
            last = seq + self.way.frames
            if self._heard.popleft()[1] > last + self.way.kept:
                self._end = min(last, self._end or last)
        if self.caught_up:
            self._heard.append((self._bytes, shown))
        return self._end is not None and seq > self._end


@define(eq=False)
class Follower:
    """Follows the stream from the first event, resuming by `since`, and keeps every frame as it came. `shown` tells how
    far the stream is."""

    connect: Connect
    random: Random
    manners: Manners
    complain: Callable[[str, str], None]  # a statement, and what was seen against it
    marks: Counter[str]
    shown: Callable[[], int]
    way: Way
    frames: list[str] = Factory(list)
    ts: str = ""
    log_id: str | None = None
    lag: Lag = field(init=False)  # on this connection
    slow_until: float = 0.0

    @property
    def seq(self) -> int:
        return len(self.frames)

    async def run(self) -> None:
        while True:
            try:
                wire = self.connect()
            except OSError:
                pass
            else:
                try:
                    await self._follow(wire)
                except (Left, RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
                finally:
                    wire.cut()
            await trio.sleep(RETRY_SECONDS * (0.5 + self.random.random()))

    async def _follow(self, wire: Connection) -> None:
        ws = WSConnection(ConnectionType.CLIENT)
        target = f"/ws/agents/current?since={self.seq}"
        await wire.up.send(ws.send(Request(host=HOST, target=target)))
        part, self.lag = "", Lag(self.way)
        if self.seq:
            self.marks["client resumed"] += 1
        while True:
            ws.receive_data(await self._receive(wire) or None)
            for event in ws.events():
                match event:
                    case AcceptConnection():
                        self._meet(dict(event.extra_headers))
                    case RejectConnection():
                        raise Left
                    case TextMessage():
                        part += event.data
                        if event.message_finished:
                            self._hear(part)
                            part = ""
                            await self._behave(wire)
                    case Ping():
                        await wire.up.send(ws.send(Pong(event.payload)))
                    case CloseConnection():
                        self._closed(event.code)

    def _meet(self, headers: dict[bytes, bytes]) -> None:
        self.lag.accepted = True
        log_id = headers.get(b"x-log-id", b"").decode()
        if self.log_id not in (None, log_id):
            self.complain("11", f"the log {self.log_id} became {log_id}")
        self.log_id = log_id

    def _hear(self, frame: str) -> None:
        message = json.loads(frame)
        if message["seq"] != self.seq + 1:
            self.complain("11", f"seq {message['seq']} came after {self.seq}")
            raise Left
        if message["ts"] < self.ts:
            self.complain("9", f"time ran back from {self.ts} to {message['ts']} at seq {message['seq']}")
        self.frames.append(frame)
        self.ts = message["ts"]
        self.lag.caught_up |= self.seq == self.shown()
        if self.lag.is_borne(frame, self.seq, self.shown()):
            self.complain("15", f"seq {self.seq} is told to a client that had caught up and is too far behind")
            raise Left

    async def _behave(self, wire: Connection) -> None:
        if self.manners.leaves and self.random.random() < self.manners.leaves:
            self.marks["client left"] += 1
            raise Left
        if self.manners.babbles and self.random.random() < self.manners.babbles:
            self.marks["client sent garbage"] += 1
            await wire.up.send(self.random.choice(GARBAGE))
        if self.manners.stalls and self.random.random() < self.manners.stalls:
            self.marks["client stopped reading"] += 1
            if self.random.random() < 0.5:
                await trio.sleep(STALL_SECONDS * self.random.random())
            else:
                self.slow_until = trio.current_time() + SLOW_SECONDS * self.random.random()

    async def _receive(self, wire: Connection) -> bytes:
        """What comes next. Who is slow is so only once it has caught up: before that it may fall as far behind as it
        likes."""
        if self.lag.caught_up and trio.current_time() < self.slow_until:
            await trio.sleep(SIP_SECONDS)
        with trio.move_on_after(MOMENT_SECONDS):
            return await wire.down.receive()
        self.lag.caught_up |= self.lag.accepted and self.seq == self.shown()
        return await wire.down.receive()

    def _closed(self, code: int) -> None:
        if code == 1013:
            self.marks["slow client dropped"] += 1
        elif code not in (1000, 1001, 1002, 1003, 1006, 1007, 1009):
            self.complain("11", f"closed with {code} after seq {self.seq}")
        raise Left


async def first_heard(connect: Connect, seconds: float) -> int | None:
    """The seq of the first frame that a client hears who asks for nothing older than itself; None within so long."""
    ws, wire = WSConnection(ConnectionType.CLIENT), connect()
    try:
        with trio.move_on_after(seconds):
            await wire.up.send(ws.send(Request(host=HOST, target="/ws/agents/current")))
            while True:
                ws.receive_data(await wire.down.receive() or None)
                for event in ws.events():
                    if isinstance(event, TextMessage):
                        return int(SEQ.search(event.data)[1])  # type: ignore[index]
                    if isinstance(event, (CloseConnection, RejectConnection)):
                        return None
    except (RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        wire.cut()
    return None


class NoAnswer(Exception):
    """The connection ended, or time ran out, before the answer was whole: what was asked may be done or not."""


async def request(
    connect: Connect, method: str, path: str, body: Any = None, *, within: float = ANSWER_SECONDS
) -> tuple[int, Any, dict[str, str]]:
    """One request on a connection of its own: status, JSON, headers. Raises NoAnswer, and OSError where nobody
    listens."""
    wire = connect()
    try:
        with trio.move_on_after(within):
            return await _exchange(wire, method, path, body)
    except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
        pass
    finally:
        wire.cut()
    raise NoAnswer(path)


async def _exchange(wire: Connection, method: str, path: str, body: Any) -> tuple[int, Any, dict[str, str]]:
    http = h11.Connection(h11.CLIENT)
    content = b"" if body is None else json.dumps(body).encode()
    headers = [("Host", HOST), ("Connection", "close")]
    if body is not None:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    words = [http.send(h11.Request(method=method, target=path, headers=headers))]
    words += [http.send(h11.Data(data=content))] if content else []
    words.append(http.send(h11.EndOfMessage()))
    await wire.up.send(b"".join(word or b"" for word in words))
    status, told, answer = 0, dict[str, str](), b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await wire.down.receive())
        elif isinstance(event, h11.Response):
            status, told = event.status_code, {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            answer += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, json.loads(answer) if answer else None, told
        else:
            raise trio.BrokenResourceError("no answer")
