"""The stream, followed through every restart: each event once, in order, with nothing left out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast
from urllib.parse import urlsplit

import h11
import trio
from attrs import define
from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)
from wsproto.utilities import LocalProtocolError

from protocol.events import Event
from server.client.address import Address
from server.client.errors import AnotherLog, ClientError, Refused, Unexpected
from server.client.events import UnknownEvent, read_frame
from server.client.problems import refused, unanswered, unlike

SUBPROTOCOL: Final = "forestay.v1"
FIRST_PAUSE: Final = 0.05  # seconds before it comes back, and twice as many the next time
LONGEST_PAUSE: Final = 2.0
QUIET_SECONDS: Final = 20.0  # without a frame; then it asks whether anybody is there, and waits as long again
CONNECT_SECONDS: Final = 10.0
LARGEST: Final = 2**26  # bytes of a frame
# Coming back cannot help: as REST says the same.
_REFUSALS: Final = {4400: (400, "BAD_REQUEST"), 4401: (401, "TOKEN_REQUIRED"), 4404: (404, "AGENT_NOT_FOUND")}

Heard = tuple[int, Event | UnknownEvent, str]  # seq, event, raw frame
Tcp = trio.SocketStream | trio.SSLStream[trio.SocketStream]
Notice = Callable[[bool], None]


def unnoticed(_: bool) -> None:
    pass


class Silent(Exception):
    """The other end does not answer, or not any more."""


class Stream(AsyncIterator[Event | UnknownEvent]):
    """The events after `since` (None: from the next one on), without end. For one task.

    It comes back by itself from whatever ends a connection. `seq` and `raw` are of the event that was given last,
    `connected` says whether it hears the daemon now. Raises AnotherLog, Refused, or Unexpected, and then ends.
    """

    def __init__(self, address: Address, agent: str, since: int | None, log_id: str | None, notice: Notice) -> None:
        self.seq, self.log_id, self.raw, self.connected = since, log_id, "", False
        self._address, self._agent, self._notice = address, agent, notice
        self._heard: AsyncIterator[Heard | ClientError]

    async def __anext__(self) -> Event | UnknownEvent:
        heard = await anext(self._heard)
        if isinstance(heard, ClientError):
            raise heard
        self.seq, event, self.raw = heard
        return event

    @trio.as_safe_channel
    async def _listen(self) -> AsyncGenerator[Heard | ClientError, None]:
        """What is heard, from one connection after the other; an error is the last of it."""
        pause, seq = FIRST_PAUSE, self.seq
        no: ClientError | None = None
        while no is None:
            try:
                async with await self._reached() as tcp, trio.open_nursery() as nursery:
                    socket = await self._opened(nursery, tcp, seq)
                    seq = self._met(socket, seq)
                    self._tell(connected=True)
                    while True:
                        raw = await _next_frame(socket)
                        found, event = read_frame(raw)
                        if found <= seq:
                            continue
                        if found > seq + 1:
                            raise Unexpected(f"the stream went from seq {seq} to {found}")
                        seq, pause = found, FIRST_PAUSE
                        yield found, event, raw
            except* ConnectionClosed as closed:
                no = self._closed(_first(closed).reason)
            except* ConnectionRejected as rejected:
                no = self._rejected(_first(rejected))
            except* ClientError as error:
                no = _first(error)
            except* h11.LocalProtocolError:  # it is told what is no HTTP, and refuses as a server would
                no = unlike(self._address, "it does not speak HTTP")
            except* (HandshakeError, LocalProtocolError, OSError, trio.BrokenResourceError, Silent):
                pass  # the library answers pings even while it closes, and then it raises LocalProtocolError
            finally:
                self.connected = False
            if no is None:
                self._tell(connected=False)
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        yield no

    async def _reached(self) -> Tcp:
        """A connection that is ours to close: the library leaves one open when its other end closes."""
        url = urlsplit(self._address.base)
        assert url.hostname is not None, "the address was looked at"
        with trio.move_on_after(CONNECT_SECONDS):
            if self._address.secure:
                return await trio.open_ssl_over_tcp_stream(url.hostname, url.port or 443, https_compatible=True)
            return await trio.open_tcp_stream(url.hostname, url.port or 80)
        raise Silent

    async def _opened(self, nursery: trio.Nursery, tcp: Tcp, seq: int | None) -> WebSocketConnection:
        url = urlsplit(self._address.base)
        path = f"{url.path}/ws/agents/{self._agent}" + ("" if seq is None else f"?since={seq}")
        with trio.move_on_after(CONNECT_SECONDS):
            if isinstance(tcp, trio.SSLStream):
                await self._secured(tcp)
            opening = _Opening(nursery)
            socket = await wrap_client_stream(
                cast(trio.Nursery, opening),
                tcp,
                url.netloc,
                path,
                subprotocols=[SUBPROTOCOL],
                extra_headers=[(name.encode(), value.encode()) for name, value in self._address.headers.items()],
                max_message_size=LARGEST,
                receive_buffer_size=2**16,
            )
            opening.over = True
            return socket
        raise Silent

    async def _secured(self, tls: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError as error:
            no = unanswered(error, self._address)
            raise (no if isinstance(no, Unexpected) else error) from None

    def _closed(self, why: CloseReason | None) -> ClientError | None:
        """What there is to be told of it, where coming back cannot help."""
        if why is None or why.code not in _REFUSALS:
            return None
        return Refused(*_REFUSALS[why.code], self._address.clean(why.reason or "the stream was closed"))

    def _rejected(self, answer: ConnectionRejected) -> ClientError | None:
        if answer.status_code < 300:
            return unlike(self._address, "it opens no stream")
        no = refused(answer.status_code, answer.body or b"", self._address)
        return None if no.passes else no

    def _met(self, socket: WebSocketConnection, seq: int | None) -> int:
        """Is it the log that we know? From which seq on does it tell?"""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in socket.handshake_headers}
        log_id, last = headers.get("x-log-id"), headers.get("x-last-seq", "")
        if log_id is None or not (last.isascii() and last.isdigit()):
            raise Unexpected(f"{self._address.base}: the stream does not say which log it is of")
        if self.log_id not in (None, log_id):
            raise AnotherLog(str(self.log_id), log_id)
        self.log_id = log_id
        if seq is None:
            seq = self.seq = int(last)
        return seq

    def _tell(self, *, connected: bool) -> None:
        self.connected = connected
        self._notice(connected)


@define
class _Opening:
    """The nursery, for the library to start its reader in: it goes on waiting for the end of a handshake when nobody is
    left to read from."""

    nursery: trio.Nursery
    over: bool = False

    def start_soon(self, read: Callable[[], Awaitable[None]]) -> None:
        self.nursery.start_soon(self._read, read)

    async def _read(self, read: Callable[[], Awaitable[None]]) -> None:
        await read()
        if not self.over:
            raise Silent


@asynccontextmanager
async def follow(
    address: Address, agent: str, since: int | None, log_id: str | None, notice: Notice
) -> AsyncIterator[Stream]:
    """A stream, while the block lasts."""
    stream = Stream(address, agent, since, log_id, notice)
    async with stream._listen() as heard:
        stream._heard = heard
        yield stream


async def _next_frame(socket: WebSocketConnection) -> str:
    """Raises ConnectionClosed, or Silent: a connection may be dead without a word, and only asking shows it."""
    with trio.move_on_after(QUIET_SECONDS):
        return str(await socket.get_message())
    frame, closed = "", None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ask, socket, nursery.cancel_scope)
        try:
            frame = str(await socket.get_message())
        except ConnectionClosed as error:
            closed = error
        nursery.cancel_scope.cancel()
    if closed is not None:
        raise closed
    if not frame:
        raise Silent
    return frame


async def _ask(socket: WebSocketConnection, hearing: trio.CancelScope) -> None:
    """Ping for as long as nothing is heard; end the hearing where nothing comes back."""
    with trio.move_on_after(QUIET_SECONDS) as waiting, suppress(ConnectionClosed, LocalProtocolError, OSError):
        while True:
            waiting.deadline = trio.current_time() + QUIET_SECONDS
            await socket.ping()
            await trio.sleep(QUIET_SECONDS / 2)
    if waiting.cancelled_caught:
        hearing.cancel()


def _first(group: BaseExceptionGroup[Any]) -> Any:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
