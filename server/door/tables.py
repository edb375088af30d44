"""Lists as CSV (RFC 4180), for spreadsheets: they must not take a text for a formula."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from attrs import fields

from protocol.codec import from_json, wire_name
from protocol.events import Trade

TRADE_COLUMNS: Final = ("seq", *(wire_name(a.name) for a in fields(Trade)))
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def header(columns: Sequence[str]) -> bytes:
    return _line(columns)


def rows(frames: Iterable[str], columns: Sequence[str]) -> bytes:
    """One line a frame; a field that it lacks, or that is null, is empty."""
    return b"".join(_line([event.get(name) for name in columns]) for event in map(from_json, frames))


def _line(values: Sequence[Any]) -> bytes:
    return (",".join(map(cell, values)) + "\r\n").encode()


def cell(value: Any) -> str:
    """A value as a cell: numbers as they are, without exponents. A text that a spreadsheet would calculate gets a '
    in front.

    >>> cell(Decimal("-1.5")), cell("=1+1"), cell('a "b", c'), cell(None)
    ('-1.5', "'=1+1", '"a ""b"", c"', '')
    """
    if value is None:
        return ""
    if isinstance(value, Decimal | int):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    text = f"'{value}" if str(value).startswith(_FORMULA) else str(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
