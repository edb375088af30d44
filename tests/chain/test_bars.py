"""The arithmetic of pools and candles, on its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.chain.bars import Bar, Pool, fed, floor, significant, timely
from actors.chain.logs import SWAP, SYNC, TRANSFER, gained, pool_event, transfers
from actors.chain.port import Answer, Log, PoolEvent, Receipt, Reserves, Swapped, Synced

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
uint112 = st.integers(1, 2**112 - 1)
decimals = st.integers(0, 24)
pools = st.builds(Pool, st.just("ETH/USDT"), st.just("0xpool"), decimals, decimals, st.booleans())


@given(pools, uint112, uint112)
def test_a_price_is_the_reserves_ratio_to_12_digits_and_never_nothing(pool: Pool, first: int, second: int) -> None:
    price = pool.price(Reserves(first, second))
    token, usdt = (first, second) if pool.token_first else (second, first)
    exact = Fraction(usdt, 10**pool.usdt_decimals) / Fraction(token, 10**pool.token_decimals)
    if Fraction(1, 10**12) < exact < 10**12:
        assert price is not None
        assert abs(Fraction(price) / exact - 1) <= Fraction(1, 10**11)
    elif not Fraction(99, 10**14) <= exact <= 101 * 10**10:
        assert price is None


@given(pools, uint112, st.lists(st.tuples(uint112, uint112, st.integers(0, 2**256 - 1)), max_size=5))
def test_a_candle_of_whatever_a_pool_may_say_is_a_possible_one(
    pool: Pool, held: int, events: list[tuple[int, int, int]]
) -> None:
    bar = Bar.opened(pool, Reserves(held, held))
    if bar is None:
        return
    for index, (first, second, amount) in enumerate(events):
        bar = bar.after([Synced("0xpool", 1, index, Reserves(first, second))])
        bar = bar.after([Swapped("0xpool", 1, index, amount, 0, 0, amount)])
    candle = bar.candle(AT, 3600)
    assert 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
    assert 0 <= candle.volume <= 10**15
    assert bar.seen(AT).depth_usdt is not None
    assert bar.next().open == candle.close


def test_events_of_another_pool_and_reserves_of_none_change_nothing() -> None:
    bar = Bar.opened(Pool("ETH/USDT", "0xpool", 18, 18, True), Reserves(10, 20))
    assert bar is not None
    foreign: list[PoolEvent] = [Synced("0xother", 1, 0, Reserves(1, 1)), Swapped("0xother", 1, 1, 5, 0, 0, 5)]
    assert bar.after([*foreign, Synced("0xpool", 1, 2, Reserves(0, 7))]) == bar


def test_a_loan_that_comes_back_in_the_same_swap_is_no_volume() -> None:
    pool = Pool("ETH/USDT", "0xpool", 0, 0, True)
    assert pool.volume(Swapped("0xpool", 1, 0, 1003, 0, 1000, 0)) == 3


def test_a_feed_s_price_keeps_its_decimals_and_its_time() -> None:
    seen = fed(Answer(350_012_345_678, 8, AT))
    assert (seen.venue, seen.price, seen.observed_at, seen.depth_usdt) == (
        "chainlink",
        Decimal("3500.12345678"),
        AT,
        None,
    )


@pytest.mark.parametrize(
    ("number", "shown"),
    [("0", "0"), ("1E+20", "1" + 20 * "0"), ("1.23456789012345", "1.23456789012"), ("1E-20", "1E-20")],
)
def test_12_digits_count_whatever_the_size(number: str, shown: str) -> None:
    assert str(significant(Decimal(number))) == shown


def test_candles_stand_on_a_grid_that_begins_at_midnight() -> None:
    assert floor(AT + 3599 * SECOND, 3600) == AT
    assert floor(AT + 3600 * SECOND, 3600) == AT + 3600 * SECOND
    assert floor(AT, 86_400) == AT - 12 * 3600 * SECOND


@pytest.mark.parametrize(("seconds", "late"), [(60, 60), (600, 60), (3600, 360), (86_400, 8640)])
def test_a_candle_is_decided_on_within_a_tenth_of_its_length_a_minute_at_least(seconds: int, late: int) -> None:
    assert timely(AT, AT + late * SECOND, seconds)
    assert not timely(AT, AT + (late + 1) * SECOND, seconds)


# --- logs

ME, OTHER, TOKEN = "0x" + "aa" * 20, "0x" + "bb" * 20, "0x" + "cc" * 20


def topic(address: str) -> str:
    return "0x" + 24 * "0" + address[2:]


def receipt(*found: Log) -> Receipt:
    return Receipt("0x", 1, "0x", True, 1, 1, found)


amounts = st.lists(st.tuples(st.sampled_from([(ME, OTHER), (OTHER, ME), (ME, ME)]), st.integers(0, 2**256 - 1)))


@given(amounts)
def test_what_was_gained_is_what_came_less_what_went(moves: list[tuple[tuple[str, str], int]]) -> None:
    found = receipt(
        *(
            Log(TOKEN, (TRANSFER, topic(sender), topic(to)), amount.to_bytes(32), index)
            for index, ((sender, to), amount) in enumerate(moves)
        )
    )
    assert len(transfers(found)) == len(moves)
    net = sum((to == ME) * amount - (sender == ME) * amount for (sender, to), amount in moves)
    assert gained(found, TOKEN, ME) == net
    assert gained(found, OTHER, ME) == 0


@pytest.mark.parametrize(
    "log",
    [
        Log(TOKEN, (), b"", 0),
        Log(TOKEN, (TRANSFER, topic(ME), topic(OTHER)), b"\0" * 31, 0),
        Log(TOKEN, (TRANSFER, topic(ME), topic(OTHER)), b"\0" * 64, 0),
        Log(TOKEN, (TRANSFER, topic(ME), topic(OTHER), topic(ME)), b"", 0),  # an NFT's
        Log(TOKEN, (SYNC,), b"\0" * 63, 0),
        Log(TOKEN, (SYNC, topic(ME)), b"\0" * 64, 0),
        Log(TOKEN, (SWAP, topic(ME)), b"\0" * 128, 0),
        Log(TOKEN, (SWAP, topic(ME), topic(ME)), b"\0" * 96, 0),
    ],
)
def test_an_event_of_another_shape_is_none(log: Log) -> None:
    assert transfers(receipt(log)) == ()
    assert pool_event(log, 1) is None
