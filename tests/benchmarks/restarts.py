"""What the death of one actor costs: the real floors on a log that is there, killed one after the other.

`python -m tests.benchmarks.restarts DATA_DIR DEATHS PAIR=CSV...` says `ready` once they stand, and prints as JSON, by
floor, the seconds from the message it dies of until every floor stands restored and the next message is answered. The
market is over, so nothing else is done meanwhile and the newest checkpoint stays as old as it is.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import Final

import apsw
import trio

from actors.agent import Agent
from actors.broadcaster.board import Board
from actors.floors import House, floors
from actors.journal.store import FILE_NAME, Damaged, LogReader
from actors.messages import Flush, ReadCursor
from actors.ports import in_threads
from actors.strategist.actor import Founding
from actors.tower import Ask, Died, Tower
from server.boot import boot, started
from server.settings import split

WAL_BYTES: Final = 1_000 * 4096  # where SQLite begins it anew; until its last user leaves, the file stays that long


class Deadly(Ask[None]):
    """No floor takes it, so whoever reads it dies."""


class Undaunted(Agent):
    """An agent that no number of deaths melts down."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self.names = [floor.name for floor in floors(house)]
        self.tower = Tower(floors(house), on_fall=self._fell, incurable=(Damaged,), deaths_allowed=sys.maxsize)

    async def restart(self, name: str) -> float:
        """Kill a floor; the seconds until all stand again, and the one that conducts all others answers."""
        desk, self.tower.standing = self.tower.outside(), trio.Event()
        await desk.address("Journal").ask(Flush())  # the last death's entry
        begin = perf_counter()
        with suppress(Died):
            await desk.address(name).ask(Deadly())
        await self.tower.standing.wait()
        await desk.address("Strategist").ask(ReadCursor())
        return perf_counter() - begin


@contextmanager
def long_wal(log: Path) -> Iterator[None]:
    """The log's WAL as a daemon has it that has run for a while: opening the log goes over all of it. What is written
    is the newest checkpoint, again and again."""
    with closing(apsw.Connection(str(log))) as db:
        db.pragma("journal_mode", "wal")
        while Path(f"{log}-wal").stat().st_size < WAL_BYTES:
            db.execute("INSERT OR REPLACE INTO checkpoint SELECT * FROM checkpoint")
        yield


def assembled(folder: Path, replay: dict[str, str]) -> Undaunted:
    """The floors as the daemon has them."""
    market = {"kind": "replay", "replay": replay, "speed": "max"}
    settings = split({"data_dir": str(folder), "market": market})
    booted, agent = boot(settings), settings.machine.agent
    note = started(agent, "replay", booted.market.pairs)
    founding = Founding(agent, booted.market.pinned, booted.market.begins, booted.config, [note])
    house = House(
        log=booted.log,
        log_id=booted.log_id,
        founding=founding,
        market=booted.market,
        speed=settings.machine.market.speed,
        board=Board(),
        market_ended=lambda: None,
        blocking=in_threads(1),
        reader=LogReader(booted.log),
        reading=in_threads(1),
    )
    gc.freeze()  # as the daemon does
    gc.set_threshold(50_000, 20, 100)
    return Undaunted(house)


async def run(folder: Path, deaths: int, replay: dict[str, str]) -> dict[str, list[float]]:
    agent = assembled(folder, replay)
    found: dict[str, list[float]] = {name: [] for name in agent.names}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run)
        await agent.tower.standing.wait()
        print("ready", flush=True)
        for _ in range(deaths):
            for name in found:
                found[name].append(await agent.restart(name))
        nursery.cancel_scope.cancel()
    return found


def main(folder: str, deaths: str, *pairs: str) -> None:
    logging.basicConfig(filename=os.devnull)  # telling of a death is part of it
    replay = dict(pair.split("=", 1) for pair in pairs)
    with long_wal(Path(folder) / FILE_NAME):
        print(json.dumps(trio.run(run, Path(folder), int(deaths), replay)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
