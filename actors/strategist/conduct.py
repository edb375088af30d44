"""A round, decided: every candle's way from signal to outcome, written once.

`conduct` is a plan, not an actor: a generator that yields what it wants of the older floors, one message at a time, and
is sent their answers. The Strategist carries the messages between mailboxes, a backtest hands them straight to the
floors' pure rules; what is decided, and in which order, is here and the same for both.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime
from decimal import Decimal
from typing import Any

from actors.executor.book import Book
from actors.executor.book import evolve as evolve_book
from actors.executor.snapshots import closes
from actors.messages import Append, Execute, FillPlaced, Judge, Verify
from actors.strategist import outcomes as repeated
from actors.strategist.outcomes import Outcomes, overdue, rejected, skipped, told
from actors.strategist.signals import PairView, reason_to_enter, reason_to_leave, stand_aside, too_dear
from actors.turn import Turn
from protocol.errors import Refusal
from protocol.events import Decided, Intended, JournalEntry, OrderPlaced, QuoteRejected, Row, Trade
from protocol.market import Candle, Gap, Round
from protocol.money import PCT, booked
from protocol.orders import Order, Side, entry_ref, named
from protocol.settings import AgentConfig
from protocol.times import to_wire

Step = Append | Verify | Judge | Execute | FillPlaced
Steps = Generator[Step, Any, None]


def intent(pair: str, candle: Candle, view: PairView, config: AgentConfig, book: Book) -> str | None:
    """Why the strategy wants to leave the position it holds in this pair, or to enter one; None where it wants neither.
    While an order waits, nothing: one open intent a pair."""
    held = book.positions.get(pair)
    if pair in book.placed:
        return None
    if held is not None:
        return reason_to_leave(view, config.strategy.spec.params, held, candle)
    return reason_to_enter(view) if pair in config.watchlist else None


class Conductor:
    """One round for one book. The candles have been seen by the `views`; `book` and `outcomes` are as of the round
    before. What is told of the round itself is told with the paper book. Where nothing is `deciding`, the agent is not
    live: only what was counted while it was is still told."""

    def __init__(
        self,
        turn: Turn,
        round: Round,
        config: AgentConfig,
        views: dict[str, PairView],
        book: Book,
        outcomes: Outcomes,
        *,
        deciding: bool = True,
    ) -> None:
        self._turn = turn
        self._round = round
        self._at = round.ts
        self._config = config
        self._views = views
        self.outcomes = outcomes
        self._book = book
        self._deciding = deciding
        self._priced = False
        self._trades: list[Trade] = []

    def steps(self) -> Steps:
        """Orders that wait are filled at the opens; then, at the closes, the pairs are decided in name order. Marking
        the book is the carrier's next step."""
        paper = self._book.phase == "paper"
        if paper and self._round.gaps:
            yield from self._told(*(gap_entry(gap, self._at) for gap in self._round.gaps))
        if self.outcomes:
            yield from self._told(*overdue(self.outcomes, self._at, self._book.phase))
        if not self._deciding:
            return
        if paper and self._book.placed:
            yield from self._fills()
        for pair, tick in self._round.ticks.items():
            order = self._wish(pair, tick.candle)
            if order is not None:
                yield from self._pursue(order)

    def _fills(self) -> Steps:
        for pair, tick in self._round.ticks.items():
            placed = self._book.placed.get(pair)
            if placed is not None:
                outcome = yield FillPlaced(self._turn, placed, tick, self._at)
                yield from self._outcome(placed.order, outcome)

    # --- a wish

    def _wish(self, pair: str, candle: Candle) -> Order | None:
        """What the strategy wants of this pair now."""
        reason = intent(pair, candle, self._views[pair], self._config, self._book)
        if reason is None:
            return None
        if held := self._book.positions.get(pair):
            worth = self._now.worth(pair)
            return self._order(pair, "sell", worth, held.qty, reason)
        size = booked(self._now.equity * self._config.strategy.spec.params.position_size_pct * PCT)
        return self._order(pair, "buy", size, None, reason)

    def _order(self, pair: str, side: Side, size: Decimal, qty: Decimal | None, reason: str) -> Order:
        phase = self._book.phase
        ref = named("ord", self._at, pair, side, *(("live",) if phase == "live" else ()))
        return Order(ref, pair, side, size, qty, reason, phase)

    @property
    def _now(self) -> Book:
        """The book at this round's closes; made when the first decision looks at it."""
        if not self._priced:
            self._book = self._book.marked(closes(self._round), self._at)
            self._priced = True
        return self._book

    # --- a decision

    def _pursue(self, order: Order) -> Steps:
        """Take an order through its gates to its one outcome."""
        turn, at, tick = self._turn, self._at, self._round.ticks[order.pair]
        if order.side == "buy":
            view = self._views[order.pair]
            no = stand_aside(view) or too_dear(view, self._config, order.size_usdt)
            if no:
                yield from self._told(*skipped(self.outcomes, order, no, at))
                return
        quote = yield Verify(turn, order, tick, at)
        if isinstance(quote, QuoteRejected):
            yield from self._told(*rejected(self.outcomes, order, quote, at))
            return
        # From here on the outcome is another than a repeated "no": what was only counted is told first.
        yield from self._told(*told(self.outcomes, order.pair, at, order.phase))
        veto = yield Judge(turn, order, self._now, at, tuple(self._trades))
        if veto is not None:
            yield from self._told(Decided(at, order.pair, order.side, veto.rule, entry_ref(order, at), order.phase))
            return
        outcome = yield Execute(turn, order, quote, at)
        yield from self._outcome(order, outcome)

    def _outcome(self, order: Order, outcome: Trade | OrderPlaced | Intended | Refusal) -> Steps:
        """What the executor answered: it journals what it does, and a refusal is told here."""
        if isinstance(outcome, Refusal):
            yield from self._told(*skipped({}, order, outcome, self._at))
        else:
            self._fold(outcome)

    def _told(self, *rows: Row) -> Steps:
        """Journal these rows, and remember them."""
        if rows:
            yield Append(self._turn, rows)
            for row in rows:
                self._fold(row)

    def _fold(self, row: Row) -> None:
        if isinstance(row, Trade):
            self._trades.append(row)
        self.outcomes = repeated.evolve(self.outcomes, row, self._book.phase)
        self._book = evolve_book(self._book, row)


def gap_entry(gap: Gap, at: datetime) -> JournalEntry:
    bars = "1 bar is" if gap.missing == 1 else f"{gap.missing} bars are"
    text = (
        f"{bars} missing for {gap.pair} between {to_wire(gap.after)} and {to_wire(gap.before)}: "
        "nothing was decided on them."
    )
    data = {"pair": gap.pair, "after": to_wire(gap.after), "before": to_wire(gap.before), "missing": gap.missing}
    return JournalEntry(
        at, named("jrn", gap.before, "gap", gap.pair), "SKIPPED", ("market", "gap", gap.pair), text, data
    )
