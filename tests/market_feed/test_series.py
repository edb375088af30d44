"""What `open_series` takes and what it refuses, and what is known of a series at a time."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.market_feed import table
from actors.market_feed.series import SeriesFile, open_series
from protocol.errors import UserError
from protocol.market import Reading
from protocol.times import to_millis

HOUR = timedelta(hours=1)
START = datetime(2020, 1, 1, tzinfo=UTC)
HEADER = "time,value"
ROWS = ("2020-01-01T00:00:00Z,25", "2020-01-01T05:00:00Z,-0.5")
EXPECTED = [Reading(Decimal(25), START), Reading(Decimal("-0.5"), START + 5 * HOUR)]


def read(folder: Path, content: str | bytes, name: str = "fear_and_greed") -> SeriesFile:
    path = folder / "some.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_series(path, name)


def text(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def readings(file: SeriesFile) -> list[Reading | None]:
    """What is known on each hour in which something became known."""
    hours = range((file.last - file.first) // HOUR + 1)
    known = [file.latest(file.first + hour * HOUR) for hour in hours]
    return [it for n, it in enumerate(known) if n == 0 or it != known[n - 1]]


def named(column: str) -> str:
    return text(f"time,{column}", *ROWS)


ACCEPTED = {
    "plain": text(HEADER, *ROWS),
    "without a last line end": text(HEADER, *ROWS).rstrip("\n"),
    "a BOM": "\ufeff" + text(HEADER, *ROWS),
    "CRLF": text(HEADER, *ROWS).replace("\n", "\r\n"),
    "semicolons": text(HEADER, *ROWS).replace(",", ";"),
    "tabs": text(HEADER, *ROWS).replace(",", "\t"),
    "quoted cells": text(*(",".join(f'"{cell}"' for cell in line.split(",")) for line in (HEADER, *ROWS))),
    "a URL first": text("https://www.example.com/data", HEADER, *ROWS),
    "newest first": text(HEADER, *reversed(ROWS)),
    "an exact repetition": text(HEADER, ROWS[0], *ROWS),
    "a repetition in other digits": text(HEADER, *ROWS, ROWS[1].replace("0.5", "5E-1")),
    "seconds": text(HEADER, "1577836800,25", "1577854800,-0.5"),
    "millis": text(HEADER, "1577836800000,25", "1577854800000,-0.5"),
    "no zone": text(HEADER, "2020-01-01,25", "2020-01-01 05:00,-0.5"),
    "a value": named("Value"),
    "a close": named("CLOSE"),
    "a rate": named("rate"),
    "an index": named("index"),
    "a score": named("Score"),
    "a funding rate": text("fundingTime,symbol,fundingRate", *(line.replace(",", ",BTC,") for line in ROWS)),
    "the series' own name": named("Fear And-Greed"),
    "as alternative.me has it": text(
        "timestamp,value,value_classification,time_until_update",
        "1577854800,-0.5,Extreme Fear,68499",
        "1577836800,25,Fear,",
    ),
    "its own name beside another": text("index,time,fear-and-greed", *(f"7,{line}" for line in ROWS)),
    "a closing time beside another": text("date,close time,close", *(f"2019-12-31,{line}" for line in ROWS)),
}


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_unambiguous_is_taken(tmp_path: Path, content: str) -> None:
    file = read(tmp_path, content)
    assert readings(file) == EXPECTED
    assert (file.count, file.first, file.last) == (2, START, START + 5 * HOUR)


NOTED = {
    "plain": (),
    "no zone": ("times have no zone and are read as UTC",),
    "an exact repetition": ("rows dropped that repeat the row above: 1",),
    "a URL first": ("line 1 is no header and was passed over: 'https://www.example.com/data'",),
    "its own name beside another": ("value is read from 'fear-and-greed', not from 'index'",),
    "a closing time beside another": ("time is read from 'close time', not from 'date'",),
}


@pytest.mark.parametrize("name", NOTED)
def test_a_decision_taken_in_reading_is_noted(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, ACCEPTED[name]).notes == NOTED[name]


def row(time: str = "2020-01-01T01:00:00Z", value: str = "1") -> str:
    return text(HEADER, ROWS[0], f"{time},{value}", "2020-01-01T02:00:00Z,1")


# What is refused: the content, the line that must be named, and words of the reason.
REFUSED: dict[str, tuple[str | bytes, int, tuple[str, ...]]] = {
    "an empty file": ("", 1, ("no header", "a line such as time,value")),
    "one column": (text("value", "1", "2"), 1, ("no header",)),
    "no header": (text(*ROWS), 1, ("no column for time in '2020-01-01T00:00:00Z', '25'", "fundingtime")),
    "no rows": (text(HEADER), 1, ("0 rows", "one at least")),
    "blank rows": (text(HEADER, "", ","), 3, ("time ''",)),
    "no time": (text("day,value", *ROWS), 1, ("no column for time",)),
    "an unknown value": (
        text("time,sentiment", *ROWS),
        1,
        ("no column for value in 'time', 'sentiment'", "valid names: fearandgreed, value, close, rate, index, score"),
    ),
    "two times": (text("date,time,value", f"2020-01-01,{ROWS[0]}"), 1, ("'date', 'time' fit equally well as time",)),
    "two values": (text("time,value,score", f"{ROWS[0]},1"), 1, ("'value', 'score' fit equally well as value",)),
    "one name twice": (text("time,value,Value", f"{ROWS[0]},1"), 1, ("'value', 'Value' fit equally well",)),
    "candles": (text("Date,Open,High,Low,Close", "2020-01-01,1,1,1,1"), 1, ("'Open' is of candles", "was known")),
    "candles without an open": (text("time,high,low,close", "2020-01-01,1,1,1"), 1, ("'high' is of candles",)),
    "an opening time": (text("open_time,close", "2020-01-01,1"), 1, ("'open_time' is of candles",)),
    "an open quote": (row(value='"1'), 3, ("quote is not closed",)),
    "CR alone": (text(HEADER, *ROWS).replace("\n", "\r"), 1, ("CR alone",)),
    "Latin-1": (text(HEADER, ROWS[0], "ü").encode("latin-1"), 3, ("0xfc is not UTF-8",)),
    "a line without end": (HEADER + "\n" + "1" * 70_000, 2, ("longer than 65536 bytes",)),
    "a cell missing": (text(HEADER, *ROWS, "2020-01-02"), 4, ("1 cells; valid are 2",)),
    "a decimal comma": (row(value="0,5"), 3, ("3 cells; valid are 2",)),
    "an epoch among ISO times": (row("1577840400"), 3, ("an epoch", "a time with a zone")),
    "a zone missing": (row("2020-01-01T01:00:00"), 3, ("a time without a zone", "a time with a zone")),
    "a time that is none": (row("yesterday"), 3, ("time 'yesterday'", "ISO 8601")),
    "an American date": (row("01/02/2020"), 3, ("time '01/02/2020'",)),
    "a compact date": (row("20200101"), 3, ("time '20200101'",)),
    "micros that are no millis": (row("2020-01-01T01:00:00.000001Z"), 3, ("whole milliseconds",)),
    "long ago": (row("1999-01-01T00:00:00Z"), 3, ("from 2001-09-09T01:46:40.000Z",)),
    "one time, two values": (
        text(HEADER, *ROWS, ROWS[1].replace("0.5", "0.6")),
        4,
        ("2020-01-01T05:00:00.000Z is in line 3 too, with other numbers",),
    ),
    "a row out of order": (
        text(HEADER, *ROWS, "2020-01-01T03:00:00Z,1"),
        4,
        ("2020-01-01T03:00:00.000Z is out of order below 2020-01-01T05:00:00.000Z", "oldest first"),
    ),
    "a row out of order, newest first": (
        text(HEADER, *reversed(ROWS), "2020-01-01T03:00:00Z,1"),
        4,
        ("out of order below 2020-01-01T00:00:00.000Z", "newest first"),
    ),
    "an empty value": (row(value=""), 3, ("value ''", "valid are numbers")),
    "NaN": (row(value="NaN"), 3, ("value 'NaN'",)),
    "infinity": (row(value="-inf"), 3, ("value '-inf'",)),
    "a percent sign": (row(value="25%"), 3, ("value '25%'",)),
    "thousands separators": (row(value='"1,300"'), 3, ("value '1,300'", "no thousands separators")),
    "underscores": (row(value="1_300"), 3, ("value '1_300'",)),
    "digits of another script": (row(value="٢"), 3, ("value '٢'",)),
    "an absurd exponent": (row(value="1E1000"), 3, ("value '1E1000'",)),
    "an absurd value": (row(value="1.1E+24"), 3, ("value 1.1E+24 is beyond all", "-1E+24 to 1E+24")),
    "an absurd negative value": (row(value="-1000000000000000000000000.000001"), 3, ("is beyond all",)),
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


def test_more_rows_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_ROWS", 2)
    assert read(tmp_path, text(HEADER, *ROWS, ROWS[1])).count == 2
    with pytest.raises(UserError, match=r"some\.csv: line 4: more than 2 rows"):
        read(tmp_path, text(HEADER, *ROWS, "2020-01-01T06:00:00Z,1"))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.csv: cannot be read as a CSV file: No such file"):
        open_series(tmp_path / "absent.csv", "fear")


@pytest.mark.parametrize("name", ["a", "fear_and_greed", "BTC-funding-8h", "x" * 40])
def test_a_name_has_letters_digits_and_two_marks(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, text(HEADER, *ROWS), name).name == name


@pytest.mark.parametrize("name", ["", "x" * 41, "fear and greed", "fear&greed", "a/b", "größe", "a\n", "٢"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"names no series; valid are 1 to 40 letters, digits, _ and -"):
        read(tmp_path, text(HEADER, *ROWS), name)


def test_a_name_that_is_a_times_or_another_values_is_no_trap(tmp_path: Path) -> None:
    assert readings(read(tmp_path, text("t,value", *ROWS), "t")) == EXPECTED
    assert readings(read(tmp_path, text("time,close,value", *(f"{line},7" for line in ROWS)), "close")) == EXPECTED
    with pytest.raises(UserError, match=r"line 1: no column for value in 'time', ''"):
        read(tmp_path, text("time,", *ROWS), "_")


def test_a_single_value_is_a_series(tmp_path: Path) -> None:
    file = read(tmp_path, text(HEADER, ROWS[0]))
    assert (file.count, file.first, file.last) == (1, START, START)
    assert file.latest(START + 9000 * HOUR) == EXPECTED[0]


def test_a_value_is_known_from_its_time_on_and_not_before(tmp_path: Path) -> None:
    for content in (ACCEPTED["plain"], ACCEPTED["newest first"]):
        file = read(tmp_path, content)
        instant = timedelta(microseconds=1)
        assert file.latest(START - instant) is None
        assert file.latest(START) == EXPECTED[0]
        assert file.latest(START + 5 * HOUR - instant) == EXPECTED[0]
        assert file.latest(START + 5 * HOUR) == EXPECTED[1]
        assert file.latest(START + 9000 * HOUR) == EXPECTED[1]


def test_values_are_exact_from_their_text(tmp_path: Path) -> None:
    digits = "-0.1234567890123456789012345678901234567890"
    reading = read(tmp_path, text(HEADER, f"2020-01-01,{digits}")).latest(START)
    assert reading is not None
    assert str(reading.value) == digits


def test_the_hash_is_that_of_the_bytes_and_the_file_is_not_read_again(tmp_path: Path) -> None:
    file = read(tmp_path, ACCEPTED["a BOM"])
    assert file.sha256 == hashlib.sha256(ACCEPTED["a BOM"].encode()).hexdigest()
    (tmp_path / "some.csv").write_text("gone")
    assert readings(file) == EXPECTED


@given(
    steps=st.lists(st.integers(1, 10**9), max_size=9),
    values=st.lists(st.decimals(-(10**24), 10**24, allow_nan=False), min_size=10, max_size=10),
    newest_first=st.booleans(),
    asked=st.lists(st.integers(-(10**9), 10**10), min_size=1, max_size=20),
)
def test_what_is_known_never_looks_ahead(
    steps: list[int], values: list[Decimal], newest_first: bool, asked: list[int]
) -> None:
    times = [to_millis(START) + after for after in accumulate(steps, initial=0)]
    rows = [f"{time},{value}" for time, value in zip(times, values, strict=False)]
    with TemporaryDirectory() as folder:
        file = read(Path(folder), text(HEADER, *(reversed(rows) if newest_first else rows)))
    for after in asked:
        known = bisect_right(times, to_millis(START) + after)
        reading = file.latest(START + timedelta(milliseconds=after))
        if known == 0:
            assert reading is None
        else:
            expected = Reading(values[known - 1], START + timedelta(milliseconds=times[known - 1] - times[0]))
            assert reading == expected
            assert reading.at <= START + timedelta(milliseconds=after)
