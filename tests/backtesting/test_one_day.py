"""One day, computed by hand: the numbers themselves, not only that two runs of ours agree on them.

The strategy buys when the close is 4 % below the one two candles ago, and sells when it is 3 % above. Hourly closes:

    01:00  02:00  03:00  04:00  05:00  06:00  07:00  08:00 ... 24:00
     1000   1000   1000    950    940    960    980    980 ...   980

04:00  950/1000 - 1 = -5 %: buy with half of 1,000 USDT.
       The pool holds the least there is, 250,000 USDT (the market is thin), so 500 USDT move it by 500/250,000 = 0.2 %:
       the average price is 950 x 1.002 = 951.9. Slippage of 5 bps makes it 951.9 x 1.0005 = 952.37595.
       Of the 500, gas takes 0.10 and rounding keeps 0.00000002 back; 499.89999998 / 1.0025 (fee) / 952.37595
       = 0.523588787..., down to whole lots 0.52358878 ETH. They cost 0.52358878 x 952.37595 = 498.65336176,
       and fees 498.65336176 x 0.25 % + 0.10 = 1.34663340. Cash: 1000 - 498.65336176 - 1.34663340 = 500.00000484.
       Marked at 950: 0.52358878 x 950 = 497.40934100, equity 997.40934584;
       (1000 - 997.40934584) / 1000 = 0.00259065 from the peak; of a daily budget of 8 % that is 0.03238318.
05:00  940/1000 - 1 = -6 %, but it is held. Equity 500.00000484 + 492.17345320 = 992.17345804; 0.00782654
       down, 0.09783177 of the budget.
06:00  960/950 - 1 = 1.05 %: stay. Equity 500.00000484 + 502.64522880 = 1002.64523364, a new peak.
07:00  980/940 - 1 = 4.26 %: sell all. Worth 0.52358878 x 980 = 513.11700440, which moves the pool by 0.00205247:
       980 / 1.00205247 = 977.99269932, less 5 bps 977.50370297. It brings 511.80997128, fees 1.37952493.
       pnl = 511.80997128 - 1.37952493 - (498.65336176 + 1.34663340) = 10.43045119; that is 2.086090 % of a cost of
       499.99999516.
       Cash and equity from here on: 500.00000484 + 511.80997128 - 1.37952493 = 1010.43045119.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.world.daemon import FORESTAY

CLOSES: Final = [1000, 1000, 1000, 950, 940, 960, *[980] * 18]
SPEC: Final = """
market_mode: spot
name: one-day
signals:
  entry: {all_of: [{indicator: momentum, op: "<=", value: -0.04, window: 2}]}
  exit: {all_of: [{indicator: momentum, op: ">=", value: 0.03, window: 2}]}
params: {position_size_pct: 50}
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The command's JSON, and the events it writes."""
    (tmp_path / "day.yaml").write_text(SPEC)
    rows = [f"2024-03-01T{hour:02}:00:00Z,{c},{c},{c},{c},1" for hour, c in enumerate(CLOSES)]
    (tmp_path / "day.csv").write_text("\n".join(["time,open,high,low,close,volume", *rows]) + "\n")

    def backtest(*flags: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        events = tmp_path / "events.jsonl"
        done = subprocess.run(
            [FORESTAY, "backtest", "day.yaml", "--data", "ETH/USDT=day.csv", "--events", events, "--json", *flags],
            cwd=tmp_path, env={"FORESTAY_STRATEGY__FEE_MULTIPLE": "0"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), [json.loads(line) for line in events.read_text().splitlines()]

    return backtest


def test_one_day_is_what_it_is_by_hand(run: Callable[..., Any]) -> None:
    result, events = run()
    bought, sold = (event for event in events if event["event"] == "trade")
    assert (bought["ts"], bought["qty"], bought["price"]) == ("2024-03-01T04:00:00.000Z", 0.52358878, 952.37595)
    assert (bought["size"], bought["fees"], bought["pnl"]) == (498.65336176, 1.3466334, None)
    assert (sold["ts"], sold["qty"], sold["price"]) == ("2024-03-01T07:00:00.000Z", 0.52358878, 977.50370297)
    assert (sold["size"], sold["fees"], sold["pnl"]) == (511.80997128, 1.37952493, 10.43045119)
    assert (sold["hold_s"], sold["return"]) == (3 * 3600, 0.0208609)
    shots = {event["ts"][11:16]: event for event in events if event["event"] == "snapshot"}
    assert [shots[hour]["equity"] for hour in ("03:00", "04:00", "05:00", "06:00", "07:00", "08:00")] == [
        1000, 997.40934584, 992.17345804, 1002.64523364, 1010.43045119, 1010.43045119,
    ]  # fmt: skip
    assert [shots[hour]["dd_from_peak"] for hour in ("04:00", "05:00", "06:00")] == [0.00259065, 0.00782654, 0]
    assert [shots[hour]["daily_dd_used"] for hour in ("04:00", "05:00", "06:00")] == [0.03238318, 0.09783177, 0]
    (trip,) = result["trades"]
    assert trip == {
        "pair": "ETH/USDT", "entry_ts": bought["ts"], "exit_ts": sold["ts"], "entry_price": 952.37595,
        "exit_price": 977.50370297, "size": 498.65336176, "pnl": 10.43045119, "fees": 2.72615833,
        # Against the closes: 0.52358878 x (952.37595 - 950) and 0.52358878 x (980 - 977.50370297).
        "slippage": 2.55105388, "return": 0.0208609,
    }  # fmt: skip
    metrics = result["metrics"]
    assert (metrics["final"], metrics["trades"], metrics["executions"]) == (1010.43045119, 1, 2)
    assert (metrics["max_drawdown"], metrics["daily_drawdown"]) == (0.00782654, 0.00782654)
    assert (metrics["fees"], metrics["slippage"], metrics["expectancy"]) == (2.72615833, 2.55105388, 10.43045119)


def test_the_last_of_the_day_by_itself(run: Callable[..., Any]) -> None:
    """From 04:00 on the indicators are warm by the candles before; up to 07:00, exclusive, nothing is sold."""
    result, events = run("--from", "2024-03-01T04:00:00Z", "--to", "2024-03-01T07:00:00Z")
    assert [event["side"] for event in events if event["event"] == "trade"] == ["buy"]
    assert result["trades"] == []
    assert result["metrics"]["final"] == 1002.64523364
