"""One bad connection costs one connection: real sockets, a real app, and what hostile clients send."""

import inspect
import logging
import math
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.testing
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import Handshake, WebsocketBuffer, WSStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from quart import Response, request, websocket
from quart_trio import QuartTrio
from trio_websocket import WebSocketConnection, open_websocket_url

from server import bulkhead

pytestmark = pytest.mark.trio

PATIENCE = 20  # bounds a hang; nothing here is expected to take long
HARD_RESET = struct.pack("ii", 1, 0)


@dataclass
class World:
    """A running server, its app, and what the app lets the tests see and do."""

    app: QuartTrio
    asgi: Any = None  # around the app
    port: int = 0
    stop: trio.Event = field(default_factory=trio.Event)
    returned: trio.Event = field(default_factory=trio.Event)
    pushers: set[trio.MemorySendChannel[str]] = field(default_factory=set)
    handler_left: trio.Event = field(default_factory=trio.Event)
    poured: bool = False

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        self.port = listener.getsockname()[1]
        try:
            listening = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
            await bulkhead.serve(self.asgi or self.app, listening, stop=self.stop, task_status=task_status)
        finally:
            listener.close()
            self.returned.set()

    def tell(self, line: str) -> None:
        for pusher in self.pushers:
            pusher.send_nowait(line)

    async def client(self, receive_buffer: int | None = None) -> trio.SocketStream:
        sock = trio.socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await sock.connect(("127.0.0.1", self.port))
        return trio.SocketStream(sock)

    async def get(self, path: str = "/ping") -> bytes:
        async with await self.client() as stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return await until_closed(stream)


def new_world() -> World:
    app = QuartTrio("bulkhead")
    world = World(app)

    @app.get("/ping")
    async def ping() -> str:
        return "pong"

    @app.post("/echo")
    async def echo() -> Response:
        return Response(await request.get_data())

    @app.get("/nursery")
    async def nursery() -> str:
        return type(app.nursery).__name__

    async def drain() -> None:
        while True:
            await websocket.receive()

    async def push(told: trio.MemoryReceiveChannel[str]) -> None:
        async for line in told:
            await websocket.send(line)

    @app.websocket("/ws")
    async def ws() -> None:
        tell, told = trio.open_memory_channel[str](math.inf)
        world.pushers.add(tell)
        try:
            await websocket.accept()
            async with trio.open_nursery() as tasks:
                tasks.start_soon(drain)
                tasks.start_soon(push, told)
                await world.stop.wait()
                tasks.cancel_scope.cancel()
            await websocket.close(1001)
        finally:
            world.pushers.discard(tell)

    @app.websocket("/deaf")
    async def deaf() -> None:
        """Accepts, and then neither reads nor writes."""
        await websocket.accept()
        try:
            await trio.sleep_forever()
        finally:
            world.handler_left.set()

    @app.websocket("/flood")
    async def flood() -> None:
        try:
            while True:
                await websocket.send("x" * 2**16)
        finally:
            world.handler_left.set()

    @app.websocket("/pour")
    async def pour() -> None:
        """Not without an end, in case nobody makes it wait."""
        for _ in range(2000):
            await websocket.send("x" * 2**16)
        world.poured = True

    return world


@asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    """The server; in the end it must still be running, and it must stop."""
    with trio.fail_after(3 * PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(world.serve)
            yield world
            assert world.stop.is_set() or not world.returned.is_set()
            world.stop.set()
            with trio.fail_after(PATIENCE):
                await world.returned.wait()


async def until_closed(stream: trio.SocketStream) -> bytes:
    """What the server sends until it closes; a reset is one way to close."""
    data = bytearray()
    with trio.fail_after(PATIENCE):
        try:
            while chunk := await stream.receive_some(2**16):
                data += chunk
        except trio.BrokenResourceError:
            pass
    return bytes(data)


def upgrade(path: str = "/ws", extra: str = "", version: str = "13") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: {version}\r\n{extra}\r\n"
    ).encode()


def frame(first: int, payload: bytes = b"", *, mask: bool = True, length: bytes | None = None) -> bytes:
    """A raw WebSocket frame; its mask is zero, which leaves the payload as it is."""
    size = len(payload)
    field_ = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size)
    if length is not None:
        field_ = length
    head = bytes([field_[0] | (0x80 if mask else 0)]) + field_[1:]
    return bytes([first]) + head + (b"\0\0\0\0" if mask else b"") + payload


ANSWER = object()  # wait until the server has sent something
RESET = object()  # leave with a reset instead of a FIN

GET = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H2C = (
    b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
)

HOSTILE: dict[str, list[Any]] = {
    "nothing at all": [],
    "nothing, then a reset": [RESET],
    "a byte right behind an upgrade": [upgrade() + b"\x00"],
    "a frame right behind an upgrade": [upgrade() + frame(0x81, b"hi")],
    "a frame right behind an upgrade to nowhere": [upgrade("/nowhere") + frame(0x81, b"hi")],
    "a frame after a refused upgrade": [upgrade("/nowhere"), ANSWER, frame(0x81, b"hi")],
    "many frames after a refused upgrade": [upgrade("/nowhere"), ANSWER, frame(0x81, b"hi") * 50],
    "a byte at a time behind an upgrade": [upgrade(), b"a", b"b", b"c"],
    "an upgrade, then a reset": [upgrade(), RESET],
    "an upgrade accepted, then a reset": [upgrade(), ANSWER, RESET],
    "an upgrade of an unknown version": [upgrade(version="99"), ANSWER, frame(0x81, b"hi")],
    "an upgrade without a key": [
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + b"\x00"
    ],
    "an upgrade under HTTP/1.0": [upgrade().replace(b"HTTP/1.1", b"HTTP/1.0") + b"\x00"],
    "an upgrade with a body": [upgrade(extra="Content-Length: 5\r\n") + b"hello"],
    "an upgrade with a chunked body": [
        upgrade(extra="Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\n0\r\n\r\n",
    ],
    "an upgrade by POST": [upgrade().replace(b"GET", b"POST") + b"\x00"],
    "an upgrade of a path that is only HTTP": [upgrade("/ping"), ANSWER, b"\x00"],
    "an upgrade with a protocol in Latin-1": [
        upgrade(extra="Sec-WebSocket-Protocol: X\r\n").replace(b": X\r", b": \xe9\r")
    ],
    "an upgrade with extensions in Latin-1": [
        upgrade(extra="Sec-WebSocket-Extensions: X\r\n").replace(b": X\r", b": \xe9\r")
    ],
    "an upgrade with broken extension parameters": [
        upgrade(extra="Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=999;;=\r\n")
    ],
    "invalid UTF-8": [upgrade(), ANSWER, frame(0x81, b"\xff\xfe")],
    "invalid UTF-8 across fragments": [upgrade(), ANSWER, frame(0x01, b"\xc3"), frame(0x80, b"\x28")],
    "a reserved opcode": [upgrade(), ANSWER, frame(0x83, b"x")],
    "a reserved control opcode": [upgrade(), ANSWER, frame(0x8B, b"x")],
    "reserved bits": [upgrade(), ANSWER, frame(0xF1, b"x")],
    "a compressed frame that was not agreed": [upgrade(), ANSWER, frame(0xC1, b"\xf2H\xcd\xc9\xc9\x07\x00")],
    "a fragmented ping": [upgrade(), ANSWER, frame(0x09, b"x"), frame(0x80, b"y")],
    "a ping too long": [upgrade(), ANSWER, frame(0x89, b"x" * 126)],
    "a continuation of nothing": [upgrade(), ANSWER, frame(0x80, b"x")],
    "a message inside a message": [upgrade(), ANSWER, frame(0x01, b"x"), frame(0x81, b"y")],
    "a frame without a mask": [upgrade(), ANSWER, frame(0x81, b"hi", mask=False)],
    "a huge length": [upgrade(), ANSWER, frame(0x82, b"x" * 100, length=b"\x7f\x7f" + b"\xff" * 7)],
    "a negative length": [upgrade(), ANSWER, frame(0x82, b"x" * 100, length=b"\x7f" + b"\xff" * 8)],
    "a length not in its shortest form": [upgrade(), ANSWER, frame(0x82, b"x", length=b"\x7e\x00\x01")],
    "a message too long": [
        upgrade(),
        ANSWER,
        frame(0x82, b"x" * 60000, mask=True),
        frame(0x02, b"x" * 60000) * 2,
    ],
    "a thousand pings, no pong read": [upgrade(), ANSWER, frame(0x89, b"x" * 125) * 1000],
    "a close with one byte": [upgrade(), ANSWER, frame(0x88, b"\x03")],
    "a close with a reserved code": [upgrade(), ANSWER, frame(0x88, struct.pack("!H", 1005))],
    "a close with a reason that is not UTF-8": [upgrade(), ANSWER, frame(0x88, b"\x03\xe8\xff")],
    "two closes": [upgrade(), ANSWER, frame(0x88, b"\x03\xe8") * 2],
    "a close and then more": [upgrade(), ANSWER, frame(0x88, b"\x03\xe8"), frame(0x81, b"x") * 3],
    "half a frame, then a reset": [upgrade(), ANSWER, frame(0x81, b"hi")[:5], RESET],
    "HTTP inside a WebSocket": [upgrade(), ANSWER, GET],
    "garbage": [b"\x00\xff\x17\x99garbage\r\n\r\n"],
    "a TLS hello": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)],
    "empty lines": [b"\r\n" * 2000],
    "half a request line, then a reset": [b"GET /pi", RESET],
    "a request line without a version": [b"GET /ping\r\n\r\n"],
    "HTTP/9.9": [b"GET /ping HTTP/9.9\r\nHost: x\r\n\r\n"],
    "no host": [b"GET /ping HTTP/1.1\r\n\r\n"],
    "two hosts": [b"GET /ping HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"],
    "an empty path": [b"GET ?x=1 HTTP/1.1\r\nHost: x\r\n\r\n"],
    "an absolute target that is no URL": [b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n"],
    "CONNECT": [b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n" + b"\x00" * 10],
    "OPTIONS *": [b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"],
    "a path that is not UTF-8": [b"GET /%ff%fe%00 HTTP/1.1\r\nHost: x\r\n\r\n"],
    "a query that is not UTF-8": [b"GET /ping?%ff=%fe&&&== HTTP/1.1\r\nHost: x\r\n\r\n"],
    "raw bytes in the target": [b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n"],
    "a host that is no host": [b"GET /ping HTTP/1.1\r\nHost: [::1\xff]:99999\r\n\r\n"],
    "a header too large": [b"GET /ping HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000],
    "headers too many": [b"GET /ping HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 40_000],
    "a header without a name": [b"GET /ping HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n"],
    "a header folded": [b"GET /ping HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n"],
    "a null in a header": [b"GET /ping HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n"],
    "a length that is no number": [POST + b"Content-Length: nine\r\n\r\n"],
    "a length that is negative": [POST + b"Content-Length: -1\r\n\r\n"],
    "a length with 5,000 digits": [POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"],
    "two lengths": [POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
    "a length and chunks": [POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    "an unknown transfer encoding": [POST + b"Transfer-Encoding: gzip\r\n\r\n"],
    "chunks that are garbage": [CHUNKED + b"zz\r\nhello\r\n"],
    "a chunk shorter than it says": [CHUNKED + b"5\r\nhel\r\n0\r\n\r\n"],
    "a chunk of endless length": [CHUNKED + b"f" * 20_000],
    "half a body, then a reset": [POST + b"Content-Length: 100\r\n\r\nhello", RESET],
    "half a body, then a FIN": [POST + b"Content-Length: 100\r\n\r\nhello"],
    "a body that nobody asked for": [b"GET /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123456789"],
    "an expectation that is not kept": [
        POST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        ANSWER,
        RESET,
    ],
    "a request, then garbage": [GET + b"\x00\x01\x02\r\n\r\n"],
    "a hundred requests at once": [GET * 100],
    "a hundred requests at once, then a reset": [GET * 100, RESET],
    "the HTTP/2 preface": [PREFACE],
    "the HTTP/2 preface and garbage": [PREFACE + b"\xff" * 100],
    "the HTTP/2 preface and frames": [
        PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\1\5\0\0\0\1\x82\x84\x86\xff",
    ],
    "half the HTTP/2 preface": [PREFACE[:18]],
    "an upgrade to h2c": [H2C],
    "an upgrade to h2c and garbage": [H2C + b"\xff" * 100],
    "an upgrade to h2c with broken settings": [
        H2C.replace(b"AAMAAABkAAQAAP__", b"!!!!"),
        ANSWER,
        b"\xff" * 30,
    ],
    "an upgrade to two protocols": [upgrade(extra="Upgrade: h2c\r\n") + b"\x00"],
}


async def misbehave(world: World, steps: list[Any], *, leave: bool = True) -> bytes:
    """Play the steps, leave, and read on until the server has closed: then it has taken in all of them."""
    answer = b""
    stream = await world.client()
    async with stream:
        try:
            for step in steps:
                if step is ANSWER:
                    with trio.fail_after(PATIENCE):
                        answer += await stream.receive_some(2**16)
                elif step is RESET:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HARD_RESET)
                    return answer
                else:
                    await stream.send_all(step)
            if leave:
                await stream.send_eof()
        except trio.BrokenResourceError:
            pass  # it did not hear us out
        return answer + await until_closed(stream)


async def send_for_ever(stream: trio.SocketStream, data: bytes, pause: float = 0) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            await stream.send_all(data)
            await trio.sleep(pause)


async def hears(bystander: WebSocketConnection, world: World, line: str) -> None:
    world.tell(line)
    with trio.fail_after(PATIENCE):
        assert await bystander.get_message() == line


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_client_harms_nobody_else(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running(new_world()) as world, open_websocket_url(world.url + "/ws") as bystander:
        for attempt in range(3):
            assert b"Traceback" not in await misbehave(world, HOSTILE[name])
            assert (await world.get()).endswith(b"pong")
            await hears(bystander, world, f"still here {attempt}")
    assert [r for r in caplog.records if r.levelno >= logging.WARNING or r.exc_info] == []


@pytest.mark.parametrize(
    "name",
    [
        "a byte right behind an upgrade",
        "a frame right behind an upgrade",
        "a frame after a refused upgrade",
        "an upgrade of an unknown version",
        "an upgrade with a protocol in Latin-1",
        "invalid UTF-8",
        "a message too long",
        "a close and then more",
        "garbage",
        "HTTP/9.9",
        "an absolute target that is no URL",
        "a header too large",
        "chunks that are garbage",
        "the HTTP/2 preface",
    ],
)
async def test_a_refused_client_is_closed_though_it_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "KEEP_ALIVE_SECONDS", math.inf)
    monkeypatch.setattr(bulkhead, "READ_SECONDS", math.inf)
    async with running(new_world()) as world:
        await misbehave(world, HOSTILE[name], leave=False)


async def test_a_broken_connection_is_logged_once_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "forestay.door")
    async with running(new_world()) as world:
        await misbehave(world, HOSTILE["a byte right behind an upgrade"])
    [record] = [r for r in caplog.records if r.name == "forestay.door"]
    assert record.levelno == logging.INFO
    assert "\n" not in record.getMessage()


async def test_a_client_that_stops_reading_delays_neither_others_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulkhead, "WRITE_SECONDS", 2 * PATIENCE)  # only the end of the grace can free it
    async with running(new_world()) as world:
        stalled = await world.client(receive_buffer=4096)
        await stalled.send_all(upgrade("/ws"))
        await stalled.receive_some(100)
        async with open_websocket_url(world.url + "/ws", max_message_size=2**20) as reader:
            for n in range(200):
                line = f"{n} " + "x" * 2**16
                await hears(reader, world, line)
        assert (await world.get()).endswith(b"pong")
    await stalled.aclose()


async def test_a_client_that_stops_reading_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "WRITE_SECONDS", 0.1)
    async with running(new_world()) as world, await world.client(receive_buffer=4096) as stalled:
        await stalled.send_all(upgrade("/flood"))
        with trio.fail_after(PATIENCE):
            await world.handler_left.wait()
        await until_closed(stalled)


async def test_who_writes_waits_for_the_one_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or all of it would be held in memory."""
    monkeypatch.setattr(bulkhead, "WRITE_SECONDS", 2 * PATIENCE)
    async with running(new_world()) as world:
        stalled = await world.client(receive_buffer=4096)
        await stalled.send_all(upgrade("/pour"))
        await stalled.receive_some(100)
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert not world.poured
    await stalled.aclose()


async def test_cancelling_the_server_does_not_wait_for_a_stalled_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bulkhead, "WRITE_SECONDS", 2 * PATIENCE)
    world = new_world()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(world.serve)
            stalled = await world.client(receive_buffer=4096)
            await stalled.send_all(upgrade("/ws"))
            await stalled.receive_some(100)
            async with open_websocket_url(world.url + "/ws", max_message_size=2**20) as reader:
                for n in range(200):
                    await hears(reader, world, f"{n} " + "x" * 2**16)
            nursery.cancel_scope.cancel()
    await stalled.aclose()


async def test_handlers_that_never_end_are_ended() -> None:
    world = new_world()
    async with AsyncExitStack() as clients:
        async with running(world):
            idle = await clients.enter_async_context(await world.client())
            deaf = await clients.enter_async_context(await world.client())
            await idle.send_all(b"GET /ping HTTP/1.1\r\n")
            await deaf.send_all(upgrade("/deaf"))
            await deaf.receive_some(100)
        await until_closed(idle)
        await until_closed(deaf)


async def test_a_well_behaved_client_gets_1001_on_stop() -> None:
    async with running(new_world()) as world, await world.client() as client:
        await client.send_all(upgrade("/ws"))
        assert b" 101 " in await client.receive_some(100)
        world.stop.set()
        assert (await until_closed(client)).endswith(b"\x88\x02" + struct.pack("!H", 1001))


async def test_a_handler_that_pushes_on_is_ended_when_its_client_leaves() -> None:
    async with running(new_world()) as world:
        async with await world.client() as client:
            await client.send_all(upgrade("/flood"))
            await client.receive_some(100)
        with trio.fail_after(PATIENCE):
            await world.handler_left.wait()


async def test_a_handler_that_never_receives_is_ended_when_its_client_leaves() -> None:
    async with running(new_world()) as world:
        async with await world.client() as client:
            await client.send_all(upgrade("/deaf"))
            await client.receive_some(100)
            with trio.fail_after(PATIENCE):
                await client.send_all(frame(0x81, b"hi") * 1000)
        with trio.fail_after(PATIENCE):
            await world.handler_left.wait()


async def test_an_app_that_answers_without_reading_lets_go_of_the_body() -> None:
    world = new_world()

    async def gate(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            await trio.testing.wait_all_tasks_blocked(0.05)  # until its queue is full
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            world.handler_left.set()
        else:
            await world.app(scope, receive, send)

    world.asgi = gate
    async with running(world), await world.client() as client:
        await client.send_all(POST + b"Content-Length: 3000000\r\n\r\n")
        with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
            await client.send_all(b"x" * 2_900_000)
        with trio.fail_after(PATIENCE):
            await world.handler_left.wait()
        assert (await until_closed(client)).startswith(b"HTTP/1.1 403")


async def test_an_answer_before_the_requests_end_says_that_no_other_request_is_taken() -> None:
    world = new_world()

    async def gate(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"no", "more_body": False})
        else:
            await world.app(scope, receive, send)

    world.asgi = gate
    async with running(world):
        async with await world.client() as client:
            await client.send_all(POST + b"Content-Length: 5\r\n\r\n")
            early = await until_closed(client)
        assert early.startswith(b"HTTP/1.1 403")
        assert b"connection: close\r\n" in early.lower()


async def test_a_message_without_an_end_is_cut_off() -> None:
    async with running(new_world()) as world, await world.client() as client:
        await client.send_all(upgrade("/ws"))
        await client.receive_some(1000)
        await client.send_all(frame(0x02, b"x" * 60_000))
        with pytest.raises(trio.BrokenResourceError):
            await send_for_ever(client, frame(0x00, b"x" * 60_000))


async def test_an_offer_to_compress_is_not_taken_up() -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    async with running(new_world()) as world, await world.client() as client:
        await client.send_all(upgrade("/ws", offer))
        head = await client.receive_some(2**16)
        assert head.startswith(b"HTTP/1.1 101")
        assert b"extensions" not in head.lower()


async def test_http_2_is_refused_and_an_offer_of_it_ignored() -> None:
    async with running(new_world()) as world:
        assert (await misbehave(world, [PREFACE])).startswith(b"HTTP/1.1 505")
        async with await world.client() as client:
            await client.send_all(H2C.replace(b"Upgrade,", b"close, Upgrade,"))
            answer = await until_closed(client)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"pong")


async def test_answers_do_not_say_what_serves_them() -> None:
    async with running(new_world()) as world:
        head = (await world.get()).lower()
    assert b"server:" not in head
    assert b"date:" not in head


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with running(new_world()) as world, await world.client() as client:
        for _ in range(3):
            answer = b""
            await client.send_all(POST + b"Content-Length: 5\r\n\r\nhello")
            with trio.fail_after(PATIENCE):
                while not answer.endswith(b"hello"):
                    answer += await client.receive_some(2**16)
            assert b"connection: close" not in answer.lower()


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "KEEP_ALIVE_SECONDS", 0.1)
    async with running(new_world()) as world, await world.client() as client:
        await client.send_all(GET)
        assert (await until_closed(client)).endswith(b"pong")


async def test_a_head_that_trickles_in_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "KEEP_ALIVE_SECONDS", 0.2)
    async with running(new_world()) as world, await world.client() as client:
        await client.send_all(GET[:-2])
        with pytest.raises(trio.BrokenResourceError):
            await send_for_ever(client, b"X: y\r\n", pause=0.01)


async def test_a_peer_that_answers_no_ping_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "READ_SECONDS", 0.5)
    monkeypatch.setattr(bulkhead.CONFIG, "websocket_ping_interval", 0.1)
    async with running(new_world()) as world, await world.client() as client:
        await client.send_all(upgrade("/ws"))
        assert b"\x89\x00" in await until_closed(client)  # the ping it got


async def test_only_so_many_connections_are_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "MAX_CONNECTIONS", 3)
    async with running(new_world()) as world:
        async with open_websocket_url(world.url + "/ws"), open_websocket_url(world.url + "/ws"):
            assert (await world.get()).endswith(b"pong")
            async with open_websocket_url(world.url + "/ws"), await world.client() as one_too_many:
                assert await until_closed(one_too_many) == b""
        for _ in range(20):  # none of these leaves anything behind
            async with open_websocket_url(world.url + "/ws"):
                pass
        assert (await world.get()).endswith(b"pong")


async def test_the_app_is_started_and_shut_down() -> None:
    world = new_world()
    ended = trio.Event()

    @world.app.after_serving
    async def after() -> None:
        ended.set()

    async with running(world):
        assert (await world.get("/nursery")).endswith(b"Nursery")
    assert ended.is_set()


async def test_an_app_that_cannot_start_fails_the_server() -> None:
    world = new_world()

    @world.app.before_serving
    async def before() -> None:
        raise RuntimeError("no")

    with pytest.raises(BaseExceptionGroup) as caught:
        await world.serve()
    assert "Lifespan failure" in repr(caught.value)


async def test_an_app_that_fails_answers_500_and_says_so_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    world = new_world()

    async def gate(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/broken":
            raise ZeroDivisionError("secret")
        await world.app(scope, receive, send)

    world.asgi = gate
    async with running(world):
        answer = await world.get("/broken")
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"secret" not in answer
    assert "ZeroDivisionError: secret" in caplog.text


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
async def test_an_end_of_the_process_is_not_held_up(end: type[BaseException]) -> None:
    world = new_world()

    @world.app.get("/end")
    async def end_all() -> str:
        raise end

    async def serve_and_end() -> None:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                await nursery.start(world.serve)
                await world.get("/end")

    with pytest.raises(BaseExceptionGroup) as caught:
        await serve_and_end()
    assert caught.value.subgroup(end) is not None


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


async def test_what_is_overridden_or_used_of_hypercorn_is_there() -> None:
    expected = "self app config context task_group connection_state ssl client server send"
    assert parameters(H11Protocol.__init__) == expected.split()
    assert parameters(H11Protocol.handle) == ["self", "event"]
    assert parameters(H11Protocol.stream_send) == ["self", "event"]
    assert parameters(H11Protocol._check_protocol) == ["self", "event"]
    assert parameters(H11Protocol._create_stream) == ["self", "request"]
    assert parameters(H11Protocol._send_error_response) == ["self", "status_code"]
    assert parameters(ASGIWrapper) == ["app"]
    assert parameters(Lifespan) == ["app", "config", "state"]
    assert parameters(Lifespan.handle_lifespan) == ["self", "task_status"]
    assert parameters(Lifespan.wait_for_startup) == parameters(Lifespan.wait_for_shutdown) == ["self"]
    assert parameters(WorkerContext) == ["max_requests"]
    assert inspect.iscoroutinefunction(WorkerContext(None).terminated.set)
    assert not Handshake([], "1.1").accepted
    buffer = WebsocketBuffer(10)
    assert (buffer.length, buffer.max_length) == (0, 10)
    arguments: list[Any] = [None, Config(), WorkerContext(None), None, False, None, None, None, 1]
    assert not WSStream(*arguments).closed
    source = inspect.getsource(H11Protocol)
    for call in ("self._check_protocol(event)", "self._create_stream(event)", "self.stream = WSStream("):
        assert call in source
    assert "self.task_group.spawn_app(" in inspect.getsource(WSStream)
    assert "self.task_group.spawn(self._send_pings)" in inspect.getsource(WSStream)
    for name in set(vars(bulkhead.CONFIG)) - {"_log"}:
        assert hasattr(Config, name), name
