"""The RiskEngine: policy. Every order passes it, every round's outcome is assessed by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors.messages import AdoptConfig, Append, ApplyAct, Assess, Assessed, Capture, Judge
from actors.restoring import restored
from actors.risk_engine.moves import acted, demote_on_breach, proven
from actors.risk_engine.rules import assess, config_rows, judge, veto_rows
from actors.risk_engine.state import FOLDED, RiskState, evolve, traded
from actors.tower import Actor, Address
from actors.turn import Draft, Turn
from protocol.codec import from_plain, to_plain
from protocol.errors import Refusal
from protocol.events import ConfigAdopted, Marked, Row, Trade

FLOOR = "RiskEngine"


class RiskEngine(Actor):
    def __init__(self, journal: Address) -> None:
        self._journal = journal
        self._state: Draft[RiskState]

    async def restore(self) -> None:
        self._state = Draft(
            await restored(
                self._journal,
                FLOOR,
                RiskState(),
                kinds=FOLDED,
                evolve=evolve,
                thaw=lambda plain: from_plain(plain, RiskState),
            )
        )

    async def receive(self, message: Any) -> Any:
        match message:
            case Judge():
                return self._judge(message)
            case Assess():
                return self._assess(message)
            case ApplyAct():
                return self._apply(message)
            case AdoptConfig():
                return self._adopt(message)
            case Capture():
                return to_plain(self._state.settled)
            case _:
                raise TypeError(f"the RiskEngine does not take {message!r}")

    def _judge(self, asked: Judge) -> Refusal | None:
        self._state.begin(asked.turn)
        refusal = judge(traded(self._state.now, asked.trades), asked.order, asked.book, asked.at)
        if refusal is not None:
            self._append(asked.turn, veto_rows(refusal, asked.order, asked.at))
        return refusal

    def _assess(self, asked: Assess) -> Assessed:
        """The paper book's mark is looked at as in every round; then the live one's, and what was traded live."""
        self._state.begin(asked.turn)
        before, told, at = self._state.now, list[Row](), asked.rows[-1].ts
        self._fold(asked.rows)
        if any(isinstance(row, Marked) for row in asked.rows):
            told += self._append(asked.turn, assess(before, self._state.now, at))
            told += self._append(asked.turn, demote_on_breach(self._state.now, at))
        for row in asked.rows:
            if isinstance(row, Trade):
                told += self._append(asked.turn, proven(self._state.now, row))
        return Assessed(self._state.now, tuple(told))

    def _apply(self, asked: ApplyAct) -> Refusal | tuple[Row, ...]:
        self._state.begin(asked.turn)
        rows = acted(self._state.now, asked.act, asked.at, flat=asked.flat)
        return rows if isinstance(rows, Refusal) else self._append(asked.turn, rows)

    def _adopt(self, asked: AdoptConfig) -> tuple[Row, ...]:
        """A lost eligibility is explained by the record of the config that is left."""
        self._state.begin(asked.turn)
        before = self._state.now
        adopted = ConfigAdopted(asked.at, asked.version, asked.config)
        self._append(asked.turn, (adopted,))
        basis = self._state.now if asked.version == 1 else before
        return adopted, *self._append(asked.turn, config_rows(basis, asked.version, asked.at))

    def _append(self, turn: Turn, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """Journal what was decided here, and remember it."""
        if rows:
            self._journal.tell(Append(turn, rows))
            self._fold(rows)
        return rows

    def _fold(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._state.now = evolve(self._state.now, row)
