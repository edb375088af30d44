"""No signal, or a signal and no trade: what `why` says of a round, held against what the log says came of it and
against indicators computed anew."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import log, sqrt
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, Final

import apsw
import click
import pytest
from attrs import evolve as changed

from actors.journal.chain import Head, seal
from actors.journal.store import FILE_NAME, LAYOUT, LogReader, LogStore
from actors.messages import ChangeConfig
from actors.strategist import actor as strategist
from protocol.codec import decode_row, to_json
from protocol.errors import UserError
from protocol.events import (
    ConfigAdopted,
    Decided,
    Genesis,
    JournalEntry,
    Marked,
    OrderPlaced,
    QuoteRejected,
    RiskVeto,
    RoundSettled,
    Row,
    RunStarted,
    Trade,
)
from protocol.market import Candle, Observation, Reading, Tick
from protocol.orders import Order, Quote
from protocol.settings import AgentConfig, StrategyConfig
from protocol.strategy import AnyOrAll, Condition, Signals, StrategyParams, StrategySpec
from protocol.times import to_millis, to_wire
from server.funnel import gate_of
from server.why import explained, needed
from server.why_told import told
from tests.actors.logs import contents, decisions, run_whole
from tests.actors.seeded import run_seeded
from tests.server.clients import forestay
from tests.server.test_funnel import dips_flags
from tests.world.house import house
from tests.world.market import PAIRS, Walk, eager_config, eager_spec

HOUR: Final = timedelta(hours=1)
ROUNDS: Final = 130


def asked(folder: Path, pair: str | None, at: datetime | None = None) -> dict[str, Any]:
    with closing(LogReader(folder / FILE_NAME)) as reader:
        found = explained(reader, pair, None if at is None else to_millis(at))
    return dict(json.loads(to_json(found)))


def plain(facts: dict[str, Any]) -> str:
    return click.unstyle(told(facts))


# --- every round of a market, as the house decided it


def walk_config(fill_at: Any) -> AgentConfig:
    config = eager_config()
    params = StrategyParams(Decimal(40), 1, Decimal(4), Decimal(5), Decimal(30))
    return changed(
        config,
        strategy=changed(config.strategy, spec=changed(eager_spec(), params=params)),
        quotes=changed(config.quotes, max_age_seconds=3_000),
        paper=changed(config.paper, fill_at=fill_at),
    )


@pytest.fixture(scope="module", params=[(3, "quote"), (4, "next_open"), (9, "quote"), (12, "next_open")])
def walked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    seed, fill_at = request.param
    folder = tmp_path_factory.mktemp("walked")
    run_seeded(0, run_whole, folder, Walk(seed, ROUNDS), walk_config(fill_at))
    return folder


Outcome = Decided | Trade | OrderPlaced


def turns_of(folder: Path) -> Iterator[tuple[RoundSettled, list[Row]]]:
    """Every round with the rows of its turn before it."""
    turn: list[Row] = []
    for row in decisions(folder):
        if isinstance(row, RoundSettled):
            yield row, turn
            turn = []
        else:
            turn.append(row)


def pair_of(row: Outcome) -> str:
    return row.order.pair if isinstance(row, OrderPlaced) else row.pair


class Past:
    """What is known of each pair before a round, from nothing but trades and outcomes."""

    def __init__(self) -> None:
        self.held: dict[str, Trade] = {}
        self.placed: dict[str, OrderPlaced] = {}
        self.last: dict[str, tuple[datetime, str]] = {}  # its last signal
        self.told: dict[str, Decided] = {}
        self.alike: Counter[str] = Counter()

    def take(self, row: Outcome) -> None:
        pair = pair_of(row)
        placed = self.placed.pop(pair, None)
        if isinstance(row, OrderPlaced):
            self.placed[pair] = row
            self.last[pair] = row.ts, row.order.side
            return
        self.last[pair] = placed.ts if placed else row.ts, row.side
        if isinstance(row, Decided) and row.entry is not None:
            self.told[pair], self.alike[pair] = row, 1
        elif isinstance(row, Decided):
            self.alike[pair] += 1
        elif row.side == "buy":
            self.held[pair] = row
        else:
            del self.held[pair]


def test_every_round_is_explained_as_it_was_decided(walked: Path) -> None:
    past, seen = Past(), Counter[str]()
    for round, rows in turns_of(walked):
        found = [row for row in rows if isinstance(row, Decided | Trade | OrderPlaced)]
        fills = {
            pair: next(row for row in found if pair_of(row) == pair) for pair in past.placed if pair in round.ticks
        }
        before = {pair: past.last.get(pair) for pair in round.ticks}
        for row in fills.values():
            past.take(row)
        own = {pair_of(row): row for row in found if row not in fills.values()}
        for pair, tick in round.ticks.items():
            facts = asked(walked, pair, round.ts)
            assert (facts["pair"], facts["at"], facts["close"]) == (pair, to_wire(round.ts), float(tick.candle.close))
            seen["fills"] += pair in fills
            assert_fill(facts, fills.get(pair))
            assert_status(facts, past.held.get(pair))
            assert_decided(facts, own.get(pair), rows, seen)
            if pair not in own:
                last = facts["last_signal"] and (facts["last_signal"]["at"], facts["last_signal"]["side"])
                known = before[pair]
                assert last == (known and (to_wire(known[0]), known[1]))
            text = plain(facts)
            assert text.splitlines()[2] == facts["verdict"]
            if pair in own:
                past.take(own[pair])
                assert_repeat(facts, past, pair, seen)
    assert seen["regime"] * seen["fees"] * seen["quote"] * seen["risk"] * seen["none"] * seen["repeats"] > 0, seen
    assert seen["filled"] > 10 or seen["placed"] * seen["fills"] > 100, seen


def assert_fill(facts: dict[str, Any], fill: Outcome | None) -> None:
    """What ended a waiting order at the candle's open."""
    if fill is None:
        assert facts["fill"] is None
    else:
        assert facts["fill"]["what"] == ("filled" if isinstance(fill, Trade) else "refused")
        assert facts["fill"]["placed_at"] is not None
        assert isinstance(fill, Trade) or facts["fill"]["gate"] == "fill"
        assert f"At this candle's open: {facts['fill']['entry']['text']}" in plain(facts)


def assert_status(facts: dict[str, Any], held: Trade | None) -> None:
    """Flat, or held since its entry."""
    if held is None:
        assert (facts["status"], facts["side"]) == ({"state": "flat"}, "buy")
        return
    status = facts["status"]
    assert (status["state"], facts["side"]) == ("held", "sell")
    assert status["since"] == to_wire(held.filled_at or held.ts)
    assert (status["entry_price"], status["qty"]) == (float(held.price), float(held.qty))
    assert status["cost"] == pytest.approx(float(held.size + held.fees))
    assert status["value"] == pytest.approx(float(held.qty) * facts["close"])
    hours = next(line for line in facts["exits"] if line["condition"] == "max_hold_hours")
    since = datetime.fromisoformat(facts["at"]) - (held.filled_at or held.ts)
    assert (hours["value"], hours["held"]) == (since / HOUR, since >= 30 * HOUR)
    gain = facts["close"] / float(held.price) - 1
    stop, target = (next(x for x in facts["exits"] if x["condition"] == name) for name in ("stop_loss", "take_profit"))
    assert stop["value"] == target["value"] == pytest.approx(gain, abs=1e-8)
    assert (stop["wanted"], target["wanted"]) == (-0.04, 0.05)
    assert (stop["held"], target["held"]) == (gain <= -0.04, gain >= 0.05)


def assert_decided(facts: dict[str, Any], outcome: Outcome | None, rows: list[Row], seen: Counter[str]) -> None:
    """What each gate says is what came of it; the numbers are those of the log's own events and entries."""
    wanted = facts["conditions"]["met"] or any(line["held"] for line in facts["exits"])
    assert wanted == (facts["signal"] is not None) == (outcome is not None)
    gates = [
        ("regime", not facts["regime"] or not facts["regime"]["stands_aside"]),
        ("fees", not facts["fees"] or facts["fees"]["passes"]),
        ("quote", facts["quote"]["accepted"]),
        ("risk", not facts["risk"] or facts["risk"]["passes"]),
    ]
    no = next((gate for gate, passes in gates if not passes), None)
    if outcome is None:
        seen["none"] += 1
        assert facts["outcome"] is None
        assert facts["verdict"].startswith("No ")
        return
    told = facts["outcome"]
    if isinstance(outcome, Decided):
        assert no is not None
        assert (told["what"], told["code"], told["gate"]) == ("refused", outcome.code, gate_of(outcome.code))
        assert no == told["gate"]
        seen[no] += 1
        assert f"({outcome.code})" in facts["verdict"]
        assert_numbers(facts, no, outcome, rows)
        return
    assert no is None
    entry = told["entry"] if isinstance(outcome, Trade) else None
    if entry is None:
        assert isinstance(outcome, OrderPlaced)
        seen["placed"] += 1
        assert (told["what"], told["size"], told["reason"]) == (
            "placed", float(outcome.order.size_usdt), outcome.order.reason,
        )  # fmt: skip
        assert facts["signal"] == {"reason": outcome.order.reason, "order_ref": outcome.order.ref}
        assert facts["quote"] == {"accepted": True, "size": float(outcome.order.size_usdt), **told["quote"]}
    else:
        seen["filled"] += 1
        assert entry["id"] == outcome.journal_ref  # type: ignore[union-attr]
        assert told["trade"]["price"] == float(outcome.price)  # type: ignore[union-attr]
        assert facts["signal"]["order_ref"] == entry["data"]["order_ref"]
        assert f"because {facts['signal']['reason']}. " in entry["text"]
        assert facts["quote"] == {"accepted": True, "size": facts["quote"]["size"], **entry["data"]["quote"]}


def assert_numbers(facts: dict[str, Any], gate: str, outcome: Decided, rows: list[Row]) -> None:
    """The gate's own event has the same numbers, and so has the entry, if it tells this very decision."""
    said = facts["outcome"]["entry"]
    assert said["data"]["code" if gate != "risk" else "rule"] == outcome.code
    if gate == "quote":
        event = next(row for row in rows if isinstance(row, QuoteRejected) and row.pair == outcome.pair)
        quote = facts["quote"]
        assert (quote["code"], quote["reason"]) == (event.code, event.detail)
        assert (quote["measured"], quote["limit"]) == (float(event.measured), float(event.limit))
    if gate == "risk":
        veto = next(row for row in rows if isinstance(row, RiskVeto) and row.pair == outcome.pair)
        risk = facts["risk"]
        assert (risk["rule"], risk["reason"], risk["size"]) == (veto.rule, veto.reason, float(veto.size))
        (check,) = (check for check in risk["checks"] if check["rule"] == veto.rule)
        assert (check["measured"], check["limit"]) == (said["data"]["measured"], said["data"]["limit"])
        assert check["until"] == said["data"].get("until")
    if outcome.entry is None or gate == "quote":
        return
    assert said["id"] == outcome.entry
    if gate == "regime":
        line = next(line for line in facts["regime"]["of"] if line["held"])
        assert (line["value"], line["wanted"]) == (said["data"]["measured"], said["data"]["limit"])
    if gate == "fees":
        assert (facts["fees"]["edge"], facts["fees"]["wanted"]) == (said["data"]["measured"], said["data"]["limit"])


def assert_repeat(facts: dict[str, Any], past: Past, pair: str, seen: Counter[str]) -> None:
    """A "no" that was only counted is told by the entry of the first, with how often it came by then."""
    repeat = facts["outcome"].get("repeat")
    told_by = past.told.get(pair)
    if facts["outcome"]["what"] != "refused" or told_by is None or past.alike[pair] == 1:
        assert repeat is None
        return
    seen["repeats"] += 1
    assert facts["outcome"]["entry"]["id"] == told_by.entry
    assert (repeat["first_at"], repeat["number"]) == (to_wire(told_by.ts), past.alike[pair])
    assert repeat["times"] >= repeat["number"]
    words = f"number {repeat['number']} of {repeat['times']} alike; the first was told, at "
    assert words in plain(facts)


def test_the_last_of_those_alike_knows_their_number(walked: Path) -> None:
    rows = decisions(walked)
    for pair in PAIRS[:2]:
        decided = [row for row in rows if isinstance(row, Decided) and row.pair == pair]
        for row, after in zip(decided, [*decided[1:], None], strict=True):
            if row.entry is None and (after is None or after.entry is not None):
                repeat = asked(walked, pair, row.ts)["outcome"]["repeat"]
                assert repeat["number"] == repeat["times"]


def test_between_two_candles_the_one_before_is_shown(walked: Path) -> None:
    pair, whole = PAIRS[0], [round for round, _ in turns_of(walked)]
    for round in whole[20:24]:
        facts = asked(walked, pair, round.ts)
        for later in (timedelta(milliseconds=1), HOUR - timedelta(milliseconds=1)):
            assert asked(walked, pair, round.ts + later) == facts
    assert asked(walked, pair, whole[-1].ts + 1000 * HOUR) == asked(walked, pair) == asked(walked, pair, whole[-1].ts)
    first = to_wire(whole[0].ts)
    with pytest.raises(UserError, match=f"the log's first candle of {pair} closed at {first}"):
        asked(walked, pair, whole[0].ts - timedelta(milliseconds=1))


def test_without_a_pair_it_is_the_last_signal_that_did_not_trade(walked: Path) -> None:
    noes = [row for row in decisions(walked) if isinstance(row, Decided)]
    last = noes[-1]
    assert asked(walked, None) == asked(walked, last.pair, last.ts)
    earlier = next(row for row in reversed(noes) if row.ts < last.ts)
    assert asked(walked, None, last.ts - timedelta(milliseconds=1)) == asked(walked, earlier.pair, earlier.ts)
    with pytest.raises(UserError, match="no signal was refused yet"):
        asked(walked, None, noes[0].ts - timedelta(milliseconds=1))


def test_what_live_made_of_a_decision_is_told_beside_it_and_changes_nothing_else(walked: Path, tmp_path: Path) -> None:
    """The same log, with a live no behind every paper outcome."""
    rows, live = list[Row](), list[Decided]()
    for row in (decode_row(content[5]) for content in contents(walked)):
        rows.append(row)
        if isinstance(row, Decided | Trade):
            live.append(Decided(row.ts, row.pair, row.side, "frozen", None, "live"))
            rows.append(live[-1])
    with closing(LogStore(tmp_path / FILE_NAME, log_id="log_live")) as store:
        store.append(seal(rows, Head())[0])
    for no in live[::7]:
        found, alone = asked(tmp_path, no.pair, no.ts), asked(walked, no.pair, no.ts)
        assert found.pop("live_no") == {"side": no.side, "code": "frozen", "text": None}
        assert alone.pop("live_no") is None
        assert found == alone
        assert "The live book did not follow: frozen" in plain(asked(tmp_path, no.pair, no.ts))


def test_where_a_pair_is_missing_its_last_candle_is_shown(walked: Path) -> None:
    pair, last = PAIRS[1], ""
    holes = 0
    for round, _ in turns_of(walked):
        if pair in round.ticks:
            last = to_wire(round.ts)
        elif last:
            holes += 1
            assert asked(walked, pair, round.ts)["at"] == last
    assert holes


# --- a checkpoint is only a cache


def test_with_and_without_a_checkpoint_the_same_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategist, "CHECKPOINT_ROUNDS", 25)
    run_seeded(0, run_whole, tmp_path, Walk(9, 60), walk_config("next_open"))
    times = [round.ts for round, _ in turns_of(tmp_path)]
    points = [0, 10, 24, 48, 49, 50, 51, 58, 59]
    assert checkpoint_row(tmp_path)
    found = [asked(tmp_path, pair, times[point]) for point in points for pair in PAIRS[:2]]
    log_file = apsw.Connection(str(tmp_path / FILE_NAME))
    log_file.execute("UPDATE checkpoint SET body = '{}'")
    assert [asked(tmp_path, pair, times[point]) for point in points for pair in PAIRS[:2]] == found
    log_file.execute("DELETE FROM checkpoint")
    log_file.close()
    assert [asked(tmp_path, pair, times[point]) for point in points for pair in PAIRS[:2]] == found


def checkpoint_row(folder: Path) -> int | None:
    with closing(LogReader(folder / FILE_NAME)) as reader:
        found = reader.select("SELECT max(row) FROM checkpoint")[0][0]
        return None if found is None else int(found)


# --- the config in force then


NEW_SPEC: Final = changed(
    eager_spec(),
    name="patient",
    signals=Signals(
        AnyOrAll(any_of=(Condition("rsi", "<=", 30, 9), Condition("ema_cross", "crosses_above", 0, fast=3, slow=12))),
        AnyOrAll(any_of=(Condition("rsi", ">=", 60, 9),)),
    ),
)


def test_a_round_is_explained_by_the_config_in_force_then(tmp_path: Path) -> None:
    """Another strategy begins cold; another limit alone does not."""
    config, market = eager_config(PAIRS[:1]), Walk(21, 60, PAIRS[:1])
    limits = changed(config, risk=changed(config.risk, cooldown_hours=7))
    changes = (changed(limits, strategy=StrategyConfig(NEW_SPEC, Decimal(1))), limits)

    async def run() -> None:
        for version, rounds in enumerate((40, 60), start=1):
            async with house(tmp_path, Walk(21, rounds, PAIRS[:1]), config) as standing:
                await standing.settled()
                address = standing.tower.outside().address("Strategist")
                assert await address.ask(ChangeConfig(changes[version - 1], "test", version)) == version + 1
                await standing.settled()

    run_seeded(0, run)
    pair, times = PAIRS[0], [round.ts for round in market.rounds]
    old = asked(tmp_path, pair, times[39])
    assert (old["config_version"], old["strategy"]) == (1, "eager")
    assert {line["condition"] for line in old["conditions"]["of"]} == {"price_vs_sma(5)", "rsi(3)"}
    assert all(line["value"] is not None for line in old["conditions"]["of"])
    for after in range(20):
        facts = asked(tmp_path, pair, times[40 + after])
        assert (facts["config_version"], facts["strategy"]) == (2, "patient")
        for line in facts["conditions"]["of"]:
            needs = {"rsi(9)": 10, "ema_cross(3,12)": 12}[line["condition"]]
            cold = after + 1 < needs
            assert (line["needs"], line["value"] is None) == (needs, cold)
            assert line["seen"] == (after + 1 if cold else None)
            if cold:
                told = f"  {line['condition']} is not warm yet, needs {needs} candles and has seen {after + 1}, wanted "
                assert told in plain(facts)
            assert ("before" in line) == line["op"].startswith("crosses")
        edge = facts["fees"]
        assert edge is None or (edge["seen"], edge["needs"]) == (after + 1 if after + 1 < 25 else None, 25)


# --- rounds made by hand

BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
ETH: Final = "ETH/USDT"


def tick(at: datetime, close: int = 100) -> Tick:
    price = Decimal(close)
    return Tick(
        Candle(at, price, price, price, price, Decimal(1)), Observation("pool", price, at, Decimal(10**6)), None
    )


def written(folder: Path, config: AgentConfig, *rows: Row) -> Path:
    """A log of these rows, after its first ones."""
    founding: list[Row] = [
        Genesis(BEGIN, LAYOUT, "seed", {}), ConfigAdopted(BEGIN, 1, config), RunStarted(BEGIN, 1, Decimal(1000))
    ]  # fmt: skip
    store = LogStore(folder / FILE_NAME, log_id="log_test")
    store.append(seal([*founding, *rows], Head())[0])
    store.close()
    return folder


def settled(hour: int, *rows: Row, close: int = 100, **parts: Any) -> list[Row]:
    """A round's turn, a mark without positions."""
    at = BEGIN + hour * HOUR
    mark = Marked(at, Decimal(1000), {ETH: Decimal(close)})
    return [*rows, mark, RoundSettled(at, hour, {ETH: tick(at, close)}, **parts)]


def test_a_round_that_was_passed_over_says_so_and_what_waited(tmp_path: Path) -> None:
    at, later = BEGIN + HOUR, BEGIN + 2 * HOUR
    one, order = Decimal(1), Order("ord_1", ETH, "buy", Decimal(900), None, "it was low")
    placed = OrderPlaced(at, order, Quote("ord_1", at, one, "pool", one, one, one, one, one, 60, one, one, one))
    entry = JournalEntry(later, "jrn_1", "SKIPPED", ("crash",), "Skipped the round: it killed three times.", {})
    crashed = RoundSettled(later, 2, {ETH: tick(later)})
    written(tmp_path, AgentConfig((ETH,)), *settled(1, placed), entry, crashed)
    facts = asked(tmp_path, ETH)
    assert facts["passed_over"] == entry.text
    assert facts["verdict"] == "Nothing was decided on this candle: the round was passed over."
    assert facts["status"] == {"state": "waiting", "since": to_wire(at), "side": "buy", "size": 900}
    assert (facts["signal"], facts["outcome"]) == (None, None)
    text = plain(facts)
    assert "A buy of 900.00 USDT waited since 2026-01-01 01:00." in text
    assert entry.text in text
    assert "Its last signal was to buy, at 2026-01-01 01:00: Placed a buy of 900.00 USDT because it was low." in text
    at_first = asked(tmp_path, ETH, at)
    assert at_first["verdict"] == "Entry signal, and an order that waits for the next open."
    assert at_first["outcome"]["then"] is None


def series_config(*watchlist: str) -> AgentConfig:
    low = Condition("series", "<=", 25, name="fng", max_age_hours=2)
    spec = StrategySpec("spot", "fearful", Signals(AnyOrAll(all_of=(low,)), AnyOrAll(any_of=(low,))))
    return AgentConfig(watchlist or (ETH,), StrategyConfig(spec))


@pytest.mark.parametrize(
    ("series", "said"),
    [
        ({}, "has no value, or none that is young enough, wanted <= 25: no"),
        (
            {"fng": Reading(Decimal(20), BEGIN - 2 * HOUR)},
            "has no value, or none that is young enough, wanted <= 25: no",
        ),
        ({"fng": Reading(Decimal(20), BEGIN)}, "is 20, wanted <= 25: yes"),
        ({"fng": Reading(Decimal(60), BEGIN)}, "is 60, wanted <= 25: no"),
    ],
)
def test_a_series_is_shown_with_its_value_or_with_none(tmp_path: Path, series: Any, said: str) -> None:
    written(tmp_path, series_config(), *settled(1, series=series))
    facts = asked(tmp_path, ETH)
    (line,) = facts["conditions"]["of"]
    assert (line["needs"], line["seen"]) == (None, None)
    assert f"  series(fng,2) {said}" in plain(facts).splitlines()


def test_a_pair_that_is_not_watched_says_so(tmp_path: Path) -> None:
    fng = {"fng": Reading(Decimal(20), BEGIN)}
    written(tmp_path, series_config("BTC/USDT"), *settled(1, series=fng))
    facts = asked(tmp_path, ETH)
    assert (facts["watched"], facts["signal"], facts["conditions"]["met"]) == (False, None, True)
    assert facts["verdict"] == "No signal: ETH/USDT is not on the watchlist, so it is not entered."
    assert plain(facts).endswith("It never had a signal before.")


def test_a_log_without_a_candle_of_the_pair_says_so(tmp_path: Path) -> None:
    written(tmp_path, AgentConfig((ETH, "LTC/USDT")), *settled(1))
    with pytest.raises(UserError, match="the log has no candle of LTC/USDT yet"):
        asked(tmp_path, "LTC/USDT")
    with pytest.raises(UserError, match="the log has no candle of LTC/USDT yet"):
        asked(tmp_path, "LTC/USDT", BEGIN)


def test_a_crossing_is_shown_with_both_its_values(tmp_path: Path) -> None:
    cross = Condition("ema_cross", "crosses_above", 0, fast=2, slow=3)
    spec = StrategySpec("spot", "crossing", Signals(AnyOrAll(all_of=(cross,)), AnyOrAll(any_of=(cross,))))
    closes = (100, 90, 80, 130)
    rows = [row for hour, close in enumerate(closes, start=1) for row in settled(hour, close=close)]
    written(tmp_path, AgentConfig((ETH,), StrategyConfig(spec)), *rows)
    third, fourth = (asked(tmp_path, ETH, BEGIN + hour * HOUR)["conditions"]["of"][0] for hour in (3, 4))
    assert (third["before"], third["held"]) == (None, False)
    assert third["value"] == pytest.approx((95 + 2 / 3 * (80 - 95)) / 90 - 1)
    fast, slow = 85 + 2 / 3 * (130 - 85), 90 + 2 / 4 * (130 - 90)
    assert (fourth["before"], fourth["held"]) == (third["value"], True)
    assert fourth["value"] == pytest.approx(fast / slow - 1)
    line = f"  ema_cross(2,3) is {fourth['value']:.4g} after {third['value']:.4g}, wanted crosses_above 0: yes"
    assert line in plain(asked(tmp_path, ETH)).splitlines()
    assert " after none, wanted crosses_above 0: no" in plain(asked(tmp_path, ETH, BEGIN + 3 * HOUR))


@pytest.mark.parametrize(
    ("condition", "candles"),
    [
        (Condition("price_vs_sma", "<", 0, 48), 48), (Condition("rsi", "<", 30, 14), 15),
        (Condition("ema_cross", ">", 0, fast=12, slow=26), 26), (Condition("bollinger", "<", 0, 20), 20),
        (Condition("atr", ">", 0, 14), 15), (Condition("momentum", ">", 0, 24), 25),
        (Condition("volatility", ">", 0, 24), 25), (Condition("volume_z", ">", 0, 24), 24),
        (Condition("breakout", ">", 1, 24), 25),
    ],
)  # fmt: skip
def test_the_first_candle_with_a_value_is_the_one_that_is_named(
    tmp_path: Path, condition: Condition, candles: int
) -> None:
    spec = StrategySpec("spot", "one", Signals(AnyOrAll(all_of=(condition,)), AnyOrAll(any_of=(condition,))))
    rows = [row for hour in range(1, candles + 1) for row in settled(hour, close=100 + hour % 7)]
    written(tmp_path, AgentConfig((ETH,), StrategyConfig(spec)), *rows)
    assert needed(condition) == candles
    before, warm = (asked(tmp_path, ETH, BEGIN + hour * HOUR)["conditions"]["of"][0] for hour in (candles - 1, candles))
    assert (before["value"], before["needs"], before["seen"]) == (None, candles, candles - 1)
    assert warm["value"] is not None


# --- real candles, and indicators by their textbook formulas

FIRST_CLOSE: Final = datetime(2021, 12, 22, 17, tzinfo=UTC)


@pytest.fixture(scope="module")
def real(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended, long enough for a checkpoint."""
    folder = tmp_path_factory.mktemp("real")
    flags, _ = dips_flags(real_data, folder)
    done = forestay("run", "--port", "0", "--data-dir", "data", "--exit-at-end", *flags, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert checkpoint_row(folder / "data")
    return folder


def closes_until(path: Path, at: str) -> list[float]:
    """The closes of the candles that had closed by then."""
    with path.open(encoding="utf-8") as file:
        rows = [(datetime.fromisoformat(row["Datetime"]) + HOUR, float(row["Close"])) for row in csv.DictReader(file)]
    return [close for closed, close in rows if closed <= datetime.fromisoformat(at)]


def wilder_rsi(closes: list[float], window: int) -> float:
    changes = [b - a for a, b in pairwise(closes)]
    gain = fmean(max(c, 0.0) for c in changes[:window])
    loss = fmean(max(-c, 0.0) for c in changes[:window])
    for change in changes[window:]:
        gain = (gain * (window - 1) + max(change, 0.0)) / window
        loss = (loss * (window - 1) + max(-change, 0.0)) / window
    return 100 - 100 / (1 + gain / loss)


def ema(closes: list[float], window: int) -> float:
    value = fmean(closes[:window])
    for close in closes[window:]:
        value += 2 / (window + 1) * (close - value)
    return value


def volatility(closes: list[float], window: int) -> float:
    last = closes[-window - 1 :]
    return pstdev([log(b / a) for a, b in pairwise(last)])


def test_every_condition_has_the_value_that_its_formula_gives(real: Path) -> None:
    """Over rounds in which it was flat and in which it was held, with either answer."""
    answers: dict[str, set[bool]] = {}
    trades = [json.loads(body) for body in frames_of(real / "data", "trade")]
    sold = [datetime.fromisoformat(trade["ts"]) for trade in trades if trade["side"] == "sell"]
    for at in [*(FIRST_CLOSE + hour * HOUR for hour in range(40, 1_190, 23)), *sold[::3]]:
        for pair in (ETH, "LTC/USDT"):
            facts = asked(real / "data", pair, at)
            closes = closes_until(real / f"{pair[:3].lower()}-eur-1h.csv", facts["at"])
            assert facts["close"] == closes[-1]
            cross, before = (ema(some, 5) / ema(some, 20) - 1 for some in (closes, closes[:-1]))
            formulas = {
                "price_vs_sma(24)": closes[-1] / fmean(closes[-24:]) - 1,
                "rsi(14)": wilder_rsi(closes, 14),
                "ema_cross(5,20)": cross,
                "volatility(24)": volatility(closes, 24),
            }
            lines = [*facts["conditions"]["of"], *((facts["regime"] or {}).get("of", []))]
            assert [line["condition"] for line in lines] == (
                ["price_vs_sma(24)", "rsi(14)", "volatility(24)"]
                if facts["side"] == "buy"
                else ["price_vs_sma(24)", "ema_cross(5,20)"]
            )
            shown = plain(facts).splitlines()
            for line in lines:
                value, wanted = formulas[line["condition"]], line["wanted"]
                assert line["value"] == pytest.approx(value, rel=1e-9, abs=1e-12)
                held = {"<=": value <= wanted, ">=": value >= wanted, "crosses_above": before <= wanted < cross}
                assert line["held"] == held[line["op"]]
                answers.setdefault(f"{facts['side']} {line['condition']}", set()).add(line["held"])
                after = f" after {before:.4g}" if line["op"] == "crosses_above" else ""
                answer = "yes" if line["held"] else "no"
                told = f"  {line['condition']} is {value:.4g}{after}, wanted {line['op']} {wanted:g}: {answer}"
                assert told in shown
            if facts["fees"]:
                assert_fees(facts, volatility(closes, 24), shown)
    assert {name for name, both in answers.items() if len(both) == 2} >= {
        "buy price_vs_sma(24)", "buy rsi(14)", "buy volatility(24)", "sell price_vs_sma(24)"
    }, answers  # fmt: skip


def assert_fees(facts: dict[str, Any], swing: float, shown: list[str]) -> None:
    """Three times the round trip: twice 0.25 % + 0.05 %, and twice 0.10 USDT of gas."""
    fees, size = facts["fees"], facts["risk"]["size"]
    cost = 2 * (0.0025 + 0.0005 + 0.10 / size)
    assert fees["edge"] == pytest.approx(swing * sqrt(24), abs=2e-8)
    assert (fees["multiple"], fees["cost"]) == (3, pytest.approx(cost, abs=2e-8))
    assert fees["wanted"] == pytest.approx(3 * cost, abs=3e-8)
    assert fees["passes"] == (swing * sqrt(24) >= 3 * cost)
    words = f"wanted >= {3 * cost * 100:.2f} %, 3 x the round trip's {cost * 100:.2f} %: "
    assert (
        f"  the expected edge is {swing * sqrt(24) * 100:.2f} %, {words}{'passes' if fees['passes'] else 'no'}" in shown
    )


def test_the_size_is_the_configured_part_of_equity_at_the_close(real: Path) -> None:
    """Equity is what the last snapshot said, moved by what is held since."""
    frames = [json.loads(body) for body in frames_of(real / "data", "snapshot")]
    equity = {frame["ts"]: frame["equity"] for frame in frames}
    flat = 0
    for hour in range(40, 1_190, 61):
        at = FIRST_CLOSE + hour * HOUR
        facts = [asked(real / "data", pair, at) for pair in (ETH, "LTC/USDT")]
        if all(f["status"]["state"] == "flat" and not f["outcome"] and f["at"] == to_wire(at) for f in facts):
            flat += 1
            assert facts[0]["risk"]["size"] == pytest.approx(0.6 * equity[to_wire(at)], abs=1e-6)
    assert flat > 5


def frames_of(folder: Path, kind: str) -> list[str]:
    with closing(LogReader(folder / FILE_NAME)) as reader:
        return [str(body) for (body,) in reader.select("SELECT body FROM log WHERE kind = ? ORDER BY row", (kind,))]


def test_a_real_log_says_the_same_without_its_checkpoint(real: Path, tmp_path: Path) -> None:
    shutil.copytree(real / "data", tmp_path / "data")
    store = apsw.Connection(str(tmp_path / "data" / FILE_NAME))
    store.execute("DELETE FROM checkpoint")
    store.close()
    for pair in (ETH, "LTC/USDT"):
        assert asked(real / "data", pair) == asked(tmp_path / "data", pair)


def test_every_real_outcome_is_found_at_its_time(real: Path) -> None:
    """Of each code the last, and of the trades the last of each side."""
    rows: list[Any] = [decode_row(body) for kind in ("decided", "trade") for body in frames_of(real / "data", kind)]
    last = {(row.side, getattr(row, "code", "filled")): row for row in rows}
    assert len(last) > 8
    for (side, code), row in last.items():
        facts = asked(real / "data", row.pair, row.ts)
        assert (facts["side"], facts["outcome"].get("code", "filled")) == (side, code)
        assert facts["outcome"]["entry"]["text"] in plain(facts)
