"""Paths for the market's prices: along real candles, or along a story. One step is one block.

A step's block is of the last second before its candle closes: the last price of that candle by any reckoning, and not
yet the next one's first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from heapq import merge
from itertools import groupby
from pathlib import Path
from typing import Final

from attrs import frozen

from actors.market_feed.candles import open_candles
from tests.evm.market import Market

HOUR: Final = timedelta(hours=1)
SECOND: Final = timedelta(seconds=1)


@frozen
class Step:
    """What pairs cost when a candle closes, at `ts`."""

    ts: datetime
    prices: Mapping[str, Decimal]

    @property
    def block_time(self) -> int:
        return int((self.ts - SECOND).timestamp())


def along_candles(files: Mapping[str, Path]) -> Iterator[Step]:
    """A step for each time that a candle of these pairs closes at, with the closes of those that do."""
    closes = merge(*(_closes(pair, path) for pair, path in files.items()))
    for ts, same in groupby(closes, key=lambda close: close[0]):
        yield Step(ts, {pair: price for _, pair, price in same})


def _closes(pair: str, path: Path) -> Iterator[tuple[datetime, str, Decimal]]:
    for candle in open_candles(path, pair).candles():
        yield candle.ts, pair, candle.close


def along_story(pair: str, prices: Iterable[Decimal], *, first: datetime, every: timedelta = HOUR) -> Iterator[Step]:
    """One pair through these prices; the first candle closes at `first`."""
    for number, price in enumerate(prices):
        yield Step(first + number * every, {pair: price})


def go(market: Market, step: Step) -> None:
    """Bring both exchanges and the feeds to the step's prices, in one block of its time.

    The traders' swaps are computed from the pools as they are now, so nobody else may swap in that block. Whoever reads
    as soon as the block is there reads the feeds' new answers.
    """
    chain, swaps = market.chain, []
    with chain.mining_paused():
        for pair, price in step.prices.items():
            market.set_reference(pair, price, at=step.block_time)
            swaps += [exchange.send_price(pair, price) for exchange in (market.pancake, market.uniswap)]
        chain.mine(at=step.block_time)
        for swap in swaps:
            if swap is not None:
                chain.mined(swap)
