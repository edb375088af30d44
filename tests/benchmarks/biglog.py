"""A log of any length, made of a real one: its rounds over and over, later each time, sealed and appended anew.

The last copy is exact, and the real log's checkpoint comes with it, so a daemon that opens the log finds what it would
have left there itself: the newest checkpoint, and the rounds after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import apsw
from attrs import evolve, frozen

from actors.journal.chain import Head, Sealed, link
from actors.journal.store import FILE_NAME, MAKER, Checkpoint, LogReader, LogStore
from protocol.codec import decode_row, from_json, to_json
from protocol.times import to_millis, to_wire

DAY_MILLIS: Final = 86_400_000
BATCH_ROWS: Final = 100_000
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@frozen
class _Found:
    """A row as it was found."""

    seq: int | None
    ts: int
    kind: str
    type: str | None
    body: str


@frozen
class _Template:
    """A real log: the rows that found it, those of its rounds, and its checkpoint."""

    founding: list[_Found]
    rounds: list[_Found]
    checkpoint: Checkpoint
    span: int  # in ms; whole days, so that a later copy's days are days


def build(source: Path, target: Path, events: int) -> tuple[Path, Head]:
    """A log of at least so many events in the data dir `target`, from the one in `source`; its file and its head."""
    template, path = _read(source / FILE_NAME), target / FILE_NAME
    store = LogStore(path, log_id="log_bench")
    head = Head()
    copies = -(-events // sum(found.seq is not None for found in template.rounds))
    batch: list[Sealed] = []
    for sealed in _sealed(template, copies):
        batch.append(sealed)
        if len(batch) == BATCH_ROWS:
            store.append(batch)
            batch = []
    offset = batch[-1].row - len(template.founding) - len(template.rounds)
    moved = _moved(to_json(template.checkpoint.states).decode(), (copies - 1) * template.span)
    store.append(batch, Checkpoint(template.checkpoint.row + offset, from_json(moved)), MAKER)
    head = store.head
    store.close()
    return path, head


def _read(path: Path) -> _Template:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    query = "SELECT row, seq, ts, kind, type, body FROM log WHERE row <= ? ORDER BY row"
    [(first, last)] = db.execute("SELECT min(row), max(row) FROM log WHERE kind IN ('mark', 'round')")
    rows = [(row, _Found(*rest)) for row, *rest in db.execute(query, (last,))]
    db.close()
    checkpoint = LogReader(path).latest_checkpoint(MAKER)
    assert checkpoint is not None, "the real run is too short: it left no checkpoint"
    founding = [found for row, found in rows if row < first]
    rounds = [found for row, found in rows if row >= first]
    days = (rounds[-1].ts - rounds[0].ts) // DAY_MILLIS + 1
    return _Template(founding, rounds, checkpoint, days * DAY_MILLIS)


def _sealed(template: _Template, copies: int) -> Iterator[Sealed]:
    """Places and hashes as `chain.seal` gives them, for bodies that need no new encoding."""
    seq, digest = 0, Head().hash
    for row, found in enumerate(_bodies(template, copies), start=1):
        body, own_seq = found.body, None
        if found.seq is not None:
            seq += 1
            own_seq = seq
            body = body.replace(f'"seq":{found.seq},', f'"seq":{seq},', 1)
        data = body.encode()
        digest = link(digest, row, own_seq, data)
        yield Sealed(row, own_seq, found.ts, found.kind, found.type, data, digest, _NO_VALUE)


def _bodies(template: _Template, copies: int) -> Iterator[_Found]:
    yield from template.founding
    for copy in range(copies - 1):
        shift, names = copy * template.span, dict[int, tuple[str, str]]()
        for found in template.rounds:
            if found.ts not in names:
                names[found.ts] = _wire(found.ts), _wire(found.ts + shift)
            body = found.body.replace(*names[found.ts]) if shift else found.body
            yield _Found(found.seq, found.ts + shift, found.kind, found.type, body)
    shift = (copies - 1) * template.span
    for found in template.rounds:
        yield evolve(found, ts=found.ts + shift, body=_moved(found.body, shift))


def _moved(text: str, millis: int) -> str:
    """The text with every time in it so much later."""
    return _TIME.sub(lambda match: _wire(to_millis(datetime.fromisoformat(match[0])) + millis), text)


def _wire(millis: int) -> str:
    return to_wire(datetime.fromtimestamp(millis / 1000, UTC))


_NO_VALUE: Final = decode_row('{"fact":"run_started","ts":"2022-01-01T00:00:00.000Z","version":1,"equity":0}')
