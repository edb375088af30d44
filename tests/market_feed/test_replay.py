"""What a replay of files promises: rounds with gaps, depths and references, alike from wherever one reads."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.market_feed.candles import CandleFile, open_candles
from actors.market_feed.replay import DEPTH_FLOOR_USDT, DEPTH_HOURS, ReplayMarket, pool_depth_usdt
from actors.market_feed.series import SeriesFile, open_series
from protocol.errors import UserError
from protocol.market import Candle, Gap, Observation, Reading, Round, Tick
from protocol.money import booked
from protocol.times import from_wire, to_wire

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2020, 1, 1, tzinfo=UTC)
Bar = tuple[timedelta, Decimal | int, Decimal | int]  # opening after START, price, volume


def candle_file(folder: Path, name: str, bars: Sequence[Bar]) -> CandleFile:
    rows = [f"{(START + opens).isoformat()},{it},{it},{it},{it},{volume}" for opens, it, volume in bars]
    path = folder / name
    path.write_text("\n".join(["time,open,high,low,close,volume", *rows]))
    return open_candles(path, "ETH/USDT")


def series_file(folder: Path, name: str, values: Mapping[timedelta, Decimal | int]) -> SeriesFile:
    path = folder / f"{name}.csv"
    path.write_text("\n".join(["time,value", *(f"{(START + at).isoformat()},{it}" for at, it in values.items())]))
    return open_series(path, name)


def hourly(hours: Sequence[int], price: int = 100, volume: int = 1) -> list[Bar]:
    return [(hour * HOUR, price + hour, volume) for hour in hours]


def settled(ask: Coroutine[Any, Any, Round | None]) -> Round | None:
    """What `ask` returns, which it must without waiting for anything."""
    try:
        ask.send(None)
    except StopIteration as done:
        answer: Round | None = done.value
        return answer
    raise AssertionError("next_round waited")


def rounds(market: ReplayMarket, cursor: Any | None = None) -> Iterator[Round]:
    while (found := settled(market.next_round(cursor))) is not None:
        yield found
        cursor = found.cursor


def hours_of(found: Sequence[Round]) -> list[tuple[float, list[str]]]:
    return [((it.ts - START) / HOUR, [*it.ticks]) for it in found]


def depths(folder: Path, bars: Sequence[Bar]) -> list[Decimal | None]:
    market = ReplayMarket({"ETH/USDT": candle_file(folder, "eth.csv", bars)}, {})
    return [it.ticks["ETH/USDT"].executable.depth_usdt for it in rounds(market)]


def test_a_round_has_the_pairs_that_closed_then_in_name_order(tmp_path: Path) -> None:
    files = {
        "LTC/USDT": candle_file(tmp_path, "ltc.csv", hourly([1, 2, 4])),
        "ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1, 2])),
    }
    both = ["ETH/USDT", "LTC/USDT"]
    expected = [(1, ["ETH/USDT"]), (2, both), (3, both), (5, ["LTC/USDT"])]
    assert hours_of([*rounds(ReplayMarket(files, {}))]) == expected


def test_pairs_of_different_intervals_meet_where_they_close_together(tmp_path: Path) -> None:
    files = {
        "BTC/USDT": candle_file(tmp_path, "btc.csv", [(0 * HOUR, 9, 1), (2 * HOUR, 9, 1)]),
        "ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1, 2])),
    }
    expected = [(1, ["ETH/USDT"]), (2, ["BTC/USDT", "ETH/USDT"]), (3, ["ETH/USDT"]), (4, ["BTC/USDT"])]
    assert hours_of([*rounds(ReplayMarket(files, {}))]) == expected


def test_a_tick_carries_its_candle_and_would_be_filled_at_its_close(tmp_path: Path) -> None:
    file = candle_file(tmp_path, "eth.csv", hourly([0, 1], price=2000, volume=10))
    first, second = rounds(ReplayMarket({"ETH/USDT": file}, {}))
    candles = [*file.candles()]
    assert [first.ticks["ETH/USDT"].candle, second.ticks["ETH/USDT"].candle] == candles
    executable = Observation("pool", Decimal(2001), START + 2 * HOUR, Decimal(50 * 20_005))
    assert second.ticks["ETH/USDT"].executable == executable
    assert (second.ts, second.cursor) == (START + 2 * HOUR, "2020-01-01T02:00:00.000Z")


def test_after_the_last_round_there_is_none_however_often_one_asks(tmp_path: Path) -> None:
    market = ReplayMarket({"ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1]))}, {})
    last = [*rounds(market)][-1]
    assert [settled(market.next_round(last.cursor)) for _ in range(2)] == [None, None]
    assert settled(market.next_round("2030-01-01T00:00:00.000Z")) is None


def test_no_cursor_is_the_beginning_again(tmp_path: Path) -> None:
    market = ReplayMarket({"ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1, 5]))}, {})
    assert [*rounds(market)] == [*rounds(market)]
    assert settled(market.next_round(None)) == settled(market.next_round(None))


def test_a_cursor_in_another_form_is_an_error(tmp_path: Path) -> None:
    market = ReplayMarket({"ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1]))}, {})
    with pytest.raises(ValueError, match="is not a time"):
        settled(market.next_round("2020-01-01"))


def test_a_gap_is_told_once_where_the_data_resumes(tmp_path: Path) -> None:
    files = {
        "ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1, 5, 6])),
        "LTC/USDT": candle_file(tmp_path, "ltc.csv", hourly([0, 1, 2, 5, 7])),
    }
    told = {(it.ts - START) / HOUR: it.gaps for it in rounds(ReplayMarket(files, {})) if it.gaps}
    eth = Gap("ETH/USDT", START + 2 * HOUR, START + 6 * HOUR, 3)
    ltc = Gap("LTC/USDT", START + 3 * HOUR, START + 6 * HOUR, 2)
    later = Gap("LTC/USDT", START + 6 * HOUR, START + 8 * HOUR, 1)
    assert told == {6: (eth, ltc), 8: (later,)}


def test_a_gap_is_told_alike_when_the_reading_begins_within_it(tmp_path: Path) -> None:
    files = {
        "ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1, 2, 90])),
        "LTC/USDT": candle_file(tmp_path, "ltc.csv", hourly(range(100))),
    }
    sequential = [*rounds(ReplayMarket(files, {}))]
    assert sequential[90].gaps == (Gap("ETH/USDT", START + 3 * HOUR, START + 91 * HOUR, 87),)
    for place in (2, 50, 89):
        assert [*rounds(ReplayMarket(files, {}), sequential[place].cursor)] == sequential[place + 1 :]


def test_a_reference_is_the_latest_candle_that_had_closed(tmp_path: Path) -> None:
    file = candle_file(tmp_path, "eth.csv", hourly([0, 1, 2, 3, 4]))
    reference = candle_file(tmp_path, "ref.csv", [(1 * HOUR + 30 * MINUTE, 7, 1), (2 * HOUR + 30 * MINUTE, 8, 1)])
    market = ReplayMarket({"ETH/USDT": file}, {"ETH/USDT": reference})
    seen = [it.ticks["ETH/USDT"].reference for it in rounds(market)]
    seven = Observation("reference", Decimal(7), START + 2 * HOUR + 30 * MINUTE)
    eight = Observation("reference", Decimal(8), START + 3 * HOUR + 30 * MINUTE)
    assert seen == [None, None, seven, eight, eight]


def test_a_reference_that_closes_with_the_round_counts(tmp_path: Path) -> None:
    file = candle_file(tmp_path, "eth.csv", hourly([0, 1]))
    first, _ = rounds(ReplayMarket({"ETH/USDT": file}, {"ETH/USDT": file}))
    assert first.ticks["ETH/USDT"].reference == Observation("reference", Decimal(100), START + HOUR)


def test_a_pair_without_a_reference_file_has_none(tmp_path: Path) -> None:
    files = {pair: candle_file(tmp_path, "any.csv", hourly([0, 1])) for pair in ("ETH/USDT", "LTC/USDT")}
    market = ReplayMarket(files, {"LTC/USDT": files["LTC/USDT"]})
    seen = [(it.ticks["ETH/USDT"].reference, it.ticks["LTC/USDT"].reference) for it in rounds(market)]
    assert [(eth is None, ltc is None) for eth, ltc in seen] == [(True, False)] * 2


def test_a_market_begins_where_its_earliest_candle_opens_and_ends_where_its_latest_closes(tmp_path: Path) -> None:
    files = {
        "BTC/USDT": candle_file(tmp_path, "btc.csv", hourly([3, 4])),
        "ETH/USDT": candle_file(tmp_path, "eth.csv", [(2 * HOUR, 1, 1), (26 * HOUR, 1, 1)]),
    }
    market = ReplayMarket(files, {})
    assert (market.begins, market.ends) == (START + 2 * HOUR, START + 50 * HOUR)


def test_a_markets_interval_is_the_longest_of_its_files_whatever_their_gaps(tmp_path: Path) -> None:
    files = {
        "BTC/USDT": candle_file(tmp_path, "btc.csv", [(4 * hour * HOUR, 1, 1) for hour in (0, 1, 2)]),
        "ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1, 2, 90])),
    }
    reference = candle_file(tmp_path, "ref.csv", [(0 * DAY, 1, 1), (1 * DAY, 1, 1)])
    assert ReplayMarket(files, {"ETH/USDT": reference}).interval == 4 * HOUR


def test_what_is_pinned_names_the_data_and_nothing_of_the_machine(tmp_path: Path) -> None:
    eth, ltc = (candle_file(tmp_path, f"{name}.csv", hourly([0, 1, 2])) for name in ("eth", "ltc"))
    pinned = ReplayMarket({"LTC/USDT": ltc, "ETH/USDT": eth}, {"ETH/USDT": ltc}).pinned
    eth_pin = {"name": "eth.csv", "sha256": eth.sha256, "interval_seconds": 3600, "count": 3}
    ltc_pin = {"name": "ltc.csv", "sha256": ltc.sha256, "interval_seconds": 3600, "count": 3}
    files = {"ETH/USDT": eth_pin, "LTC/USDT": ltc_pin}
    assert pinned == {"kind": "replay", "files": files, "references": {"ETH/USDT": ltc_pin}}
    assert [*pinned["files"]] == ["ETH/USDT", "LTC/USDT"]
    assert str(tmp_path) not in json.dumps(pinned)


def test_series_are_pinned_where_there_are_any(tmp_path: Path) -> None:
    eth = {"ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1, 2]))}
    fear, rate = series_file(tmp_path, "fear", {0 * HOUR: 1, 2 * HOUR: 2}), series_file(tmp_path, "rate", {0 * HOUR: 1})
    without, market = ReplayMarket(eth, {}), ReplayMarket(eth, {}, {"rate": rate, "fear": fear})
    fear_pin = {"name": "fear.csv", "sha256": fear.sha256, "count": 2}
    rate_pin = {"name": "rate.csv", "sha256": rate.sha256, "count": 1}
    assert market.pinned == {**without.pinned, "series": {"fear": fear_pin, "rate": rate_pin}}
    assert [*market.pinned["series"]] == ["fear", "rate"]
    assert "series" not in without.pinned
    assert (market.series, without.series) == (("fear", "rate"), ())


@pytest.mark.parametrize("name", ["", "fear and greed", "x" * 41, "fear\n"])
def test_series_under_another_name_are_refused(tmp_path: Path, name: str) -> None:
    eth = {"ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1]))}
    with pytest.raises(UserError, match=r"names no series; valid are 1 to 40 letters"):
        ReplayMarket(eth, {}, {name: series_file(tmp_path, "fear", {0 * HOUR: 1})})


def test_a_round_has_what_each_series_had_last_said(tmp_path: Path) -> None:
    eth = {"ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1, 2, 3, 4, 9]))}
    series = {
        "rate": series_file(tmp_path, "rate", {3 * HOUR: Decimal("-0.01"), 3 * HOUR + MINUTE: Decimal("0.01")}),
        "fear": series_file(tmp_path, "fear", {2 * HOUR: 25, 90 * HOUR: 75}),
    }
    fear = Reading(Decimal(25), START + 2 * HOUR)
    before = Reading(Decimal("-0.01"), START + 3 * HOUR)
    after = Reading(Decimal("0.01"), START + 3 * HOUR + MINUTE)
    told = [it.series for it in rounds(ReplayMarket(eth, {}, series))]
    known = {"fear": fear, "rate": after}
    assert told == [{}, {"fear": fear}, {"fear": fear, "rate": before}, known, known, known]
    assert [*told[2]] == ["fear", "rate"]


def test_a_round_is_the_same_with_and_without_an_event_loop(tmp_path: Path) -> None:
    eth = {"ETH/USDT": candle_file(tmp_path, "eth.csv", hourly([0, 1, 2, 30, 31]))}
    series = {"fear": series_file(tmp_path, "fear", {2 * HOUR: 25, 31 * HOUR: 75})}
    floor, past, cursor = ReplayMarket(eth, eth, series), ReplayMarket(eth, eth, series), None
    for found in rounds(floor):
        assert past.following(cursor) == found
        cursor = found.cursor
    assert past.following(cursor) is None


@pytest.mark.parametrize(
    ("pairs", "references", "words"),
    [
        ([], [], "a replay needs a file"),
        (["eth/usdt"], [], "'eth/usdt' names no pair; valid is BASE/QUOTE in upper case"),
        (["ETHUSDT"], [], "'ETHUSDT' names no pair"),
        (["ETH/USDT/X"], [], "'ETH/USDT/X' names no pair"),
        (["ETH/USDT\n"], [], "names no pair"),
        (["ETH/USDT"], ["Eth/USDT"], "'Eth/USDT' names no pair"),
        (["ETH/USDT"], ["BTC/USDT"], "'BTC/USDT' has a reference but is not replayed; valid are ETH/USDT"),
    ],
)
def test_pairs_that_cannot_be_replayed_are_refused(
    tmp_path: Path, pairs: list[str], references: list[str], words: str
) -> None:
    file = candle_file(tmp_path, "any.csv", hourly([0, 1]))
    with pytest.raises(UserError) as refused:
        ReplayMarket(dict.fromkeys(pairs, file), dict.fromkeys(references, file))
    assert words in str(refused.value)


def test_a_depth_has_a_floor() -> None:
    assert pool_depth_usdt([Decimal("0.01")]) == DEPTH_FLOOR_USDT


def test_a_depth_is_booked() -> None:
    assert pool_depth_usdt([Decimal(10_000), Decimal("10000.000000005")]) == Decimal("500000.00000012")


def test_one_thin_hour_does_not_decide_the_depth(tmp_path: Path) -> None:
    bars: list[Bar] = [(hour * HOUR, 1000, 0 if hour == 30 else 20) for hour in range(40)]
    assert set(depths(tmp_path, bars)) == {Decimal(1_000_000)}


def test_a_depth_forgets_what_is_a_day_old(tmp_path: Path) -> None:
    bars: list[Bar] = [(hour * HOUR, 1000, 20 if hour < 24 else 40) for hour in range(48)]
    found = depths(tmp_path, bars)
    assert found[:35] == [Decimal(1_000_000)] * 35
    assert found[35:37] == [Decimal(1_500_000), Decimal(2_000_000)]


def test_minutes_are_summed_to_hours_and_an_hour_under_way_is_scaled(tmp_path: Path) -> None:
    bars: list[Bar] = [(minute * MINUTE, 100, 2 if minute < 60 else 6) for minute in range(90)]
    found = depths(tmp_path, bars)
    assert found[:60] == [Decimal(50 * 100 * 2 * 60)] * 60
    assert found[60:] == [Decimal(50 * 100 * 4 * 60)] * 30


def test_long_candles_are_scaled_down_to_an_hour(tmp_path: Path) -> None:
    four_hours: list[Bar] = [(4 * hour * HOUR, 100, 4_000) for hour in range(3)]
    assert depths(tmp_path, four_hours) == [Decimal(50 * 100 * 1_000)] * 3
    weeks: list[Bar] = [(week * 7 * DAY, 100, 168_000 * (week + 1)) for week in range(2)]
    assert depths(tmp_path, weeks) == [Decimal(50 * 100 * 1_000), Decimal(50 * 100 * 2_000)]


def defined_depth_usdt(candles: Sequence[Candle], interval: timedelta) -> Decimal:
    """The definition, word by word, over all candles so far."""
    newest = -((START - candles[-1].ts) // HOUR)
    by_hour: dict[int, list[Decimal]] = {}
    for candle in candles:
        hour = -((START - candle.ts) // HOUR)
        if newest - 24 < hour:
            by_hour.setdefault(hour, []).append(candle.close * candle.volume)
    volumes = [
        sum(them, Decimal(0)) * 3600 / (len(them) * (interval // timedelta(seconds=1))) for them in by_hour.values()
    ]
    return booked(max(DEPTH_FLOOR_USDT, DEPTH_HOURS * median(volumes)))


class PlainHours:
    """A depth's hours as they may be kept without a thought for speed. The operations on decimals are the definition's,
    so that no digit may differ."""

    def __init__(self, interval: timedelta) -> None:
        self._interval_millis = interval // timedelta(milliseconds=1)
        self._hours: dict[int, tuple[Decimal, int]] = {}

    def depth_usdt(self, candle: Candle) -> Decimal:
        newest = -((START - candle.ts) // HOUR)
        self._hours = {hour: it for hour, it in self._hours.items() if hour > newest - 24}
        traded, candles = self._hours.get(newest, (Decimal(0), 0))
        self._hours[newest] = traded + candle.close * candle.volume, candles + 1
        hourly = [traded * 3_600_000 / (candles * self._interval_millis) for traded, candles in self._hours.values()]
        return pool_depth_usdt(sorted(hourly))


def plain_rounds(
    files: Mapping[str, CandleFile], references: Mapping[str, CandleFile], series: Mapping[str, SeriesFile]
) -> Iterator[Round]:
    """All rounds as they may be made without a thought for speed."""
    candles = {pair: {it.ts: it for it in files[pair].candles()} for pair in sorted(files)}
    hours = {pair: PlainHours(files[pair].interval) for pair in files}
    before: dict[str, datetime] = {}
    for ts in sorted({ts for them in candles.values() for ts in them}):
        ticks, gaps = {}, []
        for pair in candles:
            if ts not in candles[pair]:
                continue
            candle, steps = candles[pair][ts], (ts - before.get(pair, ts)) // files[pair].interval
            if steps > 1:
                gaps.append(Gap(pair, before[pair], ts, steps - 1))
            before[pair] = ts
            executable = Observation("pool", candle.close, ts, hours[pair].depth_usdt(candle))
            seen = references[pair].latest(ts) if pair in references else None
            ticks[pair] = Tick(candle, executable, Observation("reference", seen.close, seen.ts) if seen else None)
        said = {name: reading for name in sorted(series) if (reading := series[name].latest(ts))}
        yield Round(ts, ticks, to_wire(ts), tuple(gaps), said)


def assert_as_plain(market: ReplayMarket, expected: Iterator[Round]) -> None:
    """To the last digit: decimals call 1.0 and 1.00 equal, their texts do not."""
    cursor = None
    for plain in expected:
        found = market.following(cursor)
        assert repr(found) == repr(plain)
        cursor = plain.cursor
    assert market.following(cursor) is None


INTERVALS = (10 * MINUTE, 45 * MINUTE, HOUR, 4 * HOUR, 26 * HOUR)


@st.composite
def bars(draw: st.DrawFn) -> list[Bar]:
    """Bars with gaps, on a grid that need not be that of the hours."""
    interval = draw(st.sampled_from(INTERVALS))
    gaps = draw(st.lists(st.integers(2, 40), max_size=4))
    steps = draw(st.permutations([*gaps, *[1] * (len(gaps) + 1 + draw(st.integers(0, 30)))]))
    opens = draw(st.integers(0, 3)) * 35 * MINUTE
    found: list[Bar] = []
    for step in [0, *steps]:
        opens += step * interval
        found.append((opens, draw(st.integers(1, 3)), draw(st.integers(0, 20_000))))
    return found


@given(history=bars())
def test_a_depth_is_what_its_definition_says(history: list[Bar]) -> None:
    with TemporaryDirectory() as folder:
        file = candle_file(Path(folder), "eth.csv", history)
        found = depths(Path(folder), history)
    candles = [*file.candles()]
    expected = [defined_depth_usdt(candles[: n + 1], file.interval) for n in range(len(candles))]
    for depth, defined in zip(found, expected, strict=True):
        assert depth is not None
        assert abs(depth - defined) <= Decimal("1E-6")


def test_a_depth_is_the_same_wherever_the_reading_began(tmp_path: Path) -> None:
    bars: list[Bar] = [(n * 10 * MINUTE, 100, 1_000 + n * n % 997) for n in range(300)]
    files = {"ETH/USDT": candle_file(tmp_path, "eth.csv", bars)}
    sequential, again = [*rounds(ReplayMarket(files, {}))], ReplayMarket(files, {})
    found = [settled(again.next_round(to_wire(it.ts - MINUTE))) for it in sequential]
    assert found == sequential


@st.composite
def markets(draw: st.DrawFn) -> tuple[dict[str, list[Bar]], dict[str, list[Bar]]]:
    files = {pair: draw(bars()) for pair in ("BTC/USDT", "ETH/USDT", "LTC/USDT")[: draw(st.integers(1, 3))]}
    return files, {pair: draw(bars()) for pair in files if draw(st.booleans())}


def opened(folder: str, files: Mapping[str, list[Bar]], role: str) -> dict[str, CandleFile]:
    return {pair: candle_file(Path(folder), f"{role}-{pair[:3]}.csv", history) for pair, history in files.items()}


Values = dict[str, dict[timedelta, Decimal | int]]


@st.composite
def said(draw: st.DrawFn) -> Values:
    """Series by name, each with its values by their time after START."""
    steps = st.lists(st.integers(1, 3000), min_size=1, max_size=20)
    return {
        name: {minutes * MINUTE: draw(st.integers(-5, 5)) for minutes in accumulate(draw(steps))}
        for name in ("fear", "rate")[: draw(st.integers(0, 2))]
    }


def all_series(folder: str, values: Values) -> dict[str, SeriesFile]:
    return {name: series_file(Path(folder), name, values[name]) for name in values}


@settings(deadline=None, max_examples=60)
@given(
    market=markets(),
    values=said(),
    jumps=st.lists(st.integers(0, 10**6), min_size=1, max_size=8),
    minutes=st.integers(0, 600),
)
def test_a_run_continues_alike_from_any_cursor(
    market: tuple[dict[str, list[Bar]], dict[str, list[Bar]]], values: Values, jumps: list[int], minutes: int
) -> None:
    with TemporaryDirectory() as folder:
        files, references = opened(folder, market[0], "file"), opened(folder, market[1], "reference")
        series = all_series(folder, values)
    sequential = [*rounds(ReplayMarket(files, references, series))]
    jumping = ReplayMarket(files, references, series)
    for jump in jumps:
        place = jump % len(sequential)
        assert [*rounds(ReplayMarket(files, references, series), sequential[place].cursor)] == sequential[place + 1 :]
        again = rounds(jumping, sequential[place].cursor)
        assert [it for _, it in zip(range(3), again, strict=False)] == sequential[place + 1 : place + 4]
        between = to_wire(sequential[place].ts + minutes * MINUTE)
        later = [it for it in sequential if it.ts > from_wire(between)]
        assert settled(jumping.next_round(between)) == (later[0] if later else None)


@settings(deadline=None, max_examples=60)
@given(market=markets(), values=said())
def test_rounds_are_those_that_are_made_without_a_thought_for_speed(
    market: tuple[dict[str, list[Bar]], dict[str, list[Bar]]], values: Values
) -> None:
    with TemporaryDirectory() as folder:
        files, references = opened(folder, market[0], "file"), opened(folder, market[1], "reference")
        series = all_series(folder, values)
    assert_as_plain(ReplayMarket(files, references, series), plain_rounds(files, references, series))


def test_random_minutes_give_the_rounds_that_are_made_without_a_thought_for_speed(tmp_path: Path) -> None:
    random, bars, minute = Random(5), list[Bar](), 17
    for _ in range(6_000):
        minute += 1 if random.random() < 0.995 else random.randrange(2, 400)
        volume = Decimal(random.choice((0, random.randrange(10**6)))).scaleb(-random.randrange(4))
        bars.append((minute * MINUTE, Decimal(random.randrange(9_000_000, 11_000_000)).scaleb(-5), volume))
    files = {"ETH/USDT": candle_file(tmp_path, "eth.csv", bars)}
    assert_as_plain(ReplayMarket(files, {}), plain_rounds(files, {}, {}))


@pytest.mark.parametrize("name", ["eth-eur-1h.csv", "btc-usd-1m.csv"])
def test_real_rounds_are_those_that_are_made_without_a_thought_for_speed(real_data: Path, name: str) -> None:
    files = {"ETH/USDT": open_candles(real_data / name, "ETH/USDT")}
    assert_as_plain(ReplayMarket(files, files), plain_rounds(files, files, {}))


def test_real_pairs_are_merged_with_nothing_lost(real_data: Path) -> None:
    eth = open_candles(real_data / "eth-eur-1h.csv", "ETH/USDT")
    ltc = open_candles(real_data / "ltc-eur-1h.csv", "LTC/USDT")
    market = ReplayMarket({"ETH/USDT": eth, "LTC/USDT": ltc}, {})
    found = [*rounds(market)]
    assert market.begins == datetime(2021, 12, 22, 16, tzinfo=UTC)
    for pair, file in (("ETH/USDT", eth), ("LTC/USDT", ltc)):
        assert [it.ticks[pair].candle for it in found if pair in it.ticks] == [*file.candles()]
    assert [it.ts for it in found] == sorted({it.ts for it in found})
    told = [gap.pair for it in found for gap in it.gaps]
    assert (told.count("ETH/USDT"), told.count("LTC/USDT")) == (4, 7)
    for place in range(0, len(found) - 1, 1999):
        assert settled(market.next_round(found[place].cursor)) == found[place + 1]


def test_real_minutes_have_an_hourly_reference(real_data: Path) -> None:
    minutes = open_candles(real_data / "btc-usd-1m.csv", "BTC/USDT")
    hours = open_candles(real_data / "btc-eur-1h.csv", "BTC/USDT")
    found = [*rounds(ReplayMarket({"BTC/USDT": minutes}, {"BTC/USDT": hours}))]
    seen = [it.ticks["BTC/USDT"].reference for it in found]
    assert len(seen) == 1_440
    assert {it.observed_at for it in seen if it} == {it.ts for it in hours.candles() if START <= it.ts <= START + DAY}
