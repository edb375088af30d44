"""The limits, over any history: what was said of a lock holds until it ends, whatever comes between, and a restart
forgives nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from attrs import define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors.executor.book import Book
from actors.risk_engine.rules import Check, checks
from actors.risk_engine.state import RiskState
from protocol.codec import from_json, from_plain, to_json, to_plain
from protocol.events import JournalEntry, RunStarted
from protocol.orders import Order
from protocol.settings import AgentConfig, RiskConfig
from protocol.times import from_wire
from tests.actors.test_moves import Agent

BEGINS: Final = datetime(2028, 2, 27, 22, tzinfo=UTC)  # a leap day is two midnights away
HOUR: Final = timedelta(hours=1)
ENTRY: Final = Order("ord", "ETH/USDT", "buy", Decimal(1), None, "the test wants it")


def limits(daily: int, above: int, losses: int, cooldown: int) -> AgentConfig:
    risk = RiskConfig(
        max_drawdown_pct=Decimal(daily + above),
        daily_drawdown_pct=Decimal(daily),
        max_consecutive_losses=losses,
        cooldown_hours=cooldown,
    )
    return AgentConfig(("ETH/USDT",), risk=risk)


configs = st.builds(limits, st.integers(2, 30), st.integers(1, 40), st.integers(1, 5), st.integers(1, 50))


class Engine(Agent):
    """That can be restarted, and asked."""

    def restart(self) -> None:
        """As from a checkpoint: by way of its bytes."""
        self.state = from_plain(from_json(to_json(to_plain(self.state))), RiskState)

    def asked(self, at: datetime) -> dict[str, Check]:
        """What each rule says to an entry."""
        return {check.rule: check for check in checks(self.state, ENTRY, Book(cash=Decimal(1000)), at)}


@define
class Promise:
    """An entry that was told to wait."""

    until: datetime
    measured: Decimal
    limit: Decimal


class Limits(RuleBasedStateMachine):
    """Beside the engine runs a model that only adds up what happened: in fractions, and without a day's or a lock's
    object."""

    engine: Engine

    @initialize(config=configs)
    def begin(self, config: AgentConfig) -> None:
        self.engine = Engine(config, BEGINS)
        self.promises: dict[str, Promise] = {}
        self.streak = 0
        self.peak = self.run_peak = self.last = Fraction(1000)
        self.opening, self.day = Fraction(1000), self.days(BEGINS)
        self.failed = False

    @staticmethod
    def days(at: datetime) -> int:
        return int(at.timestamp()) // 86_400

    @rule(
        hours=st.sampled_from((0.5, 1, 1, 2, 7, 24, 49)),
        step=st.integers(-150, 120),
        pnls=st.lists(st.sampled_from((-3, 0, 4)), max_size=3),
    )
    def round(self, hours: float, step: int, pnls: list[int]) -> None:
        equity = (self.engine.state.paper.equity * (1000 + step) / 1000).quantize(Decimal("0.01"))
        began = self.engine.state.run.started_at
        rows = self.engine.round(hours, equity, *pnls)
        at, risk = self.engine.at, self.engine.state.settings.risk
        self._lose(at, risk, pnls)
        self._mark(at, Fraction(equity))
        told = {row.data["rule"]: row for row in rows if isinstance(row, JournalEntry) and row.type == "RISK_BREACH"}
        self._expect_breach("daily_drawdown", told, self.opening, Fraction(risk.daily_drawdown_pct) / 100)
        if not self.failed:
            self._expect_breach("max_drawdown", told, self.run_peak, Fraction(risk.max_drawdown_pct) / 100)
            self.failed = "max_drawdown" in told
        elif "max_drawdown" not in self.promises:  # its lock is over, and another run begins
            assert [row for row in rows if isinstance(row, RunStarted)], f"no run was begun since {began}"
            self.failed, self.run_peak = False, self.last

    def _lose(self, at: datetime, risk: RiskConfig, pnls: list[int]) -> None:
        held = self.promises.get("streak_limit")
        if held and at >= held.until:
            del self.promises["streak_limit"]
            self.streak, held = 0, None
        for pnl in pnls:
            self.streak = 0 if pnl > 0 else self.streak + 1
            if self.streak >= risk.max_consecutive_losses:
                self._cool(at, risk)
        if "streak_limit" not in self.promises and self.streak >= risk.max_consecutive_losses:
            self._cool(at, risk)  # the limit was tightened since

    def _cool(self, at: datetime, risk: RiskConfig) -> None:
        until, held = at + risk.cooldown_hours * HOUR, self.promises.get("streak_limit")
        until = max(until, held.until) if held else until
        self.promises["streak_limit"] = Promise(until, Decimal(self.streak), Decimal(risk.max_consecutive_losses))

    def _mark(self, at: datetime, equity: Fraction) -> None:
        if self.days(at) != self.day:
            self.opening, self.day = self.last, self.days(at)
        for name in ("daily_drawdown", "max_drawdown"):
            if name in self.promises and at >= self.promises[name].until:
                del self.promises[name]
        self.last = equity
        self.peak, self.run_peak = max(self.peak, equity), max(self.run_peak, equity)

    def _expect_breach(self, name: str, told: dict[str, Any], since: Fraction, limit: Fraction) -> None:
        """Told exactly when it is reached and does not hold already; it holds until the next UTC midnight. That a run
        has failed is told of each: after a change of config another one may, while the first one's lock still holds."""
        holds = name == "daily_drawdown" and name in self.promises
        reached = (since - self.last) / since >= limit and not holds
        assert (name in told) == reached, f"{name}: from {float(since)} to {float(self.last)}, the limit is {limit}"
        if reached:
            data = told[name].data
            assert int(from_wire(data["until"]).timestamp()) == (self.day + 1) * 86_400
            self.promises[name] = Promise(from_wire(data["until"]), data["measured"], data["limit"])

    @rule(config=configs)
    def change_the_config(self, config: AgentConfig) -> None:
        """Loosened or tightened: no lock ends by it, and none begins before the next mark."""
        self.engine.adopt(config)
        self.run_peak, self.failed = self.last, False

    @rule()
    def restart(self) -> None:
        before = self.engine.state
        self.engine.restart()
        assert self.engine.state == before

    @invariant()
    def what_was_said_of_a_lock_holds(self) -> None:
        """To the last millisecond, with the numbers that it was told with; and not one longer."""
        for name in ("max_drawdown", "daily_drawdown", "streak_limit"):
            now = self.engine.asked(self.engine.at)[name]
            promise = self.promises.get(name)
            if promise is None:
                assert now.reason is None, now.reason
                continue
            assert now.reason is not None, f"{name} should hold until {promise.until}"
            assert (now.until, now.measured, now.limit) == (promise.until, promise.measured, promise.limit)
            assert self.engine.asked(promise.until - timedelta(milliseconds=1))[name].reason is not None
            assert self.engine.asked(promise.until)[name].reason is None

    @invariant()
    def peaks_and_opening_are_those_of_the_marks(self) -> None:
        gauge = self.engine.state.paper
        found = tuple(map(Fraction, (gauge.peak, gauge.risk_peak, gauge.opening, gauge.equity)))
        assert found == (self.peak, self.run_peak, self.opening, self.last)


TestLimits = Limits.TestCase
TestLimits.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_days_breach_outlasts_a_looser_limit_and_a_recovery() -> None:
    engine = Engine(limits(3, 30, 5, 5), BEGINS)
    engine.round(3, Decimal(960))
    engine.adopt(limits(30, 30, 5, 5))
    engine.round(1, Decimal(1000))
    held = engine.asked(engine.at)["daily_drawdown"]
    assert (held.measured, held.limit) == (Decimal("0.04"), Decimal("0.03"))
    assert held.until == datetime(2028, 2, 29, tzinfo=UTC)
    assert held.reason is not None


def test_each_run_that_fails_is_told_though_the_lock_of_one_before_holds() -> None:
    engine = Engine(limits(2, 1, 5, 5), BEGINS)
    engine.round(0.5, Decimal(970))
    engine.adopt(limits(2, 2, 5, 5))
    rows = engine.round(0.5, Decimal("921.5"))
    assert [row.data["measured"] for row in rows if isinstance(row, JournalEntry) and row.type == "RISK_BREACH"] == [
        Decimal("0.05")
    ]
    held = engine.asked(engine.at)["max_drawdown"]
    assert (held.measured, held.limit) == (Decimal("0.05"), Decimal("0.04"))
    assert held.until == datetime(2028, 2, 28, tzinfo=UTC)


def test_a_tightened_streak_limit_counts_at_the_next_mark() -> None:
    engine = Engine(limits(3, 30, 5, 5), BEGINS)
    engine.round(1, Decimal(1000), -1, -1, -1)
    engine.adopt(limits(3, 30, 2, 5))
    assert engine.asked(engine.at)["streak_limit"].reason is None
    engine.round(1, Decimal(1000))
    assert engine.asked(engine.at)["streak_limit"].until == engine.at + 5 * HOUR


def test_a_shorter_cooldown_does_not_replace_a_longer_one() -> None:
    engine = Engine(limits(3, 30, 1, 40), BEGINS)
    engine.round(1, Decimal(1000), -1)
    ends = engine.at + 40 * HOUR
    engine.adopt(limits(3, 30, 1, 2))
    engine.round(1, Decimal(1000), -1)
    assert engine.asked(engine.at)["streak_limit"].until == ends
