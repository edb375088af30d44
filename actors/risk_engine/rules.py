"""Policy: which orders pass, and what a round's outcome changes. Pure, over the folded state."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from attrs import frozen

from actors.executor.book import Book
from actors.risk_engine.evaluation import eligible, evaluate, taken
from actors.risk_engine.state import Block, Gauge, RiskState, evolve
from protocol.errors import Refusal
from protocol.events import Breach, JournalEntry, LockLifted, RiskVeto, Row, RunFailed, RunStarted, StatusChange
from protocol.lifecycle import Trigger, move
from protocol.money import PCT, ZERO, booked, pct, usdt
from protocol.orders import Order, entry_ref, live_data, live_tag, named
from protocol.times import next_midnight, to_wire

# --- before an entry


@frozen
class Entry:
    """What a rule is asked about: an order that would open a position, the book it is for, and that book's gauge."""

    state: RiskState
    gauge: Gauge
    order: Order
    book: Book
    at: datetime


@frozen
class Check:
    """One rule's answer. `reason` says why the order may not pass; None where it may. `headroom` is how far the
    measured value is from the limit, as a fraction of it; None for counts."""

    rule: str
    measured: Decimal
    limit: Decimal
    reason: str | None
    headroom: Decimal | None
    until: datetime | None = None


def judge(state: RiskState, order: Order, book: Book, at: datetime) -> Refusal | None:
    """Why this order may not pass, or None. The first rule that objects answers; an exit passes always."""
    for check in checks(state, order, book, at):
        if check.reason is not None:
            until = {"until": to_wire(check.until)} if check.until else {}
            return Refusal(check.rule, check.reason, {"measured": check.measured, "limit": check.limit, **until})
    return None


def checks(state: RiskState, order: Order, book: Book, at: datetime) -> list[Check]:
    """What every rule says to this order, in their order; none is asked about an exit."""
    if order.side == "sell":
        return []
    entry = Entry(state, state.gauge(book.phase), order, book, at)
    return [rule(entry) for rule in (ALWAYS if state.settings.risk.off else RULES)]


def _max_drawdown(entry: Entry) -> Check:
    """From the risk peak. Reached once in paper, it ends the run, and entries wait for the next UTC midnight; in live
    it demotes at the next mark, and no entry slips in before."""
    fallen, limit = entry.gauge.drawdown, entry.state.settings.risk.max_drawdown_pct * PCT
    if entry.book.phase == "live":
        reason = f"the live book is {pct(fallen)} below its peak, the limit is {pct(limit)}"
        return _measured("max_drawdown", fallen, limit, reason if fallen >= limit else None)
    block = entry.state.blocked
    if block is None or entry.at >= block.until:
        return _measured("max_drawdown", fallen, limit)
    reason = (
        f"a run fell {pct(block.measured)} from its peak, its limit was {pct(block.limit)}; entries wait until "
        f"{to_wire(block.until)}"
    )
    return _blocked("max_drawdown", block, reason)


def _daily_drawdown(entry: Entry) -> Check:
    """From the UTC day's opening equity. Reached once, entries wait for the next UTC midnight."""
    gauge, block = entry.gauge, entry.gauge.daily_breach
    now = gauge.daily_drawdown if entry.at.date() == gauge.day else ZERO
    if block is None or entry.at >= block.until:
        return _measured("daily_drawdown", now, entry.state.settings.risk.daily_drawdown_pct * PCT)
    reason = (
        f"today's drawdown reached {pct(block.measured)} (now {pct(now)}), its limit was {pct(block.limit)}; entries "
        f"wait until {to_wire(block.until)}"
    )
    return _blocked("daily_drawdown", block, reason)


def _streak_limit(entry: Entry) -> Check:
    """Closed trades in a row that gained nothing. Reached, entries wait for the cooldown."""
    block = entry.gauge.cooldown
    if block is None or entry.at >= block.until:
        limit = Decimal(entry.state.settings.risk.max_consecutive_losses)
        return Check("streak_limit", Decimal(0 if block else entry.gauge.streak), limit, None, None)
    reason = f"{block.measured} losses in a row, the limit is {block.limit}; entries wait until {to_wire(block.until)}"
    return Check("streak_limit", block.measured, block.limit, reason, None, block.until)


def _stale_market(entry: Entry) -> Check:
    """The oldest price the decision would rest on: the pair's own candle, also the one before it (after a hole the
    indicators look across it), and the last close of every pair that is held."""
    limit = entry.state.settings.risk.max_market_age_hours
    marks, own = entry.book.marks, entry.order.pair
    ages = {pair: entry.at - marks[pair].at for pair in sorted(entry.book.positions)}
    if mark := marks.get(own):
        before = mark.before or mark.at
        ages[own] = max(entry.at - mark.at, mark.at - before)
    pair = max(ages, key=lambda pair: ages[pair], default=own)
    measured = booked(Decimal(ages.get(pair, timedelta()) / timedelta(hours=1)))
    reason = f"nothing was heard of {pair} for {measured:.2f} h, the limit is {limit:f} h"
    return Check("stale_market", measured, limit, reason if measured > limit else None, _headroom(measured, limit))


def _max_concurrent(entry: Entry) -> Check:
    """Open positions, entries that wait for their fill included."""
    limit = entry.state.settings.strategy.spec.params.max_concurrent
    pairs = sorted(taken(entry.book))
    reason = f"{len(pairs)} of at most {limit} positions are open ({', '.join(pairs)})" if len(pairs) >= limit else None
    return Check("max_concurrent", Decimal(len(pairs)), Decimal(limit), reason, None)


def _per_pair_exposure(entry: Entry) -> Check:
    """What the pair would be worth after the order, as a part of equity."""
    book, pair, limit = entry.book, entry.order.pair, entry.state.settings.risk.per_pair_exposure_pct * PCT
    share = (book.worth(pair) + entry.order.size_usdt) / book.equity if book.equity > 0 else Decimal(1)
    reason = f"{pair} would be {pct(share)} of equity, the limit is {pct(limit)}" if share > limit else None
    return _measured("per_pair_exposure", share, limit, reason)


def _insufficient_funds(entry: Entry) -> Check:
    """The order against the cash that is free."""
    size, free = entry.order.size_usdt, entry.book.free
    reason = f"the order is for {usdt(size)}, {usdt(free)} are free" if size > free else None
    return Check("insufficient_funds", size, free, reason, _headroom(size, free))


Rule = Callable[[Entry], Check]
ALWAYS: Final[tuple[Rule, ...]] = (_max_concurrent, _insufficient_funds)
RULES: Final[tuple[Rule, ...]] = (
    _max_drawdown,
    _daily_drawdown,
    _streak_limit,
    _stale_market,
    _max_concurrent,
    _per_pair_exposure,
    _insufficient_funds,
)


def _measured(rule: str, measured: Decimal, limit: Decimal, reason: str | None = None) -> Check:
    return Check(rule, booked(measured), limit, reason, _headroom(measured, limit))


def _blocked(rule: str, block: Block, reason: str) -> Check:
    return Check(rule, block.measured, block.limit, reason, _headroom(block.measured, block.limit), block.until)


def _headroom(measured: Decimal, limit: Decimal) -> Decimal | None:
    return booked((limit - measured) / limit) if limit else None


def veto_rows(refusal: Refusal, order: Order, at: datetime) -> tuple[Row, ...]:
    """A veto's journal entry and its event."""
    ref = entry_ref(order, at)
    text = f"Vetoed {order.pair} {order.side} of {usdt(order.size_usdt)}: {refusal.reason}."
    data = {"rule": refusal.rule, "order_ref": order.ref, "pair": order.pair, "side": order.side,
            "size": order.size_usdt, **refusal.data, **live_data(order)}  # fmt: skip
    return (
        JournalEntry(at, ref, "RISK_VETO", (refusal.rule, order.pair, *live_tag(order)), text, data),
        RiskVeto(at, refusal.rule, refusal.reason, order.ref, order.pair, order.side, order.size_usdt, ref),
    )


# --- after a mark


def assess(before: RiskState, after: RiskState, at: datetime) -> tuple[Row, ...]:
    """What a settled mark leads to: breaches are told once, a failed run ends, its successor begins, a demotion's lock
    runs out, the status follows the evaluation. `before` is the state as of the previous round."""
    rows: list[Row] = []
    run, risk, gauge = after.run, after.settings.risk, after.paper
    daily = gauge.daily_breach
    if daily is not None and daily != before.paper.daily_breach:
        rows.append(_breach_entry(at, "daily_drawdown", "daily", daily))
    if not run.failed:
        limit = risk.max_drawdown_pct * PCT
        if gauge is not before.paper and not risk.off and gauge.drawdown >= limit:
            block = Block(next_midnight(at), booked(gauge.drawdown), limit)
            rows.append(_breach_entry(at, "max_drawdown", "max", block))
            rows.append(RunFailed(at, block.until, block.measured, block.limit))
    elif after.blocked is None or at >= after.blocked.until:
        rows.append(RunStarted(at, after.version, gauge.equity))
    for row in rows:
        after = evolve(after, row)
    lock = after.lock
    if after.status == "DEMOTED" and lock is not None and lock.until is not None and at >= lock.until:
        return (*rows, *lifted_rows(after, f"the lock of {lock.rule} ended at {to_wire(lock.until)}", at))
    trigger: Trigger = "criteria_met" if eligible(after) else "criterion_lost"
    if move(after.status, trigger) is None:
        return tuple(rows)
    return (*rows, *status_rows(after, trigger, at))


def next_change(state: RiskState) -> datetime:
    """The earliest time at which a paper mark of unchanged equity could lead to anything: until then `assess` has
    nothing to say and the gauge stays the same."""
    times = [datetime.combine(state.paper.day, datetime.min.time(), UTC) + timedelta(days=1)]
    if state.paper.cooldown is not None:
        times.append(state.paper.cooldown.until)
    if state.run.failed and state.blocked is not None:
        times.append(state.blocked.until)
    if state.lock is not None and state.lock.until is not None:
        times.append(state.lock.until)
    window_ends = state.run.started_at + timedelta(days=state.settings.evaluation.eval_window_days)
    if window_ends > state.marked_at:
        times.append(window_ends)
    return min(times)


def lifted_rows(state: RiskState, why: str, at: datetime) -> tuple[Row, ...]:
    """A demotion's lock is over: back to paper, or straight to eligible if the paper record has all that it takes."""
    assert state.lock is not None, "only what is locked can be lifted"
    lifted = LockLifted(at, state.lock.demotion)
    trigger: Trigger = "lock_lifted_with_criteria_met" if eligible(state) else "lock_lifted"
    return (lifted, *status_rows(evolve(state, lifted), trigger, at, why))


def config_rows(state: RiskState, version: int, at: datetime) -> tuple[Row, ...]:
    """What a new config leads to: a lost eligibility and a fresh run."""
    return (*status_rows(state, "config_changed", at), RunStarted(at, version, state.paper.equity))


def status_rows(state: RiskState, trigger: Trigger, at: datetime, why: str = "") -> tuple[Row, ...]:
    """The entry and the event of the move that `trigger` makes, if it makes one."""
    to = move(state.status, trigger)
    if to is None:
        return ()
    reason = why or _why(state, trigger)
    text = f"Status {state.status} -> {to}: {reason}."
    data: dict[str, Any] = {"from": state.status, "to": to, "trigger": trigger}
    ref = named("jrn", at, "status", state.status, to, str(state.changes))
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


def _breach_entry(at: datetime, rule: str, breach: Breach, block: Block) -> JournalEntry:
    """Of the paper book; what a breach of the live one leads to is a demotion."""
    until = to_wire(block.until)
    text = (
        f"Drawdown limit reached ({rule}): {pct(block.measured)}, the limit is {pct(block.limit)}. "
        f"No entries until {until}."
    )
    data = {"rule": rule, "breach": breach, "measured": block.measured, "limit": block.limit, "until": until}
    return JournalEntry(at, named("jrn", at, "breach", rule), "RISK_BREACH", (rule, breach), text, data)
