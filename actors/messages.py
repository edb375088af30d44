"""What the floors say to each other. Asks are imperatives and name their answer; a tell is a past participle."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen

from actors.executor.book import Book
from actors.executor.live import Live, OpenOrder
from actors.executor.order_life import Sighting
from actors.journal.chain import Sealed
from actors.journal.store import Checkpoint
from actors.risk_engine.moves import Act
from actors.risk_engine.state import RiskState
from actors.tower import Ask
from actors.turn import Turn
from actors.twak_signer.inspection import Inspection
from protocol.errors import Outage, Outside, Refusal
from protocol.events import EntryType, Intended, JournalEntry, OrderPlaced, QuoteRejected, Row, Trade
from protocol.market import Round, Tick
from protocol.orders import Order, Quote, named
from protocol.settings import AgentConfig
from protocol.signing import Anchor, GuardStatus, Revoked

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
class ReadAnchor(Ask[Anchor]):
    """How far the log reaches on the disk: what the guard is shown with each request."""


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


@frozen
class GuardSeen:
    """How the signing guard stands, as it was last seen."""

    status: GuardStatus


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
class Assessed:
    """What an assessment led to: the rows that the RiskEngine has journaled, and the state after them."""

    risk: RiskState
    rows: tuple[Row, ...]


@frozen
class Assess(Ask[Assessed]):
    """A round's trades and its marks, or a live trade between two rounds: does a limit break, does the status
    change?"""

    turn: Turn
    rows: tuple[Row, ...]


@frozen
class ApplyAct(Ask[Refusal | tuple[Row, ...]]):
    """A person's act. The RiskEngine has journaled what it is answered with. `flat`: the live book holds nothing."""

    turn: Turn
    act: Act
    at: datetime
    flat: bool


@frozen
class Execute(Ask[Refusal | Trade | OrderPlaced | Intended]):
    """Fill a judged order at its verified quote, have it wait for the next open, or, live, intend it."""

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
class Books:
    """The two books: paper's, and the live side with its open orders. `rows` are what led to them in this message, so
    that the Strategist remembers what a refold of the log would."""

    paper: Book
    live: Live
    rows: tuple[Row, ...] = ()


@frozen
class CloseRound(Ask[Books]):
    """Mark the books to the round's prices, have them assessed, take a snapshot when one is due."""

    turn: Turn
    round: Round


@frozen
class ReadBooks(Ask[Books]):
    pass


@frozen
class Hear(Ask[Books]):
    """Rows of this turn that another floor has journaled, and that the books follow from."""

    turn: Turn
    rows: tuple[Row, ...]


@frozen
class Learn(Ask[Books]):
    """What was seen of an open order becomes what the log says of it."""

    turn: Turn
    seen: Sighting
    at: datetime


@frozen
class Learned:
    """Told by the Strategist: what was seen has been learned of, or could not be; look again."""

    seen: Sighting


@frozen
class SellOut(Ask[Books]):
    """Intend to sell, at these prices, what the live book holds, because everything is to be sold. `now` is the time by
    the chain's clock."""

    turn: Turn
    prices: dict[str, Tick]
    now: datetime
    at: datetime


@frozen
class AdoptConfig(Ask[tuple[Row, ...]]):
    """A new version of the config is in force from this turn on. Answered with what the floor has journaled of it."""

    turn: Turn
    version: int
    config: AgentConfig
    at: datetime


@frozen
class Capture(Ask[Any]):
    """The floor's settled state as plain data, for a checkpoint; asked between turns."""


# --- to the TwakSigner


@frozen
class LookAfter(Ask[Sighting | Outage | None]):
    """Do what is to be done for this order now, and say what was seen of it; None where that is nothing new."""

    order: OpenOrder
    anchor: Anchor
    frozen: str | None = None  # why nothing of it is signed any more


@frozen
class Observed:
    """Prices, and the chain's time that they are of."""

    prices: dict[str, Tick]
    now: datetime


@frozen
class Observe(Ask[Observed | Outage]):
    """What the pools of these pairs say now, and the independent prices beside them."""

    pairs: tuple[str, ...]


@frozen
class Inspect(Ask[Inspection | Outage]):
    """Everything outside that a promotion depends on, looked at now."""

    pairs: tuple[str, ...]


@frozen
class RevokeSigning(Ask[Revoked | Refusal | Outage]):
    """The kill switch: the guard refuses everything from now on."""

    reason: str


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
class Seen:
    """Told by the Executor: something was seen of an open order."""

    seen: Sighting


@frozen
class PricesForSale:
    """Told by the Executor: what is to be sold can be sold at these prices."""

    observed: Observed


@frozen
class ChangeStatus(Ask[Outage | Refusal | None]):
    """A person's act, or what the guard tells of one."""

    act: Act


@frozen
class SigningChanged:
    """Told by the TwakSigner: the guard was last killed at this time for this reason, or never (None), and whether that
    holds."""

    killed_at: str | None
    reason: str
    killed: bool


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
