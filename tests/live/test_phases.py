"""Two books beside each other: what is decided for one is no matter of the other, and nothing is decided for the live
one while the agent is not live."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from actors.executor.book import Book
from actors.executor.live import Live
from actors.messages import Append, Execute, Judge, Verify
from actors.strategist.conduct import Conductor
from actors.strategist.memory import Mind
from actors.strategist.outcomes import Outcomes, evolve, overdue, skipped, told
from actors.turn import Turn
from protocol.codec import decode_row, encode_row
from protocol.errors import Refusal
from protocol.events import EVENTS, Decided, JournalEntry, Row, Trade
from protocol.market import Round
from protocol.money import ZERO
from protocol.orders import Order, Phase
from tests.actors.test_conduct import ENTERS, HOUR, QUIET, config, tick, view
from tests.live.lives import AT, OPENED, bought, folded, intended

NO = Refusal("regime", "it is wild")
DAY = timedelta(days=1)


def _order(phase: Phase, ref: str = "ord") -> Order:
    return Order(ref, "ETH/USDT", "buy", Decimal(100), None, "because", phase)


def _conducted(book: Book, outcomes: Outcomes, *, deciding: bool, says: float = ENTERS) -> list[Any]:
    """What a round in which the strategy wants to enter asks for, where each quote and each order passes."""
    round_ = Round(AT + DAY, {"ETH/USDT": tick(AT + DAY)}, 1)
    views = {"ETH/USDT": view(says)}
    conductor = Conductor(Turn(), round_, config(), views, book, outcomes, deciding=deciding)
    plan, steps = conductor.steps(), list[Any]()
    answer: Any = None
    while True:
        try:
            step = plan.send(answer)
        except StopIteration:
            return steps
        steps.append(step)
        match step:
            case Verify():
                answer = intended(_live(), size=str(step.order.size_usdt)).quote
            case Execute():
                answer = intended(_live(), size=str(step.order.size_usdt))
            case _:
                answer = None


def _live() -> Live:

    return folded(*OPENED)


def _repeated(phase: Phase) -> Outcomes:
    """One "no" that was told, and one that was only counted."""
    found: Outcomes = {}
    for hours in (0, 1):
        for row in skipped(found, _order(phase), NO, AT + hours * HOUR):
            found = evolve(found, row, phase)
    return found


@pytest.mark.parametrize("deciding", [True, False])
def test_nothing_is_decided_for_the_live_book_outside_live_though_something_is_still_to_be_told(deciding: bool) -> None:
    book, outcomes = Book(cash=Decimal(1000), phase="live"), _repeated("live")
    steps = _conducted(book, outcomes, deciding=deciding)
    (first, *rest) = steps
    assert isinstance(first, Append)
    (entry,) = first.rows
    assert isinstance(entry, JournalEntry)
    assert "repeats" in entry.tags
    wished = [type(step) for step in rest]
    assert wished == ([Verify, Judge, Execute] if deciding else [])


def test_a_wish_for_the_live_book_is_another_order_than_the_same_one_for_paper() -> None:
    orders = {}
    for phase in ("paper", "live"):
        book = Book(cash=Decimal(1000), phase=phase)
        (order,) = [step.order for step in _conducted(book, {}, deciding=True) if isinstance(step, Verify)]
        orders[phase] = order
        assert order.phase == phase
    assert orders["paper"].ref != orders["live"].ref
    assert not _conducted(Book(cash=ZERO, phase="live"), {}, deciding=True, says=QUIET)


def test_what_repeats_for_one_book_is_no_repeat_for_the_other() -> None:
    found: dict[Phase, Outcomes] = {"paper": {}, "live": {}}
    rows: list[Row] = []
    rounds: tuple[tuple[Phase, ...], ...] = (("paper",), ("live",), ("paper", "live"))
    for hours, phases in enumerate(rounds):
        for phase in phases:
            made = skipped(found[phase], _order(phase, f"{hours} {phase}"), NO, AT + hours * HOUR)
            rows += made
            for row in made:
                found = {book: evolve(outcomes, row, book) for book, outcomes in found.items()}
    entries = [row for row in rows if isinstance(row, JournalEntry)]
    assert [("live" in entry.tags, entry.data.get("phase")) for entry in entries] == [(False, None), (True, "live")]
    assert [(row.phase, row.entry is None) for row in rows if isinstance(row, Decided)] == [
        ("paper", False), ("live", False), ("paper", True), ("live", True),
    ]  # fmt: skip
    assert {book: outcomes["ETH/USDT"].hidden for book, outcomes in found.items()} == {"paper": 1, "live": 1}


def test_what_was_counted_for_both_books_is_told_for_each_under_an_id_of_its_own() -> None:
    entries = []
    for phase in ("paper", "live"):
        found = _repeated(phase)
        (entry,) = overdue(found, AT + DAY, phase)
        assert isinstance(entry, JournalEntry)
        assert (("live" in entry.tags), entry.data["count"]) == (phase == "live", 1)
        assert told(evolve(found, entry, phase), "ETH/USDT", AT + DAY, phase) == ()
        entries.append(entry)
    assert entries[0].id != entries[1].id


def test_what_was_counted_is_told_though_the_pair_is_sold_out_before() -> None:
    """Nobody asks the strategy then, nor tells it first, as a decision of its own would."""
    trade = bought(_live())[-1]
    assert isinstance(trade, Trade)
    sale = Decided(AT + HOUR, "ETH/USDT", "sell", "QUOTE_STALE", "jrn_sale", "live")
    found = evolve(evolve(_repeated("live"), sale, "live"), trade, "live")
    (entry,) = overdue(found, AT + DAY, "live")
    assert isinstance(entry, JournalEntry)
    assert entry.data["count"] == 1
    assert evolve(evolve(found, entry, "live"), trade, "live") == {}


def test_the_strategist_remembers_both_books_and_the_kill_over_a_restart() -> None:
    rows: list[Row] = []
    for phase in ("paper", "live"):
        found: Outcomes = {}
        for hours in (0, 1):
            for row in skipped(found, _order(phase, f"{phase} {hours}"), NO, AT + hours * HOUR):
                rows.append(row)
                found = evolve(found, row, phase)
    rows.append(JournalEntry(AT, "jrn_kill", "KILL", ("signer",), "", {"killed_at": "then", "reason": "by hand"}))
    before, after = Mind(AT), Mind(AT)
    for row in rows:
        before = before.after(row)
        after = after.after(decode_row(encode_row(row, 1 if isinstance(row, EVENTS) else None)))
    assert before == after
    assert before.outcomes["ETH/USDT"].hidden == before.live_outcomes["ETH/USDT"].hidden == 1
    assert before.killed == "then"
    restored = before.after(JournalEntry(AT, "jrn_restore", "RESTORE", ("signer",), "", {}))
    assert restored.killed is None
