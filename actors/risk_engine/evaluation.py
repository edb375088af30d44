"""Has the paper record earned the right to go live? Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from attrs import frozen

from actors.executor.book import Book
from actors.risk_engine.state import Block, Gauge, RiskState
from protocol.answers import EvaluationState
from protocol.money import PCT, ZERO, booked


@frozen
class Objective:
    """One criterion: `current` against `limit`. `headroom` is a fraction of the limit, None for counts. A limit that
    was reached holds entries back `until` then, whatever is measured now."""

    rule: str
    current: Decimal
    limit: Decimal
    met: bool
    headroom: Decimal | None
    until: datetime | None = None

    @property
    def headroom_pct(self) -> Decimal | None:
        return None if self.headroom is None else booked(self.headroom * 100)


@frozen
class Evaluation:
    """The run's standing. ELIGIBLE needs the whole window and every objective."""

    state: EvaluationState
    window_days_elapsed: Decimal
    objectives: tuple[Objective, ...]

    @property
    def eligible(self) -> bool:
        return self.state == "ELIGIBLE"


def evaluate(state: RiskState) -> Evaluation:
    """Expectancy after fees > 0, closed trades >= floor, no max-drawdown breach, over at least the window.

    Days are of market time since the run began. The window is a minimum: it extends until all criteria hold, or a max
    drawdown breach ends the run.
    """
    run, config, fallen = state.run, state.settings.evaluation, state.paper.drawdown
    if run.failed and state.blocked is not None:  # what ended the run stays its record, whatever came after it
        fallen = max(fallen, state.blocked.measured)
    elapsed = max(state.marked_at - run.started_at, timedelta()) / timedelta(days=1)
    objectives = criteria(
        run.expectancy,
        run.closed_trades,
        config.trade_floor,
        fallen,
        state.settings.risk.max_drawdown_pct * PCT,
    )
    window_over = elapsed >= config.eval_window_days
    if run.failed:
        standing: EvaluationState = "FAILED"
    elif window_over and all(objective.met for objective in objectives):
        standing = "ELIGIBLE"
    else:
        standing = "WINDOW_EXTENDED" if window_over else "EVALUATING"
    return Evaluation(standing, booked(Decimal(elapsed)), objectives)


def eligible(state: RiskState) -> bool:
    """`evaluate(state).eligible`, with what is cheap to know asked first: it is asked after every mark."""
    run, config = state.run, state.settings.evaluation
    if run.closed_trades < config.trade_floor or run.pnl <= 0 or run.failed:
        return False
    if state.marked_at - run.started_at < timedelta(days=config.eval_window_days):
        return False
    return state.paper.drawdown < state.settings.risk.max_drawdown_pct * PCT


def criteria(
    expectancy: Decimal, closed_trades: int, trade_floor: int, max_drawdown: Decimal, limit: Decimal
) -> tuple[Objective, ...]:
    """The three criteria of a record."""
    return (
        Objective("expectancy", booked(expectancy), ZERO, expectancy > 0, None),
        Objective(
            "trade_floor", Decimal(closed_trades), Decimal(trade_floor), closed_trades >= trade_floor, None
        ),
        ceiling("max_drawdown", max_drawdown, limit),
    )  # fmt: skip


def ceiling(rule: str, current: Decimal, limit: Decimal, until: datetime | None = None) -> Objective:
    """An objective that must stay below its limit; reaching it is a breach."""
    return Objective(rule, booked(current), limit, current < limit, booked((limit - current) / limit), until)


def limits(state: RiskState, book: Book) -> tuple[Objective, ...]:
    """Every limit of the policy with its use by the shown book, for people: drawdowns and shares as fractions, the
    streak and positions as counts. While entries wait for a limit that was reached, it is shown as it was then."""
    risk, gauge = state.settings.risk, state.shown
    largest = max((book.worth(pair) for pair in book.positions), default=ZERO)
    share = largest / book.equity if book.equity > 0 else ZERO
    exposure, open_now = risk.per_pair_exposure_pct * PCT, len(taken(book))
    blocked = None if state.status == "LIVE" else state.blocked
    return (
        _fall("daily_drawdown", gauge.daily_drawdown, risk.daily_drawdown_pct * PCT, gauge.daily_breach, state),
        _fall("max_drawdown", gauge.drawdown, risk.max_drawdown_pct * PCT, blocked, state),
        _streak(gauge, risk.max_consecutive_losses, state),
        _count("max_concurrent", open_now, state.settings.strategy.spec.params.max_concurrent, full=True),
        Objective(
            "per_pair_exposure", booked(share), exposure, share <= exposure, booked((exposure - share) / exposure)
        ),
    )  # fmt: skip


def _fall(rule: str, now: Decimal, limit: Decimal, block: Block | None, state: RiskState) -> Objective:
    if block is None or state.marked_at >= block.until:
        return ceiling(rule, now, limit)
    return ceiling(rule, block.measured, block.limit, block.until)


def _streak(gauge: Gauge, limit: int, state: RiskState) -> Objective:
    block = gauge.cooldown
    if block is None or state.marked_at >= block.until:
        return _count("streak_limit", gauge.streak, limit)
    return Objective("streak_limit", block.measured, block.limit, False, None, block.until)


def taken(book: Book) -> set[str]:
    """The pairs that take a place: open positions, and entries that wait for their fill."""
    return {*book.positions, *(placed.order.pair for placed in book.entering)}


def _count(rule: str, current: int, limit: int, *, full: bool = False) -> Objective:
    """A count below its limit, or (`full`) up to it."""
    return Objective(rule, Decimal(current), Decimal(limit), current < limit or (full and current == limit), None)
