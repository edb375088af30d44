"""What the checkers say, and the few words they share. Money is in whole units of 1e-8 USDT, time in milliseconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

LoggedRow = tuple[int, int | None, int, str, str | None, str, bytes]  # row, seq, ts, kind, type, body, hash
Plain = dict[str, Any]

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
MANY: Final = 200  # violations: a log this bad needs no more words
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Violation(NamedTuple):
    """`statement` is a number of reliability.md or a name of ours (the package's docstring lists both)."""

    statement: str
    row: int
    text: str


@dataclass(slots=True)
class Report:
    """What is wrong with the log, in its order, and the rare states that it shows."""

    violations: list[Violation] = field(default_factory=list)
    marks: Counter[str] = field(default_factory=Counter)

    def say(self, statement: str, row: int, text: str) -> None:
        if len(self.violations) < MANY:
            self.violations.append(Violation(statement, row, text))

    def must(self, holds: bool, statement: str, row: int, text: str) -> None:
        if not holds:
            self.say(statement, row, text)


@dataclass(slots=True)
class Line:
    """One row, read. `ts` is in milliseconds; `type` is a journal entry's."""

    row: int
    ts: int
    kind: str
    type: str
    body: Plain

    @property
    def tags(self) -> list[str]:
        tags: list[str] = self.body["tags"]
        return tags

    @property
    def data(self) -> Plain:
        data: Plain = self.body["data"]
        return data


def millis(text: str) -> int:
    """An instant as the wire writes it, and no other way. Raises ValueError."""
    if len(text) != 24 or (text[10], text[19], text[23]) != ("T", ".", "Z"):
        raise ValueError(f"{text!r} is not how an instant is written")
    since = datetime.fromisoformat(text) - EPOCH
    return since.days * DAY + since.seconds * 1000 + since.microseconds // 1000


def wire(ts: int) -> str:
    """The one text form of an instant."""
    at = datetime.fromtimestamp(ts // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ts % 1000:03d}Z"


def next_midnight(ts: int) -> int:
    """The first UTC midnight strictly after `ts`: days are all of one length there."""
    return (ts // DAY + 1) * DAY
