"""What the log has said so far: the state that the checkers share, each part of it counted by their own rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from tests.simulation.judge.config import Config
from tests.simulation.judge.money import Ledger
from tests.simulation.judge.report import Line, Plain, Report
from tests.simulation.judge.risk import Block, Gauge, Objection, Run, in_force, objection


@dataclass(slots=True)
class Live:
    """The live book, and whether all of it is to be sold, or nothing may be begun."""

    ledger: Ledger = field(default_factory=Ledger)
    gauge: Gauge = field(default_factory=Gauge)
    opened: bool = False
    flattening: bool = False
    frozen: bool = False


@dataclass(slots=True)
class Known:
    """`blocked` is since the last run that failed; `locked` says whether a demotion's lock holds."""

    report: Report
    config: Config | None = None
    ledger: Ledger = field(default_factory=Ledger)
    gauge: Gauge = field(default_factory=Gauge)
    live: Live = field(default_factory=Live)
    run: Run = field(default_factory=lambda: Run(0, 0))
    blocked: Block | None = None
    status: str = "PAPER"
    locked: bool = False
    starts: int = 0
    stopped: bool = False
    note: str = ""  # the type of the last one
    deaths: int = 0  # of actors in this process, as told since a round was settled
    owed: int = 0  # so many more must be told right after a round that was passed over for them
    marked_at: int = -1  # when a round was settled last, for the midnights between
    snapshots_at: dict[str, int] = field(default_factory=dict)  # the last one of each book

    @property
    def settings(self) -> Config:
        """Raises ValueError before the first config."""
        if self.config is None:
            raise ValueError("there is no config before this row")
        return self.config

    def locks(self, ts: int) -> list[str]:
        """What keeps entries, or a promotion, back at this time."""
        return in_force(self.gauge, self.blocked, ts) + ["promotion"] * self.locked


@dataclass(slots=True)
class Round:
    """A round that was decided: what it brought, and where each of its pairs closed."""

    row: int
    ts: int
    ticks: dict[str, Plain]
    closes: dict[str, Fraction]
    gaps: list[Plain]

    @classmethod
    def of(cls, settled: Line) -> Round:
        ticks = settled.body["ticks"]
        closes = {pair: Fraction(tick["candle"]["close"]) for pair, tick in ticks.items()}
        return cls(settled.row, settled.ts, ticks, closes, settled.body["gaps"])


def objects(known: Known, closes: Mapping[str, Fraction], pair: str, size: int, ts: int) -> Objection | None:
    """What policy must say to this entry, by all that is known."""
    return objection(known.settings, known.gauge, known.blocked, known.ledger, closes, pair, size, ts)


class Rows:
    """A turn's rows, taken one after the other."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines
        self._next = 0

    def take(self) -> Line | None:
        """The next row; None at the end."""
        if self._next == len(self._lines):
            return None
        self._next += 1
        return self._lines[self._next - 1]

    def take_if(self, kind: str, key: str, value: str) -> Line | None:
        """The next row, if it is of this kind and says this; else it stays."""
        if self._next == len(self._lines):
            return None
        line = self._lines[self._next]
        if line.kind != kind or line.body[key] != value:
            return None
        return self.take()

    @property
    def rest(self) -> list[Line]:
        return self._lines[self._next :]
