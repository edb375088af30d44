"""`forestay watch`: keeps a scene by the stream and by asking, and draws it, until a key or a signal ends it."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final

import trio
from attrs import define, evolve, field
from rich.console import Console, Group
from rich.live import Live

from protocol.events import JournalEntry
from server.cli.agent import status_of
from server.cli.scene import ENTRIES, Scene, hear, screen
from server.cli.tables import echo_json
from server.client import AnotherLog, Client, ClientError, Refused, Unreachable

FRAME_SECONDS: Final = 0.25
ASK_SECONDS: Final = 1.0  # apart, at least, while there is news
IDLE_SECONDS: Final = 5.0  # apart, at most: an outage is no event
CURVE: Final = timedelta(days=30)


async def on_screen(client: Client) -> None:
    """Draw until q is pressed. Raises ClientError where there is nothing to begin with."""
    async with client:
        watcher, console = Watcher(client, Scene(await status_of(client))), Console(highlight=False)
        with _keys(sys.stdin.fileno()) as keys, Live(console=console, screen=True, auto_refresh=False) as live:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watcher.run)
                nursery.start_soon(_draw, watcher, console, live)
                while b"q" not in (typed := await _typed(keys)).lower() and typed:
                    pass
                nursery.cancel_scope.cancel()


async def as_lines(client: Client) -> None:
    """Print the scene each time it was asked for."""
    async with client, trio.open_nursery() as nursery:
        watcher = Watcher(client, Scene(await status_of(client)))
        nursery.start_soon(watcher.run)
        shown = None
        while True:
            await watcher.changed.wait()
            if watcher.scene.status is not None and watcher.scene != shown:
                shown = watcher.scene
                echo_json(shown)


@define(eq=False)
class Watcher:
    """Keeps the scene. `heard_at` is when the daemon was heard last, by trio's clock; `changed` is set, and replaced,
    whenever the scene has changed."""

    client: Client
    scene: Scene = field(factory=Scene)
    heard_at: float | None = None
    changed: trio.Event = field(factory=trio.Event)
    _news: trio.Event = field(factory=trio.Event)

    async def run(self) -> None:
        """Raises Refused where the daemon does not want us."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask)
            await self._follow()

    async def _follow(self) -> None:
        while True:
            try:
                since, log_id = await self._begin()
                async with self.client.stream(since, log_id=log_id, notice=self._notice) as events:
                    async for event in events:
                        self._set(hear(self.scene, event), heard=True)
                        self._news.set()
            except AnotherLog:
                self._set(Scene())
            except Refused as no:
                if not no.passes:
                    raise
                self._set(evolve(self.scene, trouble=str(no)))
            except Unreachable as error:
                self._set(evolve(self.scene, connected=False, trouble=str(error)))
            await trio.sleep(ASK_SECONDS)

    async def _begin(self) -> tuple[int, str]:
        """What was, and the log position to go on from."""
        journal = self.client.journal(limit=ENTRIES)
        entries = list[JournalEntry]()
        async for entry in journal:
            entries.append(entry)
            if len(entries) == ENTRIES:
                break
        now = (await self.client.agent()).market.time
        begin = None if now is None else now - CURVE
        curve = [snapshot async for snapshot in self.client.equity(interval="1h", begin=begin)]
        self._set(Scene(self.scene.status, tuple(curve), tuple(entries)), heard=True)
        return journal.last_seq, journal.log_id

    async def _ask(self) -> None:
        """What the stream does not tell: positions and limits at the last price, and how the daemon is."""
        while True:
            self._news = trio.Event()
            with suppress(ClientError):  # the stream says what there is to say of it
                status = await status_of(self.client)
                self._set(evolve(self.scene, status=status, trouble=None), heard=True)
            await trio.sleep(ASK_SECONDS)
            with trio.move_on_after(IDLE_SECONDS - ASK_SECONDS):
                await self._news.wait()

    def _notice(self, connected: bool) -> None:
        self._set(evolve(self.scene, connected=connected))

    def _set(self, scene: Scene, *, heard: bool = False) -> None:
        self.scene = scene
        if heard:
            self.heard_at = trio.current_time()
        self.changed.set()
        self.changed = trio.Event()


async def _draw(watcher: Watcher, console: Console, live: Live) -> None:
    while True:
        heard = watcher.heard_at
        age = None if heard is None else trio.current_time() - heard
        lines = screen(watcher.scene, age, console.width, console.height)
        live.update(Group(*lines), refresh=True)
        await trio.sleep(FRAME_SECONDS)


@contextmanager
def _keys(terminal: int) -> Iterator[int]:
    """Each key as it is pressed, and none of it shown."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield terminal
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


async def _typed(terminal: int) -> bytes:
    await trio.lowlevel.wait_readable(terminal)
    return os.read(terminal, 64)
