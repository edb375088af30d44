"""What REST answers, beside the events of `protocol.events`: the door encodes these, clients decode them, and
`openapi.json` is made from them.

Field names are the wire's, final; a name that Python keeps for itself has a `_` behind it here. Money is Decimal USDT,
fractions are Decimal (0.012 = 1.2 %), `_pct` is percent; times are market time where nothing else is said. `seq` is the
log position that a thing reflects.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from attrs import frozen

from protocol.errors import Outside
from protocol.events import Status
from protocol.money import ZERO
from protocol.orders import OrderState, Phase, Side
from protocol.settings import AgentConfig
from protocol.strategy import StrategySpec

State = Literal["starting", "running", "degraded", "stopping"]
EvaluationState = Literal["EVALUATING", "WINDOW_EXTENDED", "ELIGIBLE", "FAILED"]
BacktestState = Literal["queued", "running", "done", "failed", "cancelled"]


@frozen
class Alive:
    """The process answers."""

    status: Literal["ok"] = "ok"


@frozen
class Ready:
    """The agent may decide. Where it may not, the answer is a problem with the reason."""

    status: Literal["ready"] = "ready"


# --- the agent


@frozen
class Market:
    """Where rounds come from. `time` is of the last round, null before the first."""

    kind: str | None
    pairs: tuple[str, ...]
    time: datetime | None


@frozen
class LiveOrder:
    """An order that is on its way to the chain. `tx_hashes` are of the transactions of its present leg, oldest first:
    at most one of them is ever mined."""

    order_ref: str
    pair: str
    side: Side
    state: OrderState
    tx_hashes: tuple[str, ...]


@frozen
class LiveSide:
    """`flattening` says why everything is being sold, `frozen` why nothing is begun; null where it is not so."""

    orders: tuple[LiveOrder, ...]
    flattening: str | None
    frozen: str | None


@frozen
class OutageShown:
    """What does not work right now, and what is known of it."""

    what: Outside
    reason: str


@frozen
class Agent:
    """The agent as it stands. `last_heartbeat` is the machine's time, of the actor that has been silent longest;
    `equity` is of the current phase's book; `restarts` counts by actor since the process began."""

    id: str
    name: str
    status: Status
    phase: Phase
    market_mode: Literal["spot"]
    last_heartbeat: datetime
    log_id: str
    seq: int
    market: Market
    config_version: int
    equity: Decimal
    live: LiveSide
    state: State
    outage: OutageShown | None
    restarts: dict[str, int]


@frozen
class Position:
    """An open position at the last price. `cost` is what it took to open, fees included."""

    seq: int
    pair: str
    phase: Phase
    qty: Decimal
    entry_price: Decimal
    cost: Decimal
    opened_at: datetime
    price: Decimal
    value: Decimal
    unrealized_pnl: Decimal


# --- risk and evaluation


@frozen
class Limit:
    """A limit of the policy and its use by the current phase's book: drawdowns and shares as fractions, the streak and
    positions as counts, which have no headroom. Once a drawdown or the streak has reached its limit, entries wait
    `until` then (else null), and until then `current` is what was reached."""

    seq: int
    rule: str
    current: Decimal
    limit: Decimal
    met: bool
    headroom_pct: Decimal | None
    until: datetime | None = None


@frozen
class Criterion:
    """A condition of the evaluation. `headroom_pct` is null where `current` must be above the limit."""

    rule: str
    current: Decimal
    limit: Decimal
    met: bool
    headroom_pct: Decimal | None


@frozen
class Evaluation:
    """How far the paper record is. Days are of market time since the run began; the window is a minimum."""

    state: EvaluationState
    eligible: bool
    window_days_elapsed: Decimal
    eval_window_days: int
    trade_floor: int
    closed_trades: int
    objectives: tuple[Criterion, ...]


@frozen
class RuleCheck:
    """What one rule says to an order. `until` is when it stops objecting, where that is known."""

    rule: str
    measured: Decimal
    limit: Decimal
    passes: bool
    headroom_pct: Decimal | None
    reason: str | None
    until: datetime | None


@frozen
class RiskCheck:
    """Would this order pass? `rule` and `reason` are the first objection's. Nothing is done."""

    passes: bool
    rule: str | None
    reason: str | None
    at: datetime
    checks: tuple[RuleCheck, ...]


@frozen
class Block:
    """What either layer refused: `policy` is the risk engine, `physics` the signing guard."""

    layer: Literal["policy", "physics"]
    ts: datetime
    seq: int
    rule: str
    reason: str
    order_ref: str
    pair: str
    side: Side
    size: Decimal


@frozen
class Repeat:
    """One of the decisions that a journal entry counts."""

    ts: datetime
    pair: str
    side: Side
    code: str


@frozen
class ExitWay:
    """Exit decisions: how many were left behind each gate. `by_code` counts every no, `unfilled` those of them that the
    executor said."""

    signals: int
    quotes_accepted: int
    waiting: int
    filled: int
    by_code: dict[str, int]
    unfilled: dict[str, int]


@frozen
class Way:
    """Entry decisions: how many were left behind each gate; `exits` are counted apart."""

    signals: int
    after_regime: int
    after_fees: int
    quotes_accepted: int
    risk_passed: int
    waiting: int
    filled: int
    by_code: dict[str, int]
    unfilled: dict[str, int]
    exits: ExitWay


@frozen
class Funnel:
    """Signals, but no trades: all pairs together, then each by itself, from `from` to `to` (null: the log's own
    ends)."""

    from_: datetime | None
    to: datetime | None
    signals: int
    after_regime: int
    after_fees: int
    quotes_accepted: int
    risk_passed: int
    waiting: int
    filled: int
    by_code: dict[str, int]
    unfilled: dict[str, int]
    exits: ExitWay
    pairs: dict[str, Way]


# --- figures


@frozen
class Performance:
    """Quick figures of one book over a time. Trades count by their own time.

    `return` compounds from `initial` to `final`, the equity before the first and after the last mark in it, and leaves
    out what was paid in or taken out between. Of closed trades, after fees: `win_rate` is those with a `pnl` above 0 /
    all, `expectancy` the mean `pnl`, `average_win` and `average_loss` the means of either kind, USDT. `fees` and
    `slippage` (impact included, against the middle of the verified quote; below 0 where the price was better) are of
    all `executions`, USDT; `slippage_bps` is the same in basis points of what was traded. `exposure` is the mean number
    of open positions. A figure that is undefined is null.
    """

    seq: int
    phase: Phase
    from_: datetime | None
    to: datetime | None
    initial: Decimal | None
    final: Decimal | None
    return_: Decimal | None
    trades: int
    executions: int
    win_rate: Decimal | None
    average_win: Decimal | None
    average_loss: Decimal | None
    expectancy: Decimal | None
    fees: Decimal
    slippage: Decimal
    slippage_bps: Decimal | None
    exposure: float | None

    @classmethod
    def nothing(cls, seq: int, phase: Phase, since: datetime | None, until: datetime | None) -> Performance:
        """Of a book that was not open."""
        return cls(seq, phase, since, until, None, None, None, 0, 0, None, None, None, None, ZERO, ZERO, None, None)


@frozen
class ConfigVersion:
    """A version of the config, when it came into force, and its own record until the next one did, null where the book
    was not open."""

    seq: int
    version: int
    ts: datetime
    config: AgentConfig
    record: Performance | None


# --- live


@frozen
class Check:
    """One condition of a promotion, whether it holds or not; `detail` has its numbers."""

    name: str
    ok: bool
    detail: str


@frozen
class Promoted:
    status: Status
    checks: tuple[Check, ...]


@frozen
class Demoted:
    """`flattening`: what is held is being sold."""

    status: Status
    flattening: bool


@frozen
class Reapproved:
    status: Status


@frozen
class Killed:
    """The guard signs nothing more. `killed_at` is the guard's own time."""

    killed_at: str
    status: Status


# --- backtests


@frozen
class Backtest:
    """A run in the queue. `submitted` is the machine's time, `progress` a fraction, `reached` the market time that is
    decided by now."""

    id: str
    name: str
    state: BacktestState
    submitted: str
    progress: float
    reached: str | None
    seconds_left: float | None
    error: str | None


@frozen
class FinishedBacktest:
    """The same with its `result` (null before the end): `metrics`, `gate` and `trades` of the whole time, and with an
    out-of-sample share the figures of both parts."""

    id: str
    name: str
    state: BacktestState
    submitted: str
    progress: float
    reached: str | None
    seconds_left: float | None
    error: str | None
    result: dict[str, Any] | None


@frozen
class ReadyStrategy:
    """A strategy that comes with Forestay, as YAML."""

    name: str
    text: str


@frozen
class StrategyCheck:
    """Is a text a strategy for this market? `errors` is one line a mistake, `spec` the document, null where it is
    none."""

    valid: bool
    errors: tuple[str, ...]
    spec: StrategySpec | None


@frozen
class IndicatorParameter:
    """A bound that is null is none; where both are, it is a name."""

    name: str
    about: str
    low: float | None
    high: float | None
    default: float | None
    whole: bool
    required: bool


@frozen
class Indicator:
    """What a condition may look at. `warm` says from which candle on it has a value."""

    name: str
    about: str
    unit: str
    warm: str
    low: float | None
    high: float | None
    parameters: tuple[IndicatorParameter, ...]
    operators: tuple[str, ...]
    example: dict[str, Any]


# --- the machine


@frozen
class LastError:
    """An actor's last death as it was journaled: the class of its cause, and the place."""

    ts: datetime
    error: str
    place: str
    journal_ref: str


@frozen
class ActorHealth:
    """A floor. `mailbox` messages wait, of `capacity`; `silence_s` is how long it has shown no sign of life, seconds;
    `restarts` count since the process began."""

    name: str
    mailbox: int
    capacity: int
    restarts: int
    silence_s: float
    last_error: LastError | None


@frozen
class LogHealth:
    """The log: its size in bytes, its last row and event, and how many of its rows are not shown to clients yet."""

    bytes: int
    row: int
    seq: int
    behind: int


@frozen
class StreamClient:
    """A client of the stream: the last event that it was sent, and how many it is behind."""

    seq: int
    behind: int


@frozen
class GuardHealth:
    """The signing guard, as it was last seen; what is not known is null. Caps are USDT, `spent_today` of the UTC
    day."""

    reachable: bool
    way: Literal["local", "twak"] | None
    killed: bool | None
    killed_at: str | None
    killed_reason: str | None
    per_trade_cap: Decimal | None
    daily_cap: Decimal | None
    spent_today: Decimal | None


@frozen
class Health:
    """How the daemon is. `guard` is null where signing is not set up. Only `last_error` is out of the log; all else is
    of now."""

    seq: int
    state: State
    outages: tuple[OutageShown, ...]
    actors: tuple[ActorHealth, ...]
    log: LogHealth
    clients: tuple[StreamClient, ...]
    guard: GuardHealth | None


@frozen
class ProblemDetails:
    """An error, by RFC 9457. `code` is a stable upper-case word; `errors` is one line a mistake, `checks` are of a
    promotion."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: tuple[str, ...] | None = None
    checks: tuple[Check, ...] | None = None


Answer = (
    Alive | Ready | Agent | Position | Limit | Evaluation | RiskCheck | Block | Repeat | Funnel | Performance
    | ConfigVersion | Check | Promoted | Demoted | Reapproved | Killed | Backtest | FinishedBacktest | ReadyStrategy
    | StrategyCheck | Indicator | Health | ProblemDetails
)  # fmt: skip
ANSWERS: tuple[type[Any], ...] = (
    Alive, Ready, Agent, Market, LiveSide, LiveOrder, OutageShown, Position, Limit, Evaluation, Criterion, RiskCheck,
    RuleCheck, Block, Repeat, Funnel, Way, ExitWay, Performance, ConfigVersion, Check, Promoted, Demoted, Reapproved,
    Killed, Backtest, FinishedBacktest, ReadyStrategy, StrategyCheck, Indicator, IndicatorParameter, Health,
    ActorHealth, LastError, LogHealth, StreamClient, GuardHealth, ProblemDetails,
)  # fmt: skip
