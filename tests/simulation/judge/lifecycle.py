"""The status: only moves of the table, each from where the last one led, with its cause beside it; and the locks of
promotion."""

from __future__ import annotations

from typing import Final

from tests.simulation.judge.known import Known
from tests.simulation.judge.report import Line, millis, next_midnight
from tests.simulation.judge.turns import Turn

MOVES: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("PAPER", "ELIGIBLE"): frozenset({"criteria_met"}),
    ("ELIGIBLE", "PAPER"): frozenset({"criterion_lost", "config_changed"}),
    ("ELIGIBLE", "LIVE"): frozenset({"promoted", "promoted_by_force"}),
    ("PAPER", "LIVE"): frozenset({"promoted_by_force"}),
    ("LIVE", "DEMOTED"): frozenset({"breached"}),
    ("LIVE", "PAPER"): frozenset({"demoted", "killed"}),
    ("DEMOTED", "PAPER"): frozenset({"lock_lifted"}),
    ("DEMOTED", "ELIGIBLE"): frozenset({"lock_lifted_with_criteria_met"}),
}
# The row of the same turn that shows why; a person's demotion has none of its own.
CAUSES: Final[dict[str, str]] = {
    "criteria_met": "mark", "criterion_lost": "mark", "config_changed": "config", "promoted": "promotion",
    "promoted_by_force": "promotion", "breached": "demotion", "killed": "KILL", "lock_lifted": "lock_lifted",
    "lock_lifted_with_criteria_met": "lock_lifted",
}  # fmt: skip
ECHOED: Final = {"promotion": "LIVE", "demotion": "DEMOTED"}
OF_THE_STATUS: Final = frozenset(
    {"STATUS_CHANGE", "status_change", "promotion", "demotion", "lock_lifted", "PROMOTION", "DEMOTION", "KILL",
     "frozen", "flattening"}
)  # fmt: skip


class Lifecycle:
    """Follows the status through the log."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._report = known.report
        self._lock: tuple[str, int | None] | None = None  # the demotion, and until when (None: a person's act)

    def follow(self, turn: Turn) -> None:
        told: Line | None = None  # the entry whose event is still to come
        before: Line | None = None
        for number, line in enumerate(turn.lines):
            after = turn.lines[number + 1] if number + 1 < len(turn.lines) else None
            if line.type == "STATUS_CHANGE":
                self._untold(told)
                told = line
            elif line.kind == "status_change":
                self._move(turn, told, before, line)
                told = None
            elif line.kind == "promotion" and line.body["tx_hash"] is None:
                self._echoed(line, after)
                self._promoted(turn, line)
            elif line.kind == "demotion":
                self._echoed(line, after)
                self._demoted(turn, line)
            elif line.kind == "lock_lifted":
                self._lifted(turn, line)
            before = line
        self._untold(told)

    def _untold(self, told: Line | None) -> None:
        if told is not None:
            self._report.say("12", told.row, "a STATUS_CHANGE without its status_change")

    def _move(self, turn: Turn, told: Line | None, before: Line | None, event: Line) -> None:
        must, row = self._report.must, event.row
        start, end = event.body["from"], event.body["to"]
        must(start == self._known.status, "13", row, f"from {start}, the status was {self._known.status}")
        self._known.status = end
        must((start, end) in MOVES, "14", row, f"{start} -> {end} is no move of the table")
        for cause, status in ECHOED.items():
            shown = before is not None and before.kind == cause
            must(shown == (end == status), "12", row, f"a status_change to {end}, and before it a {cause}: {shown}")
        if told is None:
            self._report.say("12", row, "a status_change without its entry before it")
            return
        must(
            (told.data["from"], told.data["to"]) == (start, end), "12", row, f"{start} -> {end}, its entry {told.data}"
        )
        tells = told.tags == [start, end] and event.body["reason"] in told.body["text"]
        must(tells, "12", row, f"{event.body['reason']}, its entry tells {told.tags} {told.body['text']}")
        if end not in ECHOED.values():
            must(told is before, "12", row, "its entry is not the row before it")
        trigger = told.data["trigger"]
        must(trigger in MOVES.get((start, end), ()), "14", row, f"{trigger} does not lead from {start} to {end}")
        if trigger in CAUSES:
            must(turn.has(CAUSES[trigger]), "14", row, f"{trigger}, and no {CAUSES[trigger]} beside it")
        self._known.report.marks["eligible"] += end == "ELIGIBLE"
        self._known.report.marks["eligibility lost"] += (start, end) == ("ELIGIBLE", "PAPER")

    def _echoed(self, cause: Line, echo: Line | None) -> None:
        to = ECHOED[cause.kind]
        fits = echo is not None and echo.kind == "status_change" and echo.body["to"] == to and echo.ts == cause.ts
        self._report.must(fits, "12", cause.row, f"a {cause.kind} without its status_change to {to} directly after it")

    def _promoted(self, turn: Turn, line: Line) -> None:
        entry = _entry(turn, "PROMOTION", line)
        self._report.must(entry is not None, "12", line.row, "a promotion without its entry before it")
        if self._lock is not None:
            demotion, until = self._lock
            self._report.say("20" if until is None else "19", line.row, f"promoted while {demotion} locks it")
        if self._known.status == "PAPER":
            forced = entry is not None and entry.data["force"] is True
            self._report.must(forced, "14", line.row, "promoted from PAPER without force")

    def _demoted(self, turn: Turn, line: Line) -> None:
        must, body = self._report.must, line.body
        must(_entry(turn, "DEMOTION", line) is not None, "12", line.row, "a demotion without its entry before it")
        must(turn.has("RISK_BREACH"), "12", line.row, "a demotion without its breach")
        until = None if body["locked_until"] is None else millis(body["locked_until"])
        due = next_midnight(line.ts) if body["breach"] == "daily" else None
        must(until == due, "19", line.row, f"a {body['breach']} breach locks until {body['locked_until']}")
        self._lock = (body["journal_ref"], due)
        self._known.locked = True

    def _lifted(self, turn: Turn, line: Line) -> None:
        named = line.body["demotion"]
        if self._lock is None:
            self._report.say("20", line.row, f"lifts {named}, and nothing is locked")
            return
        demotion, until = self._lock
        self._report.must(named == demotion, "20", line.row, f"lifts {named}, the lock is of {demotion}")
        if until is None:
            change = turn.only("status_change")
            acted = change is not None and demotion in change.body["reason"]
            self._report.must(acted, "20", line.row, "a max-drawdown lock is lifted by no act that names its demotion")
            self._known.live.gauge.risk_peak = self._known.live.gauge.equity
        else:
            self._report.must(
                line.ts >= until, "19", line.row, f"the lock of {demotion} ends {until - line.ts} ms later"
            )
        self._lock, self._known.locked = None, False


def _entry(turn: Turn, kind: str, event: Line) -> Line | None:
    """The entry of this type that the event refers to, if it came before it."""
    ref = event.body["journal_ref"]
    return next((e for e in turn.lines if e.type == kind and e.body["id"] == ref and e.row < event.row), None)
