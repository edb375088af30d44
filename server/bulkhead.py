"""The wall between connections: one bad connection costs exactly one connection.

The door is an ASGI app, and hypercorn's HTTP/1.1 and WebSocket protocol code speaks for it. What hypercorn
does around that code is done here instead, because there one client can end or stall the whole process:

- An exception out of a connection's protocol code (one byte right behind a WebSocket upgrade is enough)
  ended the server. Here it ends that connection, with one line in the log.
- A write was shielded without a deadline, so a client that stops reading held up shutdown. Here a write has
  WRITE_SECONDS, and at the end of the grace every connection is closed hard.
- `send` to a client that has left returned without a checkpoint, so a loop that pushes starved the rest. Here
  every BURST-th frame yields; in between, frames gather for one write.
- Telling an app that its client has left waited for room in a queue that the app may never read again. Here
  it needs no room. What WebSocket clients send is ignored by contract and dropped here: no need to drain.
- A WebSocket message without an end grew without bound, a refused upgrade stayed open, and the pings' timer
  kept a closed connection for another 20 s.
- HTTP/2 was spoken on the same port, one more way in past the app's checks, and permessage-deflate cost
  130 KB a client. Here it is HTTP/1.x, uncompressed, and a request's target is a path, so that the Host
  header is the only host it names.
- An answer to a request whose body was still on its way closed the connection without saying so: the next request on
  it was lost. Here it says so.
- Nothing was limited: now the number of connections is, the time that a request's head or an idle
  connection takes (KEEP_ALIVE_SECONDS), and the silence of a peer that answers no ping (READ_SECONDS).
"""

import logging
import math
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    Scope,
    TaskGroup,
)
from hypercorn.utils import LifespanTimeoutError, parse_socket_addr
from wsproto.events import Ping

WRITE_SECONDS = 5.0
READ_SECONDS = 60.0  # three unanswered pings
KEEP_ALIVE_SECONDS = 15.0
LINGER_SECONDS = 0.5
GRACE_SECONDS = 2.0
MAX_CONNECTIONS = 1000
MAX_RECEIVE = 2**16
MAX_UNSENT = 2**16
BURST = 64

door = logging.getLogger("forestay.door")
CONFIG = Config.from_mapping(
    errorlog=door,
    h11_max_incomplete_size=2**14,
    include_date_header=False,
    include_server_header=False,
    shutdown_timeout=1.0,
    websocket_max_message_size=2**16,
    websocket_ping_interval=20.0,
)


class Refused(Exception):
    """What a client sent ends its connection."""


class Http1(H11Protocol):
    """HTTP/1.x and WebSocket as hypercorn speaks them, without the upgrades and leniencies we do not want."""

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        ws = self.stream
        if isinstance(ws, WSStream):
            if ws.closed and not ws.handshake.accepted:
                raise Refused("not a WebSocket handshake, or data before its end")
            if ws.buffer.length > ws.buffer.max_length:
                raise Refused("WebSocket message too long")

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Response) and self.connection.their_state is h11.SEND_BODY:
            # The rest of the request is never read, so no other may follow it here, and its sender is told.
            event = replace(event, headers=[*event.headers, (b"connection", b"close")])
        await super().stream_send(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        known = event.http_version.startswith(b"1.")
        if not known or not event.target.startswith(b"/"):
            await self._send_error_response(400 if known else 505)
            raise Refused("not an HTTP/1 request for a path")

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(name, value) for name, value in request.headers if name != b"sec-websocket-extensions"]
        await super()._create_stream(
            h11.Request(
                method=request.method,
                target=request.target,
                headers=headers,
                http_version=request.http_version,
            )
        )
        if isinstance(self.stream, WSStream):
            self.stream._send_pings = partial(_ping, self.stream)  # type: ignore[method-assign]


async def _ping(ws: WSStream) -> None:
    """Pings, the first after a while: a client that says goodbye at once is not asked whether it lives."""
    while not ws.closed:
        await trio.sleep(cast(float, CONFIG.websocket_ping_interval))
        await ws._send_wsproto_event(Ping())


@dataclass(eq=False)
class Connection:
    """One client, from accept to close; to hypercorn's protocol code also the task group of its tasks."""

    app: ASGIFramework
    context: WorkerContext
    stream: trio.SocketStream
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    unsent: bytearray = field(default_factory=bytearray)
    something: trio.Event = field(default_factory=trio.Event)  # to write
    room: trio.Event = field(default_factory=trio.Event)  # to wait in
    nursery: trio.Nursery = field(init=False)
    frames: int = 0
    idle: bool = True
    reason: object = None

    async def run(self) -> None:
        sock = self.stream.socket
        try:
            with self.scope:
                client = parse_socket_addr(sock.family, sock.getpeername())
                server = parse_socket_addr(sock.family, sock.getsockname())
                async with trio.open_nursery() as self.nursery:
                    protocol = Http1(
                        ASGIWrapper(self.app),
                        CONFIG,
                        self.context,
                        cast(TaskGroup, self),  # which only ever spawns
                        ConnectionState({}),
                        False,
                        client,
                        server,
                        self.send,
                    )
                    self._set_idle(True)
                    self.nursery.start_soon(self._write)
                    while data := await self._receive():
                        await protocol.handle(RawData(data))
                    self.end()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has gone
        except* Exception as errors:
            self.end(errors)
        if self.reason is not None:
            door.info("connection ended: %.300r", self.reason)
        await self._flush()
        # To close with input unread would reset the connection, and our last words with it.
        with trio.move_on_after(LINGER_SECONDS), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_eof()
            while await self.stream.receive_some(MAX_RECEIVE):
                pass

    def end(self, reason: object = None) -> None:
        self.reason = self.reason or reason
        self.scope.cancel()

    def abort(self) -> None:
        """Close hard: a write in progress fails at once, and what the client has not read is thrown away."""
        with suppress(OSError):
            self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()
        self.end()

    async def send(self, event: Event) -> None:
        if isinstance(event, RawData):
            self.unsent += event.data
            self.something.set()
            while len(self.unsent) > MAX_UNSENT:
                await self.room.wait()
        elif isinstance(event, Updated):
            self._set_idle(event.idle)
        elif isinstance(event, Closed):
            self.end()

    async def _write(self) -> None:
        """Everything that is there in one write: a burst of frames costs few system calls."""
        while True:
            await self.something.wait()
            self.something = trio.Event()
            await self._flush()
            self.room.set()
            self.room = trio.Event()

    async def _flush(self) -> None:
        data, self.unsent = bytes(self.unsent), bytearray()
        if not data:
            return
        try:
            # Half a write garbles all that follows: shielded, and the last one if its time is up.
            with trio.move_on_after(WRITE_SECONDS, shield=True) as writing:
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.end()
        if writing.cancelled_caught:
            self.end("the client has stopped reading")
            self.abort()

    async def spawn_app(
        self,
        _app: object,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        to_app, from_client = trio.open_memory_channel[ASGIReceiveEvent](config.max_app_queue_size)

        async def put(event: ASGIReceiveEvent) -> None:
            if event["type"].endswith(".disconnect"):
                to_app.close()  # never waits for room
            elif event["type"] != "websocket.receive":
                await to_app.send(event)

        async def receive() -> ASGIReceiveEvent:
            try:
                return await from_client.receive()
            except trio.EndOfChannel:
                return cast(ASGIReceiveEvent, {"type": f"{scope['type']}.disconnect", "code": 1006})

        async def checked_send(event: ASGISendEvent) -> None:
            try:
                await send(event)
            except Exception as error:  # the protocol's, not the app's: both sides spoke at once
                self.end(error)
            if event["type"] == "websocket.send":
                self.frames += 1
                if self.frames % BURST:
                    return  # a burst of frames goes out in one write
            if event["type"] != "http.response.body" or event.get("more_body"):
                await trio.lowlevel.checkpoint()  # after its last word an app may finish in peace

        async def run_app() -> None:
            try:
                await self.app(scope, receive, checked_send)
            except* Exception:
                door.exception("the app failed")
            await send(None)  # what the app has left open is closed or answered with a 500

        self.nursery.start_soon(run_app)
        return put

    def spawn(self, func: Callable[..., Awaitable[object]], *args: object) -> None:
        self.nursery.start_soon(func, *args)

    async def _receive(self) -> bytes:
        with trio.move_on_after(READ_SECONDS):
            return bytes(await self.stream.receive_some(MAX_RECEIVE))
        return b""

    def _set_idle(self, idle: bool) -> None:
        self.idle = idle
        self.scope.deadline = trio.current_time() + KEEP_ALIVE_SECONDS if idle else math.inf


async def serve(
    app: ASGIFramework,
    listeners: Sequence[trio.abc.Listener[trio.SocketStream]],
    *,
    stop: trio.Event,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` is set, then close within GRACE_SECONDS whatever clients do."""
    context = WorkerContext(None)
    lifespan = Lifespan(ASGIWrapper(app), CONFIG, {})
    open_connections: set[Connection] = set()

    async def handle(stream: trio.SocketStream) -> None:
        if stop.is_set() or len(open_connections) >= MAX_CONNECTIONS:
            return
        connection = Connection(app, context, stream)
        open_connections.add(connection)
        try:
            await connection.run()
        finally:
            open_connections.remove(connection)

    async def end_in_time(connections: trio.CancelScope) -> None:
        try:
            await stop.wait()
            await trio.sleep(GRACE_SECONDS)
        finally:  # also when we are cancelled: no write may outlast us
            for connection in open_connections:
                connection.abort()
            connections.cancel()

    async with trio.open_nursery() as nursery:
        await nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as connections:
            nursery.start_soon(end_in_time, connections.cancel_scope)
            async with trio.open_nursery() as accepting:
                listen = partial(trio.serve_listeners, handle, list(listeners), handler_nursery=connections)
                await accepting.start(listen)
                task_status.started()
                await stop.wait()
                accepting.cancel_scope.cancel()
            await context.terminated.set()
            for connection in open_connections:
                if connection.idle:
                    connection.end()
        try:
            await lifespan.wait_for_shutdown()
        except LifespanTimeoutError:
            door.warning("the app did not finish its shutdown in time")
        nursery.cancel_scope.cancel()
