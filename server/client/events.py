"""Frames as events: the classes of `protocol.events`, and `UnknownEvent` for what came later than this version."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, get_args

import msgspec
from attrs import evolve, frozen

from protocol.codec import from_json, from_plain
from protocol.events import EVENTS, EntryType, Event, JournalEntry
from protocol.times import from_wire
from server.client.errors import Unexpected

_KINDS: Final[dict[str, type[Event]]] = {kind.kind: kind for kind in EVENTS}
_TYPES: Final = get_args(EntryType)
_items = msgspec.json.Decoder(list[msgspec.Raw])


@frozen
class UnknownEvent:
    """An event whose kind, or a value in it, this version does not know: pass it over. `fields` are all it has."""

    kind: str
    ts: datetime
    fields: dict[str, Any]


def read_frame(raw: str) -> tuple[int, Event | UnknownEvent]:
    """A frame's seq and its event. Raises Unexpected where it has not what every frame has."""
    try:
        data = from_json(raw)
        seq, kind, ts = data["seq"], data["event"], from_wire(data["ts"])
        if not isinstance(seq, int) or not isinstance(kind, str):
            raise TypeError
    except (ValueError, TypeError, LookupError):
        raise Unexpected(f"this is no frame of a stream: {raw[:80]!r}") from None
    known = _KINDS.get(kind)
    if known is None:
        return seq, UnknownEvent(kind, ts, data)
    try:
        if known is JournalEntry and data["type"] not in _TYPES:  # the journal's vocabulary grows
            return seq, evolve(from_plain({**data, "type": _TYPES[0]}, JournalEntry), type=data["type"])
        return seq, from_plain(data, known)
    except Exception:  # whatever cattrs and our hooks make of a field that has changed
        return seq, UnknownEvent(kind, ts, data)


def raw_items(body: bytes) -> list[str]:
    """The items of a JSON array, each in its own bytes. Raises ValueError."""
    try:
        return [bytes(item).decode() for item in _items.decode(body)]
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
