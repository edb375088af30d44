"""Moves into and out of LIVE: what a person's act or a breach of the live book leads to. Pure; nothing is armed yet,
so nobody calls these but the tests and the docs.

Each returns the rows of one transaction, in their order: the cause first, its echo as a `status_change` last.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from actors.risk_engine.evaluation import evaluate
from actors.risk_engine.rules import lifted_rows, status_rows
from actors.risk_engine.state import RiskState
from protocol.errors import Refusal
from protocol.events import Breach, Demotion, JournalEntry, Marked, Promotion, Row
from protocol.lifecycle import Trigger, move
from protocol.money import PCT, booked, pct, usdt
from protocol.orders import named
from protocol.times import next_midnight, to_wire


def promote(state: RiskState, at: datetime, equity: Decimal, *, force: bool = False) -> tuple[Row, ...] | Refusal:
    """A person lets the agent trade for real, with a live book of `equity` USDT. Before the record is there only by
    `force`; while a demotion's lock holds, not at all."""
    if state.lock is not None:
        lock = state.lock
        wait = f"until {to_wire(lock.until)}" if lock.until else f"until a person re-approves {lock.demotion}"
        return Refusal("PROMOTION_LOCKED", f"{lock.rule} was breached: promotion is locked {wait}")
    trigger: Trigger = "promoted_by_force" if force else "promoted"
    if move(state.status, trigger) is None:
        if state.status == "LIVE":
            return Refusal("ALREADY_LIVE", "the agent is live")
        found = evaluate(state)
        missed = ", ".join(objective.rule for objective in found.objectives if not objective.met) or found.state
        return Refusal("NOT_ELIGIBLE", f"the record has not earned it yet ({missed}); force promotes all the same")
    ref = named("jrn", at, "promotion")
    how = "by force, before its record was there" if force and state.status != "ELIGIBLE" else "on its record"
    text = f"Promoted to live {how}, with {usdt(equity)}. From here on real money moves."
    entry = JournalEntry(at, ref, "PROMOTION", ("live",), text, {"force": force, "equity": equity})
    change, event = status_rows(state, trigger, at, f"a person promoted the agent {how}")
    return (entry, change, Marked(at, equity, {}, "live"), Promotion(at, None, ref), event)


def demote_on_breach(state: RiskState, at: datetime) -> tuple[Row, ...]:
    """What a mark of the live book leads to while LIVE: nothing, or the demotion. Of both limits at once the max
    counts, since its lock is the stronger."""
    gauge, risk = state.live, state.settings.risk
    if state.status != "LIVE" or gauge is None:
        return ()
    measured: tuple[tuple[str, Breach, Decimal, Decimal], ...] = (
        ("max_drawdown", "max", gauge.drawdown, risk.max_drawdown_pct * PCT),
        ("daily_drawdown", "daily", gauge.daily_drawdown, risk.daily_drawdown_pct * PCT),
    )
    for rule, breach, found, limit in measured:
        if found >= limit:
            return _demoted(state, rule, breach, found, limit, at)
    return ()


def _demoted(
    state: RiskState, rule: str, breach: Breach, measured: Decimal, limit: Decimal, at: datetime
) -> tuple[Row, ...]:
    until = next_midnight(at) if breach == "daily" else None
    ref = named("jrn", at, "demotion", rule)
    reached = f"The live book's drawdown limit is reached ({rule}): {pct(measured)}, the limit is {pct(limit)}."
    lock = f"until {to_wire(until)}" if until else "until a person re-approves it"
    text = (
        f"Demoted to paper: the live book fell {pct(measured)}, the limit of {rule} is {pct(limit)}. Live positions "
        f"are sold for USDT. Promotion is locked {lock}."
    )
    data: dict[str, Any] = {"rule": rule, "breach": breach, "measured": booked(measured), "limit": limit}
    locked = {"locked_until": to_wire(until) if until else None}
    change, event = status_rows(state, "breached", at, f"{rule} was breached: {pct(measured)} of {pct(limit)}")
    return (
        JournalEntry(at, named("jrn", at, "breach", rule, "live"), "RISK_BREACH", (rule, breach), reached, data),
        JournalEntry(at, ref, "DEMOTION", (rule, breach), text, {**data, **locked}),
        change,
        Demotion(at, rule, breach, until, ref),
        event,
    )


def demote_by_hand(state: RiskState, reason: str, at: datetime) -> tuple[Row, ...] | Refusal:
    """A person takes the agent out of LIVE. No lock follows, and no `demotion` event."""
    if state.status != "LIVE":
        return Refusal("NOT_LIVE", f"the agent is {state.status}")
    return status_rows(state, "demoted", at, f"a person demoted the agent: {reason}")


def kill(state: RiskState, at: datetime) -> tuple[Row, ...]:
    """The signer was told to refuse everything. A live agent goes back to paper; what it holds it cannot sell."""
    text = "Kill switch: the signer refuses everything until it is restored. Nothing was sold."
    entry = JournalEntry(at, named("jrn", at, "kill"), "KILL", ("signer",), text, {})
    return (entry, *status_rows(state, "killed", at, "the kill switch was used"))


def reapprove(state: RiskState, demotion: str, reason: str, at: datetime) -> tuple[Row, ...] | Refusal:
    """A person lifts the lock of exactly that max-drawdown demotion. Promotes nothing."""
    lock = state.lock
    if lock is None or lock.demotion != demotion:
        held = f"the lock in force is of {lock.demotion}" if lock else "nothing is locked"
        return Refusal("NOT_LOCKED", f"{demotion} locks nothing: {held}")
    if lock.until is not None:
        return Refusal("NOT_LOCKED", f"the lock of {demotion} ends by itself at {to_wire(lock.until)}")
    return lifted_rows(state, f"a person re-approved {demotion}: {reason}", at)
