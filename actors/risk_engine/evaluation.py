"""Has the paper record earned the right to go live? Pure."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal

from attrs import frozen

from actors.risk_engine.state import RiskState
from protocol.money import PCT, ZERO, booked

EvaluationState = Literal["EVALUATING", "WINDOW_EXTENDED", "ELIGIBLE", "FAILED"]


@frozen
class Objective:
    """One criterion: `current` against `limit`. `headroom` is a fraction of the limit, None for counts."""

    rule: str
    current: Decimal
    limit: Decimal
    met: bool
    headroom: Decimal | None


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
    run, config = state.run, state.settings.evaluation
    elapsed = (state.marked_at - run.started_at) / timedelta(days=1) if state.marked_at > run.started_at else 0
    objectives = (
        Objective("expectancy", booked(run.expectancy), ZERO, run.expectancy > 0, None),
        Objective(
            "trade_floor",
            Decimal(run.closed_trades),
            Decimal(config.trade_floor),
            run.closed_trades >= config.trade_floor,
            None,
        ),
        ceiling("max_drawdown", state.run_drawdown, state.settings.risk.max_drawdown_pct * PCT),
    )
    window_over = elapsed >= config.eval_window_days
    if run.failed:
        standing: EvaluationState = "FAILED"
    elif window_over and all(objective.met for objective in objectives):
        standing = "ELIGIBLE"
    else:
        standing = "WINDOW_EXTENDED" if window_over else "EVALUATING"
    return Evaluation(standing, booked(Decimal(elapsed)), objectives)


def ceiling(rule: str, current: Decimal, limit: Decimal) -> Objective:
    """An objective that must stay below its limit; reaching it is a breach."""
    return Objective(rule, booked(current), limit, current < limit, booked((limit - current) / limit))


def limits(state: RiskState) -> tuple[Objective, ...]:
    """Every limit of the policy with its use, for people: drawdowns as fractions, the streak as a count."""
    risk = state.settings.risk
    return (
        ceiling("daily_drawdown", state.daily_drawdown, risk.daily_drawdown_pct * PCT),
        ceiling("max_drawdown", state.run_drawdown, risk.max_drawdown_pct * PCT),
        Objective(
            "streak_limit",
            Decimal(state.streak),
            Decimal(risk.max_consecutive_losses),
            state.streak < risk.max_consecutive_losses,
            None,
        ),
    )


def as_plain(objective: Objective) -> dict[str, Any]:
    """As REST shows it; `headroom_pct` in percent."""
    headroom = None if objective.headroom is None else booked(objective.headroom * 100)
    return {
        "rule": objective.rule,
        "current": objective.current,
        "limit": objective.limit,
        "met": objective.met,
        "headroom_pct": headroom,
    }
