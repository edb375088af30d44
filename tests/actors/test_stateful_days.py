"""The UTC day, over any marks and on any machine: where it begins, what it opened with, and until when its lock
holds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import pytest
from attrs import evolve as changed
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors.risk_engine.rules import assess, next_change
from actors.risk_engine.state import Gauge, RiskState, evolve
from protocol.events import ConfigAdopted, Marked
from protocol.settings import AgentConfig, RiskConfig
from protocol.times import next_midnight, to_wire
from tests.actors.test_stateful_risk import Engine

DAY: Final = 86_400_000  # of milliseconds
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ZONES: Final = ("UTC", "America/St_Johns", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Berlin", "Asia/Kathmandu")
# A year's end, a leap day, a century that is a leap year, and two nights in which somebody's clock is set.
EVES: Final = ("2026-12-31", "2028-02-28", "2028-02-29", "2000-02-28", "2026-03-28", "2026-10-24")
CONFIG: Final = AgentConfig(("ETH/USDT",), risk=RiskConfig(max_drawdown_pct=Decimal(90), daily_drawdown_pct=Decimal(5)))


@pytest.fixture(autouse=True)
def _own_zone() -> Iterator[None]:
    before = os.environ.get("TZ")
    yield
    if before is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = before
    time.tzset()


def move_to(zone: str) -> None:
    """The machine is somewhere else from now on."""
    os.environ["TZ"] = zone
    time.tzset()


def millis(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)


class Days(RuleBasedStateMachine):
    """The model has the list of all marks, and divides milliseconds."""

    @initialize(eve=st.sampled_from(EVES), hour=st.integers(0, 23))
    def begin(self, eve: str, hour: int) -> None:
        self.engine = Engine(CONFIG, datetime.fromisoformat(eve).replace(hour=hour, tzinfo=UTC))
        self.marks = [(millis(self.engine.at), Decimal(1000))]
        self.told: dict[int, str] = {}  # by day, until when its breach was said to hold

    @rule(zone=st.sampled_from(ZONES))
    def travel(self, zone: str) -> None:
        move_to(zone)

    @rule(
        step=st.one_of(
            st.integers(1, 3 * DAY),
            st.sampled_from((1, DAY - 1, DAY, DAY + 1)),
            st.just("midnight"),
            st.just("before it"),
        ),
        equity=st.integers(850, 1150),
    )
    def mark(self, step: int | str, equity: int) -> None:
        now = self.marks[-1][0]
        midnight = now - now % DAY + DAY
        at = now + step if isinstance(step, int) else midnight if step == "midnight" else max(midnight - 1, now + 1)
        rows = self.engine.round((at - now) / 3_600_000, Decimal(equity))
        assert millis(self.engine.at) == at
        self.marks.append((at, Decimal(equity)))
        for row in rows:
            if "daily" in getattr(row, "tags", ()):
                assert at // DAY not in self.told, "a day's breach is told once"
                self.told[at // DAY] = row.data["until"]  # type: ignore[union-attr]

    @rule()
    def restart(self) -> None:
        self.engine.restart()

    @invariant()
    def the_day_opened_with_the_last_mark_before_it(self) -> None:
        today = self.marks[-1][0] // DAY
        before = [equity for at, equity in self.marks[1:] if at // DAY < today]
        assert self.engine.state.paper.opening == (before[-1] if before else Decimal(1000))

    @invariant()
    def a_days_breach_is_told_that_day_and_holds_until_it_is_over(self) -> None:
        today, opening = self.marks[-1][0] // DAY, self.engine.state.paper.opening
        lost = [at for at, equity in self.marks[1:] if at // DAY == today and equity <= opening * Decimal("0.95")]
        assert (today in self.told) == bool(lost)
        if lost:
            ends = EPOCH + (today + 1) * timedelta(days=1)
            assert self.told[today] == to_wire(ends)
            assert self.engine.asked(ends - timedelta(milliseconds=1))["daily_drawdown"].reason is not None
            assert self.engine.asked(ends)["daily_drawdown"].reason is None

    @invariant()
    def nothing_changes_by_itself_before_it_was_said_to(self) -> None:
        """What lets quiet rounds be passed over: until then a mark of the same equity has nothing to say."""
        state, due = self.engine.state, next_change(self.engine.state)
        if state.marked and due - self.engine.at > timedelta(milliseconds=1):
            after = evolve(state, Marked(due - timedelta(milliseconds=1), state.paper.equity, {}))
            again = evolve(after, Marked(due - timedelta(milliseconds=1), state.paper.equity, {}))
            assert assess(after, again, again.marked_at) == ()
            assert after.paper.opening == state.paper.opening


TestDays = Days.TestCase
TestDays.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


@given(at=st.integers(0, 200 * 366 * DAY), zone=st.sampled_from(ZONES))
def test_the_next_midnight_is_the_next_whole_number_of_days(at: int, zone: str) -> None:
    move_to(zone)
    assert millis(next_midnight(EPOCH + timedelta(milliseconds=at))) == at - at % DAY + DAY


def test_a_mark_at_midnight_is_the_new_days_first_and_opens_nothing() -> None:
    engine = Engine(CONFIG, datetime(2026, 1, 1, 22, tzinfo=UTC))
    engine.round(1, Decimal(980))
    engine.round(1, Decimal(900))
    gauge = engine.state.paper
    assert (gauge.opening, gauge.equity) == (Decimal(980), Decimal(900))
    assert gauge.daily_breach is not None
    assert gauge.daily_breach.until == datetime(2026, 1, 3, tzinfo=UTC)


def test_an_opening_belongs_to_the_state_and_not_to_the_clock() -> None:
    """A state that was saved at any time opens its day as it did."""
    state = evolve(RiskState(), ConfigAdopted(EPOCH, 1, CONFIG))
    morning = changed(state, paper=Gauge(Decimal(990), Decimal(1000), Decimal(1000), EPOCH.date(), Decimal(1000)))
    later = evolve(morning, Marked(EPOCH + timedelta(hours=5), Decimal(985), {}))
    assert later.paper.opening == 1000
