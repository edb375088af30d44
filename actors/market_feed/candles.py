"""OHLCV CSV files as they are in the wild: what is unambiguous is taken, the rest refused by line and reason.

Taken:
- UTF-8 with or without a BOM; `,` `;` or tab between cells, whichever the header has most of; quoted cells;
  blank lines; up to 5 lines without any delimiter before the header, such as some exchanges' URL (noted).
- A header with an opening time, open, high, low, close and volume in any order and case, punctuation aside:
  `_COLUMNS` has the names. Where several fit, the higher rank wins (noted): an opening time before a Unix
  time before any other time, volume said to be in base units before plain volume. Other columns are not read.
- Times of the candle's OPENING, from 2001-09-09 to 2286-11-20, in whole milliseconds: ISO 8601 with a zone or
  without (UTC; noted), or an epoch. 13, 16 or 19 digits are millis, micros or nanos; 10 digits are seconds,
  to 2033-05-18 only, for later ones also read as YYYYMMDDHH. Epochs of several units may stand in one file.
- Decimal numbers, exact from their text, exponents of up to three digits included.
- Rows oldest or newest first; gaps; rows with time and numbers of the row above (dropped; counted in a note).
- The interval is the most common step between rows, of equally common ones the shortest. Whether its last
  candle is finished a file cannot tell: it is taken.

Refused, besides what cannot be read and all that is not above:
- a missing column, as where the only volume is in quote units; two columns that fit equally well; no header;
- rows with more or fewer cells than the header; lines over 64 KiB; more than 5,000,000 rows; fewer than two;
- epochs among ISO times, or times with and without a zone;
- numbers that are empty, NaN, infinite, or have thousands separators or a decimal comma;
- prices outside 1E-12 .. 1E+12, high < low, open or close outside low .. high, volume < 0, and
  close x volume > 1E+14;
- two rows with one time and different numbers; rows out of order;
- an interval that is not whole seconds; a step that is not a whole multiple of the interval.
"""

from __future__ import annotations

import csv
import hashlib
import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from operator import sub
from pathlib import Path
from typing import IO, Any, NamedTuple

from attrs import define, field, frozen

from protocol.errors import UserError
from protocol.market import Candle
from protocol.times import from_millis, to_millis, to_wire

MIN_PRICE, MAX_PRICE = Decimal("1E-12"), Decimal("1E+12")
MAX_QUOTE_VOLUME = Decimal("1E+14")
MAX_ROWS = 5_000_000
MAX_LINE_BYTES = 65_536
MAX_PREAMBLE_LINES = 5

# By rank, best first; compared in lower case, without punctuation. `{base}` is the pair's base currency.
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
_PUNCTUATION = re.compile(r"[^a-z0-9]")
_EPOCH_TIME = re.compile(r"(1\d{9}|\d{13}|\d{16}|\d{19})(?:\.0*)?", re.ASCII)
_NANOS_BY_DIGITS = {10: 10**9, 13: 10**6, 16: 10**3, 19: 1}
_EARLIEST_MILLIS, _LATEST_MILLIS = 10**12, 10**13 - 1
_EPOCH, _ZONE, _NO_ZONE = "an epoch", "a time with a zone", "a time without a zone"
_NUMBER = r" *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})? *"
_ONE_NUMBER = re.compile(_NUMBER, re.ASCII)
_FIVE_NUMBERS = re.compile(",".join([_NUMBER] * 5), re.ASCII)


def open_candles(path: Path, pair: str) -> CandleFile:
    """All of `path` read and checked. Raises UserError naming file, line, reason and what would be valid.

    It is read once, so that what was hashed, what was checked and what is handed out are the same bytes.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            lines = _lines(file, digest)
            header = _header(lines, pair)
            rows = _scan(lines, header)
            interval = _interval(rows, header)
    except OSError as error:
        raise UserError(f"{path}: cannot be read as a CSV file: {error.strerror}") from None
    except _LineError as error:
        raise UserError(f"{path}: line {error.line}: {error.reason}") from None
    step = interval // timedelta(milliseconds=1)
    closes, order = array("q", (opened + step for opened in rows.opens)), range(len(rows.opens))
    if closes[0] > closes[-1]:
        closes.reverse()
        order = order[::-1]
    first, last = from_millis(closes[0]), from_millis(closes[-1])
    notes = header.notes + rows.notes()
    return CandleFile(
        path, pair, digest.hexdigest(), interval, len(order), first, last, notes, closes, rows.numbers, order
    )


@frozen(eq=False)
class CandleFile:
    """One pair's checked candles. `first` and `last` are closes; `notes` say what was decided in reading.

    The rows are held as text, some 60 bytes each where Candle objects take 700. The file is not read again,
    so one that changes under a running replay changes nothing.
    """

    path: Path
    pair: str
    sha256: str
    interval: timedelta
    count: int
    first: datetime
    last: datetime
    notes: tuple[str, ...]
    _closes: array[int] = field(repr=False)  # ascending milliseconds
    _numbers: _Numbers = field(repr=False)
    _order: range = field(repr=False)  # the row of the oldest candle, of the second oldest …

    def candles(self, after: datetime | None = None) -> Iterator[Candle]:
        """Ascending by close, strictly after `after`; each made when it is asked for."""
        return map(self._candle, range(0 if after is None else self._closed_by(after), self.count))

    def latest(self, at: datetime) -> Candle | None:
        """The last candle that had closed at `at`, or None."""
        closed = self._closed_by(at)
        return self._candle(closed - 1) if closed else None

    def _closed_by(self, at: datetime) -> int:
        return bisect_right(self._closes, to_millis(at))

    def _candle(self, place: int) -> Candle:
        numbers = self._numbers.of(self._order[place]).split(",")
        return Candle(from_millis(self._closes[place]), *map(Decimal, numbers))


@define
class _LineError(Exception):
    line: int
    reason: str


def _lines(file: IO[bytes], digest: Any) -> Iterator[str]:
    for number in count(1):
        raw = file.readline(MAX_LINE_BYTES + 1)
        if not raw:
            return
        digest.update(raw)
        if len(raw) > MAX_LINE_BYTES:
            raise _LineError(number, f"longer than {MAX_LINE_BYTES} bytes; a row takes about a hundred")
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            byte = f"byte 0x{raw[error.start]:02x}"
            raise _LineError(number, f"{byte} is not UTF-8; save the file as UTF-8 text") from None


@frozen
class _Header:
    line: int
    delimiter: str
    width: int
    columns: tuple[int, ...]  # in the order of _COLUMNS
    notes: tuple[str, ...]


def _header(lines: Iterator[str], pair: str) -> _Header:
    """The first line with a delimiter, past a preamble of few lines without."""
    passed: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line.removeprefix("\ufeff").strip("\r\n")
        delimiter = max(",;\t", key=text.count)
        if delimiter in text:
            try:
                names = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True))
                columns, notes = _columns(names, pair)
            except csv.Error:
                raise _LineError(number, _BROKEN) from None
            except ValueError as error:
                raise _LineError(number, str(error)) from None
            return _Header(number, delimiter, len(names), columns, (*passed, *notes))
        if text.strip():
            passed.append(f"line {number} is no header and was passed over: {_shown(text)}")
        if len(passed) > MAX_PREAMBLE_LINES:
            break
    raise _LineError(1, "no header; a line such as time,open,high,low,close,volume must name the columns")


def _columns(names: list[str], pair: str) -> tuple[tuple[int, ...], list[str]]:
    """Where each of `_COLUMNS` stands, and which ones that would fit too were left aside."""
    plain = [_PUNCTUATION.sub("", name.lower()) for name in names]
    base = _PUNCTUATION.sub("", pair.partition("/")[0].lower())
    columns, notes = [], []
    for meaning, ranks in _COLUMNS.items():
        valid = {name: rank for rank, row in enumerate(ranks) for name in row.format(base=base).split()}
        fits = sorted((valid[name], column) for column, name in enumerate(plain) if name in valid)
        if not fits:
            raise ValueError(f"no column for {meaning} in {_shown(*names)}; valid names: {', '.join(valid)}")
        best, *others = [names[column] for _, column in fits]
        if others and fits[0][0] == fits[1][0]:
            raise ValueError(f"{_shown(best, others[0])} fit equally well as {meaning}; name one otherwise")
        columns.append(fits[0][1])
        notes += [f"{meaning} is read from {_shown(best)}, not from {_shown(*others)}"] if others else []
    return tuple(columns), notes


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


def _scan(lines: Iterator[str], header: _Header) -> _Rows:
    rows, line = _Rows(), header.line
    reader = csv.reader(lines, delimiter=header.delimiter, skipinitialspace=True, strict=True)
    time_column, *number_columns = header.columns
    try:
        for cells in reader:
            line = header.line + reader.line_num
            if len(cells) == header.width:
                rows.add(line, cells[time_column], [cells[column] for column in number_columns])
            elif any(map(str.strip, cells)):
                raise ValueError(f"{len(cells)} cells; valid are {header.width}, as in the header")
    except csv.Error:
        raise _LineError(line + 1, _BROKEN) from None
    except ValueError as error:
        raise _LineError(line, str(error)) from None
    return rows


@define
class _Numbers:
    """The five numbers of every row, as one text."""

    text: bytearray = field(factory=bytearray)
    ends: array[int] = field(factory=lambda: array("q", [0]))

    def append(self, numbers: str) -> None:
        self.text += numbers.encode()
        self.ends.append(len(self.text))

    def of(self, row: int) -> str:
        return self.text[self.ends[row] : self.ends[row + 1]].decode()


@define
class _Rows:
    """The rows kept, in the file's order."""

    opens: array[int] = field(factory=lambda: array("q"))
    lines: array[int] = field(factory=lambda: array("I"))
    numbers: _Numbers = field(factory=_Numbers)
    time_form: str = ""
    repeated: int = 0

    def add(self, line: int, time: str, numbers: list[str]) -> None:
        """Raises ValueError with the reason where such a row cannot be, or cannot stand here."""
        opened, form = _opening(time)
        if form != (self.time_form or form):
            raise ValueError(f"{_shown(time)} is {form}, above is {self.time_form}; write all times alike")
        self.time_form = form
        text = _checked(numbers)
        if self.opens and self._repeats(opened, text):
            self.repeated += 1
            return
        if len(self.opens) == MAX_ROWS:
            raise ValueError(f"more than {MAX_ROWS} rows; split the file")
        self.opens.append(opened)
        self.lines.append(line)
        self.numbers.append(text)

    def notes(self) -> tuple[str, ...]:
        zone = ("times have no zone and are read as UTC",) if self.time_form == _NO_ZONE else ()
        return zone + ((f"rows dropped that repeat the row above: {self.repeated}",) if self.repeated else ())

    def _repeats(self, opened: int, text: str) -> bool:
        opens, above = self.opens, self.opens[-1]
        if opened == above:
            if _bar(text) == _bar(self.numbers.of(len(opens) - 1)):
                return True
            raise ValueError(f"{_at(opened)} is in line {self.lines[-1]} too, with other numbers; keep one")
        if len(opens) > 1 and (opened > above) != (above > opens[-2]):
            first = "oldest" if above > opens[-2] else "newest"
            raise ValueError(f"{_at(opened)} is out of order below {_at(above)}; sort the rows, {first} first")
        return False


def _opening(cell: str) -> tuple[int, str]:
    """Milliseconds since 1970, and the form that the cell is written in."""
    text = cell.strip()
    try:
        if epoch := _EPOCH_TIME.fullmatch(text):
            digits, form = epoch[1], _EPOCH
            millis, rest = divmod(int(digits) * _NANOS_BY_DIGITS[len(digits)], 10**6)
        else:
            at = datetime.fromisoformat("" if text.isdigit() else text)
            form = _ZONE if at.tzinfo else _NO_ZONE
            millis, rest = to_millis(at if at.tzinfo else at.replace(tzinfo=UTC)), at.microsecond % 1000
        if not rest and _EARLIEST_MILLIS <= millis <= _LATEST_MILLIS:
            return millis, form
    except ValueError:
        pass
    epochs = "epochs of 10 (before 2033-05-18), 13, 16 or 19 digits, in whole milliseconds"
    span = f"from {_at(_EARLIEST_MILLIS)} to {_at(_LATEST_MILLIS)}"
    raise ValueError(f"time {_shown(cell)}; valid are ISO 8601 as 2020-01-01T00:00:00Z and {epochs}, {span}")


def _checked(numbers: list[str]) -> str:
    """The five numbers as one text, known to be a possible candle."""
    text = ",".join(numbers)
    if not _FIVE_NUMBERS.fullmatch(text):
        name, bad = next(it for it in zip(_Bar._fields, numbers, strict=True) if not _ONE_NUMBER.fullmatch(it[1]))
        raise ValueError(f"{name} {_shown(bad)}; valid are numbers as 1234.5 or 1E-7, no thousands separators")
    bar = _bar(text)
    for holds, reason in _POSSIBLE:
        if not holds(bar):
            raise ValueError(reason.format(**bar._asdict()))
    return text


def _bar(text: str) -> _Bar:
    return _Bar(*map(Decimal, text.split(",")))


def _interval(rows: _Rows, header: _Header) -> timedelta:
    """The most common step, the shortest of equally common ones."""
    if len(rows.opens) < 2:
        line = rows.lines[0] if rows.lines else header.line
        raise _LineError(line, f"{len(rows.opens)} rows below the header; the interval shows from 2 on")
    steps = array("q", map(abs, map(sub, rows.opens[1:], rows.opens)))
    often = Counter(steps)
    interval = min(often, key=lambda step: (-often[step], step))
    unit = interval if interval % 1000 == 0 else 1000
    odd = [steps.index(step) for step in often if step % unit]
    if odd:
        apart, valid = timedelta(milliseconds=steps[min(odd)]), timedelta(milliseconds=unit)
        reason = f"{apart} from the row above; valid are multiples of {valid}"
        raise _LineError(rows.lines[1 + min(odd)], reason)
    return timedelta(milliseconds=interval)


def _at(millis: int) -> str:
    return to_wire(from_millis(millis))


def _shown(*texts: str) -> str:
    return ", ".join(repr(text[:60]) for text in texts[:20])


_BROKEN = "a quote is not closed, or a line ends in CR alone; valid are closed quotes and LF or CRLF"
