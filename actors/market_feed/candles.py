"""OHLCV CSV files as they are in the wild: what is unambiguous is taken, the rest refused by line and reason.

What any file of numbers by time must be is said in `table`. Beyond that,

Taken:
- A header with an opening time, open, high, low, close and volume; `_COLUMNS` has the names. An opening time
  goes before a Unix time before any other time, volume said to be in base units before plain volume.
- Times of the candle's OPENING.
- Gaps. The interval is the most common step between rows, of equally common ones the shortest. Whether its last
  candle is finished a file cannot tell: it is taken.

Refused:
- a missing column, as where the only volume is in quote units; fewer than two rows;
- prices outside 1E-12 .. 1E+12, high < low, open or close outside low .. high, volume < 0, and
  close x volume > 1E+14;
- an interval that is not whole seconds; a step that is not a whole multiple of the interval.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate, chain, repeat
from operator import add, sub
from pathlib import Path
from typing import NamedTuple

from attrs import field, frozen

from actors.market_feed.table import (
    NEVER,
    NUMBER,
    Columns,
    LineError,
    Ordered,
    Rows,
    decimals,
    no_number,
    plain,
    read_rows,
    refusals,
)
from protocol.market import Candle
from protocol.times import from_millis, to_millis

MIN_PRICE, MAX_PRICE = Decimal("1E-12"), Decimal("1E+12")
MAX_QUOTE_VOLUME = Decimal("1E+14")

# `{base}` is the pair's base currency.
_COLUMNS = {
    "opening time": (
        "opentime timeopen opentimestamp opendate starttime",
        "unix unixtime unixtimestamp epoch",
        "time timestamp datetime date ts t mts utc timeutc datetimeutc dateutc timestamputc",
    ),
    "open": ("open o openprice",),
    "high": ("high h highprice",),
    "low": ("low l lowprice",),
    "close": ("close c closeprice",),
    "volume in base units": (
        "basevolume volumebase basevol volbase baseassetvolume volumefrom volume{base} vol{base}",
        "volume vol v",
    ),
}
_FIVE_NUMBERS = re.compile(",".join([NUMBER] * 5), re.ASCII)
_PLAIN_NUMBERS = re.compile(r"[0-9., ]+")  # what float reads of these is what Decimal reads
_STRETCH = 64  # candles whose text is taken apart at once
# Farther within the bounds than a float can err.
_CLEAR_MIN_PRICE, _CLEAR_MAX_PRICE = float(MIN_PRICE) * 1.001, float(MAX_PRICE) * 0.999
_CLEAR_MAX_QUOTE_VOLUME = float(MAX_QUOTE_VOLUME) * 0.999


def open_candles(path: Path, pair: str) -> CandleFile:
    """All of `path` read and checked. Raises UserError naming file, line, reason and what would be valid."""
    base = plain(pair.partition("/")[0])
    names = {meaning: tuple(row.format(base=base) for row in ranks) for meaning, ranks in _COLUMNS.items()}
    with refusals(path):
        rows = read_rows(path, Columns(names, "time,open,high,low,close,volume"), _checked)
        interval = _interval(rows)
    ordered, notes = rows.oldest_first(), rows.notes
    first, last = (from_millis(ordered.times[place]) + interval for place in (0, -1))
    step = interval // timedelta(milliseconds=1)
    return CandleFile(path, pair, rows.sha256, interval, len(ordered.times), first, last, notes, ordered, step)


@frozen(eq=False)
class CandleFile:
    """One pair's checked candles. `first` and `last` are closes; `notes` say what was decided in reading. Where times
    are whole numbers, they are milliseconds.

    The file is not read again, so one that changes under a running replay changes nothing.
    """

    path: Path
    pair: str
    sha256: str
    interval: timedelta
    count: int
    first: datetime
    last: datetime
    notes: tuple[str, ...]
    _rows: Ordered = field(repr=False)  # by their openings
    _step: int = field(repr=False)  # the interval in milliseconds

    def candles(self, after: datetime | None = None) -> Iterator[Candle]:
        """Ascending by close, strictly after `after`; made as they are asked for."""
        return self.candles_from(0 if after is None else self.closed_by(to_millis(after)))

    def latest(self, at: datetime) -> Candle | None:
        """The last candle that had closed at `at`, or None."""
        return self.standing(to_millis(at))[0]

    def standing(self, at: int) -> tuple[Candle | None, int]:
        """The last candle that had closed at `at`, and the close of the next one: until then it stays the last."""
        closed = self.closed_by(at)
        return self._candle(closed - 1) if closed else None, self.close(closed)

    def closed_by(self, at: int) -> int:
        """How many candles had closed at `at`, which is the place of the one under way."""
        return self._rows.count_by(at - self._step)

    def close(self, place: int) -> int:
        """When the candle at a place closes, counted from the oldest; NEVER behind the last one."""
        return self._rows.times[place] + self._step if place < self.count else NEVER

    def candles_from(self, place: int) -> Iterator[Candle]:
        """As `candles`, from a place on."""
        begins = range(place, self.count, _STRETCH)
        return chain.from_iterable(self._made(begin, min(begin + _STRETCH, self.count)) for begin in begins)

    def _candle(self, place: int) -> Candle:
        open_, high, low, close, volume = self._rows.numbers(place, place + 1)
        return Candle(from_millis(self.close(place)), open_, high, low, close, volume, self._step // 1000)

    def _made(self, begin: int, end: int) -> Iterator[Candle]:
        """Those from place `begin` to before `end`: each takes the next five of the numbers."""
        numbers, seconds = self._rows.numbers(begin, end), repeat(self._step // 1000)
        return map(Candle, self._stamps(begin, end), numbers, numbers, numbers, numbers, numbers, seconds)

    def _stamps(self, begin: int, end: int) -> Iterable[datetime]:
        """When they close. Without a gap it is added up, at a tenth of what turning milliseconds into each takes."""
        opened, steps = self._rows.times[begin:end], end - begin - 1
        if opened[-1] - opened[0] == steps * self._step:
            return accumulate(repeat(self.interval, steps), add, initial=from_millis(opened[0] + self._step))
        return [from_millis(it + self._step) for it in opened]


class _Bar(NamedTuple):
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


_POSSIBLE: tuple[tuple[Callable[[_Bar], bool], str], ...] = (
    (lambda bar: bar.low >= MIN_PRICE, f"low {{low}} is no price; valid from {MIN_PRICE}"),
    (lambda bar: bar.high >= bar.low, "high {high} is below low {low}; it must be as high at least"),
    (lambda bar: bar.low <= bar.open <= bar.high, "open {open} must be from low {low} to high {high}"),
    (lambda bar: bar.low <= bar.close <= bar.high, "close {close} must be from low {low} to high {high}"),
    (lambda bar: bar.high <= MAX_PRICE, f"high {{high}} is no price; valid to {MAX_PRICE}"),
    (lambda bar: bar.volume >= 0, "volume {volume} is negative; valid from 0"),
    (
        lambda bar: bar.close * bar.volume <= MAX_QUOTE_VOLUME,
        f"close {{close}} x volume {{volume}} cannot have been traded; valid to {MAX_QUOTE_VOLUME}",
    ),
)


def _checked(numbers: list[str]) -> str:
    """The five numbers as one text, known to be a possible candle."""
    text = ",".join(numbers)
    if _PLAIN_NUMBERS.fullmatch(text) and _clearly_possible(numbers):
        return text
    if not _FIVE_NUMBERS.fullmatch(text):
        raise ValueError(next(filter(None, map(no_number, _Bar._fields, numbers))))
    bar = _Bar(*decimals(text))
    for holds, reason in _POSSIBLE:
        if not holds(bar):
            raise ValueError(reason.format(**bar._asdict()))
    return text


def _clearly_possible(numbers: list[str]) -> bool:
    """Whether floats, which cost a third, will do to see that all of _POSSIBLE holds: of two that differ, the decimals
    differ the same way, and where they do not, the texts must be the same."""
    opened, highest, lowest, closed, _ = numbers
    try:
        open_, high, low, close, volume = map(float, numbers)
    except ValueError:
        return False
    return (
        (low < open_ or lowest == opened)
        and (low < close or lowest == closed)
        and (open_ < high or opened == highest)
        and (close < high or closed == highest)
        and low > _CLEAR_MIN_PRICE
        and high < _CLEAR_MAX_PRICE
        and close * volume < _CLEAR_MAX_QUOTE_VOLUME
    )


def _interval(rows: Rows) -> timedelta:
    """The most common step, the shortest of equally common ones."""
    times, lines = rows.times, rows.lines
    if len(times) < 2:
        line = lines[0] if lines else rows.header_line
        raise LineError(line, f"{len(times)} rows below the header; the interval shows from 2 on")
    steps = array("q", map(abs, map(sub, times[1:], times)))
    often = Counter(steps)
    interval = min(often, key=lambda step: (-often[step], step))
    unit = interval if interval % 1000 == 0 else 1000
    odd = [steps.index(step) for step in often if step % unit]
    if odd:
        apart, valid = timedelta(milliseconds=steps[min(odd)]), timedelta(milliseconds=unit)
        raise LineError(lines[1 + min(odd)], f"{apart} from the row above; valid are multiples of {valid}")
    return timedelta(milliseconds=interval)
