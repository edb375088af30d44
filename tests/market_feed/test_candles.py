"""What `open_candles` takes and what it refuses."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.market_feed import table
from actors.market_feed.candles import CandleFile, open_candles
from protocol.errors import UserError
from protocol.market import Candle
from protocol.times import to_millis

HOUR = timedelta(hours=1)
START = datetime(2020, 1, 1, tzinfo=UTC)
HEADER = "time,open,high,low,close,volume"
ROWS = ("2020-01-01T00:00:00Z,10,12,9,11,100", "2020-01-01T01:00:00Z,11,13,10,12,200")
EXPECTED = [
    Candle(START + HOUR, Decimal(10), Decimal(12), Decimal(9), Decimal(11), Decimal(100)),
    Candle(START + 2 * HOUR, Decimal(11), Decimal(13), Decimal(10), Decimal(12), Decimal(200)),
]


def read(folder: Path, content: str | bytes, pair: str = "BTC/USDT") -> CandleFile:
    path = folder / "some.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_candles(path, pair)


def text(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def with_times(first: str, second: str) -> str:
    return text(HEADER, f"{first},10,12,9,11,100", f"{second},11,13,10,12,200")


def with_columns(header: str, *cells: str, second: str) -> str:
    return text(header, ",".join(cells), second)


ACCEPTED = {
    "plain": text(HEADER, *ROWS),
    "without a last line end": text(HEADER, *ROWS).rstrip("\n"),
    "a BOM": "\ufeff" + text(HEADER, *ROWS),
    "CRLF": text(HEADER, *ROWS).replace("\n", "\r\n"),
    "semicolons": text(HEADER, *ROWS).replace(",", ";"),
    "tabs": text(HEADER, *ROWS).replace(",", "\t"),
    "quoted cells": text(*(",".join(f'"{cell}"' for cell in line.split(",")) for line in (HEADER, *ROWS))),
    "spaces around cells": text(HEADER, *ROWS).replace(",", " , "),
    "newest first": text(HEADER, *reversed(ROWS)),
    "trailing blank lines": text(HEADER, *ROWS, "", "  ", ""),
    "a URL first": text("https://www.example.com/data", HEADER, *ROWS),
    "a BOM and a URL first": text("\ufeffhttps://www.example.com/data", HEADER, *ROWS),
    "a URL and a title first": text("https://www.example.com/data", "Hourly candles", "", HEADER, *ROWS),
    "upper case": text(HEADER.upper(), *ROWS),
    "angle brackets": text("<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>", *ROWS),
    "one letter each": text("t,o,h,l,c,v", *ROWS),
    "mixed spellings": text("Open Time,Open Price,High_Price,low-price,Close,Base Volume", *ROWS),
    "seconds": with_times("1577836800", "1577840400"),
    "seconds with a float's zero": with_times("1577836800.0", "1577840400.0"),
    "millis": with_times("1577836800000", "1577840400000"),
    "micros": with_times("1577836800000000", "1577840400000000"),
    "nanos": with_times("1577836800000000000", "1577840400000000000"),
    "millis, then micros": with_times("1577836800000", "1577840400000000"),
    "no zone": with_times("2020-01-01 00:00:00", "2020-01-01 01:00:00"),
    "no zone, no seconds": with_times("2020-01-01 00:00", "2020-01-01 01:00"),
    "a zone without colon": with_times("2020-01-01T00:00:00.000+0000", "2020-01-01T01:00:00.000+0000"),
    "another zone": with_times("2020-01-01T02:00:00+02:00", "2020-01-01T03:00:00+02:00"),
    "two zones": with_times("2020-01-01T02:00:00+02:00", "2020-01-01T00:00:00-01:00"),
    "exponents": text(HEADER, ROWS[0].replace("100", "1E+2"), ROWS[1].replace("200", "0.0002e6")),
    "an exact repetition": text(HEADER, ROWS[0], *ROWS),
    "a repetition in other digits": text(HEADER, *ROWS, ROWS[1].replace("200", "2.0E2")),
    "columns in another order, and more": text(
        "symbol,volume,close,low,high,open,trades,timestamp",
        "BTC,100,11,9,12,10,NaN,1577836800",
        "BTC,200,12,10,13,11,,1577840400",
    ),
    "base volume beside quote volume": text(
        "Unix,Date,Symbol,Open,High,Low,Close,Volume USDT,Volume BTC",
        "1577836800,01/01/2020,BTCUSDT,10,12,9,11,1100,100",
        "1577840400,01/01/2020,BTCUSDT,11,13,10,12,2400,200",
    ),
    "opening and closing times": text(
        "close_time,open_time,open,high,low,close,quote_volume,volume",
        "1577840399999,1577836800000,10,12,9,11,1100,100",
        "1577843999999,1577840400000,11,13,10,12,2400,200",
    ),
    "volume in base units beside plain volume": text(
        "timestamp,open,high,low,close,volume,base_volume",
        "1577836800,10,12,9,11,1100,100",
        "1577840400,11,13,10,12,2400,200",
    ),
}


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_unambiguous_is_taken(tmp_path: Path, content: str) -> None:
    file = read(tmp_path, content)
    assert list(file.candles()) == EXPECTED
    assert (file.interval, file.count, file.first, file.last) == (HOUR, 2, START + HOUR, START + 2 * HOUR)


NOTED = {
    "plain": (),
    "no zone": ("times have no zone and are read as UTC",),
    "an exact repetition": ("rows dropped that repeat the row above: 1",),
    "a URL first": ("line 1 is no header and was passed over: 'https://www.example.com/data'",),
    "a BOM and a URL first": ("line 1 is no header and was passed over: 'https://www.example.com/data'",),
    "volume in base units beside plain volume": ("volume in base units is read from 'base_volume', not from 'volume'",),
    "base volume beside quote volume": ("opening time is read from 'Unix', not from 'Date'",),
}


@pytest.mark.parametrize("name", NOTED)
def test_a_decision_taken_in_reading_is_noted(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, ACCEPTED[name]).notes == NOTED[name]


def row(time: str = "2020-01-01T01:00:00Z", numbers: str = "11,13,10,12,200") -> str:
    return text(HEADER, ROWS[0], f"{time},{numbers}", "2020-01-01T02:00:00Z,1,1,1,1,1")


# What is refused: the content, the line that must be named, and words of the reason.
REFUSED: dict[str, tuple[str | bytes, int, tuple[str, ...]]] = {
    "an empty file": ("", 1, ("no header", "time,open,high,low,close,volume")),
    "prose": (text(*["some words"] * 9), 1, ("no header",)),
    "no rows": (text(HEADER), 1, ("0 rows",)),
    "one row": (text(HEADER, "", ROWS[0]), 3, ("1 rows", "from 2")),
    "one row, twice": (text(HEADER, ROWS[0], ROWS[0]), 2, ("1 rows",)),
    "no header": (text(*ROWS), 1, ("no column for opening time", "'100'", "timestamp")),
    "a bad header after a URL": (
        text("https://x.org", "time,open,high,low,close"),
        2,
        ("no column for volume",),
    ),
    "too long a preamble": (text(*["a"] * 6, HEADER, *ROWS), 1, ("no header",)),
    "only quote volume": (
        text(HEADER.replace("volume", "Volume USDT"), *ROWS),
        1,
        ("no column for volume in base units", "'Volume USDT'", "volumebtc"),
    ),
    "another pair's volume": (text(HEADER.replace("volume", "Volume ETH"), *ROWS), 1, ("volume in base",)),
    "only a closing time": (text(HEADER.replace("time", "close_time"), *ROWS), 1, ("opening time",)),
    "two times": (
        text("date,time,open,high,low,close,volume", f"2020-01-01,{ROWS[0]}"),
        1,
        ("'date', 'time' fit equally well as opening time",),
    ),
    "one name twice": (
        text(HEADER + ",Open", ROWS[0] + ",1"),
        1,
        ("'open', 'Open' fit equally well as open",),
    ),
    "an open quote in the header": (text('time,open,"high'), 1, ("quote is not closed",)),
    "an open quote": (row(numbers='11,13,10,12,"200'), 3, ("quote is not closed",)),
    "CR alone": (text(HEADER, *ROWS).replace("\n", "\r"), 1, ("CR alone",)),
    "CR in a row": (text(HEADER, "\r".join(ROWS)), 2, ("CR alone",)),
    "Latin-1": (text(HEADER + ",währung", *ROWS).encode("latin-1"), 1, ("0xe4 is not UTF-8",)),
    "Latin-1 in a row": (text(HEADER, ROWS[0], "ü").encode("latin-1"), 3, ("0xfc is not UTF-8",)),
    "UTF-16": (text(HEADER, *ROWS).encode("utf-16"), 1, ("is not UTF-8",)),
    "a line without end": (HEADER + "\n" + "1" * 70_000, 2, ("longer than 65536 bytes",)),
    "a cell missing": (row(numbers="11,13,10,12"), 3, ("5 cells; valid are 6",)),
    "a cell too many": (row(numbers="11,13,10,12,1,200"), 3, ("7 cells; valid are 6",)),
    "only delimiters": (text(HEADER, *ROWS, ",,,,,"), 4, ("time ''",)),
    "two interleaved forms of time": (row("1577840400"), 3, ("an epoch", "a time with a zone")),
    "a zone missing": (row("2020-01-01T01:00:00"), 3, ("a time without a zone", "a time with a zone")),
    "no time": (row("yesterday"), 3, ("time 'yesterday'", "ISO 8601")),
    "an American date": (row("01/02/2020"), 3, ("time '01/02/2020'",)),
    "a compact date": (
        row("20200101"),
        3,
        ("time '20200101'", "10 (before 2033-05-18), 13, 16 or 19 digits"),
    ),
    "a compact date with its hour": (row("2020010101"), 3, ("time '2020010101'",)),
    "a compact date with its time": (row("20200101010000"), 3, ("time '20200101010000'",)),
    "digits that are none": (row("157783680²"), 3, ("time '157783680²'",)),
    "a fraction of an epoch": (row("1577840400.5"), 3, ("time '1577840400.5'",)),
    "a rounded epoch": (row("1.57784E+12"), 3, ("time '1.57784E+12'",)),
    "micros that are no millis": (row("1577840400000001"), 3, ("whole milliseconds",)),
    "ISO micros that are no millis": (row("2020-01-01T01:00:00.000001Z"), 3, ("whole milliseconds",)),
    "long ago": (row("1999-01-01T00:00:00Z"), 3, ("from 2001-09-09T01:46:40.000Z",)),
    "a time that overflows": (row("0001-01-01T00:00:00+23:59"), 3, ("from 2001-09-09T01:46:40.000Z",)),
    "the same time, other numbers": (
        text(HEADER, "", ROWS[0], ROWS[0].replace("100", "101")),
        4,
        ("2020-01-01T00:00:00.000Z is in line 3 too, with other numbers",),
    ),
    "a row out of order": (
        text(HEADER, *ROWS, "2019-12-31T23:00:00Z,1,1,1,1,1"),
        4,
        ("2019-12-31T23:00:00.000Z is out of order below 2020-01-01T01:00:00.000Z", "oldest first"),
    ),
    "a row out of order, newest first": (
        text(HEADER, *reversed(ROWS), "2020-01-01T02:00:00Z,1,1,1,1,1"),
        4,
        ("2020-01-01T02:00:00.000Z is out of order below 2020-01-01T00:00:00.000Z", "newest first"),
    ),
    "a step that is no multiple": (
        text(
            HEADER,
            *ROWS,
            "2020-01-01T02:00:00Z,1,1,1,1,1",
            "2020-01-01T03:30:00Z,1,1,1,1,1",
            "2020-01-01T03:40:00Z,1,1,1,1,1",
        ),
        5,
        ("1:30:00 from the row above; valid are multiples of 1:00:00",),
    ),
    "a step that is a fraction": (
        text(HEADER, *ROWS, "2020-01-01T02:00:00Z,1,1,1,1,1", "2020-01-01T02:20:00Z,1,1,1,1,1"),
        5,
        ("0:20:00 from the row above; valid are multiples of 1:00:00",),
    ),
    "an interval of no whole seconds": (
        with_times("2020-01-01T00:00:00.000Z", "2020-01-01T00:00:01.500Z"),
        3,
        ("0:00:01.500000 from the row above; valid are multiples of 0:00:01",),
    ),
    "an empty number": (row(numbers="11,13,10,,200"), 3, ("close ''", "valid are numbers")),
    "NaN": (row(numbers="11,13,10,12,NaN"), 3, ("volume 'NaN'",)),
    "infinity": (row(numbers="inf,13,10,12,200"), 3, ("open 'inf'",)),
    "thousands separators": (
        row(numbers='11,"1,300",10,12,200'),
        3,
        ("high '1,300'", "no thousands separators"),
    ),
    "underscores": (row(numbers="11,1_300,10,12,200"), 3, ("high '1_300'",)),
    "a decimal comma": (row().replace(",", ";").replace("11;13", "11;13,5"), 3, ("high '13,5'",)),
    "hexadecimal": (row(numbers="11,0x13,10,12,200"), 3, ("high '0x13'",)),
    "a currency sign": (row(numbers="11,13,$10,12,200"), 3, ("low '$10'",)),
    "digits of another script": (row(numbers="11,13,10,12,٢٠٠"), 3, ("volume '٢٠٠'",)),
    "an absurd exponent": (row(numbers="11,13,10,12,1E1000"), 3, ("volume '1E1000'",)),
    "a price of zero": (row(numbers="0,13,0,12,200"), 3, ("low 0 is no price", "valid from 1E-12")),
    "a negative price": (row(numbers="-11,13,-11,12,200"), 3, ("low -11 is no price",)),
    "a negative volume": (row(numbers="11,13,10,12,-0.1"), 3, ("volume -0.1 is negative", "valid from 0")),
    "high below low": (row(numbers="11,10,13,12,200"), 3, ("high 10 is below low 13",)),
    "open above high": (row(numbers="14,13,10,12,200"), 3, ("open 14", "from low 10 to high 13")),
    "open below low": (row(numbers="9,13,10,12,200"), 3, ("open 9", "from low 10 to high 13")),
    "close above high": (row(numbers="11,13,10,14,200"), 3, ("close 14", "from low 10 to high 13")),
    "close below low": (row(numbers="11,13,10,9,200"), 3, ("close 9", "from low 10 to high 13")),
    "a price beyond all": (row(numbers="11,1E+13,10,12,200"), 3, ("high 1E+13", "valid to 1E+12")),
    "a volume beyond all": (row(numbers="11,13,10,12,1E+14"), 3, ("close 12 x volume 1E+14", "to 1E+14")),
}


@pytest.mark.parametrize(("content", "line", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_the_rest_is_refused_by_file_line_and_reason(
    tmp_path: Path, content: str | bytes, line: int, words: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, content)
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / 'some.csv'}: line {line}: ")
    assert [word for word in words if word not in message] == [], message
    assert "\n" not in message


def test_a_row_that_cannot_be_is_refused_in_the_last_line_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"some\.csv: line 4: low 0 is no price"):
        read(tmp_path, text(HEADER, *ROWS, "2020-01-01T02:00:00Z,1,1,0,1,1"))


def test_more_rows_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_ROWS", 2)
    assert read(tmp_path, text(HEADER, *ROWS, ROWS[1])).count == 2
    with pytest.raises(UserError, match=r"some\.csv: line 4: more than 2 rows"):
        read(tmp_path, text(HEADER, *ROWS, "2020-01-01T02:00:00Z,1,1,1,1,1"))


def minutes(count: int, cell: str = "1") -> list[str]:
    return [f"{1_577_836_800 + 60 * number},{cell},{cell},{cell},{cell},{number}" for number in range(count)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("last_end", [True, False])
def test_a_file_longer_than_what_is_read_at_once_is_read_to_the_last_row(
    tmp_path: Path, line_end: str, last_end: bool
) -> None:
    content = line_end.join([HEADER + ",größe", *(f"{line},ä€𝄞" for line in minutes(9_000))])
    file = read(tmp_path, content + line_end * last_end)
    assert [candle.volume for candle in file.candles()] == [*range(9_000)]
    assert file.sha256 == hashlib.sha256((content + line_end * last_end).encode()).hexdigest()


LONG = table.MAX_LINE_BYTES


@pytest.mark.parametrize(
    ("filler", "line_end", "taken"),
    [
        (LONG - 1, "\n", True),
        (LONG, "\n", False),
        (LONG - 2, "\r\n", True),
        (LONG - 1, "\r\n", False),
        (LONG, "", True),
        (LONG + 1, "", False),
    ],
)
@pytest.mark.parametrize("above", [1, 2, 5_000])
def test_a_line_may_have_64_kib_with_its_end(
    tmp_path: Path, filler: int, line_end: str, taken: bool, above: int
) -> None:
    *rows, last = minutes(above + 1)
    content = text(HEADER + ",more", *(f"{line}," for line in rows)) + f"{last},".ljust(filler, "x") + line_end
    if taken:
        assert read(tmp_path, content).count == above + 1
    else:
        with pytest.raises(UserError, match=rf"line {above + 2}: longer than 65536 bytes"):
            read(tmp_path, content)


@pytest.mark.parametrize("line", [2, 700, 3_000, 8_999])
def test_of_two_faults_the_upper_one_is_told(tmp_path: Path, line: int) -> None:
    lines = [HEADER, *minutes(9_000)]
    lines[line] = "ü"
    undecodable = text(*lines).encode("latin-1")
    with pytest.raises(UserError, match=rf"line {line + 1}: byte 0xfc is not UTF-8"):
        read(tmp_path, undecodable)
    lines[line - 1] = "yesterday,1,1,1,1,1"
    with pytest.raises(UserError, match=rf"line {line}: time 'yesterday'"):
        read(tmp_path, text(*lines).encode("latin-1"))


def test_a_quoted_cell_over_two_lines_is_counted_as_two(tmp_path: Path) -> None:
    rows = [f'"{ROWS[0][:20]}\n",10,12,9,11,100', ROWS[1], "2020-01-01T02:00:00Z,1,1,0,1,1"]
    with pytest.raises(UserError, match=r"line 5: low 0 is no price"):
        read(tmp_path, text(HEADER, *rows))
    with pytest.raises(UserError, match=r"line 4: volume '1\\n1'"):
        read(tmp_path, text(HEADER, ROWS[0], '2020-01-01T01:00:00Z,1,1,1,1,"1\n1"'))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.csv: cannot be read as a CSV file: No such file"):
        open_candles(tmp_path / "absent.csv", "BTC/USDT")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read as a CSV file: Is a directory"):
        open_candles(tmp_path, "BTC/USDT")


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    content = ACCEPTED["a BOM"].encode()
    assert read(tmp_path, content).sha256 == hashlib.sha256(content).hexdigest()


def test_a_gap_is_allowed_and_the_most_common_step_is_the_interval(tmp_path: Path) -> None:
    file = read(tmp_path, text(HEADER, *ROWS, *(f"2020-01-01T{hour}:00:00Z,1,1,1,1,1" for hour in ("05", "06"))))
    assert (file.interval, file.count, file.last) == (HOUR, 4, START + 7 * HOUR)


def test_of_equally_common_steps_the_shortest_is_the_interval(tmp_path: Path) -> None:
    file = read(tmp_path, text(HEADER, *ROWS, "2020-01-01T03:00:00Z,1,1,1,1,1"))
    assert file.interval == HOUR


def test_numbers_are_exact_from_their_text(tmp_path: Path) -> None:
    digits = "0.1234567890123456789012345678901234567890"
    file = read(tmp_path, text(HEADER, *ROWS, f"2020-01-01T02:00:00Z,1,1,{digits},1,1"))
    assert str(list(file.candles())[-1].low) == digits


def test_a_candle_was_open_for_the_files_interval_whatever_is_missing_before_it(tmp_path: Path) -> None:
    minutes = ("00:00", "00:07", "00:14", "00:35")
    file = read(tmp_path, text(HEADER, *(f"2020-01-01T{minute}:00Z,1,1,1,1,1" for minute in minutes)))
    assert [candle.seconds for candle in file.candles()] == [420] * 4
    assert [candle.opened_at.strftime("%H:%M") for candle in file.candles()] == [*minutes]


def test_a_file_that_changes_after_it_was_opened_changes_nothing(tmp_path: Path) -> None:
    file = read(tmp_path, ACCEPTED["plain"])
    (tmp_path / "some.csv").write_text("gone")
    assert list(file.candles()) == EXPECTED


def test_candles_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    reading = read(tmp_path, ACCEPTED["plain"]).candles()
    assert not isinstance(reading, list)
    assert next(reading) == EXPECTED[0]
    assert list(reading) == EXPECTED[1:]


@pytest.mark.parametrize(
    ("at", "closed"),
    [(START, 0), (START + HOUR - timedelta(microseconds=1), 0), (START + HOUR, 1), (START + 9 * HOUR, 2)],
)
def test_a_time_parts_the_candles_that_had_closed_from_those_after_it(
    tmp_path: Path, at: datetime, closed: int
) -> None:
    for content in (ACCEPTED["plain"], ACCEPTED["newest first"]):
        file = read(tmp_path, content)
        assert list(file.candles(at)) == EXPECTED[closed:]
        assert file.latest(at) == (EXPECTED[closed - 1] if closed else None)


# Numbers that are easily taken wrong: near a bound, equal in another text, equal as floats but not as decimals, none.
PITFALLS = [
    "0", "-0", "0.0", "1", "1.0", "+1", "1.", ".1", "0.1", "0.10", "0.1000000000000000000001", "1E0", "10e-1", " 1",
    "0.3", "0.30000000000000004", "0.300000000000000041", "1E-12", "0.000000000001", "9.99999999999999999E-13", "-1",
    "0.0000000000010000000000000000000001", "1E+12", "1000000000000", "1000000000000.0000000001", "999999999999.9",
    "99999999999999", "100000000000000", "100000000000000.0000000000000001", "1E+14", "1E-999", "-1E-999", "1E+999",
    "1E+0001", "", " ", ".", "1.2.3", "1 2", "1_0", "nan", "inf", "-inf", "١", "0x1", "1,0", "1e", "1 ", "\t1", "\x0b1",
    "1\xa0",
]  # fmt: skip
FIELDS = ("open", "high", "low", "close", "volume")


def defined_refusal(cells: Sequence[str]) -> str | None:
    """What is wrong with a candle's numbers, by the definition: each of them a number, and all of them in decimals."""
    for name, cell in zip(FIELDS, cells, strict=True):
        if not re.fullmatch(r" *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})? *", cell):
            return f"{name} {cell!r}; valid are numbers"
    open_, high, low, close, volume = map(Decimal, cells)
    if low < Decimal("1E-12"):
        return f"low {low} is no price"
    if high < low:
        return f"high {high} is below low {low}"
    if not low <= open_ <= high:
        return f"open {open_} must be from low {low} to high {high}"
    if not low <= close <= high:
        return f"close {close} must be from low {low} to high {high}"
    if high > Decimal("1E+12"):
        return f"high {high} is no price"
    if volume < 0:
        return f"volume {volume} is negative"
    if close * volume > Decimal("1E+14"):
        return f"close {close} x volume {volume} cannot have been traded"
    return None


def assert_taken_as_defined(cells: Sequence[str]) -> None:
    quoted = ",".join(f'"{cell}"' for cell in cells)
    content, expected = text(HEADER, ROWS[0], f"2020-01-01T01:00:00Z,{quoted}"), defined_refusal(cells)
    with TemporaryDirectory() as folder:
        if expected is not None:
            with pytest.raises(UserError, match=re.escape(f"some.csv: line 3: {expected}")):
                read(Path(folder), content)
            return
        candle = [*read(Path(folder), content).candles()][-1]
    taken = [candle.open, candle.high, candle.low, candle.close, candle.volume]
    assert [str(it) for it in taken] == [str(Decimal(cell)) for cell in cells]


# One float, and the first is less.
LESS, MORE = "0.30000000000000004", "0.300000000000000041"
EDGES = {
    "all the same": (LESS, LESS, LESS, LESS, "0"),
    "as far apart as may be": ("1", "1000000000000", "0.000000000001", "1", "100000000000000"),
    "an open that floats cannot tell from the low": (LESS, "1", MORE, "1", "1"),
    "a close that floats cannot tell from the low": ("1", "1", MORE, LESS, "1"),
    "an open that floats cannot tell from the high": (MORE, LESS, "0.1", "0.1", "1"),
    "a close that floats cannot tell from the high": ("0.1", LESS, "0.1", MORE, "1"),
    "a high that floats cannot tell from the low": (MORE, LESS, MORE, LESS, "1"),
    "a low that floats cannot tell from the bound": ("1", "1", "0.0000000000009999999999999999999999", "1", "1"),
    "a high that floats cannot tell from the bound": ("1", "1000000000000.0000000000001", "1", "1", "1"),
    "a volume that floats cannot tell from the bound": ("1", "10", "1", "10", "10000000000000.0000000000001"),
    "a volume below what floats can tell from zero": ("1", "1", "1", "1", "-1E-999"),
}


@pytest.mark.parametrize("cells", EDGES.values(), ids=EDGES.keys())
def test_where_floats_cannot_tell_decimals_do(cells: Sequence[str]) -> None:
    assert (defined_refusal(cells) is None) == (cells in [*EDGES.values()][:2])
    assert_taken_as_defined(cells)


few_of_them = st.lists(st.sampled_from(PITFALLS), min_size=1, max_size=3)


@given(few_of_them.flatmap(lambda few: st.lists(st.sampled_from(few), min_size=5, max_size=5)))
@settings(max_examples=400)
def test_a_row_is_taken_or_refused_as_its_decimals_say(cells: list[str]) -> None:
    assert_taken_as_defined(cells)


TIME_FORMS: dict[str, Callable[[datetime], str]] = {
    "seconds": lambda at: str(to_millis(at) // 1000),
    "millis": lambda at: str(to_millis(at)),
    "micros": lambda at: f"{to_millis(at)}000",
    "nanos": lambda at: f"{to_millis(at)}000000",
    "zone": lambda at: at.isoformat(),
    "no zone": lambda at: at.replace(tzinfo=None).isoformat(" "),
    "Z": lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ"),
}
HEADERS = (
    HEADER,
    "Datetime,Open,High,Low,Close,Volume BTC",
    "ts,o,h,l,c,vol",
    "unix,OPEN,HIGH,LOW,CLOSE,VOLUME",
)
amounts = st.decimals(min_value=Decimal("1E-9"), max_value=Decimal("1E+6"), allow_nan=False, places=9)


@st.composite
def histories(draw: st.DrawFn) -> tuple[timedelta, list[Candle]]:
    """An interval, and candles on its grid; mostly one interval apart, so that it shows."""
    interval = timedelta(seconds=draw(st.sampled_from([1, 60, 420, 3600, 14_400, 86_400])))
    gaps = draw(st.lists(st.integers(2, 9), max_size=4))
    steps = draw(st.permutations([*gaps, *[1] * (len(gaps) + 1 + draw(st.integers(0, 4)))]))
    begin = START + timedelta(seconds=draw(st.integers(0, 10**8)))
    closes = [begin + (place + 1) * interval for place in accumulate(steps, initial=0)]
    return interval, [draw(candle_at(close, interval // timedelta(seconds=1))) for close in closes]


@st.composite
def candle_at(draw: st.DrawFn, close: datetime, seconds: int) -> Candle:
    low, open_, last, high = draw(st.lists(amounts, min_size=4, max_size=4).map(sorted))
    first, last = draw(st.permutations([open_, last]))
    return Candle(close, first, high, low, last, draw(amounts), seconds)


def written(candle: Candle, interval: timedelta, form: str, exponents: bool) -> list[str]:
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    return [
        TIME_FORMS[form](candle.ts - interval),
        *(f"{it:E}" if exponents else f"{it:f}" for it in numbers),
    ]


@given(
    history=histories(),
    form=st.sampled_from([*TIME_FORMS]),
    header=st.sampled_from(HEADERS),
    delimiter=st.sampled_from([",", ";", "\t"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    bom=st.booleans(),
    newest_first=st.booleans(),
    exponents=st.booleans(),
    repetitions=st.booleans(),
    columns=st.permutations(range(6)),
)
def test_the_same_candles_are_read_whatever_the_dialect_and_the_order(
    history: tuple[timedelta, list[Candle]],
    form: str,
    header: str,
    delimiter: str,
    line_end: str,
    bom: bool,
    newest_first: bool,
    exponents: bool,
    repetitions: bool,
    columns: list[int],
) -> None:
    interval, expected = history
    rows = [written(candle, interval, form, exponents) for candle in expected for _ in range(1 + repetitions)]
    table = [header.split(","), *(reversed(rows) if newest_first else rows)]
    lines = [delimiter.join(cells[column] for column in columns) + line_end for cells in table]
    with TemporaryDirectory() as folder:
        file = read(Path(folder), "\ufeff" * bom + "".join(lines))
    assert list(file.candles()) == expected
    assert (file.interval, file.count) == (interval, len(expected))
    assert (file.first, file.last) == (expected[0].ts, expected[-1].ts)


REAL = {
    "eth-eur-1h.csv": ("ETH/USDT", HOUR, 17_706, 4),
    "ltc-eur-1h.csv": ("LTC/USDT", HOUR, 17_702, 7),
    "btc-eur-1h.csv": ("BTC/USDT", HOUR, 38_682, 12),
    "btc-usd-1m.csv": ("BTC/USDT", timedelta(minutes=1), 1_440, 0),
}


@pytest.fixture(params=REAL)
def real_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_real_files_are_read_to_the_last_row(real_data: Path, real_name: str) -> None:
    pair, interval, count, gaps = REAL[real_name]
    file = open_candles(real_data / real_name, pair)
    closes = [candle.ts for candle in file.candles()]
    assert (file.interval, file.count, len(closes)) == (interval, count, count)
    assert (closes[0], closes[-1]) == (file.first, file.last)
    assert sum(after - before > interval for before, after in pairwise(closes)) == gaps


def test_real_files_are_read_as_a_plain_reader_reads_them(real_data: Path, real_name: str) -> None:
    pair, interval, *_ = REAL[real_name]
    expected = []
    with (real_data / real_name).open(newline="") as file:
        for row in csv.DictReader(file):
            plain = {name.lower(): cell for name, cell in row.items()}
            opened = datetime.fromisoformat(plain["datetime"])
            numbers = [Decimal(plain[name]) for name in FIELDS]
            opened = opened if opened.tzinfo else opened.replace(tzinfo=UTC)
            expected.append((opened + interval, *map(str, numbers), interval // timedelta(seconds=1)))
    assert expected == [
        (it.ts, *map(str, (it.open, it.high, it.low, it.close, it.volume)), it.seconds)
        for it in open_candles(real_data / real_name, pair).candles()
    ]


def test_real_files_are_the_ones_whose_hashes_are_pinned(real_data: Path, real_name: str) -> None:
    lines = (real_data / "SHA256SUMS").read_text().splitlines()
    pinned = {name: sha256 for sha256, name in map(str.split, lines)}
    assert open_candles(real_data / real_name, REAL[real_name][0]).sha256 == pinned[real_name]
