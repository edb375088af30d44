"""A backtest is what the daemon's replay logs: the same events, field by field, whatever the market and the settings.

The real daemon runs as a process and is read over REST, as a user would read it.
"""

from __future__ import annotations

import csv
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from protocol.events import LIFE_OF_THE_PROCESS
from tests.world.daemon import FORESTAY, DaemonProcess

ETH: Final = "ETH/USDT"
ROUNDS: Final = 4_000
SPEC: Final = """
market_mode: spot
name: busy
signals:
  entry:
    all_of:
      - {indicator: price_vs_sma, op: "<=", value: -0.01, window: 24}
      - {indicator: rsi, op: "<=", value: 40, window: 8}
  exit:
    any_of:
      - {indicator: price_vs_sma, op: ">=", value: 0.0, window: 24}
      - {indicator: ema_cross, op: crosses_above, value: 0, fast: 4, slow: 12}
regime_filter: {stand_aside_when: [{indicator: volatility, op: ">=", value: 0.03, window: 24}]}
params: {position_size_pct: 80, max_concurrent: 1, stop_loss_pct: 4, take_profit_pct: 3, max_hold_hours: 30}
"""
SETTINGS: Final = """
[strategy]
spec = "busy.yaml"
fee_multiple = 1
[risk]
max_drawdown_pct = 10
daily_drawdown_pct = 4
max_consecutive_losses = 2
cooldown_hours = 30
[evaluation]
eval_window_days = 2
trade_floor = 2
[paper]
initial_usdt = 1500
fill_at = "{fill_at}"
impact = "{impact}"
"""
PAPER_EVENTS: Final = ("snapshot", "trade", "journal_entry", "risk_veto", "status_change", "quote_rejected")


@pytest.mark.parametrize(("fill_at", "impact"), [("quote", "pool"), ("next_open", "none")])
def test_a_backtest_and_a_replay_log_the_same_events(
    fill_at: str, impact: str, tmp_path: Path, real_data: Path, start_daemon: Callable[..., DaemonProcess]
) -> None:
    flags = written(tmp_path, real_data / "eth-eur-1h.csv", fill_at, impact)
    ours = backtested(tmp_path, flags)
    theirs = replayed(start_daemon, tmp_path, flags)
    assert_equal(ours, theirs)
    kinds = Counter(event["event"] for event in ours)
    assert kinds["trade"] >= 40  # executions: twenty round trips
    assert all(kinds[kind] >= 3 for kind in PAPER_EVENTS), kinds


def written(folder: Path, candles: Path, fill_at: str, impact: str) -> list[str]:
    """A slice of the candles, a second source with holes and errors of its own, strategy and settings; the flags."""
    (folder / "busy.yaml").write_text(SPEC)
    (folder / "busy.toml").write_text(SETTINGS.format(fill_at=fill_at, impact=impact))
    with candles.open() as file:
        header, *rows = csv.reader(file)
    _save(folder / "eth.csv", header, rows[:ROUNDS])
    random, seen = Random(5), []
    silent = 0
    for row in rows[:ROUNDS]:
        silent = random.randrange(3, 9) if random.random() < 0.01 else silent - 1
        if silent <= 0:
            off = 1.02 if random.random() < 0.08 else 1.001
            seen.append([row[0], *(f"{float(price) * off:.2f}" for price in row[1:5]), *row[5:]])
    _save(folder / "elsewhere.csv", header, seen)
    return ["--config", str(folder / "busy.toml"), "--reference", f"{ETH}={folder / 'elsewhere.csv'}"]


def _save(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def backtested(folder: Path, flags: list[str]) -> list[dict[str, Any]]:
    """The events that the command writes, in a process of its own."""
    events = folder / "events.jsonl"
    subprocess.run(
        [FORESTAY, "backtest", folder / "busy.yaml", "--data", f"{ETH}={folder / 'eth.csv'}", *flags,
         "--events", events, "--json"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    return [json.loads(line) for line in events.read_text().splitlines()]


def replayed(start_daemon: Callable[..., DaemonProcess], folder: Path, flags: list[str]) -> list[dict[str, Any]]:
    """The events that the real daemon serves once its replay is over."""
    daemon = start_daemon("--replay", f"{ETH}={folder / 'eth.csv'}", "--speed", "max", *flags)
    daemon.ready()
    events: list[dict[str, Any]] = []
    while snapshots(events) < ROUNDS:
        since = events[-1]["seq"] if events else 0
        events += daemon.get("/agents/current/events", params={"since": since, "limit": 5000}).json()
    return events


def snapshots(events: list[dict[str, Any]]) -> int:
    """One an hour, the last event of its round."""
    return sum(event["event"] == "snapshot" for event in events)


def assert_equal(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Field by field; only the first difference is of interest."""
    assert ours[0]["type"] in LIFE_OF_THE_PROCESS
    for our, their in zip(ours, theirs, strict=False):
        if our != their:
            fields = {key: (our.get(key), their.get(key)) for key in {*our, *their} if our.get(key) != their.get(key)}
            pytest.fail(f"seq {our['seq']} of {our['ts']} differs (backtest, replay): {fields}", pytrace=False)
    assert len(ours) == len(theirs)
