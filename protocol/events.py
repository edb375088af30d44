"""The rows of the log: *events*, which clients see and which carry a `seq`, and *facts*, which only a fold needs.

Field names of events are the wire's, final. `ts` is market time: the decision's, never the
machine's. Money is Decimal USDT, fractions are Decimal (0.012 = 1.2 %).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal

from attrs import Factory, frozen

from protocol.market import Candle, Gap, Reading, Tick
from protocol.money import Units
from protocol.orders import Order, Phase, Quote, Side
from protocol.settings import AgentConfig

Breach = Literal["daily", "max"]
Status = Literal["PAPER", "ELIGIBLE", "LIVE", "DEMOTED"]
EntryType = Literal[
    "EXECUTED", "SKIPPED", "RISK_VETO", "TWAK_BLOCK", "RISK_BREACH", "STATUS_CHANGE", "PROMOTION", "DEMOTION", "KILL",
    "RESTORE", "CONFIG_CHANGE", "SUBMITTED", "CONFIRMED", "FAILED", "STARTED", "STOPPED", "ACTOR_RESTARTED",
]  # fmt: skip

# What may differ between an undisturbed run and one that was stopped, killed and started again.
LIFE_OF_THE_PROCESS: frozenset[EntryType] = frozenset({"STARTED", "STOPPED", "ACTOR_RESTARTED"})


@frozen
class Snapshot:
    """A book's equity. `dd_from_peak` is measured from the all-time peak, `daily_dd_used` is the part of today's
    drawdown budget that is consumed (1 = all of it)."""

    kind: ClassVar[str] = "snapshot"
    ts: datetime
    equity: Decimal
    phase: Phase
    dd_from_peak: Decimal
    daily_dd_used: Decimal


@frozen
class Trade:
    """One execution. `size` = `qty` x `price`, USDT; `price` includes impact and slippage but not the fee; `fees` =
    swap fee + gas. `pnl`, `hold_s` and `return_` (pnl / cost) are of closing trades; `filled_at` where the fill was at
    another instant than `ts` (at the open of the candle that closed at `ts`), `tx_hash` in live only."""

    kind: ClassVar[str] = "trade"
    ts: datetime
    pair: str
    side: Side
    size: Decimal
    price: Decimal
    pnl: Decimal | None
    fees: Decimal
    phase: Phase
    journal_ref: str
    qty: Decimal
    order_ref: str
    hold_s: int | None = None
    return_: Decimal | None = None
    filled_at: datetime | None = None
    tx_hash: str | None = None


@frozen
class JournalEntry:
    """A decision or an occurrence in plain English, with its numbers in `data`."""

    kind: ClassVar[str] = "journal_entry"
    ts: datetime
    id: str
    type: EntryType
    tags: tuple[str, ...]
    text: str
    data: dict[str, Any]


@frozen
class RiskVeto:
    """Policy blocked an order before the executor."""

    kind: ClassVar[str] = "risk_veto"
    ts: datetime
    rule: str
    reason: str
    order_ref: str
    pair: str
    side: Side
    size: Decimal
    journal_ref: str


@frozen
class StatusChange:
    kind: ClassVar[str] = "status_change"
    ts: datetime
    from_: Status
    to: Status
    reason: str


@frozen
class QuoteRejected:
    """A quote was discarded before it reached the risk engine. `detail` is a sentence with the numbers, which are
    `measured` and `limit`: seconds, fractions or USDT, as `reason` and `detail` say."""

    kind: ClassVar[str] = "quote_rejected"
    ts: datetime
    pair: str
    reason: Literal["divergence", "stale", "liquidity"]
    detail: str
    code: Literal["QUOTE_DIVERGENCE", "QUOTE_STALE", "INSUFFICIENT_LIQUIDITY"]
    order_ref: str
    measured: Decimal
    limit: Decimal


@frozen
class TwakBlock:
    """The signing layer refused what policy had approved. Live only."""

    kind: ClassVar[str] = "twak_block"
    ts: datetime
    rule: str
    reason: str
    order_ref: str
    pair: str
    side: Side
    size: Decimal
    journal_ref: str


@frozen
class Promotion:
    """The agent goes LIVE; `tx_hash` is None at the transition, and that of its first trade when told once more."""

    kind: ClassVar[str] = "promotion"
    ts: datetime
    tx_hash: str | None
    journal_ref: str


@frozen
class Demotion:
    """A breach takes the agent out of LIVE. `locked_until` is None where only a person's re-approval lifts the lock;
    that names `journal_ref`."""

    kind: ClassVar[str] = "demotion"
    ts: datetime
    rule: str
    breach: Breach
    locked_until: datetime | None
    journal_ref: str


Event = Snapshot | Trade | JournalEntry | RiskVeto | StatusChange | QuoteRejected | TwakBlock | Promotion | Demotion


@frozen
class Genesis:
    """The log's first row: what may never change under it. `market` pins the market's kind and its data."""

    kind: ClassVar[str] = "genesis"
    ts: datetime
    layout: int
    agent: str
    market: dict[str, Any]


@frozen
class ConfigAdopted:
    """A version of the agent's config, whole. Versions count from 1."""

    kind: ClassVar[str] = "config"
    ts: datetime
    version: int
    config: AgentConfig


@frozen
class RunStarted:
    """A fresh evaluation run: its risk peak and its window begin here, at `equity`."""

    kind: ClassVar[str] = "run_started"
    ts: datetime
    version: int
    equity: Decimal


@frozen
class RunFailed:
    """The run's max drawdown was reached (`measured` against `limit`); entries are vetoed until `until`, when a fresh
    run starts."""

    kind: ClassVar[str] = "run_failed"
    ts: datetime
    until: datetime
    measured: Decimal
    limit: Decimal


@frozen(slots=False)  # made at every mark: a third faster so
class Marked:
    """A book marked to this round's closes; written for every round, after its trades."""

    kind: ClassVar[str] = "mark"
    ts: datetime
    equity: Decimal
    prices: dict[str, Decimal]
    phase: Phase = "paper"


@frozen
class OrderPlaced:
    """A judged order that waits for its fill at the next candle's open: an open intent, with its verified quote. It
    ends in a `Trade` or in a `Decided`."""

    kind: ClassVar[str] = "placed"
    ts: datetime
    order: Order
    quote: Quote


@frozen
class LiveOpened:
    """A person has promoted the agent: the live book has this `cash`, and with what it holds it is worth `equity`.
    `before` is what it was worth by its trades alone: what was paid in or taken out since it was open last is no gain
    and no loss. `units` is what the wallet holds, by token."""

    kind: ClassVar[str] = "live_opened"
    ts: datetime
    cash: Decimal
    equity: Decimal
    before: Decimal
    units: dict[str, Units]


Purpose = Literal["entry", "exit", "flatten"]
Leg = Literal["approval", "swap"]


@frozen
class Intended:
    """A live order, before anything of it has left this machine: an open intent. Token amounts are base units; the swap
    spends exactly `spend`, brings at least `min_received` (and at least what is quoted when it is signed, less
    `slippage`, a fraction), and is void after `deadline`, in seconds of the chain's clock. It ends in a `Trade` or in a
    `GivenUp`."""

    kind: ClassVar[str] = "intended"
    ts: datetime
    order: Order
    quote: Quote
    purpose: Purpose
    from_token: str
    to_token: str
    spend: Units
    min_received: Units
    slippage: Decimal
    deadline: int


@frozen
class Submitted:
    """A transaction of an order is signed, and about to be sent: its nonce and hash are known before anybody else can
    know of it. `raw` are the signed bytes, which may be sent again and again. Of several for one leg, which then have
    one nonce, the later ones replace the earlier ones."""

    kind: ClassVar[str] = "submitted"
    ts: datetime
    order_ref: str
    leg: Leg
    nonce: int
    hash: str
    raw: str
    gas_price: Units


@frozen
class HandedOver:
    """The order is given to a kit that quotes, signs and sends by itself: from here on only the chain can say what
    became of it. Before that the wallet's next nonce was `nonce`, it held `units` of both tokens and of the chain's
    coin, and `block` was the newest one."""

    kind: ClassVar[str] = "handed_over"
    ts: datetime
    order_ref: str
    nonce: int
    units: dict[str, Units]
    block: int | None = None


@frozen
class Mined:
    """A transaction of ours is on the chain, as deep as was asked for. `spent` and `received` are what the swap moved,
    0 where it was reverted; `gas_units` is its price in wei, `gas` the same in USDT."""

    kind: ClassVar[str] = "mined"
    ts: datetime
    order_ref: str
    leg: Leg
    hash: str
    block: int
    success: bool
    spent: Units
    received: Units
    gas_units: Units
    gas: Decimal


@frozen
class GivenUp:
    """An order that ends without a trade, on proof: `code` names it. Whatever was signed for it can never be mined, or
    was, and has moved nothing but `gas`, USDT, which the book pays. Only a kit's order can end without that proof, as
    `unexplained`: then a person is asked. `coins` is what the wallet has of the chain's coin by now, in wei, where
    others than our own transactions have paid with it."""

    kind: ClassVar[str] = "given_up"
    ts: datetime
    order_ref: str
    pair: str
    code: str
    entry: str
    gas: Decimal
    coins: Units | None = None


@frozen
class Frozen:
    """Nothing is begun or sold any more, until the agent is demoted or a person promotes it anew: the signer was
    revoked, or something has moved that should not have."""

    kind: ClassVar[str] = "frozen"
    ts: datetime
    reason: str


@frozen
class Flattening:
    """What the live book holds is to be sold for USDT, until nothing is left."""

    kind: ClassVar[str] = "flattening"
    ts: datetime
    reason: str


@frozen
class WrittenOff:
    """A person has written off what the live book held and the wallet has not: `qty` of a pair's `token`, worth `loss`
    USDT at the last close. `left` stays in the book, exactly `units`; the book is worth `equity` by then."""

    kind: ClassVar[str] = "written_off"
    ts: datetime
    pair: str
    token: str
    qty: Decimal
    left: Decimal
    units: Units
    loss: Decimal
    equity: Decimal


@frozen
class LockLifted:
    """A demotion's lock is over: its time has passed, or a person re-approved."""

    kind: ClassVar[str] = "lock_lifted"
    ts: datetime
    demotion: str


@frozen
class Decided:
    """The outcome of one decision that was no trade: what is counted, and folded where it repeats. `entry` is the
    journal entry that tells it, None where it is folded into a later one. `phase` is the book it was decided for."""

    kind: ClassVar[str] = "decided"
    ts: datetime
    pair: str
    side: Side
    code: str
    entry: str | None
    phase: Phase = "paper"


@frozen
class RoundSettled:
    """Closes a round's transaction: what came in, and the cursor that continues after it."""

    kind: ClassVar[str] = "round"
    ts: datetime
    cursor: Any
    ticks: dict[str, Tick]
    gaps: tuple[Gap, ...] = Factory(tuple)
    series: dict[str, Reading] = Factory(dict)
    before: dict[str, tuple[Candle, ...]] = Factory(dict)


LiveFact = LiveOpened | Intended | Submitted | HandedOver | Mined | GivenUp | Frozen | Flattening | WrittenOff
LIVE_FACTS: tuple[type[LiveFact], ...] = (
    LiveOpened, Intended, Submitted, HandedOver, Mined, GivenUp, Frozen, Flattening, WrittenOff
)  # fmt: skip
PaperFact = (
    Genesis | ConfigAdopted | RunStarted | RunFailed | Marked | OrderPlaced | LockLifted | Decided | RoundSettled
)
Fact = PaperFact | LiveFact
Row = Event | Fact
EVENTS: tuple[type[Event], ...] = (
    Snapshot, Trade, JournalEntry, RiskVeto, StatusChange, QuoteRejected, TwakBlock, Promotion, Demotion
)  # fmt: skip
FACTS: tuple[type[Fact], ...] = (
    Genesis, ConfigAdopted, RunStarted, RunFailed, Marked, OrderPlaced, LockLifted, Decided, RoundSettled, *LIVE_FACTS
)  # fmt: skip
