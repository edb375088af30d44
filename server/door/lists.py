"""Lists out of the log: filters, pages, and the log position that each page reflects."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

from attrs import evolve, frozen
from werkzeug.datastructures import MultiDict

from actors.journal.store import HAS_TAG, LogReader
from protocol.codec import to_json
from protocol.times import EPOCH, parse_time, to_millis
from server.door.problems import Problem

DEFAULT_LIMIT: Final = 500
MAX_LIMIT: Final = 5000
SCANNED: Final = 10_000  # events that are looked at one by one for a page
INTERVALS: Final = {
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}


@frozen
class Asked:
    """A list's query: which kind of event (None: all), what they must fulfil, and which page of them.

    `where` is what an index finds by itself; `having` is looked at event by event, and of at most SCANNED of them for
    one page, so that a search through a long log holds up nobody."""

    kind: str | None
    newest_first: bool = False
    where: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    having: tuple[str, ...] = ()
    having_values: tuple[Any, ...] = ()
    by_seq: bool = False  # an index has them in the order of their seqs; else by row, which is the same order
    sort: str | None = None  # a field that they are in the order of, instead
    limit: int = DEFAULT_LIMIT
    pinned: int | None = None  # the first page's log position
    after: int | None = None  # the seq that the page before ended with; where sorted, how many came before this page
    since: int | None = None  # ms
    until: int | None = None  # ms
    bucket: int | None = None  # ms: only the last of each

    @property
    def searches(self) -> bool:
        """Does it look at many, to show few?"""
        return bool(self.having) or self.sort is not None

    def narrowed(self, where: str, *values: Any, by_seq: bool = False) -> Asked:
        where_all, values_all = (*self.where, where), (*self.values, *values)
        return evolve(self, where=where_all, values=values_all, by_seq=by_seq)

    def filtered(self, having: str, *values: Any) -> Asked:
        return evolve(self, having=(*self.having, having), having_values=(*self.having_values, *values))

    def tagged(self, tag: str) -> Asked:
        """Most are passed over by their text, which is read faster than their tags."""
        return self.filtered(f"instr(body, ?) AND {HAS_TAG}", to_json(tag).decode(), tag)


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
        since=moment("from", query.get("from")),
        until=moment("to", query.get("to")),
    )


def turned(wanted: Asked, cursor: str) -> Asked:
    """The page that the cursor leads to. Raises Problem(422)."""
    pinned, after = _cursor(cursor)
    return evolve(wanted, pinned=pinned, after=after)


def bucketed(wanted: Asked, interval: str | None) -> Asked:
    """Only the last event of each interval. Raises Problem(422)."""
    if interval is None:
        return wanted
    if interval not in INTERVALS:
        raise impossible("interval", interval, "must be one of " + ", ".join(INTERVALS))
    return evolve(wanted, bucket=INTERVALS[interval] // timedelta(milliseconds=1))


def ordered(wanted: Asked, sort: str | None, order: str | None, fields: Collection[str]) -> Asked:
    """In the order of a field, by default of their time, which is the log's. Raises Problem(422)."""
    if sort is not None and sort not in fields:
        raise impossible("sort", sort, "must be one of " + ", ".join(fields))
    if order not in (None, "asc", "desc"):
        raise impossible("order", order, "must be one of asc, desc")
    return evolve(wanted, sort=None if sort == "ts" else sort, newest_first=order == "desc")


def read(reader: LogReader, wanted: Asked) -> Page:
    """The page that was asked for. Blocking: for a reader's thread."""
    head = reader.head().seq
    pinned = head if wanted.pinned is None else min(wanted.pinned, head)
    where, values = _found_by_index(reader, wanted, pinned)
    key, order = "seq" if wanted.by_seq else "row", "DESC" if wanted.newest_first else "ASC"
    if wanted.sort is not None:
        return _sorted(reader, wanted, pinned, " AND ".join([*where, *wanted.having]), [*values, *wanted.having_values])
    last = None  # of what is looked at for this page, where there is more
    if wanted.having:
        nth = f"SELECT {key}, seq FROM log WHERE {' AND '.join(where)} ORDER BY {key} {order} LIMIT 1 OFFSET {SCANNED}"  # noqa: S608
        if found := reader.select(nth, values):
            [(edge, last)] = found
            where.append(f"{key} {'>=' if wanted.newest_first else '<='} ?")
            values.append(edge)
    condition = " AND ".join([*where, *wanted.having])
    if wanted.bucket is not None:
        condition = f"seq IN (SELECT max(seq) FROM log WHERE {condition} GROUP BY ts / {wanted.bucket:d})"  # noqa: S608
    query = f"SELECT seq, body FROM log WHERE {condition} ORDER BY {key} {order} LIMIT ?"  # noqa: S608 - our own words
    found = reader.select(query, (*values, *wanted.having_values, wanted.limit + 1))
    page = found[: wanted.limit]
    after = page[-1][0] if len(found) > wanted.limit else last
    return Page([body for _, body in page], pinned, None if after is None else f"{pinned}.{after}")


def _found_by_index(reader: LogReader, wanted: Asked, pinned: int) -> tuple[list[str], list[Any]]:
    """The conditions that an index answers: which events, and from where to where."""
    low, high = 0, pinned  # seqs, the first one excluded
    if wanted.after is not None and wanted.sort is None:
        low, high = (low, min(high, wanted.after - 1)) if wanted.newest_first else (wanted.after, high)
    if wanted.since is not None:
        low = max(low, reader.seq_at(reader.first_row_at(wanted.since) - 1))
    if wanted.until is not None:
        high = min(high, reader.seq_at(reader.first_row_at(wanted.until) - 1))
    where, values = [*wanted.where], [*wanted.values]
    if wanted.kind is not None and not wanted.by_seq:
        where.append("kind = ?")
        values.append(wanted.kind)
    if wanted.by_seq:
        return [*where, "seq > ? AND seq <= ?"], [*values, low, high]
    return [*where, "row > ? AND row <= ?"], [*values, reader.row_at(low), reader.row_at(high)]


def _sorted(reader: LogReader, wanted: Asked, pinned: int, condition: str, values: list[Any]) -> Page:
    """A page in the order of a field, what lacks it last, and of equals the older first. The log only grows, so up to
    a pinned position every page finds the same order."""
    skipped, order = wanted.after or 0, "DESC" if wanted.newest_first else "ASC"
    by = f"body ->> '$.{wanted.sort}'"
    query = f"SELECT row FROM log WHERE {condition} ORDER BY {by} IS NULL, {by} {order}, row LIMIT ? OFFSET ?"  # noqa: S608
    found = [row for (row,) in reader.select(query, (*values, wanted.limit + 1, skipped))]
    page = found[: wanted.limit]
    bodies = dict(reader.select(f"SELECT row, body FROM log WHERE row IN ({','.join(map(str, page))})"))  # noqa: S608
    more = len(found) > wanted.limit
    return Page([bodies[row] for row in page], pinned, f"{pinned}.{skipped + wanted.limit}" if more else None)


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


def moment(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        at = parse_time(text.replace(" ", "+"))  # a + that came as it is has become a space
    except (ValueError, OverflowError):
        raise impossible(name, text, "must be an ISO 8601 time such as 2026-01-02T03:04:05Z") from None
    if at < EPOCH:
        raise impossible(name, text, "must not be before 1970")
    return to_millis(at)
