"""500,000 made-up minutes, decided by us, by a plain loop, and by backtesting.py: the same trades."""

from __future__ import annotations

import json
import subprocess
import warnings
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from tests.world.daemon import FORESTAY
from tests.world.minutes import FEE, PAIR, Bar, Made, minutes, plain_loop, simple_average, wilder_rsi, write

BARS: Final = 500_000


@pytest.fixture(scope="module")
def bars() -> list[Bar]:
    return list(minutes(BARS))


@pytest.fixture(scope="module")
def expected(bars: list[Bar]) -> list[Made]:
    return plain_loop(bars)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command prints, run as a user runs it."""
    folder = tmp_path_factory.mktemp("oracle")
    candles, spec, settings = write(folder, BARS)
    command = [str(FORESTAY), "backtest", str(spec), "--data", f"{PAIR}={candles}", "--config", str(settings), "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plain: dict[str, Any] = json.loads(done.stdout)
    return plain


def made(trade: dict[str, Any]) -> Made:
    entered, left = (datetime.fromisoformat(trade[key]) for key in ("entry_ts", "exit_ts"))
    return Made(entered, left, float(trade["entry_price"]), float(trade["exit_price"]))


def test_our_trades_are_those_of_a_plain_loop(result: dict[str, Any], expected: list[Made]) -> None:
    ours = [made(trade) for trade in result["trades"]]
    assert len(expected) > 1_000
    assert ours == expected
    assert {trade["pair"] for trade in result["trades"]} == {PAIR}


def test_our_money_is_that_of_a_plain_loop(result: dict[str, Any], expected: list[Made]) -> None:
    """All in, all out, 0.1 % of what is traded each way: to a hundred-millionth of the equity, which is booked so."""
    cash = 1000.0
    for trade, trip in zip(result["trades"], expected, strict=True):
        size = cash / (1 + FEE)
        proceeds = size / trip.bought_at * trip.sold_at
        fees = size * FEE + proceeds * FEE
        assert float(trade["size"]) == pytest.approx(size, rel=1e-6)
        assert float(trade["fees"]) == pytest.approx(fees, rel=1e-6)
        assert float(trade["pnl"]) == pytest.approx(proceeds - size - fees, abs=1e-4)
        cash = proceeds * (1 - FEE)
    assert float(result["metrics"]["final"]) == pytest.approx(cash, rel=1e-5)


def test_our_trades_are_those_of_backtesting_py(result: dict[str, Any], bars: list[Bar]) -> None:
    theirs = by_backtesting_py(bars)
    ours = [made(trade) for trade in result["trades"]]
    # While our averages warm up, theirs may already trade.
    while theirs and theirs[0].entered < ours[0].entered:
        theirs.pop(0)
    assert len(ours) > 1_000
    assert ours == theirs[: len(ours)]
    assert len(theirs) == len(ours)


def by_backtesting_py(bars: list[Bar]) -> list[Made]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
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

        index = pandas.DatetimeIndex([bar.opened.replace(tzinfo=None) for bar in bars])
        rows = [bar[1:] for bar in bars]
        frame = pandas.DataFrame(rows, index=index, columns=["Open", "High", "Low", "Close", "Volume"])
        stats = Backtest(frame, Oracle, cash=1e12, commission=FEE).run()
    return [
        Made(row.EntryTime.to_pydatetime().replace(tzinfo=UTC), row.ExitTime.to_pydatetime().replace(tzinfo=UTC),
             float(row.EntryPrice), float(row.ExitPrice))
        for row in stats["_trades"].itertuples()
    ]  # fmt: skip
