"""CSV files of numbers by time as they are in the wild: what candles and outside series have in common.

Taken:
- UTF-8 with or without a BOM; `,` `;` or tab between cells, whichever the header has most of; quoted cells;
  blank lines; up to 5 lines without any delimiter before the header, such as some exchanges' URL (noted).
- A header with a name for all that is to be read, in any order and case, punctuation aside. Where several fit,
  the higher rank wins (noted). Other columns are not read.
- Times from 2001-09-09 to 2286-11-20, in whole milliseconds: ISO 8601 with a zone or without (UTC; noted), or
  an epoch. 13, 16 or 19 digits are millis, micros or nanos; 10 digits are seconds, to 2033-05-18 only, for
  later ones also read as YYYYMMDDHH. Epochs of several units may stand in one file.
- Decimal numbers, exact from their text, exponents of up to three digits included.
- Rows oldest or newest first; rows with time and numbers of the row above (dropped; counted in a note).

Refused, besides what cannot be read and all that is not above:
- no header; a missing column; two columns that fit equally well;
- rows with more or fewer cells than the header; lines over 64 KiB; more than 5,000,000 rows;
- epochs among ISO times, or times with and without a zone;
- numbers that are empty, NaN, infinite, or have thousands separators or a decimal comma;
- two rows with one time and different numbers; rows out of order.
"""

from __future__ import annotations

import csv
import hashlib
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

from attrs import define, field, frozen

from protocol.errors import UserError
from protocol.times import EPOCH, from_millis, to_wire

MAX_ROWS = 5_000_000
MAX_LINE_BYTES = 65_536
MAX_PREAMBLE_LINES = 5
NEVER = 2**63 - 1  # milliseconds that no time has

NUMBER = r" *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})? *"
_ONE_NUMBER = re.compile(NUMBER, re.ASCII)

_PUNCTUATION = re.compile(r"[^a-z0-9]")
_EPOCH_TIME = re.compile(r"(1\d{9}|\d{13}|\d{16}|\d{19})(?:\.0*)?", re.ASCII)
_NANOS_BY_DIGITS = {10: 10**9, 13: 10**6, 16: 10**3, 19: 1}
_EARLIEST_MILLIS, _LATEST_MILLIS = 10**12, 10**13 - 1
_EPOCH_WITHOUT_ZONE, _MILLISECOND = EPOCH.replace(tzinfo=None), timedelta(milliseconds=1)
_EPOCH, _ZONE, _NO_ZONE = "an epoch", "a time with a zone", "a time without a zone"
_BROKEN = "a quote is not closed, or a line ends in CR alone; valid are closed quotes and LF or CRLF"

Check = Callable[[list[str]], str]


@frozen
class Columns:
    """What is to be read, the time first: names by rank, best first, in lower case and without punctuation. `alien`
    are names that no such file has, with the reason why one that has them is refused."""

    names: Mapping[str, tuple[str, ...]]
    example: str
    alien: Mapping[str, str] = field(factory=dict)


@define
class LineError(Exception):
    """Why a file is refused, and where."""

    line: int
    reason: str


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """What goes wrong with the file is told as UserError, in one line."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be read as a CSV file: {error.strerror}") from None
    except LineError as error:
        raise UserError(f"{path}: line {error.line}: {error.reason}") from None


def read_rows(path: Path, columns: Columns, check: Check) -> Rows:
    """All of `path`. `check` makes one text, comma-separated, of a row's number cells, or raises ValueError with the
    reason where they cannot be. Raises LineError and OSError.

    The file is read once, so that what was hashed, what was checked and what is handed out are the same bytes.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        lines = chain.from_iterable(_blocks(file, digest))
        header = _header(lines, columns)
        rows = _scan(lines, header, check)
    rows.sha256 = digest.hexdigest()
    return rows


def plain(name: str) -> str:
    """A column's name as `Columns` has them."""
    return _PUNCTUATION.sub("", name.lower())


def no_number(name: str, cell: str) -> str | None:
    """The reason why `cell` is no number, or None."""
    if _ONE_NUMBER.fullmatch(cell):
        return None
    return f"{name} {shown(cell)}; valid are numbers as 1234.5 or 1E-7, no thousands separators"


def decimals(text: str) -> list[Decimal]:
    """The numbers of one row's text."""
    return list(map(Decimal, text.split(",")))


def shown(*texts: str) -> str:
    return ", ".join(repr(text[:60]) for text in texts[:20])


def _blocks(file: IO[bytes], digest: Any) -> Iterator[list[str]]:
    """The lines with their ends, many at once: a step of Python for each would cost more than taking it apart."""
    passed, rest = 0, b""
    while True:
        read = file.read(MAX_LINE_BYTES + 1 - len(rest))
        digest.update(read)
        block = rest + read
        if not block:
            return
        if len(block) > MAX_LINE_BYTES and b"\n" not in block[:MAX_LINE_BYTES]:
            raise LineError(passed + 1, f"longer than {MAX_LINE_BYTES} bytes; a row takes about a hundred")
        whole, end, rest = block.rpartition(b"\n")
        if not end:
            whole, rest = rest, b""  # the last line
        try:
            lines = [line + "\n" for line in whole.decode().split("\n")]
        except UnicodeDecodeError as error:
            good = whole[: error.start].decode().split("\n")[:-1]
            yield [line + "\n" for line in good]  # what is wrong above is told first
            byte = f"byte 0x{whole[error.start]:02x}"
            raise LineError(passed + len(good) + 1, f"{byte} is not UTF-8; save the file as UTF-8 text") from None
        yield lines
        passed += len(lines)


@frozen
class _Header:
    line: int
    delimiter: str
    width: int
    columns: tuple[int, ...]
    notes: tuple[str, ...]


def _header(lines: Iterator[str], columns: Columns) -> _Header:
    """The first line with a delimiter, past a preamble of few lines without."""
    passed: list[str] = []
    for number, line in enumerate(lines, 1):
        text = line.removeprefix("\ufeff").strip("\r\n")
        delimiter = max(",;\t", key=text.count)
        if delimiter in text:
            try:
                names = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True))
                places, notes = _places(names, columns)
            except csv.Error:
                raise LineError(number, _BROKEN) from None
            except ValueError as error:
                raise LineError(number, str(error)) from None
            return _Header(number, delimiter, len(names), places, (*passed, *notes))
        if text.strip():
            passed.append(f"line {number} is no header and was passed over: {shown(text)}")
        if len(passed) > MAX_PREAMBLE_LINES:
            break
    raise LineError(1, f"no header; a line such as {columns.example} must name the columns")


def _places(names: list[str], columns: Columns) -> tuple[tuple[int, ...], list[str]]:
    """Where each of `columns` stands, and which ones that would fit too were left aside."""
    plains = [plain(name) for name in names]
    for name, given in zip(plains, names, strict=True):
        if name in columns.alien:
            raise ValueError(f"{shown(given)} {columns.alien[name]}")
    places: list[int] = []
    notes: list[str] = []
    for meaning, ranks in columns.names.items():
        valid: dict[str, int] = {}
        for rank, row in enumerate(ranks):
            for name in row.split():
                valid.setdefault(name, rank)
        fits = sorted((valid[it], at) for at, it in enumerate(plains) if it in valid and at not in places)
        if not fits:
            raise ValueError(f"no column for {meaning} in {shown(*names)}; valid names: {', '.join(valid)}")
        best, *others = [names[at] for _, at in fits]
        if others and fits[0][0] == fits[1][0]:
            raise ValueError(f"{shown(best, others[0])} fit equally well as {meaning}; name one otherwise")
        places.append(fits[0][1])
        notes += [f"{meaning} is read from {shown(best)}, not from {shown(*others)}"] if others else []
    return tuple(places), notes


def _scan(lines: Iterator[str], header: _Header, check: Check) -> Rows:
    rows, line = Rows(header.line, header.notes), header.line
    reader = csv.reader(lines, delimiter=header.delimiter, skipinitialspace=True, strict=True)
    wanted, width = itemgetter(*header.columns), header.width
    try:
        for cells in reader:
            line = header.line + reader.line_num
            if len(cells) == width:
                time, *numbers = wanted(cells)
                rows.add(line, time, numbers, check)
            elif any(map(str.strip, cells)):
                raise ValueError(f"{len(cells)} cells; valid are {width}, as in the header")
    except csv.Error:
        raise LineError(line + 1, _BROKEN) from None
    except ValueError as error:
        raise LineError(line, str(error)) from None
    return rows


@define
class Rows:
    """The rows kept, in the file's order: `times` in milliseconds, `lines` for refusals, and the numbers as one long
    text, some 60 bytes a row where objects take 700."""

    header_line: int
    _header_notes: tuple[str, ...]
    sha256: str = ""
    times: array[int] = field(factory=lambda: array("q"))
    lines: array[int] = field(factory=lambda: array("I"))
    _text: bytearray = field(factory=bytearray)
    _ends: array[int] = field(factory=lambda: array("q", [0]))
    _above: int = 0  # the last row's time
    _rising: bool | None = None  # None until there are two rows
    _time_form: str = ""
    _repeated: int = 0

    def add(self, line: int, time: str, numbers: list[str], check: Check) -> None:
        """Raises ValueError with the reason where such a row cannot be, or cannot stand here."""
        at, form = _moment(time)
        if form != self._time_form:
            if self._time_form:
                raise ValueError(f"{shown(time)} is {form}, above is {self._time_form}; write all times alike")
            self._time_form = form
        text = check(numbers)
        if (at == self._above or (at > self._above) is not self._rising) and self._repeats(at, text):
            self._repeated += 1
            return
        if len(self.times) == MAX_ROWS:
            raise ValueError(f"more than {MAX_ROWS} rows; split the file")
        self._above = at
        self.times.append(at)
        self.lines.append(line)
        self._text += f"{text},".encode()
        self._ends.append(len(self._text))

    def text(self, row: int) -> str:
        return self._text[self._ends[row] : self._ends[row + 1] - 1].decode()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided in reading."""
        zone = ("times have no zone and are read as UTC",) if self._time_form == _NO_ZONE else ()
        repeated = (f"rows dropped that repeat the row above: {self._repeated}",) if self._repeated else ()
        return self._header_notes + zone + repeated

    def oldest_first(self) -> Ordered:
        rows = range(len(self.times))
        if self._rising is not False:
            return Ordered(self.times, self._text, self._ends)
        text, ends = bytearray(), array("q", [0])
        for row in reversed(rows):
            text += self._text[self._ends[row] : self._ends[row + 1]]
            ends.append(len(text))
        return Ordered(self.times[::-1], text, ends)

    def _repeats(self, at: int, text: str) -> bool:
        """Of a row that does not simply go on in the order of those above."""
        if not self.times:
            return False
        if at == self._above:
            if decimals(text) == decimals(self.text(len(self.times) - 1)):
                return True
            raise ValueError(f"{_wire(at)} is in line {self.lines[-1]} too, with other numbers; keep one")
        if self._rising is not None:
            first = "oldest" if self._rising else "newest"
            raise ValueError(f"{_wire(at)} is out of order below {_wire(self._above)}; sort the rows, {first} first")
        self._rising = at > self._above
        return False


@frozen(eq=False)
class Ordered:
    """The rows by ascending `times`, each at its place."""

    times: array[int]
    _text: bytearray
    _ends: array[int]

    def count_by(self, at: int) -> int:
        """How many rows have a time up to `at`."""
        return bisect_right(self.times, at)

    def numbers(self, begin: int, end: int) -> Iterator[Decimal]:
        """The numbers of the rows from place `begin` to before `end`, one after the other."""
        return map(Decimal, self._text[self._ends[begin] : self._ends[end] - 1].decode().split(","))


def _moment(cell: str) -> tuple[int, str]:
    """Milliseconds since 1970, and the form that the cell is written in."""
    text = cell.strip()
    try:
        if digits := _EPOCH_TIME.fullmatch(text):
            number, form = digits[1], _EPOCH
            millis, rest = divmod(int(number) * _NANOS_BY_DIGITS[len(number)], 10**6)
        else:
            at = datetime.fromisoformat("" if text.isdigit() else text)
            epoch, form = (EPOCH, _ZONE) if at.tzinfo else (_EPOCH_WITHOUT_ZONE, _NO_ZONE)
            millis, rest = (at - epoch) // _MILLISECOND, at.microsecond % 1000
        if not rest and _EARLIEST_MILLIS <= millis <= _LATEST_MILLIS:
            return millis, form
    except ValueError:
        pass
    epochs = "epochs of 10 (before 2033-05-18), 13, 16 or 19 digits, in whole milliseconds"
    span = f"from {_wire(_EARLIEST_MILLIS)} to {_wire(_LATEST_MILLIS)}"
    raise ValueError(f"time {shown(cell)}; valid are ISO 8601 as 2020-01-01T00:00:00Z and {epochs}, {span}")


def _wire(millis: int) -> str:
    return to_wire(from_millis(millis))
