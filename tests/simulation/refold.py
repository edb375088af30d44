"""What a checkpoint keeps must be what the log tells: the states as they were lived, against the same states read back
by each floor's own way of restoring, row by row from the first one on."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast

from attrs import frozen

from actors.journal.store import MAKER, LogStore
from actors.messages import Capture, ReadCheckpoint, ReadRows
from actors.tower import Floor
from protocol.codec import decode_row, to_json, to_plain
from tests.simulation.disk import SimDisk

T = TypeVar("T")
ROWS = 2000


@frozen(eq=False)
class Archive:
    """A desk, and every address on it, for a floor that is to restore from a log without checkpoints, up to a row."""

    store: LogStore
    until: int

    def address(self, _: str) -> Any:
        return self

    async def ask(self, message: Any) -> Any:
        match message:
            case ReadCheckpoint():
                return None
            case ReadRows():
                found = self.store.bodies(message.after, message.kinds, ROWS)
                rows = [(row, decode_row(body)) for row, body in found if row <= self.until]
                return (rows[-1][0] if rows else 0), [row for _, row in rows]
            case _:  # what the others know, is not what is looked at
                return None


def forgotten(disk: SimDisk, path: Path, log_id: str, floors: Sequence[Floor]) -> list[str]:
    """The floors whose state in the newest checkpoint is not what the log tells, with what differs; none where there
    is no checkpoint. Raises DISK_ERRORS, Damaged."""
    with closing(LogStore(path, log_id=log_id, vfs=disk.name)) as store:
        kept = store.latest_checkpoint(MAKER)
        if kept is None:
            return []
        lived = _plain(store._db.execute("SELECT body FROM checkpoint WHERE row = ?", (kept.row,)).get)
        told = {
            floor.name: _plain(to_json(_state(floor, Archive(store, kept.row))))
            for floor in floors
            if floor.name in lived
        }
    return [f"{name} at row {kept.row}: {_difference(lived[name], told[name])}" for name in told
            if told[name] != lived[name]]  # fmt: skip


def _state(floor: Floor, archive: Archive) -> Any:
    actor = cast(Any, floor.open(cast(Any, archive)))
    _done(actor.restore())
    return to_plain(actor._memory.state) if floor.name == "Strategist" else _done(actor.receive(Capture()))


def _done(task: Coroutine[Any, Any, T]) -> T:
    """What comes of a task that waits for nothing."""
    try:
        task.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    raise AssertionError("an archive lets nobody wait")


def _plain(body: bytes | str) -> Any:
    """By another reader than the product's: a number is what its digits say."""
    return json.loads(body, parse_float=Decimal)


def _difference(one: Any, two: Any, at: str = "") -> str:
    """The first place where they differ."""
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted({*one, *two}):
            if one.get(key) != two.get(key):
                return _difference(one.get(key), two.get(key), f"{at}.{key}")
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for place, (left, right) in enumerate(zip(one, two, strict=True)):
            if left != right:
                return _difference(left, right, f"{at}[{place}]")
    return f"{at} was {str(one)[:100]}, is read back as {str(two)[:100]}"
