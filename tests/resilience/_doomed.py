"""The real daemon in a process that kills itself at a chosen instant: one that no outsider could hit.

FORESTAY_TEST_DOOM says where it ends by SIGKILL, as one of

- "before WHAT ROW": a commit that holds WHAT and reaches ROW: its rows are accepted, the commit has not begun
- "during WHAT ROW": its rows are inserted, the COMMIT has not happened
- "after WHAT ROW":  it is on the disk, and nobody has been told
- "starting CALLS":  so many calls of our own functions after the process began, wherever that is
- "stopping CALLS":  the same, after it was asked to stop

Its last words on standard error are a line of JSON: what it was about to commit, or where it was.

With FORESTAY_TEST_CHANGES, a file of config rows as a log holds them, each change is made again at its moment: right
after the round that it came after.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from actors.journal.chain import Sealed
from actors.journal.store import Checkpoint, LogStore
from actors.messages import ChangeConfig, ConductRound
from actors.strategist.actor import Strategist
from protocol.codec import decode_row
from protocol.events import ConfigAdopted

DOOM: Final = "FORESTAY_TEST_DOOM"
CHANGES: Final = "FORESTAY_TEST_CHANGES"
CHANGED: Final = "changed paper"  # what every change of the tests is about
BEFORE, DURING, AFTER = "before", "during", "after"
STARTING, STOPPING = "starting", "stopping"
ANYTHING, FOUNDING, DECISION, WAITING = "anything", "founding", "decision", "waiting"
CHANGE, CHECKPOINT = "change", "checkpoint"
OUTCOMES: Final = {"trade", "decided", "risk_veto", "quote_rejected", "placed"}
ROOT: Final = Path(__file__).parents[2]
ROOMS: Final = tuple(f"{ROOT / room}{os.sep}" for room in ("actors", "protocol", "server"))


def doom(place: str, what: str, row: int) -> None:
    """From now on the fatal commit is the process's last."""
    append: Callable[[LogStore, Sequence[Sealed], Checkpoint | None, str], None] = LogStore.append

    def appended(
        store: LogStore, batch: Sequence[Sealed], checkpoint: Checkpoint | None = None, maker: str = ""
    ) -> None:
        if not (batch and batch[-1].row >= row and holds(what, batch, checkpoint)):
            append(store, batch, checkpoint, maker)
            return
        if place == BEFORE:
            die(about(batch))
        if place == DURING:
            store._db.set_commit_hook(lambda: die(about(batch)))
        append(store, batch, checkpoint, maker)
        die(about(batch))

    setattr(LogStore, "append", appended)  # noqa: B010 - a type checker would rightly object


def holds(what: str, batch: Sequence[Sealed], checkpoint: Checkpoint | None) -> bool:
    """Is this the kind of commit that is waited for?"""
    kinds = [sealed.kind for sealed in batch]
    rounds = [n for n, kind in enumerate(kinds) if kind == "round"]
    match what:
        case "founding":
            return kinds[0] == "genesis"
        case "decision":
            return not OUTCOMES.isdisjoint(kinds)
        case "waiting":  # an order was placed in the last round, so it waits for the next one
            return bool(rounds) and "placed" in kinds[rounds[-2] if len(rounds) > 1 else 0 :]
        case "change":
            return "config" in kinds and kinds[0] != "genesis"
        case "checkpoint":
            return checkpoint is not None
        case _:
            return True


def about(batch: Sequence[Sealed]) -> dict[str, Any]:
    kinds = [s.kind for s in batch if s.kind in OUTCOMES or s.kind == "config"]
    return {"first": batch[0].row, "last": batch[-1].row, "kinds": kinds}


def die(words: dict[str, Any]) -> NoReturn:
    """SIGKILL: no handler runs, nothing is flushed."""
    os.write(2, f"{json.dumps(words)}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody survives that")


def die_after(calls: int) -> None:
    """So many calls of our own functions from here on, counted over this thread and those that are begun later."""
    left, one_at_a_time = calls, threading.Lock()

    def called(frame: FrameType, event: str, _: Any) -> None:
        nonlocal left
        if event != "call" or not frame.f_code.co_filename.startswith(ROOMS):
            return
        with one_at_a_time:
            left -= 1
            if left <= 0:
                die({"at": f"{Path(frame.f_code.co_filename).relative_to(ROOT)}:{frame.f_code.co_qualname}"})

    threading.setprofile(called)
    sys.setprofile(called)


def die_stopping(calls: int) -> None:
    from server.daemon import _Daemon

    wind_down = _Daemon._wind_down

    async def wound_down(daemon: _Daemon) -> None:
        die_after(calls)
        await wind_down(daemon)

    setattr(_Daemon, "_wind_down", wound_down)  # noqa: B010 - as above


def repeat_changes(script: Path) -> None:
    """The Strategist meets each change of the script where the Strategist of the script's log met it."""
    coming = [row for body in json.loads(script.read_text()) if isinstance(row := decode_row(body), ConfigAdopted)]
    receive = Strategist.receive

    async def received(strategist: Strategist, message: Any) -> Any:
        if isinstance(message, ConductRound):
            while coming and message.round.ts > coming[0].ts:
                change = coming.pop(0)
                asked = ChangeConfig(change.config, CHANGED, expected=change.version - 1)
                assert await receive(strategist, asked) == change.version
        return await receive(strategist, message)

    setattr(Strategist, "receive", received)  # noqa: B010 - as above


def main() -> None:
    if CHANGES in os.environ:
        repeat_changes(Path(os.environ[CHANGES]))
    match os.environ.get(DOOM, "").split():
        case ["starting", calls]:
            die_after(int(calls))
        case ["stopping", calls]:
            die_stopping(int(calls))
        case [place, what, row]:
            doom(place, what, int(row))
    from server.cli import main as forestay

    forestay()
