"""What the strategy wished for the live book in a round: only while LIVE, in name order, each wish with one outcome and
its entry. What became of those that were intended is the matter of `orders`."""

from __future__ import annotations

from typing import Final

from tests.simulation.judge.known import Known, Rows
from tests.simulation.judge.quotes import CODES
from tests.simulation.judge.repeats import BEFORE_THE_QUOTE, Repeats, Told
from tests.simulation.judge.report import Line

NO_QUOTE: Final = frozenset(CODES.values())
AT_THE_END: Final = frozenset({"frozen", "in_doubt", "insufficient_funds"})  # by who would have intended it


def of_the_live_book(line: Line) -> bool:
    """Is this row of a round about a wish for the live book?"""
    if line.kind == "journal_entry":
        return line.type in ("SKIPPED", "RISK_VETO") and line.data.get("phase") == "live"
    return line.kind == "intended" or (line.kind == "decided" and line.body.get("phase") == "live")


def source(code: str) -> str:
    return "quote" if code in NO_QUOTE | {"QUOTE_MISMATCH"} else "fee_filter" if code == "dust" else code


class Wishes:
    def __init__(self, known: Known) -> None:
        self._known = known
        self._report = known.report
        self._repeats = Repeats(known.report, source, ("live",))
        self._last = ""  # the pair that was decided last in this round

    def begin(self) -> None:
        self._last = ""

    def end(self, mark: Line) -> None:
        self._repeats.overdue(mark)

    def follow(self, line: Line, rows: Rows) -> None:
        """One outcome, with the rows that belong to it."""
        match line.kind, line.type:
            case "intended", _:
                self._decision(line.body["order"]["pair"], line)
                self._repeats.ended(line.body["order"]["pair"], line)
            case _, "RISK_VETO":
                veto = rows.take_if("risk_veto", "journal_ref", line.body["id"])
                self._vetoed(line, veto, rows.take_if("decided", "entry", line.body["id"]))
            case _, "SKIPPED" if "repeats" in line.tags:
                self._repeats.summed(line)
            case _, "SKIPPED":
                if decided := rows.take_if("decided", "entry", line.body["id"]):
                    self._refused(line, decided, rows)
                else:
                    self._report.say("outcome", line.row, "a SKIPPED whose decision is not counted")
            case _:
                alone = line.body["entry"] is None
                self._report.must(alone, "outcome", line.row, f"counts {line.body['entry']}, which is not before it")
                self._refused(None, line, rows)

    def between(self, line: Line) -> None:
        """A row between two rounds: a trade, or a sale that came to nothing, is an outcome of its pair, too."""
        body = line.body
        if line.kind == "trade":
            self._repeats.between_rounds(body["pair"], None)
        elif line.kind == "decided":
            self._repeats.between_rounds(body["pair"], Told(body["side"], body["code"], line.ts))

    def _decision(self, pair: str, line: Line) -> None:
        must = self._report.must
        must(self._known.status == "LIVE", "17", line.row, f"a wish for {pair}, the status is {self._known.status}")
        must(pair > self._last, "outcome", line.row, f"{pair} is decided after {self._last}, at one candle")
        self._last = pair

    def _vetoed(self, entry: Line, veto: Line | None, decided: Line | None) -> None:
        must, data = self._report.must, entry.data
        self._decision(data["pair"], entry)
        if veto is None:
            self._report.say("12", entry.row, "a RISK_VETO without its risk_veto directly after it")
            return
        for name in ("rule", "order_ref", "pair", "side", "size"):
            must(data[name] == veto.body[name], "12", veto.row, f"{name} is {veto.body[name]}, its entry {data[name]}")
        must(veto.body["side"] == "buy", "veto", veto.row, "an exit was vetoed")
        told = entry.tags == [data["rule"], data["pair"], "live"] and veto.body["reason"] in entry.body["text"]
        must(told, "12", entry.row, f"{data['rule']} is tagged {entry.tags}")
        counted = decided is not None and (decided.body["pair"], decided.body["side"], decided.body["code"])
        due = (data["pair"], data["side"], data["rule"])
        must(counted == due, "outcome", entry.row, f"{due} is counted as {counted}")
        self._repeats.told(*due, entry, must_fold=False)

    def _refused(self, entry: Line | None, decided: Line, rows: Rows) -> None:
        body, must = decided.body, self._report.must
        pair, side, code = body["pair"], body["side"], body["code"]
        self._decision(pair, decided)
        must(code in NO_QUOTE | BEFORE_THE_QUOTE | AT_THE_END | {"dust", "QUOTE_MISMATCH"}, "outcome", decided.row,
             f"a wish that ended in {code!r}")  # fmt: skip
        must(side == "buy" or code not in BEFORE_THE_QUOTE, "outcome", decided.row, f"an exit ended in {code}")
        if code in NO_QUOTE:
            rejected = rows.take_if("quote_rejected", "pair", pair)
            mine = rejected is not None and (rejected.body["code"], CODES.get(rejected.body["reason"])) == (code, code)
            must(mine, "12", decided.row, f"{code} without its quote_rejected")
        if entry is None:
            self._repeats.counted(pair, side, code, decided)
            return
        says = (entry.data["pair"], entry.data["side"], entry.data["code"])
        must(says == (pair, side, code), "outcome", decided.row, f"{pair} {side} {code}, its entry {says}")
        must(entry.tags == [source(code), pair, "live"], "outcome", entry.row, f"{code} of {pair}, tagged {entry.tags}")
        self._repeats.told(pair, side, code, entry, must_fold=code in NO_QUOTE | BEFORE_THE_QUOTE)
