"""A backtest as it is asked for, and what comes of it: the whole period, and where wanted its two parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import dropwhile, takewhile
from typing import Any, Final, Protocol

from attrs import field, frozen

from actors.ports import Market
from protocol.codec import to_plain
from protocol.errors import UserError
from protocol.events import Event
from protocol.limits import between
from protocol.market import Round
from protocol.settings import AgentConfig
from server.backtesting.metrics import metrics
from server.backtesting.record import Gate, Record, RoundTrip
from server.backtesting.run import Rehearsal, nothing, rehearse
from server.boot import started

PRICES: Final = 20_000  # closes kept for drawing, over all pairs


class Past(Market, Protocol):
    """A market whose rounds can be had without waiting. `ends` is the time of its last one, None where it goes on."""

    @property
    def ends(self) -> datetime | None: ...

    def following(self, cursor: Any | None, /) -> Round | None: ...


@frozen
class Plan:
    """What to run: decided are the rounds with `begin` <= ts < `end`; earlier ones warm the indicators up. With
    `out_of_sample`, the last such part of the time is run once more by itself, and so is what is before it."""

    config: AgentConfig
    agent: str = "seed"
    begin: datetime | None = None
    end: datetime | None = None
    out_of_sample: float | None = field(default=None, validator=between(0.01, 0.99, optional=True))


@frozen
class Part:
    """One run over a stretch of time. `prices` are closes by pair, thinned."""

    name: str
    record: Record
    metrics: dict[str, Any]
    gate: Gate
    prices: dict[str, list[tuple[datetime, Any]]]


@frozen
class Progress:
    """How far it is: the part of the work that is done, and the market time that it has reached."""

    done: float
    at: datetime


Watch = Callable[[Progress], None]


@frozen
class _Stretch:
    """A part of the time: its bounds as asked for, and the rounds that are in it."""

    name: str
    begin: datetime | None
    end: datetime | None
    first: datetime
    last: datetime


def run(plan: Plan, market: Past, *, sink: Callable[[Event], None] = nothing, watch: Watch = nothing) -> list[Part]:
    """The whole period first, its events to `sink`; then in sample and out of sample. Raises UserError where there is
    nothing to decide."""
    first, last = _span(plan, market)
    whole = _Stretch("whole", plan.begin, plan.end, first, last)
    if plan.out_of_sample is None:
        return [_part(plan, market, whole, sink, watch)]
    split = last - (last - first) * plan.out_of_sample
    before = _Stretch("in sample", plan.begin, split, first, split)
    after = _Stretch("out of sample", split, plan.end, split, last)
    half = 1 - plan.out_of_sample / 2  # of the work: the whole period is one half, its two parts are the other
    return [
        _part(plan, market, whole, sink, _share(watch, 0, 0.5)),
        _part(plan, market, before, nothing, _share(watch, 0.5, half)),
        _part(plan, market, after, nothing, _share(watch, half, 1)),
    ]


def _share(watch: Watch, begin: float, end: float) -> Watch:
    """Progress from 0 to 1 as progress from `begin` to `end`."""
    return lambda progress: watch(Progress(begin + progress.done * (end - begin), progress.at))


def _part(plan: Plan, market: Past, stretch: _Stretch, sink: Callable[[Event], None], watch: Watch) -> Part:
    founded = market.begins if stretch.begin is None else stretch.begin
    entry = started(plan.agent, market.pinned["kind"], market.pairs).entry(founded, 0)
    rehearsal = Rehearsal(plan.config, market.pairs, founded, entry, sink)
    rounds = _until(stretch.end, _rounds(market))
    if stretch.begin is not None:
        rounds = _warmed(rehearsal, rounds, stretch.begin)
    prices: dict[str, list[tuple[datetime, Any]]] = {pair: [] for pair in market.pairs}
    span = max((stretch.last - stretch.first).total_seconds(), 1.0)
    expected = len(market.pairs) * span / market.interval.total_seconds()
    done = rehearse(
        rehearsal,
        plan.config,
        _kept(rounds, prices, int(expected / PRICES) + 1),
        lambda at: watch(Progress(min(1.0, (at - stretch.first).total_seconds() / span), at)),
    )
    return Part(stretch.name, done.record, metrics(done.record), done.gate, prices)


def _span(plan: Plan, market: Past) -> tuple[datetime, datetime]:
    """The time of the first and the last round that will be decided."""
    first = next((round for round in _rounds(market) if plan.begin is None or round.ts >= plan.begin), None)
    if first is None or (plan.end is not None and first.ts >= plan.end):
        raise UserError("from, to: the data have no candle in this time")
    ends = [time for time in (market.ends, plan.end) if time is not None]
    if not ends:
        raise UserError("to: this market has no end of its own")
    return first.ts, min(ends)


def _rounds(market: Past) -> Iterator[Round]:
    cursor = None
    while (round := market.following(cursor)) is not None:
        cursor = round.cursor
        yield round


def _until(end: datetime | None, rounds: Iterator[Round]) -> Iterator[Round]:
    return rounds if end is None else takewhile(lambda round: round.ts < end, rounds)


def _warmed(rehearsal: Rehearsal, rounds: Iterator[Round], begin: datetime) -> Iterator[Round]:
    """The rounds from `begin` on; those before are only seen."""

    def before(round: Round) -> bool:
        if round.ts >= begin:
            return False
        rehearsal.warm(round)
        return True

    return dropwhile(before, rounds)


def _kept(rounds: Iterator[Round], prices: dict[str, list[tuple[datetime, Any]]], step: int) -> Iterator[Round]:
    """Keep every `step`-th close on the way."""
    for number, round in enumerate(rounds):
        if number % step == 0:
            for pair, tick in round.ticks.items():
                prices[pair].append((round.ts, tick.candle.close))
        yield round


def as_plain(parts: list[Part]) -> dict[str, Any]:
    """The result as JSON: `metrics`, `gate` and `trades` of the whole period, and each part's figures beside it."""
    whole, *others = parts
    result: dict[str, Any] = {
        "metrics": whole.metrics,
        "gate": gate_as_plain(whole.gate),
        "trades": [trip_as_plain(trip) for trip in whole.record.trips],
    }
    for part in others:
        result[part.name.replace(" ", "_")] = {"metrics": part.metrics, "gate": gate_as_plain(part.gate)}
    return result


def gate_as_plain(gate: Gate) -> dict[str, Any]:
    window = {
        "rule": "eval_window_days",
        "current": gate.window_days_elapsed,
        "limit": gate.eval_window_days,
        "met": gate.window_days_elapsed >= gate.eval_window_days,
    }
    criteria = [
        {"rule": found.rule, "current": found.current, "limit": found.limit, "met": found.met}
        for found in gate.criteria
    ]
    return {"passed_gate": gate.passed, "criteria": [*criteria, window]}


def trip_as_plain(trip: RoundTrip) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(trip)
    plain["return"] = plain.pop("return_")
    return plain
