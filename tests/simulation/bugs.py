"""Bugs planted by somebody who knows the checks: one for each way in which they look. `bugs_blind` has the others."""

from __future__ import annotations

from typing import Final

from tests.simulation.planted import Bug

BUGS: Final[tuple[Bug, ...]] = (
    Bug(
        "wal-is-believed-as-it-is-found",
        "7",
        "actors/journal/store.py",
        '            _write_again(f"{path}-wal", vfs)  # SQLite looks into it at the first statement, not before\n',
        "",
        "SQLite recovers a WAL by itself. Seen when an fsync fails, or the process is killed between write and sync, "
        "the rows are shown after reopening, and the power goes.",
    ),
    Bug(
        "peak-is-not-in-the-checkpoint",
        "22",
        "actors/risk_engine/actor.py",
        "thaw=lambda plain: from_plain(plain, RiskState),",
        'thaw=lambda plain: from_plain({**plain, "paper": {**plain["paper"], "peak": plain["paper"]["equity"]}}, '
        "RiskState),",
        "A peak was taken for something to be measured. Seen when a checkpoint is restored below the peak.",
    ),
    Bug(
        "waiting-orders-are-not-in-the-checkpoint",
        "29",
        "actors/executor/actor.py",
        "                return to_plain(self._desk.settled)",
        "                plain = to_plain(self._desk.settled)\n"
        '                return {**plain, "book": {**plain["book"], "placed": {}}}',
        "An order that waits seemed to be a matter of the moment. Seen when a checkpoint is restored while one waits.",
    ),
    Bug(
        "snapshot-in-another-transaction",
        "3",
        "actors/executor/actor.py",
        "            self._append(asked.turn, snapshot(assessed.risk, book, asked.round.ts))",
        "            row = snapshot(assessed.risk, book, asked.round.ts)\n"
        "            self._journal.tell(Append(Turn(asked.turn.journal), (row,)))\n            self._fold(row)",
        "A snapshot decides nothing, so it need not wait for the turn. Seen at once: the turn of the round is dropped.",
    ),
    Bug(
        "fees-are-forgotten-at-the-exit",
        "34",
        "actors/executor/book.py",
        "        cash = booked(book.cash + trade.size - trade.fees)",
        "        cash = booked(book.cash + trade.size)",
        "The pnl has them, the cash has not. Seen at the first exit.",
    ),
    Bug(
        "ties-are-rounded-up",
        "34",
        "protocol/money.py",
        "    return amount.quantize(PLACES, ROUND_HALF_EVEN).normalize() + ZERO",
        '    return amount.quantize(PLACES, "ROUND_UP").normalize() + ZERO',
        "A rounding mode that was thought to be on the safe side. Seen at the first amount with more places.",
    ),
    Bug(
        "limit-must-be-passed-not-reached",
        "22",
        "actors/risk_engine/state.py",
        "        reached = fallen >= limit and not risk.off",
        "        reached = fallen > limit + limit / 50 and not risk.off",
        "A tolerance of a fiftieth. Seen when a day's drawdown ends up between the limit and that.",
    ),
    Bug(
        "cooldown-begins-at-the-mark",
        "19",
        "actors/risk_engine/state.py",
        "    return Block(at + timedelta(hours=risk.cooldown_hours), ",
        "    return Block(at + timedelta(hours=risk.cooldown_hours - 1), ",
        "Off by one candle. Seen when an entry falls into the last hour of a cooldown, or is vetoed within it.",
    ),
    Bug(
        "expectancy-of-nothing-is-enough",
        "14",
        "actors/risk_engine/evaluation.py",
        "    if run.closed_trades < config.trade_floor or run.pnl <= 0 or run.failed:",
        "    if run.closed_trades < config.trade_floor or run.failed:",
        "The floor was thought to be the criterion. Seen when a losing record is long enough.",
    ),
    Bug(
        "younger-floors-fall-last",
        "36",
        "actors/tower.py",
        "        younger.cancel()\n        self._settle_at_hand(index)",
        "        self._settle_at_hand(index)",
        "They fall anyway, once the older one has. Seen when that one is in the midst of a long commit, and one "
        "who waits for it loses its patience meanwhile: a death of its own.",
    ),
    Bug(
        "unreadable-disk-is-the-clients-fault",
        "6",
        "server/door/app.py",
        "    for kind in DISK_ERRORS:\n        app.register_error_handler(kind, unreadable)\n",
        "",
        "Reads were not thought of. Seen when a list is asked for while the disk is gone: a 500.",
    ),
)
