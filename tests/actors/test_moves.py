"""The lifecycle, whole: every move of the table is reached by a rule, no other one is, and each is told as clients are
promised."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import evolve as changed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.risk_engine.moves import Act, Demote, Killed, Promote, Reapprove, Restored, acted, demote_on_breach
from actors.risk_engine.rules import assess, config_rows
from actors.risk_engine.state import RiskState, evolve, traded
from protocol.errors import Refusal
from protocol.events import (
    ConfigAdopted,
    Demotion,
    Flattening,
    Frozen,
    JournalEntry,
    LiveOpened,
    Marked,
    Promotion,
    Row,
    StatusChange,
    Trade,
)
from protocol.lifecycle import MOVES, move
from protocol.money import ZERO, Units
from protocol.orders import Phase
from protocol.settings import AgentConfig, EvaluationConfig, RiskConfig
from protocol.times import next_midnight, to_wire

BEGINS: Final = datetime(2026, 1, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
CONFIG: Final = AgentConfig(
    ("ETH/USDT",),
    risk=RiskConfig(max_drawdown_pct=Decimal(20), daily_drawdown_pct=Decimal(8)),
    evaluation=EvaluationConfig(1, 1),
)


class Agent:
    """A risk engine by itself. What it is told and what follows is folded; `moves` is what its status went through."""

    def __init__(self, config: AgentConfig = CONFIG, at: datetime = BEGINS) -> None:
        self.state = RiskState()
        self.at = at
        self.batches: list[tuple[Row, ...]] = []
        self.adopt(config)

    def adopt(self, config: AgentConfig) -> None:
        """The next version."""
        version = self.state.version + 1
        self.tell(ConfigAdopted(self.at, version, config))
        self.tell(*config_rows(self.state, version, self.at))

    def tell(self, *rows: Row) -> tuple[Row, ...]:
        for row in rows:
            self.state = evolve(self.state, row)
        self.batches.append(rows)
        return rows

    def act(self, act: Act, *, flat: bool = True) -> tuple[Row, ...] | Refusal:
        """A person's act, or the news of one."""
        found = acted(self.state, act, self.at, flat=flat)
        return found if isinstance(found, Refusal) else self.tell(*found)

    def round(self, hours: float, equity: Any, *pnls: Any, live: Any = None, lost_live: int = 0) -> tuple[Row, ...]:
        """A later round: paper's closing trades and its mark, the live book's mark, and what follows."""
        self.at += hours * HOUR
        before = self.state
        trades = [closing(self.at, pnl) for pnl in pnls] + [closing(self.at, -1, "live")] * lost_live
        self.state = traded(self.state, trades)
        self.state = evolve(self.state, Marked(self.at, Decimal(str(equity)), {}))
        rows = self.tell(*assess(before, self.state, self.at))
        if live is not None and self.state.status == "LIVE":
            self.state = evolve(self.state, Marked(self.at, Decimal(str(live)), {}, "live"))
            rows += self.tell(*demote_on_breach(self.state, self.at))
        return rows

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [(row.from_, row.to) for batch in self.batches for row in batch if isinstance(row, StatusChange)]


def promotion(equity: Any = 500, *, before: Decimal = ZERO, force: bool = False) -> Promote:
    """With so much in the wallet, all of it in USDT; by the live book's trades there should be `before`."""
    cash = Decimal(str(equity))
    return Promote(cash, cash, before, {"USDT": Units.of(cash, 18), "gas": Units(7)}, "The guard holds the key.", force)


KILLED: Final = Killed("2026-01-02T00:00:00.000Z", "by hand")


def closing(at: datetime, pnl: Any, phase: Phase = "paper") -> Trade:
    one = Decimal(1)
    return Trade(at, "ETH/USDT", "sell", one, one, Decimal(str(pnl)), one, phase, "jrn", one, "ord", 60, one)


def eligible() -> Agent:
    agent = Agent()
    agent.round(1, 1000, 5)
    agent.round(24, 1005)
    assert agent.state.status == "ELIGIBLE"
    return agent


def live(equity: Any = 500) -> Agent:
    agent = eligible()
    agent.act(promotion(equity))
    assert agent.state.status == "LIVE"
    return agent


def kinds(rows: tuple[Row, ...]) -> list[str]:
    return [row.type if isinstance(row, JournalEntry) else row.kind for row in rows]


# --- each move


def test_a_person_promotes_on_the_record() -> None:
    agent = eligible()
    rows = agent.act(promotion())
    assert isinstance(rows, tuple)
    assert kinds(rows) == ["PROMOTION", "STATUS_CHANGE", "live_opened", "promotion", "status_change"]
    entry, _, opened, event, echo = rows
    assert isinstance(entry, JournalEntry)
    units = {"USDT": Units(500 * 10**18), "gas": Units(7)}
    assert opened == LiveOpened(agent.at, Decimal(500), Decimal(500), Decimal(0), units)
    assert isinstance(event, Promotion)
    assert isinstance(echo, StatusChange)
    assert (event.tx_hash, event.journal_ref, echo.from_, echo.to) == (None, entry.id, "ELIGIBLE", "LIVE")
    assert "500.00 USDT" in entry.text
    assert "on its record" in entry.text
    assert entry.text.endswith("The guard holds the key.")
    assert agent.state.live is not None
    assert agent.state.live.equity == agent.state.live.peak == agent.state.live.risk_peak == 500


def test_before_the_record_is_there_only_force_promotes() -> None:
    agent = Agent()
    refused = agent.act(promotion())
    assert isinstance(refused, Refusal)
    assert refused.rule == "NOT_ELIGIBLE"
    assert "trade_floor" in refused.reason
    agent.act(promotion(force=True))
    assert agent.changes == [("PAPER", "LIVE")]
    again = agent.act(promotion(force=True))
    assert isinstance(again, Refusal)
    assert again.rule == "ALREADY_LIVE"


@pytest.mark.parametrize(("equity", "demoted"), [("460.00000001", False), ("460", True)])
def test_a_daily_breach_of_the_live_book_demotes_until_midnight(equity: str, demoted: bool) -> None:
    agent = live()
    rows = agent.round(1, 1005, live=equity)
    assert bool(rows) == demoted
    if demoted:
        assert kinds(rows) == [
            "RISK_BREACH", "DEMOTION", "STATUS_CHANGE", "demotion", "status_change", "flattening",
        ]  # fmt: skip
        event = rows[3]
        assert isinstance(event, Demotion)
        assert (event.rule, event.breach) == ("daily_drawdown", "daily")
        assert event.locked_until == next_midnight(agent.at)
        entry = rows[1]
        assert isinstance(entry, JournalEntry)
        assert event.journal_ref == entry.id
        for words in ("8.00 %", "daily_drawdown", to_wire(next_midnight(agent.at)), "sold for USDT"):
            assert words in entry.text


@pytest.mark.parametrize(("equity", "demoted"), [("400.00000001", False), ("400", True)])
def test_a_max_breach_of_the_live_book_demotes_until_a_person_re_approves(equity: str, demoted: bool) -> None:
    agent = live()
    for fallen in (465, 430):
        assert not agent.round(24, 1005, live=fallen)
    rows = agent.round(24, 1005, live=equity)
    assert bool(rows) == demoted
    if demoted:
        event = rows[3]
        assert isinstance(event, Demotion)
        assert (event.rule, event.breach, event.locked_until) == ("max_drawdown", "max", None)
        for _ in range(30):
            assert not [row for row in agent.round(24, 1005) if isinstance(row, StatusChange)]
        refused = agent.act(promotion(force=True))
        assert isinstance(refused, Refusal)
        assert refused.rule == "PROMOTION_LOCKED"
        assert event.journal_ref in refused.reason
        assert isinstance(agent.act(Reapprove("jrn_other", "because")), Refusal)
        agent.act(Reapprove(event.journal_ref, "looked at it"))
        assert agent.changes[-1] == ("DEMOTED", "ELIGIBLE")  # the paper record holds all the while
        assert agent.state.lock is None
        assert agent.state.live is not None
        assert agent.state.live.drawdown == 0  # measured from where it stands


@pytest.mark.parametrize(("pnl", "to"), [(1, "ELIGIBLE"), (-50, "PAPER")])
def test_a_daily_lock_runs_out_at_midnight_and_promotes_nothing(pnl: int, to: str) -> None:
    agent = live()
    agent.round(1, 1005, pnl, live=450)
    locked_until = next_midnight(agent.at)
    hours = (locked_until - agent.at) / HOUR
    agent.round(hours - 0.01, 1005)
    assert agent.state.status == "DEMOTED"
    refused = agent.act(promotion())
    assert isinstance(refused, Refusal)
    assert to_wire(locked_until) in refused.reason
    rows = agent.round(0.01, 1005)
    assert kinds(rows) == ["lock_lifted", "STATUS_CHANGE", "status_change"]
    assert agent.changes[-1] == ("DEMOTED", to)


def test_a_person_demotes_and_the_kill_switch_does_without_a_lock() -> None:
    acts: tuple[tuple[Act, list[str], type[Flattening | Frozen]], ...] = (
        (Demote("holiday"), ["STATUS_CHANGE", "status_change", "flattening"], Flattening),
        (KILLED, ["KILL", "STATUS_CHANGE", "status_change", "frozen"], Frozen),
    )
    for act, entries, last in acts:
        agent = live()
        rows = agent.act(act)
        assert isinstance(rows, tuple)
        assert kinds(rows) == entries
        end = rows[-1]
        assert isinstance(end, last)
        assert end.ts == agent.at
        assert (KILLED.at if act is KILLED else "holiday") in end.reason
        assert (agent.changes[-1], agent.state.lock) == (("LIVE", "PAPER"), None)
    again = agent.act(Demote("again"))
    assert isinstance(again, Refusal)
    assert again.rule == "NOT_LIVE"
    killed, restored = agent.act(KILLED), agent.act(Restored(KILLED.at))
    assert isinstance(killed, tuple)
    assert isinstance(restored, tuple)
    assert kinds(killed) == ["KILL", "frozen"]
    assert kinds(restored) == ["RESTORE"]


def test_a_person_has_what_a_kill_switch_stranded_sold_whatever_the_status() -> None:
    agent = live()
    agent.act(KILLED, flat=False)
    rows = agent.act(Demote("now that it signs again"), flat=False)
    assert isinstance(rows, tuple)
    assert kinds(rows) == ["DEMOTION", "flattening"]
    entry = rows[0]
    assert isinstance(entry, JournalEntry)
    assert entry.tags == ("by_hand",)
    assert "PAPER already" in entry.text
    assert "now that it signs again" in entry.text
    assert agent.state.status == "PAPER"


def test_a_config_change_leaves_live_what_is_live_and_starts_the_record_anew() -> None:
    agent = live()
    agent.tell(ConfigAdopted(agent.at, 2, changed(CONFIG, snapshot_minutes=30)))
    assert kinds(agent.tell(*config_rows(agent.state, 2, agent.at))) == ["run_started"]
    assert (agent.state.status, agent.state.run.closed_trades) == ("LIVE", 0)


def test_the_books_do_not_disturb_each_other() -> None:
    agent = live()
    paper = agent.state.paper
    agent.state = traded(agent.state, [closing(agent.at, -5, "live")])
    agent.state = evolve(agent.state, Marked(agent.at + HOUR, Decimal(480), {}, "live"))
    assert agent.state.paper == paper
    assert agent.state.live is not None
    assert agent.state.live.equity == 480
    assert (agent.state.live.streak, agent.state.run.closed_trades) == (1, 1)
    before = agent.state.live
    agent.state = evolve(agent.state, Marked(agent.at + HOUR, Decimal(900), {}))
    assert agent.state.live == before


# --- any acts in any order


class Lifecycle(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.agent = Agent()
        self.kills = 0  # each is named by when the guard was killed

    @rule(hours=st.integers(1, 30), equity=st.integers(700, 1300), pnl=st.integers(-20, 30), live=st.integers(300, 600))
    def round(self, hours: int, equity: int, pnl: int, live: int) -> None:
        self.agent.round(hours, equity, pnl, live=live)

    @rule(force=st.booleans())
    def promote(self, force: bool) -> None:
        locked = self.agent.state.lock is not None
        found = self.agent.act(promotion(force=force))
        assert not locked or (isinstance(found, Refusal) and found.rule == "PROMOTION_LOCKED")

    @rule(flat=st.booleans())
    def demote(self, flat: bool) -> None:
        was = self.agent.state.status
        found = self.agent.act(Demote("by hand"), flat=flat)
        assert isinstance(found, Refusal) == (was != "LIVE" and flat)

    @rule()
    def kill(self) -> None:
        self.kills += 1
        assert isinstance(self.agent.act(Killed(f"kill {self.kills}", "by hand")), tuple)

    @rule()
    def restore(self) -> None:
        self.kills += 1
        assert isinstance(self.agent.act(Restored(f"kill {self.kills}")), tuple)

    @precondition(lambda self: self.agent.state.lock is not None)
    @rule(right=st.booleans())
    def reapprove(self, right: bool) -> None:
        lock = self.agent.state.lock
        assert lock is not None
        name = lock.demotion if right else "jrn_other"
        found = self.agent.act(Reapprove(name, "looked at"))
        assert isinstance(found, Refusal) == (not right or lock.breach == "daily")

    @invariant()
    def every_act_that_did_something_is_told_and_no_entry_twice(self) -> None:
        batches = self.agent.batches
        assert all(
            isinstance(rows[0], JournalEntry) for rows in batches if rows and isinstance(rows[-1], Flattening | Frozen)
        )
        ids = [row.id for rows in batches for row in rows if isinstance(row, JournalEntry)]
        assert len(set(ids)) == len(ids)

    @invariant()
    def moves_are_of_the_table_and_follow_each_other(self) -> None:
        status = "PAPER"
        for from_, to in self.agent.changes:
            assert from_ == status
            assert any(key[0] == from_ and value == to for key, value in MOVES.items())
            status = to
        assert status == self.agent.state.status

    @invariant()
    def causes_come_before_their_echo_at_the_same_time(self) -> None:
        for batch in self.agent.batches:
            for index, row in enumerate(batch):
                if isinstance(row, Promotion | Demotion):
                    echo = batch[index + 1]
                    assert isinstance(echo, StatusChange)
                    assert echo.ts == row.ts
                    assert echo.to == ("LIVE" if isinstance(row, Promotion) else "DEMOTED")
                if isinstance(row, Demotion):
                    assert (row.locked_until is None) == (row.breach == "max")

    @invariant()
    def what_leads_out_of_live_ends_with_what_becomes_of_the_holdings(self) -> None:
        for batch in self.agent.batches:
            out = [row for row in batch if isinstance(row, StatusChange) and row.from_ == "LIVE"]
            if out:
                killed = any(isinstance(row, JournalEntry) and row.type == "KILL" for row in batch)
                assert isinstance(batch[-1], Frozen if killed else Flattening)

    @invariant()
    def no_two_entries_have_one_id(self) -> None:
        ids = [row.id for batch in self.agent.batches for row in batch if isinstance(row, JournalEntry)]
        assert len(set(ids)) == len(ids)

    @invariant()
    def a_lock_is_there_exactly_while_demoted(self) -> None:
        assert (self.agent.state.lock is not None) == (self.agent.state.status == "DEMOTED")


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=60, stateful_step_count=30)


def test_the_documented_diagram_is_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^ *([A-Z]+) --> ([A-Z]+): ([a-z_]+)$", text, re.MULTILINE))
    assert drawn == {(from_, to, trigger) for (from_, trigger), to in MOVES.items()}
    assert move("DEMOTED", "promoted") is None
