"""What tests of the door use to come to it: raw requests, followers of the stream, the command line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import trio
from attrs import define, field, frozen
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from actors.journal.store import FILE_NAME, LogReader
from tests.world.daemon import FORESTAY, DaemonProcess

PATIENCE = 30.0  # bounds a hang; nothing here is expected to take long
JSON = {"Content-Type": "application/json"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@frozen
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The problem's code; None where the answer is no problem."""
        is_problem = self.headers.get("content-type") == "application/problem+json"
        return str(self.json["code"]) if is_problem else None


def ask(
    base: str,
    method: str,
    target: str,
    headers: Mapping[str, str | None] | None = None,
    body: bytes = b"",
) -> Answer:
    """One request exactly as it is put; Host is added unless it is given, and left out where it is given as None."""
    parts = urlsplit(base)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": parts.netloc, **(headers or {})}.items():
            if value is not None:
                connection.putheader(name, value)
        if body or method not in ("GET", "HEAD", "OPTIONS"):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        with response:
            upgraded = response.status == 101
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, b"" if upgraded else response.read())
    finally:
        connection.close()


def change(base: str, document: object, path: str = "/agents/current/config", method: str = "PATCH") -> Answer:
    """Send a JSON document."""
    return ask(base, method, path, JSON, json.dumps(document).encode())


def frames_in(data_dir: Path) -> list[str]:
    """Every frame in the log, oldest first."""
    reader = LogReader(data_dir / FILE_NAME)
    try:
        return [frame for _, frame in reader.frames(0, 10**9)]
    finally:
        reader.close()


def client_of(base: str) -> httpx.Client:
    """A connection for each request, so that none is found closed."""
    return httpx.Client(base_url=base, timeout=PATIENCE, limits=httpx.Limits(max_keepalive_connections=0))


@frozen
class Ended:
    """A daemon that stays up after its market's end, and what its log holds."""

    daemon: DaemonProcess
    base: str
    frames: Sequence[str]
    events: Sequence[dict[str, Any]]
    client: httpx.Client

    @property
    def head(self) -> int:
        return len(self.frames)

    def get(self, path: str) -> httpx.Response:
        """Of the agent's own paths."""
        return self.client.get(f"/agents/current{path}")

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == kind]


def at_the_end(daemon: DaemonProcess, market_end: str) -> Ended:
    """Wait until the market is over and all of it is shown."""
    base = daemon.ready()
    client = client_of(base)
    while client.get("/agents/current").json().get("market", {}).get("time") != market_end:
        assert daemon.running, "".join(daemon.errors)
    frames = frames_in(daemon.data_dir)
    return Ended(daemon, base, frames, [json.loads(frame) for frame in frames], client)


def stream_url(base: str, since: int | str | None = None, agent: str = "current") -> str:
    query = "" if since is None else f"?since={since}"
    return f"{base.replace('http', 'ws', 1)}/ws/agents/{agent}{query}"


@define
class Follower:
    """A client of the stream: what it was told so far, and the code it was closed with."""

    connection: WebSocketConnection
    frames: list[str] = field(factory=list)
    code: int | None = None
    _news: trio.Event = field(factory=trio.Event)

    async def follow(self) -> None:
        try:
            while True:
                self.frames.append(str(await self.connection.get_message()))
                self._wake()
        except ConnectionClosed as closed:
            self.code = closed.reason.code if closed.reason else None
            self._wake()

    async def has(self, count: int) -> list[str]:
        """Wait until it has `count` frames."""
        while len(self.frames) < count:
            assert self.code is None, f"closed with {self.code} after {len(self.frames)} frames"
            await self._news.wait()
        return self.frames

    async def closed(self) -> int | None:
        """Wait until it is closed; the code."""
        while self.code is None:
            await self._news.wait()
        return self.code

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def following(*urls: str, **options: Any) -> AsyncIterator[list[Follower]]:
    """Followers of these streams, each reading as fast as it can, until the block ends; bounded in time."""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as connecting:
            followers: list[Follower] = []
            for url in urls:
                opened = trio.Event()
                connecting.start_soon(_hold, url, options, followers, opened)
                await opened.wait()
            yield followers
            for follower in followers:
                await follower.connection.aclose()


async def _hold(url: str, options: dict[str, Any], followers: list[Follower], opened: trio.Event) -> None:
    """One connection, from its opening until either side closes it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    resource = f"{parts.path}?{parts.query}" if parts.query else parts.path
    async with await trio.open_tcp_stream(parts.hostname, parts.port) as stream, trio.open_nursery() as nursery:
        connection = await wrap_client_stream(nursery, stream, parts.netloc, resource, **options)
        follower = Follower(connection)
        followers.append(follower)
        opened.set()
        await follower.follow()


async def close_code(url: str, **options: Any) -> int | None:
    """With what the daemon closes this stream at once."""
    async with following(url, **options) as (follower,):
        return await follower.closed()


def clean_environment(**more: str) -> dict[str, str]:
    """As a person's: the tests' own settings are not in it, nor the size of a terminal that they do not have."""
    ours = ("FORESTAY_", "COLUMNS", "LINES")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | more


def forestay(*args: str, cwd: Path, typed: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    words, clean = [str(FORESTAY), *args], clean_environment(**env)
    return subprocess.run(words, cwd=cwd, env=clean, input=typed, capture_output=True, text=True, timeout=PATIENCE)
