"""The Executor: fills orders, keeps the ledger, takes the snapshots."""

from __future__ import annotations

from typing import Any

from attrs import Factory, frozen

from actors.executor.book import FOLDED, Book, evolve
from actors.executor.fills import done_rows, execute, fill_at_open
from actors.executor.snapshots import due, mark_of, snapshot
from actors.messages import AdoptConfig, Append, Assess, Capture, CloseRound, Execute, FillPlaced, ReadBook
from actors.restoring import restored
from actors.tower import Actor, Address
from actors.turn import Draft, Turn
from protocol.codec import from_plain, to_plain
from protocol.errors import Refusal
from protocol.events import ConfigAdopted, Decided, Marked, OrderPlaced, Row, Trade
from protocol.orders import entry_ref
from protocol.settings import AgentConfig

FLOOR = "Executor"


@frozen
class _Desk:
    """What the Executor remembers: the paper book, and the config it fills by."""

    book: Book = Factory(Book)
    config: AgentConfig | None = None
    trades: tuple[Trade, ...] = ()  # of the turn in flight; the risk engine is told of them with the mark

    @property
    def settings(self) -> AgentConfig:
        assert self.config is not None, "every log begins with a config"
        return self.config

    def after(self, row: Row) -> _Desk:
        config = row.config if isinstance(row, ConfigAdopted) else self.config
        trades = (*self.trades, row) if isinstance(row, Trade) else () if isinstance(row, Marked) else self.trades
        return _Desk(evolve(self.book, row), config, trades)


class Executor(Actor):
    def __init__(self, journal: Address, risk: Address) -> None:
        self._journal = journal
        self._risk = risk
        self._desk: Draft[_Desk]

    async def restore(self) -> None:
        self._desk = Draft(
            await restored(
                self._journal,
                FLOOR,
                _Desk(),
                kinds=FOLDED,
                evolve=_Desk.after,
                thaw=lambda plain: from_plain(plain, _Desk),
            )
        )

    async def receive(self, message: Any) -> Any:
        match message:
            case Execute():
                return self._execute(message)
            case FillPlaced():
                return self._fill(message)
            case CloseRound():
                return await self._close(message)
            case ReadBook():
                return self._desk.settled.book
            case AdoptConfig():
                self._desk.begin(message.turn)
                self._fold(ConfigAdopted(message.at, message.version, message.config))
                return None
            case Capture():
                return to_plain(self._desk.settled)
            case _:
                raise TypeError(f"the Executor does not take {message!r}")

    def _execute(self, asked: Execute) -> Refusal | Trade | OrderPlaced:
        self._desk.begin(asked.turn)
        desk = self._desk.now
        done = execute(asked.order, asked.quote, desk.book, desk.settings.paper, asked.at)
        self._append(asked.turn, *done_rows(done, asked.order, asked.quote, desk.settings.paper))
        return done

    def _fill(self, asked: FillPlaced) -> Refusal | Trade:
        self._desk.begin(asked.turn)
        desk, order = self._desk.now, asked.placed.order
        done = fill_at_open(asked.placed, asked.tick.candle, desk.book, desk.settings.paper, asked.at)
        if isinstance(done, Refusal):  # the Strategist journals it; here it no longer waits
            self._fold(Decided(asked.at, order.pair, order.side, done.rule, entry_ref(order, asked.at)))
        self._append(asked.turn, *done_rows(done, order, asked.placed.quote, desk.settings.paper))
        return done

    async def _close(self, asked: CloseRound) -> Book:
        """Mark, have it assessed, and take a snapshot when one is due: in this order, so that a snapshot shows what the
        risk engine has seen."""
        self._desk.begin(asked.turn)
        trades, mark = self._desk.now.trades, mark_of(self._desk.now.book, asked.round)
        self._append(asked.turn, mark)
        book = self._desk.now.book
        risk = await self._risk.ask(Assess(asked.turn, (*trades, mark)))
        if due(book, asked.round.ts, self._desk.now.settings.snapshot_minutes):
            self._append(asked.turn, snapshot(risk, book, asked.round.ts))
        return self._desk.now.book

    def _append(self, turn: Turn, *rows: Row) -> None:
        """Journal what was done here, and remember it."""
        if rows:
            self._journal.tell(Append(turn, rows))
        for row in rows:
            self._fold(row)

    def _fold(self, row: Row) -> None:
        self._desk.now = self._desk.now.after(row)
