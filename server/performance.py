"""How a book does: quick figures over any time, and each config version's own record. Counted in the log.

The definitions are the backtest report's. What they need of the market's middle at each fill is in the verified quote
that the trade's journal entry carries as evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from attrs import define, field, frozen

from actors.journal.store import LogReader
from protocol.answers import ConfigVersion, Performance
from protocol.codec import decode_row
from protocol.events import ConfigAdopted
from protocol.money import BPS, ZERO, booked
from protocol.orders import Phase
from protocol.times import from_millis, from_wire, to_millis
from server.backtesting.metrics import WonAndLost, change, exposure

_EXECUTION: Final = """
trade.ts, trade.body ->> '$.pair', trade.body ->> '$.side', trade.body -> '$.size', trade.body -> '$.price',
trade.body -> '$.qty', trade.body -> '$.fees', trade.body -> '$.pnl', trade.body ->> '$.hold_s',
trade.body ->> '$.filled_at'
"""
# Trades, each with the middle of its quote: out of the entry that tells it, which is the row before.
_TRADES: Final = f"""
SELECT {_EXECUTION}, entry.body -> '$.data.quote.mid' FROM log AS trade
LEFT JOIN log AS entry ON entry.row = trade.row - 1 AND entry.body ->> '$.id' = trade.body ->> '$.journal_ref'
WHERE trade.kind = 'trade' AND trade.row >= ? AND trade.row < ? AND trade.body ->> '$.phase' = ? ORDER BY trade.row
"""  # noqa: S608 - our own words
_LAST_TRADE: Final = f"""
SELECT {_EXECUTION}, NULL FROM log AS trade
WHERE kind = 'trade' AND row < ? AND body ->> '$.phase' = ? AND body ->> '$.pair' = ? ORDER BY row DESC LIMIT 1
"""  # noqa: S608
# What a book is worth is written down as it is opened, and at its marks; a mark that names no phase is paper's.
_OPENING: Final = {"paper": "run_started", "live": "live_opened"}
_WORTH: Final = """
SELECT row, ts, body -> '$.equity', body -> '$.before' FROM log WHERE kind = ? AND row >= ? AND row < ?
"""
_MARKED: Final = "AND ifnull(body ->> '$.phase', 'paper') = ?"


@frozen
class Worth:
    """What a book was worth as of a row; where money went in or out, `before` is what it was worth just before."""

    row: int
    at: datetime
    equity: Decimal
    before: Decimal | None


@frozen
class Execution:
    """A trade. `opened_at` is of the position that it closes, `mid` the middle of its quote, None where that is
    unknown."""

    at: datetime
    pair: str
    side: str
    size: Decimal
    price: Decimal
    qty: Decimal
    fees: Decimal
    pnl: Decimal | None
    opened_at: datetime | None
    mid: Decimal | None


@define
class Tally:
    """What is added up of a book's trades from one row on, up to before row `behind`. `begins` is the first time that
    counts, `held` are the positions that are open and since when."""

    behind: int
    begins: datetime
    held: dict[str, datetime]
    executions: int = 0
    closed: WonAndLost = field(factory=WonAndLost)
    fees: Decimal = ZERO
    traded: Decimal = ZERO  # where the middle is known
    slippage: Decimal = ZERO
    held_time: timedelta = timedelta()

    def add(self, done: Execution) -> None:
        self.executions += 1
        self.fees += done.fees
        if done.mid is not None:
            lost = (done.price - done.mid) * done.qty  # the impact included
            self.slippage += lost if done.side == "buy" else -lost
            self.traded += done.size
        if done.pnl is not None:
            self.closed.add(done.pnl)
        if done.opened_at is None:
            self.held[done.pair] = done.at
        else:
            self.held.pop(done.pair, None)
            self.held_time += done.at - max(done.opened_at, self.begins)

    def held_seconds(self, ends: datetime) -> float:
        """By all pairs together, up to `ends`."""
        still = (max(ends - max(at, self.begins), timedelta()) for at in self.held.values())
        return (self.held_time + sum(still, timedelta())).total_seconds()


@define
class Counted:
    """The figures of one log. What was added up once is kept, where it is asked for again and again: all of a book, and
    each version's part. Blocking: for one reader's thread."""

    reader: LogReader
    pairs: Sequence[str]
    _kept: dict[tuple[Phase, int], Tally] = field(factory=dict)

    def performance(self, phase: Phase, since: datetime | None, until: datetime | None) -> Performance:
        """The figures of a book from `since`, inclusive, to `until`, exclusive."""
        head = self.reader.head()
        first = 1 if since is None else self.reader.first_row_at(to_millis(since))
        behind = head.row + 1 if until is None else min(self.reader.first_row_at(to_millis(until)), head.row + 1)
        kept = since is None and until is None
        found = self._performed(phase, head.seq, (first, behind), (since, until), kept=kept)
        return found or Performance.nothing(head.seq, phase, since, until)

    def versions(self, phase: Phase) -> tuple[int, list[ConfigVersion]]:
        """Every version with its record, and the log position that they reflect."""
        head = self.reader.head()
        found = [(row, _adopted(body)) for row, body in self.reader.configs() if row <= head.row]
        ends = [*((row, config.ts) for row, config in found[1:]), (head.row + 1, None)]
        return head.seq, [
            ConfigVersion(
                self.reader.seq_at(row), config.version, config.ts, config.config,
                self._performed(phase, head.seq, (row, behind), (config.ts, until), kept=True),
            )
            for (row, config), (behind, until) in zip(found, ends, strict=True)
        ]  # fmt: skip

    def _performed(
        self,
        phase: Phase,
        seq: int,
        rows: tuple[int, int],
        times: tuple[datetime | None, datetime | None],
        *,
        kept: bool,
    ) -> Performance | None:
        """The figures out of the rows from the first to before the second; None where the book was not open yet."""
        (first, behind), (since, until) = rows, times
        start = self._worth(phase, 1, first) or self._opened(phase, first, behind)
        if start is None:
            return None
        end = self._worth(phase, first, behind) or start
        begins = start.at if since is None else max(since, start.at)
        tally = self._kept.pop((phase, first), None) if kept else None
        if tally is None:
            tally = Tally(first, begins, self._held_before(phase, first))
        for row in self.reader.each(_TRADES, (tally.behind, behind, phase)):
            tally.add(_execution(row))
        tally.behind = max(tally.behind, behind)
        if kept:  # only now: where the disk fails in the midst, all is counted again
            self._kept[phase, first] = tally
        closed, traded, lost = tally.closed, tally.traded, tally.slippage
        return Performance(
            seq=seq,
            phase=phase,
            from_=since,
            to=until,
            initial=start.equity,
            final=end.equity,
            return_=self._return(phase, start, end),
            trades=closed.trades,
            executions=tally.executions,
            win_rate=closed.win_rate,
            average_win=closed.average_win,
            average_loss=closed.average_loss,
            expectancy=closed.expectancy,
            fees=booked(tally.fees),
            slippage=booked(lost),
            slippage_bps=booked(lost / traded / BPS) if traded else None,
            exposure=exposure(tally.held_seconds(end.at), end.at - begins),
        )

    # --- what the book was worth

    def _worth(self, phase: Phase, first: int, behind: int) -> Worth | None:
        """The last that was written down in these rows."""
        opening = self._select(f"{_WORTH} ORDER BY row DESC LIMIT 1", _OPENING[phase], 1, behind)
        if not opening:
            return None  # it was not open yet
        after = max(first, opening[0].row) if phase == "live" else first  # before a new opening it stands still
        marks = self._select(f"{_WORTH} {_MARKED} ORDER BY row DESC LIMIT 1", "mark", after, behind, phase)
        return max((it for it in (*opening, *marks) if it.row >= first), key=lambda it: it.row, default=None)

    def _opened(self, phase: Phase, first: int, behind: int) -> Worth | None:
        """As it was opened first in these rows."""
        found = self._select(f"{_WORTH} ORDER BY row LIMIT 1", _OPENING[phase], first, behind)
        return found[0] if found else None

    def _return(self, phase: Phase, start: Worth, end: Worth) -> Decimal | None:
        """From one to the other, as a fraction; what was paid in or taken out between is no gain and no loss."""
        grown, level = Decimal(1), start.equity
        if phase == "live":
            for opened in self._select(f"{_WORTH} ORDER BY row", _OPENING[phase], start.row + 1, end.row + 1):
                if level > 0 and opened.before is not None:
                    grown *= opened.before / level
                level = opened.equity
        found = change(level, end.equity)
        return None if found is None else booked(grown * (1 + found) - 1)

    def _select(self, query: str, *values: Any) -> list[Worth]:
        return [
            Worth(row, from_millis(ts), Decimal(equity), None if before is None else Decimal(before))
            for row, ts, equity, before in self.reader.select(query, values)
        ]

    def _held_before(self, phase: Phase, row: int) -> dict[str, datetime]:
        """The positions that were open before this row, and since when."""
        if not self.reader.select("SELECT 1 FROM log WHERE kind = 'trade' AND row < ? LIMIT 1", (row,)):
            return {}
        last = [_execution(it) for pair in self.pairs for it in self.reader.select(_LAST_TRADE, (row, phase, pair))]
        return {it.pair: it.at for it in last if it.opened_at is None}


def _adopted(body: str) -> ConfigAdopted:
    row = decode_row(body)
    assert isinstance(row, ConfigAdopted), "only those were asked for"
    return row


def _execution(row: Sequence[Any]) -> Execution:
    ts, pair, side, size, price, qty, fees, pnl, hold_s, filled_at, mid = row
    at = from_wire(filled_at) if filled_at else from_millis(ts)
    return Execution(
        at, pair, side, Decimal(size), Decimal(price), Decimal(qty), Decimal(fees),
        None if pnl in (None, "null") else Decimal(pnl),
        None if hold_s is None else at - timedelta(seconds=hold_s),
        None if mid is None else Decimal(mid),
    )  # fmt: skip
