"""What a log must say, from the written contract alone: a second implementation, which imports nothing of the first.

Money is whole numbers of 1e-8 USDT here, days are whole numbers, and a limit is compared without a division. The judge reads
each row once, in order, and never raises: a log that makes no sense is a violation.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from tests.simulation.arbiter.chain import Chain
from tests.simulation.arbiter.ledger import Ledger
from tests.simulation.arbiter.limits import Limits
from tests.simulation.arbiter.stories import Stories

LoggedRow = tuple[int, int | None, int, str, str | None, str, bytes]


class Violation(NamedTuple):
    """Which statement a row does not keep, and how that shows."""

    statement: str
    row: int
    text: str


class Judge:
    """`read` the rows as they become durable, each once; `violations` and `marks`, the rare states seen, grow."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.marks: Counter[str] = Counter()
        self._row = 0
        self._chain = Chain(self._complain)
        self._ledger = Ledger(self._complain, self.marks)
        self._limits = Limits(self._complain, self.marks, self._ledger)
        self._stories = Stories(self._complain, self.marks)

    def read(self, rows: Iterable[LoggedRow]) -> None:
        for logged in rows:
            self._row = logged[0]
            try:
                body = json.loads(logged[5], parse_float=Decimal)
                self._chain.read(logged, body)
                self._one(logged[2], logged[3], body)
            except Exception as error:
                self._complain("judge", f"{logged[3]} makes no sense: {type(error).__name__} {error}")

    def _one(self, ts: int, kind: str, body: dict[str, Any]) -> None:
        self._stories.read(ts, kind, body)
        self._limits.before(ts, kind, body)
        self._ledger.read(ts, kind, body)
        self._limits.after(ts, kind, body)

    def _complain(self, statement: str, text: str) -> None:
        if len(self.violations) < 50:
            self.violations.append(Violation(statement, self._row, text))
