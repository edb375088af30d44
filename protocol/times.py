"""Instants: aware UTC datetimes, whole milliseconds, one text form. No function here reads a clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_WIRE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@lru_cache(maxsize=256)  # one round names its few instants many times
def to_wire(at: datetime) -> str:
    """The one text form of an instant in UTC: `2026-01-02T03:04:05.678Z`.

    >>> to_wire(datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC))
    '2026-01-02T03:04:05.678Z'
    """
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"


def from_wire(text: str) -> datetime:
    """The inverse of `to_wire`, and nothing more lenient. Raises ValueError."""
    if not _WIRE.fullmatch(text):
        raise ValueError(f"{text!r} is not a time like 2026-01-02T03:04:05.678Z")
    return datetime.fromisoformat(text)


def parse_time(text: str) -> datetime:
    """An instant as a person or a client may write it: ISO 8601, UTC where no zone is given. Raises ValueError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an ISO 8601 time such as 2026-01-02T03:04:05Z") from None
    try:
        return from_millis(to_millis(at if at.tzinfo else at.replace(tzinfo=UTC)))
    except OverflowError:
        raise ValueError(f"{text!r} is out of range") from None


def to_millis(at: datetime) -> int:
    """Milliseconds since 1970-01-01T00:00Z, rounded down."""
    return (at - EPOCH) // _MILLISECOND


def from_millis(millis: int) -> datetime:
    return EPOCH + millis * _MILLISECOND


def next_midnight(at: datetime) -> datetime:
    """The first UTC midnight strictly after `at`.

    >>> to_wire(next_midnight(datetime(2024, 2, 28, 0, 0, tzinfo=UTC)))
    '2024-02-29T00:00:00.000Z'
    """
    return at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
