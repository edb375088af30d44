"""The Executor: fills orders, keeps the ledger, takes the snapshots."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from actors.executor.book import FOLDED, Book, evolve
from actors.executor.fills import executed_entry, fill
from actors.executor.snapshots import due, snapshot
from actors.messages import AdoptConfig, Append, Assess, Capture, CloseRound, Execute, ReadBook
from actors.restoring import restored
from actors.tower import Actor, Address
from actors.turn import Draft, Turn
from protocol.codec import from_plain, to_plain
from protocol.errors import Outage, Refusal
from protocol.events import ConfigAdopted, Marked, Row, Trade
from protocol.settings import AgentConfig

FLOOR = "Executor"


@frozen
class _Desk:
    """What the Executor remembers: the paper book, and the config it fills by."""

    book: Book = Book()
    config: AgentConfig | None = None
    trades: tuple[Trade, ...] = ()  # of the turn in flight; the risk engine is told of them with the mark

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
                return await self._execute(message)
            case CloseRound():
                return await self._close(message)
            case ReadBook():
                return self._desk.now.book
            case AdoptConfig():
                self._desk.begin(message.turn)
                self._fold(ConfigAdopted(message.at, message.version, message.config))
                return None
            case Capture():
                return to_plain(self._desk.now)
            case _:
                raise TypeError(f"the Executor does not take {message!r}")

    async def _execute(self, asked: Execute) -> Outage | Refusal | Trade:
        self._desk.begin(asked.turn)
        desk = self._desk.now
        assert desk.config is not None, "no order comes before the config"
        trade = fill(asked.order, asked.quote, desk.book, desk.config.paper, asked.at)
        if isinstance(trade, Refusal):
            return trade
        entry = executed_entry(trade, asked.order, asked.quote)
        return await self._append(asked.turn, entry, trade) or trade

    async def _close(self, asked: CloseRound) -> Outage | Book:
        """Mark, have it assessed, and take a snapshot when one is due: in this order, so that a snapshot shows what the
        risk engine has seen."""
        self._desk.begin(asked.turn)
        trades = self._desk.now.trades
        prices = {pair: tick.candle.close for pair, tick in asked.round.ticks.items()}
        book = self._desk.now.book.priced(prices)
        mark = Marked(asked.round.ts, book.equity, prices)
        if outage := await self._append(asked.turn, mark):
            return outage
        risk = await self._risk.ask(Assess(asked.turn, (*trades, mark)))
        if isinstance(risk, Outage):
            return risk
        config = self._desk.now.config
        assert config is not None, "no round comes before the config"
        if due(book, asked.round.ts, config.snapshot_minutes):
            taken = snapshot(risk, book, asked.round.ts)
            if outage := await self._append(asked.turn, taken):
                return outage
        return self._desk.now.book

    async def _append(self, turn: Turn, *rows: Row) -> Outage | None:
        outage = await self._journal.ask(Append(turn, rows))
        if outage is None:
            for row in rows:
                self._fold(row)
        return outage

    def _fold(self, row: Row) -> None:
        self._desk.now = self._desk.now.after(row)
