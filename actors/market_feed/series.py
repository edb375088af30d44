"""Outside series out of CSV files, such as a fear-and-greed index or a funding rate: a value and the time it is from.

What any file of numbers by time must be is said in `table`. Beyond that,

Taken:
- A header with a time and a value. The value is named as the series is, or value, close, rate, index, score or
  fundingrate; the series' own name goes first. Of times, a closing time goes before a Unix time before any other.
- Times when the value was KNOWN: it is the latest from then on, for candles that close then too, until the next one.
  A daily value dated with the day that it sums up would be known too early, and no file shows that.
- One row or more, at any distance from each other.

Refused:
- a name that is not 1 to 40 ASCII letters, digits, _ and -;
- a column for an opening time, or for open, high or low: such a file has candles, and what its time is called tells
  not whether their close was known by then;
- values outside -1E+24 .. 1E+24; no rows.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from attrs import field, frozen

from actors.market_feed.table import NEVER, Columns, LineError, Ordered, no_number, plain, read_rows, refusals
from protocol.errors import UserError
from protocol.market import Reading
from protocol.times import from_millis, to_millis

MAX_VALUE = Decimal("1E+24")

_TIMES = (
    "closetime timeclose closetimestamp closedate",
    "unix unixtime unixtimestamp epoch",
    "time timestamp datetime date ts t mts utc timeutc datetimeutc dateutc timestamputc fundingtime",
)
_VALUES = "value close rate index score fundingrate"
_CANDLES = "opentime timeopen opentimestamp opendate open openprice high highprice low lowprice"
_ALIEN = "is of candles, whose close may be known later than their time; give a value with the time when it was known"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")


def open_series(path: Path, name: str) -> SeriesFile:
    """All of `path` read and checked. Raises UserError naming file, line, reason and what would be valid."""
    check_name(name)
    names = {"time": _TIMES, "value": (plain(name), _VALUES)}
    with refusals(path):
        rows = read_rows(path, Columns(names, "time,value", dict.fromkeys(_CANDLES.split(), _ALIEN)), _checked)
        if not rows.times:
            raise LineError(rows.header_line, "0 rows below the header; valid is one at least")
    ordered, notes = rows.oldest_first(), rows.notes
    first, last = (from_millis(ordered.times[place]) for place in (0, -1))
    return SeriesFile(path, name, rows.sha256, len(ordered.times), first, last, notes, ordered)


def check_name(name: str) -> None:
    """Raises UserError."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} names no series; valid are 1 to 40 letters, digits, _ and -, such as fear_and_greed")


@frozen(eq=False)
class SeriesFile:
    """One series' checked values, in memory as candles are. `notes` say what was decided in reading."""

    path: Path
    name: str
    sha256: str
    count: int
    first: datetime
    last: datetime
    notes: tuple[str, ...]
    _rows: Ordered = field(repr=False)

    def latest(self, at: datetime) -> Reading | None:
        """The last value that was known at `at`, or None: never one of a later time."""
        return self.standing(to_millis(at))[0]

    def standing(self, at: int) -> tuple[Reading | None, int]:
        """The last value that was known at `at`, and the time of the next one: until then it stays the last."""
        count = self._rows.count_by(at)
        return self._reading(count - 1) if count else None, self._rows.times[count] if count < self.count else NEVER

    def _reading(self, place: int) -> Reading:
        [value] = self._rows.numbers(place, place + 1)
        return Reading(value, from_millis(self._rows.times[place]))


def _checked(numbers: list[str]) -> str:
    [text] = numbers
    if reason := no_number("value", text):
        raise ValueError(reason)
    if Decimal(text).copy_abs() > MAX_VALUE:
        raise ValueError(f"value {text.strip()} is beyond all; valid from -{MAX_VALUE} to {MAX_VALUE}")
    return text
