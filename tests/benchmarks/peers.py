"""`python -m tests.benchmarks.peers NAME FOLDER`: one backtester over the minutes in FOLDER, in a process of its own.

Prints what it took as JSON. The trades are printed, too: a figure counts only where they are the same.
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from tests.world.daemon import FORESTAY
from tests.world.minutes import FEE, PAIR, Bar, simple_average, wilder_rsi

Trades = list[tuple[str, str]]  # when entered, when left


def forestay(folder: Path) -> dict[str, Any]:
    """The command as a user runs it; its `run_s` is the decisions' own time."""
    begun = perf_counter()
    done = subprocess.run(
        [FORESTAY, "backtest", folder / "oracle.yaml", "--data", f"{PAIR}={folder / 'minutes.csv'}",
         "--config", folder / "oracle.toml", "--json"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    all_s, result = perf_counter() - begun, json.loads(done.stdout)
    trades = [(_iso(trade["entry_ts"]), _iso(trade["exit_ts"])) for trade in result["trades"]]
    rss = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"run_s": float(result["metrics"]["run_s"]), "all_s": all_s, "rss_mb": rss, "trades": trades}


def backtesting_py(folder: Path) -> dict[str, Any]:
    """`Backtest.run`, indicators included, without reading the file."""
    begun, bars = perf_counter(), _bars(folder)
    import pandas
    from backtesting import Backtest, Strategy

    class Oracle(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            self.rsi = self.I(lambda closes: wilder_rsi(list(closes), 14), self.data.Close)
            self.average = self.I(lambda closes: simple_average(list(closes), 20), self.data.Close)

        def next(self) -> None:
            if not self.position:
                if self.rsi[-1] < 30 and self.data.Close[-1] < self.average[-1]:
                    self.buy()
            elif self.rsi[-1] > 55:
                self.position.close()

    frame = _frame(pandas, bars)
    backtest = Backtest(frame, Oracle, cash=1e12, commission=FEE)
    run_begun = perf_counter()
    stats = backtest.run()
    run_s = perf_counter() - run_begun
    trades = [(row.EntryTime.isoformat(), row.ExitTime.isoformat()) for row in stats["_trades"].itertuples()]
    return _measured(run_s, begun, trades)


def backtrader(folder: Path) -> dict[str, Any]:
    """`Cerebro.run` on preloaded bars, with its own Wilder RSI and simple average."""
    begun, bars = perf_counter(), _bars(folder)
    import backtrader as bt
    import pandas

    trades: Trades = []

    class Oracle(bt.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rsi = bt.indicators.RSI(self.data.close, period=14, safediv=True)
            self.average = bt.indicators.SMA(self.data.close, period=20)

        def next(self) -> None:
            if not self.position:
                if self.rsi[0] < 30 and self.data.close[0] < self.average[0]:
                    self.order_target_percent(target=0.5)
            elif self.rsi[0] > 55:
                self.close()

        def notify_trade(self, trade: Any) -> None:
            if trade.isclosed:
                times = (bt.num2date(trade.dtopen), bt.num2date(trade.dtclose))
                entered, left = (_whole_seconds(time).isoformat() for time in times)
                trades.append((entered, left))

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=_frame(pandas, bars), timeframe=bt.TimeFrame.Minutes))
    cerebro.addstrategy(Oracle)
    cerebro.broker.setcash(1e12)
    cerebro.broker.setcommission(FEE)
    run_begun = perf_counter()
    cerebro.run()
    return _measured(perf_counter() - run_begun, begun, trades)


def _bars(folder: Path) -> list[Bar]:
    with (folder / "minutes.csv").open() as file:
        rows = csv.reader(file)
        next(rows)
        return [Bar(datetime.fromtimestamp(int(time), UTC), *map(float, numbers)) for time, *numbers in rows]


def _frame(pandas: Any, bars: list[Bar]) -> Any:
    index = pandas.DatetimeIndex([bar.opened.replace(tzinfo=None) for bar in bars])
    return pandas.DataFrame([bar[1:] for bar in bars], index, columns=["Open", "High", "Low", "Close", "Volume"])


def _measured(run_s: float, begun: float, trades: Trades) -> dict[str, Any]:
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"run_s": run_s, "all_s": perf_counter() - begun, "rss_mb": rss, "trades": trades}


def _iso(wire: str) -> str:
    return datetime.fromisoformat(wire).replace(tzinfo=None).isoformat()


def _whole_seconds(time: datetime) -> datetime:
    return (time + timedelta(milliseconds=500)).replace(microsecond=0)


PEERS: Final[dict[str, Callable[[Path], dict[str, Any]]]] = {
    "forestay": forestay,
    "backtesting.py": backtesting_py,
    "backtrader": backtrader,
}


def measured(name: str, folder: Path) -> dict[str, Any]:
    """What that backtester took, in a process of its own."""
    command = [sys.executable, "-m", __name__, name, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(PEERS[sys.argv[1]](Path(sys.argv[2]))))
