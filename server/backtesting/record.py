"""What a backtest leaves behind: the round trips, the equity curve, and what was summed up on the way."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from attrs import frozen

from actors.risk_engine.evaluation import Objective


@frozen
class RoundTrip:
    """A position from its entry to its exit. `size` is what was bought, USDT; `fees` and `slippage` (impact included)
    are of both legs, USDT; `pnl` is net of fees; `return_` is pnl / (size + the entry's fees). A fraction each."""

    pair: str
    entry_ts: datetime
    exit_ts: datetime
    entry_price: Decimal
    exit_price: Decimal
    size: Decimal
    pnl: Decimal
    fees: Decimal
    slippage: Decimal
    return_: Decimal


@frozen
class Record:
    """A whole run. `curve` is (time, equity) at the begin and at each snapshot, oldest first, ending with the last
    round's; drawdowns are the worst over every round, as fractions: `max_drawdown` from the highest equity so far,
    `daily_drawdown` from the UTC day's opening. `traded` is the sum of all executions' sizes, `executions` their
    number; `fees` and `slippage` are of all of them, also of a position that is still open. `held_seconds` is how long
    each pair was held. `candles` were decided in `run_s` seconds of the decision path's own time."""

    begins: datetime
    ends: datetime
    initial: Decimal
    final: Decimal
    trips: tuple[RoundTrip, ...]
    curve: tuple[tuple[datetime, Decimal], ...]
    max_drawdown: Decimal
    daily_drawdown: Decimal
    traded: Decimal
    executions: int
    fees: Decimal
    slippage: Decimal
    held_seconds: dict[str, float]
    candles: int
    run_s: float


@frozen
class Gate:
    """Would this record have earned the right to go live? Each criterion's figure, and all of them together."""

    passed: bool
    window_days_elapsed: Decimal
    eval_window_days: int
    criteria: tuple[Objective, ...]
