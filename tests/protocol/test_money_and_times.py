"""Money as the ledger keeps it; instants in their one form; the lifecycle's table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.events import Status
from protocol.lifecycle import MOVES, Trigger, move, phase_of
from protocol.money import booked, booked_down, price
from protocol.orders import named
from protocol.times import from_millis, from_wire, next_midnight, parse_time, to_millis, to_wire
from tests.protocol.rows import times

amounts = st.decimals(-(10**11), 10**11, allow_nan=False, allow_infinity=False).filter(
    lambda amount: len(amount.as_tuple().digits) <= 28
)
UNIT = Fraction(1, 10**8)


@pytest.mark.parametrize(
    ("amount", "kept"),
    [
        ("0.000000005", "0"),
        ("0.000000015", "0.00000002"),
        ("0.000000025", "0.00000002"),
        ("0.0000000250000001", "0.00000003"),
        ("-0.000000015", "-0.00000002"),
        ("1E+3", "1000"),
        ("2.50", "2.5"),
        ("-0", "0"),
        ("123456789.123456785", "123456789.12345678"),
    ],
)
def test_an_amount_is_booked_to_8_places_half_even(amount: str, kept: str) -> None:
    assert booked(Decimal(amount)) == Decimal(kept)
    assert f"{booked(Decimal(amount)):f}" == kept


@given(amounts)
def test_booking_is_half_even_exact_and_needs_no_exponent(amount: Decimal) -> None:
    kept = booked(amount)
    exponent = kept.as_tuple().exponent
    assert isinstance(exponent, int)
    assert -8 <= exponent <= 0
    assert kept == amount.quantize(Decimal("1e-8"), ROUND_HALF_EVEN)
    assert Fraction(kept) == round(Fraction(amount) / UNIT) * UNIT  # Python rounds half to even, too
    assert not (kept == 0 and kept.is_signed())


@given(amounts)
def test_booking_twice_changes_nothing_and_leaves_no_trailing_zero(amount: Decimal) -> None:
    kept = booked(amount)
    assert str(booked(kept)) == str(kept)
    assert "." not in f"{kept:f}" or not f"{kept:f}".endswith("0")


@given(amounts)
def test_a_quantity_is_booked_towards_zero(amount: Decimal) -> None:
    kept = booked_down(amount)
    assert abs(kept) <= abs(amount)
    assert abs(Fraction(amount) - Fraction(kept)) < UNIT


@given(times)
def test_an_instant_has_one_text_and_it_is_read_back(at: datetime) -> None:
    assert from_wire(to_wire(at)) == at
    assert from_millis(to_millis(at)) == at


@pytest.mark.parametrize(
    "text",
    ["", "2026-01-02", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678", "2026-01-02T03:04:05.678+00:00",
     "2026-01-02 03:04:05.678Z", "2026-13-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z\n", "2026-01-02T25:04:05.678Z",
     "٢٠٢٦-01-02T03:04:05.678Z"],
)  # fmt: skip
def test_nothing_more_lenient_is_read_as_an_instant(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|hour|month|isoformat"):
        from_wire(text)


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("2026-01-02", "2026-01-02T00:00:00.000Z"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05.000Z"),
        ("2026-01-02T03:04:05.678999Z", "2026-01-02T03:04:05.678Z"),
    ],
)
def test_a_person_may_write_a_time_in_any_iso_form(text: str, wire: str) -> None:
    assert to_wire(parse_time(text)) == wire


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_is_refused_with_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|year|range"):
        parse_time(text)


@given(times)
def test_the_next_midnight_is_the_first_one_strictly_after(at: datetime) -> None:
    midnight = next_midnight(at)
    assert midnight > at
    assert midnight - at <= timedelta(days=1)
    assert to_wire(midnight).endswith("T00:00:00.000Z")


def test_at_midnight_the_next_one_is_a_day_away() -> None:
    midnight = datetime(2024, 2, 28, tzinfo=UTC)
    assert next_midnight(midnight) == datetime(2024, 2, 29, tzinfo=UTC)
    assert next_midnight(midnight - timedelta(milliseconds=1)) == midnight
    assert next_midnight(datetime(2025, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)) == datetime(2026, 1, 1, tzinfo=UTC)


def test_only_moves_of_the_table_occur() -> None:
    table = {
        ("PAPER", "criteria_met"): "ELIGIBLE",
        ("ELIGIBLE", "criterion_lost"): "PAPER",
        ("ELIGIBLE", "config_changed"): "PAPER",
        ("ELIGIBLE", "promoted"): "LIVE",
        ("ELIGIBLE", "promoted_by_force"): "LIVE",
        ("PAPER", "promoted_by_force"): "LIVE",
        ("LIVE", "breached"): "DEMOTED",
        ("LIVE", "demoted"): "PAPER",
        ("LIVE", "killed"): "PAPER",
        ("DEMOTED", "lock_lifted"): "PAPER",
        ("DEMOTED", "lock_lifted_with_criteria_met"): "ELIGIBLE",
    }
    assert table == MOVES
    for status in get_args(Status):
        for trigger in get_args(Trigger):
            assert move(status, trigger) == table.get((status, trigger))


def test_the_phase_is_live_exactly_while_the_status_is_live() -> None:
    assert {status: phase_of(status) for status in get_args(Status)} == {
        "PAPER": "paper", "ELIGIBLE": "paper", "DEMOTED": "paper", "LIVE": "live",
    }  # fmt: skip


@given(times, st.lists(st.text("abc", max_size=3), max_size=3), st.lists(st.text("abc", max_size=3), max_size=3))
def test_the_same_cause_has_the_same_name_and_another_cause_another(
    at: datetime, one: list[str], two: list[str]
) -> None:
    assert (named("ord", at, *one) == named("ord", at, *two)) == (one == two)
    assert named("jrn", at, *one).startswith("jrn_")
    assert named("ord", at, *one) != named("ord", at + timedelta(milliseconds=1), *one)


@pytest.mark.parametrize(
    ("amount", "words"),
    [("0.0000005", "0.0000005"), ("0.00001234567", "0.0000123457"), ("98.44104", "98.4410"), ("2471.2345", "2,471.23")],
)
def test_a_price_has_six_digits_and_no_exponent(amount: str, words: str) -> None:
    assert price(Decimal(amount)) == words
