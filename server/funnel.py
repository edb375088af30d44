"""Signals, but no trades: at which gate did the decisions end? Counted in the log, over its facts of outcomes alone;
of the paper book, whose decisions they are: live follows them.

A decision has one outcome: a `decided` fact (a "no", by its code), a trade, or, while its order waits for the next
open, the fact `placed`. So signals = noes + trades + what waits. A decision counts when its outcome comes; an order
that waits at the end counts as waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
import click
from attrs import define, field, frozen

from actors.journal.store import FILE_NAME, LAYOUT, LogReader
from protocol import answers
from protocol.codec import from_json, to_json, to_plain
from protocol.errors import UserError
from protocol.times import from_millis, parse_time, to_millis
from server.offline import open_log

# The gates in their order, each with what is left behind it.
GATES: Final = {
    "regime": "after_regime", "fees": "after_fees", "quote": "quotes_accepted", "risk": "risk_passed", "fill": "filled",
}  # fmt: skip
_OWN_GATE: Final = {"regime": "regime", "fee_filter": "fees", "dust": "fill", "QUOTE_MISMATCH": "fill"}
_OUTCOMES: Final = """
SELECT kind, pair, side, code, {before} AS before FROM (
    SELECT row, kind, CASE kind WHEN 'placed' THEN body ->> '$.order.pair' ELSE body ->> '$.pair' END AS pair,
        body ->> '$.side' AS side, body ->> '$.code' AS code
    FROM log WHERE kind IN ('decided', 'trade', 'placed') AND body ->> '$.phase' IS NOT 'live' AND row >= ? AND row < ?)
"""
_BEFORE: Final = "lag(kind) OVER (PARTITION BY pair ORDER BY row)"
_COUNTED: Final = "SELECT kind, pair, side, code, before, count(*) FROM ({outcomes}) GROUP BY 1, 2, 3, 4, 5"


@define
class Way:
    """What became of some decisions: each gate's noes by their code, what waits, what was filled."""

    noes: dict[str, dict[str, int]] = field(factory=lambda: {gate: {} for gate in GATES})
    waiting: int = 0
    filled: int = 0

    @property
    def signals(self) -> int:
        return self.waiting + self.filled + sum(sum(codes.values()) for codes in self.noes.values())

    @property
    def by_code(self) -> dict[str, int]:
        """Every no, in the gates' order, the frequent ones of each first."""
        found: dict[str, int] = {}
        for codes in self.noes.values():
            for code, count in sorted(codes.items(), key=lambda item: (-item[1], item[0])):
                found[code] = found.get(code, 0) + count
        return found

    def refused(self, gate: str, code: str, count: int) -> None:
        codes = self.noes[gate]
        codes[code] = codes.get(code, 0) + count

    def left(self, gate: str) -> int:
        """How many were left behind this gate."""
        if gate == "fill":
            return self.filled
        names = list(GATES)
        passed = names[: names.index(gate) + 1]
        return self.signals - sum(sum(self.noes[name].values()) for name in passed)

    def add(self, other: Way) -> None:
        self.waiting += other.waiting
        self.filled += other.filled
        for gate, codes in other.noes.items():
            for code, count in codes.items():
                self.refused(gate, code, count)

    @property
    def counts(self) -> dict[str, Any]:
        """Of entries: what was left behind each gate, and the noes."""
        counts = {name: self.left(gate) for gate, name in GATES.items()}
        return {"signals": self.signals, **counts, "waiting": self.waiting, "by_code": self.by_code,
                "unfilled": dict(self.noes["fill"])}  # fmt: skip

    @property
    def as_exits(self) -> answers.ExitWay:
        """An exit is asked for no regime and no fees, and no rule holds it back."""
        return answers.ExitWay(
            self.signals, self.left("quote"), self.waiting, self.filled, self.by_code, dict(self.noes["fill"])
        )


@frozen
class Funnel:
    """The ways of some pairs' entries and exits, between two times in ms (None: the log's own ends). `seq` is the log
    position that the counts reflect."""

    since: int | None
    until: int | None
    seq: int
    entries: dict[str, Way]
    exits: dict[str, Way]

    @property
    def shown(self) -> answers.Funnel:
        """As REST shows it: all pairs together, then each by itself."""
        since, until = (None if ms is None else from_millis(ms) for ms in (self.since, self.until))
        entries, exits = _together(self.entries.values()), _together(self.exits.values())
        pairs = {pair: answers.Way(**way.counts, exits=self.exits[pair].as_exits) for pair, way in self.entries.items()}
        return answers.Funnel(since, until, **entries.counts, exits=exits.as_exits, pairs=pairs)

    def as_plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self.shown)
        return plain


def _together(ways: Iterable[Way]) -> Way:
    total = Way()
    for way in ways:
        total.add(way)
    return total


def funnel(reader: LogReader, pairs: Sequence[str], since: int | None, until: int | None) -> Funnel:
    """The outcomes of these pairs from `since`, inclusive, to `until`, exclusive. Blocking: for a reader's thread."""
    head = reader.head()
    first = 1 if since is None else reader.first_row_at(since)
    behind = head.row + 1 if until is None else min(reader.first_row_at(until), head.row + 1)
    entries, exits = ({pair: Way() for pair in sorted(pairs)} for _ in range(2))
    sides, waited = {"buy": entries, "sell": exits}, _waiting(reader, first)
    for kind, pair, side, code, before, count in _counted(reader, first, behind):
        if pair not in entries or kind == "placed":
            continue
        if code is None:
            sides[side][pair].filled += count
        else:
            # What ends a waiting order is the executor's, whatever its code; a pair's first outcome may be that, too.
            waits = before == "placed" or (before is None and pair in waited)
            sides[side][pair].refused("fill" if waits else gate_of(code), code, count)
    for pair, side in _waiting(reader, behind).items():
        if pair in entries:
            sides[side][pair].waiting += 1
    return Funnel(since, until, head.seq, entries, exits)


def gate_of(code: str) -> str:
    """The gate that says this no: where a code is said at two of them, the first.

    >>> gate_of("fee_filter"), gate_of("QUOTE_STALE"), gate_of("daily_drawdown"), gate_of("dust")
    ('fees', 'quote', 'risk', 'fill')
    """
    return _OWN_GATE.get(code) or ("quote" if code.isupper() else "risk")


def _counted(reader: LogReader, first: int, behind: int) -> list[tuple[str, str, str, str | None, str | None, int]]:
    """How many outcomes there are of each kind, pair, side and code, and by what kind the pair's own before it was: a
    `placed` one is what this one ends. Where nothing was ever placed, nobody looks."""
    placed = reader.select("SELECT 1 FROM log WHERE kind = 'placed' AND row < ? LIMIT 1", (behind,))
    outcomes = _OUTCOMES.format(before=_BEFORE if placed else "NULL")
    return reader.select(_COUNTED.format(outcomes=outcomes), (first, behind))


def _waiting(reader: LogReader, row: int) -> dict[str, str]:
    """The side of each pair's order that waited before this row."""
    latest = (
        "SELECT body ->> '$.order.pair', body ->> '$.order.side', max(row) FROM log WHERE kind = 'placed' AND row < ?"
    )
    ended = (
        "SELECT 1 FROM log WHERE kind IN ('decided', 'trade') AND row > ? AND row < ? AND body ->> '$.pair' = ? "
        "AND body ->> '$.phase' IS NOT 'live'"
    )
    return {
        pair: side
        for pair, side, at in reader.select(f"{latest} GROUP BY 1", (row,))
        if not reader.select(f"{ended} LIMIT 1", (at, row, pair))
    }


# --- in a data dir


@contextmanager
def log_in(folder: Path) -> Iterator[LogReader]:
    """The log in `folder`, while the block lasts. Raises UserError where it cannot be read."""
    try:
        with closing(open_log(folder)) as reader:
            found = reader.select("SELECT body ->> '$.layout' FROM log WHERE row = 1")
            if not found:
                raise UserError(f"{folder / FILE_NAME}: nothing is in it yet")
            if found[0][0] != LAYOUT:
                raise UserError(
                    f"{folder / FILE_NAME}: it has layout {found[0][0]}, this forestay reads layout {LAYOUT}"
                )
            yield reader
    except (apsw.Error, ValueError, LookupError) as error:
        raise UserError(f"{folder / FILE_NAME}: cannot be read: {error}; try `forestay journal verify`") from None


def pairs_in(reader: LogReader) -> list[str]:
    """The market's pairs, as far as the log knows them: those of its files, of every watchlist, of the last candles."""
    first = "SELECT key FROM json_each((SELECT body ->> '$.market.files' FROM log WHERE row = 1))"
    watched = "SELECT value FROM log, json_each(body, '$.config.watchlist') WHERE kind = 'config'"
    last = "SELECT body FROM log WHERE kind = 'round' ORDER BY row DESC LIMIT 1"
    ticks = [pair for (body,) in reader.select(last) for pair in from_json(body)["ticks"]]
    return sorted({*ticks, *(pair for (pair,) in reader.select(f"{first} UNION {watched}"))})


def known_pair(pair: str, pairs: Iterable[str]) -> str:
    """The pair, if it is one of these. Raises UserError."""
    if pair not in pairs:
        raise UserError(f"pair = {pair!r}: this market has {', '.join(pairs)}")
    return pair


def millis_given(name: str, text: str | None) -> int | None:
    """A time that a person typed, in ms. Raises UserError."""
    try:
        return None if text is None else to_millis(parse_time(text))
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None


def print_funnel(folder: Path, pair: str | None, begin: str | None, end: str | None, as_json: bool) -> None:
    """What became of the signals in the log, as a table or as JSON. Raises UserError."""
    since, until = millis_given("from", begin), millis_given("to", end)
    with log_in(folder) as reader:
        pairs = pairs_in(reader)
        found = funnel(reader, pairs if pair is None else [known_pair(pair, pairs)], since, until)
    click.echo(to_json(found.as_plain()).decode() if as_json else table(found))


_ENTRIES: Final = ("signals", *list(GATES.values())[:-1], "waiting", "filled")
_EXITS: Final = ("signals", "quotes_accepted", "waiting", "filled")


def table(found: Funnel) -> str:
    """For people: how many were left behind each gate, then every no."""
    plain = found.as_plain()
    ways = {"all": plain, **plain["pairs"]} if len(plain["pairs"]) > 1 else plain["pairs"]
    wide = max(len(name) for name in ways)
    lines = _rows("entries", wide, _ENTRIES, ways)
    lines += ["", *_rows("exits", wide, _EXITS, {name: way["exits"] for name, way in ways.items()})]
    entries, exits = plain["by_code"], plain["exits"]["by_code"]
    if entries or exits:
        codes = list(dict.fromkeys([*entries, *exits]))
        long = max(len("refused by"), *map(len, codes))
        lines += ["", f"{'refused by':<{long}}{'entries':>10}{'exits':>10}"]
        lines += [f"{code:<{long}}{entries.get(code, 0):>10,}{exits.get(code, 0):>10,}" for code in codes]
    if plain["signals"] == 0:
        lines += ["", "No entry signal. `forestay why PAIR` says what the strategy sees."]
    return "\n".join(lines)


def _rows(name: str, wide: int, columns: Sequence[str], ways: dict[str, dict[str, Any]]) -> list[str]:
    wide = max(wide, len(name))
    heads = f"{name:<{wide}}" + "".join(f"  {column:>8}" for column in columns)
    cells = ["".join(f"  {way[column]:>{max(8, len(column))},}" for column in columns) for way in ways.values()]
    return [heads, *(f"{label:<{wide}}{row}" for label, row in zip(ways, cells, strict=True))]
