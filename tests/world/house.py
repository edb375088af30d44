"""A whole house in one process: the real floors on a real log, for tests that need no socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define

from actors.agent import Agent
from actors.broadcaster.board import Board
from actors.floors import House
from actors.journal.store import FILE_NAME, LogReader, LogStore
from actors.messages import Flush, Note
from actors.ports import Market
from actors.strategist.actor import Founding
from actors.tower import Tower
from protocol.settings import AgentConfig


async def in_line(call: Any, /) -> Any:
    """Blocking calls right here: no thread, so that a mocked clock and a seed decide everything."""
    await trio.lowlevel.checkpoint()
    return call()


@define
class Standing:
    """A house with its tower up."""

    board: Board
    tower: Tower
    reader: LogReader
    market_ended: trio.Event
    founding: Founding

    async def settled(self) -> None:
        """Until the market has ended and all of it is on the board."""
        await self.market_ended.wait()
        await self.tower.outside().address("Journal").ask(Flush())
        while self.board.row < self.reader.head().row:
            await self.board.news()


@asynccontextmanager
async def house(
    folder: Path,
    market: Market,
    config: AgentConfig | None = None,
    *,
    speed: float | None = None,
    vfs: str | None = None,
) -> AsyncIterator[Standing]:
    """Run the floors over `market` on the log in `folder` until the block ends."""
    log = folder / FILE_NAME
    LogStore(log, log_id="log_test", vfs=vfs).close()
    board, ended = Board(), trio.Event()
    readers = LogReader(log, vfs=vfs), LogReader(log, vfs=vfs)
    started = Note("STARTED", ("test",), "Started.", {})
    founding = Founding("seed", market.pinned, market.begins, config or AgentConfig(market.pairs), [started])
    agent = Agent(House(log, "log_test", founding, market, speed, board, ended.set, in_line, readers[0], in_line, vfs))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run)
        await agent.tower.standing.wait()
        try:
            yield Standing(board, agent.tower, readers[1], ended, founding)
        finally:
            nursery.cancel_scope.cancel()
            for reader in readers:
                reader.close()
