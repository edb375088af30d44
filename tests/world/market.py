"""A market made from a seed: a walk that falls and recovers, so that a mean reversion trades in it all the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

import trio

from protocol.market import Candle, Observation, Round, Tick
from protocol.money import booked
from protocol.settings import AgentConfig, EvaluationConfig, RiskConfig, StrategyConfig
from protocol.strategy import AnyOrAll, Condition, RegimeFilter, Signals, StrategyParams, StrategySpec

BEGINS: Final = datetime(2026, 1, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
PAIRS: Final = ("BTC/USDT", "ETH/USDT", "LTC/USDT")


def eager_spec() -> StrategySpec:
    """Warm after a few bars and quick to act."""
    return StrategySpec(
        "spot",
        "eager",
        Signals(
            AnyOrAll(all_of=(Condition("price_vs_sma", "<=", -0.01, 5), Condition("rsi", "<=", 40, 3))),
            AnyOrAll(any_of=(Condition("price_vs_sma", ">=", 0.0, 5), Condition("rsi", ">=", 70, 3))),
        ),
        RegimeFilter((Condition("volatility", ">=", 0.05, 4),)),
        StrategyParams(Decimal(40), 2),
    )


def eager_config(pairs: tuple[str, ...] = PAIRS[:2], *, fee_multiple: int = 1) -> AgentConfig:
    """Every rule of the policy within reach of a few days."""
    return AgentConfig(
        pairs,
        StrategyConfig(eager_spec(), Decimal(fee_multiple)),
        risk=RiskConfig(
            max_drawdown_pct=Decimal(6), daily_drawdown_pct=Decimal(3), max_consecutive_losses=2, cooldown_hours=5
        ),
        evaluation=EvaluationConfig(2, 3),
        snapshot_minutes=180,
    )


class Walk:
    """`rounds` hourly rounds over `pairs`. Now and then a price is old, a venue is far off, a pair is missing."""

    def __init__(self, seed: int, rounds: int, pairs: tuple[str, ...] = PAIRS[:2]) -> None:
        self._seed = seed
        self._pairs = pairs
        self.rounds = _walk(Random(seed), rounds, pairs)
        self.asked = 0  # how often a round was asked for

    @property
    def pinned(self) -> dict[str, Any]:
        return {"kind": "walk", "seed": self._seed}

    @property
    def pairs(self) -> tuple[str, ...]:
        return self._pairs

    @property
    def begins(self) -> datetime:
        return BEGINS

    @property
    def interval(self) -> timedelta:
        return HOUR

    @property
    def series(self) -> tuple[str, ...]:
        return ()

    async def next_round(self, cursor: Any | None, /) -> Round | None:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        index = 0 if cursor is None else cursor
        return self.rounds[index] if index < len(self.rounds) else None


def _walk(random: Random, rounds: int, pairs: tuple[str, ...]) -> list[Round]:
    price = {pair: 100.0 * (number + 1) for number, pair in enumerate(pairs)}
    made = []
    for index in range(rounds):
        ts = BEGINS + (index + 1) * HOUR
        ticks = {}
        for pair in pairs:
            before = price[pair]
            price[pair] = before * (1 + random.gauss(0.0, 0.02 if index % 40 < 30 else 0.05))
            if pair == pairs[0] or random.random() > 0.05:
                ticks[pair] = tick(random, ts, before, price[pair])
        made.append(Round(ts, ticks, index + 1))
    return made


def tick(random: Random, ts: datetime, before: float, after: float) -> Tick:
    """A candle from `before` to `after`, and two venues that mostly agree on its close."""
    opened, close = _price(before), _price(after)
    candle = Candle(ts, opened, max(opened, close), min(opened, close), close, Decimal(10))
    age = timedelta(seconds=20_000 if random.random() < 0.03 else random.randrange(60))
    off = 1.1 if random.random() < 0.05 else random.uniform(0.998, 1.002)
    pool = Observation("pool", close, ts - age, Decimal(20_000 if random.random() < 0.05 else 1_000_000))
    return Tick(candle, pool, Observation("exchange", _price(after * off), ts))


def _price(value: float) -> Decimal:
    return booked(Decimal(f"{value:.4f}"))
