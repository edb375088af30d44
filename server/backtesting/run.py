"""The floors without their mailboxes: the daemon's own plan and rules over rounds that are all there already.

What a round leads to is decided by `actors.strategist.conduct` and the pure rules that the actors apply; here is only
what carries the plan's messages to them, in the place of the tower. So a backtest is not a second opinion. Its log is a
callback: events are made, and kept by whoever wants them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from attrs import define, field, frozen

from actors.executor.book import Book, Position
from actors.executor.book import evolve as evolve_book
from actors.executor.fills import done_rows, execute, fill_at_open
from actors.executor.snapshots import closes, due_at, mark_of, snapshot
from actors.messages import Append, Execute, FillPlaced, Judge, Verify
from actors.quote_verifier.verify import verify
from actors.risk_engine.evaluation import criteria
from actors.risk_engine.rules import assess, config_rows, judge, next_change, veto_rows
from actors.risk_engine.state import RiskState, traded
from actors.risk_engine.state import evolve as evolve_risk
from actors.strategist.conduct import Conductor, Step, intent
from actors.strategist.outcomes import Outcomes
from actors.strategist.signals import PairView
from actors.turn import Turn
from protocol.errors import Refusal
from protocol.events import EVENTS, ConfigAdopted, Decided, Event, JournalEntry, Row, Trade
from protocol.market import Round
from protocol.money import PCT, ZERO, booked
from protocol.orders import Order, Quote, entry_ref
from protocol.settings import AgentConfig
from server.backtesting.record import Gate, Record, RoundTrip

CHUNK: Final = 128  # rounds read ahead, few enough to stay in a cache: reading and deciding are timed apart
Sink = Callable[[Event], None]


def nothing(_: Any) -> None:
    """Keeps no event."""


class Rehearsal:
    """One agent over a market's past, from `begins` on: a fresh book, a fresh evaluation. `sink` gets every event as
    the daemon's stream would, from the `started` entry on."""

    def __init__(
        self, config: AgentConfig, pairs: Iterable[str], begins: datetime, started: JournalEntry, sink: Sink = nothing
    ) -> None:
        self._config = config
        self._sink = sink
        self._turn = Turn()
        self._views = {pair: PairView.of(config.strategy) for pair in pairs}
        self._idle: Round | None = None  # the last quiet round, which the book was not marked to
        self._quiet_until = begins
        self._snapshot_due = begins
        self._next_change = begins
        self._outcomes: Outcomes = {}
        self._trades: list[Trade] = []
        adopted = ConfigAdopted(begins, 1, config)
        self._book = evolve_book(Book(), adopted)
        self._risk = evolve_risk(RiskState(), adopted)
        self._judged(config_rows(self._risk, 1, begins))
        self._log((started,))
        self.tally = Tally(begins, self._book.cash)

    def warm(self, round: Round) -> None:
        """See a round's candles, decide nothing."""
        for pair, tick in round.ticks.items():
            self._views[pair].see(tick.candle, round.series)

    def decide(self, round: Round) -> None:
        """Decide a round, as the Strategist would."""
        views, book, series, busy = self._views, self._book, round.series, bool(round.gaps)
        for pair, tick in round.ticks.items():
            view = views[pair]
            view.see(tick.candle, series)
            busy = busy or intent(pair, tick.candle, view, self._config, book) is not None
        idle = self._idle
        if not busy and round.ts < self._quiet_until:
            if idle is not None and not idle.ticks.keys() <= round.ticks.keys():
                self._book = book.marked(closes(idle), idle.ts)
            self._idle = round
            return
        if idle is not None:
            self._book = book.marked(closes(idle), idle.ts)
            self._idle = None
        if busy or self._outcomes or book.placed:
            self._conduct(round)
        self._close(round)

    def _conduct(self, round: Round) -> None:
        conductor = Conductor(self._turn, round, self._config, self._views, self._book, self._outcomes)
        send, answer = conductor.steps().send, None
        try:
            while True:
                answer = self._answer(send(answer))
        except StopIteration:
            self._outcomes = conductor.outcomes

    def finish(self, run_s: float) -> Record:
        """The record of what was decided so far."""
        if self._idle is not None:
            self.tally.ends = self._idle.ts
        return self.tally.record(self._book, run_s)

    # --- in the place of the older floors

    def _answer(self, step: Step) -> Any:
        match step:
            case Append():
                return self._log(step.rows)
            case Verify():
                return verify(step.order, step.tick, self._config, step.at)
            case Judge():
                refusal = judge(traded(self._risk, step.trades), step.order, step.book, step.at)
                if refusal is not None:
                    self._log(veto_rows(refusal, step.order, step.at))
                return refusal
            case Execute():
                done = execute(step.order, step.quote, self._book, self._config.paper, step.at)
                return self._done(done, step.order, step.quote, step.quote.mid)
            case FillPlaced():
                placed, candle = step.placed, step.tick.candle
                filled = fill_at_open(placed, candle, self._book, self._config.paper, step.at)
                if isinstance(filled, Refusal):
                    order, ref = placed.order, entry_ref(placed.order, step.at)
                    self._book = evolve_book(self._book, Decided(step.at, order.pair, order.side, filled.rule, ref))
                return self._done(filled, placed.order, placed.quote, candle.open)

    def _done(self, done: Any, order: Order, quote: Quote, mid: Decimal) -> Any:
        rows = done_rows(done, order, quote, self._config.paper)
        if isinstance(done, Trade):
            self._trades.append(done)
            self.tally.executed(done, mid, self._book.positions.get(done.pair))
        self._log(rows)
        for row in rows:
            self._book = evolve_book(self._book, row)
        return done

    def _close(self, round: Round) -> None:
        at, mark, before = round.ts, mark_of(self._book, round), self._risk
        self._book = self._book.marked(mark.prices, at)
        self._risk = risk = evolve_risk(traded(before, self._trades), mark)
        self._trades.clear()
        rows = assess(before, risk, at)
        if rows:
            self._judged(rows)
        if mark.equity < before.paper.equity:
            self.tally.fallen(risk)
        if at >= self._snapshot_due:
            shot = snapshot(self._risk, self._book, at)
            self._sink(shot)
            self._book = evolve_book(self._book, shot)
            self._snapshot_due = due_at(self._book, self._config.snapshot_minutes)
            self.tally.curve.append((at, shot.equity))
        self.tally.ends, self.tally.equity = at, mark.equity
        # Flat and without a wish, nothing happens before the next snapshot or the next hour of some rule: until then
        # marks are put off, since only the last two of them leave a trace.
        if self._book.positions or self._book.placed:
            self._next_change = self._quiet_until = at
        else:
            if rows or at >= self._next_change:
                self._next_change = next_change(self._risk)
            self._quiet_until = min(self._snapshot_due, self._next_change)

    def _judged(self, rows: tuple[Row, ...]) -> None:
        """What the risk engine has decided, and remembers."""
        self._log(rows)
        for row in rows:
            self._risk = evolve_risk(self._risk, row)

    def _log(self, rows: tuple[Row, ...]) -> None:
        for row in rows:
            if isinstance(row, EVENTS):
                self._sink(row)


@define
class Tally:
    """What is summed up on the way, so that the events need not be kept."""

    begins: datetime
    equity: Decimal
    ends: datetime = field(init=False)
    initial: Decimal = field(init=False)
    curve: list[tuple[datetime, Decimal]] = field(init=False)
    trips: list[RoundTrip] = field(factory=list)
    open: dict[str, tuple[Trade, Decimal]] = field(factory=dict)  # the entry, and its slippage
    traded: Decimal = ZERO
    executions: int = 0
    fees: Decimal = ZERO
    slippage: Decimal = ZERO
    held: dict[str, timedelta] = field(factory=dict)
    candles: int = 0
    max_drawdown: Decimal = ZERO
    risk_drawdown: Decimal = ZERO
    daily_drawdown: Decimal = ZERO

    def __attrs_post_init__(self) -> None:
        self.ends, self.initial, self.curve = self.begins, self.equity, [(self.begins, self.equity)]

    def executed(self, trade: Trade, mid: Decimal, held: Position | None) -> None:
        """A fill, where the market stood at `mid`: what is lost between the two is slippage, impact included."""
        lost = booked(abs(trade.price - mid) * trade.qty)
        self.executions += 1
        self.traded += trade.size
        self.fees += trade.fees
        self.slippage += lost
        if held is None:
            self.open[trade.pair] = (trade, lost)
            return
        entry, lost_before = self.open.pop(trade.pair)
        at, opened_at = trade.filled_at or trade.ts, held.opened_at
        self.held[trade.pair] = self.held.get(trade.pair, timedelta()) + (at - opened_at)
        self.trips.append(
            RoundTrip(
                trade.pair, opened_at, at, entry.price, trade.price, entry.size, trade.pnl or ZERO,
                booked(entry.fees + trade.fees), booked(lost_before + lost), trade.return_ or ZERO,
            )
        )  # fmt: skip

    def fallen(self, risk: RiskState) -> None:
        """A mark below the one before: only then can a drawdown be deeper than any so far."""
        gauge = risk.paper
        fallen = gauge.dd_from_peak
        self.max_drawdown = max(self.max_drawdown, fallen)
        self.risk_drawdown = max(self.risk_drawdown, fallen if gauge.risk_peak == gauge.peak else gauge.drawdown)
        if fallen > self.daily_drawdown:  # a day's is never deeper than from the peak
            self.daily_drawdown = max(self.daily_drawdown, gauge.daily_drawdown)

    def record(self, book: Book, run_s: float) -> Record:
        held = dict(self.held)
        for pair, position in book.positions.items():
            held[pair] = held.get(pair, timedelta()) + (self.ends - position.opened_at)
        curve = [*self.curve] if self.curve[-1][0] == self.ends else [*self.curve, (self.ends, self.equity)]
        return Record(
            self.begins, self.ends, self.initial, self.equity, tuple(self.trips), tuple(curve),
            booked(self.max_drawdown), booked(self.daily_drawdown), booked(self.traded), self.executions,
            booked(self.fees), booked(self.slippage), {pair: span.total_seconds() for pair, span in held.items()},
            self.candles, run_s,
        )  # fmt: skip

    def gate(self, config: AgentConfig) -> Gate:
        """The evaluation's criteria over the whole record, as if it were one run; a max-drawdown breach anywhere in it
        counts."""
        days = booked(Decimal((self.ends - self.begins) / timedelta(days=1)))
        pnl = sum((trip.pnl for trip in self.trips), ZERO)
        expectancy = pnl / len(self.trips) if self.trips else ZERO
        wanted, limit = config.evaluation, config.risk.max_drawdown_pct * PCT
        found = criteria(expectancy, len(self.trips), wanted.trade_floor, self.risk_drawdown, limit)
        passed = days >= wanted.eval_window_days and all(objective.met for objective in found)
        return Gate(passed, days, wanted.eval_window_days, found)


@frozen
class Rehearsed:
    """What came of a run."""

    record: Record
    gate: Gate


def rehearse(
    rehearsal: Rehearsal,
    config: AgentConfig,
    rounds: Iterator[Round],
    progress: Callable[[datetime], None] = nothing,
) -> Rehearsed:
    """Decide all rounds. They are read in chunks, so `run_s` is the deciding alone; `progress` is told after each."""
    run_s, decide = 0.0, rehearsal.decide
    while chunk := list(islice(rounds, CHUNK)):
        begun = time.perf_counter()
        for round in chunk:
            decide(round)
        run_s += time.perf_counter() - begun
        rehearsal.tally.candles += sum(len(round.ticks) for round in chunk)
        progress(chunk[-1].ts)
    return Rehearsed(rehearsal.finish(run_s), rehearsal.tally.gate(config))
