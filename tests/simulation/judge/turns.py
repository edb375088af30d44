"""Which rows belong together: what one cause made happen, committed as one transaction. Statement 3 is held here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tests.simulation.judge.quotes import CODES
from tests.simulation.judge.report import Line, Report

NOTES: Final = frozenset({"STARTED", "STOPPED", "ACTOR_RESTARTED"})  # the life of the process: a turn each
FIRST: Final = NOTES | {"CONFIG_CHANGE", "PROMOTION", "KILL", "RESTORE", "SUBMITTED", "CONFIRMED", "TWAK_BLOCK"}


@dataclass(slots=True)
class Turn:
    """Rows of one cause, in their order. `cause` is "round", "config", "note", "act" (a person's, or the news of one)
    or "order" (something was seen of a live one); nothing where the turn has no end."""

    lines: list[Line] = field(default_factory=list)
    cause: str = ""

    def only(self, kind: str) -> Line | None:
        """The last row of this kind, which should be the only one."""
        return next((line for line in reversed(self.lines) if line.kind == kind), None)

    def has(self, label: str) -> bool:
        """Is there a row of this kind, or an entry of this type?"""
        return any(label in (line.kind, line.type) for line in self.lines)


class Turns:
    """Cuts the log into turns by their last rows. A turn that lacks its last row shows by what follows."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._open: list[Line] = []
        self._config = self._paper = False  # is there such a row in the open turn?
        self._ts = -1  # of the last turn: a round is later, what is between two rounds is not

    @property
    def open(self) -> Line | None:
        """The first row of a turn that has not ended."""
        return self._open[0] if self._open else None

    def take(self, line: Line) -> list[Turn]:
        """The turn that ends with this row; before it the one that should have ended, and did not."""
        turns = list[Turn]()
        if self._open and (line.ts != self._open[0].ts or self._begins(line)):
            first = self._open[0]
            self._report.say("3", line.row, f"begins something else, and what row {first.row} began has no end")
            turns.append(Turn(self._open))
            self._clear()
        self._open.append(line)
        if cause := self._ended(line):
            turns.append(Turn(self._open, cause))
            self._clear()
        return turns

    def _clear(self) -> None:
        self._ts = self._open[-1].ts
        self._open, self._config, self._paper = [], False, False

    def _begins(self, line: Line) -> bool:
        """Rows that only ever begin a turn. A version is told before it is adopted, but for the first."""
        return line.type in FIRST or line.kind == "genesis"

    def _ended(self, line: Line) -> str:
        """What caused the turn that this row ends; nothing where it goes on."""
        match line.kind:
            case "round":
                return "round"
            case "config":
                self._config = True
            case "run_started" if self._config:
                return "config"
            case "journal_entry" if line.type in NOTES:
                return "note"
            case "journal_entry" if line.type == "RESTORE":
                return "act"
            case "mark":
                self._paper |= line.body["phase"] == "paper"
            case "status_change" if not (self._config or self._paper):
                return "" if line.body["from"] == "LIVE" else "act"  # what becomes of the holdings is told behind it
            case "flattening" if not self._paper:
                return "act"
            case "promotion" if len(self._open) == 1 and line.body["tx_hash"] is not None:
                return "order"
            case "frozen":
                return "order" if self._open[0].type == "FAILED" else "act"
            case "intended" | "quote_rejected" if len(self._open) == 1:
                return "order" if line.kind == "quote_rejected" or line.body["purpose"] == "flatten" else ""
            case "decided" if line.ts == self._ts:  # a sale that comes to nothing; one for its quote has a row more
                return "" if line.body["code"] in CODES.values() else "order"
            case "quote_rejected" if line.ts == self._ts:
                return "order"
            case "mined":
                return "order" if line.body["leg"] == "approval" and line.body["success"] else ""
            case "given_up":
                return "" if line.body["code"] in ("usurped", "unexplained") else "order"
            case "submitted" | "handed_over":
                return "order"
            case "trade" if line.body["phase"] == "live":
                return "order"
        return ""
