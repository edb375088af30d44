"""Moves into and out of LIVE: what a person's act or a breach of the live book leads to. Pure.

Each returns the rows of one transaction, in their order: the cause first, then its echo as a `status_change`; that what
is held shall be sold comes last.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from attrs import evolve as changed
from attrs import frozen

from actors.risk_engine.evaluation import eligible, evaluate
from actors.risk_engine.rules import lifted_rows, status_rows
from actors.risk_engine.state import RiskState, evolve
from protocol.errors import Refusal
from protocol.events import (
    Breach,
    Demotion,
    Flattening,
    Frozen,
    JournalEntry,
    LiveOpened,
    Promotion,
    Row,
    Trade,
    WrittenOff,
)
from protocol.lifecycle import Trigger, move
from protocol.money import PCT, Units, booked, booked_down, pct, usdt
from protocol.orders import named
from protocol.settings import RiskConfig
from protocol.times import next_midnight, to_wire


@frozen
class Promote:
    """A person lets the agent trade for real. The wallet has `units`, of which `cash` are USDT; with what the live book
    still holds that is worth `equity`, and by that book alone it was `before`. `promise` says what the way of signing
    holds, for the journal."""

    cash: Decimal
    equity: Decimal
    before: Decimal
    units: dict[str, Units]
    promise: str
    force: bool = False

    def opening(self, worth: Decimal, cash: Decimal) -> Promote:
        """The same for a live book that is worth so much by now, of which so much is cash."""
        return changed(self, equity=booked(booked_down(self.cash) + worth - cash), before=worth)


@frozen
class Demote:
    """A person takes the agent out of LIVE, and what a kill switch has stranded out of the live book. Where what the
    wallet has not is written off, `wallet` says what it has, by token in base units and whole tokens, and `lost` what
    comes of it."""

    reason: str
    wallet: dict[str, tuple[Units, Decimal]] | None = None
    lost: tuple[WrittenOff, ...] = ()


@frozen
class Killed:
    """The signer was told to refuse everything."""

    at: str
    reason: str


@frozen
class Restored:
    """A person has let the signer sign again, which was killed at `killed_at`."""

    killed_at: str


@frozen
class Reapprove:
    """A person lifts the lock of exactly that max-drawdown demotion. Promotes nothing."""

    demotion: str
    reason: str


LIMITS = (
    "max_drawdown_pct", "daily_drawdown_pct", "max_consecutive_losses", "per_pair_exposure_pct", "max_market_age_hours"
)  # fmt: skip
Act = Promote | Demote | Killed | Restored | Reapprove


def acted(state: RiskState, act: Act, at: datetime, *, flat: bool) -> tuple[Row, ...] | Refusal:
    """What a person's act leads to. `flat` says that the live book holds nothing, but for what is lost."""
    match act:
        case Promote():
            return promote(state, at, act)
        case Demote():
            return demote_by_hand(state, act, at, flat=flat)
        case Killed():
            return kill(state, act, at)
        case Restored():
            return restore(act, at)
        case Reapprove():
            return reapprove(state, act.demotion, act.reason, at)


def promotable(state: RiskState, *, force: bool) -> Refusal | None:
    """Why nobody can promote the agent now. Before its record is there only `force` can; while a demotion's lock holds,
    nobody."""
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
        reason = f"the record has not earned it yet ({missed})"
        if eligible(state):
            reason = "the record holds, and counts from the next candle on"
        return Refusal("NOT_ELIGIBLE", f"{reason}; force promotes all the same")
    return None


def promote(state: RiskState, at: datetime, act: Promote) -> tuple[Row, ...] | Refusal:
    if (no := promotable(state, force=act.force)) is not None:
        return no
    ref = named("jrn", at, "promotion", str(state.changes))
    trigger: Trigger = "promoted_by_force" if act.force else "promoted"
    unearned = act.force and state.status != "ELIGIBLE" and not eligible(state)
    how = "by force, before its record was there" if unearned else "by force" if act.force else "on its record"
    text = f"Promoted to live {how}, with {usdt(act.equity)}. From here on real money moves. {act.promise}"
    data = {"force": act.force, "equity": act.equity, "cash": act.cash, "units": dict(act.units)}
    entry = JournalEntry(at, ref, "PROMOTION", ("live",), text, data)
    change, event = status_rows(state, trigger, at, f"a person promoted the agent {how}")
    opened = LiveOpened(at, booked_down(act.cash), act.equity, act.before, act.units)
    return (entry, change, opened, Promotion(at, None, ref), event)


def proven(state: RiskState, trade: Trade) -> tuple[Row, ...]:
    """The promotion is told once more, with the hash of the first trade that confirmed since."""
    if state.unproven is None or trade.phase != "live":
        return ()
    return (Promotion(trade.ts, trade.tx_hash, state.unproven),)


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
        Flattening(at, f"{rule} was breached"),
    )


def demote_by_hand(state: RiskState, act: Demote, at: datetime, *, flat: bool) -> tuple[Row, ...] | Refusal:
    """A person takes the agent out of LIVE. No lock and no `demotion` event follow, unless what is lost reaches a
    limit. Out of LIVE it sells what is still held all the same, and says so: no move of the status does."""
    why, told = f"a person demoted the agent: {act.reason}", list[Row]()
    for lost in act.lost:
        told += (_lost(state, lost, act.reason), lost)
        state = evolve(state, lost)
    if act.lost and (breached := demote_on_breach(state, at)):
        return (*told, *breached)
    if state.status == "LIVE":
        return (*told, *status_rows(state, "demoted", at, why), Flattening(at, why))
    if flat:
        no = Refusal("NOT_LIVE", f"the agent is {state.status}, and the live book holds nothing")
        return (*told, Flattening(at, why)) if told else no
    ref = named("jrn", at, "demotion", "by hand", str(state.changes))
    text = (
        f"Demoted by hand, and {state.status} already: what the live book still holds is sold for USDT ({act.reason})."
    )
    data = {"status": state.status, "reason": act.reason}
    return (*told, JournalEntry(at, ref, "DEMOTION", ("by_hand",), text, data), Flattening(at, why))


def _lost(state: RiskState, lost: WrittenOff, reason: str) -> JournalEntry:
    gone, left, held = (f"{it.normalize():f}" for it in (lost.qty, lost.left, lost.qty + lost.left))
    text = (
        f"Wrote off {gone} {lost.token} of {lost.pair}, {usdt(lost.loss)} by its last close: the live book held {held} "
        f"and is worth {usdt(lost.equity)} by now, the wallet has {left} ({reason}). USDT that the wallet has beyond "
        "the book counts as paid in."
    )
    data = {"pair": lost.pair, "qty": lost.qty, "left": lost.left, "units": lost.units, "size": lost.loss,
            "equity": lost.equity, "reason": reason}  # fmt: skip
    ref = named("jrn", lost.ts, "written off", lost.pair, str(state.changes))
    return JournalEntry(lost.ts, ref, "DEMOTION", ("written_off", lost.pair), text, data)


def kill(state: RiskState, act: Killed, at: datetime) -> tuple[Row, ...]:
    """The signer was told to refuse everything. A live agent goes back to paper; what it holds it cannot sell."""
    text = f"Kill switch ({act.reason}): the signer refuses everything until it is restored. Nothing was sold."
    data = {"killed_at": act.at, "reason": act.reason}
    entry = JournalEntry(at, named("jrn", at, "kill", act.at), "KILL", ("signer",), text, data)
    change = status_rows(state, "killed", at, "the kill switch was used")
    return (entry, *change, Frozen(at, f"the signer was revoked at {act.at}"))


def restore(act: Restored, at: datetime) -> tuple[Row, ...]:
    text = "The signer signs again: a person has restored it. The agent stays what it is until it is promoted."
    return (JournalEntry(at, named("jrn", at, "restore", act.killed_at), "RESTORE", ("signer",), text, {}),)


def loosened(before: RiskConfig, after: RiskConfig) -> list[str]:
    """The limits that a change would make laxer. For all but the cooldown, more is laxer."""
    laxer = [name for name in LIMITS if getattr(after, name) > getattr(before, name)]
    return laxer + ["risk.cooldown_hours"] * (after.cooldown_hours < before.cooldown_hours)


def reapprove(state: RiskState, demotion: str, reason: str, at: datetime) -> tuple[Row, ...] | Refusal:
    """A person lifts the lock of exactly that max-drawdown demotion. Promotes nothing."""
    lock = state.lock
    if lock is None or lock.demotion != demotion:
        held = f"the lock in force is of {lock.demotion}" if lock else "nothing is locked"
        return Refusal("NOT_LOCKED", f"{demotion} locks nothing: {held}")
    if lock.until is not None:
        return Refusal("NOT_LOCKED", f"the lock of {demotion} ends by itself at {to_wire(lock.until)}")
    return lifted_rows(state, f"a person re-approved {demotion}: {reason}", at)
