"""What comes later decides nothing: neither candles that are not there yet, nor a restart in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.strategist import actor as strategist
from protocol.codec import encode_row
from protocol.events import EVENTS, Event, JournalEntry, RiskVeto
from protocol.market import Candle, Round, Tick
from protocol.settings import AgentConfig, PaperConfig
from server.backtesting.run import Rehearsal
from tests.actors.logs import decisions, run_whole
from tests.actors.seeded import run_seeded
from tests.world.market import BEGINS, Walk, eager_config

ROUNDS: Final = 160
STARTED: Final = JournalEntry(BEGINS, "jrn_0", "STARTED", (), "", {})


def config(fill_at: str) -> AgentConfig:
    """One of its pairs is missing now and then: an hour without it is as long as may be."""
    agent = eager_config()
    risk = evolve(agent.risk, max_market_age_hours=Decimal("1.5"))
    return evolve(agent, risk=risk, paper=PaperConfig(fill_at=fill_at))  # type: ignore[arg-type]


def decided(rounds: Sequence[Round], fill_at: str) -> list[Event]:
    """The events of a backtest over these rounds."""
    events: list[Event] = []
    agent = config(fill_at)
    rehearsal = Rehearsal(agent, agent.watchlist, BEGINS, STARTED, events.append)
    for round in rounds:
        rehearsal.decide(round)
    return events


def logged(folder: Path) -> list[bytes]:
    """The events of a log, as they are sent, without what tells of the process's own life."""
    return [encode_row(row, 0) for row in decisions(folder) if isinstance(row, EVENTS)]


def straight(seed: int, fill_at: str) -> list[bytes]:
    """The same of a backtest that never stops."""
    return [encode_row(event, 0) for event in decided(Walk(seed, ROUNDS).rounds, fill_at) if event != STARTED]


def upside_down(round: Round) -> Round:
    """Another future: every price at its reciprocal, volumes and depths along."""

    def turned(price: Decimal) -> Decimal:
        return (10_000 / price).quantize(Decimal("0.0001"))

    def turned_tick(tick: Tick) -> Tick:
        c = tick.candle
        candle = Candle(c.ts, turned(c.open), turned(c.low), turned(c.high), turned(c.close), c.volume * 7, c.seconds)
        pool = evolve(tick.executable, price=turned(tick.executable.price), depth_usdt=Decimal(40_000))
        return Tick(candle, pool, None)

    return evolve(round, ticks={pair: turned_tick(tick) for pair, tick in round.ticks.items()})


@pytest.mark.parametrize("fill_at", ["quote", "next_open"])
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, ROUNDS))
def test_decisions_are_the_same_whatever_comes_after_them(fill_at: str, seed: int, cut: int) -> None:
    rounds = Walk(seed, ROUNDS).rounds
    whole = decided(rounds, fill_at)
    assert whole[: len(short := decided(rounds[:cut], fill_at))] == short
    turned = decided([*rounds[:cut], *map(upside_down, rounds[cut:])], fill_at)
    assert turned[: len(short)] == short


def test_another_future_does_decide_otherwise() -> None:
    """Or the test above would see nothing."""
    rounds = Walk(3, ROUNDS).rounds
    assert decided(rounds, "quote") != decided([*rounds[:80], *map(upside_down, rounds[80:])], "quote")


@pytest.mark.parametrize("fill_at", ["quote", "next_open"])
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, ROUNDS - 1), max_size=4, unique=True).map(sorted))
def test_restarts_at_any_candle_change_nothing(fill_at: str, seed: int, cuts: list[int]) -> None:
    """The real floors on a real log, stopped and started again, against the backtest that never stops."""
    agent = config(fill_at)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for end in (*cuts, ROUNDS):
            market = Walk(seed, ROUNDS)
            market.rounds = market.rounds[:end]
            run_seeded(seed, run_whole, folder, market, agent)
        assert logged(folder) == straight(seed, fill_at)


def test_restarts_from_checkpoints_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a checkpoint every seven rounds, and a stop every thirteen."""
    monkeypatch.setattr(strategist, "CHECKPOINT_ROUNDS", 7)
    for end in (*range(13, ROUNDS, 13), ROUNDS):
        market = Walk(11, ROUNDS)
        market.rounds = market.rounds[:end]
        run_seeded(end, run_whole, tmp_path, market, config("next_open"))
    assert logged(tmp_path) == straight(11, "next_open")


def test_the_market_of_these_tests_has_something_to_decide() -> None:
    kinds = {type(event).__name__ for event in decided(Walk(11, ROUNDS).rounds, "next_open")}
    assert {"Trade", "JournalEntry", "QuoteRejected", "RiskVeto", "Snapshot"} <= kinds
    rules = {event.rule for seed in range(12) for event in decided(Walk(seed, ROUNDS).rounds, "quote")
             if isinstance(event, RiskVeto)}  # fmt: skip
    assert {"stale_market", "streak_limit", "daily_drawdown", "max_drawdown"} <= rules
    times = [event.ts for event in decided(Walk(11, ROUNDS).rounds, "next_open")]
    assert all(later - earlier >= timedelta(0) for earlier, later in pairwise(times))
