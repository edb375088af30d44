"""No signal, or a signal and no trade: why? One decision, looked at again.

The log's rows up to a round are folded by the floors' own rules, so what is shown is what they saw: the pair's view
with this candle, the config in force, and book and risk state as they stood when the pair's turn came.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import click
from attrs import define, frozen

from actors.executor import book as books
from actors.executor.book import Book, Position
from actors.executor.fills import evidence
from actors.journal.store import MAKER, Checkpoint, LogReader
from actors.quote_verifier.verify import verify
from actors.risk_engine import state as risks
from actors.risk_engine.rules import checks
from actors.risk_engine.state import RiskState, traded
from actors.strategist.conduct import intent
from actors.strategist.memory import Memory, Mind
from actors.strategist.signals import EDGE_CANDLES, PairView, Test, expected_edge, round_trip, too_dear
from protocol.answers import RiskCheck, RuleCheck
from protocol.codec import decode_row, from_json, from_plain, to_json, to_plain
from protocol.errors import UserError
from protocol.events import ConfigAdopted, Decided, JournalEntry, OrderPlaced, QuoteRejected, RoundSettled, Row, Trade
from protocol.market import Candle
from protocol.money import PCT, booked
from protocol.orders import Order, Side, named
from protocol.settings import AgentConfig
from protocol.strategy import INDICATORS, Condition
from protocol.times import EPOCH, from_millis, from_wire, to_millis, to_wire
from server.funnel import gate_of, known_pair, log_in, millis_given, pairs_in
from server.why_told import told, verdict

READ_ROWS: Final = 5_000
ENTRIES_IN_A_TURN: Final = 1_000
_ROUND: Final = '{"fact":"round"'
_FOLDED: Final = tuple({row.kind for row in (RoundSettled, *risks.FOLDED, *books.FOLDED)} - {"snapshot"})
_PAIR_IN: Final = {Decided.kind: "$.pair", Trade.kind: "$.pair", OrderPlaced.kind: "$.order.pair"}  # of outcomes
Outcome = Decided | Trade | OrderPlaced


# The paper book is what is looked at. Live follows its decisions, and can say no to them for reasons of its own.
_LAST_NO: Final = """
SELECT body ->> '$.pair', ts FROM log WHERE kind = 'decided' AND body ->> '$.phase' IS NOT 'live' AND row < ?
ORDER BY row DESC LIMIT 1
"""


def print_why(folder: Path, pair: str | None, at: str | None, as_json: bool) -> None:
    """Say why, for people or as JSON; without a pair, of the last signal that did not trade. Raises UserError."""
    latest = millis_given("at", at)
    with log_in(folder) as reader:
        if pair is not None:
            known_pair(pair, pairs_in(reader))
        found = explained(reader, pair, latest)
    click.echo(to_json(found).decode() if as_json else told(found))


def _behind(reader: LogReader, latest: int | None) -> int:
    """The row after all those up to `latest`."""
    return reader.head().row + 1 if latest is None else reader.first_row_at(latest + 1)


def _last_no(reader: LogReader, latest: int | None) -> tuple[str, int]:
    """The pair and time (ms) of the last signal at or before `latest` that did not trade. Raises UserError."""
    found = reader.select(_LAST_NO, (_behind(reader, latest),))
    if not found:
        raise UserError("no signal was refused yet; `forestay why PAIR` says what a pair waits for")
    [(pair, at)] = found
    return pair, at


def explained(reader: LogReader, pair: str | None, latest: int | None) -> dict[str, Any]:
    """The pair's last round at or before `latest` (ms; None: the newest) as plain data; without a pair that of the last
    signal that did not trade. Raises UserError where there is none."""
    if pair is None:
        pair, latest = _last_no(reader, latest)
    moment = _moment(reader, pair, _round_row(reader, pair, latest))
    facts = _Asked(reader, moment).facts() | _became(reader, moment)
    return {"verdict": verdict(facts), **facts}


# --- the state, folded


@define
class _State:
    """What decides, after row `row`."""

    row: int
    memory: Memory
    risk: RiskState
    book: Book

    def take(self, row: int, value: Row) -> None:
        self.row = row
        self.risk = risks.evolve(self.risk, value)
        self.book = books.evolve(self.book, value)
        if isinstance(value, ConfigAdopted | RoundSettled):  # all that a view follows
            self.memory.fold(value)


@frozen
class _Moment:
    """A pair's turn in a round. The view has seen the candle; `book` and `risk` are as when the pair was decided.
    `first` is the row that the round's turn begins with, `row` the one that ends it; `fill` is what ended the pair's
    waiting order at the candle's open, `outcome` what the decision ended in, each with its row; `live_no` is what kept
    the live book from following; `passed_over` is told where the round was skipped."""

    pair: str
    first: int
    row: int
    round: RoundSettled
    view: PairView
    config: AgentConfig
    risk: RiskState
    book: Book
    fill: tuple[int, Outcome] | None
    outcome: tuple[int, Outcome] | None
    live_no: Decided | None
    passed_over: str | None


_ROUND_BEFORE: Final = """
SELECT row FROM log WHERE kind = 'round' AND row < ? AND json_type(body, ?) IS NOT NULL ORDER BY row DESC LIMIT 1
"""
_ROUND_FROM: Final = """
SELECT row, ts FROM log WHERE kind = 'round' AND row >= ? AND json_type(body, ?) IS NOT NULL ORDER BY row LIMIT 1
"""
_CANDLES: Final = """
SELECT count(*) FROM log WHERE kind = 'round' AND row > ? AND row <= ? AND json_type(body, ?) IS NOT NULL
"""


def _round_row(reader: LogReader, pair: str, latest: int | None) -> int:
    """The row of the last round up to `latest` that has a candle of the pair."""
    behind = _behind(reader, latest)
    found = reader.select(_ROUND_BEFORE, (behind, f'$.ticks."{pair}"'))
    if found:
        return int(found[0][0])
    later = reader.select(_ROUND_FROM, (behind, f'$.ticks."{pair}"'))
    if latest is None or not later:
        raise UserError(f"the log has no candle of {pair} yet")
    asked, first = to_wire(from_millis(latest)), to_wire(from_millis(later[0][1]))
    raise UserError(f"at = {asked}: the log's first candle of {pair} closed at {first}")


def _state_before(reader: LogReader, pair: str, row: int) -> _State:
    """What the rows before `row` have led to. Of the views, only the pair's is kept up."""
    state = _thawed(reader.latest_checkpoint(MAKER), row) or _State(0, Memory(Mind(EPOCH), {}), RiskState(), Book())
    while found := reader.bodies(state.row, _FOLDED, READ_ROWS):
        for number, body in found:
            if number >= row:
                return state
            state.take(number, _decoded(body, pair))
    return state


def _thawed(checkpoint: Checkpoint | None, row: int) -> _State | None:
    """It is only a cache, of a state that may be later than what is asked for: where it is of no use, all is folded."""
    if checkpoint is None or checkpoint.row >= row:
        return None
    states = checkpoint.states
    try:
        memory, risk = Memory.thawed(states["Strategist"]), from_plain(states["RiskEngine"], RiskState)
        return _State(checkpoint.row, memory, risk, from_plain(states["Executor"]["book"], Book))
    except Exception:
        return None


def _decoded(body: str, pair: str) -> Row:
    """The row; of a round's candles only the pair's, since reading them is most of the work."""
    if not body.startswith(_ROUND):
        return decode_row(body)
    plain = from_json(body)
    plain["ticks"] = {name: tick for name, tick in plain["ticks"].items() if name == pair}
    return from_plain(plain, RoundSettled)


def _moment(reader: LogReader, pair: str, row: int) -> _Moment:
    """Take the round's turn up to the pair, in the conductor's order: orders that waited are filled at the opens, then
    the pairs are decided by name at the closes."""
    settled = decode_row(reader.select("SELECT body FROM log WHERE row = ?", (row,))[0][0])
    assert isinstance(settled, RoundSettled), "a round's row is its settlement"
    first = reader.first_row_at(to_millis(settled.ts))
    state = _state_before(reader, pair, first)
    state.memory.fold(settled)
    waited, book, passed_over = state.book.placed, state.book, None
    ended: dict[str, tuple[int, Outcome]] = {}
    decided: dict[str, tuple[int, Outcome]] = {}
    live_no: Decided | None = None
    for number, _, kind, body in reader.rows(first - 1, row - first):
        if kind in _PAIR_IN:
            name, value = _outcome_in(body)
            if _is_live(value):
                live_no = value if isinstance(value, Decided) and name == pair else live_no
                continue
            (ended if name in waited and name not in ended else decided)[name] = number, value
        elif kind == "journal_entry" and "crash" in (entry := from_json(body))["tags"]:
            passed_over = entry["text"]
    for _, value in ended.values():
        book = books.evolve(book, value)
    book = book.marked({name: tick.candle.close for name, tick in settled.ticks.items()}, settled.ts)
    names = list(settled.ticks)
    earlier = [decided[name] for name in names[: names.index(pair)] if name in decided]
    for _, value in earlier:
        book = books.evolve(book, value)
    risk = traded(state.risk, [value for _, value in (*ended.values(), *earlier) if isinstance(value, Trade)])
    return _Moment(
        pair, first, row, settled, state.memory.views[pair], state.memory.config, risk, book, ended.get(pair),
        decided.get(pair), live_no, passed_over,
    )  # fmt: skip


def _is_live(value: Outcome) -> bool:
    return not isinstance(value, OrderPlaced) and value.phase == "live"


def _outcome_in(body: str) -> tuple[str, Outcome]:
    """An outcome with its pair."""
    value = decode_row(body)
    assert isinstance(value, Outcome), "only outcomes are asked for"
    return value.order.pair if isinstance(value, OrderPlaced) else value.pair, value


# --- what was asked then, and what each gate says to it


@define(slots=False)
class _Asked:
    """Everything that decides, as it stood: of a pair that is held what would sell it, else what would buy it."""

    reader: LogReader
    moment: _Moment

    def facts(self) -> dict[str, Any]:
        now, view, config = self.moment, self.moment.view, self.moment.config
        pair, at, candle, held = now.pair, now.round.ts, self._candle, now.book.positions.get(now.pair)
        side: Side = "sell" if held else "buy"
        reason = None if now.passed_over else intent(pair, candle, view, config, now.book)
        signal = view.exit if held else view.entry
        size = now.book.worth(pair) if held else self._entry_size()
        order = Order(named("ord", at, pair, side), pair, side, size, held.qty if held else None, reason or "")
        return {
            "pair": pair, "at": to_wire(at), "close": candle.close,
            "config_version": now.risk.version, "strategy": config.strategy.spec.name,
            "watched": pair in config.watchlist, "passed_over": now.passed_over,
            "status": _status(now.book, pair), "side": side,
            "signal": None if reason is None else {"reason": reason, "order_ref": order.ref},
            "conditions": {"join": "all" if signal.needs_all else "any", "met": signal.met(view.now, view.before),
                           "of": [self._line(*condition) for condition in signal.conditions]},
            "exits": self._exits(held) if held else [],
            "regime": None if held else self._regime(),
            "fees": None if held else self._fees(size),
            "quote": self._quote(order),
            "risk": None if held else {"size": size, **to_plain(risk_check(now.risk, now.book, order, at))},
        }  # fmt: skip

    @property
    def _candle(self) -> Candle:
        return self.moment.round.ticks[self.moment.pair].candle

    def _entry_size(self) -> Decimal:
        return booked(self.moment.book.equity * self.moment.config.strategy.spec.params.position_size_pct * PCT)

    def _line(self, condition: Condition, slot: int, test: Test) -> dict[str, Any]:
        now, before = self.moment.view.now, self.moment.view.before
        crosses = {"before": before[slot]} if condition.op.startswith("crosses") else {}
        return {
            "condition": condition.key, "value": now[slot], **crosses, "op": condition.op, "wanted": condition.value,
            "held": test(now, before), **self._warmth(now[slot], None if condition.name else needed(condition)),
        }  # fmt: skip

    def _warmth(self, value: float | None, candles: int | None) -> dict[str, Any]:
        """From which candle on there is a value, and how many there were where there is none."""
        return {"needs": candles, "seen": self._seen if value is None and candles is not None else None}

    @cached_property
    def _seen(self) -> int:
        """The pair's candles since its view began: with the log, or with the last other strategy document."""
        begun, known, reader = 0, None, self.reader
        for row, body in reader.bodies(0, (ConfigAdopted.kind,), READ_ROWS):
            spec = from_json(body)["config"]["strategy"]["spec"]
            if row < self.moment.first and spec != known:
                begun, known = row, spec
        found = reader.select(_CANDLES, (begun, self.moment.row, f'$.ticks."{self.moment.pair}"'))
        return int(found[0][0])

    def _exits(self, held: Position) -> list[dict[str, Any]]:
        """The exits beside the signal that the strategy has, fractions measured from the entry's price."""
        params, gain = self.moment.config.strategy.spec.params, self._candle.close / held.entry_price - 1
        hours = Decimal((self._candle.ts - held.opened_at) // timedelta(milliseconds=1)) / 3_600_000
        stop, target, longest = params.stop_loss_pct, params.take_profit_pct, params.max_hold_hours
        found = (
            ("stop_loss", gain, "<=", None if stop is None else -stop * PCT),
            ("take_profit", gain, ">=", None if target is None else target * PCT),
            ("max_hold_hours", hours, ">=", longest),
        )
        return [
            {"condition": name, "value": booked(value), "op": op, "wanted": wanted,
             "held": value <= wanted if op == "<=" else value >= wanted}
            for name, value, op, wanted in found if wanted is not None
        ]  # fmt: skip

    def _regime(self) -> dict[str, Any]:
        lines = [self._line(*condition) for condition in self.moment.view.regime]
        return {"stands_aside": any(line["held"] for line in lines), "of": lines}

    def _fees(self, size: Decimal) -> dict[str, Any]:
        config, view = self.moment.config, self.moment.view
        multiple, no = config.strategy.fee_multiple, too_dear(view, config, size)
        cost = round_trip(config, size) if size > 0 else None
        return {
            "edge": booked(expected_edge(view.swing)), "wanted": None if cost is None else booked(multiple * cost),
            "multiple": multiple, "cost": None if cost is None else booked(cost), "passes": no is None,
            "reason": no.reason if no else None, **self._warmth(view.swing, EDGE_CANDLES + 1),
        }  # fmt: skip

    def _quote(self, order: Order) -> dict[str, Any]:
        """What the verifier says to an order of that size."""
        now = self.moment
        found = verify(order, now.round.ticks[now.pair], now.config, now.round.ts)
        if isinstance(found, QuoteRejected):
            plain = {"code": found.code, "reason": found.detail, "measured": found.measured, "limit": found.limit}
            return {"accepted": False, "size": order.size_usdt, **plain}
        return {"accepted": True, "size": order.size_usdt, **evidence(found)}


def needed(condition: Condition) -> int:
    """The candle from which on the condition's indicator has a value.

    >>> needed(Condition("rsi", "<=", 25, 14)), needed(Condition("ema_cross", ">", 0, fast=12, slow=26))
    (15, 26)
    """
    name, _, more = INDICATORS[condition.indicator].warm.partition(" + ")
    return (int(name) if name.isdigit() else int(getattr(condition, name))) + int(more or 0)


def _status(book: Book, pair: str) -> dict[str, Any]:
    held, placed = book.positions.get(pair), book.placed.get(pair)
    if placed is not None:
        order = placed.order
        return {"state": "waiting", "since": to_wire(placed.ts), "side": order.side, "size": order.size_usdt}
    if held is None:
        return {"state": "flat"}
    return {"state": "held", "since": to_wire(held.opened_at), "entry_price": held.entry_price, "qty": held.qty,
            "cost": held.cost, "value": book.worth(pair)}  # fmt: skip


def risk_check(state: RiskState, book: Book, order: Order, at: datetime) -> RiskCheck:
    """What every rule says to this order, and the first that objects."""
    found = tuple(
        RuleCheck(
            check.rule, check.measured, check.limit, check.reason is None,
            None if check.headroom is None else booked(check.headroom * 100), check.reason,
            check.until if check.until and check.reason else None,
        )
        for check in checks(state, order, book, at)
    )  # fmt: skip
    no = next((check for check in found if not check.passes), None)
    return RiskCheck(no is None, no.rule if no else None, no.reason if no else None, at, found)


# --- what became of it


def _became(reader: LogReader, moment: _Moment) -> dict[str, Any]:
    fill, outcome = moment.fill, moment.outcome
    return {
        "fill": _told_outcome(reader, *fill) if fill else None,
        "outcome": _told_outcome(reader, *outcome) if outcome else None,
        "live_no": _live_told(reader, moment.live_no) if moment.live_no else None,
        "last_signal": None if outcome else _last_signal(reader, moment.pair, moment.first),
    }


def _live_told(reader: LogReader, no: Decided) -> dict[str, Any]:
    entry = _entry(reader, to_wire(no.ts), no.entry) if no.entry else None
    return {"side": no.side, "code": no.code, "text": entry["text"] if entry else None}


def _told_outcome(reader: LogReader, row: int, value: Outcome) -> dict[str, Any]:
    """An outcome with the journal entry that tells it; of an order that waits, what became of that."""
    at = to_wire(value.ts)
    if isinstance(value, OrderPlaced):
        order, ended = value.order, _next(reader, value.order.pair, row)
        return {"what": "placed", "at": at, "side": order.side, "size": order.size_usdt, "reason": order.reason,
                "quote": evidence(value.quote), "then": _told_outcome(reader, *ended) if ended else None}  # fmt: skip
    before = _latest(reader, value.pair, row)
    placed_at = to_wire(before[1].ts) if before and isinstance(before[1], OrderPlaced) else None
    base = {"at": at, "side": value.side, "placed_at": placed_at}
    if isinstance(value, Trade):
        return {"what": "filled", **base, "trade": to_plain(value), "entry": _entry(reader, at, value.journal_ref)}
    told_at, name, repeat = (at, value.entry, None) if value.entry else _repeated(reader, value.pair, row)
    gate = "fill" if placed_at else gate_of(value.code)
    return {"what": "refused", **base, "code": value.code, "gate": gate, "repeat": repeat,
            "entry": _entry(reader, told_at, name)}  # fmt: skip


def _repeated(reader: LogReader, pair: str, row: int) -> tuple[str, str, dict[str, Any]]:
    """When the decision was told that this one repeats, and its entry; then the how manieth this is, and of how many by
    now."""
    first, ts, entry = reader.select(_FIRST_TOLD, (pair, row))[0]
    behind = reader.select(_NEXT_TOLD, (pair, row))[0][0] or reader.head().row + 1
    number, times = (reader.select(_DECIDED, (pair, first, end))[0][0] for end in (row + 1, behind))
    at = to_wire(from_millis(ts))
    return at, entry, {"first_at": at, "number": number, "times": times}


def _entry(reader: LogReader, at: str, name: str) -> dict[str, Any] | None:
    """The entry of that id, out of that time's turn."""
    first = reader.first_row_at(to_millis(from_wire(at)))
    bodies = (from_json(body) for _, body in reader.bodies(first - 1, (JournalEntry.kind,), ENTRIES_IN_A_TURN))
    return next((entry for entry in bodies if entry["id"] == name), None)


# The decisions of a pair that were told, and those that were only counted.
_FIRST_TOLD: Final = """
SELECT row, ts, body ->> '$.entry' FROM log WHERE kind = 'decided' AND body ->> '$.phase' IS NOT 'live'
AND body ->> '$.pair' = ? AND row < ?
AND body ->> '$.entry' IS NOT NULL ORDER BY row DESC LIMIT 1
"""
_NEXT_TOLD: Final = """
SELECT min(row) FROM log WHERE kind = 'decided' AND body ->> '$.phase' IS NOT 'live'
AND body ->> '$.pair' = ? AND row > ?
AND body ->> '$.entry' IS NOT NULL
"""
_DECIDED: Final = """
SELECT count(*) FROM log WHERE kind = 'decided' AND body ->> '$.phase' IS NOT 'live'
AND body ->> '$.pair' = ? AND row >= ? AND row < ?
"""
_NEAREST_BEFORE: Final = """
SELECT row, body FROM log WHERE kind = ? AND body ->> '$.phase' IS NOT 'live'
AND body ->> ? = ? AND row < ? ORDER BY row DESC LIMIT 1
"""
_NEAREST_AFTER: Final = """
SELECT row, body FROM log WHERE kind = ? AND body ->> '$.phase' IS NOT 'live'
AND body ->> ? = ? AND row > ? ORDER BY row LIMIT 1
"""


def _last_signal(reader: LogReader, pair: str, row: int) -> dict[str, Any] | None:
    """The pair's last decision before `row`, and what became of it."""
    found = _latest(reader, pair, row)
    if found is None:
        return None
    outcome = _told_outcome(reader, *found)
    return {"at": outcome.get("placed_at") or outcome["at"], "side": outcome["side"], "outcome": outcome}


def _latest(reader: LogReader, pair: str, row: int) -> tuple[int, Outcome] | None:
    """The pair's last outcome before `row`."""
    return max(_nearest(reader, _NEAREST_BEFORE, pair, row), key=lambda found: found[0], default=None)


def _next(reader: LogReader, pair: str, row: int) -> tuple[int, Outcome] | None:
    """The pair's first outcome after `row`."""
    return min(_nearest(reader, _NEAREST_AFTER, pair, row), key=lambda found: found[0], default=None)


def _nearest(reader: LogReader, query: str, pair: str, row: int) -> list[tuple[int, Outcome]]:
    """Of each kind the pair's nearest."""
    found = [reader.select(query, (kind, path, pair, row)) for kind, path in _PAIR_IN.items()]
    return [(rows[0][0], _outcome_in(rows[0][1])[1]) for rows in found if rows]
