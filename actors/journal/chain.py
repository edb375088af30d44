"""The hash chain: each row's hash covers the row before it, so nothing within can be changed or taken out unseen."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from attrs import frozen

from protocol.codec import encode_row
from protocol.events import EVENTS, JournalEntry, Row
from protocol.times import to_millis

NOTHING = bytes(32)  # what the first row follows


@frozen
class Head:
    """Where a log ends: rows and events so far, the last row's market time in ms, and its hash."""

    row: int = 0
    seq: int = 0
    ts: int = 0
    hash: bytes = NOTHING


@frozen
class Sealed:
    """A row with its place in the log. `body` is what is stored and, for an event, what is sent."""

    row: int
    seq: int | None
    ts: int
    kind: str
    type: str | None
    body: bytes
    hash: bytes
    value: Row


def link(previous: bytes, row: int, seq: int | None, body: bytes) -> bytes:
    """The hash of a row: blake2b-256 of the hash before it, its number, its seq (0 for a fact) and its body."""
    place = row.to_bytes(8, "big") + (seq or 0).to_bytes(8, "big")
    return blake2b(previous + place + body, digest_size=32).digest()


def seal(rows: Iterable[Row], head: Head) -> tuple[list[Sealed], Head]:
    """Give `rows` their places after `head`. Raises ValueError if time would run backwards."""
    sealed: list[Sealed] = []
    number, seq, last, digest = head.row, head.seq, head.ts, head.hash
    for value in rows:
        ts = to_millis(value.ts)
        if ts < last:
            raise ValueError(f"a {type(value).__name__} of {value.ts} would turn the log's time back")
        number += 1
        is_event = isinstance(value, EVENTS)
        seq += is_event
        own_seq = seq if is_event else None
        body = encode_row(value, own_seq)
        digest = link(digest, number, own_seq, body)
        entry_type = value.type if isinstance(value, JournalEntry) else None
        sealed.append(Sealed(number, own_seq, ts, value.kind, entry_type, body, digest, value))
        last = ts
    return sealed, Head(number, seq, last, digest)
