"""What belongs together: entries and their events, orders and their ends, decisions and how they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.simulation.arbiter.chain import millis

# Which entry stands right before which event, and what they share.
ENTRY_OF = {
    "trade": ("EXECUTED", ("order_ref", "pair", "side", "size", "price", "qty", "fees", "pnl")),
    "risk_veto": ("RISK_VETO", ("rule", "order_ref", "pair", "side", "size")),
    "quote_rejected": ("SKIPPED", ("order_ref", "pair", "code", "measured", "limit")),
    "status_change": ("STATUS_CHANGE", ("from", "to")),
}
TOLD_BY = {entry: event for event, (entry, _) in ENTRY_OF.items() if entry != "SKIPPED"}
LIFE = ("STARTED", "STOPPED", "ACTOR_RESTARTED")


class Stories:
    """3: nothing stands half. 5: nothing is told twice. 12: an event follows its entry. 18: an order that was refused is never
    traded. Decisions: one outcome each, and what was only counted is told with its count."""

    def __init__(self, complain: Callable[[str, str], None], marks: Counter[str]) -> None:
        self._complain = complain
        self._marks = marks
        self._ids: set[str] = set()
        self._refused: set[str] = set()
        self._traded: set[str] = set()
        self._hidden: dict[str, list[int]] = {}  # by pair, the times that were only counted
        self._reasons: dict[str, tuple[Any, ...]] = {}  # by pair, what was told last
        self._decided: set[tuple[int, str, str]] = set()
        self._entry: dict[str, Any] = {}  # the row before, where it was one
        self._counted: dict[str, Any] = {}  # the row before, where it was a decision that is only counted
        self._rows = 0
        self._rounds = 0
        self._cursor: Any = 0

    def read(self, ts: int, kind: str, body: dict[str, Any]) -> None:
        before, counted = self._entry, self._counted
        self._counted = body if kind == "decided" and body["entry"] is None else {}
        if kind != "decided":  # a fact may stand between an entry and its event
            self._entry = {}
        self._rows += 1
        if (self._rows == 1) != (kind == "genesis"):
            self._complain("5", f"row {self._rows} is a {kind}")
        expected = TOLD_BY.get(before.get("type", ""))
        if expected is not None and kind not in (expected, "decided"):
            self._complain("3", f"the entry {before['type']} is followed by a {kind}")
        if kind == "quote_rejected" and (counted.get("pair"), counted.get("code")) == (body["pair"], body["code"]):
            pass  # events are never folded, their entries are
        elif kind in ENTRY_OF:
            self._event(ts, kind, body, before)
        match kind:
            case "journal_entry":
                self._told(ts, body)
            case "placed":
                self._ordered(body["order"]["ref"])
            case "trade":
                self._ordered(body["order_ref"])
                self._outcome(ts, body["pair"], body["side"])
                if body["order_ref"] in self._traded:
                    self._complain("5", f"{body['order_ref']} is traded twice")
                self._traded.add(body["order_ref"])
                self._end_of_repeats(body["pair"])
            case "risk_veto" | "quote_rejected":
                self._refused.add(body["order_ref"])
            case "decided":
                self._decide(ts, body)
            case "round":
                self._round(body)

    def _event(self, ts: int, kind: str, body: dict[str, Any], before: dict[str, Any]) -> None:
        entry_type, shared = ENTRY_OF[kind]
        if before.get("type") != entry_type or millis(before["ts"]) != ts:
            self._complain("12", f"a {kind} without its {entry_type} right before it")
            return
        differs = [name for name in shared if name in before["data"] and before["data"][name] != body[name]]
        if differs or body.get("journal_ref", before["id"]) != before["id"]:
            self._complain("12", f"the {kind} and its entry differ in {differs or 'journal_ref'}")

    def _told(self, ts: int, body: dict[str, Any]) -> None:
        self._entry = body
        if body["id"] in self._ids:
            self._complain("5", f"the entry {body['id']} is there twice")
        self._ids.add(body["id"])
        data, tags = body["data"], body["tags"]
        self._marks["restart"] += body["type"] == "STARTED"
        if "repeats" in tags:
            self._repeats(data)
        elif body["type"] == "SKIPPED" and "round" in data:
            self._marks["skipped by crash" if "crash" in tags else "clock set back"] += 1
        self._marks["gap"] += "gap" in tags

    def _repeats(self, data: dict[str, Any]) -> None:
        hidden = self._hidden.pop(data["pair"], [])
        told = data["count"], millis(data["first"]), millis(data["last"])
        right = (len(hidden), hidden[0], hidden[-1]) if hidden else (0, 0, 0)
        if told != right:
            self._complain("outcomes", f"{data['pair']}: told as repeated {told}, it was {right}")
        if self._reasons.get(data["pair"], ())[:2] != (data["side"], data["code"]):
            self._complain("outcomes", f"{data['pair']}: repeats of {data['code']}, told was {self._reasons}")
        self._marks["folded repeats"] += 1

    def _ordered(self, ref: str) -> None:
        if ref in self._refused:
            self._complain("18", f"{ref} was refused and is carried out")

    def _decide(self, ts: int, body: dict[str, Any]) -> None:
        pair, entry = body["pair"], body["entry"]
        self._outcome(ts, pair, body["side"])
        reason = body["side"], body["code"], ts // 86_400_000
        if entry is None:
            if self._reasons.get(pair) != reason:
                self._complain("outcomes", f"{pair}: {reason} is only counted, told was {self._reasons.get(pair)}")
            self._hidden.setdefault(pair, []).append(ts)
            return
        if entry not in self._ids:
            self._complain("outcomes", f"{pair}: decided by {entry}, which is not there")
        self._end_of_repeats(pair)
        self._reasons[pair] = reason

    def _end_of_repeats(self, pair: str) -> None:
        if hidden := self._hidden.pop(pair, None):
            self._complain("outcomes", f"{pair}: {len(hidden)} repeats were counted and never told")
        self._reasons.pop(pair, None)

    def _outcome(self, ts: int, pair: str, side: str) -> None:
        self._decided.add((ts, pair, side))

    def _round(self, body: dict[str, Any]) -> None:
        cursor = body["cursor"]
        if isinstance(cursor, int) and cursor != self._cursor + 1:
            self._complain("3", f"the cursor goes from {self._cursor} to {cursor}: rounds were passed over")
        self._cursor = cursor
        self._marks["leap day"] += "-02-29T00:00" in body["ts"]
