"""Places, order and hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

EVENTS = frozenset(
    ("snapshot", "trade", "journal_entry", "risk_veto", "status_change", "quote_rejected", "twak_block", "promotion",
     "demotion")
)  # fmt: skip


class Chain:
    """1: rows and seqs count up by one. 4: each hash covers the row before. 9: time does not run back."""

    def __init__(self, complain: Callable[[str, str], None]) -> None:
        self._complain = complain
        self._row = self._seq = self._ts = 0
        self._hash = bytes(32)

    def read(self, logged: Any, body: dict[str, Any]) -> None:
        row, seq, ts, kind, entry_type, text, digest = logged
        if row != self._row + 1:
            self._complain("1", f"row {row} comes after row {self._row}")
        is_event = kind in EVENTS
        if seq != (self._seq + 1 if is_event else None):
            self._complain("1", f"seq {seq} of a {kind} comes after seq {self._seq}")
        place = row.to_bytes(8, "big") + (seq or 0).to_bytes(8, "big")
        if hashlib.blake2b(self._hash + place + text.encode(), digest_size=32).digest() != digest:
            self._complain("4", "its hash does not fit")
        if ts < self._ts:
            self._complain("9", f"time runs back from {self._ts} to {ts}")
        named = body.get("event", body.get("fact")), millis(body["ts"]), body.get("seq")
        if named != (kind, ts, seq) or entry_type != (body["type"] if kind == "journal_entry" else None):
            self._complain("4", f"its columns do not fit its body: {named}")
        self._row, self._ts, self._hash = row, ts, digest
        self._seq += is_event


def millis(text: str) -> int:
    """A time of the wire, in milliseconds since 1970."""
    at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime(1970, 1, 1, 0, 0, 0, 1000) - datetime(1970, 1, 1))
