"""What the risk engine remembers: a fold over the log, so that no restart makes it forget a loss."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from attrs import evolve as changed
from attrs import field, frozen

from protocol.events import (
    Breach,
    ConfigAdopted,
    Demotion,
    Flattening,
    LiveOpened,
    LockLifted,
    Marked,
    Promotion,
    RunFailed,
    RunStarted,
    Status,
    StatusChange,
    Trade,
    WrittenOff,
)
from protocol.money import PCT, ZERO, booked
from protocol.orders import Phase
from protocol.settings import AgentConfig, RiskConfig
from protocol.times import next_midnight

MOST_FALLEN: Final = 10_000  # so many times what is there a peak is at most: who has lost all has fallen 99.99 %
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Block:
    """No entries until `until`, by what was `measured` against the `limit` of that time: no config edit changes it."""

    until: datetime
    measured: Decimal
    limit: Decimal


@frozen(slots=False)  # made at every mark, as the state is: a third faster so
class Gauge:
    """One book as the limits measure it, mark by mark.

    `peak` is the highest equity ever, `risk_peak` the one that the rule `max_drawdown` measures from: it restarts with
    a new evaluation run (paper) or a re-approval (live). `opening` is the day's: equity at the last mark before 00:00
    UTC. Reaching the daily limit leaves a `daily_breach`, which a recovery does not undo, and a losing streak a
    `cooldown`, which a win does not shorten.

    >>> gauge = Gauge.opened(Decimal(1000))
    >>> gauge.peak, gauge.drawdown
    (Decimal('1000'), Decimal('0'))
    """

    equity: Decimal = ZERO
    peak: Decimal = ZERO
    risk_peak: Decimal = ZERO
    day: date = date(1970, 1, 1)
    opening: Decimal = ZERO
    daily_breach: Block | None = None
    streak: int = 0
    cooldown: Block | None = None

    @classmethod
    def opened(cls, equity: Decimal, day: date = date(1970, 1, 1)) -> Gauge:
        return cls(equity, equity, equity, day, equity)

    @property
    def dd_from_peak(self) -> Decimal:
        """(peak - equity) / peak, by the all-time peak."""
        return drawdown(self.peak, self.equity)

    @property
    def drawdown(self) -> Decimal:
        """The same by the risk peak: what the rule `max_drawdown` measures."""
        return drawdown(self.risk_peak, self.equity)

    @property
    def daily_drawdown(self) -> Decimal:
        """(opening - equity) / opening, 0 on a day that gains."""
        return drawdown(self.opening, self.equity)

    def daily_dd_used(self, risk: RiskConfig) -> Decimal:
        """The part of today's drawdown budget that is consumed; 1 is a breach.

        A day that opened at 1,000 and stands at 960 has lost 4 %; of a budget of 8 % that is half:

        >>> Gauge(equity=Decimal(960), opening=Decimal(1000)).daily_dd_used(RiskConfig(daily_drawdown_pct=Decimal(8)))
        Decimal('0.5')
        """
        return self.daily_drawdown / (risk.daily_drawdown_pct * PCT)


@frozen
class Run:
    """One evaluation run: what has been proved since it began."""

    version: int
    started_at: datetime
    closed_trades: int = 0
    pnl: Decimal = ZERO
    failed: bool = False

    @property
    def expectancy(self) -> Decimal:
        """Mean pnl of the closed trades after fees, USDT; 0 before the first."""
        return self.pnl / self.closed_trades if self.closed_trades else ZERO


@frozen
class Lock:
    """Promotion is locked since a demotion: until `until`, or (None) until a person re-approves that `demotion`."""

    rule: str
    breach: Breach
    until: datetime | None
    demotion: str


@frozen(slots=False)
class RiskState:
    """Status, both books' gauges, the evaluation, and what is locked. There is no live gauge before a promotion."""

    status: Status = "PAPER"
    version: int = 0
    config: AgentConfig | None = None
    marked_at: datetime = _NEVER  # the last settled round: each one marks the paper book
    paper: Gauge = Gauge()
    live: Gauge | None = None
    run: Run = field(default=Run(0, _NEVER))
    blocked: Block | None = None  # since the last run that failed
    lock: Lock | None = None
    unproven: str | None = None  # the promotion whose first trade has not confirmed yet
    changes: int = 0  # of the status, and orders to sell out, so far: what tells the ids of two at one time apart

    @property
    def settings(self) -> AgentConfig:
        """The config in force; every log begins with one."""
        assert self.config is not None, "a log's second row is its config"
        return self.config

    def gauge(self, phase: Phase) -> Gauge:
        """The book's gauge; a live book that never was is measured as nothing."""
        return self.paper if phase == "paper" else self.live or Gauge()

    @property
    def shown(self) -> Gauge:
        """The gauge of the book that the current phase shows."""
        return self.gauge("live" if self.status == "LIVE" else "paper")

    @property
    def marked(self) -> bool:
        """Has any round been settled?"""
        return self.marked_at > _NEVER


def drawdown(peak: Decimal, equity: Decimal) -> Decimal:
    """How far `equity` is below `peak`, as a fraction; never negative.

    >>> drawdown(Decimal(1250), Decimal(1000)), drawdown(Decimal(1000), Decimal(1250))
    (Decimal('0.2'), Decimal('0'))
    """
    return (peak - equity) / peak if equity < peak else ZERO


FOLDED = (
    ConfigAdopted, RunStarted, RunFailed, Trade, Marked, StatusChange, Promotion, Demotion, LockLifted, LiveOpened,
    Flattening, WrittenOff,
)  # fmt: skip


def evolve(state: RiskState, row: Any) -> RiskState:
    """The state after a row of the log. The only way it changes."""
    match row:
        case Marked():
            return _marked(state, row)
        case Trade(pnl=Decimal() as pnl):
            return _closed(state, row, pnl)
        case ConfigAdopted(version=1):
            return changed(state, version=1, config=row.config, paper=Gauge.opened(row.config.paper.initial_usdt))
        case ConfigAdopted():
            return changed(state, version=row.version, config=row.config)
        case RunStarted():
            paper = changed(state.paper, risk_peak=row.equity)
            return changed(state, run=Run(row.version, row.ts), paper=paper)
        case RunFailed():
            blocked = Block(row.until, row.measured, row.limit)
            return changed(state, run=changed(state.run, failed=True), blocked=blocked)
        case StatusChange():
            unproven = state.unproven if row.to == "LIVE" else None
            return changed(state, status=row.to, unproven=unproven, changes=state.changes + 1)
        case Promotion():
            return changed(state, unproven=None if row.tx_hash else row.journal_ref)
        case LiveOpened():
            return changed(state, live=_opened(state.live, row))
        case Flattening():
            return changed(state, changes=state.changes + 1)
        case WrittenOff() if state.live is not None:
            return changed(state, live=measured(state.live, row, state.settings.risk, same_config=False))
        case Demotion():
            return changed(state, lock=Lock(row.rule, row.breach, row.locked_until, row.journal_ref))
        case LockLifted():
            return _lifted(state)
        case _:
            return state


def traded(state: RiskState, trades: Iterable[Trade]) -> RiskState:
    """The state once it has heard of these trades."""
    for trade in trades:
        state = evolve(state, trade)
    return state


def _marked(state: RiskState, mark: Marked) -> RiskState:
    risk, live = state.settings.risk, state.live
    if mark.phase == "live":
        opened = live or Gauge.opened(mark.equity, mark.ts.date())
        return changed(state, live=measured(opened, mark, risk, same_config=False))
    # What was measured under another config is measured again.
    paper = measured(state.paper, mark, risk, same_config=state.marked_at > state.run.started_at)
    return RiskState(
        state.status, state.version, state.config, mark.ts, paper, live, state.run, state.blocked, state.lock,
        state.unproven, state.changes,
    )  # fmt: skip


def _opened(gauge: Gauge | None, row: LiveOpened) -> Gauge:
    """The live book at a promotion. What it lost since its last mark, when it was sold out, is lost. What was paid in
    or taken out besides is neither a gain nor a loss: all that its drawdowns are measured from moves with it, so that
    they stay the fractions that they were."""
    if gauge is None:
        return Gauge.opened(row.equity, row.ts.date())
    tops = (max(gauge.peak, row.before), max(gauge.risk_peak, row.before), gauge.opening)
    most = MOST_FALLEN * row.equity
    peak, risk_peak, opening = (
        min(booked(top * row.equity / row.before), most) if row.before > 0 else most for top in tops
    )
    return changed(gauge, equity=row.equity, peak=peak, risk_peak=risk_peak, opening=opening)


def measured(gauge: Gauge, mark: Marked | WrittenOff, risk: RiskConfig, same_config: bool) -> Gauge:
    """The gauge after a mark; the very same one where nothing changed."""
    equity, today, cooldown = mark.equity, mark.ts.date(), gauge.cooldown
    cooled = cooldown is not None and mark.ts >= cooldown.until
    if equity == gauge.equity and today == gauge.day and same_config and not cooled:
        return gauge
    new_day = today != gauge.day
    opening = gauge.equity if new_day else gauge.opening
    breach, fallen, limit = gauge.daily_breach, drawdown(opening, equity), risk.daily_drawdown_pct * PCT
    if new_day or breach is None:
        reached = fallen >= limit and not risk.off
        breach = Block(next_midnight(mark.ts), booked(fallen), limit) if reached else None
    streak, cooldown = (0, None) if cooled else (gauge.streak, cooldown)
    if cooldown is None and streak >= risk.max_consecutive_losses and not risk.off:  # the limit was tightened since
        cooldown = _cooldown(mark.ts, streak, risk)
    return Gauge(
        equity,
        max(gauge.peak, equity),
        max(gauge.risk_peak, equity),
        today,
        opening,
        breach,
        streak,
        cooldown,
    )


def _closed(state: RiskState, trade: Trade, pnl: Decimal) -> RiskState:
    gauge, risk = state.gauge(trade.phase), state.settings.risk
    cooldown = gauge.cooldown
    cooled = cooldown is not None and trade.ts >= cooldown.until
    before, cooldown = (0, None) if cooled else (gauge.streak, cooldown)
    streak = 0 if pnl > 0 else before + 1
    if not risk.off and streak >= risk.max_consecutive_losses:
        fresh = _cooldown(trade.ts, streak, risk)
        cooldown = changed(fresh, until=max(fresh.until, cooldown.until)) if cooldown else fresh
    gauge = changed(gauge, streak=streak, cooldown=cooldown)
    if trade.phase == "live":
        return changed(state, live=gauge)
    run = changed(state.run, closed_trades=state.run.closed_trades + 1, pnl=state.run.pnl + pnl)
    return changed(state, run=run, paper=gauge)


def _cooldown(at: datetime, streak: int, risk: RiskConfig) -> Block:
    return Block(at + timedelta(hours=risk.cooldown_hours), Decimal(streak), Decimal(risk.max_consecutive_losses))


def _lifted(state: RiskState) -> RiskState:
    """A re-approval also lets the live book's drawdown be measured from where it stands."""
    lock, live = state.lock, state.live
    if lock is not None and lock.breach == "max" and live is not None:
        live = changed(live, risk_peak=live.equity)
    return changed(state, lock=None, live=live)
