"""Policy: each rule at its limit and just below it, days and cooldowns, runs that fail, eligibility won and lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from attrs import evolve as changed
from hypothesis import given
from hypothesis import strategies as st

from actors.executor.book import Book, Mark, Position
from actors.risk_engine.evaluation import eligible, evaluate, limits
from actors.risk_engine.rules import assess, checks, config_rows, judge, next_change, veto_rows
from actors.risk_engine.state import RiskState, evolve, measured
from protocol.errors import Refusal
from protocol.events import (
    ConfigAdopted,
    JournalEntry,
    Marked,
    OrderPlaced,
    RiskVeto,
    Row,
    RunFailed,
    RunStarted,
    StatusChange,
    Trade,
)
from protocol.money import booked
from protocol.orders import Order, Quote
from protocol.settings import AgentConfig, EvaluationConfig, RiskConfig, StrategyConfig
from protocol.strategy import StrategyParams, default_spec

BEGINS: Final = datetime(2026, 1, 1, 0, 0, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
ETH: Final = "ETH/USDT"
CONFIG: Final = AgentConfig(
    (ETH,),
    StrategyConfig(changed(default_spec(), params=StrategyParams(Decimal(90), 2))),
    risk=RiskConfig(
        max_drawdown_pct=Decimal(20),
        daily_drawdown_pct=Decimal(8),
        max_consecutive_losses=3,
        cooldown_hours=6,
        per_pair_exposure_pct=Decimal(50),
    ),
    evaluation=EvaluationConfig(2, 3),
)


class Desk:
    """A risk engine without its mailbox: rows go in round by round, what they lead to is folded, too."""

    def __init__(self, config: AgentConfig = CONFIG) -> None:
        self.state = RiskState()
        self.rows: list[Row] = []
        self.fold(ConfigAdopted(BEGINS, 1, config))
        self.fold(*config_rows(self.state, 1, BEGINS))

    def fold(self, *rows: Row) -> tuple[Row, ...]:
        for row in rows:
            self.state = evolve(self.state, row)
        self.rows += rows
        return rows

    def round(self, hour: float, equity: Any, *pnls: Any) -> tuple[Row, ...]:
        """A round `hour` hours in: its closing trades, its mark. What it led to."""
        at, before = BEGINS + hour * HOUR, self.state
        self.fold(*(closing(at, pnl) for pnl in pnls), Marked(at, Decimal(str(equity)), {}))
        return self.fold(*assess(before, self.state, at))

    def verdict(self, hour: float, order: Order | None = None, book: Book | None = None) -> Refusal | None:
        """On the book as of that hour: every pair's last close has just been heard of."""
        at, book = BEGINS + hour * HOUR, book or Book(Decimal(1000))
        marks = {pair: Mark(mark.price, at, at - HOUR) for pair, mark in book.marks.items()}
        return judge(self.state, order or buy(), changed(book, marks=marks), at)

    def rule(self, hour: float) -> str | None:
        refusal = self.verdict(hour)
        return refusal.rule if refusal else None


def closing(at: datetime, pnl: Any) -> Trade:
    one = Decimal(1)
    return Trade(at, ETH, "sell", one, one, Decimal(str(pnl)), one, "paper", "jrn", one, "ord", 60, one)


def buy(size: Any = 100, pair: str = ETH) -> Order:
    return Order("ord_1", pair, "buy", Decimal(str(size)), None, "because")


def sell() -> Order:
    return Order("ord_2", ETH, "sell", Decimal(100), Decimal(1), "because")


def holding(*pairs: str, cash: Any = 1000, worth: Any = 10) -> Book:
    """A book with positions of this worth each."""
    marks = {pair: Mark(Decimal(str(worth)), BEGINS, None) for pair in pairs}
    held = {pair: Position(pair, Decimal(1), Decimal(10), Decimal(10), BEGINS) for pair in pairs}
    return Book(Decimal(str(cash)), held, marks)


def entries(rows: tuple[Row, ...] | list[Row], entry_type: str) -> list[JournalEntry]:
    return [row for row in rows if isinstance(row, JournalEntry) and row.type == entry_type]


# --- limits


def test_nothing_objects_to_a_first_order() -> None:
    assert Desk().verdict(1) is None


@pytest.mark.parametrize(("equity", "vetoed"), [("920.00000001", False), ("920", True), ("919.99999999", True)])
def test_the_daily_drawdown_is_a_breach_when_it_reaches_its_limit(equity: str, vetoed: bool) -> None:
    desk = Desk()
    rows = desk.round(1, equity)
    assert desk.rule(2) == ("daily_drawdown" if vetoed else None)
    assert bool(entries(rows, "RISK_BREACH")) == vetoed
    assert (desk.state.paper.daily_dd_used(CONFIG.risk) >= 1) == vetoed


@pytest.mark.parametrize(("equity", "vetoed"), [("800.00000001", False), ("800", True)])
def test_the_max_drawdown_is_a_breach_when_it_reaches_its_limit(equity: str, vetoed: bool) -> None:
    desk = Desk()
    for hour, step in enumerate((1000, 930, 870, 810)):
        desk.round(24 * hour + 1, step)
    rows = desk.round(97, equity)
    assert [row.until for row in rows if isinstance(row, RunFailed)] == ([BEGINS + timedelta(days=5)] if vetoed else [])
    assert desk.rule(98) == ("max_drawdown" if vetoed else None)


@pytest.mark.parametrize(("losses", "vetoed"), [(2, False), (3, True)])
def test_a_losing_streak_is_cooled_down_when_it_reaches_its_limit(losses: int, vetoed: bool) -> None:
    desk = Desk()
    for hour in range(losses):
        desk.round(hour, 1000, -1)
    assert desk.rule(losses) == ("streak_limit" if vetoed else None)


@pytest.mark.parametrize("pnl", [0, -1])
def test_a_trade_that_gains_nothing_counts_as_a_loss(pnl: int) -> None:
    desk = Desk()
    desk.round(1, 1000, pnl)
    assert desk.state.paper.streak == 1
    desk.round(2, 1000, "0.00000001")
    assert desk.state.paper.streak == 0


@pytest.mark.parametrize(("held", "vetoed"), [((), False), (("A/USDT",), False), (("A/USDT", "B/USDT"), True)])
def test_no_more_positions_are_opened_than_may_be(held: tuple[str, ...], vetoed: bool) -> None:
    refusal = Desk().verdict(1, book=holding(*held))
    assert (refusal.rule if refusal else None) == ("max_concurrent" if vetoed else None)


@pytest.mark.parametrize(("size", "rule"), [("500", None), ("500.00000001", "per_pair_exposure")])
def test_a_pair_may_take_its_share_of_equity_and_no_more(size: str, rule: str | None) -> None:
    refusal = Desk().verdict(1, buy(size), Book(Decimal(1000)))
    assert (refusal.rule if refusal else None) == rule


@pytest.mark.parametrize(("size", "rule"), [("400", None), ("400.00000001", "insufficient_funds")])
def test_an_order_may_spend_the_free_cash_and_no_more(size: str, rule: str | None) -> None:
    refusal = Desk().verdict(1, buy(size), holding("A/USDT", cash=400, worth=600))
    assert (refusal.rule if refusal else None) == rule


@pytest.mark.parametrize(("hours", "rule"), [(6, None), (6 + 1 / 3600, "stale_market")])
def test_an_entry_may_not_rest_on_a_price_that_is_too_old(hours: float, rule: str | None) -> None:
    """Of a pair that is held, or across a hole before the pair's own candle."""
    at, age = BEGINS + 48 * HOUR, timedelta(seconds=round(hours * 3600))
    old_position = changed(holding("A/USDT"), marks={"A/USDT": Mark(Decimal(10), at - age, at - age - HOUR)})
    hole = Book(Decimal(1000), marks={ETH: Mark(Decimal(10), at, at - age)})
    for book in (old_position, hole):
        refusal = judge(Desk().state, buy(), book, at)
        assert (refusal.rule if refusal else None) == rule
        if refusal is not None:
            assert (refusal.data["measured"], refusal.data["limit"]) == (booked(Decimal(hours)), Decimal(6))
            assert "6.00 h, the limit is 6 h" in refusal.reason
            assert ("A/USDT" if book is old_position else ETH) in refusal.reason


def waiting(pair: str, size: Any) -> OrderPlaced:
    one = Decimal(1)
    quote = Quote(
        "ord_1", BEGINS, Decimal(size), "pool", one, one, one, one, one, 1, one, one, min_depth_usdt=Decimal(0)
    )
    return OrderPlaced(BEGINS, buy(size, pair), quote)


def test_an_entry_that_waits_counts_as_a_position_and_its_cash_as_spent() -> None:
    placed = {pair: waiting(pair, 300) for pair in ("A/USDT", "B/USDT")}
    refusal = Desk().verdict(1, buy(), Book(Decimal(1000), placed=placed))
    assert refusal is not None
    assert (refusal.rule, "A/USDT, B/USDT" in refusal.reason) == ("max_concurrent", True)
    one = Book(Decimal(1000), placed={"A/USDT": waiting("A/USDT", 600)})
    assert Desk().verdict(1, buy(400), one) is None
    refusal = Desk().verdict(1, buy("400.00000001"), one)
    assert refusal is not None
    assert (refusal.rule, refusal.data["limit"]) == ("insufficient_funds", 400)


def test_switched_off_the_rules_let_pass_what_there_is_cash_and_room_for() -> None:
    desk = Desk(changed(CONFIG, risk=changed(CONFIG.risk, preset="off")))
    assert not desk.round(1, 500, -1, -1, -1)
    assert not desk.round(2, 100)
    assert desk.verdict(2, buy(90), Book(Decimal(100))) is None
    for book, order, rule in ((Book(Decimal(10)), buy(11), "insufficient_funds"),
                              (holding("A/USDT", "B/USDT"), buy(), "max_concurrent")):  # fmt: skip
        refusal = desk.verdict(2, order, book)
        assert refusal is not None
        assert refusal.rule == rule


def test_every_rule_answers_with_how_far_it_is_from_its_limit() -> None:
    desk = Desk()
    desk.round(1, 960, -1)
    book = changed(holding("A/USDT", cash=860, worth=100), marks={"A/USDT": Mark(Decimal(100), BEGINS + HOUR, None)})
    found = {check.rule: check for check in checks(desk.state, buy(240), book, BEGINS + 4 * HOUR)}
    assert {rule: (c.measured, c.limit, c.headroom) for rule, c in found.items()} == {
        "max_drawdown": (Decimal("0.04"), Decimal("0.2"), Decimal("0.8")),
        "daily_drawdown": (Decimal("0.04"), Decimal("0.08"), Decimal("0.5")),
        "streak_limit": (1, 3, None),
        "stale_market": (3, 6, Decimal("0.5")),
        "max_concurrent": (1, 2, None),
        "per_pair_exposure": (Decimal("0.25"), Decimal("0.5"), Decimal("0.5")),
        "insufficient_funds": (240, 860, booked(Decimal(620) / 860)),
    }
    assert all(check.reason is None for check in found.values())


histories = st.lists(
    st.tuples(st.integers(0, 30), st.decimals(500, 1500, places=1), st.lists(st.decimals(-9, 9, places=1), max_size=3)),
    min_size=1, max_size=40,
)  # fmt: skip


@given(histories)
def test_the_quick_answer_on_eligibility_is_the_whole_ones(history: list[tuple[int, Decimal, list[Decimal]]]) -> None:
    desk, hour = Desk(), 0
    for hours, equity, pnls in history:
        hour += hours
        desk.round(hour, equity, *pnls)
        assert eligible(desk.state) == evaluate(desk.state).eligible


@given(histories)
def test_a_mark_that_changes_nothing_leaves_the_very_same_gauge(
    history: list[tuple[int, Decimal, list[Decimal]]],
) -> None:
    desk, hour = Desk(), 0
    for hours, equity, pnls in history:
        hour += hours
        mark = Marked(BEGINS + hour * HOUR, equity, {})
        quick = measured(desk.state.paper, mark, CONFIG.risk, same_config=True)
        assert quick == measured(desk.state.paper, mark, CONFIG.risk, same_config=False)
        desk.round(hour, equity, *pnls)
        again = Marked(BEGINS + hour * HOUR, equity, {})
        assert measured(desk.state.paper, again, CONFIG.risk, same_config=True) is desk.state.paper


@given(histories, st.integers(0, 999))
def test_until_its_next_change_an_unchanged_equity_leads_to_nothing(
    history: list[tuple[int, Decimal, list[Decimal]]], per_mille: int
) -> None:
    """What a backtest leaves out while it is flat."""
    desk, hour = Desk(), 0
    for hours, equity, pnls in history:
        hour += hours
        desk.round(hour, equity, *pnls)
    now, then = desk.state.marked_at, next_change(desk.state)
    if then > now:
        at = now + (then - now) * per_mille / 1000
        after = evolve(desk.state, Marked(at, desk.state.paper.equity, {}))
        assert after.paper == desk.state.paper
        assert assess(desk.state, after, at) == ()


def test_the_first_rule_that_objects_answers() -> None:
    """All of them object; one after the other is lifted."""
    desk = Desk()
    desk.round(1, 1000, -1, -1, -1)
    desk.round(2, 790)
    full, order = holding("A/USDT", "B/USDT", cash=10), buy(600)
    found = []
    lifts: list[dict[str, Any]] = [
        {},
        {"blocked": None},
        {"daily_breach": None},
        {"cooldown": None},
    ]
    for lift in lifts:
        if "blocked" in lift or not lift:
            desk.state = changed(desk.state, **lift)
        else:
            desk.state = changed(desk.state, paper=changed(desk.state.paper, **lift))
        refusal = desk.verdict(3, order, full)
        found.append(refusal.rule if refusal else None)
    for book in (holding(cash=10), holding("A/USDT", cash=10, worth=10_000), Book(Decimal(2000))):
        refusal = desk.verdict(3, order, book)
        found.append(refusal.rule if refusal else None)
    assert found == [
        "max_drawdown", "daily_drawdown", "streak_limit", "max_concurrent", "per_pair_exposure", "insufficient_funds",
        None,
    ]  # fmt: skip


@given(st.lists(st.tuples(st.decimals(1, 3000, places=2), st.lists(st.decimals(-50, 50, places=2), max_size=3))))
def test_an_exit_passes_always(rounds: list[tuple[Decimal, list[Decimal]]]) -> None:
    desk = Desk()
    for hour, (equity, pnls) in enumerate(rounds):
        desk.round(hour * 5, equity, *pnls)
        assert desk.verdict(hour * 5 + 1, sell(), holding("A/USDT", "B/USDT", "C/USDT", cash=-5)) is None


# --- days


def test_the_days_opening_is_the_equity_at_the_last_mark_before_midnight() -> None:
    desk = Desk()
    desk.round(22, 1040)
    desk.round(23.99, 1050)
    assert desk.state.paper.opening == 1000
    desk.round(24, 1010)  # the mark at 00:00 belongs to the new day
    assert desk.state.paper.opening == 1050
    desk.round(26, 1020)
    assert desk.state.paper.opening == 1050
    assert desk.state.paper.daily_drawdown == Decimal(30) / 1050
    desk.round(24 * 5, 1020)  # days without a mark have none
    assert desk.state.paper.opening == 1020


def test_a_daily_breach_vetoes_until_the_next_utc_midnight_and_not_at_it() -> None:
    desk = Desk()
    desk.round(5, 900)
    refusal = desk.verdict(5)
    assert refusal is not None
    assert refusal.data["until"] == "2026-01-02T00:00:00.000Z"
    assert [desk.rule(hour) for hour in (5, 23.999, 24, 25)] == ["daily_drawdown", "daily_drawdown", None, None]
    desk.round(24, 900)
    assert desk.rule(25) is None


def test_a_daily_breach_stays_one_when_the_equity_recovers_and_is_told_once_a_day() -> None:
    desk = Desk()
    told = [len(entries(desk.round(*mark), "RISK_BREACH")) for mark in ((1, 910), (2, 990), (3, 900), (4, 1000))]
    assert told == [1, 0, 0, 0]
    assert desk.rule(5) == "daily_drawdown"
    assert desk.state.paper.daily_dd_used(CONFIG.risk) == 0
    assert len(entries(desk.round(25, 910), "RISK_BREACH")) == 1


def test_daily_dd_used_is_the_part_of_the_budget_and_may_exceed_one() -> None:
    desk = Desk()
    for equity, used in ((1100, 0), (1000, 0), (960, "0.5"), (840, 2)):
        desk.round(1, equity)
        assert desk.state.paper.daily_dd_used(CONFIG.risk) == Decimal(used)


# --- streaks


def test_after_the_cooldown_entries_are_allowed_and_the_streak_counts_from_zero() -> None:
    desk = Desk()
    for hour in (1, 2, 3):
        desk.round(hour, 1000, -1)
    refusal = desk.verdict(3)
    assert refusal is not None
    assert refusal.data["until"] == "2026-01-01T09:00:00.000Z"
    assert [desk.rule(hour) for hour in (3, 8.999, 9)] == ["streak_limit", "streak_limit", None]
    desk.round(9, 1000)
    assert desk.state.paper.streak == 0
    desk.round(10, 1000, -1, -1)
    assert (desk.state.paper.streak, desk.rule(11)) == (2, None)
    desk.round(11, 1000, -1)
    assert desk.rule(12) == "streak_limit"


def test_the_cooldown_begins_with_the_last_loss_of_the_streak() -> None:
    desk = Desk()
    desk.round(1, 1000, -1, -1, -1)
    desk.round(5, 1000, -1)
    assert [desk.rule(hour) for hour in (7, 10.9, 11)] == ["streak_limit", "streak_limit", None]


@pytest.mark.parametrize("hour", [7, 8])
def test_a_loss_after_the_cooldown_is_the_first_of_a_new_streak(hour: int) -> None:
    """Also when its round is the first one since the cooldown ended."""
    desk = Desk()
    desk.round(1, 1000, -1, -1, -1)
    assert desk.rule(hour) is None
    desk.round(hour, 1000, -1)
    assert desk.state.paper.streak == 1
    desk.round(hour + 1, 1000, -1, -1)
    assert desk.rule(hour + 2) == "streak_limit"


# --- runs


def failed() -> tuple[Desk, tuple[Row, ...]]:
    """A run that fell from 1100 to 860, slowly enough for no daily breach on its last day."""
    desk = Desk()
    for day, equity in enumerate((1100, 1030, 960, 900)):
        desk.round(24 * day + 1, equity)
    return desk, desk.round(24 * 4 + 1, 860)


def test_a_max_breach_is_told_once_and_fails_the_run() -> None:
    desk, rows = failed()
    assert [type(row) for row in rows] == [JournalEntry, RunFailed]
    entry = entries(rows, "RISK_BREACH")[0]
    assert entry.tags == ("max_drawdown", "max")
    assert (entry.data["measured"], entry.data["limit"]) == (Decimal("0.21818182"), Decimal("0.2"))
    assert "21.82 %" in entry.text
    assert "20.00 %" in entry.text
    assert "2026-01-06T00:00:00.000Z" in entry.text
    assert evaluate(desk.state).state == "FAILED"
    assert desk.round(24 * 4 + 2, 855) == ()
    assert evaluate(desk.state).state == "FAILED"


def test_a_failed_run_vetoes_until_midnight_and_then_a_fresh_one_starts() -> None:
    desk, _ = failed()
    assert [desk.rule(24 * 4 + hour) for hour in (1, 23.99, 24)] == ["max_drawdown", "max_drawdown", None]
    midnight = BEGINS + timedelta(days=5)
    assert desk.round(24 * 5, 850) == (RunStarted(midnight, 1, Decimal(850)),)
    assert desk.state.paper.drawdown == 0
    assert evaluate(desk.state).state == "EVALUATING"
    assert desk.state.paper.dd_from_peak == Decimal(250) / 1100  # the all-time peak knows nothing of runs
    assert desk.rule(24 * 5 + 1) is None
    assert desk.round(24 * 5 + 1, 840) == ()


def test_the_trades_of_a_failed_run_are_not_the_fresh_ones() -> None:
    desk, _ = failed()
    desk.round(24 * 4 + 3, 860, -5, 7)
    desk.round(24 * 5, 860)
    assert not desk.state.run.closed_trades
    assert desk.state.run.pnl == 0


def test_a_new_config_lifts_no_veto_before_its_midnight() -> None:
    """No config edit shortens a lock."""
    desk, _ = failed()
    at = BEGINS + (24 * 4 + 2) * HOUR
    desk.fold(ConfigAdopted(at, 2, changed(CONFIG, snapshot_minutes=30)))
    desk.fold(*config_rows(desk.state, 2, at))
    assert desk.rule(24 * 4 + 3) == "max_drawdown"


# --- eligibility


def earned() -> tuple[Desk, tuple[Row, ...]]:
    desk = Desk()
    desk.round(1, 1000, 5)
    desk.round(2, 1000, 5, -2)
    assert evaluate(desk.state).state == "EVALUATING"
    assert not desk.round(47.9, 1008)
    return desk, desk.round(48, 1008)


def test_eligibility_is_won_when_all_criteria_hold_and_told_entry_first() -> None:
    desk, rows = earned()
    entry, event = rows
    assert isinstance(entry, JournalEntry)
    assert isinstance(event, StatusChange)
    assert (entry.type, entry.tags, event.from_, event.to) == (
        "STATUS_CHANGE",
        ("PAPER", "ELIGIBLE"),
        "PAPER",
        "ELIGIBLE",
    )
    assert entry.ts == event.ts
    assert "3 closed trades over 2.0 days with an expectancy of 2.67 USDT" in entry.text
    assert (desk.state.status, evaluate(desk.state).state) == ("ELIGIBLE", "ELIGIBLE")
    assert desk.round(49, 1008) == ()


def test_eligibility_is_lost_with_a_criterion_and_told_with_its_numbers() -> None:
    desk, _ = earned()
    entry, event = desk.round(50, 1000, -8)
    assert isinstance(entry, JournalEntry)
    assert isinstance(event, StatusChange)
    assert (event.from_, event.to, desk.state.status) == ("ELIGIBLE", "PAPER", "PAPER")
    assert "expectancy is 0 (limit 0)" in entry.text
    assert event.reason in entry.text


def test_a_max_breach_takes_eligibility_in_the_same_round() -> None:
    desk, _ = earned()
    for hour, equity in ((60, 940), (84, 870)):
        desk.round(hour, equity)
    rows = desk.round(108, 800)
    assert [type(row) for row in rows] == [JournalEntry, JournalEntry, RunFailed, JournalEntry, StatusChange]
    assert [row.type for row in rows if isinstance(row, JournalEntry)] == [
        "RISK_BREACH",
        "RISK_BREACH",
        "STATUS_CHANGE",
    ]
    assert desk.state.status == "PAPER"


def test_a_new_config_takes_eligibility_and_starts_a_fresh_run() -> None:
    desk, _ = earned()
    at = BEGINS + 50 * HOUR
    entry, event, started = config_rows(desk.state, 2, at)
    assert isinstance(entry, JournalEntry)
    assert "the config changed" in entry.text
    assert isinstance(event, StatusChange)
    assert (event.from_, event.to) == ("ELIGIBLE", "PAPER")
    assert started == RunStarted(at, 2, Decimal(1008))
    assert config_rows(Desk().state, 2, at) == (RunStarted(at, 2, Decimal(1000)),)


@pytest.mark.parametrize(
    ("pnls", "hours", "equity", "state"),
    [
        ((), 1, 1000, "EVALUATING"),
        ((1, 1, 1), 47.99, 1003, "EVALUATING"),
        ((1, 1, 1), 48, 1003, "ELIGIBLE"),
        ((1, 1), 48, 1002, "WINDOW_EXTENDED"),
        ((1, 1, -2), 48, 1000, "WINDOW_EXTENDED"),
        ((1, 1, "-1.99999999"), 48, 1000, "ELIGIBLE"),
        ((1, 1, 1), 1, 800, "FAILED"),
        ((1, 1, 1), 100, 790, "FAILED"),
    ],
)
def test_the_evaluation_says_where_the_run_stands(pnls: tuple[Any, ...], hours: float, equity: int, state: str) -> None:
    desk = Desk()
    desk.round(0.5, 1000, *pnls)
    desk.round(hours, equity)
    assert evaluate(desk.state).state == state


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(500, 1500), st.lists(st.integers(-9, 9), max_size=2))))
def test_whatever_happens_each_change_of_status_begins_where_the_last_one_ended(
    rounds: list[tuple[int, int, list[int]]],
) -> None:
    desk, hour, status = Desk(), 0, "PAPER"
    for step, equity, pnls in rounds:
        hour += step
        rows = desk.round(hour, equity, *pnls)
        for before, row in zip((None, *rows), rows, strict=False):
            if isinstance(row, StatusChange):
                assert isinstance(before, JournalEntry)
                assert before.data == {"from": row.from_, "to": row.to, "trigger": before.data["trigger"]}
                assert row.from_ == status
                status = row.to
    assert desk.state.status == status


@given(st.lists(st.integers(1, 5000), min_size=1), st.integers(1, 12))
def test_drawdowns_are_measured_from_their_own_peaks(marks: list[int], step: int) -> None:
    desk, peak = Desk(), 1000
    for number, equity in enumerate(marks):
        desk.round(number * step, equity)
        peak = max(peak, equity)
        assert desk.state.paper.dd_from_peak == Decimal(peak - equity) / peak
        assert 0 <= desk.state.paper.drawdown <= desk.state.paper.dd_from_peak


def test_the_limits_in_use_are_shown_with_their_headroom() -> None:
    desk = Desk()
    desk.round(1, 960, -1)
    assert [(o.rule, o.current, o.limit, o.headroom) for o in limits(desk.state, Book(Decimal(1000)))] == [
        ("daily_drawdown", Decimal("0.04"), Decimal("0.08"), Decimal("0.5")),
        ("max_drawdown", Decimal("0.04"), Decimal("0.2"), Decimal("0.8")),
        ("streak_limit", Decimal(1), Decimal(3), None),
        ("max_concurrent", Decimal(0), Decimal(2), None),
        ("per_pair_exposure", Decimal(0), Decimal("0.5"), Decimal(1)),
    ]


def test_a_limit_that_was_reached_is_shown_as_reached_until_entries_may_come_again() -> None:
    desk = Desk()
    desk.round(1, 900, -1, -1, -1)
    desk.round(2, 1000)  # which undoes neither the breach of the day nor the streak
    midnight = datetime(2026, 1, 2, tzinfo=UTC)
    daily, top, streak, *_ = limits(desk.state, Book(Decimal(1000)))
    assert (daily.current, daily.met, daily.until) == (Decimal("0.1"), False, midnight)
    assert (top.current, top.met, top.until) == (Decimal(0), True, None)
    assert (streak.current, streak.met) == (Decimal(3), False)
    assert streak.until is not None
    desk.round(25, 1000)
    daily, _, streak, *_ = limits(desk.state, Book(Decimal(1000)))
    assert (daily.current, daily.met, daily.until) == (Decimal(0), True, None)
    assert (streak.current, streak.met, streak.until) == (Decimal(0), True, None)


# --- what is told


def after(mark: tuple[Any, ...]) -> Desk:
    desk = Desk()
    desk.round(*mark)
    return desk


VETOES: dict[str, tuple[Refusal | None, tuple[str, ...]]] = {
    "streak_limit": (after((1, 1000, -1, -1, -1)).verdict(2), ("3 losses", "limit is 3")),
    "daily_drawdown": (after((1, 900)).verdict(2), ("10.00 %", "8.00 %")),
    "max_drawdown": (after((1, 790)).verdict(2), ("20.00 %", "2026-01-02T00:00:00.000Z")),
    "max_concurrent": (Desk().verdict(1, book=holding("A/USDT", "B/USDT")), ("2 of at most 2", "A/USDT, B/USDT")),
    "per_pair_exposure": (Desk().verdict(1, buy(600)), ("60.00 %", "50.00 %")),
    "insufficient_funds": (
        Desk().verdict(1, buy(400), holding("A/USDT", cash=1, worth=999)),
        ("400.00 USDT", "1.00 USDT"),
    ),
}


@pytest.mark.parametrize("rule", VETOES)
def test_a_veto_is_an_entry_and_an_event_that_say_the_numbers(rule: str) -> None:
    refusal, numbers = VETOES[rule]
    assert refusal is not None
    assert refusal.rule == rule
    assert {"measured", "limit"} <= set(refusal.data)
    entry, event = veto_rows(refusal, buy(), BEGINS)
    assert isinstance(entry, JournalEntry)
    assert isinstance(event, RiskVeto)
    assert (entry.type, entry.tags[0], event.rule, event.journal_ref) == ("RISK_VETO", rule, rule, entry.id)
    assert event.order_ref == entry.data["order_ref"] == "ord_1"
    assert event.reason in entry.text
    for number in numbers:
        assert number in entry.text


def test_a_config_is_what_a_state_asks_for_first() -> None:
    with pytest.raises(AssertionError, match="config"):
        _ = RiskState().settings
