"""The real daemon in a process that kills itself at a chosen commit: at an instant that no outsider could hit.

With FORESTAY_TEST_DOOM="PLACE ROW" it ends by SIGKILL at the first commit that reaches ROW and, for the first two
places, holds the outcome of a decision.

- before: its rows are accepted, the commit has not begun
- during: its rows are inserted, the COMMIT has not happened
- after:  it is on the disk, and nobody has been told

Its last words on standard error are a line of JSON: what it was about to commit.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from typing import Final

from actors.journal.chain import Sealed
from actors.journal.store import Checkpoint, LogStore

DOOM: Final = "FORESTAY_TEST_DOOM"
BEFORE, DURING, AFTER = "before", "during", "after"
OUTCOMES: Final = {"trade", "decided", "risk_veto", "quote_rejected"}


def doom(place: str, row: int) -> None:
    """From now on the fatal commit is the process's last."""
    append: Callable[[LogStore, Sequence[Sealed], Checkpoint | None, str], None] = LogStore.append

    def fatal(batch: Sequence[Sealed]) -> bool:
        return bool(batch) and batch[-1].row >= row and (place == AFTER or any(s.kind in OUTCOMES for s in batch))

    def appended(
        store: LogStore, batch: Sequence[Sealed], checkpoint: Checkpoint | None = None, maker: str = ""
    ) -> None:
        if not fatal(batch):
            append(store, batch, checkpoint, maker)
            return
        if place == BEFORE:
            die(batch)
        if place == DURING:
            store._db.set_commit_hook(lambda: die(batch))
        append(store, batch, checkpoint, maker)
        die(batch)

    setattr(LogStore, "append", appended)  # noqa: B010 - a type checker would rightly object


def die(batch: Sequence[Sealed]) -> bool:
    """SIGKILL: no handler runs, nothing is flushed."""
    outcomes = [s.kind for s in batch if s.kind in OUTCOMES]
    words = json.dumps({"first": batch[0].row, "last": batch[-1].row, "outcomes": outcomes})
    os.write(2, f"{words}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
    return False


def main() -> None:
    if DOOM in os.environ:
        place, row = os.environ[DOOM].split()
        doom(place, int(row))
    from server.cli import main as forestay

    forestay()
