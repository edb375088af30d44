"""A round of candles: what was decided, the mark, and what the mark led to."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from tests.simulation.judge.decisions import Decisions, check_gaps
from tests.simulation.judge.known import Known, Round, Rows
from tests.simulation.judge.money import UNITS, text, units
from tests.simulation.judge.report import DAY, Line, Plain, millis, next_midnight
from tests.simulation.judge.risk import Block, Run, fallen, reached, shown
from tests.simulation.judge.turns import Turn

# Which statement a consequence of the mark belongs to, where it is missing or should not be there.
STATEMENTS = {
    "RISK_BREACH daily_drawdown": "21", "RISK_BREACH max_drawdown": "21", "run_failed": "21", "run_started": "22",
    "status_change": "evaluation", "snapshot": "snapshot",
}  # fmt: skip
DEADLY = 3  # so many deaths, and a round is passed over
OF_A_DEMOTION = frozenset({"DEMOTION", "demotion", "flattening", "lock_lifted"})


class Rounds:
    """Follows the rounds, skipped ones included."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._report = known.report
        self._decisions = Decisions(known)
        self._settled_at = -1  # the last round that was decided
        self._cursor: Any = None
        self._time = -1  # of the last round, skipped or not
        self._leap_day = -1

    def follow(self, turn: Turn) -> None:
        settled = turn.lines[-1]
        cursor = settled.body["cursor"]
        self._report.must(
            cursor is not None and cursor != self._cursor, "round", settled.row, f"its cursor is {cursor}"
        )
        self._cursor = cursor
        self._calendar(settled)
        if turn.only("mark") is None:
            self._skipped(turn, settled)
        else:
            self._decided(turn, settled)
        self._known.deaths, self._time = 0, settled.ts

    def between(self, turn: Turn) -> None:
        """What became of a live order since the last one."""
        self._decisions.between(turn.lines)

    def _calendar(self, settled: Line) -> None:
        """Rare days."""
        known, day = self._known, settled.ts // DAY
        if known.marked_at >= 0 and day > known.marked_at // DAY:
            known.report.marks["midnight with an open intent"] += bool(known.ledger.waiting)
            known.report.marks["midnight with an open position"] += bool(known.ledger.positions)
        date = datetime.fromtimestamp(settled.ts // 1000, UTC)
        if (date.month, date.day) == (2, 29) and day != self._leap_day:
            self._leap_day = day
            known.report.marks["leap day"] += 1

    def _skipped(self, turn: Turn, settled: Line) -> None:
        """Passed over: nothing was decided, the gaps are told all the same."""
        *gaps, entry = turn.lines[:-1] or [settled]
        must = self._report.must
        reason = next((tag for tag in ("crash", "market") if entry.type == "SKIPPED" and entry.tags == [tag]), None)
        if reason is None:
            self._report.say("round", settled.row, "a round without a mark, which was not skipped")
            return
        self._report.marks[f"skipped by {reason if reason == 'crash' else 'clock'}"] += 1
        if reason == "crash":
            self._known.owed = max(DEADLY - self._known.deaths, 0)
        missed = millis(entry.data["round"])
        # One that kills may be late besides; the log's time stands still for any that is.
        held = settled.ts == max(missed, self._time) and (reason == "crash" or missed <= self._time)
        must(held, "round", entry.row, f"skips the round of {entry.data['round']}")
        pairs = list(settled.body["ticks"])
        must(
            pairs in ([], entry.data["pairs"]), "round", entry.row, f"skips {entry.data['pairs']}, brought are {pairs}"
        )
        others = [line.row for line in gaps if line.type != "SKIPPED" or "gap" not in line.tags]
        must(not others, "round", entry.row, f"rows {others} of a round that was skipped")
        check_gaps(
            self._report, settled.body["gaps"], [line.data for line in gaps if line.row not in others], entry.row
        )

    def _decided(self, turn: Turn, settled: Line) -> None:
        self._report.must(settled.ts > self._settled_at, "round", settled.row, "a round of a time that was decided")
        self._settled_at = settled.ts
        for pair, tick in settled.body["ticks"].items():
            candle = tick["candle"]
            whole = candle["ts"] == settled.body["ts"] and candle["seconds"] > 0
            whole = whole and 0 < candle["low"] <= min(candle["open"], candle["close"])
            whole = whole and max(candle["open"], candle["close"]) <= candle["high"] and candle["volume"] >= 0
            self._report.must(whole, "round", settled.row, f"{pair} has no candle that closed now: {candle}")
        rows, round = Rows(turn.lines), Round.of(settled)
        mark = self._decisions.follow(round, rows)
        if mark is not None and mark.body["phase"] == "paper":
            self._marked(round, mark, rows.rest[:-1])
            for other in rows.rest:
                at_closes = other.kind != "mark" or other.body["prices"] == round.closes
                self._report.must(at_closes, "34", other.row, "marked at other prices than the round's closes")
        else:
            self._report.say("round", settled.row, "its first mark is not of the paper book")

    # --- the mark, and after it

    def _marked(self, round: Round, mark: Line, rest: list[Line]) -> None:
        known, config, ledger = self._known, self._known.settings, self._known.ledger
        must, gauge, run = self._report.must, known.gauge, known.run
        must(mark.body["prices"] == round.closes, "34", mark.row, "marked at other prices than the round's closes")
        for pair in sorted(ledger.positions.keys() - round.closes.keys() - ledger.closes.keys()):
            self._report.say("34", mark.row, f"{pair} is held and was never marked")
        equity = ledger.equity(round.closes)
        ledger.settle(round.closes, mark.ts)
        must(
            units(mark.body["equity"]) == equity, "34", mark.row, f"equity is {text(equity)}, not {mark.body['equity']}"
        )
        cooling = gauge.cooldown is not None
        expected = []
        if gauge.marked(mark.ts, equity, config):
            expected.append("RISK_BREACH daily_drawdown")
        self._report.marks["cooldown"] += gauge.cooldown is not None and not cooling
        known.marked_at = mark.ts
        if not run.failed:
            if not config.off and reached(gauge.risk_peak, equity, config.max_drawdown):
                expected += ["RISK_BREACH max_drawdown", "run_failed"]
                measured = shown(fallen(gauge.risk_peak, equity))
                known.blocked = Block(next_midnight(mark.ts), measured, config.max_drawdown)
                run.failed = True
        elif known.blocked is None or mark.ts >= known.blocked.until:
            expected.append("run_started")
            known.run = run = Run(config.version, mark.ts)
            gauge.risk_peak = equity
        earned = run.earned(gauge, config, mark.ts)
        if known.status == ("PAPER" if earned else "ELIGIBLE"):
            expected.append("status_change")
        phase = "live" if self._status_after(rest) == "LIVE" else "paper"
        last = known.snapshots_at.get(phase)
        if last is None or mark.ts >= last + config.snapshot_every:
            expected.append("snapshot")
        self._led_to(expected, rest, mark)

    def _status_after(self, rest: list[Line]) -> str:
        """What the status is when a snapshot is taken."""
        changes = [line.body["to"] for line in rest if line.kind == "status_change"]
        return changes[-1] if changes else self._known.status

    def _led_to(self, expected: list[str], rest: list[Line], mark: Line) -> None:
        """The rows after a mark against what it should lead to."""
        found = []
        status = self._known.status
        for number, line in enumerate(rest):
            label = line.type or line.kind
            if line.kind == "status_change":
                status = line.body["to"]
            if self._of_live(rest, number):
                continue
            if label == "RISK_BREACH":
                label += f" {line.data['rule']}"
                self._breach(line, line.data)
            elif label == "run_failed":
                self._breach(line, line.body)
            elif label == "run_started":
                check_run(self._known, line)
            elif label == "snapshot":
                self._snapshot(line, status)
            if label != "STATUS_CHANGE":  # the lifecycle holds it to its event
                found.append(label)
        if found == expected:
            return
        for label in Counter(expected) - Counter(found):
            self._report.say(STATEMENTS[label], mark.row, f"this mark should have led to {label}")
        for label in Counter(found) - Counter(expected):
            self._report.say(STATEMENTS.get(label, "round"), mark.row, f"this mark led to {label}, and should not have")
        if sorted(found) == sorted(expected):
            self._report.say("12", mark.row, f"this mark led to {found}, in another order")

    def _of_live(self, rest: list[Line], number: int) -> bool:
        """The live book's mark and what it led to, or a lock that ran out: for others to judge."""
        line, after = rest[number], {other.type or other.kind for other in rest[number + 1 :]}
        match line.type or line.kind:
            case "mark":
                return bool(line.body["phase"] == "live")
            case "RISK_BREACH":
                return bool(after & {"DEMOTION", "demotion"}) and "RISK_BREACH" not in after
            case "STATUS_CHANGE":
                return "DEMOTED" in (line.data["from"], line.data["to"])
            case "status_change":
                return "DEMOTED" in (line.body["from"], line.body["to"])
            case label:
                return label in OF_A_DEMOTION

    def _breach(self, line: Line, says: Plain) -> None:
        """The numbers and the end of a lock, as they are told when it begins."""
        known, daily = self._known, line.type == "RISK_BREACH" and says["rule"] == "daily_drawdown"
        block = known.gauge.breach if daily else known.blocked
        if line.kind == "journal_entry":
            named = (says["rule"], "daily" if daily else "max")
            tells = says["breach"] == named[1] and line.tags == list(named)
            self._report.must(tells, "21", line.row, f"a breach of {named}, tagged {line.tags}, {says['breach']}")
            self._report.marks["breach daily" if daily else "breach max"] += 1
            self._report.marks["breach with an open intent"] += bool(known.ledger.waiting)
        until = millis(says["until"])
        due = next_midnight(line.ts)
        self._report.must(
            until == due, "23", line.row, f"locks until {says['until']}, which is not the next UTC midnight"
        )
        if block is not None:
            told = (says["measured"], says["limit"])
            right = told == (block.measured, block.limit)
            self._report.must(right, "22", line.row, f"measured and limit are {told}, counted was {block}")

    def _snapshot(self, line: Line, status: str) -> None:
        known, body = self._known, line.body
        phase = "live" if status == "LIVE" else "paper"
        gauge = known.live.gauge if phase == "live" else known.gauge
        known.snapshots_at[phase] = line.ts
        self._report.must(
            body["phase"] == phase, "snapshot", line.row, f"of the {body['phase']} book, the status is {status}"
        )
        counted = (
            Fraction(gauge.equity, UNITS), shown(fallen(gauge.peak, gauge.equity)),
            shown(gauge.budget_used(known.settings)),
        )  # fmt: skip
        for name, value in zip(("equity", "dd_from_peak", "daily_dd_used"), counted, strict=True):
            self._report.must(body[name] == value, "snapshot", line.row, f"{name} is {body[name]}, not {float(value)}")


def check_run(known: Known, line: Line) -> None:
    """A fresh run is of the version in force, and begins where the book stands."""
    says = (line.body["version"], units(line.body["equity"]))
    due = (known.settings.version, known.gauge.equity)
    known.report.must(says == due, "22", line.row, f"the run begins with {says}, it should with {due}")
