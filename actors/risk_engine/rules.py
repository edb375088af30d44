"""Policy: which orders pass, and what a round's outcome changes. Pure, over the folded state."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from actors.executor.book import Book
from actors.risk_engine.evaluation import evaluate
from actors.risk_engine.state import Block, RiskState, evolve
from protocol.errors import Refusal
from protocol.events import JournalEntry, RiskVeto, Row, RunFailed, RunStarted, StatusChange
from protocol.lifecycle import Trigger, move
from protocol.money import PCT, booked, pct, usdt
from protocol.orders import Order, entry_ref, named
from protocol.times import next_midnight, to_wire


def judge(state: RiskState, order: Order, book: Book, at: datetime) -> Refusal | None:
    """Why this order may not pass, or None. The first rule that objects answers; an exit passes always."""
    if order.side == "sell":
        return None
    return (
        _max_drawdown(state, at)
        or _daily_drawdown(state, at)
        or _streak_limit(state, at)
        or _max_concurrent(state, book)
        or _per_pair_exposure(state, order, book)
        or _insufficient_funds(order, book)
    )


def _max_drawdown(state: RiskState, at: datetime) -> Refusal | None:
    block = state.blocked
    if block is None or at >= block.until:
        return None
    reason = (
        f"a run fell {pct(block.measured)} from its peak, its limit was {pct(block.limit)}; entries wait until "
        f"{to_wire(block.until)}"
    )
    return Refusal("max_drawdown", reason, _measured(block))


def _daily_drawdown(state: RiskState, at: datetime) -> Refusal | None:
    if not state.daily_breached or at.date() != state.day:
        return None
    limit, until = state.settings.risk.daily_drawdown_pct * PCT, next_midnight(at)
    reason = (
        f"today's drawdown reached its limit of {pct(limit)} (now {pct(state.daily_drawdown)}); entries wait until "
        f"{to_wire(until)}"
    )
    data = {"measured": booked(state.daily_drawdown), "limit": limit, "until": to_wire(until)}
    return Refusal("daily_drawdown", reason, data)


def _streak_limit(state: RiskState, at: datetime) -> Refusal | None:
    block = state.cooldown
    if block is None or at >= block.until:
        return None
    reason = f"{block.measured} losses in a row, the limit is {block.limit}; entries wait until {to_wire(block.until)}"
    return Refusal("streak_limit", reason, _measured(block))


def _measured(block: Block) -> dict[str, Any]:
    return {"measured": block.measured, "limit": block.limit, "until": to_wire(block.until)}


def _max_concurrent(state: RiskState, book: Book) -> Refusal | None:
    limit = state.settings.strategy.spec.params.max_concurrent
    if len(book.positions) < limit:
        return None
    held = ", ".join(sorted(book.positions))
    reason = f"{len(book.positions)} of at most {limit} positions are open ({held})"
    return Refusal("max_concurrent", reason, {"measured": len(book.positions), "limit": limit})


def _per_pair_exposure(state: RiskState, order: Order, book: Book) -> Refusal | None:
    limit = state.settings.risk.per_pair_exposure_pct * PCT
    share = (book.worth(order.pair) + order.size_usdt) / book.equity if book.equity > 0 else Decimal(1)
    if share <= limit:
        return None
    reason = f"{order.pair} would be {pct(share)} of equity, the limit is {pct(limit)}"
    return Refusal("per_pair_exposure", reason, {"measured": booked(share), "limit": limit})


def _insufficient_funds(order: Order, book: Book) -> Refusal | None:
    if order.size_usdt <= book.cash:
        return None
    reason = f"the order is for {usdt(order.size_usdt)}, {usdt(book.cash)} are free"
    return Refusal("insufficient_funds", reason, {"measured": order.size_usdt, "limit": book.cash})


def veto_rows(refusal: Refusal, order: Order, at: datetime) -> tuple[Row, ...]:
    """A veto's journal entry and its event."""
    ref = entry_ref(order, at)
    text = f"Vetoed {order.pair} {order.side} of {usdt(order.size_usdt)}: {refusal.reason}."
    data = {"rule": refusal.rule, "order_ref": order.ref, "pair": order.pair, "side": order.side,
            "size": order.size_usdt, **refusal.data}  # fmt: skip
    return (
        JournalEntry(at, ref, "RISK_VETO", (refusal.rule, order.pair), text, data),
        RiskVeto(at, refusal.rule, refusal.reason, order.ref, order.pair, order.side, order.size_usdt, ref),
    )


def assess(before: RiskState, after: RiskState, at: datetime) -> tuple[Row, ...]:
    """What a settled mark leads to: breaches are told once, a failed run ends, its successor begins, the status follows
    the evaluation. `before` is the state as of the previous round."""
    rows: list[Row] = []
    run, risk = after.run, after.settings.risk
    if after.daily_breached and not (before.daily_breached and before.day == after.day):
        rows.append(_breach(at, "daily_drawdown", "daily", after.daily_drawdown, risk.daily_drawdown_pct * PCT))
    if not run.failed and after.run_drawdown >= risk.max_drawdown_pct * PCT:
        rows.append(_breach(at, "max_drawdown", "max", after.run_drawdown, risk.max_drawdown_pct * PCT))
        measured, limit = booked(after.run_drawdown), risk.max_drawdown_pct * PCT
        rows.append(RunFailed(at, next_midnight(at), measured, limit))
    elif run.failed and (after.blocked is None or at >= after.blocked.until):
        rows.append(RunStarted(at, after.version, after.equity))
    for row in rows:
        after = evolve(after, row)
    trigger: Trigger = "criteria_met" if evaluate(after).eligible else "criterion_lost"
    return (*rows, *status_rows(after, trigger, at))


def config_rows(state: RiskState, version: int, at: datetime) -> tuple[Row, ...]:
    """What a new config leads to: a lost eligibility and a fresh run."""
    return (*status_rows(state, "config_changed", at), RunStarted(at, version, state.equity))


def status_rows(state: RiskState, trigger: Trigger, at: datetime) -> tuple[Row, ...]:
    """The entry and the event of the move that `trigger` makes, if it makes one."""
    to = move(state.status, trigger)
    if to is None:
        return ()
    reason = _why(state, trigger)
    text = f"Status {state.status} -> {to}: {reason}."
    data: dict[str, Any] = {"from": state.status, "to": to, "trigger": trigger}
    ref = named("jrn", at, "status", state.status, to)
    return (
        JournalEntry(at, ref, "STATUS_CHANGE", (state.status, to), text, data),
        StatusChange(at, state.status, to, reason),
    )


def _why(state: RiskState, trigger: Trigger) -> str:
    if trigger == "config_changed":
        return "the config changed, so the record begins anew"
    found = evaluate(state)
    if trigger == "criteria_met":
        return (
            f"{state.run.closed_trades} closed trades over {found.window_days_elapsed:.1f} days with an expectancy of "
            f"{usdt(state.run.expectancy)} after fees and no max-drawdown breach"
        )
    missed = ", ".join(f"{o.rule} is {o.current:f} (limit {o.limit:f})" for o in found.objectives if not o.met)
    return f"a criterion was lost: {missed or found.state}"


def _breach(at: datetime, rule: str, breach: str, measured: Decimal, limit: Decimal) -> JournalEntry:
    until = next_midnight(at)
    text = (
        f"Drawdown limit reached ({rule}): {pct(measured)}, the limit is {pct(limit)}. "
        f"No entries until {to_wire(until)}."
    )
    data = {"rule": rule, "breach": breach, "measured": booked(measured), "limit": limit, "until": to_wire(until)}
    return JournalEntry(at, named("jrn", at, "breach", rule), "RISK_BREACH", (rule, breach), text, data)
