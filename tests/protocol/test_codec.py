"""What is written can be read back, exactly; what clients get has the wire's form."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from attrs import asdict, fields
from attrs import evolve as changed
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.codec import decode_row, encode_row, from_json, from_plain, to_json, to_plain
from protocol.events import (
    EVENTS,
    FACTS,
    Demotion,
    JournalEntry,
    Promotion,
    Row,
    Snapshot,
    StatusChange,
    Trade,
)
from protocol.settings import AgentConfig, PairQuotes, QuotesConfig
from protocol.strategy import StrategyParams, default_spec
from protocol.times import from_wire
from tests.protocol.rows import EVENT_STRATEGIES, FACT_STRATEGIES, FIRST, configs, events, facts, money, rows

# The fields of each message beside `event`, `ts` and `seq`, as the contract gives them.
GIVEN: dict[str, set[str]] = {
    "snapshot": {"equity", "phase", "dd_from_peak", "daily_dd_used"},
    "trade": {"pair", "side", "size", "price", "pnl", "fees", "phase", "journal_ref", "qty"},
    "journal_entry": {"id", "type", "tags", "text", "data"},
    "risk_veto": {"rule", "reason", "order_ref"},
    "status_change": {"from", "to"},
    "quote_rejected": {"pair", "reason", "detail", "code"},
    "twak_block": {"rule", "reason", "order_ref"},
    "promotion": {"tx_hash"},
    "demotion": {"rule", "breach", "locked_until"},
}


def test_the_strategies_draw_every_kind_of_row() -> None:
    assert (len(EVENT_STRATEGIES), len(FACT_STRATEGIES)) == (len(EVENTS), len(FACTS))
    assert {event.kind for event in EVENTS} == set(GIVEN)


@given(events, st.integers(1, 2**53))
def test_an_event_that_is_written_is_read_back_the_same(row: Row, seq: int) -> None:
    assert decode_row(encode_row(row, seq)) == row
    assert decode_row(encode_row(row, seq).decode()) == row


@given(facts)
def test_a_fact_that_is_written_is_read_back_the_same(row: Row) -> None:
    assert decode_row(encode_row(row, None)) == row


@given(rows)
def test_what_is_read_back_has_the_same_types_too(row: Row) -> None:
    seq = 1 if isinstance(row, EVENTS) else None
    assert _typed(decode_row(encode_row(row, seq))) == _typed(row)


def _typed(row: Row) -> Any:
    """Values with their classes, free-form parts aside."""
    free = {"data", "cursor", "market"}
    return _classes({a.name: getattr(row, a.name) for a in fields(type(row)) if a.name not in free})


def _classes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _classes(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_classes, value))
    if hasattr(value, "__attrs_attrs__"):
        return (type(value), _classes(asdict(value, recurse=False)))
    return (type(value), value)


@given(rows)
def test_writing_again_what_was_read_gives_the_same_bytes(row: Row) -> None:
    seq = 7 if isinstance(row, EVENTS) else None
    written = encode_row(row, seq)
    assert encode_row(decode_row(written), seq) == written


@given(events, st.integers(1, 2**53))
def test_every_message_is_one_object_that_begins_with_event_ts_and_seq(row: Row, seq: int) -> None:
    frame = json.loads(encode_row(row, seq))
    assert list(frame)[:3] == ["event", "ts", "seq"]
    assert (frame["event"], frame["seq"]) == (row.kind, seq)
    assert GIVEN[row.kind] <= set(frame)
    assert not {"from_", "return_"} & set(frame)


@given(rows)
def test_every_time_has_the_one_form(row: Row) -> None:
    frame = json.loads(encode_row(row, 1 if isinstance(row, EVENTS) else None))
    assert frame["ts"][10] == "T"
    assert frame["ts"].endswith("Z")
    assert len(frame["ts"]) == len("2026-01-02T03:04:05.678Z")
    assert from_wire(frame["ts"]) == row.ts


@given(money)
@example(Decimal("0.00000001"))
@example(Decimal("999999999999.99999999"))
@example(Decimal("0.1"))
def test_money_is_a_json_number_and_exact_both_ways(amount: Decimal) -> None:
    written = encode_row(Snapshot(FIRST, amount, "paper", amount, amount), 1)
    assert b'"equity":"' not in written
    read = decode_row(written)
    assert isinstance(read, Snapshot)
    assert isinstance(read.equity, Decimal)
    assert (read.equity, read.dd_from_peak, read.daily_dd_used) == (amount, amount, amount)


@given(money.filter(lambda amount: amount != int(amount)))
def test_money_in_free_form_data_is_never_a_float(amount: Decimal) -> None:
    entry = JournalEntry(FIRST, "jrn_1", "SKIPPED", (), "", {"limit": amount, "deep": [{"x": amount}]})
    read = decode_row(encode_row(entry, 1))
    assert isinstance(read, JournalEntry)
    assert read.data == {"limit": amount, "deep": [{"x": amount}]}
    assert isinstance(read.data["limit"], Decimal)


def test_a_status_change_says_from_and_to() -> None:
    frame = from_json(encode_row(StatusChange(FIRST, "PAPER", "ELIGIBLE", "earned"), 3))
    assert frame == {
        "event": "status_change", "ts": "2020-01-01T00:00:00.000Z", "seq": 3,
        "from": "PAPER", "to": "ELIGIBLE", "reason": "earned",
    }  # fmt: skip


def _trade(**closing: Any) -> Trade:
    pnl = Decimal("-1.5") if closing else None
    size, price, qty = Decimal(10), Decimal("2.5"), Decimal(4)
    side: Any = "sell" if closing else "buy"
    return Trade(FIRST, "ETH/USDT", side, size, price, pnl, Decimal("0.1"), "paper", "jrn_1", qty, "ord_1", **closing)


def test_a_trade_says_when_it_was_filled_and_its_transaction_only_where_there_is_something_to_say() -> None:
    assert not {"filled_at", "tx_hash"} & set(from_json(encode_row(_trade(), 1)))
    told = changed(_trade(), filled_at=FIRST, tx_hash="0xabc")
    frame = from_json(encode_row(told, 1))
    assert (frame["filled_at"], frame["tx_hash"]) == ("2020-01-01T00:00:00.000Z", "0xabc")
    assert decode_row(encode_row(told, 1)) == told


def test_a_promotion_without_its_first_trade_says_so_with_null() -> None:
    frame = from_json(encode_row(Promotion(FIRST, None, "jrn_1"), 1))
    assert (frame["event"], frame["tx_hash"]) == ("promotion", None)


def test_a_demotion_that_only_a_person_lifts_has_no_end() -> None:
    frame = from_json(encode_row(Demotion(FIRST, "max_drawdown", "max", None, "jrn_1"), 1))
    assert (frame["breach"], frame["locked_until"]) == ("max", None)


def test_a_closing_trade_says_hold_s_and_return_and_an_opening_one_does_not() -> None:
    opening = from_json(encode_row(_trade(), 1))
    assert opening["pnl"] is None
    assert not {"hold_s", "return"} & set(opening)
    closing = from_json(encode_row(_trade(hold_s=3600, return_=Decimal("-0.15")), 2))
    assert (closing["pnl"], closing["hold_s"], closing["return"]) == (Decimal("-1.5"), 3600, Decimal("-0.15"))


@given(configs)
def test_a_config_goes_through_json_unchanged(config: AgentConfig) -> None:
    assert from_plain(from_json(to_json(to_plain(config))), AgentConfig) == config


def test_what_was_not_given_is_not_written() -> None:
    """A parameter of another indicator, an exit that is off, a limit that is everybody's: a document shows none of
    them, so that it can be edited and sent back."""
    condition = to_plain(default_spec())["signals"]["entry"]["all_of"][1]
    assert condition == {"indicator": "rsi", "op": "<=", "value": 25, "window": 14}
    assert to_plain(StrategyParams(stop_loss_pct=Decimal(5))).keys() == {
        "position_size_pct", "max_concurrent", "stop_loss_pct",
    }  # fmt: skip
    limits = QuotesConfig(pairs={"ETH/USDT": PairQuotes(max_age_seconds=60)})
    assert to_plain(limits)["pairs"] == {"ETH/USDT": {"max_age_seconds": 60}}


def test_an_unknown_field_in_what_we_wrote_is_passed_over() -> None:
    frame = from_json(encode_row(_trade(), 1))
    assert decode_row(to_json({**frame, "from_a_later_version": 1})) == _trade()


@pytest.mark.parametrize("bad", [b"", b"{}", b"[]", b'{"event":"nonsense"}', b'{"fact":"mark"}', b"\xff"])
def test_what_is_no_row_is_not_read_as_one(bad: bytes) -> None:
    with pytest.raises((ValueError, KeyError, AttributeError, TypeError)):
        decode_row(bad)


def test_an_instant_that_was_written_is_utc() -> None:
    read = decode_row(encode_row(StatusChange(FIRST, "PAPER", "ELIGIBLE", ""), 1))
    assert isinstance(read.ts, datetime)
    assert read.ts.utcoffset() is not None
    assert read.ts.tzname() == "UTC"


def test_an_abyss_of_brackets_is_refused_also_where_a_library_has_lifted_the_limit_of_recursion() -> None:
    """In a process of its own: where it is not refused, there is none any more."""
    code = """
import sys, eth_account
assert sys.getrecursionlimit() > 10_000, "eth_account does it no more: is the limit in from_json needed?"
from protocol.codec import from_json
try:
    from_json(b"[" * 256 * 1024)
except ValueError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("refused\n", 0)
