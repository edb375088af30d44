"""How a floor gets its state back: the newest checkpoint, then every row after it. Boot and restart are this one
path."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import trio

from actors.messages import ReadCheckpoint, ReadRows
from actors.tower import Address, Ask
from protocol.errors import Outage
from protocol.events import Row

S = TypeVar("S")
RETRY_SECONDS: Final = 0.5
log = logging.getLogger("forestay.journal")


async def restored(
    journal: Address,
    floor: str,
    initial: S,
    *,
    kinds: Iterable[type[Row]],
    evolve: Callable[[S, Row], S],
    thaw: Callable[[Any], S],
) -> S:
    """`floor`'s state as the log tells it. `kinds` are the rows that `evolve` looks at; `thaw` reads a checkpoint."""
    state, row = initial, 0
    if checkpoint := await _read(journal, ReadCheckpoint()):
        try:
            state, row = thaw(checkpoint.states[floor]), checkpoint.row
        except Exception:  # it is only a cache: what cannot be read is folded again
            log.warning("the checkpoint at row %d is of no use to the %s", checkpoint.row, floor, exc_info=True)
    names = tuple(kind.kind for kind in kinds)
    while True:
        row, batch = await _read(journal, ReadRows(row, names))
        if not batch:
            return state
        for item in batch:
            state = evolve(state, item)


async def _read(journal: Address, what: Ask[S | Outage]) -> S:
    """The answer, however long the disk refuses it."""
    while isinstance(answer := await journal.ask(what), Outage):
        await trio.sleep(RETRY_SECONDS)
    return answer
