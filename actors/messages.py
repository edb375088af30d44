"""What the floors say to each other. Asks are imperatives and name their answer; a tell is a past participle."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen

from actors.executor.book import Book
from actors.journal.chain import Sealed
from actors.journal.store import Checkpoint
from actors.risk_engine.state import RiskState
from actors.tower import Ask
from actors.turn import Turn
from protocol.errors import Outage, Outside, Refusal
from protocol.events import EntryType, JournalEntry, OrderPlaced, QuoteRejected, Row, Trade
from protocol.market import Round, Tick
from protocol.orders import Order, Quote, named
from protocol.settings import AgentConfig

# --- to the Journal


@frozen
class Append:
    """Told: add rows to the open turn; another turn's rows that were never settled are dropped. Whether the disk takes
    them is answered by the turn's Settle, behind it in the same mailbox."""

    turn: Turn
    rows: tuple[Row, ...]


@frozen
class ReadIncarnation(Ask[object]):
    """Which Journal is this? What a turn is begun with."""


@frozen
class Settle(Ask[Outage | None]):
    """Add the last rows and accept the turn: from here on its rows have their places. Asked of a later incarnation than
    the turn was begun with, it does nothing; whoever asked has fallen with that one."""

    turn: Turn
    rows: tuple[Row, ...] = ()


@frozen
class ReadRows(Ask[tuple[int, list[Row]] | Outage]):
    """Accepted rows of these kinds after row `after`, oldest first, with the row to go on from; (0, []) at the end. An
    Outage where the disk cannot be read now."""

    after: int
    kinds: tuple[str, ...]


@frozen
class ReadCheckpoint(Ask[Checkpoint | Outage | None]):
    """The newest one, None where there is none, an Outage where the disk cannot be read now."""


@frozen
class SaveCheckpoint(Ask[None]):
    """States by floor, all as of `turn`, the last that was settled; kept with the next commit."""

    turn: Turn
    states: dict[str, Any]


@frozen
class ReadHealth(Ask[Outage | None]):
    """Can the disk be written to?"""


@frozen
class Flush(Ask[Outage | None]):
    """Answered when all that was accepted is on the disk."""


# --- to the Broadcaster


@frozen
class Committed:
    """These rows are on the disk."""

    rows: tuple[Sealed, ...]


@frozen
class OutageChanged:
    """What the agent stands on (the disk, the market) does not work right now, or (None) works again."""

    what: Outside
    outage: Outage | None


# --- down the pipeline


@frozen
class Verify(Ask[Quote | QuoteRejected]):
    """Is there a price for this order that can be believed?"""

    turn: Turn
    order: Order
    tick: Tick
    at: datetime


@frozen
class Judge(Ask[Refusal | None]):
    """May this order pass? `trades` are the round's so far, so that a loss counts at once. A veto is journaled by the
    RiskEngine before it answers."""

    turn: Turn
    order: Order
    book: Book
    at: datetime
    trades: tuple[Trade, ...] = ()


@frozen
class Assess(Ask[RiskState]):
    """A round's trades and its mark: does a limit break, does the status change? Answered with the state after."""

    turn: Turn
    rows: tuple[Row, ...]


@frozen
class Execute(Ask[Refusal | Trade | OrderPlaced]):
    """Fill a judged order at its verified quote, or have it wait for the next open."""

    turn: Turn
    order: Order
    quote: Quote
    at: datetime


@frozen
class FillPlaced(Ask[Refusal | Trade]):
    """The next candle is there: fill the order that waited for its open."""

    turn: Turn
    placed: OrderPlaced
    tick: Tick
    at: datetime


@frozen
class CloseRound(Ask[Book]):
    """Mark the book to the round's prices, have it assessed, take a snapshot when one is due."""

    turn: Turn
    round: Round


@frozen
class ReadBook(Ask[Book]):
    pass


@frozen
class AdoptConfig(Ask[None]):
    """A new version of the config is in force from this turn on."""

    turn: Turn
    version: int
    config: AgentConfig
    at: datetime


@frozen
class Capture(Ask[Any]):
    """The floor's settled state as plain data, for a checkpoint; asked between turns."""


@frozen
class Sign(Ask[Refusal]):
    """Sign and send an order. In paper nothing is armed."""

    turn: Turn
    order: Order


# --- to the Strategist


@frozen
class ConductRound(Ask[Outage | Refusal | None]):
    """Decide this round whole: one turn. Refused where the log's cursor is not the one it comes `after`, so that no
    round is passed over when those before it were lost in a crash."""

    round: Round
    after: Any


@frozen
class SkipRound(Ask[Outage | Refusal | None]):
    """Pass over a round that keeps killing: journaled, and nothing is decided on its candles. Refused like
    ConductRound."""

    round: Round
    after: Any
    reason: str


@frozen
class ChangeConfig(Ask[Outage | Refusal | int]):
    """Adopt this config as the next version; the answer is its number. Refused where the version in force is not the
    `expected` one, so that no change undoes another that it has not seen, and once the end was journaled."""

    config: AgentConfig
    text: str
    expected: int


@frozen
class TellNotes(Ask[Outage | None]):
    """Journal what the process has noted of its own life and the log does not hold yet."""


@frozen
class Note:
    """What a process says of its own life: one journal entry, at log time."""

    type: EntryType
    tags: tuple[str, ...]
    text: str
    data: dict[str, Any]

    def entry(self, ts: datetime, number: int) -> JournalEntry:
        """The entry; `number` tells apart what is told at one log time."""
        return JournalEntry(ts, named("jrn", ts, self.type, str(number)), self.type, self.tags, self.text, self.data)


@frozen
class ReadCursor(Ask[Any]):
    """The market's cursor after the last settled round; None before the first."""


# --- to the MarketFeed


@frozen
class Halt(Ask[None]):
    """Begin no further round; answered when the one in flight is settled."""
