"""How a floor gets its state back: the newest checkpoint, then every row after it. Boot and restart are this one
path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from actors.messages import ReadCheckpoint, ReadRows
from actors.tower import Address
from protocol.events import Row

S = TypeVar("S")


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
    checkpoint = await journal.ask(ReadCheckpoint())
    state, row = (thaw(checkpoint.states[floor]), checkpoint.row) if checkpoint else (initial, 0)
    names = tuple(kind.kind for kind in kinds)
    while True:
        row, batch = await journal.ask(ReadRows(row, names))
        if not batch:
            return state
        for item in batch:
            state = evolve(state, item)
