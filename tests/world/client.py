"""A client as anybody could write one: from the wire's description alone, with nothing of ours imported."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from random import Random
from typing import Any, Self

import httpx
import trio
from trio_websocket import CloseReason, ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

SECONDS = 60.0  # a bound against hanging, not a figure
HANDSHAKE_SECONDS = 2.0  # for a daemon that dies between accepting and answering
RETRY_SECONDS = 0.02
GOING_AWAY, LOST, TOO_SLOW = 1001, 1006, 1013  # what it comes back from; 1006 is a connection that just ended
WIRE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
Item = dict[str, Any]


class Refused(Exception):
    """The server does not want this client, and coming back cannot help."""


class NotNow(Exception):
    """503: the server asks to come back."""


class StreamClient:
    """Follows an agent's stream from its first event, whatever becomes of the connection, and keeps every frame.

    With `whims` it leaves at random points, sometimes without a word, and resumes. `base` may be changed when the
    daemon is started elsewhere. A frame that is not the next one raises AssertionError out of `run`.
    """

    def __init__(self, base: str, *, whims: Random | None = None) -> None:
        self.base = base
        self.frames: list[str] = []
        self.seq = 0
        self.ts = ""
        self.connections = 0
        self.closings: list[int] = []  # the codes that connections were closed with, but for those it left
        self.log_ids: list[str] = []  # the logs it met; a second one means that it started over
        self._whims = whims
        self._news = trio.Event()

    @property
    def messages(self) -> list[Item]:
        return [json.loads(frame) for frame in self.frames]

    async def run(self) -> None:
        """Follow until cancelled. Raises Refused, or AssertionError where the stream breaks its promise."""
        while True:
            try:
                await self._meet()
                await self._connect()
            except (OSError, httpx.TransportError, NotNow):
                pass  # nobody listens there now, or it is still waking up
            await trio.sleep(RETRY_SECONDS)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until what was heard fulfils the condition."""
        with trio.fail_after(SECONDS):
            while not condition():
                await self._news.wait()

    async def until_time(self, ts: str) -> None:
        """Until the market's time, as the stream tells it, has come to `ts`."""
        await self.until(lambda: self.ts >= ts)

    async def until_seq(self, seq: int) -> None:
        await self.until(lambda: self.seq >= seq)

    async def _meet(self) -> None:
        """Which log is this? Another one than before means to start over."""
        async with Rest(self.base) as rest:
            log_id = (await rest.agent())["log_id"]
        if log_id not in self.log_ids[-1:]:
            self.log_ids.append(log_id)
            self.frames, self.seq = [], 0

    async def _connect(self) -> None:
        """One connection, from its handshake to whatever ends it."""
        host, _, port = self.base.removeprefix("http://").rpartition(":")
        path = f"/ws/agents/current?since={self.seq}"
        async with await trio.open_tcp_stream(host, int(port)) as tcp:
            try:
                async with trio.open_nursery() as nursery:
                    with trio.move_on_after(HANDSHAKE_SECONDS) as handshake:
                        stream = await wrap_client_stream(
                            nursery, tcp, f"{host}:{port}", path, receive_buffer_size=2**16
                        )
                    if not handshake.cancelled_caught:
                        await self._listen(stream)
                    nursery.cancel_scope.cancel()
            except* LocalProtocolError:
                pass  # trio-websocket may answer a ping while it closes
            except* ConnectionRejected as rejected:
                raise Refused(str(rejected.exceptions[0])) from None

    async def _listen(self, stream: WebSocketConnection) -> None:
        self.connections += 1
        stay, orderly = self._mood()
        try:
            while stay > 0:
                self._hear(str(await stream.get_message()))
                stay -= 1
            if orderly:
                with trio.move_on_after(HANDSHAKE_SECONDS):
                    await stream.aclose()
        except ConnectionClosed as closed:
            self._closed(closed.reason)

    def _mood(self) -> tuple[float, bool]:
        """After how many frames it leaves, and whether it says so."""
        if self._whims is None:
            return inf, True
        return self._whims.randint(1, 300), self._whims.random() < 0.5

    def _hear(self, frame: str) -> None:
        message = json.loads(frame)
        assert message["seq"] == self.seq + 1, f"seq {message['seq']} came after {self.seq}"
        assert isinstance(message["event"], str)
        assert WIRE_TIME.fullmatch(message["ts"])
        assert message["ts"] >= self.ts, f"time ran back from {self.ts} to {message['ts']}"
        self.frames.append(frame)
        self.seq, self.ts = message["seq"], message["ts"]
        self._wake()

    def _closed(self, why: CloseReason | None) -> None:
        code = LOST if why is None else why.code
        self.closings.append(code)
        self._wake()
        if code not in (GOING_AWAY, TOO_SLOW, LOST):
            raise Refused(str(why))

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def following(*clients: StreamClient) -> AsyncIterator[None]:
    """The clients follow while the block runs."""
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.run)
        yield
        nursery.cancel_scope.cancel()


class Rest:
    """Reads the agent over REST; lists whole, page by page."""

    def __init__(self, base: str, *, limit: int = 500) -> None:
        self._http = httpx.AsyncClient(base_url=base, timeout=SECONDS, verify=False)  # plain HTTP: no certificates
        self._limit = limit
        self.pages = 0
        self.last_seq = -1  # the log position that the latest answer reflects

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._http.__aexit__(*error)

    async def get(self, path: str, **query: str | int) -> httpx.Response:
        """An answer that is no error. Raises NotNow, where it is to be asked again."""
        answer = await self._http.get(path, params=query or None)
        if answer.status_code == 503:
            assert "Retry-After" in answer.headers
            raise NotNow(answer.text)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        if "X-Last-Seq" in answer.headers:
            self.last_seq = int(answer.headers["X-Last-Seq"])
        return answer

    async def agent(self) -> Item:
        agent: Item = (await self.get("/agents/current")).json()
        return agent

    async def whole(self, name: str, **query: str | int) -> list[Item]:
        """All items of a list, over the addresses in the Link headers. Every page reflects the same log position."""
        answer = await self.get(f"/agents/current/{name}", limit=self._limit, **query)
        items, pinned = self._page(answer), self.last_seq
        while "next" in answer.links:
            answer = await self.get(answer.links["next"]["url"])
            items += self._page(answer)
            assert self.last_seq == pinned
        return items

    async def events(self, since: int = 0) -> list[Item]:
        """All events after `since`, page by page."""
        items: list[Item] = []
        while page := self._page(await self.get("/agents/current/events", since=since, limit=self._limit)):
            items += page
            since = page[-1]["seq"]
            assert self.last_seq >= since
        return items

    def _page(self, answer: httpx.Response) -> list[Item]:
        items: list[Item] = answer.json()
        assert len(items) <= self._limit
        self.pages += 1
        return items
