"""Whole runs of the in-process house, and the logs that they leave."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from actors.journal.store import FILE_NAME, LogReader
from protocol.codec import decode_row
from protocol.events import LIFE_OF_THE_PROCESS, JournalEntry, Row
from protocol.settings import AgentConfig
from tests.actors.seeded import run_seeded
from tests.world.house import house
from tests.world.market import PAIRS, Walk, eager_config


def contents(folder: Path) -> list[Any]:
    """Every column of every row, after the whole chain was found good."""
    with closing(LogReader(folder / FILE_NAME)) as reader:
        reader.verify()
        return reader.select("SELECT * FROM log ORDER BY row")


def decisions(folder: Path) -> list[Row]:
    """The rows as values, without what tells of the process's own life."""
    return _decisions(contents(folder))


def _decisions(rows: list[Any]) -> list[Row]:
    found = [decode_row(row[5]) for row in rows]
    return [row for row in found if not (isinstance(row, JournalEntry) and row.type in LIFE_OF_THE_PROCESS)]


def restarts_told(folder: Path) -> Counter[str]:
    """How often the journal says of each actor that it was restarted."""
    entries = [row for row in map(decode_row, (row[5] for row in contents(folder))) if isinstance(row, JournalEntry)]
    return Counter(entry.data["actor"] for entry in entries if entry.type == "ACTOR_RESTARTED")


async def run_whole(folder: Path, market: Walk, config: AgentConfig | None = None) -> None:
    async with house(folder, market, config or eager_config(market.pairs)) as standing:
        await standing.settled()


@cache
def undisturbed(seed: int, rounds: int, pairs: int = 2) -> list[Any]:
    """The log of a run over this market that nothing happened to."""
    with TemporaryDirectory() as folder:
        run_seeded(0, run_whole, Path(folder), Walk(seed, rounds, PAIRS[:pairs]))
        return contents(Path(folder))


@cache
def undisturbed_decisions(seed: int, rounds: int, pairs: int = 2) -> list[Row]:
    """The same without what tells of the process's own life."""
    return _decisions(undisturbed(seed, rounds, pairs))
