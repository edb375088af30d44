"""An independent judge of the log: what it must say, by the written contract alone.

It imports nothing of the product and shares none of its folds. What it can complain of, by the statements of
reliability.md: 1 places and `seq`, 3 whole turns, 4 the hash chain and the index columns, 9 time, 12 entry before
event, and echoes, 13 the status from one change to the next, 14 moves and their causes, 17 live orders, 18 orders and
their ends, 19 and 20 the locks of promotion, 21 what a mark leads to, 22 locks and their numbers, 23 the UTC day, 26 to
28 what is signed, mined and given up, 31 doubt, 32 what is frozen, 33 the bound of a swap, 34 the ledgers, 35 rounds
that killed. And by names of ours: "evaluation" eligibility, "fill" price and size of a fill,
"fold" repeats that are counted, "gap" holes in the market, "genesis" the first rows, "id" entries, "life" starts and
stops, "outcome" one outcome a decision, "quote" evidence, "round" rounds and their cursor, "snapshot" when and what,
"version" configs, "veto" why, "wire" fields, "shape" what cannot be read as any of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.simulation.judge.chain import Chain
from tests.simulation.judge.config import Config
from tests.simulation.judge.known import Known
from tests.simulation.judge.lifecycle import OF_THE_STATUS, Lifecycle
from tests.simulation.judge.orders import Orders
from tests.simulation.judge.report import Line, LoggedRow, Report, Violation
from tests.simulation.judge.risk import Gauge, Run
from tests.simulation.judge.rounds import Rounds, check_run
from tests.simulation.judge.turns import Turn, Turns

__all__ = ["Judge", "LoggedRow", "Violation"]


class Judge:
    """Reads a log as it grows, each row once. Never raises, whatever it reads."""

    def __init__(self) -> None:
        self._report = Report()
        self._known = Known(self._report)
        self._chain = Chain(self._report)
        self._turns = Turns(self._report)
        self._rounds = Rounds(self._known)
        self._lifecycle = Lifecycle(self._known)
        self._orders = Orders(self._known)

    @property
    def violations(self) -> list[Violation]:
        """What is wrong, in the order in which it was found."""
        return self._report.violations

    @property
    def marks(self) -> Counter[str]:
        """Rare states, and how often the log showed them."""
        return self._report.marks

    def read(self, rows: Iterable[LoggedRow]) -> None:
        """The rows that have become durable since: whole turns."""
        for logged in rows:
            line = self._chain.take(logged)
            if line is None:
                continue
            try:
                for turn in self._turns.take(line):
                    self._judge(turn)
            except (ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError) as error:
                self._report.say("shape", line.row, f"it cannot be understood: {error!r}")
        if (first := self._turns.open) is not None:
            self._report.say("3", first.row, "what begins here is durable in part")

    def _judge(self, turn: Turn) -> None:
        first = turn.lines[0]
        if self._known.config is None and turn.cause != "config":
            self._report.say("genesis", first.row, f"the log begins with a {first.kind}")
            return
        if self._known.owed and turn.cause != "note":
            self._report.say("35", first.row, f"a round was passed over, {self._known.owed} of its deaths are not told")
            self._known.owed = 0
        self._orders.follow(turn)
        match turn.cause:
            case "note":
                self._note(first)
            case "config":
                self._config(turn)
            case "round":
                alive = self._known.starts > 0 and not self._known.stopped
                self._report.must(alive, "life", first.row, "a round of a process that has not started, or has stopped")
                self._rounds.follow(turn)
            case "order":
                self._rounds.between(turn)
        for line in turn.lines:
            if line.kind in OF_THE_STATUS or line.type in OF_THE_STATUS:
                self._lifecycle.follow(turn)
                break

    def _note(self, line: Line) -> None:
        """What a process says of its own life."""
        known = self._known
        known.starts += line.type == "STARTED"
        # A process may give up before it has said that it has started, and so may the next.
        twice = line.type == known.note == "STOPPED" and "meltdown" not in line.tags
        known.report.must(not twice, "life", line.row, "it has stopped, and stops again")
        known.note = line.type
        if line.type == "STARTED":  # what the process before it did not tell any more, nobody knows
            known.deaths = known.owed = 0
        elif line.type == "ACTOR_RESTARTED":
            known.deaths, known.owed = known.deaths + 1, max(known.owed - 1, 0)
        known.stopped = line.type == "STOPPED" or (known.stopped and line.type != "STARTED")
        if line.type == "ACTOR_RESTARTED" or (line.type == "STARTED" and known.starts > 1):
            known.report.marks["restart"] += 1
            known.report.marks["lock over a restart"] += bool(known.locks(line.ts))

    def _config(self, turn: Turn) -> None:
        """A version is adopted: the first founds the log, every other one begins a fresh run."""
        known, must = self._known, self._report.must
        adopted, began = turn.only("config"), turn.lines[-1]
        assert adopted is not None, "that is what makes it such a turn"
        before, config = known.config, Config.of(adopted.body)
        due = before.version + 1 if before else 1
        must(config.version == due, "version", adopted.row, f"version {config.version}, it should be {due}")
        labels = [line.type or line.kind for line in turn.lines]
        if before is None:
            must(labels == ["genesis", "config", "run_started"], "genesis", turn.lines[0].row, f"begins with {labels}")
            known.ledger.cash, known.gauge = config.initial, Gauge.opened(config.initial)
        else:
            lost = ["STATUS_CHANGE", "status_change"] if known.status == "ELIGIBLE" else []
            told = labels == ["CONFIG_CHANGE", "config", *lost, "run_started"]
            must(told, "evaluation" if lost else "version", adopted.row, f"a change of config led to {labels}")
            if turn.lines[0].type == "CONFIG_CHANGE":
                says = turn.lines[0].data["version"]
                must(says == config.version, "version", adopted.row, f"version {config.version}, its entry says {says}")
            known.report.marks["config changed under a lock"] += bool(known.locks(adopted.ts))
        known.config = config
        known.run, known.gauge.risk_peak = Run(config.version, began.ts), known.gauge.equity
        check_run(known, began)
