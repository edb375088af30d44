"""Signals, but no trades: every count of the funnel, held against a recount of the events and against a model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from attrs import evolve as changed
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.journal.chain import Head, seal
from actors.journal.store import FILE_NAME, LAYOUT, LogReader, LogStore
from protocol.errors import UserError
from protocol.events import ConfigAdopted, Decided, Genesis, OrderPlaced, Row, Trade
from protocol.orders import Order, Quote, Side
from protocol.settings import AgentConfig
from protocol.times import to_millis, to_wire
from server.funnel import funnel, gate_of, print_funnel, table
from tests.actors.logs import contents, decisions, run_whole
from tests.actors.seeded import run_seeded
from tests.server.clients import Ended, at_the_end
from tests.server.markets import PAIRS
from tests.world.daemon import DaemonProcess
from tests.world.market import Walk, eager_config

DAY: Final = timedelta(days=1)

# --- a real market: dips of ETH and LTC, an ETH reference that strays and is late, an LTC pool that is held to be thin

ROUNDS: Final = 1_200
STRATEGY: Final = """\
market_mode: spot
name: dips
signals:
  entry:
    all_of:
      - {indicator: price_vs_sma, op: "<=", value: -0.008, window: 24}
      - {indicator: rsi, op: "<=", value: 45, window: 14}
  exit:
    any_of:
      - {indicator: price_vs_sma, op: ">=", value: 0.004, window: 24}
      - {indicator: ema_cross, op: crosses_above, value: 0, fast: 5, slow: 20}
regime_filter: {stand_aside_when: [{indicator: volatility, op: ">=", value: 0.011, window: 24}]}
params: {position_size_pct: 60, max_concurrent: 1, stop_loss_pct: 3, take_profit_pct: 2, max_hold_hours: 30}
"""
SETTINGS: Final = """\
[strategy]
spec = "dips.yaml"
fee_multiple = 3

[quotes]
pairs = {"LTC/USDT" = {max_impact_pct = 0.025}}

[risk]
max_drawdown_pct = 5
daily_drawdown_pct = 2
max_consecutive_losses = 2
cooldown_hours = 30

[paper]
fill_at = "FILL_AT"
"""


def dips_flags(data: Path, folder: Path, fill_at: str = "quote", rounds: int = ROUNDS) -> tuple[list[str], str]:
    """Write the market and its settings; the flags that replay it, and when its last candle closes."""
    (folder / "dips.yaml").write_text(STRATEGY, encoding="utf-8")
    (folder / "dips.toml").write_text(SETTINGS.replace("FILL_AT", fill_at), encoding="utf-8")
    flags = ["--speed", "max", "--config", str(folder / "dips.toml")]
    for pair in PAIRS:
        name = f"{pair[:3].lower()}-eur-1h.csv"
        lines = (data / name).read_text(encoding="utf-8").splitlines()[: rounds + 1]
        (folder / name).write_text("\n".join([*lines, ""]), encoding="utf-8")
        flags += ["--replay", f"{pair}={folder / name}"]
        if pair == "ETH/USDT":
            (folder / "elsewhere.csv").write_text("\n".join([*_strayed(lines), ""]), encoding="utf-8")
            flags += ["--reference", f"{pair}={folder / 'elsewhere.csv'}"]
    last = max((folder / f"{pair[:3].lower()}-eur-1h.csv").read_text().splitlines()[-1] for pair in PAIRS)
    return flags, to_wire(datetime.fromisoformat(last.split(",")[0]).astimezone(UTC) + timedelta(hours=1))


def _strayed(lines: list[str]) -> Iterator[str]:
    """2 % off for eleven hours now and then; and now and then it says nothing for seven."""
    yield lines[0]
    for hour, line in enumerate(lines[1:]):
        at, *prices, volume = line.split(",")
        if hour // 7 % 5 != 3:
            yield ",".join([at, *(f"{float(p) * (1.02 if hour // 11 % 5 == 0 else 1):.2f}" for p in prices), volume])


@pytest.fixture(scope="module", params=["quote", "next_open"])
def dips(real_data: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ended]:
    """At the end of it. For tests that only read."""
    folder = tmp_path_factory.mktemp("dips")
    flags, end = dips_flags(real_data, folder, request.param)
    daemon = DaemonProcess(folder / "data", flags)
    try:
        ended = at_the_end(daemon, end)
        with closing(ended.client):
            yield ended
    finally:
        daemon.kill()


# --- the recount

# What each code is left behind of: by hand, out of the contract.
LEFT_BY: Final = {
    "regime": 0, "fee_filter": 1, "QUOTE_STALE": 2, "QUOTE_DIVERGENCE": 2, "INSUFFICIENT_LIQUIDITY": 2,
    "max_drawdown": 3, "daily_drawdown": 3, "streak_limit": 3, "stale_market": 3, "max_concurrent": 3,
    "per_pair_exposure": 3, "insufficient_funds": 3, "dust": 4, "QUOTE_MISMATCH": 4,
}  # fmt: skip
STAGES: Final = ("signals", "after_regime", "after_fees", "quotes_accepted", "risk_passed")


def outcomes_of(events: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str, str, str, int]]:
    """(time, pair, side, code or "filled", how many), out of what the stream says. What was counted and told later is
    of the day on which it happened."""
    for event in events:
        if event["event"] == "trade":
            yield event["ts"], event["pair"], event["side"], "filled", 1
        elif event["event"] == "risk_veto":
            yield event["ts"], event["pair"], event["side"], event["rule"], 1
        elif event.get("type") == "SKIPPED" and "code" in (data := event["data"]):
            repeats = "repeats" in event["tags"]
            assert not repeats or data["first"][:10] == data["last"][:10]
            at, times = (data["first"], data["count"]) if repeats else (event["ts"], 1)
            yield at, data["pair"], data["side"], data["code"], times


def recounted(events: Iterable[dict[str, Any]], begin: str, end: str, pair: str | None) -> dict[str, Any]:
    """The funnel of whole days, from nothing but events. No order waits at the end of one here, as tests see to."""
    by_side: dict[str, Counter[str]] = {"buy": Counter(), "sell": Counter()}
    for at, name, side, code, times in outcomes_of(events):
        if begin <= at < end and pair in (None, name):
            by_side[side][code] += times
    entries, exits = by_side["buy"], by_side["sell"]
    left = [sum(n for code, n in entries.items() if LEFT_BY.get(code, 9) >= stage) for stage in range(len(STAGES))]
    return {
        **dict(zip(STAGES, left, strict=True)), "filled": entries.pop("filled", 0), "by_code": dict(entries),
        "exits": {
            "signals": exits.total(),
            "quotes_accepted": exits.total() - sum(n for code, n in exits.items() if LEFT_BY.get(code) == 2),
            "filled": exits.pop("filled", 0), "by_code": dict(exits),
        },
    }  # fmt: skip


def unwaiting(way: dict[str, Any]) -> dict[str, Any]:
    """A way of the funnel without what no event tells."""
    assert way["waiting"] == way["exits"]["waiting"] == 0
    assert way["risk_passed"] == way["filled"] + sum(way["unfilled"].values())
    names = (*STAGES, "filled", "by_code")
    exits = {name: way["exits"][name] for name in ("signals", "quotes_accepted", "filled", "by_code")}
    return {name: way[name] for name in names} | {"exits": exits}


def midnights(ended: Ended) -> list[str]:
    """Those that no order waits over: all where fills are at the quote."""
    first, last = (datetime.fromisoformat(ended.events[place]["ts"]) for place in (0, -1))
    begin = first.replace(hour=0) + DAY
    found = [to_wire(begin + day * DAY) for day in range((last - begin) // DAY + 1)]
    ways = [(at, ended.get(f"/funnel?to={at}").json()) for at in found]
    return [at for at, way in ways if way["waiting"] == way["exits"]["waiting"] == 0]


def test_every_figure_is_what_the_events_add_up_to(dips: Ended) -> None:
    days = midnights(dips)
    assert len(days) > 30
    spans = [("2000-01-01T00:00:00.000Z", days[-1]), *pairwise(days), (days[9], days[29])]
    seen: Counter[str] = Counter()
    for begin, end in spans:
        found = dips.get(f"/funnel?from={begin}&to={end}").json()
        assert (found["from"], found["to"]) == (begin, end)
        assert unwaiting(found) == recounted(dips.events, begin, end, None), (begin, end)
        for pair in PAIRS:
            wanted = recounted(dips.events, begin, end, pair)
            assert unwaiting(found["pairs"][pair]) == wanted
            alone = dips.get(f"/funnel?from={begin}&to={end}&pair={pair}").json()
            assert alone["pairs"] == {pair: found["pairs"][pair]}
            assert unwaiting(alone) == wanted
        seen.update(found["by_code"])
    assert set(seen) >= {
        "regime", "fee_filter", "QUOTE_STALE", "QUOTE_DIVERGENCE", "INSUFFICIENT_LIQUIDITY", "max_drawdown",
        "daily_drawdown", "streak_limit", "max_concurrent",
    }  # fmt: skip


def test_what_is_never_folded_adds_up_to_the_very_end(dips: Ended) -> None:
    found = dips.get("/funnel").json()
    sides = Counter(trade["side"] for trade in dips.of("trade"))
    assert (found["filled"], found["exits"]["filled"]) == (sides["buy"], sides["sell"])
    assert found["quotes_accepted"] - found["risk_passed"] == len(dips.of("risk_veto"))
    refused = found["after_fees"] - found["quotes_accepted"]
    refused += found["exits"]["signals"] - found["exits"]["quotes_accepted"]
    assert refused == len(dips.of("quote_rejected")) > 0
    vetoes = Counter(veto["rule"] for veto in dips.of("risk_veto"))
    assert {code: n for code, n in found["by_code"].items() if LEFT_BY[code] == 3} == vetoes


def test_over_a_time_the_filled_ones_are_that_times_trades(dips: Ended) -> None:
    times = [event["ts"] for event in dips.events[:: len(dips.events) // 7]]
    for begin, end in pairwise(times):
        found, span = dips.get(f"/funnel?from={begin}&to={end}").json(), f"from={begin}&to={end}"
        trades = dips.get(f"/trades?limit=5000&{span}").json()
        assert (found["filled"], found["exits"]["filled"]) == tuple(
            sum(trade["side"] == side for trade in trades) for side in ("buy", "sell")
        )


def test_the_funnel_reflects_the_position_that_it_names(dips: Ended) -> None:
    answer = dips.get("/funnel")
    assert answer.headers["x-last-seq"] == str(dips.head)
    assert answer.headers["x-log-id"] == dips.get("").json()["log_id"]


# --- a model: any outcomes of any orders, waiting ones among them

BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
CODES: Final = ("regime", "fee_filter", "QUOTE_STALE", "INSUFFICIENT_LIQUIDITY", "daily_drawdown", "dust")
ONE: Final = Decimal(1)


@frozen
class Step:
    """What happens to a pair: an outcome of `side` and `code` (None: a trade), or, with `wait`, an order that waits.
    While one does, the next step of the pair ends it."""

    pair: str
    side: Side
    code: str | None
    wait: bool
    hours: int  # after the step before


steps = st.lists(
    st.builds(
        Step, st.sampled_from(PAIRS), st.sampled_from(["buy", "sell"]), st.none() | st.sampled_from(CODES),
        st.booleans(), st.integers(0, 2),
    ),
    max_size=25,
)  # fmt: skip


def order(pair: str, side: Side) -> Order:
    return Order("ord_1", pair, side, ONE, None, "it holds")


def quote(at: datetime) -> Quote:
    return Quote("ord_1", at, ONE, "pool", ONE, ONE, ONE, ONE, ONE, 60, ONE, ONE, ONE)


def trade(at: datetime, pair: str, side: Side) -> Trade:
    return Trade(at, pair, side, ONE, ONE, None, ONE, "paper", "jrn_1", ONE, "ord_1")


Counts = Counter[tuple[str, str, str]]  # pair, side, and the gate with the code, or "filled", or "waiting"


def played(script: list[Step]) -> tuple[list[Row], Callable[[datetime, datetime], Counts]]:
    """The rows, and the model that counts them. What live made of a decision is in the rows, and counts nowhere."""
    at, rows = BEGIN, list[Row]()
    waits: dict[str, tuple[datetime, Side]] = {}
    ended: list[tuple[datetime, str, str, str]] = []
    placed: list[tuple[datetime, datetime, str, str]] = []  # from when to when
    for step in script:
        at += step.hours * HOUR
        since, side = waits.pop(step.pair, (None, step.side))
        if since is None and step.wait:
            rows.append(OrderPlaced(at, order(step.pair, side), quote(at)))
            waits[step.pair] = (at, side)
            continue
        if since is not None:
            placed.append((since, at, step.pair, side))
        if step.code is None:
            rows.append(trade(at, step.pair, side))
            ended.append((at, step.pair, side, "filled"))
        else:
            rows.append(Decided(at, step.pair, side, step.code, "jrn_1"))
            stage = 4 if since is not None else LEFT_BY[step.code]
            ended.append((at, step.pair, side, f"{stage} {step.code}"))
        if len(ended) % 2:
            rows.append(Decided(at, step.pair, side, "frozen", "jrn_2", "live"))
        elif len(ended) % 3:
            rows.append(changed(trade(at, step.pair, side), phase="live"))
    placed += [(since, datetime.max.replace(tzinfo=UTC), pair, side) for pair, (since, side) in waits.items()]

    def counted(begin: datetime, end: datetime) -> Counts:
        found = Counter((pair, side, what) for at, pair, side, what in ended if begin <= at < end)
        found.update((pair, side, "waiting") for since, till, pair, side in placed if since < end <= till)
        return found

    return rows, counted


def log_of(folder: Path, rows: list[Row]) -> LogReader:
    founding: list[Row] = [Genesis(BEGIN, LAYOUT, "seed", {}), ConfigAdopted(BEGIN, 1, AgentConfig(PAIRS))]
    store = LogStore(folder / FILE_NAME, log_id="log_test")
    store.append(seal([*founding, *rows], Head())[0])
    store.close()
    return LogReader(folder / FILE_NAME)


@settings(max_examples=150)
@given(script=steps, first=st.integers(-1, 40), hours=st.integers(0, 40))
def test_any_outcomes_are_counted_as_the_model_counts_them(script: list[Step], first: int, hours: int) -> None:
    rows, counted = played(script)
    begin, end = BEGIN + first * HOUR, BEGIN + (first + hours) * HOUR
    with TemporaryDirectory() as folder, closing(log_of(Path(folder), rows)) as reader:
        found = funnel(reader, PAIRS, to_millis(begin), to_millis(end))
        assert flattened(found.as_plain()) == counted(begin, end)
        everything = funnel(reader, PAIRS, None, None).as_plain()
        assert flattened(everything) == counted(BEGIN, at_last := BEGIN + 10_000 * HOUR)
        one = funnel(reader, PAIRS[:1], None, None).as_plain()
        assert one["pairs"] == {PAIRS[0]: everything["pairs"][PAIRS[0]]}
        assert funnel(reader, PAIRS, to_millis(at_last), None).as_plain()["filled"] == 0


def flattened(plain: dict[str, Any]) -> Counts:
    """The counts out of the funnel's figures, each pair by itself; that all together are their sums."""
    found: Counts = Counter()
    for pair, way in plain["pairs"].items():
        for side, part in (("buy", way), ("sell", way["exits"])):
            found += Counter({(pair, side, name): part[name] for name in ("filled", "waiting")})
            unfilled = Counter(part["unfilled"])
            found += Counter({(pair, side, f"4 {code}"): n for code, n in unfilled.items()})
            rest = Counter(part["by_code"]) - unfilled
            found += Counter({(pair, side, f"{LEFT_BY[code]} {code}"): n for code, n in rest.items()})
            assert part["signals"] == part["filled"] + part["waiting"] + sum(part["by_code"].values())
        left = [way[name] for name in STAGES]
        at_gate = [sum(n for (p, s, w), n in found.items() if (p, s, w[0]) == (pair, "buy", str(g))) for g in range(4)]
        assert [a - b for a, b in pairwise(left)] == at_gate
    for name in (*STAGES, "waiting", "filled"):
        assert plain[name] == sum(way[name] for way in plain["pairs"].values())
    for name in ("signals", "quotes_accepted", "waiting", "filled"):
        assert plain["exits"][name] == sum(way["exits"][name] for way in plain["pairs"].values())
    for codes in ("by_code", "unfilled"):
        together: Counter[str] = Counter()
        for way in plain["pairs"].values():
            together.update(way[codes])
        assert plain[codes] == together
    return found


@settings(max_examples=60)
@given(script=steps, cut=st.integers(0, 40))
def test_two_times_add_up_to_both_but_for_what_waited_between_them(script: list[Step], cut: int) -> None:
    rows, counted = played(script)
    middle = BEGIN + cut * HOUR
    with TemporaryDirectory() as folder, closing(log_of(Path(folder), rows)) as reader:
        whole, before, after = (
            flattened(funnel(reader, PAIRS, since, until).as_plain())
            for since, until in ((None, None), (None, to_millis(middle)), (to_millis(middle), None))
        )
    between = Counter({key: n for key, n in before.items() if key[2] == "waiting"})
    assert whole + between == before + after
    assert between == Counter({key: n for key, n in counted(BEGIN, middle).items() if key[2] == "waiting"})


@pytest.mark.parametrize("code", LEFT_BY)
def test_each_code_is_of_the_gate_that_the_contract_names(code: str) -> None:
    assert gate_of(code) == ("regime", "fees", "quote", "risk", "fill")[LEFT_BY[code]]


# --- the whole house


@pytest.mark.parametrize(("seed", "fill_at"), [(3, "quote"), (4, "next_open"), (5, "next_open")])
def test_no_decision_of_the_house_is_lost(tmp_path: Path, seed: int, fill_at: Any) -> None:
    """Also where repeats were never told, pairs are missing and waiting orders grow stale."""
    config = eager_config()
    quotes = changed(config.quotes, max_age_seconds=3_000)
    config = changed(config, paper=changed(config.paper, fill_at=fill_at), quotes=quotes)
    run_seeded(0, run_whole, tmp_path, Walk(seed, 300), config)
    assert contents(tmp_path)
    rows = decisions(tmp_path)
    with closing(LogReader(tmp_path / FILE_NAME)) as reader:
        plain = funnel(reader, config.watchlist, None, None).as_plain()
    for side, part in (("buy", plain), ("sell", plain["exits"])):
        codes = Counter(row.code for row in rows if isinstance(row, Decided) and row.side == side)
        filled = sum(isinstance(row, Trade) and row.side == side for row in rows)
        assert (part["by_code"], part["filled"]) == (codes, filled)
    placed = sum(isinstance(row, OrderPlaced) for row in rows)
    if fill_at == "next_open":
        ends = plain["filled"] + plain["exits"]["filled"] + sum(plain["unfilled"].values())
        ends += sum(plain["exits"]["unfilled"].values())
        assert placed == ends + plain["waiting"] + plain["exits"]["waiting"]
        assert plain["unfilled"].keys() | plain["exits"]["unfilled"].keys(), "no order grew stale: nothing was shown"


# --- for people


def test_the_table_says_all_figures(tmp_path: Path) -> None:
    script = [Step(pair, side, code, False, 1) for pair in PAIRS for side in ("buy", "sell") for code in (*CODES, None)]
    script += [Step(PAIRS[0], "buy", None, True, 1)] + [Step(PAIRS[1], "buy", "regime", False, 0)] * 1_000
    with closing(log_of(tmp_path, played(script)[0])) as reader:
        text = table(funnel(reader, PAIRS, None, None))
        alone = table(funnel(reader, PAIRS[:1], None, None))
    rows = [line.split() for line in text.splitlines()]
    assert rows[:4] == [
        ["entries", *STAGES, "waiting", "filled"],
        ["all", "1,015", "13", "11", "7", "5", "1", "2"],
        ["ETH/USDT", "8", "7", "6", "4", "3", "1", "1"],
        ["LTC/USDT", "1,007", "6", "5", "3", "2", "0", "1"],
    ]
    assert rows[5:9] == [
        ["exits", "signals", "quotes_accepted", "waiting", "filled"],
        ["all", "14", "6", "0", "2"],
        ["ETH/USDT", "7", "3", "0", "1"],
        ["LTC/USDT", "7", "3", "0", "1"],
    ]
    assert rows[10] == ["refused", "by", "entries", "exits"]
    assert [row[0] for row in rows[11:]] == [
        "regime", "fee_filter", "INSUFFICIENT_LIQUIDITY", "QUOTE_STALE", "daily_drawdown", "dust"
    ]  # fmt: skip
    assert rows[11] == ["regime", "1,002", "2"]
    assert "all" not in alone


def test_where_nothing_held_the_table_says_who_knows_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_of(tmp_path, []).close()
    print_funnel(tmp_path, None, None, None, False)
    assert "No entry signal. `forestay why PAIR` says what the strategy sees." in capsys.readouterr().out
    print_funnel(tmp_path, None, None, None, True)
    assert json.loads(capsys.readouterr().out)["signals"] == 0


def test_a_log_that_cannot_be_counted_is_told_in_one_line(tmp_path: Path) -> None:
    LogStore(tmp_path / FILE_NAME, log_id="log_test").close()
    with pytest.raises(UserError, match="nothing is in it yet"):
        print_funnel(tmp_path, None, None, None, False)
    other = tmp_path / "other"
    other.mkdir()
    store = LogStore(other / FILE_NAME, log_id="log_test")
    store.append(seal([Genesis(BEGIN, LAYOUT + 1, "seed", {})], Head())[0])
    store.close()
    with pytest.raises(UserError, match=f"it has layout {LAYOUT + 1}, this forestay reads layout {LAYOUT}"):
        print_funnel(other, None, None, None, False)
