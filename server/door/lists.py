"""Lists out of the log: filters, pages, and the log position that each page reflects."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from attrs import evolve, frozen
from werkzeug.datastructures import MultiDict

from actors.journal.store import LogReader
from protocol.times import EPOCH, parse_time, to_millis
from server.door.problems import Problem

DEFAULT_LIMIT: Final = 500
MAX_LIMIT: Final = 5000
INTERVALS: Final = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}


@frozen
class Asked:
    """A list's query: which kind of event (None: all), what they must fulfil, and which page of them."""

    kind: str | None
    newest_first: bool = False
    where: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    limit: int = DEFAULT_LIMIT
    pinned: int | None = None  # the first page's log position
    after: int | None = None  # the seq that the page before ended with
    since: int | None = None  # ms
    until: int | None = None  # ms
    bucket: int | None = None  # ms: only the last of each

    def narrowed(self, where: str, *values: Any) -> Asked:
        return evolve(self, where=(*self.where, where), values=(*self.values, *values))


@frozen
class Page:
    """A page's frames, the log position it reflects, and the next page's cursor or None."""

    frames: list[str]
    last_seq: int
    cursor: str | None


def asked(kind: str | None, query: MultiDict[str, str], *, newest_first: bool = False) -> Asked:
    """The paging and time parameters that all lists share. Raises Problem(422)."""
    pinned, after = _cursor(query.get("cursor"))
    return Asked(
        kind,
        newest_first,
        limit=whole("limit", query.get("limit"), DEFAULT_LIMIT, 1, MAX_LIMIT),
        pinned=pinned,
        after=after,
        since=_time("from", query.get("from")),
        until=_time("to", query.get("to")),
    )


def bucketed(wanted: Asked, interval: str | None) -> Asked:
    """Only the last event of each interval. Raises Problem(422)."""
    if interval is None:
        return wanted
    if interval not in INTERVALS:
        raise impossible("interval", interval, "must be one of " + ", ".join(INTERVALS))
    return evolve(wanted, bucket=INTERVALS[interval] // timedelta(milliseconds=1))


def read(reader: LogReader, wanted: Asked) -> Page:
    """The page that was asked for. Blocking: for a reader's thread."""
    head = reader.head().seq
    pinned = head if wanted.pinned is None else min(wanted.pinned, head)
    where, values = ["seq <= ?", *wanted.where], [pinned, *wanted.values]
    if wanted.kind is not None:
        where.append("kind = ?")
        values.append(wanted.kind)
    if wanted.after is not None:
        where.append("seq < ?" if wanted.newest_first else "seq > ?")
        values.append(wanted.after)
    for bound, operator in ((wanted.since, ">="), (wanted.until, "<")):
        if bound is not None:
            where.append(f"row {operator} ?")
            values.append(reader.first_row_at(bound))
    condition = " AND ".join(where)
    if wanted.bucket is not None:
        condition = f"seq IN (SELECT max(seq) FROM log WHERE {condition} GROUP BY ts / {wanted.bucket:d})"  # noqa: S608
    order = "DESC" if wanted.newest_first else "ASC"
    query = f"SELECT seq, body FROM log WHERE {condition} ORDER BY row {order} LIMIT ?"  # noqa: S608 - our own words
    found = reader.select(query, (*values, wanted.limit + 1))
    page = found[: wanted.limit]
    more = len(found) > wanted.limit
    return Page([body for _, body in page], pinned, f"{pinned}.{page[-1][0]}" if more else None)


def whole(name: str, text: str | None, default: int, low: int, high: int) -> int:
    """A whole number from a query. Raises Problem(422)."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19 and low <= int(text) <= high):
        raise impossible(name, text, f"must be a whole number from {low} to {high}")
    return int(text)


def impossible(name: str, value: str, valid: str) -> Problem:
    return Problem(422, "VALIDATION_ERROR", f"{name} = {value!r}: {valid}")


def _cursor(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    pinned, dot, after = text.partition(".")
    if not dot or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in (pinned, after)):
        raise impossible("cursor", text, "must be one out of a Link header")
    return int(pinned), int(after)


def _time(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        at = parse_time(text.replace(" ", "+"))  # a + that came as it is has become a space
    except (ValueError, OverflowError):
        raise impossible(name, text, "must be an ISO 8601 time such as 2026-01-02T03:04:05Z") from None
    if at < EPOCH:
        raise impossible(name, text, "must not be before 1970")
    return to_millis(at)
