"""The Python client and the JavaScript one, in Node, follow a real daemon that is killed at random, on real candles."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import httpx
import pytest
import trio
from attrs import define, field

from protocol.events import Trade
from server.client import Client, History, Stream, UnknownEvent
from tests.resilience.candles import real_stretch
from tests.server.clients import PATIENCE, at_the_end
from tests.world.daemon import DaemonProcess

NODE = ("node", "--experimental-websocket", str(Path(__file__).parent / "follow.mjs"))
KILLS = 5
MOST = 200  # frames of one life, as one of the two counts them
HOURS = 2_500  # at this speed more than all lives but the last one can play
SPEED = "200"
SEEDS = [int(os.environ.get("FORESTAY_TEST_SEED", 1))]


@define(eq=False)
class Collected:
    """The raw frames that one client was given."""

    frames: list[str] = field(factory=list)
    _news: trio.Event = field(factory=trio.Event)

    def take(self, frame: str) -> None:
        self.frames.append(frame)
        self._news.set()
        self._news = trio.Event()

    async def has(self, count: int) -> None:
        while len(self.frames) < count:
            await self._news.wait()

    async def take_all(self, events: Stream | History) -> None:
        async for event in events:
            assert not isinstance(event, UnknownEvent)
            self.take(events.raw)


@asynccontextmanager
async def in_node(base: str) -> AsyncIterator[Collected]:
    """What the JavaScript client prints, while the block lasts."""
    collected = Collected()
    async with trio.open_nursery() as nursery:
        node = await trio.lowlevel.open_process([*NODE, base], stdout=subprocess.PIPE)

        async def read() -> None:
            left = b""
            assert node.stdout is not None
            async for some in node.stdout:
                *lines, left = (left + some).split(b"\n")
                for line in lines:
                    collected.take(line.decode())
            raise AssertionError(f"the program in Node ended by itself: {await node.wait()}")

        nursery.start_soon(read)
        try:
            yield collected
        finally:
            nursery.cancel_scope.cancel()
            node.kill()
            with trio.CancelScope(shield=True):
                await node.wait()


@pytest.mark.parametrize("seed", SEEDS)
async def test_clients_of_a_daemon_that_is_killed_at_random_collect_equal_histories(
    start_daemon: Callable[..., DaemonProcess], real_data: Path, tmp_path: Path, seed: int
) -> None:
    """Raw frame for raw frame, in Python and in Node over the stream, in Python also over list and stream, of all kinds
    and of one, begun between two kills."""
    random, files = Random(seed), real_stretch(real_data, tmp_path, HOURS)
    daemon = await trio.to_thread.run_sync(partial(start_daemon, *files.flags, "--speed", SPEED))
    base = await trio.to_thread.run_sync(daemon.listening)
    python, told, traded, connections = Collected(), Collected(), Collected(), list[bool]()

    async with Client(base) as client, in_node(base) as node, trio.open_nursery() as nursery:

        async def follow(collected: Collected, *kinds: type[Trade]) -> None:
            async with client.history(*kinds) as events:
                await collected.take_all(events)

        async def stream() -> None:
            async with client.stream(0, notice=connections.append) as events:
                await python.take_all(events)

        nursery.start_soon(stream)
        for kill in range(KILLS):
            if kill == KILLS // 2:
                nursery.start_soon(follow, told)
                nursery.start_soon(follow, traded, Trade)
            with trio.fail_after(PATIENCE):
                watched = random.choice((python, node))
                await watched.has(len(watched.frames) + random.randint(1, MOST))
            await trio.to_thread.run_sync(daemon.kill)
            flags = ("--port", str(httpx.URL(base).port), "--speed", SPEED if kill + 1 < KILLS else "max")
            daemon = await trio.to_thread.run_sync(partial(start_daemon, *files.flags, *flags))
        ended = await trio.to_thread.run_sync(at_the_end, daemon, files.end)
        ended.client.close()
        trades = [frame for frame in ended.frames if json.loads(frame)["event"] == "trade"]
        with trio.fail_after(PATIENCE):
            for collected in (python, node, told):
                await collected.has(ended.head)
            await traded.has(len(trades))
        async with Client(base) as other:
            listing = other.events()
            by_rest = [listing.raw async for _ in listing]
        nursery.cancel_scope.cancel()
    assert python.frames == node.frames == told.frames == by_rest == list(ended.frames)
    assert traded.frames == trades
    assert trades
    assert connections.count(True) > 2
