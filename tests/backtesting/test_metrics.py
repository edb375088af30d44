"""The figures of a record: by hand, at the edges, and against empyrical."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import empyrical
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocol.codec import from_json, to_json
from server.backtesting.metrics import daily_returns, drawdowns, metrics
from server.backtesting.record import Record, RoundTrip

BEGINS: Final = datetime(2022, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
Points = Sequence[tuple[datetime, Decimal]]


def at(days: float) -> datetime:
    return BEGINS + timedelta(days=days)


def trip(pnl: str, entered: float = 0.1, left: float = 0.2, pair: str = "BTCUSDT") -> RoundTrip:
    """A trade of 100 USDT that paid 0.2 in fees and 0.1 in slippage; times in days from the begin."""
    gained = Decimal(pnl)
    return RoundTrip(
        pair, at(entered), at(left), Decimal(50), Decimal(50) + gained / 2, Decimal(100),
        gained, Decimal("0.2"), Decimal("0.1"), gained / 100,
    )  # fmt: skip


def record(curve: Points, trips: Sequence[RoundTrip] = (), held: dict[str, float] | None = None) -> Record:
    """A record whose drawdown is the curve's."""
    deepest = max(fall for _, fall in drawdowns(curve))
    sized = sum((trip.size for trip in trips), Decimal())
    return Record(
        curve[0][0], curve[-1][0], curve[0][1], curve[-1][1], tuple(trips), tuple(curve), deepest, Decimal("0.01"),
        2 * sized, 2 * len(trips), Decimal("0.2") * len(trips), Decimal("0.1") * len(trips), held or {}, 1000, 0.5,
    )  # fmt: skip


def by_day(*equities: str) -> list[tuple[datetime, Decimal]]:
    """The first is the initial equity; each following one is of a noon, from the first day's on."""
    first, *noons = (Decimal(equity) for equity in equities)
    return [(BEGINS, first), *((at(number + 0.5), equity) for number, equity in enumerate(noons))]


# --- by hand


def test_the_figures_of_four_days() -> None:
    """Daily returns 10 %, -5 %, 0, 5 %."""
    found = metrics(record(by_day("1000", "1100", "1045", "1045", "1097.25")))
    assert found["return"] == Decimal("0.09725")
    assert found["max_drawdown"] == Decimal("0.05")
    assert found["days"] == 3.5
    assert found["cagr"] == pytest.approx(1.09725 ** (365 / 3.5) - 1)
    # The mean is 0.025; the squared distances from it are 0.005625, 0.005625, 0.000625 and 0.000625.
    assert found["sharpe"] == pytest.approx(0.025 / math.sqrt(0.0125 / 3) * math.sqrt(365))
    assert found["sortino"] == pytest.approx(0.025 / math.sqrt(0.0025 / 4) * math.sqrt(365))
    assert found["calmar"] == pytest.approx((1.09725 ** (365 / 3.5) - 1) / 0.05)
    assert (found["begins"], found["ends"]) == ("2022-01-01T00:00:00.000Z", "2022-01-04T12:00:00.000Z")
    assert (found["initial"], found["final"]) == (Decimal(1000), Decimal("1097.25"))
    assert found["candles_per_s"] == 2000


def test_a_day_is_its_last_point_and_a_day_without_one_returns_nothing() -> None:
    curve = [
        (at(0.9), Decimal(1000)),
        (at(1.1), Decimal(2000)),
        (at(1.9), Decimal(1200)),
        (at(4.0), Decimal(600)),  # midnight is the new day's
    ]
    assert daily_returns(curve) == [0.0, 0.2, 0.0, 0.0, -0.5]


def test_the_figures_of_trades() -> None:
    trips = [trip("30"), trip("-10"), trip("0"), trip("10"), trip("-5")]
    found = metrics(record(by_day("1000", "1025"), trips))
    assert found["trades"] == 5
    assert found["executions"] == 10
    assert found["expectancy"] == Decimal(5)
    assert found["win_rate"] == Decimal("0.4")  # a pnl of zero does not win
    assert found["average_win"] == Decimal(20)
    assert found["average_loss"] == Decimal("-7.5")
    assert found["profit_factor"] == pytest.approx(40 / 15)
    assert found["turnover"] == pytest.approx(1000 / 1012.5)
    assert (found["fees"], found["slippage"]) == (Decimal("1.0"), Decimal("0.5"))


def test_exposure_is_the_mean_number_of_open_positions() -> None:
    half = 0.5 * 86_400
    found = metrics(record(by_day("1000", "1000", "1000"), held={"ETHUSDT": 3 * half, "BTCUSDT": 1.5 * half}))
    assert found["exposure"] == pytest.approx(1.5)
    assert {pair: of["exposure"] for pair, of in found["per_pair"].items()} == {"BTCUSDT": 0.5, "ETHUSDT": 1.0}


def test_per_pair() -> None:
    trips = [trip("30"), trip("-10"), trip("-5", pair="ETHUSDT")]
    held = {"ETHUSDT": 3600.0, "BTCUSDT": 4320.0, "SOLUSDT": 60.0}  # the last is still open
    found = metrics(record(by_day("1000", "1015"), trips, held))["per_pair"]
    assert list(found) == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert found["BTCUSDT"] == {
        "trades": 2, "pnl": Decimal(20), "fees": Decimal("0.4"), "slippage": Decimal("0.2"),
        "win_rate": Decimal("0.5"), "expectancy": Decimal(10), "profit_factor": 3.0, "exposure": 0.1,
    }  # fmt: skip
    assert found["ETHUSDT"]["profit_factor"] == 0.0
    assert found["SOLUSDT"]["trades"] == 0
    assert found["SOLUSDT"]["win_rate"] is None


def test_per_month_over_a_new_year_and_a_month_without_a_point() -> None:
    curve = [
        (datetime(2022, 11, 20, tzinfo=UTC), Decimal(1000)),
        (datetime(2022, 11, 30, 23, 59, tzinfo=UTC), Decimal(1100)),
        (datetime(2023, 1, 1, tzinfo=UTC), Decimal(500)),
        (datetime(2023, 1, 31, tzinfo=UTC), Decimal(880)),
        (datetime(2023, 2, 1, tzinfo=UTC), Decimal(968)),
    ]
    new_year = (datetime(2023, 1, 1, tzinfo=UTC) - BEGINS) / DAY
    trips = [
        trip("10", new_year - 40, new_year - 39),
        trip("-30", new_year - 0.1, new_year),
        trip("7", new_year, new_year + 1),
    ]
    found = metrics(record(curve, trips))["per_month"]
    returns = {month: str(of["return"]) for month, of in found.items()}
    assert returns == {"2022-11": "0.1", "2022-12": "0", "2023-01": "-0.2", "2023-02": "0.1"}
    assert [of["trades"] for of in found.values()] == [1, 0, 2, 0]  # by their exit
    assert [of["pnl"] for of in found.values()] == [10, 0, -23, 0]
    assert [of["fees"] for of in found.values()] == [Decimal("0.2"), 0, Decimal("0.4"), 0]
    assert [of["win_rate"] for of in found.values()] == [1, None, Decimal("0.5"), None]


# --- at the edges


def undefined(found: dict[str, Any]) -> set[str]:
    return {key for key, value in found.items() if value is None}


OF_TRADES: Final = {"profit_factor", "expectancy", "win_rate", "average_win", "average_loss"}
OF_DAYS: Final = {"sharpe", "sortino", "calmar"}


def test_no_trades_and_a_constant_equity() -> None:
    found = metrics(record(by_day("1000", "1000", "1000", "1000")))
    assert undefined(found) == OF_TRADES | OF_DAYS
    assert (found["return"], found["cagr"], found["turnover"], found["exposure"]) == (0, 0, 0, 0)
    assert found["per_pair"] == {}


def test_a_single_point() -> None:
    found = metrics(record([(BEGINS, Decimal(1000))]))
    assert undefined(found) == OF_TRADES | OF_DAYS | {"cagr", "exposure"}
    assert list(found["per_month"]) == ["2022-01"]


def test_one_day() -> None:
    curve = [(BEGINS, Decimal(1000)), (at(0.25), Decimal(990)), (at(0.5), Decimal(1001))]
    found = metrics(record(curve, [trip("1")]))
    assert undefined(found) == {"sharpe", "sortino", "profit_factor", "average_loss"}


def test_a_rate_that_no_float_can_hold_is_undefined() -> None:
    found = metrics(record([(BEGINS, Decimal(1000)), (BEGINS + timedelta(minutes=1), Decimal(1010))]))
    assert found["cagr"] is None
    assert found["calmar"] is None


def test_all_wins() -> None:
    found = metrics(record(by_day("1000", "1010", "1040"), [trip("10"), trip("30")]))
    assert undefined(found) == {"profit_factor", "average_loss", "sortino", "calmar"}
    assert found["win_rate"] == 1
    assert found["sharpe"] > 0


def test_equal_growth_every_day_has_no_deviation() -> None:
    found = metrics(record(by_day("1000", "1100", "1210", "1331", "1464.1")))
    assert found["sharpe"] is None


def test_a_loss_to_nearly_zero_and_to_zero() -> None:
    found = metrics(record(by_day("1000", "500", "0.00000001"), [trip("-500"), trip("-499.99999999")]))
    assert undefined(found) == {"average_win"}
    assert found["profit_factor"] == 0
    assert found["cagr"] == pytest.approx(-1)
    ruined = metrics(record(by_day("1000", "500", "0", "0")))
    assert undefined(ruined) == OF_TRADES | {"sharpe", "sortino"}
    assert (ruined["cagr"], ruined["calmar"]) == (-1, -1)


# --- against empyrical, and what must hold

RETURNS = st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=300)


def daily(returns: list[float]) -> list[tuple[datetime, Decimal]]:
    """A curve with these returns, each day's equity a millisecond before its end."""
    equities = 1000 * np.cumprod(1 + np.array(returns))
    ends = (at(number + 1) - timedelta(milliseconds=1) for number in range(len(returns)))
    return [(BEGINS, Decimal(1000)), *zip(ends, (Decimal(str(equity)) for equity in equities), strict=True)]


@given(RETURNS)
def test_as_empyrical_has_it(returns: list[float]) -> None:
    """The definitions are the same but for three things: its years are a count of returns, ours are time passed (here
    a millisecond apart); its ratios without deviation are infinite or NaN, ours None; its drawdown is below zero."""
    array, found = np.array(returns), metrics(record(daily(returns)))
    assume(np.std(array) > 1e-9)  # below that, both measure rounding
    theirs = {
        "return": empyrical.cum_returns_final(array),
        "cagr": empyrical.annual_return(array, annualization=365),
        "max_drawdown": -empyrical.max_drawdown(array),
        "sharpe": empyrical.sharpe_ratio(array, annualization=365),
        "sortino": empyrical.sortino_ratio(array, annualization=365),
        "calmar": empyrical.calmar_ratio(array, annualization=365),
    }
    falls = min(returns) < -1e-9  # as above
    for key, value in theirs.items():
        if falls or key not in {"sortino", "calmar", "max_drawdown"}:
            assert found[key] is not None
            assert float(found[key]) == pytest.approx(float(value), rel=1e-5, abs=1e-7), key
    if min(returns) >= 0:
        assert found["sortino"] is None


@given(RETURNS)
def test_days_and_months_compound_to_the_whole(returns: list[float]) -> None:
    curve = daily(returns)
    found = metrics(record(curve))
    assert math.prod(1 + r for r in daily_returns(curve)) == pytest.approx(1 + float(found["return"]), abs=1e-6)
    months = math.prod(1 + float(of["return"]) for of in found["per_month"].values())
    assert months == pytest.approx(1 + float(found["return"]), rel=1e-6, abs=1e-6)


@given(
    st.lists(st.tuples(st.integers(1, 10**7), st.integers(0, 10**14)), max_size=20),
    st.lists(st.integers(-(10**12), 10**12), max_size=5),
)
def test_every_figure_is_finite_and_json(steps: list[tuple[int, int]], pnls: list[int]) -> None:
    curve, now = [(BEGINS, Decimal(1000))], BEGINS
    for seconds, equity in steps:
        now += timedelta(seconds=seconds)
        curve.append((now, Decimal(equity).scaleb(-8)))
    found = metrics(record(curve, [trip(str(Decimal(pnl).scaleb(-8))) for pnl in pnls]))
    assert all(math.isfinite(number) for number in numbers(found))
    assert from_json(to_json(found)).keys() == found.keys()


def numbers(value: Any) -> Iterator[float | Decimal]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, float | Decimal):
        yield value
