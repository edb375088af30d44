"""A market out of files: the candles of several pairs, merged by their closes into rounds.

What a round says depends on the files and on its own time alone, never on where the reading began, so a run
that continues from a cursor meets the rounds that it would have met. What reaches back beyond the candle
(gaps, depth) is therefore looked up in the file, or rebuilt from a stretch that is long enough to be
complete.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from attrs import define, field

from actors.market_feed.candles import CandleFile
from protocol.errors import UserError
from protocol.market import Candle, Gap, Observation, Round, Tick
from protocol.money import ZERO, booked
from protocol.times import from_wire, to_millis, to_wire

DEPTH_FLOOR_USDT = Decimal(250_000)
DEPTH_HOURS = 50
DEPTH_WINDOW_HOURS = 24

_HOUR_MILLIS = 3_600_000
_MILLISECOND = timedelta(milliseconds=1)
_PAIR = re.compile(r"[A-Z0-9]+/[A-Z0-9]+")


class ReplayMarket:
    """Rounds out of files: one per close that any pair has, over the pairs that have it.

    `begins` is the opening of the earliest candle; `pinned` says which data this is, nothing of the machine.
    """

    def __init__(self, files: Mapping[str, CandleFile], references: Mapping[str, CandleFile]) -> None:
        _check_names(files, references)
        self.pinned: dict[str, Any] = {
            "kind": "replay",
            "files": {pair: _pin(files[pair]) for pair in sorted(files)},
            "references": {pair: _pin(references[pair]) for pair in sorted(references)},
        }
        self.pairs: tuple[str, ...] = tuple(sorted(files))
        self.begins = min(file.first - file.interval for file in files.values())
        self._lanes = [_Lane(pair, files[pair], references.get(pair)) for pair in sorted(files)]
        self._cursor: Any | None = None

    async def next_round(self, cursor: Any | None) -> Round | None:
        """The first round after `cursor`, or after nothing; None at the end.

        Continuing from the cursor handed out last costs the same wherever it is; any other one repositions.
        """
        if cursor != self._cursor:
            after = None if cursor is None else from_wire(cursor)
            for lane in self._lanes:
                lane.seek(after)
            self._cursor = cursor
        ts = min((lane.upcoming.ts for lane in self._lanes if lane.upcoming), default=None)
        if ts is None:
            return None
        self._cursor = to_wire(ts)
        closing = [(lane, lane.upcoming) for lane in self._lanes if lane.upcoming and lane.upcoming.ts == ts]
        gaps = tuple(gap for lane, candle in closing if (gap := lane.gap_before(candle)))
        ticks = {lane.pair: lane.take(candle) for lane, candle in closing}
        return Round(ts, ticks, self._cursor, gaps)


def pool_depth_usdt(hourly_quote_volumes: Sequence[Decimal]) -> Decimal:
    """The USDT side of a pool that carries such trade: `DEPTH_HOURS` times the median of the hours, which
    come ascending, and `DEPTH_FLOOR_USDT` at least. The median, so that neither a thin hour nor a panic
    decides.

    An hour is one of UTC; a candle counts in the hour it closes in, on the full hour in the one that ends.
    The hour under way and the 23 before it count, except those that no candle closed in. An hour's quote
    volume is the sum of close x volume over its candles, scaled to an hour from the time these cover. So
    candles of a minute are summed up; an hour under way or with a gap weighs as its known part does; a
    candle of four hours gives a quarter of its volume, to one hour.

    >>> pool_depth_usdt([Decimal(100), Decimal(40_000), Decimal(50_000)])
    Decimal('2000000')
    """
    middle = len(hourly_quote_volumes) // 2
    median = hourly_quote_volumes[middle]
    if len(hourly_quote_volumes) % 2 == 0:
        median = (hourly_quote_volumes[middle - 1] + median) / 2
    return booked(max(DEPTH_FLOOR_USDT, DEPTH_HOURS * median))


@define
class _Lane:
    """One pair's way through its file: the candle that comes next, and what its depth is made of."""

    pair: str
    file: CandleFile
    reference: CandleFile | None
    upcoming: Candle | None = None
    _candles: Iterator[Candle] = field(init=False)
    _previous: datetime | None = None
    _hours: _Hours = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.seek(None)

    def seek(self, after: datetime | None) -> None:
        """Stand before the first candle after `after`, as if all before it had been taken."""
        begin = after - timedelta(hours=DEPTH_WINDOW_HOURS) if after else None
        self._candles = self.file.candles(begin)
        self._hours = _Hours(self.file.interval // _MILLISECOND)
        self._previous = None
        self.upcoming = next(self._candles, None)
        while after and self.upcoming and self.upcoming.ts <= after:
            self._pass(self.upcoming)
        if after and (latest := self.file.latest(after)):
            self._previous = latest.ts

    def gap_before(self, candle: Candle) -> Gap | None:
        if self._previous is None or candle.ts - self._previous == self.file.interval:
            return None
        missing = (candle.ts - self._previous) // self.file.interval - 1
        return Gap(self.pair, self._previous, candle.ts, missing)

    def take(self, candle: Candle) -> Tick:
        self._pass(candle)
        executable = Observation("pool", candle.close, candle.ts, pool_depth_usdt(self._hours.ascending))
        seen = self.reference.latest(candle.ts) if self.reference else None
        return Tick(candle, executable, Observation("reference", seen.close, seen.ts) if seen else None)

    def _pass(self, candle: Candle) -> None:
        self._hours.add(candle)
        self._previous = candle.ts
        self.upcoming = next(self._candles, None)


@define
class _Hours:
    """Quote volume by the hour over the last day: by time, to let old hours go; ascending, for the median."""

    interval_millis: int
    ascending: list[Decimal] = field(factory=list)
    _by_time: deque[tuple[int, Decimal]] = field(factory=deque)
    _traded: Decimal = ZERO  # in the newest hour
    _candles: int = 0  # in the newest hour

    def add(self, candle: Candle) -> None:
        hour = -(-to_millis(candle.ts) // _HOUR_MILLIS)
        while self._by_time and self._by_time[0][0] <= hour - DEPTH_WINDOW_HOURS:
            self._forget(self._by_time.popleft()[1])
        if self._by_time and self._by_time[-1][0] == hour:
            self._forget(self._by_time.pop()[1])
        else:
            self._traded, self._candles = ZERO, 0
        self._traded += candle.close * candle.volume
        self._candles += 1
        hourly = self._traded * _HOUR_MILLIS / (self._candles * self.interval_millis)
        self._by_time.append((hour, hourly))
        insort(self.ascending, hourly)

    def _forget(self, hourly: Decimal) -> None:
        del self.ascending[bisect_left(self.ascending, hourly)]


def _pin(file: CandleFile) -> dict[str, Any]:
    seconds = file.interval // timedelta(seconds=1)
    return {"name": file.path.name, "sha256": file.sha256, "interval_seconds": seconds, "count": file.count}


def _check_names(files: Mapping[str, CandleFile], references: Mapping[str, CandleFile]) -> None:
    if not files:
        raise UserError("a replay needs a file; valid is PAIR=CSV once or more, such as ETH/USDT=eth.csv")
    for pair in sorted([*files, *references]):
        if not _PAIR.fullmatch(pair):
            raise UserError(f"{pair!r} names no pair; valid is BASE/QUOTE in upper case, such as ETH/USDT")
    for pair in sorted(references):
        if pair not in files:
            raise UserError(f"{pair!r} has a reference but is not replayed; valid are {', '.join(sorted(files))}")
