"""What the risk engine remembers: a fold over the log, so that no restart makes it forget a loss."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from attrs import evolve as changed
from attrs import field, frozen

from protocol.events import ConfigAdopted, Marked, RunFailed, RunStarted, Status, StatusChange, Trade
from protocol.money import PCT, ZERO
from protocol.settings import AgentConfig

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Run:
    """One evaluation run: what has been proved since it began. `peak` is the risk peak."""

    version: int
    started_at: datetime
    peak: Decimal
    closed_trades: int = 0
    pnl: Decimal = ZERO
    failed: bool = False

    @property
    def expectancy(self) -> Decimal:
        """Mean pnl of the closed trades after fees, USDT; 0 before the first."""
        return self.pnl / self.closed_trades if self.closed_trades else ZERO


@frozen
class Block:
    """No entries until `until`, by what was `measured` against the `limit` of that time: no config edit changes it."""

    until: datetime
    measured: Decimal
    limit: Decimal


@frozen
class RiskState:
    """Status, limits in use and evaluation. `opening` is the day's: equity at the last mark before 00:00 UTC."""

    status: Status = "PAPER"
    version: int = 0
    config: AgentConfig | None = None
    equity: Decimal = ZERO
    peak: Decimal = ZERO
    day: date = date(1970, 1, 1)
    opening: Decimal = ZERO
    marked_at: datetime = _NEVER
    streak: int = 0
    cooldown: Block | None = None  # after a losing streak; a win does not shorten it
    daily_breached: bool = False
    blocked: Block | None = None  # since the last run that failed
    run: Run = field(default=Run(0, _NEVER, ZERO))

    @property
    def settings(self) -> AgentConfig:
        """The config in force; every log begins with one."""
        assert self.config is not None, "a log's second row is its config"
        return self.config

    @property
    def dd_from_peak(self) -> Decimal:
        """(peak - equity) / peak, by the all-time peak."""
        return drawdown(self.peak, self.equity)

    @property
    def run_drawdown(self) -> Decimal:
        """The same by the run's own peak: what the rule `max_drawdown` measures."""
        return drawdown(self.run.peak, self.equity)

    @property
    def daily_drawdown(self) -> Decimal:
        return drawdown(self.opening, self.equity)

    @property
    def daily_dd_used(self) -> Decimal:
        """The part of today's drawdown budget that is consumed; 1 is a breach."""
        return self.daily_drawdown / (self.settings.risk.daily_drawdown_pct * PCT)

    @property
    def marked(self) -> bool:
        """Has any round been settled?"""
        return self.marked_at > _NEVER


def drawdown(high: Decimal, now: Decimal) -> Decimal:
    """The fall from `high`, as a fraction of it; 0 when there is none.

    >>> drawdown(Decimal(1000), Decimal(920)), drawdown(Decimal(1000), Decimal(1010))
    (Decimal('0.08'), Decimal('0'))
    """
    return max(ZERO, (high - now) / high) if high > 0 else ZERO


FOLDED = (ConfigAdopted, RunStarted, RunFailed, Trade, Marked, StatusChange)


def evolve(state: RiskState, row: Any) -> RiskState:
    """The state after a row of the log. The only way it changes."""
    match row:
        case Marked():
            return _marked(state, row)
        case Trade(pnl=Decimal() as pnl):
            return _closed(state, row.ts, pnl)
        case ConfigAdopted(version=1):
            cash = row.config.paper.initial_usdt
            return changed(state, version=1, config=row.config, equity=cash, peak=cash, opening=cash)
        case ConfigAdopted():
            return changed(state, version=row.version, config=row.config)
        case RunStarted():
            return changed(state, run=Run(row.version, row.ts, row.equity))
        case RunFailed():
            return changed(
                state, run=changed(state.run, failed=True), blocked=Block(row.until, row.measured, row.limit)
            )
        case StatusChange():
            return changed(state, status=row.to)
        case _:
            return state


def _marked(state: RiskState, mark: Marked) -> RiskState:
    today = mark.ts.date()
    new_day = today != state.day
    opening = state.equity if new_day else state.opening
    fallen = drawdown(opening, mark.equity) >= state.settings.risk.daily_drawdown_pct * PCT
    cooled = _cooled(state, mark.ts)
    run = state.run
    return changed(
        state,
        equity=mark.equity,
        marked_at=mark.ts,
        day=today,
        opening=opening,
        peak=max(state.peak, mark.equity),
        daily_breached=fallen or (state.daily_breached and not new_day),
        streak=0 if cooled else state.streak,
        cooldown=None if cooled else state.cooldown,
        run=run if mark.equity <= run.peak else changed(run, peak=mark.equity),
    )


def _closed(state: RiskState, at: datetime, pnl: Decimal) -> RiskState:
    run = changed(
        state.run,
        closed_trades=state.run.closed_trades + 1,
        pnl=state.run.pnl + pnl,
    )
    before, cooldown = (0, None) if _cooled(state, at) else (state.streak, state.cooldown)
    streak = 0 if pnl > 0 else before + 1
    risk = state.settings.risk
    if streak >= risk.max_consecutive_losses:
        until = max(at + timedelta(hours=risk.cooldown_hours), cooldown.until if cooldown else at)
        cooldown = Block(until, Decimal(streak), Decimal(risk.max_consecutive_losses))
    return changed(state, run=run, streak=streak, cooldown=cooldown)


def _cooled(state: RiskState, at: datetime) -> bool:
    """A cooldown is over: the streak counts from zero again."""
    return state.cooldown is not None and at >= state.cooldown.until
