"""The Executor: fills paper orders, follows live ones to their end, keeps both ledgers, takes the snapshots."""

from __future__ import annotations

import logging
from typing import Any, Final

import trio
from attrs import Factory, frozen
from attrs import evolve as changed

from actors.executor import live as lives
from actors.executor.book import FOLDED as BOOK_ROWS
from actors.executor.book import Book, evolve
from actors.executor.fills import done_rows, execute, fill_at_open
from actors.executor.live import Live, OpenOrder
from actors.executor.order_life import Sighting, learn
from actors.executor.snapshots import due, mark_of, snapshot
from actors.executor.swaps import Decimals, intend, way_out
from actors.messages import (
    Append,
    Assess,
    Books,
    Capture,
    CloseRound,
    Execute,
    FillPlaced,
    Flush,
    Hear,
    Learn,
    Learned,
    LookAfter,
    Observe,
    OutageChanged,
    PricesForSale,
    ReadAnchor,
    ReadBooks,
    Seen,
    SellOut,
    Verify,
)
from actors.restoring import restored
from actors.strategist.outcomes import rejected, skipped
from actors.tower import Actor, Address, Died, MailboxFull, TooLate
from actors.turn import Draft, Turn
from protocol.codec import from_plain, to_plain
from protocol.errors import Outage, Refusal
from protocol.events import (
    ConfigAdopted,
    Decided,
    GivenUp,
    Intended,
    Marked,
    OrderPlaced,
    Purpose,
    QuoteRejected,
    Row,
    Trade,
)
from protocol.market import Round, Tick
from protocol.orders import entry_ref
from protocol.settings import AgentConfig

log = logging.getLogger("forestay.executor")
FLOOR = "Executor"
FOLDED: Final = tuple(dict.fromkeys((*BOOK_ROWS, *lives.FOLDED)))
PERIOD_SECONDS: Final = 0.5  # between two looks after a live order
LEARNING_SECONDS: Final = 60.0  # longer than the Strategist can take without being ended
LONGEST_SECONDS: Final = 300.0  # between two tries to sell what is to be sold
MOVED_SECONDS: Final = 10.0  # the same while they fail by a price that moved, at no cost


@frozen
class _Desk:
    """What the Executor remembers: both books, and the config it fills by."""

    book: Book = Factory(Book)
    config: AgentConfig | None = None
    trades: tuple[Trade, ...] = ()  # of the turn in flight; the risk engine is told of them with the mark
    live: Live = Factory(Live)

    @property
    def settings(self) -> AgentConfig:
        assert self.config is not None, "every log begins with a config"
        return self.config

    def after(self, row: Row) -> _Desk:
        config = row.config if isinstance(row, ConfigAdopted) else self.config
        trades = self.trades
        if isinstance(row, Marked):
            trades = ()
        elif isinstance(row, Trade) and row.phase == "paper":
            trades = (*trades, row)
        return _Desk(evolve(self.book, row), config, trades, lives.evolve(self.live, row))


@frozen
class Dealing:
    """How live orders are dealt with: the floors that are asked and told, and the decimals of the tokens."""

    quotes: Address
    signer: Address
    strategist: Address
    broadcaster: Address
    decimals: Decimals


class Executor(Actor):
    """Without `dealing`, there are no live orders."""

    def __init__(self, journal: Address, risk: Address, dealing: Dealing | None = None) -> None:
        self._journal = journal
        self._risk = risk
        self._dealing = dealing
        self._desk: Draft[_Desk]
        # What was seen last, and that it is learned.
        self._awaited: tuple[Sighting | None, trio.Event] = (None, trio.Event())
        self._moved = False  # was the order that ended last given up for its price?

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
            case Learn():
                return await self._learn(message)
            case Learned():
                seen, learned = self._awaited
                if message.seen == seen:  # and not what was given up waiting for
                    learned.set()
                return None
            case SellOut():
                return await self._sell_out(message)
            case Hear():
                self._desk.begin(message.turn)
                self._fold(*message.rows)
                return self._books(message.rows)
            case ReadBooks():
                return Books(self._desk.settled.book, self._desk.settled.live)
            case Capture():
                return to_plain(self._desk.settled)
            case _:
                raise TypeError(f"the Executor does not take {message!r}")

    def _books(self, rows: tuple[Row, ...] = ()) -> Books:
        return Books(self._desk.now.book, self._desk.now.live, rows)

    # --- a round

    def _execute(self, asked: Execute) -> Refusal | Trade | OrderPlaced | Intended:
        self._desk.begin(asked.turn)
        desk, order = self._desk.now, asked.order
        if order.phase == "live":
            if no := self._may_begin(desk.live):
                return no
            purpose: Purpose = "entry" if order.side == "buy" else "exit"
            found = intend(
                order, asked.quote, desk.live, desk.settings, self._decimals, purpose, asked.at, asked.quote.verified_at
            )
            self._append(asked.turn, *((found,) if isinstance(found, Intended) else ()))
            return found
        done = execute(order, asked.quote, desk.book, desk.settings.paper, asked.at)
        self._append(asked.turn, *done_rows(done, order, asked.quote, desk.settings.paper))
        return done

    def _fill(self, asked: FillPlaced) -> Refusal | Trade:
        self._desk.begin(asked.turn)
        desk, order = self._desk.now, asked.placed.order
        done = fill_at_open(asked.placed, asked.tick.candle, desk.book, desk.settings.paper, asked.at)
        if isinstance(done, Refusal):  # the Strategist journals it; here it no longer waits
            self._fold(Decided(asked.at, order.pair, order.side, done.rule, entry_ref(order, asked.at)))
        self._append(asked.turn, *done_rows(done, order, asked.placed.quote, desk.settings.paper))
        return done

    async def _close(self, asked: CloseRound) -> Books:
        """Mark, have it assessed, and take a snapshot when one is due: in this order, so that a snapshot shows what the
        risk engine has seen."""
        self._desk.begin(asked.turn)
        trades, marks = self._desk.now.trades, self._marks(asked.round)
        self._append(asked.turn, *marks)
        assessed = await self._risk.ask(Assess(asked.turn, (*trades, *marks)))
        self._fold(*assessed.rows)
        live = assessed.risk.status == "LIVE"
        book = self._desk.now.live.book if live else self._desk.now.book
        if due(book, asked.round.ts, self._desk.now.settings.snapshot_minutes):
            self._append(asked.turn, snapshot(assessed.risk, book, asked.round.ts))
        return self._books()

    def _marks(self, round: Round) -> tuple[Marked, ...]:
        """Of the paper book always, of the live one while there is something to measure."""
        live, paper = self._desk.now.live, mark_of(self._desk.now.book, round)
        return (paper, mark_of(live.book, round)) if live.trading or live.book.positions else (paper,)

    # --- live orders

    def _may_begin(self, live: Live) -> Refusal | None:
        """Why no live order is begun now. Selling out asks nobody."""
        if not live.trading:
            return Refusal("not_live", f"the agent is {live.status}")
        if live.frozen is not None:
            return Refusal("frozen", live.frozen)
        if any(order.state == "handed" for order in live.orders.values()):
            return Refusal("in_doubt", "what became of the last order is not known yet")
        return None

    async def _learn(self, asked: Learn) -> Books:
        """What was seen becomes rows; a live trade is assessed at once."""
        self._desk.begin(asked.turn)
        desk = self._desk.now
        rows = learn(desk.live, asked.seen, desk.settings, self._decimals, asked.at)
        self._append(asked.turn, *rows)
        self._moved = any(isinstance(row, GivenUp) and row.code == "moved" for row in rows)
        trades = tuple(row for row in rows if isinstance(row, Trade))
        if trades:
            assessed = await self._risk.ask(Assess(asked.turn, trades))
            self._fold(*assessed.rows)
            rows = (*rows, *assessed.rows)
        return self._books(rows)

    async def _sell_out(self, asked: SellOut) -> Books:
        """Intend to sell whatever is held and not being sold yet. A price that is not believed is told, and asked for
        again."""
        self._desk.begin(asked.turn)
        assert self._dealing is not None, "who asks has prices from there"
        rows, fresh = list[Row](), tuple[Row, ...]()
        for pair in sorted(self._desk.now.live.book.positions):
            live = self._desk.now.live
            tick = asked.prices.get(pair)
            if live.flattening is None or tick is None or pair in live.book.placed:
                continue
            order = way_out(pair, live, tick, live.flattening, asked.at)
            quote = await self._dealing.quotes.ask(Verify(asked.turn, order, _timed(tick, asked), asked.at))
            settings = self._desk.now.settings
            if isinstance(quote, QuoteRejected):
                fresh = rejected({}, order, quote, asked.at)
            else:
                found = intend(order, quote, live, settings, self._decimals, "flatten", asked.at, asked.now)
                fresh = skipped({}, order, found, asked.at) if isinstance(found, Refusal) else (found,)
            self._append(asked.turn, *fresh)
            rows += fresh
        return self._books(tuple(rows))

    @property
    def _decimals(self) -> Decimals:
        return {} if self._dealing is None else self._dealing.decimals

    async def work(self) -> None:
        """Look after the oldest open order; where there is none and everything is to be sold, see at which price. Each
        try that sells nothing makes the next one wait longer, but not by much where it is the price that runs away.
        What comes of a try is looked after at once: an order that waits lapses."""
        if (dealing := self._dealing) is None:
            return
        patience, held, again_at = PERIOD_SECONDS, "", 0.0
        while True:
            live = self._desk.settled.live
            to_sell = f"{live.flattening} {sorted(live.book.positions)}"
            try:
                if live.orders:
                    await self._look_after(next(iter(live.orders.values())), dealing)
                elif live.flattening is not None and (to_sell != held or trio.current_time() >= again_at):
                    await self._look_for_prices(tuple(sorted(live.book.positions)), dealing)
                    longest = MOVED_SECONDS if self._moved else LONGEST_SECONDS
                    patience = min(2 * patience, longest) if to_sell == held else PERIOD_SECONDS
                    held, again_at = to_sell, trio.current_time() + patience
            except (MailboxFull, TooLate, Died) as error:
                log.warning("a floor is too busy to look after live orders: %s", error)
            await trio.sleep(PERIOD_SECONDS)

    async def _look_after(self, order: OpenOrder, dealing: Dealing) -> None:
        """Act on what is on the disk, and tell the Strategist what was seen, who makes a turn of it."""
        if await self._journal.ask(Flush()) is not None:
            return
        anchor = await self._journal.ask(ReadAnchor())
        seen = await dealing.signer.ask(LookAfter(order, anchor, self._desk.settled.live.frozen))
        self._show(seen, dealing)
        if seen is None or isinstance(seen, Outage):
            return
        self._awaited = (seen, learned := trio.Event())
        dealing.strategist.tell(Seen(seen))
        with trio.move_on_after(LEARNING_SECONDS):  # what is learned twice is learned once, but in this order
            await learned.wait()

    async def _look_for_prices(self, pairs: tuple[str, ...], dealing: Dealing) -> None:
        observed = await dealing.signer.ask(Observe(pairs))
        self._show(observed, dealing)
        if not isinstance(observed, Outage):
            dealing.strategist.tell(PricesForSale(observed))

    def _show(self, answer: object, dealing: Dealing) -> None:
        """Whether the chain answers; how the guard does, the TwakSigner shows."""
        outage = answer if isinstance(answer, Outage) and answer.what == "chain" else None
        dealing.broadcaster.tell(OutageChanged("chain", outage))

    def _append(self, turn: Turn, *rows: Row) -> None:
        """Journal what was done here, and remember it."""
        if rows:
            self._journal.tell(Append(turn, rows))
        self._fold(*rows)

    def _fold(self, *rows: Row) -> None:
        for row in rows:
            self._desk.now = self._desk.now.after(row)


def _timed(tick: Tick, asked: SellOut) -> Tick:
    """Prices of the chain's now, at the log's time: they are of this moment, which the log has no word for."""
    ahead = asked.at - asked.now
    executable = changed(tick.executable, observed_at=tick.executable.observed_at + ahead)
    reference = tick.reference and changed(tick.reference, observed_at=tick.reference.observed_at + ahead)
    return Tick(tick.candle, executable, reference)
