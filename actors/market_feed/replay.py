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
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Generic, TypeVar

from attrs import define, field

from actors.market_feed.candles import CandleFile
from actors.market_feed.series import SeriesFile, check_name
from actors.market_feed.table import NEVER
from protocol.errors import UserError
from protocol.market import Candle, Gap, Observation, Reading, Round, Tick
from protocol.money import ZERO, booked
from protocol.times import from_millis, from_wire, to_millis, to_wire

T = TypeVar("T")

DEPTH_FLOOR_USDT = Decimal(250_000)
DEPTH_HOURS = 50
DEPTH_WINDOW_HOURS = 24

_HOUR_MILLIS = 3_600_000
_HOUR = Decimal(_HOUR_MILLIS)
_MILLISECOND = timedelta(milliseconds=1)
_HOUR_DIGITS = len("2026-01-02T03:")
_UNBOUNDED = Decimal("-Infinity"), Decimal("Infinity")
_PAIR = re.compile(r"[A-Z0-9]+/[A-Z0-9]+")


class ReplayMarket:
    """Rounds out of files: one per close that any pair has, over the pairs that have it, with what the outside
    `series` had last said.

    `begins` is the opening of the earliest candle, `ends` the close of the latest; `pinned` says which data this is,
    nothing of the machine.
    """

    def __init__(
        self,
        files: Mapping[str, CandleFile],
        references: Mapping[str, CandleFile],
        series: Mapping[str, SeriesFile] = {},
    ) -> None:
        _check_names(files, references)
        for name in series:
            check_name(name)
        self.pinned: dict[str, Any] = {
            "kind": "replay",
            "files": {pair: _pin(files[pair]) for pair in sorted(files)},
            "references": {pair: _pin(references[pair]) for pair in sorted(references)},
        }
        if series:  # a log from before there were any has the same market still
            self.pinned["series"] = {name: _pin_of_series(series[name]) for name in sorted(series)}
        self.pairs: tuple[str, ...] = tuple(sorted(files))
        self.series: tuple[str, ...] = tuple(sorted(series))
        self.begins = min(file.first - file.interval for file in files.values())
        self.interval = max(file.interval for file in files.values())
        self.ends = max(file.last for file in files.values())
        self._lanes = [_Lane(pair, files[pair], references.get(pair)) for pair in self.pairs]
        self._series_files = [(name, series[name]) for name in self.series]
        self._readings: list[tuple[str, _Latest[Reading]]] = []
        self._closes = NEVER  # the candles of the next round, in milliseconds
        self._cursor: Any | None = None
        self._seek(None)

    async def next_round(self, cursor: Any | None) -> Round | None:
        """`following`, as a floor asks for it."""
        return self.following(cursor)

    def following(self, cursor: Any | None) -> Round | None:
        """The first round after `cursor`, or after nothing; None at the end.

        Continuing from the cursor handed out last costs the same wherever it is; any other one repositions.
        """
        if cursor != self._cursor:
            self._seek(None if cursor is None else to_millis(from_wire(cursor)))
            self._cursor = cursor
        closes = self._closes
        if closes == NEVER:
            return None
        self._cursor, self._closes = _bookmark(closes), NEVER
        ticks: dict[str, Tick] = {}
        gaps: list[Gap] = []
        for lane in self._lanes:
            if lane.closes == closes:
                gaps += lane.gap()
                ticks[lane.pair] = tick = lane.take()
            if lane.closes < self._closes:
                self._closes = lane.closes
        series: dict[str, Reading] = {}
        for name, latest in self._readings:
            if reading := latest.at(closes):
                series[name] = reading
        return Round(tick.candle.ts, ticks, self._cursor, tuple(gaps), series)

    def _seek(self, after: int | None) -> None:
        """Stand before the first round after `after`."""
        for lane in self._lanes:
            lane.seek(after)
        self._readings = [(name, _Latest(file.standing)) for name, file in self._series_files]
        self._closes = min(lane.closes for lane in self._lanes)


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
    """One pair's way through its file: when the candle that comes next `closes`, and what its depth is made of. Times
    are in milliseconds."""

    pair: str
    file: CandleFile
    reference: CandleFile | None
    closes: int = field(init=False)  # NEVER behind the last candle
    _place: int = field(init=False)
    _before: int = field(init=False)  # when the one before closed
    _interval: int = field(init=False)
    _candles: Iterator[Candle] = field(init=False)
    _hours: _Hours = field(init=False)
    _reference: _Latest[Observation] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._interval = self.file.interval // _MILLISECOND
        self.seek(None)

    def seek(self, after: int | None) -> None:
        """Stand before the first candle after `after`, as if all before it had been taken."""
        self._place = 0 if after is None else self.file.closed_by(after - DEPTH_WINDOW_HOURS * _HOUR_MILLIS)
        self.closes = self.file.close(self._place)
        self._before = self.file.close(self._place - 1) if self._place else self.closes
        self._candles = self.file.candles_from(self._place)
        self._hours = _Hours(Decimal(self._interval))
        self._reference = _Latest(self._observed)
        while after is not None and self.closes <= after:
            self._pass()

    def gap(self) -> Sequence[Gap]:
        """What is missing before the candle that comes next."""
        missing = (self.closes - self._before) // self._interval - 1
        return (Gap(self.pair, from_millis(self._before), from_millis(self.closes), missing),) if missing > 0 else ()

    def take(self) -> Tick:
        reference = self._reference.at(self.closes)
        candle = self._pass()
        return Tick(candle, Observation("pool", candle.close, candle.ts, self._hours.depth_usdt()), reference)

    def _pass(self) -> Candle:
        candle = next(self._candles)
        self._hours.add(self.closes, candle)
        self._place += 1
        self._before, self.closes = self.closes, self.file.close(self._place)
        return candle

    def _observed(self, at: int) -> tuple[Observation | None, int]:
        if self.reference is None:
            return None, NEVER
        seen, until = self.reference.standing(at)
        return Observation("reference", seen.close, seen.ts) if seen else None, until


@define
class _Latest(Generic[T]):
    """What was last said at a time, asked for times in ascending order: looked up only once there is something newer.
    `standing` gives it and the time from which on there is."""

    _standing: Callable[[int], tuple[T | None, int]]
    _said: T | None = None
    _until: int = 0

    def at(self, millis: int) -> T | None:
        if millis >= self._until:
            self._said, self._until = self._standing(millis)
        return self._said


@define
class _Hours:
    """Quote volume by the hour over the last day: of the hour under way, and of the others, by time, to let old ones
    go, and ascending, for the median. The depth that follows is reckoned anew only when a middle one changes."""

    _interval: Decimal  # of the candles, in milliseconds
    _hour: int = -1  # the one under way, since 1970
    _traded: Decimal = ZERO  # in it so far
    _covered: Decimal = ZERO  # of it so far, in milliseconds
    _hourly: Decimal = ZERO  # so much if it goes on so
    _others: deque[tuple[int, Decimal]] = field(factory=deque)
    _ascending: list[Decimal] = field(factory=list)
    # The hour under way is a middle one only between these two of the others: beyond, it is the same wherever it is.
    _bounds: tuple[Decimal, Decimal] = _UNBOUNDED
    _counted: Decimal | None = None  # with which there is a depth
    _depth_usdt: Decimal = ZERO

    def add(self, closes: int, candle: Candle) -> None:
        hour = -(-closes // _HOUR_MILLIS)
        if hour != self._hour:
            self._turn(hour)
        self._traded += candle.close * candle.volume
        self._covered += self._interval
        self._hourly = self._traded * _HOUR / self._covered

    def depth_usdt(self) -> Decimal:
        """`pool_depth_usdt` of all the hours."""
        below, above = self._bounds
        counted = self._hourly
        if counted < below:
            counted = below
        elif counted > above:
            counted = above
        if counted is not self._counted:
            hours = self._ascending.copy()
            insort(hours, counted)
            self._counted, self._depth_usdt = counted, pool_depth_usdt(hours)
        return self._depth_usdt

    def _turn(self, hour: int) -> None:
        """The hour under way becomes one of the others, and `hour` begins."""
        if self._covered:
            self._others.append((self._hour, self._hourly))
            insort(self._ascending, self._hourly)
        while self._others and self._others[0][0] <= hour - DEPTH_WINDOW_HOURS:
            _, old = self._others.popleft()
            del self._ascending[bisect_left(self._ascending, old)]
        self._hour, self._traded, self._covered, self._counted = hour, ZERO, ZERO, None
        count = len(self._ascending)
        if count > 1:
            self._bounds = self._ascending[count // 2 - 1], self._ascending[(count + 1) // 2]
        else:
            self._bounds = _UNBOUNDED


def _bookmark(millis: int) -> str:
    """`to_wire` of it, put together from parts that come again: each round has one, and nothing in it cost more."""
    hour, within = divmod(millis, _HOUR_MILLIS)
    return _hour_text(hour) + _within_text(within)


@lru_cache(maxsize=1)
def _hour_text(hour: int) -> str:
    return to_wire(from_millis(hour * _HOUR_MILLIS))[:_HOUR_DIGITS]


@lru_cache(maxsize=3600)
def _within_text(millis: int) -> str:
    return to_wire(from_millis(millis))[_HOUR_DIGITS:]


def _pin(file: CandleFile) -> dict[str, Any]:
    seconds = file.interval // timedelta(seconds=1)
    return {"name": file.path.name, "sha256": file.sha256, "interval_seconds": seconds, "count": file.count}


def _pin_of_series(file: SeriesFile) -> dict[str, Any]:
    return {"name": file.path.name, "sha256": file.sha256, "count": file.count}


def _check_names(files: Mapping[str, CandleFile], references: Mapping[str, CandleFile]) -> None:
    if not files:
        raise UserError("a replay needs a file; valid is PAIR=CSV once or more, such as ETH/USDT=eth.csv")
    for pair in sorted([*files, *references]):
        if not _PAIR.fullmatch(pair):
            raise UserError(f"{pair!r} names no pair; valid is BASE/QUOTE in upper case, such as ETH/USDT")
    for pair in sorted(references):
        if pair not in files:
            raise UserError(f"{pair!r} has a reference but is not replayed; valid are {', '.join(sorted(files))}")
