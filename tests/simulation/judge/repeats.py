"""A "no" that comes again on the same UTC day is counted and told together later; the counts must add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.judge.report import DAY, Line, Report, wire

BEFORE_THE_QUOTE: Final = frozenset({"regime", "fee_filter"})


def source(code: str) -> str:
    """The tag that says where a "no" came from."""
    return code if code in BEFORE_THE_QUOTE else "fee_filter" if code == "dust" else "quote"


@dataclass(slots=True)
class Told:
    """A pair's latest "no": told at `at`, and when it came again since."""

    side: str
    code: str
    at: int
    hidden: list[int] = field(default_factory=list)


class Repeats:
    """Counts them, pair by pair, for one book: `tagged` are the tags that its entries have besides."""

    def __init__(self, report: Report, source: Callable[[str], str] = source, tagged: tuple[str, ...] = ()) -> None:
        self._report = report
        self._source = source
        self._tagged = tagged
        self._last: dict[str, Told] = {}

    def told(self, pair: str, side: str, code: str, line: Line, *, must_fold: bool) -> None:
        """A "no" with an entry of its own."""
        last = self._last.get(pair)
        same = last is not None and (last.side, last.code, last.at // DAY) == (side, code, line.ts // DAY)
        self._report.must(not (same and must_fold), "fold", line.row, f"{pair} {side} {code} is told twice on a day")
        self.ended(pair, line)
        self._last[pair] = Told(side, code, line.ts)

    def counted(self, pair: str, side: str, code: str, line: Line) -> None:
        """A "no" that is only counted."""
        last = self._last.get(pair)
        if last is None or (last.side, last.code, last.at // DAY) != (side, code, line.ts // DAY):
            self._report.say("fold", line.row, f"{pair} {side} {code} repeats nothing that was told that day")
            return
        last.hidden.append(line.ts)

    def summed(self, entry: Line) -> None:
        """The entry that tells what was counted."""
        data, last = entry.data, self._last.get(entry.data["pair"])
        self._report.marks["folded repeats"] += 1
        if last is None or not last.hidden:
            self._report.say("fold", entry.row, f"tells repeats of {data['pair']}, and there are none")
            return
        counted = (last.side, last.code, len(last.hidden), wire(last.hidden[0]), wire(last.hidden[-1]))
        says = (data["side"], data["code"], data["count"], data["first"], data["last"])
        self._report.must(says == counted, "fold", entry.row, f"tells {says}, counted were {counted}")
        due = [self._source(last.code), "repeats", data["pair"], *self._tagged]
        self._report.must(entry.tags == due, "fold", entry.row, f"tagged {entry.tags}")
        last.hidden.clear()

    def ended(self, pair: str, line: Line) -> None:
        """Another outcome of the pair: what was counted must have been told before it."""
        last = self._last.get(pair)
        if last is not None and last.hidden:
            self._report.say("fold", line.row, f"{len(last.hidden)} repeats of {pair} {last.code} were not told before")
            last.hidden.clear()

    def traded(self, pair: str, line: Line) -> None:
        self.ended(pair, line)
        self._last.pop(pair, None)

    def between_rounds(self, pair: str, told: Told | None) -> None:
        """A trade, or a "no" that was `told`, outside a round: what was counted is told in a round, when it is due."""
        if (last := self._last.get(pair)) is not None and last.hidden:
            return
        self._last.pop(pair, None)
        if told is not None:
            self._last[pair] = told

    def overdue(self, line: Line) -> None:
        """At the end of a round: what was counted on an earlier day has been told."""
        for pair, last in self._last.items():
            if last.hidden and last.hidden[-1] // DAY < line.ts // DAY:
                self._report.say("fold", line.row, f"repeats of {pair} of {wire(last.hidden[-1])} are not told yet")
                last.hidden.clear()
