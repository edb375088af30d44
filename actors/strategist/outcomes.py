"""Each decision has one outcome. Where the same "no" repeats, the first is told at once and the rest together,
later."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import evolve as changed
from attrs import frozen

from protocol.errors import Refusal
from protocol.events import Decided, JournalEntry, QuoteRejected, Row, Trade
from protocol.orders import Order, Phase, entry_ref, live_data, live_tag, named
from protocol.times import to_wire


@frozen
class Repeats:
    """A pair's latest "no", told at `since`: how often it came again on that UTC day, from when to when."""

    side: str
    code: str
    since: datetime
    hidden: int = 0
    first: datetime | None = None
    last: datetime | None = None


Outcomes = dict[str, Repeats]  # by pair


def evolve(outcomes: Outcomes, row: Any, phase: Phase = "paper") -> Outcomes:
    """Fold a row of the log; those of the other phase change nothing."""
    if _phase(row) != phase:
        return outcomes
    match row:
        case Decided(entry=None):
            old = outcomes[row.pair]
            again = changed(old, hidden=old.hidden + 1, first=old.first or row.ts, last=row.ts)
            return {**outcomes, row.pair: again}
        case Decided() | Trade() if row.pair in outcomes and outcomes[row.pair].hidden:
            return outcomes  # of a sale between two rounds: what was counted before is still to be told
        case Decided():
            return {**outcomes, row.pair: Repeats(row.side, row.code, row.ts)}
        case JournalEntry() if "repeats" in row.tags:
            pair = row.data["pair"]
            return {**outcomes, pair: changed(outcomes[pair], hidden=0, first=None, last=None)}
        case Trade() if row.pair in outcomes:
            return {pair: repeats for pair, repeats in outcomes.items() if pair != row.pair}
        case _:
            return outcomes


def _phase(row: Any) -> Phase:
    return row.data.get("phase", "paper") if isinstance(row, JournalEntry) else getattr(row, "phase", "paper")


def skipped(outcomes: Outcomes, order: Order, no: Refusal, at: datetime) -> tuple[Row, ...]:
    """The rows of a decision that ends in a SKIPPED: told at once, or counted if it is the same "no" as before."""
    last = outcomes.get(order.pair)
    if last and (last.side, last.code, last.since.date()) == (order.side, no.rule, at.date()):
        return (Decided(at, order.pair, order.side, no.rule, None, order.phase),)
    ref = entry_ref(order, at)
    text = f"Skipped {order.pair} {order.side}: {no.reason}."
    data = {"code": no.rule, "order_ref": order.ref, "pair": order.pair, "side": order.side, **no.data}
    tags = (_source(no.rule), order.pair, *live_tag(order))
    return (
        *told(outcomes, order.pair, at, order.phase),
        JournalEntry(at, ref, "SKIPPED", tags, text, data | live_data(order)),
        Decided(at, order.pair, order.side, no.rule, ref, order.phase),
    )


def rejected(outcomes: Outcomes, order: Order, quote: QuoteRejected, at: datetime) -> tuple[Row, ...]:
    """The same where it is the quote that is not believed, which is an event of its own."""
    no = Refusal(quote.code, quote.detail, {"measured": quote.measured, "limit": quote.limit})
    return (*skipped(outcomes, order, no, at), quote)


def told(outcomes: Outcomes, pair: str, at: datetime, phase: Phase = "paper") -> tuple[Row, ...]:
    """The entry that tells the repeats which were only counted so far; nothing if there are none."""
    repeats = outcomes.get(pair)
    if repeats is None or not repeats.hidden or repeats.first is None or repeats.last is None:
        return ()
    times = "once" if repeats.hidden == 1 else f"{repeats.hidden} times"
    text = (
        f"Skipped {pair} {repeats.side} {times} more for the same reason ({repeats.code}), from "
        f"{to_wire(repeats.first)} to {to_wire(repeats.last)}."
    )
    data = {"code": repeats.code, "pair": pair, "side": repeats.side, "count": repeats.hidden,
            "first": to_wire(repeats.first), "last": to_wire(repeats.last)}  # fmt: skip
    tags: tuple[str, ...] = (_source(repeats.code), "repeats", pair)
    if phase == "live":
        tags, data = (*tags, phase), data | {"phase": phase}
    ref = named("jrn", at, *tags[1:])
    return (JournalEntry(at, ref, "SKIPPED", tags, text, data),)


def overdue(outcomes: Outcomes, at: datetime, phase: Phase = "paper") -> tuple[Row, ...]:
    """Nobody waits longer than to the next UTC day: what was counted on an earlier one is told."""
    late = [pair for pair, repeats in sorted(outcomes.items()) if repeats.last and repeats.last.date() < at.date()]
    return tuple(row for pair in late for row in told(outcomes, pair, at, phase))


def _source(code: str) -> str:
    """The tag that says where a "no" came from: the rule's own name, but for the quote's codes and for dust."""
    return "quote" if code.isupper() else {"dust": "fee_filter"}.get(code, code)
