"""What the built-in demo market promises."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import trio
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.market_feed.demo import DemoMarket
from actors.ports import Market
from protocol.codec import decode_row, from_json, to_json, to_plain
from protocol.events import JournalEntry, QuoteRejected, RiskVeto, Row, Trade
from protocol.market import Round
from tests.world.house import house

ROOT = Path(__file__).parents[2]
HOUR = timedelta(hours=1)
MINUTE_ROUNDS = 480  # a minute at the default 8 rounds a second
SEEDS = st.integers(0, 2**32 - 1)
HOMES = {"BNB/USDT": 600, "CAKE/USDT": 2.5, "ETH/USDT": 3000}


def rounds(seed: int, cursor: Any | None = None) -> Iterator[Round]:
    """The market's rounds after `cursor`, each continued from the one before as the log would give it back."""
    market: Market = DemoMarket(seed)
    while True:
        found = drive(market, cursor)
        yield found
        cursor = from_json(to_json(found.cursor))


def drive(market: Market, cursor: Any | None) -> Round:
    """`next_round` run to its end: it never waits for anything."""
    try:
        market.next_round(cursor).send(None)
    except StopIteration as stop:
        return cast(Round, stop.value)
    raise AssertionError("next_round waited")


def first(seed: int, count: int) -> list[Round]:
    return [found for found, _ in zip(rounds(seed), range(count), strict=False)]


def test_it_says_what_it_is_and_where_its_calendar_begins() -> None:
    market = DemoMarket(7)
    assert market.pinned == {"kind": "demo", "seed": 7, "generator": 1}
    assert market.pairs == ("BNB/USDT", "CAKE/USDT", "ETH/USDT")
    assert market.begins == datetime(2026, 1, 1, tzinfo=UTC)
    assert (market.interval, market.series) == (HOUR, ())
    assert [found.ts for found in first(7, 30)] == [market.begins + hour * HOUR for hour in range(1, 31)]
    assert all(tuple(found.ticks) == market.pairs for found in first(7, 30))


@given(SEEDS, st.integers(1, 150), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_continuing_from_any_logged_cursor_gives_the_rounds_of_a_run_without_a_break(
    seed: int, before: int, after: int
) -> None:
    market: Market = DemoMarket(seed)
    unbroken, cursor = list[Round](), None
    for _ in range(before + after):
        unbroken.append(drive(market, cursor))
        cursor = unbroken[-1].cursor
    logged = from_json(to_json(unbroken[before - 1].cursor))
    continued = [found for found, _ in zip(rounds(seed, logged), range(after), strict=False)]
    assert to_json(to_plain(continued)) == to_json(to_plain(unbroken[before:]))


def test_a_round_is_the_same_with_and_without_an_event_loop() -> None:
    market, cursor = DemoMarket(7), None
    for found in first(7, 200):
        assert market.following(cursor) == found
        cursor = found.cursor


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_every_candle_is_a_possible_one_and_opens_where_the_last_one_closed(seed: int) -> None:
    closes: dict[str, Any] = {}
    for found in first(seed, 250):
        for pair, tick in found.ticks.items():
            candle = tick.candle
            assert (candle.ts, candle.seconds) == (found.ts, 3600)
            assert 0 < candle.low <= min(candle.open, candle.close)
            assert max(candle.open, candle.close) <= candle.high
            assert candle.volume > 0
            assert candle.open == closes.get(pair, candle.open)
            closes[pair] = candle.close


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_venues_speak_of_what_has_been_and_a_silent_exchange_repeats_itself_while_it_ages(seed: int) -> None:
    before: Round | None = None
    for found in first(seed, 250):
        for pair, tick in found.ticks.items():
            pool, exchange = tick.executable, tick.reference
            assert exchange is not None
            assert pool.observed_at == found.ts
            assert abs(pool.price / tick.candle.close - 1) < 0.001
            assert pool.depth_usdt is not None
            assert pool.depth_usdt > 0
            if found.ts - HOUR <= exchange.observed_at < found.ts:
                assert 0.999 * float(tick.candle.low) < exchange.price < 1.001 * float(tick.candle.high)
            else:
                assert before is not None
                assert exchange == before.ticks[pair].reference
        before = found


def test_a_seed_gives_the_same_bytes_whatever_the_process() -> None:
    code = (
        "from hashlib import sha256\n"
        "from protocol.codec import to_json, to_plain\n"
        "from tests.market_feed.test_demo import first\n"
        "print(sha256(to_json(to_plain(first(11, 600)))).hexdigest())\n"
    )

    def digest(hash_seed: str, zone: str) -> str:
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone}
        run = subprocess.run(
            [sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True
        )
        return run.stdout

    assert digest("1", "Pacific/Auckland") == digest("2", "America/New_York")


def test_another_seed_gives_another_market() -> None:
    assert len({to_json(to_plain(first(seed, 3)[-1].ticks)) for seed in range(20)}) == 20


def test_no_pair_fades_away_or_explodes_and_each_regime_has_its_day() -> None:
    seen = set()
    for seed in range(2):
        for found in first(seed, 5000):
            for pair, home in HOMES.items():
                assert home / 12 < found.ticks[pair].candle.close < home * 3, (seed, found.ts)
                seen.add(found.cursor[pair][1])
    assert seen == {
        "slow start", "ebb", "quiet",
        "calm", "up", "down", "choppy", "slide", "panic", "break", "tremors", "rout",
    }  # fmt: skip


@define
class Opening:
    """A market's first rounds, then its end."""

    market: DemoMarket
    count: int

    @property
    def pinned(self) -> dict[str, Any]:
        return self.market.pinned

    @property
    def pairs(self) -> tuple[str, ...]:
        return self.market.pairs

    @property
    def series(self) -> tuple[str, ...]:
        return self.market.series

    @property
    def begins(self) -> datetime:
        return self.market.begins

    @property
    def interval(self) -> timedelta:
        return self.market.interval

    async def next_round(self, cursor: Any | None, /) -> Round | None:
        return None if cursor and cursor["step"] >= self.count else await self.market.next_round(cursor)


def sights(events: list[Row]) -> dict[str, int]:
    """How often a newcomer saw each kind; `streak` is the longest row of losing closed trades."""
    pnls = [event.pnl for event in events if isinstance(event, Trade) and event.pnl is not None]
    return {
        "buys": sum(isinstance(event, Trade) and event.side == "buy" for event in events),
        "wins": sum(pnl > 0 for pnl in pnls),
        "losses": sum(pnl <= 0 for pnl in pnls),
        "skips": sum(isinstance(e, JournalEntry) and bool({"regime", "fee_filter"} & {*e.tags}) for e in events),
        "rejected": sum(isinstance(event, QuoteRejected) for event in events),
        "vetoes": sum(isinstance(event, RiskVeto) for event in events),
        "streak": max((len([*run]) for lost, run in groupby(pnls, lambda pnl: pnl <= 0) if lost), default=0),
    }


async def newcomers_minute(folder: Path, seed: int) -> dict[str, int]:
    """What the real floors with the default config journal of a market's first minute."""
    await trio.Path(folder).mkdir()
    with trio.fail_after(20):
        async with house(folder, Opening(DemoMarket(seed), MINUTE_ROUNDS)) as standing:
            await standing.settled()
            frames = standing.reader.frames(0, 100_000)
    return sights([decode_row(frame) for _, frame in frames])


async def test_a_newcomer_sees_every_kind_of_outcome_within_a_minute_on_eight_of_ten_seeds(tmp_path: Path) -> None:
    seen = {seed: await newcomers_minute(tmp_path / str(seed), seed) for seed in range(10)}
    good = [seed for seed, saw in seen.items() if all(saw.values()) and saw["streak"] >= 3]
    assert len(good) >= 8, "\n".join(f"seed {seed}: {saw}" for seed, saw in seen.items() if seed not in good)
