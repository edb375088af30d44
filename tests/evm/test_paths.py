"""Prices go along candles and stories, one block a step, at both exchanges and the feeds alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path

from actors.market_feed.candles import open_candles
from tests.evm.market import Market
from tests.evm.paths import Step, along_candles, along_story, go

NEARLY = Decimal("1E-6")  # of a price
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_real_candles_are_walked_close_by_close_in_blocks_of_their_time(market: Market, real_data: Path) -> None:
    file = real_data / "eth-eur-1h.csv"
    candles = islice(open_candles(file, "ETH/USDT").candles(), 24)
    for step, candle in zip(along_candles({"ETH/USDT": file}), candles, strict=False):
        block = market.chain.block_number
        go(market, step)
        assert market.chain.block_number == block + 1
        assert candle.ts - HOUR < datetime.fromtimestamp(market.chain.timestamp, UTC) < candle.ts
        for price in (market.pancake.price("ETH/USDT"), market.uniswap.price("ETH/USDT")):
            assert abs(price / candle.close - 1) < NEARLY


def test_two_files_share_the_steps_at_which_both_have_candles(real_data: Path) -> None:
    files = {"ETH/USDT": real_data / "eth-eur-1h.csv", "CAKE/USDT": real_data / "ltc-eur-1h.csv"}
    steps = list(along_candles(files))
    for pair, file in files.items():
        closes = [(candle.ts, candle.close) for candle in open_candles(file, pair).candles()]
        assert [(step.ts, step.prices[pair]) for step in steps if pair in step.prices] == closes
    times = [step.ts for step in steps]
    assert times == sorted(set(times))


def test_a_story_moves_one_pair_and_leaves_the_others(market: Market) -> None:
    before = market.pancake.price("CAKE/USDT")
    prices = [Decimal(price) for price in ("3500", "3325", "1900.5", "3600")]
    steps = list(along_story("ETH/USDT", prices, first=BEGIN + HOUR))
    assert [step.ts for step in steps] == [BEGIN + (n + 1) * HOUR for n in range(4)]
    for step, price in zip(steps, prices, strict=True):
        go(market, step)
        assert market.chain.timestamp == int(step.ts.timestamp()) - 1
        assert abs(market.pancake.price("ETH/USDT") / price - 1) < NEARLY
    assert market.pancake.price("CAKE/USDT") == before


def test_the_feeds_go_along_and_say_since_when(market: Market) -> None:
    go(market, Step(BEGIN, {"ETH/USDT": Decimal("3333.25"), "DOGE/USDT": Decimal("0.2")}))
    for pair, answer in {"ETH/USDT": 333_325_000_000, "DOGE/USDT": 20_000_000}.items():
        words = market.chain.call(
            market.feeds[pair], "latestRoundData()", returns="uint80,int256,uint256,uint256,uint80"
        )
        assert (words[1], words[3]) == (answer, market.chain.timestamp)
