"""The log's own form: places without gaps, one hash chain, a time that never falls, columns that fit the body."""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import blake2b
from typing import Final

from tests.simulation.judge.report import Line, LoggedRow, Plain, Report, millis

EVENTS: Final[dict[str, frozenset[str]]] = {
    "snapshot": frozenset({"equity", "phase", "dd_from_peak", "daily_dd_used"}),
    "trade": frozenset(
        {"pair", "side", "size", "price", "pnl", "fees", "phase", "journal_ref", "qty", "order_ref"}
    ),
    "journal_entry": frozenset({"id", "type", "tags", "text", "data"}),
    "risk_veto": frozenset({"rule", "reason", "order_ref", "pair", "side", "size", "journal_ref"}),
    "status_change": frozenset({"from", "to", "reason"}),
    "quote_rejected": frozenset({"pair", "reason", "detail", "code", "order_ref", "measured", "limit"}),
    "twak_block": frozenset({"rule", "reason", "order_ref", "pair", "side", "size", "journal_ref"}),
    "promotion": frozenset({"tx_hash", "journal_ref"}),
    "demotion": frozenset({"rule", "breach", "locked_until", "journal_ref"}),
}  # fmt: skip
FACTS: Final = frozenset(
    {"genesis", "config", "round", "mark", "placed", "decided", "run_started", "run_failed", "lock_lifted",
     "live_opened", "intended", "submitted", "handed_over", "mined", "given_up", "frozen", "flattening",
     "written_off"}
)  # fmt: skip
ENTRY_TYPES: Final = frozenset(
    {"EXECUTED", "SKIPPED", "RISK_VETO", "TWAK_BLOCK", "RISK_BREACH", "STATUS_CHANGE", "PROMOTION", "DEMOTION", "KILL",
     "RESTORE", "CONFIG_CHANGE", "SUBMITTED", "CONFIRMED", "FAILED", "STARTED", "STOPPED", "ACTOR_RESTARTED"}
)  # fmt: skip
PHASES: Final = ("paper", "live")
_read: Final = json.JSONDecoder(parse_float=Decimal).decode


class Chain:
    """Reads row after row; what it finds wrong with one does not keep it from reading the next."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._row = self._seq = self._ts = 0
        self._hash = bytes(32)
        self._ids: set[str] = set()
        self._instant = ("", 0)  # a round's rows have one

    def take(self, logged: LoggedRow) -> Line | None:
        """The row as a line; None where there is nothing to be read."""
        row, seq, ts, kind, entry_type, text, digest = logged
        report = self._report
        if row != self._row + 1:
            report.say("1", row, f"follows row {self._row}")
        if seq is not None:
            if seq != self._seq + 1:
                report.say("1", row, f"seq {seq} follows seq {self._seq}")
            self._seq = seq
        body = text.encode()
        place = row.to_bytes(8, "big") + (seq or 0).to_bytes(8, "big")
        if digest != blake2b(self._hash + place + body, digest_size=32).digest():
            report.say("4", row, "its hash does not follow from the row before it")
        if ts < self._ts:
            report.say("9", row, f"its time is {self._ts - ts} ms before that of the row before it")
        self._row, self._ts, self._hash = row, max(ts, self._ts), digest
        try:
            plain = _read(text)
            self._agree(row, seq, ts, kind, entry_type, plain)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            report.say("4", row, f"it cannot be read: {error!r}")
            return None
        return Line(row, ts, kind, entry_type or "", plain)

    def _agree(self, row: int, seq: int | None, ts: int, kind: str, entry_type: str | None, plain: Plain) -> None:
        """Columns are an index: they must say what the body says."""
        report = self._report
        if seq is None:
            if plain["fact"] != kind or kind not in FACTS or "seq" in plain or "event" in plain or entry_type:
                report.say("4", row, f"a row without seq, indexed as {kind!r}, is {plain.get('fact')!r}")
        else:
            if plain["seq"] != seq:
                report.say("1", row, f"has seq {seq}, its frame says {plain['seq']}")
            if plain["event"] != kind or kind not in EVENTS or plain.get("type") != entry_type or "fact" in plain:
                report.say("4", row, f"indexed as {kind!r} {entry_type!r}, its frame is {plain['event']!r}")
            elif not EVENTS[kind] <= plain.keys():
                report.say("wire", row, f"a {kind} without {sorted(EVENTS[kind] - plain.keys())}")
            elif plain.get("phase", "paper") not in PHASES:
                report.say("wire", row, f"a {kind} of the phase {plain['phase']!r}")
            if kind == "journal_entry":
                self._entry(row, plain)
        if plain["ts"] != self._instant[0]:
            self._instant = (plain["ts"], millis(plain["ts"]))
        if self._instant[1] != ts:
            report.say("4", row, f"indexed at {ts}, its body says {plain['ts']}")

    def _entry(self, row: int, plain: Plain) -> None:
        name = plain["id"]
        if plain["type"] not in ENTRY_TYPES:
            self._report.say("wire", row, f"an entry of type {plain['type']!r}")
        if not name.startswith("jrn_"):
            self._report.say("wire", row, f"an entry with the id {name!r}")
        if name in self._ids:
            self._report.say("id", row, f"a second entry {name}")
        self._ids.add(name)
