"""A record's figures, by the common definitions. Pure.

Amounts are USDT; amounts and shares are Decimals to 8 places, ratios are floats. A figure that is undefined, such as a
Sharpe ratio without two days, is None; none is ever NaN or infinite.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from statistics import fmean, stdev
from typing import Any, Final

from attrs import define

from actors.risk_engine.state import drawdown
from protocol.money import ZERO, booked
from protocol.times import to_wire
from server.backtesting.record import Record, RoundTrip

DAYS_A_YEAR: Final = 365  # crypto trades every day
Curve = Sequence[tuple[datetime, Decimal]]


def metrics(record: Record) -> dict[str, Any]:
    """All figures as plain data, ready for JSON. `fees` and `slippage` are of all executions, those of `per_pair` and
    `per_month` of the round trips."""
    span, closed = record.ends - record.begins, _closed(record.trips)
    growth, daily = cagr(record.initial, record.final, span), daily_returns(record.curve)
    return {
        "return": change(record.initial, record.final),
        "cagr": growth,
        "max_drawdown": record.max_drawdown,
        "daily_drawdown": record.daily_drawdown,
        "sharpe": sharpe(daily),
        "sortino": sortino(daily),
        "calmar": calmar(growth, record.max_drawdown),
        "profit_factor": closed["profit_factor"],
        "expectancy": closed["expectancy"],
        "win_rate": closed["win_rate"],
        "average_win": closed["average_win"],
        "average_loss": closed["average_loss"],
        "exposure": exposure(sum(record.held_seconds.values()), span),
        "turnover": turnover(record.traded, record.curve),
        "fees": record.fees,
        "slippage": record.slippage,
        "trades": closed["trades"],
        "executions": record.executions,
        "initial": record.initial,
        "final": record.final,
        "begins": to_wire(record.begins),
        "ends": to_wire(record.ends),
        "days": span / timedelta(days=1),
        "candles": record.candles,
        "run_s": record.run_s,
        "candles_per_s": _ratio(record.candles, record.run_s),
        "per_pair": _per_pair(record),
        "per_month": _per_month(record),
    }


# --- of the equity curve


def cagr(initial: Decimal, final: Decimal, span: timedelta) -> float | None:
    """Compound annual growth rate: (final / initial) ^ (1 / years) - 1, a year being 365 days of time passed.

    Textbook geometric mean; GIPS (2020) asks for it as the annualized return, and would not annualize less than a year.
    We do, so a short record shows an extreme rate: None only where it is too large for a float.
    """
    if initial <= 0 or final < 0 or span <= timedelta():
        return None
    try:
        return _finite(float(final / initial) ** (timedelta(days=DAYS_A_YEAR) / span) - 1)
    except OverflowError:
        return None


def daily_returns(curve: Curve) -> list[float]:
    """The simple return of each UTC day, the first and the last one included though they may be partial: the day's last
    equity over the last one before, which on the first day is the curve's first. A day without a point returns 0.
    Empty where a day opens without equity, since no return is defined then."""
    closing = {at.date(): equity for at, equity in curve}  # the last of each day wins
    (first, before), (last, _) = curve[0], curve[-1]
    returns: list[float] = []
    for day in _days(first.date(), last.date()):
        if before <= 0:
            return []
        close = closing.get(day, before)
        # Divided as Decimals: of equal growth come equal floats, and their deviation is exactly zero.
        returns.append(float(close / before - 1))
        before = close
    return returns


def sharpe(returns: Sequence[float]) -> float | None:
    """mean / sample standard deviation * sqrt(365), of daily returns over a risk-free rate of 0.

    W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994): the ex post ratio, its deviation with
    n - 1. Scaled by the root of the periods, which takes daily returns as independent: A. W. Lo, "The Statistics of
    Sharpe Ratios", Financial Analysts Journal 58 (2002). None with fewer than two days or without deviation.
    """
    if len(returns) < 2:
        return None
    return _annual(_ratio(fmean(returns), stdev(returns)))


def sortino(returns: Sequence[float]) -> float | None:
    """mean / downside deviation * sqrt(365), of daily returns against a target of 0.

    F. A. Sortino, L. N. Price, "Performance Measurement in a Downside Risk Framework", Journal of Investing 3 (1994).
    The downside deviation is the root of the mean over *all* days, n, of min(return, 0)^2. None with fewer than two
    days or without a losing one.
    """
    if len(returns) < 2:
        return None
    downside = math.sqrt(fmean(min(r, 0.0) ** 2 for r in returns))
    return _annual(_ratio(fmean(returns), downside))


def calmar(growth: float | None, max_drawdown: Decimal) -> float | None:
    """CAGR / max drawdown, over the whole record; T. W. Young, "Calmar Ratio: A Smoother Tool", Futures (October 1991),
    took the last 36 months. None without a drawdown."""
    return None if growth is None else _ratio(growth, float(max_drawdown))


def drawdowns(curve: Iterable[tuple[datetime, Decimal]]) -> Iterator[tuple[datetime, Decimal]]:
    """At each point, the fall from the highest equity so far as a fraction of it, 0 or more; their maximum is the max
    drawdown of these points (M. Magdon-Ismail, A. Atiya, "Maximum Drawdown", Risk 17, 2004). A record's own
    `max_drawdown` has every round's mark and so may be deeper."""
    peak = ZERO
    for at, equity in curve:
        peak = max(peak, equity)
        yield at, drawdown(peak, equity)


def turnover(traded: Decimal, curve: Curve) -> float | None:
    """The sum of all executions' sizes, both sides, over the mean equity of the curve's points."""
    return _ratio(float(traded), float(sum((equity for _, equity in curve), ZERO) / len(curve)))


def exposure(held_seconds: float, span: timedelta) -> float | None:
    """Time held over the record's time. Of one pair it is a share of the time; over all pairs it is the mean number of
    open positions, so that it is above 1 where several were held at once."""
    return _ratio(held_seconds, span.total_seconds())


# --- of the round trips


@define
class WonAndLost:
    """What closed trades came to; a pnl is after fees, and one of zero neither wins nor loses.

    - expectancy: the mean pnl of a trade;
    - win_rate: winning trades / all trades;
    - average_win, average_loss: the mean pnl of the winning and of the losing ones, the latter below zero;
    - profit_factor: the sum of what was won / the sum of what was lost; None where nothing was lost.

    Trading platforms report them so; they have no one source.
    """

    trades: int = 0
    wins: int = 0
    losses: int = 0
    won: Decimal = ZERO
    lost: Decimal = ZERO

    def add(self, pnl: Decimal) -> None:
        self.trades += 1
        if pnl > 0:
            self.wins, self.won = self.wins + 1, self.won + pnl
        elif pnl < 0:
            self.losses, self.lost = self.losses + 1, self.lost + pnl

    @property
    def pnl(self) -> Decimal:
        return self.won + self.lost

    @property
    def win_rate(self) -> Decimal | None:
        return _share(Decimal(self.wins), self.trades)

    @property
    def average_win(self) -> Decimal | None:
        return _share(self.won, self.wins)

    @property
    def average_loss(self) -> Decimal | None:
        return _share(self.lost, self.losses)

    @property
    def expectancy(self) -> Decimal | None:
        return _share(self.pnl, self.trades)

    @property
    def profit_factor(self) -> float | None:
        return _ratio(float(self.won), -float(self.lost))


def _closed(trips: Sequence[RoundTrip]) -> dict[str, Any]:
    found = WonAndLost()
    for trip in trips:
        found.add(trip.pnl)
    return {
        "trades": found.trades,
        "pnl": found.pnl,
        "win_rate": found.win_rate,
        "average_win": found.average_win,
        "average_loss": found.average_loss,
        "expectancy": found.expectancy,
        "profit_factor": found.profit_factor,
        "fees": sum((trip.fees for trip in trips), ZERO),
        "slippage": sum((trip.slippage for trip in trips), ZERO),
    }


def _per_pair(record: Record) -> dict[str, dict[str, Any]]:
    """Of every pair that was held, by name."""
    span = record.ends - record.begins
    keys = ("trades", "pnl", "fees", "slippage", "win_rate", "expectancy", "profit_factor")
    found = {}
    for pair in sorted({*record.held_seconds, *(trip.pair for trip in record.trips)}):
        closed = _closed([trip for trip in record.trips if trip.pair == pair])
        held = exposure(record.held_seconds.get(pair, 0.0), span)
        found[pair] = {**{key: closed[key] for key in keys}, "exposure": held}
    return found


def _per_month(record: Record) -> dict[str, dict[str, Any]]:
    """Of every UTC month from the begin's to the end's, in order. `return` is the curve's last equity of the month over
    the last one before, in the first month over the initial one; all of them compound to the record's. Trades belong to
    the month of their exit."""
    closing = {_month(at): equity for at, equity in record.curve}  # the last of each month wins
    trips: dict[tuple[int, int], list[RoundTrip]] = {}
    for trip in record.trips:
        trips.setdefault(_month(trip.exit_ts), []).append(trip)
    found, before = {}, record.curve[0][1]
    for month in _months(_month(record.begins), _month(record.ends)):
        close, closed = closing.get(month, before), _closed(trips.get(month, []))
        found["{:04}-{:02}".format(*month)] = {
            "return": change(before, close),
            **{key: closed[key] for key in ("pnl", "trades", "fees", "win_rate")},
        }
        before = close
    return found


# --- small


def _days(first: date, last: date) -> Iterator[date]:
    """Both included."""
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def _month(at: datetime) -> tuple[int, int]:
    return at.year, at.month


def _months(first: tuple[int, int], last: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Both included."""
    year, month = first
    while (year, month) <= last:
        yield year, month
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def change(before: Decimal, after: Decimal) -> Decimal | None:
    """As a fraction; None where nothing was there before."""
    return booked(after / before - 1) if before > 0 else None


def _share(amount: Decimal, count: int) -> Decimal | None:
    return booked(amount / count) if count else None


def _ratio(above: float, below: float) -> float | None:
    """None unless it is over something above zero, and finite."""
    return _finite(above / below) if below > 0 else None


def _annual(ratio: float | None) -> float | None:
    return None if ratio is None else _finite(ratio * math.sqrt(DAYS_A_YEAR))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
