"""The market of a live world: its candles are the seed's, and the pools of the chain follow them."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any, Final

import trio

from actors.chain.bars import Pool
from protocol.errors import Outage
from protocol.market import NotYet, Round
from tests.simulation.live.plan import PAIRS, LivePlan
from tests.simulation.market import SimMarket
from tests.world import chain as chains
from tests.world.chain import Accounts, SimChain

POOLS: Final = {
    "CAKE/USDT": Pool("CAKE/USDT", chains.CAKE_POOL, 18, 18, False),
    "ETH/USDT": Pool("ETH/USDT", chains.ETH_POOL, 18, 18, True),
}
TOKENS: Final = {"CAKE/USDT": chains.CAKE, "ETH/USDT": chains.ETH}
FEEDS: Final[dict[str, str | Pool]] = {pair: pool.address for pair, pool in POOLS.items()}
NOT_YET_SECONDS: Final = 3.0


class LiveMarket(SimMarket):
    """Hands a round out `pace` seconds after the one before, when the chain's clock is as far: it leaps over what is
    left of the hour. `chain` begins where the market does."""

    def __init__(self, plan: LivePlan, pace: float, marks: Counter[str]) -> None:
        super().__init__(
            Random(f"live market {plan.seed}"), plan.rounds, PAIRS, holes=plan.holes,
            set_back="clock set back" in plan.faults, marks=marks, hour=plan.hour,
        )  # fmt: skip
        self.chain = SimChain(Random(f"chain {plan.seed}"), block_seconds=3.0, begins=self.begins)
        self.chain.opened = self._follow
        self._random, self._drift, self._pace = Random(f"drift {plan.seed}"), plan.drift, pace
        self._prices = {pair: self.rounds[0].ticks[pair].candle.open for pair in self.rounds[0].ticks}
        self._handed, self._due = -1, 0.0

    async def next_round(self, cursor: Any | None, /) -> Round | NotYet | Outage | None:
        index = 0 if cursor is None else cursor
        round = await super().next_round(cursor)
        if not isinstance(round, Round):
            return round
        if index > self._handed:
            if (wait := self._due - trio.current_time()) > 0:
                return NotYet(min(wait, NOT_YET_SECONDS))
            self._handed, self._due = index, trio.current_time() + self._pace
            self._prices |= {pair: tick.candle.close for pair, tick in round.ticks.items()}
            self.chain.leap(round.ts)
        return round

    def _follow(self, accounts: Accounts, at: datetime) -> None:
        """In each block others have traded until the pools stand near the market's prices."""
        for pair, price in self._prices.items():
            near = price * Decimal(1 + self._random.gauss(0.0, self._drift))
            usdt = accounts.tokens[chains.USDT][POOLS[pair].address]
            accounts.tokens[TOKENS[pair]][POOLS[pair].address] = int(usdt / near)
