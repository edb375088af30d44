"""The risk oracle: every limit, lock and criterion, counted anew from the log's marks and trades."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from tests.simulation.judge.config import Config
from tests.simulation.judge.money import UNITS, Ledger, divided
from tests.simulation.judge.report import DAY, HOUR, next_midnight

LOCKS = ("max_drawdown", "daily_drawdown", "streak_limit")  # rules that hold until a time, whatever happens meanwhile


class Block(NamedTuple):
    """No entries before `until`, by what was `measured` against the `limit` of that time."""

    until: int
    measured: Fraction
    limit: Fraction


class Objection(NamedTuple):
    """What the first rule that objects says."""

    rule: str
    measured: Fraction
    limit: Fraction
    until: int | None = None


def fallen(top: int, equity: int) -> Fraction:
    """How far `equity` is below `top`, as a fraction."""
    return Fraction(max(top - equity, 0), top)


def reached(top: int, equity: int, limit: Fraction) -> bool:
    """Has equity fallen by `limit` or more? Without a division: it is asked at every mark."""
    return (top - equity) * limit.denominator >= limit.numerator * top


def shown(value: Fraction) -> Fraction:
    """As the log shows a fraction: 8 places, half-even."""
    return Fraction(divided(value.numerator * UNITS, value.denominator), UNITS)


@dataclass(slots=True)
class Gauge:
    """One book: where it stands, its peaks, its UTC day (days since 1970) and that day's opening."""

    equity: int = 0
    peak: int = 0
    risk_peak: int = 0
    day: int = -1
    opening: int = 0
    breach: Block | None = None
    streak: int = 0
    cooldown: Block | None = None

    @classmethod
    def opened(cls, equity: int) -> Gauge:
        return cls(equity, equity, equity, -1, equity)

    def closed(self, ts: int, pnl: int, config: Config) -> bool:
        """Count a closed trade; does a cooldown begin or go on longer?"""
        self._cool(ts)
        self.streak = 0 if pnl > 0 else self.streak + 1
        if config.off or self.streak < config.max_losses:
            return False
        until = ts + config.cooldown
        if self.cooldown is not None:
            until = max(until, self.cooldown.until)
        self.cooldown = Block(until, Fraction(self.streak), Fraction(config.max_losses))
        return True

    def marked(self, ts: int, equity: int, config: Config) -> bool:
        """Take in a mark; is today's limit reached, for the first time today?"""
        if ts // DAY != self.day:
            self.day, self.opening, self.breach = ts // DAY, self.equity, None
        self.equity = equity
        self.peak, self.risk_peak = max(self.peak, equity), max(self.risk_peak, equity)
        self._cool(ts)
        if self.cooldown is None and self.streak >= config.max_losses and not config.off:  # the limit was tightened
            self.cooldown = Block(ts + config.cooldown, Fraction(self.streak), Fraction(config.max_losses))
        if self.breach is not None or config.off or not reached(self.opening, equity, config.daily_drawdown):
            return False
        self.breach = Block(next_midnight(ts), shown(fallen(self.opening, equity)), config.daily_drawdown)
        return True

    def moved(self, was: int, equity: int) -> Gauge:
        """The book, worth what it `was` by then, with more or less in it since, which is neither a gain nor a loss:
        it has fallen by the same fraction, 99.99 % at most."""
        tops = (max(self.peak, was), max(self.risk_peak, was), self.opening)
        most = 10_000 * equity
        peak, risk_peak, opening = (min(divided(top * equity, was), most) if was > 0 else most for top in tops)
        return Gauge(equity, peak, risk_peak, self.day, opening, self.breach, self.streak, self.cooldown)

    def _cool(self, ts: int) -> None:
        if self.cooldown is not None and ts >= self.cooldown.until:
            self.streak, self.cooldown = 0, None

    def budget_used(self, config: Config) -> Fraction:
        return fallen(self.opening, self.equity) / config.daily_drawdown


@dataclass(slots=True)
class Run:
    """An evaluation run."""

    version: int
    began: int
    trades: int = 0
    pnl: int = 0
    failed: bool = False

    def earned(self, gauge: Gauge, config: Config, ts: int) -> bool:
        """Do all criteria hold at this mark?"""
        return (
            not self.failed
            and self.trades >= config.trade_floor
            and self.pnl > 0
            and ts - self.began >= config.window
            and not reached(gauge.risk_peak, gauge.equity, config.max_drawdown)
        )


def in_force(gauge: Gauge, blocked: Block | None, ts: int) -> list[str]:
    """The locks that hold at this time."""
    blocks = zip(LOCKS, (blocked, gauge.breach, gauge.cooldown), strict=True)
    return [rule for rule, block in blocks if block is not None and ts < block.until]


def objection(
    config: Config, gauge: Gauge, blocked: Block | None, ledger: Ledger, closes: Mapping[str, Fraction], pair: str,
    size: int, ts: int,
) -> Objection | None:  # fmt: skip
    """What policy says to this entry, at these closes; None where it may pass."""
    rules = _limited(config, gauge, blocked, ledger, closes, pair, ts) if not config.off else iter(())
    if found := next(rules, None):
        return found
    taken = len(ledger.taken)
    if taken >= config.max_concurrent:
        return Objection("max_concurrent", Fraction(taken), Fraction(config.max_concurrent))
    if not config.off:
        equity, held = ledger.equity(closes), ledger.worth(pair, closes) if pair in ledger.positions else 0
        share = Fraction(held + size, equity) if equity > 0 else Fraction(1)
        if share > config.exposure:
            return Objection("per_pair_exposure", shown(share), config.exposure)
    if size > ledger.free:
        return Objection("insufficient_funds", Fraction(size, UNITS), Fraction(ledger.free, UNITS))
    return None


def _limited(
    config: Config, gauge: Gauge, blocked: Block | None, ledger: Ledger, closes: Mapping[str, Fraction], pair: str,
    ts: int,
) -> Iterator[Objection]:  # fmt: skip
    for rule, block in zip(LOCKS, (blocked, gauge.breach, gauge.cooldown), strict=True):
        if block is not None and ts < block.until:
            yield Objection(rule, block.measured, block.limit, block.until)
    oldest = 0
    for held in ledger.positions:
        if held not in closes:
            oldest = max(oldest, ts - ledger.closes[held].at)
    if pair in ledger.closes:
        oldest = max(oldest, ts - ledger.closes[pair].at)  # the hole before its own candle, which closes now
    hours = shown(Fraction(oldest, HOUR))
    if hours > config.max_age_hours:
        yield Objection("stale_market", hours, config.max_age_hours)
