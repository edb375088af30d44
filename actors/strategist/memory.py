"""What the Strategist remembers: a fold over the log, so that a restart forgets nothing. Pure: who asks later what the
strategy saw at some time folds the same rows in the same way."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import Factory, define, frozen
from attrs import evolve as changed

from actors.strategist import outcomes
from actors.strategist.outcomes import Outcomes
from actors.strategist.signals import PairView
from protocol.codec import from_plain
from protocol.events import (
    LIFE_OF_THE_PROCESS,
    ConfigAdopted,
    Decided,
    Genesis,
    JournalEntry,
    RoundSettled,
    Row,
    Trade,
)
from protocol.market import Round
from protocol.settings import AgentConfig
from protocol.strategy import StrategySpec
from protocol.times import from_wire

FOLDED = (Genesis, ConfigAdopted, RoundSettled, JournalEntry, Decided, Trade)


@frozen
class Mind:
    """What the Strategist remembers between turns, besides its view of each pair."""

    ts: datetime
    version: int = 0
    config: AgentConfig | None = None
    cursor: Any = None
    outcomes: Outcomes = Factory(dict)
    live_outcomes: Outcomes = Factory(dict)
    killed: str | None = None  # when the guard was revoked, until it is restored
    last_kill: str | None = None  # the same, also after that
    notes: int = 0  # entries on the life of the process so far: what tells their ids apart

    def after(self, row: Row) -> Mind:
        mind = self if self.ts == row.ts else changed(self, ts=row.ts)
        match row:
            case ConfigAdopted():
                return changed(mind, version=row.version, config=row.config)
            case RoundSettled():
                return changed(mind, cursor=row.cursor)
            case JournalEntry(type="KILL"):
                return changed(mind, killed=row.data["killed_at"], last_kill=row.data["killed_at"])
            case JournalEntry(type="RESTORE"):
                return changed(mind, killed=None)
            case JournalEntry() if row.type in LIFE_OF_THE_PROCESS:
                return changed(mind, notes=mind.notes + 1)
            case Decided() | Trade() | JournalEntry():
                paper, live = mind.outcomes, mind.live_outcomes
                return changed(
                    mind, outcomes=outcomes.evolve(paper, row), live_outcomes=outcomes.evolve(live, row, "live")
                )
            case _:
                return mind


@define
class Memory:
    """The mind, and the views of the pairs: these take in each settled candle once."""

    mind: Mind
    views: dict[str, PairView]
    seen: datetime | None = None

    @classmethod
    def thawed(cls, plain: dict[str, Any]) -> Memory:
        mind, seen = from_plain(plain["mind"], Mind), plain["seen"]
        memory = cls(mind, {}, from_wire(seen) if seen else None)
        memory.views = {pair: PairView.thawed(view, memory.config.strategy) for pair, view in plain["views"].items()}
        return memory

    @property
    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        views = {pair: view.state for pair, view in self.views.items()}
        return {"mind": self.mind, "views": views, "seen": self.seen}

    @property
    def config(self) -> AgentConfig:
        assert self.mind.config is not None, "a log's second row is its config"
        return self.mind.config

    @property
    def spec(self) -> StrategySpec:
        return self.config.strategy.spec

    def see(self, round: Round | RoundSettled) -> None:
        """Take in a round's candles; a round that is tried again was already seen."""
        if self.seen is not None and round.ts <= self.seen:
            return
        self.seen = round.ts
        for pair, candles in round.before.items():
            for candle in candles:
                self._view(pair).see(candle, {})
        for pair, tick in round.ticks.items():
            self._view(pair).see(tick.candle, round.series)

    def _view(self, pair: str) -> PairView:
        if pair not in self.views:
            self.views[pair] = PairView.of(self.config.strategy)
        return self.views[pair]

    def fold(self, row: Row) -> Memory:
        """A row of the log, when the state is restored."""
        if isinstance(row, ConfigAdopted):
            self.adopt(row)
        else:
            self.mind = self.mind.after(row)
        if isinstance(row, RoundSettled):
            self.see(row)
        return self

    def adopt(self, row: ConfigAdopted) -> None:
        """Views follow the spec: with another one they begin cold."""
        if self.mind.config is None or self.spec != row.config.strategy.spec:
            self.views, self.seen = {}, None
        self.mind = self.mind.after(row)
